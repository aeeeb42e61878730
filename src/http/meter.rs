//! What is counted of each system's traffic: for progress bars, `status` and metrics. Plain atomics, read at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wall::epoch_millis_in;
use crate::model::key::SystemName;

/// The counters of one system.
#[derive(Debug, Default)]
pub struct Meter {
    /// Requests sent.
    pub requests: AtomicU64,
    /// Requests that the reading under way is expected to need in all, counted like `requests`; 0 if unknown.
    pub expected: AtomicU64,
    /// Answers by status class: 1xx to 5xx, and at 0 those that never came.
    pub classes: [AtomicU64; 6],
    /// Answers that said "limited" (429).
    pub limited: AtomicU64,
    /// What is being waited for, and until when (milliseconds since 1970), if anything.
    pub waiting: Mutex<Option<(String, i64)>>,
    /// Share of each bucket used in its present window, in thousandths of what the system allows us.
    pub shares: Mutex<BTreeMap<String, u32>>,
    /// How many requests wait, so that the last one to go on clears `waiting`.
    waiters: AtomicU64,
}

impl Meter {
    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
    /// Says that so many more requests are to come.
    pub fn expect(&self, more: u64) {
        self.expected.store(self.requests() + more, Ordering::Relaxed);
    }

    /// Notes a wait until the guard is dropped.
    pub(super) fn wait(&self, what: impl Into<String>, wait: Duration) -> Waiting<'_> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        *locked(&self.waiting) = Some((what.into(), epoch_millis_in(wait)));
        Waiting(self)
    }

    /// Notes an answer's status; 0: none came.
    pub(super) fn count(&self, status: u16) {
        let class = usize::from(status / 100).min(self.classes.len() - 1);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        if status == 429 {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes how much of a bucket is used, in thousandths.
    pub(super) fn share(&self, bucket: &str, used: u32) {
        let mut shares = locked(&self.shares);
        match shares.get_mut(bucket) {
            Some(share) => *share = used,
            None => {
                shares.insert(bucket.to_owned(), used);
            }
        }
    }
}

/// A wait that is under way.
pub(super) struct Waiting<'a>(&'a Meter);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiters.fetch_sub(1, Ordering::Relaxed) == 1 {
            *locked(&self.0.waiting) = None;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The meters of all systems, for the life of the process: a reload does not reset them.
#[derive(Debug, Default)]
pub struct Meters(Mutex<BTreeMap<SystemName, Arc<Meter>>>);

impl Meters {
    /// The meter of a system.
    pub fn of(&self, system: &SystemName) -> Arc<Meter> {
        let mut meters = locked(&self.0);
        meters.entry(system.clone()).or_default().clone()
    }
    /// All meters.
    pub fn all(&self) -> Vec<(SystemName, Arc<Meter>)> {
        let meters = locked(&self.0);
        meters.iter().map(|(name, meter)| (name.clone(), meter.clone())).collect()
    }
}
