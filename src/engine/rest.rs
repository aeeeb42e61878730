//! A system's rest: when it is entered, how long it lasts, when a run may try again; and who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::policy::RetryPolicy;
use super::prepare::TargetSide;
use super::run::World;
use super::tell;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::{Ended, Journal, JournalError, Refused, Rest, RunEnd};
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

/// The source's own rest follows its reading.
pub(super) async fn settle_source(world: &World, rests: &Rests, error: Option<&ConnectorError>) -> Result<(), JournalError> {
    let before = rests.of(&world.source_name);
    match error {
        Some(error) if is_empty_bucket(error) => Ok(()),
        Some(error) => put_to_rest(world, &world.source_name, before, error).await,
        None => well_again(world, &world.source_name, before).await,
    }
}

/// The target's rest follows what came of writing to it.
pub(super) async fn settle_target(
    world: &World,
    side: &TargetSide,
    before: Option<&Rest>,
    end: &RunEnd,
    stopped: Option<&ConnectorError>,
) -> Result<(), JournalError> {
    match stopped {
        Some(error) if !is_empty_bucket(error) => put_to_rest(world, &side.name, before, error).await,
        Some(_) | None if end.ended != Ended::Interrupted => well_again(world, &side.name, before).await,
        Some(_) | None => Ok(()),
    }
}

/// Writes the rest of a system that failed, and says so.
pub(super) async fn put_to_rest(
    world: &World,
    system: &SystemName,
    before: Option<&Rest>,
    error: &ConnectorError,
) -> Result<(), JournalError> {
    let now = world.clock.now();
    let rest = after_failure(system, before, error, world.credential(system), &world.job.retry, now);
    // Another run may have told it since this one began.
    let known = world.journal.rests().await?.into_iter().find(|r| r.system == *system);
    if error.fault != Fault::Refused && known.as_ref().is_some_and(|known| is_refusal_since(world, known, before)) {
        return Ok(());
    }
    let news = is_news(known.as_ref(), &rest);
    if news {
        tell::post(&*world.journal, &world.job, tell::of_rest(&rest), now).await?;
    }
    world.journal.rest(system, Some(&rest)).await?;
    if error.fault == Fault::Refused {
        world.refusals.written(system);
    }
    // Whoever reads the line and looks at the status finds the rest there.
    if news {
        tracing::error!(system.name = %rest.system, fault = %rest.fault, "{}", rest.cause);
    }
    Ok(())
}

/// Whether a rest is the refusal of this very credential that somebody else has met since this run began. It weighs more than
/// whatever was met here: a credential is not tried again once it was refused.
fn is_refusal_since(world: &World, known: &Rest, before: Option<&Rest>) -> bool {
    let is_ours = known.credential.is_none() || known.credential.as_deref() == world.credential(&known.system);
    known.fault == Fault::Refused.word() && is_ours && before != Some(known)
}

/// A system has answered: its rest is over, and whoever was told of its failure is told.
async fn well_again(world: &World, system: &SystemName, before: Option<&Rest>) -> Result<(), JournalError> {
    if let Some(before) = before {
        let known = world.journal.rests().await?.into_iter().find(|r| r.system == *system);
        if known.is_some_and(|known| !is_refusal_since(world, &known, Some(before))) {
            world.journal.rest(system, None).await?;
        }
    }
    tell::recovered(&*world.journal, &world.job, system, world.clock.now()).await
}

/// An empty bucket is no sickness: its time is on the queue.
pub(super) fn is_empty_bucket(error: &ConnectorError) -> bool {
    matches!(error.fault, Fault::Limited { .. })
}

/// One message when a rest begins and when its cause changes, none per run.
fn is_news(before: Option<&Rest>, rest: &Rest) -> bool {
    before.is_none_or(|b| b.fault != rest.fault || b.credential != rest.credential)
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
