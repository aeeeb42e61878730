//! What the supervisor is told to do from elsewhere in the process, and what it answers.

use std::collections::BTreeSet;

use smol_str::SmolStr;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::reverse::Reversal;
use crate::model::key::{JobName, SystemName};

/// Something for the supervisor to do, from elsewhere in the process.
#[derive(Debug)]
pub enum Order {
    /// Run a job now.
    Run(Errand),
    /// Show or do an undo.
    Undo(Box<Reversal>),
    /// Finish and exit.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// Somebody wants a job to run now, and to know whether it does.
#[derive(Debug)]
pub struct Errand {
    pub(super) job: JobName,
    pub(super) targets: BTreeSet<SystemName>,
    pub(super) by: SmolStr,
    pub(super) answer: oneshot::Sender<Result<(), Declined>>,
}

impl Errand {
    /// To run a job at these targets (all, if none is named), with where the answer comes.
    pub fn new(job: JobName, targets: BTreeSet<SystemName>, by: &str) -> (Self, oneshot::Receiver<Result<(), Declined>>) {
        let (answer, hear) = oneshot::channel();
        (Self { job, targets, by: by.into(), answer }, hear)
    }

    /// Tells whether it begins. Whoever asked may have gone.
    pub fn answer(self, declined: Result<(), Declined>) {
        let _ = self.answer.send(declined);
    }
}

/// Why a job is not run now, or a run not undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declined {
    /// There is no such job, or it has none of the targets.
    Unknown,
    /// It is at work at these targets.
    AtWork(BTreeSet<SystemName>),
    /// The target rests, and why.
    Resting(String),
    /// The job only looks at the target, and why nothing is done there.
    Observed(String),
    /// The target or the store could not be read.
    Failed(String),
}

/// A channel for orders.
pub fn orders() -> (UnboundedSender<Order>, UnboundedReceiver<Order>) {
    unbounded_channel()
}
