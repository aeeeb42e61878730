//! Where each run is, and what it came to: for progress bars, for the supervisor, and for whoever counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::journal::{RunEnd, RunStart};
use crate::model::change::OpKind;
use crate::model::key::{JobName, SystemName};

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
    /// The stages in which a run spends time.
    pub const ALL: [Stage; 6] =
        [Stage::Waiting, Stage::ReadingSource, Stage::ReadingTarget, Stage::Planning, Stage::Proving, Stage::Applying];

    /// The word that metrics and traces use.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::ReadingSource => "reading_source",
            Stage::ReadingTarget => "reading_target",
            Stage::Planning => "planning",
            Stage::Proving => "proving",
            Stage::Applying => "applying",
            Stage::Over => "over",
        }
    }

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

/// Who hears what runs come to, as they come to it: metrics, traces. Nothing that is told here may hold up a run, so whoever
/// listens counts and returns.
pub trait Listener: Send + Sync {
    /// A source was read whole.
    fn source_read(&self, source: &SystemName);
    /// A stage is over, after so long.
    fn stage_over(&self, job: &JobName, target: &SystemName, stage: Stage, took: Duration);
    /// A change has come to something, by the word of its [`crate::contract::journal::Outcome`].
    fn changed(&self, job: &JobName, target: &SystemName, kind: OpKind, outcome: &'static str);
    /// A run has ended, after its last stage.
    fn run_over(&self, start: &RunStart, end: &RunEnd);
}

/// One run on the board.
#[derive(Debug)]
struct Entry {
    at: Where,
    /// Since when it is in its stage; none once that was told.
    since: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    runs: Mutex<BTreeMap<(JobName, SystemName), Entry>>,
    listeners: OnceLock<Vec<Arc<dyn Listener>>>,
}

/// A board on which the runs of one job say where they are. All boards that come of one, by [`Board::of`] or as clones,
/// are parts of it.
#[derive(Clone)]
pub struct Board {
    job: JobName,
    shared: Arc<Shared>,
}

impl Default for Board {
    fn default() -> Self {
        Self { job: JobName::from(""), shared: Arc::default() }
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Board({})", self.job)
    }
}

impl Board {
    /// The part of a job.
    #[must_use]
    pub fn of(&self, job: &JobName) -> Self {
        Self { job: job.clone(), shared: self.shared.clone() }
    }

    /// Lets these hear what runs come to. They stay for the life of the board; who comes second is not heard.
    pub fn listen(&self, listeners: Vec<Arc<dyn Listener>>) {
        let _ = self.shared.listeners.set(listeners);
    }

    /// Says that a run at this target has come to a stage. One that is in it already goes on with it.
    pub fn enter(&self, target: &SystemName, stage: Stage, total: usize) {
        let now = Instant::now();
        let at = Where { stage, done: 0, total: total as u64 };
        let since = (stage != Stage::Over).then_some(now);
        let mut runs = self.runs();
        let key = (self.job.clone(), target.clone());
        if let Some(open) = runs.get_mut(&key).filter(|open| open.at.stage == stage && open.since.is_some()) {
            open.at = at;
            return;
        }
        let before = runs.insert(key, Entry { at, since });
        drop(runs);
        self.tell_stage(target, before.and_then(|entry| Some((entry.at.stage, entry.since?))), now);
    }

    /// Says that some steps more are done.
    pub fn step(&self, target: &SystemName, steps: usize) {
        if let Some(entry) = self.runs().get_mut(&(self.job.clone(), target.clone())) {
            entry.at.done += steps as u64;
        }
    }

    /// Says that a source was read whole.
    pub fn source_read(&self, source: &SystemName) {
        self.each(|listener| listener.source_read(source));
    }

    /// Says what a change has come to.
    pub fn changed(&self, target: &SystemName, kind: OpKind, outcome: &'static str) {
        self.each(|listener| listener.changed(&self.job, target, kind, outcome));
    }

    /// Says that a run has ended, and with it its last stage.
    pub fn ended(&self, start: &RunStart, end: &RunEnd) {
        let since = |entry: &mut Entry| Some((entry.at.stage, entry.since.take()?));
        let open = self.runs().get_mut(&(self.job.clone(), start.target.clone())).and_then(since);
        self.tell_stage(&start.target, open, Instant::now());
        self.each(|listener| listener.run_over(start, end));
    }

    /// Where the runs of this job are.
    pub fn all(&self) -> Vec<(SystemName, Where)> {
        let runs = self.runs();
        runs.iter().filter(|((job, _), _)| *job == self.job).map(|((_, target), entry)| (target.clone(), entry.at)).collect()
    }

    fn tell_stage(&self, target: &SystemName, open: Option<(Stage, Instant)>, now: Instant) {
        if let Some((stage, since)) = open {
            self.each(|listener| listener.stage_over(&self.job, target, stage, now.saturating_duration_since(since)));
        }
    }

    fn each(&self, tell: impl Fn(&dyn Listener)) {
        self.shared.listeners.get().into_iter().flatten().for_each(|listener| tell(&**listener));
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<(JobName, SystemName), Entry>> {
        self.shared.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::contract::journal::{Ended, Trigger};

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Listener for Heard {
        fn source_read(&self, source: &SystemName) {
            self.say(format!("{source} read"));
        }
        fn stage_over(&self, job: &JobName, target: &SystemName, stage: Stage, took: Duration) {
            self.say(format!("{job} {target} {} {}s", stage.word(), took.as_secs()));
        }
        fn changed(&self, job: &JobName, target: &SystemName, kind: OpKind, outcome: &'static str) {
            self.say(format!("{job} {target} {} {outcome}", kind.word()));
        }
        fn run_over(&self, start: &RunStart, end: &RunEnd) {
            self.say(format!("{} {} {}", start.job, start.target, end.ended.word()));
        }
    }

    impl Heard {
        fn say(&self, what: String) {
            self.0.lock().expect("not poisoned").push(what);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_of_each_run_is_told_once_and_the_last_before_the_end() {
        let heard = Arc::new(Heard::default());
        let board = Board::default();
        board.listen(vec![heard.clone()]);
        let (staff, guests) = (board.of(&"staff".into()), board.of(&"guests".into()));
        let jira = SystemName::from("jira");
        let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        staff.enter(&jira, Stage::ReadingTarget, 0);
        pass(2).await;
        staff.enter(&jira, Stage::ReadingTarget, 0);
        pass(1).await;
        // Another job that waits at the same target is another run.
        guests.enter(&jira, Stage::Waiting, 0);
        staff.enter(&jira, Stage::Applying, 5);
        staff.step(&jira, 2);
        staff.changed(&jira, OpKind::AddMember, "done");
        pass(4).await;
        assert_eq!(staff.all(), [(jira.clone(), Where { stage: Stage::Applying, done: 2, total: 5 })]);
        let at = Utc::now();
        let start =
            RunStart { id: "r".into(), job: "staff".into(), target: jira.clone(), trigger: Trigger::Schedule, by: None, at };
        staff.ended(&start, &RunEnd::bare(Ended::Applied, at, Vec::new()));
        pass(5).await;
        staff.enter(&jira, Stage::Over, 0);
        staff.enter(&jira, Stage::Waiting, 0);
        assert_eq!(
            *heard.0.lock().expect("not poisoned"),
            ["staff jira reading_target 3s", "staff jira add_member done", "staff jira applying 4s", "staff jira applied"]
        );
    }
}
