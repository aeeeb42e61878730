//! Apply: one unit of work after the other, intended before the call and settled after it, so that a process that dies at
//! any instruction leaves a journal that tells what was done.
//!
//! Changes are performed kind by kind in the plan's order. Within a kind a few run side by side; a chunk of them is
//! intended in one transaction and settled in one. Each transaction is a flush of the disk, for which the target need not
//! wait: while the calls of a chunk are under way, the outcomes of the one before and the intents of the next are written.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use super::prepare::TargetSide;
use super::progress::Board;
use super::unpark::unpark;
use crate::contract::clock::Clock;
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::{Effect, Intent, IntentId, Journal, JournalError, Outcome, Settlement};
use crate::contract::target::{Act, Applied, Capabilities, Holds, Who};
use crate::model::change::{Change, Op, OpKind, Reason};
use crate::model::key::{RunId, SourceKey, SystemName, TargetKey, fold, group_key};
use crate::model::link::{GroupLink, Links, UserLink, email_mark};
use crate::model::plan::Plan;
use crate::model::roster::{GroupIx, UserIx};
use crate::reconcile::guard::Admitted;

/// Changes that are intended and settled together, or a unit more.
const CHUNK: usize = 256;
/// The same of removals, none of which is intended ahead: what a process that dies leaves open is not counted against the
/// day's limits.
const REMOVALS: usize = 32;

/// How a stretch of changes is performed.
#[derive(Clone, Copy)]
struct Pace {
    /// Changes that are intended and settled together.
    chunk: usize,
    /// Units under way at once.
    at_once: usize,
    /// Whether a chunk is intended while the one before is under way.
    ahead: bool,
}

/// What an apply needs.
pub struct Work<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The target.
    pub side: &'a TargetSide,
    /// The journal.
    pub journal: &'a dyn Journal,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// What the target can do.
    pub capabilities: &'a Capabilities,
    /// The links before.
    pub links: &'a Links,
    /// Says to start nothing more.
    pub stop: &'a CancellationToken,
    /// Progress.
    pub board: &'a Board,
}

/// A change that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose, if it is about one source user.
    pub source: Option<SourceKey>,
    /// What happened.
    pub error: ConnectorError,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Tally {
    /// Changes made (or found already so), by kind.
    pub done: BTreeMap<OpKind, u64>,
    /// The positions of these in the plan.
    pub made: Vec<usize>,
    /// Changes that failed.
    pub failures: Vec<Failure>,
    /// Changes that were not begun.
    pub left: u64,
    /// Why nothing more was begun, if so: the fault that stopped the target, or none for a stop from outside.
    pub stopped: Option<Option<ConnectorError>>,
}

/// Users and groups as they are in the course of applying.
pub(super) struct State<'a> {
    admitted: &'a Admitted,
    pub(super) plan: &'a Plan,
    pub(super) names: Vec<Box<str>>,
    keys: Vec<Option<TargetKey>>,
    /// The links before, and those that this apply has written.
    links: &'a Links,
    written: BTreeMap<SourceKey, UserLink>,
    pub(super) broken_users: BTreeSet<UserIx>,
    broken_groups: BTreeSet<GroupIx>,
    /// The folded names of users whose renames failed: nobody gets such a name in this apply.
    kept_names: BTreeSet<String>,
    /// Users whose changes the target will not make, now or later.
    pub(super) refused_users: BTreeSet<UserIx>,
    /// The renames that were made, in order.
    pub(super) renamed: Vec<Change>,
    pub(super) tally: Tally,
}

/// One call: a change, or several additions to one group.
struct Unit {
    changes: Vec<usize>,
}

/// Units whose intents are written.
#[derive(Default)]
struct Intended {
    units: Vec<Unit>,
    ids: BTreeMap<usize, IntentId>,
}

/// Performs what was admitted.
///
/// # Errors
/// Only the journal's: whatever the target does is in the tally.
pub async fn apply(work: &Work<'_>, admitted: &Admitted) -> Result<Tally, JournalError> {
    let plan = admitted.plan();
    let mut state = State {
        admitted,
        plan,
        names: plan.users.iter().map(|u| u.name.clone()).collect(),
        keys: plan.users.iter().map(|u| u.key.clone()).collect(),
        links: work.links,
        written: BTreeMap::new(),
        broken_users: BTreeSet::new(),
        broken_groups: BTreeSet::new(),
        kept_names: BTreeSet::new(),
        refused_users: BTreeSet::new(),
        renamed: Vec::new(),
        tally: Tally::default(),
    };
    let mut by_kind: BTreeMap<OpKind, Vec<usize>> = BTreeMap::new();
    for (at, change) in admitted.changes() {
        by_kind.entry(change.op.kind()).or_default().push(at);
    }
    let patience = Patience::default();
    for (kind, changes) in by_kind {
        for stretch in changes.chunk_by(|a, b| renames(plan, *a) == renames(plan, *b)) {
            let pace = pace(kind, renames(plan, stretch[0]), work.capabilities.writes_at_once.max(1));
            let units = units(plan, kind, stretch, work.capabilities.adds_per_call.max(1));
            perform(work, &mut state, &patience, units, pace).await?;
        }
        if kind == OpKind::UpdateUser {
            unpark(work, &mut state).await?;
        }
    }
    Ok(state.tally)
}

fn pace(kind: OpKind, renames: bool, at_once: usize) -> Pace {
    match (renames, kind.removes()) {
        // Renames depend on each other in the plan's order.
        (true, _) => Pace { chunk: 1, at_once: 1, ahead: false },
        (false, true) => Pace { chunk: REMOVALS, at_once, ahead: false },
        (false, false) => Pace { chunk: CHUNK, at_once, ahead: true },
    }
}

/// Whether a change gives a user another name.
fn renames(plan: &Plan, at: usize) -> bool {
    matches!(&plan.changes[at].op, Op::UpdateUser { before, after, .. } if before.name != after.name)
}

/// Splits changes of one kind into calls.
fn units(plan: &Plan, kind: OpKind, changes: &[usize], adds_per_call: usize) -> Vec<Unit> {
    if kind != OpKind::AddMember || adds_per_call == 1 {
        return changes.iter().map(|at| Unit { changes: vec![*at] }).collect();
    }
    let mut units: Vec<Unit> = Vec::new();
    for at in changes.iter().copied() {
        let group = plan.changes[at].op.group();
        match units.last_mut() {
            Some(unit) if unit.changes.len() < adds_per_call && plan.changes[unit.changes[0]].op.group() == group => {
                unit.changes.push(at)
            }
            Some(_) | None => units.push(Unit { changes: vec![at] }),
        }
    }
    units
}

/// Intends, calls and settles units, chunk after chunk.
async fn perform(
    work: &Work<'_>,
    state: &mut State<'_>,
    patience: &Patience,
    units: Vec<Unit>,
    pace: Pace,
) -> Result<(), JournalError> {
    let mut units = units.into_iter();
    let mut settlements: Vec<Settlement> = Vec::new();
    let first = state.ready(work, &mut units, pace.chunk);
    let mut chunk = intend(work, state, first).await?;
    while !chunk.units.is_empty() {
        let next = if pace.ahead { state.ready(work, &mut units, pace.chunk) } else { Vec::new() };
        let Intended { units: under_way, ids } = chunk;
        let (answers, intended, settled) = tokio::join!(
            call(work, state, patience, under_way, pace.at_once),
            intend(work, state, next),
            settle(work, &settlements),
        );
        settlements = state.settlements(patience, answers, &ids);
        if !pace.ahead || intended.is_err() || settled.is_err() {
            // Whatever else cannot be written: what is known is.
            settle(work, &settlements).await?;
            settlements.clear();
        }
        settled?;
        chunk = match pace.ahead {
            true => intended?,
            false => {
                let next = state.ready(work, &mut units, pace.chunk);
                intend(work, state, next).await?
            }
        };
    }
    settle(work, &settlements).await
}

async fn intend(work: &Work<'_>, state: &State<'_>, units: Vec<Unit>) -> Result<Intended, JournalError> {
    let positions: Vec<usize> = units.iter().flat_map(|u| u.changes.iter().copied()).collect();
    if positions.is_empty() {
        return Ok(Intended::default());
    }
    let intent =
        |at: &usize| Intent { let_by: state.admitted.let_by(*at).map(str::to_owned), ..state.intent(&state.plan.changes[*at]) };
    let intents: Vec<Intent> = positions.iter().map(intent).collect();
    let ids = work.journal.intend(work.run, &work.side.name, &intents, work.clock.now()).await?;
    Ok(Intended { units, ids: positions.into_iter().zip(ids).collect() })
}

async fn settle(work: &Work<'_>, settlements: &[Settlement]) -> Result<(), JournalError> {
    if settlements.is_empty() {
        return Ok(());
    }
    work.journal.settle(&work.side.name, settlements, work.clock.now()).await
}

/// A change, by its place in the plan, and what it came to.
type Answer = (usize, Result<Answered, ConnectorError>);

/// Calls a chunk of units, a few at once; the answers come in the units' order.
async fn call(work: &Work<'_>, state: &State<'_>, patience: &Patience, units: Vec<Unit>, at_once: usize) -> Vec<Answer> {
    let calls: Vec<_> = units
        .into_iter()
        .map(|unit| async move {
            let answers = call_unit(work, state, patience, unit).await;
            work.board.step(&work.side.name, answers.len());
            answers
        })
        .collect();
    let answers: Vec<Vec<Answer>> = futures::stream::iter(calls).buffered(at_once).collect().await;
    answers.into_iter().flatten().collect()
}

/// Makes one change that the plan does not hold as it is, on its own: intended before and settled after like any other.
/// Returns whether it was made.
pub(super) async fn perform_one(work: &Work<'_>, state: &mut State<'_>, change: &Change) -> Result<bool, JournalError> {
    let target = &work.side.name;
    let ids = work.journal.intend(work.run, target, &[state.intent(change)], work.clock.now()).await?;
    let answer = call_one(work, state, change).await;
    let made = answer.is_ok();
    let settlements: Vec<Settlement> =
        ids.into_iter().zip([answer]).map(|(id, answer)| state.settle(change, id, answer)).collect();
    work.journal.settle(target, &settlements, work.clock.now()).await?;
    Ok(made)
}

/// What a change came to.
enum Answered {
    Done(Applied),
    AlreadySo(Applied),
    Skipped,
}

/// Calls a unit, unless nothing more is to be begun: whoever is under way ends, whoever is not does not begin.
async fn call_unit(work: &Work<'_>, state: &State<'_>, patience: &Patience, unit: Unit) -> Vec<Answer> {
    if work.stop.is_cancelled() || patience.lost().is_some() {
        return unit.changes.into_iter().map(|at| (at, Ok(Answered::Skipped))).collect();
    }
    let answers = try_unit(work, state, unit).await;
    for (_, answer) in &answers {
        match answer {
            Ok(_) => patience.answered(),
            Err(error) => patience.failed(error),
        }
    }
    answers
}

async fn try_unit(work: &Work<'_>, state: &State<'_>, unit: Unit) -> Vec<Answer> {
    if let [at] = unit.changes[..] {
        return vec![(at, call_one(work, state, &state.plan.changes[at]).await)];
    }
    let who: Vec<Who<'_>> = unit.changes.iter().filter_map(|at| state.who(&state.plan.changes[*at].op)).collect();
    let group = state.plan.changes[unit.changes[0]].op.group().map(|g| &*state.plan.group(g).name).unwrap_or_default();
    match work.side.target.apply(Act::AddMembers { group, users: &who }).await {
        Ok(_) => unit.changes.into_iter().map(|at| (at, Ok(Answered::Done(Applied::default())))).collect(),
        Err(error)
            if matches!(error.fault.disposition(), Disposition::StopSystem) || matches!(error.fault, Fault::Limited { .. }) =>
        {
            unit.changes.into_iter().map(|at| (at, Err(error.clone()))).collect()
        }
        // A list may have been taken in part: go through it one by one, so that one bad name stops nobody.
        Err(_) => {
            let mut answers = Vec::with_capacity(unit.changes.len());
            for at in unit.changes {
                answers.push((at, call_one(work, state, &state.plan.changes[at]).await));
            }
            answers
        }
    }
}

async fn call_one(work: &Work<'_>, state: &State<'_>, change: &Change) -> Result<Answered, ConnectorError> {
    let op = &change.op;
    let who: Vec<Who<'_>> = state.who(op).into_iter().collect();
    let Some(act) = state.act(op, &who) else { return Ok(Answered::Done(Applied::default())) };
    let error = match work.side.target.apply(act).await {
        Ok(applied) => return Ok(Answered::Done(applied)),
        Err(error) => error,
    };
    let unknown = error.fault.effect_unknown();
    if !unknown && error.fault.disposition() != Disposition::Replan {
        return Err(error);
    }
    match work.side.target.holds(act).await {
        // An account of this name that we did not make may be a stranger's: whose it is, correlation decides.
        Ok(Holds::Yes(_)) if matches!(op, Op::CreateUser { .. }) && !unknown => Err(error),
        Ok(Holds::Yes(created)) => Ok(Answered::AlreadySo(Applied { created, left_groups: error.left_groups().to_vec() })),
        Ok(Holds::No) | Err(_) => Err(error),
    }
}

impl State<'_> {
    /// Takes the next units that can be performed, until they have so many changes. What cannot is left.
    fn ready(&mut self, work: &Work<'_>, units: &mut impl Iterator<Item = Unit>, most: usize) -> Vec<Unit> {
        let (mut ready, mut taken) = (Vec::new(), 0);
        while taken < most
            && let Some(mut unit) = units.next()
        {
            let before = unit.changes.len();
            if self.tally.stopped.is_none() && work.stop.is_cancelled() {
                self.tally.stopped = Some(None);
            }
            if self.tally.stopped.is_some() {
                unit.changes.clear();
            }
            unit.changes.retain(|at| self.can_do(&self.plan.changes[*at].op));
            if let [at] = unit.changes[..]
                && let Some(error) = self.name_is_kept(&work.side.name, &self.plan.changes[at].op)
            {
                self.fail(&self.plan.changes[at], error);
                work.board.step(&work.side.name, 1);
                continue;
            }
            self.tally.left += (before - unit.changes.len()) as u64;
            taken += unit.changes.len();
            if !unit.changes.is_empty() {
                ready.push(unit);
            }
        }
        ready
    }

    /// Whether what the op builds on came about.
    fn can_do(&self, op: &Op) -> bool {
        let user_fine = op.user().is_none_or(|u| {
            let exists = self.keys[u as usize].is_some() || matches!(op, Op::CreateUser { .. });
            exists && !self.broken_users.contains(&u)
        });
        user_fine && op.group().is_none_or(|g| !self.broken_groups.contains(&g))
    }

    /// Why a user cannot be given a name, if whoever was to give it up keeps it.
    fn name_is_kept(&self, target: &SystemName, op: &Op) -> Option<ConnectorError> {
        let Op::UpdateUser { user, after, .. } = op else { return None };
        let held = &self.names[*user as usize];
        if fold(held) == fold(&after.name) || !self.kept_names.contains(&fold(&after.name)) {
            return None;
        }
        let doing = format!("rename the user {held:?} to {:?}", after.name);
        Some(ConnectorError::new(target, doing, Fault::Conflict, "the rename that was to free that name failed"))
    }

    fn who(&self, op: &Op) -> Option<Who<'_>> {
        let user = op.user()? as usize;
        Some(Who { key: self.keys[user].as_ref()?, name: &self.names[user] })
    }

    /// The call for an op; `None` if it needs none.
    fn act<'b>(&'b self, op: &'b Op, who: &'b [Who<'b>]) -> Option<Act<'b>> {
        let user = || who.first().copied();
        let group = |g: &GroupIx| &*self.plan.group(*g).name;
        Some(match op {
            Op::LinkUser { .. } => return None,
            Op::CreateGroup { group: g } => Act::CreateGroup { name: group(g) },
            Op::UpdateUser { before, after, .. } => Act::UpdateUser { user: user()?, before, after },
            Op::CreateUser { attributes, .. } => Act::CreateUser { attributes },
            Op::ActivateUser { .. } => Act::ActivateUser { user: user()? },
            Op::AddMember { group: g, .. } => Act::AddMembers { group: group(g), users: who },
            Op::RemoveMember { group: g, .. } => Act::RemoveMember { group: group(g), user: user()? },
            Op::DeactivateUser { .. } => Act::DeactivateUser { user: user()? },
            Op::DeleteUser { .. } => Act::DeleteUser { user: user()? },
        })
    }

    fn intent(&self, change: &Change) -> Intent {
        let Change { op, because } = change;
        let user = op.user().map(|u| u as usize);
        let (before, after) = match op {
            Op::UpdateUser { before, after, .. } => (Some((**before).clone()), Some((**after).clone())),
            Op::CreateUser { attributes, .. } => (None, Some((**attributes).clone())),
            Op::LinkUser { .. }
            | Op::CreateGroup { .. }
            | Op::ActivateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => (None, None),
        };
        Intent {
            kind: op.kind(),
            source: user.and_then(|u| self.plan.users[u].source.clone()),
            user: user.and_then(|u| self.keys[u].clone()),
            user_name: user.map(|u| self.names[u].clone()),
            group: op.group().map(|g| self.plan.group(g).name.clone()),
            before,
            after,
            because: *because,
            let_by: None,
        }
    }

    /// The outcomes of a chunk.
    fn settlements(&mut self, patience: &Patience, answers: Vec<Answer>, ids: &BTreeMap<usize, IntentId>) -> Vec<Settlement> {
        if let Some(cause) = patience.lost() {
            self.tally.stopped.get_or_insert_with(|| Some(cause.clone()));
        }
        let mut settlements = Vec::with_capacity(answers.len());
        for (at, answer) in answers {
            let settlement = self.settle(&self.plan.changes[at], ids[&at], answer);
            if matches!(settlement.outcome, Outcome::Done | Outcome::AlreadySo) {
                self.tally.made.push(at);
            }
            settlements.push(settlement);
        }
        settlements
    }

    fn settle(&mut self, change: &Change, intent: IntentId, answer: Result<Answered, ConnectorError>) -> Settlement {
        let kind = change.op.kind();
        let mut effects = Vec::new();
        let mut left_groups = Vec::new();
        let (outcome, applied) = match answer {
            Ok(Answered::Done(applied)) => (Outcome::Done, Some(applied)),
            Ok(Answered::AlreadySo(applied)) => (Outcome::AlreadySo, Some(applied)),
            Ok(Answered::Skipped) => {
                self.tally.left += 1;
                self.tally.stopped.get_or_insert(None);
                (Outcome::Skipped, None)
            }
            Err(error) => {
                let outcome = Outcome::Failed { fault: error.fault.word().to_owned(), why: error.to_string() };
                // What was done before it failed is done.
                left_groups = error.left_groups().to_vec();
                effects = self.disown_left(&change.op, &left_groups);
                self.fail(change, error);
                (outcome, None)
            }
        };
        if let Some(applied) = applied {
            *self.tally.done.entry(kind).or_default() += 1;
            effects = self.effects(change, &applied);
            left_groups = applied.left_groups;
        }
        Settlement { intent, outcome, left_groups, effects }
    }

    fn fail(&mut self, change: &Change, error: ConnectorError) {
        let op = &change.op;
        match op {
            Op::CreateGroup { group } => {
                self.broken_groups.insert(*group);
            }
            Op::UpdateUser { user, after, .. } => {
                let held = fold(&self.names[*user as usize]);
                if held != fold(&after.name) {
                    self.kept_names.insert(held);
                }
                if !matches!(error.fault.disposition(), Disposition::RetryLater { .. }) {
                    self.refused_users.insert(*user);
                }
                self.broken_users.insert(*user);
            }
            Op::CreateUser { user, .. } | Op::LinkUser { user } => {
                self.broken_users.insert(*user);
            }
            Op::ActivateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => {}
        }
        // A change made on its own is nobody's chunk: that the target is to be left alone is noted here as well.
        if matches!(error.fault, Fault::Refused | Fault::Limited { .. }) {
            self.tally.stopped.get_or_insert(Some(error.clone()));
        }
        let source = op.user().and_then(|u| self.plan.user(u).source.clone());
        self.tally.failures.push(Failure { source, error });
    }

    /// What a change that was made changes in links and ledger, and in the state of this apply.
    fn effects(&mut self, change: &Change, applied: &Applied) -> Vec<Effect> {
        let Change { op, because } = change;
        match op {
            Op::LinkUser { user } => self.link(*user, None),
            Op::CreateUser { user, attributes } => {
                let Some(created) = &applied.created else { return Vec::new() };
                self.keys[*user as usize] = Some(created.key.clone());
                self.names[*user as usize] = created.name.clone();
                self.link(*user, attributes.email.as_deref())
            }
            Op::UpdateUser { user, after, .. } => {
                let held = std::mem::replace(&mut self.names[*user as usize], after.name.clone());
                if fold(&held) != fold(&after.name) {
                    self.kept_names.remove(&fold(&held));
                    self.renamed.push(change.clone());
                }
                self.link(*user, after.email.as_deref())
            }
            Op::CreateGroup { group } => {
                let Reason::Mapped { source } = because else { return Vec::new() };
                let group = self.plan.group(*group);
                let source = self.plan.sources[*source as usize].key.clone();
                vec![Effect::LinkGroup(GroupLink { source, target: group.key.clone(), name: group.name.clone() })]
            }
            Op::AddMember { group, user } => self.membership(*group, *user, |group, user| Effect::Own { group, user }),
            Op::RemoveMember { group, user } => self.membership(*group, *user, |group, user| Effect::Disown { group, user }),
            Op::DeleteUser { user } => {
                let user = self.plan.user(*user);
                let (Some(source), Some(target)) = (user.source.clone(), user.key.clone()) else { return Vec::new() };
                vec![Effect::UnlinkUser { source, target }]
            }
            Op::DeactivateUser { .. } => self.disown_left(op, &applied.left_groups),
            Op::ActivateUser { .. } => Vec::new(),
        }
    }

    /// Where deactivation takes a user out of groups, nothing of these is owned any more.
    fn disown_left(&self, op: &Op, left: &[String]) -> Vec<Effect> {
        let Some(user) = op.user().and_then(|u| self.keys[u as usize].as_ref()) else { return Vec::new() };
        left.iter().map(|group| Effect::Disown { group: group_key(group), user: user.clone() }).collect()
    }

    fn membership(&self, group: GroupIx, user: UserIx, effect: impl FnOnce(TargetKey, TargetKey) -> Effect) -> Vec<Effect> {
        self.keys[user as usize].clone().map(|user| effect(self.plan.group(group).key.clone(), user)).into_iter().collect()
    }

    fn link(&mut self, user: UserIx, email: Option<&str>) -> Vec<Effect> {
        let (Some(source), Some(target)) = (self.plan.user(user).source.clone(), self.keys[user as usize].clone()) else {
            return Vec::new();
        };
        let before = self.written.get(&source).or_else(|| self.links.user(&source)).filter(|l| l.target == target);
        let mark = email.map(|e| email_mark(&source, e)).or(before.and_then(|l| l.email_mark));
        // Only of entitled users is an account linked, made or changed: whoever was leaving has returned, and the links that
        // this apply began with do not know it yet.
        let link = UserLink {
            source: source.clone(),
            target,
            name: self.names[user as usize].clone(),
            email_mark: mark,
            leaving_since: None,
            last_asked: None,
        };
        self.written.insert(source, link.clone());
        vec![Effect::LinkUser(Box::new(link))]
    }
}
