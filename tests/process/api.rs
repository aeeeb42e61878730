//! The API of the running daemon: what the commands do, over HTTP, by tokens with names.

use rosterd::contract::journal::Trigger;
use serde_json::Value;

use crate::http::{Answer, ask, get, listening};
use crate::site::{NEVER, ONE_AT_A_TIME, Site, small, until_told};

const OPS: &str = "the-token-of-ops-which-is-a-long-one";
const EYE: &str = "the-token-of-the-eye";

/// Sends JSON.
async fn post(port: u16, path: &str, token: &str, body: &str) -> Answer {
    let headers =
        format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    ask(port, "POST", path, &headers, body).await
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.body))
}

#[track_caller]
fn is(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
    assert_eq!(json(answer)["type"], format!("urn:rosterd:problem:{word}"));
}

/// A site whose daemon listens on loopback, with a token of each right.
async fn with_tokens(job: &str) -> (Site, u16) {
    let site = Site::with(small(), job).await;
    let port = listening(&site, "127.0.0.1").await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    let token = |name: &str, secret: &str, may: &str| {
        let file = site.folder.path().join(format!("api-{name}"));
        std::fs::write(&file, secret).expect("written");
        format!("\n[daemon.tokens.{name}]\nsecret = {{ file = {:?} }}\nmay = \"{may}\"\n", file.display().to_string())
    };
    site.write(&format!("{text}{}{}", token("ops", OPS, "write"), token("eye", EYE, "read")));
    (site, port)
}

/// The first run of a daemon is over at every target.
async fn runs_that_ended(port: u16, query: &str, many: usize) -> Vec<Value> {
    let ask = async || {
        let runs = json(&get(port, &format!("/api/v1/runs?{query}")).await);
        let all = runs["runs"].as_array().cloned().unwrap_or_default();
        let ended: Vec<Value> = all.into_iter().filter(|run| !run["end"].is_null()).collect();
        if ended.len() < many { Err(runs) } else { Ok(ended) }
    };
    until_told(&format!("{many} runs"), ask).await
}

/// Asks for a run until it begins: the one before may not be quite gone yet.
async fn begin(port: u16) -> Answer {
    let ask = async || {
        let answer = post(port, "/api/v1/jobs/staff/run", OPS, "{}").await;
        if answer.status != 409 {
            return Ok(answer);
        }
        is(&answer, 409, "at-work");
        Err(answer.body)
    };
    until_told("a run", ask).await
}

#[tokio::test]
async fn a_run_is_started_and_a_staged_removal_approved_end_to_end() {
    let (site, port) = with_tokens(ONE_AT_A_TIME).await;
    let daemon = site.daemon().await;
    let begun = begin(port).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert!(begun.head.contains("location: /api/v1/runs?job=staff"), "{}", begun.head);
    assert_eq!(json(&begun)["by"], "token:ops");
    let runs = runs_that_ended(port, "job=staff", 3).await;
    assert!(runs.iter().all(|run| run["trigger"] == "api" && run["by"] == "token:ops"), "{runs:?}");
    daemon.line("a run is asked for").await;

    site.lay_off(3);
    begin(port).await;
    runs_that_ended(port, "job=staff", 6).await;
    let status = json(&get(port, "/api/v1/status").await);
    let staged = status["staged"].as_array().expect("a list");
    let here: Vec<&Value> = staged.iter().filter(|s| s["target"] == "jira").collect();
    assert_eq!(here.len(), 3, "{status}");
    let plan = here[0]["plan"].as_str().expect("an id").to_owned();
    let name = here[0]["user_name"].as_str().expect("a name").to_owned();
    let shown = json(&get(port, &format!("/api/v1/plans/{plan}")).await);
    assert_eq!(shown["total"], 3, "{shown}");

    let body = serde_json::json!({"reason": "she left", "only": [name]}).to_string();
    let path = format!("/api/v1/plans/{plan}/approve");
    is(&post(port, &path, EYE, &body).await, 403, "forbidden");
    assert_eq!(site.journal().await.decisions().await.expect("readable").len(), 0);
    let decided = post(port, &path, OPS, &body).await;
    assert_eq!((decided.status, &json(&decided)["others"]), (200, &2.into()), "{decided:?}");
    assert!(site.run(&["status"]).await.exits(3).out.contains("; approved by token:ops"));
    begin(port).await;
    let runs = runs_that_ended(port, "target=jira&limit=10", 3).await;
    let run = runs[0]["id"].as_str().expect("an id");
    let shown = json(&get(port, &format!("/api/v1/runs/{run}")).await);
    let change = &shown["changes"][0];
    assert_eq!((&change["kind"], &change["user_name"]), (&"deactivate_user".into(), &name.as_str().into()), "{shown}");
    assert_eq!(change["let_by"], "token:ops: she left");
    daemon.stop().await;
    assert!(site.journal().await.verify(None).await.expect("readable").holds());
    let record = site.record().await;
    assert!(record.iter().all(|(run, _)| run.start.trigger == Trigger::Api && run.start.by.as_deref() == Some("token:ops")));
    let shown = site.run(&["show", run]).await.exits(0);
    assert!(shown.out.contains("fired by api (token:ops)"), "{}", shown.out);
}

#[tokio::test]
async fn a_run_is_taken_back_once_it_was_shown_and_never_over_the_limits() {
    let (site, port) = with_tokens(ONE_AT_A_TIME).await;
    let daemon = site.daemon().await;
    begin(port).await;
    let first = runs_that_ended(port, "target=jira", 1).await[0]["id"].as_str().expect("an id").to_owned();
    runs_that_ended(port, "job=staff", 3).await;
    site.lay_off(1);
    begin(port).await;
    runs_that_ended(port, "job=staff", 6).await;
    let second = runs_that_ended(port, "target=jira", 2).await[0]["id"].as_str().expect("an id").to_owned();
    let undo = |run: &str| format!("/api/v1/runs/{run}/undo");

    // To show it writes nothing, keeps nothing, and is what is done where nothing else is said.
    let (writes, head) = (site.writes(), site.journal().await.head().await.expect("readable"));
    for body in ["", "{}", r#"{"dry":true,"reason":"x"}"#, r#"{"only":["*"]}"#] {
        let shown = until_idle(port, &undo(&second), body).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        let shown = json(&shown);
        assert_eq!((&shown["changes"][0]["op"], &shown["changes"][0]["verdict"]), (&"activate_user".into(), &"admitted".into()));
        assert_eq!((&shown["run"], &shown["target"]), (&second.as_str().into(), &"jira".into()), "{shown}");
    }
    let nobody = json(&until_idle(port, &undo(&second), r#"{"only":["nobody"]}"#).await);
    assert_eq!(nobody["total"], 0, "{nobody}");
    assert_eq!((site.writes(), site.journal().await.head().await.expect("readable")), (writes, head));
    let unreasonable = post(port, &undo(&second), OPS, r#"{"dry":false}"#).await;
    is(&unreasonable, 422, "invalid");
    assert_eq!(json(&unreasonable)["errors"][0]["pointer"], "/reason");
    is(&post(port, &undo(&second), EYE, "{}").await, 403, "forbidden");

    let begun = until_idle(port, &undo(&second), r#"{"dry":false,"reason":"he came back"}"#).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(json(&begun)["by"], "token:ops");
    let look = json(&begun)["look"].as_str().and_then(|look| look.split_once('?')).expect("an address").1.to_owned();
    let undone = runs_that_ended(port, &look, 3).await.remove(0);
    assert_eq!(
        (&undone["trigger"], &undone["by"], &undone["end"]["ended"]),
        (&"undo".into(), &"token:ops".into(), &"applied".into())
    );
    assert!(undone["end"]["messages"][0].as_str().is_some_and(|m| m.contains("he came back")), "{undone}");
    let status = json(&get(port, "/api/v1/status").await);
    assert_eq!((&status["totals"]["holds"], &status["holds"][0]["actor"]), (&1.into(), &"token:ops".into()), "{status}");

    // Everybody whom the first run created: more than the limits let go.
    let shown = json(&until_idle(port, &undo(&first), "").await);
    assert!(shown["violations"].as_array().is_some_and(|v| v.iter().any(|v| v["liftable"] == true)), "{shown}");
    let before = site.picture();
    assert_eq!(until_idle(port, &undo(&first), r#"{"dry":false,"reason":"all of it"}"#).await.status, 202);
    let undone = runs_that_ended(port, &look, 4).await.remove(0);
    assert!(undone["end"]["messages"].to_string().contains("over a limit were not made"), "{undone}");
    let active = |picture: &[crate::site::Picture]| picture[0].users.values().filter(|(_, active)| *active).count();
    assert_eq!(active(&site.picture()), active(&before), "nobody lost the account");
    daemon.stop().await;
    site.run(&["journal", "verify"]).await.exits(0);
}

#[tokio::test]
async fn an_undo_waits_for_nobody_and_a_refused_credential_is_not_tried_again_by_asking() {
    let (site, port) = with_tokens(NEVER).await;
    let daemon = site.daemon().await;
    begin(port).await;
    runs_that_ended(port, "job=staff", 3).await;
    let run = runs_that_ended(port, "target=jira", 1).await[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/runs/{run}/undo");
    site.estate.okta.server.faults.hold(true);
    assert_eq!(begin(port).await.status, 202);
    for body in ["{}", r#"{"dry":false,"reason":"x"}"#] {
        is(&post(port, &path, OPS, body).await, 409, "at-work");
    }
    site.estate.okta.server.faults.hold(false);
    runs_that_ended(port, "job=staff", 6).await;
    assert_eq!(until_idle(port, &path, "{}").await.status, 200);

    site.estate.jira.gate.revoke();
    let refused = until_idle(port, &path, "{}").await;
    is(&refused, 503, "unavailable");
    assert!(json(&refused)["detail"].as_str().is_some_and(|d| d.contains("jira")), "{refused:?}");
    let asked = site.estate.jira.running.log.len();
    for body in ["{}", r#"{"dry":false,"reason":"x"}"#] {
        is(&until_idle(port, &path, body).await, 409, "resting");
    }
    assert_eq!(site.estate.jira.running.log.len(), asked, "a second try may lock the account");
    is(&post(port, "/api/v1/runs/0000/undo", OPS, "{}").await, 404, "unknown");
    daemon.stop().await;

    // A job that only looks at the target writes nothing there, at nobody's word.
    let text = std::fs::read_to_string(site.file()).expect("there");
    site.write(&text.replace("[jobs.staff]", "[jobs.staff]\nobserve = [\"confluence\"]"));
    let daemon = site.daemon().await;
    let runs = runs_that_ended(port, "target=confluence", 2).await;
    let first = runs.last().expect("two at least");
    let run = first["id"].as_str().expect("an id").to_owned();
    for body in ["{}", r#"{"dry":false,"reason":"x"}"#] {
        is(&until_idle(port, &format!("/api/v1/runs/{run}/undo"), body).await, 409, "observed");
    }
    daemon.stop().await;
    site.run(&["journal", "verify"]).await.exits(0);
}

/// Asks for an undo until nothing else is at work: the run before may not be quite gone.
async fn until_idle(port: u16, path: &str, body: &str) -> Answer {
    let ask = async || {
        let answer = post(port, path, OPS, body).await;
        if answer.body.contains("problem:at-work") { Err(answer.body) } else { Ok(answer) }
    };
    until_told("the run before to be gone", ask).await
}

#[tokio::test]
async fn a_job_at_work_is_not_started_and_one_whose_source_rests_neither() {
    let (site, port) = with_tokens(NEVER).await;
    // After a first run the one that is asked for stands still at its first request.
    let daemon = site.daemon().await;
    assert_eq!(begin(port).await.status, 202);
    runs_that_ended(port, "job=staff", 3).await;
    site.estate.okta.server.faults.hold(true);
    assert_eq!(begin(port).await.status, 202);
    is(&post(port, "/api/v1/jobs/staff/run", OPS, "").await, 409, "at-work");
    site.estate.okta.server.faults.hold(false);
    runs_that_ended(port, "job=staff", 6).await;
    site.estate.okta.set_token("rotated");
    begin(port).await;
    daemon.line("the credential").await;
    let resting = until_resting(port).await;
    assert!(json(&resting)["detail"].as_str().is_some_and(|d| d.contains("okta rests since")), "{resting:?}");
    let quarantine = json(&get(port, "/api/v1/quarantine").await);
    assert_eq!(quarantine["systems"][0]["system"], "okta");
    std::fs::write(site.folder.path().join("okta-token"), "rotated").expect("written");
    assert_eq!(json(&post(port, "/api/v1/release", OPS, r#"{"what":"okta","reason":"x"}"#).await)["rest"], true);
    daemon.line("released over HTTP").await;
    daemon.stop().await;
}

async fn until_resting(port: u16) -> Answer {
    let ask = async || {
        let answer = post(port, "/api/v1/jobs/staff/run", OPS, "").await;
        if answer.body.contains("problem:resting") { Ok(answer) } else { Err(answer.body) }
    };
    until_told("a rest", ask).await
}

#[tokio::test]
async fn whoever_may_not_is_refused_and_no_token_is_told() {
    let (site, port) = with_tokens(NEVER).await;
    let daemon = site.daemon().await;
    let run = "/api/v1/jobs/staff/run";
    is(&ask(port, "POST", run, "Content-Length: 0\r\n", "").await, 401, "unauthorized");
    is(&post(port, run, EYE, "").await, 403, "forbidden");
    let tricked = format!("Authorization: Bearer {OPS}\r\nOrigin: https://evil.example.com\r\nContent-Length: 0\r\n");
    is(&ask(port, "POST", run, &tricked, "").await, 403, "foreign");
    let foreign = format!("Authorization: Bearer {OPS}\r\nHost: evil.example.com\r\nContent-Length: 0\r\n");
    is(&ask(port, "POST", run, &foreign, "").await, 403, "foreign");
    // How many are too many depends on the time that passes; the router's own tests move it.
    is(&post(port, run, "hunter2-hunter2", "").await, 401, "unauthorized");
    assert_eq!(site.record().await.len(), 0, "nothing was run");
    let said = daemon.lines().join("\n");
    assert!(!said.contains("hunter2") && !said.contains(OPS) && !said.contains(EYE), "{said}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_weak_token_is_refused_where_it_could_be_guessed() {
    let (site, _) = with_tokens(NEVER).await;
    for weak in ["hunter2", "hunter2 with enough characters in it to be long"] {
        site.put("api-ops", weak);
        for command in ["check", "run"] {
            let said = site.run(&[command]).await.exits(78);
            assert!(said.err.contains("daemon.tokens.ops.secret") && said.err.contains("openssl rand -hex 32"), "{}", said.err);
            assert!(!said.err.contains("hunter2"), "{}", said.err);
        }
    }
    // What may only read, and only here, opens what is open.
    site.put("api-ops", OPS);
    site.run(&["check"]).await.exits(0);
}

#[tokio::test]
async fn a_reload_exchanges_the_tokens() {
    let (site, port) = with_tokens(NEVER).await;
    let daemon = site.daemon().await;
    let release = r#"{"what":"nobody","reason":"x"}"#;
    is(&post(port, "/api/v1/release", OPS, release).await, 404, "unknown");
    std::fs::write(site.folder.path().join("api-ops"), "a-fresh-token-that-is-a-long-one-too").expect("written");
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    is(&post(port, "/api/v1/release", OPS, release).await, 401, "unauthorized");
    is(&post(port, "/api/v1/release", "a-fresh-token-that-is-a-long-one-too", release).await, 404, "unknown");
    // One secret under two names is refused, and the tokens before stay.
    std::fs::write(site.folder.path().join("api-eye"), "a-fresh-token-that-is-a-long-one-too").expect("written");
    daemon.signal("HUP");
    daemon.line("are one secret").await;
    is(&post(port, "/api/v1/release", EYE, release).await, 403, "forbidden");
    // A weak one likewise.
    site.put("api-eye", EYE);
    site.put("api-ops", "weak");
    daemon.signal("HUP");
    daemon.line("openssl rand -hex 32").await;
    is(&post(port, "/api/v1/release", "weak", release).await, 401, "unauthorized");
    is(&post(port, "/api/v1/release", "a-fresh-token-that-is-a-long-one-too", release).await, 404, "unknown");
    daemon.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_document_is_the_printed_one() {
    let (site, port) = with_tokens(NEVER).await;
    let daemon = site.daemon().await;
    let large = "x".repeat(200_000);
    is(&post(port, "/api/v1/release", OPS, &format!(r#"{{"what":"{large}"}}"#)).await, 413, "too-large");
    let chunked = format!("Authorization: Bearer {OPS}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
    let body = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    is(&ask(port, "POST", "/api/v1/release", &chunked, &body).await, 413, "too-large");
    let document = json(&get(port, "/api/v1/openapi.json").await);
    let printed = crate::site::rosterd(&["schema", "--api"]).await.exits(0).json();
    assert_eq!(document, printed, "what is served is what is printed");
    daemon.stop().await;
}
