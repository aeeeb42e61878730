//! The writing half of a run: prove what is to be removed, apply, and see to what failed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::apply::{Tally, Work, apply};
use super::decided::Decided;
use super::policy::Job;
use super::prepare::{Prepared, TargetSide};
use super::progress::{Board, Stage};
use super::proofs::Proofs;
use super::spare::spare;
use crate::contract::clock::Clock;
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::{Ended, Journal, JournalError, RunEnd, Staged};
use crate::model::change::OpKind;
use crate::model::key::{PlanId, RunId, SourceKey, TargetKey};
use crate::model::retry::{Retry, Subject};
use crate::reconcile::guard::{Admitted, Judged};
use crate::reconcile::hash::{mark, plan_id};
use crate::reconcile::proof::bears_out;
use crate::reconcile::render;

/// How many users are proven at once.
const PROVEN_AT_ONCE: usize = 4;

/// What a run needs of the process.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The journal.
    pub journal: &'a dyn Journal,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// A draw from 0.0 to 1.0, for jitter.
    pub draw: &'a (dyn Fn() -> f64 + Sync),
    /// Says to start nothing more.
    pub stop: &'a CancellationToken,
    /// Progress.
    pub board: &'a Board,
}

/// What a run that was carried out came to.
#[derive(Debug)]
pub struct Performed {
    /// Its end.
    pub end: RunEnd,
    /// The fault that made it leave the target alone, if one did.
    pub stopped: Option<ConnectorError>,
}

/// Carries out a prepared run: records what the readings show, stages what waits, proves, applies, queues what failed.
///
/// Beside the end of the run comes the refusal of the credential, if that is what stopped it.
///
/// # Errors
/// Only the journal's.
pub async fn perform(
    run: &RunId,
    job: &Job,
    side: &TargetSide,
    prepared: Prepared,
    proofs: &Proofs,
    tools: Tools<'_>,
    whole: bool,
) -> Result<Performed, JournalError> {
    let Prepared { judged, effects, capabilities, links, sizes, blind, decided } = prepared;
    let name = &side.name;
    let plan_id = plan_id(judged.admitted.plan());
    let mut messages: Vec<String> = judged.violations.iter().map(|v| format!("{}: {}", v.guard, v.text)).collect();
    messages.extend(judged.admitted.plan().findings.iter().map(|f| {
        let who = f.name.as_deref().or(f.source.as_ref().map(|s| s.as_str())).unwrap_or_default();
        format!("{who}: {}", f.text)
    }));
    tools.journal.record(name, &effects).await?;
    let staged: Vec<Staged> =
        judged.staged.iter().filter_map(|(at, by)| staged(job, side, &judged.admitted, *at, by, &plan_id, tools)).collect();
    // A retry of a few subjects knows nothing of the others' staged removals, and a blind run sees none.
    if whole && blind.is_none() {
        tools.journal.stage(&job.name, name, &staged).await?;
        if !staged.is_empty() {
            save(run, job, &judged, tools).await?;
        }
        decided.settle(tools.journal, &job.name, name, &judged.admitted, tools.clock.now()).await?;
    }
    let mut admitted = judged.admitted;
    let waiting =
        tools.journal.retries().await?.into_iter().filter(|r| r.job == job.name && r.target == *name).collect::<Vec<_>>();
    let held_back = hold_waiting(&mut admitted, &waiting, tools);
    messages.extend(spare(job, side, &capabilities, &mut admitted).await);
    messages.extend(prove(job, side, &mut admitted, proofs, tools).await);
    let planned: Vec<(OpKind, u64)> = admitted.plan().counts().into_iter().map(|(k, n)| (k, n as u64)).collect();
    tools.board.enter(name, Stage::Applying, admitted.len());
    let work = Work {
        run,
        side,
        journal: tools.journal,
        clock: tools.clock,
        capabilities: &capabilities,
        links: &links,
        stop: tools.stop,
        board: tools.board,
    };
    let tally = apply(&work, &admitted).await?;
    Decided::used(tools.journal, &job.name, name, &admitted, &tally.made).await?;
    see_to_failures(job, side, &tally, &waiting, &held_back, tools, whole).await?;
    messages.extend(failure_messages(&tally));
    let end = RunEnd {
        ended: ended(&tally, &staged, blind.is_some(), &held_back),
        at: tools.clock.now(),
        plan: Some(plan_id),
        planned,
        done: tally.done.iter().map(|(k, n)| (*k, *n)).collect(),
        failed: tally.failures.len() as u64,
        staged: staged.len() as u64,
        requests: 0,
        messages: shortened(messages),
        sizes: if whole { sizes } else { None },
    };
    Ok(Performed { end, stopped: tally.stopped.flatten() })
}

/// Keeps what waits in a plan, so that it can be decided on under the id that was shown even when later runs have made
/// others. Of a run only that is kept.
async fn save(run: &RunId, job: &Job, judged: &Judged, tools: Tools<'_>) -> Result<(), JournalError> {
    let now = tools.clock.now();
    let expires = now + TimeDelta::from_std(job.guard.plan_expires).unwrap_or(TimeDelta::days(365));
    let mut plan = render::saved(judged, run.to_string(), now, expires);
    plan.changes.retain(|change| change.staged);
    tools.journal.save_plan(&plan).await
}

/// The first messages, and how many more there were: what a run says is kept with it, and a misconfigured job could say the
/// same of everybody.
fn shortened(mut messages: Vec<String>) -> Vec<String> {
    const MOST: usize = 200;
    if messages.len() > MOST {
        let more = messages.len() - MOST;
        messages.truncate(MOST);
        messages.push(format!("and {more} more; `rosterd plan` shows all"));
    }
    messages
}

fn staged(
    job: &Job,
    side: &TargetSide,
    admitted: &Admitted,
    at: usize,
    by: &[&'static str],
    plan_id: &PlanId,
    tools: Tools<'_>,
) -> Option<Staged> {
    let plan = admitted.plan();
    let change = &plan.changes[at];
    let user = plan.user(change.op.user()?);
    Some(Staged {
        job: job.name.clone(),
        target: side.name.clone(),
        plan: plan_id.clone(),
        mark: mark(plan, change),
        kind: change.op.kind(),
        source: user.source.clone(),
        user: user.key.clone()?,
        user_name: user.name.clone(),
        group: change.op.group().map(|g| plan.group(g).name.clone()),
        because: change.because,
        held_by: by.iter().map(|b| (*b).to_owned()).collect(),
        since: tools.clock.now(),
    })
}

/// Withholds the changes of users who are to be tried again later, not now.
fn hold_waiting(admitted: &mut Admitted, waiting: &[Retry], tools: Tools<'_>) -> BTreeSet<SourceKey> {
    let now = tools.clock.now();
    let not_yet: BTreeSet<&SourceKey> = waiting
        .iter()
        .filter(|r| r.not_before > now)
        .filter_map(|r| match &r.subject {
            Subject::User(key) => Some(key),
            Subject::Everything => None,
        })
        .collect();
    let mut held = BTreeSet::new();
    let positions: Vec<(usize, SourceKey)> = admitted
        .changes()
        // Whoever leaves does so now: only what grants or alters can wait.
        .filter(|(_, c)| !c.op.kind().removes())
        .filter_map(|(at, c)| {
            let source = admitted.plan().user(c.op.user()?).source.clone()?;
            not_yet.contains(&source).then_some((at, source))
        })
        .collect();
    for (at, source) in positions {
        admitted.withhold(at);
        held.insert(source);
    }
    held
}

/// Asks the source about everybody who is to lose something, and withholds what it does not bear out. Returns what a person
/// should know.
async fn prove(job: &Job, side: &TargetSide, admitted: &mut Admitted, proofs: &Proofs, tools: Tools<'_>) -> Vec<String> {
    let mut by_user: BTreeMap<SourceKey, Vec<usize>> = BTreeMap::new();
    for (at, change) in admitted.changes().filter(|(_, c)| c.op.kind().removes()) {
        // A stranger in an exclusive group is in no source: there is nobody to ask about.
        if let Some(source) = change.op.user().and_then(|u| admitted.plan().user(u).source.clone()) {
            by_user.entry(source).or_default().push(at);
        }
    }
    tools.board.enter(&side.name, Stage::Proving, by_user.len());
    let mut messages = Vec::new();
    let questions: Vec<_> = by_user
        .into_iter()
        .map(|(source, changes)| {
            let about: BTreeSet<TargetKey> = changes
                .iter()
                .filter_map(|at| admitted.plan().changes[*at].op.group())
                .map(|g| admitted.plan().group(g).key.clone())
                .collect();
            async move {
                let answer = proofs.fresh(&source, &about, &job.rules).await;
                tools.board.step(&side.name, 1);
                (source, changes, answer)
            }
        })
        .collect();
    let answers: Vec<_> = futures::stream::iter(questions).buffered(PROVEN_AT_ONCE).collect().await;
    for (source, changes, answer) in answers {
        for at in changes {
            let borne_out = match &answer {
                Ok(fresh) => bears_out(fresh, admitted.plan(), &admitted.plan().changes[at], &job.rules).map_err(str::to_owned),
                Err(error) => Err(format!("the source gave no definite answer: {error}")),
            };
            if let Err(why) = borne_out {
                tracing::warn!(target.name = %side.name, subject.key = %source, "a removal is withheld: {why}");
                messages.push(format!("{source}: a removal is withheld: {why}"));
                admitted.withhold(at);
            }
        }
    }
    messages.dedup();
    messages
}

/// The failures in words, the same cause once.
pub fn failure_messages(tally: &Tally) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for failure in &tally.failures {
        let who = failure.source.as_ref().map(|s| format!("{s}: ")).unwrap_or_default();
        let hint = failure.error.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        let message = format!("{who}{}{hint}", failure.error);
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    if let Some(cause) = &tally.stopped {
        let why = cause.as_ref().map_or("the daemon was told to stop".to_owned(), ToString::to_string);
        messages.push(format!("stopped with {} changes left to the next run: {why}", tally.left));
    }
    messages
}

fn ended(tally: &Tally, staged: &[Staged], blind: bool, held_back: &BTreeSet<SourceKey>) -> Ended {
    if matches!(tally.stopped, Some(None)) {
        return Ended::Interrupted;
    }
    if !tally.failures.is_empty() || tally.left > 0 || !held_back.is_empty() {
        return Ended::Partial;
    }
    if blind {
        return Ended::Blind;
    }
    if !staged.is_empty() {
        return Ended::Staged;
    }
    if tally.done.is_empty() { Ended::Converged } else { Ended::Applied }
}

/// Queues what failed, quarantines what failed too often, and drops what healed.
async fn see_to_failures(
    job: &Job,
    side: &TargetSide,
    tally: &Tally,
    waiting: &[Retry],
    held_back: &BTreeSet<SourceKey>,
    tools: Tools<'_>,
    whole: bool,
) -> Result<(), JournalError> {
    let mut failed: BTreeMap<Subject, &ConnectorError> = BTreeMap::new();
    // A refused credential is nobody's failure: whoever is left is planned anew once the target is spoken to again.
    for failure in tally.failures.iter().filter(|f| f.error.fault != Fault::Refused) {
        let subject = failure.source.clone().map_or(Subject::Everything, Subject::User);
        failed.entry(subject).or_insert(&failure.error);
    }
    if let Some(Some(error)) = &tally.stopped
        && error.fault != Fault::Refused
    {
        failed.insert(Subject::Everything, error);
    }
    let interrupted = matches!(tally.stopped, Some(None));
    let retries: Vec<Retry> = failed.iter().map(|(subject, error)| retry(job, side, subject, error, waiting, tools)).collect();
    tools.journal.enqueue(&retries).await?;
    let healed: Vec<Subject> = waiting
        .iter()
        .map(|r| &r.subject)
        .filter(|subject| match subject {
            Subject::User(key) => {
                whole && !interrupted && tally.stopped.is_none() && !held_back.contains(key) && !failed.contains_key(*subject)
            }
            Subject::Everything => whole && !interrupted && !failed.contains_key(*subject),
        })
        .cloned()
        .collect();
    tools.journal.dequeue(&job.name, &side.name, &healed).await
}

/// The retry entry of a subject that failed once more.
pub fn retry(
    job: &Job,
    side: &TargetSide,
    subject: &Subject,
    error: &ConnectorError,
    waiting: &[Retry],
    tools: Tools<'_>,
) -> Retry {
    let now = tools.clock.now();
    let before = waiting.iter().find(|r| r.subject == *subject);
    let attempts = before.map_or(0, |r| r.attempts) + 1;
    let quarantined = attempts >= job.retry.attempts && *subject != Subject::Everything;
    let asked = match error.fault.disposition() {
        Disposition::RetryLater { after } => after,
        Disposition::Replan | Disposition::GiveUp | Disposition::StopSystem => None,
    };
    let delay =
        if quarantined { job.retry.rest } else { asked.unwrap_or_else(|| job.retry.backoff.delay(attempts, (tools.draw)())) };
    Retry {
        job: job.name.clone(),
        target: side.name.clone(),
        subject: subject.clone(),
        attempts,
        first_seen: before.map_or(now, |r| r.first_seen),
        not_before: now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::days(1)),
        cause: error.to_string(),
        quarantined,
    }
}
