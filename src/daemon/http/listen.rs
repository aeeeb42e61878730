//! The door itself: where is listened, and what nobody can use up, be it by silence.
//!
//! Each connection costs a descriptor, and the daemon needs some for its store and its systems: there are only so many at
//! once, of which no address gets more than it leaves to others, and none lasts. Who looks waits for a seat at the journal, so that the supervisor is not crowded out.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use super::peers::{Peers, TooMany};
use super::problem::{Kind, Problem};
use super::{View, router};
use crate::config::daemon::DEFAULT_LISTEN;

/// After an error of the machine (no descriptor is left, say) nobody is let in for so long.
const BREATH: Duration = Duration::from_millis(500);

/// How often it is said that an address has too many connections.
const AGAIN: Duration = Duration::from_secs(60);

/// What nobody can use more of.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many connections at once; others wait. One address gets half of them at the most, see `Peers`.
    pub connections: usize,
    /// So many requests at once that look.
    pub looking: usize,
    /// For so long a connection may be without a whole header.
    pub header: Duration,
    /// So long a body may take.
    pub body: Duration,
    /// So long a request that looks may take, its wait for a seat included. What somebody orders is never cut off.
    pub answer: Duration,
    /// After so long a connection ends with the answer at hand, and after as long again without.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            looking: 4,
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            connection: Duration::from_secs(60),
        }
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
    let limits = view.limits;
    let router = router(view);
    let free = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits.connections);
    let mut told = None;
    loop {
        // Never closed.
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = match peers.take(peer.ip()) {
                    Ok(place) => place,
                    Err(TooMany { holds }) => {
                        if told.is_none_or(|at: Instant| at.elapsed() > AGAIN) {
                            told = Some(Instant::now());
                            tracing::warn!(peer = %peer.ip(), holds, "daemon.listen: this address holds as many connections as it leaves to others; further ones of it are closed");
                        }
                        continue;
                    }
                };
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, peer, router, limits).await;
                    // The place first: whoever is let in for the permit finds it free.
                    drop(place);
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!("a connection to daemon.listen could not be taken: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn converse(stream: TcpStream, peer: SocketAddr, router: axum::Router, limits: Limits) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        router.call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    // What breaks here is the other side's affair.
    if timeout(limits.connection, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.connection, connection).await;
    }
}

/// Who looks takes turns and is not kept for ever.
pub(super) async fn in_turn(State(view): State<View>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return next.run(request).await;
    }
    let look = async {
        let _seat = view.seats.acquire().await;
        next.run(request).await
    };
    let busy = || Problem::new(Kind::Unavailable, "the answer took too long: the store is slow, or many ask").after(5);
    timeout(view.limits.answer, look).await.unwrap_or_else(|_| busy().into_response())
}
