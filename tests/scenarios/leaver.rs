//! Leavers: each cause with each action, and what the defaults make of it. Whoever stays is not touched.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd::model::plan::FindingKind;
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::okta::Okta;
use rosterd_sim::world::Status;

use super::team::{applied, everywhere, team_at_work, team_under};
use crate::support::{Scene, TARGETS, ended};

const EVE: &str = "eve.ito@example.com";

/// What a leaver's account is like afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// As before.
    Kept,
    /// There, able to work where nothing but a flag decides, in no group of ours.
    WithoutGroups,
    /// There, unable to work.
    Inactive,
    /// Gone.
    Deleted,
}

const ACTIONS: [(&str, After); 4] =
    [("keep", After::Kept), ("remove_groups", After::WithoutGroups), ("deactivate", After::Inactive), ("delete", After::Deleted)];

fn look(scene: &Scene, after: After) {
    for target in TARGETS {
        let works = scene.works(target, "eve.ito");
        let (there, groups) = (scene.key(target, "eve.ito").is_some(), scene.groups(target, "eve.ito"));
        let flag = target != "bitbucket";
        match after {
            After::Kept => assert!(works && groups.len() == 2, "{target}: {groups:?}"),
            After::WithoutGroups => assert!(there && works == flag && groups.is_empty(), "{target}: {groups:?}"),
            After::Inactive => assert!(there && !works && (flag || groups.is_empty()), "{target}: {groups:?}"),
            After::Deleted => assert!(!there, "{target}"),
        }
        for other in ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "finn.moss"] {
            assert!(scene.works(target, other), "{other} at {target}");
        }
    }
}

/// Tells the story for every action of one cause.
async fn every_action(key: &str, more: &str, leave: fn(&Okta)) {
    for (action, after) in ACTIONS {
        let scene = team_under(&format!("{more}\n[jobs.staff.leavers]\n{key} = \"{action}\"")).await;
        leave(&scene.estate.okta);
        for report in scene.run().await {
            let wanted = if after == After::Kept { Ended::Converged } else { Ended::Applied };
            assert_eq!(ended(&report), wanted, "{action} at {}: {:?}", report.record.start.target, report.record.end);
        }
        look(&scene, after);
        scene.at_rest().await;
        look(&scene, after);
    }
}

#[tokio::test]
async fn a_suspended_user_leaves_as_disabled() {
    every_action("disabled", "", |okta| okta.suspend(EVE)).await;
}

#[tokio::test]
async fn a_deactivated_user_leaves_as_disabled() {
    every_action("disabled", "", |okta| okta.deactivate(EVE)).await;
}

#[tokio::test]
async fn a_deleted_user_leaves_as_deleted() {
    every_action("deleted", "", |okta| okta.delete_user(EVE)).await;
}

#[tokio::test]
async fn whom_the_filter_no_longer_lets_in_is_out_of_scope() {
    let filter = "[jobs.staff.users]\nfilter = 'profile.userType != \"contractor\"'";
    every_action("out_of_scope", filter, |okta| okta.change_user(EVE, |p| p.user_type = "contractor".to_owned())).await;
}

#[tokio::test]
async fn whoever_leaves_the_gate_group_is_out_of_scope() {
    let gate = "[jobs.staff.users]\nmember_of = [\"staff\"]";
    every_action("out_of_scope", gate, |okta| okta.remove_member("staff", EVE)).await;
}

#[tokio::test]
async fn by_default_a_disabled_user_is_deactivated() {
    let scene = team_at_work().await;
    scene.estate.okta.set_status(EVE, Status::Suspended);
    applied(&scene).await;
    look(&scene, After::Inactive);
    scene.at_rest().await;
}

#[tokio::test]
async fn by_default_a_deleted_user_is_deactivated() {
    let scene = team_at_work().await;
    scene.estate.okta.delete_user(EVE);
    applied(&scene).await;
    look(&scene, After::Inactive);
    scene.at_rest().await;
}

#[tokio::test]
async fn by_default_a_user_out_of_scope_loses_the_groups() {
    let scene = team_under("[jobs.staff.users]\nmember_of = [\"staff\"]").await;
    scene.estate.okta.remove_member("staff", EVE);
    applied(&scene).await;
    look(&scene, After::WithoutGroups);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_leaver_whom_no_group_and_no_listing_shows_is_asked_about() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    for group in ["staff", "sales"] {
        okta.remove_member(group, EVE);
    }
    okta.deactivate(EVE);
    for target in TARGETS {
        // Access that was given by hand: without it there would be nothing to take away at Bitbucket.
        let group = if target == "bitbucket" { "stash-users" } else { "staff" };
        scene.directory(target).join(group, "eve.ito").expect("both are there");
    }
    applied(&scene).await;
    for target in TARGETS {
        assert!(!scene.works(target, "eve.ito"), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn whoever_returns_is_computed_anew() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.suspend(EVE);
    applied(&scene).await;
    okta.remove_member("sales", EVE);
    okta.add_member("engineering", EVE);
    okta.activate(EVE);
    applied(&scene).await;
    everywhere(&scene, "sales", ["dan.ng"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "eve.ito"]);
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn whoever_returns_under_another_id_is_not_handed_the_old_account_by_a_machine() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.delete_user(EVE);
    applied(&scene).await;
    // It may be the same person, or a namesake: the account with all its history goes to nobody unasked.
    okta.add_user(super::team::person("Eve", "Ito"));
    okta.add_member("staff", EVE);
    scene.at_rest().await;
    for target in TARGETS {
        let said = scene.findings(target, FindingKind::Conflict).await;
        assert!(said.len() == 1 && said[0].contains("eve.ito"), "{target}: {said:?}");
        // The finding names the id that has the account, and the command that lets it go.
        let links = scene.links(target).await.users;
        let old = links.iter().find(|l| &*l.name == "eve.ito").expect("is linked still");
        let command = format!("rosterd release {target} --link {}", old.source);
        assert!(said[0].contains(&command), "{said:?}");
        assert!(!scene.works(target, "eve.ito"), "{target}");
        scene.directory(target).delete_user("eve.ito").expect("it was there");
    }
    // Once a person has freed the name, the newcomer gets it.
    scene.run().await;
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
        assert_eq!(scene.groups(target, "eve.ito"), super::team::names(["staff"]), "{target}");
    }
}

#[tokio::test]
async fn a_leaver_whose_account_is_not_shown_stays_linked_until_they_are_back() {
    let scene = team_at_work().await;
    for target in TARGETS {
        scene.directory(target).delete_user("eve.ito").expect("she was there");
    }
    let eve = scene.estate.okta.user_id(EVE);
    let linked = async || {
        let mut linked = Vec::new();
        for target in TARGETS {
            let links = scene.links(target).await.users;
            linked.push(links.into_iter().find(|link| link.source.as_str() == eve).map(|link| link.target.to_string()));
        }
        linked
    };
    let before = linked().await;
    assert!(before.iter().all(Option::is_some), "{before:?}");
    scene.estate.okta.suspend(EVE);
    scene.run().await;
    scene.clock.advance(TimeDelta::days(40));
    scene.at_rest().await;
    assert_eq!(linked().await, before, "no listing proves that there is none");
    scene.estate.okta.activate(EVE);
    scene.run().await;
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}: she is given another");
    }
}

/// The listing says that she is suspended, and the question about her alone gets no answer.
#[tokio::test]
async fn nobody_leaves_about_whom_the_source_gives_no_answer() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.suspend(EVE);
    let about_her = format!("/api/v1/users/{}", okta.user_id(EVE));
    okta.server.faults.add(Rule::always("GET", &about_her, Fault::json(503, "{}")));
    scene.run().await;
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
    okta.server.faults.clear();
    scene.clock.advance(TimeDelta::days(1));
    scene.run().await;
    for target in TARGETS {
        assert!(!scene.works(target, "eve.ito"), "{target}");
    }
}
