//! What is known of each job at each target: the last runs that matter, wherever they lie in the journal.
//!
//! The journal is searched deep once, and after that only its newest runs are looked at: what this process did since was
//! heard, and what a command did beside it is among them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::contract::journal::{Ended, Freshness, RunEnd, RunQuery, RunRecord, RunStart, Trigger};
use crate::model::key::{JobName, SystemName};

/// How many runs are looked through at first, and later.
const DEEP: u32 = 500;
const SHALLOW: u32 = 20;

/// What is known of a job at a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Known {
    /// When the last complete run ended.
    pub(super) complete: Option<DateTime<Utc>>,
    /// When the last run ended that changed something.
    pub(super) applied: Option<DateTime<Utc>>,
    /// When the oldest run began that is recorded.
    pub(super) first: Option<DateTime<Utc>>,
    /// When a run last judged the source, and whether it believed it.
    pub(super) believed: Option<(DateTime<Utc>, bool)>,
    /// The last run over everything: when and how it ended.
    pub(super) last: Option<(DateTime<Utc>, Ended)>,
    searched: bool,
}

/// Whether a run believed its source, if it came to judge it. One that did has sizes; one that did not may have ended partial.
fn believed(start: &RunStart, end: &RunEnd) -> Option<bool> {
    let of_few = matches!(start.trigger, Trigger::Retry | Trigger::Undo);
    let blind = !of_few && matches!(end.ended, Ended::Blind | Ended::Partial);
    if end.sizes.is_some() { Some(true) } else { blind.then_some(false) }
}

/// Whether a run was over everything: not a retry of a few, and not what a person recorded by hand. One that was, and came to
/// its end, has sizes.
fn is_whole(start: &RunStart, end: &RunEnd) -> bool {
    let of_few = matches!(start.trigger, Trigger::Retry | Trigger::Undo);
    let came_to_its_end = matches!(end.ended, Ended::Converged | Ended::Applied | Ended::Staged);
    end.sizes.is_some() || !(of_few || came_to_its_end)
}

impl Known {
    /// When the source was read last for such a run, as far as the record tells: by one that judged it, or was complete.
    pub(in crate::daemon) fn read(self) -> Option<DateTime<Utc>> {
        self.complete.max(self.believed.map(|(at, _)| at))
    }

    /// When the oldest run began that is recorded; `None`: there has never been one.
    pub(in crate::daemon) fn first(self) -> Option<DateTime<Utc>> {
        self.first
    }

    fn note(&mut self, start: &RunStart, end: &RunEnd) {
        let latest = |known: &mut Option<DateTime<Utc>>, is: bool| {
            if is {
                *known = (*known).max(Some(end.at));
            }
        };
        latest(&mut self.complete, end.is_complete());
        latest(&mut self.applied, end.done.iter().any(|(_, many)| *many > 0));
        self.first = Some(self.first.map_or(start.at, |at| at.min(start.at)));
        if let Some(is) = believed(start, end)
            && self.believed.is_none_or(|(at, _)| at <= end.at)
        {
            self.believed = Some((end.at, is));
        }
        if is_whole(start, end) && self.last.is_none_or(|(at, _)| at <= end.at) {
            self.last = Some((end.at, end.ended));
        }
    }
}

/// What is known of all.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<(JobName, SystemName), Known>);

impl Memory {
    /// Whether the journal was searched deep for these.
    pub(super) fn is_searched(&self, job: &JobName, target: &SystemName) -> bool {
        self.0.get(&(job.clone(), target.clone())).is_some_and(|known| known.searched)
    }

    /// Which runs of the journal are to be looked at.
    pub(super) fn query(&self, job: &JobName, target: &SystemName) -> RunQuery {
        RunQuery {
            job: Some(job.clone()),
            target: Some(target.clone()),
            limit: if self.is_searched(job, target) { SHALLOW } else { DEEP },
            ..RunQuery::default()
        }
    }

    /// Takes in what lies deeper than the runs that are looked at.
    pub(super) fn deep(&mut self, job: &JobName, target: &SystemName, told: Freshness) {
        let known = self.0.entry((job.clone(), target.clone())).or_default();
        known.complete = known.complete.max(told.complete);
        known.first = [known.first, told.first].into_iter().flatten().min();
    }

    /// Takes in what the journal told.
    pub(super) fn learn(&mut self, job: &JobName, target: &SystemName, runs: &[RunRecord]) -> Known {
        let known = self.0.entry((job.clone(), target.clone())).or_default();
        runs.iter().filter_map(|run| Some((&run.start, run.end.as_ref()?))).for_each(|(start, end)| known.note(start, end));
        known.searched = true;
        *known
    }

    /// Takes in a run that was heard of.
    pub(super) fn note(&mut self, start: &RunStart, end: &RunEnd) {
        self.0.entry((start.job.clone(), start.target.clone())).or_default().note(start, end);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::contract::journal::{STOPPED, Sizes};
    use crate::model::change::OpKind;

    fn run(minute: i64, trigger: Trigger, ended: Ended, whole: bool, changes: u64) -> RunRecord {
        let at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let start =
            RunStart { id: format!("{minute}").into(), job: "staff".into(), target: "jira".into(), trigger, by: None, at };
        let mut end = RunEnd::bare(ended, at, Vec::new());
        end.sizes = whole.then(Sizes::default);
        end.done = vec![(OpKind::AddMember, changes)];
        RunRecord { start, end: Some(end) }
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn stopped(minute: i64) -> RunRecord {
        let mut run = run(minute, Trigger::Schedule, Ended::Partial, true, 1);
        if let Some(end) = &mut run.end {
            end.messages.push(format!("{STOPPED}3 changes left to the next run: jira cannot be reached"));
        }
        run
    }

    #[test]
    fn the_last_runs_that_matter_are_known_in_whatever_order_they_are_told() {
        let mut memory = Memory::default();
        let (job, target) = ("staff".into(), "jira".into());
        assert_eq!(memory.query(&job, &target).limit, DEEP);
        let runs = [
            run(10, Trigger::Command, Ended::Applied, false, 0),
            run(9, Trigger::Retry, Ended::Applied, false, 1),
            run(8, Trigger::Schedule, Ended::Blind, false, 2),
            run(7, Trigger::Schedule, Ended::Partial, true, 0),
            run(5, Trigger::Schedule, Ended::Staged, true, 0),
        ];
        let known = memory.learn(&job, &target, &runs);
        let minute = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp() / 60);
        assert_eq!((minute(known.complete), minute(known.applied), minute(known.first)), (Some(7), Some(9), Some(5)));
        assert_eq!(known.believed.map(|(_, is)| is), Some(false), "the last that judged the source was blind");
        assert_eq!(
            known.last.map(|(_, ended)| ended),
            Some(Ended::Blind),
            "neither a retry of a few nor what was recorded by hand says anything of the source"
        );
        assert_eq!(memory.query(&job, &target).limit, SHALLOW);
        memory.deep(&job, &target, Freshness { complete: Some(at(4)), first: Some(at(1)) });
        let stopped = stopped(12);
        memory.note(&stopped.start, stopped.end.as_ref().expect("ended"));
        let half_blind = run(13, Trigger::Schedule, Ended::Partial, false, 1);
        memory.note(&half_blind.start, half_blind.end.as_ref().expect("ended"));
        let known = memory.learn(&job, &target, &[]);
        assert_eq!((minute(known.complete), minute(known.first)), (Some(7), Some(1)), "what stopped half-way is not complete");
        assert_eq!(known.believed.map(|(_, is)| is), Some(false), "blind and partial is blind");
        let heard = run(14, Trigger::Schedule, Ended::Converged, true, 0);
        memory.note(&heard.start, heard.end.as_ref().expect("ended"));
        let known = memory.learn(&job, &target, &runs);
        assert_eq!((minute(known.complete), known.last.map(|(_, ended)| ended)), (Some(14), Some(Ended::Converged)));
    }
}
