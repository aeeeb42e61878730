//! What scenario tests stand on: simulated systems over real HTTP, a real configuration file, the real assembly and store,
//! and a clock that moves only when the test moves it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::{Ended, Journal, RunEnd, Trigger};
use rosterd::daemon::assemble::{Assembly, Services, assemble, kit, load};
use rosterd::engine::run::{Report, World as JobWorld, plan, run};
use rosterd::model::key::{JobName, SystemName};
use rosterd::reconcile::render::{PlanView, view};
use rosterd::store::{self, Access};
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::world::World;
use tokio_util::sync::CancellationToken;

/// A clock that stands still until it is moved. Sleeping moves nothing: it returns after a hundredth of the time, so that loops
/// that wait for something else do not spin.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// Starts at the real time.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Utc::now())))
    }
    /// Moves on.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().expect("not poisoned") += by;
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("not poisoned")
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep((duration / 100).max(Duration::from_millis(1))).await;
    }
}

/// An estate under a configuration.
pub struct Scene {
    /// The simulated systems.
    pub estate: Estate,
    /// The folder with the configuration, the secrets and the state file.
    pub folder: tempfile::TempDir,
    /// The store.
    pub journal: Arc<dyn Journal>,
    /// The assembly.
    pub assembly: Assembly,
    /// What it was assembled with.
    pub services: Services,
    /// The clock.
    pub clock: Arc<ManualClock>,
}

/// How a scene is set up: parts of the configuration, and the systems' options.
#[derive(Default)]
pub struct Setting {
    /// Appended to `[sources.okta]`.
    pub okta: String,
    /// Appended to `[jobs.staff]`; may open further tables such as `[jobs.staff.guard]`.
    pub job: String,
    /// The systems' options.
    pub options: Options,
}

impl Scene {
    /// A scene over a world with a plain hourly job.
    pub async fn plain(world: World) -> Self {
        Self::new(world, Setting::default()).await
    }

    /// A scene.
    pub async fn new(world: World, setting: Setting) -> Self {
        let estate = Estate::start(world, setting.options).await.expect("the simulators start");
        let folder = tempfile::tempdir().expect("a folder");
        let job = if setting.job.contains("schedule") { setting.job } else { format!("schedule = \"hourly\"\n{}", setting.job) };
        let text = estate.configuration(folder.path(), &setting.okta, &job).expect("the secrets are written");
        std::fs::write(folder.path().join("rosterd.toml"), text).expect("the configuration is written");
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let journal = store::open_for(&url, Access::Write).await.expect("the store opens");
        let clock = ManualClock::new();
        let (assembly, services) = assembled(folder.path(), &journal, &clock);
        Self { estate, folder, journal, assembly, services, clock }
    }

    /// Assembles anew, after the configuration's file was changed.
    pub fn reassemble(&mut self) {
        (self.assembly, self.services) = assembled(self.folder.path(), &self.journal, &self.clock);
    }

    /// The job.
    pub fn job(&self) -> &JobWorld {
        &self.assembly.worlds[&JobName::from("staff")]
    }

    /// Runs the job at all targets.
    pub async fn run(&self) -> Vec<Report> {
        run(self.job(), &[], Trigger::Command, &CancellationToken::new()).await.expect("the store works")
    }

    /// Runs the job and returns the end at one target.
    pub async fn run_for(&self, target: &str) -> RunEnd {
        end_of(&self.run().await, target)
    }

    /// Plans, and returns the plans by target, in the order of the configuration.
    pub async fn plan(&self) -> Vec<PlanView> {
        let plans = plan(self.job()).await.expect("the source can be read");
        plans.into_iter().map(|(_, p)| view(&p.expect("the target can be read").judged)).collect()
    }

    /// Runs until nothing is left to do, at most twice, and demands that the last run found nothing at any target.
    pub async fn converge(&self) {
        let first = self.run().await;
        if first.iter().all(|r| ended(r) == Ended::Converged) {
            return;
        }
        let second = self.run().await;
        for report in second {
            assert_eq!(ended(&report), Ended::Converged, "{}: {:?}", report.record.start.target, report.record.end);
        }
    }
}

fn assembled(folder: &Path, journal: &Arc<dyn Journal>, clock: &Arc<ManualClock>) -> (Assembly, Services) {
    let kit = kit();
    let checked = load(&folder.join("rosterd.toml"), &kit).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let mut services = Services::new(journal.clone(), kit);
    services.clock = clock.clone();
    services.draw = Arc::new(|| 0.5);
    (assemble(checked.config, &services).expect("everything can be built"), services)
}

/// How a run ended.
pub fn ended(report: &Report) -> Ended {
    report.record.end.as_ref().expect("the run has ended").ended
}

/// The end of the run at a target.
pub fn end_of(reports: &[Report], target: &str) -> RunEnd {
    let target = SystemName::from(target);
    let report = reports.iter().find(|r| r.record.start.target == target).expect("the target was run");
    report.record.end.clone().expect("the run has ended")
}

/// How many changes of a kind were made.
pub fn done(end: &RunEnd, kind: &str) -> u64 {
    end.done.iter().filter(|(k, _)| k.word() == kind).map(|(_, n)| *n).sum()
}
