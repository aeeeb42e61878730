//! The supervisor: one loop that hears ticks, signals, finished runs and due retries, and starts what is to be started.
//!
//! It does no work of its own and waits for no store, so it is always there to listen; its heartbeat is what the watchdog hears. A job never
//! overlaps itself: whatever fires while it runs makes it run once more afterwards. A run that panics is a failed run.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::assemble::{Assembly, Services};
use super::condition::{Condition, SharedCondition};
use super::crew::{Crew, Occasion};
use super::failover::Failover;
use super::herald::Herald;
use super::lookout::{Lookout, Round, Sighting, prune, waits};
use super::notify;
use super::orders::{Declined, Errand, Order};
use super::reverse::Reversal;
use super::schedule::{Due, Ticker, Timing};
use super::signals::{Signals, Wish};
use super::telemetry::Telemetry;
use super::watch::Watch;
use crate::config::Config;
use crate::contract::journal::{Ended, Fired, JournalError, RunQuery, Trigger, Waits};
use crate::engine::run::{Unless, World, run_once};
use crate::engine::undo::only_observed;
use crate::model::key::{JobName, SystemName};

/// How often the retry queue is looked at.
const QUEUE: Duration = Duration::from_secs(1);
/// How long signals are gathered before a reload: several in a row mean one.
const GATHER: Duration = Duration::from_millis(200);
/// How often the supervisor is heard where systemd does not ask for more.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What a stop takes beyond the drain at the most: the message in hand, the last lines of the log.
const FAREWELL: Duration = Duration::from_secs(15);
/// How often old runs are pruned.
const PRUNE: Duration = Duration::from_secs(6 * 3600);

/// Why the daemon could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The scheduler.
    #[error("the scheduler could not be started: {0}")]
    Schedule(String),
    /// Signals.
    #[error("signals cannot be handled: {0}")]
    Signals(#[from] std::io::Error),
    /// The store.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The daemon.
pub struct Daemon {
    /// The configuration's file.
    pub file: PathBuf,
    /// What does not change when the configuration does.
    pub services: Services,
    /// The assembly at work.
    pub assembly: Assembly,
    /// Logging, whose level is reloaded; none in tests.
    pub telemetry: Option<Arc<Telemetry>>,
    /// How the daemon is.
    pub condition: SharedCondition,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("file", &self.file).finish_non_exhaustive()
    }
}

pub(super) struct Loop {
    pub(super) daemon: Daemon,
    ticker: Ticker,
    pub(super) crew: Crew,
    pub(super) failover: Failover,
    pub(super) lookout: Lookout,
    pub(super) herald: Herald,
    pub(super) stop: CancellationToken,
    /// Where it is told which files have changed.
    pub(super) changed: UnboundedSender<Vec<PathBuf>>,
    pub(super) watch: Option<Watch>,
    /// How many removals waited for a person when the store was looked at last.
    staged: u64,
}

/// A seed that is the same for the same job on every machine and after every restart.
pub fn seed(job: &JobName) -> u64 {
    let mut hasher = DefaultHasher::new();
    job.as_str().hash(&mut hasher);
    hasher.finish()
}

impl Daemon {
    /// Runs until told to stop. `orders` come from elsewhere in the process; signals from outside are heard if `signals` is
    /// given.
    ///
    /// # Errors
    /// What keeps it from starting. Later failures are logged and survived.
    pub async fn run(self, mut orders: UnboundedReceiver<Order>, mut signals: Option<Signals>) -> Result<(), DaemonError> {
        let (send, mut due) = unbounded_channel();
        let ticker = Ticker::start(send).await.map_err(|e| DaemonError::Schedule(e.to_string()))?;
        let crew = Crew::new(self.services.board.clone());
        let herald = Herald::start(&self.services, self.assembly.hooks.clone());
        let (changed, mut changes) = unbounded_channel();
        let stop = CancellationToken::new();
        let (failover, lookout) = (Failover::default(), Lookout::default());
        let mut this = Loop { daemon: self, ticker, crew, failover, lookout, herald, stop, changed, watch: None, staged: 0 };
        this.watch();
        this.schedule(&this.daemon.assembly.config.clone(), true).await?;
        this.ticker.open(true);
        this.in_force();
        this.condition(|c| c.ready = true);
        notify::ready(&this.status_line());
        tracing::info!(jobs = this.daemon.assembly.worlds.len(), file = %this.daemon.file.display(), "rosterd {} is ready", env!("CARGO_PKG_VERSION"));
        let watchdog = notify::watchdog();
        let mut queue = tokio::time::interval(QUEUE);
        queue.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heartbeat = tokio::time::interval(watchdog.map_or(HEARTBEAT, |w| w.min(HEARTBEAT)));
        let mut prune = tokio::time::interval(PRUNE);
        loop {
            tokio::select! {
                biased;
                wish = next_wish(&mut signals) => match wish {
                    (Wish::Stop, sender) => {
                        tracing::info!(sender.pid = sender, "told to stop; finishing the changes in hand");
                        break;
                    }
                    (Wish::Reload, sender) => {
                        tracing::info!(sender.pid = sender, "told to reload");
                        let stop = gather(&mut signals).await;
                        if let Some(sender) = stop {
                            tracing::info!(sender.pid = sender, "told to stop; finishing the changes in hand");
                            break;
                        }
                        this.reload(None).await;
                    }
                },
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(Order::Run(ask)) => this.asked(ask),
                    Some(Order::Undo(ask)) => this.reverse(*ask),
                    Some(Order::Reload) => this.reload(None).await,
                },
                Some(files) = changes.recv() => {
                    tracing::info!(?files, "has changed; the configuration is read again");
                    this.reload(Some(&files)).await;
                }
                Some(Due { job, caught_up, at }) = due.recv() => {
                    let trigger = if caught_up { Trigger::CatchUp } else { Trigger::Schedule };
                    let due = this.failover.fired(&this.daemon, &job, at);
                    this.start(&job, None, Occasion { fired: trigger.into(), due });
                }
                Some((work, fault)) = this.crew.next(), if !this.crew.is_idle() => this.finish(&work.job, fault),
                Some(sighting) = this.lookout.next(), if !this.lookout.is_idle() => match sighting {
                    Sighting::Due(due, rests) => this.work_off_due(due, &rests),
                    Sighting::Idle(candidates) => this.run_what_is_undone(candidates),
                    Sighting::Staged(waits) => this.tell_staged(&waits),
                    Sighting::Nothing => {}
                },
                _ = queue.tick() => {
                    this.look_at_queue();
                    this.look_after_others();
                }
                _ = heartbeat.tick() => {
                    this.beat(watchdog.is_some());
                    this.count_staged();
                }
                _ = prune.tick() => this.prune(),
            }
        }
        // Whoever waits for an answer hears that there is none.
        drop(orders);
        this.shut_down(&mut signals, watchdog.is_some()).await;
        Ok(())
    }
}

async fn next_wish(signals: &mut Option<Signals>) -> (Wish, Option<i32>) {
    match signals {
        Some(signals) => match signals.next().await {
            Some(wish) => wish,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Takes further reload signals that come within a moment. Returns who asked to stop, if somebody did meanwhile.
async fn gather(signals: &mut Option<Signals>) -> Option<Option<i32>> {
    let deadline = tokio::time::Instant::now() + GATHER;
    while let Ok((wish, sender)) = tokio::time::timeout_at(deadline, next_wish(signals)).await {
        if wish == Wish::Stop {
            return Some(sender);
        }
    }
    None
}

impl Loop {
    pub(super) fn condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.daemon.condition.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Says which configuration is in force from now on.
    pub(super) fn in_force(&self) {
        let assembly = &self.daemon.assembly;
        self.condition(|c| {
            c.loaded = Some(Utc::now());
            c.config = Some(assembly.config.clone());
            c.credentials = assembly.credentials.clone();
        });
    }

    pub(super) fn status_line(&self) -> String {
        let mut next: Vec<(DateTime<Utc>, &JobName)> =
            self.daemon.assembly.worlds.keys().filter_map(|job| Some((self.ticker.next(job)?, job))).collect();
        next.sort_unstable();
        let running: Vec<String> = self.crew.jobs().iter().map(ToString::to_string).collect();
        let mut parts = Vec::new();
        if let Some(why) = &self.daemon.condition.lock().unwrap_or_else(PoisonError::into_inner).reload_failed {
            parts.push(format!("reload failed, the configuration before stays in force: {why}"));
        }
        if !running.is_empty() {
            parts.push(format!("running {}", running.join(", ")));
        }
        parts.push(match next.first() {
            Some((at, job)) => format!("next: {job} at {}", at.format("%Y-%m-%d %H:%M:%SZ")),
            None => "nothing is scheduled".to_owned(),
        });
        match self.staged {
            0 => {}
            1 => parts.push("1 removal waits for approval".to_owned()),
            many => parts.push(format!("{many} removals wait for approval")),
        }
        parts.join("; ")
    }

    /// Has it counted what waits for a person, for the status line: where nobody hears it the store is not asked.
    fn count_staged(&mut self) {
        if !notify::is_heard() {
            return;
        }
        let journal = self.daemon.services.journal.clone();
        self.lookout.send(Round::Waits, async move { waits(&*journal).await });
    }

    /// Takes in what waits for a person, of the jobs that there are.
    fn tell_staged(&mut self, waits: &BTreeMap<(JobName, SystemName), Waits>) {
        let ours = waits.iter().filter(|((job, _), _)| self.daemon.assembly.worlds.contains_key(job));
        let staged = ours.map(|(_, waits)| waits.staged.values().sum::<u64>()).sum();
        if staged != self.staged {
            self.staged = staged;
            notify::status(&self.status_line());
        }
    }

    pub(super) fn beat(&self, watched: bool) {
        let next = self.daemon.assembly.worlds.keys().map(|job| (job.clone(), self.ticker.next(job))).collect();
        let running = self.crew.jobs();
        self.condition(|c| {
            c.heartbeat = Some(Instant::now());
            c.next = next;
            c.running = running;
        });
        if watched {
            notify::alive();
        }
        notify::status(&self.status_line());
    }

    /// Gives the ticker the jobs of a configuration. At start, a run missed while the daemon was down is caught up.
    pub(super) async fn schedule(&mut self, config: &Config, at_start: bool) -> Result<(), DaemonError> {
        let mut timings = BTreeMap::new();
        for (name, job) in &config.jobs {
            let (schedule, seed) = (job.schedule.clone(), seed(name));
            let last = if at_start { self.last(name, &job.targets).await? } else { None };
            timings.insert(name.clone(), Timing { next: Arc::new(move |after| schedule.next(after, seed)), last });
        }
        self.ticker.replace(timings).await.map_err(|e| DaemonError::Schedule(e.to_string()))?;
        self.beat(false);
        Ok(())
    }

    /// When a job ran last, for catching up. A run that somebody stopped left things half done and is caught up in any case, as if
    /// the last one had been ages ago. One that died is left to [`Loop::look_after_others`], which waits ever longer: a run that
    /// takes its process with it must not do so at every start.
    async fn last(&self, job: &JobName, targets: &[SystemName]) -> Result<Option<DateTime<Utc>>, JournalError> {
        let journal = &self.daemon.services.journal;
        // Where others stand by that is none of a single daemon's start.
        let alone = !journal.is_shared();
        for target in targets.iter().filter(|_| alone) {
            let query = RunQuery { job: Some(job.clone()), target: Some(target.clone()), limit: 1, ..RunQuery::default() };
            let last = journal.runs(&query).await?.into_iter().next();
            if last.and_then(|run| run.end).is_some_and(|end| end.ended == Ended::Interrupted) {
                tracing::info!(job.name = %job, target.name = %target, "the last run was cut off; it is caught up now");
                return Ok(Some(DateTime::UNIX_EPOCH));
            }
        }
        journal.last_began(job).await
    }

    /// Starts a job for somebody who asks, unless it is at work at one of the targets: whoever asks knows of no run but the
    /// one that begins now.
    fn asked(&mut self, ask: Errand) {
        let Errand { job, targets, by, answer: _ } = &ask;
        let only = (!targets.is_empty()).then_some(targets);
        let declined = match self.daemon.assembly.worlds.get(job).map(|world| self.where_to(job, world, only)) {
            Some((busy, _)) if !busy.is_empty() => Some(Declined::AtWork(busy)),
            Some((_, free)) if !free.is_empty() => None,
            Some(_) | None => Some(Declined::Unknown),
        };
        if declined.is_none() {
            tracing::info!(job.name = %job, actor = %by, "a run is asked for");
            self.start(job, only, Fired { trigger: Trigger::Api, by: Some(by.clone()) }.into());
        }
        ask.answer(declined.map_or(Ok(()), Err));
    }

    /// Shows or does an undo, unless the job is at work at the run's target: what would be shown were half of what it leaves.
    fn reverse(&mut self, ask: Reversal) {
        let (job, target) = (ask.run.start.job.clone(), ask.run.start.target.clone());
        let world = self.daemon.assembly.worlds.get(&job).cloned();
        let side = world.as_ref().and_then(|world| world.targets.iter().find(|side| side.name == target)).cloned();
        let (Some(world), Some(side)) = (world, side) else { return ask.answer(Err(Declined::Unknown)) };
        if let Some(why) = only_observed(&world, &side) {
            return ask.answer(Err(Declined::Observed(why)));
        }
        if self.crew.busy(&job).contains(&target) {
            return ask.answer(Err(Declined::AtWork(BTreeSet::from([target]))));
        }
        let what = if ask.reason.is_some() { "an undo is asked for" } else { "an undo is asked for, to be shown" };
        tracing::info!(job.name = %job, target.name = %target, actor = %ask.by, undone = %ask.run.start.id, "{what}");
        let stop = self.stop.clone();
        self.crew.retry(&job, target, async move { ask.carry_out(&world, &side, &stop).await });
        self.beat(false);
    }

    /// Starts a job at those of its targets (all, or the wanted ones) where it is not at work; at the others it runs once
    /// more afterwards.
    pub(super) fn start(&mut self, job: &JobName, wanted: Option<&BTreeSet<SystemName>>, occasion: Occasion) {
        let Some(world) = self.daemon.assembly.worlds.get(job).cloned() else { return };
        let (wait, free) = self.where_to(job, &world, wanted);
        if !wait.is_empty() {
            let names: Vec<&str> = wait.iter().map(SystemName::as_str).collect();
            let names = names.join(", ");
            if self.crew.wait(job, occasion.clone(), wait) {
                tracing::info!(job.name = %job, target.names = names, "is still running there; it runs once more afterwards");
            }
        }
        if free.is_empty() {
            return;
        }
        let (stop, only) = (self.stop.clone(), free.iter().cloned().collect::<Vec<_>>());
        self.crew.run(job, free, async move {
            let unless = occasion.due.map_or(Unless::Never, Unless::RunSince);
            if let Err(error) = run_once(&world, &only, occasion.fired, unless, &stop).await {
                tracing::error!(job.name = %world.job.name, "run failed: {error}");
            }
        });
        self.beat(false);
    }

    /// A job's targets (all, or the wanted ones): those where it is at work, and the others.
    fn where_to(
        &self,
        job: &JobName,
        world: &World,
        wanted: Option<&BTreeSet<SystemName>>,
    ) -> (BTreeSet<SystemName>, BTreeSet<SystemName>) {
        let busy = self.crew.busy(job);
        let targets = world.targets.iter().map(|side| side.name.clone());
        targets.filter(|target| wanted.is_none_or(|wanted| wanted.contains(target))).partition(|target| busy.contains(target))
    }

    fn finish(&mut self, job: &JobName, fault: Option<tokio::task::JoinError>) {
        if let Some(error) = fault {
            tracing::error!(job.name = %job, "the run ended in a fault of rosterd itself, please report it: {error}");
        }
        if let Some((occasion, targets)) = self.crew.take_waiting(job) {
            self.start(job, Some(&targets), occasion);
        }
        self.beat(false);
        self.count_staged();
    }

    fn prune(&mut self) {
        let keep =
            chrono::TimeDelta::from_std(self.daemon.assembly.config.daemon.keep_runs).unwrap_or(chrono::TimeDelta::days(90));
        let (journal, before) = (self.daemon.services.journal.clone(), self.daemon.services.clock.now() - keep);
        self.lookout.send(Round::Prune, async move { prune(&*journal, before).await });
    }

    /// Starts nothing more, lets the changes in hand be settled, and gives up on what is not done by the deadline.
    async fn shut_down(mut self, signals: &mut Option<Signals>, watched: bool) {
        let drain = self.daemon.assembly.config.daemon.drain;
        notify::stopping(drain + FAREWELL);
        self.ticker.open(false);
        self.condition(|c| (c.ready, c.stopping) = (false, true));
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + drain;
        let mut heartbeat = tokio::time::interval(Duration::from_secs(1));
        while !self.crew.is_idle() {
            tokio::select! {
                _ = self.crew.next() => {}
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(runs = self.crew.len(), "runs were not done within daemon.drain; the next start settles what they left");
                    break;
                }
                _ = heartbeat.tick() => {
                    self.condition(|c| c.heartbeat = Some(Instant::now()));
                    if watched {
                        notify::alive();
                    }
                }
                // Heard so that a reload asked for now does not end the process by its default action.
                _ = next_wish(signals) => {}
            }
        }
        self.herald.stop(deadline).await;
        tracing::info!("stopped");
    }
}
