//! Renames of users: an account follows its person by id. Jira and Bitbucket rename; Confluence cannot, and says so.

use rosterd::contract::journal::Ended;
use rosterd::model::plan::FindingKind;

use super::team::team_at_work;
use crate::support::{Scene, TARGETS, end_of, ended, report_of};

const RENAME: [&str; 2] = ["jira", "bitbucket"];

/// The keys of some users at every target, in the order of the targets.
fn keys(scene: &Scene, names: &[&str]) -> Vec<Vec<String>> {
    TARGETS.iter().map(|t| names.iter().map(|n| scene.key(t, n).expect("they are there")).collect()).collect()
}

/// Runs; where renames are possible everything is applied, and Confluence has nothing to do.
async fn renamed(scene: &Scene) {
    let reports = scene.run().await;
    for target in RENAME {
        assert_eq!(end_of(&reports, target).ended, Ended::Applied, "{target}: {:?}", end_of(&reports, target));
    }
    let confluence = report_of(&reports, "confluence");
    assert_eq!(ended(confluence), Ended::Converged, "{:?}", confluence.record.end);
    assert_eq!(scene.log("confluence").writes().len(), 0);
}

#[tokio::test]
async fn a_rename_keeps_the_account() {
    let scene = team_at_work().await;
    let before = keys(&scene, &["eve.ito"]);
    scene.estate.okta.rename_user("eve.ito@example.com", "eve.stone@example.com");
    renamed(&scene).await;
    for (target, keys) in TARGETS.iter().zip(before) {
        let name = if *target == "confluence" { "eve.ito" } else { "eve.stone" };
        assert_eq!(scene.key(target, name), Some(keys[0].clone()), "{target}");
        assert_eq!(scene.directory(target).user_count(), 7, "{target}");
        assert!(scene.works(target, name), "{target}");
    }
    let said = scene.findings("confluence", FindingKind::Unsupported).await;
    assert!(said.len() == 1 && said[0].contains("eve.ito") && said[0].contains("eve.stone"), "{said:?}");
    scene.at_rest().await;
}

#[tokio::test]
async fn a_rename_comes_with_the_other_changes_of_the_same_person() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.change_user("eve.ito@example.com", |p| {
        p.login = "eve.stone@example.com".to_owned();
        p.email = Some("eve.stone@example.com".to_owned());
        p.last = "Stone".to_owned();
    });
    okta.remove_member("sales", "eve.stone@example.com");
    okta.add_member("engineering", "eve.stone@example.com");
    scene.run().await;
    scene.at_rest().await;
    for target in TARGETS {
        let name = if target == "confluence" { "eve.ito" } else { "eve.stone" };
        assert_eq!(scene.groups(target, name), super::team::names(["engineering", "staff"]), "{target}");
        let directory = scene.directory(target);
        let eve = directory.user(name).expect("she is there");
        assert_eq!((eve.display_name.as_str(), eve.email.as_str()), ("Eve Stone", "eve.stone@example.com"), "{target}");
    }
}

#[tokio::test]
async fn two_people_swap_their_names() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    let before = keys(&scene, &["dan.ng", "eve.ito"]);
    okta.rename_user("dan.ng@example.com", "between@example.com");
    okta.rename_user("eve.ito@example.com", "dan.ng@example.com");
    okta.rename_user("between@example.com", "eve.ito@example.com");
    renamed(&scene).await;
    for (target, keys) in TARGETS.iter().zip(before) {
        let swapped = *target != "confluence";
        let (dan, eve) = if swapped { ("eve.ito", "dan.ng") } else { ("dan.ng", "eve.ito") };
        assert_eq!((scene.key(target, dan), scene.key(target, eve)), (Some(keys[0].clone()), Some(keys[1].clone())), "{target}");
        assert_eq!(scene.directory(target).user_count(), 7, "{target}");
    }
    let said = scene.findings("confluence", FindingKind::Unsupported).await;
    assert_eq!(said.len(), 2, "{said:?}");
    scene.at_rest().await;
}

#[tokio::test]
async fn three_people_pass_their_names_on_in_a_circle() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    let before = keys(&scene, &["ada.lovelace", "dan.ng", "eve.ito"]);
    okta.rename_user("ada.lovelace@example.com", "between@example.com");
    okta.rename_user("eve.ito@example.com", "ada.lovelace@example.com");
    okta.rename_user("dan.ng@example.com", "eve.ito@example.com");
    okta.rename_user("between@example.com", "dan.ng@example.com");
    renamed(&scene).await;
    for (target, keys) in TARGETS.iter().zip(before) {
        let now =
            if *target == "confluence" { ["ada.lovelace", "dan.ng", "eve.ito"] } else { ["dan.ng", "eve.ito", "ada.lovelace"] };
        let found: Vec<String> = now.iter().map(|n| scene.key(target, n).expect("they are there")).collect();
        assert_eq!(found, keys, "{target}");
        assert_eq!(scene.directory(target).user_count(), 7, "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn a_joiner_takes_the_name_that_somebody_gives_up() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    let before = keys(&scene, &["eve.ito"]);
    okta.rename_user("eve.ito@example.com", "eve.stone@example.com");
    okta.add_user(super::team::person("Eve", "Ito"));
    okta.add_member("engineering", "eve.ito@example.com");
    scene.run().await;
    scene.at_rest().await;
    for (target, keys) in TARGETS.iter().zip(before) {
        if *target == "confluence" {
            // The old account keeps its name, so the newcomer waits for it, named.
            assert_eq!(scene.key(target, "eve.ito"), Some(keys[0].clone()));
            assert!(!scene.directory(target).is_member("engineering", "eve.ito"));
            continue;
        }
        assert_eq!(scene.key(target, "eve.stone"), Some(keys[0].clone()), "{target}");
        assert_ne!(scene.key(target, "eve.ito"), Some(keys[0].clone()), "{target}");
        assert!(scene.directory(target).is_member("engineering", "eve.ito"), "{target}");
    }
    let said = scene.findings("confluence", FindingKind::Conflict).await;
    assert!(said.len() == 1 && said[0].contains("eve.ito"), "{said:?}");
}

#[tokio::test]
async fn a_name_that_a_stranger_holds_is_not_taken() {
    let scene = team_at_work().await;
    for target in TARGETS {
        scene.directory(target).add_user("eve.stone", "other@example.com", "Somebody Else").expect("a free name");
    }
    let before = keys(&scene, &["eve.ito", "eve.stone"]);
    scene.estate.okta.rename_user("eve.ito@example.com", "eve.stone@example.com");
    scene.at_rest().await;
    assert_eq!(keys(&scene, &["eve.ito", "eve.stone"]), before);
    for target in RENAME {
        let said = scene.findings(target, FindingKind::Conflict).await;
        assert!(said.len() == 1 && said[0].contains("eve.stone"), "{target}: {said:?}");
    }
}
