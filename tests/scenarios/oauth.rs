//! A service app with DPoP in place of an API token, from the first request to a converged estate.

use rosterd::contract::journal::Ended;
use rosterd_sim::estate::Options;
use rosterd_sim::okta::{self, KeyPair, ServiceApp};

use super::team::{at_work, everywhere, person, team};
use crate::support::{Scene, Setting, TARGETS, ended};

const CLIENT: &str = "0oaServiceApp0000000";

/// A setting whose Okta knows a service app; the folder holds its private key.
fn service_app(dpop: bool) -> (Setting, tempfile::TempDir) {
    let pair = KeyPair::p256();
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("okta.pem");
    std::fs::write(&key, &pair.private_pem).expect("the key is written");
    let app = ServiceApp { dpop, key_id: Some("key-1".to_owned()), ..ServiceApp::new(CLIENT, &pair.public_pem) };
    let okta = okta::Options { service_app: Some(app), ..okta::Options::default() };
    let file = key.display().to_string();
    let more = format!(
        "oauth = {{ client_id = {CLIENT:?}, private_key = {{ file = {file:?} }}, key_id = \"key-1\", dpop = {dpop}, algorithm = \"ES256\" }}"
    );
    (Setting { okta: more, options: Options { okta, ..Options::default() }, ..Setting::default() }, folder)
}

async fn story(scene: &Scene) {
    let okta = &scene.estate.okta;
    okta.add_user(person("Gina", "Park"));
    okta.add_member("sales", "gina.park@example.com");
    okta.remove_member("sales", "eve.ito@example.com");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    }
    everywhere(scene, "sales", ["dan.ng", "gina.park"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_service_app_with_dpop_reads_and_proves() {
    let (setting, _folder) = service_app(true);
    let scene = at_work(team(), setting).await;
    let okta = &scene.estate.okta;
    story(&scene).await;
    let reads: Vec<_> = okta.server.log.all().into_iter().filter(|s| s.path.starts_with("/api/")).collect();
    let bound = |s: &rosterd_sim::harness::Seen| s.header("authorization").is_some_and(|a| a.starts_with("DPoP "));
    assert!(!reads.is_empty() && reads.iter().all(|s| bound(s) && s.header("dpop").is_some()));
    // A nonce that changes, a nonce that is wanted everywhere, tokens that are taken back: none is seen from outside.
    okta.renew_nonce();
    okta.nonce_everywhere(true);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_service_app_without_dpop_does_as_well() {
    let (setting, _folder) = service_app(false);
    story(&at_work(team(), setting).await).await;
}

#[tokio::test]
async fn a_scope_that_was_taken_away_is_no_absence() {
    let (setting, _folder) = service_app(true);
    let mut scene = at_work(team(), setting).await;
    scene.estate.okta.grant(&["okta.users.read"]);
    scene.reassemble();
    scene.hush();
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Blind, "{:?}", report.record.end);
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    for target in TARGETS {
        assert_eq!(scene.members(target, "sales").len(), 2, "{target}");
    }
}
