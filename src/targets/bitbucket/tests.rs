//! Exact exchanges with a Bitbucket that answers as the vendor documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mockito::{Matcher, Mock, Server, ServerGuard};
use serde_json::{Value, json};

use super::*;
use crate::contract::target::{Deactivation, Who};
use crate::http::meter::Meters;
use crate::http::secret::Secrets;
use crate::model::change::OpKind;
use crate::model::desired::Attributes;
use crate::model::key::TargetKey;

type Listing = Arc<Mutex<Vec<Value>>>;

struct Rig {
    server: ServerGuard,
    target: Arc<dyn Target>,
    kit: Kit,
}

impl Rig {
    async fn new() -> Self {
        Self::with_auth("username = \"rosterd\", password").await
    }

    async fn with_auth(auth: &str) -> Self {
        Self::with(auth, "").await
    }

    async fn with(auth: &str, more: &str) -> Self {
        let server = Server::new_async().await;
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "the-secret").unwrap();
        let table = format!(
            "url = \"{}\"\nauth = {{ {auth} = {{ file = {:?} }} }}\n{more}",
            server.url(),
            secret.path().to_str().unwrap()
        );
        let kit = Kit { secrets: Secrets::new(), meters: Arc::new(Meters::default()) };
        let target = (KIND.build)(&settings(&table), &kit).unwrap();
        Self { server, target, kit }
    }

    fn requests(&self) -> u64 {
        self.kit.meters.of(&SystemName::from("bb")).requests()
    }

    async fn answers(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        self.answer(method, path, status, body).create_async().await
    }

    /// An answer that a later one for the same request takes the place of.
    async fn answers_else(&mut self, path: &str, body: Value) {
        self.answer("GET", path, 200, body).expect_at_least(0).create_async().await;
    }

    fn answer(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        let path = Matcher::Regex(format!("^/rest/api/latest/{path}(\\?.*)?$"));
        self.server
            .mock(method, path)
            .match_header("x-atlassian-token", "no-check")
            .with_status(status)
            .with_header("content-type", "application/json;charset=UTF-8")
            .with_header("x-ausername", "rosterd")
            .with_body(if body.is_null() { String::new() } else { body.to_string() })
    }

    /// Serves a listing in pages of at most `cap`, filtered and by context as Bitbucket does it.
    async fn lists(&mut self, path: &str, context: Option<&str>, items: Vec<Value>, cap: usize) -> Listing {
        let items = Arc::new(Mutex::new(items));
        let copy = items.clone();
        let mut query = vec![Matcher::UrlEncoded("limit".into(), "1000".into())];
        query.extend(context.map(|context| Matcher::UrlEncoded("context".into(), context.into())));
        self.server
            .mock("GET", format!("/rest/api/latest/{path}").as_str())
            .match_query(Matcher::AllOf(query))
            .with_header("content-type", "application/json;charset=UTF-8")
            .with_header("x-ausername", "rosterd")
            .with_body_from_request(move |request| page(&copy.lock().unwrap(), request.path_and_query(), cap).to_string().into())
            .expect_at_least(0)
            .create_async()
            .await;
        items
    }

    /// A Bitbucket in which `staff` gives access and `admins` rights of administration.
    async fn ordinary(version: &str) -> Self {
        let mut rig = Self::new().await;
        rig.land(version).await;
        rig
    }

    async fn land(&mut self, version: &str) {
        self.answers_else("application-properties", json!({ "version": version, "displayName": "Bitbucket" })).await;
        self.answers_else("admin/users\\?limit=1", page(&[user(1)], "?start=0&limit=1", 1)).await;
        let grants = [("staff", "LICENSED_USER"), ("Admins", "SYS_ADMIN"), ("odd", "SOMETHING_NEW")];
        let grants = grants.map(|(name, permission)| json!({ "group": { "name": name }, "permission": permission }));
        self.lists("admin/permissions/groups", None, grants.to_vec(), 1000).await;
        self.lists("admin/permissions/users", None, Vec::new(), 1000).await;
        let directory = json!([{ "name": "Internal", "type": "Internal", "active": true }]);
        self.answers_else("admin/user-directories", directory).await;
    }
}

fn settings(table: &str) -> Settings {
    let value = config::Config::builder()
        .add_source(config::File::from_str(table, config::FileFormat::Toml))
        .build()
        .unwrap()
        .try_deserialize()
        .unwrap();
    Settings { name: SystemName::from("bb"), value }
}

fn query(path: &str) -> BTreeMap<String, String> {
    let query = path.split_once('?').unwrap().1;
    url::form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

/// A page as Bitbucket makes it: positions count before filtering.
fn page(items: &[Value], path: &str, cap: usize) -> Value {
    let query = query(path);
    let start: usize = query.get("start").map_or(0, |start| start.parse().unwrap());
    let limit = query["limit"].parse::<usize>().unwrap().min(cap);
    let filter = query.get("filter").map(|text| text.to_lowercase());
    let fits = |item: &Value| {
        let text = ["name", "displayName", "emailAddress"].map(|key| item[key].as_str().unwrap_or("")).join(" ").to_lowercase();
        filter.as_ref().is_none_or(|filter| text.contains(filter))
    };
    let some: Vec<&Value> = items.iter().skip(start).take(limit).filter(|item| fits(item)).collect();
    let last = start + limit >= items.len();
    let mut page = json!({ "size": some.len(), "limit": limit, "isLastPage": last, "values": some, "start": start });
    if !last {
        page["nextPageStart"] = json!(start + limit);
    }
    page
}

fn user(n: usize) -> Value {
    json!({ "name": format!("u{n}"), "emailAddress": format!("u{n}@example.org"), "id": n, "displayName": format!("User {n}"),
            "active": true, "slug": format!("slug-{n}"), "type": "NORMAL", "directoryName": "Internal", "mutableDetails": true })
}

fn group(name: &str) -> Value {
    json!({ "name": name, "deletable": true })
}

fn problem(exception: &str, message: &str) -> Value {
    json!({ "errors": [{ "context": null, "message": message, "exceptionName": format!("com.atlassian.bitbucket.{exception}") }] })
}

fn wants(key: Option<&str>, name: &str) -> WantedUser {
    WantedUser { key: key.map(TargetKey::from), name: name.into() }
}

fn ada() -> Attributes {
    Attributes { name: "ada".into(), email: Some("ada@example.org".into()), display_name: Some("Ada L".into()) }
}

#[tokio::test]
async fn a_probe_tells_version_account_and_who_administers() {
    let rig = Rig::ordinary("8.19.4").await;
    let found = rig.target.probe().await.unwrap();
    assert_eq!((found.version.as_str(), found.acting_as.as_deref()), ("8.19.4", Some("rosterd")));
    assert_eq!(found.admin_groups, ["Admins"]);
    assert_eq!((found.deactivation, found.adds_per_call), (Deactivation::StripGroups, 100));
    assert!(found.can_rename && found.can_update && !found.can.contains(&OpKind::ActivateUser));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    assert_eq!(rig.requests(), 5);
}

#[tokio::test]
async fn a_version_before_7_21_is_refused() {
    for version in ["7.20.9", "6.10.0"] {
        let rig = Rig::ordinary(version).await;
        let error = rig.target.probe().await.unwrap_err();
        assert_eq!((error.fault, error.hint.is_some()), (Fault::Unsupported, true), "{version}");
    }
    assert!(Rig::ordinary("7.21.0").await.target.probe().await.is_ok());
    assert!(Rig::ordinary("10.0.0-rc1").await.target.probe().await.is_ok());
}

#[tokio::test]
async fn an_answer_that_names_nobody_is_a_refused_credential() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let body = page(&[user(1)], "?start=0&limit=1", 1).to_string();
    let path = Matcher::Regex("admin/users\\?limit=1$".into());
    rig.server.mock("GET", path).with_header("content-type", "application/json").with_body(body).create_async().await;
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Refused);
}

#[tokio::test]
async fn a_token_is_told_to_be_too_weak() {
    let mut rig = Rig::with_auth("token").await;
    rig.land("9.4.0").await;
    let denied = problem("AuthorisationException", "You are not permitted to access this resource");
    rig.answers("GET", "admin/permissions/groups", 401, denied).await;
    let error = rig.target.probe().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    let hint = error.hint.unwrap();
    assert!(hint.contains("token") && hint.contains("password"), "{hint}");
}

#[tokio::test]
async fn an_account_that_is_no_administrator_is_forbidden_and_not_refused() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let denied = problem("AuthorisationException", "You are not permitted to access this resource");
    rig.answers("GET", "admin/permissions/groups", 401, denied).await;
    let error = rig.target.probe().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.hint.unwrap().contains("Admin"));
}

#[tokio::test]
async fn read_only_directories_and_grants_of_one_s_own_are_noted() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let directories = json!({ "values": [
        { "name": "Corp", "type": "Microsoft Active Directory (Read Only)", "active": true },
        { "name": "Old", "type": "OpenLDAP (Read Only)", "active": false },
    ] });
    rig.answers("GET", "admin/user-directories", 200, directories).await;
    let own = json!({ "user": { "name": "Root" }, "permission": "SYS_ADMIN" });
    rig.lists("admin/permissions/users", None, vec![own], 1000).await;
    let notes = rig.target.probe().await.unwrap().notes.join("\n");
    assert!(notes.contains("Corp") && !notes.contains("Old") && notes.contains("root"), "{notes}");
    rig.lists("admin/groups", None, vec![group("eng")], 1000).await;
    rig.lists("admin/groups/more-members", Some("eng"), Vec::new(), 1000).await;
    let wanted = Wanted { groups: vec!["eng".into()], ..Wanted::default() };
    assert!(!rig.target.fetch(&wanted).await.unwrap().groups[0].writable);
}

#[tokio::test]
async fn a_whole_reading_takes_as_many_requests_as_the_formula_says() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let probed = 5;
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
    assert_eq!((roster.users.len(), roster.groups.len(), rig.requests()), (50, 0, 5 + 1 + 1));
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
    assert_eq!(rig.requests(), 5 + 1 + 1 + 1);
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

#[tokio::test]
async fn a_user_is_created_by_a_query_whose_password_nobody_hears_of() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let name = "a+b c/d#%\"😀";
    let mut made = user(5);
    made["name"] = json!(name.to_uppercase());
    rig.lists("admin/users", None, vec![user(1), made], 1000).await;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let copy = seen.clone();
    let ok = move |request: &mockito::Request| {
        copy.lock().unwrap().push(request.path_and_query().to_owned());
        Vec::new()
    };
    let path = Matcher::Regex("^/rest/api/latest/admin/users\\?.*".into());
    rig.server.mock("POST", path).with_status(204).with_body_from_request(ok).expect(2).create_async().await;
    let attributes = Attributes { name: name.into(), ..ada() };
    for _ in 0..2 {
        let applied = rig.target.apply(Act::CreateUser { attributes: &attributes }).await.unwrap();
        assert_eq!(applied.created.unwrap().key.as_str(), "5");
    }
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|path| query(path)).collect();
    assert_ne!(seen[0]["password"], seen[1]["password"]);
    let plain: Vec<(&str, &str)> =
        seen[0].iter().filter(|(name, _)| *name != "password").map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let want = [("addToDefaultGroup", "false"), ("displayName", "Ada L"), ("emailAddress", "ada@example.org"), ("name", name)];
    assert_eq!(plain, want);
}

#[tokio::test]
async fn an_error_of_a_creation_tells_neither_password_nor_address() {
    let cases = [
        (400, "validation.ArgumentValidationException", Fault::Rejected),
        (401, "AuthorisationException", Fault::Forbidden),
        (403, "license.LicenseLimitException", Fault::LicenceFull),
        (403, "AuthorisationException", Fault::Forbidden),
        (409, "user.DuplicateUserException", Fault::Conflict),
        (503, "HazelcastException", Fault::Unavailable { retry_after: None }),
    ];
    for (status, exception, fault) in cases {
        let mut rig = Rig::ordinary("9.4.0").await;
        let seen: Arc<Mutex<String>> = Arc::default();
        let copy = seen.clone();
        let path = Matcher::Regex("^/rest/api/latest/admin/users\\?.*".into());
        let body = problem(exception, "ada@example.org is no good").to_string();
        rig.server
            .mock("POST", path)
            .with_status(status)
            .with_header("content-type", "application/json")
            .with_body_from_request(move |request| {
                *copy.lock().unwrap() = request.path_and_query().to_owned();
                body.clone().into()
            })
            .create_async()
            .await;
        let error = rig.target.apply(Act::CreateUser { attributes: &ada() }).await.unwrap_err();
        assert_eq!(error.fault, fault, "{status} {exception}");
        let (told, sent) = (format!("{error} {error:?}"), query(&seen.lock().unwrap()));
        assert!(!told.contains(&sent["password"]) && !told.contains("ada@example.org"), "{told}");
    }
}

#[tokio::test]
async fn a_creation_that_cannot_be_reached_tells_no_password() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.target.probe().await.unwrap();
    // A redirect is an error whose text could hold the URL.
    let path = Matcher::Regex("^/rest/api/latest/admin/users\\?.*".into());
    rig.server.mock("POST", path).with_status(302).with_header("location", "/login").create_async().await;
    let error = rig.target.apply(Act::CreateUser { attributes: &ada() }).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("password="), "{error:?}");
}

#[tokio::test]
async fn a_user_without_an_address_is_not_created() {
    let rig = Rig::new().await;
    let attributes = Attributes { email: None, ..ada() };
    let error = rig.target.apply(Act::CreateUser { attributes: &attributes }).await.unwrap_err();
    assert_eq!((error.fault, rig.requests()), (Fault::Rejected, 0));
}

#[tokio::test]
async fn a_rename_comes_before_the_other_changes() {
    let mut rig = Rig::new().await;
    let rename = rig
        .server
        .mock("POST", "/rest/api/latest/admin/users/rename")
        .match_body(Matcher::Json(json!({ "name": "eda", "newName": "ada" })))
        .create_async()
        .await;
    let put = rig
        .server
        .mock("PUT", "/rest/api/latest/admin/users")
        .match_body(Matcher::Json(json!({ "name": "ada", "displayName": "Ada L", "email": "ada@example.org" })))
        .create_async()
        .await;
    let user = Who { key: &"1".into(), name: "eda" };
    let before = Attributes { name: "eda".into(), email: None, display_name: Some("Ada L".into()) };
    rig.target.apply(Act::UpdateUser { user, before: &before, after: &ada() }).await.unwrap();
    let only_named = Attributes { name: "eda".into(), ..ada() };
    rig.target.apply(Act::UpdateUser { user, before: &only_named, after: &ada() }).await.unwrap();
    rename.expect(2).assert_async().await;
    put.assert_async().await;
}

#[tokio::test]
async fn a_hundred_users_are_added_by_one_call() {
    let mut rig = Rig::new().await;
    let keys: Vec<TargetKey> = (0..150).map(|n| TargetKey::from(n.to_string())).collect();
    let names: Vec<String> = (0..150).map(|n| format!("u {n}/#")).collect();
    let users: Vec<Who> = keys.iter().zip(&names).map(|(key, name)| Who { key, name }).collect();
    for some in names.chunks(100) {
        rig.server
            .mock("POST", "/rest/api/latest/admin/groups/add-users")
            .match_body(Matcher::Json(json!({ "group": "R & D", "users": some })))
            .create_async()
            .await;
    }
    rig.target.apply(Act::AddMembers { group: "R & D", users: &users }).await.unwrap();
    assert_eq!(rig.requests(), 2);
}

#[tokio::test]
async fn one_unknown_user_in_a_bulk_is_not_found() {
    let mut rig = Rig::new().await;
    rig.answers("POST", "admin/groups/add-users", 404, problem("user.NoSuchUserException", "none")).await;
    let user = Who { key: &"1".into(), name: "u1" };
    let error = rig.target.apply(Act::AddMembers { group: "eng", users: &[user, user] }).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotFound);
}

#[tokio::test]
async fn a_deactivation_takes_out_of_every_group_and_tells_which() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.lists("admin/users/more-members", Some("u1"), vec![group("staff"), group("R+D"), group("eng")], 2).await;
    let mut mocks = Vec::new();
    for group in ["staff", "R+D", "eng"] {
        let body = Matcher::Json(json!({ "context": "u1", "itemName": group }));
        let path = "/rest/api/latest/admin/users/remove-group";
        mocks.push(rig.server.mock("POST", path).match_body(body).create_async().await);
    }
    let user = Who { key: &"1".into(), name: "u1" };
    let applied = rig.target.apply(Act::DeactivateUser { user }).await.unwrap();
    assert_eq!(applied.left_groups, ["staff", "R+D", "eng"]);
    for mock in mocks {
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_deactivation_that_stops_halfway_is_an_error() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.lists("admin/users/more-members", Some("u1"), vec![group("staff"), group("admins")], 1000).await;
    let staff = Matcher::Json(json!({ "context": "u1", "itemName": "staff" }));
    rig.server.mock("POST", "/rest/api/latest/admin/users/remove-group").match_body(staff).create_async().await;
    rig.answers("POST", "admin/users/remove-group", 403, problem("AuthorisationException", "stronger than you")).await;
    let error = rig.target.apply(Act::DeactivateUser { user: Who { key: &"1".into(), name: "u1" } }).await.unwrap_err();
    assert!(error.fault == Fault::Forbidden && error.why.contains("1 of its 2") && error.why.contains("admins"), "{error}");
    assert_eq!(error.left_groups(), ["staff"]);
}

#[tokio::test]
async fn a_group_that_somebody_else_took_the_user_out_of_stops_no_deactivation() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let groups = rig.lists("admin/users/more-members", Some("u1"), vec![group("staff"), group("eng")], 1000).await;
    let body = |group: &str| Matcher::Json(json!({ "context": "u1", "itemName": group }));
    let path = "/rest/api/latest/admin/users/remove-group";
    let gone = groups.clone();
    let missing = rig.server.mock("POST", path).match_body(body("staff")).with_status(404);
    let missing = missing.with_header("content-type", "application/json").with_body_from_request(move |_| {
        gone.lock().unwrap().clear();
        problem("user.NoSuchGroupException", "none").to_string().into()
    });
    missing.create_async().await;
    let made = rig.server.mock("POST", path).match_body(body("eng")).create_async().await;
    let applied = rig.target.apply(Act::DeactivateUser { user: Who { key: &"1".into(), name: "u1" } }).await.unwrap();
    assert_eq!(applied.left_groups, ["eng"]);
    made.assert_async().await;
}

#[tokio::test]
async fn a_limit_without_headers_is_a_limit() {
    let mut rig = Rig::with("username = \"rosterd\", password", "http = { max_wait = \"0s\", attempts = 1 }\n").await;
    rig.server.mock("POST", Matcher::Any).with_status(429).expect_at_least(1).create_async().await;
    let error = rig.target.apply(Act::CreateGroup { name: "eng" }).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Limited { .. }), "{error:?}");
    assert!(error.why.contains("429"), "{error}");
}

#[tokio::test]
async fn a_user_with_a_permission_of_its_own_stays_active_and_a_person_is_told() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let own = json!({ "user": { "name": "U1" }, "permission": "LICENSED_USER" });
    rig.lists("admin/permissions/users", None, vec![own], 1000).await;
    rig.lists("admin/users", None, vec![user(1)], 1000).await;
    rig.lists("admin/users/more-members", Some("u1"), Vec::new(), 1000).await;
    assert!(rig.target.fetch_user(&wants(Some("1"), "u1")).await.unwrap().unwrap().0.active);
    let error = rig.target.apply(Act::DeactivateUser { user: Who { key: &"1".into(), name: "u1" } }).await.unwrap_err();
    assert_eq!(error.fault, Fault::Rejected);
    assert!(error.hint.unwrap().contains("Global permissions"));
}

#[tokio::test]
async fn groups_are_made_and_users_deleted_by_query() {
    let mut rig = Rig::new().await;
    let name = "R + D / #% \"q\" 😀";
    let by_name = || Matcher::UrlEncoded("name".into(), name.into());
    let made = rig.server.mock("POST", "/rest/api/latest/admin/groups").match_query(by_name()).create_async().await;
    let gone = rig.server.mock("DELETE", "/rest/api/latest/admin/users").match_query(by_name()).create_async().await;
    rig.target.apply(Act::CreateGroup { name }).await.unwrap();
    rig.target.apply(Act::DeleteUser { user: Who { key: &"1".into(), name } }).await.unwrap();
    made.assert_async().await;
    gone.assert_async().await;
}

#[tokio::test]
async fn what_holds_is_read_and_matched_by_id() {
    let mut rig = Rig::ordinary("9.4.0").await;
    rig.lists("admin/users", None, vec![user(1), user(2)], 1000).await;
    rig.lists("admin/groups", None, vec![group("Eng-old"), group("Eng")], 1000).await;
    rig.lists("admin/groups/more-members", Some("eng"), vec![user(1)], 1000).await;
    let none =
        rig.answers("GET", "admin/groups/more-members\\?context=gone.*", 404, problem("user.NoSuchGroupException", "none"));
    none.await;
    rig.lists("admin/users/more-members", Some("u1"), vec![group("eng"), group("staff")], 1000).await;
    rig.lists("admin/users/more-members", Some("u2"), Vec::new(), 1000).await;
    let (one, two, three) = ("1".into(), "2".into(), "3".into());
    let (one, two, three) = (Who { key: &one, name: "u1" }, Who { key: &two, name: "u2" }, Who { key: &three, name: "u1" });
    let now = Attributes { name: "u1".into(), email: Some("u1@example.org".into()), display_name: None };
    let other = Attributes { email: Some("new@example.org".into()), ..now.clone() };
    let yes = [
        Act::CreateGroup { name: "eng" },
        Act::UpdateUser { user: one, before: &other, after: &now },
        Act::ActivateUser { user: one },
        Act::AddMembers { group: "eng", users: &[one] },
        Act::RemoveMember { group: "eng", user: two },
        // The name is in the group, the account is not.
        Act::RemoveMember { group: "eng", user: three },
        Act::RemoveMember { group: "gone", user: one },
        Act::DeactivateUser { user: two },
        Act::DeactivateUser { user: three },
        Act::DeleteUser { user: three },
    ];
    for act in yes {
        assert_eq!(rig.target.holds(act).await.unwrap(), Holds::Yes(None), "{act:?}");
    }
    let no = [
        Act::CreateGroup { name: "Eng-ol" },
        Act::UpdateUser { user: one, before: &now, after: &other },
        Act::ActivateUser { user: two },
        Act::AddMembers { group: "eng", users: &[one, two] },
        Act::AddMembers { group: "gone", users: &[one] },
        Act::RemoveMember { group: "eng", user: one },
        Act::DeactivateUser { user: one },
        Act::DeleteUser { user: one },
    ];
    for act in no {
        assert_eq!(rig.target.holds(act).await.unwrap(), Holds::No, "{act:?}");
    }
    let Holds::Yes(Some(found)) = rig.target.holds(Act::CreateUser { attributes: &now }).await.unwrap() else {
        panic!("the account exists");
    };
    assert_eq!(found.key.as_str(), "1");
}

#[test]
fn each_error_is_understood_by_the_name_of_its_exception() {
    let answer = |status: u16, named: bool, body: String| Answer {
        system: "bb".into(),
        doing: "list".into(),
        status,
        headers: named.then(|| ("x-ausername".parse().unwrap(), "rosterd".parse().unwrap())).into_iter().collect(),
        body: body.into(),
    };
    let of = |status, exception: &str, message: &str| {
        let verdict = verdict(&answer(status, false, problem(exception, message).to_string()), RIGHTS_HINT);
        verdict.unwrap().fault
    };
    assert_eq!(of(401, "AuthorisationException", ""), Some(Fault::Forbidden));
    assert_eq!(of(401, "auth.IncorrectPasswordAuthenticationException", ""), Some(Fault::Refused));
    assert_eq!(of(401, "auth.AuthenticationException", ""), Some(Fault::Refused));
    assert_eq!(of(403, "auth.CaptchaRequiredAuthenticationException", ""), Some(Fault::Refused));
    assert_eq!(of(401, "auth.CaptchaRequiredAuthenticationException", ""), Some(Fault::Refused));
    assert_eq!(of(404, "user.NoSuchGroupException", ""), Some(Fault::NotFound));
    assert_eq!(of(403, "X", "would exceed the server's license limit"), Some(Fault::LicenceFull));
    assert_eq!(of(409, "user.GroupExists", "group license-limit exists"), Some(Fault::Conflict));
    assert_eq!(of(403, "AuthorisationException", "group license-admins is stronger"), Some(Fault::Forbidden));
    assert_eq!(of(500, "X", ""), None);
    let bare = json!({ "errors": [{ "message": "no" }] }).to_string();
    assert_eq!(verdict(&answer(401, true, bare.clone()), RIGHTS_HINT).unwrap().fault, Some(Fault::Forbidden));
    assert_eq!(verdict(&answer(401, false, bare), RIGHTS_HINT).unwrap().fault, Some(Fault::Refused));
    assert_eq!(verdict(&answer(401, true, "<html>".into()), RIGHTS_HINT), None);
    assert_eq!(verdict(&answer(404, true, "<html>".into()), RIGHTS_HINT).unwrap().fault, Some(Fault::Malformed));
}

#[test]
fn the_example_is_a_table_that_is_understood() {
    let value = settings(&KIND.example.replace("kind = \"bitbucket\"", "")).value;
    let settings = Settings { name: "bb".into(), value };
    assert!(!settings.parse::<BitbucketSettings>().unwrap().notify);
}
