//! The course of a site: day after day, with whatever the script lets happen, and then fair weather.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::{ChangeRecord, Ended, Journal, JournalError, RunQuery, RunRecord, Trigger};
use rosterd::contract::verdict::Verdict;
use rosterd::engine::policy::{Job, RetryPolicy};
use rosterd::engine::prepare::TargetSide;
use rosterd::engine::progress::Board;
use rosterd::engine::rest::Refusals;
use rosterd::engine::run::{Report, World, plan, run};
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::backoff::Backoff;
use rosterd::model::key::{SourceKey, SystemName};
use rosterd::model::retry::{Retry, Subject};
use rosterd::reconcile::guard::Policy;
use rosterd::reconcile::health::HealthPolicy;
use rosterd::reconcile::mapping::desired;
use rosterd::reconcile::rules::Rules;
use rosterd::store::{self, Access};
use tokio_util::sync::CancellationToken;

use crate::brittle::{Blow, Brittle};
use crate::land::Land;
use crate::observer::{self, Before, Told};
use crate::operator::{Act, acts, let_go, release, say};
use crate::orders;
use crate::promises::{self, nobody_is_there_twice, nobody_resting_was_asked, resting, shown};
use crate::script::{Event, Script, Stream};
use crate::systems::{Lie, Nature, SYSTEMS, SourceOf, TargetOf, Weather};
use crate::truth::Truth;

/// What goes wrong with a day's run, other than that somebody is down.
const FAULTS: [Event; 6] = [Event::Weather, Event::Lies, Event::Lag, Event::Death, Event::Disk, Event::Pair];

/// How often a plan was shown and then held against what happened, and how often a target was looked at beside one that was down.
pub static SHOWN: AtomicU64 = AtomicU64::new(0);
pub static BESIDE_SICK: AtomicU64 = AtomicU64::new(0);

/// A clock that moves when it is told to.
#[derive(Debug)]
struct Hands(Mutex<DateTime<Utc>>);

impl Hands {
    fn set(&self, change: impl FnOnce(DateTime<Utc>) -> DateTime<Utc>) {
        let mut now = self.0.lock().expect("not poisoned");
        *now = change(*now);
    }
}

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("not poisoned")
    }
    /// Whoever waits for a lease waits in no time; whoever renews one need not.
    async fn sleep(&self, duration: Duration) {
        if duration > Duration::from_secs(1) {
            std::future::pending::<()>().await;
        }
        self.set(|now| now + duration);
        tokio::task::yield_now().await;
    }
}

/// A site in the middle of its life.
pub struct Site {
    pub nature: Arc<Nature>,
    pub journal: Arc<dyn Journal>,
    clock: Arc<Hands>,
    rules: Rules,
    pub policy: Policy,
    /// By how much the source may shrink from one run to the next and still be believed.
    shrink: f64,
    yesterday: Truth,
    folder: PathBuf,
}

/// Plays a script. `Err` with what went wrong.
pub fn play(script: &Script) -> Result<(), String> {
    played(script).map(drop)
}

/// The same, and tells what came of it: what the targets hold, and what the journal tells of each run.
pub fn played(script: &Script) -> Result<String, String> {
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let played = std::panic::AssertUnwindSafe(|| runtime.block_on(course(script, folder.path())));
    match std::panic::catch_unwind(played) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or_default()))
        }
    }
}

async fn course(script: &Script, folder: &Path) -> Result<String, String> {
    let mut site = Site::before_its_first_day(script, folder).await;
    for day in 0..script.days {
        site.day(script, day).await.map_err(|why| format!("day {day}: {why}"))?;
    }
    site.fair_weather(script).await.map_err(|why| format!("in fair weather: {why}"))?;
    site.ending().await.map_err(broken)
}

fn lie(script: &Script, site: &Site, day: u32) -> Lie {
    let Some(mut rng) = script.happens(day, Event::Lies) else { return Lie::None };
    match rng.u8(..3) {
        0 => Lie::Empty,
        1 => Lie::Holes,
        _ => Lie::Stale(site.yesterday.clone()),
    }
}

fn weather(script: &Script, day: u32, lie: Lie) -> Weather {
    let mut weather = Weather::new(script.stream(day, Stream::Accidents), lie);
    weather.one_in = script.happens(day, Event::Weather).map_or(0, |mut rng| rng.u32(3..30));
    weather.down = script.happens(day, Event::Down).map(|mut rng| rng.usize(..4)).into_iter().collect();
    weather.lag = script.happens(day, Event::Lag).map_or(0, |mut rng| rng.u32(1..5));
    weather
}

impl Site {
    pub async fn before_its_first_day(script: &Script, folder: &Path) -> Self {
        let mut rng = Rng::with_seed(script.seed);
        let truth = Truth::random(&mut rng);
        let [_, one, two, three] = SYSTEMS.map(SystemName::from);
        let mut lands = [one, two].map(|name| (name, Land::random(&mut rng))).to_vec();
        // Drawn apart: sites that are known by their seeds keep what else they have.
        lands.push((three, Land::random(&mut Rng::with_seed(!script.seed))));
        let rules = orders::rules(&mut rng);
        let policy = script.happens(0, Event::Guards).map_or_else(orders::open_policy, |mut rng| orders::policy(&mut rng));
        let url = format!("sqlite:{}", folder.join("state.db").display());
        let journal = Brittle::steady(store::open_for(&url, Access::Write).await.expect("the store opens"));
        let now = "2026-03-01T06:00:00Z".parse().expect("a time");
        let clock = Arc::new(Hands(Mutex::new(now)));
        let yesterday = truth.clone();
        Self {
            nature: Nature::new(truth, lands),
            journal,
            clock,
            rules,
            policy,
            shrink: 0.5,
            yesterday,
            folder: folder.to_owned(),
        }
    }

    async fn day(&mut self, script: &Script, day: u32) -> Result<(), String> {
        self.clock.set(|now| now + TimeDelta::minutes(60 + i64::from(script.stream(day, Stream::Hours).u16(..1800))));
        if let Some(mut rng) = script.happens(day, Event::Jump) {
            let minutes = rng.i64(-2880..2880);
            self.clock.set(|now| now + TimeDelta::minutes(minutes));
        }
        self.yesterday = self.nature.truth().clone();
        if let Some(mut rng) = script.happens(day, Event::Life) {
            self.nature.truth().day(&mut rng);
        }
        if let Some(mut rng) = script.happens(day, Event::Hands) {
            self.nature.land(rng.usize(..3)).edit(&mut rng);
        }
        if let Some(mut rng) = script.happens(day, Event::Reload) {
            self.rules.groups = orders::groups(&mut rng);
            match rng.u8(..4) {
                0 => self.rules = orders::rules(&mut rng),
                1 => self.rules.leavers = orders::rules(&mut rng).leavers,
                _ => {}
            }
        }
        let lie = lie(script, self, day);
        let empty = matches!(lie, Lie::Empty);
        let weather = weather(script, day, lie);
        let down = weather.down.first().copied();
        self.nature.set(weather);
        self.run(script, day, empty, down).await?;
        let mut abort = script.happens(day, Event::Abort);
        if let Some(mut rng) = script.happens(day, Event::Operator) {
            self.operator(&mut rng, abort.as_mut()).await?;
        }
        if script.happens(day, Event::Retry).is_some() {
            self.clock.set(|now| now + TimeDelta::minutes(90));
            self.retry(abort.as_mut()).await?;
        }
        Ok(())
    }

    /// What came of it all. Runs have numbers of their own each time, and are told by their order.
    async fn ending(&self) -> Result<String, JournalError> {
        let mut ending = String::new();
        for (at, (name, _)) in self.nature.lands.iter().enumerate() {
            ending += &format!("{:?}\n", *self.nature.land(at));
            for run in self.runs(name).await? {
                for ChangeRecord { intent, at, outcome, .. } in self.journal.changes(&run.start.id).await? {
                    ending += &format!("{name} {} {at} {intent:?} {outcome:?}\n", run.start.at);
                }
            }
        }
        Ok(ending)
    }

    /// The day's run, which may die, lack a disk, or not be alone. Of two processes one may die while the other goes on.
    async fn run(&self, script: &Script, day: u32, empty: bool, down: Option<usize>) -> Result<(), String> {
        let before = self.look().await;
        let since = self.clock.now();
        let is_fair = FAULTS.iter().all(|event| script.happens(day, *event).is_none());
        let resting = resting(&*self.journal, since).await?;
        // Whoever rests has no plan to be shown.
        let is_clear = is_fair && down.is_none() && resting.now.is_empty();
        SHOWN.fetch_add(u64::from(is_clear), Ordering::Relaxed);
        let shown = match is_clear {
            true => Some(shown(&self.world("seer", self.journal.clone()), &self.folder).await?),
            false => None,
        };
        let asked = self.nature.asked();
        let stop = CancellationToken::new();
        let brittle = script.happens(day, Event::Disk).map(|mut rng| {
            let at = rng.usize(1..25);
            match rng.u8(..4) {
                0 => Brittle::dying(self.journal.clone(), at, Blow::Before),
                1 => Brittle::dying(self.journal.clone(), at, Blow::After),
                2 => Brittle::dying(self.journal.clone(), at, Blow::Error),
                _ => Brittle::locked(self.journal.clone(), at),
            }
        });
        let one = async {
            let Some(journal) = &brittle else {
                return drop(run(&self.world("one", self.journal.clone()), &[], Trigger::Schedule, &stop).await);
            };
            let world = self.world("one", journal.clone());
            // Whoever is dead is not given another turn: whether it is would be up to chance.
            tokio::select! {
                biased;
                () = journal.died() => {}
                _ = run(&world, &[], Trigger::Schedule, &stop) => {}
            }
        };
        let two = async {
            if script.happens(day, Event::Pair).is_some() {
                drop(run(&self.world("two", self.journal.clone()), &[], Trigger::Schedule, &stop).await);
            }
        };
        self.nature.dies_after(script.happens(day, Event::Death).map(|mut rng| rng.u32(1..60)));
        tokio::select! {
            biased;
            () = self.nature.died() => {}
            _ = async { tokio::join!(one, two) } => {}
        }
        self.bury().await;
        nobody_resting_was_asked(&resting, &asked, &self.nature.asked())?;
        for (at, before) in before.iter().enumerate() {
            let name = &self.nature.lands[at].0;
            if down == Some(0) && *self.nature.land(at) != before.land {
                return Err(format!("{name} was changed by a run that could not read the source"));
            }
            let runs = self.new_runs(name, &before.runs).await.map_err(broken)?;
            if let Some(shown) = &shown {
                let mut told = Vec::new();
                for run in &runs {
                    told.extend(self.journal.changes(&run.start.id).await.map_err(broken)?);
                }
                shown.is_what_happened(name, &told)?;
            }
            if is_fair && down.is_some_and(|down| down != 0 && down != at + 1) && !resting.now.contains(name) {
                BESIDE_SICK.fetch_add(1, Ordering::Relaxed);
                promises::was_not_held_up(&runs).map_err(|why| format!("{name}: {why}"))?;
            }
        }
        self.observe(&before, since, empty).await
    }

    /// Whoever died sends nothing more, and holds leases that run out.
    async fn bury(&self) {
        self.nature.dies_after(None);
        tokio::task::yield_now().await;
        self.clock.set(|now| now + TimeDelta::seconds(20));
    }

    /// Holds what runs and retries did since a time against the truth.
    async fn observe(&self, before: &[Before], since: DateTime<Utc>, empty: bool) -> Result<(), String> {
        let wish = observer::true_wish(&self.nature.truth(), &self.rules);
        let stale = desired(&self.yesterday.listing(&mut Rng::with_seed(0)), &self.rules);
        for (at, before) in before.iter().enumerate() {
            let after = self.nature.land(at).clone();
            let name = &self.nature.lands[at].0;
            let links = self.journal.links(name).await.map_err(broken)?;
            nobody_is_there_twice(&links).map_err(|why| format!("{name}: {why}"))?;
            let told = Told::of(&self.told(name, since).await.map_err(broken)?);
            let say = |why: String| format!("{name}: {why}");
            observer::nobody_lost(&wish, before, &after).map_err(say)?;
            if empty {
                observer::nothing_taken(&before.land, &after).map_err(say)?;
            }
            observer::strangers_are_left_alone(&[&wish, &stale], before, &links, &after).map_err(say)?;
            observer::only_ours_is_taken(&[&wish, &stale], &self.rules, before, &after, &told).map_err(say)?;
            observer::every_difference_is_told(&before.land, &after, &told).map_err(say)?;
        }
        Ok(())
    }

    /// Somebody's work, which dies at one of its next requests or writes if it is doomed. `None`: it did.
    async fn mortal<T>(&self, holder: &str, doom: Option<&mut Rng>, work: impl AsyncFnOnce(&World) -> T) -> Option<T> {
        let Some(rng) = doom else { return Some(work(&self.world(holder, self.journal.clone())).await) };
        let brittle = rng.bool().then(|| {
            let blow = if rng.bool() { Blow::Before } else { Blow::After };
            Brittle::dying(self.journal.clone(), rng.usize(1..8), blow)
        });
        let journal = brittle.clone().map_or(self.journal.clone(), |brittle| brittle as Arc<dyn Journal>);
        self.nature.dies_after(brittle.is_none().then(|| rng.u32(..12)));
        let world = self.world(holder, journal);
        let died = async {
            match &brittle {
                Some(journal) => journal.died().await,
                None => self.nature.died().await,
            }
        };
        let done = tokio::select! {
            biased;
            () = died => None,
            done = work(&world) => Some(done),
        };
        self.bury().await;
        done
    }

    async fn operator(&self, rng: &mut Rng, doom: Option<&mut Rng>) -> Result<(), String> {
        let before = self.look().await;
        let since = self.clock.now();
        let act = self.mortal("operator", doom, async |world| acts(world, rng).await).await.transpose().map_err(broken)?;
        for (at, before) in before.iter().enumerate() {
            let after = self.nature.land(at).clone();
            let name = &self.nature.lands[at].0;
            if act == Some(Act::Said) && before.land != after {
                return Err(format!("{name}: was changed by a word alone"));
            }
            let told = Told::of(&self.told(name, since).await.map_err(broken)?);
            let told = observer::every_difference_is_told(&before.land, &after, &told);
            told.map_err(|why| format!("{name}, after the operator (died: {}): {why}", act.is_none()))?;
        }
        self.clock.set(|now| now + TimeDelta::seconds(20));
        Ok(())
    }

    /// Whoever is due is tried again, as the daemon does between runs.
    async fn retry(&self, doom: Option<&mut Rng>) -> Result<(), String> {
        let before = self.look().await;
        let since = self.clock.now();
        let resting = resting(&*self.journal, since).await?;
        let asked = self.nature.asked();
        let work = async |world: &World| {
            for side in &world.targets {
                let is_due = |r: &Retry| r.target == side.name && r.not_before <= since && r.subject != Subject::Everything;
                let due: Vec<Retry> = world.journal.retries().await?.into_iter().filter(is_due).collect();
                if !due.is_empty() {
                    retry_subjects(world, side, &due, &CancellationToken::new()).await?;
                }
            }
            Ok(())
        };
        self.mortal("one", doom, work).await.transpose().map_err(broken)?;
        nobody_resting_was_asked(&resting, &asked, &self.nature.asked()).map_err(|why| format!("retried: {why}"))?;
        self.clock.set(|now| now + TimeDelta::seconds(20));
        self.observe(&before, since, false).await.map_err(|why| format!("retried: {why}"))
    }

    /// The faults are over, somebody is at work at the source, and the operator lets everything go, says yes to all that waits
    /// and believes a source that has shrunk: after a few runs everybody has what is due, and there is nothing to do.
    async fn fair_weather(&mut self, script: &Script) -> Result<(), String> {
        self.nature.set(Weather::default());
        self.nature.truth().inhabit(&mut script.stream(script.days, Stream::Fair));
        self.yesterday = self.nature.truth().clone();
        self.shrink = 1.0;
        let world = self.world("one", self.journal.clone());
        let_go(&world).await.map_err(broken)?;
        // Grace is over, and the clock is ahead of all that it ever said.
        self.clock.set(|now| now + TimeDelta::days(8));
        let open = script.happens(0, Event::Guards).is_none();
        let most = if open { self.runs_needed() } else { 8 };
        for left in (0..=most).rev() {
            release(&world).await.map_err(broken)?;
            say(&world, Verdict::Approved, true).await.map_err(broken)?;
            self.clock.set(|now| now + TimeDelta::hours(73));
            let (before, since) = (self.look().await, self.clock.now());
            let reports = run(&world, &[], Trigger::Schedule, &CancellationToken::new()).await.map_err(broken)?;
            self.observe(&before, since, false).await?;
            if left == 0 {
                for report in &reports {
                    at_rest(report, open).map_err(|why| format!("after {most} runs {}: {why}", report.record.start.target))?;
                }
            }
        }
        self.in_order(&world, open).await
    }

    /// How many runs it takes at the most until there is nothing left to do where nothing holds anything back. One learns, the
    /// second meets what only then can be told; a grace begins with the first that sees somebody gone, a deletion comes
    /// after that, and frees a name for the next.
    fn runs_needed(&self) -> u32 {
        let leavers = &self.rules.leavers;
        let deletes = leavers.deletes_at_once() || leavers.delete_after.is_some();
        2 + u32::from(!leavers.grace.is_zero()) + 2 * u32::from(deletes)
    }

    /// Everybody has what is due, nothing waits, nothing is left to do, and the journal is as it was written.
    async fn in_order(&self, world: &World, open: bool) -> Result<(), String> {
        for (at, (name, prepared)) in plan(world).await.map_err(|error| error.to_string())?.into_iter().enumerate() {
            let judged = prepared.map_err(|error| format!("{name}: {error}"))?.judged;
            let left: Vec<_> = judged.admitted.changes().map(|(_, change)| change.clone()).collect();
            if !left.is_empty() {
                return Err(format!("{name} is not in order: {left:?} of {:?}", judged.admitted.plan().users));
            }
            if open && !(judged.withheld.is_empty() && judged.staged.is_empty()) {
                return Err(format!("{name}: something waits: {:?} {:?}", judged.withheld, judged.staged));
            }
            let wish = observer::true_wish(&self.nature.truth(), &self.rules);
            let links = self.journal.links(&name).await.map_err(broken)?;
            let land = self.nature.land(at).clone();
            let due = observer::Due { wish: &wish, links: &links, land: &land, rules: &self.rules, policy: &self.policy };
            due.everybody_has_it(&judged).map_err(|why| format!("{name}: {why}"))?;
        }
        let queue = self.journal.retries().await.map_err(broken)?;
        if open && !queue.is_empty() {
            return Err(format!("something is still on the queue: {queue:?}"));
        }
        let checked = self.journal.verify(None).await.map_err(broken)?;
        if checked.holds() { Ok(()) } else { Err(format!("the journal was changed by another hand: {:?}", checked.broken)) }
    }
}

/// Nothing was done in this run; with open guards it says that there is nothing to do.
fn at_rest(report: &Report, open: bool) -> Result<(), String> {
    let Some(end) = &report.record.end else { return Err("the run has no end".to_owned()) };
    let quiet = end.done.is_empty() && end.failed == 0;
    if quiet && (!open || end.ended == Ended::Converged) { Ok(()) } else { Err(format!("is not at rest: {end:?}")) }
}

fn broken(error: JournalError) -> String {
    format!("the store: {error}")
}

/// A folder in memory where there is one that can be written: hundreds of state files are flushed thousands of times each.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

impl Site {
    /// The job over this site, as a process would run it.
    pub fn world(&self, holder: &str, journal: Arc<dyn Journal>) -> World {
        let job = Job {
            name: "staff".into(),
            rules: self.rules.clone(),
            guard: self.policy.clone(),
            health: HealthPolicy { shrink: self.shrink, canary_users: vec![], canary_groups: vec![] },
            retry: RetryPolicy {
                backoff: Backoff::new(Duration::from_secs(60), Duration::from_secs(3600)).expect("a backoff"),
                attempts: 4,
                rest: Duration::from_secs(86_400),
            },
            observe: BTreeSet::new(),
            notify: vec![],
        };
        let side = |at: usize| TargetSide {
            name: self.nature.lands[at].0.clone(),
            target: Arc::new(TargetOf { nature: self.nature.clone(), at }),
        };
        World {
            job: Arc::new(job),
            source_name: "okta".into(),
            source: Arc::new(SourceOf { name: "okta".into(), nature: self.nature.clone() }),
            targets: (0..self.nature.lands.len()).map(side).collect(),
            journal,
            clock: self.clock.clone(),
            draw: Arc::new(|| 0.5),
            holder: holder.to_owned(),
            gone: Arc::new(|_| false),
            board: Board::default(),
            requests: Arc::new(|_| 0),
            credentials: Arc::default(),
            refusals: Arc::new(Refusals::new(|_| {})),
        }
    }

    /// Hours pass.
    pub fn passes(&self, hours: i64) {
        self.clock.set(|now| now + TimeDelta::hours(hours));
    }

    /// Everybody who is linked somewhere.
    pub async fn links_of_all(&self) -> Vec<SourceKey> {
        let mut all = Vec::new();
        for (name, _) in &self.nature.lands {
            let links = self.journal.links(name).await.expect("the store can be read");
            all.extend(links.users.into_iter().map(|link| link.source));
        }
        all
    }

    async fn look(&self) -> Vec<Before> {
        let mut looks = Vec::new();
        for (at, (name, _)) in self.nature.lands.iter().enumerate() {
            let links = self.journal.links(name).await.expect("the store can be read");
            let ledger = self.journal.ledger(name).await.expect("the store can be read");
            let runs = self.runs(name).await.expect("the store can be read");
            looks.push(Before { land: self.nature.land(at).clone(), links, ledger, runs });
        }
        looks
    }

    /// What the journal says of runs since a time.
    async fn told(&self, target: &SystemName, since: DateTime<Utc>) -> Result<Vec<ChangeRecord>, JournalError> {
        let mut changes = Vec::new();
        for run in self.runs(target).await?.into_iter().filter(|run| run.start.at >= since) {
            changes.extend(self.journal.changes(&run.start.id).await?);
        }
        Ok(changes)
    }

    /// All runs at a target.
    async fn runs(&self, target: &SystemName) -> Result<Vec<RunRecord>, JournalError> {
        self.journal.runs(&RunQuery { target: Some(target.clone()), limit: 1000, ..RunQuery::default() }).await
    }

    /// Those of them that were not there before: a clock that was set back tells nothing of that.
    async fn new_runs(&self, target: &SystemName, before: &[RunRecord]) -> Result<Vec<RunRecord>, JournalError> {
        let is_new = |run: &RunRecord| before.iter().all(|old| old.start.id != run.start.id);
        Ok(self.runs(target).await?.into_iter().filter(is_new).collect())
    }
}
