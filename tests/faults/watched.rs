//! What whoever watches sees when things are not as they should be: a store that cannot be read, a target that falls behind, a
//! process that has just started.

use std::sync::Arc;

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Rest;
use rosterd::daemon::condition::SharedCondition;
use rosterd::daemon::http::{Services, View, serve};
use rosterd::daemon::metrics::Metrics;
use rosterd_sim::harness::{Fault, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::brittle::Brittle;
use crate::stage::staff;
use crate::support::{ManualClock, Scene};

/// A process that has just started over the scene's store.
struct Process {
    address: std::net::SocketAddr,
    metrics: Arc<Metrics>,
    clock: Arc<ManualClock>,
}

impl Process {
    async fn start(scene: &Scene, journal: Arc<Brittle>) -> Self {
        let condition = SharedCondition::default();
        {
            let mut condition = condition.lock().expect("not poisoned");
            condition.config = Some(scene.assembly.config.clone());
            condition.ready = true;
        }
        let metrics = Arc::new(Metrics::new(scene.clock.now()));
        let (orders, _) = rosterd::daemon::orders::orders();
        let services = Services {
            condition,
            journal,
            clock: scene.clock.clone(),
            orders,
            metrics: metrics.clone(),
            meters: scene.services.kit.meters.clone(),
        };
        let view = View::new(services, false);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has one");
        tokio::spawn(serve(listener, view));
        Self { address, metrics, clock: scene.clock.clone() }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("somebody listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer)
    }

    /// The figures that begin so, with their values; later than whatever was read for the answer before.
    async fn figures(&self, name: &str) -> Vec<f64> {
        self.clock.advance(TimeDelta::seconds(6));
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        let of = text.lines().filter(|line| line.starts_with(name));
        of.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a value")).collect()
    }
}

fn watched(scene: &Scene) -> Arc<Brittle> {
    Brittle::telling(scene.journal.clone(), |_, _| {})
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_a_figure_and_no_failure_of_the_answer() {
    let scene = Scene::plain(staff()).await;
    scene.converge().await;
    let journal = watched(&scene);
    let process = Process::start(&scene, journal.clone()).await;
    assert_eq!(process.figures("rosterd_journal_readable").await, [1.0]);
    assert_eq!(process.figures("rosterd_staged_removals").await, [0.0; 9]);
    journal.shut(true);
    assert_eq!(process.figures("rosterd_journal_readable").await, [0.0]);
    assert_eq!(process.figures("rosterd_ready").await, [0.0]);
    for silent in ["rosterd_staged_removals", "rosterd_overdue_seconds", "rosterd_system_resting"] {
        assert_eq!(process.figures(silent).await, [0.0; 0], "{silent}: nothing is better than a zero that nobody knows");
    }
    assert_ne!(process.figures("rosterd_requests_total").await, [0.0; 0], "what is counted is told all the same");
    let (status, text) = process.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("store cannot be read; the log says why\n"), "{text}");
    journal.shut(false);
    assert_eq!(process.figures("rosterd_journal_readable").await, [1.0]);
}

#[tokio::test]
async fn a_target_is_overdue_from_the_moment_at_which_its_schedule_wanted_a_run() {
    let scene = Scene::plain(staff()).await;
    let process = Process::start(&scene, watched(&scene)).await;
    assert_eq!(process.figures("rosterd_overdue_seconds").await, [0.0; 3]);
    scene.clock.advance(TimeDelta::hours(3));
    let overdue = process.figures("rosterd_overdue_seconds").await;
    assert!(overdue.iter().all(|seconds| (7200.0..=10_800.0).contains(seconds)), "before any run, since the start: {overdue:?}");
    scene.converge().await;
    assert_eq!(process.figures("rosterd_overdue_seconds").await, [0.0; 3]);
    scene.clock.advance(TimeDelta::hours(3));
    // Jira alone is kept from being read: it alone falls behind.
    scene.estate.jira.gate.revoke();
    scene.run().await;
    let overdue = process.figures("rosterd_overdue_seconds").await;
    assert_eq!(overdue.iter().filter(|seconds| **seconds == 0.0).count(), 2, "{overdue:?}");
    assert!(overdue.iter().any(|seconds| *seconds >= 7200.0), "{overdue:?}");
    assert_eq!(process.figures("rosterd_last_run_ended{ended=\"failed\",job_name=\"staff\",target=\"jira\"}").await, [1.0]);
    assert_eq!(process.figures("rosterd_system_resting{system=\"jira\"}").await, [1.0]);
    assert_eq!(process.figures("rosterd_last_complete_run_timestamp_seconds").await.len(), 3);
}

#[tokio::test]
async fn a_source_is_ready_once_it_was_read_and_stays_so() {
    let scene = Scene::plain(staff()).await;
    let unread = "source okta has not been read whole yet\n";
    let waits = "source okta ok: not read yet: no run has been due since the start or the last reload\n";
    let first = Process::start(&scene, watched(&scene)).await;
    scene.services.board.listen(vec![first.metrics.clone()]);
    let (status, text) = first.get("/readyz").await;
    assert_eq!(status, 200);
    assert!(text.contains(waits), "{text}");
    scene.clock.advance(TimeDelta::hours(3));
    let (status, text) = first.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("configuration ok\n") && text.contains("store ok\n") && text.contains(unread), "{text}");
    scene.run().await;
    let (status, text) = first.get("/readyz").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("source okta ok\n"), "{text}");

    // Who is started again finds the reading in the store, and believes it until the next run is due, and a while longer.
    let second = Process::start(&scene, watched(&scene)).await;
    let known = "source okta ok: not read since the start: by the store it was read of late\n";
    for minutes in [0, 10] {
        scene.clock.advance(TimeDelta::minutes(minutes));
        let (status, text) = second.get("/readyz").await;
        assert!(status == 200 && text.contains(known), "{minutes}: {text}");
        assert_eq!(second.figures("rosterd_ready").await, [1.0]);
    }
    scene.clock.advance(TimeDelta::hours(3));
    assert_eq!(first.get("/readyz").await.0, 200, "what was ready stays so");
    let third = Process::start(&scene, watched(&scene)).await;
    for stale in [&second, &third] {
        let (status, text) = stale.get("/readyz").await;
        assert!(status == 503 && text.contains(unread), "what was read hours ago is none: {text}");
        assert_eq!(stale.figures("rosterd_ready").await, [0.0]);
    }
    // Who rests is left alone, and so is whoever could only be read for them.
    let rest = |system: &str| Rest {
        system: system.into(),
        since: scene.clock.now(),
        cause: "refused".to_owned(),
        fault: "refused".to_owned(),
        failures: 1,
        until: None,
        credential: None,
    };
    for target in ["jira", "confluence", "bitbucket"] {
        scene.journal.rest(&target.into(), Some(&rest(target))).await.expect("written");
    }
    let (status, text) = second.get("/readyz").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("source okta ok: not read yet: all its targets are left alone for now\n"), "{text}");
    scene.journal.rest(&"jira".into(), None).await.expect("written");
    assert_eq!(second.get("/readyz").await.0, 503);
    scene.journal.rest(&"okta".into(), Some(&rest("okta"))).await.expect("written");
    assert_eq!(second.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn somebody_who_fails_makes_nobody_else_stale_and_a_restart_forgets_nothing() {
    let scene = Scene::plain(staff()).await;
    scene.estate.jira.running.faults.add(Rule::always("POST", "/rest/api/2/user", Fault::json(400, "{}")));
    let never = Process::start(&scene, watched(&scene)).await;
    assert_eq!(never.figures("rosterd_last_complete_run_timestamp_seconds").await, [0.0; 0]);
    scene.run().await;
    let jira = "{job_name=\"staff\",target=\"jira\"}";
    let partial = "rosterd_last_run_ended{ended=\"partial\",job_name=\"staff\",target=\"jira\"}";
    assert_eq!(never.figures(partial).await, [1.0]);
    assert_eq!(never.figures("rosterd_last_complete_run_timestamp_seconds").await.len(), 3);
    assert_eq!(never.figures(&format!("rosterd_source_believed{jira}")).await, [1.0]);
    // Another process over the same store counts on from the same run.
    scene.clock.advance(TimeDelta::hours(3));
    let second = Process::start(&scene, watched(&scene)).await;
    let overdue = second.figures("rosterd_overdue_seconds").await;
    assert!(overdue.len() == 3 && overdue.iter().all(|seconds| *seconds >= 3600.0), "{overdue:?}");
}

#[tokio::test]
async fn a_target_that_was_never_complete_is_overdue_since_the_first_run_that_is_recorded() {
    let scene = Scene::plain(staff()).await;
    scene.estate.jira.gate.revoke();
    scene.run().await;
    scene.clock.advance(TimeDelta::hours(3));
    let second = Process::start(&scene, watched(&scene)).await;
    let overdue = second.figures("rosterd_overdue_seconds{job_name=\"staff\",target=\"jira\"}").await;
    assert!(overdue.iter().all(|seconds| *seconds >= 3600.0) && overdue.len() == 1, "{overdue:?}");
}
