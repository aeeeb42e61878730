//! A system's rest: when it is entered, how long it lasts, when a run may try again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// The last refusal of each system, by its number: a later one is another.
    written: Mutex<BTreeMap<SystemName, u64>>,
    try_again: Box<dyn Fn(&SystemName) + Send + Sync>,
}

impl Refusals {
    /// With what lets a system's client try again.
    pub fn new(try_again: impl Fn(&SystemName) + Send + Sync + 'static) -> Self {
        Self { written: Mutex::default(), try_again: Box::new(try_again) }
    }

    /// Notes that the rest after a refusal is written.
    pub(super) fn written(&self, system: &SystemName) {
        let mut written = self.locked();
        let number = written.values().max().map_or(0, |last| last + 1);
        written.insert(system.clone(), number);
    }

    fn met(&self) -> BTreeMap<SystemName, u64> {
        self.locked().clone()
    }

    /// This refusal is over. One that could not be written down never is.
    fn over(&self, system: &SystemName, number: u64) {
        let mut written = self.locked();
        if written.get(system) == Some(&number) {
            written.remove(system);
            (self.try_again)(system);
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<SystemName, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The same for whoever works in this world: its clients may try again where by this reading a refusal of theirs is over.
    pub(super) async fn of_world(world: &World) -> Result<Self, JournalError> {
        // Noted first: one that is met meanwhile is not over because the reading does not know of it.
        let met = world.refusals.met();
        let rests = Self::read(&*world.journal).await?;
        let now = world.clock.now();
        for (system, number) in met {
            if rests.why_not(&system, world.credential(&system), now).is_none() {
                world.refusals.over(&system, number);
            }
        }
        Ok(rests)
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
        [&world.source_name, target].into_iter().find_map(|system| self.why_not(system, world.credential(system), now))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_refusal_that_was_met_since_is_not_over_with_the_one_before() {
        let opened = Arc::new(Mutex::new(Vec::new()));
        let refusals = Refusals::new({
            let opened = opened.clone();
            move |system| opened.lock().expect("not poisoned").push(system.clone())
        });
        let okta = SystemName::from("okta");
        refusals.over(&okta, 0);
        refusals.written(&okta);
        let met = refusals.met()[&okta];
        refusals.written(&okta);
        refusals.over(&okta, met);
        assert_eq!(*opened.lock().expect("not poisoned"), [], "neither what never was nor what is another's");
        let met = refusals.met()[&okta];
        refusals.over(&okta, met);
        refusals.over(&okta, met);
        assert_eq!(*opened.lock().expect("not poisoned"), [okta]);
    }
}
