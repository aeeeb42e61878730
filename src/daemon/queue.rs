//! The retry queue worked off: what is due, for jobs that are not at work, with systems that may be spoken to.
//!
//! Daemons over one journal may differ for as long as a new configuration takes to reach all of them. What this one does not
//! know, a target that its job has lost or only observes, is another's to work off, and is left to it for a while.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::lookout::{Round, queue};
use super::supervise::Loop;
use crate::contract::journal::{JournalError, Trigger};
use crate::engine::rest::Rests;
use crate::engine::run::{Unless, World, is_anybodys, run_once};
use crate::engine::subjects::retry_subjects;
use crate::model::key::{JobName, SystemName};
use crate::model::retry::{Retry, Subject};

impl Loop {
    /// Has the retry queue looked at.
    pub(super) fn look_at_queue(&mut self) {
        let (journal, now) = (self.daemon.services.journal.clone(), self.daemon.services.clock.now());
        self.lookout.send(Round::Queue, async move { queue(&*journal, now).await });
    }

    /// Starts what is due on the retry queue.
    pub(super) fn work_off_due(&mut self, due: Vec<Retry>, rests: &Rests) {
        let now = self.daemon.services.clock.now();
        let mut by_target: BTreeMap<(JobName, SystemName), Vec<Retry>> = BTreeMap::new();
        for retry in due {
            by_target.entry((retry.job.clone(), retry.target.clone())).or_default().push(retry);
        }
        for ((job, target), mut due) in by_target {
            let Some(world) = self.daemon.assembly.worlds.get(&job).cloned() else { continue };
            // Whoever rests is not asked, and nothing is said of it again.
            if self.crew.busy(&job).contains(&target) || rests.forbid(&world, &target, now).is_some() {
                continue;
            }
            if !writes_at(&world, &target) {
                due.retain(|retry| is_anybodys(&*world.journal, retry.not_before, now));
            }
            if due.is_empty() {
                continue;
            }
            let (stop, at) = (self.stop.clone(), target.clone());
            self.crew.retry(&job, target, async move { work_off(&world, &at, due, &stop).await });
            self.beat(false);
        }
    }
}

/// Whether the job, as it is configured here, writes to a target.
fn writes_at(world: &World, target: &SystemName) -> bool {
    world.targets.iter().any(|side| side.name == *target) && !world.job.observes(target)
}

/// Works off due entries of one job at one target.
async fn work_off(world: &World, target: &SystemName, due: Vec<Retry>, stop: &CancellationToken) {
    let (job, journal) = (&world.job.name, &world.journal);
    let Some(side) = world.targets.iter().find(|t| t.name == *target) else {
        // The job has lost the target since.
        let subjects: Vec<Subject> = due.into_iter().map(|r| r.subject).collect();
        if let Err(error) = journal.dequeue(job, target, &subjects).await {
            tracing::warn!(job.name = %job, target.name = %target, "{error}");
        }
        return;
    };
    let failed = |error: JournalError| tracing::error!(job.name = %job, target.name = %target, "retry failed: {error}");
    if !due.iter().any(|r| r.subject == Subject::Everything) {
        match retry_subjects(world, side, &due, stop).await {
            Ok(pass) if pass.needs_whole => {}
            Ok(_) => return,
            Err(error) => return failed(error),
        }
    }
    // Somebody else may have worked them off by the time that it is this one's turn.
    let unless = Unless::Settled(due);
    if let Err(error) = run_once(world, std::slice::from_ref(target), Trigger::CatchUp.into(), unless, stop).await {
        failed(error);
    }
}
