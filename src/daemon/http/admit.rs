//! Who is let in: by the name of this machine, by not being a web page of elsewhere, and by token.
//!
//! By default only this machine can reach the server, and then no token is asked for to look; what a browser on the machine
//! might be tricked into asking is refused by the `Host` that it names and by the headers in which browsers tell where a request
//! comes from. To change something takes a token everywhere. Where other machines can reach the server, everything but
//! the two health addresses needs one, and configuration without any is refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::PoisonError;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::View;
use super::problem::{Kind, Problem};
use super::tokens::Bearer;
use crate::config::daemon::Right;
use crate::daemon::metrics;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Stands before everything but health.
pub async fn admit(State(view): State<View>, mut request: Request, next: Next) -> Response {
    let is_ours = is_own(request.method(), request.headers());
    if let Err(problem) = is_ours.and_then(|()| if view.guarded { Ok(()) } else { local(request.headers()) }) {
        return problem.into_response();
    }
    let bearer = match view.guarded {
        true => recognised(&view, request.headers(), request.extensions()).map(Some),
        false => Ok(given(request.headers()).and_then(|token| view.condition().tokens.find(token))),
    };
    match bearer.and_then(|bearer| bearer.map(|bearer| within_right(bearer, request.uri().path())).transpose()) {
        Ok(Some(bearer)) => drop(request.extensions_mut().insert(bearer)),
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(request).await
}

/// A token for metrics opens these and nothing else, wherever it comes from: it lies with whoever scrapes.
fn within_right(bearer: Bearer, path: &str) -> Result<Bearer, Problem> {
    if bearer.may > Right::Metrics || path == metrics::PATH {
        return Ok(bearer);
    }
    let detail = format!("the token {} may only read {}", bearer.name, metrics::PATH);
    Err(Problem::new(Kind::Forbidden, detail).hint("it takes one of [daemon.tokens.NAME] with may = \"read\" or \"write\""))
}

/// The bearer token that a request gives.
fn given(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whoever may change something.
#[derive(Debug)]
pub struct Writer(pub Bearer);

/// Whoever looks, known by a token or not. One that is given must be right, be it needed or not.
#[derive(Debug)]
pub struct Looker(pub Option<Bearer>);

impl FromRequestParts<View> for Looker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, view: &View) -> Result<Self, Problem> {
        match parts.extensions.get::<Bearer>() {
            Some(bearer) => Ok(Self(Some(bearer.clone()))),
            None if parts.headers.contains_key(header::AUTHORIZATION) => {
                recognised(view, &parts.headers, &parts.extensions).map(|bearer| Self(Some(bearer)))
            }
            None => Ok(Self(None)),
        }
    }
}

impl FromRequestParts<View> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, view: &View) -> Result<Self, Problem> {
        let bearer = match parts.extensions.get::<Bearer>() {
            Some(bearer) => bearer.clone(),
            None => recognised(view, &parts.headers, &parts.extensions)?,
        };
        match bearer.may {
            Right::Write => Ok(Self(bearer)),
            Right::Metrics | Right::Read => {
                let detail = format!("the token {} may only read", bearer.name);
                Err(Problem::new(Kind::Forbidden, detail).hint("it takes one of [daemon.tokens.NAME] with may = \"write\""))
            }
        }
    }
}

/// A page of elsewhere can make a browser on this machine ask here under a name of its own (DNS rebinding).
fn local(headers: &HeaderMap) -> Result<(), Problem> {
    if is_local(headers) {
        return Ok(());
    }
    let hint = "ask for this address as localhost or by its number; for a proxy in front, let it send such a Host header";
    Err(Problem::new(Kind::Foreign, "the request names another host than this machine").hint(hint))
}

/// Whether the request names this machine by an address or as localhost.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Browsers tell by `Origin` and `Sec-Fetch-Site` that a page has asked; no page of ours does. A link to the console that
/// somebody follows from elsewhere is no request of a page. <https://www.w3.org/TR/fetch-metadata/>
fn is_own(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let is = |name: HeaderName, values: &[&str]| headers.get(name).is_some_and(|v| values.iter().any(|value| v == value));
    let followed = method == Method::GET && is(FETCH_MODE, &["navigate"]);
    let from_elsewhere = headers.contains_key(FETCH_SITE) && !is(FETCH_SITE, &["same-origin", "none"]) && !followed;
    if !headers.contains_key(header::ORIGIN) && !from_elsewhere {
        return Ok(());
    }
    Err(Problem::new(Kind::Foreign, "a web page asks, as its Origin or Sec-Fetch-Site says; pages are not answered"))
}

/// Who bears the token of a request.
fn recognised(view: &View, headers: &HeaderMap, extensions: &Extensions) -> Result<Bearer, Problem> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip());
    let now = view.clock.now();
    let tokens = view.condition().tokens;
    let Some(given) = given(headers) else {
        let hint = if tokens.is_empty() {
            "no token is configured: [daemon.tokens.NAME] secret = { file = \"/path\" }, may = \"write\""
        } else {
            "send a token of [daemon.tokens]: Authorization: Bearer …"
        };
        return Err(Problem::new(Kind::Unauthorized, "the request bears no token").hint(hint));
    };
    if let Some(bearer) = tokens.find(given) {
        return Ok(bearer);
    }
    let mut failures = view.failures.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(held) = failures.held(peer, now) {
        let seconds = (held.num_milliseconds() + 999) / 1000;
        let detail = format!("too many wrong tokens came from {peer}, or from everywhere; a right one would have passed");
        return Err(Problem::new(Kind::TooMany, detail).after(seconds));
    }
    if failures.wrong(peer, now) {
        tracing::warn!(%peer, "too many wrong tokens from this address: more of them are answered by 429 for a while");
    }
    Err(Problem::new(Kind::Unauthorized, "the token is none of [daemon.tokens]"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a header"))).collect()
    }

    #[test]
    fn a_host_is_local_by_number_or_as_localhost() {
        for local in ["127.0.0.1:9640", "localhost:9640", "LOCALHOST", "[::1]:9640", "[::1]", "10.0.0.7"] {
            assert!(is_local(&headers(&[(header::HOST, local)])), "{local}");
        }
        for foreign in ["evil.example.com", "evil.example.com:9640", "localhost.example.com", "127.0.0.1.example.com", ""] {
            assert!(!is_local(&headers(&[(header::HOST, foreign)])), "{foreign}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }

    #[test]
    fn a_page_of_elsewhere_is_refused_and_a_link_is_followed() {
        let asks = |method: Method, pairs: &[(HeaderName, &str)]| is_own(&method, &headers(pairs)).is_ok();
        assert!(asks(Method::POST, &[]));
        assert!(asks(Method::GET, &[(FETCH_SITE, "none"), (FETCH_MODE, "navigate")]));
        assert!(asks(Method::GET, &[(FETCH_SITE, "same-origin")]));
        assert!(asks(Method::GET, &[(FETCH_SITE, "cross-site"), (FETCH_MODE, "navigate")]));
        assert!(!asks(Method::POST, &[(FETCH_SITE, "cross-site"), (FETCH_MODE, "navigate")]));
        assert!(!asks(Method::GET, &[(FETCH_SITE, "cross-site"), (FETCH_MODE, "no-cors")]));
        assert!(!asks(Method::GET, &[(FETCH_SITE, "same-site")]), "another port of this machine is another site's page");
        for origin in ["https://evil.example.com", "null", "http://127.0.0.1:9640"] {
            assert!(!asks(Method::POST, &[(header::ORIGIN, origin)]), "{origin}");
            assert!(!asks(Method::GET, &[(header::ORIGIN, origin), (FETCH_MODE, "navigate")]), "{origin}");
        }
    }
}
