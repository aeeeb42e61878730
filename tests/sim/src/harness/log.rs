//! The log of requests: what a simulator saw, in order of arrival.
//!
//! A test asks it what was sent; a bench asks it only how much, and switches it to quiet, where a request costs two
//! counters and no copy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::locked;

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
    /// The status answered; 0 if the connection was broken instead, or no answer was given yet.
    pub status: u16,
}

impl Seen {
    /// The value of a header, by its name in lower case; the first if it was sent more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Path and query, joined by `?` where there is a query.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// The log of requests of one simulator. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    quiet: AtomicBool,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// How many were forgotten, so that a request under way finds its own entry after a `clear`.
    forgotten: usize,
    seen: Vec<Seen>,
    /// What was only counted: method and route, and how often.
    tally: BTreeMap<(String, String), usize>,
}

impl Log {
    /// Everything seen so far, in order of arrival; without what was only counted.
    pub fn all(&self) -> Vec<Seen> {
        locked(&self.inner.entries).seen.clone()
    }

    /// How many requests were seen.
    pub fn len(&self) -> usize {
        let entries = locked(&self.inner.entries);
        entries.seen.len() + entries.tally.values().sum::<usize>()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything seen.
    pub fn clear(&self) {
        let mut entries = locked(&self.inner.entries);
        entries.forgotten += entries.seen.len();
        entries.seen.clear();
        entries.tally.clear();
        self.inner.most.store(self.in_flight(), Ordering::Relaxed);
    }

    /// The requests that were not reads.
    pub fn writes(&self) -> Vec<Seen> {
        locked(&self.inner.entries).seen.iter().filter(|s| s.method != "GET").cloned().collect()
    }

    /// How many requests had this method (empty: any) and a path that contains this text (empty: any). Of those that
    /// were only counted the path is the route's pattern, such as `/api/v1/groups/{id}/users`.
    pub fn count(&self, method: &str, path_contains: &str) -> usize {
        let entries = locked(&self.inner.entries);
        let fits = |m: &str, path: &str| (method.is_empty() || m == method) && path.contains(path_contains);
        let seen = entries.seen.iter().filter(|s| fits(&s.method, &s.path)).count();
        let tallied: usize = entries.tally.iter().filter(|((m, path), _)| fits(m, path)).map(|(_, n)| n).sum();
        seen + tallied
    }

    /// True: from now on requests are counted by method and route and not kept. For benches.
    pub fn quiet(&self, quiet: bool) {
        self.inner.quiet.store(quiet, Ordering::Relaxed);
    }

    /// How many requests are being answered now.
    pub fn in_flight(&self) -> usize {
        self.inner.in_flight.load(Ordering::Relaxed)
    }

    /// The most requests that were being answered at once since the last [`Log::clear`].
    pub fn most_in_flight(&self) -> usize {
        self.inner.most.load(Ordering::Relaxed)
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.inner.quiet.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) -> Presence {
        let now = self.inner.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.inner.most.fetch_max(now, Ordering::Relaxed);
        Presence(self.clone())
    }

    /// Keeps a request; the ticket is for [`Log::answered`].
    pub(super) fn keep(&self, seen: Seen) -> usize {
        let mut entries = locked(&self.inner.entries);
        entries.seen.push(seen);
        entries.forgotten + entries.seen.len() - 1
    }

    pub(super) fn answered(&self, ticket: usize, status: u16) {
        let mut entries = locked(&self.inner.entries);
        let Some(at) = ticket.checked_sub(entries.forgotten) else { return };
        if let Some(seen) = entries.seen.get_mut(at) {
            seen.status = status;
        }
    }

    pub(super) fn tally(&self, method: &str, route: &str) {
        let mut entries = locked(&self.inner.entries);
        *entries.tally.entry((method.to_owned(), route.to_owned())).or_default() += 1;
    }
}

/// A request that is being answered; dropped when it is not any more, also if the client has gone.
#[derive(Debug)]
pub(super) struct Presence(Log);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.inner.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
