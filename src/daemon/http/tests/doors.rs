//! Who is let in, and who is not.

use super::*;
use crate::contract::journal::{Ended, RunEnd, RunStart, Sizes, Trigger};
use crate::daemon::readiness;

const WRITES: [(&str, &str); 5] = [
    ("/api/v1/jobs/staff/run", ""),
    ("/api/v1/plans/0000/approve", r#"{"reason":"x"}"#),
    ("/api/v1/plans/0000/reject", r#"{"reason":"x"}"#),
    ("/api/v1/release", r#"{"what":"jira","reason":"x"}"#),
    ("/api/v1/runs/0000/undo", "{}"),
];
const READS: [&str; 7] =
    ["/", "/api/v1/status", "/api/v1/jobs", "/api/v1/runs", "/api/v1/retries", "/api/v1/quarantine", "/api/v1/openapi.json"];
const METRICS: &str = "/metrics";

#[tokio::test]
async fn on_this_machine_looking_takes_no_token_and_changing_does() {
    let door = Door::open(false).await;
    for path in READS {
        assert_eq!(door.get(path).await.status, 200, "{path}");
    }
    for (path, body) in WRITES {
        let refused = door.ask("POST", path, None, Some(body)).await;
        assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"rosterd\"");
        refused.is(401, "unauthorized");
        door.ask("POST", path, Some("a-wrong-token"), Some(body)).await.is(401, "unauthorized");
        let may_not = door.ask("POST", path, Some(EYE), Some(body)).await.is(403, "forbidden");
        assert!(may_not["detail"].as_str().is_some_and(|d| d.contains("eye")), "{may_not}");
    }
}

/// What the last line of `/readyz` says of the source, and whether all stands.
async fn of_the_source(door: &Door) -> (u16, String) {
    let answer = door.get("/readyz").await;
    let source = answer.text.lines().find_map(|line| line.strip_prefix("source okta ")).expect("it is told");
    (answer.status, source.to_owned())
}

async fn ran(door: &Door, id: &str, ended: Ended, sizes: Option<Sizes>) {
    let (at, job, target) = (door.clock.now(), "staff".into(), "jira".into());
    let start = RunStart { id: id.into(), job, target, trigger: Trigger::Schedule, by: None, at };
    door.journal.begin(&start).await.expect("written");
    let end = RunEnd { sizes, ..RunEnd::bare(ended, at, Vec::new()) };
    door.journal.end(&start.id, &end).await.expect("written");
}

#[tokio::test]
async fn a_source_that_was_read_of_late_by_the_store_is_ready_until_its_next_run_is_long_due() {
    let door = Door::open(false).await;
    let missing = (503, "has not been read whole yet".to_owned());
    ran(&door, "failed", Ended::Failed, None).await;
    assert_eq!(of_the_source(&door).await, missing, "it was tried, and never read");
    // It was read, whatever became of the target.
    ran(&door, "blind", Ended::Blind, None).await;
    let late = (200, "ok: not read since the start: by the store it was read of late".to_owned());
    assert_eq!(of_the_source(&door).await, late);
    door.advance(TimeDelta::hours(2));
    assert_eq!(of_the_source(&door).await, missing);
    ran(&door, "converged", Ended::Converged, Some(Sizes::default())).await;
    door.advance(TimeDelta::minutes(1));
    assert_eq!(of_the_source(&door).await, late);
    door.advance(TimeDelta::hours(2));
    ran(&door, "failed again", Ended::Failed, None).await;
    assert_eq!(of_the_source(&door).await, missing);

    // Another daemon that shares the store may be reading it: then this one would not be mended by waiting for it.
    let (job, target) = ("staff".into(), "jira".into());
    let known = door.view.metrics.known(&*door.journal, &job, &target).await.expect("readable");
    let mut told = readiness::Told { known: [((job, target), known)].into(), ..readiness::Told::default() };
    let condition = door.condition.lock().expect("not poisoned").clone();
    let line = |told: &readiness::Told| {
        let parts = readiness::readiness(&door.view.metrics, &condition, told, door.clock.now());
        parts.last().map(readiness::Part::line).expect("the source's")
    };
    assert_eq!(line(&told), "source okta has not been read whole yet\n");
    told.at_work.insert("jira".into());
    assert_eq!(line(&told), "source okta ok: not read here yet: another daemon that shares the store is at work\n");
}

#[tokio::test]
async fn the_end_of_a_certificate_is_among_the_metrics() {
    let door = Door::open(false).await;
    let name = "rosterd_tls_certificate_expiry_timestamp_seconds{system=\"jira\"} ";
    assert!(!door.get(METRICS).await.text.contains(name));
    let mut written = rcgen::CertificateParams::new(vec!["jira.example.com".to_owned()]).expect("a name");
    written.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let key = rcgen::KeyPair::generate().expect("a key");
    door.view.meters.of(&"jira".into()).certificate(written.self_signed(&key).expect("signed").der());
    let text = door.get(METRICS).await.text;
    let ends = text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.parse::<f64>().ok());
    assert_eq!(ends, Some(1_927_843_200.0), "{text}");
}

#[tokio::test]
async fn where_others_can_ask_all_but_health_takes_a_token() {
    let door = Door::open(true).await;
    door.condition.lock().expect("not poisoned").heartbeat = Some(std::time::Instant::now());
    let told = async |path: &str| {
        let answer = door.get(path).await;
        (answer.status, answer.text)
    };
    assert_eq!(told("/livez").await, (200, "alive\n".to_owned()));
    let parts = |source: &str| format!("configuration ok\nstore ok\nschedule ok\ndaemon ok\nsource okta {source}\n");
    let waits = parts("ok: not read yet: no run has been due since the start or the last reload");
    assert_eq!(told("/readyz").await, (200, waits.clone()));
    door.advance(TimeDelta::hours(2));
    assert_eq!(told("/readyz").await, (503, parts("has not been read whole yet")));
    let change = |change: &dyn Fn(&mut Condition)| change(&mut door.condition.lock().expect("not poisoned"));
    change(&|c| c.loaded = Some(door.clock.now()));
    assert_eq!(told("/readyz").await, (200, waits.clone()));
    change(&|c| c.ready = false);
    assert_eq!(told("/readyz").await, (503, waits.replace("schedule ok", "schedule has not started")));
    change(&|c| c.stopping = true);
    assert_eq!(told("/readyz").await, (503, waits.replace("daemon ok", "daemon is stopping")));
    change(&|c| (c.ready, c.stopping) = (true, false));
    for path in READS {
        door.get(path).await.is(401, "unauthorized");
        for token in [OPS, EYE] {
            assert_eq!(door.ask("GET", path, Some(token), None).await.status, 200, "{path}");
        }
    }
    for (path, body) in WRITES {
        door.ask("POST", path, None, Some(body)).await.is(401, "unauthorized");
        door.ask("POST", path, Some(EYE), Some(body)).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn a_token_for_metrics_reads_metrics_and_nothing_else() {
    for guarded in [false, true] {
        let door = Door::open(guarded).await;
        let with = |method: &'static str, path: &'static str, token: &'static str| door.ask(method, path, Some(token), None);
        for token in [PROM, EYE, OPS] {
            let told = with("GET", METRICS, token).await;
            assert_eq!(told.status, 200, "{token}");
            assert!(told.text.contains("rosterd_build_info"), "{}", told.text);
        }
        // What is there, and what is registered tomorrow; a path is what the router takes it for and not what it looks like.
        let document = serde_json::to_value(document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let open = ["/livez", "/readyz", METRICS];
        for (path, methods) in paths.iter().filter(|(path, _)| !open.contains(&path.as_str())) {
            for method in methods.as_object().expect("methods").keys() {
                let path = path.replace("{job}", "staff").replace("{id}", "0000");
                let refused = door.ask(&method.to_ascii_uppercase(), &path, Some(PROM), Some("{}")).await.is(403, "forbidden");
                assert!(refused["detail"].as_str().is_some_and(|d| d.contains("prom") && d.contains(METRICS)), "{refused}");
            }
        }
        for path in ["/?/metrics", "//metrics", "/metrics/", "/metrics/../api/v1/status", "/api/v1/status?x=/metrics"] {
            assert_ne!(with("GET", path, PROM).await.status, 200, "{path}");
        }
        with("POST", METRICS, PROM).await.is(405, "method-not-allowed");
    }
    let door = Door::open(true).await;
    door.get(METRICS).await.is(401, "unauthorized");
}

#[tokio::test]
async fn wrong_tokens_are_counted_and_the_right_one_passes_whoever_else_guesses() {
    let door = Door::open(true).await;
    let ask = |from: [u8; 4], token: &str| {
        let request = Request::get("/api/v1/jobs").header(header::AUTHORIZATION, format!("Bearer {token}"));
        door.send(from, request.body(Body::empty()).expect("a request"))
    };
    for _ in 0..10 {
        ask([10, 0, 0, 1], "guess").await.is(401, "unauthorized");
    }
    let held = ask([10, 0, 0, 1], "guess").await;
    assert_eq!(held.headers[header::RETRY_AFTER], "6");
    held.is(429, "too-many-failures");
    assert_eq!(ask([10, 0, 0, 1], OPS).await.status, 200, "who shares the address of a guesser is not locked out");
    ask([10, 0, 0, 1], "guess").await.is(429, "too-many-failures");
    ask([10, 0, 0, 2], "guess").await.is(401, "unauthorized");
    door.advance(TimeDelta::seconds(5));
    ask([10, 0, 0, 1], "guess").await.is(429, "too-many-failures");
    door.advance(TimeDelta::seconds(1));
    ask([10, 0, 0, 1], "guess").await.is(401, "unauthorized");
    // From many machines: a stranger's wrong token is one too many at once, and a stranger's right one is not.
    for number in 0..100 {
        ask([10, 1, 0, number], "guess").await;
    }
    ask([10, 2, 0, 1], "guess").await.is(429, "too-many-failures");
    for known in [[10, 2, 0, 1], [10, 0, 0, 2]] {
        assert_eq!(ask(known, OPS).await.status, 200);
    }
    door.advance(TimeDelta::minutes(2));
    ask([10, 2, 0, 1], "guess").await.is(401, "unauthorized");
    // No token is no guess.
    for _ in 0..30 {
        door.get("/api/v1/jobs").await.is(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_browser_that_was_tricked_is_refused_whatever_it_bears() {
    for guarded in [false, true] {
        let door = Door::open(guarded).await;
        let ask = |method: &str, path: &str, name: &'static str, value: &str| {
            let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {OPS}"));
            let request = request.header(header::CONTENT_TYPE, "application/json").header(name, value);
            door.send([127, 0, 0, 1], request.body(Body::from("{}")).expect("a request"))
        };
        for (path, method) in READS.map(|path| (path, "GET")).into_iter().chain(WRITES.map(|(path, _)| (path, "POST"))) {
            for (name, value) in
                [("origin", "https://evil.example.com"), ("origin", "http://127.0.0.1:9640"), ("sec-fetch-site", "cross-site")]
            {
                let refused = ask(method, path, name, value).await;
                refused.is(403, "foreign");
                assert!(!refused.headers.keys().any(|name| name.as_str().starts_with("access-control")), "no CORS");
            }
            if !guarded {
                ask(method, path, "host", "evil.example.com").await.is(403, "foreign");
            }
        }
    }
}

#[tokio::test]
async fn tokens_are_exchanged_and_what_is_hidden_stays_hidden() {
    let door = Door::open(true).await;
    let mut fresh = tokens::Tokens::default();
    assert_eq!(fresh.add("ops", Right::Read, "a-fresh-token"), None);
    door.condition.lock().expect("not poisoned").tokens = Arc::new(fresh);
    door.ask("GET", "/api/v1/jobs", Some(OPS), None).await.is(401, "unauthorized");
    assert_eq!(door.ask("GET", "/api/v1/jobs", Some("a-fresh-token"), None).await.status, 200);
    let shown = format!("{:?}", door.condition.lock().expect("not poisoned"));
    assert!(shown.contains("ops") && !shown.contains("a-fresh-token"), "{shown}");
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let door = Door::open(false).await;
    for path in ["/livez", "/", "/api/v1/status", "/nothing", "/api/v1/runs/none", "/api/v1/runs?limit=0"] {
        let answer = door.get(path).await;
        for name in ["content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "cache-control"] {
            assert!(answer.headers.contains_key(name), "{path}: {name}");
        }
    }
    door.get("/nothing").await.is(404, "unknown");
}
