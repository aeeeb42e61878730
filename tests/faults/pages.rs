//! Whole or nothing: a listing of which any page fails is no listing, and nobody loses anything by it.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd::model::retry::Subject;
use rosterd_sim::harness::{Fault, Rule};

use crate::stage::*;
use crate::support::{Scene, ended};

/// Sixty people on pages of five, settled, and then somebody leaves and somebody moves: there is something to remove.
async fn twelve_pages() -> Scene {
    let scene = settled(crowd(60)).await;
    let okta = &scene.estate.okta;
    okta.quirks(|q| q.page_cap = Some(5));
    okta.deactivate("pat.number59@example.com");
    okta.remove_member("few", "pat.number1@example.com");
    scene
}

fn broken_pages() -> Vec<(&'static str, Fault)> {
    vec![
        ("a server error", Fault::json(500, r#"{"errorCode":"E0000009","errorSummary":"Internal Server Error"}"#)),
        ("a gateway's page", Fault::html(502, "<html>Bad gateway</html>")),
        ("a login page with 200", Fault::html(200, "<html>Log in</html>")),
        ("a page cut in its middle", Fault::Cut),
        ("a connection that breaks", Fault::ResetBefore),
        ("an answer that never comes", Fault::ResetAfter),
        ("nothing with 200", Fault::json(200, "")),
        ("an object where a list is due", Fault::json(200, "{}")),
        ("a cursor that is refused", Fault::json(400, r#"{"errorCode":"E0000029","errorSummary":"Invalid paging request."}"#)),
        ("a proxy's not found", Fault::html(404, "<html>Not found</html>")),
    ]
}

/// Demands that a run over a source that cannot be read whole fails everywhere, touches nothing, and waits on the queue if the
/// fault is a passing one.
async fn fails_and_touches_nothing(scene: &Scene, what: &str) {
    ends_and_touches_nothing(scene, what, Ended::Failed).await;
}

async fn ends_and_touches_nothing(scene: &Scene, what: &str, how: Ended) {
    clear_logs(scene);
    let reports = scene.run().await;
    assert_eq!(reports.len(), 3);
    for report in &reports {
        assert_eq!(ended(report), how, "{what}: {:?}", report.record.end);
        assert!(report.fault.is_some(), "{what}: the report tells the fault");
    }
    assert_eq!(At::ALL.iter().map(|at| at.log(scene).len()).sum::<usize>(), 0, "{what}: no target is even asked");
}

#[tokio::test]
async fn the_seventh_page_of_twelve_fails_and_nothing_is_removed() {
    let scene = twelve_pages().await;
    let members = format!("/api/v1/groups/{}/users?", scene.estate.okta.group_id("everybody"));
    for path in ["/api/v1/users?", members.as_str()] {
        for (what, fault) in broken_pages() {
            scene.estate.okta.server.faults.add(Rule::always("GET", path, fault).after(6));
            fails_and_touches_nothing(&scene, &format!("{path}: {what}")).await;
            scene.estate.okta.server.faults.clear();
            // Whoever failed often rests a while.
            scene.clock.advance(TimeDelta::days(1));
        }
    }
    heals(&scene).await;
}

#[tokio::test]
async fn a_passing_fault_of_a_page_puts_the_whole_run_on_the_queue() {
    let scene = twelve_pages().await;
    scene.estate.okta.server.faults.add(Rule::always("GET", "/api/v1/users?", Fault::ResetBefore).after(6));
    fails_and_touches_nothing(&scene, "a reset").await;
    let retries = scene.journal.retries().await.expect("retries");
    assert_eq!(retries.len(), 3, "one for each target");
    for retry in retries {
        assert_eq!((&retry.subject, retry.attempts, retry.quarantined), (&Subject::Everything, 1, false));
        assert!(retry.not_before > retry.first_seen, "not at once");
        assert!(retry.cause.contains("list users"), "{}", retry.cause);
    }
    heals(&scene).await;
}

#[tokio::test]
async fn a_page_that_fails_once_is_read_again_within_the_run() {
    let scene = fresh(crowd(20)).await;
    scene.estate.okta.quirks(|q| q.page_cap = Some(5));
    scene.converge().await;
    for fault in [Fault::ResetBefore, Fault::Cut, Fault::json(503, "")] {
        scene.estate.okta.server.faults.add(Rule::once("GET", "/api/v1/users?", fault).after(2));
    }
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{:?}", report.record.end);
    }
    assert_eq!(scene.estate.okta.server.faults.hits(), 3);
}

#[tokio::test]
async fn a_listing_whose_cursor_repeats_is_an_error_and_ends() {
    let scene = twelve_pages().await;
    scene.estate.okta.quirks(|q| q.repeated_cursor = true);
    fails_and_touches_nothing(&scene, "a cursor that repeats").await;
    assert!(scene.estate.okta.server.log.len() < 40, "it does not go round for ever");
    scene.estate.okta.quirks(|q| q.repeated_cursor = false);
    heals(&scene).await;
}

#[tokio::test]
async fn a_credential_without_a_role_sees_nobody_and_so_nobody_is_removed() {
    let scene = twelve_pages().await;
    scene.estate.okta.blind(true);
    ends_and_touches_nothing(&scene, "a blind role", Ended::Blind).await;
    scene.estate.okta.blind(false);
    heals(&scene).await;
}

#[tokio::test]
async fn an_empty_listing_with_200_removes_nobody() {
    let scene = twelve_pages().await;
    let members = format!("/api/v1/groups/{}/users?", scene.estate.okta.group_id("everybody"));
    for path in ["/api/v1/users?", "/api/v1/groups?", members.as_str()] {
        for after in [0, 3] {
            scene.estate.okta.server.faults.add(Rule::once("GET", path, Fault::json(200, "[]")).after(after));
            clear_logs(&scene);
            let reports = scene.run().await;
            let removed: Vec<_> = reports.iter().flat_map(|r| r.record.end.clone().expect("ended").done).collect();
            let gone = removed.iter().filter(|(kind, _)| kind.removes()).map(|(_, n)| n).sum::<u64>();
            // The two who left indeed may go; nobody else.
            for at in At::ALL {
                let directory = at.directory(&scene);
                for number in 0..59 {
                    let name = format!("pat.number{number}");
                    let user = directory.user(&name).expect("nobody is deleted");
                    assert!(user.is_active(), "{path} after {after}: {name} at {}", at.name());
                    assert!(directory.is_member("everybody", &name), "{path} after {after}: {name} at {}", at.name());
                }
            }
            assert!(gone <= 12, "{path} after {after}: {removed:?}");
            scene.estate.okta.server.faults.clear();
            scene.clock.advance(TimeDelta::days(1));
        }
    }
    heals(&scene).await;
}

#[tokio::test]
async fn a_listing_that_ends_too_early_removes_nobody() {
    let scene = twelve_pages().await;
    let okta = &scene.estate.okta;
    let members = format!("/api/v1/groups/{}/users?", okta.group_id("everybody"));
    // Both lists end after half of their pages and say that they are whole: half of the people are nowhere.
    for path in ["/api/v1/users?", members.as_str()] {
        okta.server.faults.add(Rule::once("GET", path, Fault::json(200, "[]")).after(7));
    }
    scene.run().await;
    assert_eq!(okta.server.faults.hits(), 2);
    for at in At::ALL {
        let directory = at.directory(&scene);
        for number in 0..59 {
            let name = format!("pat.number{number}");
            let there = directory.user(&name).is_some_and(|u| u.is_active()) && directory.is_member("everybody", &name);
            assert!(there, "{name} at {}", at.name());
        }
    }
    heals(&scene).await;
}
