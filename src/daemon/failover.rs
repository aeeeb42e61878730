//! Looking after the others: where several daemons share a journal, whichever is there runs what another failed to.
//!
//! Every daemon fires every job, and whoever gets the lease at a target does the work. That leaves what nobody did: a run that
//! was cut off with its process, and one whose time came and went while whoever held the lease died of it. Both show in the
//! journal, and are taken up as soon as the lease is free.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::crew::Occasion;
use super::holder;
use super::supervise::{Daemon, Loop};
use crate::contract::journal::{Ended, Journal, JournalError, RunRecord, Trigger};
use crate::engine::lease::lease_name;
use crate::engine::rest::resting;
use crate::engine::run::last_whole;
use crate::model::key::{JobName, SystemName};

/// How often it is looked after others.
const LOOK: Duration = Duration::from_secs(2);
/// How long it takes until the same is tried again here: a run that the store itself brings to an end would begin at once.
const AGAIN: Duration = Duration::from_secs(60);

/// What is remembered between two looks.
#[derive(Default)]
pub(super) struct Failover {
    /// Since when each job is due, by the schedule.
    due: BTreeMap<JobName, DateTime<Utc>>,
    tried: BTreeMap<(JobName, SystemName), Instant>,
    looked: Option<Instant>,
}

impl Failover {
    /// Notes that a job has fired. Returns since when it is due, if anybody else may have run it since.
    pub(super) fn fired(&mut self, daemon: &Daemon, job: &JobName, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !daemon.services.journal.is_shared() {
            return None;
        }
        self.due.insert(job.clone(), at);
        Some(at)
    }

    /// Whether it is time to look.
    fn is_time(&mut self) -> bool {
        let is_time = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if is_time {
            self.looked = Some(Instant::now());
        }
        is_time
    }

    /// Since when a job should have been run, if nobody did.
    fn missed(&self, job: &JobName, last: Option<&RunRecord>) -> Option<DateTime<Utc>> {
        let due = self.due.get(job).copied();
        let Some(RunRecord { start, end }) = last else { return due };
        let cut_off = match end {
            None => true,
            // Whoever stopped a command wanted it stopped.
            Some(end) => end.ended == Ended::Interrupted && !matches!(start.trigger, Trigger::Command | Trigger::Api),
        };
        if cut_off { Some(start.at) } else { due.filter(|due| *due > start.at) }
    }
}

impl Loop {
    /// Starts what others failed to run.
    pub(super) async fn look_after_others(&mut self) {
        let journal = self.daemon.services.journal.clone();
        if !journal.is_shared() || !self.failover.is_time() {
            return;
        }
        match self.left_undone(&*journal).await {
            Ok(undone) => {
                for (job, target, due) in undone {
                    tracing::info!(job.name = %job, target.name = %target, "what another replica left undone is run here");
                    self.failover.tried.insert((job.clone(), target.clone()), Instant::now());
                    let occasion = Occasion { fired: Trigger::CatchUp.into(), due: Some(due) };
                    self.start(&job, Some(&BTreeSet::from([target])), occasion);
                }
            }
            Err(error) => tracing::warn!("what other replicas left undone cannot be read: {error}"),
        }
    }

    async fn left_undone(&self, journal: &dyn Journal) -> Result<Vec<(JobName, SystemName, DateTime<Utc>)>, JournalError> {
        let now = self.daemon.services.clock.now();
        let leases = journal.leases(now).await?;
        let is_at_work = |target: &SystemName| {
            let name = lease_name(target);
            leases.iter().any(|s| s.lease.name == name && !s.has_run_out && !holder::gone(&s.lease.holder))
        };
        let rests = journal.rests().await?;
        let rests = |system: &SystemName| resting(rests.iter().find(|r| r.system == *system), now).is_some();
        let mut undone = Vec::new();
        for (job, world) in &self.daemon.assembly.worlds {
            let busy = self.crew.busy(job);
            for target in world.targets.iter().map(|side| &side.name).filter(|target| !busy.contains(*target)) {
                let tried = self.failover.tried.get(&(job.clone(), target.clone()));
                let lately = tried.is_some_and(|tried| tried.elapsed() < AGAIN);
                if lately || is_at_work(target) || rests(target) || rests(&world.source_name) {
                    continue;
                }
                let last = last_whole(journal, job, target).await?;
                if let Some(due) = self.failover.missed(job, last.as_ref()) {
                    undone.push((job.clone(), target.clone(), due));
                }
            }
        }
        Ok(undone)
    }
}
