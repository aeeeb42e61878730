//! A fault of rosterd itself (a panic): the end of the run that met it, and of nothing beside.

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::perform::{Tools, retry};
use super::prepare::TargetSide;
use super::run::{World, failed_end};
use super::tell;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::{JournalError, RunEnd};
use crate::model::retry::Retry;

/// A fault of rosterd itself was met. What it said went to the error stream, and is not repeated: nobody knows what is in it.
pub(super) struct Panicked;

/// A panic within one run is the end of that run, not of whatever runs beside it.
pub(super) async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    // Whatever the work had in hand is dropped with it, and what is shared is made to be left at any point: a run may be
    // dropped at every await as well.
    std::panic::AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Panicked)
}

/// The end of a run that met a fault of rosterd itself. Whatever of the queue brought it about comes later, lest it be met
/// again at once.
pub(super) async fn own_fault(world: &World, side: &TargetSide) -> Result<RunEnd, JournalError> {
    let stop = CancellationToken::new();
    let tools = Tools { journal: &world.journal, clock: &*world.clock, draw: &*world.draw, stop: &stop, board: &world.board };
    let now = world.clock.now();
    let here = |r: &Retry| r.job == world.job.name && r.target == side.name && r.not_before <= now;
    let due: Vec<Retry> = world.journal.retries().await?.into_iter().filter(here).collect();
    let why = "a fault of rosterd itself; the error stream says where, please report it";
    let error = ConnectorError::new(&side.name, "be brought in step", Fault::Malformed, why);
    let later: Vec<Retry> = due.iter().map(|r| retry(&world.job, side, &r.subject, &error, &due, tools)).collect();
    tell::set_aside(&*world.journal, &world.job, &side.name, &due, &later, now).await?;
    world.journal.enqueue(&later).await?;
    let message = "the run ended in a fault of rosterd itself (a panic): the error stream says where, please report it";
    Ok(failed_end(now, vec![message.to_owned()]))
}
