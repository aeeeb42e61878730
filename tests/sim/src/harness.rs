//! What all simulators share: a server on a free loopback port, a log of requests, and the fault switchboard.
//!
//! The log and the switchboard sit around a simulator's router, not in it, so that a simulator tells how a vendor
//! answers and nothing else, and every simulator can be made to fail in every way. A connection is broken at the
//! socket, since only that looks to a client as a dying proxy does.

mod door;
mod log;
mod play;
mod switchboard;
#[cfg(test)]
pub(crate) mod wire;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use self::log::{Log, Seen};
pub use self::switchboard::{Fault, Rule, Switchboard};
use door::{Conn, Door};

/// The server's own clock. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    skew: Arc<AtomicI64>,
}

impl Clock {
    /// Sets how many seconds the server is ahead of the machine; negative: behind.
    pub fn skew(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::Relaxed);
    }

    /// What the server believes the time is.
    pub fn now(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    /// Seconds since 1970 of [`Clock::now`].
    pub fn epoch(&self) -> u64 {
        self.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }
}

/// A port that is held, before there is a router: for simulators whose answers carry their own address.
#[derive(Debug)]
pub struct Bound {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// What will have been asked.
    pub log: Log,
    /// What will go wrong.
    pub faults: Switchboard,
    /// What time it is there; the `Date` header tells it.
    pub clock: Clock,
    listener: tokio::net::TcpListener,
}

/// A running server. Dropping it stops it: new connections are refused at once, idle ones are closed.
#[derive(Debug)]
pub struct Running {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// What was asked.
    pub log: Log,
    /// What goes wrong.
    pub faults: Switchboard,
    /// What time it is there; the `Date` header tells it.
    pub clock: Clock,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

/// Holds a free loopback port, or the given one.
///
/// # Errors
/// If the port cannot be had.
pub async fn bind(port: Option<u16>) -> std::io::Result<Bound> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await?;
    Ok(Bound {
        url: format!("http://{}", listener.local_addr()?),
        log: Log::default(),
        faults: Switchboard::default(),
        clock: Clock::default(),
        listener,
    })
}

/// Starts a server for a router on a free loopback port (or the given one), with log and switchboard around it.
///
/// # Errors
/// If the port cannot be had.
pub async fn serve(router: axum::Router, port: Option<u16>) -> std::io::Result<Running> {
    Ok(bind(port).await?.serve(router))
}

impl Bound {
    /// Starts to answer, on the runtime that calls.
    pub fn serve(self, router: axum::Router) -> Running {
        let Self { url, log, faults, clock, listener } = self;
        let stage = play::Stage { log: log.clone(), faults: faults.clone(), clock: clock.clone() };
        let router =
            router.layer(axum::middleware::from_fn_with_state(stage, play::play)).into_make_service_with_connect_info::<Conn>();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = axum::serve(Door(listener), router).with_graceful_shutdown(async {
            // A sender that is gone means the same as a word from it.
            let _ = stopped.await;
        });
        tokio::spawn(async move { server.await });
        Running { url, log, faults, clock, stop: Some(stop) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may have ended with its runtime already.
            let _ = stop.send(());
        }
    }
}

/// Locks, whatever a panicking test left behind: the states here are valid between any two statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
