//! Maps of group names, and exclusive groups, where the membership equals the source's.

use rosterd::contract::journal::Ended;
use rosterd_sim::world::Person;

use super::team::{applied, at_work, everywhere, names, person, team, team_under};
use crate::support::{Scene, Setting, TARGETS, ended};

const EXCLUSIVE: &str = "[jobs.staff.groups]\nexclusive = [\"engineering\"]";

#[tokio::test]
async fn a_stranger_leaves_an_exclusive_group_and_stays_in_another() {
    let scene = team_under(EXCLUSIVE).await;
    for target in TARGETS {
        let mut directory = scene.directory(target);
        directory.add_user("guest", "guest@example.com", "Guest").expect("a free name");
        for (group, user) in [("engineering", "guest"), ("sales", "guest"), ("engineering", "finn.moss")] {
            directory.join(group, user).expect("both are there");
        }
    }
    applied(&scene).await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    everywhere(&scene, "sales", ["dan.ng", "eve.ito", "guest"]);
    for target in TARGETS {
        assert!(scene.directory(target).user("guest").is_some_and(|g| g.is_active()), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn whoever_is_set_aside_is_no_stranger() {
    let scene = team_under(EXCLUSIVE).await;
    let twin = "bob.stone@partner.example.com".to_owned();
    scene.estate.okta.add_user(Person { login: twin.clone(), email: Some(twin), ..person("Bob", "Stone") });
    scene.at_rest().await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
}

#[tokio::test]
async fn whoever_is_set_aside_before_the_first_run_is_no_stranger_either() {
    let mut world = team();
    let twin = world.add_person("Bob", "Stone");
    world.people[twin].login = "bob.stone@partner.example.com".to_owned();
    let scene = Scene::new(world, Setting { job: EXCLUSIVE.to_owned(), ..Setting::default() }).await;
    scene.open_doors("staff");
    by_hand(&scene, &["bob.stone"]);
    scene.run().await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn whoever_is_excluded_from_management_stays_in_an_exclusive_group() {
    let mut world = team();
    let bot = world.add_person("Svc", "Bot");
    world.people[bot].login = "svc-bot@example.com".to_owned();
    world.add_person("Night", "Robot");
    let job = format!("[jobs.staff.users]\nexclude = [\"svc-*\", \"night.robot@*\"]\n{EXCLUSIVE}");
    let scene = Scene::new(world, Setting { job, ..Setting::default() }).await;
    scene.open_doors("staff");
    // One that the source knows, one that only the target knows, and one whose login is excluded and not the user name.
    by_hand(&scene, &["svc-bot", "svc-local", "night.robot"]);
    scene.run().await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "night.robot", "svc-bot", "svc-local"]);
    scene.at_rest().await;
}

fn by_hand(scene: &Scene, users: &[&str]) {
    for target in TARGETS {
        let mut directory = scene.directory(target);
        directory.add_group("engineering").expect("a free name");
        for user in users {
            directory.add_user(user, "hand@example.com", "By Hand").expect("a free name");
            directory.join("engineering", user).expect("both are there");
        }
    }
}

#[tokio::test]
async fn names_and_patterns_lead_to_other_groups_and_several_sources_to_one() {
    let map = r#"[jobs.staff.groups]
map = [ { from = "Engineering", to = ["developers", "builders"] }, { pattern = "^sal(es)$", to = ["trad$1"] }, { from = "staff", to = ["builders", "staff"] } ]"#;
    let scene = at_work(team(), Setting { job: map.to_owned(), ..Setting::default() }).await;
    everywhere(&scene, "developers", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    everywhere(&scene, "trades", ["dan.ng", "eve.ito"]);
    everywhere(&scene, "builders", ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "eve.ito", "finn.moss"]);
    let okta = &scene.estate.okta;
    // Still in `builders` by way of `staff`.
    okta.remove_member("engineering", "bob.stone@example.com");
    applied(&scene).await;
    everywhere(&scene, "developers", ["ada.lovelace", "cleo.hart"]);
    everywhere(&scene, "builders", ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "eve.ito", "finn.moss"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_map_that_changes_moves_the_members() {
    let map = "[jobs.staff.groups]\nmap = [ { from = \"sales\", to = [\"traders\"] } ]";
    let mut scene = team_under(map).await;
    scene.reconfigure(|text| text.replace("traders", "merchants"));
    applied(&scene).await;
    everywhere(&scene, "traders", []);
    everywhere(&scene, "merchants", ["dan.ng", "eve.ito"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn the_groups_of_a_leaver_whom_only_a_flag_stops_are_kept_for_the_return() {
    let scene = team_under(EXCLUSIVE).await;
    let okta = &scene.estate.okta;
    okta.suspend("bob.stone@example.com");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    }
    scene.at_rest().await;
    for target in ["jira", "confluence"] {
        assert_eq!(scene.groups(target, "bob.stone"), names(["engineering", "staff"]), "{target}");
    }
    okta.activate("bob.stone@example.com");
    applied(&scene).await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    scene.at_rest().await;
}
