//! Movers: other groups, another address, another name to show.

use super::team::{applied, everywhere, team_at_work, team_under};
use crate::support::TARGETS;

const EVE: &str = "eve.ito@example.com";

#[tokio::test]
async fn a_mover_leaves_one_group_and_enters_another() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.remove_member("sales", EVE);
    okta.add_member("engineering", EVE);
    applied(&scene).await;
    everywhere(&scene, "sales", ["dan.ng"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "eve.ito"]);
    for target in TARGETS {
        let ledger = scene.ledger(target).await;
        let key = scene.key(target, "eve.ito").expect("she is there").as_str().into();
        assert!(ledger.owns(&"engineering".into(), &key) && !ledger.owns(&"sales".into(), &key), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn another_address_is_written_also_where_it_cannot_be_read() {
    let scene = team_at_work().await;
    scene.estate.okta.set_email(EVE, Some("eve@new.example.com"));
    applied(&scene).await;
    for target in TARGETS {
        assert_eq!(scene.directory(target).user("eve.ito").expect("she is there").email, "eve@new.example.com", "{target}");
    }
    assert_eq!(scene.writes().len(), 3, "{:?}", scene.writes());
    scene.at_rest().await;
}

#[tokio::test]
async fn another_address_is_written_to_a_jira_that_hides_addresses() {
    use rosterd_sim::estate::Options;
    use rosterd_sim::jira::{self, EmailVisibility};
    let jira = jira::Options { email: EmailVisibility::Hidden, ..jira::Options::default() };
    let options = Options { jira, ..Options::default() };
    let setting = crate::support::Setting { options, ..Default::default() };
    let scene = super::team::at_work(super::team::team(), setting).await;
    scene.estate.okta.set_email(EVE, Some("eve@new.example.com"));
    applied(&scene).await;
    assert_eq!(scene.directory("jira").user("eve.ito").expect("she is there").email, "eve@new.example.com");
    scene.at_rest().await;
}

#[tokio::test]
async fn another_name_to_show_is_written_and_nothing_else() {
    let scene = team_at_work().await;
    scene.estate.okta.change_user(EVE, |p| p.first = "Evelyn".to_owned());
    applied(&scene).await;
    for target in TARGETS {
        let directory = scene.directory(target);
        let eve = directory.user("eve.ito").expect("she is there");
        assert_eq!((eve.display_name.as_str(), eve.email.as_str()), ("Evelyn Ito", EVE), "{target}");
    }
    assert_eq!(scene.writes().len(), 3, "{:?}", scene.writes());
    scene.at_rest().await;
}

#[tokio::test]
async fn an_address_that_the_source_lost_is_left_as_it_is() {
    let scene = team_at_work().await;
    scene.estate.okta.set_email(EVE, None);
    scene.at_rest().await;
    for target in TARGETS {
        assert_eq!(scene.directory(target).user("eve.ito").expect("she is there").email, EVE, "{target}");
    }
}

#[tokio::test]
async fn a_change_of_case_alone_is_no_change() {
    let scene = team_under("[jobs.staff.users]\nmap = { username = \"login | before('@')\" }").await;
    scene.estate.okta.rename_user(EVE, "Eve.ITO@example.com");
    scene.at_rest().await;
    for target in TARGETS {
        assert_eq!(scene.directory(target).user("eve.ito").expect("she is there").name(), "eve.ito", "{target}");
    }
}

#[tokio::test]
async fn what_was_added_by_hand_stays_and_what_was_removed_by_hand_returns() {
    let scene = team_at_work().await;
    for target in TARGETS {
        let mut directory = scene.directory(target);
        assert_eq!(directory.join("engineering", "eve.ito"), Ok(true), "{target}");
        assert_eq!(directory.leave("sales", "eve.ito"), Ok(true), "{target}");
        directory.add_user("guest", "guest@example.com", "Guest").expect("a free name");
        assert_eq!(directory.join("sales", "guest"), Ok(true), "{target}");
    }
    applied(&scene).await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "eve.ito"]);
    everywhere(&scene, "sales", ["dan.ng", "eve.ito", "guest"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_membership_added_by_hand_is_ours_once_the_source_agreed_with_it() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    for target in TARGETS {
        assert_eq!(scene.directory(target).join("engineering", "eve.ito"), Ok(true), "{target}");
    }
    okta.add_member("engineering", EVE);
    scene.at_rest().await;
    okta.remove_member("engineering", EVE);
    applied(&scene).await;
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    scene.at_rest().await;
}
