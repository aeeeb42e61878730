//! The retry queue's entries: subjects to look at again at a given time, never frozen requests. When one is due its
//! subject is read, planned, guarded and applied afresh, so a retry cannot revive a decision that has become wrong.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

use super::key::{JobName, SourceKey, SystemName};

/// What is to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(tag = "subject", content = "key", rename_all = "snake_case")]
pub enum Subject {
    /// One source user, with all its memberships.
    User(SourceKey),
    /// The whole of the job at this target.
    Everything,
}

/// One entry of the retry queue, or of the quarantine once its attempts are spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retry {
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// What.
    pub subject: Subject,
    /// How often it failed in a row.
    pub attempts: u32,
    /// When it failed first.
    pub first_seen: DateTime<Utc>,
    /// Not before this time; no meaning once quarantined.
    pub not_before: DateTime<Utc>,
    /// The last cause, for a person.
    pub cause: String,
    /// Whether its attempts are spent: it rests until it heals in a run or a person releases it.
    pub quarantined: bool,
    /// The user name that the last whole run was about to give the subject, having seen that nobody else is to have it. A
    /// retry sees too few people to know that of any other name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user_name: Option<SmolStr>,
}
