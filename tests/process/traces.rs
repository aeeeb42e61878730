//! Traces of runs, as a collector gets them; and a daemon that has one goes on without it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use crate::site::{Site, free_port, small, until};

type Taken = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A collector that takes whatever comes, or refuses it.
async fn collector(status: StatusCode) -> (u16, Taken) {
    let taken = Taken::default();
    let keep = taken.clone();
    let take = move |headers: HeaderMap, body: Bytes| {
        keep.lock().expect("not poisoned").push((headers, body));
        async move { status }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
    (port, taken)
}

/// A site that sends to a collector at this port.
async fn telling(port: u16) -> Site {
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    let token = site.folder.path().join("otlp-token");
    std::fs::write(&token, "token-of-the-collector").expect("written");
    let text = std::fs::read_to_string(site.file()).expect("there");
    let file = token.display().to_string();
    site.write(&format!("{text}\n[telemetry]\notlp = \"http://127.0.0.1:{port}\"\ntoken = {{ file = {file:?} }}\n"));
    site
}

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn each_run_is_a_trace_with_its_stages_and_tells_of_nobody() {
    let (port, taken) = collector(StatusCode::OK).await;
    let site = telling(port).await;
    let daemon = site.daemon().await;
    daemon.converges(1).await;
    let arrived = |text: &str| {
        let taken = taken.lock().expect("not poisoned");
        taken.iter().any(|(_, body)| holds(body, text)).then_some(())
    };
    let of_run = ["rosterd.run.id", "staff", "jira", "confluence", "bitbucket", "converged", "rosterd.changes.done"];
    for text in of_run.into_iter().chain(["run", "reading_source", "reading_target", "planning", "applying", "service.version"]) {
        until(&format!("a span with {text}"), || arrived(text)).await;
    }
    daemon.stop().await;
    let record = site.record().await;
    let last = &record.iter().find(|(run, _)| run.start.target.as_str() == "jira").expect("it ran").0;
    // The last of them is sent on the way out.
    assert!(arrived(last.start.id.as_str()).is_some(), "{}", last.start.id);
    let taken = taken.lock().expect("not poisoned");
    let world = site.estate.okta.world();
    for (headers, body) in taken.iter() {
        assert_eq!(headers["authorization"], "Bearer token-of-the-collector");
        assert_eq!(headers["content-type"], "application/x-protobuf");
        for person in &world.people {
            assert!(!holds(body, &person.login) && !holds(body, &person.id), "{}", person.login);
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_or_refuses_holds_up_nothing() {
    let (refusing, _) = collector(StatusCode::FORBIDDEN).await;
    for port in [free_port(), refusing] {
        let site = telling(port).await;
        let mut daemon = site.daemon().await;
        daemon.converges(2).await;
        daemon.line("traces are not taken by the collector").await;
        assert_eq!(daemon.count(&["traces are not taken"]), 1, "it is said once");
        let told = Instant::now();
        daemon.signal("TERM");
        assert_eq!(daemon.ends().await, Some(0));
        assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
        assert!(!daemon.lines().iter().any(|line| line.contains("token-of-the-collector")));
    }
}
