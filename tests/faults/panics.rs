//! A fault of rosterd itself: a connector that panics ends its run, whose record says so, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rosterd::contract::clock::Clock;
use rosterd::contract::fault::ConnectorError;
use rosterd::contract::journal::{Ended, RunQuery, Trigger};
use rosterd::contract::source::{Ask, GroupFact, Source, SourceFacts, Subject};
use rosterd::contract::target::{Act, Applied, Capabilities, Holds, Target, Wanted, WantedUser};
use rosterd::daemon::condition::SharedCondition;
use rosterd::daemon::orders::{Errand, Order, orders};
use rosterd::daemon::supervise::Daemon;
use rosterd::engine::run::{World as JobWorld, run};
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::key::SourceKey;
use rosterd::model::roster::{SourceRoster, TargetRoster, TargetUser};
use tokio_util::sync::CancellationToken;

use crate::stage::*;
use crate::support::{Scene, end_of};

/// Where a connector panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Probe,
    Fetch,
    Apply,
}

/// A target, or source, that panics as long as the switch is on.
struct Panics<T: ?Sized> {
    inner: Arc<T>,
    when: When,
    on: Arc<AtomicBool>,
}

impl<T: ?Sized> Panics<T> {
    fn at(&self, when: When) {
        assert!(when != self.when || !self.on.load(Ordering::SeqCst), "on purpose");
    }
}

#[async_trait]
impl Target for Panics<dyn Target> {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        self.at(When::Probe);
        self.inner.probe().await
    }
    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        self.at(When::Fetch);
        self.inner.fetch(wanted).await
    }
    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        self.inner.fetch_user(user).await
    }
    async fn apply(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        self.at(When::Apply);
        self.inner.apply(act).await
    }
    async fn holds(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        self.inner.holds(act).await
    }
}

#[async_trait]
impl Source for Panics<dyn Source> {
    async fn probe(&self) -> Result<SourceFacts, ConnectorError> {
        self.inner.probe().await
    }
    async fn fetch(&self, ask: &Ask) -> Result<SourceRoster, ConnectorError> {
        self.at(When::Fetch);
        self.inner.fetch(ask).await
    }
    async fn fetch_user(&self, key: &SourceKey, ask: &Ask) -> Result<Option<Subject>, ConnectorError> {
        self.inner.fetch_user(key, ask).await
    }
    async fn find(&self, text: &str) -> Result<Option<SourceKey>, ConnectorError> {
        self.inner.find(text).await
    }
    async fn fetch_group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        self.inner.fetch_group(key).await
    }
}

/// The job with a Jira that panics, and the switch.
fn with_bad_jira(scene: &Scene, when: When) -> (JobWorld, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(true));
    let mut world = scene.job().clone();
    for side in world.targets.iter_mut().filter(|side| side.name == At::Jira.system()) {
        side.target = Arc::new(Panics { inner: side.target.clone(), when, on: on.clone() });
    }
    (world, on)
}

#[tokio::test]
async fn a_target_that_panics_fails_its_own_run_and_the_record_says_so() {
    for when in [When::Probe, When::Fetch, When::Apply] {
        let scene = settled(staff()).await;
        story(&scene, 0);
        let (world, _on) = with_bad_jira(&scene, when);
        let reports = run(&world, &[], Trigger::Schedule, &CancellationToken::new()).await.expect("the store works");
        for at in At::ALL {
            let expected = if at == At::Jira { Ended::Failed } else { Ended::Applied };
            assert_eq!(end_of(&reports, at.name()).ended, expected, "{when:?} at {}", at.name());
        }
        let query = RunQuery { target: Some(At::Jira.system()), limit: 1, ..RunQuery::default() };
        let record = scene.journal.runs(&query).await.expect("runs").remove(0);
        let end = record.end.expect("the run has an end");
        assert!(end.ended == Ended::Failed && end.messages[0].contains("a fault of rosterd itself"), "{end:?}");
        no_open_intents(&scene).await;
        // The target is free again, and the next run does what was left.
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_source_that_panics_fails_the_run_at_every_target() {
    let scene = settled(staff()).await;
    story(&scene, 0);
    let inner = scene.job().source.clone();
    let source = Arc::new(Panics { inner, when: When::Fetch, on: Arc::new(AtomicBool::new(true)) });
    let world = JobWorld { source, ..scene.job().clone() };
    let reports = run(&world, &[], Trigger::Schedule, &CancellationToken::new()).await.expect("the store works");
    for at in At::ALL {
        let end = end_of(&reports, at.name());
        assert!(end.ended == Ended::Failed && end.messages[0].contains("a fault of rosterd itself"), "{end:?}");
    }
    heals(&scene).await;
}

#[tokio::test]
async fn a_retry_that_panics_is_not_met_again_at_once() {
    let scene = settled(staff()).await;
    story(&scene, 0);
    At::Jira.faults(&scene).add(rosterd_sim::harness::Rule::once(
        "POST",
        "/rest/api/2/user",
        rosterd_sim::harness::Fault::json(400, "{}"),
    ));
    scene.run().await;
    for when in [When::Probe, When::Apply] {
        scene.clock.advance(chrono::TimeDelta::hours(1));
        let due = scene.journal.retries().await.expect("retries");
        assert_eq!(due.len(), 1);
        let (world, _on) = with_bad_jira(&scene, when);
        let side = world.targets.iter().find(|t| t.name == At::Jira.system()).expect("is a target");
        let pass = retry_subjects(&world, side, &due, &CancellationToken::new()).await.expect("the store works");
        assert_eq!(pass.end.map(|end| end.ended), Some(Ended::Failed), "{when:?}");
        let [retry] = &scene.journal.retries().await.expect("retries")[..] else { panic!("one waits") };
        assert!(retry.not_before > scene.clock.now() && retry.cause.contains("a fault of rosterd itself"), "{retry:?}");
        no_open_intents(&scene).await;
    }
    heals(&scene).await;
}

#[tokio::test]
async fn the_daemon_outlives_a_panic_and_runs_the_job_again() {
    let mut scene = settled(staff()).await;
    story(&scene, 0);
    let (world, on) = with_bad_jira(&scene, When::Apply);
    let name = world.job.name.clone();
    scene.assembly.worlds.insert(name.clone(), world);
    let Scene { folder, services, assembly, journal, estate, .. } = scene;
    let file = folder.path().join("rosterd.toml");
    let daemon = Daemon { file, services, assembly, telemetry: None, condition: SharedCondition::default() };
    let (send, receive) = orders();
    let daemon = tokio::spawn(daemon.run(receive, None));

    let joiner = || estate.jira.directory().user("joiner.number0").is_some();
    assert!(!joiner(), "she is the change that the run is to make");
    for (panics, wanted) in [(true, Ended::Failed), (false, Ended::Applied)] {
        on.store(panics, Ordering::SeqCst);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let (errand, answer) = Errand::new(name.clone(), Default::default(), "token:ops");
            send.send(Order::Run(errand)).expect("the daemon listens");
            match answer.await.expect("the daemon answers") {
                Ok(()) => break,
                // The run before has written its end, and is not quite gone.
                Err(declined) => assert!(tokio::time::Instant::now() < deadline, "{declined:?}"),
            }
        }
        let end = loop {
            let query = RunQuery { target: Some(At::Jira.system()), limit: 1, ..RunQuery::default() };
            let last = journal.runs(&query).await.expect("runs").into_iter().next().and_then(|run| run.end);
            if let Some(end) = last.filter(|end| end.ended == wanted) {
                break end;
            }
            assert!(tokio::time::Instant::now() < deadline, "waited in vain for a run that is {wanted:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert_eq!(end.messages.iter().any(|message| message.contains("a fault of rosterd itself")), panics, "{end:?}");
        assert_eq!(joiner(), !panics, "the panic came before the call");
    }
    send.send(Order::Stop).expect("the daemon listens");
    daemon.await.expect("the daemon does not panic").expect("it stops as it should");
}
