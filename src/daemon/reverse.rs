//! An undo by the daemon: shown or done at the word of somebody who asks over HTTP. The supervisor counts it as work at the
//! target, so that no run of its own is there meanwhile; other processes are kept out by the target's lease, as with any undo.

use smol_str::SmolStr;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::orders::Declined;
use crate::contract::journal::{ChangeRecord, RunRecord};
use crate::engine::prepare::{RunError, TargetSide};
use crate::engine::progress::Stage;
use crate::engine::run::World;
use crate::engine::undo::{Request, preview, undo};
use crate::reconcile::pattern::NameSet;
use crate::reconcile::render::{PlanView, view};

/// What is to be undone, for whom, and where it is to be told.
#[derive(Debug)]
pub struct Reversal {
    /// The run.
    pub run: RunRecord,
    /// What it did.
    pub changes: Vec<ChangeRecord>,
    /// Only what is about these users or groups; none: everything.
    pub only: NameSet,
    /// Who asks.
    pub by: SmolStr,
    /// Why it is to be done; `None`: it is only to be shown.
    pub reason: Option<String>,
    answer: oneshot::Sender<Result<Reversed, Declined>>,
}

/// What comes of it.
#[derive(Debug)]
pub enum Reversed {
    /// What would be done, and what stays as it is.
    Shown {
        /// The plan, judged.
        plan: Box<PlanView>,
        /// What cannot be taken back, or need not be.
        stays: Vec<String>,
    },
    /// It begins.
    Begun,
}

impl Reversal {
    /// With where the answer comes.
    pub fn new(
        (run, changes): (RunRecord, Vec<ChangeRecord>),
        only: NameSet,
        by: &str,
        reason: Option<&str>,
    ) -> (Self, oneshot::Receiver<Result<Reversed, Declined>>) {
        let (answer, hear) = oneshot::channel();
        (Self { run, changes, only, by: by.into(), reason: reason.map(str::to_owned), answer }, hear)
    }

    /// Tells what comes of it. Whoever asked may have gone.
    pub fn answer(self, answer: Result<Reversed, Declined>) {
        let _ = self.answer.send(answer);
    }

    /// Shows or does it.
    pub(super) async fn carry_out(self, world: &World, side: &TargetSide, stop: &CancellationToken) {
        let Self { run, changes, only, by, reason, mut answer } = self;
        // Limits yield to the word of somebody who has seen the plan; who asks by a program may not have looked.
        let request = Request { run: &run, changes: &changes, only: &only, actor: &by, over_limits: false };
        match reason {
            None => {
                let told = tokio::select! {
                    told = preview(world, side, request) => told,
                    // Nobody waits for it any more.
                    () = answer.closed() => return world.board.enter(&side.name, Stage::Over, 0),
                    // Whoever waits hears that there is no answer.
                    () = stop.cancelled() => return world.board.enter(&side.name, Stage::Over, 0),
                };
                let told = match told {
                    Ok(Ok(shown)) => Ok(Reversed::Shown { plan: Box::new(view(&shown.judged)), stays: shown.stays }),
                    Ok(Err(rests)) => Err(Declined::Resting(rests)),
                    Err(error) => Err(Declined::Failed(text(&error))),
                };
                world.board.enter(&side.name, Stage::Over, 0);
                let _ = answer.send(told);
            }
            Some(reason) => {
                let _ = answer.send(Ok(Reversed::Begun));
                let (job, target) = (&world.job.name, &side.name);
                match undo(world, side, request, &reason, stop).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(why)) => {
                        tracing::warn!(job.name = %job, target.name = %target, undone = %run.start.id, "the undo did not begin: {why}")
                    }
                    Err(error) => {
                        tracing::error!(job.name = %job, target.name = %target, undone = %run.start.id, "the undo failed: {}", text(&error));
                    }
                }
                world.board.enter(&side.name, Stage::Over, 0);
            }
        }
    }
}

fn text(error: &RunError) -> String {
    match error {
        RunError::Connector(error) => error.to_string(),
        RunError::Journal(error) => error.to_string(),
    }
}
