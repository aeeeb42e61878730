//! Reading users and groups: whole or not at all, and by the fewest requests.

use super::*;

#[tokio::test]
async fn a_whole_reading_takes_as_many_requests_as_the_formula_says() {
    let mut rig = Rig::new().await;
    rig.lists("user/list", (0..250).map(person).collect(), 100).await;
    let mut groups: Vec<Value> = (0..399).map(|n| group(&format!("other{n}"))).collect();
    groups.extend([group("Eng"), group("empty")]);
    rig.lists("group", groups, 200).await;
    rig.lists("group/Eng/member", (0..201).map(person).collect(), 200).await;
    rig.lists("group/empty/member", Vec::new(), 200).await;
    let users = (0..260).map(|n| wants(None, &format!("U{n}"))).collect();
    let wanted = Wanted { users, groups: vec!["eng".into(), "empty".into(), "new".into()], ..Wanted::default() };
    let roster = rig.target.fetch(&wanted).await.unwrap();
    assert_eq!((roster.users.len(), roster.groups.len(), roster.memberships()), (250, 2, 201));
    assert_eq!(&*roster.groups[1].name, "Eng");
    assert_eq!(rig.requests(), 250_u64.div_ceil(100) + 401_u64.div_ceil(200) + 201_u64.div_ceil(200) + 1);
    assert!(roster.users.iter().all(|user| user.email.is_none()), "Confluence tells no address");
}

#[tokio::test]
async fn a_server_that_silently_gives_less_than_asked_for_is_read_whole() {
    let mut rig = Rig::new().await;
    rig.lists("user/list", (0..95).map(person).collect(), 30).await;
    rig.lists("group", vec![group("a"), group("b"), group("c")], 1).await;
    rig.lists("group/c/member", (0..10).map(person).collect(), 3).await;
    let wanted = Wanted {
        users: (0..95).map(|n| wants(Some(&format!("k{n}")), "renamed")).collect(),
        groups: vec!["c".into()],
        ..Wanted::default()
    };
    let roster = rig.target.fetch(&wanted).await.unwrap();
    assert_eq!((roster.users.len(), roster.memberships()), (95, 10));
    assert_eq!(rig.requests(), 4 + 3 + 4);
}

#[tokio::test]
async fn users_who_came_as_members_are_not_asked_for_again_and_few_others_singly() {
    let mut rig = Rig::new().await;
    rig.lists("group", vec![group("eng")], 200).await;
    rig.lists("group/eng/member", (0..50).map(person).collect(), 200).await;
    let key = rig.answers("GET", "api/user?key=k77&expand=status", 200, person(77)).await;
    let name = rig.answers("GET", "api/user?username=nobody&expand=status", 404, problem(404, "none")).await;
    let mut users: Vec<WantedUser> = (0..50).map(|n| wants(Some(&format!("k{n}")), &format!("u{n}"))).collect();
    users.extend([wants(Some("k77"), "u77"), wants(None, "nobody")]);
    let roster = rig.target.fetch(&Wanted { users, groups: vec!["eng".into()], ..Wanted::default() }).await.unwrap();
    assert_eq!(roster.users.len(), 51);
    key.assert_async().await;
    name.assert_async().await;
    assert_eq!(rig.requests(), 1 + 1 + 2);
}

#[tokio::test]
async fn where_the_wanted_users_suffice_a_few_of_them_are_read_with_their_groups() {
    let mut rig = Rig::new().await;
    rig.lists("group", (0..100).map(|n| group(&format!("g{n}"))).collect(), 200).await;
    rig.answers("GET", "api/user", 200, person(1)).await;
    rig.lists("user/memberof", vec![group("G7"), group("not wanted")], 200).await;
    let wanted = Wanted {
        users: vec![wants(Some("k1"), "u1")],
        groups: (0..100).map(|n| format!("g{n}").into()).collect(),
        members_of_wanted_users_suffice: true,
    };
    let roster = rig.target.fetch(&wanted).await.unwrap();
    assert_eq!((roster.groups.len(), roster.memberships()), (100, 1));
    assert_eq!(roster.groups[roster.group(&"g7".into()).unwrap() as usize].members, [0]);
    assert_eq!(rig.requests(), 1 + 1 + 1);
}

#[tokio::test]
async fn a_listing_that_contradicts_itself_is_no_listing() {
    let links = json!({ "next": "/rest/api/group?start=200" });
    let pages = [
        (json!({ "results": [], "size": 0, "start": 0, "_links": links }), Fault::Incomplete),
        (json!({ "results": [group("a")], "size": 2, "start": 0, "_links": {} }), Fault::Incomplete),
        (json!({ "results": [group("a")], "size": 1, "start": 5, "_links": {} }), Fault::Incomplete),
        (json!({ "results": [group("a")], "size": 1, "start": 0, "totalCount": 9, "_links": {} }), Fault::Incomplete),
        // The same first page again and again: its `start` is not what was asked for.
        (json!({ "results": [group("a")], "size": 1, "start": 0, "_links": links }), Fault::Incomplete),
        (json!({ "results": [group("a")], "size": 1, "start": 0 }), Fault::Malformed),
        (json!({ "message": "hello" }), Fault::Malformed),
    ];
    for (page, fault) in pages {
        let mut rig = Rig::new().await;
        rig.answers("GET", "api/group", 200, page.clone()).await;
        let wanted = Wanted { groups: vec!["a".into()], ..Wanted::default() };
        assert_eq!(rig.target.fetch(&wanted).await.unwrap_err().fault, fault, "{page}");
    }
}

#[tokio::test]
async fn a_group_whose_name_cannot_stand_in_a_path_is_left_out_and_the_others_are_read() {
    let mut rig = Rig::new().await;
    rig.lists("group", vec![group("eng"), group("r&d / lab")], 200).await;
    rig.lists("group/eng/member", vec![person(1)], 200).await;
    let wanted = Wanted { groups: vec!["eng".into(), "r&d / lab".into()], ..Wanted::default() };
    let roster = rig.target.fetch(&wanted).await.unwrap();
    assert_eq!(roster.groups.iter().map(|g| &*g.name).collect::<Vec<_>>(), ["eng"]);
    assert_eq!(rig.requests(), 2);
}

#[tokio::test]
async fn a_page_of_members_that_fails_fails_the_reading() {
    let mut rig = Rig::new().await;
    rig.lists("group", vec![group("eng"), group("ops")], 200).await;
    rig.lists("group/eng/member", vec![person(1)], 200).await;
    rig.answers("GET", "api/group/ops/member", 403, problem(403, "no")).await;
    let wanted = Wanted { groups: vec!["eng".into(), "ops".into()], ..Wanted::default() };
    assert_eq!(rig.target.fetch(&wanted).await.unwrap_err().fault, Fault::Forbidden);
}

#[tokio::test]
async fn a_status_is_read_in_any_letter_case() {
    let cases = [
        ("CURRENT", true, true),
        ("current", true, true),
        ("Unlicensed", true, true),
        ("DEACTIVATED", false, true),
        ("deactivated", false, true),
        ("EXTERNALLY_DELETED", false, false),
        ("externally_deleted", false, false),
        ("something new", true, false),
    ];
    for (status, active, writable) in cases {
        let mut rig = Rig::new().await;
        let mut known = person(1);
        known["status"] = json!(status);
        rig.answers("GET", "api/user", 200, known).await;
        rig.lists("user/memberof", vec![group("a")], 200).await;
        let (user, groups) = rig.target.fetch_user(&wants(Some("k1"), "u1")).await.unwrap().unwrap();
        assert_eq!((user.active, user.writable, groups), (active, writable, vec!["a".to_owned()]), "{status}");
    }
}

#[tokio::test]
async fn a_wanted_user_without_a_status_is_no_answer() {
    let mut rig = Rig::new().await;
    let mut silent = person(1);
    silent.as_object_mut().unwrap().remove("status");
    rig.answers("GET", "api/user", 200, silent).await;
    assert_eq!(rig.target.fetch_user(&wants(None, "u1")).await.unwrap_err().fault, Fault::Malformed);
}

#[tokio::test]
async fn only_confluence_itself_can_say_that_there_is_no_such_user() {
    let mut rig = Rig::new().await;
    rig.answers("GET", "api/user", 404, problem(404, "No user found with key")).await;
    assert_eq!(rig.target.fetch_user(&wants(Some("k1"), "u1")).await.unwrap(), None);
    let xml = "<status><status-code>404</status-code><message>null for uri</message></status>";
    for (kind, body) in [("text/html", "<html>404</html>"), ("application/xml", xml), ("application/json", "{}")] {
        let mut rig = Rig::new().await;
        let any = Matcher::Regex("/api/user.*".into());
        rig.server.mock("GET", any).with_status(404).with_header("content-type", kind).with_body(body).create_async().await;
        assert_eq!(rig.target.fetch_user(&wants(Some("k1"), "u1")).await.unwrap_err().fault, Fault::Malformed, "{kind}");
    }
}
