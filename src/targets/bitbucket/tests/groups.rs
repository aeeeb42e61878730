//! Groups and memberships, and the user who is deleted.

use super::*;

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
