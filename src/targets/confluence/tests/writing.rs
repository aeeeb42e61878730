//! Creating, changing and deleting users, what a refusal means, and whether a change holds already.

use super::*;

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
