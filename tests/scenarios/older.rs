//! The same stories at older and newer releases: other roads, fewer calls, the same end.

use rosterd::model::plan::FindingKind;
use rosterd_sim::estate::Options;
use rosterd_sim::{bitbucket, confluence, jira};

use super::team::{at_work, everywhere, names, person, team};
use crate::support::{Scene, Setting, TARGETS};

async fn at(jira: &str, confluence: &str, bitbucket: &str) -> Scene {
    let options = Options {
        jira: jira::Options { version: jira.to_owned(), ..jira::Options::default() },
        confluence: confluence::Options { version: confluence.to_owned(), ..confluence::Options::default() },
        bitbucket: bitbucket::Options { version: bitbucket.to_owned(), ..bitbucket::Options::default() },
        ..Options::default()
    };
    at_work(team(), Setting { options, ..Setting::default() }).await
}

/// A joiner, a mover and a leaver in one run, and the leaver's return.
async fn all_three(scene: &Scene) {
    let okta = &scene.estate.okta;
    okta.add_user(person("Gina", "Park"));
    for group in ["staff", "sales"] {
        okta.add_member(group, "gina.park@example.com");
    }
    okta.remove_member("sales", "eve.ito@example.com");
    okta.add_member("engineering", "eve.ito@example.com");
    okta.suspend("finn.moss@example.com");
    scene.run().await;
    scene.at_rest().await;
    everywhere(scene, "sales", ["dan.ng", "gina.park"]);
    everywhere(scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "eve.ito"]);
    for target in TARGETS {
        assert!(scene.works(target, "gina.park") && !scene.works(target, "finn.moss"), "{target}");
    }
    okta.activate("finn.moss@example.com");
    scene.run().await;
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.works(target, "finn.moss"), "{target}");
        assert_eq!(scene.groups(target, "finn.moss"), names(["staff"]), "{target}");
    }
}

#[tokio::test]
async fn at_the_oldest_releases() {
    let scene = at("8.20.30", "8.4.5", "7.21.0").await;
    all_three(&scene).await;
    // The oldest Confluence has no call that changes details: reported, and nothing else waits for it.
    scene.estate.okta.change_user("eve.ito@example.com", |p| p.first = "Evelyn".to_owned());
    scene.run().await;
    scene.at_rest().await;
    for target in ["jira", "bitbucket"] {
        assert_eq!(scene.directory(target).user("eve.ito").expect("she is there").display_name, "Evelyn Ito", "{target}");
    }
    let said = scene.findings("confluence", FindingKind::Unsupported).await;
    assert!(said.len() == 1 && said[0].contains("eve.ito"), "{said:?}");
}

#[tokio::test]
async fn at_releases_in_between() {
    all_three(&at("9.12.8", "8.9.0", "8.19.2").await).await;
}

#[tokio::test]
async fn at_releases_whose_search_ends_early() {
    all_three(&at("10.0.1", "9.4.0", "9.0.0").await).await;
}

#[tokio::test]
async fn at_the_newest_releases() {
    all_three(&at("11.0.1", "10.2.0", "10.0.0").await).await;
}
