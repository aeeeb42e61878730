//! A system's rest: when it is entered, how long it lasts, when a run may try again.

use chrono::{DateTime, TimeDelta, Utc};

use super::policy::RetryPolicy;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::Rest;
use crate::model::key::SystemName;

/// Failures in a row that a system may have before it rests longer than its schedule.
const PATIENCE: u32 = 3;

/// Why a system may not be spoken to now, if it rests.
pub fn resting(rest: Option<&Rest>, now: DateTime<Utc>) -> Option<String> {
    let rest = rest?;
    match rest.until {
        None => Some(format!(
            "{} rests since {} and is not tried again until the configuration is reloaded or `rosterd release {}` is given: {}",
            rest.system,
            rest.since.format("%Y-%m-%d %H:%M:%SZ"),
            rest.system,
            rest.cause
        )),
        Some(until) if now < until => Some(format!(
            "{} rests until {} after {} failures: {}",
            rest.system,
            until.format("%Y-%m-%d %H:%M:%SZ"),
            rest.failures,
            rest.cause
        )),
        Some(_) => None,
    }
}

/// The rest after a failure, given the one before it. A refused credential rests at once and without end: a second try can
/// lock the account. Others rest longer with each failure, up to a day.
pub fn after_failure(
    system: &SystemName,
    before: Option<&Rest>,
    error: &ConnectorError,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
) -> Rest {
    let failures = before.map_or(0, |r| r.failures) + 1;
    let since = before.map_or(now, |r| r.since);
    let until = if error.fault == Fault::Refused {
        None
    } else if failures <= PATIENCE {
        Some(now)
    } else {
        let wait = policy.backoff.delay(failures - PATIENCE, 1.0).min(policy.rest);
        Some(now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX))
    };
    Rest { system: system.clone(), since, cause: error.to_string(), fault: error.fault.word().to_owned(), failures, until }
}
