//! One bad subject stops nobody: it is set aside with its cause, tried again alone with few requests, and rests when its tries
//! are spent.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::{Ended, Trigger};
use rosterd::engine::run::{World as JobWorld, run};
use rosterd::engine::subjects::{Pass, retry_subjects};
use rosterd::model::retry::{Retry, Subject};
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use crate::brittle::Brittle;
use crate::stage::*;
use crate::support::{MONA, Scene, Setting, creating_mona, end_of, refusal, report_of};

async fn with_mona(job: &str) -> Scene {
    let mut scene = prepared(Scene::new(staff(), Setting { job: job.to_owned(), ..Setting::default() }).await);
    impatient(&mut scene);
    scene.converge().await;
    clear_logs(&scene);
    scene.hire_mona(&["staff", "devs"]);
    scene
}

/// Mona's account could not be created at a target for the moment, and she is on the retry queue.
async fn mona_waits(at: At) -> Scene {
    let scene = with_mona("").await;
    let (method, path) = creating_mona(at.name());
    at.faults(&scene).add(Rule::once(method, path, Fault::json(503, "")));
    let end = end_of(&scene.run().await, at.name());
    assert_eq!(end.ended, Ended::Partial, "{end:?}");
    scene
}

async fn waiting(scene: &Scene) -> Vec<Retry> {
    scene.journal.retries().await.expect("retries")
}

/// Looks again at whoever is due, as the daemon does.
async fn look_again(scene: &Scene, at: At) -> Pass {
    let now = scene.clock.now();
    let due: Vec<Retry> = waiting(scene).await.into_iter().filter(|r| r.not_before <= now && r.target == at.system()).collect();
    assert!(!due.is_empty(), "somebody is due");
    let side = scene.job().targets.iter().find(|t| t.name == at.system()).expect("is a target");
    retry_subjects(scene.job(), side, &due, &CancellationToken::new()).await.expect("the store works")
}

#[tokio::test]
async fn somebody_who_fails_again_and_again_rests_and_comes_back_when_released() {
    let scene = with_mona("[jobs.staff.retry]\nattempts = 3\nbase = \"10s\"\nceiling = \"1m\"\n").await;
    let mona = Subject::User(scene.estate.okta.user_id(MONA).into());
    let (method, path) = creating_mona("bitbucket");
    let faults = At::Bitbucket.faults(&scene).clone();
    faults.add(Rule::always(method, path, refusal()));
    let first_seen = scene.clock.now();
    for attempt in 1..=3u32 {
        let end = end_of(&scene.run().await, "bitbucket");
        assert_eq!((end.ended, end.failed), (Ended::Partial, 1), "{end:?}");
        let [retry] = &waiting(&scene).await[..] else { panic!("one waits") };
        assert_eq!((&retry.subject, retry.attempts), (&mona, attempt));
        assert_eq!(retry.first_seen.timestamp_millis(), first_seen.timestamp_millis());
        assert!(retry.cause.contains("mona.lisa") && retry.cause.contains("400"), "{}", retry.cause);
        assert_eq!(retry.quarantined, attempt == 3);

        // Before her time she is left alone, and everyone else is served.
        clear_logs(&scene);
        scene.estate.okta.change_user("fred.lang@example.com", |p| p.last = format!("Lang{attempt}"));
        let end = end_of(&scene.run().await, "bitbucket");
        assert_eq!(end.ended, Ended::Partial, "somebody is held back: {end:?}");
        assert_eq!(At::Bitbucket.log(&scene).count("POST", "/admin/users"), 0, "she is not tried before her time");
        assert_eq!(
            At::Bitbucket.directory(&scene).user("fred.lang").expect("is there").display_name,
            format!("Fred Lang{attempt}")
        );
        scene.clock.advance(TimeDelta::seconds(61));
    }
    let [retry] = &waiting(&scene).await[..] else { panic!("one waits") };
    assert!(retry.not_before - scene.clock.now() > TimeDelta::hours(20), "a day's rest: {retry:?}");

    // A person releases her.
    faults.clear();
    let released = Retry { attempts: 0, quarantined: false, not_before: scene.clock.now(), ..retry.clone() };
    scene.journal.enqueue(&[released]).await.expect("released");
    look_again(&scene, At::Bitbucket).await;
    assert_eq!(waiting(&scene).await, []);
    assert_eq!(disagreements(&scene, At::Bitbucket).await, Vec::<String>::new());
    heals(&scene).await;
}

#[tokio::test]
async fn one_who_failed_is_tried_again_alone_with_few_requests_and_nobody_else_is_touched() {
    for at in At::ALL {
        let scene = mona_waits(at).await;
        // Meanwhile something happens to somebody else, which is not this retry's business.
        scene.estate.okta.remove_member("devs", "anna.mueller@example.com");
        scene.clock.advance(TimeDelta::hours(1));
        clear_logs(&scene);

        let pass = look_again(&scene, at).await;
        assert!(!pass.needs_whole);
        let end = pass.end.expect("a run was begun");
        assert_eq!(end.ended, Ended::Applied, "{end:?}");
        // One create and two memberships; one call where it takes a list per group.
        assert_eq!(at.log(&scene).writes().len(), 3, "at {}: {:?}", at.name(), at.log(&scene).writes());
        let reads = at.log(&scene).len() - 3;
        assert!(reads <= 9, "{} reads at {}: {:#?}", reads, at.name(), targets(at.log(&scene)));
        let okta = scene.estate.okta.server.log.len();
        assert!(okta <= 5, "{okta} requests to okta: {:?}", targets(&scene.estate.okta.server.log));
        assert!(at.directory(&scene).is_member("devs", "mona.lisa"));
        assert!(at.directory(&scene).is_member("devs", "anna.mueller"), "nobody else is touched");
        assert_eq!(waiting(&scene).await, []);
        for other in At::ALL.into_iter().filter(|o| *o != at) {
            assert_eq!(other.log(&scene).len(), 0, "{} is not asked", other.name());
        }
        heals(&scene).await;
    }
}

fn targets(log: &rosterd_sim::harness::Log) -> Vec<String> {
    log.all().iter().map(|s| format!("{} {}", s.method, s.target())).collect()
}

#[tokio::test]
async fn a_retry_does_not_revive_a_decision_that_has_become_wrong() {
    for at in At::ALL {
        let scene = mona_waits(at).await;
        // She leaves before her time comes.
        scene.estate.okta.deactivate(MONA);
        scene.clock.advance(TimeDelta::hours(1));
        clear_logs(&scene);
        look_again(&scene, at).await;
        assert_eq!(at.log(&scene).writes().len(), 0, "at {}", at.name());
        assert!(at.directory(&scene).user("mona.lisa").is_none());
        assert_eq!(waiting(&scene).await, [], "there is nothing to try again");
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_removal_that_failed_is_not_made_once_it_has_become_wrong() {
    for (at, request) in [
        (At::Jira, ("DELETE", "/group/user")),
        (At::Confluence, ("DELETE", "/group/")),
        (At::Bitbucket, ("POST", "/remove-group")),
    ] {
        let scene = settled(staff()).await;
        scene.estate.okta.remove_member("devs", "anna.mueller@example.com");
        at.faults(&scene).add(Rule::once(request.0, request.1, Fault::ResetBefore));
        let end = end_of(&scene.run().await, at.name());
        assert_eq!((end.ended, end.failed), (Ended::Partial, 1), "{end:?}");
        scene.estate.okta.add_member("devs", "anna.mueller@example.com");
        scene.clock.advance(TimeDelta::hours(1));
        clear_logs(&scene);
        look_again(&scene, at).await;
        assert_eq!(at.log(&scene).writes().len(), 0, "at {}", at.name());
        assert!(at.directory(&scene).is_member("devs", "anna.mueller"));
        assert_eq!(waiting(&scene).await, []);
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_retry_that_meets_a_sick_source_waits_on() {
    let scene = mona_waits(At::Jira).await;
    scene.clock.advance(TimeDelta::hours(1));
    scene.estate.okta.server.faults.add(Rule::always("GET", "/api/v1/users/", Fault::json(503, "")));
    clear_logs(&scene);
    let pass = look_again(&scene, At::Jira).await;
    assert!(pass.end.is_none() || At::Jira.log(&scene).writes().is_empty());
    let [retry] = &waiting(&scene).await[..] else { panic!("one waits") };
    assert!(retry.not_before > scene.clock.now() && retry.attempts == 1, "{retry:?}");
    heals(&scene).await;
}

#[tokio::test]
async fn one_bad_name_in_a_list_of_additions_stops_nobody_else() {
    let scene = settled(staff()).await;
    let okta = &scene.estate.okta;
    for who in ["anna.mueller", "ben.stone", "emil.hart", "fred.lang"] {
        okta.add_member("ops", &format!("{who}@example.com"));
    }
    // The list is refused, and then the addition of one of them.
    At::Bitbucket.faults(&scene).add(Rule::once("POST", "/add-users", Fault::json(503, "")).times(2));
    let end = end_of(&scene.run().await, "bitbucket");
    assert_eq!((end.ended, end.failed), (Ended::Partial, 1), "{end:?}");
    assert_eq!(At::Bitbucket.directory(&scene).member_names("ops").len(), 5);
    heals(&scene).await;
}

#[tokio::test]
async fn a_retry_leaves_a_name_that_somebody_else_may_be_to_have_to_a_whole_run() {
    for at in At::ALL {
        let scene = mona_waits(at).await;
        let [retry] = &waiting(&scene).await[..] else { panic!("one waits") };
        assert_eq!(retry.user_name.as_deref(), Some("mona.lisa"));
        // Before she is looked at again she has another name, which is a newcomer's as well.
        let okta = &scene.estate.okta;
        okta.rename_user(MONA, "nora.ray@example.com");
        okta.add_user(rosterd_sim::world::Person { login: "nora.ray@example.org".to_owned(), ..newcomer("Nora", "Ray") });
        scene.clock.advance(TimeDelta::hours(1));
        clear_logs(&scene);
        let pass = look_again(&scene, at).await;
        assert!(pass.needs_whole && pass.end.is_none(), "{pass:?}");
        assert_eq!(at.log(&scene).writes().len(), 0, "at {}", at.name());
        // The whole run sees both, and sets both aside.
        let end = end_of(&scene.run().await, at.name());
        assert!(at.directory(&scene).user("nora.ray").is_none(), "at {}", at.name());
        assert!(end.messages.iter().any(|m| m.contains("nora.ray")), "{end:?}");
        assert!(waiting(&scene).await.iter().all(|r| r.target != at.system()), "nobody waits any more");
    }
}

#[tokio::test]
async fn a_deactivation_that_fails_midway_tells_of_the_groups_that_were_left() {
    for fault in [Fault::json(403, "{}"), Fault::json(503, "")] {
        let scene = settled(staff()).await;
        let at = At::Bitbucket;
        at.faults(&scene).add(Rule::once("POST", "/remove-group", fault).after(1));
        scene.estate.okta.suspend("anna.mueller@example.com");
        let reports = scene.run().await;
        let end = end_of(&reports, at.name());
        assert_eq!((end.ended, end.failed), (Ended::Partial, 1), "{end:?}");
        let run = &report_of(&reports, at.name()).record.start.id;
        let changes = scene.journal.changes(run).await.expect("changes");
        let [change] = &changes[..] else { panic!("{changes:?}") };
        let still = at.directory(&scene).group_names("anna.mueller");
        assert_eq!((change.left_groups.len(), still.len()), (1, 1), "{change:?}");
        assert_eq!(change.left_groups, ["staff"], "what gives access went first: {change:?}");
        assert_eq!(still.iter().collect::<Vec<_>>(), ["devs"]);
        // What was left is no longer owned, and the rest is left at the next try.
        let ledger = scene.journal.ledger(&at.system()).await.expect("ledger");
        let key = change.intent.user.as_ref().expect("known");
        assert!(!ledger.owns(&rosterd::model::key::group_key(&change.left_groups[0]), key));
        scene.clock.advance(TimeDelta::hours(1));
        let pass = look_again(&scene, at).await;
        assert!(at.directory(&scene).group_names("anna.mueller").is_empty(), "{still:?} {:?}", pass.end);
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_removal_of_which_no_answer_came_is_told_of_all_the_same() {
    let scene = settled(staff()).await;
    let at = At::Bitbucket;
    at.faults(&scene).add(Rule::once("POST", "/remove-group", Fault::ResetAfter));
    scene.estate.okta.suspend("anna.mueller@example.com");
    let reports = scene.run().await;
    assert_eq!(end_of(&reports, at.name()).ended, Ended::Applied);
    let run = &report_of(&reports, at.name()).record.start.id;
    let changes = scene.journal.changes(run).await.expect("changes");
    let left: Vec<&str> = changes.iter().flat_map(|c| &c.left_groups).map(String::as_str).collect();
    assert_eq!(left, ["staff", "devs"], "{changes:?}");
    heals(&scene).await;
}

#[tokio::test]
async fn whoever_falls_due_while_others_are_served_is_not_taken_for_well() {
    for at in At::ALL {
        let mut scene = mona_waits(at).await;
        let before = waiting(&scene).await;
        scene.estate.okta.remove_member("devs", "anna.mueller@example.com");
        // The first write of the run takes an hour.
        let (clock, slow) = (scene.clock.clone(), AtomicBool::new(true));
        let hook = move |what: &'static str, _: usize| {
            if what == "settle" && slow.swap(false, Ordering::SeqCst) {
                clock.advance(TimeDelta::hours(1));
            }
        };
        let world = JobWorld { journal: Brittle::telling(scene.journal.clone(), hook), ..scene.job().clone() };
        let stop = CancellationToken::new();
        let reports = run(&world, &[at.system()], Trigger::Schedule, &stop).await.expect("the store works");
        assert_eq!(end_of(&reports, at.name()).ended, Ended::Partial, "she was held back");
        assert_eq!(waiting(&scene).await, before, "at {}: nobody has tried her", at.name());
        look_again(&scene, at).await;
        assert!(at.directory(&scene).is_member("devs", "mona.lisa"), "at {}", at.name());
        scene.reassemble();
        heals(&scene).await;
    }
}

/// Somebody else who waits with Mona.
fn beside(mona: &Retry, scene: &Scene, login: &str, user_name: Option<&str>) -> Retry {
    let subject = Subject::User(scene.estate.okta.user_id(login).into());
    Retry { subject, attempts: 1, user_name: user_name.map(Into::into), ..mona.clone() }
}

/// The source tells nothing that can be read of this user.
fn unreadable(scene: &Scene, login: &str) {
    let okta = &scene.estate.okta;
    let path = format!("/api/v1/users/{}", okta.user_id(login));
    okta.server.faults.add(Rule::always("GET", &path, Fault::json(200, "{}")));
}

#[tokio::test]
async fn those_about_whom_the_source_gives_no_answer_keep_nobody_else_waiting() {
    let scene = mona_waits(At::Jira).await;
    let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
    let bad = ["fred.lang@example.com", "anna.mueller@example.com"];
    let others = bad.map(|login| beside(mona, &scene, login, None));
    scene.journal.enqueue(&others).await.expect("queued");
    bad.iter().for_each(|login| unreadable(&scene, login));
    scene.clock.advance(TimeDelta::hours(1));
    clear_logs(&scene);

    let end = look_again(&scene, At::Jira).await.end.expect("a run was begun");
    assert_eq!(end.ended, Ended::Applied, "{end:?}");
    assert!(At::Jira.directory(&scene).is_member("devs", "mona.lisa"));
    let left = waiting(&scene).await;
    assert_eq!(left.len(), 2, "they alone wait: {left:?}");
    assert!(left.iter().all(|r| r.attempts == 2 && r.not_before > scene.clock.now() && r.cause.contains("okta")), "{left:?}");

    // They alone, and it is not known whose fault it is: no run is begun for them.
    scene.clock.advance(TimeDelta::hours(1));
    assert!(look_again(&scene, At::Jira).await.end.is_none());
    scene.estate.okta.server.faults.clear();
    scene.clock.advance(TimeDelta::hours(2));
    look_again(&scene, At::Jira).await;
    assert_eq!(waiting(&scene).await, []);
    heals(&scene).await;
}

#[tokio::test]
async fn whoever_cannot_be_read_keeps_the_account_from_whoever_is_to_have_the_name_next() {
    let scene = mona_waits(At::Jira).await;
    let okta = &scene.estate.okta;
    // Fred is to be called otherwise, and Mona as he is now.
    okta.change_user("fred.lang@example.com", |p| p.login = "frederic.lang@example.com".to_owned());
    okta.change_user(MONA, |p| p.login = "fred.lang@example.com".to_owned());
    let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
    let mona = Retry { user_name: Some("fred.lang".into()), ..mona.clone() };
    let fred = beside(&mona, &scene, "frederic.lang@example.com", Some("frederic.lang"));
    scene.journal.enqueue(&[mona, fred]).await.expect("queued");
    unreadable(&scene, "frederic.lang@example.com");
    scene.clock.advance(TimeDelta::hours(1));
    let before = At::Jira.directory(&scene).user("fred.lang").expect("is there").clone();

    assert!(look_again(&scene, At::Jira).await.needs_whole, "only a whole run sees to names that change hands");
    let directory = At::Jira.directory(&scene).clone();
    let after = directory.user("fred.lang").expect("is there");
    assert_eq!((&after.email, &after.display_name), (&before.email, &before.display_name), "it is still his");
    okta.server.faults.clear();
    scene.clock.advance(TimeDelta::hours(3));
    heals(&scene).await;
}

#[tokio::test]
async fn nobody_is_set_aside_for_a_source_that_is_in_trouble() {
    let scene = with_mona("[jobs.staff.retry]\nattempts = 3\nbase = \"10s\"\nceiling = \"1m\"\n").await;
    let (method, path) = creating_mona("jira");
    At::Jira.faults(&scene).add(Rule::once(method, path, Fault::json(503, "")));
    scene.run().await;
    scene.estate.okta.server.faults.add(Rule::always("GET", "/api/v1/users/", Fault::json(503, "")));
    for _ in 0..5 {
        scene.clock.advance(TimeDelta::minutes(2));
        assert!(look_again(&scene, At::Jira).await.end.is_none());
        let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
        assert!(!mona.quarantined && mona.attempts == 1, "{mona:?}");
    }
    scene.estate.okta.server.faults.clear();
    scene.clock.advance(TimeDelta::minutes(2));
    look_again(&scene, At::Jira).await;
    assert!(At::Jira.directory(&scene).is_member("devs", "mona.lisa"));
    heals(&scene).await;
}

#[tokio::test]
async fn one_about_whom_alone_the_source_never_answers_is_set_aside() {
    let scene = with_mona("[jobs.staff.retry]\nattempts = 3\nbase = \"10s\"\nceiling = \"1m\"\n").await;
    let (method, path) = creating_mona("jira");
    At::Jira.faults(&scene).add(Rule::once(method, path, Fault::json(503, "")));
    scene.run().await;
    let path = format!("/api/v1/users/{}", scene.estate.okta.user_id(MONA));
    scene.estate.okta.server.faults.add(Rule::always("GET", &path, Fault::json(503, "")));
    for attempts in 2..=3 {
        scene.clock.advance(TimeDelta::minutes(2));
        assert!(look_again(&scene, At::Jira).await.end.is_none());
        let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
        assert_eq!((mona.attempts, mona.quarantined), (attempts, attempts == 3), "{mona:?}");
    }
}

#[tokio::test]
async fn one_of_whom_a_target_does_not_tell_keeps_nobody_else_waiting() {
    let scene = mona_waits(At::Jira).await;
    let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
    let fred = beside(mona, &scene, "fred.lang@example.com", None);
    scene.journal.enqueue(std::slice::from_ref(&fred)).await.expect("queued");
    let key = At::Jira.directory(&scene).user("fred.lang").expect("is there").key.clone();
    let of_fred = format!("/rest/api/2/user?key={key}");
    At::Jira.faults(&scene).add(Rule::always("GET", &of_fred, Fault::json(500, "{}")));
    scene.clock.advance(TimeDelta::hours(1));

    let end = look_again(&scene, At::Jira).await.end.expect("a run was begun");
    assert_eq!(end.ended, Ended::Applied, "{end:?}");
    assert!(At::Jira.directory(&scene).is_member("devs", "mona.lisa"));
    let [left] = &waiting(&scene).await[..] else { panic!("he alone waits") };
    assert_eq!((&left.subject, left.attempts), (&fred.subject, 2), "{left:?}");
    assert!(left.cause.contains("jira"), "{left:?}");
    At::Jira.faults(&scene).clear();
    scene.clock.advance(TimeDelta::hours(3));
    heals(&scene).await;
}

#[tokio::test]
async fn who_is_left_is_looked_at_together_so_that_limits_see_all_that_is_taken_away() {
    let scene = with_mona("[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }\n").await;
    scene.run().await;
    let mona = Retry {
        job: "staff".into(),
        target: At::Jira.system(),
        subject: Subject::Everything,
        attempts: 1,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "it answered 503".into(),
        quarantined: false,
        user_name: None,
    };
    let leavers = ["anna.mueller", "ben.stone"];
    let due = leavers.iter().chain(&["fred.lang"]).map(|name| beside(&mona, &scene, &format!("{name}@example.com"), None));
    scene.journal.enqueue(&due.collect::<Vec<_>>()).await.expect("queued");
    let fred = At::Jira.directory(&scene).user("fred.lang").expect("is there").key.clone();
    At::Jira.faults(&scene).add(Rule::always("GET", &format!("/rest/api/2/user?key={fred}"), Fault::json(500, "{}")));
    leavers.iter().for_each(|name| scene.estate.okta.suspend(&format!("{name}@example.com")));
    scene.clock.advance(TimeDelta::minutes(1));
    look_again(&scene, At::Jira).await;
    let directory = At::Jira.directory(&scene).clone();
    assert!(leavers.iter().all(|name| directory.user(name).is_some_and(|user| user.is_active())), "both are over the limit");
}

#[tokio::test]
async fn nobody_is_taken_for_well_by_a_retry_in_whose_middle_the_credential_is_refused() {
    let scene = mona_waits(At::Jira).await;
    let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
    let names = ["anna.mueller", "ben.stone", "fred.lang"].map(|name| format!("{name}@example.com"));
    let others: Vec<Retry> = names.iter().map(|login| beside(mona, &scene, login, None)).collect();
    scene.journal.enqueue(&others).await.expect("queued");
    names.iter().for_each(|login| scene.estate.okta.change_user(login, |p| p.last = "New".to_owned()));
    At::Jira.faults(&scene).add(Rule::always("PUT", "/rest/api/2/user", Fault::json(401, "{}")));
    scene.clock.advance(TimeDelta::hours(1));
    look_again(&scene, At::Jira).await;
    let left: Vec<Subject> = waiting(&scene).await.into_iter().map(|r| r.subject).collect();
    assert!(others.iter().all(|r| left.contains(&r.subject)), "{left:?}");
}

#[tokio::test]
async fn a_group_that_cannot_be_read_keeps_nobody_waiting_and_takes_nothing_away() {
    let scene = mona_waits(At::Jira).await;
    let okta = &scene.estate.okta;
    let [mona] = &waiting(&scene).await[..] else { panic!("one waits") };
    scene.journal.enqueue(&[beside(mona, &scene, "cleo.park@example.com", None)]).await.expect("queued");
    okta.remove_member("ops", "cleo.park@example.com");
    let ops = okta.world().groups.iter().find(|group| group.name == "ops").expect("is there").id.clone();
    okta.server.faults.add(Rule::always("GET", &format!("/api/v1/groups/{ops}"), Fault::json(500, "{}")));
    scene.clock.advance(TimeDelta::hours(1));
    look_again(&scene, At::Jira).await;
    assert!(At::Jira.directory(&scene).is_member("devs", "mona.lisa"));
    assert!(At::Jira.directory(&scene).is_member("ops", "cleo.park"), "whether the group is still ours to empty is not known");
    okta.server.faults.clear();
    scene.clock.advance(TimeDelta::hours(3));
    heals(&scene).await;
    assert!(!At::Jira.directory(&scene).is_member("ops", "cleo.park"));
}

#[tokio::test]
async fn where_a_target_tells_of_very_few_the_others_come_later_and_spend_no_try() {
    let scene = settled(crowd(20)).await;
    let mut links = scene.journal.links(&At::Jira.system()).await.expect("links").users;
    links.sort_by(|a, b| a.source.cmp(&b.source));
    let entry = |link: &rosterd::model::link::UserLink| Retry {
        job: "staff".into(),
        target: At::Jira.system(),
        subject: Subject::User(link.source.clone()),
        attempts: 1,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "it answered 503".into(),
        quarantined: false,
        user_name: None,
    };
    scene.journal.enqueue(&links[..17].iter().map(entry).collect::<Vec<_>>()).await.expect("queued");
    for link in &links[..16] {
        let path = format!("/rest/api/2/user?key={}&", link.target.as_str());
        At::Jira.faults(&scene).add(Rule::always("GET", &path, Fault::json(400, "{}")));
    }
    scene.clock.advance(TimeDelta::minutes(1));
    look_again(&scene, At::Jira).await;
    let left = waiting(&scene).await;
    assert!(left.len() == 17 && left.iter().all(|r| r.not_before > scene.clock.now()), "{left:?}");
    assert_eq!(left.iter().filter(|r| r.attempts == 2).count(), 12, "four times three: {left:?}");
    assert_eq!(left.iter().filter(|r| r.attempts == 1).count(), 5, "{left:?}");
}
