//! The harness itself: faults as a client meets them, and what the log tells of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::{get, post};

use super::*;
use crate::harness::wire::send;

async fn started() -> (Running, Arc<AtomicUsize>) {
    let effects = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&effects);
    let write = move || async move { count.fetch_add(1, Ordering::Relaxed).to_string() };
    let router = Router::new().route("/read/{id}", get(|| async { "0123456789".repeat(100) })).route("/write", post(write));
    (serve(router, None).await.unwrap(), effects)
}

async fn read(running: &Running) -> std::io::Result<wire::Got> {
    send("GET", &format!("{}/read/a%2Fb?x=%20", running.url), &[("x-test", "yes")], "").await
}

#[tokio::test]
async fn the_log_keeps_what_was_sent_as_it_was_sent() {
    let (running, _) = started().await;
    read(&running).await.unwrap();
    send("POST", &format!("{}/write", running.url), &[], "body").await.unwrap();
    let all = running.log.all();
    assert_eq!((all[0].path.as_str(), all[0].query.as_str(), all[0].status), ("/read/a%2Fb", "x=%20", 200));
    assert_eq!(all[0].header("x-test"), Some("yes"));
    assert_eq!(running.log.writes()[0].body, "body");
    assert_eq!(running.log.count("GET", "/read"), 1);
    running.log.clear();
    assert!(running.log.is_empty());
}

#[tokio::test]
async fn a_quiet_log_counts_by_route_and_keeps_nothing() {
    let (running, _) = started().await;
    running.log.quiet(true);
    read(&running).await.unwrap();
    read(&running).await.unwrap();
    assert!(running.log.all().is_empty());
    assert_eq!((running.log.len(), running.log.count("GET", "/read/{id}")), (2, 2));
}

#[tokio::test]
async fn a_reset_before_takes_no_effect_and_a_reset_after_does() {
    let (running, effects) = started().await;
    running.faults.add(Rule::once("POST", "/write", Fault::ResetBefore));
    running.faults.add(Rule::once("POST", "/write", Fault::ResetAfter));
    let url = format!("{}/write", running.url);
    assert!(send("POST", &url, &[], "x").await.is_err());
    assert_eq!(effects.load(Ordering::Relaxed), 0);
    assert!(send("POST", &url, &[], "x").await.is_err());
    assert_eq!(effects.load(Ordering::Relaxed), 1);
    assert_eq!(send("POST", &url, &[], "x").await.unwrap().text(), "1");
    assert_eq!(running.log.all().iter().map(|s| s.status).collect::<Vec<_>>(), [0, 0, 200]);
    assert_eq!(running.faults.hits(), 2);
}

#[tokio::test]
async fn a_cut_answer_promises_more_than_it_brings() {
    let (running, _) = started().await;
    running.faults.add(Rule::once("", "", Fault::Cut));
    let error = read(&running).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(read(&running).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn a_dribbled_answer_and_a_late_one_are_whole() {
    let (running, _) = started().await;
    running.faults.add(Rule::once("", "", Fault::Dribble(Duration::from_millis(2))));
    running.faults.add(Rule::once("", "", Fault::Delay(Duration::from_millis(2))));
    running.faults.latency(Duration::from_millis(1));
    for _ in 0..2 {
        let got = read(&running).await.unwrap();
        assert_eq!((got.body.len(), got.header("content-length")), (1000, "1000"));
    }
}

#[tokio::test]
async fn a_rule_skips_then_meets_then_leaves_the_request_to_the_next_rule() {
    let (running, _) = started().await;
    running.faults.add(Rule::once("GET", "/read", Fault::json(503, "{}").header("retry-after", "7")).after(1).times(2));
    running.faults.add(Rule::always("GET", "x=", Fault::html(502, "<html>")));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(read(&running).await.unwrap().status);
    }
    assert_eq!(statuses, [502, 503, 503, 502]);
    running.faults.clear();
    assert_eq!(read(&running).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_date_header_follows_the_servers_clock() {
    let (running, _) = started().await;
    running.clock.skew(-3600);
    let got = read(&running).await.unwrap();
    let date = httpdate::parse_http_date(got.header("date")).unwrap();
    let behind = SystemTime::now().duration_since(date).unwrap().as_secs();
    assert!((3590..3700).contains(&behind), "{behind}");
}

#[tokio::test]
async fn a_dropped_server_refuses_connections() {
    let (running, _) = started().await;
    let url = running.url.clone();
    drop(running);
    for _ in 0..200 {
        if send("GET", &url, &[], "").await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("still answers");
}
