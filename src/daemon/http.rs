//! Health, metrics, status and console over HTTP. Read-only: nothing that is asked here changes anything, and no secret is told.
//!
//! By default only this machine can reach it, and then no token is asked for; what a browser on the machine might be
//! tricked into asking is refused by the `Host` it names. Where other machines can reach it, everything but the two
//! health addresses needs the bearer token, and configuration without one is refused.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::console;
use super::metrics::{self, Metrics};
use super::readiness::{Part, parts};
use super::status::{Status, gather};
use super::supervise::{Condition, SharedCondition};
use crate::config::daemon::DEFAULT_LISTEN;
use crate::contract::clock::Clock;
use crate::contract::journal::{Journal, JournalError, RunQuery};
use crate::http::meter::Meters;
use crate::model::key::JobName;

/// A supervisor that was not heard for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
/// How many of the last runs the console shows.
const RUNS: u32 = 25;

/// What answers are made from.
#[derive(Clone)]
pub struct View {
    /// How the daemon is.
    pub condition: SharedCondition,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The traffic with each system.
    pub meters: Arc<Meters>,
    /// Whether the bearer token is asked for.
    pub guarded: bool,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

impl View {
    pub(super) fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why the address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address} (daemon.listen): {why}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub why: std::io::Error,
}

/// Takes the address. The default one is let go where it is taken already, since nobody has asked for it and several
/// daemons may run on one machine; `None` then.
///
/// # Errors
/// An address that was asked for and cannot be had.
pub async fn bind(address: SocketAddr) -> Result<Option<TcpListener>, ListenError> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(why) if address == DEFAULT_LISTEN => {
            tracing::warn!("health and status are not served: cannot listen at the default address {address}: {why}");
            Ok(None)
        }
        Err(why) => Err(ListenError { address, why }),
    }
}

/// Answers until the runtime ends.
pub async fn serve(listener: TcpListener, view: View) {
    if let Err(error) = axum::serve(listener, router(view)).await {
        tracing::error!("health and status are not served any more: {error}");
    }
}

/// The addresses and what stands before them.
pub fn router(view: View) -> Router {
    let guarded = Router::new()
        .route("/", get(page))
        .route("/api/v1/status", get(status))
        .route("/metrics", get(metrics::answer))
        .layer(from_fn_with_state(view.clone(), admit));
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .merge(guarded)
        .layer(map_response(harden))
        .with_state(view)
}

/// Nothing is embedded, run, cached or read from elsewhere.
async fn harden(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn admit(State(view): State<View>, request: Request, next: Next) -> Response {
    if !view.guarded {
        // A page of elsewhere can make a browser on this machine ask here under a name of its own (DNS rebinding).
        return if is_local(request.headers()) { next.run(request).await } else { foreign_host() };
    }
    match &view.condition().token {
        Some(token) if bears(request.headers(), token) => next.run(request).await,
        Some(_) | None => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"rosterd\"")];
            (StatusCode::UNAUTHORIZED, challenge, "send the token of daemon.token: Authorization: Bearer …\n").into_response()
        }
    }
}

fn foreign_host() -> Response {
    let text = "ask for this address as localhost or by its number; for a proxy in front, let it send such a Host header\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Whether the request names this machine by an address or as localhost.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

/// Whether the request bears the token. Hashes are compared, in constant time: neither length nor beginning leaks.
fn bears(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let Some((scheme, given)) = given else { return false };
    let hash = |text: &str| Sha256::digest(text.as_bytes());
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(&hash(given.trim()), &hash(token.expose_secret()));
    scheme.eq_ignore_ascii_case("bearer") && same.is_ok()
}

async fn alive(State(view): State<View>) -> Response {
    match view.condition().heartbeat {
        Some(heard) if heard.elapsed() < SILENCE => "alive\n".into_response(),
        Some(heard) => {
            let seconds = heard.elapsed().as_secs();
            (StatusCode::SERVICE_UNAVAILABLE, format!("the supervisor was last heard {seconds} s ago\n")).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the supervisor has not started\n").into_response(),
    }
}

/// Says of each part whether it stands, without details: anybody may ask.
async fn ready(State(view): State<View>) -> Response {
    let parts = parts(&view, &view.condition()).await;
    let code = if parts.iter().all(Part::stands) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, parts.iter().map(Part::line).collect::<String>()).into_response()
}

/// The answer of the status API.
#[derive(Debug, Serialize)]
struct Answer {
    version: &'static str,
    now: DateTime<Utc>,
    ready: bool,
    /// When the configuration in force was read.
    loaded: Option<DateTime<Utc>>,
    /// What was wrong at the last reload, if it failed.
    reload_failed: Option<String>,
    /// The jobs at work.
    running: Vec<JobName>,
    #[serde(flatten)]
    status: Status,
}

async fn status(State(view): State<View>) -> Response {
    let condition = view.condition();
    let now = view.clock.now();
    match current(&view, &condition, now).await {
        Ok(status) => {
            let answer = Answer {
                version: env!("CARGO_PKG_VERSION"),
                now,
                ready: condition.ready,
                loaded: condition.loaded,
                reload_failed: condition.reload_failed,
                running: condition.running.into_iter().collect(),
                status,
            };
            axum::Json(answer).into_response()
        }
        Err(error) => error,
    }
}

/// How things are by the configuration in force.
async fn current(view: &View, condition: &Condition, now: DateTime<Utc>) -> Result<Status, Response> {
    let Some(config) = &condition.config else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the daemon is starting\n").into_response());
    };
    let mut status = gather(config, &*view.journal, now).await.map_err(|e| unreadable(&e))?;
    for target in &mut status.targets {
        // The ticker knows better: a run that is caught up comes before the schedule's next.
        if let Some(next) = condition.next.get(&target.job) {
            target.next = *next;
        }
    }
    Ok(status)
}

fn unreadable(error: &JournalError) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}

async fn page(State(view): State<View>) -> Response {
    let condition = view.condition();
    let now = view.clock.now();
    let status = match current(&view, &condition, now).await {
        Ok(status) => status,
        Err(response) => return response,
    };
    let more = async {
        let retries = view.journal.retries().await?;
        let runs = view.journal.runs(&RunQuery { limit: RUNS, ..RunQuery::default() }).await?;
        Ok::<_, JournalError>((retries, runs))
    };
    match more.await {
        Ok((retries, runs)) => Html(console::render(&console::Shown { condition, status, retries, runs, now })).into_response(),
        Err(error) => unreadable(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header"))])
    }

    #[test]
    fn a_host_is_local_by_number_or_as_localhost() {
        for local in ["127.0.0.1:9640", "localhost:9640", "LOCALHOST", "[::1]:9640", "[::1]", "10.0.0.7"] {
            assert!(is_local(&headers(header::HOST, local)), "{local}");
        }
        for foreign in ["evil.example.com", "evil.example.com:9640", "localhost.example.com", "127.0.0.1.example.com", ""] {
            assert!(!is_local(&headers(header::HOST, foreign)), "{foreign}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }

    #[test]
    fn only_the_very_token_is_borne() {
        let token = SecretString::from("a-token");
        for right in ["Bearer a-token", "bearer a-token"] {
            assert!(bears(&headers(header::AUTHORIZATION, right), &token), "{right}");
        }
        for wrong in ["Bearer a-toke", "Bearer a-token2", "Bearer ", "Bearer", "Basic a-token", "a-token"] {
            assert!(!bears(&headers(header::AUTHORIZATION, wrong), &token), "{wrong}");
        }
    }
}
