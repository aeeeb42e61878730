//! The health gate: a source that cannot be believed may add, and removes nothing.

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Ended;
use rosterd::engine::drift::drift;
use rosterd::engine::run::read_source;
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::retry::{Retry, Subject};
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::world::World;
use tokio_util::sync::CancellationToken;

use super::team::{applied, at_work, crew, person, team_at_work, team_under};
use crate::support::{Scene, Setting, TARGETS, ended};

/// Runs blind: a joiner comes in, nobody loses anything, and the run says why.
async fn blind(scene: &Scene, why: &str) {
    let before: Vec<usize> = TARGETS.iter().map(|t| scene.members(t, "staff").len()).collect();
    let okta = &scene.estate.okta;
    okta.add_user(person("Gina", "Park"));
    okta.add_member("staff", "gina.park@example.com");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!(end.ended, Ended::Blind, "{end:?}");
        assert!(end.messages.iter().any(|m| m.contains(why)), "{:?}", end.messages);
        assert_eq!(end.sizes, None, "a roster that is not believed is no measure");
    }
    for (target, before) in TARGETS.iter().zip(before) {
        assert_eq!(scene.members(target, "staff").len(), before + 1, "{target}");
        assert!(scene.works(target, "gina.park"), "{target}");
    }
}

#[tokio::test]
async fn a_source_that_shrank_by_three_fifths_removes_nothing() {
    let scene = at_work(crew(20), Setting::default()).await;
    let okta = &scene.estate.okta;
    (0..12).for_each(|at| okta.delete_user(&format!("p{at:02}.crew@example.com")));
    blind(&scene, "may shrink").await;
    scene.hush();
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Blind, "{:?}", report.record.end);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    for target in TARGETS {
        assert!(scene.links(target).await.users.len() > 20, "no link is cut, at {target}");
    }
}

#[tokio::test]
async fn a_canary_that_cannot_be_seen_blinds_the_run_until_it_sings_again() {
    let canaries = "[jobs.staff.guard]\ncanaries = { users = [\"finn.moss@example.com\"], groups = [\"engineering\"] }";
    let scene = team_under(canaries).await;
    let okta = &scene.estate.okta;
    okta.remove_member("sales", "eve.ito@example.com");
    okta.rename_group("engineering", "builders");
    blind(&scene, "canary group").await;
    for target in TARGETS {
        assert!(scene.directory(target).is_member("sales", "eve.ito"), "{target}");
    }
    okta.rename_group("builders", "engineering");
    scene.run().await;
    for target in TARGETS {
        assert!(!scene.directory(target).is_member("sales", "eve.ito"), "{target}");
    }
    scene.at_rest().await;
    okta.delete_user("finn.moss@example.com");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert!(end.messages.iter().any(|m| m.contains("canary user")), "{:?}", end.messages);
    }
    for target in TARGETS {
        assert!(scene.works(target, "finn.moss"), "{target}");
    }
}

#[tokio::test]
async fn a_credential_without_rights_is_no_empty_organisation() {
    let scene = team_at_work().await;
    scene.estate.okta.blind(true);
    scene.hush();
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!(end.ended, Ended::Blind, "{end:?}");
        assert!(end.messages.iter().any(|m| m.contains("cannot be trusted")), "{end:?}");
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    scene.estate.okta.blind(false);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_page_that_cannot_be_had_voids_the_whole_reading() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.quirks(|q| q.page_cap = Some(2));
    okta.server.faults.add(Rule::always("GET", "after=", Fault::json(500, "{}").header("retry-after", "3600")));
    okta.suspend("eve.ito@example.com");
    scene.hush();
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Failed, "{:?}", report.record.end);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    okta.server.faults.clear();
    applied(&scene).await;
    scene.at_rest().await;
}

/// The same people under ids of another organisation.
fn other_organisation(count: usize) -> World {
    let mut world = crew(count);
    world.people.iter_mut().for_each(|p| p.id = p.id.replacen("00u", "00x", 1));
    world
}

/// Points the job at another organisation, and returns the simulator that has to outlive the story.
async fn point_elsewhere(scene: &mut Scene, count: usize) -> rosterd_sim::estate::Estate {
    let elsewhere = rosterd_sim::estate::Estate::start(other_organisation(count), Default::default()).await.expect("it starts");
    let (here, there) = (scene.estate.okta.url.clone(), elsewhere.okta.url.clone());
    scene.reconfigure(|text| text.replace(&here, &there));
    elsewhere
}

#[tokio::test]
async fn a_source_that_does_not_say_whether_it_has_anybody_who_is_linked_is_given_nothing() {
    let mut scene = at_work(crew(20), Setting::default()).await;
    let elsewhere = point_elsewhere(&mut scene, 21).await;
    elsewhere.okta.server.faults.add(Rule::always("GET", "/api/v1/users/00u", Fault::json(503, "{}")));
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((end.ended, &end.done[..]), (Ended::Blind, &[][..]), "{end:?}");
        assert!(end.messages.iter().any(|m| m.contains("whether it has them at all is not known")), "{:?}", end.messages);
    }
    // Nor where it gives no answer about a single one of them: it may be the one whom it has. Whichever day it is, one of three
    // neighbours is asked about.
    elsewhere.okta.server.faults.clear();
    let mut users: Vec<String> = (0..20).map(|at| scene.estate.okta.user_id(&format!("p{at:02}.crew@example.com"))).collect();
    users.sort_unstable();
    for user in &users[12..15] {
        elsewhere.okta.server.faults.add(Rule::always("GET", &format!("/api/v1/users/{user}"), Fault::json(503, "{}")));
    }
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((end.ended, &end.done[..]), (Ended::Blind, &[][..]), "{end:?}");
        assert!(end.messages.iter().any(|m| m.contains("whether it has them at all is not known")), "{:?}", end.messages);
        assert!(!end.messages.iter().any(|m| m.contains("--link")), "no advice follows from its people: {:?}", end.messages);
    }
    // Of twenty not everybody is asked about.
    elsewhere.okta.server.faults.clear();
    let before = elsewhere.okta.server.log.len();
    scene.run().await;
    let log = elsewhere.okta.server.log.all();
    let asked = log[before..].iter().filter(|sent| sent.target().starts_with("/api/v1/users/00u")).count();
    assert!((3..=8).contains(&asked), "{asked}");
}

/// Looks again at one user at a target, as the daemon does when the time has come.
async fn look_again(scene: &Scene, target: &str, user: &str) -> Option<Ended> {
    let entry = Retry {
        job: "staff".into(),
        target: target.into(),
        subject: Subject::User(user.into()),
        attempts: 1,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "it answered 503".into(),
        quarantined: false,
        user_name: None,
    };
    scene.journal.enqueue(std::slice::from_ref(&entry)).await.expect("the store works");
    let waiting = scene.journal.retries().await.expect("the store works");
    let due: Vec<Retry> = waiting.into_iter().filter(|r| r.subject == entry.subject && r.target == entry.target).collect();
    scene.clock.advance(TimeDelta::seconds(1));
    let side = scene.job().targets.iter().find(|side| side.name.as_str() == target).expect("a target");
    let pass = retry_subjects(scene.job(), side, &due, &CancellationToken::new()).await.expect("the store works");
    pass.end.map(|end| end.ended)
}

/// Of the same size, so that no band shows it.
#[tokio::test]
async fn another_organisation_of_the_same_size_is_not_believed() {
    let mut scene = at_work(crew(4), Setting::default()).await;
    let aside = Retry {
        job: "staff".into(),
        target: "jira".into(),
        subject: Subject::User(scene.estate.okta.user_id("p00.crew@example.com").into()),
        attempts: 9,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now() + TimeDelta::days(1),
        cause: "jira does not take it".into(),
        quarantined: true,
        user_name: None,
    };
    scene.journal.enqueue(std::slice::from_ref(&aside)).await.expect("the store works");
    let elsewhere = point_elsewhere(&mut scene, 5).await;
    // However often it is looked at: nobody of it is linked, by whom it would be known the next time.
    for _ in 0..3 {
        for report in scene.run().await {
            let end = report.record.end.as_ref().expect("the run has ended");
            assert_eq!((end.ended, &end.done[..]), (Ended::Blind, &[][..]), "{end:?}");
            assert!(end.messages.iter().any(|m| m.contains("another organisation")), "{:?}", end.messages);
        }
        scene.clock.advance(TimeDelta::hours(1));
    }
    for target in TARGETS {
        assert!((0..4).all(|at| scene.works(target, &format!("p{at:02}.crew"))), "{target}");
        assert!(scene.directory(target).user("p04.crew").is_none(), "{target}: nobody of it is given an account");
        let links = scene.journal.links(&target.into()).await.expect("the store works");
        assert_eq!(links.users.len(), 4, "{target}");
    }
    let waiting = scene.journal.retries().await.expect("the store works");
    let aside = aside.not_before.timestamp_millis();
    let kept = waiting.iter().find(|r| r.attempts == 9).map(|r| (r.quarantined, r.not_before.timestamp_millis()));
    assert_eq!(kept, Some((true, aside)), "nobody is well by what it says: {waiting:?}");
    let reading = read_source(scene.job()).await.expect("it answers");
    let found = drift(scene.job(), &scene.job().targets[0], &reading).await.expect("the systems work");
    assert!(found.blind.is_some(), "nor does drift believe it: {found:?}");
    drop(elsewhere);
}

#[tokio::test]
async fn a_retry_takes_nothing_away_by_a_source_that_no_whole_run_believes() {
    let mut scene = at_work(crew(4), Setting::default()).await;
    let user = scene.estate.okta.user_id("p00.crew@example.com");
    let elsewhere = point_elsewhere(&mut scene, 4).await;
    // Before any whole run has seen it, and after one was blind.
    for _ in 0..2 {
        for target in TARGETS {
            assert_eq!(look_again(&scene, target, &user).await, Some(Ended::Blind), "{target}");
            assert!(scene.works(target, "p00.crew"), "{target}");
            let waiting = scene.journal.retries().await.expect("the store works");
            let hers = waiting.iter().find(|r| r.target.as_str() == target).expect("it is looked at again, later");
            assert!(hers.not_before > scene.clock.now() && hers.attempts == 1, "{hers:?}");
        }
        scene.run().await;
    }
    drop(elsewhere);
}

#[tokio::test]
async fn a_retry_takes_away_nothing_after_a_blind_run_and_all_that_is_due_after_a_good_one() {
    let canaries = "[jobs.staff.guard]\ncanaries = { groups = [\"engineering\"] }";
    let scene = team_under(canaries).await;
    let okta = &scene.estate.okta;
    let (eve, dan) = (okta.user_id("eve.ito@example.com"), okta.user_id("dan.ng@example.com"));
    okta.rename_group("engineering", "builders");
    scene.run().await;
    okta.suspend("eve.ito@example.com");
    okta.delete_user("dan.ng@example.com");
    for user in [&eve, &dan] {
        assert_eq!(look_again(&scene, "jira", user).await, Some(Ended::Blind));
    }
    assert!(scene.works("jira", "eve.ito") && scene.works("jira", "dan.ng"));
    okta.rename_group("builders", "engineering");
    okta.activate("eve.ito@example.com");
    okta.add_user(person("Gina", "Park"));
    scene.run().await;
    okta.suspend("eve.ito@example.com");
    assert_eq!(look_again(&scene, "jira", &eve).await, Some(Ended::Applied));
    assert!(!scene.works("jira", "eve.ito"));
}
