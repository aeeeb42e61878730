//! A system that refused its credential is spoken to by nobody, not by a command that only looks: the next try may lock the
//! account. And a system or state that is busy is no failure of the command.

use rosterd::model::link::UserLink;
use rosterd_sim::harness::{Fault, Rule, Running};

use crate::site::{DEADLINE, Said, Site};

/// A site whose first run is done, and somebody who is linked at Jira.
async fn synced() -> (Site, UserLink) {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let link = site.journal().await.links(&"jira".into()).await.expect("readable").users.remove(0);
    (site, link)
}

/// Runs a command that must not speak to a system at rest. It says how to end the rest.
async fn leaves_alone(site: &Site, system: &Running, name: &str, command: &[&str]) -> Said {
    let asked = system.log.len();
    let said = site.run(command).await.exits(77);
    assert_eq!(system.log.len(), asked, "{command:?} spoke to {name}: {said:?}");
    assert!(said.err.contains(&format!("{name} rests since")), "{command:?}: {said:?}");
    assert!(said.err.contains(&format!("rosterd release {name}")), "{command:?}: {said:?}");
    said
}

#[tokio::test]
async fn a_source_that_refused_its_credential_is_left_alone_by_every_command() {
    let (site, link) = synced().await;
    site.estate.okta.revoke_tokens();
    site.run(&["sync"]).await.exits(77);
    let okta = &site.estate.okta.server;
    let targets: usize = site.targets().iter().map(|target| target.log.len()).sum();
    let (who, id) = (&*link.name, link.source.as_str());
    for command in [
        &["plan"][..],
        &["plan", "--save"],
        &["drift"],
        &["drift", "--adopt", "x", "--reason", "why"],
        &["explain", "staff", who],
    ] {
        leaves_alone(&site, okta, "okta", command).await;
    }
    leaves_alone(&site, okta, "okta", &["release", "jira", "--link", id]).await;
    assert_eq!(site.targets().iter().map(|t| t.log.len()).sum::<usize>(), targets, "without a source nothing can be said");
    // A person who does not ask the source may go on.
    site.run(&["release", "jira", "--link", id, "--force"]).await.exits(0);
    let cut = site.run(&["runs", "--json", "-n", "1"]).await.exits(0).json();
    assert!(cut[0]["by"].as_str().is_some_and(|by| by.starts_with("os:")), "{cut}");
}

#[tokio::test]
async fn a_target_that_refused_its_credential_is_left_alone_and_the_others_are_not() {
    let (site, link) = synced().await;
    let runs = site.run(&["runs", "--json", "--target", "jira"]).await.exits(0).json();
    let run = runs[0]["id"].as_str().expect("an id");
    site.estate.jira.gate.revoke();
    site.run(&["sync"]).await.exits(77);
    let jira = &site.estate.jira.running;
    let plan = leaves_alone(&site, jira, "jira", &["plan"]).await;
    assert!(plan.out.contains("staff at confluence: nothing to do"), "{}", plan.out);
    let json = leaves_alone(&site, jira, "jira", &["plan", "--json"]).await.json();
    assert_eq!(json["plans"].as_array().map(Vec::len), Some(2), "{json}");
    let drift = leaves_alone(&site, jira, "jira", &["drift"]).await;
    assert!(drift.out.contains("staff at bitbucket: nothing has drifted"), "{}", drift.out);
    let told = leaves_alone(&site, jira, "jira", &["explain", "staff", &link.name]).await;
    assert!(told.out.contains("at confluence:") && !told.out.contains("at jira:"), "{}", told.out);
    leaves_alone(&site, jira, "jira", &["undo", run]).await;
    leaves_alone(&site, jira, "jira", &["undo", run, "--reason", "x"]).await;
    let status = site.run(&["status"]).await.exits(0);
    assert!(status.out.contains("rosterd release jira"), "{}", status.out);
}

#[tokio::test]
async fn one_target_that_is_down_keeps_no_explanation_of_the_others() {
    let (site, link) = synced().await;
    site.estate.jira.running.faults.add(Rule::always("", "", Fault::html(503, "<html>maintenance</html>")));
    let told = site.run(&["explain", "staff", &link.name]).await.exits(69);
    assert!(told.out.contains("could not be looked at") && told.out.contains("at bitbucket:"), "{}", told.out);
}

#[tokio::test]
async fn a_refusal_met_while_a_link_is_cut_is_kept_and_not_met_again() {
    let (site, link) = synced().await;
    site.estate.okta.revoke_tokens();
    let cut = ["release", "jira", "--link", link.source.as_str()];
    site.run(&cut).await.exits(77);
    leaves_alone(&site, &site.estate.okta.server, "okta", &cut).await;
}

#[tokio::test]
async fn a_job_at_work_and_a_state_in_use_are_69() {
    let (site, link) = synced().await;
    let url = format!("sqlite:{}", site.state().display());
    let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>().expect("an address");
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
    // Somebody of whom nothing can be known from here, and who is at work for as long as the test takes.
    let until = (chrono::Utc::now() + DEADLINE * 10).timestamp_millis();
    sqlx::query("insert or replace into leases (name, holder, generation, until) values ('target/jira', 'elsewhere:1', 9, $1)")
        .bind(until)
        .execute(&mut connection)
        .await
        .expect("written");
    let cut = ["release", "jira", "--link", link.source.as_str()];
    let (sync, cut) = tokio::join!(site.run(&["sync"]), site.run(&cut));
    assert!(sync.exits(69).out.contains("another run is at work on jira"));
    assert!(cut.exits(69).err.contains("another run is at work"));

    sqlx::query("begin exclusive").execute(&mut connection).await.expect("locked");
    let sync = site.run(&["sync"]).await.exits(69);
    assert!(sync.err.contains("another process kept"), "{sync:?}");
}
