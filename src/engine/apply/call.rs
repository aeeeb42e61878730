//! The calls of an apply: what a change came to, where need be by asking the target what it holds.

use std::sync::OnceLock;

use futures::StreamExt;

use super::patience::Patience;
use super::state::State;
use super::{Unit, Work};
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::JournalError;
use crate::contract::permit;
use crate::contract::target::{Act, Applied, Holds, Who};
use crate::model::change::{Change, Op};

/// A change, by its place in the plan, and what it came to.
pub(super) type Answer = (usize, Result<Answered, ConnectorError>);

/// Calls a chunk of units, a few at once; the answers come in the units' order. Fails once the journal says that somebody
/// else is at work: what was answered until then is told beside it.
pub(super) async fn call(
    work: &Work<'_>,
    state: &State<'_>,
    patience: &Patience,
    units: Vec<Unit>,
    at_once: usize,
) -> (Vec<Answer>, Result<(), JournalError>) {
    let lost = OnceLock::new();
    let calls: Vec<_> = units
        .into_iter()
        .map(|unit| async {
            let answers = call_unit(work, state, patience, &lost, unit).await;
            work.board.step(&work.side.name, answers.len());
            answers
        })
        .collect();
    let answers: Vec<Vec<Answer>> = futures::stream::iter(calls).buffered(at_once).collect().await;
    (answers.into_iter().flatten().collect(), lost.into_inner().map_or(Ok(()), Err))
}

/// What a change came to.
pub(super) enum Answered {
    /// It was made.
    Done(Applied),
    /// Somebody else had made it.
    AlreadySo(Applied),
    /// It was not begun.
    Skipped,
}

/// Calls a unit, unless nothing more is to be begun: whoever is under way ends, whoever is not does not begin.
async fn call_unit(
    work: &Work<'_>,
    state: &State<'_>,
    patience: &Patience,
    lost: &OnceLock<JournalError>,
    unit: Unit,
) -> Vec<Answer> {
    if is_over(work, patience, lost).await {
        return unit.changes.into_iter().map(|at| (at, Ok(Answered::Skipped))).collect();
    }
    if let [at] = unit.changes[..] {
        let answer = call_one(work, state, &state.plan.changes[at], false).await;
        note(patience, &answer);
        return vec![(at, answer)];
    }
    let who: Vec<Who<'_>> = unit.changes.iter().filter_map(|at| state.who(&state.plan.changes[*at].op)).collect();
    let group = state.plan.changes[unit.changes[0]].op.group().map(|g| &*state.plan.group(g).name).unwrap_or_default();
    match permit::under(work.journal, work.side.target.apply(Act::AddMembers { group, users: &who })).await {
        Ok(applied) => {
            patience.answered();
            let each = || Applied { request: applied.request.clone(), ..Applied::default() };
            unit.changes.into_iter().map(|at| (at, Ok(Answered::Done(each())))).collect()
        }
        Err(error)
            if matches!(error.fault.disposition(), Disposition::StopSystem) || matches!(error.fault, Fault::Limited { .. }) =>
        {
            patience.failed(&error);
            unit.changes.into_iter().map(|at| (at, Err(error.clone()))).collect()
        }
        // A list may have been taken in part: go through it one by one, so that one bad name stops nobody.
        Err(list) => {
            let mut answers = Vec::with_capacity(unit.changes.len());
            for at in unit.changes {
                if is_over(work, patience, lost).await {
                    // Whoever was named in a list of which nobody knows how far it came is not one who was never named.
                    let rest = if list.fault.effect_unknown() { Err(list.clone()) } else { Ok(Answered::Skipped) };
                    answers.push((at, rest));
                    continue;
                }
                let answer = call_one(work, state, &state.plan.changes[at], true).await;
                note(patience, &answer);
                answers.push((at, answer));
            }
            answers
        }
    }
}

/// Whether nothing more is to be begun.
async fn is_over(work: &Work<'_>, patience: &Patience, lost: &OnceLock<JournalError>) -> bool {
    if work.stop.is_cancelled() || patience.lost().is_some() || lost.get().is_some() {
        return true;
    }
    // A process that was stopped for a while wakes up in the middle of a chunk that was intended long ago.
    work.journal.standing().await.map_err(|error| lost.set(error)).is_err()
}

fn note(patience: &Patience, answer: &Result<Answered, ConnectorError>) {
    match answer {
        Ok(_) => patience.answered(),
        Err(error) => patience.failed(error),
    }
}

/// Makes one change. `tried`: an earlier call may have made it already.
pub(super) async fn call_one(
    work: &Work<'_>,
    state: &State<'_>,
    change: &Change,
    tried: bool,
) -> Result<Answered, ConnectorError> {
    let op = &change.op;
    let who: Vec<Who<'_>> = state.who(op).into_iter().collect();
    let Some(act) = state.act(op, &who) else { return Ok(Answered::Done(Applied::default())) };
    let error = match permit::under(work.journal, work.side.target.apply(act)).await {
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
        // Nor is it ours if it is known to be another's: somebody was faster with the name.
        Ok(Holds::Yes(Some(created))) if state.is_anothers(op, &created) => Err(error),
        Ok(Holds::Yes(created)) => {
            let applied =
                Applied { created, left_groups: error.left_groups().to_vec(), request: error.request_id().map(Into::into) };
            // What may have been this run's doing counts as such: an undo takes it back.
            Ok(if unknown || tried { Answered::Done(applied) } else { Answered::AlreadySo(applied) })
        }
        Ok(Holds::No) | Err(_) => Err(error),
    }
}
