//! Looking after the others: where several daemons share a journal, whichever is there runs what another failed to. A daemon alone
//! does the same for what was cut off without its own end: a command that died, a run that lost its lease to a clock that was set.
//!
//! Every daemon fires every job, and whoever gets the lease at a target does the work. That leaves what nobody did: a run that
//! was cut off with its process, and one whose time came and went while whoever held the lease died of it. Both show in the
//! journal, and are taken up as soon as the lease is free.
//!
//! A run that ends its process, by all the memory that it takes say, would end one daemon after the other. So whatever was cut
//! off several times in a row is taken up ever later. The journal counts, since a daemon that died of it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::crew::Occasion;
use super::holder;
use super::lookout::{Round, Sighting};
use super::supervise::{Daemon, Loop};
use crate::contract::journal::{DIED, Ended, Journal, JournalError, RunRecord, Trigger};
use crate::engine::lease::worker;
use crate::engine::rest::Rests;
use crate::engine::run::{World, last_wholes};
use crate::model::key::{JobName, SystemName};

/// How often it is looked after others.
const LOOK: Duration = Duration::from_secs(2);
/// The same where nobody shares the journal: what was cut off is then a command that died, or a run of our own whose lease was
/// lost, since the machine slept or its clock was set.
const LOOK_ALONE: Duration = Duration::from_secs(30);
/// How many runs are looked back: the wait grows no more with the eighth that was cut off.
const LOOK_BACK: u32 = 10;
/// How long it takes until what failed to be taken up is taken up again, the first time and at the most. It doubles in between.
const AGAIN: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(3600);

/// The wait after so many tries in vain.
fn wait(tries: usize) -> Duration {
    let doubled = u32::try_from(tries.saturating_sub(1)).ok().and_then(|times| 2_u32.checked_pow(times));
    doubled.map_or(MOST, |factor| AGAIN.saturating_mul(factor).min(MOST))
}

/// A job's last runs at a target where nobody is at work, the newest first.
#[derive(Debug)]
pub(super) struct Candidate {
    job: JobName,
    target: SystemName,
    runs: Vec<RunRecord>,
}

/// What was tried here, and what came to nothing that the journal shows.
#[derive(Clone, Copy, Debug)]
struct Tried {
    at: Instant,
    times: usize,
}

/// What is remembered between two looks.
#[derive(Default)]
pub(super) struct Failover {
    /// Since when each job is due at each target that it had then, by the schedule.
    due: BTreeMap<(JobName, SystemName), DateTime<Utc>>,
    tried: BTreeMap<(JobName, SystemName), Tried>,
    looked: Option<Instant>,
}

impl Failover {
    /// Notes that a job has fired. Returns since when it is due, if anybody else may have run it since.
    pub(super) fn fired(&mut self, daemon: &Daemon, job: &JobName, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !daemon.services.journal.is_shared() {
            return None;
        }
        let world = daemon.assembly.worlds.get(job)?;
        self.due.extend(world.targets.iter().map(|side| ((job.clone(), side.name.clone()), at)));
        Some(at)
    }

    /// Whether it is time to look.
    fn is_time(&mut self, shared: bool) -> bool {
        let every = if shared { LOOK } else { LOOK_ALONE };
        let is_time = self.looked.is_none_or(|looked| looked.elapsed() >= every);
        if is_time {
            self.looked = Some(Instant::now());
        }
        is_time
    }

    /// Since when a job should have been run, if nobody did.
    fn missed(&self, place: &(JobName, SystemName), runs: &[RunRecord]) -> Option<DateTime<Utc>> {
        let due = self.due.get(place).copied();
        let Some(last) = runs.first() else { return due };
        if is_cut_off(last) {
            return Some(last.start.at);
        }
        // One that somebody stopped did not do what was due.
        let was_stopped = |run: &&RunRecord| run.end.as_ref().is_some_and(|end| end.ended == Ended::Interrupted);
        let done = runs.iter().find(|run| !was_stopped(run));
        due.filter(|due| done.is_none_or(|done| *due > done.start.at))
    }

    /// Since when a job should have been run at a target, if it is to be run here now. That is then counted as a try.
    fn take_up(&mut self, candidate: &Candidate, now: DateTime<Utc>, moment: Instant) -> Option<DateTime<Utc>> {
        let Candidate { job, target, runs } = candidate;
        let place = (job.clone(), target.clone());
        let Some(due) = self.missed(&place, runs) else {
            // Somebody has run it: whatever comes is another matter.
            self.tried.remove(&place);
            return None;
        };
        let cut_off = runs.iter().take_while(|run| is_cut_off(run)).count();
        // The first time at once.
        let last = runs.first().filter(|_| cut_off > 1);
        let too_early = last.is_some_and(|last| {
            let wait = TimeDelta::from_std(wait(cut_off - 1)).unwrap_or(TimeDelta::hours(1));
            now < last.start.at + wait
        });
        let tried = self.tried.get(&place).copied();
        let lately = tried.is_some_and(|tried| moment.saturating_duration_since(tried.at) < wait(tried.times));
        if too_early || lately {
            return None;
        }
        self.tried.insert(place, Tried { at: moment, times: tried.map_or(0, |tried| tried.times) + 1 });
        Some(due)
    }
}

/// Whether a run was cut off with its process, or by the process's stop.
fn is_cut_off(run: &RunRecord) -> bool {
    match &run.end {
        None => true,
        // Whoever stopped a command wanted it stopped; of one that died somebody else may have written the end since.
        Some(end) => {
            let died = || end.messages.first().is_some_and(|message| message.starts_with(DIED));
            end.ended == Ended::Interrupted && (run.start.trigger != Trigger::Command || died())
        }
    }
}

impl Loop {
    /// Has it looked up what others failed to run.
    pub(super) fn look_after_others(&mut self) {
        let journal = self.daemon.services.journal.clone();
        if self.lookout.is_out(Round::Others) || !self.failover.is_time(journal.is_shared()) {
            return;
        }
        let free = |(job, world): (&JobName, &World)| {
            let (mut world, busy) = (world.clone(), self.crew.busy(job));
            world.targets.retain(|side| !busy.contains(&side.name));
            world
        };
        let worlds: Vec<World> = self.daemon.assembly.worlds.iter().map(free).collect();
        let now = self.daemon.services.clock.now();
        self.lookout.send(Round::Others, async move {
            match idle(&*journal, &worlds, now).await {
                Ok(candidates) => Sighting::Idle(candidates),
                Err(error) => {
                    tracing::warn!("what was left undone cannot be read: {error}");
                    Sighting::Nothing
                }
            }
        });
    }

    /// Starts what others failed to run.
    pub(super) fn run_what_is_undone(&mut self, candidates: Vec<Candidate>) {
        let now = self.daemon.services.clock.now();
        // A job's targets together: the source is read once for all of them.
        let mut undone: BTreeMap<JobName, (BTreeSet<SystemName>, DateTime<Utc>)> = BTreeMap::new();
        for candidate in candidates {
            let Candidate { job, target, runs: _ } = &candidate;
            // It may have begun here since it was looked at, or be gone with a reload.
            if self.crew.busy(job).contains(target) || !self.daemon.assembly.worlds.contains_key(job) {
                continue;
            }
            let Some(due) = self.failover.take_up(&candidate, now, Instant::now()) else { continue };
            tracing::info!(job.name = %job, target.name = %target, "what was left undone is run here");
            let (targets, latest) = undone.entry(job.clone()).or_insert_with(|| (BTreeSet::new(), due));
            targets.insert(target.clone());
            *latest = due.max(*latest);
        }
        for (job, (targets, due)) in undone {
            self.start(&job, Some(&targets), Occasion { fired: Trigger::CatchUp.into(), due: Some(due) });
        }
    }
}

/// The jobs' last runs at those of their targets where nobody is at work and that may be spoken to.
async fn idle(journal: &dyn Journal, worlds: &[World], now: DateTime<Utc>) -> Result<Vec<Candidate>, JournalError> {
    let leases = journal.leases(now).await?;
    let rests = Rests::read(journal).await?;
    let mut idle = Vec::new();
    for world in worlds {
        for target in world.targets.iter().map(|side| &side.name) {
            if worker(&leases, target, holder::gone).is_some() || rests.forbid(world, target, now).is_some() {
                continue;
            }
            let runs = last_wholes(journal, &world.job.name, target, LOOK_BACK).await?;
            idle.push(Candidate { job: world.job.name.clone(), target: target.clone(), runs });
        }
    }
    Ok(idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::journal::{RunEnd, RunStart};

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn run(minutes: i64, trigger: Trigger, ended: Option<Ended>) -> RunRecord {
        let start = RunStart { id: "r".into(), job: "staff".into(), target: "jira".into(), trigger, by: None, at: at(minutes) };
        RunRecord { start, end: ended.map(|ended| RunEnd::bare(ended, at(minutes), Vec::new())) }
    }

    fn candidate(runs: Vec<RunRecord>) -> Candidate {
        Candidate { job: "staff".into(), target: "jira".into(), runs }
    }

    fn cut_off(minutes: &[i64]) -> Candidate {
        candidate(minutes.iter().map(|minutes| run(*minutes, Trigger::CatchUp, None)).collect())
    }

    #[test]
    fn the_wait_doubles_from_a_minute_to_an_hour() {
        let minutes: Vec<u64> = (1..9).map(|tries| wait(tries).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait(usize::MAX), MOST);
        assert_eq!(wait(0), AGAIN);
    }

    #[test]
    fn what_was_cut_off_is_taken_up_at_once_and_the_oftener_the_later() {
        let moment = Instant::now();
        // Each time by a daemon that knows of nothing: the ones before have died of it.
        let taken = |cut_off: &Candidate, now| Failover::default().take_up(cut_off, now, moment);
        assert_eq!(taken(&cut_off(&[0]), at(0)), Some(at(0)));
        assert_eq!(taken(&cut_off(&[1, 0]), at(1)), None);
        assert_eq!(taken(&cut_off(&[1, 0]), at(2)), Some(at(1)));
        assert_eq!(taken(&cut_off(&[2, 1, 0]), at(3)), None);
        assert_eq!(taken(&cut_off(&[2, 1, 0]), at(4)), Some(at(2)));
        let often: Vec<i64> = (0..40).rev().collect();
        assert_eq!(taken(&cut_off(&often), at(98)), None);
        assert_eq!(taken(&cut_off(&often), at(99)), Some(at(39)), "an hour at the most");
        // A run to its end makes good what was before it.
        let mut runs = cut_off(&[9]).runs;
        runs.push(run(8, Trigger::Schedule, Some(Ended::Applied)));
        runs.extend(cut_off(&[7, 6, 5]).runs);
        assert_eq!(taken(&candidate(runs), at(9)), Some(at(9)));
    }

    #[test]
    fn what_comes_to_nothing_here_is_tried_ever_later_until_somebody_has_run_it() {
        let mut failover = Failover::default();
        failover.due.insert(("staff".into(), "jira".into()), at(10));
        let begin = Instant::now();
        let old = || candidate(vec![run(0, Trigger::Schedule, Some(Ended::Converged))]);
        let mut taken: Vec<u64> = Vec::new();
        for second in (0..1000).step_by(2) {
            let moment = begin + Duration::from_secs(second);
            if failover.take_up(&old(), at(10), moment).is_some() {
                taken.push(second);
            }
        }
        assert_eq!(taken, [0, 60, 180, 420, 900]);
        let good = candidate(vec![run(11, Trigger::Schedule, Some(Ended::Failed))]);
        let moment = begin + Duration::from_secs(1000);
        assert_eq!(failover.take_up(&good, at(12), moment), None, "somebody has tried, to the end");
        failover.due.insert(("staff".into(), "jira".into()), at(20));
        assert_eq!(failover.take_up(&good, at(20), moment), Some(at(20)), "and the next time is another matter");
    }

    #[test]
    fn a_command_that_was_stopped_is_not_taken_up_and_one_that_died_is() {
        let moment = Instant::now();
        let stopped = candidate(vec![run(0, Trigger::Command, Some(Ended::Interrupted))]);
        assert_eq!(Failover::default().take_up(&stopped, at(0), moment), None);
        let died = candidate(vec![run(0, Trigger::Command, None)]);
        assert_eq!(Failover::default().take_up(&died, at(0), moment), Some(at(0)));
        // A retry at the target came first, and wrote its end.
        let mut recovered = run(0, Trigger::Command, Some(Ended::Interrupted));
        recovered.end.as_mut().expect("has one").messages = vec![format!("{DIED}before the run ended")];
        assert_eq!(Failover::default().take_up(&candidate(vec![recovered]), at(0), moment), Some(at(0)));
        let drained = candidate(vec![run(0, Trigger::Schedule, Some(Ended::Interrupted))]);
        assert_eq!(Failover::default().take_up(&drained, at(0), moment), Some(at(0)));
    }

    #[test]
    fn a_command_that_was_stopped_does_not_hide_what_is_due() {
        let mut failover = Failover::default();
        failover.due.insert(("staff".into(), "jira".into()), at(10));
        let runs = vec![run(11, Trigger::Command, Some(Ended::Interrupted)), run(0, Trigger::Schedule, Some(Ended::Applied))];
        assert_eq!(failover.take_up(&candidate(runs), at(11), Instant::now()), Some(at(10)));
        let runs = vec![run(12, Trigger::Command, Some(Ended::Interrupted)), run(10, Trigger::Schedule, Some(Ended::Applied))];
        assert_eq!(failover.take_up(&candidate(runs), at(12), Instant::now()), None, "it was done before");
    }
}
