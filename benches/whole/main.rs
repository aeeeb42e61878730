//! A whole run against simulators in a process of their own: wall time, CPU, peak memory, requests.
//!
//! `cargo bench --bench whole` measures this process alone; what the simulators used meanwhile stands beside it, to show
//! that they are not what is waited for. `-- CASE` picks another case:
//!
//! | case | what |
//! |---|---|
//! | `medium` | 20,000 users, 500 groups, 200,000 memberships; the targets are empty, so the first run creates everything |
//! | `read` | as many, and Okta is only read, ten times |
//! | `full` | as many, but the targets hold everything already, so the first run links it |
//! | `latency` | as many, read from an Okta of which every answer takes 100 ms |
//! | `limited` | 3,000 users, 60 groups, 20,000 memberships, read from an Okta that allows 60 requests a minute and bucket |
//! | `large` | 100,000 users, 10,000 groups, 1,000,000 memberships; the targets hold everything already, so the first run links it |
//! | `large-first` | the same, and the targets are empty |
//!
//! That `large` begins with full targets is the steady state of an organisation of that size: to create everything takes
//! some three million writes, one by one where the product has no others, and tells no more than `medium` does.

mod ground;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ground::{ALLOWED, Ground, WINDOW, serve};
use rosterd::contract::journal::{Sizes, Trigger};
use rosterd::daemon::assemble::{Services, assemble, kit, load};
use rosterd::engine::run::{Report, World, read_source, run};
use rosterd::model::key::{JobName, SystemName};
use rosterd::store::{self, Access};
use tokio_util::sync::CancellationToken;

/// As in the binary: peaks depend on it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Anything = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Medium,
    Read,
    Full,
    Latency,
    Limited,
    Large,
    LargeFirst,
}

struct Size {
    people: usize,
    groups: usize,
    memberships: usize,
}

impl Case {
    const ALL: [Self; 7] = [Self::Medium, Self::Read, Self::Full, Self::Latency, Self::Limited, Self::Large, Self::LargeFirst];

    fn word(self) -> &'static str {
        match self {
            Self::Medium => "medium",
            Self::Read => "read",
            Self::Full => "full",
            Self::Latency => "latency",
            Self::Limited => "limited",
            Self::Large => "large",
            Self::LargeFirst => "large-first",
        }
    }

    fn named(word: &str) -> Result<Self, Anything> {
        Self::ALL.into_iter().find(|case| case.word() == word).ok_or_else(|| format!("there is no case {word:?}").into())
    }

    fn size(self) -> Size {
        let (people, groups, memberships) = match self {
            Self::Medium | Self::Read | Self::Full | Self::Latency => (20_000, 500, 200_000),
            Self::Limited => (3_000, 60, 20_000),
            Self::Large | Self::LargeFirst => (100_000, 10_000, 1_000_000),
        };
        Size { people, groups, memberships }
    }

    fn targets_hold_everything(self) -> bool {
        matches!(self, Self::Full | Self::Large)
    }

    /// How often Okta is read before the runs.
    fn readings(self) -> usize {
        if self == Self::Read { 10 } else { 1 }
    }

    /// What the reading of Okta shall not exceed.
    fn reading_goal(self) -> &'static str {
        match self {
            Self::Medium | Self::Read | Self::Full => "0.70 s CPU, 60 MiB, 670 requests",
            Self::Latency => "20 s",
            Self::Limited => "1.05 of the ideal time, no 429",
            Self::Large | Self::LargeFirst => "",
        }
    }

    /// The runs after the reading.
    fn runs(self) -> &'static [&'static str] {
        match self {
            Self::Medium | Self::LargeFirst => &["first run: everything is created", "second run: nothing to do", CHANGED],
            Self::Full | Self::Large => &["first run: everything is linked", "second run: nothing to do", CHANGED],
            Self::Read | Self::Latency | Self::Limited => &[],
        }
    }
}

/// The run before which Okta changes.
const CHANGED: &str = "third run: 1 % has changed";

fn main() -> Result<(), Anything> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.as_slice() {
        ["serve", case, folder] => runtime.block_on(serve(Case::named(case)?, Path::new(folder))),
        [] => runtime.block_on(measure(Case::Medium)),
        [case, ..] => runtime.block_on(measure(Case::named(case)?)),
    }
}

async fn measure(case: Case) -> Result<(), Anything> {
    let folder = std::env::temp_dir().join(format!("rosterd-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut ground = Ground::start(case, &folder)?;
    let Size { people, groups, memberships } = case.size();
    println!("{}: {people} users, {groups} groups, {memberships} memberships", case.word());

    let kit = kit();
    let checked = load(&folder.join("rosterd.toml"), &kit).map_err(|e| e.render(false))?;
    let journal = store::open_for(&checked.config.daemon.state, Access::Write).await?;
    let services = Services::new(journal, kit);
    let assembly = assemble(checked.config, &services)?;
    let world = &assembly.worlds[&JobName::from("staff")];
    println!("{:<34} {:>8} {:>8} {:>9} {:>9} {:>12}", "", "wall s", "cpu s", "peak MiB", "requests", "their cpu s");

    for _ in 1..case.readings() {
        let before = Reading::now(world, &ground);
        drop(on_a_worker(world, |world| async move { read_source(&world).await }).await?);
        before.row("read Okta", world, &ground);
    }
    let before = Reading::now(world, &ground);
    let reading = on_a_worker(world, |world| async move { read_source(&world).await }).await?;
    let mut used = before.row("read Okta", world, &ground);
    let Sizes { users, groups: listed, memberships } = reading.signs.sizes;
    let read = format!("{users} users, {listed} groups, {memberships} memberships");
    println!("{:<34} {read}; goal: {}", "", case.reading_goal());
    if case == Case::Limited {
        let ideal = ideal_seconds(listed as usize, people);
        println!("{:<34} {:.3} of the ideal time, which is {ideal:.0} s", "", used.wall / ideal);
    }
    drop(reading);
    for name in case.runs() {
        if *name == CHANGED {
            println!("{:<34} changed at Okta: {}", "", ground.change()?);
        }
        let before = Reading::now(world, &ground);
        let stop = CancellationToken::new();
        let reports = on_a_worker(world, |world| async move { run(&world, &[], Trigger::Schedule, &stop).await }).await?;
        let now = before.row(name, world, &ground);
        used.peak = used.peak.max(now.peak);
        reports.iter().for_each(tell);
    }
    if case == Case::Large {
        println!("highest peak: {} MiB; goal: 286 MiB (300 MB)", used.peak);
    }
    println!("answers of 429 that Okta gave: {}; goal: 0", ground.end()?);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Works as the daemon does: as a task of its own, beside its connections on the runtime's threads.
async fn on_a_worker<T, F>(world: &World, work: impl FnOnce(World) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    tokio::spawn(work(world.clone())).await.expect("it does not panic")
}

/// The least time that the limit allows: full windows but for the last one, of the scarcer bucket.
fn ideal_seconds(groups: usize, people: usize) -> f64 {
    let of_groups = groups + groups.div_ceil(200);
    let requests = of_groups.max(people.div_ceil(200));
    let windows = requests.div_ceil(ALLOWED as usize).max(1) - 1;
    WINDOW.as_secs_f64() * windows as f64
}

/// What a run came to at one target.
fn tell(report: &Report) {
    let Some(end) = &report.record.end else { return };
    let done: u64 = end.done.iter().map(|(_, n)| n).sum();
    let (target, ended, requests) = (&report.record.start.target, end.ended.word(), end.requests);
    println!("{:<34} {target}: {ended}, {done} changes, {} failed, {requests} requests", "", end.failed);
    if let Some(first) = end.messages.first().filter(|_| end.failed > 0) {
        println!("{:<34} {} messages, such as: {first}", "", end.messages.len());
    }
}

/// What the process had used at a moment.
struct Reading {
    at: Instant,
    cpu: f64,
    theirs: f64,
    requests: u64,
}

/// What it has used since.
struct Used {
    wall: f64,
    /// In MiB.
    peak: u64,
}

impl Reading {
    fn now(world: &World, ground: &Ground) -> Self {
        // Starts the peak anew, so that each row has its own.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self {
            at: Instant::now(),
            cpu: cpu_seconds(std::process::id()),
            theirs: cpu_seconds(ground.pid()),
            requests: requests(world),
        }
    }

    fn row(&self, name: &str, world: &World, ground: &Ground) -> Used {
        let used = Used { wall: self.at.elapsed().as_secs_f64(), peak: peak_mib() };
        let cpu = cpu_seconds(std::process::id()) - self.cpu;
        let theirs = cpu_seconds(ground.pid()) - self.theirs;
        let requests = requests(world) - self.requests;
        println!("{name:<34} {:>8.2} {cpu:>8.2} {:>9} {requests:>9} {theirs:>12.2}", used.wall, used.peak);
        used
    }
}

fn requests(world: &World) -> u64 {
    let of = Arc::clone(&world.requests);
    let targets = world.targets.iter().map(|t| of(&t.name)).sum::<u64>();
    targets + of(&SystemName::from("okta"))
}

/// User and system time of a process, all threads.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / 1024
}
