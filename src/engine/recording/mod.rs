//! A recording: everything that a plan of one job is made of, as values that can be kept in a file and planned with again,
//! with these rules or with others, where no system can be reached.
//!
//! There is one way from readings to a plan, [`super::prepare`], and a replay takes it: the recording plays source and
//! target behind their contracts. So a replay cannot come to think otherwise than a run does.
//!
//! What was not read cannot be played. [`replay`] says what it lacked, since a plan over a hole would pass for an answer.

mod lines;
mod listen;
pub mod mask;
pub mod pseudonyms;
pub mod replay;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use lines::{Unreadable, read, write};
pub use listen::record;

use super::memory::Memory;
use super::policy::Job;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::{Attributes, GroupFact, Subject};
use crate::contract::target::{Capabilities, Deactivation, Expiry, Nature, Seats};
use crate::model::change::OpKind;
use crate::model::key::{JobName, SourceKey, SystemName};
use crate::model::roster::{SourceRoster, TargetRoster, TargetUser};
use crate::reconcile::render::PlanView;

/// The version of the format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// All that a plan of one job is made of.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What it is a recording of.
    pub head: Head,
    /// The source's roster.
    pub roster: SourceRoster,
    /// What the source said of single users.
    pub users: BTreeMap<SourceKey, Answer<Subject>>,
    /// What the source said of single groups.
    pub groups: BTreeMap<SourceKey, Answer<GroupFact>>,
    /// The targets that could be read, in the order of the configuration.
    pub targets: Vec<AtTarget>,
}

/// What a recording is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program that made it.
    pub rosterd: String,
    /// When it was made: a replay plans for this moment.
    pub made: DateTime<Utc>,
    /// The job.
    pub job: JobName,
    /// Its source.
    pub source: SystemName,
    /// Whether personal data were replaced.
    pub pseudonyms: bool,
    /// What the source was asked for.
    pub asked: Asked,
}

/// What of the source was read: what the rules of the time had use for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The profile attributes.
    pub attributes: Attributes,
    /// The groups by name; `None`: all.
    pub groups: Option<AskedGroups>,
}

/// Which groups of the source were read, as globs over their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedGroups {
    /// Those that take part; `None`: all.
    pub include: Option<Vec<String>>,
    /// Those that do not.
    pub exclude: Vec<String>,
    /// The gate.
    pub member_of: Vec<String>,
}

impl Asked {
    /// What a job asks of its source.
    pub fn of(job: &Job) -> Self {
        let ask = job.ask();
        let groups = &job.rules.groups;
        let named = AskedGroups {
            include: groups.include.as_ref().map(|names| names.globs().to_vec()),
            exclude: groups.exclude.globs().to_vec(),
            member_of: job.rules.scope.member_of.globs().to_vec(),
        };
        let all = ask.groups.is_none() || job.rules.uses().groups;
        Self { attributes: ask.attributes, groups: (!all).then_some(named) }
    }

    /// The profile attributes that another job asks for and that were not read.
    pub fn lacks(&self, of: &Asked) -> BTreeSet<String> {
        match (&self.attributes, &of.attributes) {
            (Attributes::All, _) | (_, Attributes::None) => BTreeSet::new(),
            (Attributes::None, Attributes::Named(names)) => names.clone(),
            (Attributes::Named(had), Attributes::Named(names)) => names.difference(had).cloned().collect(),
            (Attributes::None | Attributes::Named(_), Attributes::All) => ["(all)".to_owned()].into(),
        }
    }

    /// Whether another job may ask for groups that were not read.
    pub fn may_lack_groups(&self, of: &Asked) -> bool {
        self.groups.is_some() && self.groups != of.groups
    }
}

/// What a system said when it was asked about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// This.
    Is(T),
    /// That there is no such subject.
    NoSuch,
    /// Nothing definite.
    Failed {
        /// What was being done.
        doing: String,
        /// Why it failed.
        why: String,
    },
}

impl<T: Clone> Answer<T> {
    /// An answer as it was given.
    pub fn of(given: &Result<Option<T>, ConnectorError>) -> Self {
        match given {
            Ok(Some(is)) => Answer::Is(is.clone()),
            Ok(None) => Answer::NoSuch,
            Err(error) => Answer::Failed { doing: error.doing.clone(), why: error.why.clone() },
        }
    }

    /// The answer as it was given.
    ///
    /// # Errors
    /// There was none.
    pub fn given(&self, system: &SystemName) -> Result<Option<T>, ConnectorError> {
        match self {
            Answer::Is(is) => Ok(Some(is.clone())),
            Answer::NoSuch => Ok(None),
            Answer::Failed { doing, why } => {
                Err(ConnectorError::new(system, doing.clone(), Fault::Unavailable { retry_after: None }, why.clone()))
            }
        }
    }
}

/// What was read of one target, what the journal said of it, and the plan that was made.
#[derive(Clone, Debug)]
pub struct AtTarget {
    /// Its name.
    pub name: SystemName,
    /// Its kind: what it can hold is the kind's to say.
    pub kind: String,
    /// What its probe found.
    pub can: Found,
    /// What the journal said.
    pub memory: Memory,
    /// What it holds of what was asked for.
    pub roster: TargetRoster,
    /// What was asked for and is not there.
    pub absent: Absent,
    /// Single accounts that were asked about.
    pub accounts: Vec<Account>,
    /// The plan.
    pub plan: PlanView,
}

/// What was asked for and is not there: another matter than what nobody asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// User names.
    pub users: Vec<SmolStr>,
    /// Group names.
    pub groups: Vec<SmolStr>,
}

/// A single account that was asked about, with its groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The user name asked for.
    pub name: SmolStr,
    /// The answer.
    pub answer: Answer<(TargetUser, Vec<String>)>,
}

/// [`Capabilities`] without what the kind alone says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub struct Found {
    pub version: String,
    pub acting_as: Option<String>,
    pub can: Vec<OpKind>,
    pub can_rename: bool,
    pub can_update: bool,
    pub needs_email: bool,
    pub deactivation: Deactivation,
    pub adds_per_call: usize,
    pub writes_at_once: usize,
    pub admin_groups: Vec<String>,
    #[serde(default = "yes")]
    pub groups_writable: bool,
    #[serde(default)]
    pub seats: Vec<Seats>,
    pub notes: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Found {
    /// What a probe found.
    pub fn of(capabilities: &Capabilities) -> Self {
        let Capabilities {
            product: _,
            version,
            acting_as,
            can,
            can_rename,
            can_update,
            needs_email,
            deactivation,
            adds_per_call,
            writes_at_once,
            admin_groups,
            groups_writable,
            seats,
            expires: _,
            refuse_user: _,
            refuse_group: _,
            notes,
        } = capabilities.clone();
        Self {
            version,
            acting_as,
            can,
            can_rename,
            can_update,
            needs_email,
            deactivation,
            adds_per_call,
            writes_at_once,
            admin_groups,
            groups_writable,
            seats,
            notes,
        }
    }

    /// The capabilities of a target of a kind.
    pub fn with(&self, nature: Nature) -> Capabilities {
        let Found {
            version,
            acting_as,
            can,
            can_rename,
            can_update,
            needs_email,
            deactivation,
            adds_per_call,
            writes_at_once,
            admin_groups,
            groups_writable,
            seats,
            notes,
        } = self.clone();
        let Nature { product, refuse_user, refuse_group } = nature;
        Capabilities {
            product,
            version,
            acting_as,
            can,
            can_rename,
            can_update,
            needs_email,
            deactivation,
            adds_per_call,
            writes_at_once,
            admin_groups,
            groups_writable,
            seats,
            expires: Expiry::Unknown,
            refuse_user,
            refuse_group,
            notes,
        }
    }
}
