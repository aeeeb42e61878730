//! Bitbucket cannot deactivate anybody: a leaver is taken out of every group.

use super::*;

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
