//! The health gate: a source that cannot be believed may add, and removes nothing.

use rosterd::contract::journal::Ended;
use rosterd_sim::harness::{Fault, Rule};

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
        assert_eq!(ended(&report), Ended::Failed, "{:?}", report.record.end);
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
