//! What a person says over HTTP: done as the commands do it, and kept with the name of the token.

use super::*;
use crate::contract::journal::{Rest, Staged};
use crate::contract::verdict::{SavedChange, SavedPlan};
use crate::daemon::orders::{Declined, orders};
use crate::model::change::{OpKind, Reason};
use crate::model::key::SystemName;

const PLAN: &str = "ab12cd34ef56ab12";

/// Removals of these users at Jira wait.
async fn waits(door: &Door, plan: &str, names: &[&str]) {
    let removal = |name: &&str| Staged {
        job: "staff".into(),
        target: "jira".into(),
        plan: plan.into(),
        mark: format!("mark of {name}"),
        kind: OpKind::DeactivateUser,
        source: Some(format!("00u-{name}").as_str().into()),
        user: format!("k-{name}").as_str().into(),
        user_name: (*name).into(),
        group: None,
        because: Reason::Disabled,
        held_by: vec!["deactivations".to_owned()],
        since: door.clock.now(),
    };
    let staged: Vec<Staged> = names.iter().map(removal).collect();
    door.journal.stage(&"staff".into(), &"jira".into(), &staged).await.expect("written");
}

#[tokio::test]
async fn what_waits_in_a_plan_is_shown_and_decided_on_by_name() {
    let door = Door::open(false).await;
    waits(&door, PLAN, &["ada", "ben", "cleo"]).await;
    let shown = door.get(&format!("/api/v1/plans/{}?limit=2", &PLAN[..6])).await.json();
    assert_eq!((&shown["plan"], &shown["total"], shown["removals"].as_array().map(Vec::len)), (&PLAN.into(), &3.into(), Some(2)));
    let second = door.get(shown["next"].as_str().expect("more")).await.json();
    assert_eq!((second["removals"].as_array().map(Vec::len), second["next"].is_null()), (Some(1), true));

    let said = door.post(&format!("/api/v1/plans/{PLAN}/approve"), r#"{"reason":" she left ","only":["ADA"]}"#).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let said = said.json();
    let decision = &said["decisions"][0];
    assert_eq!((&said["decided"], &said["others"]), (&1.into(), &2.into()));
    assert_eq!((&decision["actor"], &decision["reason"]), (&"token:ops".into(), &"she left".into()));
    assert_eq!((&decision["verdict"], &decision["user_name"]), (&"approved".into(), &"ada".into()));
    assert_eq!(said["takes_effect"][0]["job"], "staff");
    let rejected = door.post(&format!("/api/v1/plans/{PLAN}/reject"), r#"{"reason":"on leave","only":["b*"]}"#).await.json();
    assert_eq!(rejected["decisions"][0]["verdict"], "rejected");
    let decisions = door.journal.decisions().await.expect("readable");
    assert_eq!(
        decisions.iter().map(|d| (&*d.user_name, &*d.actor)).collect::<Vec<_>>(),
        [("ada", "token:ops"), ("ben", "token:ops")]
    );

    let shown = door.get(&format!("/api/v1/plans/{PLAN}")).await.json();
    let of = |name: &str| shown["removals"].as_array().and_then(|all| all.iter().find(|r| r["user_name"] == name)).cloned();
    assert_eq!(of("ada").expect("waits")["decision"]["actor"], "token:ops");
    assert!(of("ben").is_none(), "dropped");
    assert!(of("cleo").expect("waits")["decision"].is_null());
    assert!(door.journal.verify(None).await.expect("readable").holds(), "in the chain as by the command");
}

#[tokio::test]
async fn a_decision_is_refused_as_the_command_refuses_it_and_nothing_is_written() {
    let door = Door::open(false).await;
    waits(&door, PLAN, &["ada", "ben"]).await;
    for verb in ["approve", "reject"] {
        let post = |plan: &str, body: &'static str| {
            let path = format!("/api/v1/plans/{plan}/{verb}");
            let door = &door;
            async move { door.post(&path, body).await }
        };
        let unknown = post("ffffffffffffffff", r#"{"reason":"x"}"#).await.is(404, "unknown");
        assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("plan --save")), "{unknown}");
        let nobody = post(PLAN, r#"{"reason":"x","only":["nobody"]}"#).await.is(422, "invalid");
        assert!(nobody["errors"][0]["detail"].as_str().is_some_and(|d| d.contains("ada, ben")), "{nobody}");
        post(PLAN, r#"{"reason":""}"#).await.is(422, "invalid");
        // A program that lost a part of the id would decide on whatever begins so.
        for part in ["a", &PLAN[..15], "AB12CD34EF56AB12", &format!("{PLAN}0")] {
            let part = post(part, r#"{"reason":"x"}"#).await.is(400, "malformed");
            assert!(part["detail"].as_str().is_some_and(|d| d.contains("16 digits")), "{part}");
        }
    }
    assert_eq!(door.journal.decisions().await.expect("readable"), []);
    assert_eq!(door.journal.staged().await.expect("readable").len(), 2);
}

#[tokio::test]
async fn a_beginning_that_fits_two_saved_plans_is_ambiguous_and_a_whole_id_is_not() {
    let door = Door::open(false).await;
    for id in ["ab00000000000001", "ab00000000000002"] {
        let change = SavedChange {
            mark: format!("mark of {id}"),
            kind: OpKind::DeactivateUser,
            source: None,
            user_name: "ada".into(),
            group: None,
            held_by: vec!["deactivations".to_owned()],
        };
        let plan = SavedPlan {
            id: id.into(),
            job: "staff".into(),
            target: "jira".into(),
            made: door.clock.now(),
            expires: door.clock.now() + TimeDelta::days(7),
            by: "os:ada".to_owned(),
            changes: vec![change],
        };
        door.journal.save_plan(&plan).await.expect("written");
    }
    let several = door.get("/api/v1/plans/ab").await.is(409, "ambiguous");
    assert!(several["detail"].as_str().is_some_and(|d| d.contains("ab00000000000001 or ab00000000000002")), "{several}");
    assert_eq!(door.get("/api/v1/plans/ab00000000000002").await.json()["plan"], "ab00000000000002");
    let said = door.post("/api/v1/plans/ab00000000000002/approve", r#"{"reason":"she left"}"#).await.json();
    assert_eq!((&said["decided"], &said["decisions"][0]["plan"]), (&1.into(), &"ab00000000000002".into()), "{said}");
}

#[tokio::test]
async fn a_run_is_asked_of_the_supervisor_by_the_tokens_name() {
    let mut door = Door::open(false).await;
    let router = door.router.clone();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        for declined in [Ok(()), Err(Declined::AtWork([SystemName::from("jira")].into())), Err(Declined::Unknown)] {
            let Some(Order::Run(ask)) = door.orders.recv().await else { panic!("a run is asked for") };
            heard.push(format!("{ask:?}"));
            ask.answer(declined);
        }
        (door, heard)
    });
    let ask = |body: &'static str| {
        let request = Request::post("/api/v1/jobs/staff/run").header(header::AUTHORIZATION, format!("Bearer {OPS}"));
        let request = request.header(header::HOST, "localhost").header(header::CONTENT_TYPE, "application/json");
        router.clone().oneshot(request.body(Body::from(body)).expect("a request"))
    };
    let begun = ask("").await.expect("it answers");
    assert_eq!(
        (begun.status().as_u16(), &begun.headers()[header::LOCATION]),
        (202, &"/api/v1/runs?job=staff".parse().expect("a header"))
    );
    let bytes = to_bytes(begun.into_body(), usize::MAX).await.expect("whole");
    let begun: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!((&begun["by"], &begun["targets"]), (&"token:ops".into(), &serde_json::json!(["jira", "wiki"])));
    assert_eq!(ask(r#"{"targets":["wiki"]}"#).await.expect("it answers").status(), 409);
    assert_eq!(ask("{}").await.expect("it answers").status(), 404);
    let (door, heard) = heard.await.expect("no panic");
    assert!(heard[0].contains("token:ops") && heard[1].contains("wiki") && !heard[1].contains("jira"), "{heard:?}");
    // Nobody hears any more: the daemon is stopping.
    drop(door.orders);
    assert_eq!(ask("{}").await.expect("it answers").status(), 503);
}

#[tokio::test]
async fn what_another_process_is_at_work_on_is_not_promised() {
    let mut door = Door::open(false).await;
    let ttl = std::time::Duration::from_secs(15);
    let holder = "elsewhere:4711:1:another-boot:1:0:a-run";
    door.journal.lease("target/wiki", holder, ttl, door.clock.now()).await.expect("written").expect("free");
    for body in ["{}", r#"{"targets":["wiki"]}"#] {
        let busy = door.post("/api/v1/jobs/staff/run", body).await.is(409, "at-work");
        assert!(busy["detail"].as_str().is_some_and(|d| d.contains("at work on wiki (process 4711 on elsewhere)")), "{busy}");
    }
    assert!(door.orders.try_recv().is_err(), "the supervisor is not asked");
    // Run out, it holds nobody up; and what this process holds the supervisor knows better.
    door.advance(TimeDelta::seconds(16));
    door.orders = orders().1;
    for own in [None, Some(format!("{}:a-run", crate::daemon::holder::mark()))] {
        if let Some(own) = own {
            door.journal.lease("target/wiki", &own, ttl, door.clock.now()).await.expect("written").expect("run out");
        }
        let asked = door.post("/api/v1/jobs/staff/run", "{}").await.is(503, "unavailable");
        assert!(
            asked["detail"].as_str().is_some_and(|d| d.contains("the daemon is stopping")),
            "it gets as far as the supervisor: {asked}"
        );
    }
}

#[tokio::test]
async fn who_rests_is_left_out_and_a_resting_source_is_why_nothing_runs() {
    let mut door = Door::open(false).await;
    let rest = |system: &str| Rest {
        system: system.into(),
        since: door.clock.now(),
        cause: format!("{system} refused the credential"),
        fault: "refused".to_owned(),
        failures: 1,
        until: None,
        credential: None,
    };
    door.journal.rest(&"wiki".into(), Some(&rest("wiki"))).await.expect("written");
    let resting = door.post("/api/v1/jobs/staff/run", r#"{"targets":["wiki"]}"#).await.is(409, "resting");
    assert!(resting["detail"].as_str().is_some_and(|d| d.contains("wiki refused the credential")), "{resting}");
    let okta = rest("okta");
    door.journal.rest(&"okta".into(), Some(&okta)).await.expect("written");
    door.post("/api/v1/jobs/staff/run", "{}").await.is(409, "resting");

    let released = door.post("/api/v1/release", r#"{"what":"okta","reason":"x"}"#).await;
    assert_eq!((released.status, &released.json()["rest"]), (200, &true.into()));
    door.post("/api/v1/release", r#"{"what":"okta","reason":"x"}"#).await.is(404, "unknown");
    let [kept] = &door.journal.releases(10).await.expect("readable")[..] else { panic!("what ends nothing is not kept") };
    let told =
        (kept.what.as_str(), kept.actor.as_str(), kept.reason.as_deref(), kept.rest.as_ref().map(SystemName::as_str), kept.at);
    assert_eq!(told, ("okta", "token:ops", Some("x"), Some("okta"), door.clock.now()));
    assert_eq!(door.journal.rests().await.expect("readable").len(), 1);

    let (router, mut orders) = (door.router.clone(), std::mem::replace(&mut door.orders, orders().1));
    let answers = tokio::spawn(async move {
        let Some(Order::Run(ask)) = orders.recv().await else { panic!("a run is asked for") };
        ask.answer(Ok(()));
    });
    door.router = router;
    let begun = door.post("/api/v1/jobs/staff/run", "{}").await;
    answers.await.expect("no panic");
    let begun = begun.json();
    assert_eq!((&begun["targets"], &begun["left_out"][0]["target"]), (&serde_json::json!(["jira"]), &"wiki".into()));
}
