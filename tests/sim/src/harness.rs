//! What all simulators share: a server on a free loopback port, a log of requests, and the fault switchboard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

/// One request as the simulator saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as sent, still percent-encoded.
    pub path: String,
    /// The query as sent, without `?`.
    pub query: String,
    /// The body.
    pub body: Bytes,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The status answered; 0 if the connection was broken instead.
    pub status: u16,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the real one; nothing takes effect.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// The connection breaks before anything takes effect.
    ResetBefore,
    /// The request takes effect, then the connection breaks instead of an answer.
    ResetAfter,
    /// The request takes effect; the answer is cut in the middle of its body.
    Cut,
    /// The real answer comes after this delay.
    Delay(Duration),
    /// The real answer comes in pieces with this pause between them.
    Dribble(Duration),
}

/// Which requests a fault meets.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method; empty: any.
    pub method: String,
    /// Path and query (joined by `?` where there is a query) contain this text; empty: any.
    pub contains: String,
    /// So many matching requests are let through first.
    pub skip: usize,
    /// So many are met; `usize::MAX`: all.
    pub times: usize,
    /// What goes wrong.
    pub fault: Fault,
}

/// The switchboard of one simulator. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Switchboard {
    inner: Arc<Mutex<Vec<Rule>>>,
}

impl Switchboard {
    /// Adds a rule. Of several that match a request the first one added wins.
    pub fn add(&self, rule: Rule) {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(rule);
    }
    /// Takes all rules away.
    pub fn clear(&self) {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

/// The log of requests of one simulator. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Log {
    inner: Arc<Mutex<Vec<Seen>>>,
}

impl Log {
    /// Everything seen so far.
    pub fn all(&self) -> Vec<Seen> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
    /// How many requests were seen.
    pub fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }
    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Forgets everything seen.
    pub fn clear(&self) {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
    /// The requests that were not reads.
    pub fn writes(&self) -> Vec<Seen> {
        self.all().into_iter().filter(|s| s.method != "GET").collect()
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// What was asked.
    pub log: Log,
    /// What goes wrong.
    pub faults: Switchboard,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

/// Starts a server for a router on a free loopback port (or the given one), with log and switchboard around it.
///
/// # Errors
/// If the port cannot be had.
pub async fn serve(_router: axum::Router, _port: Option<u16>) -> std::io::Result<Running> {
    unimplemented!()
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
