//! Adoption: an account that was there before becomes the person's by its user name, and is otherwise left in peace.

use rosterd::contract::journal::Ended;
use rosterd_sim::world::World;

use super::team::{names, team};
use crate::support::{Scene, TARGETS, done, ended};

#[tokio::test]
async fn an_account_that_is_as_it_should_be_becomes_a_link_without_a_write() {
    let mut world = World::default();
    let ada = world.add_person("Ada", "Lovelace");
    world.add_group("staff", &[ada]);
    // One membership that stays: a source that suddenly shows none at all is not believed.
    let own = world.add_person("Rosterd", "Robot");
    world.people[own].login = "rosterd@example.com".to_owned();
    world.people[own].email = Some("rosterd@example.com".to_owned());
    (world.people[own].first, world.people[own].last) = ("Directory".to_owned(), "Sync".to_owned());
    world.add_group("robots", &[own]);
    let scene = Scene::plain(world).await;
    scene.open_doors("staff");
    for target in TARGETS {
        let mut directory = scene.directory(target);
        directory.add_user("Ada.Lovelace", "ada.lovelace@example.com", "Ada Lovelace").expect("a free name");
        directory.add_group("by-hand").expect("a free name");
        directory.add_group("robots").expect("a free name");
        directory.join("robots", "rosterd").expect("both are there");
        for group in ["staff", "by-hand"] {
            directory.join(group, "Ada.Lovelace").expect("both are there");
        }
    }
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((done(end, "link_user"), end.done.len()), (2, 1), "{end:?}");
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    scene.at_rest().await;
    for target in TARGETS {
        let key = scene.key(target, "ada.lovelace").expect("she is there");
        let links = scene.links(target).await;
        assert!(links.users.iter().any(|l| l.target.as_str() == key), "{target}");
        let ledger = scene.ledger(target).await;
        assert!(ledger.owns(&"staff".into(), &key.as_str().into()), "what agrees is ours, at {target}");
        assert_eq!(ledger.len(), 2, "what was there by hand is not, at {target}");
    }
    // What became ours goes with the person, what was there by hand stays.
    scene.estate.okta.remove_member("staff", "ada.lovelace@example.com");
    scene.run().await;
    for target in TARGETS {
        assert_eq!(scene.directory(target).group_names("ada.lovelace"), names(["by-hand"]), "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn an_adopted_account_gets_what_differs_and_keeps_its_key() {
    let scene = Scene::plain(team()).await;
    scene.open_doors("staff");
    for target in TARGETS {
        let mut directory = scene.directory(target);
        directory.add_user("EVE.ITO", "old@example.com", "E. Ito").expect("a free name");
    }
    let before: Vec<_> = TARGETS.iter().map(|t| scene.key(t, "eve.ito")).collect();
    scene.run().await;
    scene.at_rest().await;
    for (target, key) in TARGETS.iter().zip(before) {
        let directory = scene.directory(target);
        let eve = directory.user("eve.ito").expect("she is there");
        assert_eq!((Some(&eve.key), eve.display_name.as_str(), eve.name()), (key.as_ref(), "Eve Ito", "EVE.ITO"), "{target}");
        // Where no address can be read there is nothing to compare on adoption.
        assert_eq!(eve.email, if *target == "confluence" { "old@example.com" } else { "eve.ito@example.com" }, "{target}");
    }
}

#[tokio::test]
async fn an_inactive_account_is_adopted_and_made_active() {
    let scene = Scene::plain(team()).await;
    scene.open_doors("staff");
    for target in ["jira", "confluence"] {
        let mut directory = scene.directory(target);
        directory.add_user("eve.ito", "eve.ito@example.com", "Eve Ito").expect("a free name");
        directory.set_active("eve.ito", false).expect("it is there");
    }
    scene.run().await;
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
        assert_eq!(scene.directory(target).user_count(), 7, "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn an_account_of_the_same_display_name_is_somebody_else() {
    let scene = Scene::plain(team()).await;
    scene.open_doors("staff");
    for target in TARGETS {
        scene.directory(target).add_user("eito", "eve.ito@example.com", "Eve Ito").expect("a free name");
    }
    scene.run().await;
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.directory(target).group_names("eito").is_empty(), "{target}");
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
}

#[tokio::test]
async fn an_account_deleted_by_hand_is_made_again_and_said_so() {
    let scene = super::team::team_at_work().await;
    for target in TARGETS {
        scene.directory(target).delete_user("eve.ito").expect("she was there");
    }
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
        let said = report.record.end.as_ref().expect("the run has ended").messages.join("\n");
        assert!(said.contains("eve.ito") && said.contains("no longer there"), "{said}");
    }
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
        assert_eq!(scene.groups(target, "eve.ito"), names(["sales", "staff"]), "{target}");
    }
}

#[tokio::test]
async fn a_group_deleted_by_hand_is_made_again() {
    let scene = super::team::team_at_work().await;
    for target in TARGETS {
        scene.directory(target).delete_group("sales").expect("it was there");
    }
    scene.run().await;
    super::team::everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    scene.at_rest().await;
}
