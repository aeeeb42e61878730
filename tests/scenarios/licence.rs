//! A licence that is full: who fits is taken in, the rest waits with its cause, and heals when seats come free. Where the
//! licence is told, a plan says beforehand where it ends, and who would find no seat can wait without being tried.

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Ended;
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::retry::{Retry, Subject};
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use super::team::{at_work, person, team, team_at_work, team_under};
use crate::support::{Scene, Setting, TARGETS, end_of, ended};

const NEW: [(&str, &str); 3] = [("Gina", "Park"), ("Hugo", "Lind"), ("Ida", "Falk")];

fn working(scene: &Scene, target: &str) -> usize {
    ["gina.park", "hugo.lind", "ida.falk"]
        .iter()
        .filter(|user| {
            let directory = scene.directory(target);
            directory.user(user).is_some_and(|u| directory.is_licensed(u))
        })
        .count()
}

/// The targets that tell of their licences, with what a licence is called there.
const TELLING: [(&str, &str); 2] = [("jira", "Jira Software"), ("bitbucket", "Bitbucket")];

const HOLD: &str = "[jobs.staff.guard]\nseats = \"hold\"\n";

/// Three newcomers meet one free seat at every target.
async fn one_seat_for_three() -> Scene {
    one_seat_for_three_at(team_at_work().await, &TARGETS)
}

fn one_seat_for_three_at(scene: Scene, targets: &[&str]) -> Scene {
    for target in targets {
        let mut directory = scene.directory(target);
        directory.seats = Some(directory.seats_taken() + 1);
    }
    let okta = &scene.estate.okta;
    for (first, last) in NEW {
        okta.add_user(person(first, last));
        okta.add_member("staff", &format!("{}.{}@example.com", first.to_lowercase(), last.to_lowercase()));
    }
    scene
}

#[tokio::test]
async fn who_waits_for_a_seat_heals_by_the_queue_alone() {
    let scene = one_seat_for_three().await;
    scene.run().await;
    for target in TARGETS {
        scene.directory(target).seats = None;
    }
    scene.clock.advance(TimeDelta::hours(7));
    let due = scene.journal.retries().await.expect("the store works");
    let stop = CancellationToken::new();
    for side in &scene.job().targets {
        let here: Vec<Retry> = due.iter().filter(|r| r.target == side.name).cloned().collect();
        let pass = retry_subjects(scene.job(), side, &here, &stop).await.expect("the store works");
        let end = pass.end.expect("a run was begun");
        assert_eq!((end.ended, pass.needs_whole), (Ended::Applied, false), "{}: {end:?}", side.name);
    }
    for target in TARGETS {
        assert_eq!(working(&scene, target), 3, "{target}");
    }
    assert!(scene.journal.retries().await.expect("the store works").is_empty());
    scene.at_rest().await;
}

#[tokio::test]
async fn who_finds_no_seat_waits_with_the_cause_and_heals() {
    let scene = one_seat_for_three().await;
    let okta = &scene.estate.okta;
    // Somebody else's change goes through meanwhile.
    okta.add_member("sales", "finn.moss@example.com");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((end.ended, end.failed >= 2), (Ended::Partial, true), "{end:?}");
        let said = end.messages.join("\n").to_lowercase();
        assert!(said.contains("licen") || said.contains("seat"), "{said}");
    }
    let waiting = scene.journal.retries().await.expect("the store works");
    for target in TARGETS {
        assert_eq!(working(&scene, target), 1, "{target}");
        assert!(scene.directory(target).is_member("sales", "finn.moss"), "{target}");
        let here: Vec<_> = waiting.iter().filter(|r| r.target.as_str() == target).collect();
        assert_eq!(here.len(), 2, "{target}: {here:?}");
        assert!(here.iter().all(|r| matches!(r.subject, Subject::User(_)) && !r.cause.is_empty()), "{target}: {here:?}");
    }
    // While they wait nothing is tried again.
    scene.hush();
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Partial, "{:?}", report.record.end);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());

    for target in TARGETS {
        scene.directory(target).seats = None;
    }
    scene.clock.advance(TimeDelta::hours(7));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    }
    for target in TARGETS {
        assert_eq!(working(&scene, target), 3, "{target}");
    }
    assert!(scene.journal.retries().await.expect("the store works").is_empty());
    scene.at_rest().await;
}

/// Of the three newcomers who has an account.
fn accounts(scene: &Scene, target: &str) -> usize {
    ["gina.park", "hugo.lind", "ida.falk"].iter().filter(|user| scene.directory(target).user(user).is_some()).count()
}

#[tokio::test]
async fn a_plan_and_its_run_tell_where_the_licence_ends() {
    let scene = one_seat_for_three().await;
    let plans = scene.plan().await;
    for (target, product) in TELLING {
        let taken = scene.directory(target).seats_taken() as u32;
        let plan = plans.iter().find(|plan| plan.target == target).expect("it was planned");
        let [forecast] = &plan.seats[..] else { panic!("one licence: {:?}", plan.seats) };
        assert_eq!(forecast.text(), format!("{product}: {taken} to {} of {} seats", taken + 3, taken + 1));
        assert!(forecast.is_over() && !forecast.about, "{forecast:?}");
        assert!(plan.changes.iter().all(|change| change.verdict == "admitted"), "warned and no more");
    }
    let untold = plans.iter().find(|plan| plan.target == "confluence").expect("it was planned");
    assert_eq!(untold.seats, []);
    let reports = scene.run().await;
    for (target, product) in TELLING {
        let messages = end_of(&reports, target).messages;
        assert!(messages.iter().any(|m| m.starts_with(product) && m.ends_with("the licence does not suffice")), "{messages:?}");
    }
}

#[tokio::test]
async fn who_would_find_no_seat_waits_without_being_tried_and_everybody_else_goes_on() {
    let told = TELLING.map(|(target, _)| target);
    let scene = one_seat_for_three_at(team_under(HOLD).await, &told);
    scene.estate.okta.add_member("sales", "finn.moss@example.com");
    for plan in scene.plan().await.iter().filter(|plan| told.contains(&plan.target.as_str())) {
        let waits: Vec<_> = plan.changes.iter().filter_map(|change| change.withheld.as_deref()).collect();
        assert!(waits[0].starts_with("waits for a free seat of") && waits.len() >= 2, "{waits:?}");
        assert!(!plan.seats[0].is_over(), "{:?}", plan.seats);
    }
    let reports = scene.run().await;
    for (target, product) in TELLING {
        let end = end_of(&reports, target);
        assert_eq!((end.ended, end.failed), (Ended::Partial, 0), "{end:?}");
        assert!(end.messages.iter().any(|m| m.starts_with(&format!("{product}: 2 users wait for a free seat"))), "{end:?}");
        assert_eq!((working(&scene, target), accounts(&scene, target)), (1, 1), "{target}: a joiner waits as a whole");
        assert!(scene.directory(target).is_member("sales", "finn.moss"), "{target}");
    }
    let end = end_of(&reports, "confluence");
    assert!(end.messages.iter().any(|m| m.contains("does not tell how many seats are free")), "{end:?}");
    assert_eq!(working(&scene, "confluence"), 3);
    assert!(scene.journal.retries().await.expect("the store works").is_empty(), "nobody was tried in vain");
    scene.hush();
    scene.run().await;
    assert_eq!(scene.writes(), Vec::<String>::new());

    // Whoever leaves makes room for one, who comes in with the next run: removals come last.
    scene.estate.okta.suspend("ada.lovelace@example.com");
    scene.run().await;
    for (target, _) in TELLING {
        assert!(!scene.works(target, "ada.lovelace") && working(&scene, target) == 1, "{target}");
    }
    scene.run().await;
    for (target, _) in TELLING {
        assert_eq!(working(&scene, target), 2, "{target}");
        scene.directory(target).seats = None;
    }
    scene.at_rest().await;
    for (target, _) in TELLING {
        assert_eq!(working(&scene, target), 3, "{target}");
    }
}

#[tokio::test]
async fn who_waits_for_a_seat_keeps_a_group_from_losing_its_last() {
    let expect = "[jobs.staff.guard]\nseats = \"hold\"\nexpect = [ { group = \"sales\", at_least = 2 } ]";
    let scene = team_under(expect).await;
    for (target, _) in TELLING {
        let mut directory = scene.directory(target);
        directory.seats = Some(directory.seats_taken());
    }
    let okta = &scene.estate.okta;
    okta.add_user(person("Gina", "Park"));
    for group in ["staff", "sales"] {
        okta.add_member(group, "gina.park@example.com");
    }
    okta.remove_member("sales", "eve.ito@example.com");
    let reports = scene.run().await;
    for (target, _) in TELLING {
        let end = end_of(&reports, target);
        assert_eq!(end.ended, Ended::Refused, "{end:?}");
        assert!(scene.directory(target).is_member("sales", "eve.ito"), "{target}");
        scene.directory(target).seats = None;
    }
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.directory(target).is_member("sales", "gina.park"), "{target}");
        assert!(!scene.directory(target).is_member("sales", "eve.ito"), "{target}");
    }
}

#[tokio::test]
async fn who_is_due_and_finds_no_seat_is_not_looked_at_again_at_once_for_ever() {
    let told = TELLING.map(|(target, _)| target);
    let scene = one_seat_for_three_at(team_under(HOLD).await, &told);
    for (target, _) in TELLING {
        let mut directory = scene.directory(target);
        directory.seats = Some(directory.seats_taken());
    }
    let entry = |target: &str| Retry {
        job: "staff".into(),
        target: target.into(),
        subject: Subject::User(scene.estate.okta.user_id("gina.park@example.com").into()),
        attempts: 2,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "the licence was full".into(),
        quarantined: false,
        user_name: Some("gina.park".into()),
    };
    scene.journal.enqueue(&told.map(entry)).await.expect("the store works");
    scene.run().await;
    assert!(scene.journal.retries().await.expect("the store works").is_empty(), "every whole run looks at her anyway");
    scene.journal.enqueue(&told.map(entry)).await.expect("the store works");
    let waiting = scene.journal.retries().await.expect("the store works");
    scene.clock.advance(TimeDelta::hours(7));
    let stop = CancellationToken::new();
    for side in scene.job().targets.iter().filter(|side| told.contains(&side.name.as_str())) {
        let due: Vec<Retry> = waiting.iter().filter(|retry| retry.target == side.name).cloned().collect();
        assert_eq!(due.len(), 1);
        retry_subjects(scene.job(), side, &due, &stop).await.expect("the store works");
    }
    assert!(scene.journal.retries().await.expect("the store works").is_empty(), "after a retry too");
    assert!(told.iter().all(|target| accounts(&scene, target) == 0));
}

/// A weekly job would let them wait for a week.
#[tokio::test]
async fn a_seat_that_a_leaver_frees_is_given_soon_after_and_not_by_the_next_run() {
    let told = TELLING.map(|(target, _)| target);
    let scene = one_seat_for_three_at(team_under(HOLD).await, &told);
    scene.estate.okta.suspend("eve.ito@example.com");
    let reports = scene.run().await;
    for target in told {
        let end = end_of(&reports, target);
        assert_eq!((end.ended, working(&scene, target)), (Ended::Partial, 1), "{end:?}");
    }
    let waiting = scene.journal.retries().await.expect("the store works");
    let soon = scene.clock.now() + TimeDelta::minutes(2);
    for (target, _) in TELLING {
        let here: Vec<Retry> = waiting.iter().filter(|r| r.target.as_str() == target).cloned().collect();
        // One seat comes free, for one of the two who wait.
        assert!(here.len() == 1 && here.iter().all(|r| r.not_before <= soon && r.attempts == 0), "{here:?}");
    }
    scene.clock.advance(TimeDelta::minutes(2));
    for side in scene.job().targets.iter().filter(|side| told.contains(&side.name.as_str())) {
        let here: Vec<Retry> = waiting.iter().filter(|r| r.target == side.name).cloned().collect();
        retry_subjects(scene.job(), side, &here, &CancellationToken::new()).await.expect("the store works");
        assert_eq!(working(&scene, side.name.as_str()), 2, "{}: the seat that came free is given, and no other", side.name);
    }
    // Whoever still waits is the next whole run's business.
    let waiting = scene.journal.retries().await.expect("the store works");
    assert!(waiting.iter().all(|r| !told.contains(&r.target.as_str())), "{waiting:?}");
}

async fn one_seat_for_three_at_a_confluence_that_tells() -> Scene {
    let scene = at_work(team(), Setting { job: HOLD.to_owned(), ..Setting::default() }).await;
    scene.estate.confluence.tell_licence(true);
    let mut scene = one_seat_for_three_at(scene, &["confluence"]);
    // Whoever did not tell is asked again after a day, or by a new connection.
    scene.reassemble();
    scene
}

/// Confluence tells a system administrator of its licence.
#[tokio::test]
async fn confluence_s_licence_counts_where_it_is_told() {
    let scene = one_seat_for_three_at_a_confluence_that_tells().await;
    let end = scene.run_for("confluence").await;
    assert_eq!((end.ended, end.failed), (Ended::Partial, 0), "{end:?}");
    assert!(end.messages.iter().any(|m| m.contains("Confluence: 2 users wait for a free seat")), "{end:?}");
    assert_eq!(accounts(&scene, "confluence"), 1);
    scene.directory("confluence").seats = None;
    scene.at_rest().await;
    assert_eq!(accounts(&scene, "confluence"), 3);
}

/// Which groups give access Confluence does not tell: any that somebody is taken out of may have been the last.
#[tokio::test]
async fn a_seat_that_may_have_come_free_at_confluence_is_looked_for_soon_after() {
    let scene = one_seat_for_three_at_a_confluence_that_tells().await;
    scene.estate.okta.remove_member("sales", "eve.ito@example.com");
    let end = scene.run_for("confluence").await;
    assert_eq!((end.ended, accounts(&scene, "confluence")), (Ended::Partial, 1), "{end:?}");
    let waiting = scene.journal.retries().await.expect("the store works");
    assert_eq!(waiting.iter().filter(|r| r.target.as_str() == "confluence").count(), 1, "{waiting:?}");
}

#[tokio::test]
async fn who_comes_back_or_moves_in_waits_for_a_seat_as_well() {
    let scene = team_under(HOLD).await;
    let okta = &scene.estate.okta;
    okta.suspend("ada.lovelace@example.com");
    okta.remove_member("staff", "bob.stone@example.com");
    scene.at_rest().await;
    for (target, _) in TELLING {
        let mut directory = scene.directory(target);
        directory.seats = Some(directory.seats_taken());
    }
    okta.activate("ada.lovelace@example.com");
    okta.add_member("staff", "bob.stone@example.com");
    okta.add_member("sales", "bob.stone@example.com");
    // Dan has a seat, and is given nothing but another group.
    okta.add_member("engineering", "dan.ng@example.com");
    let reports = scene.run().await;
    for (target, _) in TELLING {
        let end = end_of(&reports, target);
        assert_eq!((end.ended, end.failed), (Ended::Partial, 0), "{end:?}");
        assert!(!scene.works(target, "ada.lovelace"), "{target}");
        let directory = scene.directory(target);
        assert!(!directory.is_member("staff", "bob.stone") && directory.is_member("sales", "bob.stone"), "{target}");
        assert!(directory.is_member("engineering", "dan.ng"), "{target}");
    }
    for (target, _) in TELLING {
        scene.directory(target).seats = None;
    }
    scene.at_rest().await;
    for (target, _) in TELLING {
        assert!(scene.works(target, "ada.lovelace") && scene.directory(target).is_member("staff", "bob.stone"), "{target}");
    }
}

#[tokio::test]
async fn who_is_on_the_retry_queue_takes_no_seat_that_is_not_there() {
    let mut scene = one_seat_for_three().await;
    scene.run().await;
    scene.reconfigure(|text| format!("{text}\n{HOLD}"));
    scene.clock.advance(TimeDelta::hours(7));
    let due = scene.journal.retries().await.expect("the store works");
    scene.hush();
    for side in scene.job().targets.iter().filter(|side| TELLING.iter().any(|(target, _)| side.name.as_str() == *target)) {
        let here: Vec<Retry> = due.iter().filter(|r| r.target == side.name).cloned().collect();
        assert_eq!(here.len(), 2, "{here:?}");
        let pass = retry_subjects(scene.job(), side, &here, &CancellationToken::new()).await.expect("the store works");
        let end = pass.end.expect("a run was begun");
        assert_eq!((end.ended, end.failed), (Ended::Partial, 0), "{}: {end:?}", side.name);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    for target in TARGETS {
        scene.directory(target).seats = None;
    }
    scene.at_rest().await;
    for target in TARGETS {
        assert_eq!(working(&scene, target), 3, "{target}");
    }
}

#[tokio::test]
async fn a_licence_that_may_not_be_seen_holds_nobody() {
    let scene = team_under(HOLD).await;
    let forbidden = Fault::json(403, r#"{"errorMessages":["no"],"errors":{}}"#);
    scene.estate.jira.running.faults.add(Rule::always("GET", "/applicationrole", forbidden));
    scene.hire_mona(&["staff"]);
    let end = scene.run_for("jira").await;
    assert_eq!(end.ended, Ended::Applied, "{end:?}");
    assert!(end.messages.iter().any(|m| m.contains("nobody waits for one")), "{end:?}");
}
