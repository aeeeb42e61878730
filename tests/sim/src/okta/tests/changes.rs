//! Changes at run time, and what of them shows where.

use super::*;

#[tokio::test]
async fn a_deactivated_user_stays_a_member_and_loses_the_app() {
    let okta = started(hand()).await;
    let anna = okta.user_id("anna.mueller@example.com");
    let before = ask(&okta, &format!("/api/v1/groups/{}", okta.group_id("staff"))).await.json();
    okta.deactivate(&anna);
    assert!(!walk(&okta, "/api/v1/users").await.0.contains(&anna));
    assert!(okta.members("staff").contains(&anna));
    let members = ask(&okta, &format!("/api/v1/groups/{}/users", okta.group_id("staff"))).await.json();
    let statuses: Vec<_> = members.as_array().unwrap().iter().map(|u| u["status"].clone()).collect();
    assert!(statuses.contains(&"DEPROVISIONED".into()), "{statuses:?}");
    let url = format!("/api/v1/apps/{}/users/{anna}", okta.app_id);
    assert_eq!(code(&ask(&okta, &url).await), (404, "E0000007".into()));
    let after = ask(&okta, &format!("/api/v1/groups/{}", okta.group_id("staff"))).await.json();
    assert_eq!(before["lastMembershipUpdated"], after["lastMembershipUpdated"]);
}

#[tokio::test]
async fn a_direct_assignment_does_not_come_back_and_one_through_a_group_does() {
    let okta = started(hand()).await;
    okta.deactivate("anna.mueller");
    okta.activate("anna.mueller");
    let url = format!("/api/v1/apps/{}/users/{}", okta.app_id, okta.user_id("anna.mueller"));
    assert_eq!(ask(&okta, &url).await.json()["_links"]["group"]["name"], "staff");
    okta.rename_group("staff", "crew");
    assert_eq!(ask(&okta, &url).await.json()["_links"]["group"]["name"], "crew");
    okta.unassign_group("crew");
    assert_eq!(ask(&okta, &url).await.status, 404);
    okta.assign_user("anna.mueller");
    assert_eq!(ask(&okta, &url).await.json()["scope"], "USER");
}

#[tokio::test]
async fn a_suspended_user_keeps_app_and_groups() {
    let okta = started(hand()).await;
    let before = okta.world();
    okta.suspend("bob.stone");
    assert_eq!(okta.world().app_people(), before.app_people());
    assert_eq!(okta.world().groups, before.groups);
}

#[tokio::test]
async fn a_changed_user_is_the_same_in_every_list() {
    let okta = started(hand()).await;
    let anna = okta.user_id("anna.mueller@example.com");
    okta.rename_user(&anna, "anna.weiss@example.com");
    okta.set_email(&anna, Some("anna@weiss.example"));
    let expected = ask(&okta, "/api/v1/users/anna.weiss@example.com").await.json();
    assert_eq!(expected["profile"]["email"], "anna@weiss.example");
    assert_eq!(ask(&okta, "/api/v1/users/anna.mueller@example.com").await.status, 404);
    let members = ask(&okta, &format!("/api/v1/groups/{}/users", okta.group_id("staff"))).await.json();
    assert!(members.as_array().unwrap().contains(&expected));
    let url = format!("/api/v1/apps/{}/users/{anna}?expand=user", okta.app_id);
    let app_user = ask(&okta, &url).await.json();
    assert_eq!(app_user["_embedded"]["user"], expected);
    assert_eq!(app_user["credentials"]["userName"], "anna.weiss@example.com");
}

#[tokio::test]
async fn a_deleted_user_or_group_is_gone_everywhere() {
    let okta = started(hand()).await;
    let (anna, staff) = (okta.user_id("anna.mueller"), okta.group_id("staff"));
    okta.delete_user(&anna);
    assert_eq!(code(&ask(&okta, &format!("/api/v1/users/{anna}")).await), (404, "E0000007".into()));
    assert_eq!(okta.members("staff").len(), 1);
    assert_eq!(okta.members("Everyone").len(), 2);
    okta.delete_group("staff");
    assert_eq!(code(&ask(&okta, &format!("/api/v1/groups/{staff}/users")).await), (404, "E0000007".into()));
    let bob = okta.user_id("bob.stone");
    assert_eq!(walk(&okta, &format!("/api/v1/users/{bob}/groups")).await.0, [okta.group_id("Everyone")]);
    assert_eq!(walk(&okta, &format!("/api/v1/apps/{}/groups", okta.app_id)).await.0, [""; 0]);
}

#[tokio::test]
async fn a_new_user_and_a_new_group_get_ids_and_show_at_once() {
    let okta = started(hand()).await;
    let mut person = okta.world().people[0].clone();
    person.id = String::new();
    person.login = "dora@example.com".into();
    let (dora, group) = (okta.add_user(person), okta.add_group("R&D / Core", GroupKind::Okta));
    okta.add_member("R&D / Core", "dora");
    okta.add_member("R&D / Core", "dora");
    assert_eq!((dora.len(), group.len()), (20, 20));
    assert_eq!(walk(&okta, &format!("/api/v1/groups/{group}/users")).await.0, [dora.as_str()]);
    assert!(walk(&okta, "/api/v1/users").await.0.contains(&dora));
    okta.remove_member(&group, &dora);
    assert!(okta.members(&group).is_empty());
    okta.assign_group(&group);
    assert_eq!(okta.world().groups.iter().filter(|g| g.assigned).count(), 2);
}

#[tokio::test]
async fn a_lagging_member_list_catches_up_after_so_many_readings() {
    let okta = started(hand()).await;
    okta.lag("staff", 2);
    okta.remove_member("staff", "bob.stone");
    let members = format!("/api/v1/groups/{}/users", okta.group_id("staff"));
    let own = format!("/api/v1/users/{}/groups", okta.user_id("bob.stone"));
    assert_eq!(walk(&okta, &own).await.0.len(), 1, "a user's own groups are never stale");
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(walk(&okta, &members).await.0.len());
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn a_world_put_in_comes_out_again() {
    let world = World::seeded(9, 100, 12, 400);
    let okta = started(world.clone()).await;
    let out = okta.world();
    assert_eq!((out.people.len(), out.groups.len(), out.memberships()), (100, 12, 400));
    for group in &world.groups {
        let named = |w: &World, g: &crate::world::Group| -> Vec<String> {
            sorted(g.members.iter().map(|at| w.people[*at].id.clone()).collect())
        };
        assert_eq!(named(&out, out.group(&group.name).unwrap()), named(&world, group));
    }
}
