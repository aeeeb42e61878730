//! The demo: simulated Okta, Jira, Confluence and Bitbucket on loopback, a real configuration, the real daemon code, and a
//! world that changes. `cargo run --release --example demo`, with `-- --stay` to keep everything up afterwards, or `-- --up` to
//! leave the story out and keep everything up with removals that wait.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rosterd::contract::journal::{Ended, Journal, RunQuery, Trigger};
use rosterd::contract::verdict::Verdict;
use rosterd::daemon::assemble::{Assembly, Services, assemble, kit, load};
use rosterd::engine::decide::{Said, decide};
use rosterd::engine::run::{Report, World as JobWorld, plan, run};
use rosterd::engine::undo::{Request, undo};
use rosterd::model::key::{JobName, SystemName};
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::render::{line, view};
use rosterd::store::{self, Access};
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::world::{GroupKind, Person, Status, World};
use tokio_util::sync::CancellationToken;

/// A group that will be renamed.
const CREW: &str = "demo crew";

type Anything = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stay = arguments.iter().any(|a| a == "--stay");
    let up = arguments.iter().any(|a| a == "--up");
    let folder = arguments.iter().position(|a| a == "--folder").and_then(|at| arguments.get(at + 1)).map(PathBuf::from);
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else { return ExitCode::FAILURE };
    let told = async { if up { only_up(folder).await } else { demo(stay, folder).await } };
    match runtime.block_on(told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The stage of the demo.
struct Stage {
    estate: Estate,
    journal: Arc<dyn Journal>,
    assembly: Assembly,
    folder: PathBuf,
}

async fn demo(stay: bool, folder: Option<PathBuf>) -> Result<(), Anything> {
    let stage = set_up(folder).await?;
    say("1. The first run: everybody comes in");
    show_plan(&stage).await?;
    show_runs(&stage, sync(&stage).await?).await?;

    say("2. Nothing changed: the next run writes nothing");
    show_runs(&stage, sync(&stage).await?).await?;

    say("3. A joiner, a mover, a leaver, a new name, a renamed group");
    change_the_world(&stage);
    show_plan(&stage).await?;
    show_runs(&stage, sync(&stage).await?).await?;

    say("4. Okta answers 429 for a while: the run waits its turn and finishes");
    storm(&stage);
    show_runs(&stage, sync(&stage).await?).await?;

    say("5. Okta is down: the run fails, nobody is removed");
    outage(&stage).await?;

    say("6. Okta shows nobody at all (200 with an empty list): nobody is removed");
    stage.estate.okta.blind(true);
    show_runs(&stage, sync(&stage).await?).await?;
    stage.estate.okta.blind(false);

    say("7. A third of the company is deactivated at once: additions would go on, these removals wait for a person");
    layoff(&stage);
    show_runs(&stage, sync(&stage).await?).await?;
    println!("   staged removals in the store: {}", stage.journal.staged().await?.len());

    say("8. One of them did leave: a person approves that one removal at Jira, and no other is made");
    let approved = approve_one(&stage).await?;
    show_runs(&stage, sync(&stage).await?).await?;

    say("9. She had not left after all: the run is undone, and the next one leaves her alone");
    undo_last(&stage, &approved).await?;
    show_runs(&stage, sync(&stage).await?).await?;

    say("10. All of it was a mistake and is taken back: nothing is left waiting, and the last run has nothing to do");
    reinstate(&stage);
    let last = sync(&stage).await?;
    let settled =
        last.iter().all(|r| r.record.end.as_ref().is_some_and(|e| matches!(e.ended, Ended::Converged | Ended::Applied)));
    show_runs(&stage, last).await?;
    println!("   staged removals in the store: {}", stage.journal.staged().await?.len());
    if !settled {
        return Err("the last run should have settled everything".into());
    }
    end(&stage, stay).await
}

/// Everything up, the first run done, and removals that wait.
async fn only_up(folder: Option<PathBuf>) -> Result<(), Anything> {
    let stage = set_up(folder).await?;
    show_runs(&stage, sync(&stage).await?).await?;
    layoff(&stage);
    show_runs(&stage, sync(&stage).await?).await?;
    end(&stage, true).await
}

fn say(text: &str) {
    println!("\n== {text}");
}

async fn set_up(folder: Option<PathBuf>) -> Result<Stage, Anything> {
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("rosterd-demo-{}", std::process::id())));
    std::fs::create_dir_all(&folder)?;
    let _ = std::fs::remove_file(folder.join("state.db"));
    let mut world = World::seeded(7, 500, 39, 3_000);
    let crew: Vec<usize> = (0..world.people.len()).filter(|at| world.people[*at].status == Status::Active).take(5).collect();
    world.add_group(CREW, &crew);
    let estate = Estate::start(world, Options::default()).await?;
    // Bitbucket knows no inactive account: whoever is in a group that gives access can work.
    let largest = estate
        .okta
        .world()
        .groups
        .iter()
        .filter(|g| g.kind == GroupKind::Okta)
        .max_by_key(|g| g.members.len())
        .map(|g| g.name.clone());
    if let Some(group) = largest {
        let _ = estate.bitbucket.directory().add_group(&group);
        estate.bitbucket.grant_group(&group, "LICENSED_USER");
    }
    let job = "schedule = \"hourly\"\n[jobs.staff.guard]\nprotect_users = [\"admin\", \"rosterd\"]";
    let text = estate.configuration(&folder, "", job)?;
    let file = folder.join("rosterd.toml");
    std::fs::write(&file, &text)?;
    println!("simulated Okta        {}", estate.okta.url);
    println!("simulated Jira        {}", estate.jira.url());
    println!("simulated Confluence  {}", estate.confluence.url());
    println!("simulated Bitbucket   {}", estate.bitbucket.url());
    println!("configuration         {}", file.display());
    let kit = kit();
    let checked = load(&file, &kit).map_err(|e| e.render(false))?;
    let journal = store::open_for(&checked.config.daemon.state, Access::Write).await?;
    let services = Services::new(journal.clone(), kit);
    let assembly = assemble(checked.config, &services)?;
    Ok(Stage { estate, journal, assembly, folder })
}

fn job(stage: &Stage) -> &JobWorld {
    &stage.assembly.worlds[&JobName::from("staff")]
}

async fn sync(stage: &Stage) -> Result<Vec<Report>, Anything> {
    Ok(run(job(stage), &[], Trigger::Command, &CancellationToken::new()).await?)
}

/// Shows the plan: counts for each target, and the first lines of the first.
async fn show_plan(stage: &Stage) -> Result<(), Anything> {
    for (name, prepared) in plan(job(stage)).await? {
        let view = view(&prepared?.judged);
        let count = |sign| view.changes.iter().filter(|c| c.sign == sign).count();
        println!("   plan {} for {name}: {} to grant, {} to alter, {} to remove", view.plan, count('+'), count('~'), count('-'));
        if name.as_str() == "jira" {
            let (removals, others): (Vec<_>, Vec<_>) = view.changes.iter().partition(|c| c.sign == '-');
            for change in others.iter().take(5).chain(removals.iter().take(5)) {
                println!("     {}", line(change));
            }
        }
        for finding in view.findings.iter().take(3) {
            println!("     ? {}: {}", finding.name.as_deref().unwrap_or_default(), finding.text);
        }
    }
    Ok(())
}

async fn show_runs(_stage: &Stage, reports: Vec<Report>) -> Result<(), Anything> {
    println!(
        "   {:<11} {:<10} {:>8} {:>7} {:>7} {:>9} {:>8}",
        "target", "outcome", "changes", "failed", "staged", "requests", "seconds"
    );
    for report in &reports {
        let Some(end) = &report.record.end else { continue };
        let changes: u64 = end.done.iter().map(|(_, n)| n).sum();
        let seconds = (end.at - report.record.start.at).num_milliseconds() as f64 / 1000.0;
        println!(
            "   {:<11} {:<10} {changes:>8} {:>7} {:>7} {:>9} {seconds:>8.1}",
            report.record.start.target.as_str(),
            end.ended.word(),
            end.failed,
            end.staged,
            end.requests
        );
    }
    let mut said: Vec<&String> = Vec::new();
    for message in reports.iter().filter_map(|r| r.record.end.as_ref()).flat_map(|e| e.messages.iter().take(2)) {
        if !said.contains(&message) {
            println!("   ! {message}");
            said.push(message);
        }
    }
    Ok(())
}

fn change_the_world(stage: &Stage) {
    let okta = &stage.estate.okta;
    let world = okta.world();
    let working: Vec<&Person> = world.people.iter().filter(|p| p.status == Status::Active && p.email.is_some()).collect();
    let plain: Vec<&str> =
        world.groups.iter().filter(|g| g.kind == GroupKind::Okta && g.members.len() > 3).map(|g| g.name.as_str()).collect();
    let joiner = Person {
        id: "00uDemoJoiner0000001".into(),
        login: "nova.newcomer@example.com".into(),
        email: Some("nova.newcomer@example.com".into()),
        first: "Nova".into(),
        last: "Newcomer".into(),
        ..working[0].clone()
    };
    let id = okta.add_user(joiner);
    okta.add_member(plain[0], &id);
    okta.add_member(plain[1], &working[1].login);
    okta.deactivate(&working[2].login);
    okta.rename_user(&working[3].login, "brand.new-name@example.com");
    okta.rename_group(CREW, "a brand new name");
    println!("   joined: nova.newcomer; moved: {}; left: {}; renamed: {}", working[1].login, working[2].login, working[3].login);
}

fn storm(stage: &Stage) {
    let faults = &stage.estate.okta.server.faults;
    let body =
        r#"{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests.","errorCauses":[]}"#;
    let headers = vec![("retry-after".to_owned(), "1".to_owned()), ("content-type".to_owned(), "application/json".to_owned())];
    let fault = Fault::Answer { status: 429, headers, body: body.to_owned() };
    faults.add(Rule { method: "GET".into(), contains: "/users".into(), skip: 2, times: 3, fault });
}

async fn outage(stage: &Stage) -> Result<(), Anything> {
    let faults = &stage.estate.okta.server.faults;
    let fault = Fault::Answer { status: 503, headers: Vec::new(), body: "<html>down</html>".into() };
    faults.add(Rule { method: String::new(), contains: String::new(), skip: 0, times: usize::MAX, fault });
    show_runs(stage, sync(stage).await?).await?;
    faults.clear();
    Ok(())
}

/// A third of those who work.
fn third(stage: &Stage) -> Vec<String> {
    let world = stage.estate.okta.world();
    world.people.iter().filter(|p| p.status == Status::Active).step_by(3).map(|p| p.id.clone()).collect()
}

fn layoff(stage: &Stage) {
    let ids = third(stage);
    std::fs::write(stage.folder.join("laid-off"), ids.join("\n")).unwrap_or_default();
    ids.iter().for_each(|id| stage.estate.okta.suspend(id));
}

fn reinstate(stage: &Stage) {
    let ids = std::fs::read_to_string(stage.folder.join("laid-off")).unwrap_or_default();
    ids.lines().for_each(|id| stage.estate.okta.activate(id));
}

/// Approves the first staged removal at Jira, as `rosterd approve PLAN --only NAME --reason TEXT` does. Returns the name.
async fn approve_one(stage: &Stage) -> Result<String, Anything> {
    let staged = stage.journal.staged().await?;
    let first = staged.iter().find(|s| s.target.as_str() == "jira").ok_or("something waits at Jira")?;
    let name = first.user_name.to_string();
    let only = NameSet::new(&[&name]).map_err(|(_, why)| why)?;
    let said = Said { verdict: Verdict::Approved, only: &only, actor: "os:demo", reason: "she left", at: chrono::Utc::now() };
    let written = decide(&*stage.journal, first.plan.as_str(), said, |_| Duration::from_secs(3600)).await?;
    println!("   approved: {} of plan {}; {} wait on", name, first.plan, written.others);
    Ok(name)
}

/// Takes back what the last run did at Jira, as `rosterd undo RUN --reason TEXT` does.
async fn undo_last(stage: &Stage, name: &str) -> Result<(), Anything> {
    let jira = SystemName::from("jira");
    let query = RunQuery { target: Some(jira.clone()), limit: 1, ..RunQuery::default() };
    let run = stage.journal.runs(&query).await?.pop().ok_or("a run at Jira")?;
    let changes = stage.journal.changes(&run.start.id).await?;
    let request = Request { run: &run, changes: &changes, only: &NameSet::none(), actor: "os:demo", over_limits: false };
    let world = job(stage);
    let side = world.targets.iter().find(|t| t.name == jira).ok_or("the job writes to Jira")?;
    let report = undo(world, side, request, "she came back", &CancellationToken::new()).await??;
    let held: Vec<String> = stage.journal.holds().await?.into_iter().map(|h| h.user_name.to_string()).collect();
    let ended = report.record.end.as_ref().map_or("running", |e| e.ended.word());
    println!("   undo of run {}: {ended}; {name} is active again; held: {}", run.start.id, held.join(", "));
    Ok(())
}

async fn end(stage: &Stage, stay: bool) -> Result<(), Anything> {
    let file = stage.folder.join("rosterd.toml");
    if stay {
        println!("\nEverything stays up. In another terminal:");
        for command in ["status", "runs", "plan", "sync", "drift", "check --online"] {
            println!("  cargo run --release -- {command} --config {}", file.display());
        }
        println!("Ctrl-C ends it.");
        loop {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
    }
    println!("\nDone. --stay keeps the simulators up; the configuration and the state are in {}", stage.folder.display());
    Ok(())
}
