//! The retry of single subjects: each is read, planned, guarded and applied afresh, with the same core as a whole run.
//!
//! Of user names a retry knows less than a whole run, which sees everybody and sets those aside who are to have one name. So
//! it gives a name only if the last whole run was about to give it to that very user; whoever is to have another one since is
//! left to a whole run. A namesake who has come since then is met as if the first try had not failed: the account is there,
//! and the next whole run says so.
//!
//! Nor does it see the source's roster, by which a whole run tells whether the source can be believed. So it takes that from
//! the last whole run, without which it takes nothing away. And where users are said to be gone and none of those who were to
//! be looked at is known, it asks about others who were there: a source that knows none of them is another one.

mod ask;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use ask::{by_answer, doubt, others, tells};
use smol_str::SmolStr;
pub(super) use target::Unread;
use target::{own_ledger, read_target};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::confirm::{Confirmed, confirm};
use super::decided::Decided;
use super::lease::hold_unasked;
use super::panic::{own_fault, unless_it_panics};
use super::perform::{Performed, Tools, perform, put_off, retry, retry_unspent};
use super::prepare::{Prepared, TargetSide, addresses, admins, expected_of, guarded};
use super::progress::Stage;
use super::proofs::Proofs;
use super::rest::{Rests, put_to_rest};
use super::run::{World, is_anybodys, run_id, tell_run};
use super::{seats, spans, tell};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::{Ended, JournalError, RunEnd, RunQuery, RunStart, Trigger};
use crate::contract::target::{Capabilities, Deactivation, Wanted};
use crate::model::change::Op;
use crate::model::desired::{Desired, Standing};
use crate::model::key::{SourceKey, TargetKey, fold, group_key};
use crate::model::ledger::Ledger;
use crate::model::link::{GroupLink, Links};
use crate::model::plan::Plan;
use crate::model::retry::{Retry, Subject};
use crate::model::roster::{SourceRosterBuilder, TargetRoster};
use crate::reconcile::diff::{Draft, Inputs, diff};
use crate::reconcile::guard::expect::concerns;
use crate::reconcile::guard::{Circumstances, judge};
use crate::reconcile::health::keep_ownership;
use crate::reconcile::mapping::desired;
use crate::reconcile::seats::Seating;

/// What a pass over the queue came to.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// How the run ended, if one was begun.
    pub end: Option<RunEnd>,
    /// Whether the whole job should be run at this target instead: a subject needs a group that is not there yet.
    pub needs_whole: bool,
}

/// Looks again at subjects whose time has come, at one target.
///
/// # Errors
/// Only the journal's: whatever the systems do goes back on the queue.
pub async fn retry_subjects(
    world: &World,
    side: &TargetSide,
    due: &[Retry],
    stop: &CancellationToken,
) -> Result<Pass, JournalError> {
    if is_left_alone(world, side).await? {
        return Ok(Pass::default());
    }
    if world.job.observes(&side.name) {
        // Queued while the job still wrote here. Whoever is to be written again is found by a whole run.
        let anybodys = due.iter().filter(|r| is_anybodys(&*world.journal, r.not_before, world.clock.now()));
        let subjects: Vec<Subject> = anybodys.map(|r| r.subject.clone()).collect();
        world.journal.dequeue(&world.job.name, &side.name, &subjects).await?;
        return Ok(Pass::default());
    }
    let Some(lease) = hold_unasked(world, &side.name, stop).await? else { return Ok(Pass::default()) };
    let world = &lease.world(world);
    // Whoever had the lease before may have worked them off, or been refused.
    let waiting = world.journal.retries().await?;
    let due: Vec<Retry> = due.iter().filter(|retry| waiting.contains(retry)).cloned().collect();
    if due.is_empty() || is_left_alone(world, side).await? {
        lease.release().await;
        return Ok(Pass::default());
    }
    let start = RunStart {
        id: run_id(),
        job: world.job.name.clone(),
        target: side.name.clone(),
        trigger: Trigger::Retry,
        by: None,
        at: world.clock.now(),
    };
    let span = spans::of_run(&start);
    lease.is_for(&span);
    let pass = async {
        match unless_it_panics(pass(world, side, &due, start, stop)).await {
            Ok(pass) => pass,
            Err(_) => after_panic(world, side).await,
        }
    };
    let pass = pass.instrument(span).await;
    world.board.enter(&side.name, Stage::Over, 0);
    lease.release().await;
    pass
}

/// Whether the source or the target may not be spoken to now.
async fn is_left_alone(world: &World, side: &TargetSide) -> Result<bool, JournalError> {
    let rests = Rests::of_world(world).await?;
    Ok(rests.forbid(world, &side.name, world.clock.now()).is_some())
}

/// A retry that met a fault of rosterd itself: its record says so, if it had come so far as to have one.
async fn after_panic(world: &World, side: &TargetSide) -> Result<Pass, JournalError> {
    let end = own_fault(world, side).await?;
    let query = RunQuery { job: Some(world.job.name.clone()), target: Some(side.name.clone()), limit: 1, ..RunQuery::default() };
    let open = world.journal.runs(&query).await?.into_iter().find(|run| run.end.is_none());
    if let Some(run) = open {
        let head = world.journal.end(&run.start.id, &end).await?;
        tell_run(world, &run.start, &end, &head);
    }
    world.journal.recover(&side.name, end.at).await?;
    tracing::error!(job.name = %world.job.name, target.name = %side.name, "a retry ended in a fault of rosterd itself, please report it");
    Ok(Pass { end: Some(end), needs_whole: false })
}

/// What came of looking at several subjects together.
enum Tried {
    /// This.
    Done(Pass),
    /// A system is in trouble, whomever one asks it about: these come later.
    Trouble(Vec<Retry>, ConnectorError),
    /// The target does not tell of some of these.
    Untold(Vec<Retry>, Vec<(Subject, ConnectorError)>),
}

/// How often those who are left are looked at in one pass. Where more cannot be read than that, the others come later.
const ROUNDS: usize = 4;

/// Looks at all together; and if the target does not tell of some of them, at the others together again: one who cannot be read
/// keeps nobody else waiting, and it is that one whose try is spent. Never at each alone: guards look at what is to be taken
/// away in one go.
async fn pass(
    world: &World,
    side: &TargetSide,
    due: &[Retry],
    start: RunStart,
    stop: &CancellationToken,
) -> Result<Pass, JournalError> {
    let tools = Tools { journal: &world.journal, clock: &*world.clock, draw: &*world.draw, stop, board: &world.board };
    let sent = (world.requests)(&side.name);
    let asked = users(due);
    let mut due = due.to_vec();
    for _ in 0..ROUNDS {
        if stop.is_cancelled() {
            return Ok(Pass::default());
        }
        match together(world, side, &due, start.clone(), &asked, sent, tools).await? {
            Tried::Done(pass) => return Ok(pass),
            Tried::Trouble(due, error) => {
                all_put_off(world, side, &due, &error, tools).await?;
                return Ok(Pass::default());
            }
            Tried::Untold(of, untold) => {
                come_later(world, side, &untold, &of, tools).await?;
                due = without(of, &untold);
            }
        }
    }
    put_off(&world.job, &due.iter().collect::<Vec<_>>(), world.clock.now(), false, tools).await?;
    Ok(Pass::default())
}

/// Those who are left.
fn without(due: Vec<Retry>, untold: &[(Subject, ConnectorError)]) -> Vec<Retry> {
    due.into_iter().filter(|retry| !untold.iter().any(|(subject, _)| *subject == retry.subject)).collect()
}

/// The users among these.
fn users(due: &[Retry]) -> Vec<SourceKey> {
    let user = |retry: &Retry| match &retry.subject {
        Subject::User(key) => Some(key.clone()),
        Subject::Everything => None,
    };
    due.iter().filter_map(user).collect()
}

/// `asked` are all whom the pass is about: no witnesses, since of some of them it is known by now that they cannot be read.
async fn together(
    world: &World,
    side: &TargetSide,
    due: &[Retry],
    start: RunStart,
    asked: &[SourceKey],
    sent: u64,
    tools: Tools<'_>,
) -> Result<Tried, JournalError> {
    world.journal.recover(&side.name, start.at).await?;
    let keys = users(due);
    let names: BTreeMap<SourceKey, SmolStr> = due
        .iter()
        .filter_map(|r| match &r.subject {
            Subject::User(key) => Some((key.clone(), r.user_name.clone()?)),
            Subject::Everything => None,
        })
        .collect();
    let links = world.journal.links(&side.name).await?;
    let proofs = Proofs::new(world.source.clone(), world.job.ask(), BTreeSet::new());
    let (keys, unanswered) = match by_answer(world, keys, others(&links, asked), &proofs).await {
        Ok(split) => split,
        Err(error) => return Ok(Tried::Trouble(due.to_vec(), error)),
    };
    come_later(world, side, &unanswered, due, tools).await?;
    let due = without(due.to_vec(), &unanswered);
    if due.is_empty() {
        return Ok(Tried::Done(Pass::default()));
    }
    let capabilities = match side.target.probe().await {
        Ok(capabilities) => capabilities,
        Err(error) => return Ok(Tried::Trouble(due, error)),
    };
    // Whoever is put off is somebody else by now: what is theirs is not for those who are left.
    let others: BTreeSet<TargetKey> =
        links.users.iter().filter(|l| !keys.contains(&l.source)).map(|l| l.target.clone()).collect();
    let doubt = doubt(world, side, &links, &keys, &proofs).await?;
    let (links, all) = (only(links.clone(), &keys), links);
    let ledger = world.journal.ledger(&side.name).await?;
    let decided = Decided::read(&*world.journal, &world.job.name, &side.name).await?;
    let known = Known { links: &links, others: &others, ledger: &ledger, decided: &decided, names: &names, doubt };
    let (mut prepared, settled) = match prepare_subjects(world, side, &keys, known, &proofs, capabilities).await {
        Ok(Some(ready)) => ready,
        Ok(None) => return Ok(Tried::Done(Pass { end: None, needs_whole: true })),
        Err(Unread::System(error)) => return Ok(Tried::Trouble(due, error)),
        Err(Unread::Users { untold, last }) => {
            let told = match last {
                Some(error) => tells(world, side, &all, asked, error).await,
                None => Ok(()),
            };
            return Ok(match told {
                Ok(()) => Tried::Untold(due, untold.into_iter().map(|(key, error)| (Subject::User(key), error)).collect()),
                Err(error) => Tried::Trouble(due, error),
            });
        }
    };
    let (judged, can) = (&mut prepared.judged, &prepared.capabilities);
    prepared.confirmed = confirm(&world.job, side, can, judged, &proofs, &*world.journal, start.at, &world.board).await?;
    seats::count(&world.job, &mut prepared);
    let is_blind = prepared.blind.is_some();
    world.journal.begin(&start).await?;
    let Performed { mut end, stopped } = perform(&start.id, &world.job, side, prepared, tools, false).await?;
    end.requests = (world.requests)(&side.name).saturating_sub(sent);
    let is_stopped = stopped.is_some();
    for error in stopped.into_iter().chain(proofs.refusal()).filter(|error| error.fault == Fault::Refused) {
        put_to_rest(world, &error.system, None, &error).await?;
    }
    let head = world.journal.end(&start.id, &end).await?;
    tell_run(world, &start, &end, &head);
    if end.ended != Ended::Interrupted {
        let here = |r: &Retry| r.job == world.job.name && r.target == side.name && r.not_before > start.at;
        let still: BTreeSet<Subject> = world.journal.retries().await?.into_iter().filter(here).map(|r| r.subject).collect();
        // Whoever waits for a seat is looked at by every whole run.
        let waits = end.ended == Ended::Refused || is_blind;
        // Of whom a target that was left alone has told nothing it is not known.
        let well = settled.into_iter().filter(|_| !waits && !is_stopped).map(Subject::User);
        let healed: Vec<Subject> = well.filter(|s| !still.contains(s)).collect();
        world.journal.dequeue(&world.job.name, &side.name, &healed).await?;
        let left: Vec<&Retry> = due.iter().filter(|r| !healed.contains(&r.subject) && !still.contains(&r.subject)).collect();
        put_off(&world.job, &left, start.at, waits, tools).await?;
    }
    Ok(Tried::Done(Pass { end: Some(end), needs_whole: false }))
}

/// Whoever could not be read is read later, and has one try less.
async fn come_later(
    world: &World,
    side: &TargetSide,
    whom: &[(Subject, ConnectorError)],
    due: &[Retry],
    tools: Tools<'_>,
) -> Result<(), JournalError> {
    let Some((_, error)) = whom.first() else { return Ok(()) };
    let again: Vec<Retry> = whom.iter().map(|(subject, error)| retry(&world.job, side, subject, error, due, tools)).collect();
    tell::set_aside(&*world.journal, &world.job, &side.name, due, &again, tools.clock.now()).await?;
    put_back(world, side, &again, error).await
}

/// The same for everybody where a system is in trouble. It is not about them, so no try of theirs is spent.
async fn all_put_off(
    world: &World,
    side: &TargetSide,
    due: &[Retry],
    error: &ConnectorError,
    tools: Tools<'_>,
) -> Result<(), JournalError> {
    let again: Vec<Retry> = due.iter().map(|before| retry_unspent(&world.job, before, error, tools)).collect();
    put_back(world, side, &again, error).await?;
    if error.fault == Fault::Refused {
        put_to_rest(world, &error.system, None, error).await?;
    }
    Ok(())
}

async fn put_back(world: &World, side: &TargetSide, again: &[Retry], error: &ConnectorError) -> Result<(), JournalError> {
    world.journal.enqueue(again).await?;
    tracing::warn!(job.name = %world.job.name, target.name = %side.name, subjects = again.len(), "a retry is put off: {error}");
    Ok(())
}

/// The links of these subjects, and all group links: they tell which groups are there.
pub(super) fn only(mut links: Links, keys: &[SourceKey]) -> Links {
    links.users.retain(|l| keys.contains(&l.source));
    links
}

/// What is remembered of the subjects.
pub(super) struct Known<'a> {
    /// Their links, and those of all groups.
    pub(super) links: &'a Links,
    /// The accounts that are linked to others.
    pub(super) others: &'a BTreeSet<TargetKey>,
    /// Which memberships are ours.
    pub(super) ledger: &'a Ledger,
    /// What people decided.
    pub(super) decided: &'a Decided,
    /// The user name that each may be given.
    pub(super) names: &'a BTreeMap<SourceKey, SmolStr>,
    /// Why nothing is taken away by what the source says of them, if nothing is.
    pub(super) doubt: Option<String>,
}

/// Reads the subjects on both sides and plans. `None`: a group is needed that may not be there, or a wanted name is the one of
/// an account that is linked to somebody else, or not the one that the last whole run found for the user. Such a name may be
/// about to come free, or never, or be somebody else's too: only a whole run can tell.
pub(super) async fn prepare_subjects(
    world: &World,
    side: &TargetSide,
    keys: &[SourceKey],
    known: Known<'_>,
    proofs: &Proofs,
    capabilities: Capabilities,
) -> Result<Option<(Prepared, Vec<SourceKey>)>, Unread> {
    let Known { links, others, ledger, decided, names, doubt } = known;
    let rules = &world.job.rules;
    let managed: BTreeSet<TargetKey> =
        links.groups.iter().map(|l| l.target.clone()).chain(ledger.groups.iter().map(|(g, _)| g.clone())).collect();
    let mut roster = SourceRosterBuilder::new();
    let mut out_of_scope: BTreeSet<SourceKey> = BTreeSet::new();
    let mut left_out: BTreeSet<SourceKey> = BTreeSet::new();
    for key in keys {
        let Some(subject) = proofs.user(key).await? else { continue };
        let about: BTreeSet<TargetKey> =
            subject.groups.iter().flat_map(|(_, name)| rules.groups.targets(name)).map(|t| group_key(&t)).collect();
        let counting = proofs.counting(Some(&subject), &about, rules).await?;
        roster.user(subject.user.clone());
        if !subject.in_scope {
            out_of_scope.insert(key.clone());
        }
        // What a group outside `groups.include` once gave is left alone, as in a whole run.
        left_out.extend(subject.groups.iter().filter(|(_, name)| !rules.groups.takes(name)).map(|(group, _)| group.clone()));
        for (group, name) in subject.groups.iter().filter(|(g, _)| subject.in_scope && counting.contains(g)) {
            roster.group(group.as_str(), name);
            roster.member(group.as_str(), key.as_str());
        }
    }
    let mut desired = desired(&roster.build(), rules);
    left_out.extend(desired.left_out);
    desired.left_out = left_out.into_iter().collect();
    for user in desired.users.iter_mut().filter(|u| out_of_scope.contains(&u.source) && u.standing != Standing::Disabled) {
        user.standing = Standing::OutOfScope;
    }
    for group in &mut desired.groups {
        let (members, via): (Vec<u32>, Vec<u32>) = group
            .members
            .iter()
            .zip(&group.via)
            .filter(|(m, _)| desired.users[**m as usize].standing == Standing::Entitled)
            .map(|(m, v)| (*m, *v))
            .unzip();
        (group.members, group.via) = (members, via);
    }
    let doors: Vec<&String> = capabilities.seats.iter().flat_map(|seats| &seats.groups).collect();
    let Some(actual) = read_target(side, &desired, links, &managed, &doors, capabilities.groups_writable).await? else {
        return Ok(None);
    };
    if actual.users.iter().any(|account| others.contains(&account.key)) {
        return Ok(None);
    }
    let own = own_ledger(ledger, &actual, links);
    // The same of a group that the user has left since.
    let is_wanted = |key: &TargetKey| desired.groups.iter().any(|g| g.key == *key && !g.members.is_empty());
    let owned = |key: &TargetKey| own.groups.binary_search_by(|(group, _)| group.cmp(key)).is_ok();
    let in_question = |link: &&GroupLink| owned(&link.target) && !is_wanted(&link.target);
    let in_question: Vec<SourceKey> = links.groups.iter().filter(in_question).map(|link| link.source.clone()).collect();
    // Of whoever is entitled to nothing everything is taken back, whatever it came from.
    let is_entitled = desired.users.iter().any(|user| user.standing == Standing::Entitled);
    for source in in_question.into_iter().filter(|_| is_entitled) {
        match proofs.group(&source).await {
            Ok(Some(group)) if !rules.groups.takes(&group.name) => desired.left_out.push(source),
            Ok(_) => {}
            Err(error) if matches!(error.fault, Fault::Refused | Fault::Limited { .. }) => return Err(error.into()),
            // A group that cannot be read keeps nobody waiting: what it once gave is left alone until a whole run.
            Err(_) => desired.left_out.push(source),
        }
    }
    desired.left_out.sort();
    desired.left_out.dedup();
    let inputs = Inputs {
        job: &world.job.name,
        target: &side.name,
        desired: &desired,
        actual: &actual,
        links,
        ledger: &own,
        rules,
        capabilities: &capabilities,
        now: world.clock.now(),
        partial: true,
    };
    let Draft { plan, mut effects } = diff(&inputs);
    if doubt.is_some() {
        keep_ownership(&mut effects);
    }
    // Worth saying only where it holds something.
    let blind = doubt.filter(|_| plan.changes.iter().any(|change| change.op.kind().removes()));
    if !plan.changes.iter().all(|change| is_known_name(&plan, &change.op, names)) {
        return Ok(None);
    }
    let mut circumstances = circumstances(world, side, &plan, &desired, links, &capabilities).await?;
    circumstances.blind = circumstances.blind.or_else(|| blind.clone());
    decided.tell_of_few(&mut circumstances, world.clock.now());
    let seating = Seating::of(&plan, &actual, &capabilities);
    let judged = judge(plan, &world.job.guard, &circumstances);
    let (confirmed, decided, links) = (Confirmed::default(), decided.clone(), links.clone());
    let prepared =
        Prepared { judged, confirmed, effects, capabilities, links, sizes: None, blind, is_stranger: false, decided, seating };
    Ok(Some((prepared, keys.to_vec())))
}

/// Whether an op gives nobody a name but the one that the last whole run found for them.
fn is_known_name(plan: &Plan, op: &Op, names: &BTreeMap<SourceKey, SmolStr>) -> bool {
    let (user, name) = match op {
        // An account that is found by its name is as good as given.
        Op::LinkUser { user } => (*user, &*plan.user(*user).name),
        op => match op.names() {
            Some(named) => named,
            None => return true,
        },
    };
    let Some(source) = &plan.user(user).source else { return true };
    names.get(source).is_some_and(|known| fold(known) == fold(name))
}

/// The guards' circumstances hold for retries as well. A store that cannot be read admits no removal, and where a guard looks
/// at groups as a whole they are read for it.
async fn circumstances(
    world: &World,
    side: &TargetSide,
    plan: &Plan,
    desired: &Desired,
    links: &Links,
    capabilities: &Capabilities,
) -> Result<Circumstances, ConnectorError> {
    let policy = &world.job.guard;
    let since = world.clock.now() - chrono::TimeDelta::hours(24);
    let recent = world.journal.removals_since(&side.name, since).await;
    let removes = plan.changes.iter().any(|c| c.op.kind().removes());
    let groups = if removes || concerns(plan, policy) { guarded(capabilities, policy) } else { Vec::new() };
    let guarded = match &groups[..] {
        [] => TargetRoster::default(),
        groups => {
            let groups = groups.iter().map(|g| g.as_str().into()).collect();
            side.target.fetch(&Wanted { groups, ..Wanted::default() }).await?
        }
    };
    let addresses = addresses(desired, policy);
    Ok(Circumstances {
        blind: recent.as_ref().err().map(ToString::to_string),
        acting_as: capabilities.acting_as.clone(),
        recent: recent.unwrap_or_default(),
        admins: admins(&guarded, &capabilities.admin_groups),
        members: expected_of(&guarded, policy, links, &addresses),
        addresses,
        strips: capabilities.deactivation == Deactivation::StripGroups,
        ..Circumstances::default()
    })
}
