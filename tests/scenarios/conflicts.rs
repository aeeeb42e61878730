//! Two people who map to one user name: the machine does not choose. Both are set aside and named, everybody else goes on.

use rosterd::model::plan::FindingKind;
use rosterd_sim::world::Person;

use super::team::{everywhere, person, team_at_work};
use crate::support::TARGETS;

const TWIN: &str = "eve.ito@partner.example.com";

#[tokio::test]
async fn both_are_set_aside_and_both_heal() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    let eve = okta.user_id("eve.ito@example.com");
    let twin = okta.add_user(Person { login: TWIN.to_owned(), email: Some(TWIN.to_owned()), ..person("Eve", "Ito") });
    okta.add_member("engineering", TWIN);
    okta.remove_member("sales", "eve.ito@example.com");
    okta.add_user(person("Gina", "Park"));
    okta.add_member("sales", "gina.park@example.com");
    scene.run().await;
    // Nothing happens to the account that both claim, although its person has left a group meanwhile; others go on.
    everywhere(&scene, "sales", ["dan.ng", "eve.ito", "gina.park"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    for target in TARGETS {
        let said = scene.findings(target, FindingKind::Conflict).await.join("\n");
        assert!(said.contains(&eve) && said.contains(&twin), "{target}: {said}");
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
    scene.at_rest().await;

    okta.rename_user(TWIN, "eve.twin@partner.example.com");
    scene.run().await;
    everywhere(&scene, "sales", ["dan.ng", "gina.park"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "eve.twin"]);
    for target in TARGETS {
        assert_eq!(scene.findings(target, FindingKind::Conflict).await, Vec::<String>::new(), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn a_user_whose_expression_fails_is_set_aside_alone() {
    let scene =
        super::team::team_under("[jobs.staff.users]\nmap = { username = \"profile.badge or login | before('@')\" }").await;
    let okta = &scene.estate.okta;
    okta.set_attribute("eve.ito@example.com", "badge", Some(serde_json::json!({ "no": "text" })));
    okta.remove_member("sales", "eve.ito@example.com");
    okta.add_user(person("Gina", "Park"));
    okta.add_member("sales", "gina.park@example.com");
    scene.run().await;
    everywhere(&scene, "sales", ["dan.ng", "eve.ito", "gina.park"]);
    let id = okta.user_id("eve.ito@example.com");
    for target in TARGETS {
        let said = scene.findings(target, FindingKind::Unmappable).await.join("\n");
        assert!(said.contains(&id) && said.contains("users.map.username"), "{target}: {said}");
    }
    scene.at_rest().await;
}
