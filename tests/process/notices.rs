//! Messages by webhook: what a command leaves behind the daemon delivers, what fails is tried again, and nothing of it keeps
//! the daemon from reloading or stopping.

use mockito::{Matcher, Mock, Server, ServerGuard};
use tokio::net::TcpListener;

use crate::site::{Site, small, until_true};

/// A site that tells a webhook of refusals; the URL is in a file.
async fn telling(url: &str) -> Site {
    let site = Site::with(small(), "schedule = \"weekly\"").await;
    set_url(&site, url);
    let text = std::fs::read_to_string(site.file()).expect("there is a configuration");
    let file = site.folder.path().join("hook-url").display().to_string();
    site.write(&format!("{text}\n[notify.ops]\nurl = {{ file = {file:?} }}\non = [\"refused\"]\n"));
    site
}

fn set_url(site: &Site, url: &str) {
    std::fs::write(site.folder.path().join("hook-url"), format!("{url}\n")).expect("written");
}

/// A command leaves a message behind.
async fn something_to_tell(site: &Site) {
    site.estate.okta.set_token("rotated");
    site.run(&["sync"]).await.exits(77);
    site.run(&["sync"]).await.exits(77);
    assert_eq!(waiting(site).await, 1, "the second refusal is no news");
}

/// How many messages wait, due or not.
async fn waiting(site: &Site) -> usize {
    let ages = chrono::Utc::now() + chrono::TimeDelta::days(300);
    site.journal().await.notes_due(ages).await.expect("readable").len()
}

/// Waits until no message waits any more.
async fn all_told(site: &Site) {
    let ask = async || match waiting(site).await {
        0 => Ok(()),
        many => Err(format!("{many} wait")),
    };
    crate::site::until_told("every message to be struck out", ask).await;
}

async fn failing(server: &mut ServerGuard) -> Mock {
    server.mock("POST", "/geheim").with_status(500).expect(1).create_async().await
}

async fn taking(server: &mut ServerGuard, path: &str) -> Mock {
    let body = Matcher::PartialJsonString(r#"{"event":"refused","system":"okta"}"#.into());
    server.mock("POST", path).match_body(body).expect(1).create_async().await
}

#[tokio::test]
async fn what_a_sync_left_behind_the_daemon_delivers_after_a_failure_and_once() {
    let mut server = Server::new_async().await;
    let sick = failing(&mut server).await;
    let site = telling(&format!("{}/geheim", server.url())).await;
    something_to_tell(&site).await;

    let daemon = site.daemon().await;
    daemon.line("is tried again").await;
    sick.assert_async().await;
    sick.remove_async().await;
    let arrived = taking(&mut server, "/geheim").await;
    all_told(&site).await;
    arrived.assert_async().await;
    assert_eq!(daemon.count(&["geheim"]), 0, "the URL is a secret");
    daemon.stop().await;
    assert_eq!(waiting(&site).await, 0, "nothing is left for the next process");
}

#[tokio::test]
async fn a_reload_takes_the_new_url_for_what_waits() {
    let mut server = Server::new_async().await;
    let (old, new) = (failing(&mut server).await, taking(&mut server, "/new").await);
    let site = telling(&format!("{}/geheim", server.url())).await;
    something_to_tell(&site).await;
    let daemon = site.daemon().await;
    daemon.line("is tried again").await;
    set_url(&site, &format!("{}/new", server.url()));
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    all_told(&site).await;
    old.assert_async().await;
    new.assert_async().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_webhook_that_hangs_does_not_keep_a_stopping_daemon_and_is_told_by_the_next() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let site = telling(&format!("http://{}/geheim", hanging.local_addr().expect("bound"))).await;
    site.daemon_keys("drain = \"1s\"");
    something_to_tell(&site).await;
    let mut daemon = site.daemon().await;
    let (_kept, _) = tokio::time::timeout(crate::site::DEADLINE, hanging.accept()).await.expect("it is asked").expect("accepted");
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0), "{:?}", daemon.lines());
    // Waited for, the message would have failed by its own time, which counts as an attempt.
    let ages = chrono::Utc::now() + chrono::TimeDelta::days(300);
    let left: Vec<u32> = site.journal().await.notes_due(ages).await.expect("readable").iter().map(|note| note.attempts).collect();
    assert_eq!(left, [0], "{:?}", daemon.lines());

    let mut server = Server::new_async().await;
    let arrived = taking(&mut server, "/geheim").await;
    set_url(&site, &format!("{}/geheim", server.url()));
    let daemon = site.daemon().await;
    until_true("the message", || arrived.matched()).await;
    all_told(&site).await;
    daemon.stop().await;
}
