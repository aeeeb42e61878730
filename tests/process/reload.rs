//! SIGHUP: a good file takes effect between runs, a bad one leaves everything as it was.

use std::time::Duration;

use crate::site::{Daemon, Site, Systemd, small, until_true};

const HOURLY: &str = "schedule = \"hourly\"";
const EVERY_SECOND: &str = "schedule = { every = \"1s\" }";
/// On a day that is years away.
const NEVER: &str = "schedule = { cron = \"0 0 29 2 *\" }";

#[tokio::test]
async fn a_new_schedule_takes_effect() {
    let site = Site::with(small(), HOURLY).await;
    let daemon = site.daemon().await;
    assert_eq!(daemon.count(&["run "]), 0);
    site.configure(EVERY_SECOND);
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    daemon.nth(&["run converged", "jira"], 2).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_rotated_token_is_read_again_and_ends_the_rest_of_the_source() {
    let site = Site::with(small(), EVERY_SECOND).await;
    let daemon = site.daemon().await;
    daemon.nth(&["run converged", "jira"], 1).await;
    site.estate.okta.set_token("rotated");
    daemon.line("the credential").await;
    let before = daemon.count(&["run converged", "jira"]);
    site.put("okta-token", "rotated");
    daemon.signal("HUP");
    daemon.nth(&["run converged", "jira"], before + 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_log_level_takes_effect() {
    let site = Site::with(small(), EVERY_SECOND).await;
    let systemd = Systemd::listen(site.folder.path());
    let mut command = site.command(&["run"]);
    systemd.tell(&mut command);
    let daemon = Daemon::start(&mut command);
    daemon.nth(&["run converged", "jira"], 1).await;
    let heard = systemd.heard().len();
    site.configure(&format!("{EVERY_SECOND}\n[log]\nlevel = \"error\""));
    daemon.signal("HUP");
    let (at, _) = systemd.message(heard, &["RELOADING=1"]).await;
    systemd.message(at, &["READY=1"]).await;
    let (lines, asked) = (daemon.count(&["run converged", "jira"]), site.estate.okta.server.log.len());
    until_true("runs go on", || site.estate.okta.server.log.len() > asked + 20).await;
    assert_eq!(daemon.count(&["run converged", "jira"]), lines, "and nothing is said of them");
    site.configure(EVERY_SECOND);
    daemon.signal("HUP");
    daemon.nth(&["run converged", "jira"], lines + 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_broken_file_leaves_everything_as_it_was_and_is_told() {
    let site = Site::with(small(), EVERY_SECOND).await;
    let good = std::fs::read_to_string(site.file()).expect("there");
    let systemd = Systemd::listen(site.folder.path());
    let mut command = site.command(&["run"]);
    systemd.tell(&mut command);
    let daemon = Daemon::start(&mut command);
    daemon.nth(&["run converged", "jira"], 1).await;
    let broken = [
        ("[jobs.staff", "error: "),
        // Half of it is good, and half of it would have taken effect.
        (&*good.replace("\"1s\"", "\"2s\"").replace("kind = \"jira\"", "kind = \"jiraa\""), "jiraa"),
        (&*good.replace("token-of-rosterd", "x").replace("jira-token", "no-such-token"), "no-such-token"),
    ];
    for (text, told) in broken {
        let (heard, runs) = (systemd.heard().len(), daemon.count(&["run converged", "jira"]));
        let failures = daemon.count(&["the reload failed"]);
        site.write(text);
        daemon.signal("HUP");
        daemon.nth(&["the reload failed, the configuration before stays in force"], failures + 1).await;
        daemon.line(told).await;
        let (at, _) = systemd.message(heard, &["RELOADING=1"]).await;
        let (at, ready) = systemd.message(at, &["READY=1"]).await;
        assert!(ready.contains("STATUS=reload failed"), "{ready}");
        daemon.nth(&["run converged", "jira"], runs + 2).await;
        let (_, later) = systemd.message(at + 1, &["STATUS="]).await;
        assert!(later.contains("reload failed"), "it stays to be seen: {later}");
    }
    let heard = systemd.heard().len();
    site.write(&good);
    daemon.signal("HUP");
    let (_, ready) = systemd.message(heard, &["READY=1"]).await;
    assert!(!ready.contains("failed"), "{ready}");
    daemon.stop().await;
}

#[tokio::test]
async fn fifty_signals_at_once_are_survived_and_few_reloads() {
    let site = Site::with(small(), EVERY_SECOND).await;
    let daemon = site.daemon().await;
    daemon.signals("HUP", 50);
    daemon.line("the configuration was reloaded").await;
    let runs = daemon.count(&["run converged", "jira"]);
    daemon.nth(&["run converged", "jira"], runs + 2).await;
    let reloads = daemon.count(&["the configuration was reloaded"]);
    assert!((1..=5).contains(&reloads), "{reloads}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_stop_right_after_a_reload_is_not_lost() {
    let site = Site::with(small(), HOURLY).await;
    let mut daemon = site.daemon().await;
    daemon.signal("HUP");
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0), "{:?}", daemon.lines());
}

#[tokio::test]
async fn a_run_in_flight_finishes_as_it_began() {
    let site = Site::with(small(), EVERY_SECOND).await;
    site.latency(Duration::from_millis(50));
    let daemon = site.daemon().await;
    until_true("some changes", || site.writes() > 5).await;
    // The new configuration has no job at Jira any more.
    let text = std::fs::read_to_string(site.file()).expect("there");
    site.write(&text.replace("[\"jira\", \"confluence\", \"bitbucket\"]", "[\"confluence\"]").replace("\"1s\"", "\"6h\""));
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    daemon.nth(&["run applied", "jira"], 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn changed_files_are_noticed_without_a_signal_and_a_bad_one_is_tried_once() {
    let site = Site::with(small(), HOURLY).await;
    site.daemon_keys("watch = \"100ms\"");
    let daemon = site.daemon().await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    let often = text.replace("schedule = \"hourly\"", EVERY_SECOND);
    site.write(&often);
    daemon.nth(&["has changed", "rosterd.toml"], 1).await;
    daemon.nth(&["run converged", "jira"], 1).await;

    site.estate.okta.set_token("rotated");
    daemon.line("the credential").await;
    let before = daemon.count(&["run converged", "jira"]);
    site.put("okta-token", "rotated");
    daemon.nth(&["has changed", "okta-token"], 1).await;
    daemon.nth(&["run converged", "jira"], before + 1).await;

    let (before, good) = (daemon.count(&["run converged", "jira"]), daemon.count(&["the configuration was reloaded"]));
    site.write(&often.replace("kind = \"jira\"", "kind = \"jiraa\""));
    daemon.line("the reload failed").await;
    // Long enough for it to be tried again many times.
    daemon.nth(&["run converged", "jira"], before + 3).await;
    assert_eq!(daemon.count(&["the reload failed"]), 1);
    site.write(&often);
    daemon.nth(&["the configuration was reloaded"], good + 1).await;
    let reloads = daemon.count(&["has changed"]);
    assert_eq!(reloads, 4, "{:?}", daemon.lines());
    daemon.stop().await;
}

/// Two systems rest. Whose secret is written anew is spoken to again, and nobody else; a person's signal, or another
/// configuration, ends every rest.
#[tokio::test]
async fn a_secret_that_was_renewed_ends_the_rest_of_its_own_system_alone() {
    let site = Site::with(small(), NEVER).await;
    site.daemon_keys("watch = \"100ms\"");
    let daemon = site.daemon().await;
    let mut reloads = 0;
    for (how, left) in [("jira-token", &["okta"][..]), ("okta-token", &["jira"]), ("a signal", &[]), ("rosterd.toml", &[])] {
        // A target first: with a source that refuses, no target is reached.
        site.estate.jira.gate.revoke();
        site.run(&["sync"]).await.exits(77);
        site.estate.okta.revoke_tokens();
        site.run(&["sync"]).await.exits(77);
        assert_eq!(site.resting().await, ["jira", "okta"], "before {how}");
        match how {
            "a signal" => daemon.signal("HUP"),
            "rosterd.toml" => site.write(&format!("{}\n# another", std::fs::read_to_string(site.file()).expect("there"))),
            secret => site.put(secret, &format!("renewed-{reloads}")),
        }
        reloads += 1;
        daemon.nth(&["the configuration was reloaded"], reloads).await;
        assert_eq!(site.resting().await, left, "after {how}");
        // From the beginning: the source takes the token that is in the file.
        let right = format!("right-{reloads}");
        site.estate.okta.set_token(&right);
        site.put("okta-token", &right);
        reloads += 1;
        daemon.nth(&["the configuration was reloaded"], reloads).await;
        site.run(&["release", "okta"]).await;
        site.run(&["release", "jira"]).await;
        assert_eq!(site.resting().await, [""; 0]);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn without_being_told_to_watch_files_are_let_alone() {
    let site = Site::with(small(), EVERY_SECOND).await;
    let daemon = site.daemon().await;
    site.write("nonsense");
    daemon.nth(&["run converged", "jira"], 3).await;
    assert_eq!(daemon.count(&["reload"]) + daemon.count(&["has changed"]), 0);
    daemon.stop().await;
}
