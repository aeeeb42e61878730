//! A system's rest: when it is entered, how long it lasts, when a run may try again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::policy::RetryPolicy;
use super::run::World;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::{Journal, JournalError, Refused, Rest};
use crate::model::key::SystemName;

/// Failures in a row that a system may have before it rests longer than its schedule.
const PATIENCE: u32 = 3;

/// Why a system may not be spoken to now, if it rests.
pub fn resting(rest: Option<&Rest>, now: DateTime<Utc>) -> Option<String> {
    let rest = rest?;
    match rest.until {
        None => Some(format!(
            "{} rests since {} and is not tried again until its credential is another, or `rosterd release {}` is given: {}",
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

/// Who is to be left alone, as the journal has it at one moment.
#[derive(Clone, Debug, Default)]
pub struct Rests {
    rests: BTreeMap<SystemName, Rest>,
    refused: Vec<Refused>,
}

/// The refusals that this process has met and written down as rests. Its clients send nothing more until then: the end of such a
/// rest, by a person's word, is what lets them try again.
pub struct Refusals {
    written: Mutex<BTreeSet<SystemName>>,
    try_again: Box<dyn Fn(&SystemName) + Send + Sync>,
}

impl Refusals {
    /// With what lets a system's client try again.
    pub fn new(try_again: impl Fn(&SystemName) + Send + Sync + 'static) -> Self {
        Self { written: Mutex::default(), try_again: Box::new(try_again) }
    }

    /// Notes that the rest after a refusal is written.
    pub(super) fn written(&self, system: &SystemName) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(system.clone());
    }

    /// Nothing keeps anybody from the system: if a refusal did, it is over. One that could not be written down is not.
    fn over(&self, system: &SystemName) {
        if self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(system) {
            (self.try_again)(system);
        }
    }
}

/// Why a system is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone {
    /// For a person.
    pub why: String,
    /// Whether that is because it refused the credential.
    pub refused: bool,
}

impl LeftAlone {
    /// The fault that it amounts to, for exit codes.
    pub(super) fn fault(&self) -> Fault {
        if self.refused { Fault::Refused } else { Fault::Unavailable { retry_after: None } }
    }
}

impl Rests {
    /// Reads them.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub async fn read(journal: &dyn Journal) -> Result<Self, JournalError> {
        let rests = journal.rests().await?.into_iter().map(|rest| (rest.system.clone(), rest)).collect();
        Ok(Self { rests, refused: journal.refused().await? })
    }

    /// A system's rest.
    pub fn of(&self, system: &SystemName) -> Option<&Rest> {
        self.rests.get(system)
    }

    /// All systems that rest or have refused a credential.
    pub fn systems(&self) -> BTreeSet<SystemName> {
        self.rests.keys().chain(self.refused.iter().map(|refused| &refused.system)).cloned().collect()
    }

    /// Whether a system refused this very credential.
    pub fn has_refused(&self, system: &SystemName, credential: Option<&str>) -> bool {
        self.refused.iter().any(|r| r.system == *system && Some(&*r.credential) == credential)
    }

    /// Why a system may not be spoken to now by whoever has this credential, if it may not. One that refused another credential
    /// may: several daemons do not get a new one at the same moment, and those that have it must not wait for the others.
    pub fn why_not(&self, system: &SystemName, credential: Option<&str>, now: DateTime<Utc>) -> Option<LeftAlone> {
        let rest = self.of(system);
        let of_refusal = rest.filter(|rest| rest.fault == Fault::Refused.word());
        if self.has_refused(system, credential) {
            let why = of_refusal.and_then(|rest| resting(Some(rest), now)).unwrap_or_else(|| {
                format!(
                    "{system} refused this very credential, and is not tried again with it until `rosterd release {system}` is given; \
                     it may have taken another since"
                )
            });
            return Some(LeftAlone { why, refused: true });
        }
        let is_anothers = of_refusal.is_some_and(|rest| rest.credential.is_some() && credential.is_some());
        let why = resting(rest.filter(|_| !is_anothers), now)?;
        Some(LeftAlone { why, refused: of_refusal.is_some() })
    }

    /// The same for this world: why its source or this target may not be spoken to.
    pub fn forbid(&self, world: &World, target: &SystemName, now: DateTime<Utc>) -> Option<LeftAlone> {
        let systems = [&world.source_name, target];
        let alone = systems.into_iter().find_map(|system| self.why_not(system, world.credential(system), now));
        if alone.is_none() {
            systems.into_iter().for_each(|system| world.refusals.over(system));
        }
        alone
    }
}

/// The rest after a failure, given the one before it. A refused credential rests at once and without end: a second try can
/// lock the account. Others rest longer with each failure, up to a day.
pub fn after_failure(
    system: &SystemName,
    before: Option<&Rest>,
    error: &ConnectorError,
    credential: Option<&str>,
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
    let credential = credential.filter(|_| error.fault == Fault::Refused).map(str::to_owned);
    Rest {
        system: system.clone(),
        since,
        cause: error.to_string(),
        fault: error.fault.word().to_owned(),
        failures,
        until,
        credential,
    }
}
