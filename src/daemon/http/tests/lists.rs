//! Lists: bounded, and whole over their pages.

use super::*;
use crate::contract::journal::{Ended, Intent, Rest, RunEnd, RunStart, Trigger};
use crate::engine::run::run_id;
use crate::model::change::{OpKind, Reason};
use crate::model::desired::Attributes;
use crate::model::key::{RunId, SystemName};
use crate::model::retry::{Retry, Subject};

/// Follows `next` from an address to the end, and returns all rows of a key.
async fn follow(door: &Door, first: &str, key: &str) -> Vec<Value> {
    let (mut rows, mut at) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = at {
        let page = door.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        let page = page.json();
        rows.extend(page[key].as_array().expect("a list").iter().cloned());
        at = page["next"].as_str().map(str::to_owned);
        assert!(rows.len() < 1000, "it goes in a circle");
    }
    rows
}

async fn begin(door: &Door, target: &str, seconds: i64, by: Option<&str>) -> RunId {
    let at = door.clock.now() + TimeDelta::seconds(seconds);
    let trigger = if by.is_some() { Trigger::Api } else { Trigger::Schedule };
    let start = RunStart { id: run_id(), job: "staff".into(), target: target.into(), trigger, by: by.map(Into::into), at };
    door.journal.begin(&start).await.expect("written");
    start.id
}

#[tokio::test]
async fn runs_are_told_whole_over_their_pages_with_who_asked_for_them() {
    let door = Door::open(false).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        // Some began at the same time.
        ids.push(begin(&door, "jira", number / 2, None).await);
        begin(&door, "wiki", number, None).await;
    }
    ids.push(begin(&door, "jira", 100, Some("token:ops")).await);
    let runs = follow(&door, "/api/v1/runs?target=jira&limit=3", "runs").await;
    let told: Vec<&str> = runs.iter().map(|run| run["id"].as_str().expect("an id")).collect();
    ids.reverse();
    let mut sorted: Vec<&str> = told.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!((told.len(), sorted.len()), (8, 8), "each once");
    assert_eq!(told, ids.iter().map(RunId::as_str).collect::<Vec<_>>());
    assert_eq!((&runs[0]["trigger"], &runs[0]["by"]), (&"api".into(), &"token:ops".into()));
    assert!(runs[1].get("by").is_none());
    assert_eq!(follow(&door, "/api/v1/runs?job=nobody", "runs").await.len(), 0);
    assert_eq!(follow(&door, "/api/v1/runs", "runs").await.len(), 15);
}

#[tokio::test]
async fn the_changes_of_a_run_are_told_a_page_at_a_time() {
    let door = Door::open(false).await;
    let run = begin(&door, "jira", 0, None).await;
    let intent = |number: u32| Intent {
        kind: OpKind::AddMember,
        source: Some("00u1".into()),
        user: Some("k1".into()),
        user_name: Some("ada".into()),
        group: Some(format!("group {number}").into()),
        before: Some(attributes("Ada")),
        after: Some(attributes("Ada Lovelace")),
        because: Reason::Joined,
        let_by: None,
    };
    fn attributes(name: &str) -> Attributes {
        Attributes { name: "ada".into(), email: Some("ada@example.com".into()), display_name: Some(name.into()) }
    }
    let target = SystemName::from("jira");
    let intents: Vec<Intent> = (0..5).map(intent).collect();
    door.journal.intend(&run, &target, &intents, door.clock.now()).await.expect("written");
    door.journal.end(&run, &RunEnd::bare(Ended::Applied, door.clock.now(), vec!["told".to_owned()])).await.expect("written");
    let changes = follow(&door, &format!("/api/v1/runs/{run}?limit=2"), "changes").await;
    let groups: Vec<&str> = changes.iter().map(|change| change["group"].as_str().expect("a group")).collect();
    assert_eq!(groups, ["group 0", "group 1", "group 2", "group 3", "group 4"]);
    let shown = door.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!((&shown["run"]["end"]["ended"], shown["next"].is_null()), (&"applied".into(), true));

    // Whoever is on this machine may look, and learns no address of anybody.
    let path = format!("/api/v1/runs/{run}");
    let bare = door.get(&path).await.text;
    assert!(bare.contains("\"ada\"") && !bare.contains("@example.com") && !bare.contains("Lovelace"), "{bare}");
    let told = door.ask("GET", &path, Some(EYE), None).await.json();
    assert_eq!(told["changes"][0]["before"]["email"], "ada@example.com", "{told}");
    assert_eq!(told["changes"][0]["after"]["display_name"], "Ada Lovelace", "{told}");
    door.ask("GET", &path, Some("a-wrong-token"), None).await.is(401, "unauthorized");
}

#[tokio::test]
async fn the_queue_and_the_quarantine_are_told_with_what_rests() {
    let door = Door::open(false).await;
    let now = door.clock.now();
    let retry = |number: u32| Retry {
        job: "staff".into(),
        target: "jira".into(),
        subject: Subject::User(format!("00u{number}").as_str().into()),
        attempts: number,
        first_seen: now,
        not_before: now + TimeDelta::seconds(number.into()),
        cause: "it answered 503".to_owned(),
        quarantined: number % 2 == 1,
        user_name: None,
    };
    door.journal.enqueue(&(0..5).map(retry).collect::<Vec<_>>()).await.expect("written");
    let rest = Rest {
        system: "wiki".into(),
        since: now,
        cause: "wiki refused the credential".to_owned(),
        fault: "refused".to_owned(),
        failures: 1,
        until: None,
        credential: None,
    };
    door.journal.rest(&"wiki".into(), Some(&rest)).await.expect("written");
    assert_eq!(follow(&door, "/api/v1/retries?limit=2", "retries").await.len(), 5);
    assert_eq!(follow(&door, "/api/v1/quarantine?limit=1", "subjects").await.len(), 2);
    let told = door.get("/api/v1/quarantine").await.json();
    assert_eq!((&told["total"], &told["systems"][0]["system"]), (&2.into(), &"wiki".into()));
    let jobs = door.get("/api/v1/jobs").await.json();
    let targets = &jobs["jobs"][0]["targets"];
    assert!(
        targets[0]["resting"].is_null() && targets[1]["resting"].as_str().is_some_and(|why| why.contains("rests since")),
        "{jobs}"
    );
    assert_eq!((&jobs["jobs"][0]["schedule"], &jobs["jobs"][0]["running"]), (&"hourly".into(), &false.into()));
}
