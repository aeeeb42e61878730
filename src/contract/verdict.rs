//! What people decide: approvals and rejections of staged removals, holds on what was undone, and saved plans.
//!
//! A decision is about one change, known by its mark ([`crate::reconcile::hash::mark`]): kind, user and group. If the world
//! moves so that the change is another one, its mark is another one, and the decision does not fit any more. That is why an
//! approval can never let through more than was shown.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

use crate::model::change::OpKind;
use crate::model::key::{JobName, PlanId, RunId, SourceKey, SystemName, TargetKey};

/// What a person said of a staged removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Let it through.
    Approved,
    /// Drop it, until the source or the target says something new about it.
    Rejected,
}

/// A person's word on one staged removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// The mark of the change.
    pub mark: String,
    /// The plan in which it was shown.
    pub plan: PlanId,
    /// What was said.
    pub verdict: Verdict,
    /// The guards that held the change when it was shown: an approval lifts these and no other.
    pub held_by: Vec<String>,
    /// The source user, where there is one.
    pub source: Option<SourceKey>,
    /// The change's kind, for lists.
    pub kind: OpKind,
    /// The target user's name, for lists.
    #[schema(value_type = String)]
    pub user_name: SmolStr,
    /// The target group's name, for lists.
    #[schema(value_type = Option<String>)]
    pub group: Option<SmolStr>,
    /// Who said it: `os:` with the name of an operating system user, or `token:` with the name of a token of the API.
    pub actor: String,
    /// Why, in the person's words.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
    /// After this time an approval that was not used is void. A rejection stands until the change is gone.
    pub expires: Option<DateTime<Utc>>,
}

impl Decision {
    /// Whether it still counts.
    pub fn stands(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// A user about whom nothing is written, since a person undid what a run had done: the next run would do it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// The user at the target.
    pub user: TargetKey,
    /// The user's name there, for lists.
    #[schema(value_type = String)]
    pub user_name: SmolStr,
    /// The source's id, where there is one.
    pub source: Option<SourceKey>,
    /// The run that was undone.
    pub run: RunId,
    /// Who undid it.
    pub actor: String,
    /// Why, in the person's words.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What the source said of the user at the undo ([`crate::reconcile::wish`]), so that a run can tell when it says something
    /// else: the hold ends then.
    pub wish: Option<String>,
}

/// A user, or all of a job at a target, that is looked at again since a person said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// The source's id; neither this nor a name: everything of the job there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceKey>,
    /// The user's name at the target, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<SmolStr>,
}

/// A person's word that ended a rest, a quarantine or holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What was to be released, as it was named.
    pub what: String,
    /// Who said it, as in [`Decision::actor`].
    pub actor: String,
    /// Why, in the person's words, where they gave a reason.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// The system whose rest has ended, if one has.
    pub rest: Option<SystemName>,
    /// Whose holds have ended.
    pub holds: Vec<Freed>,
    /// Who is due on the retry queue since.
    pub due: Vec<Freed>,
}

/// A removal in a saved plan that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedChange {
    /// Its mark.
    pub mark: String,
    /// What kind.
    pub kind: OpKind,
    /// The source user, where there is one.
    pub source: Option<SourceKey>,
    /// The target user's name.
    pub user_name: SmolStr,
    /// The target group's name.
    pub group: Option<SmolStr>,
    /// The guards that hold it.
    pub held_by: Vec<String>,
}

/// A plan as it was shown, kept so that it can be approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// Its id: it tells the changes and both rosters.
    pub id: PlanId,
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// After this time it cannot be approved any more.
    pub expires: DateTime<Utc>,
    /// Who made it: a run's id, or an actor as in [`Decision::actor`].
    pub by: String,
    /// What waits in it, in the order of the plan.
    pub changes: Vec<SavedChange>,
}
