//! Explain and drift: what is told about one user is what the next run does, and what somebody did by hand is seen.

use rosterd::contract::journal::{Ended, RunQuery};
use rosterd::engine::drift::{Adoption, adopt, drift};
use rosterd::engine::explain::{Explanation, explain, whom};
use rosterd::engine::run::read_source;
use rosterd::model::desired::Standing;
use rosterd::model::key::SystemName;
use rosterd::model::plan::FindingKind;
use rosterd::reconcile::drift::{Drift, DriftKind};
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::render::line;
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use super::team::{at_work, crew, person, team_at_work};
use crate::support::{Scene, Setting, TARGETS, ended, report_of};

async fn explained(scene: &Scene, who: &str) -> Explanation {
    let source = whom(scene.job(), who).await.expect("the systems work").unwrap_or_else(|| panic!("{who} is known"));
    explain(scene.job(), &source).await.expect("the systems work")
}

/// What a run would write about each user, in words, as `plan` shows it.
async fn planned(scene: &Scene, target: &str, source: &str) -> Vec<String> {
    let plans = scene.plan().await;
    let plan = plans.iter().find(|p| p.target == target).expect("a target of the job");
    plan.changes.iter().filter(|c| c.source.as_deref() == Some(source)).map(line).collect()
}

/// A run leaves groups in a read-only directory as they are, so nobody may be promised one.
#[tokio::test]
async fn nobody_is_promised_a_group_that_cannot_be_written() {
    let scene = team_at_work().await;
    assert_eq!(scene.directory("bitbucket").leave("sales", "eve.ito"), Ok(true));
    let crowd = r#"[{"name": "Crowd", "type": "Crowd", "description": "Read Only", "active": true}]"#;
    let faults = &scene.estate.bitbucket.running.faults;
    faults.add(Rule::always("GET", "/admin/user-directories", Fault::json(200, crowd)));
    let told = explained(&scene, "eve.ito").await;
    let planned = planned(&scene, "bitbucket", told.source.as_str()).await;
    let side = told.targets.iter().find(|side| side.target.as_str() == "bitbucket").expect("a target of the job");
    let plan = side.plan.as_ref().expect("nothing else is in the way");
    assert_eq!((planned, plan.changes.iter().map(line).collect::<Vec<_>>()), (vec![], vec![]));
    assert!(plan.findings.iter().any(|finding| finding.kind == FindingKind::ReadOnly), "{:?}", plan.findings);
}

#[tokio::test]
async fn what_is_explained_is_what_the_next_run_does() {
    let scene = at_work(crew(16), Setting::default()).await;
    let okta = &scene.estate.okta;
    let logins: Vec<String> = (0..16).map(|at| format!("p{at:02}.crew@example.com")).collect();
    okta.add_user(person("Gina", "Park"));
    okta.suspend(&logins[0]);
    okta.deactivate(&logins[1]);
    okta.delete_user(&logins[2]);
    okta.set_email(&logins[3], Some("elsewhere@example.com"));
    okta.rename_user(&logins[4], "entirely.new@example.com");
    okta.remove_member("staff", &logins[5]);
    okta.remove_member("staff", &logins[6]);
    okta.activate(&logins[0]);
    okta.suspend(&logins[7]);
    let mut compared = 0;
    for (at, login) in logins.iter().enumerate() {
        let name = login.split('@').next().expect("a login");
        let told = explained(&scene, name).await;
        for side in &told.targets {
            assert_eq!(side.error, None, "{login} at {}", side.target);
            let Some(plan) = &side.plan else {
                assert_eq!(at, 4, "only the renamed one takes a name that a whole run has to grant");
                continue;
            };
            let told_lines: Vec<String> = plan.changes.iter().map(line).collect();
            assert_eq!(
                told_lines,
                planned(&scene, side.target.as_str(), told.source.as_str()).await,
                "{login} at {}",
                side.target
            );
            compared += plan.changes.len();
        }
    }
    assert!(compared >= 12, "there was something to compare: {compared}");
}

#[tokio::test]
async fn a_user_is_found_under_every_name() {
    let scene = team_at_work().await;
    let id = scene.estate.okta.user_id("ada.lovelace@example.com");
    let key = scene.key("jira", "ada.lovelace").expect("she has an account");
    scene.estate.okta.add_user(person("Gina", "Park"));
    let gina = scene.estate.okta.user_id("gina.park@example.com");
    for (text, expected) in
        [("ada.lovelace", &id), ("ADA.Lovelace@example.com", &id), (&*id, &id), (&*key, &id), ("gina.park@example.com", &gina)]
    {
        let found = whom(scene.job(), text).await.expect("the systems work").map(|k| k.to_string());
        assert_eq!(found.as_ref(), Some(expected), "{text}");
    }
    assert_eq!(whom(scene.job(), "nobody@example.com").await.expect("the systems work"), None);
}

#[tokio::test]
async fn an_explanation_tells_facts_rules_groups_and_what_remains() {
    let scene = team_at_work().await;
    scene.estate.okta.suspend("ada.lovelace@example.com");
    let told = explained(&scene, "ada.lovelace").await;
    let reading = told.reading.as_ref().expect("the source has her");
    assert_eq!(reading.standing, Standing::Disabled);
    assert!(reading.rules.iter().any(|r| r.rule == "status" && !r.passes), "{:?}", reading.rules);
    assert!(reading.groups.iter().any(|g| g.group == "engineering" && g.targets == ["engineering"]), "{:?}", reading.groups);
    let jira = told.targets.iter().find(|t| t.target.as_str() == "jira").expect("a target");
    assert!(jira.groups.iter().any(|(group, owned)| group == "staff" && *owned), "{:?}", jira.groups);
    assert!(jira.account.as_ref().is_some_and(|a| a.active) && !jira.history.is_empty());
    let verdicts: Vec<_> = jira.plan.iter().flat_map(|p| &p.changes).map(|c| (&*c.op, &*c.verdict)).collect();
    assert!(verdicts.contains(&("deactivate_user", "admitted")), "{verdicts:?}");
    scene.hush();
    explained(&scene, "ada.lovelace").await;
    assert_eq!(scene.writes(), Vec::<String>::new(), "nothing is written");
}

async fn drift_at(scene: &Scene, target: &str) -> Vec<Drift> {
    let reading = read_source(scene.job()).await.expect("the source works");
    let name = SystemName::from(target);
    let side = scene.job().targets.iter().find(|t| t.name == name).expect("a target of the job");
    drift(scene.job(), side, &reading).await.expect("the target works")
}

async fn adopt_at(scene: &Scene, target: &str, names: &str) -> Vec<Drift> {
    let reading = read_source(scene.job()).await.expect("the source works");
    let side = scene.job().targets.iter().find(|t| t.name.as_str() == target).expect("a target of the job");
    let names = NameSet::new(&[names]).expect("a glob");
    let adoption = Adoption { names: &names, actor: "os:ops", reason: "tidying up" };
    let adopted = adopt(scene.job(), side, &reading, adoption, &CancellationToken::new()).await;
    adopted.expect("the systems work").expect("nobody else is at work")
}

fn told(drift: &[Drift]) -> Vec<(DriftKind, &str, Option<&str>)> {
    drift.iter().map(|d| (d.kind, &*d.user_name, d.group.as_deref())).collect()
}

#[tokio::test]
async fn what_was_done_by_hand_is_seen_and_nothing_else() {
    let scene = team_at_work().await;
    for target in TARGETS {
        assert_eq!(drift_at(&scene, target).await, [], "{target}");
    }
    // At the source nothing is drift: that is what a run is for.
    scene.estate.okta.suspend("eve.ito@example.com");
    scene.estate.okta.set_email("finn.moss@example.com", Some("finn@example.com"));
    scene.directory("jira").join("sales", "ada.lovelace").expect("both are there");
    scene.directory("jira").leave("engineering", "bob.stone").expect("he is in it");
    let found = drift_at(&scene, "jira").await;
    assert_eq!(
        told(&found),
        [(DriftKind::AddedMember, "ada.lovelace", Some("sales")), (DriftKind::RemovedMember, "bob.stone", Some("engineering")),]
    );
}

#[tokio::test]
async fn what_was_added_by_hand_is_left_alone_until_it_is_adopted() {
    let scene = team_at_work().await;
    scene.directory("jira").join("sales", "ada.lovelace").expect("both are there");
    scene.at_rest().await;
    scene.directory("jira").join("sales", "bob.stone").expect("both are there");
    let by_hand = |name| (DriftKind::AddedMember, name, Some("sales"));
    assert_eq!(told(&drift_at(&scene, "jira").await), [by_hand("ada.lovelace"), by_hand("bob.stone")]);
    let adopted = adopt_at(&scene, "jira", "ada.*").await;
    assert_eq!(told(&adopted), [by_hand("ada.lovelace")]);
    assert_eq!(told(&drift_at(&scene, "jira").await), [by_hand("bob.stone")], "what was taken over is no drift any more");
    let query = RunQuery { target: Some("jira".into()), limit: 1, ..RunQuery::default() };
    let record = scene.journal.runs(&query).await.expect("the store works").remove(0);
    assert_eq!(
        record.end.expect("it has ended").messages,
        ["taken over by os:ops: tidying up", "ada.lovelace in group \"sales\""]
    );
    let reports = scene.run().await;
    let jira = report_of(&reports, "jira");
    assert_eq!(ended(jira), Ended::Applied);
    assert!(!scene.members("jira", "sales").contains("ada.lovelace"));
    assert!(scene.members("jira", "sales").contains("bob.stone"), "he was not named");
    assert_eq!(told(&drift_at(&scene, "jira").await), [by_hand("bob.stone")]);
    for target in ["confluence", "bitbucket"] {
        assert_eq!(drift_at(&scene, target).await, [], "{target}");
    }
    scene.at_rest().await;
}
