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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::SystemName;

    fn error(fault: Fault) -> ConnectorError {
        ConnectorError::new(&SystemName::from("jira"), "add a member", fault, "it did not")
    }

    #[test]
    fn failures_in_a_row_end_it_and_an_answer_between_them_begins_the_row_anew() {
        let patience = Patience::default();
        for _ in 0..MOST - 1 {
            patience.failed(&error(Fault::Unreachable));
        }
        patience.answered();
        for _ in 0..MOST - 1 {
            patience.failed(&error(Fault::Unavailable { retry_after: None }));
        }
        assert_eq!(patience.lost(), None);
        patience.failed(&error(Fault::Unreachable));
        assert_eq!(patience.lost(), Some(&error(Fault::Unreachable)));
    }

    #[test]
    fn a_refused_credential_and_an_empty_bucket_end_it_at_once_and_what_is_about_one_subject_never_does() {
        for fault in [Fault::Refused, Fault::Limited { retry_after: None }] {
            let patience = Patience::default();
            for _ in 0..MOST * 2 {
                patience.failed(&error(Fault::Rejected));
            }
            assert_eq!(patience.lost(), None);
            patience.failed(&error(fault.clone()));
            assert_eq!(patience.lost(), Some(&error(fault)));
        }
    }
}
