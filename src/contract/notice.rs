//! What is worth telling a person who is not looking: events, and messages of them that wait to be sent.
//!
//! An event is raised where the state changes and once for each change, never once a run; what has been told is not told
//! again as long as it lasts. It holds ids and user names at the target, and nothing else of people.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

use crate::model::change::OpKind;
use crate::model::key::{JobName, PlanId, SystemName};

/// What an event is about, for those who want only some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Removals newly wait for a person.
    Staged,
    /// A subject or a system was set aside, or the cause of a system's rest changed.
    Quarantine,
    /// A system refused the credential.
    Refused,
    /// A system answers again after it had failed.
    Recovered,
    /// The credential of a system expires soon.
    Expiring,
}

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 5] = [Topic::Staged, Topic::Quarantine, Topic::Refused, Topic::Recovered, Topic::Expiring];
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Removals newly wait for a person.
    Staged {
        /// For which job.
        job: JobName,
        /// At which target.
        target: SystemName,
        /// The plan by whose id they are approved or rejected.
        plan: PlanId,
        /// How many wait in all.
        waiting: u64,
        /// How many of them did not wait before.
        new: u64,
        /// All that wait, by kind.
        kinds: Vec<(OpKind, u64)>,
        /// The first names of users among the new ones, each once.
        names: Vec<SmolStr>,
    },
    /// Users were set aside, after their attempts were spent, or are set aside for another cause than before.
    SetAside {
        /// In which job.
        job: JobName,
        /// At which target.
        target: SystemName,
        /// How many.
        users: u64,
        /// The first names; a user who has none at the target yet by its id at the source.
        names: Vec<SmolStr>,
        /// Why the first of them failed, for a person.
        cause: String,
        /// Whether they had been set aside before, for another cause.
        #[serde(default)]
        again: bool,
    },
    /// A system failed, or fails for another reason than before.
    Failing {
        /// Which.
        system: SystemName,
        /// The word of the fault.
        fault: String,
        /// Why, for a person.
        cause: String,
    },
    /// A system refused the credential, and is left alone until a reload or a release.
    Refused {
        /// Which.
        system: SystemName,
        /// Why, for a person.
        cause: String,
    },
    /// A system answers again.
    Recovered {
        /// Which.
        system: SystemName,
        /// Since when it had failed.
        since: DateTime<Utc>,
    },
    /// The credential that a system is spoken to with expires soon.
    Expiring {
        /// Which.
        system: SystemName,
        /// When.
        at: DateTime<Utc>,
    },
}

impl Event {
    /// What it is about.
    pub fn topic(&self) -> Topic {
        match self {
            Event::Staged { .. } => Topic::Staged,
            Event::SetAside { .. } | Event::Failing { .. } => Topic::Quarantine,
            Event::Refused { .. } => Topic::Refused,
            Event::Recovered { .. } => Topic::Recovered,
            Event::Expiring { .. } => Topic::Expiring,
        }
    }
}

/// Who wants to be told of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The webhook's name in the configuration.
    pub hook: String,
    /// Of what.
    pub on: BTreeSet<Topic>,
}

/// An event on its way to one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The webhook's name in the configuration.
    pub hook: String,
    /// What happened.
    pub event: Event,
    /// When.
    pub at: DateTime<Utc>,
}

/// The number of a notice in the outbox, ascending in the order of posting and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteId(pub i64);

/// A notice in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: NoteId,
    /// What is to be sent, and where.
    pub notice: Notice,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// How long before a credential expires people are told.
pub const SOON: TimeDelta = TimeDelta::days(14);

/// When the credential of a system expires, as the system told last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Expiring {
    /// Which.
    pub system: SystemName,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether people were told that it is soon.
    pub told: bool,
}

/// A system that has failed and was not seen to answer since, whether it rests or was released meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailing {
    /// Which.
    pub system: SystemName,
    /// Since when.
    pub since: DateTime<Utc>,
}
