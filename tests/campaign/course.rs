//! The course of a site: day after day, with whatever the script lets happen.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::{ChangeRecord, Journal, JournalError, RunQuery, Trigger};
use rosterd::contract::verdict::Verdict;
use rosterd::engine::policy::{Job, RetryPolicy};
use rosterd::engine::prepare::TargetSide;
use rosterd::engine::progress::Board;
use rosterd::engine::run::{World, plan, run};
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
use crate::observer::{Before, Told, every_difference_is_told, nobody_lost, nothing_taken, strangers_are_left_alone, true_wish};
use crate::operator::{Act, acts, let_go, release, say};
use crate::orders;
use crate::systems::{Lie, Nature, SourceOf, TargetOf, Weather};
use crate::truth::Truth;

/// What can happen on a day besides the daily run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// People come, move and leave.
    Life,
    /// Somebody works at a target by hand.
    Hands,
    /// Requests fail.
    Weather,
    /// Systems are down for the day.
    Down,
    /// The listing is empty, has holes, or is of yesterday.
    Lies,
    /// The process dies.
    Death,
    /// The state file cannot be written.
    Disk,
    /// Two processes run at once.
    Pair,
    /// The clock jumps.
    Jump,
    /// The operator does something.
    Operator,
    /// The configuration changes.
    Reload,
    /// Single subjects are tried again.
    Retry,
    /// Limits, protections and expectations hold things back.
    Guards,
}

const EVENTS: [Event; 13] = [
    Event::Life,
    Event::Hands,
    Event::Weather,
    Event::Down,
    Event::Lies,
    Event::Death,
    Event::Disk,
    Event::Pair,
    Event::Jump,
    Event::Operator,
    Event::Reload,
    Event::Retry,
    Event::Guards,
];

/// A site's life, by its seed and by what is left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub seed: u64,
    pub days: u32,
    pub without: BTreeSet<Event>,
}

/// The script, cut down as long as it still fails.
pub fn shrunk(mut script: Script, mut why: String) -> (Script, String) {
    let mut try_one = |shorter: Script, script: &mut Script| {
        if let Err(still) = shorter.play() {
            (*script, why) = (shorter, still);
            return true;
        }
        false
    };
    while script.days > 1 && try_one(Script { days: script.days - 1, ..script.clone() }, &mut script) {}
    for event in EVENTS {
        let mut without = script.without.clone();
        without.insert(event);
        try_one(Script { without, ..script.clone() }, &mut script);
    }
    while script.days > 1 && try_one(Script { days: script.days - 1, ..script.clone() }, &mut script) {}
    (script, why)
}

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
    yesterday: Truth,
}

impl Script {
    pub fn of(seed: u64) -> Self {
        Self { seed, days: 14, without: BTreeSet::new() }
    }

    /// Randomness of its own for each event of each day: what is left out changes nothing else.
    fn rng(&self, day: u32, event: Event) -> Rng {
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(day) << 8) ^ event as u64);
        rng.u64(..);
        rng
    }

    /// One time in so many, on days when it may happen.
    fn happens(&self, day: u32, event: Event, one_in: u32) -> Option<Rng> {
        let mut rng = self.rng(day, event);
        (!self.without.contains(&event) && rng.u32(..one_in) == 0).then_some(rng)
    }

    /// Plays it. `Err` with what went wrong.
    pub fn play(&self) -> Result<(), String> {
        let folder = folder();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let played = std::panic::AssertUnwindSafe(|| runtime.block_on(self.course(folder.path())));
        match std::panic::catch_unwind(played) {
            Ok(result) => result,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                Err(format!("panicked: {}", text.unwrap_or_default()))
            }
        }
    }

    async fn course(&self, folder: &Path) -> Result<(), String> {
        let mut site = self.site(folder).await;
        for day in 0..self.days {
            self.day(&mut site, day).await.map_err(|why| format!("day {day}: {why}"))?;
        }
        self.fair_weather(&site).await
    }

    /// The site before its first day.
    pub async fn site(&self, folder: &Path) -> Site {
        let mut rng = Rng::with_seed(self.seed);
        let truth = Truth::random(&mut rng);
        let lands = ["jira", "wiki"].map(|name| (SystemName::from(name), Land::random(&mut rng)));
        let rules = orders::rules(&mut rng);
        let policy = orders::policy(&mut rng);
        let policy = if self.without.contains(&Event::Guards) || rng.bool() { orders::open_policy() } else { policy };
        let url = format!("sqlite:{}", folder.join("state.db").display());
        let journal = store::open_for(&url, Access::Write).await.expect("the store opens");
        let now = "2026-03-01T06:00:00Z".parse().expect("a time");
        let yesterday = truth.clone();
        Site {
            nature: Nature::new(truth, lands.to_vec()),
            journal,
            clock: Arc::new(Hands(Mutex::new(now))),
            rules,
            policy,
            yesterday,
        }
    }

    async fn day(&self, site: &mut Site, day: u32) -> Result<(), String> {
        site.clock.set(|now| now + TimeDelta::minutes(60 + i64::from(self.rng(day, Event::Jump).u16(..1800))));
        if let Some(mut rng) = self.happens(day, Event::Jump, 8) {
            let minutes = rng.i64(-2880..2880);
            site.clock.set(|now| now + TimeDelta::minutes(minutes));
        }
        site.yesterday = site.nature.truth().clone();
        if let Some(mut rng) = self.happens(day, Event::Life, 1) {
            site.nature.truth().day(&mut rng);
        }
        if let Some(mut rng) = self.happens(day, Event::Hands, 3) {
            site.nature.land(rng.usize(..2)).edit(&mut rng);
        }
        if let Some(mut rng) = self.happens(day, Event::Reload, 10) {
            site.rules.groups = orders::groups(&mut rng);
        }
        let lie = self.lie(site, day);
        let empty = matches!(lie, Lie::Empty);
        site.nature.set(self.weather(day, lie));
        self.run(site, day, empty).await?;
        if let Some(mut rng) = self.happens(day, Event::Operator, 3) {
            self.operator(site, &mut rng).await?;
        }
        if self.happens(day, Event::Retry, 3).is_some() {
            site.clock.set(|now| now + TimeDelta::minutes(90));
            self.retry(site).await?;
        }
        Ok(())
    }

    fn lie(&self, site: &Site, day: u32) -> Lie {
        let Some(mut rng) = self.happens(day, Event::Lies, 4) else { return Lie::None };
        match rng.u8(..3) {
            0 => Lie::Empty,
            1 => Lie::Holes,
            _ => Lie::Stale(site.yesterday.clone()),
        }
    }

    fn weather(&self, day: u32, lie: Lie) -> Weather {
        let one_in = self.happens(day, Event::Weather, 2).map_or(0, |mut rng| rng.u32(3..30));
        let mut down = BTreeSet::new();
        // Three days in a row share their draw: some are down for that long.
        if let Some(mut rng) = self.happens(day / 3, Event::Down, 6) {
            down.insert(rng.usize(..3));
        }
        Weather::new(self.rng(day, Event::Weather), one_in, down, lie)
    }

    /// The day's run, which may die, lack a disk, or not be alone.
    async fn run(&self, site: &Site, day: u32, empty: bool) -> Result<(), String> {
        let before = site.look().await;
        let death = self.happens(day, Event::Death, 5).map(|mut rng| rng.u32(1..60));
        site.nature.dies_after(death);
        let brittle = self.happens(day, Event::Disk, 6).map(|mut rng| {
            let at = rng.usize(1..25);
            let blow = match rng.u8(..3) {
                0 => Blow::Before,
                1 => Blow::After,
                _ => Blow::Error,
            };
            (at, blow)
        });
        let since = site.clock.now();
        let stop = CancellationToken::new();
        match brittle {
            Some((at, blow)) => {
                let journal = Brittle::dying(site.journal.clone(), at, blow);
                let world = site.world("one", journal.clone());
                tokio::select! {
                    _ = run(&world, &[], Trigger::Schedule, &stop) => {}
                    () = journal.died() => {}
                    () = site.nature.died() => {}
                }
            }
            None if self.happens(day, Event::Pair, 6).is_some() => {
                let (one, two) = (site.world("one", site.journal.clone()), site.world("two", site.journal.clone()));
                tokio::select! {
                    _ = async { tokio::join!(run(&one, &[], Trigger::Schedule, &stop), run(&two, &[], Trigger::Schedule, &stop)) } => {}
                    () = site.nature.died() => {}
                }
            }
            None => {
                let world = site.world("one", site.journal.clone());
                tokio::select! {
                    _ = run(&world, &[], Trigger::Schedule, &stop) => {}
                    () = site.nature.died() => {}
                }
            }
        }
        site.nature.dies_after(None);
        // Whoever died holds leases that run out.
        tokio::task::yield_now().await;
        site.clock.set(|now| now + TimeDelta::seconds(20));
        let wish = true_wish(&site.nature.truth(), &site.rules);
        for (at, before) in before.iter().enumerate() {
            let after = site.nature.land(at).clone();
            let name = &site.nature.lands[at].0;
            let links = site.journal.links(name).await.map_err(broken)?;
            let say = |why: String| format!("{name}: {why}");
            nobody_lost(&wish, before, &after).map_err(say)?;
            if empty {
                nothing_taken(&before.land, &after).map_err(say)?;
            }
            let stale = desired(&site.yesterday.listing(&mut Rng::with_seed(0)), &site.rules);
            strangers_are_left_alone(&[&wish, &stale], before, &links, &after).map_err(say)?;
            let told = Told::of(&site.told(name, since).await.map_err(broken)?);
            every_difference_is_told(&before.land, &after, &told).map_err(say)?;
        }
        Ok(())
    }

    async fn operator(&self, site: &Site, rng: &mut Rng) -> Result<(), String> {
        let before = site.look().await;
        let since = site.clock.now();
        let world = site.world("operator", site.journal.clone());
        let act = acts(&world, rng).await.map_err(broken)?;
        for (at, before) in before.iter().enumerate() {
            let after = site.nature.land(at).clone();
            let name = &site.nature.lands[at].0;
            match act {
                Act::Said if before.land != after => return Err(format!("{name}: was changed by a word alone")),
                Act::Said => {}
                Act::Undone => {
                    let told = Told::of(&site.told(name, since).await.map_err(broken)?);
                    every_difference_is_told(&before.land, &after, &told).map_err(|why| format!("{name}, undone: {why}"))?;
                }
            }
        }
        site.clock.set(|now| now + TimeDelta::seconds(20));
        Ok(())
    }

    /// Whoever is due is tried again, as the daemon does between runs.
    async fn retry(&self, site: &Site) -> Result<(), String> {
        let before = site.look().await;
        let world = site.world("one", site.journal.clone());
        let now = site.clock.now();
        let wish = true_wish(&site.nature.truth(), &site.rules);
        for (at, side) in world.targets.iter().enumerate() {
            let is_due = |r: &Retry| r.target == side.name && r.not_before <= now && r.subject != Subject::Everything;
            let due: Vec<Retry> = site.journal.retries().await.map_err(broken)?.into_iter().filter(is_due).collect();
            if !due.is_empty() {
                retry_subjects(&world, side, &due, &CancellationToken::new()).await.map_err(broken)?;
            }
            let after = site.nature.land(at).clone();
            let say = |why: String| format!("{}, retried: {why}", side.name);
            nobody_lost(&wish, &before[at], &after).map_err(say)?;
            let told = Told::of(&site.told(&side.name, now).await.map_err(broken)?);
            every_difference_is_told(&before[at].land, &after, &told).map_err(say)?;
        }
        site.clock.set(|now| now + TimeDelta::seconds(20));
        Ok(())
    }

    /// The faults are over, and the operator lets everything go: a few runs later there is nothing to do.
    async fn fair_weather(&self, site: &Site) -> Result<(), String> {
        site.nature.set(Weather::default());
        let world = site.world("one", site.journal.clone());
        let_go(&world).await.map_err(broken)?;
        // Grace is over, and the clock is ahead of all that it ever said.
        site.clock.set(|now| now + TimeDelta::days(8));
        let open = site.policy.expect.is_empty() && site.policy.admins_at_least == 0;
        // One run learns, the next ones meet what only then can be told: a deletion that frees a name, a grace that begins.
        let most = if open { 3 } else { 8 };
        for _ in 0..most {
            release(&world).await.map_err(broken)?;
            say(&world, Verdict::Approved, true).await.map_err(broken)?;
            site.clock.set(|now| now + TimeDelta::hours(73));
            run(&world, &[], Trigger::Schedule, &CancellationToken::new()).await.map_err(broken)?;
        }
        for (name, prepared) in plan(&world).await.map_err(|error| format!("in fair weather: {error}"))? {
            let prepared = prepared.map_err(|error| format!("in fair weather: {name}: {error}"))?;
            let left: Vec<_> = prepared.judged.admitted.changes().map(|(_, change)| change.clone()).collect();
            if !left.is_empty() {
                let users = &prepared.judged.admitted.plan().users;
                return Err(format!("{name} is not in order after {most} runs in fair weather: {left:?} of {users:?}"));
            }
        }
        Ok(())
    }
}

fn broken(error: JournalError) -> String {
    format!("the store: {error}")
}

/// A folder in memory where there is one: hundreds of state files are flushed thousands of times each.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}

impl Site {
    /// The job over this site, as a process would run it.
    pub fn world(&self, holder: &str, journal: Arc<dyn Journal>) -> World {
        let job = Job {
            name: "staff".into(),
            rules: self.rules.clone(),
            guard: self.policy.clone(),
            health: HealthPolicy { shrink: 0.5, canary_users: vec![], canary_groups: vec![] },
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
            looks.push(Before { land: self.nature.land(at).clone(), links });
        }
        looks
    }

    /// What the journal says of runs since a time.
    async fn told(&self, target: &SystemName, since: DateTime<Utc>) -> Result<Vec<ChangeRecord>, JournalError> {
        let query = RunQuery { target: Some(target.clone()), limit: 1000, ..RunQuery::default() };
        let mut changes = Vec::new();
        for run in self.journal.runs(&query).await?.into_iter().filter(|run| run.start.at >= since) {
            changes.extend(self.journal.changes(&run.start.id).await?);
        }
        Ok(changes)
    }
}
