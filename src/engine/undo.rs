//! Undo: takes back what a run did at its target.
//!
//! The source would have the next run do the same again, so whoever is concerned is held first: nothing is written about them
//! until the source says something else, or a person releases them. Holds come before the first call: a process that dies
//! halfway leaves nobody to a tug-of-war. Then it is taken back, and only then, when nobody waits for access any more, the
//! source is asked about them, one by one: what it says by the next run may be the news by which the hold has to end.
//!
//! The guard judges it as it does any plan. What it refuses stays refused; a limit yields to the word of the person who has
//! seen the preview.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::apply::{Tally, Work, apply};
use super::lease::{at_work, hold};
use super::newcomers::Newcomers;
use super::perform::{failure_messages, stopped_message};
use super::prepare::{RunError, TargetSide, admins, expected_of, guarded};
use super::progress::Stage;
use super::proofs::Proofs;
use super::rest::{Rests, put_to_rest};
use super::run::{Report, World, run_id, tell_run, unless_stopped};
use super::spans;
use super::spare::spare;
use crate::contract::fault::Fault;
use crate::contract::journal::{ChangeRecord, Ended, JournalError, RunEnd, RunRecord, RunStart, Trigger};
use crate::contract::target::{Capabilities, Deactivation, Wanted, WantedUser};
use crate::contract::verdict::Hold;
use crate::model::change::Cause;
use crate::model::key::{SourceKey, TargetKey};
use crate::model::link::{Links, UserLink};
use crate::model::plan::{Plan, PlanUser};
use crate::model::roster::TargetRoster;
use crate::reconcile::guard::{Asked, Circumstances, Judged, Policy, judge};
use crate::reconcile::hash::plan_id;
use crate::reconcile::pattern::NameSet;
use crate::reconcile::undo::{Inputs, Reverse, reverse, took_effect};
use crate::reconcile::wish::{Wish, rules_mark};

/// About how many users an undo asks the source.
const MOST_ASKED: usize = 500;
/// How many of them at once.
const ASKED_AT_ONCE: usize = 4;
/// Why somebody was not asked about.
const STOPPED: &str = "rosterd was told to stop before it was asked";

/// What is to be undone, and on whose word.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a RunRecord,
    /// What it did.
    pub changes: &'a [ChangeRecord],
    /// Only what is about these users or groups; none: everything.
    pub only: &'a NameSet,
    /// Who asks.
    pub actor: &'a str,
    /// Whether limits yield.
    pub over_limits: bool,
}

/// An undo that can be shown and carried out.
#[derive(Debug)]
pub struct Undo {
    /// The plan, judged.
    pub judged: Judged,
    /// What cannot be taken back, or need not be.
    pub stays: Vec<String>,
    capabilities: Capabilities,
    links: Links,
}

/// Why nothing may be taken back at a target, if the job only looks there: what a job has been told to leave alone it leaves
/// alone at a person's word as well, since whoever says so may not know of it.
pub fn only_observed(world: &World, side: &TargetSide) -> Option<String> {
    let why = "is only observed by the job (its mode, or its list `observe`): nothing is changed there, so nothing is taken back";
    world.job.observes(&side.name).then(|| format!("{} {why}", side.name))
}

/// Reads what the target holds and makes the plan. Writes nothing.
///
/// # Errors
/// A target or store that could not be read.
pub async fn prepare(world: &World, side: &TargetSide, request: Request<'_>) -> Result<Undo, RunError> {
    let now = world.clock.now();
    let links = world.journal.links(&side.name).await?;
    let recent = world.journal.removals_since(&side.name, now - TimeDelta::hours(24)).await?;
    let changes: Vec<&ChangeRecord> = request.changes.iter().filter(|c| is_about(c, request.only)).collect();
    world.board.enter(&side.name, Stage::ReadingTarget, 0);
    let capabilities = side.target.probe().await?;
    let actual = side.target.fetch(&wanted(&changes, &links, guarded(&capabilities, &world.job.guard))).await?;
    world.board.enter(&side.name, Stage::Planning, 0);
    let inputs = Inputs {
        job: &request.run.start.job,
        target: &side.name,
        changes: &changes,
        actual: &actual,
        links: &links,
        capabilities: &capabilities,
    };
    let Reverse { plan, mut stays } = reverse(&inputs);
    let circumstances = Circumstances {
        acting_as: capabilities.acting_as.clone(),
        recent,
        admins: admins(&actual, &capabilities.admin_groups),
        members: expected_of(&actual, &world.job.guard, &Default::default(), &Default::default()),
        addresses: addresses(&plan, &actual, &world.job.guard),
        strips: capabilities.deactivation == Deactivation::StripGroups,
        asked_by: Some(Asked { actor: request.actor.to_owned(), over_limits: request.over_limits }),
        ..Circumstances::default()
    };
    let mut judged = judge(plan, &world.job.guard, &circumstances);
    stays.extend(spare(&world.job, side, &capabilities, &mut judged).await);
    judged.expect_again(&world.job.guard);
    world.board.enter(&side.name, Stage::Over, 0);
    Ok(Undo { judged, stays, capabilities, links })
}

/// Makes the plan to be shown, by somebody who can be asked for it again and again: a target that rests is left alone, and one
/// that refuses the credential rests from then on.
///
/// # Errors
/// A target or store that could not be read. `Ok(Err)` says why the target rests.
pub async fn preview(world: &World, side: &TargetSide, request: Request<'_>) -> Result<Result<Undo, String>, RunError> {
    let rests = Rests::of_world(world).await?;
    if let Some(alone) = rests.why_not(&side.name, world.credential(&side.name), world.clock.now()) {
        return Ok(Err(alone.why));
    }
    let shown = prepare(world, side, request).await;
    if let Err(RunError::Connector(error)) = &shown
        && error.fault == Fault::Refused
    {
        put_to_rest(world, &side.name, None, error).await?;
    }
    shown.map(Ok)
}

/// The addresses of whom the plan gives a group back, as they are at the target, where something is expected of addresses.
fn addresses(plan: &Plan, actual: &TargetRoster, policy: &Policy) -> BTreeMap<SourceKey, SmolStr> {
    if policy.expect.iter().all(|expected| expected.only_domains.is_empty()) {
        return BTreeMap::new();
    }
    let address = |user: &PlanUser| {
        let at = actual.user(user.key.as_ref()?)?;
        Some((user.source.clone()?, actual.users[at as usize].email.clone()?))
    };
    plan.users.iter().filter_map(address).collect()
}

fn is_about(change: &ChangeRecord, only: &NameSet) -> bool {
    let names = [&change.intent.user_name, &change.intent.group];
    only.is_empty() || names.into_iter().flatten().any(|name| only.matches(name))
}

/// The users and groups of these changes, under the names that they may have now, and the groups that guards look at.
fn wanted(changes: &[&ChangeRecord], links: &Links, guarded: Vec<String>) -> Wanted {
    let mut users: Vec<WantedUser> = Vec::new();
    let mut groups: BTreeSet<SmolStr> = guarded.into_iter().map(Into::into).collect();
    let mut seen: BTreeSet<TargetKey> = BTreeSet::new();
    let linked: BTreeMap<&TargetKey, &UserLink> = links.users.iter().map(|l| (&l.target, l)).collect();
    for change in changes.iter().filter(|change| took_effect(change)) {
        groups.extend(change.intent.group.iter().cloned().chain(change.left_groups.iter().map(|g| g.as_str().into())));
        let Some(key) = change.intent.user.clone() else { continue };
        if !seen.insert(key.clone()) {
            continue;
        }
        let name = linked.get(&key).map(|link| link.name.clone());
        let Some(name) = name.or_else(|| change.intent.user_name.clone()) else { continue };
        users.push(WantedUser { key: Some(key), name });
    }
    Wanted { users, groups: groups.into_iter().collect(), members_of_wanted_users_suffice: false }
}

/// Takes it back: holds everybody concerned, then applies what the guard admits.
///
/// # Errors
/// A target or store that could not be read, or a store that could not be written. What the target does to single changes is
/// in the report.
pub async fn undo(
    world: &World,
    side: &TargetSide,
    request: Request<'_>,
    reason: &str,
    stop: &CancellationToken,
) -> Result<Result<Report, String>, RunError> {
    if let Some(why) = only_observed(world, side) {
        return Ok(Err(why));
    }
    if let Some(why) = left_alone(world, side).await? {
        return Ok(Err(why));
    }
    let Some(lease) = hold(world, &side.name, stop).await? else { return Ok(Err(at_work(world, &side.name).await?)) };
    let world = &lease.world(world);
    // Whoever had the lease before may have been refused.
    if let Some(why) = left_alone(world, side).await? {
        lease.release().await;
        return Ok(Err(why));
    }
    let start = RunStart {
        id: run_id(),
        job: request.run.start.job.clone(),
        target: side.name.clone(),
        trigger: Trigger::Undo,
        by: Some(request.actor.into()),
        at: world.clock.now(),
    };
    let span = spans::of_run(&start);
    lease.is_for(&span);
    let taking_back = async {
        let report = take_back(world, side, request, start, reason, stop).await;
        if let Err(RunError::Connector(error)) = &report
            && error.fault == Fault::Refused
        {
            put_to_rest(world, &side.name, None, error).await?;
        }
        report
    };
    let report = taking_back.instrument(span).await;
    lease.release().await;
    Ok(Ok(report?))
}

/// Why the target may not be spoken to now, if it may not.
async fn left_alone(world: &World, side: &TargetSide) -> Result<Option<String>, JournalError> {
    let rests = Rests::of_world(world).await?;
    Ok(rests.why_not(&side.name, world.credential(&side.name), world.clock.now()).map(|alone| alone.why))
}

async fn take_back(
    world: &World,
    side: &TargetSide,
    request: Request<'_>,
    start: RunStart,
    reason: &str,
    stop: &CancellationToken,
) -> Result<Report, RunError> {
    let sent = (world.requests)(&side.name);
    world.journal.recover(&side.name, start.at).await?;
    let Undo { judged, stays, capabilities, links } = prepare(world, side, request).await?;
    world.journal.begin(&start).await?;
    let mut holds = holds(world, &judged, request, reason);
    world.journal.hold(&holds).await?;
    world.board.enter(&side.name, Stage::Applying, judged.admitted.len());
    // An undo makes no account.
    let newcomers = Newcomers::default();
    let work = Work {
        newcomers: &newcomers,
        run: &start.id,
        side,
        journal: &world.journal,
        clock: &*world.clock,
        capabilities: &capabilities,
        links: &links,
        stop,
        board: &world.board,
    };
    let tally = apply(&work, &judged.admitted).await?;
    let refusal = tally.stopped.iter().flatten().find(|error| error.fault == Fault::Refused);
    if let Some(error) = refusal {
        put_to_rest(world, &side.name, None, error).await?;
    }
    let fault = refusal.map(|error| error.fault.clone());
    // Whoever has lost something gets it back before the source is asked about anybody.
    let open = ask_about(world, &mut holds, stop).await?;
    world.journal.wish(&holds).await?;
    let mut end = end(&tally, &judged, world.clock.now());
    let undone = format!("takes back run {} for {}: {reason}", request.run.start.id, request.actor);
    end.messages = std::iter::once(undone).chain(end.messages).chain(stays).chain(open).collect();
    end.requests = (world.requests)(&side.name).saturating_sub(sent);
    let head = world.journal.end(&start.id, &end).await?;
    tell_run(world, &start, &end, &head);
    world.board.enter(&side.name, Stage::Over, 0);
    Ok(Report { record: RunRecord { start, end: Some(end) }, fault })
}

/// A hold on everybody in the plan, with an open wish: the undone run acted on them by its reasons, and what the source says now is not known yet.
fn holds(world: &World, judged: &Judged, Request { run, actor, changes, only, .. }: Request<'_>, reason: &str) -> Vec<Hold> {
    let plan: &Plan = judged.admitted.plan();
    let mut undone: BTreeMap<&SourceKey, Cause> = BTreeMap::new();
    for change in changes.iter().filter(|change| is_about(change, only) && took_effect(change)) {
        undone.extend(change.intent.source.as_ref().zip(change.intent.because.cause()));
    }
    let rules = rules_mark(&world.job.rules);
    let hold = |ix: u32| {
        let user = plan.user(ix);
        Some(Hold {
            job: plan.job.clone(),
            target: plan.target.clone(),
            user: user.key.clone()?,
            user_name: user.name.clone(),
            source: user.source.clone(),
            run: run.start.id.clone(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            since: world.clock.now(),
            wish: user.source.as_ref().map(|s| Wish::Open { undone: undone.get(s).copied(), rules: rules.clone() }.text()),
        })
    };
    let concerned: BTreeSet<u32> = judged.admitted.changes().filter_map(|(_, change)| change.op.user()).collect();
    concerned.into_iter().filter_map(hold).collect()
}

/// Asks the source about everybody who is held, and writes into the holds what it says, where it is what the undone run acted on.
/// Where it gives no answer the wish stays open. Returns of whom, and why, for a person.
async fn ask_about(world: &World, holds: &mut [Hold], stop: &CancellationToken) -> Result<Vec<String>, JournalError> {
    let rules = rules_mark(&world.job.rules);
    let proofs = Proofs::new(world.source.clone(), world.job.ask(), BTreeSet::new());
    let rests = Rests::of_world(world).await?;
    let resting = rests.why_not(&world.source_name, world.credential(&world.source_name), world.clock.now());
    let mut silent: Option<String> = resting.map(|alone| alone.why);
    let mut people: Vec<(SourceKey, &mut Hold)> =
        holds.iter_mut().filter_map(|hold| Some((hold.source.clone()?, hold))).collect();
    let mut open = Vec::new();
    for (at, few) in people.chunks_mut(ASKED_AT_ONCE).enumerate() {
        if silent.is_none() && at * ASKED_AT_ONCE >= MOST_ASKED {
            silent = Some(format!("about {MOST_ASKED} others it was asked first"));
        }
        if silent.is_none() && stop.is_cancelled() {
            silent = Some(STOPPED.to_owned());
        }
        let ask = |source: SourceKey| {
            let (proofs, silent) = (&proofs, &silent);
            async move {
                match silent {
                    Some(why) => Err(why.clone()),
                    None => proofs.single(&source, &world.job.rules).await.map_err(|error| error.to_string()),
                }
            }
        };
        let asking = futures::future::join_all(few.iter().map(|(source, _)| ask(source.clone())));
        let answers = match unless_stopped(stop, asking).await {
            Some(answers) => answers,
            None => vec![Err(STOPPED.to_owned()); few.len()],
        };
        // A source that refuses, or answers nobody, is not asked about everybody else as well.
        if proofs.refusal().is_some() || answers.iter().all(Result::is_err) {
            silent = silent.or_else(|| answers.iter().find_map(|answer| answer.as_ref().err().cloned()));
        }
        for ((source, hold), answer) in few.iter_mut().zip(answers) {
            let why = match answer {
                Err(why) => format!("whether the source has news of the user is not known yet ({why})"),
                Ok(single) => match single.told(&rules).at_undo(source, undone(hold)) {
                    Some(wish) => {
                        hold.wish = Some(wish.text());
                        continue;
                    }
                    None if single.told(&rules).is_pending(source) => "the source wants nothing of the user for now".to_owned(),
                    None => format!("the source has news: the user {}", single.told(&rules).stands(source)),
                },
            };
            let until =
                "the next run looks at it, and ends the hold where the source says something else than when the undone run acted";
            open.push(format!("{}: {why}; {until}", hold.user_name));
        }
    }
    if let Some(error) = proofs.refusal() {
        put_to_rest(world, &world.source_name, None, &error).await?;
    }
    Ok(open)
}

/// Why the undone run took the user of a hold for a leaver, if it did.
fn undone(hold: &Hold) -> Option<Cause> {
    match Wish::of_text(hold.wish.as_deref()?)? {
        Wish::Open { undone, .. } => undone,
        Wish::Known { .. } => None,
    }
}

fn end(tally: &Tally, judged: &Judged, at: chrono::DateTime<chrono::Utc>) -> RunEnd {
    let plan = judged.admitted.plan();
    let ended = match (&tally.stopped, tally.failures.is_empty() && tally.left == 0) {
        _ if judged.is_refused() => Ended::Refused,
        (Some(None), _) => Ended::Interrupted,
        (_, false) => Ended::Partial,
        // Nothing is kept of it that could be approved: it is to be asked for again.
        (_, true) if !judged.staged.is_empty() => Ended::Partial,
        (_, true) if tally.done.is_empty() => Ended::Converged,
        (_, true) => Ended::Applied,
    };
    let violations = judged.violations.iter().map(|v| format!("{}: {}", v.guard, v.text));
    let over = (!judged.staged.is_empty())
        .then(|| format!("{} over a limit were not made; `rosterd undo` makes them with --over-limits", judged.staged.len()));
    RunEnd {
        plan: Some(plan_id(plan)),
        planned: plan.counts().into_iter().map(|(k, n)| (k, n as u64)).collect(),
        done: tally.done.iter().map(|(k, n)| (*k, *n)).collect(),
        failed: tally.failures.len() as u64,
        ..RunEnd::bare(ended, at, violations.chain(over).chain(stopped_message(tally)).chain(failure_messages(tally)).collect())
    }
}
