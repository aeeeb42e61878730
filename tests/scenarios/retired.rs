//! Groups that change at the source: renamed, deleted, left out by configuration. Groups themselves are never deleted.

use rosterd::contract::journal::Ended;
use rosterd::model::plan::FindingKind;
use rosterd_sim::harness::{Fault, Rule};

use super::team::{applied, everywhere, team_at_work, team_under};
use crate::support::{TARGETS, ended};

#[tokio::test]
async fn a_renamed_group_is_made_anew_and_the_old_one_is_left_empty_and_named() {
    let scene = team_at_work().await;
    scene.estate.okta.rename_group("sales", "sales-emea");
    applied(&scene).await;
    everywhere(&scene, "sales-emea", ["dan.ng", "eve.ito"]);
    everywhere(&scene, "sales", []);
    for target in TARGETS {
        assert!(scene.directory(target).group("sales").is_some(), "{target}");
        let said = scene.findings(target, FindingKind::Retired).await;
        assert!(said.len() == 1 && said[0].contains("sales"), "{target}: {said:?}");
        let ledger = scene.ledger(target).await;
        let key = scene.key(target, "eve.ito").expect("she is there").as_str().into();
        assert!(ledger.owns(&"sales-emea".into(), &key) && !ledger.owns(&"sales".into(), &key), "{target}");
    }
    scene.at_rest().await;
    for target in TARGETS {
        let links = scene.links(target).await;
        let linked: Vec<&str> = links.groups.iter().map(|l| l.target.as_str()).collect();
        assert!(linked.contains(&"sales-emea") && !linked.contains(&"sales"), "{target}: {linked:?}");
    }
}

#[tokio::test]
async fn a_renamed_group_loses_ours_and_keeps_strangers() {
    let scene = team_at_work().await;
    for target in TARGETS {
        scene.directory(target).join("sales", "finn.moss").expect("both are there");
    }
    scene.estate.okta.rename_group("sales", "sales-emea");
    applied(&scene).await;
    everywhere(&scene, "sales-emea", ["dan.ng", "eve.ito"]);
    everywhere(&scene, "sales", ["finn.moss"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn two_groups_that_swap_names_swap_members() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.rename_group("sales", "between");
    okta.rename_group("engineering", "sales");
    okta.rename_group("between", "engineering");
    applied(&scene).await;
    everywhere(&scene, "engineering", ["dan.ng", "eve.ito"]);
    everywhere(&scene, "sales", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_vanished_group_is_frozen_until_its_absence_is_proven_and_then_emptied_of_ours() {
    let scene = team_at_work().await;
    for target in TARGETS {
        scene.directory(target).join("sales", "finn.moss").expect("both are there");
    }
    let okta = &scene.estate.okta;
    okta.delete_group("sales");
    let busy = Fault::json(503, "{}").header("retry-after", "3600");
    okta.server.faults.add(Rule::always("GET", "/api/v1/users/00u", busy));
    scene.hush();
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert!(end.messages.iter().any(|m| m.contains("no definite answer")), "{:?}", end.messages);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    everywhere(&scene, "sales", ["dan.ng", "eve.ito", "finn.moss"]);

    okta.server.faults.clear();
    applied(&scene).await;
    everywhere(&scene, "sales", ["finn.moss"]);
    for target in TARGETS {
        let said = scene.findings(target, FindingKind::Retired).await;
        assert!(said.len() == 1 && said[0].contains("sales"), "{target}: {said:?}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn a_member_whom_a_lagging_list_lacks_keeps_the_membership() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    // The list of the group's members is one that never had her; what her own groups are is never stale.
    okta.remove_member("sales", "eve.ito@example.com");
    okta.lag("sales", 1);
    okta.add_member("sales", "eve.ito@example.com");
    scene.hush();
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert!(end.messages.iter().any(|m| m.contains("withheld")), "{end:?}");
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_group_that_the_configuration_leaves_out_is_left_alone() {
    let mut scene = team_under("[jobs.staff.groups]\ninclude = [\"staff\", \"engineering\", \"sales\"]").await;
    scene.reconfigure(|text| text.replace(", \"sales\"]", "]"));
    scene.estate.okta.remove_member("sales", "eve.ito@example.com");
    scene.at_rest().await;
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    for target in TARGETS {
        let said = scene.findings(target, FindingKind::LeftAlone).await;
        assert!(said.len() == 1 && said[0].contains("sales"), "{target}: {said:?}");
    }
    // Once it takes part again, it is as if it had never been away.
    scene.reconfigure(|text| text.replace("\"engineering\"]", "\"engineering\", \"sales\"]"));
    applied(&scene).await;
    everywhere(&scene, "sales", ["dan.ng"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_group_that_is_excluded_by_name_is_left_alone_too() {
    let mut scene = team_under("[jobs.staff.groups]\nexclude = [\"nothing\"]").await;
    scene.reconfigure(|text| text.replace("\"nothing\"", "\"sales\""));
    scene.at_rest().await;
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
}

#[tokio::test]
async fn a_missing_group_is_not_made_where_the_configuration_forbids_it() {
    let scene = team_under("[jobs.staff.groups]\ncreate_missing = false").await;
    for target in TARGETS {
        assert!(scene.directory(target).group("sales").is_none(), "{target}");
        let said = scene.findings(target, FindingKind::GroupMissing).await;
        assert_eq!(said.len(), 2, "{target}: {said:?}");
        scene.directory(target).add_group("sales").expect("a free name");
    }
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    }
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    scene.at_rest().await;
}
