//! Whether the daemon can do its work, part by part: `/readyz`, and a figure among the metrics.
//!
//! A source that some job uses counts as ready once it was read since the start. Before that it is missed only if a run was due:
//! neither who waits for the schedule nor who is left alone for now is mended by taking the daemon out of service. What was
//! ready stays so; a source that fails later has alerts of its own.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::condition::Condition;
use super::http::View;
use super::metrics::Metrics;
use super::supervise::seed;
use crate::config::Config;
use crate::contract::journal::{JournalError, Rest};
use crate::engine::rest::resting;
use crate::model::key::SystemName;

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stands,
    /// It does, and this is to be said.
    StandsThough(&'static str),
    Missing(&'static str),
}

/// A part, and why it does not stand if it does not. In general words: anybody may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    name: String,
    state: State,
}

impl Part {
    fn new(name: impl Into<String>, missing: Option<&'static str>) -> Self {
        Self { name: name.into(), state: missing.map_or(State::Stands, State::Missing) }
    }

    /// Whether it stands.
    pub(super) fn stands(&self) -> bool {
        !matches!(self.state, State::Missing(_))
    }

    /// The part in one line.
    pub(super) fn line(&self) -> String {
        match self.state {
            State::Stands => format!("{} ok\n", self.name),
            State::StandsThough(why) => format!("{} ok: {why}\n", self.name),
            State::Missing(why) => format!("{} {why}\n", self.name),
        }
    }
}

/// How long the store may take: anybody may ask, and whoever watches waits for seconds only.
const PATIENCE: Duration = Duration::from_secs(2);

fn too_late() -> JournalError {
    JournalError { doing: "read who rests", why: "it took too long".to_owned(), passing: true }
}

/// All parts.
pub(super) async fn parts(view: &View, condition: &Condition) -> Vec<Part> {
    let (now, shared) = (view.clock.now(), view.journal.is_shared());
    match tokio::time::timeout(PATIENCE, view.journal.rests()).await.unwrap_or_else(|_| Err(too_late())) {
        Ok(rests) => readiness(&view.metrics, condition, &rests, shared, now),
        Err(error) => {
            tracing::warn!("not ready: {error}");
            let mut parts = readiness(&view.metrics, condition, &[], shared, now);
            parts[1] = Part::new("store", Some("cannot be read; the log says why"));
            parts
        }
    }
}

/// All parts, with a store that told these rests; `shared`: with other daemons.
pub(super) fn readiness(metrics: &Metrics, condition: &Condition, rests: &[Rest], shared: bool, now: DateTime<Utc>) -> Vec<Part> {
    let mut parts = vec![
        Part::new("configuration", condition.config.is_none().then_some("is not loaded yet")),
        Part::new("store", None),
        Part::new("schedule", (!condition.ready && !condition.stopping).then_some("has not started")),
        Part::new("daemon", condition.stopping.then_some("is stopping")),
    ];
    let Some(config) = &condition.config else { return parts };
    let used = config.sources.keys().filter(|source| config.jobs.values().any(|job| job.source == **source));
    parts.extend(used.map(|source| {
        let state = of_source(metrics, condition, config, source, rests, shared, now);
        Part { name: format!("source {source}"), state }
    }));
    parts
}

fn of_source(
    metrics: &Metrics,
    condition: &Condition,
    config: &Config,
    source: &SystemName,
    rests: &[Rest],
    shared: bool,
    now: DateTime<Utc>,
) -> State {
    if metrics.was_read(source) {
        return State::Stands;
    }
    if shared {
        // Whoever gets the lease reads it. That nobody does shows in the freshness of its targets.
        return State::StandsThough("not read here yet: other daemons that share the store may do the work");
    }
    let rests = |system: &SystemName| resting(rests.iter().find(|rest| rest.system == *system), now).is_some();
    if rests(source) {
        return State::StandsThough("not read yet, and left alone for now");
    }
    // A job that came with a reload had no chance before.
    let since = condition.loaded.map_or(metrics.started(), |loaded| loaded.max(metrics.started()));
    let jobs = || config.jobs.iter().filter(|(_, job)| job.source == *source);
    if jobs().all(|(name, job)| job.schedule.next(since, seed(name)).is_none_or(|due| due > now)) {
        return State::StandsThough("not read yet: no run has been due since the start or the last reload");
    }
    if jobs().flat_map(|(_, job)| &job.targets).all(rests) {
        return State::StandsThough("not read yet: all its targets are left alone for now");
    }
    State::Missing("has not been read whole yet")
}
