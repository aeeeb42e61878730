//! Names that hurt: all that an address has to escape, and letters whose lower case is another length. Where a product
//! does not take a name, that user or group is reported and everybody else goes on.

use rosterd::model::plan::FindingKind;
use rosterd_sim::world::World;

use super::team::names;
use crate::support::{Scene, Setting, TARGETS, done};

const GROUPS: [&str; 10] = [
    "R&D Ops",
    "c++ / rust",
    "c#",
    "100% done",
    "it's \"quoted\"",
    "🚀 launch",
    "İstanbul",
    "a;b=c?d",
    "über ünit",
    "back\\slash",
];
const LOGINS: [&str; 9] = ["mary ann", "o'neil", "tag+one", "a/b", "c#d", "e%20f", "say\"hi\"", "😀", "İbrahim Iğdır"];

fn world() -> World {
    let mut world = World::default();
    let all: Vec<usize> = LOGINS
        .iter()
        .enumerate()
        .map(|(at, login)| {
            let who = world.add_person("Person", &format!("N{at}"));
            world.people[who].login = format!("{login}@example.com");
            who
        })
        .collect();
    for name in GROUPS {
        world.add_group(name, &all);
    }
    world
}

#[tokio::test]
async fn every_name_arrives_where_the_product_takes_it() {
    let job = "[jobs.staff.users]\nmap = { username = \"login | before('@')\" }".to_owned();
    let scene = Scene::new(world(), Setting { job, ..Setting::default() }).await;
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!(end.failed, 0, "{}: {end:?}", report.record.start.target);
    }
    scene.at_rest().await;
    for target in ["jira", "bitbucket"] {
        for group in GROUPS {
            assert_eq!(scene.members(target, group), names(LOGINS), "{group} at {target}");
        }
    }
    // Confluence has rules for user names, and groups stand in its paths.
    let taken = names(["c#d", "e%20f", "😀"]);
    for group in GROUPS {
        if group.contains(['/', '\\']) {
            assert!(scene.directory("confluence").group(group).is_none(), "{group}");
        } else {
            assert_eq!(scene.members("confluence", group), taken, "{group}");
        }
    }
    let said = scene.findings("confluence", FindingKind::Unmappable).await.join("\n");
    for refused in ["mary ann", "o'neil", "tag+one", "a/b", "say", "İbrahim", "c++ / rust", "back"] {
        assert!(said.contains(refused), "{refused}: {said}");
    }
}

#[tokio::test]
async fn names_that_hurt_move_leave_and_return_like_any_other() {
    let job = "[jobs.staff.users]\nmap = { username = \"login | before('@')\" }".to_owned();
    let scene = Scene::new(world(), Setting { job, ..Setting::default() }).await;
    scene.at_rest().await;
    let okta = &scene.estate.okta;
    for (group, login) in [("🚀 launch", "c#d"), ("100% done", "e%20f"), ("İstanbul", "c#d")] {
        okta.remove_member(group, &format!("{login}@example.com"));
    }
    okta.suspend("😀@example.com");
    okta.rename_user("o'neil@example.com", "o'hara & sons@example.com");
    scene.run().await;
    for target in TARGETS {
        for (group, login) in [("🚀 launch", "c#d"), ("100% done", "e%20f"), ("İstanbul", "c#d")] {
            assert!(!scene.directory(target).is_member(group, login), "{group} at {target}");
        }
    }
    assert!(scene.directory("bitbucket").user("o'hara & sons").is_some());
    // Jira takes no ampersand: reported, and the account keeps its name.
    assert!(scene.directory("jira").user("o'neil").is_some());
    assert!(scene.findings("jira", FindingKind::Unmappable).await.join("\n").contains("o'neil"));
    for target in ["jira", "confluence"] {
        assert!(!scene.works(target, "😀"), "{target}");
    }
    okta.activate("😀@example.com");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!(end.failed, 0, "{end:?}");
        if report.record.start.target.as_str() != "bitbucket" {
            assert_eq!(done(end, "activate_user"), 1, "{end:?}");
        }
    }
    scene.at_rest().await;
}
