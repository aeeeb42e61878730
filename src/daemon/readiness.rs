//! Whether the daemon can do its work, part by part: `/readyz`, and a figure among the metrics.
//!
//! A source that some job uses counts as ready once it was read since the start, or if the store tells of a reading that is recent
//! enough, be it this daemon's before a restart or another one's. Where nobody has ever read it, it is missed only once a run was
//! due: a new installation waits for its schedule, and taking it out of service would mend nothing. Nor would it where the source,
//! or all that it is read for, is left alone for now. What was ready stays so; a source that fails later has alerts of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::condition::Condition;
use super::holder;
use super::http::View;
use super::metrics::{Known, Metrics};
use super::supervise::seed;
use crate::config::Config;
use crate::contract::journal::{Journal, JournalError, Rest};
use crate::engine::lease::worker;
use crate::engine::rest::resting;
use crate::model::key::{JobName, SystemName};

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
/// How long after the next run was due a reading still counts as recent: that run may be at work, and reads a large source under
/// tight limits for a while.
const AT_WORK: TimeDelta = TimeDelta::minutes(15);

/// What the store tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Who rests.
    pub(super) rests: Vec<Rest>,
    /// What is known of each job at each target.
    pub(super) known: BTreeMap<(JobName, SystemName), Known>,
    /// The targets at which somebody is at work, where several share the store.
    pub(super) at_work: BTreeSet<SystemName>,
}

/// The targets at which somebody is at work, if others share the store.
///
/// # Errors
/// A store that cannot be read.
pub(super) async fn at_work(
    journal: &dyn Journal,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<BTreeSet<SystemName>, JournalError> {
    if !journal.is_shared() {
        return Ok(BTreeSet::new());
    }
    let leases = journal.leases(now).await?;
    let targets = config.jobs.values().flat_map(|job| &job.targets);
    Ok(targets.filter(|target| worker(&leases, target, holder::gone).is_some()).cloned().collect())
}

/// Asks the store for no more than is not known already: anybody may ask, as often as they like.
async fn ask(view: &View, condition: &Condition) -> Result<Told, JournalError> {
    let journal = &*view.journal;
    let mut told = Told { rests: journal.rests().await?, ..Told::default() };
    let Some(config) = &condition.config else { return Ok(told) };
    for (job, written) in &config.jobs {
        if view.metrics.was_read(&written.source) {
            continue;
        }
        for target in &written.targets {
            told.known.insert((job.clone(), target.clone()), view.metrics.known(journal, job, target).await?);
        }
    }
    if told.known.is_empty() {
        return Ok(told);
    }
    told.at_work = at_work(journal, config, view.clock.now()).await?;
    Ok(told)
}

fn too_late() -> JournalError {
    JournalError { doing: "read what was done", why: "it took too long".to_owned(), passing: true }
}

/// All parts.
pub(super) async fn parts(view: &View, condition: &Condition) -> Vec<Part> {
    let now = view.clock.now();
    match tokio::time::timeout(PATIENCE, ask(view, condition)).await.unwrap_or_else(|_| Err(too_late())) {
        Ok(told) => readiness(&view.metrics, condition, &told, now),
        Err(error) => {
            tracing::warn!("not ready: {error}");
            let mut parts = readiness(&view.metrics, condition, &Told::default(), now);
            parts[1] = Part::new("store", Some("cannot be read; the log says why"));
            parts
        }
    }
}

/// All parts, with a store that told this.
pub(super) fn readiness(metrics: &Metrics, condition: &Condition, told: &Told, now: DateTime<Utc>) -> Vec<Part> {
    let mut parts = vec![
        Part::new("configuration", condition.config.is_none().then_some("is not loaded yet")),
        Part::new("store", None),
        Part::new("schedule", (!condition.ready && !condition.stopping).then_some("has not started")),
        Part::new("daemon", condition.stopping.then_some("is stopping")),
    ];
    let Some(config) = &condition.config else { return parts };
    let used = config.sources.keys().filter(|source| config.jobs.values().any(|job| job.source == **source));
    parts.extend(used.map(|source| {
        let state = of_source(metrics, condition, config, source, told, now);
        Part { name: format!("source {source}"), state }
    }));
    parts
}

fn of_source(
    metrics: &Metrics,
    condition: &Condition,
    config: &Config,
    source: &SystemName,
    told: &Told,
    now: DateTime<Utc>,
) -> State {
    if metrics.was_read(source) {
        return State::Stands;
    }
    let rests = |system: &SystemName| resting(told.rests.iter().find(|rest| rest.system == *system), now).is_some();
    if rests(source) {
        return State::StandsThough("not read yet, and left alone for now");
    }
    let jobs = || config.jobs.iter().filter(|(_, job)| job.source == *source);
    let known = |name: &JobName| -> Vec<Known> {
        told.known.iter().filter(|((job, _), _)| job == name).map(|(_, known)| *known).collect()
    };
    let is_recent = |read: DateTime<Utc>, job: &JobName| {
        let next = config.jobs.get(job).and_then(|written| written.schedule.next(read, seed(job)));
        next.is_none_or(|due| now <= due + AT_WORK)
    };
    if jobs().any(|(name, _)| known(name).into_iter().filter_map(Known::read).any(|read| is_recent(read, name))) {
        return State::StandsThough("not read since the start: by the store it was read of late");
    }
    // A job that came with a reload had no chance before.
    let since = condition.loaded.map_or(metrics.started(), |loaded| loaded.max(metrics.started()));
    let never = jobs().all(|(name, _)| known(name).iter().all(|known| known.first().is_none()));
    if never && jobs().all(|(name, job)| job.schedule.next(since, seed(name)).is_none_or(|due| due > now)) {
        return State::StandsThough("not read yet: no run has been due since the start or the last reload");
    }
    let mut targets = jobs().flat_map(|(_, job)| &job.targets);
    if targets.clone().all(rests) {
        return State::StandsThough("not read yet: all its targets are left alone for now");
    }
    if targets.any(|target| told.at_work.contains(target)) {
        return State::StandsThough("not read here yet: another daemon that shares the store is at work");
    }
    State::Missing("has not been read whole yet")
}
