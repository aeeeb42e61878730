//! What is counted of each system's traffic: for progress bars, `status` and metrics. Plain atomics, read at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

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
}

/// The meters of all systems, for the life of the process: a reload does not reset them.
#[derive(Debug, Default)]
pub struct Meters(Mutex<BTreeMap<SystemName, Arc<Meter>>>);

impl Meters {
    /// The meter of a system.
    pub fn of(&self, system: &SystemName) -> Arc<Meter> {
        let mut meters = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        meters.entry(system.clone()).or_default().clone()
    }
    /// All meters.
    pub fn all(&self) -> Vec<(SystemName, Arc<Meter>)> {
        let meters = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        meters.iter().map(|(name, meter)| (name.clone(), meter.clone())).collect()
    }
}
