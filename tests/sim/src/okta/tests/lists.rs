//! Paging, order, and what each list leaves out.

use super::*;

#[tokio::test]
async fn users_come_by_status_class_then_id_and_without_the_deactivated() {
    let world = World::seeded(1, 450, 5, 900);
    let okta = started(world.clone()).await;
    let (ids, pages) = walk(&okta, "/api/v1/users").await;
    let mut expected: Vec<_> = world.people.iter().filter(|p| p.status != Status::Deprovisioned).collect();
    expected.sort_by_key(|p| (p.status, &p.id));
    assert_eq!(ids, expected.iter().map(|p| p.id.clone()).collect::<Vec<_>>());
    assert_eq!(pages, 3, "the limit is 200 unless said");
    let (gone, _) = walk(&okta, "/api/v1/users?filter=status+eq+%22DEPROVISIONED%22&limit=999").await;
    let expected = world.people.iter().filter(|p| p.status == Status::Deprovisioned).map(|p| p.id.clone());
    assert_eq!(gone, sorted(expected.collect()));
}

#[tokio::test]
async fn members_of_every_status_come_by_id_in_pages_of_a_thousand() {
    let world = World::seeded(2, 1_200, 1, 1_200);
    let okta = started(world.clone()).await;
    let id = &world.groups[0].id;
    let (ids, pages) = walk(&okta, &format!("/api/v1/groups/{id}/users")).await;
    assert_eq!((ids, pages), (sorted(world.people.iter().map(|p| p.id.clone()).collect()), 2));
    let (_, pages) = walk(&okta, &format!("/api/v1/groups/{id}/users?limit=200")).await;
    assert_eq!(pages, 6);
}

#[tokio::test]
async fn groups_come_by_name_and_by_type() {
    let world = World::seeded(3, 20, 60, 100);
    let okta = started(world.clone()).await;
    let (ids, _) = walk(&okta, "/api/v1/groups?limit=7").await;
    let mut expected: Vec<_> = world.groups.iter().map(|g| (g.name.to_lowercase(), g.id.clone())).collect();
    expected.push(("everyone".into(), okta.group_id("Everyone")));
    expected.sort();
    assert_eq!(ids, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    let filter = "filter=type%20eq%20%22APP_GROUP%22%20or%20type%20eq%20%22BUILT_IN%22";
    let (ids, _) = walk(&okta, &format!("/api/v1/groups?{filter}")).await;
    assert_eq!(ids.len(), 1 + world.groups.iter().filter(|g| g.kind == GroupKind::App).count());
    assert_eq!(code(&ask(&okta, "/api/v1/groups?filter=name+eq+%22x%22").await), (400, "E0000031".into()));
}

#[tokio::test]
async fn stats_tell_the_size_of_a_group() {
    let okta = started(hand()).await;
    let groups = ask(&okta, "/api/v1/groups?expand=stats").await.json();
    let sizes: Vec<_> = groups.as_array().unwrap().iter().map(|g| g["_embedded"]["stats"]["usersCount"].clone()).collect();
    assert_eq!(sizes, [3, 2], "Everyone, then staff");
}

#[tokio::test]
async fn links_are_two_lines_of_which_the_first_is_self() {
    let okta = started(hand()).await;
    let got = ask(&okta, "/api/v1/users?limit=2&filter=status+eq+%22ACTIVE%22").await;
    let lines = got.lines("link");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(&format!("<{}/api/v1/users?limit=2&filter=", okta.url)), "{}", lines[0]);
    assert!(lines[0].ends_with("rel=\"self\""));
    assert!(lines[1].contains("filter=status+eq+%22ACTIVE%22") && lines[1].ends_with("rel=\"next\""), "{}", lines[1]);
    okta.quirks(|q| q.joined_links = true);
    let got = ask(&okta, "/api/v1/users?limit=2").await;
    assert_eq!(got.lines("link").len(), 1);
    assert!(next(&got).is_some());
    okta.quirks(|q| q.link_base = Some("https://elsewhere.example".into()));
    assert!(next(&ask(&okta, "/api/v1/users?limit=2").await).unwrap().starts_with("https://elsewhere.example/api"));
}

#[tokio::test]
async fn a_full_last_page_is_followed_by_an_empty_one_only_where_that_is_switched_on() {
    let okta = started(hand()).await;
    assert_eq!(walk(&okta, "/api/v1/users?limit=3").await.1, 1);
    okta.quirks(|q| q.empty_page_after_full = true);
    let (ids, pages) = walk(&okta, "/api/v1/users?limit=3").await;
    assert_eq!((ids.len(), pages), (3, 2));
}

#[tokio::test]
async fn a_cursor_repeats_and_a_page_is_capped_where_that_is_switched_on() {
    let okta = started(hand()).await;
    okta.quirks(|q| (q.repeated_cursor, q.page_cap) = (true, Some(1)));
    let second = next(&ask(&okta, "/api/v1/users").await).unwrap();
    let got = get(&second, SSWS).await;
    assert_eq!(got.json().as_array().unwrap().len(), 1);
    assert_eq!(next(&got), Some(second));
}

#[tokio::test]
async fn a_cursor_that_is_none_or_of_another_list_is_refused() {
    let okta = started(hand()).await;
    let page = next(&ask(&okta, "/api/v1/users?limit=1").await).unwrap();
    let cursor = page.split("after=").nth(1).unwrap().split('&').next().unwrap();
    for target in ["/api/v1/users?after=nonsense".to_owned(), format!("/api/v1/groups?after={cursor}")] {
        assert_eq!(code(&ask(&okta, &target).await), (400, "E0000029".into()), "{target}");
    }
    assert_eq!(code(&ask(&okta, "/api/v1/users?limit=0").await), (400, "E0000001".into()));
}

#[tokio::test]
async fn a_user_whose_status_changes_in_the_middle_of_a_scan_is_missed() {
    let okta = started(hand()).await;
    let first = ask(&okta, "/api/v1/users?limit=2").await;
    let last = okta.world().people[2].id.clone();
    okta.set_status(&last, Status::Staged);
    let rest = get(&next(&first).unwrap(), SSWS).await;
    assert_eq!(rest.json(), serde_json::json!([]));
    assert_eq!(walk(&okta, "/api/v1/users").await.0[0], last);
}

#[tokio::test]
async fn a_user_is_found_by_id_by_login_and_by_short_name() {
    let mut world = hand();
    world.people[1].login = "bob+ext@example.com".into();
    let okta = started(world).await;
    let id = okta.user_id("bob+ext@example.com");
    for key in [id.as_str(), "bob%2Bext@example.com", "BOB%2BEXT%40example.com", "bob+ext"] {
        assert_eq!(ask(&okta, &format!("/api/v1/users/{key}")).await.json()["id"], id, "{key}");
    }
    assert_eq!(ask(&okta, "/api/v1/users/me").await.json()["profile"]["firstName"], "Anna");
    assert_eq!(code(&ask(&okta, "/api/v1/users/nobody").await), (404, "E0000007".into()));
    assert_eq!(code(&ask(&okta, "/api/v1/nothing").await), (404, "E0000008".into()));
}

#[tokio::test]
async fn unset_attributes_are_left_out_except_for_two() {
    let mut world = hand();
    world.people[0].email = None;
    let okta = started(world).await;
    let profile = ask(&okta, "/api/v1/users/anna.mueller@example.com").await.json()["profile"].clone();
    let profile = profile.as_object().unwrap();
    assert!(!profile.contains_key("email") && !profile.contains_key("title"));
    assert!(profile["mobilePhone"].is_null() && profile.contains_key("secondEmail"));
    okta.set_attribute("anna.mueller@example.com", "floor", Some(3.into()));
    assert_eq!(ask(&okta, "/api/v1/users/anna.mueller").await.json()["profile"]["floor"], 3);
}

#[tokio::test]
async fn search_knows_every_attribute_and_comes_by_id_with_the_deactivated() {
    let world = World::seeded(5, 300, 2, 10);
    let okta = started(world.clone()).await;
    let (ids, _) = walk(&okta, "/api/v1/users?search=profile.userType+eq+%22contractor%22&limit=9").await;
    let expected = world.people.iter().filter(|p| p.user_type == "contractor").map(|p| p.id.clone());
    assert_eq!(ids, sorted(expected.collect()));
    assert_eq!(code(&ask(&okta, "/api/v1/users?search=status+ne+%22ACTIVE%22").await), (400, "E0000031".into()));
}

#[tokio::test]
async fn app_users_are_the_direct_ones_and_those_through_groups() {
    let world = World::seeded(6, 400, 10, 800);
    let okta = started(world.clone()).await;
    let app = &okta.app_id;
    let (ids, pages) = walk(&okta, &format!("/api/v1/apps/{app}/users")).await;
    let expected: Vec<_> = world.app_people().into_iter().map(|at| world.people[at].id.clone()).collect();
    assert_eq!((sorted(ids), pages), (sorted(expected.clone()), expected.len().div_ceil(50)));
    let got = ask(&okta, &format!("/api/v1/apps/{app}/users?limit=500&expand=user")).await.json();
    for row in got.as_array().unwrap() {
        assert_eq!(row["_embedded"]["user"]["id"], row["id"]);
        assert_eq!(row["scope"] == "GROUP", row["_links"].get("group").is_some());
    }
    let (groups, _) = walk(&okta, &format!("/api/v1/apps/{app}/groups?limit=1&expand=group")).await;
    let expected: Vec<_> = world.groups.iter().filter(|g| g.assigned).map(|g| g.id.clone()).collect();
    assert_eq!(groups, expected);
    assert_eq!(code(&ask(&okta, "/api/v1/apps/0oaX/users").await), (404, "E0000007".into()));
}

#[tokio::test]
async fn the_next_link_loses_expand_where_that_is_switched_on() {
    let okta = started(hand()).await;
    let target = format!("/api/v1/apps/{}/users?expand=user&limit=1", okta.app_id);
    assert!(next(&ask(&okta, &target).await).unwrap().contains("expand=user"));
    okta.quirks(|q| q.expand_lost = true);
    assert!(!next(&ask(&okta, &target).await).unwrap().contains("expand"));
}
