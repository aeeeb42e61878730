//! Reading users and groups: whole or not at all, and by the fewest requests.

use super::*;

#[tokio::test]
async fn a_whole_reading_takes_as_many_requests_as_the_formula_says() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let probed = 6;
    rig.target.probe().await.unwrap();
    rig.lists("admin/users", None, (0..2500).map(user).collect(), 1000).await;
    let mut groups: Vec<Value> = (0..1001).map(|n| group(&format!("other{n}"))).collect();
    groups.extend([group("Eng"), group("empty"), group("staff"), group("admins")]);
    rig.lists("admin/groups", None, groups, 1000).await;
    rig.lists("admin/groups/more-members", Some("Eng"), (0..1001).map(user).collect(), 1000).await;
    rig.lists("admin/groups/more-members", Some("empty"), Vec::new(), 1000).await;
    rig.lists("admin/groups/more-members", Some("staff"), (0..700).map(user).collect(), 1000).await;
    rig.lists("admin/groups/more-members", Some("admins"), vec![user(2400)], 1000).await;
    let users = (0..2400).map(|n| wants(Some(&n.to_string()), &format!("u{n}"))).chain([wants(None, "U2499")]).collect();
    let wanted = Wanted { users, groups: vec!["eng".into(), "empty".into(), "new".into()], ..Wanted::default() };
    let roster = rig.target.fetch(&wanted).await.unwrap();
    assert_eq!(rig.requests() - probed, 3 + 2 + (2 + 1) + (1 + 1));
    // u2400 is in a group that gives access, but nobody asked for it.
    assert_eq!((roster.users.len(), roster.groups.len(), roster.memberships()), (2401, 2, 1001));
    let active = roster.users.iter().filter(|user| user.active).count();
    assert_eq!(active, 700, "who is in no group that gives access is inactive");
}

#[tokio::test]
async fn a_server_that_silently_gives_less_than_asked_for_is_read_whole() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.lists("admin/users", None, (0..95).map(user).collect(), 30).await;
    rig.lists("admin/groups", None, vec![group("a"), group("b"), group("c")], 1).await;
    rig.lists("admin/groups/more-members", Some("c"), (0..10).map(user).collect(), 3).await;
    let users = (0..95).map(|n| wants(Some(&n.to_string()), &format!("u{n}"))).collect();
    let roster = rig.target.fetch(&Wanted { users, groups: vec!["c".into()], ..Wanted::default() }).await.unwrap();
    assert_eq!((roster.users.len(), roster.memberships()), (95, 10));
}

#[tokio::test]
async fn users_who_came_as_members_are_not_asked_for_again() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.target.probe().await.unwrap();
    rig.lists("admin/groups", None, vec![group("staff")], 1000).await;
    rig.lists("admin/groups/more-members", Some("staff"), (0..50).map(user).collect(), 1000).await;
    let users = (0..50).map(|n| wants(Some(&n.to_string()), &format!("u{n}"))).collect();
    let roster = rig.target.fetch(&Wanted { users, ..Wanted::default() }).await.unwrap();
    assert_eq!((roster.users.len(), roster.groups.len(), rig.requests()), (50, 0, 6 + 1 + 1));
}

#[tokio::test]
async fn where_the_wanted_users_suffice_a_few_of_them_are_read_with_their_groups() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.target.probe().await.unwrap();
    rig.lists("admin/users", None, (0..30).map(user).collect(), 1000).await;
    rig.lists("admin/groups", None, (0..100).map(|n| group(&format!("g{n}"))).collect(), 1000).await;
    rig.lists("admin/users/more-members", Some("u7"), vec![group("G7"), group("staff")], 1000).await;
    let wanted = Wanted {
        users: vec![wants(Some("7"), "u7")],
        groups: (0..100).map(|n| format!("g{n}").into()).collect(),
        members_of_wanted_users_suffice: true,
    };
    let roster = rig.target.fetch(&wanted).await.unwrap();
    assert_eq!((roster.users.len(), roster.users[0].active, roster.groups.len(), roster.memberships()), (1, true, 100, 1));
    assert_eq!(rig.requests(), 6 + 1 + 1 + 1);
}

#[tokio::test]
async fn a_listing_that_contradicts_itself_is_no_listing() {
    let values = json!([group("a")]);
    let pages = [
        (json!({ "values": values, "isLastPage": false, "start": 0 }), Fault::Incomplete),
        (json!({ "values": values, "isLastPage": true, "nextPageStart": 5 }), Fault::Incomplete),
        (json!({ "values": values, "isLastPage": false, "nextPageStart": 0 }), Fault::Incomplete),
        (json!({ "values": values, "isLastPage": true, "size": 2 }), Fault::Incomplete),
        (json!({ "values": values, "isLastPage": true, "start": 7 }), Fault::Incomplete),
        // The same next page again and again.
        (json!({ "values": values, "isLastPage": false, "nextPageStart": 5 }), Fault::Incomplete),
        (json!({ "values": values }), Fault::Malformed),
        (json!({ "errors": [] }), Fault::Malformed),
    ];
    for (page, fault) in pages {
        let mut rig = Rig::ordinary("9.4.0").await;
        rig.answers("GET", "admin/groups", 200, page.clone()).await;
        let wanted = Wanted { groups: vec!["a".into()], ..Wanted::default() };
        assert_eq!(rig.target.fetch(&wanted).await.unwrap_err().fault, fault, "{page}");
    }
}

#[tokio::test]
async fn accounts_of_the_application_are_nobody_and_silence_about_a_field_is_no_no() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let service = json!({ "name": "bot", "id": 9, "type": "SERVICE" });
    let terse = json!({ "name": "Terse", "id": 8 });
    let fixed = json!({ "name": "fixed", "id": 7, "mutableDetails": false, "active": false });
    rig.lists("admin/users", None, vec![service, terse, fixed], 1000).await;
    rig.lists("admin/groups", None, vec![group("staff")], 1000).await;
    rig.lists("admin/groups/more-members", Some("staff"), vec![json!({ "name": "Terse", "id": 8 })], 1000).await;
    let users = ["bot", "terse", "fixed"].map(|name| wants(None, name)).to_vec();
    let roster = rig.target.fetch(&Wanted { users, ..Wanted::default() }).await.unwrap();
    let told: Vec<_> = roster.users.iter().map(|user| (&*user.name, user.active, user.writable)).collect();
    assert_eq!(told, [("fixed", false, false), ("Terse", true, true)]);
}

#[tokio::test]
async fn absence_is_definite_only_after_a_whole_listing_from_bitbucket_itself() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let users = rig.lists("admin/users", None, (0..5).map(user).collect(), 2).await;
    rig.lists("admin/users/more-members", Some("u4"), vec![group("staff")], 1000).await;
    // "u" stands in every name; only the exact one counts, and it may be on the last page.
    assert_eq!(rig.target.fetch_user(&wants(None, "u")).await.unwrap(), None);
    let (found, groups) = rig.target.fetch_user(&wants(None, "U4")).await.unwrap().unwrap();
    assert_eq!((found.key.as_str(), found.active, groups), ("4", true, vec!["staff".to_owned()]));
    // Somebody else has the name by now, and the linked account another one.
    users.lock().unwrap()[4]["id"] = json!(77);
    users.lock().unwrap()[0]["id"] = json!(4);
    rig.lists("admin/users/more-members", Some("u0"), Vec::new(), 1000).await;
    let (found, _) = rig.target.fetch_user(&wants(Some("4"), "u4")).await.unwrap().unwrap();
    assert_eq!((&*found.name, found.active), ("u0", false));
    assert_eq!(rig.target.fetch_user(&wants(Some("1234"), "u1234")).await.unwrap(), None);
    rig.answers("GET", "admin/users", 404, Value::Null).await;
    assert_eq!(rig.target.fetch_user(&wants(None, "u4")).await.unwrap_err().fault, Fault::Malformed);
}
