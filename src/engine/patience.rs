//! Patience: when a target is left alone in the middle of an apply.
//!
//! Shared by the calls that are under way, so that a target that fails is left alone at once: at the end of a chunk a
//! hundred more calls would have met the same.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::contract::fault::{ConnectorError, Fault};

/// Failures in a row, other than of single subjects, after which a target is left alone for this run.
const MOST: u32 = 5;

/// What the calls of one apply have met so far.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: AtomicU32,
    lost: OnceLock<ConnectorError>,
}

impl Patience {
    /// Notes that a call was answered.
    pub(super) fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Notes a failure.
    pub(super) fn failed(&self, error: &ConnectorError) {
        let lose = || drop(self.lost.set(error.clone()));
        match &error.fault {
            // Whoever comes next would meet the same: a refused credential must not be tried again, an empty bucket not asked.
            Fault::Refused | Fault::Limited { .. } => lose(),
            Fault::Unreachable | Fault::Unavailable { .. } => {
                if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MOST {
                    lose();
                }
            }
            Fault::LicenceFull
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Conflict
            | Fault::Rejected
            | Fault::Malformed
            | Fault::Incomplete
            | Fault::Unsupported => {}
        }
    }

    /// The failure after which nothing more is begun, if there was one.
    pub(super) fn lost(&self) -> Option<&ConnectorError> {
        self.lost.get()
    }
}
