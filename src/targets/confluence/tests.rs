//! Exact exchanges with a Confluence that answers as the vendor documents.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mockito::{Matcher, Mock, Server, ServerGuard};
use serde_json::{Value, json};

use super::*;
use crate::contract::target::Who;
use crate::http::meter::Meters;
use crate::http::secret::Secrets;
use crate::model::desired::Attributes;
use crate::model::key::TargetKey;

struct Rig {
    server: ServerGuard,
    target: Arc<dyn Target>,
    kit: Kit,
}

impl Rig {
    async fn new() -> Self {
        let server = Server::new_async().await;
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "the-token").unwrap();
        let table =
            format!("url = \"{}/wiki\"\nauth = {{ token = {{ file = {:?} }} }}\n", server.url(), secret.path().to_str().unwrap());
        let kit = Kit { secrets: Secrets::new(), meters: Arc::new(Meters::default()) };
        let target = (KIND.build)(&settings(&table), &kit).unwrap();
        Self { server, target, kit }
    }

    fn requests(&self) -> u64 {
        self.kit.meters.of(&SystemName::from("wiki")).requests()
    }

    async fn answers(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        self.answer(method, path, status, body).create_async().await
    }

    /// An answer that a later one for the same request takes the place of.
    async fn answers_else(&mut self, path: &str, body: Value) {
        self.answer("GET", path, 200, body).expect_at_least(0).create_async().await;
    }

    fn answer(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        let path = format!("/wiki/rest/{path}");
        let path = if path.contains('?') { Matcher::Exact(path) } else { Matcher::Regex(format!("^{}(\\?.*)?$", escape(&path))) };
        self.server
            .mock(method, path)
            .match_header("authorization", "Bearer the-token")
            .match_header("x-atlassian-token", "no-check")
            .with_status(status)
            .with_header("content-type", "application/json")
            .with_body(if body.is_null() { String::new() } else { body.to_string() })
    }

    /// Serves a listing in pages of at most `cap`.
    async fn lists(&mut self, path: &str, items: Vec<Value>, cap: usize) -> Mock {
        self.server
            .mock("GET", Matcher::Regex(format!("^/wiki/rest/api/{}\\?.*", escape(path))))
            .with_header("content-type", "application/json")
            .with_body_from_request(move |request| {
                let (start, limit) = (number(request.path_and_query(), "start"), number(request.path_and_query(), "limit"));
                page(&items, start, limit.min(cap)).to_string().into()
            })
            .expect_at_least(0)
            .create_async()
            .await
    }
}

fn settings(table: &str) -> Settings {
    Settings::from_toml("wiki", table).unwrap()
}

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_alphanumeric() || "/%_-".contains(c) { vec![c] } else { vec!['\\', c] }).collect()
}

fn number(path: &str, name: &str) -> usize {
    let query = path.split_once('?').unwrap().1;
    url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).unwrap().1.parse().unwrap()
}

fn page(items: &[Value], start: usize, limit: usize) -> Value {
    let some: Vec<&Value> = items.iter().skip(start).take(limit).collect();
    let mut links = json!({ "base": "https://elsewhere.example/wiki", "self": "https://elsewhere.example/wiki/rest/api/x" });
    if start + some.len() < items.len() {
        links["next"] = json!(format!("/rest/api/x?start={}", start + some.len()));
    }
    json!({ "size": some.len(), "results": some, "start": start, "limit": limit, "_links": links })
}

fn person(n: usize) -> Value {
    json!({ "type": "known", "username": format!("u{n}"), "userKey": format!("k{n}"), "displayName": format!("User {n}"),
            "status": "CURRENT" })
}

fn group(name: &str) -> Value {
    json!({ "type": "group", "name": name, "_links": {} })
}

fn problem(status: u16, message: &str) -> Value {
    json!({ "statusCode": status, "message": message, "reason": "Because",
            "data": { "authorized": true, "valid": true, "errors": [], "successful": false } })
}

fn wants(key: Option<&str>, name: &str) -> WantedUser {
    WantedUser { key: key.map(TargetKey::from), name: name.into() }
}

fn ada() -> Attributes {
    Attributes { name: "ada".into(), email: Some("ada@example.org".into()), display_name: Some("Ada L".into()) }
}

async fn probeable(rig: &mut Rig, version: &str) {
    rig.answers_else("applinks/1.0/manifest", json!({ "typeId": "confluence", "version": version })).await;
    let me = json!({ "type": "known", "username": "rosterd", "userKey": "k", "displayName": "R", "status": "CURRENT" });
    rig.answers_else("api/user/current", me).await;
    rig.lists("user/list", vec![person(1)], 100).await;
    rig.lists("group/confluence-administrators/member", vec![person(1)], 200).await;
}

#[tokio::test]
async fn a_probe_tells_version_account_and_powers_in_four_requests() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "10.0.3").await;
    let found = rig.target.probe().await.unwrap();
    assert_eq!((found.version.as_str(), found.acting_as.as_deref()), ("10.0.3", Some("rosterd")));
    assert!(found.can_update && !found.can_rename && found.can.contains(&OpKind::UpdateUser));
    assert_eq!((found.deactivation, found.adds_per_call), (Deactivation::Flag, 1));
    assert_eq!(rig.requests(), 4);
}

#[tokio::test]
async fn full_names_are_changed_from_9_4_on() {
    for (version, can) in [("8.4.0", false), ("8.5.16", false), ("9.3.1", false), ("9.4.0", true), ("10.2.1-m1", true)] {
        let mut rig = Rig::new().await;
        probeable(&mut rig, version).await;
        let found = rig.target.probe().await.unwrap();
        assert_eq!((found.can_update, found.can.contains(&OpKind::UpdateUser)), (can, can), "{version}");
        let (user, after) = (Who { key: &"k1".into(), name: "u1" }, Attributes { email: None, ..ada() });
        let before = Attributes { name: "ada".into(), email: None, display_name: Some("Old".into()) };
        if !can {
            let error = rig.target.apply(Act::UpdateUser { user, before: &before, after: &after }).await.unwrap_err();
            assert_eq!(error.fault, Fault::Unsupported);
        }
    }
}

#[tokio::test]
async fn a_version_before_8_4_is_refused_with_the_way_out() {
    for version in ["7.19.30", "8.3.4"] {
        let mut rig = Rig::new().await;
        probeable(&mut rig, version).await;
        let error = rig.target.probe().await.unwrap_err();
        assert_eq!(error.fault, Fault::Unsupported);
        let hint = error.hint.unwrap();
        assert!(hint.contains("8.4") && hint.contains("Crowd") && hint.contains("Jira"), "{hint}");
    }
}

#[tokio::test]
async fn another_product_is_not_taken_for_confluence() {
    let mut rig = Rig::new().await;
    rig.answers("GET", "applinks/1.0/manifest", 200, json!({ "typeId": "jira", "version": "10.3.0" })).await;
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Unsupported);
}

#[tokio::test]
async fn a_manifest_that_is_locked_away_gives_way_to_the_server_information() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "1.0").await;
    rig.answers("GET", "applinks/1.0/manifest", 403, Value::Null).await;
    rig.answers("GET", "api/server-information", 200, json!({ "version": "9.4.1" })).await;
    assert_eq!(rig.target.probe().await.unwrap().version, "9.4.1");
}

#[tokio::test]
async fn a_refused_credential_is_tried_once() {
    let mut rig = Rig::new().await;
    let manifest = rig.answers("GET", "applinks/1.0/manifest", 401, Value::Null).await.expect(1);
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Refused);
    manifest.assert_async().await;
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn an_anonymous_session_is_a_refused_credential() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "9.4.0").await;
    rig.answers("GET", "api/user/current", 200, json!({ "type": "anonymous", "displayName": "Anonymous" })).await;
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Refused);
}

#[tokio::test]
async fn a_missing_right_to_read_members_stops_the_probe_with_advice() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "9.4.0").await;
    rig.answers("GET", "api/group/confluence-administrators/member", 403, problem(403, "no")).await;
    let error = rig.target.probe().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.hint.unwrap().contains("administrator"));
}

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

#[tokio::test]
async fn odd_names_are_encoded_as_segments_of_a_path() {
    let mut rig = Rig::new().await;
    let path = "/wiki/rest/api/user/a%23b%25c/group/R%20%2B%20D%20%23%25%20%22q%22%20%F0%9F%98%80";
    let put = rig.server.mock("PUT", path).with_status(204).create_async().await;
    let delete = rig.server.mock("DELETE", path).with_status(204).create_async().await;
    let user = Who { key: &"k1".into(), name: "a#b%c" };
    let group = "R + D #% \"q\" 😀";
    rig.target.apply(Act::AddMembers { group, users: &[user] }).await.unwrap();
    rig.target.apply(Act::RemoveMember { group, user }).await.unwrap();
    put.assert_async().await;
    delete.assert_async().await;
}

#[tokio::test]
async fn a_user_is_created_with_a_password_that_nobody_hears_of() {
    let mut rig = Rig::new().await;
    let seen = Arc::new(Mutex::new(Vec::<Value>::new()));
    let copy = seen.clone();
    let mock = rig
        .server
        .mock("POST", "/wiki/rest/api/admin/user")
        .with_status(201)
        .with_header("content-type", "application/json")
        .with_body_from_request(move |request| {
            copy.lock().unwrap().push(serde_json::from_slice(request.body().unwrap()).unwrap());
            r#"{"userKey":"4028"}"#.into()
        })
        .expect(2)
        .create_async()
        .await;
    for _ in 0..2 {
        let applied = rig.target.apply(Act::CreateUser { attributes: &ada() }).await.unwrap();
        let created = applied.created.clone().unwrap();
        assert_eq!((created.key.as_str(), &*created.name, created.active), ("4028", "ada", true));
        let seen = seen.lock().unwrap();
        assert!(!format!("{applied:?}").contains(seen.last().unwrap()["password"].as_str().unwrap()));
    }
    mock.assert_async().await;
    let seen = seen.lock().unwrap();
    assert_ne!(seen[0]["password"], seen[1]["password"]);
    let mut plain = seen[0].clone();
    plain.as_object_mut().unwrap().remove("password");
    assert_eq!(plain, json!({ "userName": "ada", "fullName": "Ada L", "email": "ada@example.org", "notifyViaEmail": false }));
}

#[tokio::test]
async fn a_user_whom_confluence_would_refuse_costs_no_request() {
    let rig = Rig::new().await;
    let bad = [
        Attributes { email: None, ..ada() },
        Attributes { email: Some(" ".into()), ..ada() },
        Attributes { name: "a+b".into(), ..ada() },
    ];
    for attributes in bad {
        let error = rig.target.apply(Act::CreateUser { attributes: &attributes }).await.unwrap_err();
        assert_eq!(error.fault, Fault::Rejected);
    }
    assert_eq!(rig.requests(), 0);
}

#[tokio::test]
async fn each_refusal_of_a_creation_is_understood() {
    let cases = [
        (400, Fault::Rejected),
        (402, Fault::LicenceFull),
        (403, Fault::Forbidden),
        (405, Fault::Unavailable { retry_after: None }),
        (409, Fault::Conflict),
    ];
    for (status, fault) in cases {
        let mut rig = Rig::new().await;
        rig.answers("POST", "api/admin/user", status, problem(status as u16, "about ada@example.org")).await;
        let error = rig.target.apply(Act::CreateUser { attributes: &ada() }).await.unwrap_err();
        assert_eq!(error.fault, fault, "{status}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains("ada@example.org") && !told.contains("assword"), "{told}");
    }
}

#[tokio::test]
async fn a_401_to_an_account_that_is_named_is_a_missing_right() {
    let answer = |header: Option<&str>, body: &str| Answer {
        system: "wiki".into(),
        doing: "list".into(),
        status: 401,
        request: None,
        headers: header.map(|name| ("x-ausername".parse().unwrap(), name.parse().unwrap())).into_iter().collect(),
        body: body.to_owned().into(),
    };
    let own = problem(401, "not permitted").to_string();
    assert_eq!(Speech.fault(&answer(Some("rosterd"), &own)).unwrap().fault, Some(Fault::Forbidden));
    assert_eq!(Speech.fault(&answer(Some("anonymous"), &own)).unwrap().fault, None);
    assert_eq!(Speech.fault(&answer(None, "<html>")), None);
}

#[tokio::test]
async fn both_fields_of_an_update_are_sent() {
    let mut rig = Rig::new().await;
    let put = rig
        .server
        .mock("PUT", "/wiki/rest/api/admin/user/ada")
        .match_body(Matcher::Json(json!({ "fullName": "Ada L", "email": "old@example.org" })))
        .with_status(204)
        .create_async()
        .await;
    let before = Attributes { email: Some("old@example.org".into()), display_name: Some("Old".into()), ..ada() };
    let after = Attributes { email: None, ..ada() };
    let user = Who { key: &"k1".into(), name: "ada" };
    rig.target.apply(Act::UpdateUser { user, before: &before, after: &after }).await.unwrap();
    put.assert_async().await;
    let renamed = Attributes { name: "eda".into(), ..ada() };
    let error = rig.target.apply(Act::UpdateUser { user, before: &before, after: &renamed }).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unsupported);
}

#[tokio::test]
async fn accounts_are_switched_and_groups_made() {
    let mut rig = Rig::new().await;
    let user = Who { key: &"k1".into(), name: "ada" };
    let off = rig.answers("PUT", "api/admin/user/ada/disable", 204, Value::Null).await;
    let on = rig.answers("PUT", "api/admin/user/ada/enable", 204, Value::Null).await;
    let made = rig
        .server
        .mock("POST", "/wiki/rest/api/admin/group")
        .match_body(Matcher::Json(json!({ "type": "group", "name": "eng" })))
        .with_status(201)
        .create_async()
        .await;
    rig.target.apply(Act::DeactivateUser { user }).await.unwrap();
    rig.target.apply(Act::ActivateUser { user }).await.unwrap();
    rig.target.apply(Act::CreateGroup { name: "eng" }).await.unwrap();
    for mock in [off, on, made] {
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_login_page_is_not_taken_for_success() {
    let mut rig = Rig::new().await;
    rig.server.mock("PUT", Matcher::Any).with_header("content-type", "text/html").with_body("<html>").create_async().await;
    let user = Who { key: &"k1".into(), name: "ada" };
    assert_eq!(rig.target.apply(Act::DeactivateUser { user }).await.unwrap_err().fault, Fault::Malformed);
}

#[tokio::test]
async fn a_deletion_is_followed_to_its_end() {
    let mut rig = Rig::new().await;
    let user = Who { key: &"k1".into(), name: "ada" };
    rig.answers("DELETE", "api/admin/user/ada", 202, json!({ "id": "t1", "links": {} })).await;
    let polls = Arc::new(AtomicUsize::new(0));
    let copy = polls.clone();
    rig.server
        .mock("GET", "/wiki/rest/api/longtask/t1")
        .with_header("content-type", "application/json")
        .with_body_from_request(move |_| {
            let done = copy.fetch_add(1, Ordering::Relaxed) >= 1;
            json!({ "percentageComplete": if done { 100 } else { 40 }, "successful": true }).to_string().into()
        })
        .expect(2)
        .create_async()
        .await;
    rig.target.apply(Act::DeleteUser { user }).await.unwrap();
    assert_eq!(polls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_deletion_that_failed_says_so() {
    let mut rig = Rig::new().await;
    rig.answers("DELETE", "api/admin/user/ada", 202, json!({ "id": "t1" })).await;
    let task = json!({ "percentageComplete": 100, "successful": false, "messages": [{ "translation": "locked" }] });
    rig.answers("GET", "api/longtask/t1", 200, task).await;
    let error = rig.target.apply(Act::DeleteUser { user: Who { key: &"k1".into(), name: "ada" } }).await.unwrap_err();
    assert!(error.fault == Fault::Rejected && error.why.contains("locked"), "{error}");
}

#[tokio::test]
async fn what_holds_is_read_from_the_subject() {
    let mut rig = Rig::new().await;
    let user = Who { key: &"k1".into(), name: "u1" };
    rig.answers("GET", "api/user", 200, person(1)).await;
    rig.answers("GET", "api/group/eng", 200, group("Eng")).await;
    rig.answers("GET", "api/group/ops", 404, problem(404, "none")).await;
    rig.lists("user/memberof", vec![group("Eng")], 200).await;
    let after = Attributes { name: "u1".into(), email: None, display_name: Some("User 1".into()) };
    let before = Attributes { display_name: Some("Old".into()), ..after.clone() };
    let yes = [
        Act::CreateGroup { name: "eng" },
        Act::AddMembers { group: "eng", users: &[user] },
        Act::RemoveMember { group: "ops", user },
        Act::ActivateUser { user },
        Act::UpdateUser { user, before: &before, after: &after },
    ];
    for act in yes {
        assert_eq!(rig.target.holds(act).await.unwrap(), Holds::Yes(None), "{act:?}");
    }
    let no = [
        Act::CreateGroup { name: "ops" },
        Act::AddMembers { group: "ops", users: &[user] },
        Act::RemoveMember { group: "eng", user },
        Act::DeactivateUser { user },
        Act::DeleteUser { user },
        // The address alone cannot be read, so it is to be written again.
        Act::UpdateUser { user, before: &after, after: &after },
    ];
    for act in no {
        assert_eq!(rig.target.holds(act).await.unwrap(), Holds::No, "{act:?}");
    }
    let Holds::Yes(Some(found)) = rig.target.holds(Act::CreateUser { attributes: &after }).await.unwrap() else {
        panic!("the account exists");
    };
    assert_eq!(found.key.as_str(), "k1");
}

#[test]
fn the_example_is_a_table_that_is_understood() {
    let value = settings(&KIND.example.replace("kind = \"confluence\"", "")).value;
    let settings = Settings { name: "wiki".into(), value };
    assert!(!settings.parse::<ConfluenceSettings>().unwrap().notify);
}
