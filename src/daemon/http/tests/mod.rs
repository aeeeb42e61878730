//! The router by itself: requests go in, answers come out, and time moves only when the test moves it.

mod bodies;
mod document;
mod doors;
mod lists;
mod orders;
mod patience;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, header};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::ServiceExt;

use super::*;
use crate::config::daemon::Right;
use crate::config::{Layers, check};
use crate::daemon::assemble::{checks, kit_of_stand_ins};
use crate::daemon::orders::orders;
use crate::store;

/// A configuration with two jobs.
const CONFIGURATION: &str = r#"
[sources.okta]
kind = "okta"
domain = "companyname.okta.com"
api_token = { env = "OKTA_API_TOKEN" }
[targets.jira]
kind = "jira"
url = "https://jira.example.com"
auth = { token = { env = "JIRA_TOKEN" } }
[targets.wiki]
kind = "confluence"
url = "https://wiki.example.com"
auth = { token = { env = "WIKI_TOKEN" } }
[jobs.staff]
source = "okta"
targets = ["jira", "wiki"]
schedule = "hourly"
"#;

/// May change things.
const OPS: &str = "the-token-of-ops";
/// May look.
const EYE: &str = "the-token-of-the-eye";

/// May read metrics.
const PROM: &str = "the-token-of-prometheus";

/// A clock that stands still.
struct Still(Mutex<DateTime<Utc>>);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("not poisoned")
    }
    async fn sleep(&self, _: std::time::Duration) {}
}

/// A daemon of which there is nothing but its door.
struct Door {
    router: Router,
    view: View,
    journal: Arc<dyn Journal>,
    condition: SharedCondition,
    clock: Arc<Still>,
    orders: UnboundedReceiver<Order>,
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Demands a problem of this status and word.
    #[track_caller]
    fn is(&self, status: u16, word: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], problem::MEDIA);
        let said = self.json();
        assert_eq!(said["type"], format!("urn:rosterd:problem:{word}"), "{said}");
        assert_eq!(said["status"], status);
        said
    }
}

impl Door {
    async fn open(guarded: bool) -> Self {
        let layers = Layers::from_texts(&[("rosterd.toml", CONFIGURATION)], &[]).expect("it is TOML");
        let kit = kit_of_stand_ins();
        let config = check(&layers, &checks(&kit)).unwrap_or_else(|e| panic!("{}", e.render(false))).config;
        let mut tokens = tokens::Tokens::default();
        for (name, may, secret) in [("ops", Right::Write, OPS), ("eye", Right::Read, EYE), ("prom", Right::Metrics, PROM)] {
            assert_eq!(tokens.add(name, may, secret), None);
        }
        let condition = SharedCondition::default();
        {
            let mut condition = condition.lock().expect("not poisoned");
            condition.config = Some(Arc::new(config));
            condition.tokens = Arc::new(tokens);
            condition.ready = true;
        }
        let journal = store::open_for("sqlite::memory:", store::Access::Write).await.expect("the store opens");
        let clock = Arc::new(Still(Mutex::new(DateTime::from_timestamp(1_790_000_000, 0).expect("a time"))));
        let (send, orders) = orders();
        let services = Services {
            condition: condition.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
            orders: send,
            metrics: Arc::new(Metrics::new(clock.now())),
            meters: kit.meters.clone(),
        };
        let view = View::new(services, guarded);
        Self { router: router(view.clone()), view, journal, condition, clock, orders }
    }

    fn advance(&self, by: TimeDelta) {
        *self.clock.0.lock().expect("not poisoned") += by;
    }

    /// Sends a request from a machine of this address.
    async fn send(&self, from: [u8; 4], request: Request<Body>) -> Answer {
        let mut request = request;
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("127.0.0.1:9640"));
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((from, 4711))));
        let response = self.router.clone().oneshot(request).await.expect("it answers");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("whole");
        Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(bytes.into()).expect("UTF-8") }
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Body::from(body.unwrap_or_default().to_owned());
        self.send([127, 0, 0, 1], request.body(body).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, None).await
    }

    /// Says something with the token that may.
    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, Some(OPS), Some(body)).await
    }
}
