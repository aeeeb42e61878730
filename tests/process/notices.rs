//! Messages by webhook: what a command leaves behind the daemon delivers, and what fails is tried again.

use mockito::{Matcher, Server};

use crate::site::{Site, small, until_true};

#[tokio::test]
async fn what_a_sync_left_behind_the_daemon_delivers_after_a_failure_and_once() {
    let mut server = Server::new_async().await;
    let failing = server.mock("POST", "/geheim").with_status(500).expect(1).create_async().await;
    let site = Site::with(small(), "schedule = \"weekly\"").await;
    let url = site.folder.path().join("hook-url");
    std::fs::write(&url, format!("{}/geheim\n", server.url())).expect("written");
    let text = std::fs::read_to_string(site.file()).expect("there is a configuration");
    site.write(&format!("{text}\n[notify.ops]\nurl = {{ file = {:?} }}\non = [\"refused\"]\n", url.display().to_string()));
    site.estate.okta.set_token("rotated");
    site.run(&["sync"]).await.exits(77);
    site.run(&["sync"]).await.exits(77);

    let daemon = site.daemon().await;
    until_true("the first try", || failing.matched()).await;
    daemon.line("is tried again").await;
    failing.remove_async().await;
    let arrived = server
        .mock("POST", "/geheim")
        .match_body(Matcher::PartialJsonString(r#"{"event":"refused","system":"okta"}"#.into()))
        .expect(1)
        .create_async()
        .await;
    until_true("the second try", || arrived.matched()).await;
    assert_eq!(daemon.count(&["geheim"]), 0, "the URL is a secret");
    daemon.stop().await;
    // Nothing is left: a new process sends nothing more.
    let again = site.daemon().await;
    again.stop().await;
    arrived.assert_async().await;
}
