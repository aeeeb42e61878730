//! The last word on what the guards admitted: what is on the retry queue waits, whoever is protected stays, and whoever is to
//! lose something is asked about at the source.
//!
//! All of it reads and nothing writes, and it is done before a plan is shown: a dry run asks what a run asks, and so what it
//! shows as admitted is what a run does.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::policy::Job;
use super::prepare::TargetSide;
use super::progress::{Board, Stage};
use super::proofs::Proofs;
use super::spare::spare;
use crate::contract::journal::{Journal, JournalError};
use crate::contract::target::Capabilities;
use crate::model::key::{JobName, SourceKey, SystemName, TargetKey};
use crate::model::retry::{Retry, Subject};
use crate::reconcile::guard::Judged;
use crate::reconcile::proof::bears_out;

/// How many users are proven at once.
const PROVEN_AT_ONCE: usize = 4;

/// What was withheld, beside the reasons that stand with each change of the plan.
#[derive(Clone, Debug, Default)]
pub struct Confirmed {
    /// The time by which it was decided who waits.
    pub at: DateTime<Utc>,
    /// The retry queue's entries of this job at this target.
    pub waiting: Vec<Retry>,
    /// Whose changes wait for another try at its own time.
    pub held_back: BTreeSet<SourceKey>,
    /// Those of them who wait for a free seat and nothing else, as many as seats come free by the plan.
    pub seatless: BTreeSet<SourceKey>,
    /// What a person should know.
    pub messages: Vec<String>,
}

/// Withholds whatever was admitted and is not to happen in this run.
///
/// # Errors
/// Only the journal's. A system that gives no answer withholds what depends on it.
pub async fn confirm(
    job: &Job,
    side: &TargetSide,
    capabilities: &Capabilities,
    judged: &mut Judged,
    proofs: &Proofs,
    journal: &dyn Journal,
    now: DateTime<Utc>,
    board: &Board,
) -> Result<Confirmed, JournalError> {
    let waiting = waiting(journal, &job.name, &side.name).await?;
    Ok(confirm_beside(job, side, capabilities, judged, proofs, waiting, now, board).await)
}

/// The retry queue's entries of a job at a target.
///
/// # Errors
/// A journal that could not be read.
pub async fn waiting(journal: &dyn Journal, job: &JobName, target: &SystemName) -> Result<Vec<Retry>, JournalError> {
    let here = |r: &Retry| r.job == *job && r.target == *target;
    Ok(journal.retries().await?.into_iter().filter(here).collect())
}

/// The same as [`confirm`] beside a retry queue that is known.
pub async fn confirm_beside(
    job: &Job,
    side: &TargetSide,
    capabilities: &Capabilities,
    judged: &mut Judged,
    proofs: &Proofs,
    waiting: Vec<Retry>,
    now: DateTime<Utc>,
    board: &Board,
) -> Confirmed {
    let held_back = hold_waiting(judged, &waiting, now);
    let mut messages = spare(job, side, capabilities, judged).await;
    messages.extend(prove(job, side, judged, proofs, board).await);
    Confirmed { at: now, waiting, held_back, seatless: BTreeSet::new(), messages }
}

/// Withholds the changes of users who are to be tried again later, not now.
fn hold_waiting(judged: &mut Judged, waiting: &[Retry], now: DateTime<Utc>) -> BTreeSet<SourceKey> {
    let not_yet: BTreeMap<&SourceKey, &Retry> = waiting
        .iter()
        // Whoever was not tried yet waits for nothing but a turn, and this is one.
        .filter(|r| r.not_before > now && r.attempts > 0)
        .filter_map(|r| match &r.subject {
            Subject::User(key) => Some((key, r)),
            Subject::Everything => None,
        })
        .collect();
    let plan = judged.admitted.plan();
    let waits = |source: &SourceKey| {
        let retry = not_yet.get(source)?;
        let what = if retry.quarantined { "is in quarantine" } else { "is on the retry queue" };
        Some(format!("{what} until {}: {}", retry.not_before.format("%Y-%m-%d %H:%M:%SZ"), retry.cause))
    };
    let positions: Vec<(usize, String)> = judged
        .admitted
        .changes()
        // Whoever leaves does so now: only what grants or alters can wait.
        .filter(|(_, c)| !c.op.kind().removes())
        .filter_map(|(at, c)| Some((at, waits(plan.user(c.op.user()?).source.as_ref()?)?)))
        .collect();
    let held = judged.withhold(positions);
    // Whoever waits for the name of one who waits is not done either.
    let plan = judged.admitted.plan();
    held.into_iter().filter_map(|at| plan.user(plan.changes[at].op.user()?).source.clone()).collect()
}

/// Asks the source about everybody who is to lose something, and withholds what it does not bear out. Returns what a person
/// should know.
async fn prove(job: &Job, side: &TargetSide, judged: &mut Judged, proofs: &Proofs, board: &Board) -> Vec<String> {
    let plan = judged.admitted.plan();
    let mut by_user: BTreeMap<SourceKey, Vec<usize>> = BTreeMap::new();
    for (at, change) in judged.admitted.changes().filter(|(_, c)| c.op.kind().removes()) {
        // A stranger in an exclusive group is in no source: there is nobody to ask about.
        if let Some(source) = change.op.user().and_then(|u| plan.user(u).source.clone()) {
            by_user.entry(source).or_default().push(at);
        }
    }
    board.enter(&side.name, Stage::Proving, by_user.len());
    // One by one: a question that waits to be asked takes more memory than what it is about.
    let questions = by_user.into_iter().map(|(source, changes)| {
        let groups = changes.iter().filter_map(|at| plan.changes[*at].op.group());
        let about: BTreeSet<TargetKey> = groups.map(|g| plan.group(g).key.clone()).collect();
        async move {
            let answer = proofs.fresh(&source, &about, &job.rules).await;
            board.step(&side.name, 1);
            (source, changes, answer)
        }
    });
    let answers: Vec<_> = futures::stream::iter(questions).buffered(PROVEN_AT_ONCE).collect().await;
    let (mut messages, mut unproven) = (Vec::new(), Vec::new());
    for (source, changes, answer) in answers {
        for at in changes {
            let borne_out = match &answer {
                Ok(fresh) => bears_out(fresh, plan, &plan.changes[at], &job.rules).map_err(str::to_owned),
                Err(error) => Err(format!("the source gave no definite answer: {error}")),
            };
            if let Err(why) = borne_out {
                tracing::warn!(target.name = %side.name, subject.key = %source, "a removal is withheld: {why}");
                messages.push(format!("{source}: a removal is withheld: {why}"));
                unproven.push((at, why));
            }
        }
    }
    judged.withhold(unproven);
    messages.dedup();
    messages
}
