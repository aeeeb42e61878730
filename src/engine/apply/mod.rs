//! Apply: one unit of work after the other, intended before the call and settled after it, so that a process that dies at
//! any instruction leaves a journal that tells what was done.
//!
//! Changes are performed kind by kind in the plan's order. Within a kind a few run side by side; a chunk of them is
//! intended in one transaction and settled in one. Each transaction is a flush of the disk, for which the target need not
//! wait: while the calls of a chunk are under way, the outcomes of the one before and the intents of the next are written.

mod call;
mod patience;
mod state;
mod unpark;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::call::{call, call_one};
use self::patience::Patience;
use self::state::State;
use self::unpark::unpark;
use super::newcomers::Newcomers;
use super::prepare::TargetSide;
use super::progress::Board;
use crate::contract::clock::Clock;
use crate::contract::fault::ConnectorError;
use crate::contract::journal::{Intent, IntentId, Journal, JournalError, Settlement};
use crate::contract::target::Capabilities;
use crate::model::change::{Change, Op, OpKind};
use crate::model::key::{RunId, SourceKey};
use crate::model::link::Links;
use crate::model::plan::Plan;
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
    pub journal: &'a Arc<dyn Journal>,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// What the target can do.
    pub capabilities: &'a Capabilities,
    /// The links before.
    pub links: &'a Links,
    /// Whose account is new.
    pub newcomers: &'a Newcomers,
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
    /// Changes that failed.
    pub failures: Vec<Failure>,
    /// Changes that were not begun.
    pub left: u64,
    /// Why nothing more was begun, if so: the fault that stopped the target, or none for a stop from outside.
    pub stopped: Option<Option<ConnectorError>>,
}

/// One call: a change, or several additions to one group.
struct Unit {
    changes: Vec<usize>,
}

/// What became of a chunk and is not written yet.
#[derive(Default)]
struct Outcomes {
    settlements: Vec<Settlement>,
    /// What each of them is about.
    kinds: Vec<OpKind>,
    /// The marks of approved changes that were made.
    used: Vec<String>,
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
    let mut state = State::new(admitted, work.links, work.newcomers);
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
    matches!(&plan.changes[at].op, Op::UpdateUser { edit, .. } if edit.before.name != edit.after.name)
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
    let mut outcomes = Outcomes::default();
    let first = state.ready(work, &mut units, pace.chunk);
    let mut chunk = intend(work, state, first).await?;
    while !chunk.units.is_empty() {
        let next = if pace.ahead { state.ready(work, &mut units, pace.chunk) } else { Vec::new() };
        let Intended { units: under_way, ids } = chunk;
        let ((answers, standing), intended, settled) = tokio::join!(
            call(work, state, patience, under_way, pace.at_once),
            intend(work, state, next),
            settle(work, state, &outcomes),
        );
        if settled.is_ok() {
            outcomes = Outcomes::default();
        }
        state.note(patience, answers, &ids, &mut outcomes);
        if !pace.ahead || intended.is_err() || settled.is_err() || standing.is_err() {
            // Whatever else cannot be written: what is known is.
            settle(work, state, &outcomes).await?;
            outcomes = Outcomes::default();
        }
        settled?;
        standing?;
        chunk = match pace.ahead {
            true => intended?,
            false => {
                let next = state.ready(work, &mut units, pace.chunk);
                intend(work, state, next).await?
            }
        };
    }
    settle(work, state, &outcomes).await
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

/// Writes outcomes, and ends the approvals that were used: each lets its change through once.
async fn settle(work: &Work<'_>, state: &State<'_>, outcomes: &Outcomes) -> Result<(), JournalError> {
    let Outcomes { settlements, kinds, used } = outcomes;
    if settlements.is_empty() {
        return Ok(());
    }
    let now = work.clock.now();
    work.journal.settle(&work.side.name, settlements, now).await?;
    for (kind, settlement) in kinds.iter().zip(settlements) {
        work.board.changed(&work.side.name, *kind, settlement.outcome.word());
    }
    work.journal.undecide(&state.plan.job, &work.side.name, used, now).await
}

/// Makes one change that the plan does not hold as it is, on its own: intended before and settled after like any other.
/// Returns whether it was made.
async fn perform_one(work: &Work<'_>, state: &mut State<'_>, change: &Change) -> Result<bool, JournalError> {
    let target = &work.side.name;
    let ids = work.journal.intend(work.run, target, &[state.intent(change)], work.clock.now()).await?;
    let answer = call_one(work, state, change, false).await;
    let made = answer.is_ok();
    let settlements: Vec<Settlement> =
        ids.into_iter().zip([answer]).map(|(id, answer)| state.settle(change, id, answer)).collect();
    work.journal.settle(target, &settlements, work.clock.now()).await?;
    settlements.iter().for_each(|settlement| work.board.changed(target, change.op.kind(), settlement.outcome.word()));
    Ok(made)
}
