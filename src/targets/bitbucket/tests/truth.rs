//! Whether a change holds already, and what an error means.

use super::*;

#[tokio::test]
async fn a_limit_without_headers_is_a_limit() {
    let mut rig = Rig::with("username = \"rosterd\", password", "http = { max_wait = \"0s\", attempts = 1 }\n").await;
    rig.server.mock("POST", Matcher::Any).with_status(429).expect_at_least(1).create_async().await;
    let error = rig.target.apply(Act::CreateGroup { name: "eng" }).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Limited { .. }), "{error:?}");
    assert!(error.why.contains("429"), "{error}");
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
        request: None,
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
