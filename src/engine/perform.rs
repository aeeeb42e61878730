//! The writing half of a run: record, stage, apply, and see to what failed. What happens was decided before, by
//! [`super::confirm`]: nothing is left out here that a plan showed as admitted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;

use super::apply::{Tally, Work, apply};
use super::confirm::Confirmed;
use super::newcomers::Newcomers;
use super::policy::Job;
use super::prepare::{Prepared, TargetSide};
use super::progress::{Board, Stage};
use super::tell;
use crate::contract::clock::Clock;
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::{Effect, Ended, Journal, JournalError, RunEnd, STOPPED, Staged};
use crate::contract::verdict::SavedPlan;
use crate::model::change::OpKind;
use crate::model::key::{PlanId, RunId, SourceKey};
use crate::model::link::{Links, UserLink};
use crate::model::plan::Plan;
use crate::model::retry::{Retry, Subject};
use crate::reconcile::guard::{Admitted, Judged};
use crate::reconcile::hash::{mark, plan_id};
use crate::reconcile::render;

/// What a run needs of the process.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The journal.
    pub journal: &'a Arc<dyn Journal>,
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

/// Carries out a prepared run: records what the readings show, stages what waits, applies, queues what failed.
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
    tools: Tools<'_>,
    whole: bool,
) -> Result<Performed, JournalError> {
    let Prepared { judged, confirmed, effects, capabilities, links, sizes, blind, is_stranger, decided, seating: _ } = prepared;
    let Confirmed { at: planned_at, waiting, held_back, seatless, messages: withheld } = confirmed;
    let name = &side.name;
    let plan_id = plan_id(judged.admitted.plan());
    let mut messages: Vec<String> = judged.violations.iter().map(|v| format!("{}: {}", v.guard, v.text)).collect();
    messages.extend(judged.admitted.plan().findings.iter().map(|f| {
        let who = f.name.as_deref().or(f.source.as_ref().map(|s| s.as_str())).unwrap_or_default();
        format!("{who}: {}", f.text)
    }));
    let refused = judged.is_refused();
    // Nothing is done of a plan that is refused, and so nothing is taken over either: what it says of links and of whose a
    // membership is would be acted on by the next run as if it had been agreed.
    let effects = if refused { only_asked(effects, &links) } else { effects };
    tools.journal.record(name, &effects).await?;
    let mut staged: Vec<Staged> =
        judged.staged.iter().filter_map(|(at, by)| staged(job, side, &judged.admitted, *at, by, &plan_id, tools)).collect();
    // A retry of a few subjects knows nothing of the others' staged removals, and a blind run sees none.
    if whole && blind.is_none() {
        match decided.same_wait(&staged).cloned() {
            Some(plan) => {
                staged.iter_mut().for_each(|s| s.plan = plan.clone());
                save(run, job, &judged, plan, tools).await?;
            }
            None if staged.is_empty() => {}
            None => save(run, job, &judged, plan_id.clone(), tools).await?,
        }
        tell::staged(&**tools.journal, job, name, &staged, decided.staged(), tools.clock.now()).await?;
        tools.journal.stage(&job.name, name, &staged).await?;
        decided.settle(&**tools.journal, &job.name, name, &judged.admitted, tools.clock.now()).await?;
    }
    let admitted = judged.admitted;
    messages.extend(withheld);
    let planned: Vec<(OpKind, u64)> = admitted.plan().counts().into_iter().map(|(k, n)| (k, n as u64)).collect();
    tools.board.enter(name, Stage::Applying, admitted.len());
    let newcomers = Newcomers::of(&**tools.journal, job, name, admitted.plan()).await?;
    let work = Work {
        newcomers: &newcomers,
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
    let queue = Queue { planned_at, waiting, held_back: &held_back, names: names_to_be(admitted.plan()) };
    let seen = match (whole, refused || is_stranger) {
        (false, _) => Seen::Few,
        (true, false) => Seen::Everybody,
        (true, true) => Seen::Nobody,
    };
    see_to_failures(job, side, &tally, &queue, tools, seen).await?;
    if tally.stopped.is_none() && tally.done.iter().any(|(kind, done)| kind.removes() && *done > 0) {
        look_again(job, side, &seatless, &queue, tools).await?;
    }
    // What stopped it comes first: what is too much to be kept is left out from behind.
    messages.splice(..0, stopped_message(&tally));
    messages.extend(failure_messages(&tally));
    let end = RunEnd {
        ended: ended(&tally, &staged, blind.is_some(), refused, &held_back),
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

/// Of what a refused plan says, when the source was last asked about whom: its answers stand, and nobody is asked again for them.
fn only_asked(effects: Vec<Effect>, links: &Links) -> Vec<Effect> {
    let asked = |effect| match effect {
        Effect::LinkUser(fresh) => {
            let link = links.user(&fresh.source).filter(|link| link.last_asked < fresh.last_asked)?;
            Some(Effect::LinkUser(Box::new(UserLink { last_asked: fresh.last_asked, ..link.clone() })))
        }
        _ => None,
    };
    effects.into_iter().filter_map(asked).collect()
}

/// Keeps what waits in a plan, so that it can be decided on under the id that was shown even when later runs have made
/// others. A run that finds the same removals waiting renews the plan: its time is over once no run has borne it out for so
/// long.
async fn save(run: &RunId, job: &Job, judged: &Judged, id: PlanId, tools: Tools<'_>) -> Result<(), JournalError> {
    let now = tools.clock.now();
    let expires = now + TimeDelta::from_std(job.guard.plan_expires).unwrap_or(TimeDelta::days(365));
    tools.journal.save_plan(&SavedPlan { id, ..render::saved(judged, run.to_string(), now, expires) }).await
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
    messages
}

/// What stopped the run, if it was stopped.
pub(super) fn stopped_message(tally: &Tally) -> Option<String> {
    let cause = tally.stopped.as_ref()?;
    let why = cause.as_ref().map_or("the daemon was told to stop".to_owned(), ToString::to_string);
    Some(format!("{STOPPED}{} changes left to the next run: {why}", tally.left))
}

fn ended(tally: &Tally, staged: &[Staged], blind: bool, refused: bool, held_back: &BTreeSet<SourceKey>) -> Ended {
    if matches!(tally.stopped, Some(None)) {
        return Ended::Interrupted;
    }
    // Whatever else is so: none of it was done.
    if refused {
        return Ended::Refused;
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

/// So many attempts that the wait for the next one is the longest there is.
const LONG: u32 = 32;

/// What the retry queue has to do with a run.
struct Queue<'a> {
    /// The time by which it was decided who waits: what falls due while the changes are made was not tried by this run.
    planned_at: DateTime<Utc>,
    /// The entries before the run.
    waiting: Vec<Retry>,
    /// Whose changes wait for another try at its own time.
    held_back: &'a BTreeSet<SourceKey>,
    /// The user names that the plan gives.
    names: BTreeMap<SourceKey, SmolStr>,
}

/// The user names that a plan gives or confirms: nobody else was seen to claim them.
fn names_to_be(plan: &Plan) -> BTreeMap<SourceKey, SmolStr> {
    let mut names = BTreeMap::new();
    for change in &plan.changes {
        // The last step of a swap is the one that counts.
        if let Some((user, name)) = change.op.names()
            && let Some(source) = &plan.user(user).source
        {
            names.insert(source.clone(), name.into());
        }
    }
    names
}

/// Of whom a run has seen to what was to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Of some: the queue's other entries are none of its business.
    Few,
    /// Of everybody: whoever did not fail is well.
    Everybody,
    /// It looked at everybody, and its plan was refused, or the source taken for another organisation.
    Nobody,
}

/// Queues what failed, quarantines what failed too often, drops what healed, and puts off what was due and not come to.
async fn see_to_failures(
    job: &Job,
    side: &TargetSide,
    tally: &Tally,
    queue: &Queue<'_>,
    tools: Tools<'_>,
    seen: Seen,
) -> Result<(), JournalError> {
    let Queue { planned_at, waiting, held_back, names } = queue;
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
    let retries: Vec<Retry> = failed
        .iter()
        .map(|(subject, error)| {
            let user_name = match subject {
                Subject::User(key) => names.get(key).cloned(),
                Subject::Everything => None,
            };
            Retry { user_name, ..retry(job, side, subject, error, waiting, tools) }
        })
        .collect();
    tell::set_aside(&**tools.journal, job, &side.name, waiting, &retries, tools.clock.now()).await?;
    tools.journal.enqueue(&retries).await?;
    // Whoever was due and waits for a seat, or for a name that another keeps, is looked at by every whole run.
    let waits_on = |r: &Retry, key: &SourceKey| r.not_before > *planned_at && held_back.contains(key);
    let is_over = |r: &&Retry| match &r.subject {
        Subject::User(key) => tally.stopped.is_none() && !waits_on(r, key) && !failed.contains_key(&r.subject),
        Subject::Everything => !failed.contains_key(&r.subject),
    };
    if seen == Seen::Few || interrupted {
        return Ok(());
    }
    let healed = waiting.iter().filter(|r| seen == Seen::Everybody && is_over(r));
    let healed: Vec<Subject> = healed.map(|r| r.subject.clone()).collect();
    tools.journal.dequeue(&job.name, &side.name, &healed).await?;
    let is_done = |r: &&Retry| healed.contains(&r.subject) || failed.contains_key(&r.subject);
    let left: Vec<&Retry> = waiting.iter().filter(|r| !is_done(r)).collect();
    put_off(job, &left, *planned_at, seen == Seen::Nobody, tools).await
}

/// Whoever waits for a seat is looked at by every whole run. Where this one took away seats, that may be days before the
/// schedule's next one: so they are looked at again soon, once, when the target knows what has come free.
async fn look_again(
    job: &Job,
    side: &TargetSide,
    seatless: &BTreeSet<SourceKey>,
    queue: &Queue<'_>,
    tools: Tools<'_>,
) -> Result<(), JournalError> {
    let now = tools.clock.now();
    let soon = now + TimeDelta::from_std(job.retry.backoff.delay(1, (tools.draw)())).unwrap_or(TimeDelta::minutes(1));
    let entry = |source: &SourceKey| {
        let subject = Subject::User(source.clone());
        let before = queue.waiting.iter().find(|retry| retry.subject == subject);
        Retry {
            job: job.name.clone(),
            target: side.name.clone(),
            subject,
            attempts: before.map_or(0, |retry| retry.attempts),
            first_seen: before.map_or(now, |retry| retry.first_seen),
            not_before: soon,
            cause: "waits for a free seat of the licence, and this run has freed some".to_owned(),
            quarantined: false,
            user_name: queue.names.get(source).cloned(),
        }
    };
    let again: Vec<Retry> = seatless.iter().map(entry).collect();
    tools.journal.enqueue(&again).await
}

/// Whoever was due and was neither done nor tried (the plan was refused, or the target left alone) comes later: as something that
/// is due it would be looked at again at once, and for ever.
///
/// `due_by` is the time by which it was decided who is due: what has fallen due since has its turn next. Where the
/// plan was refused (`refused`) the wait is the longest there is: what a person has to mend is not mended in seconds.
pub(super) async fn put_off(
    job: &Job,
    entries: &[&Retry],
    due_by: DateTime<Utc>,
    refused: bool,
    tools: Tools<'_>,
) -> Result<(), JournalError> {
    let now = tools.clock.now();
    let later = |r: &&Retry| {
        let delay = job.retry.backoff.delay(if refused { LONG } else { r.attempts.max(1) }, (tools.draw)());
        Retry { not_before: now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::days(1)), ..(**r).clone() }
    };
    let later: Vec<Retry> = entries.iter().filter(|r| r.not_before <= due_by).map(later).collect();
    tools.journal.enqueue(&later).await
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
    let delay = if quarantined { job.retry.rest } else { delay(job, attempts, error, tools) };
    Retry {
        job: job.name.clone(),
        target: side.name.clone(),
        subject: subject.clone(),
        attempts,
        first_seen: before.map_or(now, |r| r.first_seen),
        not_before: now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::days(1)),
        cause: error.to_string(),
        quarantined,
        user_name: before.and_then(|r| r.user_name.clone()),
    }
}

/// The same where a system is in trouble: none of the subject's tries is spent, and it comes later the longer it has waited.
pub(super) fn retry_unspent(job: &Job, before: &Retry, error: &ConnectorError, tools: Tools<'_>) -> Retry {
    let now = tools.clock.now();
    let waited = (now - before.first_seen).to_std().unwrap_or_default();
    let longer = (1..LONG).find(|tries| job.retry.backoff.delay(*tries, 1.0) > waited).unwrap_or(LONG);
    let not_before = now + TimeDelta::from_std(delay(job, longer, error, tools)).unwrap_or(TimeDelta::days(1));
    // Why somebody was set aside is about them, and stays.
    let cause = if before.quarantined { before.cause.clone() } else { error.to_string() };
    Retry { not_before, cause, ..before.clone() }
}

/// How long until the next try: what the system asks for, else longer with each.
fn delay(job: &Job, attempts: u32, error: &ConnectorError, tools: Tools<'_>) -> std::time::Duration {
    let asked = match error.fault.disposition() {
        Disposition::RetryLater { after } => after,
        Disposition::Replan | Disposition::GiveUp | Disposition::StopSystem => None,
    };
    asked.unwrap_or_else(|| job.retry.backoff.delay(attempts, (tools.draw)()))
}
