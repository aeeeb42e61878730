//! What people are told who are not looking: each thing once, however many runs see it.

use rosterd::contract::clock::Clock;
use rosterd::contract::notice::{Event, Notice};
use rosterd_sim::harness::{Fault, Rule};

use super::team::{at_work, crew, team};
use crate::support::{Scene, Setting, TARGETS, creating_mona, refusal};

/// A scene that tells a webhook; nothing is sent there, since no daemon runs. `more` is put in its table.
async fn telling(world: rosterd_sim::world::World, job: &str, more: &str) -> Scene {
    let mut scene = at_work(world, Setting { job: job.to_owned(), ..Setting::default() }).await;
    let url = scene.folder.path().join("hook-url");
    std::fs::write(&url, "https://hooks.example.com/T0/B0").expect("written");
    scene.reconfigure(|text| format!("{text}\n[notify.ops]\nurl = {{ file = {:?} }}\n{more}\n", url.display().to_string()));
    scene
}

/// What has been posted since it was last asked for.
async fn told(scene: &Scene) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let due = scene.journal.notes_due(scene.clock.now()).await.expect("the store works");
        if due.is_empty() {
            return events;
        }
        for note in due {
            scene.journal.note_done(note.id).await.expect("the store works");
            let Notice { hook, event, at } = note.notice;
            assert_eq!((hook.as_str(), at.timestamp()), ("ops", scene.clock.now().timestamp()));
            events.push(event);
        }
    }
}

fn suspend(scene: &Scene, who: std::ops::Range<usize>) {
    who.for_each(|at| scene.estate.okta.suspend(&format!("p{at:02}.crew@example.com")));
}

#[tokio::test]
async fn removals_that_wait_are_told_once_and_again_when_another_joins_them() {
    let scene = telling(crew(20), "", "").await;
    suspend(&scene, 0..8);
    scene.run().await;
    let first = told(&scene).await;
    assert_eq!(first.len(), 3, "once for each target: {first:?}");
    for event in &first {
        let Event::Staged { target, plan, waiting, new, names, .. } = event else { panic!("{event:?}") };
        assert!(TARGETS.contains(&target.as_str()));
        assert!(*waiting == *new && *new >= 8, "{event:?}");
        assert_eq!((names.len(), &*names[0]), (8, "p00.crew"));
        let saved = scene.journal.saved_plans(plan.as_str()).await.expect("the store works");
        assert!(saved.iter().any(|p| p.target == *target), "the plan that is named can be approved");
    }
    scene.run().await;
    scene.run().await;
    assert_eq!(told(&scene).await, [], "nothing new waits");

    suspend(&scene, 8..9);
    scene.run().await;
    let again = told(&scene).await;
    assert_eq!(again.len(), 3, "{again:?}");
    for event in again {
        let Event::Staged { waiting, new, names, .. } = event else { panic!("{event:?}") };
        assert!(new < waiting && waiting >= 9, "{new} of {waiting}");
        assert_eq!(names, ["p08.crew"]);
    }
    // One who comes back takes a removal away, and that is nobody's news.
    scene.estate.okta.activate("p03.crew@example.com");
    scene.run().await;
    assert_eq!(told(&scene).await, []);
}

#[tokio::test]
async fn a_target_that_fails_and_comes_back_is_told_once_each() {
    let scene = telling(team(), "", "").await;
    let faults = scene.estate.jira.running.faults.clone();
    faults.add(Rule::always("", "", Fault::json(404, "{}")));
    for _ in 0..3 {
        scene.run().await;
        scene.clock.advance(chrono::TimeDelta::hours(1));
    }
    let all = scene.journal.notes_due(scene.clock.now()).await.expect("the store works");
    let [note] = &all[..] else { panic!("one: {all:?}") };
    assert!(matches!(&note.notice.event, Event::Failing { system, .. } if system.as_str() == "jira"), "{note:?}");
    scene.journal.note_done(note.id).await.expect("the store works");
    faults.clear();
    scene.clock.advance(chrono::TimeDelta::days(2));
    scene.run().await;
    let back = told(&scene).await;
    assert!(matches!(&back[..], [Event::Recovered { system, .. }] if system.as_str() == "jira"), "{back:?}");
    scene.run().await;
    assert_eq!(told(&scene).await, []);
}

#[tokio::test]
async fn a_refused_credential_is_told_once_and_its_recovery_after_a_release() {
    let mut scene = telling(team(), "", "").await;
    let faults = scene.estate.okta.server.faults.clone();
    faults.add(Rule::always("", "", Fault::json(401, r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#)));
    for _ in 0..3 {
        scene.run().await;
    }
    let refused = told(&scene).await;
    assert!(matches!(&refused[..], [Event::Refused { system, .. }] if system.as_str() == "okta"), "{refused:?}");
    faults.clear();
    scene.journal.forgive(&"okta".into()).await.expect("released");
    scene.reassemble();
    assert_eq!(told(&scene).await, [], "a release only allows another try");
    scene.run().await;
    scene.run().await;
    let back = told(&scene).await;
    assert!(matches!(&back[..], [Event::Recovered { system, .. }] if system.as_str() == "okta"), "{back:?}");
}

#[tokio::test]
async fn a_user_who_is_set_aside_is_told_once() {
    let job = "[jobs.staff.retry]\nattempts = 2\nbase = \"10s\"\nceiling = \"1m\"\n";
    let scene = telling(team(), job, "").await;
    let (method, path) = creating_mona("bitbucket");
    scene.estate.bitbucket.running.faults.add(Rule::always(method, path, refusal()));
    scene.hire_mona(&["staff"]);
    scene.run().await;
    assert_eq!(told(&scene).await, [], "she is tried again");
    scene.clock.advance(chrono::TimeDelta::minutes(2));
    scene.run().await;
    let aside = told(&scene).await;
    let [Event::SetAside { target, users: 1, names, cause, .. }] = &aside[..] else { panic!("{aside:?}") };
    assert_eq!((target.as_str(), &names[..]), ("bitbucket", &["mona.lisa".into()][..]));
    assert!(cause.contains("400") && !cause.contains('@'), "{cause}");
    for _ in 0..2 {
        scene.clock.advance(chrono::TimeDelta::days(2));
        scene.run().await;
    }
    assert_eq!(told(&scene).await, [], "her next tries fail as well, which is no news");
    let faults = &scene.estate.bitbucket.running.faults;
    faults.clear();
    faults.add(Rule::always(method, path, Fault::json(403, r#"{"errors":[{"message":"the directory is read-only"}]}"#)));
    scene.clock.advance(chrono::TimeDelta::days(2));
    scene.run().await;
    let other = told(&scene).await;
    let [Event::SetAside { users: 1, names, cause, again: true, .. }] = &other[..] else { panic!("{other:?}") };
    assert!(names[..] == ["mona.lisa"] && cause.contains("403"), "{other:?}");
    scene.clock.advance(chrono::TimeDelta::days(2));
    scene.run().await;
    assert_eq!(told(&scene).await, [], "another cause is told once as well");
}

#[tokio::test]
async fn a_plan_tells_nothing_and_a_run_of_the_same_tells() {
    let scene = telling(crew(20), "", "").await;
    suspend(&scene, 0..8);
    let waits = |plan: &rosterd::reconcile::render::PlanView| plan.changes.iter().any(|change| change.verdict == "staged");
    assert!(scene.plan().await.iter().all(waits), "there is something to tell at every target");
    assert_eq!(told(&scene).await, []);
    scene.run().await;
    assert_eq!(told(&scene).await.len(), 3);
    scene.plan().await;
    assert_eq!(told(&scene).await, []);
}

#[tokio::test]
async fn a_webhook_is_told_only_what_it_wants() {
    let scene = telling(crew(20), "", "on = [\"quarantine\", \"recovered\"]").await;
    suspend(&scene, 0..8);
    scene.run().await;
    assert_eq!(told(&scene).await, [], "removals wait, and it does not care");
    let faults = scene.estate.jira.running.faults.clone();
    faults.add(Rule::always("", "", Fault::json(404, "{}")));
    scene.run().await;
    let failing = told(&scene).await;
    assert!(matches!(&failing[..], [Event::Failing { .. }]), "{failing:?}");
}

#[tokio::test]
async fn a_credential_that_expires_soon_is_told_once_and_its_successor_in_its_own_time() {
    let mut scene = telling(team(), "", "").await;
    let days = chrono::TimeDelta::days;
    let begun = scene.clock.now();
    let gate = scene.estate.jira.gate.clone();
    gate.set_token_expires(Some(begun + days(20)));
    scene.reassemble();
    scene.run().await;
    assert_eq!(told(&scene).await, [], "it is three weeks away");
    let known = scene.journal.expiring().await.expect("the store works");
    assert_eq!(known.iter().map(|e| (e.system.as_str(), e.told)).collect::<Vec<_>>(), [("jira", false)]);

    scene.clock.advance(days(7));
    scene.run().await;
    let soon = told(&scene).await;
    let [Event::Expiring { system, at }] = &soon[..] else { panic!("{soon:?}") };
    assert_eq!((system.as_str(), at.timestamp()), ("jira", (begun + days(20)).timestamp()));
    scene.run().await;
    scene.reassemble();
    scene.run().await;
    assert_eq!(told(&scene).await, [], "told once, also by another process");

    gate.set_token_expires(Some(begun + days(100)));
    scene.reassemble();
    scene.run().await;
    assert_eq!(told(&scene).await, [], "a new token is no news");
    scene.clock.advance(days(80));
    scene.run().await;
    assert!(matches!(&told(&scene).await[..], [Event::Expiring { .. }]), "until it is about to expire as well");

    gate.set_token_expires(None);
    scene.reassemble();
    scene.run().await;
    assert_eq!(scene.journal.expiring().await.expect("the store works"), [], "a token without an end is nobody's concern");
    assert_eq!(told(&scene).await, []);
}
