//! How the daemon is, for those who ask over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::http::tokens::Tokens;
use crate::config::Config;
use crate::model::key::{JobName, SystemName};

/// How the daemon is, for those who ask over HTTP.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// When each job fires next.
    pub next: BTreeMap<JobName, Option<DateTime<Utc>>>,
    /// The jobs at work.
    pub running: BTreeSet<JobName>,
    /// When the configuration in force was read.
    pub loaded: Option<DateTime<Utc>>,
    /// What was wrong at the last reload, in one line, if it failed.
    pub reload_failed: Option<String>,
    /// How often it was read anew since the start.
    pub reloads: Reloads,
    /// When the supervisor was last heard.
    pub heartbeat: Option<Instant>,
    /// Whether configuration, store and schedule stand.
    pub ready: bool,
    /// Whether the daemon was told to stop.
    pub stopping: bool,
    /// The configuration in force.
    pub config: Option<Arc<Config>>,
    /// The marks of the credentials in force.
    pub credentials: Arc<BTreeMap<SystemName, String>>,
    /// The bearer tokens in force.
    pub tokens: Arc<Tokens>,
}

/// How often a reload came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// The new configuration took effect.
    pub done: u64,
    /// Something was wrong, and the one before stayed.
    pub failed: u64,
}

/// A condition shared with those who ask.
pub type SharedCondition = Arc<Mutex<Condition>>;
