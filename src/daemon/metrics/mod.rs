//! Metrics, for Prometheus.
//!
//! Two sorts, in one answer. What happens is counted in the process, by listening at the board: runs, stages, changes, and the
//! traffic that the meters count anyway. How things are is read from the journal when somebody asks, so that it is right after
//! a restart, and right as well when a command worked beside the daemon; by one asker at a time, and not again for whoever asks
//! within seconds.
//!
//! A journal that cannot be read is a figure of its own and no failure of the answer: whoever watches learns of it by the very
//! alert that watches the rest.
//!
//! Labels are names of the configuration and words of the program, never of users or groups: an answer stays small, and tells
//! nothing of people. The label of a job is `job_name`, since `job` is Prometheus's own and would be renamed by it.

pub mod catalogue;
mod counts;
mod gather;
mod known;
mod sheet;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

use self::counts::Counts;
pub(super) use self::known::Known;
use self::known::Memory;
use super::http::View;
use super::http::document::Looking;
use super::http::problem::{Kind, Problem};
use crate::contract::journal::{Journal, JournalError, RunEnd, RunStart};
use crate::engine::progress::{Listener, Stage};
use crate::model::change::OpKind;
use crate::model::key::{JobName, SystemName};

/// Where they are.
pub(super) const PATH: &str = "/metrics";

/// What is counted and remembered for the life of the process.
pub struct Metrics {
    started: DateTime<Utc>,
    counts: Counts,
    memory: Mutex<Memory>,
    /// The sources that were read whole since the start.
    read: Mutex<BTreeSet<SystemName>>,
    /// How many runs were heard to end: whatever was read before is of yesterday.
    ended: AtomicU64,
    /// Held by whoever reads the journal for an answer; what was read last.
    last: tokio::sync::Mutex<Option<gather::Kept>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("started", &self.started).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// Of a process that starts now.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            started: now,
            counts: Counts::new(),
            memory: Mutex::default(),
            read: Mutex::default(),
            ended: AtomicU64::default(),
            last: tokio::sync::Mutex::default(),
        }
    }

    /// When the process started.
    pub(super) fn started(&self) -> DateTime<Utc> {
        self.started
    }

    /// What is known of a job at a target, by the journal and by what was heard since.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub(super) async fn known(&self, journal: &dyn Journal, job: &JobName, target: &SystemName) -> Result<Known, JournalError> {
        if !locked(&self.memory).is_searched(job, target) {
            let told = journal.freshness(job, target).await?;
            locked(&self.memory).deep(job, target, told);
        }
        let query = locked(&self.memory).query(job, target);
        let runs = journal.runs(&query).await?;
        Ok(locked(&self.memory).learn(job, target, &runs))
    }

    /// Whether a source was read whole since the start.
    pub(super) fn was_read(&self, source: &SystemName) -> bool {
        locked(&self.read).contains(source)
    }
}

impl Listener for Metrics {
    fn source_read(&self, source: &SystemName) {
        locked(&self.read).insert(source.clone());
    }
    fn stage_over(&self, job: &JobName, target: &SystemName, stage: Stage, took: Duration) {
        self.counts.stage(job, target, stage, took);
    }
    fn changed(&self, job: &JobName, target: &SystemName, kind: OpKind, outcome: &'static str) {
        self.counts.change(job, target, kind, outcome);
    }
    fn run_over(&self, start: &RunStart, end: &RunEnd) {
        self.counts.run(start, end);
        locked(&self.memory).note(start, end);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// How things are and what was counted, for Prometheus.
#[utoipa::path(get, path = PATH, tag = "health", responses(
    (status = 200, description = "In Prometheus' text format", body = String, content_type = "text/plain"), Looking),
    security((), ("token" = [])))]
pub(super) async fn answer(State(view): State<View>) -> Response {
    match gather::scrape(&view).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!("metrics cannot be written, please report it: {error}");
            Problem::new(Kind::Unavailable, "metrics cannot be written; the log says why").into_response()
        }
    }
}
