//! Where each run is: for progress bars, `status` and the watchdog.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::key::SystemName;

/// The stages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Waits for another run at the same target.
    Waiting,
    /// Reads the source.
    ReadingSource,
    /// Reads the target.
    ReadingTarget,
    /// Compares.
    Planning,
    /// Asks the source about those who are to lose something.
    Proving,
    /// Makes changes.
    Applying,
    /// Is over.
    Over,
}

impl Stage {
    /// The stage in words.
    pub fn words(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting for another run",
            Stage::ReadingSource => "reading the source",
            Stage::ReadingTarget => "reading the target",
            Stage::Planning => "planning",
            Stage::Proving => "asking the source about leavers",
            Stage::Applying => "applying",
            Stage::Over => "done",
        }
    }
}

/// Where one run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Where {
    /// Its stage.
    pub stage: Stage,
    /// Steps done within the stage.
    pub done: u64,
    /// Steps in all, 0 if unknown.
    pub total: u64,
}

/// A board on which runs say where they are. Clones share one board.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<SystemName, Where>>>);

impl Board {
    /// Says that a run at this target has come to a stage.
    pub fn enter(&self, target: &SystemName, stage: Stage, total: usize) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.insert(target.clone(), Where { stage, done: 0, total: total as u64 });
    }
    /// Says that some steps more are done.
    pub fn step(&self, target: &SystemName, steps: usize) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = board.get_mut(target) {
            at.done += steps as u64;
        }
    }
    /// Where all runs are.
    pub fn all(&self) -> Vec<(SystemName, Where)> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.iter().map(|(name, at)| (name.clone(), *at)).collect()
    }
}
