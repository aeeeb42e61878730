//! Health, status and console of the running daemon.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{Daemon, Site, free_port, small};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Asks over a plain socket, so that every header is the test's own.
pub async fn ask(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: 127.0.0.1:{port}\r\n") };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n{body}");
    // Who refuses a body need not read it to its end.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub async fn get(port: u16, path: &str) -> Answer {
    ask(port, "GET", path, "", "").await
}

/// A site whose daemon listens.
pub async fn listening(site: &Site, address: &str) -> u16 {
    let port = free_port();
    let text = std::fs::read_to_string(site.file()).expect("there");
    site.write(&text.replace("listen = \"off\"", &format!("listen = \"{address}:{port}\"")));
    port
}

#[tokio::test]
async fn a_running_daemon_is_alive_ready_and_tells_how_things_are() {
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    let port = listening(&site, "127.0.0.1").await;
    let daemon = site.daemon().await;
    daemon.nth(&["run converged", "jira"], 1).await;
    assert_eq!((get(port, "/livez").await.status, get(port, "/livez").await.body.as_str()), (200, "alive\n"));
    let ready = get(port, "/readyz").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (200, "configuration ok\nstore ok\nschedule ok\ndaemon ok\nsource okta ok\n")
    );

    let status = get(port, "/api/v1/status").await;
    assert_eq!(status.status, 200);
    assert!(status.head.contains("content-type: application/json"), "{}", status.head);
    let status: Value = serde_json::from_str(&status.body).expect("JSON");
    assert_eq!((&status["ready"], &status["version"]), (&Value::from(true), &Value::from(env!("CARGO_PKG_VERSION"))));
    let targets = status["targets"].as_array().expect("a list");
    assert_eq!(targets.len(), 3);
    assert!(targets.iter().all(|t| t["next"].is_string()), "{status}");

    let page = get(port, "/").await;
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    for part in
        ["<title>rosterd</title>", "http-equiv=\"refresh\"", "jira", "confluence", "bitbucket", "converged", "Staged removals"]
    {
        assert!(page.body.contains(part), "{part} is not in:\n{}", page.body);
    }
    assert!(!page.body.contains("<script"));
    for path in ["/livez", "/readyz", "/metrics", "/api/v1/status", "/", "/nothing"] {
        let head = get(port, path).await.head;
        for header in
            ["content-security-policy: default-src 'none'; style-src 'unsafe-inline'", "x-content-type-options: nosniff"]
        {
            assert!(head.contains(header), "{path}: {header} is not in:\n{head}");
        }
        assert!(!head.contains("access-control"), "{head}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn what_only_tells_cannot_be_written_to_and_no_secret_is_told() {
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    let port = listening(&site, "127.0.0.1").await;
    let daemon = site.daemon().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(ask(port, method, "/api/v1/status", "", "").await.status, 405, "{method}");
    }
    daemon.nth(&["run converged", "jira"], 1).await;
    let runs: Value = serde_json::from_str(&get(port, "/api/v1/runs?target=jira").await.body).expect("JSON");
    let run = format!(
        "/api/v1/runs/{}",
        runs["runs"].as_array().and_then(|all| all.last()).and_then(|run| run["id"].as_str()).expect("an id")
    );
    assert!(get(port, &run).await.body.contains("create_user"), "somebody's attributes were written");
    let paths = ["/", "/metrics", "/api/v1/status", "/api/v1/jobs", "/api/v1/runs", &run, "/api/v1/openapi.json"];
    for path in paths {
        let body = get(port, path).await.body;
        for secret in ["token-of-rosterd", "password-of-rosterd", "simulated-token", "@example.com"] {
            assert!(!body.contains(secret), "{path} tells {secret}");
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_foreign_name_for_this_machine_is_refused() {
    let site = Site::idle().await;
    let port = listening(&site, "127.0.0.1").await;
    let daemon = site.daemon().await;
    for path in ["/", "/metrics", "/api/v1/status"] {
        assert_eq!(ask(port, "GET", path, "Host: evil.example.com\r\n", "").await.status, 403);
        assert_eq!(ask(port, "GET", path, "Host: localhost\r\n", "").await.status, 200);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_console_shows_staged_removals_failed_reloads_and_rests() {
    let job = "schedule = { every = \"1s\" }\n[jobs.staff.guard]\ndeactivations = { share = 0.1, floor = 2 }";
    let site = Site::with(small(), job).await;
    let port = listening(&site, "127.0.0.1").await;
    let daemon = site.daemon().await;
    daemon.nth(&["run converged", "jira"], 1).await;
    site.lay_off(8);
    daemon.nth(&["run staged", "jira"], 1).await;
    let page = get(port, "/").await.body;
    assert!(page.contains("deactivate user") && page.contains("waits since"), "{page}");
    let status: Value = serde_json::from_str(&get(port, "/api/v1/status").await.body).expect("JSON");
    assert!(status["staged"].as_array().is_some_and(|s| !s.is_empty()));

    let good = std::fs::read_to_string(site.file()).expect("there");
    site.write(&good.replace("kind = \"jira\"", "kind = \"<jira>\""));
    daemon.signal("HUP");
    daemon.line("the reload failed").await;
    daemon.nth(&["run staged", "confluence"], 3).await;
    let page = get(port, "/").await.body;
    assert!(page.contains("The last reload failed") && page.contains("&lt;jira&gt;"), "{page}");

    site.estate.bitbucket.gate.revoke();
    daemon.line("bitbucket could not").await;
    let page = get(port, "/").await.body;
    assert!(page.contains("Resting systems"), "{page}");
    daemon.stop().await;
}

#[tokio::test]
async fn others_machines_are_let_in_by_token_alone() {
    let site = Site::idle().await;
    let port = listening(&site, "0.0.0.0").await;
    for command in ["check", "run"] {
        let said = site.run(&[command]).await.exits(78);
        assert!(said.err.contains("can be reached from other machines") && said.err.contains("daemon.token"), "{}", said.err);
    }
    let token = site.folder.path().join("http-token");
    std::fs::write(&token, "too-short").expect("written");
    site.daemon_keys(&format!("token = {{ file = {:?} }}", token.display().to_string()));
    let weak = site.run(&["check"]).await.exits(78);
    assert!(weak.err.contains("daemon.token has 9 characters") && weak.err.contains("openssl rand"), "{}", weak.err);
    std::fs::write(&token, "a-good-token-that-others-can-try-from-afar\n").expect("written");
    let daemon = site.daemon().await;
    assert_eq!(get(port, "/livez").await.status, 200);
    let ready = get(port, "/readyz").await;
    assert!(ready.status == 200 && ready.body.contains("daemon ok\nsource okta ok"), "no token is asked for: {}", ready.body);
    for path in ["/", "/api/v1/status"] {
        let refused = get(port, path).await;
        assert_eq!(refused.status, 401);
        assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
        assert_eq!(
            ask(port, "GET", path, "Authorization: Bearer A-GOOD-TOKEN-that-others-can-try-from-afar\r\n", "").await.status,
            401
        );
        assert_eq!(
            ask(
                port,
                "GET",
                path,
                "Authorization: Bearer a-good-token-that-others-can-try-from-afar\r\nHost: rosterd.example.com\r\n",
                ""
            )
            .await
            .status,
            200
        );
    }
    std::fs::write(&token, "another-token-that-others-can-try-from-afar").expect("written");
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    assert_eq!(
        ask(port, "GET", "/", "Authorization: Bearer a-good-token-that-others-can-try-from-afar\r\n", "").await.status,
        401
    );
    assert_eq!(
        ask(port, "GET", "/", "Authorization: Bearer another-token-that-others-can-try-from-afar\r\n", "").await.status,
        200
    );
    daemon.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_an_error_if_it_was_asked_for() {
    let site = Site::idle().await;
    let port = listening(&site, "127.0.0.1").await;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("free");
    let said = site.run(&["run"]).await.exits(1);
    assert!(
        said.err.contains(&format!("cannot listen at 127.0.0.1:{port}")) && said.err.contains("daemon.listen"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn the_default_address_in_use_is_a_warning() {
    // Whoever has it, this test or another process: it is taken.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", 9640));
    let site = Site::idle().await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    site.write(&text.replace("listen = \"off\"\n", ""));
    let daemon = Daemon::start(&mut site.command(&["run"]));
    daemon.line("is ready").await;
    assert_eq!(daemon.count(&["WARN", "health and status are not served"]), 1);
    daemon.stop().await;
}
