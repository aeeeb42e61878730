//! The reading half of a run: from two systems and the journal to a judged plan. Writes nothing anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;

use super::policy::Job;
use super::progress::{Board, Stage};
use super::proofs::Proofs;
use crate::contract::fault::ConnectorError;
use crate::contract::journal::{Effect, Journal, JournalError, Sizes};
use crate::contract::source::Subject;
use crate::contract::target::{Capabilities, Target};
use crate::model::desired::{Desired, DesiredUser, SetAside, Standing};
use crate::model::key::{SourceKey, SystemName, TargetKey, group_key};
use crate::model::link::Links;
use crate::model::plan::FindingKind;
use crate::model::roster::{Lifecycle, SourceRoster, TargetRoster};
use crate::reconcile::diff::{Draft, Inputs, diff};
use crate::reconcile::guard::{AdminGroup, Circumstances, Judged, judge};
use crate::reconcile::health::{blind, keep_ownership, sizes};
use crate::reconcile::wanted::wanted;

/// How many users that the listing lacks are asked about in one run; the rest waits for the next.
const MOST_UNACCOUNTED: usize = 500;
/// How many of them are asked about at once.
const ASKED_AT_ONCE: usize = 4;

/// Why a run could not come to a plan.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A remote system.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The state store.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What all targets of a job share in one run.
#[derive(Debug)]
pub struct SourceReading {
    /// The roster, whole.
    pub roster: SourceRoster,
    /// What should be.
    pub desired: Desired,
    /// Single answers of the source.
    pub proofs: Proofs,
}

/// A target in a run.
#[derive(Clone)]
pub struct TargetSide {
    /// Its name.
    pub name: SystemName,
    /// The connector.
    pub target: Arc<dyn Target>,
}

impl std::fmt::Debug for TargetSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TargetSide({})", self.name)
    }
}

/// A run that has come to a judged plan.
#[derive(Debug)]
pub struct Prepared {
    /// The plan and what the guards said.
    pub judged: Judged,
    /// What the readings alone change in links and ledger.
    pub effects: Vec<Effect>,
    /// What the target can do.
    pub capabilities: Capabilities,
    /// The links that the plan was made with.
    pub links: Links,
    /// The source's sizes, if it is believed.
    pub sizes: Option<Sizes>,
    /// Why it is not, if it is not.
    pub blind: Option<String>,
}

/// Reads the target and makes the plan.
///
/// # Errors
/// A system or store that could not be read. Nothing was written.
pub async fn prepare(
    job: &Job,
    side: &TargetSide,
    reading: &SourceReading,
    journal: &dyn Journal,
    now: DateTime<Utc>,
    board: &Board,
) -> Result<Prepared, RunError> {
    let name = &side.name;
    let links = journal.links(name).await?;
    let ledger = journal.ledger(name).await?;
    let last = journal.sizes(&job.name, name).await?;
    let recent = journal.removals_since(name, now - TimeDelta::hours(24)).await?;
    let blind = blind(&reading.roster, last.as_ref(), &job.health);
    board.enter(name, Stage::ReadingTarget, 0);
    let capabilities = side.target.probe().await?;
    let accounted = match &blind {
        Some(_) => None,
        None => account_for(&reading.desired, &links, &reading.proofs).await,
    };
    let desired = accounted.as_ref().unwrap_or(&reading.desired);
    let wanted = wanted(desired, &links, &ledger, &capabilities.admin_groups);
    let actual = side.target.fetch(&wanted).await?;
    board.enter(name, Stage::Planning, 0);
    let inputs = Inputs {
        job: &job.name,
        target: name,
        desired,
        actual: &actual,
        links: &links,
        ledger: &ledger,
        rules: &job.rules,
        capabilities: &capabilities,
        now,
        partial: false,
    };
    let Draft { plan, mut effects } = diff(&inputs);
    if blind.is_some() {
        keep_ownership(&mut effects);
    }
    let circumstances = Circumstances {
        blind: blind.clone(),
        acting_as: capabilities.acting_as.clone(),
        recent,
        admins: admins(&actual, &capabilities.admin_groups),
        sizes: group_sizes(&actual),
        approved: BTreeSet::new(),
    };
    let judged = judge(plan, &job.guard, &circumstances);
    let sizes = blind.is_none().then(|| sizes(&reading.roster));
    Ok(Prepared { judged, effects, capabilities, links, sizes, blind })
}

/// Linked users whom the listing lacks are asked about, one by one: a listing proves no absence, and the answer tells the
/// cause (disabled, out of scope, gone). Whoever gets no definite answer is left as it is.
/// `None` if nobody is missing.
async fn account_for(desired: &Desired, links: &Links, proofs: &Proofs) -> Option<Desired> {
    let missing: Vec<&SourceKey> = links.users.iter().map(|l| &l.source).filter(|s| desired.user(s).is_none()).collect();
    if missing.is_empty() {
        return None;
    }
    let (asked, later) = missing.split_at(missing.len().min(MOST_UNACCOUNTED));
    let questions: Vec<_> = asked.iter().map(|key| async move { (*key, proofs.user(key).await) }).collect();
    let answers: Vec<_> = futures::stream::iter(questions).buffered(ASKED_AT_ONCE).collect().await;
    let mut accounted = desired.clone();
    let mut set_aside = |source: &SourceKey, why: String| {
        accounted.set_aside.push(SetAside { source: source.clone(), kind: FindingKind::Unmappable, why });
    };
    let mut users: Vec<DesiredUser> = Vec::new();
    for (key, answer) in answers {
        let standing = match answer {
            Ok(None) => continue,
            Ok(Some(subject)) => standing_of(&subject),
            Err(error) => {
                set_aside(key, format!("is not in the listing, and the source gave no definite answer: {error}"));
                Standing::Pending
            }
        };
        users.push(DesiredUser { source: key.clone(), standing, attributes: None });
    }
    for key in later {
        set_aside(key, format!("is not in the listing; {} others were asked about first", asked.len()));
        users.push(DesiredUser { source: (*key).clone(), standing: Standing::Pending, attributes: None });
    }
    insert(&mut accounted, users);
    Some(accounted)
}

/// Where a user stands whom the listing lacks. One who turns out to be entitled was overlooked by the listing: nothing is
/// done about them until a listing shows them again.
fn standing_of(subject: &Subject) -> Standing {
    match subject.user.lifecycle {
        Lifecycle::Disabled => Standing::Disabled,
        Lifecycle::Entitled | Lifecycle::Pending if !subject.in_scope => Standing::OutOfScope,
        Lifecycle::Entitled | Lifecycle::Pending => Standing::Pending,
    }
}

/// Inserts users and renumbers the members of groups.
fn insert(desired: &mut Desired, more: Vec<DesiredUser>) {
    let old = std::mem::take(&mut desired.users);
    let mut numbered: Vec<(Option<u32>, DesiredUser)> = old.into_iter().enumerate().map(|(at, u)| (Some(at as u32), u)).collect();
    numbered.extend(more.into_iter().map(|u| (None, u)));
    numbered.sort_by(|a, b| a.1.source.cmp(&b.1.source));
    let mut places = vec![0u32; numbered.len()];
    for (place, (old, _)) in numbered.iter().enumerate() {
        if let Some(old) = old {
            places[*old as usize] = place as u32;
        }
    }
    desired.users = numbered.into_iter().map(|(_, u)| u).collect();
    for group in &mut desired.groups {
        group.members.iter_mut().for_each(|m| *m = places[*m as usize]);
    }
}

/// The administration groups with their active members.
pub(super) fn admins(actual: &TargetRoster, names: &[String]) -> Vec<AdminGroup> {
    names
        .iter()
        .filter_map(|name| {
            let key = group_key(name);
            let group = &actual.groups[actual.group(&key)? as usize];
            let members = group.members.iter().map(|m| &actual.users[*m as usize]);
            Some(AdminGroup { key, active: members.filter(|u| u.active).map(|u| u.key.clone()).collect() })
        })
        .collect()
}

pub(super) fn group_sizes(actual: &TargetRoster) -> BTreeMap<TargetKey, u32> {
    actual.groups.iter().map(|g| (g.key.clone(), g.members.len() as u32)).collect()
}
