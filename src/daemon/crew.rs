//! Who is at work: the tasks of runs and retries, and what is to be run once more when they are done.
//!
//! A job never overlaps itself at a target. Its targets are counted one by one, so that a run which hangs at one target
//! does not keep the next run of the same job from the others.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError, JoinSet};

use crate::contract::journal::Fired;
use crate::engine::progress::{Board, Stage};
use crate::model::key::{JobName, SystemName};

/// One task.
#[derive(Debug)]
pub(super) struct Work {
    /// For which job.
    pub(super) job: JobName,
    /// At which targets.
    pub(super) targets: BTreeSet<SystemName>,
    /// Whether it says on the board when it is done with a target.
    on_board: bool,
}

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Occasion {
    /// What fired it, and who.
    pub(super) fired: Fired,
    /// Since when it is due, where somebody else may have run it since.
    pub(super) due: Option<DateTime<Utc>>,
}

impl<T: Into<Fired>> From<T> for Occasion {
    fn from(fired: T) -> Self {
        Self { fired: fired.into(), due: None }
    }
}

/// A run that has to wait for the one before it.
#[derive(Debug)]
struct Pending {
    occasion: Occasion,
    targets: BTreeSet<SystemName>,
}

/// The tasks under way.
pub(super) struct Crew {
    tasks: JoinSet<()>,
    work: BTreeMap<Id, Work>,
    pending: BTreeMap<JobName, Pending>,
    board: Board,
}

impl Crew {
    /// Nobody at work.
    pub(super) fn new(board: Board) -> Self {
        Self { tasks: JoinSet::new(), work: BTreeMap::new(), pending: BTreeMap::new(), board }
    }

    /// Whether nobody is at work.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty()
    }

    /// How many tasks are under way.
    pub(super) fn len(&self) -> usize {
        self.work.len()
    }

    /// The jobs at work.
    pub(super) fn jobs(&self) -> BTreeSet<JobName> {
        self.work.values().map(|w| w.job.clone()).collect()
    }

    /// The targets at which a job is at work.
    pub(super) fn busy(&self, job: &JobName) -> BTreeSet<SystemName> {
        let over: BTreeSet<SystemName> =
            self.board.of(job).all().into_iter().filter(|(_, at)| at.stage == Stage::Over).map(|(name, _)| name).collect();
        let at_work = self.work.values().filter(|w| w.job == *job);
        at_work.flat_map(|w| w.targets.iter().filter(|t| !(w.on_board && over.contains(*t)))).cloned().collect()
    }

    /// Puts a whole run to work.
    pub(super) fn run(&mut self, job: &JobName, targets: BTreeSet<SystemName>, work: impl Future<Output = ()> + Send + 'static) {
        let board = self.board.of(job);
        targets.iter().for_each(|target| board.enter(target, Stage::Waiting, 0));
        self.spawn(Work { job: job.clone(), targets, on_board: true }, work);
    }

    /// Puts a retry at one target to work.
    pub(super) fn retry(&mut self, job: &JobName, target: SystemName, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn(Work { job: job.clone(), targets: BTreeSet::from([target]), on_board: false }, work);
    }

    fn spawn(&mut self, work: Work, future: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(future).id();
        self.work.insert(id, work);
    }

    /// Notes that a job is to run at targets once more when they are free. True if that is news.
    pub(super) fn wait(&mut self, job: &JobName, occasion: Occasion, targets: BTreeSet<SystemName>) -> bool {
        let fresh = || Pending { occasion: occasion.clone(), targets: BTreeSet::new() };
        let pending = self.pending.entry(job.clone()).or_insert_with(fresh);
        pending.occasion = occasion;
        let before = pending.targets.len();
        pending.targets.extend(targets);
        pending.targets.len() > before
    }

    /// Takes what is to be run once more for a job.
    pub(super) fn take_waiting(&mut self, job: &JobName) -> Option<(Occasion, BTreeSet<SystemName>)> {
        self.pending.remove(job).map(|p| (p.occasion, p.targets))
    }

    /// The next task that ends, with the fault of a task that panicked. `None` if nobody is at work.
    pub(super) async fn next(&mut self) -> Option<(Work, Option<JoinError>)> {
        loop {
            let (id, fault) = match self.tasks.join_next_with_id().await? {
                Ok((id, ())) => (id, None),
                Err(error) => (error.id(), Some(error)),
            };
            if let Some(work) = self.work.remove(&id) {
                return Some((work, fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::journal::Trigger;

    fn targets(names: &[&str]) -> BTreeSet<SystemName> {
        names.iter().map(|n| SystemName::from(*n)).collect()
    }

    #[tokio::test]
    async fn a_job_is_busy_at_a_target_until_its_run_is_over_there() {
        let board = Board::default();
        let mut crew = Crew::new(board.clone());
        let job = JobName::from("staff");
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        crew.run(&job, targets(&["jira", "confluence"]), async move { drop(wait.await) });
        assert_eq!(crew.busy(&job), targets(&["jira", "confluence"]));
        board.of(&job).enter(&SystemName::from("confluence"), Stage::Over, 0);
        assert_eq!(crew.busy(&job), targets(&["jira"]));
        assert_eq!(crew.busy(&JobName::from("other")), targets(&[]));
        crew.run(&job, targets(&["confluence"]), std::future::pending());
        assert_eq!(crew.busy(&job), targets(&["jira", "confluence"]));
        done.send(()).expect("the run waits");
        let (work, fault) = crew.next().await.expect("a task ends");
        assert_eq!((work.targets, fault.is_none()), (targets(&["jira", "confluence"]), true));
        assert_eq!(crew.busy(&job), targets(&["confluence"]));
    }

    #[tokio::test]
    async fn a_task_that_panics_is_an_ended_task_with_a_fault() {
        let mut crew = Crew::new(Board::default());
        crew.retry(&JobName::from("staff"), SystemName::from("jira"), async { panic!("on purpose") });
        let (work, fault) = crew.next().await.expect("a task ends");
        assert!(fault.is_some());
        assert_eq!(work.job, JobName::from("staff"));
        assert!(crew.is_idle());
    }

    #[tokio::test]
    async fn what_has_to_wait_is_news_once() {
        let mut crew = Crew::new(Board::default());
        let job = JobName::from("staff");
        assert!(crew.wait(&job, Trigger::Schedule.into(), targets(&["jira"])));
        assert!(!crew.wait(&job, Trigger::Schedule.into(), targets(&["jira"])));
        assert_eq!(crew.take_waiting(&job), Some((Trigger::Schedule.into(), targets(&["jira"]))));
        assert_eq!(crew.take_waiting(&job), None);
    }
}
