//! Exchanges over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mockito::{Matcher, Server};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

use super::raw::{Raw, Script};
use crate::contract::fault::{ConnectorError, Fault};
use crate::http::api::{Api, Dialect, HttpSettings, Verdict, base_url};
use crate::http::auth::{Anonymous, Authorize, Basic, Token};
use crate::http::budget::LimitReading;
use crate::http::kind::Kit;
use crate::http::meter::Meters;
use crate::http::page::next_link;
use crate::http::secret::Secrets;
use crate::http::wire::{Answer, Call};

pub(super) struct Plain;
impl Dialect for Plain {
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("x-atlassian-token", "no-check")]
    }
}

pub(super) fn kit() -> Kit {
    Kit { secrets: Secrets::with_env(Default::default()), meters: Arc::new(Meters::default()), latches: Default::default() }
}

/// Two tries, so that a test of retries waits a second at most.
fn settings() -> HttpSettings {
    HttpSettings { attempts: 2, ..HttpSettings::default() }
}

fn api_with(url: &str, http: &HttpSettings, auth: impl Authorize + 'static, dialect: impl Dialect + 'static) -> Api {
    let base = base_url("url", url, false).expect("a base URL");
    Api::new(&"jira".into(), base, http, Arc::new(auth), Arc::new(dialect), &kit()).expect("an API")
}

fn api(url: &str) -> Api {
    api_with(url, &settings(), Token { scheme: "Bearer", token: "t0p".into() }, Plain)
}

fn get() -> Call {
    Call::get("rest/users", "list users")
}

async fn fails(api: &Api, call: Call) -> ConnectorError {
    api.send(call).await.expect_err("a fault")
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]";
const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n[{\"id\":1}";

#[tokio::test]
async fn a_request_carries_credential_and_headers_and_its_query_encoded() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/jira/rest/group/a%2Fb?username=j%20d%2B1&x=%C3%A9")
        .match_header("authorization", "Basic YTpi")
        .match_header("accept", "application/json")
        .match_header("content-type", "application/json")
        .match_header("x-atlassian-token", "no-check")
        .match_header("user-agent", concat!("rosterd/", env!("CARGO_PKG_VERSION")))
        .match_header("referer", Matcher::Missing)
        .match_body("{\"name\":\"x\"}")
        .with_header("content-type", "application/json")
        .with_header("set-cookie", "JSESSIONID=1")
        .with_body("{\"ok\":true}")
        .expect(1)
        .create_async()
        .await;
    let api =
        api_with(&format!("{}/jira", server.url()), &settings(), Basic { username: "a".into(), password: "b".into() }, Plain);
    let path = format!("rest/group/{}", crate::http::wire::segment("a/b"));
    let call = Call::post(path, "add").query("username", "j d+1").query("x", "é").json(&serde_json::json!({ "name": "x" }));
    let answer = api.send(call).await.expect("an answer");
    assert_eq!(answer.json::<serde_json::Value>().expect("JSON")["ok"], true);
    mock.assert_async().await;

    let second = server.mock("GET", "/jira/rest/users").match_header("cookie", Matcher::Missing).expect(1).create_async().await;
    api.send(get()).await.expect("an answer");
    second.assert_async().await;
    assert_eq!(api.meter().requests(), 2);
    assert_eq!(api.meter().classes[2].load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn pages_are_followed_below_the_base_to_the_last() {
    let mut server = Server::new_async().await;
    let base = format!("{}/jira", server.url());
    let mut page = |query: &str, links: Vec<String>| {
        let mut mock = server.mock("GET", &*format!("/jira/rest/users{query}")).with_header("content-type", "application/json");
        mock = links.iter().fold(mock, |mock, link| mock.with_header("link", link));
        mock.with_body("[]").expect(1)
    };
    let first = page(
        "",
        vec![
            format!("<{base}/rest/users>; rel=\"self\""),
            format!("<{base}/rest/users?after=a%20b&fields=id,name>; rel=\"next\""),
        ],
    );
    let second = page(
        "?after=a%20b&fields=id%2Cname",
        vec![format!("<{base}/rest/users?fields=id,name>; rel=\"self\", </jira/rest/users?after=c>; rel=\"next\"")],
    );
    let third = page("?after=c", vec![format!("<{base}/rest/users?after=c>; rel=\"self\"")]);

    let (first, second, third) = (first.create_async().await, second.create_async().await, third.create_async().await);
    let api = api(&base);
    let mut call = get();
    let mut read = 0;
    loop {
        let answer = api.send(call).await.expect("a page");
        read += 1;
        let Some(link) = next_link(&answer.headers) else { break };
        call = api.follow(&link, "list users").expect("a link below the base");
    }
    assert_eq!(read, 3);
    for mock in [first, second, third] {
        mock.assert_async().await;
    }
    for foreign in ["https://evil.example.com/jira/rest/users", "", "/confluence/rest"] {
        assert_eq!(api.follow(foreign, "list users").expect_err("elsewhere").fault, Fault::Malformed);
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let mut server = Server::new_async().await;
    let target = server.mock("GET", "/login").expect(0).create_async().await;
    let mock = server
        .mock("GET", "/rest/users")
        .with_status(302)
        .with_header("location", "/login?os_destination=x")
        .expect(1)
        .create_async()
        .await;
    let error = fails(&api(&server.url()), get()).await;
    assert_eq!(error.fault, Fault::Malformed);
    assert!(error.why.starts_with("HTTP 302 Found: a redirect to http://127.0.0.1:"), "{}", error.why);
    assert!(error.why.ends_with("/login"), "{}", error.why);
    mock.assert_async().await;
    target.assert_async().await;
}

#[tokio::test]
async fn a_login_page_with_200_is_not_an_empty_listing() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/rest/users")
        .with_header("content-type", "text/html")
        .with_body("<html>Log in</html>")
        .create_async()
        .await;
    let answer = api(&server.url()).send(get()).await.expect("200 is an answer");
    assert_eq!(answer.json::<Vec<u8>>().expect_err("HTML").fault, Fault::Malformed);
}

#[tokio::test]
async fn a_cut_answer_is_no_answer_and_only_a_reading_is_tried_again() {
    let raw = Raw::start(vec![Script::Bytes(CUT), Script::Bytes(OK)]).await;
    api(&raw.url).send(get()).await.expect("the second try is whole");
    assert_eq!(raw.seen(), 2);

    let raw = Raw::start(vec![Script::Bytes(CUT)]).await;
    let error = fails(&api(&raw.url), get()).await;
    assert_eq!((error.fault, raw.seen()), (Fault::Unreachable, 2));
    assert_eq!(error.why, "its answer was cut off or broken midway");

    let raw = Raw::start(vec![Script::Bytes(CUT)]).await;
    let error = fails(&api(&raw.url), Call::post("rest/users", "create")).await;
    assert_eq!((error.fault, raw.seen()), (Fault::Unreachable, 1));

    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2,\r\n";
    let raw = Raw::start(vec![Script::Bytes(chunked)]).await;
    assert_eq!(fails(&api(&raw.url), Call::post("rest/users", "create")).await.fault, Fault::Unreachable);
}

#[tokio::test]
async fn resets_refusals_and_silence_are_named() {
    let raw = Raw::start(vec![Script::Reset]).await;
    let once = HttpSettings { attempts: 1, read_timeout: Duration::from_millis(100), ..settings() };
    let error = fails(&api_with(&raw.url, &once, Anonymous, Plain), get()).await;
    assert_eq!((error.fault, error.why.as_str()), (Fault::Unreachable, "the connection was reset"));

    let raw = Raw::start(vec![Script::Bytes("")]).await;
    let error = fails(&api_with(&raw.url, &once, Anonymous, Plain), get()).await;
    assert_eq!((error.fault, error.why.as_str()), (Fault::Unreachable, "the connection was closed before an answer came"));

    let raw = Raw::start(vec![Script::Silence]).await;
    let error = fails(&api_with(&raw.url, &once, Anonymous, Plain), get()).await;
    assert_eq!((error.fault, error.why.as_str()), (Fault::Unreachable, "it did not answer in time"));

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let url = format!("http://{port}");
    let api = api_with(&url, &once, Anonymous, Plain);
    let error = fails(&api, get()).await;
    assert_eq!((error.fault, error.why.as_str()), (Fault::Unreachable, "it refused the connection"));
    assert_eq!(api.meter().classes[0].load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_dribbled_answer_is_read_whole() {
    let pieces = &["HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", "content-length: 5\r\n\r\n[1", ",2", "]"];
    let raw = Raw::start(vec![Script::Dribble(pieces, Duration::from_millis(20))]).await;
    let answer = api(&raw.url).send(get()).await.expect("whole");
    assert_eq!(answer.json::<Vec<u8>>().expect("JSON"), [1, 2]);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_not_read() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/rest/users")
        .with_header("content-type", "application/json")
        .with_body("[1,2,3,4,5,6]")
        .expect(1)
        .create_async()
        .await;
    let small = HttpSettings { max_body: 12, ..settings() };
    let error = fails(&api_with(&server.url(), &small, Anonymous, Plain), get()).await;
    assert_eq!((error.fault, error.hint.as_deref()), (Fault::Malformed, Some("raise http.max_body")));
    let enough = HttpSettings { max_body: 13, ..settings() };
    api_with(&server.url(), &enough, Anonymous, Plain).send(get()).await.expect("it fits");
}

#[tokio::test]
async fn a_refused_credential_is_never_sent_again() {
    let mut server = Server::new_async().await;
    let mock = server.mock("GET", "/rest/users").with_status(401).expect(1).create_async().await;
    let api = api(&server.url());
    // All at once: the first goes alone, and the others never go.
    let all = futures::future::join_all((0..8).map(|_| fails(&api, get()))).await;
    assert!(all.iter().all(|error| error.fault == Fault::Refused && error.why == "HTTP 401 Unauthorized"));
    let later = fails(&api, Call::delete("rest/users/1", "delete a user")).await;
    assert_eq!((later.fault, later.doing.as_str()), (Fault::Refused, "delete a user"));
    mock.assert_async().await;
}

#[tokio::test]
async fn a_refusal_whose_words_are_cut_off_is_a_refusal() {
    let cut = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 200\r\n\r\n{\"err";
    let raw = Raw::start(vec![Script::Bytes(cut)]).await;
    let api = api(&raw.url);
    assert_eq!(fails(&api, get()).await.fault, Fault::Refused);
    assert_eq!(fails(&api, get()).await.fault, Fault::Refused);
    assert_eq!(raw.seen(), 1);
}

/// A credential of which a fresh one can be had.
#[derive(Default)]
struct Renewable(AtomicUsize);

#[async_trait]
impl Authorize for Renewable {
    async fn authorize(&self, _method: &Method, _url: &Url, headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        headers.insert(AUTHORIZATION, HeaderValue::from(self.0.load(Ordering::SeqCst)));
        Ok(())
    }
    async fn renew(&self, answer: &HeaderMap) -> bool {
        assert!(answer.contains_key("www-authenticate"));
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[tokio::test]
async fn a_renewed_credential_gets_one_more_try() {
    let mut server = Server::new_async().await;
    let old = server
        .mock("POST", "/rest/users")
        .match_header("authorization", "0")
        .with_status(401)
        .with_header("www-authenticate", "DPoP");
    let old = old.expect(1).create_async().await;
    let fresh =
        server.mock("POST", "/rest/users").match_header("authorization", "1").with_status(201).expect(1).create_async().await;
    let answer = api_with(&server.url(), &settings(), Renewable::default(), Plain).send(Call::post("rest/users", "create")).await;
    assert_eq!(answer.expect("an answer").status, 201);
    old.assert_async().await;
    fresh.assert_async().await;

    let mut server = Server::new_async().await;
    let never =
        server.mock("GET", "/rest/users").with_status(401).with_header("www-authenticate", "DPoP").expect(2).create_async().await;
    let api = api_with(&server.url(), &settings(), Renewable::default(), Plain);
    assert_eq!(fails(&api, get()).await.fault, Fault::Refused);
    assert_eq!(fails(&api, get()).await.fault, Fault::Refused);
    never.assert_async().await;
}

/// A vendor that says 401 for a missing right and 403 for a CAPTCHA.
struct Peculiar;
impl Dialect for Peculiar {
    fn fault(&self, answer: &Answer) -> Option<Verdict> {
        let (fault, why) = match answer.status {
            401 => (Fault::Forbidden, "AuthorisationException you are not permitted"),
            403 if answer.headers.contains_key("x-authentication-denied-reason") => (Fault::Refused, "CAPTCHA_CHALLENGE"),
            _ => return None,
        };
        Some(Verdict { fault: Some(fault), why: why.to_owned(), hint: None })
    }
}

#[tokio::test]
async fn the_vendor_decides_what_refuses_the_credential() {
    let mut server = Server::new_async().await;
    let right = server.mock("GET", "/rest/users").with_status(401).expect(2).create_async().await;
    let captcha =
        server.mock("GET", "/rest/me").with_status(403).with_header("x-authentication-denied-reason", "CAPTCHA").expect(1);
    let captcha = captcha.create_async().await;
    let api = api_with(&server.url(), &settings(), Token { scheme: "Bearer", token: "t".into() }, Peculiar);
    for _ in 0..2 {
        let error = fails(&api, get()).await;
        assert_eq!(
            (error.fault, error.why.as_str()),
            (Fault::Forbidden, "HTTP 401 Unauthorized: AuthorisationException you are not permitted")
        );
    }
    for _ in 0..2 {
        assert_eq!(fails(&api, Call::get("rest/me", "ask who we are")).await.fault, Fault::Refused);
    }
    right.assert_async().await;
    captcha.assert_async().await;
}

#[tokio::test]
async fn a_429_is_waited_out_even_for_a_write() {
    let mut server = Server::new_async().await;
    let limited =
        server.mock("POST", "/rest/users").with_status(429).with_header("retry-after", "1").expect(1).create_async().await;
    let done = server.mock("POST", "/rest/users").with_status(201).expect(1).create_async().await;
    let api = api(&server.url());
    let begun = Instant::now();
    api.send(Call::post("rest/users", "create")).await.expect("the second try");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(api.meter().limited.load(Ordering::Relaxed), 1);
    assert_eq!(*api.meter().waiting.lock().expect("not poisoned"), None);
    limited.assert_async().await;
    done.assert_async().await;
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_handed_on_and_nobody_else_asks_meanwhile() {
    let mut server = Server::new_async().await;
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let mock = server
        .mock("GET", "/rest/users")
        .with_status(429)
        .with_header("date", date)
        .with_header("retry-after", "Sun, 06 Nov 1994 08:59:37 GMT")
        .expect(1)
        .create_async()
        .await;
    let api = api(&server.url());
    assert_eq!(fails(&api, get()).await.fault, Fault::Limited { retry_after: Some(Duration::from_secs(600)) });
    let second = fails(&api, get()).await;
    assert!(
        matches!(second.fault, Fault::Limited { retry_after: Some(left) } if left <= Duration::from_secs(600) && left > Duration::from_secs(590))
    );
    assert!(second.why.starts_with("its rate limit leaves no room for another"), "{}", second.why);
    mock.assert_async().await;
    assert!(api.clock_offset().num_days() < -10_000, "the server lives in 1994");
}

/// Headers like Okta's, read as a dialect would.
struct Windowed;
impl Dialect for Windowed {
    fn limit(&self, headers: &HeaderMap) -> Option<LimitReading> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
        let (limit, remaining) = (number("x-rate-limit-limit")?, number("x-rate-limit-remaining")?);
        Some(LimitReading::Window { limit, remaining, resets_in: Duration::from_secs(number("x-resets-in")?.into()) })
    }
}

#[tokio::test]
async fn a_reset_in_the_past_is_a_short_wait_and_not_a_hot_loop() {
    for (limit, remaining) in [("100", "0"), ("0", "0")] {
        let mut server = Server::new_async().await;
        let limited = server
            .mock("GET", "/rest/users")
            .with_status(429)
            .with_header("x-rate-limit-limit", limit)
            .with_header("x-rate-limit-remaining", remaining)
            .with_header("x-resets-in", "0")
            .expect(1)
            .create_async()
            .await;
        let done = server.mock("GET", "/rest/users").expect(1).create_async().await;
        let api = api_with(&server.url(), &settings(), Anonymous, Windowed);
        let begun = Instant::now();
        api.send(get()).await.expect("the second try");
        assert!(begun.elapsed() >= Duration::from_secs(1), "limit {limit}");
        limited.assert_async().await;
        done.assert_async().await;
    }
}

#[tokio::test]
async fn nothing_is_asked_of_a_bucket_that_is_known_to_be_used_up() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("GET", "/rest/users")
        .with_header("x-rate-limit-limit", "10")
        .with_header("x-rate-limit-remaining", "5")
        .with_header("x-resets-in", "900")
        .expect(1)
        .create_async()
        .await;
    let api = api_with(&server.url(), &settings(), Anonymous, Windowed);
    api.send(get()).await.expect("the first finds out");
    let error = fails(&api, get()).await;
    assert!(matches!(error.fault, Fault::Limited { retry_after: Some(left) } if left > Duration::from_secs(890)), "{error:?}");
    assert_eq!(api.meter().shares().get("all"), Some(&500));
    mock.assert_async().await;
}

#[tokio::test]
async fn a_write_is_repeated_only_where_nothing_took_effect() {
    for (status, header, hits) in [(503, Some("1"), 2), (503, None, 1), (502, Some("1"), 1), (500, None, 1)] {
        let mut server = Server::new_async().await;
        let mut mock = server.mock("POST", "/rest/users").with_status(status).expect(hits);
        if let Some(seconds) = header {
            mock = mock.with_header("retry-after", seconds);
        }
        let mock = mock.create_async().await;
        let error = fails(&api(&server.url()), Call::post("rest/users", "create")).await;
        assert_eq!(error.fault, Fault::Unavailable { retry_after: header.map(|_| Duration::from_secs(1)) });
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_reading_is_tried_again_after_a_passing_fault_only() {
    for (status, hits) in [(500, 2), (404, 1), (403, 1), (501, 1), (409, 1)] {
        let mut server = Server::new_async().await;
        let mock = server.mock("GET", "/rest/users").with_status(status).expect(hits).create_async().await;
        fails(&api(&server.url()), get()).await;
        mock.assert_async().await;
    }
    let mut server = Server::new_async().await;
    server.mock("GET", "/rest/users").with_status(404).create_async().await;
    assert_eq!(api(&server.url()).send(get().accept(404)).await.expect("taken as an answer").status, 404);
}

#[tokio::test]
async fn a_request_for_a_token_goes_without_the_credential() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/oauth2/v1/token")
        .match_header("authorization", Matcher::Missing)
        .match_header("content-type", "application/x-www-form-urlencoded")
        .match_body("grant_type=client_credentials&scope=a%20b")
        .with_status(400)
        .with_header("dpop-nonce", "n")
        .expect(1)
        .create_async()
        .await;
    let fields =
        [("grant_type", "client_credentials"), ("scope", "a b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let call = Call::post("oauth2/v1/token", "get a token").form(fields.to_vec()).accept(400);
    let answer = api(&server.url()).send_unauthorized(call).await.expect("taken as an answer");
    assert_eq!(answer.headers.get("dpop-nonce").expect("kept"), "n");
    mock.assert_async().await;
}

#[tokio::test]
async fn a_credential_that_cannot_be_sent_stops_everything() {
    let mut server = Server::new_async().await;
    let mock = server.mock("GET", "/rest/users").expect(0).create_async().await;
    let api = api_with(&server.url(), &settings(), Token { scheme: "Bearer", token: "a\nb".into() }, Plain);
    let error = fails(&api, get()).await;
    assert_eq!((error.fault, error.system.as_str(), error.doing.as_str()), (Fault::Refused, "jira", "list users"));
    mock.assert_async().await;
}

#[tokio::test]
async fn a_name_that_has_no_url_is_rejected_before_anything_is_sent() {
    let mut server = Server::new_async().await;
    let mock = server.mock("DELETE", Matcher::Any).expect(0).create_async().await;
    let path = format!("rest/groups/{}", crate::http::wire::segment(".."));
    assert_eq!(fails(&api(&server.url()), Call::delete(path, "delete a group")).await.fault, Fault::Rejected);
    mock.assert_async().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_found_when_the_api_is_built() {
    let build = |url: &str, http: &HttpSettings| {
        let base = Url::parse(url).expect("a URL");
        Api::new(&"jira".into(), base, http, Arc::new(Anonymous), Arc::new(Plain), &kit()).map(|_| ())
    };
    let key = |result: Result<(), crate::contract::settings::SettingsError>| result.expect_err("a finding").0[0].key.clone();
    assert_eq!(key(build("http://jira.example.com/", &settings())), "url");
    assert_eq!(key(build("https://jira.example.com/", &HttpSettings { rate_share: 0.0, ..settings() })), "http.rate_share");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let with_file = HttpSettings { ca_file: Some(path.clone()), ..settings() };
    assert_eq!(key(build("https://jira.example.com/", &with_file)), "http.ca_file");
    std::fs::write(&path, "no certificate\n").expect("written");
    assert_eq!(key(build("https://jira.example.com/", &with_file)), "http.ca_file");
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.encode(&webpki_root_certs::TLS_SERVER_ROOT_CERTS[0]);
    std::fs::write(&path, format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")).expect("written");
    build("https://jira.example.com/", &with_file).expect("a certificate");

    let password = serde_json::from_value(serde_json::json!({ "env": "MISSING" })).expect("a reference");
    let auth = crate::http::settings::ProxyAuth { username: "me".into(), password };
    let proxied = HttpSettings { proxy: Url::parse("http://127.0.0.1:9").ok(), proxy_auth: Some(auth), ..settings() };
    assert_eq!(key(build("https://jira.example.com/", &proxied)), "http.proxy_auth.password.env");
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_is_told_from_a_certificate_that_is_not_trusted() {
    let raw = Raw::start(vec![Script::Bytes(OK)]).await;
    let once = HttpSettings { attempts: 1, ..settings() };
    let error = fails(&api_with(&raw.url.replace("http://", "https://"), &once, Anonymous, Plain), get()).await;
    assert_eq!(error.fault, Fault::Unreachable);
    assert!(error.why.starts_with("the TLS connection failed: "), "{}", error.why);
    assert_eq!(error.hint.as_deref(), Some("check that this port of the system speaks https"));
}
