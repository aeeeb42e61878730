//! A licence that is full: who fits is taken in, the rest waits with its cause, and heals when seats come free.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::retry::{Retry, Subject};
use tokio_util::sync::CancellationToken;

use super::team::{person, team_at_work};
use crate::support::{Scene, TARGETS, ended};

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

/// Three newcomers meet one free seat at every target.
async fn one_seat_for_three() -> Scene {
    let scene = team_at_work().await;
    for target in TARGETS {
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
