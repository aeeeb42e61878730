//! Every exit code that the commands promise, each from the situation that it stands for.

use rosterd_sim::harness::{Fault, Rule};

use crate::site::{Site, rosterd, small};

#[tokio::test]
async fn done_or_nothing_to_do_is_0_and_a_plan_with_changes_is_2() {
    let site = Site::plain().await;
    site.run(&["plan"]).await.exits(2);
    site.run(&["sync"]).await.exits(0);
    site.run(&["sync"]).await.exits(0);
    site.run(&["plan"]).await.exits(0);
    site.run(&["status"]).await.exits(0);
    site.nothing_was_done_twice();
}

#[tokio::test]
async fn staged_removals_are_3_for_plan_sync_and_status() {
    let site = Site::with(small(), "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 0.1, floor = 2 }").await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(8);
    let plan = site.run(&["plan"]).await.exits(3);
    assert!(plan.out.contains("waits for a person"), "{}", plan.out);
    let before = site.picture();
    let sync = site.run(&["sync"]).await.exits(3);
    assert!(sync.out.contains("staged"), "{}", sync.out);
    let active = |p: &[crate::site::Picture]| p.iter().map(|p| p.users.values().filter(|u| u.1).count()).collect::<Vec<_>>();
    assert_eq!(active(&site.picture()), active(&before), "nobody was deactivated");
    let status = site.run(&["status"]).await.exits(3);
    assert!(status.out.contains("wait for a person"), "{}", status.out);
}

#[tokio::test]
async fn a_failure_is_1() {
    let site = Site::plain().await;
    std::fs::write(site.state(), "not a state file").expect("written");
    for command in [&["plan"][..], &["sync"], &["status"], &["runs"], &["retries"], &["show", "0"]] {
        let said = site.run(command).await.exits(1);
        assert_eq!(said.out, "", "{command:?}");
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_64() {
    let site = Site::plain().await;
    for command in [&["syncc"][..], &["plan", "--limit", "many"], &["show"], &[]] {
        rosterd(command).await.exits(64);
    }
    for command in [["plan", "nobody"], ["sync", "nobody"]] {
        let said = site.run(&command).await.exits(64);
        assert_eq!(said.out, "");
        assert!(said.err.contains("there is no job \"nobody\"") && said.err.contains("staff"), "{}", said.err);
    }
}

#[tokio::test]
async fn a_source_that_is_down_is_69_and_nothing_is_written() {
    let site = Site::plain().await;
    site.okta_fails(503);
    let plan = site.run(&["plan"]).await.exits(69);
    assert!(plan.err.contains("okta could not"), "{}", plan.err);
    site.run(&["sync"]).await.exits(69);
    site.run(&["check", "--online"]).await.exits(69);
    assert_eq!(site.writes(), 0);
}

#[tokio::test]
async fn a_target_that_is_down_is_69_and_the_others_are_served() {
    let site = Site::plain().await;
    site.estate.jira.running.faults.add(Rule::always("", "", Fault::html(503, "<html>maintenance</html>")));
    let sync = site.run(&["sync", "--json"]).await.exits(69);
    let runs = sync.json();
    let ended = |target: &str| {
        let run = runs.as_array().expect("a list").iter().find(|r| r["target"] == target).expect("was run");
        run["end"]["ended"].as_str().expect("a word").to_owned()
    };
    assert_eq!((ended("jira"), ended("confluence"), ended("bitbucket")), ("failed".into(), "applied".into(), "applied".into()));
}

#[tokio::test]
async fn a_refused_credential_is_77_and_is_not_tried_again() {
    let site = Site::plain().await;
    site.estate.okta.revoke_tokens();
    site.run(&["plan"]).await.exits(77);
    site.run(&["sync"]).await.exits(77);
    site.run(&["check", "--online"]).await.exits(77);
    let asked = site.estate.okta.server.log.len();
    let again = site.run(&["sync"]).await.exits(77);
    assert_eq!(site.estate.okta.server.log.len(), asked, "it rests: {}", again.out);
    assert!(again.out.contains("rosterd release"), "it says how to end the rest: {}", again.out);
}

#[tokio::test]
async fn a_target_s_refused_credential_is_77_too() {
    let site = Site::plain().await;
    site.estate.confluence.gate.revoke();
    site.run(&["plan"]).await.exits(77);
    site.run(&["sync"]).await.exits(77);
}

#[tokio::test]
async fn a_broken_configuration_is_78_with_place_text_and_hint_on_the_error_stream() {
    let site = Site::plain().await;
    let text = std::fs::read_to_string(site.file()).expect("there").replace("schedule = \"hourly\"", "schedul = \"hourly\"");
    site.write(&text);
    let line = text.lines().position(|l| l.starts_with("schedul ")).expect("there") + 1;
    for command in [&["check"][..], &["plan"], &["sync"], &["status"], &["run"], &["runs"], &["retries"], &["release", "jira"]] {
        let said = site.run(command).await.exits(78);
        assert_eq!(said.out, "", "{command:?}");
        for part in [&format!("rosterd.toml:{line}:1"), "schedul = \"hourly\"", "hint: did you mean `schedule`?"] {
            assert!(said.err.contains(part), "{part} is not in:\n{}", said.err);
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_78() {
    let site = Site::plain().await;
    std::fs::remove_file(site.folder.path().join("jira-token")).expect("there");
    let said = site.run(&["check"]).await.exits(78);
    assert!(said.err.contains("jira-token") && said.err.contains("auth.token"), "{}", said.err);
}
