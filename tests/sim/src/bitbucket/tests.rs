//! Each habit of Bitbucket, shown once.

use super::*;
use crate::route::ask;

const PASSWORD: (&str, &str) = ("authorization", "Basic cm9zdGVyZDpwYXNzd29yZC1vZi1yb3N0ZXJk");
const TOKEN: (&str, &str) = ("authorization", "Bearer token-of-rosterd");

fn bitbucket() -> Instance {
    Instance::new(Options::default())
}

fn call(bitbucket: &Instance, call: &str, body: &str) -> Answer {
    ask(bitbucket, call, &[PASSWORD, ("accept", "application/json")], body)
}

fn people(bitbucket: &Instance, count: usize) {
    let mut directory = bitbucket.directory();
    for n in 0..count {
        directory.add_user(&format!("u{n:05}"), &format!("u{n:05}@example.com"), &format!("Person {n}")).unwrap();
    }
}

fn exception(answer: &Answer) -> String {
    let full = answer.value()["errors"][0]["exceptionName"].as_str().unwrap().to_owned();
    full.rsplit('.').next().unwrap().to_owned()
}

/// All names, walked by `nextPageStart`; and how many pages that took.
fn walk(bitbucket: &Instance, path: &str) -> (Vec<String>, usize) {
    let (mut start, mut names, mut pages) = (0, Vec::new(), 0);
    loop {
        let page = call(bitbucket, &format!("GET {path}&start={start}"), "").value();
        names.extend(page["values"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap().to_owned()));
        pages += 1;
        let next = page.get("nextPageStart").and_then(Value::as_u64);
        assert_eq!(page["isLastPage"].as_bool().unwrap(), next.is_none());
        let Some(next) = next else { return (names, pages) };
        start = next;
    }
}

#[test]
fn a_page_is_25_by_default_and_never_more_than_1000() {
    let bitbucket = bitbucket();
    people(&bitbucket, 1499);
    assert_eq!(call(&bitbucket, "GET /rest/api/1.0/admin/users", "").value()["size"], 25);
    let page = call(&bitbucket, "GET /rest/api/latest/admin/users?limit=5000", "").value();
    assert_eq!((&page["size"], &page["limit"], &page["nextPageStart"]), (&json!(1000), &json!(1000), &json!(1000)));
    let (names, pages) = walk(&bitbucket, "/rest/api/latest/admin/users?limit=1000");
    assert_eq!((names.len(), pages), (1500, 2));
}

#[test]
fn with_gaps_the_next_page_does_not_start_at_start_plus_size() {
    let bitbucket = Instance::new(Options { gaps: true, ..Options::default() });
    people(&bitbucket, 99);
    let page = call(&bitbucket, "GET /rest/api/latest/admin/users?limit=30", "").value();
    assert_eq!((&page["size"], &page["nextPageStart"]), (&json!(20), &json!(30)));
    let (mut names, _) = walk(&bitbucket, "/rest/api/latest/admin/users?limit=30");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 100);
}

#[test]
fn a_token_reads_but_does_not_administer_and_a_non_admin_neither() {
    let bitbucket = bitbucket();
    let token = |path: &str| ask(&bitbucket, path, &[TOKEN], "");
    let read = token("GET /rest/api/latest/admin/users");
    assert_eq!((read.status, read.header("X-AUSERNAME")), (200, Some("rosterd")));
    for path in [
        "POST /rest/api/latest/admin/groups?name=x",
        "GET /rest/api/latest/admin/permissions/groups",
        "GET /rest/api/latest/admin/user-directories",
    ] {
        let refused = token(path);
        assert_eq!((refused.status, exception(&refused).as_str()), (401, "AuthorisationException"), "{path}");
    }
    bitbucket.gate.set_admin(false);
    assert_eq!(call(&bitbucket, "POST /rest/api/latest/admin/groups?name=x", "").status, 401);
    let strict = Instance::new(Options { token_reads: false, ..Options::default() });
    assert_eq!(ask(&strict, "GET /rest/api/latest/admin/users", &[TOKEN], "").status, 401);
}

#[test]
fn anybody_may_read_the_version_and_nothing_else() {
    let bitbucket = bitbucket();
    let properties = ask(&bitbucket, "GET /rest/api/latest/application-properties", &[], "");
    assert_eq!((properties.value()["version"].as_str(), properties.header("X-AUSERNAME")), (Some("9.4.0"), None));
    assert_eq!(ask(&bitbucket, "GET /rest/api/latest/admin/groups", &[], "").status, 401);
    let wrong = ask(&bitbucket, "GET /rest/api/latest/admin/groups", &[("authorization", "Bearer old")], "");
    assert_eq!(exception(&wrong), "IncorrectPasswordAuthenticationException");
}

#[test]
fn a_new_user_joins_the_default_group_unless_told_otherwise() {
    let bitbucket = bitbucket();
    bitbucket.directory().seats = Some(2);
    let create = |name: &str, more: &str| {
        let path = format!("POST /rest/api/latest/admin/users?name={name}&displayName=A+B&emailAddress=a%40example.com{more}");
        call(&bitbucket, &path, "").status
    };
    assert_eq!(create("ann", ""), 400);
    assert_eq!(create("ann", "&password=x"), 204);
    assert!(bitbucket.directory().is_member(USERS, "ann"));
    assert_eq!(create("ANN", "&notify=true"), 409);
    assert_eq!(create("bob", "&notify=true"), 403);
    assert_eq!(create("bob", "&notify=true&addToDefaultGroup=false"), 204);
    assert_eq!(bitbucket.directory().user("bob").unwrap().display_name, "A B");
    assert!(bitbucket.directory().group_names("bob").is_empty());
    let full = call(&bitbucket, "POST /rest/api/latest/admin/groups/add-users", r#"{"group":"stash-users","users":["bob"]}"#);
    assert_eq!((full.status, exception(&full).as_str()), (403, "LicenseLimitException"));
}

#[test]
fn a_bulk_addition_with_an_unknown_name_has_done_what_came_before_it() {
    let bitbucket = bitbucket();
    people(&bitbucket, 3);
    assert_eq!(call(&bitbucket, "POST /rest/api/latest/admin/groups?name=Devs", "").status, 200);
    assert_eq!(call(&bitbucket, "POST /rest/api/latest/admin/groups?name=devs", "").status, 409);
    let add = "POST /rest/api/latest/admin/groups/add-users";
    let partial = call(&bitbucket, add, r#"{"group":"devs","users":["u00000","nobody","u00001"]}"#);
    assert_eq!((partial.status, exception(&partial).as_str()), (404, "NoSuchUserException"));
    assert!(bitbucket.directory().is_member("devs", "u00000"));
    assert!(!bitbucket.directory().is_member("devs", "u00001"));
    assert_eq!(call(&bitbucket, add, r#"{"group":"devs","users":["u00000","u00001"]}"#).status, 200);
    assert_eq!(exception(&call(&bitbucket, add, r#"{"group":"none","users":["u00000"]}"#)), "NoSuchGroupException");
    let groups = r#"{"user":"u00002","groups":["devs","stash-users"]}"#;
    assert_eq!(call(&bitbucket, "POST /rest/api/latest/admin/users/add-groups", groups).status, 200);
    let (names, _) = walk(&bitbucket, "/rest/api/latest/admin/users/more-members?context=U00002");
    assert_eq!(names.len(), 2);
    let remove = r#"{"context":"u00002","itemName":"devs"}"#;
    assert_eq!(call(&bitbucket, "POST /rest/api/latest/admin/users/remove-group", remove).status, 200);
    let (members, _) = walk(&bitbucket, "/rest/api/latest/admin/groups/more-members?context=devs&limit=1");
    assert_eq!(members, ["u00000", "u00001"]);
}

#[test]
fn the_members_of_an_unknown_group_are_a_404_or_an_empty_page() {
    let path = "GET /rest/api/latest/admin/groups/more-members?context=none";
    assert_eq!(call(&bitbucket(), path, "").status, 404);
    let lenient = Instance::new(Options { unknown_group_is_empty: true, ..Options::default() });
    assert_eq!(call(&lenient, path, "").value()["values"], json!([]));
}

#[test]
fn filters_match_parts_of_names() {
    let bitbucket = bitbucket();
    for group in ["devs", "more-devs"] {
        bitbucket.directory().add_group(group).unwrap();
    }
    assert_eq!(call(&bitbucket, "GET /rest/api/latest/admin/groups?filter=DEVS", "").value()["size"], 2);
    assert_eq!(call(&bitbucket, "GET /rest/api/latest/admin/users?filter=oster", "").value()["size"], 1);
}

#[test]
fn details_names_and_deletion_have_calls_of_their_own() {
    let bitbucket = bitbucket();
    people(&bitbucket, 2);
    let id = bitbucket.directory().user("u00000").unwrap().id;
    let update = r#"{"name":"u00000","displayName":"New","email":"new@example.com"}"#;
    let updated = call(&bitbucket, "PUT /rest/api/latest/admin/users", update).value();
    assert_eq!((&updated["emailAddress"], &updated["displayName"]), (&json!("new@example.com"), &json!("New")));
    let rename = |to: &str| {
        let body = format!(r#"{{"name":"u00000","newName":"{to}"}}"#);
        call(&bitbucket, "POST /rest/api/latest/admin/users/rename", &body)
    };
    assert_eq!(rename("U00001").status, 400);
    let renamed = rename("A+B@x").value();
    assert_eq!((&renamed["id"], &renamed["slug"]), (&json!(id), &json!("a_b_x")));
    assert_eq!(rename("again").status, 404);
    assert_eq!(call(&bitbucket, "DELETE /rest/api/latest/admin/users?name=rosterd", "").status, 409);
    assert_eq!(call(&bitbucket, "DELETE /rest/api/latest/admin/users?name=u00001", "").value()["name"], "u00001");
    assert_eq!(call(&bitbucket, "DELETE /rest/api/latest/admin/users?name=u00001", "").status, 404);
}

#[test]
fn read_only_users_say_so_and_refuse() {
    let bitbucket = bitbucket();
    people(&bitbucket, 1);
    bitbucket.directory().user_mut("u00000").unwrap().read_only = true;
    let page = call(&bitbucket, "GET /rest/api/latest/admin/users?filter=u00000", "").value();
    let user = &page["values"][0];
    assert_eq!(
        (&user["mutableDetails"], &user["mutableGroups"], &user["deletable"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!(call(&bitbucket, "PUT /rest/api/latest/admin/users", r#"{"name":"u00000","displayName":"X"}"#).status, 409);
    assert_eq!(call(&bitbucket, "GET /rest/api/latest/admin/user-directories", "").value()[0]["type"], "Crowd");
    bitbucket.directory().user_mut("u00000").unwrap().memberships_fixed = true;
    assert_eq!(
        call(&bitbucket, "POST /rest/api/latest/admin/groups/add-users", r#"{"group":"stash-users","users":["u00000"]}"#).status,
        409
    );
}

#[test]
fn permissions_tell_who_administers_and_guard_what_is_above() {
    let bitbucket = bitbucket();
    people(&bitbucket, 1);
    let page = call(&bitbucket, "GET /rest/api/latest/admin/permissions/groups", "").value();
    assert_eq!(
        page["values"],
        json!([
            {"group": {"name": "bitbucket-system-admins"}, "permission": "SYS_ADMIN"},
            {"group": {"name": "stash-users"}, "permission": "LICENSED_USER"},
        ])
    );
    assert_eq!(call(&bitbucket, "DELETE /rest/api/latest/admin/groups?name=bitbucket-system-admins", "").status, 409);
    let access = Access { system_admin: false, ..Access::default() };
    let lower = Instance::new(Options { access, ..Options::default() });
    people(&lower, 1);
    let body = r#"{"group":"bitbucket-system-admins","users":["u00000"]}"#;
    assert_eq!(call(&lower, "POST /rest/api/latest/admin/groups/add-users", body).status, 403);
}

#[test]
fn a_rate_limit_may_come_without_headers() {
    let interval = std::time::Duration::from_secs(3600);
    let rate = crate::gate::Rate { capacity: 1, fill: 1, interval, headers: false };
    let bitbucket = Instance::new(Options { access: Access { rate: Some(rate), ..Access::default() }, ..Options::default() });
    assert_eq!(call(&bitbucket, "GET /rest/api/latest/admin/users", "").status, 200);
    let limited = call(&bitbucket, "GET /rest/api/latest/admin/users", "");
    assert_eq!((limited.status, limited.header("retry-after")), (429, None));
}

#[tokio::test]
async fn a_running_bitbucket_answers_and_its_permissions_can_be_set_by_hand() {
    let bitbucket = Bitbucket::start(Options::default()).await.unwrap();
    bitbucket.directory().add_group("devs").unwrap();
    bitbucket.grant_group("devs", "ADMIN");
    bitbucket.grant_user("rosterd", "SYS_ADMIN");
    assert_eq!(bitbucket.permission_of("Rosterd").as_deref(), Some("SYS_ADMIN"));
    let url = format!("{}/rest/api/latest/admin/permissions/groups?filter=devs", bitbucket.url());
    let got = crate::harness::wire::get(&url, PASSWORD.1).await;
    assert_eq!(got.json()["values"][0]["permission"], "ADMIN");
}
