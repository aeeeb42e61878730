//! The record: each change has the target's own id of the request behind it, and the chain agrees with whatever was done.

use std::time::Duration;

use chrono::TimeDelta;
use rosterd::contract::chain::Beginning;
use rosterd::contract::clock::Clock;
use rosterd::contract::history::ChangeQuery;
use rosterd::contract::journal::{ChangeRecord, Ended, Outcome, RunQuery};
use rosterd::contract::verdict::Verdict;
use rosterd::engine::decide::{Said, decide};
use rosterd::engine::undo::{Request, undo};
use rosterd::model::change::OpKind;
use rosterd::reconcile::pattern::NameSet;
use rosterd_sim::harness::{Fault, Rule, Running};
use tokio_util::sync::CancellationToken;

use super::team::{at_work, crew, team};
use crate::support::{Scene, Setting, TARGETS, creating_mona, ended, report_of};

async fn all_changes(scene: &Scene, target: &str) -> Vec<ChangeRecord> {
    let query = ChangeQuery { target: Some(target.into()), limit: 10_000, ..ChangeQuery::default() };
    scene.journal.history(&query).await.expect("the store works").into_iter().map(|told| told.change).collect()
}

fn running<'a>(scene: &'a Scene, target: &str) -> &'a Running {
    match target {
        "jira" => &scene.estate.jira.running,
        "confluence" => &scene.estate.confluence.running,
        _ => &scene.estate.bitbucket.running,
    }
}

/// Whether this is how a target marks its requests.
fn is_of(target: &str, id: &str) -> bool {
    match target {
        "jira" => id.starts_with("759x") && id.ends_with("x1"),
        "confluence" => id.starts_with("17900000") && id.bytes().all(|b| b.is_ascii_digit()),
        _ => id.starts_with("@S1MULAx759x"),
    }
}

async fn the_chain_holds(scene: &Scene) {
    let checked = scene.journal.verify(None).await.expect("the store works");
    assert!(checked.holds(), "{checked:#?}");
}

#[tokio::test]
async fn every_change_tells_by_which_request_it_was_made_or_failed() {
    let scene = Scene::new(team(), Setting::default()).await;
    scene.open_doors("staff");
    scene.run().await;
    scene.estate.okta.suspend("finn.moss@example.com");
    scene.estate.okta.remove_member("sales", "eve.ito@example.com");
    scene.run().await;
    for target in TARGETS {
        let changes = all_changes(&scene, target).await;
        let kinds: std::collections::BTreeSet<OpKind> = changes.iter().map(|c| c.intent.kind).collect();
        for kind in [OpKind::CreateGroup, OpKind::CreateUser, OpKind::AddMember, OpKind::RemoveMember, OpKind::DeactivateUser] {
            assert!(kinds.contains(&kind), "{target}: {kind:?}");
        }
        for change in &changes {
            assert_eq!(change.outcome, Some(Outcome::Done), "{target}: {change:?}");
            assert!(change.request.as_deref().is_some_and(|id| is_of(target, id)), "{target}: {change:?}");
        }
    }
    the_chain_holds(&scene).await;

    // A refusal has an id as well: with it an administrator finds the reason in the product's own log.
    scene.hire_mona(&["staff"]);
    for target in TARGETS {
        let (method, path) = creating_mona(target);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![header("X-AREQUESTID", &format!("refused-{target}")), header("content-type", "application/json")];
        let body = r#"{"errorMessages":[],"errors":{"emailAddress":"no"},"message":"no","statusCode":400}"#.to_owned();
        running(&scene, target).faults.add(Rule::always(method, path, Fault::Answer { status: 400, headers, body }));
    }
    scene.run().await;
    for target in TARGETS {
        let changes = all_changes(&scene, target).await;
        let failed: Vec<_> = changes.iter().filter(|c| matches!(c.outcome, Some(Outcome::Failed { .. }))).collect();
        assert!(!failed.is_empty(), "{target}");
        for change in failed {
            assert_eq!(change.request.as_deref(), Some(&*format!("refused-{target}")), "{change:?}");
        }
    }
    the_chain_holds(&scene).await;
}

#[tokio::test]
async fn the_chain_agrees_with_runs_approvals_undo_and_pruning() {
    let scene = at_work(crew(20), Setting::default()).await;
    let first = scene.journal.head().await.expect("the store works");
    (0..8).for_each(|at| scene.estate.okta.suspend(&format!("p{at:02}.crew@example.com")));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Staged);
    }
    the_chain_holds(&scene).await;

    let staged = scene.journal.staged().await.expect("the store works");
    let plan = staged.iter().find(|s| s.target.as_str() == "jira").expect("something waits").plan.to_string();
    let only = NameSet::new(&["p00.*"]).expect("a glob");
    let said = Said { verdict: Verdict::Approved, only: &only, actor: "os:ops", reason: "they left", at: scene.clock.now() };
    decide(&*scene.journal, &plan, said, |_| Duration::from_secs(3600)).await.expect("approved");
    the_chain_holds(&scene).await;
    let reports = scene.run().await;
    the_chain_holds(&scene).await;

    let run = &report_of(&reports, "jira").record;
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let request = Request { run, changes: &changes, only: &NameSet::none(), actor: "os:ops", over_limits: false };
    let side = scene.job().targets.iter().find(|t| t.name == run.start.target).expect("a target of the job");
    let undone = undo(scene.job(), side, request, "a mistake", &CancellationToken::new()).await.expect("the systems work");
    assert_eq!(ended(&undone.expect("nobody else is at work")), Ended::Applied);
    scene.run().await;
    the_chain_holds(&scene).await;
    let kept = scene.journal.verify(Some(&first.hash)).await.expect("the store works");
    assert_eq!(kept.held, Some(Some(first)), "what was true before all this still is");

    scene.clock.advance(TimeDelta::days(100));
    scene.run().await;
    let pruned = scene.journal.prune(scene.clock.now() - TimeDelta::days(90)).await.expect("the store works");
    assert!(pruned > 0);
    the_chain_holds(&scene).await;
    // The hold stands, and with it the entries from its time on.
    let checked = scene.journal.verify(None).await.expect("the store works");
    assert!(matches!(checked.beginning, Beginning::Nothing | Beginning::Pruned { .. }), "{checked:#?}");
    let left = scene.journal.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await.expect("the store works");
    assert!(left.iter().all(|run| run.start.at > scene.clock.now() - TimeDelta::days(1)), "{left:#?}");
}
