//! What is told to people who are not looking: from a change of state to notices in the outbox.
//!
//! A notice is posted just before the state that it tells of is written. A process that dies between the two tells it once
//! more when the state is reached again; the other order would tell it never.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use smol_str::SmolStr;

use super::policy::Job;
use crate::contract::fault::Fault;
use crate::contract::journal::{Journal, JournalError, Rest, Staged};
use crate::contract::notice::{Event, Expiring, Notice, SOON};
use crate::contract::target::Expiry;
use crate::model::change::OpKind;
use crate::model::key::{JobName, SystemName};
use crate::model::retry::{Retry, Subject};

/// How many names a message holds; `rosterd status` and `rosterd retries` show all.
const NAMES: usize = 10;

/// Posts an event to whoever wants it.
pub(super) async fn post(journal: &dyn Journal, job: &Job, event: Event, at: DateTime<Utc>) -> Result<(), JournalError> {
    let notices = notices(job, &event, at);
    if notices.is_empty() { Ok(()) } else { journal.post(&notices).await }
}

fn notices(job: &Job, event: &Event, at: DateTime<Utc>) -> Vec<Notice> {
    let wanted = job.notify.iter().filter(|s| s.on.contains(&event.topic()));
    wanted.map(|s| Notice { hook: s.hook.clone(), event: event.clone(), at }).collect()
}

/// Posts that removals wait which did not wait before: none if all of them did.
pub(super) async fn staged(
    journal: &dyn Journal,
    job: &Job,
    target: &SystemName,
    staged: &[Staged],
    before: &[Staged],
    at: DateTime<Utc>,
) -> Result<(), JournalError> {
    match newly_staged(&job.name, target, staged, before) {
        Some(event) => post(journal, job, event, at).await,
        None => Ok(()),
    }
}

fn newly_staged(job: &JobName, target: &SystemName, staged: &[Staged], before: &[Staged]) -> Option<Event> {
    let known: BTreeSet<&str> = before.iter().map(|s| s.mark.as_str()).collect();
    let new: Vec<&Staged> = staged.iter().filter(|s| !known.contains(s.mark.as_str())).collect();
    let plan = &new.first()?.plan;
    let mut kinds: BTreeMap<OpKind, u64> = BTreeMap::new();
    for removal in staged {
        *kinds.entry(removal.kind).or_default() += 1;
    }
    Some(Event::Staged {
        job: job.clone(),
        target: target.clone(),
        plan: plan.clone(),
        waiting: staged.len() as u64,
        new: new.len() as u64,
        kinds: kinds.into_iter().collect(),
        names: first(new.iter().map(|s| s.user_name.clone())),
    })
}

/// The first names in their own order, each once.
fn first(names: impl Iterator<Item = SmolStr>) -> Vec<SmolStr> {
    names.collect::<BTreeSet<_>>().into_iter().take(NAMES).collect()
}

/// Posts which users these entries of the retry queue set aside who were not set aside before, and which for another cause
/// than before: one message for each of the two.
pub(super) async fn set_aside(
    journal: &dyn Journal,
    job: &Job,
    target: &SystemName,
    before: &[Retry],
    entries: &[Retry],
    at: DateTime<Utc>,
) -> Result<(), JournalError> {
    for event in newly_set_aside(&job.name, target, before, entries) {
        post(journal, job, event, at).await?;
    }
    Ok(())
}

fn newly_set_aside(job: &JobName, target: &SystemName, before: &[Retry], entries: &[Retry]) -> Vec<Event> {
    let was = |r: &Retry| before.iter().find(|b| b.subject == r.subject && b.quarantined);
    let (known, new): (Vec<&Retry>, Vec<&Retry>) = entries.iter().filter(|r| r.quarantined).partition(|r| was(r).is_some());
    let changed: Vec<&Retry> = known.into_iter().filter(|r| was(r).is_some_and(|b| !is_same(&b.cause, &r.cause))).collect();
    let name = |r: &&Retry| match &r.subject {
        Subject::User(key) => Some(r.user_name.clone().unwrap_or_else(|| key.as_str().into())),
        Subject::Everything => None,
    };
    let told = |of: &[&Retry], again| {
        Some(Event::SetAside {
            job: job.clone(),
            target: target.clone(),
            users: of.len() as u64,
            names: first(of.iter().filter_map(name)),
            cause: of.first()?.cause.clone(),
            again,
        })
    };
    [told(&new, false), told(&changed, true)].into_iter().flatten().collect()
}

/// Whether two causes are one but for a number that says nothing, such as how long a call took or what its answer was called.
/// The status of an answer says what happened.
fn is_same(one: &str, other: &str) -> bool {
    fn words(text: &str) -> impl Iterator<Item = &str> {
        let is_status = |word: &str| word.len() == 3 && word.parse().is_ok_and(|n: u16| (300..600).contains(&n));
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.filter(move |word| is_status(word) || !word.contains(|c: char| c.is_ascii_digit()))
    }
    words(one).eq(words(other))
}

/// What a rest tells.
pub(super) fn of_rest(rest: &Rest) -> Event {
    let (system, cause) = (rest.system.clone(), rest.cause.clone());
    if rest.fault == Fault::Refused.word() {
        Event::Refused { system, cause }
    } else {
        Event::Failing { system, fault: rest.fault.clone(), cause }
    }
}

/// Posts that a system answers again, if it had failed.
pub(super) async fn recovered(
    journal: &dyn Journal,
    job: &Job,
    system: &SystemName,
    at: DateTime<Utc>,
) -> Result<(), JournalError> {
    let ailing = journal.ailing().await?.into_iter().find(|a| a.system == *system);
    let Some(ailing) = ailing else { return Ok(()) };
    let event = Event::Recovered { system: ailing.system, since: ailing.since };
    journal.heal(system, &notices(job, &event, at)).await
}

/// Keeps when a target's credential expires, and posts once that it is soon.
pub(super) async fn expiry(
    journal: &dyn Journal,
    job: &Job,
    system: &SystemName,
    expires: Expiry,
    now: DateTime<Utc>,
) -> Result<(), JournalError> {
    let known = journal.expiring().await?.into_iter().find(|e| e.system == *system);
    let at = match expires {
        Expiry::At(at) => at,
        // A date that has passed was another credential's: this one was just accepted.
        Expiry::Unknown if known.as_ref().is_none_or(|known| known.at > now) => return Ok(()),
        Expiry::Unknown | Expiry::Never if known.is_some() => return journal.expire(system, None, &[]).await,
        Expiry::Unknown | Expiry::Never => return Ok(()),
    };
    let before = known.filter(|known| known.at == at);
    let was_told = before.as_ref().is_some_and(|known| known.told);
    let expiring = Expiring { system: system.clone(), at, told: was_told || at - now <= SOON };
    if before.as_ref() == Some(&expiring) {
        return Ok(());
    }
    let news = expiring.told && !was_told;
    if news {
        tracing::warn!(system.name = %system, "the credential expires on {}", at.format("%Y-%m-%d"));
    }
    let told = if news { notices(job, &Event::Expiring { system: system.clone(), at }, now) } else { Vec::new() };
    journal.expire(system, Some(&expiring), &told).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cause_is_another_failure_and_not_another_duration() {
        let cause = "jira could not create user: 400 after 812 ms, request 1f03";
        assert!(is_same(cause, "jira could not create user: 400 after 9 ms, request a7"));
        assert!(!is_same(cause, "jira could not create user: 409 after 812 ms, request 1f03"));
        assert!(!is_same(cause, "jira could not rename user: 400 after 812 ms, request 1f03"));
    }
}
