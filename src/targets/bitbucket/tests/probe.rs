//! What is asked of a Bitbucket before anything else: its version, who we are there and whether that is enough.

use super::*;

#[tokio::test]
async fn a_probe_tells_version_account_and_who_administers() {
    let rig = Rig::ordinary("8.19.4").await;
    let found = rig.target.probe().await.unwrap();
    assert_eq!((found.version.as_str(), found.acting_as.as_deref()), ("8.19.4", Some("rosterd")));
    assert_eq!(found.admin_groups, ["Admins"]);
    assert_eq!((found.deactivation, found.adds_per_call), (Deactivation::StripGroups, 100));
    assert!(found.can_rename && found.can_update && !found.can.contains(&OpKind::ActivateUser));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let groups = ["staff", "Admins"].map(str::to_owned).to_vec();
    assert_eq!(found.seats, [Seats { product: "Bitbucket".into(), used: 48, of: Some(50), groups, taken_by_creation: false }]);
    assert_eq!(found.expires, Expiry::Never, "nobody tells when a password expires");
    assert_eq!(rig.requests(), 6);
}

#[tokio::test]
async fn a_licence_that_is_unlimited_or_not_told_keeps_nothing_from_running() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let unlimited = json!({ "unlimitedNumberOfUsers": true, "status": { "currentNumberOfUsers": 48 } });
    rig.answers("GET", "admin/license", 200, unlimited).await;
    let seats = rig.target.probe().await.unwrap().seats;
    assert_eq!((seats.len(), seats[0].used, seats[0].of), (1, 48, None));
    let denied = problem("AuthorisationException", "You are not permitted to access this resource");
    for (status, body) in [(401, denied), (404, problem("NoLicenseException", "none")), (200, json!({ "status": {} }))] {
        rig.answers("GET", "admin/license", status, body).await;
        let found = rig.target.probe().await.unwrap();
        assert!(found.seats.is_empty(), "{status}");
        assert!(found.notes.len() == 1 && found.notes[0].contains("seats"), "{status}: {:?}", found.notes);
    }
}

#[tokio::test]
async fn a_version_before_7_21_is_refused() {
    for version in ["7.20.9", "6.10.0"] {
        let rig = Rig::ordinary(version).await;
        let error = rig.target.probe().await.unwrap_err();
        assert_eq!((error.fault, error.hint.is_some()), (Fault::Unsupported, true), "{version}");
    }
    assert!(Rig::ordinary("7.21.0").await.target.probe().await.is_ok());
    assert!(Rig::ordinary("10.0.0-rc1").await.target.probe().await.is_ok());
}

#[tokio::test]
async fn an_answer_that_names_nobody_is_a_refused_credential() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let body = page(&[user(1)], "?start=0&limit=1", 1).to_string();
    let path = Matcher::Regex("admin/users\\?limit=1$".into());
    rig.server.mock("GET", path).with_header("content-type", "application/json").with_body(body).create_async().await;
    assert_eq!(rig.target.probe().await.unwrap_err().fault, Fault::Refused);
}

#[tokio::test]
async fn a_token_is_told_to_be_too_weak() {
    let mut rig = Rig::with_auth("token").await;
    rig.land("9.4.0").await;
    let denied = problem("AuthorisationException", "You are not permitted to access this resource");
    rig.answers("GET", "admin/permissions/groups", 401, denied).await;
    let error = rig.target.probe().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    let hint = error.hint.unwrap();
    assert!(hint.contains("token") && hint.contains("password"), "{hint}");
}

#[tokio::test]
async fn an_account_that_is_no_administrator_is_forbidden_and_not_refused() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let denied = problem("AuthorisationException", "You are not permitted to access this resource");
    rig.answers("GET", "admin/permissions/groups", 401, denied).await;
    let error = rig.target.probe().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden);
    assert!(error.hint.unwrap().contains("Admin"));
}

#[tokio::test]
async fn read_only_directories_and_grants_of_one_s_own_are_noted() {
    let mut rig = Rig::ordinary("9.4.0").await;
    let directories = json!({ "values": [
        { "name": "Corp", "type": "Microsoft Active Directory (Read Only)", "active": true },
        { "name": "Old", "type": "OpenLDAP (Read Only)", "active": false },
    ] });
    rig.answers("GET", "admin/user-directories", 200, directories).await;
    let own = json!({ "user": { "name": "Root" }, "permission": "SYS_ADMIN" });
    rig.lists("admin/permissions/users", None, vec![own], 1000).await;
    let notes = rig.target.probe().await.unwrap().notes.join("\n");
    assert!(notes.contains("Corp") && !notes.contains("Old") && notes.contains("root"), "{notes}");
    rig.lists("admin/groups", None, vec![group("eng")], 1000).await;
    rig.lists("admin/groups/more-members", Some("eng"), Vec::new(), 1000).await;
    let wanted = Wanted { groups: vec!["eng".into()], ..Wanted::default() };
    assert!(!rig.target.fetch(&wanted).await.unwrap().groups[0].writable);
}
