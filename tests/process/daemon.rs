//! The daemon: its schedule, its word to systemd, its end.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use rosterd::contract::journal::{Ended, RunEnd, RunStart, Trigger};
use rosterd::store::{self, Access};
use rosterd_sim::harness::{Fault, Rule};

use crate::site::{Daemon, ONE_AT_A_TIME, Site, Systemd, small, until_true};

const EVERY_SECOND: &str = "schedule = { every = \"1s\" }";

#[tokio::test]
async fn a_schedule_runs_again_and_again_and_never_overlaps() {
    let site = Site::with(small(), EVERY_SECOND).await;
    // A run takes longer than the interval.
    site.estate.okta.server.faults.latency(Duration::from_millis(300));
    let daemon = site.daemon().await;
    daemon.converges(3).await;
    daemon.stop().await;
    let mut spans: Vec<_> =
        site.record().await.into_iter().map(|(run, _)| run).filter(|r| r.start.target.as_str() == "jira").collect();
    spans.reverse();
    assert!(spans.len() >= 4);
    for pair in spans.windows(2) {
        let end = pair[0].end.as_ref().expect("it ended").at;
        assert!(end <= pair[1].start.at, "{end} is after {}", pair[1].start.at);
    }
    assert!(spans.iter().all(|r| r.start.trigger == Trigger::Schedule), "{spans:?}");
}

#[tokio::test]
async fn systemd_hears_ready_status_watchdog_reloading_and_stopping() {
    let site = Site::plain().await;
    let systemd = Systemd::listen(site.folder.path());
    let mut command = site.command(&["run"]);
    systemd.tell(command.env("WATCHDOG_USEC", "300000"));
    let daemon = Daemon::start(&mut command);
    let (at, ready) = systemd.message(0, &["READY=1"]).await;
    assert!(ready.contains("STATUS=next: staff at 20"), "{ready}");
    let (at, _) = systemd.message(at, &["WATCHDOG=1"]).await;
    let (at, _) = systemd.message(at + 1, &["WATCHDOG=1"]).await;
    daemon.signal("HUP");
    let (at, reloading) = systemd.message(at, &["RELOADING=1"]).await;
    let since = reloading.lines().find_map(|l| l.strip_prefix("MONOTONIC_USEC=")).expect("the time of the reload");
    assert!(since.parse::<u64>().expect("microseconds") > 0);
    let (at, _) = systemd.message(at, &["READY=1"]).await;
    daemon.stop().await;
    systemd.message(at, &["STOPPING=1"]).await;
}

#[tokio::test]
async fn systemd_hears_what_runs_and_which_removals_wait() {
    let site = Site::with(small(), ONE_AT_A_TIME).await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(3);
    site.run(&["sync"]).await.exits(3);
    let staged = site.journal().await.staged().await.expect("readable").len();
    assert!(staged > 1, "{staged}");
    let systemd = Systemd::listen(site.folder.path());
    let mut command = site.command(&["run"]);
    systemd.tell(&mut command);
    let daemon = Daemon::start(&mut command);
    let (at, told) = systemd.message(0, &["removals wait for approval"]).await;
    let waits = format!("; {staged} removals wait for approval");
    assert!(told.contains("STATUS=next: staff at ") && told.trim_end().ends_with(&waits), "{told}");
    daemon.stop().await;

    // A run that takes a while says so, and when it is over what it has left.
    site.configure(EVERY_SECOND);
    site.estate.okta.server.faults.latency(Duration::from_millis(300));
    let mut command = site.command(&["run"]);
    systemd.tell(&mut command);
    let daemon = Daemon::start(&mut command);
    let (at, told) = systemd.message(at + 1, &["STATUS=running staff; next: staff at "]).await;
    assert!(!told.contains("READY=1"), "{told}");
    site.estate.okta.server.faults.latency(Duration::ZERO);
    systemd.message(at, &["STATUS=next: staff at "]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_idle_daemon_stops_at_once() {
    let site = Site::plain().await;
    for signal in ["TERM", "INT"] {
        let mut daemon = site.daemon().await;
        let told = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.ends().await, Some(0));
        assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
        assert_eq!(daemon.count(&["told to stop"]), 1);
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_settles_the_changes_in_hand_and_the_next_start_goes_on() {
    let reference = Site::plain().await;
    reference.run(&["sync"]).await.exits(0);

    let site = Site::with(small(), EVERY_SECOND).await;
    site.daemon_keys("drain = \"20s\"");
    site.latency(Duration::from_millis(100));
    let mut daemon = site.daemon().await;
    until_true("some changes", || site.writes() > 12).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0));
    let record = site.record().await;
    assert!(record.iter().any(|(r, _)| r.end.as_ref().is_some_and(|e| e.ended == Ended::Interrupted)), "{record:?}");
    for (run, changes) in &record {
        assert!(run.end.is_some(), "{run:?}");
        assert!(changes.iter().all(|c| c.outcome.is_some()), "{changes:?}");
    }
    assert_ne!(site.picture(), reference.picture(), "it was stopped in the middle");

    site.latency(Duration::ZERO);
    let daemon = site.daemon().await;
    daemon.converges(1).await;
    daemon.stop().await;
    assert_eq!(site.picture(), reference.picture());
    site.nothing_was_done_twice();
}

#[tokio::test]
async fn a_second_signal_ends_it_whatever_it_is_doing() {
    let site = Site::with(small(), EVERY_SECOND).await;
    site.estate.jira.running.faults.add(Rule::always("POST", "", Fault::Delay(Duration::from_secs(600))));
    let mut daemon = site.daemon().await;
    until_true("a change in hand", || !site.estate.jira.running.log.writes().is_empty()).await;
    daemon.signal("TERM");
    daemon.line("told to stop").await;
    let told = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(130));
    assert!(told.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let site = Site::with(small(), EVERY_SECOND).await;
    site.daemon_keys("drain = \"1s\"");
    site.estate.jira.running.faults.add(Rule::always("POST", "", Fault::Delay(Duration::from_secs(600))));
    let mut daemon = site.daemon().await;
    until_true("a change in hand", || !site.estate.jira.running.log.writes().is_empty()).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0));
    assert_eq!(daemon.count(&["were not done within daemon.drain"]), 1);
}

#[tokio::test]
async fn a_reading_is_broken_off_at_once_since_there_is_nothing_to_settle() {
    let site = Site::with(small(), EVERY_SECOND).await;
    site.estate.okta.server.faults.add(Rule::always("", "", Fault::Delay(Duration::from_secs(600))));
    let mut daemon = site.daemon().await;
    until_true("a request", || !site.estate.okta.server.log.is_empty()).await;
    let told = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_run_missed_while_the_daemon_was_down_is_caught_up_once() {
    let site = Site::with(small(), "schedule = \"weekly\"").await;
    let journal = store::open_for(&format!("sqlite:{}", site.state().display()), Access::Write).await.expect("opens");
    let at = Utc::now() - TimeDelta::days(15);
    let start =
        RunStart { id: "old".into(), job: "staff".into(), target: "jira".into(), trigger: Trigger::Schedule, by: None, at };
    journal.begin(&start).await.expect("written");
    let end = RunEnd {
        ended: Ended::Converged,
        at,
        plan: None,
        planned: Vec::new(),
        done: Vec::new(),
        failed: 0,
        staged: 0,
        requests: 0,
        messages: Vec::new(),
        sizes: None,
    };
    journal.end(&start.id, &end).await.expect("written");
    drop(journal);
    let daemon = site.daemon().await;
    daemon.nth(&["run applied"], 3).await;
    daemon.stop().await;
    let record = site.record().await;
    let caught: Vec<_> = record.iter().filter(|(r, _)| r.start.trigger == Trigger::CatchUp).collect();
    assert_eq!((caught.len(), record.len()), (3, 4));
    // The run of a moment ago is the last one: nothing is missed any more.
    let daemon = site.daemon().await;
    daemon.stop().await;
    assert_eq!(site.record().await.len(), 4);
}

#[tokio::test]
async fn a_target_that_hangs_does_not_hold_up_the_others() {
    let site = Site::with(small(), EVERY_SECOND).await;
    site.daemon_keys("drain = \"1s\"");
    site.estate.jira.running.faults.add(Rule::always("", "", Fault::Delay(Duration::from_secs(600))));
    let mut daemon = site.daemon().await;
    for target in ["confluence", "bitbucket"] {
        daemon.nth(&["run converged", target], 3).await;
    }
    assert_eq!(daemon.count(&["target.name=jira", "run "]), 0);
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0));
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_caught_up_at_the_next_start_and_not_at_the_next_week() {
    for signal in ["TERM", "KILL"] {
        let site = Site::with(small(), "schedule = \"weekly\"").await;
        site.latency(Duration::from_millis(50));
        let mut sync = Daemon::start(&mut site.command(&["sync"]));
        until_true("some changes", || site.writes() > 8).await;
        sync.signal(signal);
        sync.ends().await;
        site.latency(Duration::ZERO);
        let daemon = site.daemon().await;
        for target in ["jira", "confluence", "bitbucket"] {
            daemon.nth(&["requests=", target], 1).await;
        }
        daemon.stop().await;
        let last = site.run(&["sync"]).await.exits(0);
        assert_eq!(last.out.matches("converged").count(), 3, "after {signal}: {}", last.out);
    }
}
