//! A job's run: the source read once, then every target on its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::lease::{Held, at_work, hold, hold_unasked};
use super::panic::{Panicked, own_fault, unless_it_panics};
use super::perform::{Performed, Tools, perform, retry};
use super::policy::Job;
use super::prepare::{Prepared, RunError, SourceReading, TargetSide, prepare};
use super::progress::{Board, Stage};
use super::proofs::Proofs;
use super::rest::{Refusals, Rests, is_empty_bucket, put_to_rest, settle_source, settle_target};
use super::{spans, tell};
use crate::contract::chain::Head;
use crate::contract::clock::Clock;
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::{
    Ended, Fired, Journal, JournalError, Outcome, Rest, RunEnd, RunQuery, RunRecord, RunStart, Trigger,
};
use crate::contract::source::Source;
use crate::model::key::{JobName, RunId, SystemName};
use crate::model::retry::{Retry, Subject};
use crate::reconcile::health::Signs;
use crate::reconcile::mapping::desired;

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
    /// Whether a holder of a lease is known to be gone, so that nobody waits for its lease to run out. Must be false where
    /// it cannot be known.
    pub gone: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Progress.
    pub board: Board,
    /// How many requests went to a system so far.
    pub requests: Arc<dyn Fn(&SystemName) -> u64 + Send + Sync>,
    /// The marks of the credentials that the systems are spoken to with, by which a refused one is known again.
    pub credentials: Arc<BTreeMap<SystemName, String>>,
    /// The refusals that were met; those of one configuration share them.
    pub refusals: Arc<Refusals>,
}

impl World {
    /// The mark of the credential that a system is spoken to with.
    pub fn credential(&self, system: &SystemName) -> Option<&str> {
        self.credentials.get(system).map(String::as_str)
    }
}

/// When a run is needless: what it is for may have been done by somebody else while it waited for its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unless {
    /// Never.
    #[default]
    Never,
    /// Somebody has run the job here since this time, to the end.
    RunSince(DateTime<Utc>),
    /// None of these entries of the retry queue is as it was.
    Settled(Vec<Retry>),
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("job", &self.job.name).field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// For how long what this configuration does not know is left to whoever knows it, where several may.
const ANOTHERS: TimeDelta = TimeDelta::days(1);

/// Whether something that waits, and that no job here sees to, may be dropped: nobody else is there, or nobody has seen to it
/// for so long since it was due. Daemons over one journal differ for as long as a new configuration takes to reach them all.
pub fn is_anybodys(journal: &dyn Journal, due: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    !journal.is_shared() || now - due > ANOTHERS
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
    let signs = Signs::of(&roster, &world.job.health);
    Ok(SourceReading { signs, desired, proofs })
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
    fired: impl Into<Fired>,
    stop: &CancellationToken,
) -> Result<Vec<Report>, JournalError> {
    run_once(world, only, fired.into(), Unless::Never, stop).await
}

/// The same where others stand by: at a target where somebody else has done it meanwhile, nothing is to be done.
///
/// # Errors
/// A store that cannot be written to at all.
pub async fn run_once(
    world: &World,
    only: &[SystemName],
    fired: Fired,
    unless: Unless,
    stop: &CancellationToken,
) -> Result<Vec<Report>, JournalError> {
    let sides: Vec<&TargetSide> = world.targets.iter().filter(|t| only.is_empty() || only.contains(&t.name)).collect();
    let mut reports = Vec::new();
    let mut leased: Vec<(&TargetSide, Held)> = Vec::new();
    // Nobody waits for a turn at a system that is left alone.
    let rests = Rests::of_world(world).await?;
    for side in sides {
        if let Some(alone) = rests.forbid(world, &side.name, world.clock.now()) {
            let fault = alone.fault();
            reports.push(skipped(world, side, &fired, alone.why, fault));
            continue;
        }
        world.board.enter(&side.name, Stage::Waiting, 0);
        let held = match fired.trigger {
            Trigger::Command | Trigger::Api | Trigger::Undo => hold(world, &side.name, stop).await?,
            Trigger::Schedule | Trigger::CatchUp | Trigger::Retry => hold_unasked(world, &side.name, stop).await?,
        };
        match held {
            Some(lease) if is_done(world, side, &unless).await? => {
                lease.release().await;
                world.board.enter(&side.name, Stage::Over, 0);
            }
            Some(lease) => leased.push((side, lease)),
            None => {
                let why = at_work(world, &side.name).await?;
                reports.push(skipped(world, side, &fired, why, Fault::Unavailable { retry_after: None }));
            }
        }
    }
    if leased.is_empty() {
        return Ok(reports);
    }
    // Whoever had the turn before may have been refused, or seen the system well again.
    let rests = Rests::of_world(world).await?;
    let mut begun = Vec::new();
    for (side, lease) in leased {
        if let Some(alone) = rests.forbid(world, &side.name, world.clock.now()) {
            lease.release().await;
            let fault = alone.fault();
            reports.push(skipped(world, side, &fired, alone.why, fault));
            continue;
        }
        let start = start(world, side, &fired);
        let span = spans::of_run(&start);
        lease.is_for(&span);
        begin(&lease.world(world), side, &start).instrument(span).await?;
        begun.push((side, lease, start));
    }
    if begun.is_empty() {
        return Ok(reports);
    }
    let reading_span = spans::of_reading(world, begun.iter().map(|(_, _, start)| start));
    let reading = match unless_it_panics(unless_stopped(stop, read_source(world))).instrument(reading_span.clone()).await {
        Ok(Some(reading)) => reading,
        unread => {
            for (side, lease, start) in begun {
                let world = lease.world(world);
                let end = match unread {
                    Ok(_) => broken_off(world.clock.now()),
                    Err(_) => own_fault(&world, side).await?,
                };
                let head = world.journal.end(&start.id, &end).await?;
                tell_run(&world, &start, &end, &head);
                lease.release().await;
                world.board.enter(&side.name, Stage::Over, 0);
                reports.push(Report { record: RunRecord { start, end: Some(end) }, fault: None });
            }
            return Ok(reports);
        }
    };
    // What the reading tells of the source is written by a lease like the rest: by the first that still stands, since one that is
    // lost is no other target's business.
    let mut told = Ok(());
    for (_, lease, _) in &begun {
        let world = lease.world(world);
        told = settle_source(&world, &rests, reading.as_ref().err()).instrument(reading_span.clone()).await;
        if told.is_ok() {
            break;
        }
    }
    told?;
    if reading.is_ok() {
        world.board.source_read(&world.source_name);
    }
    let refusal_told = Mutex::new(false);
    let runs = begun.into_iter().map(|(side, lease, start)| {
        let (reading, refusal_told) = (&reading, &refusal_told);
        let before = rests.of(&side.name);
        let span = spans::of_run(&start);
        let run = async move {
            let by_lease = lease.world(world);
            let report = one_target(&by_lease, side, start, reading, before, stop).await;
            let told = tell_refusal(&by_lease, reading.as_ref().ok(), refusal_told).await;
            let report = report.and_then(|report| told.map(|()| report));
            // Each target is free as soon as it is done: a slow one holds up itself alone.
            lease.release().await;
            world.board.enter(&side.name, Stage::Over, 0);
            report
        };
        run.instrument(span)
    });
    let finished = futures::future::join_all(runs).await;
    for report in finished {
        reports.push(report?);
    }
    Ok(reports)
}

/// Begins a run: what one before it left open is looked at first.
async fn begin(world: &World, side: &TargetSide, start: &RunStart) -> Result<(), JournalError> {
    let lost = world.journal.recover(&side.name, start.at).await?;
    if !lost.is_empty() {
        tracing::warn!(changes = lost.len(), "changes of a run that died are looked at again by this one");
        lost.iter().for_each(|change| world.board.changed(&side.name, change.intent.kind, Outcome::Lost.word()));
    }
    world.journal.begin(start).await?;
    world.board.enter(&side.name, Stage::ReadingSource, 0);
    Ok(())
}

/// The source's credential may be taken back between the reading and the proofs. Whichever target meets that first tells it.
async fn tell_refusal(world: &World, reading: Option<&SourceReading>, told: &Mutex<bool>) -> Result<(), JournalError> {
    let Some(error) = reading.and_then(|reading| reading.proofs.refusal()) else { return Ok(()) };
    let mut told = told.lock().await;
    if !*told {
        put_to_rest(world, &world.source_name, None, &error).await?;
        *told = true;
    }
    Ok(())
}

/// Whether somebody else has done here what the run is for. To be asked under the lease.
async fn is_done(world: &World, side: &TargetSide, unless: &Unless) -> Result<bool, JournalError> {
    match unless {
        Unless::Never => Ok(false),
        Unless::RunSince(due) => {
            let last = last_wholes(&*world.journal, &world.job.name, &side.name, 1).await?;
            Ok(last
                .into_iter()
                .next()
                .is_some_and(|run| run.start.at >= *due && run.end.is_some_and(|end| end.ended != Ended::Interrupted)))
        }
        Unless::Settled(entries) => {
            let waiting = world.journal.retries().await?;
            Ok(!entries.iter().any(|entry| waiting.contains(entry)))
        }
    }
}

/// The newest runs of a job at a target over everything (neither retries nor undos), at most so many, the newest first.
///
/// # Errors
/// A store that cannot be read.
pub async fn last_wholes(
    journal: &dyn Journal,
    job: &JobName,
    target: &SystemName,
    limit: u32,
) -> Result<Vec<RunRecord>, JournalError> {
    journal.runs(&RunQuery { job: Some(job.clone()), target: Some(target.clone()), whole: true, limit, beyond: None }).await
}

/// A run that was not begun. It leaves no record: nothing happened.
fn skipped(world: &World, side: &TargetSide, fired: &Fired, why: String, fault: Fault) -> Report {
    let start = start(world, side, fired);
    let (job, target) = (&world.job.name, &side.name);
    match (&fired.by, fired.trigger) {
        // Nobody waits for the outcome of a run over HTTP: the log is where its asker is told.
        (Some(by), Trigger::Api) => tracing::warn!(job.name = %job, target.name = %target, actor = %by, "not run: {why}"),
        _ => tracing::debug!(job.name = %job, target.name = %target, "not run: {why}"),
    }
    world.board.enter(&side.name, Stage::Over, 0);
    let end = failed_end(start.at, vec![why]);
    Report { record: RunRecord { start, end: Some(end) }, fault: Some(fault) }
}

fn start(world: &World, side: &TargetSide, Fired { trigger, by }: &Fired) -> RunStart {
    RunStart {
        id: run_id(),
        job: world.job.name.clone(),
        target: side.name.clone(),
        trigger: *trigger,
        by: by.clone(),
        at: world.clock.now(),
    }
}

pub(super) fn failed_end(at: DateTime<Utc>, messages: Vec<String>) -> RunEnd {
    RunEnd::bare(Ended::Failed, at, messages)
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
    let tools = Tools { journal: &world.journal, clock: &*world.clock, draw: &*world.draw, stop, board: &world.board };
    let outcome = match reading {
        Err(error) => Err(RunError::Connector(error.clone())),
        Ok(reading) => match unless_it_panics(carry_out(world, side, &start, reading, tools)).await {
            Ok(outcome) => outcome,
            Err(Panicked) => {
                let mut end = own_fault(world, side).await?;
                end.requests = (world.requests)(&side.name).saturating_sub(sent);
                let head = tools.journal.end(&start.id, &end).await?;
                // What was under way is open in the journal: the next reading settles it.
                tools.journal.recover(&side.name, end.at).await?;
                tell_run(world, &start, &end, &head);
                return Ok(Report { record: RunRecord { start, end: Some(end) }, fault: None });
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
            if reading.is_ok() && !is_empty_bucket(&error) {
                put_to_rest(world, &side.name, before, &error).await?;
            }
            queue_whole_run(world, side, &error, tools).await?;
            // A right that is missing at the source shows in either way: by a refusal, or by nobody who is shown.
            let blind = reading.is_err() && (error.shows_nobody() || error.fault == Fault::Forbidden);
            let end = match blind {
                true => {
                    let why = format!("the source cannot be trusted in this run, so nothing is removed: {error}{hint}");
                    RunEnd::bare(Ended::Blind, world.clock.now(), vec![why])
                }
                false => failed_end(world.clock.now(), vec![format!("{error}{hint}")]),
            };
            (end, Some(error.fault))
        }
    };
    end.requests = (world.requests)(&side.name).saturating_sub(sent);
    let head = tools.journal.end(&start.id, &end).await?;
    tell_run(world, &start, &end, &head);
    Ok(Report { record: RunRecord { start, end: Some(end) }, fault })
}

/// Reads, plans, and does what is to be done.
async fn carry_out(
    world: &World,
    side: &TargetSide,
    start: &RunStart,
    reading: &SourceReading,
    tools: Tools<'_>,
) -> Result<Performed, RunError> {
    let prepared = prepare(&world.job, side, reading, &**tools.journal, world.clock.now(), &world.board);
    let only = |end| Performed { end, stopped: None };
    match unless_stopped(tools.stop, prepared).await {
        None => Ok(only(broken_off(world.clock.now()))),
        Some(Err(error)) => Err(error),
        Some(Ok(prepared)) => {
            let (now, expires) = (world.clock.now(), prepared.capabilities.expires);
            tell::expiry(&**tools.journal, &world.job, &side.name, expires, now).await?;
            if world.job.observes(&side.name) {
                // Queued while the job still wrote here. Nothing is tried again where nothing is tried.
                let anybodys = |r: &&Retry| is_anybodys(&**tools.journal, r.not_before, now);
                let waiting = prepared.confirmed.waiting.iter().filter(anybodys);
                let waiting: Vec<Subject> = waiting.map(|r| r.subject.clone()).collect();
                tools.journal.dequeue(&world.job.name, &side.name, &waiting).await?;
                return Ok(only(observed(prepared, now)));
            }
            Ok(perform(&start.id, &world.job, side, prepared, tools, true).await?)
        }
    }
}

/// A reading has nothing to settle: told to stop, it is dropped where it is. `None` then.
pub(super) async fn unless_stopped<T>(stop: &CancellationToken, reading: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        read = reading => Some(read),
    }
}

/// The end of a run whose reading was broken off.
fn broken_off(at: DateTime<Utc>) -> RunEnd {
    let why = "told to stop while it was reading: nothing was changed".to_owned();
    RunEnd::bare(Ended::Interrupted, at, vec![why])
}

/// The end of a run that only looks.
fn observed(prepared: Prepared, at: DateTime<Utc>) -> RunEnd {
    let plan = prepared.judged.admitted.plan();
    let planned = plan.counts().into_iter().map(|(k, n)| (k, n as u64)).collect();
    let mut messages =
        vec!["this target is only observed by the job (its mode, or its list `observe`): nothing was changed".to_owned()];
    messages.extend(prepared.judged.violations.iter().map(|v| format!("{}: {}", v.guard, v.text)));
    messages.extend(prepared.confirmed.messages);
    let ended = if plan.changes.is_empty() { Ended::Converged } else { Ended::Observed };
    let plan = Some(crate::reconcile::hash::plan_id(plan));
    RunEnd { planned, plan, sizes: prepared.sizes, ..RunEnd::bare(ended, at, messages) }
}

/// A run that met a passing fault is queued as a whole, unless the schedule comes first anyway.
async fn queue_whole_run(world: &World, side: &TargetSide, error: &ConnectorError, tools: Tools<'_>) -> Result<(), JournalError> {
    let Disposition::RetryLater { .. } = error.fault.disposition() else { return Ok(()) };
    if world.job.observes(&side.name) {
        return Ok(());
    }
    let waiting: Vec<_> =
        tools.journal.retries().await?.into_iter().filter(|r| r.job == world.job.name && r.target == side.name).collect();
    let entry = retry(&world.job, side, &Subject::Everything, error, &waiting, tools);
    tools.journal.enqueue(&[entry]).await
}

/// One line a run, however it ended, with the chain's head: kept elsewhere, it shows that what the journal tells of this run was not
/// changed. It is whole by itself, so as text it does not repeat the run's span.
pub(super) fn tell_run(world: &World, start: &RunStart, end: &RunEnd, head: &Head) {
    world.board.ended(start, end);
    let done: u64 = end.done.iter().map(|(_, n)| n).sum();
    let seconds = (end.at - start.at).num_milliseconds() as f64 / 1000.0;
    macro_rules! tell {
        ($level:ident, $($text:tt)+) => {
            tracing::$level!(
                parent: Span::none(), job.name = %start.job, target.name = %start.target, run.id = %start.id, seconds, done,
                failed = end.failed, staged = end.staged, requests = end.requests, journal.head = %head.hash, $($text)+
            )
        };
    }
    if end.ended == Ended::Failed {
        let why = end.messages.first().map(String::as_str).unwrap_or_default();
        tell!(error, "run failed: {why}");
    } else {
        tell!(info, "run {}", end.ended.word());
    }
}

/// The job's name, for whoever keeps worlds.
pub fn name(world: &World) -> &JobName {
    &world.job.name
}
