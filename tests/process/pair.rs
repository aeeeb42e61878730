//! Two processes on one state file: one works, the other waits or says who works; nothing is done twice.

use std::time::Duration;

use crate::site::{Site, small, until_true};

#[tokio::test]
async fn of_two_at_once_one_works_and_the_other_waits() {
    let reference = Site::plain().await;
    reference.run(&["sync"]).await.exits(0);
    let site = Site::plain().await;
    site.latency(Duration::from_millis(10));
    let (one, two) = tokio::join!(site.run(&["sync"]), site.run(&["sync"]));
    for said in [one, two] {
        let at_work = said.out.contains("another run is at work on") && said.out.contains("(process ");
        assert!(said.code == Some(0) || (said.code == Some(1) && at_work), "{said:?}");
    }
    assert_eq!(site.picture(), reference.picture());
    site.nothing_was_done_twice();
    assert_eq!(site.writes(), reference.writes());
}

#[tokio::test]
async fn who_has_to_wait_too_long_says_who_works() {
    let site = Site::plain().await;
    site.latency(Duration::from_millis(1500));
    let first = site.command(&["sync"]).stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let pid = first.id().expect("it runs");
    until_true("the first at work", || site.writes() > 0).await;
    let second = site.run(&["sync"]).await;
    site.latency(Duration::ZERO);
    assert!(second.out.contains(&format!("(process {pid} on ")), "{second:?}");
    assert!(!second.out.contains("jira: jira"), "{second:?}");
    second.exits(69);
    let first = first.wait_with_output().await.expect("it ends");
    assert_eq!(first.status.code(), Some(0));
    site.nothing_was_done_twice();
}

#[tokio::test]
async fn a_command_works_beside_the_daemon() {
    let reference = Site::plain().await;
    reference.run(&["sync"]).await.exits(0);
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    site.latency(Duration::from_millis(5));
    let daemon = site.daemon().await;
    until_true("the daemon at work", || site.writes() > 0).await;
    site.run(&["status"]).await.exits(0);
    site.run(&["sync"]).await.exits(0);
    site.run(&["plan"]).await.exits(0);
    daemon.nth(&["run converged", "jira"], 2).await;
    daemon.stop().await;
    assert_eq!(site.picture(), reference.picture());
    site.nothing_was_done_twice();
}
