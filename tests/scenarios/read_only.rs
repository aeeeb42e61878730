//! Accounts in a read-only directory: adopted, reported where they differ, never a reason for others to wait.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd::model::plan::FindingKind;

use super::team::{person, team};
use crate::support::{Scene, TARGETS, end_of};

/// A team of which Eve comes from a read-only directory at every target, under another display name.
async fn scene() -> Scene {
    let scene = Scene::plain(team()).await;
    scene.open_doors("staff");
    for target in TARGETS {
        let mut directory = scene.directory(target);
        directory.add_user("eve.ito", "eve.ito@example.com", "Ito, Eve").expect("a free name");
        directory.user_mut("eve.ito").expect("she was added").read_only = true;
    }
    scene
}

fn untouched(scene: &Scene) {
    for target in TARGETS {
        let directory = scene.directory(target);
        let eve = directory.user("eve.ito").expect("she is there");
        assert_eq!((eve.display_name.as_str(), eve.is_active()), ("Ito, Eve", true), "{target}");
    }
}

#[tokio::test]
async fn details_are_reported_and_groups_follow() {
    let scene = scene().await;
    let reports = scene.run().await;
    untouched(&scene);
    // Bitbucket tells that it is so; the others show it when they refuse, and then she waits, alone.
    assert_eq!(end_of(&reports, "bitbucket").ended, Ended::Applied);
    let said = scene.findings("bitbucket", FindingKind::ReadOnly).await;
    assert!(said.len() == 1 && said[0].contains("eve.ito"), "{said:?}");
    assert!(scene.directory("bitbucket").is_member("sales", "eve.ito"));
    let waiting = scene.journal.retries().await.expect("the store works");
    for target in ["jira", "confluence"] {
        assert_eq!(end_of(&reports, target).ended, Ended::Partial, "{target}");
        let here: Vec<_> = waiting.iter().filter(|r| r.target.as_str() == target).collect();
        assert_eq!(here.len(), 1, "{target}: {here:?}");
        assert!(here[0].cause.contains("eve") || here[0].cause.contains("JIRAUSER"), "{:?}", here[0]);
        for other in ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "finn.moss"] {
            assert!(scene.works(target, other), "{other} at {target}");
        }
    }
}

#[tokio::test]
async fn one_who_is_as_it_should_be_is_an_ordinary_member() {
    let scene = scene().await;
    for target in TARGETS {
        scene.directory(target).user_mut("eve.ito").expect("she is there").display_name = "Eve Ito".to_owned();
    }
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.directory(target).is_member("sales", "eve.ito"), "{target}");
    }
}

#[tokio::test]
async fn a_leaver_who_cannot_be_deactivated_is_named_and_others_leave() {
    let scene = scene().await;
    for target in TARGETS {
        scene.directory(target).user_mut("eve.ito").expect("she is there").display_name = "Eve Ito".to_owned();
    }
    scene.at_rest().await;
    let okta = &scene.estate.okta;
    okta.suspend("eve.ito@example.com");
    okta.suspend("dan.ng@example.com");
    okta.add_user(person("Gina", "Park"));
    let reports = scene.run().await;
    for target in TARGETS {
        assert!(!scene.works(target, "dan.ng"), "{target}");
        assert!(scene.directory(target).user("gina.park").is_some(), "{target}");
    }
    // At Bitbucket groups decide, and those can be changed.
    assert!(!scene.works("bitbucket", "eve.ito"));
    for target in ["jira", "confluence"] {
        assert_eq!(end_of(&reports, target).ended, Ended::Partial, "{target}");
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
    // A person makes the directory writable.
    for target in TARGETS {
        scene.directory(target).user_mut("eve.ito").expect("she is there").read_only = false;
    }
    scene.clock.advance(TimeDelta::hours(7));
    scene.run().await;
    for target in TARGETS {
        assert!(!scene.works(target, "eve.ito"), "{target}");
    }
    scene.at_rest().await;
}
