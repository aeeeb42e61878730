//! Deciding, undoing, explaining and drift with the real binary.

use crate::site::{Site, small};

/// The plan that waits at a target.
async fn waiting(site: &Site, target: &str) -> (String, Vec<String>) {
    let status = site.run(&["status", "--json"]).await.exits(3).json();
    let staged = status["staged"].as_array().expect("a list");
    let here: Vec<_> = staged.iter().filter(|s| s["target"] == target).collect();
    let names = here.iter().map(|s| s["user_name"].as_str().expect("a name").to_owned()).collect();
    (here.first().expect("something waits")["plan"].as_str().expect("an id").to_owned(), names)
}

#[tokio::test]
async fn removals_are_approved_by_name_made_once_and_taken_back() {
    let site =
        Site::with(small(), "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }\n").await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(3);
    site.run(&["sync"]).await.exits(3);
    let (plan, names) = waiting(&site, "jira").await;
    assert_eq!(names.len(), 3, "{names:?}");

    // A reason is needed, a plan that is known, and a name that is in it.
    site.run(&["approve", &plan]).await.exits(64);
    site.run(&["approve", &plan, "--reason", " "]).await.exits(64);
    let unknown = site.run(&["approve", "0000", "--reason", "x"]).await.exits(1);
    assert!(unknown.err.contains("plan --save"), "{}", unknown.err);
    let nobody = site.run(&["approve", &plan, "--only", "nobody", "--reason", "x"]).await.exits(1);
    assert!(nobody.err.contains(&names[0]), "{}", nobody.err);

    let said = site.run(&["approve", &plan, "--only", &names[0], "--reason", "she left"]).await.exits(0);
    assert!(said.out.contains(&format!("approved: deactivate_user {}", names[0])), "{}", said.out);
    assert!(said.err.contains("rosterd sync staff"), "{}", said.err);
    let rejected = site.run(&["reject", &plan, "--only", &names[1], "--reason", "on leave", "--json"]).await.exits(0).json();
    assert_eq!(rejected[0]["verdict"], "rejected");
    site.run(&["sync"]).await.exits(3);
    let (_, left) = waiting(&site, "jira").await;
    assert_eq!(left, names[2..], "one went, one was dropped, one waits on");

    let runs = site.run(&["runs", "--json"]).await.exits(0).json();
    let run = runs.as_array().expect("a list").iter().find(|r| r["target"] == "jira").expect("a run")["id"].clone();
    let run = run.as_str().expect("an id");
    let shown = site.run(&["show", run, "--json"]).await.exits(0).json();
    assert!(shown["changes"][0]["let_by"].as_str().is_some_and(|by| by.starts_with("os:")), "{shown}");

    // Undone: first shown, then done, then left alone.
    let preview = site.run(&["undo", run]).await.exits(2);
    assert!(
        preview.out.contains("activate_user") && preview.err.contains("nothing was changed"),
        "{}{}",
        preview.out,
        preview.err
    );
    let before = site.writes();
    site.run(&["undo", run, "--reason", "she came back"]).await.exits(0);
    assert!(site.writes() > before);
    let status = site.run(&["status"]).await.exits(3);
    assert!(status.out.contains("held since") && status.out.contains(&names[0]), "{}", status.out);
    let before = site.writes();
    site.run(&["sync"]).await;
    assert_eq!(site.writes(), before, "nobody is torn to and fro");
    site.run(&["release", run]).await.exits(0);
    assert!(!site.run(&["status"]).await.out.contains("held since"));
    site.run(&["undo", "ffff", "--reason", "x"]).await.exits(1);
}

#[tokio::test]
async fn a_saved_plan_is_approved_before_a_run_meets_it() {
    let site =
        Site::with(small(), "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }\n").await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(2);
    let said = site.run(&["plan", "--save"]).await.exits(3);
    let ids: Vec<&str> = said.out.lines().filter_map(|l| l.strip_prefix("saved as ")?.split(' ').next()).collect();
    assert_eq!(ids.len(), 2, "Bitbucket has no licensed group here: {}", said.out);
    for id in ids {
        site.run(&["approve", id, "--reason", "they left"]).await.exits(0);
    }
    let runs = site.run(&["sync", "--json"]).await.exits(0).json();
    assert!(runs.as_array().expect("a list").iter().all(|run| run["end"]["staged"] == 0), "{runs}");
    site.run(&["plan"]).await.exits(0);
}

#[tokio::test]
async fn explain_and_drift_read_and_tell() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let links = site.journal().await.links(&"jira".into()).await.expect("the store works");
    let link = links.users.first().expect("somebody is linked");
    let before = site.writes();
    let told = site.run(&["explain", "staff", &link.name]).await.exits(0);
    for part in ["scope:", "attributes:", "should be in:", "at jira:", "linked to the account", "changes nothing"] {
        assert!(told.out.contains(part), "{part} is not in:\n{}", told.out);
    }
    let json = site.run(&["explain", "staff", link.source.as_str(), "--json"]).await.exits(0).json();
    assert_eq!(json["targets"].as_array().map(Vec::len), Some(3));
    let nobody = site.run(&["explain", "staff", "nobody@example.com"]).await.exits(1);
    assert!(nobody.err.contains("nobody@example.com"), "{}", nobody.err);
    site.run(&["explain", "nojob", "x"]).await.exits(64);
    let drift = site.run(&["drift"]).await.exits(0);
    assert!(drift.out.contains("staff at jira: nothing has drifted"), "{}", drift.out);
    site.run(&["drift", "--json"]).await.exits(0).json();
    assert_eq!(site.writes(), before, "nothing is written");
}
