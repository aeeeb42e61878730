//! What each act sends, and what its refusals mean.

use super::*;
use crate::contract::fault::Fault;
use crate::contract::target::{Act, Holds, Target, Who};
use crate::model::desired::Attributes;

const V11: Version = Version(11, 3);
const MEMBER_ALREADY: &str =
    r#"{"errorMessages":["Der Benutzer user1 ist bereits Mitglied von 'licensed to exceed the limit'."],"errors":{}}"#;

fn attributes(name: &str, email: Option<&str>, display_name: Option<&str>) -> Attributes {
    Attributes { name: name.into(), email: email.map(Into::into), display_name: display_name.map(Into::into) }
}

fn write(server: &mut ServerGuard, method: &str, rest: &str, query: &[(&str, &str)]) -> Mock {
    let query = if query.is_empty() { Matcher::Any } else { parameters(query) };
    server
        .mock(method, path(rest).as_str())
        .match_query(query)
        .match_header("x-atlassian-token", "no-check")
        .match_header("authorization", "Bearer a-token")
        .with_header("content-type", JSON)
}

#[tokio::test]
async fn a_user_is_created_with_a_random_password_without_applications_and_without_mail() {
    let mut server = mockito::Server::new_async().await;
    let body = |request: &Request| {
        let sent: Value = serde_json::from_slice(request.body().unwrap()).unwrap();
        let mut rest = sent.clone();
        let password = rest.as_object_mut().unwrap().remove("password").unwrap();
        password.as_str().unwrap().len() >= 24
            && rest == json!({"name": "ada", "emailAddress": "ada@example.com", "displayName": "Ada", "applicationKeys": []})
    };
    let mut answer = user_json(5);
    answer["name"] = json!("ada");
    let sent = write(&mut server, "POST", "user", &[])
        .match_request(body)
        .with_status(201)
        .with_body(answer.to_string())
        .create_async()
        .await;
    let jira = known(&server, V11, true, "");
    let wanted = attributes("ada", Some("ada@example.com"), Some("Ada"));
    let applied = jira.apply(Act::CreateUser { attributes: &wanted }).await.unwrap();
    sent.assert_async().await;
    assert_eq!(applied.created.unwrap().key, key(5));
}

#[tokio::test]
async fn an_answer_without_a_key_is_completed_by_reading_the_user() {
    let mut server = mockito::Server::new_async().await;
    let body =
        Matcher::PartialJson(json!({"notification": "true", "applicationKeys": ["jira-software"], "displayName": "user6"}));
    write(&mut server, "POST", "user", &[])
        .match_body(body)
        .with_status(201)
        .with_body(r#"{"name":"user6"}"#)
        .create_async()
        .await;
    single(&mut server, &[("username", "user6")], &user_json(6)).expect(1).create_async().await;
    let jira = known(&server, V11, true, "notify = true\napplication_keys = [\"jira-software\"]");
    let wanted = attributes("user6", Some("user6@example.com"), None);
    let applied = jira.apply(Act::CreateUser { attributes: &wanted }).await.unwrap();
    assert_eq!(applied.created.unwrap().key, key(6));
}

#[tokio::test]
async fn a_refused_creation_is_told_apart_by_the_fields_it_names() {
    let cases = [
        (r#"{"errorMessages":[],"errors":{"username":"A user with that username already exists."}}"#, Fault::Conflict),
        (r#"{"errorMessages":[],"errors":{"emailAddress":"ada@example.com is not valid"}}"#, Fault::Rejected),
        (r#"{"errorMessages":[],"errors":{"password":"too short"}}"#, Fault::Rejected),
        (r#"{"errorMessages":["You have exceeded your license's user limit."],"errors":{}}"#, Fault::LicenceFull),
        (r#"{"errorMessages":["Etwas anderes"],"errors":{}}"#, Fault::Conflict),
        ("<html>400</html>", Fault::Malformed),
    ];
    for (body, fault) in cases {
        let mut server = mockito::Server::new_async().await;
        write(&mut server, "POST", "user", &[]).with_status(400).with_body(body).create_async().await;
        let jira = known(&server, V11, true, "");
        let wanted = attributes("ada", Some("ada@example.com"), None);
        let error = jira.apply(Act::CreateUser { attributes: &wanted }).await.unwrap_err();
        assert_eq!(error.fault, fault, "{body}");
        assert!(!format!("{error:?}").contains("ada@"), "an address is not repeated");
    }
}

#[tokio::test]
async fn a_user_without_an_address_is_rejected_before_anything_is_sent() {
    let server = mockito::Server::new_async().await;
    let jira = known(&server, V11, true, "");
    let error = jira.apply(Act::CreateUser { attributes: &attributes("ada", None, None) }).await.unwrap_err();
    assert_eq!((error.fault, jira.api.meter().requests()), (Fault::Rejected, 0));
}

#[tokio::test]
async fn an_update_sends_what_differs_and_is_seen() {
    let mut server = mockito::Server::new_async().await;
    let before = attributes("ada", Some("old@example.com"), None);
    let after = attributes("countess", Some("new@example.com"), Some("Ada"));
    let sent = write(&mut server, "PUT", "user", &[("key", "JIRAUSER1")])
        .match_body(Matcher::Json(json!({"name": "countess", "emailAddress": "new@example.com"})))
        .with_body(user_json(1).to_string())
        .create_async()
        .await;
    let jira = known(&server, V11, true, "");
    let key = key(1);
    let user = Who { key: &key, name: "ada" };
    jira.apply(Act::UpdateUser { user, before: &before, after: &after }).await.unwrap();
    sent.assert_async().await;

    let hidden = attributes("Ada", None, None);
    let after = attributes("ada", None, Some("Ada"));
    jira.apply(Act::UpdateUser { user, before: &hidden, after: &after }).await.unwrap();
    assert_eq!(jira.api.meter().requests(), 1, "neither case nor what is hidden is a difference");

    // An address is in such an update only if it changed at the source since it was last written.
    let moved = write(&mut server, "PUT", "user", &[("key", "JIRAUSER1")])
        .match_body(Matcher::Json(json!({"emailAddress": "newer@example.com"})))
        .with_body(user_json(1).to_string())
        .create_async()
        .await;
    let after = attributes("ada", Some("newer@example.com"), None);
    jira.apply(Act::UpdateUser { user, before: &hidden, after: &after }).await.unwrap();
    moved.assert_async().await;
}

#[tokio::test]
async fn a_user_is_switched_off_and_on_by_its_flag_alone() {
    let mut server = mockito::Server::new_async().await;
    let key = key(1);
    let user = Who { key: &key, name: "user1" };
    for active in [false, true] {
        let sent = write(&mut server, "PUT", "user", &[("key", "JIRAUSER1")])
            .match_body(Matcher::Json(json!({ "active": active })))
            .with_body(user_json(1).to_string())
            .create_async()
            .await;
        let act = if active { Act::ActivateUser { user } } else { Act::DeactivateUser { user } };
        known(&server, V11, true, "").apply(act).await.unwrap();
        sent.assert_async().await;
    }
    server.reset();
    single(&mut server, &[("key", "JIRAUSER1")], &user_json(1)).create_async().await;
    let jira = known(&server, V11, true, "");
    assert_eq!(jira.holds(Act::ActivateUser { user }).await.unwrap(), Holds::Yes(None));
    assert_eq!(jira.holds(Act::DeactivateUser { user }).await.unwrap(), Holds::No);
    assert_eq!(jira.holds(Act::DeleteUser { user }).await.unwrap(), Holds::No);
}

#[tokio::test]
async fn a_member_who_is_one_already_is_a_conflict_that_reading_settles() {
    let group = "licensed to exceed the limit";
    let mut server = mockito::Server::new_async().await;
    write(&mut server, "POST", "group/user", &[("groupname", group)])
        .match_body(Matcher::Json(json!({"name": "user1"})))
        .with_status(400)
        .with_body(MEMBER_ALREADY)
        .create_async()
        .await;
    let jira = known(&server, V11, true, "");
    let key = key(1);
    let users = [Who { key: &key, name: "user1" }];
    let act = Act::AddMembers { group, users: &users };
    assert_eq!(jira.apply(act).await.unwrap_err().fault, Fault::Conflict, "a group's name is not a licence");

    let user = with_groups(user_json(1), &["Licensed to exceed the limit"]);
    single(&mut server, &[("key", "JIRAUSER1"), ("expand", "groups")], &user).create_async().await;
    assert_eq!(jira.holds(act).await.unwrap(), Holds::Yes(None));
    assert_eq!(jira.holds(Act::RemoveMember { group, user: users[0] }).await.unwrap(), Holds::No);
    assert_eq!(jira.holds(Act::RemoveMember { group: "other", user: users[0] }).await.unwrap(), Holds::Yes(None));
}

#[tokio::test]
async fn a_member_who_is_none_any_more_is_found_so() {
    let mut server = mockito::Server::new_async().await;
    let key = key(1);
    let act = Act::RemoveMember { group: "eng", user: Who { key: &key, name: "user1" } };
    let query = [("groupname", "eng"), ("username", "user1")];
    for (status, fault) in [(400, Fault::Conflict), (404, Fault::NotFound)] {
        server.reset();
        write(&mut server, "DELETE", "group/user", &query).with_status(status).with_body(NO_USER).create_async().await;
        assert_eq!(known(&server, V11, true, "").apply(act).await.unwrap_err().fault, fault);
    }
    get(&mut server, "user", &[("key", "JIRAUSER1")]).with_status(404).with_body(NO_USER).create_async().await;
    let jira = known(&server, V11, true, "");
    assert_eq!(jira.holds(act).await.unwrap(), Holds::Yes(None), "a user who is gone is in no group");
    let user = Who { key: &key, name: "user1" };
    assert_eq!(jira.holds(Act::DeactivateUser { user }).await.unwrap(), Holds::Yes(None));
    assert_eq!(jira.holds(Act::DeleteUser { user }).await.unwrap(), Holds::Yes(None));
    assert_eq!(jira.holds(Act::ActivateUser { user }).await.unwrap(), Holds::No);
}

#[tokio::test]
async fn a_group_that_exists_is_a_conflict_that_reading_settles() {
    let mut server = mockito::Server::new_async().await;
    write(&mut server, "POST", "group", &[])
        .match_body(Matcher::Json(json!({"name": "eng"})))
        .with_status(400)
        .with_body(r#"{"errorMessages":[],"errors":{"groupName":"A group with this name already exists."}}"#)
        .create_async()
        .await;
    members(&mut server, "eng", vec![]).create_async().await;
    no_group(&mut server, "ops").create_async().await;
    let jira = known(&server, V11, true, "");
    assert_eq!(jira.apply(Act::CreateGroup { name: "eng" }).await.unwrap_err().fault, Fault::Conflict);
    assert_eq!(jira.holds(Act::CreateGroup { name: "eng" }).await.unwrap(), Holds::Yes(None));
    assert_eq!(jira.holds(Act::CreateGroup { name: "ops" }).await.unwrap(), Holds::No);
}

#[tokio::test]
async fn a_creation_of_unknown_outcome_is_settled_by_name() {
    let mut server = mockito::Server::new_async().await;
    single(&mut server, &[("username", "User1")], &user_json(1)).create_async().await;
    get(&mut server, "user", &[("username", "user2")]).with_status(404).with_body(NO_USER).create_async().await;
    let jira = known(&server, V11, true, "");
    let Holds::Yes(Some(found)) = jira.holds(Act::CreateUser { attributes: &attributes("User1", None, None) }).await.unwrap()
    else {
        panic!("the user exists");
    };
    assert_eq!(found.key, key(1));
    assert_eq!(jira.holds(Act::CreateUser { attributes: &attributes("user2", None, None) }).await.unwrap(), Holds::No);
}

#[tokio::test]
async fn an_update_holds_where_all_that_it_would_send_is_there() {
    let mut server = mockito::Server::new_async().await;
    single(&mut server, &[("key", "JIRAUSER1")], &user_json(1)).create_async().await;
    let jira = known(&server, V11, true, "");
    let key = key(1);
    let before = attributes("old", Some("old@example.com"), Some("Old"));
    for (after, holds) in [
        (attributes("USER1", Some("user1@example.com"), Some("User 1")), Holds::Yes(None)),
        (attributes("user1", Some("new@example.com"), None), Holds::No),
        (attributes("new", None, None), Holds::No),
    ] {
        let act = Act::UpdateUser { user: Who { key: &key, name: "old" }, before: &before, after: &after };
        assert_eq!(jira.holds(act).await.unwrap(), holds);
    }
}

#[tokio::test]
async fn a_user_who_still_owns_things_is_not_deleted() {
    let mut server = mockito::Server::new_async().await;
    let key = key(1);
    let act = Act::DeleteUser { user: Who { key: &key, name: "user1" } };
    write(&mut server, "DELETE", "user", &[("key", "JIRAUSER1")]).with_status(400).with_body(NO_USER).create_async().await;
    let error = known(&server, V11, true, "").apply(act).await.unwrap_err();
    assert_eq!(error.fault, Fault::Rejected);
    assert!(error.hint.unwrap().contains("deactivate"));

    server.reset();
    // Jira calls the empty answer HTML.
    server
        .mock("DELETE", path("user").as_str())
        .match_query(Matcher::Any)
        .with_status(204)
        .with_header("content-type", "text/html;charset=UTF-8")
        .create_async()
        .await;
    known(&server, V11, true, "").apply(act).await.unwrap();
}

#[tokio::test]
async fn a_forbidden_write_is_given_up_and_a_lockout_stops_the_system() {
    let mut server = mockito::Server::new_async().await;
    write(&mut server, "POST", "group", &[])
        .with_status(403)
        .with_body(r#"{"errorMessages":["read-only"],"errors":{}}"#)
        .expect(1)
        .create_async()
        .await;
    let jira = known(&server, V11, true, "");
    let error = jira.apply(Act::CreateGroup { name: "eng" }).await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    assert_eq!(jira.api.meter().requests(), 1, "it is not tried again");

    server.reset();
    let denied = "CAPTCHA_CHALLENGE; login-url=http://elsewhere.invalid/login.jsp";
    for status in [401, 403] {
        write(&mut server, "POST", "group", &[])
            .with_status(status)
            .with_header("X-Authentication-Denied-Reason", denied)
            .create_async()
            .await;
        let error = known(&server, V11, true, "").apply(Act::CreateGroup { name: "eng" }).await.unwrap_err();
        assert_eq!(error.fault, Fault::Refused);
        assert!(error.why.contains("CAPTCHA"));
        server.reset();
    }
}

#[tokio::test]
async fn one_user_is_read_by_key_else_by_name_with_all_groups_or_not_at_all() {
    let mut server = mockito::Server::new_async().await;
    let user = with_groups(user_json(1), &["eng", "ops"]);
    single(&mut server, &[("key", "JIRAUSER1"), ("expand", "groups")], &user).create_async().await;
    single(&mut server, &[("username", "User1"), ("expand", "groups")], &user).create_async().await;
    get(&mut server, "user", &[("key", "JIRAUSER2")]).with_status(404).with_body(NO_USER).create_async().await;
    get(&mut server, "user", &[("key", "JIRAUSER3")]).with_status(404).with_body("<html/>").create_async().await;
    let mut cut = user_json(4);
    cut["groups"] = json!({"size": 2, "items": []});
    single(&mut server, &[("key", "JIRAUSER4")], &cut).create_async().await;
    single(&mut server, &[("key", "JIRAUSER5")], &user).create_async().await;
    let jira = known(&server, V11, true, "");
    for asked in [linked(1), named("User1")] {
        let (found, groups) = jira.fetch_user(&asked).await.unwrap().unwrap();
        assert_eq!((found.key, groups), (key(1), vec!["eng".to_owned(), "ops".to_owned()]));
    }
    assert_eq!(jira.fetch_user(&linked(2)).await.unwrap(), None);
    assert_eq!(jira.fetch_user(&linked(3)).await.unwrap_err().fault, Fault::Malformed);
    assert_eq!(jira.fetch_user(&linked(4)).await.unwrap_err().fault, Fault::Incomplete);
    assert_eq!(jira.fetch_user(&linked(5)).await.unwrap_err().fault, Fault::Malformed, "another user's answer");
}
