//! What is found out at the start of a run, and what ends it there.

use super::*;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Deactivation, Expiry, Seats, Target};

fn server_info(server: &mut ServerGuard, version: &str) -> Mock {
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    let body =
        json!({"version": version, "versionNumbers": numbers, "deploymentType": "Server", "baseUrl": "http://elsewhere.invalid"});
    get(server, "serverInfo", &[]).with_body(body.to_string())
}

fn permissions(server: &mut ServerGuard, body: &Value) -> Mock {
    get(server, "mypermissions", &[]).with_body(body.to_string())
}

fn administrator() -> Value {
    json!({"permissions": {
        "ADMINISTER": {"id": "0", "key": "ADMINISTER", "type": "GLOBAL", "havePermission": true},
        "SYSTEM_ADMIN": {"id": "44", "key": "SYSTEM_ADMIN", "type": "GLOBAL", "havePermission": true},
    }})
}

async fn ready(server: &mut ServerGuard, version: &str, rights: &Value) {
    server_info(server, version).create_async().await;
    get(server, "myself", &[]).with_body(user_json(0).to_string()).create_async().await;
    permissions(server, rights).create_async().await;
    // A test may answer these two otherwise.
    roles(server, &json!([role("jira-software", &["jira-users", "staff"])])).expect_at_least(0).create_async().await;
    let listed = r#"[{"id":1,"name":"sync","expiringAt":"2099-01-02T03:04:05.000Z"}]"#;
    tokens(server).with_body(listed).expect_at_least(0).create_async().await;
}

fn role(key: &str, groups: &[&str]) -> Value {
    json!({
        "key": key, "name": "Jira Software", "groups": groups, "defaultGroups": groups, "defined": true,
        "numberOfSeats": 500, "remainingSeats": 11, "userCount": 489, "hasUnlimitedSeats": false, "platform": false,
    })
}

fn roles(server: &mut ServerGuard, body: &Value) -> Mock {
    get(server, "applicationrole", &[]).with_body(body.to_string())
}

/// The list of tokens, which is no part of the API of version 2.
fn tokens(server: &mut ServerGuard) -> Mock {
    server.mock("GET", "/ctx/rest/pat/latest/tokens").with_header("content-type", JSON)
}

async fn refused(jira: &Jira) -> ConnectorError {
    jira.probe().await.unwrap_err()
}

#[tokio::test]
async fn a_probe_tells_version_identity_and_what_can_be_done() {
    let mut server = mockito::Server::new_async().await;
    ready(&mut server, "11.3.5", &administrator()).await;
    let listed = get(&mut server, "user/list", &[("maxResults", "1")]).with_body("{}").expect(1).create_async().await;
    let jira = jira(&server, "");
    let found = jira.probe().await.unwrap();
    assert_eq!((found.product, found.version.as_str(), found.acting_as.as_deref()), ("Jira", "11.3.5", Some("user0")));
    assert_eq!((found.deactivation, found.adds_per_call), (Deactivation::Flag, 1));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    assert!(jira.known().unwrap().lists_users);
    jira.probe().await.unwrap();
    listed.assert_async().await;
    assert_eq!(jira.api.meter().requests(), 6 + 4, "what the version can do and when the token expires is asked once");
}

#[tokio::test]
async fn the_seats_of_each_role_and_the_end_of_the_token_are_told() {
    let mut server = mockito::Server::new_async().await;
    ready(&mut server, "9.12.4", &administrator()).await;
    let found = jira(&server, "").probe().await.unwrap();
    let seats = |groups: &[&str], used, of, taken_by_creation| Seats {
        product: "Jira Software".to_owned(),
        used,
        of,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        taken_by_creation,
    };
    assert_eq!(found.seats, [seats(&["jira-users", "staff"], 489, Some(500), false)]);
    assert_eq!(found.expires, Expiry::At("2099-01-02T03:04:05Z".parse().unwrap()));

    // A role that no group gives is nobody's concern, unless whoever is created gets it. The document's shape is a single role.
    for (more, expected) in [("", vec![]), ("application_keys = [\"jira-core\"]", vec![seats(&[], 489, None, true)])] {
        server.reset();
        let mut unlimited = role("jira-core", &[]);
        unlimited["hasUnlimitedSeats"] = json!(true);
        unlimited["numberOfSeats"] = json!(-1);
        roles(&mut server, &unlimited).create_async().await;
        server_info(&mut server, "9.12.4").create_async().await;
        get(&mut server, "myself", &[]).with_body(user_json(0).to_string()).create_async().await;
        permissions(&mut server, &administrator()).create_async().await;
        tokens(&mut server).with_status(404).with_body("<html/>").create_async().await;
        let found = jira(&server, more).probe().await.unwrap();
        assert_eq!((found.seats, found.expires), (expected, Expiry::Unknown));
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }
}

#[tokio::test]
async fn seats_and_tokens_that_are_not_told_keep_nothing_from_running() {
    let mut server = mockito::Server::new_async().await;
    for (status, body) in [(403, "{}"), (404, "<html/>"), (405, "{}"), (200, "[{\"key\": 5}]")] {
        server.reset();
        ready(&mut server, "9.12.4", &administrator()).await;
        get(&mut server, "applicationrole", &[]).with_status(status).with_body(body).create_async().await;
        tokens(&mut server).with_status(status).with_body(body).create_async().await;
        let found = jira(&server, "").probe().await.unwrap();
        assert_eq!((found.seats.len(), found.expires), (0, Expiry::Unknown), "{status}");
        assert!(found.notes.len() == 1 && found.notes[0].contains("seats"), "{status}: {:?}", found.notes);
    }
    // A list of tokens that is for browsers alone says so as a refused credential does.
    server.reset();
    ready(&mut server, "9.12.4", &administrator()).await;
    tokens(&mut server).with_status(401).with_body("{}").create_async().await;
    assert_eq!(jira(&server, "").probe().await.unwrap().expires, Expiry::Unknown);
}

#[tokio::test]
async fn nobody_asks_when_a_password_expires() {
    let mut server = mockito::Server::new_async().await;
    ready(&mut server, "9.12.4", &administrator()).await;
    let asked = tokens(&mut server).expect(0).create_async().await;
    let table = format!("url = \"{}/ctx\"\nauth = {{ username = \"rosterd\", password = TOKEN }}", server.url());
    let (settings, _directory) = settings(&table);
    assert_eq!(Jira::new(&settings, &kit()).unwrap().probe().await.unwrap().expires, Expiry::Never);
    asked.assert_async().await;
}

#[tokio::test]
async fn a_version_that_lacks_the_listing_is_known_to_lack_it() {
    for (version, asks) in [("9.12.4", 0), ("10.0.1", 0), ("10.3.11", 1), ("10.4.0", 1)] {
        let mut server = mockito::Server::new_async().await;
        ready(&mut server, version, &administrator()).await;
        let listed = get(&mut server, "user/list", &[]).with_status(404).with_body("<html/>").expect(asks).create_async().await;
        let jira = jira(&server, "");
        jira.probe().await.unwrap();
        assert!(!jira.known().unwrap().lists_users);
        listed.assert_async().await;
    }
}

#[tokio::test]
async fn an_old_version_is_refused_and_a_new_one_noted() {
    let mut server = mockito::Server::new_async().await;
    server_info(&mut server, "8.19.1").create_async().await;
    let error = refused(&jira(&server, "")).await;
    assert_eq!(error.fault, Fault::Unsupported);
    assert!(error.hint.unwrap().contains("8.20"));

    server.reset();
    ready(&mut server, "12.0.0", &administrator()).await;
    get(&mut server, "user/list", &[]).with_body("{}").create_async().await;
    assert!(jira(&server, "").probe().await.unwrap().notes[0].contains("newer"));
}

#[tokio::test]
async fn basic_switched_off_is_a_refused_credential_with_the_way_out() {
    let mut server = mockito::Server::new_async().await;
    let asked = get(&mut server, "serverInfo", &[])
        .with_status(403)
        .with_body(r#"{"message":"Basic Authentication has been disabled on this instance."}"#)
        .expect(1)
        .create_async()
        .await;
    let table = format!("url = \"{}/ctx\"\nauth = {{ username = \"rosterd\", password = TOKEN }}", server.url());
    let (settings, _directory) = settings(&table);
    let error = refused(&Jira::new(&settings, &kit()).unwrap()).await;
    assert_eq!(error.fault, Fault::Refused);
    assert!(error.hint.unwrap().contains("personal access token"));
    asked.assert_async().await;
}

#[tokio::test]
async fn a_credential_that_has_become_anonymous_is_refused() {
    let mut server = mockito::Server::new_async().await;
    // serverInfo answers anybody.
    server_info(&mut server, "10.4.0").create_async().await;
    let asked = get(&mut server, "myself", &[])
        .with_status(401)
        .with_header("content-type", "text/html")
        .with_body("<html>login</html>")
        .expect(1)
        .create_async()
        .await;
    assert_eq!(refused(&jira(&server, "")).await.fault, Fault::Refused);
    asked.assert_async().await;
}

#[tokio::test]
async fn a_captcha_is_a_refused_credential() {
    let mut server = mockito::Server::new_async().await;
    server_info(&mut server, "10.4.0").create_async().await;
    let denied = "CAPTCHA_CHALLENGE; login-url=http://elsewhere.invalid/login.jsp";
    let asked = get(&mut server, "myself", &[])
        .with_status(403)
        .with_header("X-Authentication-Denied-Reason", denied)
        .with_body("<html/>")
        .expect(1)
        .create_async()
        .await;
    let error = refused(&jira(&server, "")).await;
    assert_eq!(error.fault, Fault::Refused);
    assert!(error.hint.unwrap().contains("CAPTCHA"));
    asked.assert_async().await;
}

#[tokio::test]
async fn a_missing_right_is_told_before_anything_is_planned() {
    let rights = |administer: bool, system: bool| json!({"permissions": {"ADMINISTER": {"havePermission": administer}, "SYSTEM_ADMIN": {"havePermission": system}}});
    let mut server = mockito::Server::new_async().await;
    ready(&mut server, "9.12.4", &rights(false, false)).await;
    let error = refused(&jira(&server, "")).await;
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.hint.unwrap().contains("Jira Administrators"));

    for (rights, note) in [
        (rights(true, false), Some("system administrator")),
        (rights(false, true), None),
        (json!({"permissions": {}}), Some("does not tell")),
        (json!(["another shape"]), Some("does not tell")),
    ] {
        server.reset();
        ready(&mut server, "9.12.4", &rights).await;
        let notes = jira(&server, "").probe().await.unwrap().notes;
        assert_eq!(notes.len(), usize::from(note.is_some()), "{notes:?}");
        assert!(note.is_none_or(|note| notes[0].contains(note)), "{notes:?}");
    }
}

#[tokio::test]
async fn an_account_that_is_switched_off_and_a_jira_of_the_cloud_are_refused() {
    let mut server = mockito::Server::new_async().await;
    server_info(&mut server, "9.12.4").create_async().await;
    let mut myself = user_json(0);
    myself["active"] = json!(false);
    get(&mut server, "myself", &[]).with_body(myself.to_string()).create_async().await;
    assert_eq!(refused(&jira(&server, "")).await.fault, Fault::Refused);

    server.reset();
    let cloud = json!({"version": "1001.0.0", "versionNumbers": [1001, 0, 0], "deploymentType": "Cloud"});
    get(&mut server, "serverInfo", &[]).with_body(cloud.to_string()).create_async().await;
    assert_eq!(refused(&jira(&server, "")).await.fault, Fault::Unsupported);
}

#[tokio::test]
async fn a_page_instead_of_json_points_to_the_context_path() {
    let mut server = mockito::Server::new_async().await;
    get(&mut server, "serverInfo", &[]).with_header("content-type", "text/html").with_body("<html/>").create_async().await;
    let error = refused(&jira(&server, "")).await;
    assert_eq!(error.fault, Fault::Malformed);
    assert!(error.hint.unwrap().contains("context path"));
}
