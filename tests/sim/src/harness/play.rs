//! What happens to a request around the simulator's router: it is logged, meets its fault, and gets a `Date`.

use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;

use super::Clock;
use super::door::Conn;
use super::log::{Log, Seen};
use super::switchboard::{Fault, Switchboard};

/// How long a cut body waits in its middle: long enough for the first half to be on its way.
const CUT: Duration = Duration::from_millis(5);
/// Pieces of a dribbling body.
const PIECES: usize = 10;

#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) log: Log,
    pub(super) faults: Switchboard,
    pub(super) clock: Clock,
}

pub(super) async fn play(
    State(stage): State<Stage>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    request: Request,
    next: Next,
) -> Response {
    let _present = stage.log.enter();
    let target = request.uri().path_and_query().map_or("/", |pq| pq.as_str());
    let (fault, latency) = stage.faults.meet(request.method().as_str(), target);
    let (request, ticket) = record(&stage.log, request).await;
    let mut broken = false;
    let mut response = match fault {
        None => next.run(request).await,
        Some(Fault::Answer { status, headers, body }) => answer(status, &headers, body),
        Some(Fault::ResetBefore) => {
            broken = true;
            Response::default()
        }
        Some(Fault::ResetAfter) => {
            broken = true;
            next.run(request).await
        }
        Some(Fault::Cut) => cut(next.run(request).await, &conn).await,
        Some(Fault::Delay(delay)) => {
            let response = next.run(request).await;
            tokio::time::sleep(delay).await;
            response
        }
        Some(Fault::Dribble(pause)) => dribble(next.run(request).await, pause).await,
    };
    stage.faults.let_go().await;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if broken {
        conn.break_off();
        return response;
    }
    if let Some(ticket) = ticket {
        stage.log.answered(ticket, response.status().as_u16());
    }
    date(&stage.clock, response.headers_mut());
    response
}

/// Logs the request, and gives it back unread.
async fn record(log: &Log, request: Request) -> (Request, Option<usize>) {
    if log.is_quiet() {
        let route = request.extensions().get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
        log.tally(request.method().as_str(), route);
        return (request, None);
    }
    let (parts, body) = request.into_parts();
    // A client that goes away while it sends leaves an empty body; nobody waits for the answer.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let ticket = log.keep(seen(&parts.method, &parts.uri, &parts.headers, body.clone()));
    (Request::from_parts(parts, Body::from(body)), Some(ticket))
}

fn seen(method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Seen {
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    Seen {
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        body,
        headers: headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect(),
        status: 0,
    }
}

fn answer(status: u16, headers: &[(String, String)], body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a fault's status is a status");
    for (name, value) in headers {
        response.headers_mut().append(
            HeaderName::try_from(name.as_str()).expect("a fault's header has a name"),
            HeaderValue::try_from(value.as_str()).expect("a fault's header has a value"),
        );
    }
    response
}

/// The right headers and half of the body, then the end of the connection.
async fn cut(response: Response, conn: &Conn) -> Response {
    let (parts, body) = whole(response).await;
    if body.is_empty() {
        conn.break_off();
    }
    let half = body.slice(..body.len() / 2);
    let body = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(Bytes::new()))),
            Some(_) => {
                tokio::time::sleep(CUT).await;
                Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
            }
            None => None,
        }
    });
    Response::from_parts(parts, Body::from_stream(body))
}

async fn dribble(response: Response, pause: Duration) -> Response {
    let (parts, body) = whole(response).await;
    let piece = body.len().div_ceil(PIECES).max(1);
    let body = stream::unfold((body, true), move |(mut rest, first)| async move {
        if rest.is_empty() {
            return None;
        }
        if !first {
            tokio::time::sleep(pause).await;
        }
        let next = rest.split_to(piece.min(rest.len()));
        Some((Ok::<_, io::Error>(next), (rest, false)))
    });
    Response::from_parts(parts, Body::from_stream(body))
}

/// The answer with its body in hand, and the length that a stream would not tell.
async fn whole(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a simulator's body is in memory");
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    (parts, body)
}

/// Sets the `Date` that the server's clock tells, unless a fault gave its own.
fn date(clock: &Clock, headers: &mut HeaderMap) {
    let now = httpdate::fmt_http_date(clock.now());
    let now = HeaderValue::try_from(now).expect("a date is ASCII");
    headers.entry(header::DATE).or_insert(now);
}
