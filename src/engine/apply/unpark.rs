//! Nobody is left under a parking name where it can be helped: when a swap or circle of user names breaks off, whoever was
//! parked is brought on to the wanted name or back to the former one, within the same run.
//!
//! A person whose account has a name of rosterd's own making cannot log in by any name they know, and the next try may be an
//! hour away. So what is half done is ended even where the run was told to stop: it is the change in hand.

use super::state::State;
use super::{Failure, Work, perform_one};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::JournalError;
use crate::model::change::{Change, Edit, Op, Reason};
use crate::model::desired::Attributes;
use crate::model::key::fold;
use crate::model::roster::UserIx;

/// Brings on or back whoever is still parked. What fails here is a failure like any other, and goes on the retry queue.
///
/// # Errors
/// Only the journal's.
pub(super) async fn unpark(work: &Work<'_>, state: &mut State<'_>) -> Result<(), JournalError> {
    let parked: Vec<Change> = state.renamed.iter().filter(|c| c.because == Reason::MakesRoom).cloned().collect();
    for park in parked.iter().rev() {
        let Some((user, _, parking)) = rename(park) else { continue };
        if state.names[user as usize] != parking.name || is_silenced(state) {
            continue;
        }
        if let Some(on) = onward(state, user) {
            // The failure before is superseded by what comes of this.
            let source = state.plan.user(user).source.clone();
            state.tally.failures.retain(|f| f.source != source);
            state.broken_users.remove(&user);
            perform_one(work, state, &on).await?;
            continue;
        }
        for step in back(state, park) {
            let gave_up = rename(&step).filter(|(u, ..)| *u != user).map(|(_, held, _)| held.name.clone());
            if !perform_one(work, state, &step).await? {
                break;
            }
            // The former name is held again, whoever was to have it.
            if let Some((user, ..)) = rename(&step) {
                state.kept_names.insert(fold(&state.names[user as usize]));
            }
            if let Some(name) = gave_up {
                told_back(work, state, &step, &name);
            }
        }
    }
    Ok(())
}

/// Who is renamed by a change, from what to what.
fn rename(change: &Change) -> Option<(UserIx, &Attributes, &Attributes)> {
    match &change.op {
        Op::UpdateUser { user, edit } => Some((*user, &edit.before, &edit.after)),
        Op::LinkUser { .. }
        | Op::CreateGroup { .. }
        | Op::CreateUser { .. }
        | Op::ActivateUser { .. }
        | Op::AddMember { .. }
        | Op::RemoveMember { .. }
        | Op::DeactivateUser { .. }
        | Op::DeleteUser { .. } => None,
    }
}

/// Whether nothing more may be sent: a refused credential is not tried again, and an empty bucket not asked.
fn is_silenced(state: &State<'_>) -> bool {
    let stopped = state.tally.stopped.as_ref().and_then(Option::as_ref);
    stopped.is_some_and(|error| matches!(error.fault, Fault::Refused | Fault::Limited { .. }))
}

fn holder(state: &State<'_>, name: &str) -> Option<UserIx> {
    state.names.iter().position(|held| fold(held) == fold(name)).map(|u| u as UserIx)
}

/// The last step of a parked user, if it can still be made: its name is free, and the target has not refused it.
fn onward(state: &State<'_>, user: UserIx) -> Option<Change> {
    let last = state.plan.changes.iter().rev().find(|c| rename(c).is_some_and(|(u, ..)| u == user))?;
    let (_, _, after) = rename(last)?;
    (holder(state, &after.name).is_none() && !state.refused_users.contains(&user)).then(|| last.clone())
}

/// The steps that give a parked user the former name, in the order in which they are made: whoever has got that name since
/// goes back first. None if somebody has it who did not get it in this run.
fn back(state: &State<'_>, park: &Change) -> Vec<Change> {
    let mut steps: Vec<Change> = Vec::new();
    let mut undone = park;
    loop {
        let Some((user, before, after)) = rename(undone) else { return Vec::new() };
        let edit = Edit { before: after.clone(), after: before.clone() };
        let op = Op::UpdateUser { user, edit: Box::new(edit) };
        steps.push(Change { op, because: Reason::MakesRoom });
        let Some(holder) = holder(state, &before.name) else {
            steps.reverse();
            return steps;
        };
        let got = |c: &&Change| rename(c).is_some_and(|(u, _, now)| u == holder && now.name == state.names[u as usize]);
        match state.renamed.iter().rev().find(got) {
            Some(rename) if steps.len() <= state.renamed.len() => undone = rename,
            Some(_) | None => return Vec::new(),
        }
    }
}

/// Whoever had to give a name up again is not done, and is tried again with the one for whom it was.
fn told_back(work: &Work<'_>, state: &mut State<'_>, step: &Change, name: &str) {
    let Some((user, ..)) = rename(step) else { return };
    let why = "the circle of renames broke off, so that everybody in it has the former name again";
    let doing = format!("leave the name {name:?} with the user who was to have it");
    let error = ConnectorError::new(&work.side.name, doing, Fault::Conflict, why);
    state.broken_users.insert(user);
    state.tally.failures.push(Failure { source: state.plan.user(user).source.clone(), error });
}
