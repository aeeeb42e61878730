//! Each habit of Confluence, shown once.

use super::*;
use crate::route::ask;

fn confluence(version: &str) -> Instance {
    Instance::new(Options { version: version.to_owned(), ..Options::default() })
}

fn call(confluence: &Instance, call: &str, body: &str) -> Answer {
    ask(confluence, call, &[("authorization", "Bearer token-of-rosterd"), ("accept", "application/json")], body)
}

fn person(name: &str, more: &str) -> String {
    format!(r#"{{"userName":"{name}","fullName":"Some One","email":"one@example.com"{more}}}"#)
}

const NOTIFY: &str = r#","notifyViaEmail":true"#;

#[test]
fn each_version_lacks_the_calls_that_came_later() {
    let calls: [(&str, &str, [u16; 5]); 6] = [
        ("GET /rest/api/group", "", [200, 200, 200, 200, 200]),
        ("PUT /rest/api/user/rosterd/group/confluence-users", "", [404, 204, 204, 204, 204]),
        ("PUT /rest/api/admin/user/rosterd/enable", "", [404, 204, 204, 204, 204]),
        ("GET /rest/api/user/list", "", [404, 404, 200, 200, 200]),
        (
            "POST /rest/api/admin/user",
            r#"{"userName":"a","fullName":"A","email":"a@b","notifyViaEmail":true}"#,
            [404, 404, 201, 201, 201],
        ),
        ("PUT /rest/api/admin/user/rosterd", r#"{"fullName":"New"}"#, [404, 404, 404, 204, 204]),
    ];
    for (request, body, expected) in calls {
        for (version, status) in ["7.19.0", "8.2.0", "8.5.16", "9.4.0", "10.0.3"].into_iter().zip(expected) {
            assert_eq!(call(&confluence(version), request, body).status, status, "{version} {request}");
        }
    }
}

#[test]
fn anybody_may_read_the_version() {
    let confluence = confluence("9.2.0");
    let manifest = ask(&confluence, "GET /rest/applinks/1.0/manifest", &[("accept", "application/json")], "");
    assert_eq!(manifest.value()["version"], "9.2.0");
    let xml = ask(&confluence, "GET /rest/applinks/1.0/manifest", &[], "");
    assert!(String::from_utf8_lossy(&xml.body).contains("<version>9.2.0</version>"));
}

#[test]
fn the_server_shortens_pages_and_next_is_relative() {
    let confluence = Instance::new(Options { list_max: 50, ..Options::default() });
    for n in 0..119 {
        confluence.directory().add_user(&format!("u{n:03}"), "u@example.com", "U").unwrap();
    }
    let (mut path, mut names, mut pages) = ("/rest/api/user/list?limit=1000&expand=status".to_owned(), Vec::new(), 0);
    loop {
        let page = call(&confluence, &format!("GET {path}"), "").value();
        assert_eq!(page["limit"], 50);
        for user in page["results"].as_array().unwrap() {
            assert!(user.get("email").is_none() && user["status"].is_string());
            names.push(user["username"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(next) = page["_links"].get("next") else { break };
        path = next.as_str().unwrap().to_owned();
        assert!(path.starts_with("/rest/api/user/list?expand=status&limit=50&start="));
    }
    names.dedup();
    assert_eq!((names.len(), pages), (120, 3));
}

#[test]
fn a_status_is_told_only_if_expanded() {
    let confluence = confluence("10.0.3");
    confluence.directory().add_user("ann", "ann@example.com", "Ann").unwrap();
    let status = |expand: &str| call(&confluence, &format!("GET /rest/api/user?username=ANN{expand}"), "").value();
    assert_eq!(status("")["_expandable"], json!({"status": ""}));
    assert_eq!(status("&expand=status")["status"], "UNLICENSED");
    confluence.directory().join("confluence-users", "ann").unwrap();
    assert_eq!(status("&expand=status")["status"], "CURRENT");
    call(&confluence, "PUT /rest/api/admin/user/ann/disable", "");
    assert_eq!(status("&expand=status")["status"], "DEACTIVATED");
    assert!(confluence.directory().is_member("confluence-users", "ann"));
}

#[test]
fn user_names_obey_the_rules_of_the_document() {
    let confluence = confluence("10.0.3");
    for name in ["", "Ann", "a b", "a+b", "a,b", "a<b", "a'b", "a\\\\b", "anonymous"] {
        assert_eq!(call(&confluence, "POST /rest/api/admin/user", &person(name, NOTIFY)).status, 400, "{name}");
    }
    let made = call(&confluence, "POST /rest/api/admin/user", &person("ann@example.com", NOTIFY));
    assert_eq!((made.status, made.value()["userKey"].as_str().unwrap().len()), (201, 32));
    assert!(confluence.directory().is_member("confluence-users", "ann@example.com"));
    assert_eq!(call(&confluence, "POST /rest/api/admin/user", &person("ann@example.com", NOTIFY)).status, 409);
    for (more, status) in
        [("", 400), (r#","password":"x","notifyViaEmail":true"#, 400), (r#","password":"x"#, 400), (r#","password":"x""#, 201)]
    {
        assert_eq!(call(&confluence, "POST /rest/api/admin/user", &person("bob", more)).status, status, "{more}");
    }
}

#[test]
fn a_full_licence_costs_402() {
    let confluence = confluence("10.0.3");
    confluence.directory().seats = Some(1);
    assert_eq!(call(&confluence, "POST /rest/api/admin/user", &person("ann", NOTIFY)).status, 402);
    confluence.directory().seats = Some(2);
    assert_eq!(call(&confluence, "POST /rest/api/admin/user", &person("ann", NOTIFY)).status, 201);
}

#[test]
fn memberships_and_activity_are_idempotent_and_unknown_ones_404() {
    let confluence = confluence("10.0.3");
    confluence.directory().add_user("ann", "ann@example.com", "Ann").unwrap();
    assert_eq!(call(&confluence, "POST /rest/api/admin/group", r#"{"name":"devs"}"#).status, 400);
    assert_eq!(call(&confluence, "POST /rest/api/admin/group", r#"{"type":"group","name":"a team"}"#).status, 200);
    assert_eq!(call(&confluence, "POST /rest/api/admin/group", r#"{"type":"group","name":"A Team"}"#).status, 409);
    for method in ["PUT", "PUT", "DELETE", "DELETE"] {
        assert_eq!(call(&confluence, &format!("{method} /rest/api/user/ann/group/a%20team"), "").status, 204);
    }
    for _ in 0..2 {
        assert_eq!(call(&confluence, "PUT /rest/api/admin/user/ann/disable", "").status, 204);
    }
    assert_eq!(confluence.directory().writes(), 4);
    for path in ["/rest/api/user/nobody/group/a%20team", "/rest/api/user/ann/group/none", "/rest/api/admin/user/nobody/enable"] {
        let answer = call(&confluence, &format!("PUT {path}"), "");
        assert_eq!((answer.status, &answer.value()["statusCode"]), (404, &json!(404)), "{path}");
    }
    assert_eq!(call(&confluence, "PUT /rest/api/user/ann/group/a%2Fteam", "").status, 400);
    assert_eq!(call(&confluence, "DELETE /rest/api/admin/group/a%20team", "").status, 204);
    assert_eq!(call(&confluence, "DELETE /rest/api/admin/group/confluence-administrators", "").status, 400);
}

#[test]
fn members_come_200_a_page_and_only_to_administrators() {
    let confluence = confluence("10.0.3");
    for n in 0..250 {
        let name = format!("u{n:03}");
        confluence.directory().add_user(&name, "u@example.com", "U").unwrap();
        confluence.directory().join("confluence-users", &name).unwrap();
    }
    let page = call(&confluence, "GET /rest/api/group/confluence-users/member?limit=1000", "").value();
    assert_eq!(
        (&page["size"], &page["_links"]["next"]),
        (&json!(200), &json!("/rest/api/group/confluence-users/member?limit=200&start=200"))
    );
    let groups = call(&confluence, "GET /rest/api/user/memberof?username=u001", "").value();
    assert_eq!(groups["results"][0]["name"], "confluence-users");
    confluence.gate.set_admin(false);
    assert_eq!(call(&confluence, "GET /rest/api/group/confluence-users/member", "").status, 403);
    assert_eq!(call(&confluence, "GET /rest/api/group/confluence-users", "").status, 200);
}

#[test]
fn details_are_changed_in_part_and_not_in_a_read_only_directory() {
    let confluence = confluence("10.0.3");
    confluence.directory().add_user("ann", "ann@example.com", "Ann").unwrap();
    assert_eq!(call(&confluence, "PUT /rest/api/admin/user/ann", r#"{"email":"new@example.com"}"#).status, 204);
    assert_eq!(call(&confluence, "PUT /rest/api/admin/user/ann", r#"{"email":"new@example.com"}"#).status, 204);
    assert_eq!(call(&confluence, "PUT /rest/api/admin/user/ann", r#"{"fullName":"<b>"}"#).status, 400);
    assert_eq!(confluence.directory().user("ann").unwrap().display_name, "Ann");
    assert_eq!(confluence.directory().writes(), 1);
    confluence.directory().user_mut("ann").unwrap().read_only = true;
    assert_eq!(call(&confluence, "PUT /rest/api/admin/user/ann", r#"{"fullName":"X"}"#).status, 403);
    assert_eq!(call(&confluence, "PUT /rest/api/admin/user/ann/disable", "").status, 403);
}

#[test]
fn deleting_a_user_is_a_long_task() {
    let confluence = confluence("10.0.3");
    confluence.directory().add_user("ann", "ann@example.com", "Ann").unwrap();
    let accepted = call(&confluence, "DELETE /rest/api/admin/user/ann", "");
    assert_eq!(accepted.status, 202);
    let path = format!("GET /rest/api/longtask/{}", accepted.value()["id"].as_str().unwrap());
    assert_eq!(call(&confluence, &path, "").value()["percentageComplete"], 50);
    assert_eq!(call(&confluence, &path, "").value()["successful"], true);
    assert_eq!(call(&confluence, "GET /rest/api/user?username=ann", "").status, 404);
    assert_eq!(call(&confluence, "GET /rest/api/longtask/none", "").status, 404);
}

#[test]
fn an_anonymous_caller_is_a_user_of_its_own_kind() {
    let confluence = confluence("10.0.3");
    confluence.gate.revoke();
    assert_eq!(call(&confluence, "GET /rest/api/user/current", "").status, 401);
    confluence.gate.set_anonymous(true);
    assert_eq!(call(&confluence, "GET /rest/api/user/current", "").value()["type"], "anonymous");
    assert_eq!(call(&confluence, "GET /rest/api/group", "").status, 403);
    assert_eq!(call(&confluence, "PUT /rest/api/admin/user/rosterd/enable", "").status, 401);
}

#[tokio::test]
async fn a_running_confluence_answers() {
    let confluence = Confluence::start(Options::default()).await.unwrap();
    let url = format!("{}/rest/api/user/current", confluence.url());
    let got = crate::harness::wire::get(&url, "Bearer token-of-rosterd").await;
    assert_eq!(got.json()["username"], "rosterd");
}
