//! Single users and groups, and the self-test: only a definite answer is one.

use mockito::Matcher;

use super::*;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::Source;
use crate::model::roster::Lifecycle;

const APP_GONE: &str = r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found: 0oa1 (AppInstance)"}"#;

#[tokio::test]
async fn a_user_is_read_with_every_page_of_their_groups() {
    let mut org = Org::new().await;
    org.on("/api/v1/users/00u00001", 200, &[], &user("00u00001", "SUSPENDED")).await;
    let base = org.server.url();
    let next = format!("<{base}/api/v1/users/00u00001/groups?after=c1&limit=200>; rel=\"next\"");
    let first = [group("00g2", "ops", "APP_GROUP"), group("00geve", "Everyone", "BUILT_IN")];
    org.on("/api/v1/users/00u00001/groups", 200, &[("link", &next)], &array(&first)).await;
    let second = [group("00g1", "eng", "OKTA_GROUP")];
    org.on("/api/v1/users/00u00001/groups?after=c1&limit=200", 200, &[], &array(&second)).await;
    let subject = org.okta("").fetch_user(&"00u00001".into(), &Ask::default()).await.expect("read").expect("there");
    assert_eq!(subject.user.lifecycle, Lifecycle::Disabled);
    assert!(subject.in_scope);
    assert_eq!(subject.groups, [("00g1".into(), "eng".into()), ("00g2".into(), "ops".into())]);
    org.assert_all_asked().await;
}

#[tokio::test]
async fn a_user_is_absent_only_on_oktas_definite_word() {
    for (status, body, fault) in [
        (404, NOT_FOUND, None),
        (404, "<html>", Some(Fault::Malformed)),
        (404, "", Some(Fault::Malformed)),
        (404, r#"{"errorCode":"E0000008","errorSummary":"The requested path was not found"}"#, Some(Fault::Malformed)),
        (200, "[]", Some(Fault::Malformed)),
        (200, "", Some(Fault::Malformed)),
        (403, r#"{"errorCode":"E0000006","errorSummary":"No."}"#, Some(Fault::Forbidden)),
        (500, r#"{"errorCode":"E0000009","errorSummary":"Oh."}"#, Some(Fault::Unavailable { retry_after: None })),
    ] {
        let mut org = Org::new().await;
        org.on("/api/v1/users/00u00001", status, &[], body).await;
        match org.okta("").fetch_user(&"00u00001".into(), &Ask::default()).await {
            Ok(found) => assert!(found.is_none() && fault.is_none(), "{status} {body}"),
            Err(error) => assert_eq!(Some(error.fault), fault, "{status} {body}"),
        }
    }
}

#[tokio::test]
async fn an_answer_about_another_user_is_none() {
    let mut org = Org::new().await;
    org.on("/api/v1/users/00u00001", 200, &[], &user("00u00002", "ACTIVE")).await;
    let error = org.okta("").fetch_user(&"00u00001".into(), &Ask::default()).await.expect_err("another");
    assert_eq!(error.fault, Fault::Malformed);
}

async fn in_scope_of_app(status: usize, body: &str, app: Option<(usize, &str)>) -> Result<bool, Fault> {
    let mut org = Org::new().await;
    org.on("/api/v1/users/00u00001", 200, &[], &user("00u00001", "ACTIVE")).await;
    org.on("/api/v1/users/00u00001/groups", 200, &[], "[]").await;
    org.on("/api/v1/apps/0oa1/users/00u00001", status, &[], body).await;
    if let Some((status, body)) = app {
        org.on("/api/v1/apps/0oa1", status, &[], body).await;
    }
    let subject = org.okta("app_id = \"0oa1\"").fetch_user(&"00u00001".into(), &Ask::default()).await;
    org.assert_all_asked().await;
    Ok(subject.map_err(|error| error.fault)?.expect("there").in_scope)
}

#[tokio::test]
async fn a_user_is_out_of_the_apps_scope_only_while_the_app_is_there() {
    let app = r#"{"id":"0oa1","status":"ACTIVE","label":"Atlassian"}"#;
    assert_eq!(in_scope_of_app(200, &app_user("00u00001", "USER"), None).await, Ok(true));
    assert_eq!(in_scope_of_app(404, NOT_FOUND, None).await, Ok(false));
    assert_eq!(in_scope_of_app(404, r#"{"errorCode":"E0000007"}"#, Some((200, app))).await, Ok(false));
    assert_eq!(in_scope_of_app(404, APP_GONE, Some((404, APP_GONE))).await, Err(Fault::NotFound));
    assert_eq!(in_scope_of_app(404, "<html>", None).await, Err(Fault::Malformed));
}

#[tokio::test]
async fn where_groups_say_who_is_in_scope_a_user_in_none_of_them_is_not() {
    for (name, in_scope) in [("eng", true), ("other", false)] {
        let mut org = Org::new().await;
        org.on("/api/v1/users/00u00001", 200, &[], &user("00u00001", "ACTIVE")).await;
        org.on("/api/v1/users/00u00001/groups", 200, &[], &array(&[group("00g1", name, "OKTA_GROUP")])).await;
        let subject = org.okta("users = \"groups\"").fetch_user(&"00u00001".into(), &only(&["eng"])).await;
        assert_eq!(subject.expect("read").expect("there").in_scope, in_scope);
    }
}

#[tokio::test]
async fn a_group_is_absent_only_on_oktas_definite_word_and_in_scope_if_assigned() {
    let mut org = Org::new().await;
    org.on("/api/v1/groups/00g1", 404, &[], NOT_FOUND).await;
    assert_eq!(org.okta("").fetch_group(&"00g1".into()).await.expect("definite"), None);

    let mut org = Org::new().await;
    org.on("/api/v1/groups/00g1", 404, &[], "").await;
    assert_eq!(org.okta("").fetch_group(&"00g1".into()).await.expect_err("vague").fault, Fault::Malformed);

    let mut org = Org::new().await;
    org.on("/api/v1/groups/00geve", 200, &[], &group("00geve", "Everyone", "BUILT_IN")).await;
    let fact = org.okta("").fetch_group(&"00geve".into()).await.expect("read").expect("there");
    assert_eq!((&*fact.name, fact.in_scope), ("Everyone", false));

    let mut org = Org::new().await;
    org.on("/api/v1/groups/00g1", 200, &[], &group("00g1", "eng", "OKTA_GROUP")).await;
    org.on("/api/v1/apps/0oa1/groups/00g1", 200, &[], &app_group("00g1", "eng")).await;
    let fact = org.okta("app_id = \"0oa1\"").fetch_group(&"00g1".into()).await.expect("read").expect("there");
    assert!(fact.in_scope);
}

#[tokio::test]
async fn the_self_test_tells_who_we_are() {
    let mut org = Org::new().await;
    org.on("/api/v1/users?limit=1", 200, &[], &array(&users(0..1))).await;
    org.on("/api/v1/groups?limit=1", 200, &[], &array(&[group("00g1", "eng", "OKTA_GROUP")])).await;
    org.on("/api/v1/apps/0oa1", 200, &[], r#"{"id":"0oa1","status":"INACTIVE","label":"Atlassian"}"#).await;
    org.on("/api/v1/users/me", 200, &[], &user("00u00009", "ACTIVE")).await;
    let facts = org.okta("app_id = \"0oa1\"").probe().await.expect("good");
    assert_eq!(facts.acting_as.as_deref(), Some("00u00009@example.com"));
    assert!(facts.notes.iter().any(|note| note.contains("INACTIVE")));
}

#[tokio::test]
async fn the_self_test_tells_apart_refused_forbidden_and_empty() {
    let refused = r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#;
    let forbidden = r#"{"errorCode":"E0000006","errorSummary":"No."}"#;
    for (status, body, fault) in
        [(401, refused, Fault::Refused), (403, forbidden, Fault::Forbidden), (200, "[]", Fault::Forbidden)]
    {
        let mut org = Org::new().await;
        org.on("/api/v1/users?limit=1", status, &[], body).await;
        let error = org.okta("").probe().await.expect_err("not good");
        assert_eq!(error.fault, fault);
        assert!(error.hint.is_some());
        assert_eq!(org.requests(), 1, "nothing more is sent");
    }
}

/// What comes of looking for a text whose login nobody has and whose address these have.
async fn found(text: &str, whose_address: &[String]) -> (Result<Option<String>, ConnectorError>, Org) {
    let mut org = Org::new().await;
    org.on(&format!("/api/v1/users/{}", text.replace('@', "%40")), 404, &[], NOT_FOUND).await;
    if text.contains('@') {
        let search = Matcher::UrlEncoded("search".into(), format!("profile.email eq \"{text}\""));
        let searched =
            org.server.mock("GET", "/api/v1/users").match_query(search).with_header("content-type", "application/json");
        org.mocks.push(searched.with_body(array(whose_address)).create_async().await);
    }
    let found = org.okta("").find(text).await.map(|key| key.map(|key| key.to_string()));
    (found, org)
}

#[tokio::test]
async fn somebody_is_found_by_login_or_by_an_address_that_is_theirs_alone() {
    let mut org = Org::new().await;
    org.on("/api/v1/users/ada", 200, &[], &user("00u00001", "ACTIVE")).await;
    assert_eq!(org.okta("").find("ada").await.expect("read"), Some("00u00001".into()));
    for (text, has, who) in [("ada", 0, None), ("ada@example.com", 0, None), ("ada@example.com", 1, Some("00u00000"))] {
        let (found, org) = found(text, &users(0..has)).await;
        assert_eq!(found.expect("read").as_deref(), who, "{text} of {has}");
        org.assert_all_asked().await;
    }
}

#[tokio::test]
async fn of_several_with_one_address_none_is_chosen_and_all_are_named_without_the_address() {
    let two = [user("00u00001", "ACTIVE"), user("00u00002", "DEPROVISIONED")];
    let error = found("ada@example.com", &two).await.0.expect_err("whom?");
    assert_eq!(error.fault, Fault::Conflict);
    let told = error.to_string();
    assert!(told.contains("00u00001 (ACTIVE), 00u00002 (DEPROVISIONED)") && !told.contains('@'), "{told}");
    assert!(error.hint.is_some_and(|hint| hint.contains("id or the login")));
}

#[tokio::test]
async fn the_owner_of_the_token_is_nobody_s_login() {
    let org = Org::new().await;
    for text in ["me", "ME", ""] {
        assert_eq!(org.okta("").find(text).await.expect("nothing is asked"), None);
    }
    assert_eq!(org.requests(), 0);
}
