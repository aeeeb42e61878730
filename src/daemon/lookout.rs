//! The lookout: whatever the supervisor wants to know of the store is looked up in tasks beside it, one of each kind at a time.
//!
//! A store may hang, a server or a volume above all. The supervisor must be there all the same: it is what the watchdog hears,
//! what signals are told to, and what says over HTTP that the store does not answer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinSet};

use super::failover::Candidate;
use crate::contract::journal::{Journal, JournalError, Waits};
use crate::engine::rest::Rests;
use crate::model::key::{JobName, SystemName};
use crate::model::retry::Retry;

/// What is looked after. Of each kind one task is out at the most: one that hangs is not followed by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// What is due on the retry queue.
    Queue,
    /// What others failed to run.
    Others,
    /// How much waits for a person.
    Waits,
    /// The end of old runs.
    Prune,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Sighting {
    /// Entries of the retry queue that are due, and who is left alone.
    Due(Vec<Retry>, Rests),
    /// The last runs of jobs at targets where nobody is at work.
    Idle(Vec<Candidate>),
    /// What waits, of each job at each target.
    Staged(BTreeMap<(JobName, SystemName), Waits>),
    /// Nothing that the supervisor has to see to.
    Nothing,
}

/// The tasks that are out.
#[derive(Default)]
pub(super) struct Lookout {
    tasks: JoinSet<Sighting>,
    out: BTreeMap<Id, Round>,
}

impl Lookout {
    /// Whether nobody is out.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether one of this kind is out.
    pub(super) fn is_out(&self, round: Round) -> bool {
        self.out.values().any(|out| *out == round)
    }

    /// Sends one out, unless one of its kind is out already.
    pub(super) fn send(&mut self, round: Round, look: impl Future<Output = Sighting> + Send + 'static) {
        if !self.is_out(round) {
            let id = self.tasks.spawn(look).id();
            self.out.insert(id, round);
        }
    }

    /// What the next one has found; `None` if nobody is out.
    pub(super) async fn next(&mut self) -> Option<Sighting> {
        let (id, found) = match self.tasks.join_next_with_id().await? {
            Ok((id, found)) => (id, found),
            Err(error) => {
                tracing::error!("a look at the store ended in a fault of rosterd itself, please report it: {error}");
                (error.id(), Sighting::Nothing)
            }
        };
        self.out.remove(&id);
        Some(found)
    }
}

/// Looks up what is due on the retry queue.
pub(super) async fn queue(journal: &dyn Journal, now: DateTime<Utc>) -> Sighting {
    match due(journal, now).await {
        Ok((due, rests)) => Sighting::Due(due, rests),
        Err(error) => {
            tracing::warn!("the retry queue cannot be read: {error}");
            Sighting::Nothing
        }
    }
}

async fn due(journal: &dyn Journal, now: DateTime<Utc>) -> Result<(Vec<Retry>, Rests), JournalError> {
    let mut due = journal.retries().await?;
    due.retain(|retry| retry.not_before <= now);
    let rests = if due.is_empty() { Rests::default() } else { Rests::read(journal).await? };
    Ok((due, rests))
}

/// Counts what waits for a person. A store that cannot be read is told of by whoever has more to do with it.
pub(super) async fn waits(journal: &dyn Journal) -> Sighting {
    match journal.waits().await {
        Ok(waits) => Sighting::Staged(waits),
        Err(error) => {
            tracing::debug!("what waits cannot be counted: {error}");
            Sighting::Nothing
        }
    }
}

/// Deletes old runs.
pub(super) async fn prune(journal: &dyn Journal, before: DateTime<Utc>) -> Sighting {
    match journal.prune(before).await {
        Ok(0) => {}
        Ok(runs) => tracing::info!(runs, "old runs were pruned"),
        Err(error) => tracing::warn!("old runs could not be pruned: {error}"),
    }
    Sighting::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_hangs_is_not_followed_by_another_and_keeps_no_other_kind() {
        let mut lookout = Lookout::default();
        assert!(lookout.is_idle());
        let (answer, hangs) = tokio::sync::oneshot::channel::<()>();
        lookout.send(Round::Queue, async move {
            drop(hangs.await);
            Sighting::Nothing
        });
        lookout.send(Round::Queue, async { panic!("a second one") });
        lookout.send(Round::Prune, async { Sighting::Idle(Vec::new()) });
        assert!(matches!(lookout.next().await, Some(Sighting::Idle(_))));
        assert!(lookout.is_out(Round::Queue) && !lookout.is_out(Round::Prune));
        answer.send(()).expect("it is waited for");
        assert!(matches!(lookout.next().await, Some(Sighting::Nothing)));
        assert!(lookout.is_idle());
        assert!(lookout.next().await.is_none());
    }

    #[tokio::test]
    async fn one_that_panics_has_found_nothing() {
        let mut lookout = Lookout::default();
        lookout.send(Round::Others, async { panic!("on purpose") });
        assert!(matches!(lookout.next().await, Some(Sighting::Nothing)));
        assert!(lookout.is_idle());
    }
}
