//! Deciding, undoing, explaining and drift with the real binary.

use rosterd::cli::output::quoted;
use rosterd_sim::harness::{Fault, Rule};

use crate::site::{ONE_AT_A_TIME, Site, small, until_told};

/// A site whose first run is done, and so many people have left since.
async fn laid_off(many: usize) -> Site {
    let site = Site::with(small(), ONE_AT_A_TIME).await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(many);
    site
}

/// The last run at Jira.
async fn last_at_jira(site: &Site) -> String {
    let runs = site.run(&["runs", "--json", "--target", "jira", "-n", "1"]).await.exits(0).json();
    runs[0]["id"].as_str().expect("a run").to_owned()
}

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
    let site = laid_off(3).await;
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

    let run = &*last_at_jira(&site).await;
    let shown = site.run(&["show", run, "--json"]).await.exits(0).json();
    assert!(shown["changes"][0]["let_by"].as_str().is_some_and(|by| by.starts_with("os:")), "{shown}");

    // Undone: first shown, then done, then left alone. What is shown to be copied means the very same.
    let some = site.run(&["undo", &run[..run.len() - 1], "--only", "nobody, at all", "--only", &names[0]]).await.exits(2);
    let again = format!("rosterd undo {run} --only 'nobody, at all' --only {} --reason TEXT", quoted(&names[0]));
    assert!(some.err.contains(&again), "{again} is not in:\n{}", some.err);
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
    // Whoever speaks of the target alone has not looked at who is held there.
    site.run(&["release", "jira"]).await.exits(1);
    assert!(site.run(&["status"]).await.out.contains("held since"));
    site.run(&["release", run, "--reason", " "]).await.exits(64);
    site.run(&["release", run, "--reason", "she is back for good"]).await.exits(0);
    assert!(!site.run(&["status"]).await.out.contains("held since"));
    let released = site.run(&["journal", "releases", "--json"]).await.exits(0).json();
    assert_eq!((&released[0]["what"], &released[0]["reason"]), (&run.into(), &"she is back for good".into()), "{released}");
    assert_eq!((&released[0]["holds"][0]["user_name"], &released[1]), (&names[0].as_str().into(), &serde_json::Value::Null));
    assert!(released[0]["actor"].as_str().is_some_and(|actor| actor.starts_with("os:")), "{released}");
    let listed = site.run(&["journal", "releases"]).await.exits(0).out;
    let said = format!("released {run}, which ended the hold on {} at jira: she is back for good", names[0]);
    assert!(listed.contains(&said), "{said} is not in:\n{listed}");
    assert!(site.run(&["journal", "verify"]).await.exits(0).out.contains("every record is as it was written"));
    assert!(site.run(&["journal", "export"]).await.exits(0).out.lines().count() > 24, "changes are told as before");
    site.run(&["undo", "ffff", "--reason", "x"]).await.exits(1);
}

#[tokio::test]
async fn a_saved_plan_is_approved_before_a_run_meets_it() {
    let site = laid_off(2).await;
    let said = site.run(&["plan", "--save"]).await.exits(3);
    let saved = said.out.lines().filter(|line| line.contains(" removals through"));
    let ids: Vec<&str> = saved.filter_map(|l| l.strip_prefix("saved as ")?.split(' ').next()).collect();
    assert_eq!(ids.len(), 2, "nobody here can log in at Bitbucket, so that nobody is deactivated: {}", said.out);
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
    for part in [
        "facts at the source:",
        "  status: ",
        "  login: ",
        "  groups: ",
        "scope:",
        "attributes:",
        "should be in:",
        "at jira:",
        "linked to the account",
        "changes nothing",
    ] {
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

#[tokio::test]
async fn the_status_tells_which_removals_are_approved_and_how_the_rest_is() {
    let site = laid_off(3).await;
    site.run(&["sync"]).await.exits(3);
    let (plan, names) = waiting(&site, "jira").await;
    let [first, second, third] = &names[..] else { panic!("three: {names:?}") };
    let nothing = site.run(&["status"]).await.exits(3);
    let all =
        format!("`rosterd approve {plan} --reason TEXT` lets them through, `rosterd reject {plan} --reason TEXT` drops them");
    assert!(nothing.out.contains(&all), "{}", nothing.out);

    site.run(&["approve", &plan, "--only", first, "--reason", "she left"]).await.exits(0);
    let part = site.run(&["status"]).await.exits(3);
    let of = |said: &str, name: &str| {
        let (_, here) = said.split_once(" of staff at jira wait").expect("the target is told of");
        let line = here.lines().find(|l| l.contains(&format!(" {name} since")));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{said}")).to_owned()
    };
    assert!(of(&part.out, first).contains("; approved by os:") && !of(&part.out, second).contains("approv"), "{}", part.out);
    let mut rest = [second, third];
    rest.sort();
    let [a, b] = rest.map(|name| quoted(name));
    let command = format!("`rosterd approve {plan} --only {a} --only {b} --reason TEXT` lets the other 2 through");
    assert!(part.out.contains("1 of these is approved") && part.out.contains(&command), "{}", part.out);

    // An approval that nothing came of is void after its time.
    site.configure(&format!("{ONE_AT_A_TIME}plan_expires = \"1s\"\n"));
    site.run(&["approve", &plan, "--only", second, "--reason", "he left"]).await.exits(0);
    let ask = async || {
        let said = site.run(&["status"]).await.exits(3).out;
        if of(&said, second).contains("; the approval by os:") { Ok(said) } else { Err(said) }
    };
    let said = until_told("the approval for a second to be void", ask).await;
    assert!(said.contains("1 of these is approved") && said.contains(&command), "{said}");
}

#[tokio::test]
async fn a_name_is_one_value_of_its_flag_and_a_flag_ends_nothing() {
    let site = laid_off(3).await;
    site.run(&["sync"]).await.exits(3);
    let (plan, names) = waiting(&site, "jira").await;
    // The plan's id may come last: a flag takes one name and leaves the rest of the line alone.
    let said = site.run(&["approve", "--reason", "x", "--only", &names[0], "--only", "no, such", &plan]).await.exits(0);
    assert_eq!(said.out.lines().filter(|l| l.starts_with("approved: ")).count(), 1, "{}", said.out);
    site.run(&["undo", "--only", "nobody", &last_at_jira(&site).await]).await;
    site.run(&["drift", "--adopt", "no such, group", "--reason", "why", "staff"]).await.exits(0);
    site.run(&["reject", &plan, "--only", &names[1], &names[2], "--reason", "x"]).await.exits(64);
}

#[tokio::test]
async fn drift_tells_of_the_targets_that_answer_and_exits_for_the_one_that_does_not() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    site.estate.confluence.running.faults.add(Rule::always("", "", Fault::html(503, "<html>maintenance</html>")));
    let drift = site.run(&["drift"]).await.exits(69);
    for target in ["jira", "bitbucket"] {
        assert!(drift.out.contains(&format!("staff at {target}: nothing has drifted")), "{drift:?}");
    }
    assert!(!drift.out.contains("at confluence") && drift.err.contains("confluence"), "{drift:?}");
    let json = site.run(&["drift", "--json"]).await.exits(69).json();
    assert_eq!((json["targets"].as_array().map(Vec::len), json["errors"].as_array().map(Vec::len)), (Some(2), Some(1)), "{json}");
    site.okta_fails(503);
    site.run(&["drift"]).await.exits(69);
}

#[tokio::test]
async fn an_undo_names_why_there_is_nothing_to_take_back() {
    let site = laid_off(1).await;
    site.run(&["sync"]).await.exits(0);
    let run = &*last_at_jira(&site).await;
    let text = std::fs::read_to_string(site.file()).expect("the configuration is there");
    let another = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in:\n{text}");
        site.write(&text.replace(from, to));
    };
    another("[jobs.staff", "[jobs.others");
    let gone = site.run(&["undo", run, "--reason", "x"]).await.exits(1);
    assert!(gone.err.contains(&format!("job staff of run {run} is not configured any more")), "{}", gone.err);
    another("[jobs.staff]", "[jobs.staff]\nobserve = [\"jira\"]");
    let before = site.writes();
    for arguments in [&["undo", run][..], &["undo", run, "--reason", "x"]] {
        let observed = site.run(arguments).await.exits(1);
        assert!(observed.err.contains("jira is only observed"), "{}", observed.err);
    }
    assert_eq!(site.writes(), before);
    site.write(&text);
    site.run(&["sync"]).await.exits(0);
    let nothing = &*last_at_jira(&site).await;
    let said = site.run(&["undo", nothing]).await.exits(1);
    assert!(said.err.contains(&format!("run {nothing} changed nothing")), "{}", said.err);
}
