//! Approvals: a person lets exactly those removals through that a plan showed, once, and no other.

use std::time::Duration;

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Ended;
use rosterd::contract::verdict::Verdict;
use rosterd::engine::decide::{DecideError, Said, Written, decide};
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::key::SystemName;
use rosterd::model::retry::{Retry, Subject};
use rosterd::reconcile::pattern::NameSet;
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use super::team::{applied, at_work, crew, person};
use crate::support::{Scene, Setting, TARGETS, end_of, ended, report_of};

fn login(at: usize) -> String {
    format!("p{at:02}.crew@example.com")
}

fn name(at: usize) -> String {
    format!("p{at:02}.crew")
}

/// A crew of 20 of whom the first eight are suspended: over the limit, staged everywhere.
async fn eight_wait() -> Scene {
    let scene = at_work(crew(20), Setting::default()).await;
    (0..8).for_each(|at| scene.estate.okta.suspend(&login(at)));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Staged);
    }
    scene
}

/// The plan that waits at a target.
async fn plan_of(scene: &Scene, target: &str) -> String {
    let staged = scene.journal.staged().await.expect("the store works");
    staged.iter().find(|s| s.target.as_str() == target).expect("something waits").plan.to_string()
}

async fn say(scene: &Scene, plan: &str, verdict: Verdict, only: &[&str]) -> Result<Written, DecideError> {
    let only = NameSet::new(only).expect("globs");
    let at = scene.clock.now();
    let said = Said { verdict, only: &only, actor: "os:ops", reason: "they left", at };
    decide(&*scene.journal, plan, said, |_| Duration::from_secs(3600)).await
}

fn working(scene: &Scene, target: &str) -> Vec<usize> {
    (0..8).filter(|at| scene.works(target, &name(*at))).collect()
}

#[tokio::test]
async fn what_is_approved_goes_through_at_the_next_run_and_the_rest_waits() {
    let scene = eight_wait().await;
    let plan = plan_of(&scene, "jira").await;
    let written = say(&scene, &plan[..6], Verdict::Approved, &["p00.*", "P01.CREW"]).await.expect("approved");
    assert_eq!((written.decisions.len(), written.others), (2, 6));
    let reports = scene.run().await;
    assert_eq!(working(&scene, "jira"), [2, 3, 4, 5, 6, 7], "two of eight");
    for target in TARGETS.into_iter().filter(|t| *t != "jira") {
        assert_eq!(working(&scene, target).len(), 8, "{target}: another plan");
    }
    let run = report_of(&reports, "jira");
    let changes = scene.journal.changes(&run.record.start.id).await.expect("the store works");
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|c| c.intent.let_by.as_deref() == Some("os:ops: they left")), "{changes:#?}");
    assert!(scene.journal.decisions().await.expect("the store works").is_empty(), "each was used once");
}

/// Looks again at one of them at Jira, as the daemon does when somebody's time on the retry queue has come.
async fn look_again(scene: &Scene, at: usize) {
    let jira = SystemName::from("jira");
    let due = Retry {
        job: scene.job().job.name.clone(),
        target: jira.clone(),
        subject: Subject::User(scene.estate.okta.user_id(&login(at)).into()),
        attempts: 1,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "jira was busy".into(),
        quarantined: false,
        user_name: Some(name(at).into()),
    };
    scene.journal.enqueue(std::slice::from_ref(&due)).await.expect("the store works");
    let side = scene.job().targets.iter().find(|t| t.name == jira).expect("a target of the job");
    // As the store has it: an entry that is not as it was has been seen to by somebody else.
    let due = scene.journal.retries().await.expect("the store works");
    retry_subjects(scene.job(), side, &due, &CancellationToken::new()).await.expect("the store works");
}

#[tokio::test]
async fn what_waits_is_not_let_through_one_by_one_by_the_retry_queue() {
    let scene = eight_wait().await;
    look_again(&scene, 0).await;
    assert_eq!(working(&scene, "jira").len(), 8, "one alone is within every limit, and waits all the same");
    say(&scene, &plan_of(&scene, "jira").await, Verdict::Approved, &["p00.*"]).await.expect("approved");
    look_again(&scene, 0).await;
    assert_eq!(working(&scene, "jira"), [1, 2, 3, 4, 5, 6, 7], "approved, it goes through there too");
    assert!(scene.journal.decisions().await.expect("the store works").is_empty());
}

#[tokio::test]
async fn the_plan_to_decide_on_is_the_same_as_long_as_the_same_removals_wait() {
    let scene = eight_wait().await;
    let plan = plan_of(&scene, "jira").await;
    scene.estate.okta.add_user(person("Gina", "Park"));
    scene.estate.okta.add_member("staff", "gina.park@example.com");
    scene.run().await;
    assert_eq!(plan_of(&scene, "jira").await, plan, "somebody else joined");
    scene.estate.okta.suspend(&login(9));
    scene.run().await;
    let later = plan_of(&scene, "jira").await;
    assert_ne!(later, plan, "one more waits");
    let written = say(&scene, &plan, Verdict::Approved, &[]).await.expect("the plan before is known");
    assert_eq!(written.decisions.len(), 8);
    scene.run().await;
    assert_eq!(working(&scene, "jira"), [0usize; 0]);
    assert!(scene.works("jira", &name(9)), "it was not in that plan");
}

#[tokio::test]
async fn an_approval_lets_no_other_change_through() {
    let scene = eight_wait().await;
    let plan = plan_of(&scene, "jira").await;
    say(&scene, &plan, Verdict::Approved, &[]).await.expect("approved");
    (8..12).for_each(|at| scene.estate.okta.suspend(&login(at)));
    scene.run().await;
    assert_eq!(working(&scene, "jira"), [0usize; 0], "the eight that were shown");
    assert!((8..12).all(|at| scene.works("jira", &name(at))), "not the four that came after");
}

#[tokio::test]
async fn an_approval_of_somebody_who_came_back_is_void() {
    let scene = eight_wait().await;
    let plan = plan_of(&scene, "jira").await;
    say(&scene, &plan, Verdict::Approved, &[]).await.expect("approved");
    scene.estate.okta.activate(&login(3));
    scene.run().await;
    assert_eq!(working(&scene, "jira"), [3]);
    assert!(scene.journal.decisions().await.expect("the store works").is_empty());
    // Gone again: a new decision is needed if it is over the limit, and the old one does not count.
    (8..16).chain([3]).for_each(|at| scene.estate.okta.suspend(&login(at)));
    scene.run().await;
    assert_eq!(working(&scene, "jira"), [3]);
}

#[tokio::test]
async fn approved_removals_leave_the_day_its_limit() {
    let scene = eight_wait().await;
    say(&scene, &plan_of(&scene, "jira").await, Verdict::Approved, &[]).await.expect("approved");
    scene.run().await;
    scene.estate.okta.suspend(&login(9));
    let reports = scene.run().await;
    let jira = report_of(&reports, "jira");
    assert_eq!(ended(jira), Ended::Applied, "an ordinary leaver on the same day");
    assert!(!scene.works("jira", &name(9)));
}

#[tokio::test]
async fn an_approval_runs_out() {
    let scene = eight_wait().await;
    say(&scene, &plan_of(&scene, "jira").await, Verdict::Approved, &[]).await.expect("approved");
    scene.clock.advance(TimeDelta::hours(2));
    scene.run().await;
    assert_eq!(working(&scene, "jira").len(), 8);
    assert!(scene.journal.decisions().await.expect("the store works").is_empty());
}

#[tokio::test]
async fn what_is_rejected_waits_no_longer_until_the_source_says_something_new() {
    let scene = eight_wait().await;
    for target in TARGETS {
        say(&scene, &plan_of(&scene, target).await, Verdict::Rejected, &[]).await.expect("rejected");
    }
    let reports = scene.run().await;
    for target in TARGETS {
        let end = end_of(&reports, target);
        assert_eq!((end.ended, end.staged), (Ended::Converged, 0), "{end:?}");
    }
    assert!(scene.journal.staged().await.expect("the store works").is_empty());
    // Everybody returns, and then one leaves for good.
    (0..8).for_each(|at| scene.estate.okta.activate(&login(at)));
    scene.run().await;
    assert!(scene.journal.decisions().await.expect("the store works").is_empty());
    scene.estate.okta.suspend(&login(0));
    applied(&scene).await;
    assert_eq!(working(&scene, "jira"), [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_blind_run_makes_nothing_that_was_approved() {
    let scene = eight_wait().await;
    say(&scene, &plan_of(&scene, "jira").await, Verdict::Approved, &[]).await.expect("approved");
    (8..20).for_each(|at| scene.estate.okta.delete_user(&login(at)));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Blind, "{:?}", report.record.end);
    }
    assert_eq!(working(&scene, "jira").len(), 8);
}

#[tokio::test]
async fn a_plan_that_nobody_knows_and_a_name_that_is_not_in_it_are_told_apart() {
    let scene = eight_wait().await;
    let plan = plan_of(&scene, "jira").await;
    assert!(matches!(say(&scene, "ffffffff", Verdict::Approved, &[]).await, Err(DecideError::Unknown(_))));
    let error = say(&scene, &plan, Verdict::Approved, &["nobody"]).await.expect_err("no such name");
    assert!(error.to_string().contains("p00.crew"), "{error}");
    scene.clock.advance(TimeDelta::days(30));
    (0..8).for_each(|at| scene.estate.okta.activate(&login(at)));
    scene.run().await;
    assert!(matches!(say(&scene, &plan, Verdict::Approved, &[]).await, Err(DecideError::Expired { .. })));
}

/// Somebody is missing in the listing, and the source gives no definite answer about them.
fn without_an_answer(scene: &Scene, at: usize) {
    let okta = &scene.estate.okta;
    let id = okta.user_id(&login(at));
    okta.delete_user(&login(at));
    okta.server.faults.add(Rule::always("GET", &format!("/api/v1/users/{id}"), Fault::json(500, "{}")));
}

#[tokio::test]
async fn a_hole_in_the_listing_ends_no_decision() {
    let scene = eight_wait().await;
    say(&scene, &plan_of(&scene, "jira").await, Verdict::Rejected, &["p00.*"]).await.expect("rejected");
    without_an_answer(&scene, 0);
    scene.run().await;
    let left = scene.journal.decisions().await.expect("the store works");
    assert_eq!(left.iter().map(|d| &*d.user_name).collect::<Vec<_>>(), ["p00.crew"], "nothing new is known of them");
    scene.estate.okta.server.faults.clear();
    scene.run().await;
    assert!(scene.journal.decisions().await.expect("the store works").is_empty(), "deleted is another cause than suspended");
}

#[tokio::test]
async fn what_no_run_has_borne_out_for_too_long_is_not_decided_on() {
    let scene = eight_wait().await;
    let plan = plan_of(&scene, "jira").await;
    // Every run that is believed renews it.
    scene.clock.advance(TimeDelta::days(6));
    scene.run().await;
    scene.clock.advance(TimeDelta::days(6));
    assert_eq!(plan_of(&scene, "jira").await, plan);
    say(&scene, &plan, Verdict::Approved, &["p00.*"]).await.expect("approved");
    // From now on they are blind, and bear nothing out.
    (8..20).for_each(|at| scene.estate.okta.delete_user(&login(at)));
    for _ in 0..2 {
        scene.clock.advance(TimeDelta::days(1));
        assert!(scene.run().await.iter().all(|report| ended(report) == Ended::Blind));
    }
    assert_eq!(plan_of(&scene, "jira").await, plan, "it waits on");
    scene.journal.prune(scene.clock.now()).await.expect("the store works");
    let error = say(&scene, &plan, Verdict::Approved, &[]).await.expect_err("a week without a run that knows");
    assert!(matches!(error, DecideError::Expired { .. }), "{error}");
}
