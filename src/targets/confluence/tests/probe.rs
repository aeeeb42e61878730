//! What is asked of a Confluence before anything else: its version, who we are there and whether that is enough.

use super::*;

#[tokio::test]
async fn a_probe_tells_version_account_powers_and_the_token_s_end_in_seven_requests() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "10.0.3").await;
    let found = rig.target.probe().await.expect("it answers");
    assert_eq!((found.version.as_str(), found.acting_as.as_deref()), ("10.0.3", Some("rosterd")));
    assert!(found.can_update && !found.can_rename && found.can.contains(&OpKind::UpdateUser));
    assert_eq!((found.deactivation, found.adds_per_call), (Deactivation::Flag, 1));
    assert_eq!(found.expires, Expiry::At("2099-01-02T03:04:05Z".parse().unwrap()));
    let [seats] = &found.seats[..] else { panic!("{:?}", found.seats) };
    assert_eq!((seats.used, seats.of, seats.taken_by_creation), (489, Some(500), true));
    assert_eq!(rig.requests(), 7);
    rig.target.probe().await.expect("it answers");
    assert_eq!(rig.requests(), 13, "the token's end is asked for once a day");
}

#[tokio::test]
async fn a_licence_that_is_not_told_is_nobody_s_fault_and_asked_for_once_a_day() {
    for (status, body) in [
        (401, problem(401, "no")),
        (403, problem(403, "no")),
        (404, Value::Null),
        (200, json!({ "seats": 11 })),
        (200, json!({ "count": -7 })),
    ] {
        let mut rig = Rig::new().await;
        probeable(&mut rig, "10.0.3").await;
        rig.answers("GET", "license/1.0/license/userCount", status, body.clone()).await;
        for _ in 0..2 {
            assert!(rig.target.probe().await.expect("it answers").seats.is_empty(), "{status} {body}");
        }
        let asked = if body["count"].is_number() { 2 } else { 1 };
        assert_eq!(rig.requests(), 5 + asked + 4, "{status} {body}");
    }
    let mut rig = Rig::new().await;
    probeable(&mut rig, "10.0.3").await;
    rig.answers("GET", "license/1.0/license/maxUsers", 200, json!({ "count": -1 })).await;
    assert_eq!(rig.target.probe().await.expect("it answers").seats[0].of, None, "without a limit");
}

#[tokio::test]
async fn full_names_are_changed_from_9_4_on() {
    for (version, can) in [("8.4.0", false), ("8.5.16", false), ("9.3.1", false), ("9.4.0", true), ("10.2.1-m1", true)] {
        let mut rig = Rig::new().await;
        probeable(&mut rig, version).await;
        let found = rig.target.probe().await.expect("it answers");
        assert_eq!((found.can_update, found.can.contains(&OpKind::UpdateUser)), (can, can), "{version}");
        let (user, after) = (Who { key: &"k1".into(), name: "u1" }, Attributes { email: None, ..ada() });
        let before = Attributes { name: "ada".into(), email: None, display_name: Some("Old".into()) };
        if !can {
            let error = rig.target.apply(Act::UpdateUser { user, before: &before, after: &after }).await.unwrap_err();
            assert_eq!(error.fault, Fault::Unsupported);
        }
    }
}

#[tokio::test]
async fn a_version_before_8_4_is_refused_with_the_way_out() {
    for version in ["7.19.30", "8.3.4"] {
        let mut rig = Rig::new().await;
        probeable(&mut rig, version).await;
        let error = rig.target.probe().await.unwrap_err();
        assert_eq!(error.fault, Fault::Unsupported);
        let hint = error.hint.unwrap();
        assert!(hint.contains("8.4") && hint.contains("Crowd") && hint.contains("Jira"), "{hint}");
    }
}

#[tokio::test]
async fn another_product_is_not_taken_for_confluence() {
    let mut rig = Rig::new().await;
    rig.answers("GET", "applinks/1.0/manifest", 200, json!({ "typeId": "jira", "version": "10.3.0" })).await;
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Unsupported);
}

#[tokio::test]
async fn a_manifest_that_is_locked_away_gives_way_to_the_server_information() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "1.0").await;
    rig.answers("GET", "applinks/1.0/manifest", 403, Value::Null).await;
    rig.answers("GET", "api/server-information", 200, json!({ "version": "9.4.1" })).await;
    assert_eq!(rig.target.probe().await.expect("it answers").version, "9.4.1");
}

#[tokio::test]
async fn a_refused_credential_is_tried_once() {
    let mut rig = Rig::new().await;
    let manifest = rig.answers("GET", "applinks/1.0/manifest", 401, Value::Null).await.expect(1);
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Refused);
    manifest.assert_async().await;
    assert_eq!(rig.requests(), 1);
}

#[tokio::test]
async fn an_anonymous_session_is_a_refused_credential() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "9.4.0").await;
    rig.answers("GET", "api/user/current", 200, json!({ "type": "anonymous", "displayName": "Anonymous" })).await;
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Refused);
}

#[tokio::test]
async fn a_missing_right_to_read_members_stops_the_probe_with_advice() {
    let mut rig = Rig::new().await;
    probeable(&mut rig, "9.4.0").await;
    rig.answers("GET", "api/group/confluence-administrators/member", 403, problem(403, "no")).await;
    let error = rig.target.probe().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.hint.unwrap().contains("administrator"));
}
