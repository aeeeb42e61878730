//! Lists that are stale or leave somebody out: a list proves nothing, and whoever is to lose something is asked about first.

use rosterd::contract::journal::Ended;

use crate::stage::*;
use crate::support::ended;

#[tokio::test]
async fn a_stale_list_of_members_removes_nobody() {
    let scene = settled(staff()).await;
    let okta = &scene.estate.okta;
    // The list stays as it is in a moment at which Ben is out of the group; the next moment he is in again.
    okta.remove_member("devs", "ben.stone@example.com");
    okta.lag("devs", 100);
    okta.add_member("devs", "ben.stone@example.com");
    for _ in 0..3 {
        for report in scene.run().await {
            let end = report.record.end.as_ref().expect("ended");
            assert!(end.done.iter().all(|(kind, _)| !kind.removes()), "{end:?}");
            assert!(end.messages.iter().any(|m| m.contains("withheld")), "the plan says what was withheld: {end:?}");
        }
        for at in At::ALL {
            assert_eq!(losses(&scene, at), Vec::<String>::new(), "at {}", at.name());
        }
    }
    assert_eq!(writes(&scene), 0);
    okta.lag("devs", 0);
    heals(&scene).await;
}

#[tokio::test]
async fn a_stale_list_of_members_that_shows_a_leaver_gives_nothing_for_good() {
    let scene = settled(staff()).await;
    let okta = &scene.estate.okta;
    okta.lag("devs", 3);
    okta.remove_member("devs", "anna.mueller@example.com");
    scene.run().await;
    okta.lag("devs", 0);
    heals(&scene).await;
    for at in At::ALL {
        assert!(!at.directory(&scene).is_member("devs", "anna.mueller"));
    }
}

#[tokio::test]
async fn somebody_whose_status_changes_between_two_pages_slips_through_the_list_and_keeps_everything() {
    // The list is ordered by status: whoever goes from a later status to an earlier one behind the reader's back is on no page.
    let mut world = crowd(40);
    let alone = world.add_person("Zoe", "Alone");
    let scene = settled(world.clone()).await;
    let okta = &scene.estate.okta;
    okta.quirks(|q| q.page_cap = Some(5));
    let zoe = world.people[alone].id.clone();
    let mut ids: Vec<String> = world.people.iter().map(|p| p.id.clone()).collect();
    ids.sort();
    let place = ids.iter().position(|id| *id == zoe).expect("is there");
    assert!(place >= 10, "Zoe is on a later page than the second: {place}");
    okta.server.faults.latency(std::time::Duration::from_millis(15));

    let log = okta.server.log.clone();
    let moving = async {
        while log.all().iter().filter(|s| s.path == "/api/v1/users").count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        okta.set_status(&zoe, rosterd_sim::world::Status::Provisioned);
    };
    let (reports, ()) = tokio::join!(scene.run(), moving);
    okta.server.faults.latency(std::time::Duration::ZERO);
    for report in &reports {
        assert_eq!(ended(report), Ended::Converged, "{:?}", report.record.end);
    }
    assert!(log.count("GET", &format!("/api/v1/users/{zoe}")) > 0, "she was on no page, so she was asked about");
    for at in At::ALL {
        assert!(at.directory(&scene).user("zoe.alone").is_some_and(|u| u.is_active()), "at {}", at.name());
    }
    assert_eq!(writes(&scene), 0);
    heals(&scene).await;
}

#[tokio::test]
async fn an_app_that_is_gone_or_unseen_takes_nothing_from_anybody() {
    let mut scene = fresh(staff()).await;
    let app = scene.estate.okta.app_id.clone();
    amend(&mut scene, "sources.okta", &format!("app_id = \"{app}\""));
    impatient_targets(&mut scene);
    scene.converge().await;
    clear_logs(&scene);
    let not_found = format!(r#"{{"errorCode":"E0000007","errorSummary":"Not found: Resource not found: {app} (AppInstance)"}}"#);
    let gone = rosterd_sim::harness::Fault::json(404, not_found);
    scene.estate.okta.server.faults.add(rosterd_sim::harness::Rule::always("GET", "/api/v1/apps/", gone));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Failed, "{:?}", report.record.end);
    }
    assert_eq!(writes(&scene), 0);
    heals(&scene).await;
}

fn impatient_targets(scene: &mut crate::support::Scene) {
    for table in ["targets.jira", "targets.confluence", "targets.bitbucket"] {
        amend(scene, table, IMPATIENT);
    }
}
