//! Questions to the record of changes: which, in which order, and how many at a time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::journal::{ChangeRecord, IntentId, Trigger};
use crate::model::key::{JobName, PlanId, RunId, SourceKey, SystemName};

/// Which changes are asked for: those that meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeQuery {
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this job.
    pub job: Option<JobName>,
    /// At this target.
    pub target: Option<SystemName>,
    /// About this source user.
    pub source: Option<SourceKey>,
    /// About this user: a user name, also one that the change took away or gave, or an id of the source or the target. Names
    /// are compared without regard to the case of ASCII letters.
    pub user: Option<String>,
    /// About the group of this name, or about a user whom a deactivation took out of it; compared likewise.
    pub group: Option<String>,
    /// Intended at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Intended before this time.
    pub until: Option<DateTime<Utc>>,
    /// In which order.
    pub order: Order,
    /// Only those beyond this one, in the order: the last of the page before.
    pub beyond: Option<IntentId>,
    /// At most so many.
    pub limit: u32,
}

/// In which order changes are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were made.
    #[default]
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// A change with what is known of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The run's job.
    pub job: JobName,
    /// The run's target.
    pub target: SystemName,
    /// What fired the run.
    pub trigger: Trigger,
    /// Who asked for the run, where somebody did: as in [`super::verdict::Decision::actor`].
    #[serde(default)]
    pub by: Option<SmolStr>,
    /// The run's plan, once it has ended.
    pub plan: Option<PlanId>,
    /// The change.
    #[serde(flatten)]
    pub change: ChangeRecord,
}
