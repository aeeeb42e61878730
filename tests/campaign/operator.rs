//! The operator: says yes and no, takes back, takes over, lets go, and changes the configuration.

use std::time::Duration;

use fastrand::Rng;
use rosterd::contract::journal::{JournalError, RunQuery};
use rosterd::contract::verdict::Verdict;
use rosterd::engine::decide::{DecideError, Said, decide};
use rosterd::engine::drift::{Adoption, adopt};
use rosterd::engine::prepare::RunError;
use rosterd::engine::run::{World, read_source};
use rosterd::engine::undo::{Request, undo};
use rosterd::model::retry::Retry;
use rosterd::reconcile::pattern::NameSet;
use tokio_util::sync::CancellationToken;

/// What was done, for whoever looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Something that changes no target.
    Said,
    /// A run was taken back, at the operator's word.
    Undone,
}

/// One thing that an operator does.
pub async fn acts(world: &World, rng: &mut Rng) -> Result<Act, JournalError> {
    match rng.u8(..6) {
        0 | 1 => say(world, if rng.u8(..4) == 0 { Verdict::Rejected } else { Verdict::Approved }, rng.bool()).await?,
        2 => {
            take_back(world, rng).await?;
            return Ok(Act::Undone);
        }
        3 => let_go(world).await?,
        4 => take_over(world, rng).await?,
        _ => release(world).await?,
    }
    Ok(Act::Said)
}

/// Decides on everything that waits, or on the first user's part of it.
pub async fn say(world: &World, verdict: Verdict, all: bool) -> Result<(), JournalError> {
    let staged = world.journal.staged().await?;
    for first in staged.iter().take(if all { usize::MAX } else { 1 }) {
        let name = first.user_name.replace(['[', ']', '*', '?', '{', '}', '\\'], "?");
        let only = if all { NameSet::none() } else { NameSet::new(&[name]).expect("a glob") };
        let said = Said { verdict, only: &only, actor: "os:ops", reason: "a good one", at: world.clock.now() };
        let decided = decide(&*world.journal, first.plan.as_str(), said, |_| Duration::from_secs(7 * 86_400)).await;
        if let Err(DecideError::Journal(error)) = decided {
            return Err(error);
        }
    }
    Ok(())
}

async fn take_back(world: &World, rng: &mut Rng) -> Result<(), JournalError> {
    let side = &world.targets[rng.usize(..world.targets.len())];
    let query = RunQuery { target: Some(side.name.clone()), limit: 1, ..RunQuery::default() };
    let Some(run) = world.journal.runs(&query).await?.into_iter().next() else { return Ok(()) };
    let changes = world.journal.changes(&run.start.id).await?;
    let only = NameSet::none();
    let request = Request { run: &run, changes: &changes, only: &only, actor: "os:ops", over_limits: rng.bool() };
    match undo(world, side, request, "a mistake", &CancellationToken::new()).await {
        Err(RunError::Journal(error)) => Err(error),
        Ok(_) | Err(RunError::Connector(_)) => Ok(()),
    }
}

/// Ends all holds.
pub async fn let_go(world: &World) -> Result<(), JournalError> {
    for hold in world.journal.holds().await? {
        world.journal.let_go(&hold.job, &hold.target, std::slice::from_ref(&hold.user)).await?;
    }
    Ok(())
}

async fn take_over(world: &World, rng: &mut Rng) -> Result<(), JournalError> {
    let side = &world.targets[rng.usize(..world.targets.len())];
    let Ok(reading) = read_source(world).await else { return Ok(()) };
    let names = NameSet::new(&["*"]).expect("a glob");
    let adoption = Adoption { names: &names, actor: "os:ops", reason: "tidying up" };
    match adopt(world, side, &reading, adoption, &CancellationToken::new()).await {
        Err(RunError::Journal(error)) => Err(error),
        Ok(_) | Err(RunError::Connector(_)) => Ok(()),
    }
}

/// Ends every rest and quarantine.
pub async fn release(world: &World) -> Result<(), JournalError> {
    for rest in world.journal.rests().await? {
        world.journal.forgive(&rest.system).await?;
    }
    let now = world.clock.now();
    let due: Vec<Retry> = world.journal.retries().await?;
    let due: Vec<Retry> = due.into_iter().map(|r| Retry { attempts: 0, quarantined: false, not_before: now, ..r }).collect();
    world.journal.enqueue(&due).await
}
