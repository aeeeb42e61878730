//! What scenario tests stand on: simulated systems over real HTTP, a real configuration file, the real assembly and store,
//! and a clock that moves only when the test moves it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::{Ended, Journal, RunEnd, Trigger};
use rosterd::daemon::assemble::{Assembly, Services, assemble, kit, load};
use rosterd::engine::run::{Report, World as JobWorld, plan, run};
use rosterd::model::key::{JobName, SystemName};
use rosterd::model::ledger::Ledger;
use rosterd::model::link::Links;
use rosterd::model::plan::FindingKind;
use rosterd::reconcile::render::{PlanView, view};
use rosterd::store::{self, Access};
use rosterd_sim::directory::Directory;
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::harness::{Fault, Log};
use rosterd_sim::world::{Person, World};
use tokio_util::sync::CancellationToken;

/// A clock that stands still until it is moved. Sleeping moves nothing: short waits return after a real millisecond, so that
/// loops that wait for something else do not spin, and long ones (the renewal of a lease) last as long as they say, so that
/// they do not spin either.
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
        let short = duration < Duration::from_secs(1);
        tokio::time::sleep(if short { Duration::from_millis(1) } else { duration }).await;
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

/// The targets of a scene, in the order of the configuration.
pub const TARGETS: [&str; 3] = ["jira", "confluence", "bitbucket"];

/// What stories look at.
impl Scene {
    /// What a target holds.
    pub fn directory(&self, target: &str) -> MutexGuard<'_, Directory> {
        match target {
            "jira" => self.estate.jira.directory(),
            "confluence" => self.estate.confluence.directory(),
            _ => self.estate.bitbucket.directory(),
        }
    }

    /// What a target was asked.
    pub fn log(&self, target: &str) -> &Log {
        match target {
            "jira" => &self.estate.jira.running.log,
            "confluence" => &self.estate.confluence.running.log,
            _ => &self.estate.bitbucket.running.log,
        }
    }

    /// The members of a group at a target.
    pub fn members(&self, target: &str, group: &str) -> BTreeSet<String> {
        self.directory(target).member_names(group)
    }

    /// The groups of somebody at a target, without the one that Confluence puts everybody into who is created, asked or not.
    pub fn groups(&self, target: &str, user: &str) -> BTreeSet<String> {
        let mut groups = self.directory(target).group_names(user);
        groups.retain(|group| target != "confluence" || group != "confluence-users");
        groups
    }

    /// Whether somebody can work at a target: the account is active, and at Bitbucket in a group that gives access.
    pub fn works(&self, target: &str, user: &str) -> bool {
        let directory = self.directory(target);
        directory.user(user).is_some_and(|u| u.is_active() && (target != "bitbucket" || directory.is_licensed(u)))
    }

    /// The stable key of somebody at a target.
    pub fn key(&self, target: &str, user: &str) -> Option<String> {
        self.directory(target).user(user).map(|u| u.key.clone())
    }

    /// Makes a group at every target that gives access there.
    pub fn open_doors(&self, group: &str) {
        for target in TARGETS {
            let mut directory = self.directory(target);
            // It may be there already, by hand.
            let _there = directory.add_group(group);
            directory.group_mut(group).expect("it is there").licensed = true;
        }
        self.estate.bitbucket.grant_group(group, "LICENSED_USER");
    }

    /// The links of a target.
    pub async fn links(&self, target: &str) -> Links {
        self.journal.links(&SystemName::from(target)).await.expect("the store works")
    }

    /// The ledger of a target.
    pub async fn ledger(&self, target: &str) -> Ledger {
        self.journal.ledger(&SystemName::from(target)).await.expect("the store works")
    }

    /// Forgets what the targets were asked.
    pub fn hush(&self) {
        TARGETS.iter().for_each(|target| self.log(target).clear());
    }

    /// The writes that targets were sent since the last hush, as `METHOD path?query`.
    pub fn writes(&self) -> Vec<String> {
        let writes = TARGETS.iter().flat_map(|target| self.log(target).writes());
        writes.map(|w| format!("{} {}", w.method, w.target())).collect()
    }

    /// Runs once more and demands that everything was so already: every run converged, and no write was sent.
    pub async fn at_rest(&self) {
        self.converge().await;
        self.hush();
        for report in self.run().await {
            assert_eq!(ended(&report), Ended::Converged, "{}: {:?}", report.record.start.target, report.record.end);
        }
        assert_eq!(self.writes(), Vec::<String>::new(), "a converged run writes nothing");
    }

    /// The findings of a kind that a plan for a target has now, as name and text.
    pub async fn findings(&self, target: &str, kind: FindingKind) -> Vec<String> {
        let plans = self.plan().await;
        let plan = plans.iter().find(|p| p.target == target).expect("the target was planned");
        let said = |f: &rosterd::model::plan::Finding| {
            format!(
                "{}{}: {}",
                f.source.as_ref().map(|s| format!("{s} ")).unwrap_or_default(),
                f.name.as_deref().unwrap_or_default(),
                f.text
            )
        };
        plan.findings.iter().filter(|f| f.kind == kind).map(said).collect()
    }

    /// Mona is hired, into these groups.
    pub fn hire_mona(&self, groups: &[&str]) {
        self.estate.okta.add_user(newcomer("Mona", "Lisa"));
        groups.iter().for_each(|group| self.estate.okta.add_member(group, MONA));
    }

    /// Changes the text of the configuration and assembles anew.
    pub fn reconfigure(&mut self, change: impl FnOnce(String) -> String) {
        let file = self.folder.path().join("rosterd.toml");
        let text = std::fs::read_to_string(&file).expect("the configuration is there");
        std::fs::write(&file, change(text)).expect("the configuration is written");
        self.reassemble();
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

/// Somebody new, with a fresh id, active.
pub fn newcomer(first: &str, last: &str) -> Person {
    let mut world = World::default();
    let at = world.add_person(first, last);
    Person { id: String::new(), ..world.people.swap_remove(at) }
}

/// The login of a newcomer whose account meets with trouble.
pub const MONA: &str = "mona.lisa@example.com";

/// What creates Mona's account at a target: method, and the end of the path.
pub fn creating_mona(target: &str) -> (&'static str, &'static str) {
    match target {
        "jira" => ("POST", "/rest/api/2/user"),
        "confluence" => ("POST", "/rest/api/admin/user"),
        _ => ("POST", "/admin/users?name=mona.lisa"),
    }
}

/// How Bitbucket refuses her for good.
pub fn refusal() -> Fault {
    let body = r#"{"errors":[{"context":null,"message":"no","exceptionName":"com.atlassian.bitbucket.SomeException"}]}"#;
    Fault::json(400, body)
}

/// How a run ended.
pub fn ended(report: &Report) -> Ended {
    report.record.end.as_ref().expect("the run has ended").ended
}

/// What became of the run at a target.
pub fn report_of<'a>(reports: &'a [Report], target: &str) -> &'a Report {
    reports.iter().find(|r| r.record.start.target.as_str() == target).expect("the target was run")
}

/// The end of the run at a target.
pub fn end_of(reports: &[Report], target: &str) -> RunEnd {
    report_of(reports, target).record.end.clone().expect("the run has ended")
}

/// How many changes of a kind were made.
pub fn done(end: &RunEnd, kind: &str) -> u64 {
    end.done.iter().filter(|(k, _)| k.word() == kind).map(|(_, n)| *n).sum()
}
