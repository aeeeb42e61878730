//! The daemon over HTTP: health, the API, and a console page to look at. No secret is told.
//!
//! The API does what the commands do, through the same functions: `look` reads, `order` writes. Who is let in is
//! `admit`'s business, what is answered when nothing is granted [`problem`]'s. Each route is registered together with what
//! the OpenAPI document says of it, so that neither is without the other.

mod admit;
mod ask;
pub(super) mod document;
mod failures;
mod health;
mod listen;
mod look;
mod order;
mod page;
mod peers;
pub mod problem;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Html, Response};
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::document::Looking;
use self::failures::Failures;
pub use self::listen::{Limits, ListenError, bind, serve};
use self::problem::{Kind, Problem};
use super::condition::{Condition, SharedCondition};
use super::console;
use super::metrics::{self, Metrics};
use super::orders::Order;
use super::status::{Status, gather};
use crate::config::Config;
use crate::contract::clock::Clock;
use crate::contract::journal::{Journal, RunQuery};
use crate::http::meter::Meters;

/// How many of the last runs the console shows.
const RUNS: u32 = 25;

/// What answers are made from.
#[derive(Clone)]
pub struct Services {
    /// How the daemon is.
    pub condition: SharedCondition,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where orders go.
    pub orders: UnboundedSender<Order>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The traffic with each system.
    pub meters: Arc<Meters>,
}

/// What answers are made from, and who is let in.
#[derive(Clone)]
pub struct View {
    pub(super) condition: SharedCondition,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) meters: Arc<Meters>,
    orders: UnboundedSender<Order>,
    guarded: bool,
    failures: Arc<Mutex<Failures>>,
    limits: Limits,
    seats: Arc<Semaphore>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

impl View {
    /// `guarded`: other machines can ask, and each needs a token to look.
    pub fn new(services: Services, guarded: bool) -> Self {
        let Services { condition, journal, clock, orders, metrics, meters } = services;
        let (failures, limits) = (Arc::default(), Limits::default());
        let seats = Arc::new(Semaphore::new(limits.looking));
        Self { condition, journal, clock, metrics, meters, orders, guarded, failures, limits, seats }
    }

    /// The same within other limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, seats: Arc::new(Semaphore::new(limits.looking)), ..self }
    }

    pub(super) fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration in force.
    fn config(&self) -> Result<Arc<Config>, Problem> {
        let starting = || Problem::new(Kind::Unavailable, "the daemon is starting").after(1);
        self.condition().config.ok_or_else(starting)
    }
}

/// The addresses that anybody may ask.
fn open() -> OpenApiRouter<View> {
    OpenApiRouter::new().routes(routes!(health::alive)).routes(routes!(health::ready))
}

/// The addresses that [`admit`] stands before.
fn guarded() -> OpenApiRouter<View> {
    OpenApiRouter::with_openapi(document::About::openapi())
        .routes(routes!(page))
        .routes(routes!(openapi))
        .routes(routes!(metrics::answer))
        .routes(routes!(look::status))
        .routes(routes!(look::jobs))
        .routes(routes!(look::runs))
        .routes(routes!(look::run))
        .routes(routes!(look::plan))
        .routes(routes!(look::retries))
        .routes(routes!(look::quarantine))
        .routes(routes!(order::run))
        .routes(routes!(order::approve))
        .routes(routes!(order::reject))
        .routes(routes!(order::release))
        .routes(routes!(order::undo))
}

/// The addresses and what stands before them.
pub fn router(view: View) -> Router {
    let (open, _) = open().split_for_parts();
    let (guarded, _) = guarded().split_for_parts();
    let guarded = guarded.layer(from_fn_with_state(view.clone(), listen::in_turn));
    open.merge(guarded.layer(from_fn_with_state(view.clone(), admit::admit)))
        .fallback(nowhere)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(ask::LARGEST))
        .layer(axum::Extension(ask::Patience(view.limits.body)))
        .layer(map_response(harden))
        .with_state(view)
}

/// The OpenAPI document of all that is served.
pub fn document() -> Document {
    guarded().merge(open()).into_openapi()
}

async fn nowhere() -> Problem {
    Problem::new(Kind::Unknown, "there is nothing at this address").hint("/api/v1/openapi.json lists every address")
}

async fn no_method(request: Request) -> Problem {
    Problem::new(Kind::Method, format!("this address knows no {}; the header Allow tells what it knows", request.method()))
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

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "look",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), Looking), security((), ("token" = [])))]
async fn openapi() -> axum::Json<Document> {
    axum::Json(document())
}

/// How things are by the configuration in force.
async fn current(view: &View, condition: &Condition, now: DateTime<Utc>) -> Result<Status, Problem> {
    let config = view.config()?;
    let mut status = gather(&config, &*view.journal, now).await?;
    for target in &mut status.targets {
        // The ticker knows better: a run that is caught up comes before the schedule's next.
        if let Some(next) = condition.next.get(&target.job) {
            target.next = *next;
        }
    }
    Ok(status)
}

/// The console: a page that says how things are, without scripts.
#[utoipa::path(get, path = "/", tag = "look",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"), Looking),
    security((), ("token" = [])))]
async fn page(State(view): State<View>) -> Result<Html<String>, Problem> {
    let condition = view.condition();
    let now = view.clock.now();
    let status = current(&view, &condition, now).await?;
    let retries = view.journal.retries().await?;
    let runs = view.journal.runs(&RunQuery { limit: RUNS, ..RunQuery::default() }).await?;
    Ok(Html(console::render(&console::Shown { condition, status, retries, runs, now })))
}
