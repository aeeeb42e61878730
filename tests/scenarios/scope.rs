//! The road of one app: only users and groups that are assigned to it.

use rosterd::contract::journal::Ended;
use rosterd_sim::world::World;

use super::team::{applied, at_work, everywhere, names, person, team};
use crate::support::{Scene, Setting, TARGETS, ended};

pub const APP: &str = "app_id = \"0oa1gjh63g214q0Hq0g4\"";

/// Of the team, `staff` has no app, `engineering` has it, and of the others Dan and Eve have it themselves.
fn assigned() -> World {
    let mut world = team();
    for (at, person) in world.people.iter_mut().enumerate() {
        person.assigned = matches!(at, 3 | 4);
    }
    for group in &mut world.groups {
        group.assigned = group.name == "engineering";
    }
    world
}

async fn app_at_work(job: &str) -> Scene {
    at_work(assigned(), Setting { okta: APP.to_owned(), job: job.to_owned(), ..Setting::default() }).await
}

#[tokio::test]
async fn only_what_is_assigned_to_the_app_is_managed() {
    let scene = app_at_work("").await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    everywhere(&scene, "staff", []);
    for target in TARGETS {
        let directory = scene.directory(target);
        assert!(directory.group("sales").is_none() && directory.user("finn.moss").is_none(), "{target}");
        assert!(directory.user("dan.ng").is_some() && directory.user("eve.ito").is_some(), "{target}");
    }
}

#[tokio::test]
async fn whoever_loses_the_app_is_out_of_scope() {
    let everybody = "[jobs.staff.groups]\ndefault = { all_users = [\"everybody\"] }";
    let scene = app_at_work(everybody).await;
    let okta = &scene.estate.okta;
    okta.unassign_user("eve.ito@example.com");
    okta.remove_member("engineering", "bob.stone@example.com");
    applied(&scene).await;
    everywhere(&scene, "everybody", ["ada.lovelace", "cleo.hart", "dan.ng"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "cleo.hart"]);
    for target in TARGETS {
        for user in ["eve.ito", "bob.stone"] {
            assert!(scene.directory(target).user(user).is_some_and(|u| u.is_active()), "{user} at {target}");
        }
    }
    scene.at_rest().await;
    okta.assign_user("eve.ito@example.com");
    applied(&scene).await;
    everywhere(&scene, "everybody", ["ada.lovelace", "cleo.hart", "dan.ng", "eve.ito"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn every_action_for_whoever_loses_the_app() {
    for (action, there, active) in [("keep", true, true), ("deactivate", true, false), ("delete", false, false)] {
        let job = format!("[jobs.staff.leavers]\nout_of_scope = \"{action}\"");
        let scene = app_at_work(&job).await;
        // At Bitbucket only a group can give access, and so only a group can take it.
        scene.directory("bitbucket").join("stash-users", "eve.ito").expect("both are there");
        scene.estate.okta.unassign_user("eve.ito@example.com");
        for report in scene.run().await {
            let wanted = if action == "keep" { Ended::Converged } else { Ended::Applied };
            assert_eq!(ended(&report), wanted, "{action}: {:?}", report.record.end);
        }
        for target in TARGETS {
            assert_eq!(scene.directory(target).user("eve.ito").is_some(), there, "{action} at {target}");
            assert_eq!(scene.works(target, "eve.ito"), active, "{action} at {target}");
        }
        scene.at_rest().await;
    }
}

#[tokio::test]
async fn a_deactivated_user_of_the_app_is_disabled_and_not_out_of_scope() {
    let scene = app_at_work("").await;
    scene.estate.okta.deactivate("bob.stone@example.com");
    scene.directory("bitbucket").join("stash-users", "bob.stone").expect("both are there");
    applied(&scene).await;
    for target in TARGETS {
        assert!(!scene.works(target, "bob.stone") && scene.directory(target).user("bob.stone").is_some(), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn a_group_that_loses_the_app_is_emptied_of_ours() {
    let scene = app_at_work("").await;
    let okta = &scene.estate.okta;
    okta.assign_group("sales");
    applied(&scene).await;
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    okta.unassign_group("sales");
    applied(&scene).await;
    everywhere(&scene, "sales", []);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_joiner_comes_by_a_group_that_has_the_app() {
    let scene = app_at_work("").await;
    let okta = &scene.estate.okta;
    okta.add_user(rosterd_sim::world::Person { assigned: false, ..person("Gina", "Park") });
    scene.at_rest().await;
    okta.add_member("engineering", "gina.park@example.com");
    applied(&scene).await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "gina.park"]);
    for target in TARGETS {
        assert_eq!(scene.groups(target, "gina.park"), names(["engineering"]), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn only_members_of_groups_can_be_the_whole_source() {
    let okta = "users = \"groups\"".to_owned();
    let mut world = team();
    world.add_person("Gina", "Park");
    let scene = at_work(world, Setting { okta, ..Setting::default() }).await;
    for target in TARGETS {
        assert!(scene.directory(target).user("gina.park").is_none(), "{target}");
        assert!(scene.works(target, "finn.moss"), "{target}");
    }
    let okta = &scene.estate.okta;
    for group in ["staff", "sales"] {
        okta.remove_member(group, "eve.ito@example.com");
    }
    applied(&scene).await;
    everywhere(&scene, "sales", ["dan.ng"]);
    scene.at_rest().await;
}

/// A trial by three, and then the app is given to others: nobody whom the source shows is linked, and yet it is the same one.
#[tokio::test]
async fn an_app_that_is_given_to_others_than_before_is_no_other_organisation() {
    let mut world = team();
    world.people.iter_mut().enumerate().for_each(|(at, person)| person.assigned = at < 3);
    world.groups.iter_mut().for_each(|group| group.assigned = false);
    let job = "[jobs.staff.groups]\ndefault = { all_users = [\"everybody\"] }";
    let scene = at_work(world, Setting { okta: APP.to_owned(), job: job.to_owned(), ..Setting::default() }).await;
    everywhere(&scene, "everybody", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    let okta = &scene.estate.okta;
    for login in ["ada.lovelace", "bob.stone", "cleo.hart"] {
        okta.unassign_user(&format!("{login}@example.com"));
    }
    for login in ["dan.ng", "eve.ito", "finn.moss"] {
        okta.assign_user(&format!("{login}@example.com"));
    }
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!(end.ended, Ended::Blind, "{end:?}");
        assert!(end.messages.iter().any(|m| m.contains("asked for is not what it was")), "{:?}", end.messages);
    }
    everywhere(&scene, "everybody", ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "eve.ito", "finn.moss"]);
    applied(&scene).await;
    everywhere(&scene, "everybody", ["dan.ng", "eve.ito", "finn.moss"]);
    scene.at_rest().await;
}
