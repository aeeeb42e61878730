//! A whole run against simulators in a process of their own: wall time, CPU, peak memory, requests.
//!
//! `cargo bench --bench whole` takes 20,000 users, 500 groups and 200,000 memberships; `-- large` takes five times the users
//! and memberships and 10,000 groups; `-- latency` lets every answer of Okta take 100 ms; `-- limited` puts Okta under a
//! limit. What is measured is this process only.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rosterd::contract::journal::Trigger;
use rosterd::daemon::assemble::{Services, assemble, kit, load};
use rosterd::engine::run::{World as JobWorld, read_source, run};
use rosterd::model::key::{JobName, SystemName};
use rosterd::store::{self, Access};
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::world::World;
use tokio_util::sync::CancellationToken;

type Anything = Box<dyn std::error::Error>;

fn main() -> Result<(), Anything> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.first().map(String::as_str) {
        Some("serve") => runtime.block_on(serve(&arguments[1..])),
        case => runtime.block_on(measure(case.unwrap_or("medium"))),
    }
}

/// The simulators' process: prints the configuration, ends with its standard input.
async fn serve(arguments: &[String]) -> Result<(), Anything> {
    let [case, folder] = arguments else { return Err("serve CASE FOLDER".into()) };
    let (people, groups, memberships) = size(case);
    let mut options = Options::default();
    if case == "limited" {
        options.okta.limits = rosterd_sim::okta::Limits::default();
    }
    let estate = Estate::start(World::seeded(1, people, groups, memberships), options).await?;
    let quiet = [&estate.okta.server, &estate.jira.running, &estate.confluence.running, &estate.bitbucket.running];
    quiet.iter().for_each(|s| s.log.quiet(true));
    let mut okta = String::new();
    if case == "latency" {
        estate.okta.server.faults.latency(Duration::from_millis(100));
        okta.push_str("http = { concurrency = 16 }\n");
    }
    if case == "limited" {
        for bucket in ["users", "groups"] {
            estate.okta.limit(bucket, 60);
        }
        estate.okta.window(Duration::from_secs(6));
        okta.push_str("http = { rate_share = 1.0 }\n");
    }
    let text = estate.configuration(Path::new(folder), &okta, "schedule = \"hourly\"")?;
    std::fs::write(Path::new(folder).join("rosterd.toml"), text)?;
    println!("ready");
    std::io::stdout().flush()?;
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await??;
    println!("{}", estate.okta.refused());
    Ok(())
}

fn size(case: &str) -> (usize, usize, usize) {
    match case {
        "large" => (100_000, 10_000, 1_000_000),
        "limited" => (3_000, 60, 20_000),
        _ => (20_000, 500, 200_000),
    }
}

async fn measure(case: &str) -> Result<(), Anything> {
    let folder = std::env::temp_dir().join(format!("rosterd-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut simulators = Command::new(std::env::current_exe()?)
        .args(["serve", case])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(simulators.stdout.take().ok_or("no output")?).lines();
    said.next().ok_or("the simulators did not start")??;
    let (people, groups, memberships) = size(case);
    println!("{case}: {people} users, {groups} groups, {memberships} memberships (asked for)");

    let kit = kit();
    let checked = load(&folder.join("rosterd.toml"), &kit).map_err(|e| e.render(false))?;
    let journal = store::open_for(&checked.config.daemon.state, Access::Write).await?;
    let services = Services::new(journal, kit);
    let assembly = assemble(checked.config, &services)?;
    let world = &assembly.worlds[&JobName::from("staff")];
    println!("{:<34} {:>8} {:>8} {:>9} {:>9}", "", "wall s", "cpu s", "peak MiB", "requests");

    let before = Reading::now(world);
    let reading = read_source(world).await?;
    before.row("read Okta", world);
    println!(
        "{:<34} {} users, {} groups, {} memberships",
        "",
        reading.roster.users.len(),
        reading.roster.groups.len(),
        reading.roster.memberships()
    );
    drop(reading);
    if matches!(case, "medium" | "large") {
        for name in ["first run: everything is created", "second run: nothing to do", "third run: nothing to do"] {
            let before = Reading::now(world);
            let reports = run(world, &[], Trigger::Command, &CancellationToken::new()).await?;
            before.row(name, world);
            for report in reports {
                let Some(end) = report.record.end else { continue };
                let done: u64 = end.done.iter().map(|(_, n)| n).sum();
                println!(
                    "{:<34} {}: {}, {done} changes, {} failed, {} requests",
                    "",
                    report.record.start.target,
                    end.ended.word(),
                    end.failed,
                    end.requests
                );
            }
        }
    }
    if let Some(mut stdin) = simulators.stdin.take() {
        writeln!(stdin)?;
    }
    let refused = said.next().transpose()?.unwrap_or_default();
    println!("answers of 429 that Okta gave: {refused}");
    simulators.wait()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// What the process had used at a moment.
struct Reading {
    at: Instant,
    cpu: f64,
    requests: u64,
}

impl Reading {
    fn now(world: &JobWorld) -> Self {
        // Starts the peak anew, so that each row has its own.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { at: Instant::now(), cpu: cpu_seconds(), requests: requests(world) }
    }

    fn row(&self, name: &str, world: &JobWorld) {
        let (wall, cpu, requests) = (self.at.elapsed().as_secs_f64(), cpu_seconds() - self.cpu, requests(world) - self.requests);
        println!("{name:<34} {wall:>8.2} {cpu:>8.2} {:>9} {requests:>9}", peak_mib());
    }
}

fn requests(world: &JobWorld) -> u64 {
    let of = Arc::clone(&world.requests);
    let targets = world.targets.iter().map(|t| of(&t.name)).sum::<u64>();
    targets + of(&SystemName::from("okta"))
}

/// User and system time of this process, all threads.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / 1024
}
