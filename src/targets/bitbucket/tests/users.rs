//! Creating and changing users.

use super::*;

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
