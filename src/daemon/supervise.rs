//! The supervisor: one loop that hears ticks, signals, finished runs and due retries, and starts what is to be started.
//!
//! It does no work of its own, so it is always there to listen; its heartbeat is what the watchdog hears. A job never
//! overlaps itself: whatever fires while it runs makes it run once more afterwards. A run that panics is a failed run.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::assemble::{Assembly, Services, assemble, load};
use super::notify;
use super::schedule::{Due, Ticker, Timing};
use super::signals::{Signals, Wish};
use super::telemetry::Telemetry;
use crate::contract::journal::{JournalError, Trigger};
use crate::engine::rest::resting;
use crate::engine::run::{World, run};
use crate::engine::subjects::retry_subjects;
use crate::model::key::{JobName, SystemName};
use crate::model::retry::{Retry, Subject};

/// How often the retry queue is looked at.
const QUEUE: Duration = Duration::from_secs(1);
/// How long signals are gathered before a reload: several in a row mean one.
const GATHER: Duration = Duration::from_millis(200);
/// How often old runs are pruned.
const PRUNE: Duration = Duration::from_secs(6 * 3600);

/// How the daemon is, for those who ask over HTTP.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// When each job fires next.
    pub next: BTreeMap<JobName, Option<DateTime<Utc>>>,
    /// The jobs at work.
    pub running: BTreeSet<JobName>,
    /// When the configuration in force was read.
    pub loaded: Option<DateTime<Utc>>,
    /// Reloads that failed since the last good one, with what was wrong.
    pub reload_failed: Option<String>,
    /// When the supervisor was last heard.
    pub heartbeat: Option<DateTime<Utc>>,
    /// Whether configuration, store and schedule stand.
    pub ready: bool,
}

/// A condition shared with those who ask.
pub type SharedCondition = Arc<Mutex<Condition>>;

/// Something for the supervisor to do, from elsewhere in the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run a job now.
    Run(JobName),
    /// Finish and exit.
    Stop,
    /// Read the configuration again.
    Reload,
}

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

struct Loop {
    daemon: Daemon,
    ticker: Ticker,
    tasks: JoinSet<JobName>,
    task_jobs: BTreeMap<tokio::task::Id, JobName>,
    running: BTreeSet<JobName>,
    pending: BTreeMap<JobName, Trigger>,
    stop: CancellationToken,
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
        let mut this = Loop {
            daemon: self,
            ticker,
            tasks: JoinSet::new(),
            task_jobs: BTreeMap::new(),
            running: BTreeSet::new(),
            pending: BTreeMap::new(),
            stop: CancellationToken::new(),
        };
        this.schedule(true).await?;
        this.ticker.open(true);
        this.condition(|c| {
            c.ready = true;
            c.loaded = Some(Utc::now());
        });
        notify::ready(&this.status_line());
        tracing::info!(jobs = this.daemon.assembly.worlds.len(), file = %this.daemon.file.display(), "rosterd {} is ready", env!("CARGO_PKG_VERSION"));
        let watchdog = notify::watchdog();
        let mut queue = tokio::time::interval(QUEUE);
        queue.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heartbeat = tokio::time::interval(watchdog.unwrap_or(Duration::from_secs(10)));
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
                        gather(&mut signals).await;
                        this.reload().await;
                    }
                },
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(Order::Run(job)) => this.start(&job, Trigger::Command),
                    Some(Order::Reload) => this.reload().await,
                },
                Some(Due { job, caught_up }) = due.recv() => {
                    this.start(&job, if caught_up { Trigger::CatchUp } else { Trigger::Schedule });
                }
                Some(ended) = this.tasks.join_next_with_id(), if !this.tasks.is_empty() => this.finish(ended),
                _ = queue.tick() => this.drain_queue().await,
                _ = heartbeat.tick() => this.beat(watchdog.is_some()),
                _ = prune.tick() => this.prune().await,
            }
        }
        this.shut_down(&mut signals).await;
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

/// Takes further reload signals that come within a moment; a stop that comes among them is kept by the armed handler.
async fn gather(signals: &mut Option<Signals>) {
    let deadline = tokio::time::Instant::now() + GATHER;
    while let Ok((Wish::Reload, _)) = tokio::time::timeout_at(deadline, next_wish(signals)).await {}
}

impl Loop {
    fn condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.daemon.condition.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn status_line(&self) -> String {
        let mut next: Vec<(DateTime<Utc>, &JobName)> =
            self.daemon.assembly.worlds.keys().filter_map(|job| Some((self.ticker.next(job)?, job))).collect();
        next.sort_unstable();
        let running: Vec<&str> = self.running.iter().map(JobName::as_str).collect();
        let at_work = if running.is_empty() { String::new() } else { format!("running {}; ", running.join(", ")) };
        match next.first() {
            Some((at, job)) => format!("{at_work}next: {job} at {}", at.format("%Y-%m-%d %H:%M:%SZ")),
            None => format!("{at_work}nothing is scheduled"),
        }
    }

    fn beat(&self, watched: bool) {
        let next = self.daemon.assembly.worlds.keys().map(|job| (job.clone(), self.ticker.next(job))).collect();
        let running = self.running.clone();
        self.condition(|c| {
            c.heartbeat = Some(Utc::now());
            c.next = next;
            c.running = running;
        });
        if watched {
            notify::alive();
        }
        notify::status(&self.status_line());
    }

    /// Gives the ticker the jobs of the assembly. At start, a run missed while the daemon was down is caught up.
    async fn schedule(&mut self, at_start: bool) -> Result<(), DaemonError> {
        let mut timings = BTreeMap::new();
        for (name, job) in &self.daemon.assembly.config.jobs {
            let (schedule, seed) = (job.schedule.clone(), seed(name));
            let last = if at_start { self.daemon.services.journal.last_began(name).await? } else { None };
            timings.insert(name.clone(), Timing { next: Arc::new(move |after| schedule.next(after, seed)), last });
        }
        self.ticker.replace(timings).await.map_err(|e| DaemonError::Schedule(e.to_string()))?;
        self.beat(false);
        Ok(())
    }

    fn start(&mut self, job: &JobName, trigger: Trigger) {
        let Some(world) = self.daemon.assembly.worlds.get(job).cloned() else { return };
        if self.running.contains(job) {
            tracing::info!(job.name = %job, "is still running; it runs once more afterwards");
            self.pending.insert(job.clone(), trigger);
            return;
        }
        let stop = self.stop.clone();
        self.spawn(job, async move {
            if let Err(error) = run(&world, &[], trigger, &stop).await {
                tracing::error!(job.name = %world.job.name, "run failed: {error}");
            }
        });
    }

    fn spawn(&mut self, job: &JobName, work: impl Future<Output = ()> + Send + 'static) {
        let name = job.clone();
        self.running.insert(job.clone());
        let handle = self.tasks.spawn(async move {
            work.await;
            name
        });
        self.task_jobs.insert(handle.id(), job.clone());
        self.beat(false);
    }

    fn finish(&mut self, ended: Result<(tokio::task::Id, JobName), tokio::task::JoinError>) {
        let job = match ended {
            Ok((id, job)) => {
                self.task_jobs.remove(&id);
                job
            }
            Err(error) => {
                let Some(job) = self.task_jobs.remove(&error.id()) else { return };
                tracing::error!(job.name = %job, "the run ended in a fault of rosterd itself, please report it: {error}");
                job
            }
        };
        self.running.remove(&job);
        if let Some(trigger) = self.pending.remove(&job) {
            self.start(&job, trigger);
        }
        self.beat(false);
    }

    /// Starts what is due on the retry queue, for jobs that are not at work.
    async fn drain_queue(&mut self) {
        let now = self.daemon.services.clock.now();
        let retries = match self.daemon.services.journal.retries().await {
            Ok(retries) => retries,
            Err(error) => {
                tracing::warn!("the retry queue cannot be read: {error}");
                return;
            }
        };
        let mut due: BTreeMap<JobName, Vec<Retry>> = BTreeMap::new();
        for retry in retries.into_iter().filter(|r| r.not_before <= now && !self.running.contains(&r.job)) {
            due.entry(retry.job.clone()).or_default().push(retry);
        }
        if due.is_empty() {
            return;
        }
        // Whoever rests is not asked, and nothing is said of it again.
        let Ok(rests) = self.daemon.services.journal.rests().await else { return };
        let rests = |system: &SystemName| resting(rests.iter().find(|r| r.system == *system), now).is_some();
        due.retain(|job, retries| {
            retries.retain(|r| !rests(&r.target));
            let source = self.daemon.assembly.worlds.get(job).map(|w| w.source_name.clone());
            !retries.is_empty() && source.is_some_and(|s| !rests(&s))
        });
        for (job, due) in due {
            let Some(world) = self.daemon.assembly.worlds.get(&job).cloned() else { continue };
            let stop = self.stop.clone();
            self.spawn(&job, async move { work_off(&world, due, &stop).await });
        }
    }

    async fn reload(&mut self) {
        notify::reloading();
        match self.reloaded().await {
            Ok(()) => {
                self.condition(|c| {
                    c.loaded = Some(Utc::now());
                    c.reload_failed = None;
                });
                tracing::info!(jobs = self.daemon.assembly.worlds.len(), "the configuration was reloaded");
                notify::ready(&self.status_line());
            }
            Err(why) => {
                tracing::error!("the reload failed, the configuration before stays in force:\n{why}");
                let first = why.lines().next().unwrap_or_default().to_owned();
                notify::ready(&format!("reload failed: {first}"));
                self.condition(|c| c.reload_failed = Some(why));
            }
        }
    }

    /// Builds the whole new assembly, and only then puts it in the place of the old one.
    async fn reloaded(&mut self) -> Result<(), String> {
        let checked = load(&self.daemon.file, &self.daemon.services.kit).map_err(|e| e.render(false))?;
        for warning in &checked.warnings {
            tracing::warn!("{}", warning.render(false).trim_end());
        }
        let assembly = assemble(checked.config, &self.daemon.services).map_err(|e| e.to_string())?;
        let before = self.daemon.assembly.config.clone();
        if let Some(telemetry) = &self.daemon.telemetry {
            telemetry.set_level(&assembly.config.log.level).map_err(|e| e.to_string())?;
        }
        if before.daemon.state != assembly.config.daemon.state || before.daemon.listen != assembly.config.daemon.listen {
            tracing::warn!("daemon.state and daemon.listen take effect at the next start");
        }
        self.daemon.assembly = assembly;
        self.schedule(false).await.map_err(|e| e.to_string())?;
        // A new configuration may hold a new credential: who rested may be spoken to again.
        let systems: Vec<SystemName> =
            self.daemon.services.journal.rests().await.map_err(|e| e.to_string())?.into_iter().map(|r| r.system).collect();
        for system in systems {
            self.daemon.services.journal.rest(&system, None).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn prune(&self) {
        let keep =
            chrono::TimeDelta::from_std(self.daemon.assembly.config.daemon.keep_runs).unwrap_or(chrono::TimeDelta::days(90));
        match self.daemon.services.journal.prune(self.daemon.services.clock.now() - keep).await {
            Ok(0) => {}
            Ok(runs) => tracing::info!(runs, "old runs were pruned"),
            Err(error) => tracing::warn!("old runs could not be pruned: {error}"),
        }
    }

    /// Starts nothing more, lets the changes in hand be settled, and gives up on what is not done by the deadline.
    async fn shut_down(mut self, signals: &mut Option<Signals>) {
        let drain = self.daemon.assembly.config.daemon.drain;
        notify::stopping(drain);
        self.ticker.open(false);
        self.condition(|c| c.ready = false);
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + drain;
        while !self.tasks.is_empty() {
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(runs = self.tasks.len(), "runs were not done within daemon.drain; the next start settles what they left");
                    break;
                }
                // Heard so that a reload asked for now does not end the process by its default action.
                _ = next_wish(signals) => {}
            }
        }
        tracing::info!("stopped");
    }
}

/// Works off due entries of one job.
async fn work_off(world: &World, due: Vec<Retry>, stop: &CancellationToken) {
    let mut by_target: BTreeMap<SystemName, Vec<Retry>> = BTreeMap::new();
    for retry in due {
        by_target.entry(retry.target.clone()).or_default().push(retry);
    }
    let mut whole: Vec<SystemName> = Vec::new();
    for (target, due) in by_target {
        let Some(side) = world.targets.iter().find(|t| t.name == target) else {
            let subjects: Vec<Subject> = due.into_iter().map(|r| r.subject).collect();
            if let Err(error) = world.journal.dequeue(&world.job.name, &target, &subjects).await {
                tracing::warn!(target.name = %target, "{error}");
            }
            continue;
        };
        if due.iter().any(|r| r.subject == Subject::Everything) {
            whole.push(target);
            continue;
        }
        match retry_subjects(world, side, &due, stop).await {
            Ok(pass) if pass.needs_whole => whole.push(target),
            Ok(_) => {}
            Err(error) => tracing::error!(job.name = %world.job.name, target.name = %target, "retry failed: {error}"),
        }
    }
    if !whole.is_empty()
        && let Err(error) = run(world, &whole, Trigger::Retry, stop).await
    {
        tracing::error!(job.name = %world.job.name, "retry failed: {error}");
    }
}

/// A channel for orders.
pub fn orders() -> (UnboundedSender<Order>, UnboundedReceiver<Order>) {
    unbounded_channel()
}
