//! What stands before every endpoint: rate limits, credentials, scopes and roles, in this order.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;
use super::fault::{Fault, reply};
use super::limits::{Reading, bucket};
use super::oauth::insufficient;
use crate::harness::locked;

pub(super) async fn gate(State(okta): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let reading = limit(&okta, request.uri().path());
    let mut response = if reading.admitted {
        match admit(&okta, &request) {
            Ok(()) => next.run(request).await,
            Err(refusal) => *refusal,
        }
    } else {
        Fault::too_many().answer()
    };
    let headers = response.headers_mut();
    headers.insert("x-rate-limit-limit", HeaderValue::from(reading.limit));
    headers.insert("x-rate-limit-remaining", HeaderValue::from(reading.remaining));
    headers.insert("x-rate-limit-reset", HeaderValue::from(reading.reset));
    headers.insert("x-okta-request-id", okta.request_id());
    response
}

fn limit(okta: &Shared, path: &str) -> Reading {
    let crowded = locked(&okta.quirks).at_once.is_some_and(|cap| okta.log.in_flight() > cap);
    let mut windows = locked(&okta.windows);
    if crowded { windows.crowded(okta.clock.now()) } else { windows.take(bucket(path), okta.clock.now()) }
}

fn admit(okta: &Shared, request: &Request) -> Result<(), Box<Response>> {
    let path = request.uri().path();
    let Some(rest) = path.strip_prefix("/api/v1") else { return Ok(()) };
    authenticate(okta, request, needed(rest))?;
    if !locked(&okta.quirks).blind {
        return Ok(());
    }
    // A service app without an admin role sees no users, and is not told why; everything else is refused.
    Err(Box::new(if rest == "/users" { nobody(okta, request) } else { Fault::no_permission().answer() }))
}

fn authenticate(okta: &Shared, request: &Request, scope: Option<&str>) -> Result<(), Box<Response>> {
    let refused = || Box::new(Fault::invalid_token().answer());
    let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let credential = text("authorization").and_then(|a| a.split_once(' ')).ok_or_else(refused)?;
    if credential.0 == "SSWS" {
        let good = locked(&okta.ssws).as_deref() == Some(credential.1);
        return if good { Ok(()) } else { Err(refused()) };
    }
    let url = format!("{}{}", okta.base, request.uri().path());
    let asked = (request.method(), url.as_str());
    let scopes = locked(&okta.tokens).authenticate(credential, asked, text("dpop"), okta.clock.epoch())?;
    match scope {
        Some(scope) if !scopes.iter().any(|s| s == scope) => Err(Box::new(insufficient(scope))),
        _ => Ok(()),
    }
}

/// The scope that opens a path below `/api/v1`.
fn needed(rest: &str) -> Option<&'static str> {
    match rest.split('/').nth(1) {
        Some("users") => Some("okta.users.read"),
        Some("groups") => Some("okta.groups.read"),
        Some("apps") => Some("okta.apps.read"),
        _ => None,
    }
}

fn nobody(okta: &Shared, request: &Request) -> Response {
    let mut response = reply(200, "[]");
    let link = format!("<{}{}>; rel=\"self\"", okta.base, request.uri());
    if let Ok(link) = HeaderValue::try_from(link) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
