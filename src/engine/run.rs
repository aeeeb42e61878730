//! A job's run: the source read once, then every target on its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::perform::{Performed, Tools, perform, retry};
use super::policy::Job;
use super::prepare::{Prepared, RunError, SourceReading, TargetSide, prepare};
use super::progress::{Board, Stage};
use super::proofs::Proofs;
use super::rest::{after_failure, resting};
use crate::contract::clock::Clock;
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::{Ended, Journal, JournalError, Lease, Rest, RunEnd, RunRecord, RunStart, Trigger};
use crate::contract::source::Source;
use crate::model::key::{JobName, RunId, SystemName};
use crate::model::retry::Subject;
use crate::reconcile::mapping::desired;

/// How long a lease lasts without being renewed.
const LEASE: Duration = Duration::from_secs(15);

/// The world of a job: its systems and the process's services. Cheap to clone; a reload makes a new one.
#[derive(Clone)]
pub struct World {
    /// The job.
    pub job: Arc<Job>,
    /// The source's name.
    pub source_name: SystemName,
    /// The source.
    pub source: Arc<dyn Source>,
    /// The targets.
    pub targets: Vec<TargetSide>,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// A draw from 0.0 to 1.0, for jitter.
    pub draw: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Who holds leases: this process.
    pub holder: String,
    /// Progress.
    pub board: Board,
    /// How many requests went to a system so far.
    pub requests: Arc<dyn Fn(&SystemName) -> u64 + Send + Sync>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("job", &self.job.name).field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// What became of one target's run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run as recorded.
    pub record: RunRecord,
    /// The fault that ended it, if one did: for exit codes.
    pub fault: Option<Fault>,
}

/// A run id for this moment.
pub fn run_id() -> RunId {
    RunId::from(Uuid::now_v7().to_string())
}

/// Reads the source and says what should be.
///
/// # Errors
/// Whatever kept the source from being read whole.
pub async fn read_source(world: &World) -> Result<SourceReading, ConnectorError> {
    let ask = world.job.ask();
    let roster = world.source.fetch(&ask).await?;
    let desired = desired(&roster, &world.job.rules);
    let known = roster.groups.iter().map(|g| g.key.clone()).collect();
    let proofs = Proofs::new(world.source.clone(), ask, known);
    Ok(SourceReading { roster, desired, proofs })
}

/// Plans for every target, and writes nothing: a dry run.
pub async fn plan(world: &World) -> Result<Vec<(SystemName, Result<Prepared, RunError>)>, ConnectorError> {
    for side in &world.targets {
        world.board.enter(&side.name, Stage::ReadingSource, 0);
    }
    let reading = read_source(world).await?;
    let plans = world.targets.iter().map(|side| async {
        let prepared = prepare(&world.job, side, &reading, &*world.journal, world.clock.now(), &world.board).await;
        world.board.enter(&side.name, Stage::Over, 0);
        (side.name.clone(), prepared)
    });
    Ok(futures::future::join_all(plans).await)
}

/// Runs the job at the named targets (all, if none is named). Never fails as a whole: each target has its own report.
///
/// # Errors
/// A store that cannot be written to at all.
pub async fn run(
    world: &World,
    only: &[SystemName],
    trigger: Trigger,
    stop: &CancellationToken,
) -> Result<Vec<Report>, JournalError> {
    let sides: Vec<&TargetSide> = world.targets.iter().filter(|t| only.is_empty() || only.contains(&t.name)).collect();
    let mut reports = Vec::new();
    let mut leased: Vec<(&TargetSide, Held)> = Vec::new();
    let rests: BTreeMap<SystemName, Rest> = world.journal.rests().await?.into_iter().map(|r| (r.system.clone(), r)).collect();
    for side in sides {
        let now = world.clock.now();
        let rests = resting(rests.get(&world.source_name), now).or_else(|| resting(rests.get(&side.name), now));
        if let Some(why) = rests {
            reports.push(skipped(world, side, trigger, why));
            continue;
        }
        world.board.enter(&side.name, Stage::Waiting, 0);
        match hold(world, &side.name, stop).await? {
            Some(lease) => leased.push((side, lease)),
            None => reports.push(skipped(world, side, trigger, format!("another run is at work on {}", side.name))),
        }
    }
    if leased.is_empty() {
        return Ok(reports);
    }
    let mut begun = Vec::new();
    for (side, lease) in &leased {
        let start =
            RunStart { id: run_id(), job: world.job.name.clone(), target: side.name.clone(), trigger, at: world.clock.now() };
        let lost = world.journal.recover(&side.name, start.at).await?;
        if !lost.is_empty() {
            tracing::warn!(target.name = %side.name, changes = lost.len(), "changes of a run that died are looked at again by this one");
        }
        world.journal.begin(&start).await?;
        world.board.enter(&side.name, Stage::ReadingSource, 0);
        begun.push((*side, lease, start));
    }
    let reading = read_source(world).await;
    settle_source(world, &rests, reading.as_ref().err()).await?;
    let runs = begun.into_iter().map(|(side, _, start)| {
        let reading = &reading;
        let before = rests.get(&side.name);
        async move {
            let report = one_target(world, side, start, reading, before, stop).await;
            world.board.enter(&side.name, Stage::Over, 0);
            report
        }
    });
    let finished = futures::future::join_all(runs).await;
    // The credential may be taken back between the reading and the proofs.
    if let Some(error) = reading.as_ref().ok().and_then(|reading| reading.proofs.refusal()) {
        put_to_rest(world, &world.source_name, None, &error).await?;
    }
    for (_, held) in leased {
        held.release(world).await;
    }
    for report in finished {
        reports.push(report?);
    }
    Ok(reports)
}

/// A run that was not begun. It leaves no record: nothing happened.
fn skipped(world: &World, side: &TargetSide, trigger: Trigger, why: String) -> Report {
    let at = world.clock.now();
    let start = RunStart { id: run_id(), job: world.job.name.clone(), target: side.name.clone(), trigger, at };
    tracing::debug!(job.name = %world.job.name, target.name = %side.name, "not run: {why}");
    Report { record: RunRecord { start, end: Some(failed_end(at, vec![why])) }, fault: None }
}

fn failed_end(at: DateTime<Utc>, messages: Vec<String>) -> RunEnd {
    RunEnd {
        ended: Ended::Failed,
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

async fn one_target(
    world: &World,
    side: &TargetSide,
    start: RunStart,
    reading: &Result<SourceReading, ConnectorError>,
    before: Option<&Rest>,
    stop: &CancellationToken,
) -> Result<Report, JournalError> {
    let sent = (world.requests)(&side.name);
    let tools = Tools { journal: &*world.journal, clock: &*world.clock, draw: &*world.draw, stop, board: &world.board };
    let outcome = match reading {
        Err(error) => Err(RunError::Connector(error.clone())),
        Ok(reading) => match prepare(&world.job, side, reading, tools.journal, world.clock.now(), &world.board).await {
            Err(error) => Err(error),
            Ok(prepared) if world.job.observe => Ok(Performed { end: observed(prepared, world.clock.now()), stopped: None }),
            Ok(prepared) => {
                perform(&start.id, &world.job, side, prepared, &reading.proofs, tools, true).await.map_err(RunError::Journal)
            }
        },
    };
    let (mut end, fault) = match outcome {
        Ok(Performed { end, stopped }) => {
            settle_target(world, side, before, &end, stopped.as_ref()).await?;
            (end, stopped.map(|error| error.fault))
        }
        Err(RunError::Journal(error)) => return Err(error),
        Err(RunError::Connector(error)) => {
            let hint = error.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
            if reading.is_ok() {
                put_to_rest(world, &side.name, before, &error).await?;
            }
            queue_whole_run(world, side, &error, tools).await?;
            (failed_end(world.clock.now(), vec![format!("{error}{hint}")]), Some(error.fault))
        }
    };
    end.requests = (world.requests)(&side.name).saturating_sub(sent);
    tools.journal.end(&start.id, &end).await?;
    tell_run(&start, &end);
    Ok(Report { record: RunRecord { start, end: Some(end) }, fault })
}

/// The target's rest follows what came of writing to it. An empty bucket is no sickness: its time is on the queue.
async fn settle_target(
    world: &World,
    side: &TargetSide,
    before: Option<&Rest>,
    end: &RunEnd,
    stopped: Option<&ConnectorError>,
) -> Result<(), JournalError> {
    match stopped {
        Some(error) if !matches!(error.fault, Fault::Limited { .. }) => put_to_rest(world, &side.name, before, error).await,
        Some(_) | None if before.is_some() && end.ended != Ended::Interrupted => world.journal.rest(&side.name, None).await,
        Some(_) | None => Ok(()),
    }
}

/// Writes the rest of a system that failed, and says so.
pub(super) async fn put_to_rest(
    world: &World,
    system: &SystemName,
    before: Option<&Rest>,
    error: &ConnectorError,
) -> Result<(), JournalError> {
    let rest = after_failure(system, before, error, &world.job.retry, world.clock.now());
    tell_rest(before, &rest);
    world.journal.rest(system, Some(&rest)).await
}

/// The end of a run that only looks.
fn observed(prepared: Prepared, at: DateTime<Utc>) -> RunEnd {
    let plan = prepared.judged.admitted.plan();
    let planned = plan.counts().into_iter().map(|(k, n)| (k, n as u64)).collect();
    let mut messages = vec!["this job only observes (mode = \"observe\"): nothing was changed".to_owned()];
    messages.extend(prepared.judged.violations.iter().map(|v| format!("{}: {}", v.guard, v.text)));
    let ended = if plan.changes.is_empty() { Ended::Converged } else { Ended::Applied };
    let plan = Some(crate::reconcile::hash::plan_id(plan));
    RunEnd { ended, planned, plan, sizes: prepared.sizes, ..failed_end(at, messages) }
}

/// A run that met a passing fault is queued as a whole, unless the schedule comes first anyway.
async fn queue_whole_run(world: &World, side: &TargetSide, error: &ConnectorError, tools: Tools<'_>) -> Result<(), JournalError> {
    let Disposition::RetryLater { .. } = error.fault.disposition() else { return Ok(()) };
    let waiting: Vec<_> =
        tools.journal.retries().await?.into_iter().filter(|r| r.job == world.job.name && r.target == side.name).collect();
    let entry = retry(&world.job, side, &Subject::Everything, error, &waiting, tools);
    tools.journal.enqueue(&[entry]).await
}

/// The source's own rest follows its reading.
async fn settle_source(
    world: &World,
    rests: &BTreeMap<SystemName, Rest>,
    error: Option<&ConnectorError>,
) -> Result<(), JournalError> {
    let before = rests.get(&world.source_name);
    match error {
        Some(error) => put_to_rest(world, &world.source_name, before, error).await,
        None if before.is_some() => world.journal.rest(&world.source_name, None).await,
        None => Ok(()),
    }
}

/// One message when a rest begins and when its cause changes, none per run.
fn tell_rest(before: Option<&Rest>, rest: &Rest) {
    if before.is_none_or(|b| b.fault != rest.fault) {
        tracing::error!(system.name = %rest.system, fault = %rest.fault, "{}", rest.cause);
    }
}

/// One line a run.
fn tell_run(start: &RunStart, end: &RunEnd) {
    let done: u64 = end.done.iter().map(|(_, n)| n).sum();
    let seconds = (end.at - start.at).num_milliseconds() as f64 / 1000.0;
    let (job, target, run) = (&start.job, &start.target, &start.id);
    if end.ended == Ended::Failed {
        let why = end.messages.first().map(String::as_str).unwrap_or_default();
        tracing::error!(job.name = %job, target.name = %target, run.id = %run, seconds, "run failed: {why}");
    } else {
        tracing::info!(
            job.name = %job, target.name = %target, run.id = %run, seconds, done, failed = end.failed, staged = end.staged,
            requests = end.requests, "run {}", end.ended.word()
        );
    }
}

/// A held lease, renewed in the background until released.
pub struct Held {
    lease: Lease,
    renewal: tokio::task::JoinHandle<()>,
}

/// A run that is dropped or panics must not keep its target for ever: the lease runs out by itself.
impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Held {
    /// Gives the lease back.
    pub async fn release(self, world: &World) {
        self.renewal.abort();
        if let Err(error) = world.journal.unlease(&self.lease).await {
            tracing::warn!(lease.name = %self.lease.name, "{error}; the lease runs out by itself");
        }
    }
}

/// Takes the lease on a target, waiting for one that is about to run out. `None`: somebody else keeps it.
///
/// # Errors
/// Only the journal's.
pub async fn hold(world: &World, target: &SystemName, stop: &CancellationToken) -> Result<Option<Held>, JournalError> {
    let name = format!("target/{target}");
    let started = world.clock.now();
    loop {
        let now = world.clock.now();
        if let Some(lease) = world.journal.lease(&name, &world.holder, LEASE, now).await? {
            let (journal, clock, holder) = (world.journal.clone(), world.clock.clone(), world.holder.clone());
            let renewal = tokio::spawn(async move {
                loop {
                    clock.sleep(LEASE / 3).await;
                    if let Err(error) = journal.lease(&name, &holder, LEASE, clock.now()).await {
                        tracing::warn!(lease.name = %name, "{error}");
                    }
                }
            });
            return Ok(Some(Held { lease, renewal }));
        }
        let waited = (now - started).to_std().unwrap_or_default();
        if waited > LEASE || stop.is_cancelled() {
            return Ok(None);
        }
        world.clock.sleep(Duration::from_millis(500)).await;
    }
}

/// The job's name, for whoever keeps worlds.
pub fn name(world: &World) -> &JobName {
    &world.job.name
}
