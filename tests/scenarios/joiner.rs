//! Joiners: who is new at the source is created everywhere, with everything, once.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::world::{Person, Status};

use super::team::{applied, everywhere, names, person, team_at_work, team_under};
use crate::support::{TARGETS, done, ended};

#[tokio::test]
async fn a_joiner_is_created_and_put_into_the_groups_of_the_source() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.add_user(person("Gina", "Park"));
    for group in ["staff", "sales"] {
        okta.add_member(group, "gina.park@example.com");
    }
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((done(end, "create_user"), done(end, "add_member")), (1, 2), "{end:?}");
    }
    everywhere(&scene, "sales", ["dan.ng", "eve.ito", "gina.park"]);
    for target in TARGETS {
        let directory = scene.directory(target);
        let gina = directory.user("gina.park").expect("she was created");
        assert_eq!((gina.display_name.as_str(), gina.email.as_str()), ("Gina Park", "gina.park@example.com"), "{target}");
    }
    for target in TARGETS {
        assert_eq!(scene.groups(target, "gina.park"), names(["sales", "staff"]), "no group that nobody asked for, at {target}");
        assert!(scene.works(target, "gina.park"), "{target}");
        let links = scene.links(target).await;
        assert!(links.users.iter().any(|l| &*l.name == "gina.park"), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn a_joiner_without_groups_gets_an_account_and_nothing_else() {
    let scene = team_at_work().await;
    scene.estate.okta.add_user(person("Gina", "Park"));
    applied(&scene).await;
    for target in TARGETS {
        assert!(scene.directory(target).user("gina.park").is_some(), "{target}");
        assert!(scene.groups(target, "gina.park").is_empty(), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn somebody_not_yet_activated_waits_and_then_joins() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.add_user(Person { status: Status::Staged, ..person("Gina", "Park") });
    okta.add_member("staff", "gina.park@example.com");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{:?}", report.record.end);
    }
    okta.activate("gina.park@example.com");
    applied(&scene).await;
    for target in TARGETS {
        assert!(scene.works(target, "gina.park"), "{target}");
    }
    scene.at_rest().await;
}

/// The account is there, the call for the group failed: the next run must know that the account is still to get it.
#[tokio::test]
async fn a_default_group_for_new_users_is_not_forgotten_when_the_first_try_fails() {
    let scene = team_under("[jobs.staff.groups]\ndefault = { new_users = [\"welcome\"] }").await;
    let all = ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "eve.ito", "finn.moss"];
    everywhere(&scene, "welcome", all);
    scene.estate.okta.add_user(person("Gina", "Park"));
    let faults = &scene.estate.jira.running.faults;
    faults.add(Rule::always(
        "POST",
        "/rest/api/2/group/user",
        Fault::json(400, r#"{"errorMessages": ["not now"], "errors": {}}"#),
    ));
    scene.run().await;
    assert_eq!(scene.groups("jira", "gina.park"), names([]), "the account alone");
    assert!(scene.links("jira").await.users.iter().any(|link| link.is_new), "and it is known to be new");

    faults.clear();
    scene.clock.advance(TimeDelta::days(2));
    scene.run().await;
    for target in TARGETS {
        assert_eq!(scene.groups(target, "gina.park"), names(["welcome"]), "{target}");
        // From then on whoever takes her out means it.
        assert_eq!(scene.directory(target).leave("welcome", "gina.park"), Ok(true), "{target}");
    }
    scene.run().await;
    everywhere(&scene, "welcome", all);
    for target in TARGETS {
        assert!(!scene.links(target).await.users.iter().any(|link| link.is_new), "{target}");
    }
    scene.at_rest().await;
}

/// The account was made, and neither the answer nor the question what came of it got through: the next run finds it by name.
#[tokio::test]
async fn an_account_that_may_have_been_made_is_as_new_as_one_that_was() {
    let scene = team_under("[jobs.staff.groups]\ndefault = { new_users = [\"welcome\"] }").await;
    scene.estate.okta.add_user(person("Gina", "Park"));
    let faults = &scene.estate.jira.running.faults;
    faults.add(Rule::always("POST", "/rest/api/2/user", Fault::ResetAfter));
    faults.add(Rule::always("GET", "gina.park", Fault::json(503, "{}")).after(1));
    scene.run().await;
    assert!(scene.key("jira", "gina.park").is_some() && scene.groups("jira", "gina.park").is_empty());
    assert!(!scene.links("jira").await.users.iter().any(|link| &*link.name == "gina.park"), "nobody knows of her");

    faults.clear();
    scene.clock.advance(TimeDelta::days(2));
    scene.run().await;
    scene.run().await;
    assert_eq!(scene.groups("jira", "gina.park"), names(["welcome"]));
    scene.at_rest().await;
}

#[tokio::test]
async fn a_default_group_for_new_users_is_given_once_and_one_for_all_is_kept() {
    let groups = "[jobs.staff.groups]\ndefault = { new_users = [\"welcome\"], all_users = [\"everybody\"] }";
    let scene = team_under(groups).await;
    let all = ["ada.lovelace", "bob.stone", "cleo.hart", "dan.ng", "eve.ito", "finn.moss"];
    everywhere(&scene, "welcome", all);
    everywhere(&scene, "everybody", all);
    for target in TARGETS {
        for group in ["welcome", "everybody"] {
            assert_eq!(scene.directory(target).leave(group, "dan.ng"), Ok(true), "{target}");
        }
    }
    applied(&scene).await;
    everywhere(&scene, "everybody", all);
    everywhere(&scene, "welcome", ["ada.lovelace", "bob.stone", "cleo.hart", "eve.ito", "finn.moss"]);
    scene.at_rest().await;
}
