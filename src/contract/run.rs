//! Runs as they are recorded: what fired one, how it began and ended, and what can be asked about them.

use chrono::{DateTime, Utc};
use serde::de::IntoDeserializer;
use serde::de::value::Error as Unreadable;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

use crate::model::change::OpKind;
use crate::model::key::{JobName, PlanId, RunId, SystemName};

/// What fired a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule.
    Schedule,
    /// A whole run that was missed while the daemon was down, or that failed and is tried again.
    CatchUp,
    /// The retry queue, for a few subjects.
    Retry,
    /// A person, by command.
    Command,
    /// Whoever holds a token, over HTTP.
    Api,
    /// A person, to take back what another run did.
    Undo,
}

impl Trigger {
    /// The word that tables, logs and JSON use.
    pub fn word(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::CatchUp => "catch_up",
            Trigger::Retry => "retry",
            Trigger::Command => "command",
            Trigger::Api => "api",
            Trigger::Undo => "undo",
        }
    }
}

/// What fires a run, and who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// What.
    pub trigger: Trigger,
    /// Who, where somebody did: as in [`super::verdict::Decision::actor`].
    pub by: Option<SmolStr>,
}

impl From<Trigger> for Fired {
    fn from(trigger: Trigger) -> Self {
        Self { trigger, by: None }
    }
}

impl Fired {
    /// As one text, for a store: the word, and after a space who asked.
    pub fn text(&self) -> String {
        match &self.by {
            Some(by) => format!("{} {by}", self.trigger.word()),
            None => self.trigger.word().to_owned(),
        }
    }

    /// The same read back.
    ///
    /// # Errors
    /// A word that is no trigger's.
    pub fn of_text(text: &str) -> Result<Self, Unreadable> {
        let (word, by) = text.split_once(' ').map_or((text, None), |(word, by)| (word, Some(by.into())));
        Ok(Self { trigger: Trigger::deserialize(word.into_deserializer())?, by })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Nothing to do.
    Converged,
    /// Every admitted change was made.
    Applied,
    /// The same, and removals wait for a person.
    Staged,
    /// The health gate did not hold: additions went through, removals did not.
    Blind,
    /// The plan would break what the configuration expects: none of it was done.
    Refused,
    /// Some changes failed and are queued or set aside.
    Partial,
    /// The job only observes, and there would have been something to do.
    Observed,
    /// Stopped before its end; the rest is left to the next run.
    Interrupted,
    /// The run failed as a whole; nothing, or only a part, was done.
    Failed,
}

impl Ended {
    /// Every one of them.
    pub const ALL: [Ended; 9] = [
        Ended::Converged,
        Ended::Applied,
        Ended::Staged,
        Ended::Blind,
        Ended::Refused,
        Ended::Partial,
        Ended::Observed,
        Ended::Interrupted,
        Ended::Failed,
    ];

    /// The word that tables, logs, metrics and JSON use.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Converged => "converged",
            Ended::Applied => "applied",
            Ended::Staged => "staged",
            Ended::Blind => "blind",
            Ended::Refused => "refused",
            Ended::Partial => "partial",
            Ended::Observed => "observed",
            Ended::Interrupted => "interrupted",
            Ended::Failed => "failed",
        }
    }
}

/// How many records the source showed at the last good run; what the health gate compares with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sizes {
    /// Users, all lifecycles.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Memberships.
    pub memberships: u64,
}

/// A run as it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunStart {
    /// Its id.
    pub id: RunId,
    /// Its job.
    pub job: JobName,
    /// Its target.
    pub target: SystemName,
    /// What fired it.
    pub trigger: Trigger,
    /// Who asked for it, where somebody did: as in [`super::verdict::Decision::actor`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<SmolStr>,
    /// When it began.
    pub at: DateTime<Utc>,
}

/// A run as it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// How it ended.
    pub ended: Ended,
    /// When.
    pub at: DateTime<Utc>,
    /// The plan's id, if one was made.
    pub plan: Option<PlanId>,
    /// Planned changes by kind.
    pub planned: Vec<(OpKind, u64)>,
    /// Changes made by kind.
    pub done: Vec<(OpKind, u64)>,
    /// Changes that failed.
    pub failed: u64,
    /// Removals that wait for a person.
    pub staged: u64,
    /// Requests sent to the target, and to the source for this run's proofs.
    pub requests: u64,
    /// What was found and reported, and for a failed run why, for a person.
    pub messages: Vec<String>,
    /// The sizes of the source's roster, if it was read whole and trusted.
    pub sizes: Option<Sizes>,
}

impl RunEnd {
    /// An end of which no more is to be told than this.
    pub fn bare(ended: Ended, at: DateTime<Utc>, messages: Vec<String>) -> Self {
        Self {
            ended,
            at,
            plan: None,
            planned: Vec::new(),
            done: Vec::new(),
            failed: 0,
            staged: 0,
            requests: 0,
            messages,
            sizes: None,
        }
    }
}

/// How the first message begins of a run that stopped with changes left to the next one.
pub const STOPPED: &str = "stopped with ";
/// How the first message begins of a run whose process died; whoever came next wrote its end.
pub const DIED: &str = "the process died ";

impl RunEnd {
    /// Whether both sides were read whole, the source was believed, and the run came to its end: but for what waits for a
    /// person, and for subjects on the retry queue or in quarantine, its target is in step, or observed.
    pub fn is_complete(&self) -> bool {
        let stopped = || self.messages.first().is_some_and(|message| message.starts_with(STOPPED));
        self.sizes.is_some()
            && match self.ended {
                Ended::Converged | Ended::Applied | Ended::Staged | Ended::Observed => true,
                Ended::Partial => !stopped(),
                Ended::Blind | Ended::Refused | Ended::Interrupted | Ended::Failed => false,
            }
    }
}

/// What the record tells of how fresh a target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// When the last complete run ended: see [`RunEnd::is_complete`].
    pub complete: Option<DateTime<Utc>>,
    /// When the oldest run began that is still recorded.
    pub first: Option<DateTime<Utc>>,
}

/// A run as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunRecord {
    /// How it began.
    #[serde(flatten)]
    pub start: RunStart,
    /// How it ended; `None` while it runs, or if its process died.
    pub end: Option<RunEnd>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only of this job.
    pub job: Option<JobName>,
    /// Only at this target.
    pub target: Option<SystemName>,
    /// Only those before this one: the last of the page before.
    pub beyond: Option<RunId>,
    /// Only those over everything: neither retries nor undos.
    pub whole: bool,
    /// At most so many, the newest first.
    pub limit: u32,
}
