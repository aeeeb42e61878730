//! The three roads: who is in the roster, and what it costs.

use std::collections::BTreeSet;

use super::*;
use crate::contract::fault::Fault;
use crate::contract::source::{Attributes, Source};
use crate::model::roster::{Lifecycle, SourceRoster};

fn members(roster: &SourceRoster, group: &str) -> Vec<String> {
    let group = &roster.groups[roster.group(&group.into()).expect("in the roster") as usize];
    group.members.iter().map(|ix| roster.users[*ix as usize].key.to_string()).collect()
}

fn names(roster: &SourceRoster) -> Vec<&str> {
    roster.groups.iter().map(|group| &*group.name).collect()
}

#[tokio::test]
async fn the_whole_organisation_costs_its_pages() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..200), users(200..400), users(400..450)]).await;
    let groups = [
        vec![group("00g1", "eng", "OKTA_GROUP"), group("00g2", "ad", "APP_GROUP"), group("00geve", "Everyone", "BUILT_IN")],
        vec![group("00g3", "empty", "OKTA_GROUP")],
    ];
    org.listing("/api/v1/groups", "limit=200", &groups).await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..10), users(10..12)]).await;
    org.listing("/api/v1/groups/00g2/users", "limit=1000", &[users(5..8)]).await;
    org.listing("/api/v1/groups/00g3/users", "limit=1000", &[vec![]]).await;
    let roster = org.okta("").fetch(&Ask::default()).await.expect("whole");
    assert_eq!(roster.users.len(), 450);
    assert_eq!(names(&roster), ["eng", "ad", "empty"]);
    assert_eq!(members(&roster, "00g1").len(), 12);
    assert_eq!(roster.memberships(), 15);
    assert_eq!(org.requests(), 3 + 2 + (2 + 1 + 1));
    org.assert_all_asked().await;
}

#[tokio::test]
async fn groups_that_no_job_names_are_known_and_not_read() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
    org.listing("/api/v1/groups", "limit=200", &[vec![group("00g1", "eng", "OKTA_GROUP"), group("00g2", "ops", "OKTA_GROUP")]])
        .await;
    org.listing("/api/v1/groups/00g2/users", "limit=200", &[users(0..2)]).await;
    let roster = org.okta("members_page = 200").fetch(&only(&["ops"])).await.expect("whole");
    assert_eq!(names(&roster), ["eng", "ops"]);
    assert_eq!((members(&roster, "00g1").len(), members(&roster, "00g2").len()), (0, 2));
    assert_eq!(org.requests(), 3);
}

#[tokio::test]
async fn everyone_takes_part_only_if_asked_for() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
    let filter = "limit=200&filter=type%20eq%20%22OKTA_GROUP%22%20or%20type%20eq%20%22BUILT_IN%22";
    org.listing("/api/v1/groups", filter, &[vec![group("00geve", "Everyone", "BUILT_IN")]]).await;
    org.listing("/api/v1/groups/00geve/users", "limit=1000", &[users(0..3)]).await;
    let okta = org.okta("group_types = [\"OKTA_GROUP\", \"BUILT_IN\"]");
    assert_eq!(members(&okta.fetch(&Ask::default()).await.expect("whole"), "00geve").len(), 3);
}

#[tokio::test]
async fn groups_counted_as_empty_are_skipped_only_if_asked_to() {
    let mut org = Org::new().await;
    let counted = |id: &str, name: &str, users: u32| {
        let group = group(id, name, "OKTA_GROUP");
        format!("{},\"_embedded\":{{\"stats\":{{\"usersCount\":{users},\"appsCount\":0}}}}}}", &group[..group.len() - 1])
    };
    org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
    org.listing("/api/v1/groups", "limit=200&expand=stats", &[vec![counted("00g1", "eng", 2), counted("00g2", "none", 0)]]).await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..2)]).await;
    let roster = org.okta("skip_empty_groups = true").fetch(&Ask::default()).await.expect("whole");
    assert_eq!(names(&roster), ["eng", "none"]);
    assert_eq!(org.requests(), 3);
}

#[tokio::test]
async fn someone_deactivated_who_is_still_a_member_is_disabled_and_not_missing() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..2)]).await;
    org.listing("/api/v1/groups", "limit=200", &[vec![group("00g1", "eng", "OKTA_GROUP")]]).await;
    let page = vec![user("00u00000", "ACTIVE"), user("00ugone", "DEPROVISIONED"), user("00uslipped", "LOCKED_OUT")];
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[page]).await;
    let roster = org.okta("").fetch(&Ask::default()).await.expect("whole");
    let lifecycle = |id: &str| roster.users[roster.user(&id.into()).expect("in the roster") as usize].lifecycle;
    assert_eq!(lifecycle("00ugone"), Lifecycle::Disabled);
    assert_eq!(lifecycle("00uslipped"), Lifecycle::Entitled);
    assert_eq!(members(&roster, "00g1").len(), 3);
}

#[tokio::test]
async fn someone_listed_twice_is_there_once() {
    let mut org = Org::new().await;
    let twice = vec![user("00u00001", "SUSPENDED")];
    org.listing("/api/v1/users", "limit=200", &[users(0..3), twice]).await;
    org.listing(
        "/api/v1/groups",
        "limit=200",
        &[vec![group("00g1", "eng", "OKTA_GROUP")], vec![group("00g1", "eng2", "OKTA_GROUP")]],
    )
    .await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..2), users(1..2)]).await;
    let roster = org.okta("").fetch(&Ask::default()).await.expect("whole");
    assert_eq!(roster.users.len(), 3);
    assert_eq!(names(&roster), ["eng2"]);
    assert_eq!(members(&roster, "00g1").len(), 2);
}

#[tokio::test]
async fn a_group_deleted_between_list_and_members_is_dropped_and_only_on_oktas_word() {
    for (body, gone) in [(NOT_FOUND, true), ("<html>", false), (r#"{"errorCode":"E0000008"}"#, false)] {
        let mut org = Org::new().await;
        org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
        org.listing("/api/v1/groups", "limit=200", &[vec![group("00g1", "a", "OKTA_GROUP"), group("00g2", "b", "OKTA_GROUP")]])
            .await;
        org.on("/api/v1/groups/00g1/users?limit=1000", 404, &[], body).await;
        org.listing("/api/v1/groups/00g2/users", "limit=1000", &[users(0..2)]).await;
        match org.okta("").fetch(&Ask::default()).await {
            Ok(roster) => assert!(gone && names(&roster) == ["b"]),
            Err(error) => assert!(!gone && error.fault == Fault::Malformed),
        }
    }
}

#[tokio::test]
async fn nobody_at_all_is_an_error_and_never_an_empty_roster() {
    let mut org = Org::new().await;
    org.on("/api/v1/users?limit=200", 200, &[], "[]").await;
    org.listing("/api/v1/groups", "limit=200", &[vec![group("00g1", "eng", "OKTA_GROUP")]]).await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..2)]).await;
    let error = org.okta("").fetch(&Ask::default()).await.expect_err("empty");
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.hint.is_some_and(|hint| hint.contains("Read-only Administrator")));
}

#[tokio::test]
async fn no_group_at_all_not_even_everyone_is_an_error() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
    org.on("/api/v1/groups?limit=200", 200, &[], "[]").await;
    assert_eq!(org.okta("").fetch(&Ask::default()).await.expect_err("empty").fault, Fault::Forbidden);

    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
    org.on("/api/v1/groups?limit=200&filter=type%20eq%20%22OKTA_GROUP%22", 200, &[], "[]").await;
    org.on("/api/v1/groups?limit=1", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    let roster = org.okta("group_types = [\"OKTA_GROUP\"]").fetch(&Ask::default()).await.expect("there is just no such group");
    assert_eq!((roster.users.len(), roster.groups.len()), (3, 0));
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..3)]).await;
    let body = r#"{"errorCode":"E0000006","errorSummary":"You do not have permission to perform the requested action"}"#;
    org.on("/api/v1/groups?limit=200", 403, &[], body).await;
    let error = org.okta("").fetch(&Ask::default()).await.expect_err("forbidden");
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.why.contains("E0000006: You do not have permission"));
    assert!(error.hint.is_some_and(|hint| hint.contains("groups") && hint.contains("okta.groups.read")));
}

#[tokio::test]
async fn an_app_costs_its_pages_and_keeps_its_parameters_on_each() {
    let mut org = Org::new().await;
    let assigned: Vec<_> = (0..4).map(|n| app_user(&format!("00u0000{n}"), "GROUP")).collect();
    org.listing("/api/v1/apps/0oa1/users", "limit=500&expand=user", &[assigned[..3].to_vec(), assigned[3..].to_vec()]).await;
    let groups = [vec![app_group("00g1", "eng")], vec![app_group("00g2", "ops")]];
    org.listing("/api/v1/apps/0oa1/groups", "limit=200&expand=group", &groups).await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..2), users(7..9)]).await;
    org.listing("/api/v1/groups/00g2/users", "limit=1000", &[users(2..4)]).await;
    let roster = org.okta("app_id = \"0oa1\"").fetch(&Ask::default()).await.expect("whole");
    assert_eq!(roster.users.len(), 4);
    // Members who are not assigned to the app are out of scope.
    assert_eq!(members(&roster, "00g1"), ["00u00000", "00u00001"]);
    assert_eq!(org.requests(), 2 + 2 + (2 + 1));
    org.assert_all_asked().await;
}

#[tokio::test]
async fn what_does_not_come_along_with_an_assignment_is_read_by_itself() {
    let mut org = Org::new().await;
    let bare = |id: &str| format!(r#"{{"id":"{id}","scope":"USER","status":"ACTIVE","profile":{{}}}}"#);
    org.listing("/api/v1/apps/0oa1/users", "limit=500&expand=user", &[vec![bare("00u00000"), bare("00u00001")]]).await;
    org.on("/api/v1/users/00u00000", 200, &[], &user("00u00000", "SUSPENDED")).await;
    org.on("/api/v1/users/00u00001", 404, &[], NOT_FOUND).await;
    org.listing("/api/v1/apps/0oa1/groups", "limit=200&expand=group", &[vec![bare("00g1"), bare("00g2")]]).await;
    org.on("/api/v1/groups/00g1", 200, &[], &group("00g1", "eng", "OKTA_GROUP")).await;
    org.on("/api/v1/groups/00g2", 200, &[], &group("00g2", "Everyone", "BUILT_IN")).await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..1)]).await;
    let roster = org.okta("app_id = \"0oa1\"").fetch(&Ask::default()).await.expect("whole");
    assert_eq!(roster.users.len(), 1);
    assert_eq!(roster.users[0].lifecycle, Lifecycle::Disabled);
    assert_eq!(names(&roster), ["eng"]);
    org.assert_all_asked().await;
}

#[tokio::test]
async fn an_app_without_users_or_at_odds_with_itself_is_an_error() {
    for (assigned, fault) in [(vec![], Fault::Incomplete), (vec![app_user("00u00001", "GROUP")], Fault::Incomplete)] {
        let mut org = Org::new().await;
        org.listing("/api/v1/apps/0oa1/users", "limit=500&expand=user", &[assigned]).await;
        org.listing("/api/v1/apps/0oa1/groups", "limit=200&expand=group", &[vec![]]).await;
        assert_eq!(org.okta("app_id = \"0oa1\"").fetch(&Ask::default()).await.expect_err("at odds").fault, fault);
    }
    let mut org = Org::new().await;
    org.on("/api/v1/apps/0oa1/users?limit=500&expand=user", 404, &[], NOT_FOUND).await;
    org.listing("/api/v1/apps/0oa1/groups", "limit=200&expand=group", &[vec![]]).await;
    assert_eq!(org.okta("app_id = \"0oa1\"").fetch(&Ask::default()).await.expect_err("no app").fault, Fault::NotFound);
}

#[tokio::test]
async fn where_groups_say_who_is_in_scope_users_are_not_listed() {
    let mut org = Org::new().await;
    org.listing("/api/v1/groups", "limit=200", &[vec![group("00g1", "eng", "OKTA_GROUP"), group("00g2", "ops", "OKTA_GROUP")]])
        .await;
    org.listing("/api/v1/groups/00g1/users", "limit=1000", &[users(0..2), vec![user("00ugone", "DEPROVISIONED")]]).await;
    let roster = org.okta("users = \"groups\"").fetch(&only(&["eng"])).await.expect("whole");
    assert_eq!(roster.users.len(), 3);
    assert_eq!(org.requests(), 1 + 2);

    let mut org = Org::new().await;
    org.listing("/api/v1/groups", "limit=200", &[vec![group("00g1", "eng", "OKTA_GROUP")]]).await;
    let error = org.okta("users = \"groups\"").fetch(&only(&["typo"])).await.expect_err("nobody");
    assert_eq!(error.fault, Fault::Incomplete);
}

#[tokio::test]
async fn only_attributes_that_a_job_names_are_kept() {
    let mut org = Org::new().await;
    org.listing("/api/v1/users", "limit=200", &[users(0..1)]).await;
    org.on("/api/v1/groups?limit=200", 200, &[], &array(&[group("00geve", "Everyone", "BUILT_IN")])).await;
    let named = Attributes::Named(BTreeSet::from(["costCenter".to_owned()]));
    let roster = org.okta("").fetch(&Ask { attributes: named, groups: None }).await.expect("whole");
    assert_eq!(roster.users[0].profile.as_deref(), Some(r#"{"costCenter":"7"}"#));
    assert_eq!(roster.users[0].email.as_deref(), Some("00u00000@example.com"));
}
