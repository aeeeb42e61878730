//! The campaign over real HTTP with the real binary: days of changes at the source, faults of all sorts, systems that are down for
//! days, kill -9, two commands at once, and an operator who approves and takes back; an observer who sees both sides says that
//! nobody lost what the source entitles them to, that no stranger was touched and that the journal tells of every difference, and
//! in the end everything is in order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rosterd::contract::journal::{ChangeRecord, Ended, Outcome, RunEnd};
use rosterd::model::change::OpKind;
use rosterd::model::key::{RunId, fold};
use rosterd_sim::directory::Directory;
use rosterd_sim::harness::{Fault, Rule, Switchboard};
use rosterd_sim::world::World;

use crate::site::{DEADLINE, Daemon, Picture, Site, small, until_true};

const DAYS: usize = 5;
/// How long a write takes at whose answer the process is to die.
const SLOW: Duration = Duration::from_millis(300);
/// How long rosterd waits for an answer here, and how long one takes that comes too late.
const PATIENCE: &str = "http = { read_timeout = \"1s\", max_wait = \"2s\" }";
const TOO_LATE: Duration = Duration::from_millis(1500);
/// Removals wait in every other site.
const OPEN: &str = "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 1.0, floor = 99 }";
const STRICT: &str = "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 0 }\nmembership_removals = { share = 0.0, floor = 1 }";

/// Somebody comes, moves, leaves or returns.
fn life(site: &Site, rng: &mut Rng) {
    let okta = &site.estate.okta;
    for _ in 0..rng.usize(1..4) {
        let world = okta.world();
        let person = world.people[rng.usize(..world.people.len())].id.clone();
        let group = world.groups[rng.usize(..world.groups.len())].id.clone();
        match rng.u8(..6) {
            0 | 1 => okta.add_member(&group, &person),
            2 => okta.remove_member(&group, &person),
            3 => okta.suspend(&person),
            4 => okta.activate(&person),
            _ => okta.set_email(&person, Some(&format!("n{}@example.com", rng.u32(..)))),
        }
    }
}

fn switchboards(site: &Site) -> Vec<Switchboard> {
    let targets = site.targets().into_iter().map(|target| target.faults.clone());
    std::iter::once(site.estate.okta.server.faults.clone()).chain(targets).collect()
}

/// Something goes wrong somewhere, a few times. No credential is refused: what rests after that waits for a person.
fn weather(site: &Site, rng: &mut Rng) {
    let sorts = [
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Cut,
        Fault::html(200, "<html>Log in</html>"),
        Fault::json(503, ""),
        Fault::html(502, "<html>Bad gateway</html>"),
        Fault::json(429, "").header("Retry-After", "1"),
        Fault::json(429, ""),
        Fault::Delay(TOO_LATE),
        Fault::json(500, "{}"),
    ];
    let boards = switchboards(site);
    for _ in 0..rng.usize(..4) {
        let board = &boards[rng.usize(..boards.len())];
        board.add(Rule::once("", "", sorts[rng.usize(..sorts.len())].clone()).after(rng.usize(..12)));
    }
    // An emptied answer: a source that suddenly shows nobody.
    if rng.u8(..5) == 0 {
        boards[0].add(Rule::always("GET", "/api/v1/users?", Fault::json(200, "[]")));
    }
}

fn clear(site: &Site) {
    switchboards(site).iter().for_each(Switchboard::clear);
}

/// One of the systems does not answer at all.
fn down(site: &Site, system: usize) {
    switchboards(site)[system].add(Rule::always("", "", Fault::ResetBefore));
}

/// What an account at a target was called at the source.
fn name_of(login: &str) -> String {
    login.split('@').next().unwrap_or_default().to_lowercase()
}

/// Whoever works at the source, had an account and was in groups that the source still wants has kept all of it.
fn nobody_lost(world: &World, before: &[Picture], after: &[Picture], when: &str) {
    for (target, (before, after)) in before.iter().zip(after).enumerate() {
        for (place, person) in world.people.iter().enumerate().filter(|(_, p)| p.status.works()) {
            let name = name_of(&person.login);
            let Some((_, was)) = before.users.get(&name) else { continue };
            let is = after.users.get(&name).is_some_and(|(_, active)| *active);
            assert!(is || !was || target == 2, "{when}: {name} works, and lost the account at target {target}");
            for group in world.groups.iter().filter(|g| g.members.contains(&place)) {
                let had = before.groups.get(&group.name).is_some_and(|members| members.contains(&name));
                let has = after.groups.get(&group.name).is_some_and(|members| members.contains(&name));
                assert!(has || !had, "{when}: {name} is to be in {:?}, and was taken out at target {target}", group.name);
            }
        }
    }
}

/// Whoever is nobody's at the source is as before, and in the groups of before.
fn strangers_are_left_alone(world: &World, before: &[Picture], after: &[Picture], when: &str) {
    let ours: BTreeSet<String> = world.people.iter().map(|person| name_of(&person.login)).collect();
    for (target, (before, after)) in before.iter().zip(after).enumerate() {
        for (name, was) in before.users.iter().filter(|(name, _)| !ours.contains(&fold(name).to_string())) {
            assert_eq!(after.users.get(name), Some(was), "{when}: {name} is nobody's at the source (target {target})");
            let groups = |picture: &Picture| -> BTreeSet<String> {
                picture.groups.iter().filter(|(_, members)| members.contains(name)).map(|(group, _)| group.clone()).collect()
            };
            assert_eq!(groups(after), groups(before), "{when}: {name} is nobody's at the source (target {target})");
        }
    }
}

/// The journal tells of every difference. An account that was taken out of use may have lost its groups with it.
fn every_difference_is_told(before: &Picture, after: &Picture, told: &[ChangeRecord], when: &str) {
    let is_told = |kinds: &[OpKind], name: &str, group: Option<&str>| {
        told.iter().filter(|change| change.outcome != Some(Outcome::Skipped)).any(|change| {
            let intent = &change.intent;
            let is_theirs = intent.user_name.as_deref().is_some_and(|user| fold(user) == fold(name));
            let is_there = group.is_none_or(|group| intent.group.as_deref().is_some_and(|told| fold(told) == fold(group)));
            kinds.contains(&intent.kind) && is_theirs && is_there
        })
    };
    let ends = [OpKind::DeactivateUser, OpKind::DeleteUser];
    for name in before.users.keys().chain(after.users.keys()).collect::<BTreeSet<_>>() {
        let kinds: &[OpKind] = match (before.users.get(name), after.users.get(name)) {
            (None, _) => &[OpKind::CreateUser],
            (Some(_), None) => &[OpKind::DeleteUser],
            (Some((_, was)), Some((_, is))) if was != is => &[OpKind::ActivateUser, OpKind::DeactivateUser],
            (Some((was, _)), Some((is, _))) if was != is => &[OpKind::UpdateUser],
            (Some(_), Some(_)) => continue,
        };
        assert!(
            is_told(kinds, name, None),
            "{when}: {name} was changed, and the journal does not tell of it: {kinds:?} {told:#?}"
        );
    }
    for (group, members) in before.groups.iter().chain(&after.groups) {
        let held = |picture: &Picture, name: &str| picture.groups.get(group).is_some_and(|all| all.contains(name));
        for name in members {
            let fine = match (held(before, name), held(after, name)) {
                // Products put new accounts into a group of their own choice.
                (false, true) => is_told(&[OpKind::AddMember], name, Some(group)) || is_told(&[OpKind::CreateUser], name, None),
                (true, false) => is_told(&[OpKind::RemoveMember], name, Some(group)) || is_told(&ends, name, None),
                (true, true) | (false, false) => true,
            };
            assert!(fine, "{when}: {name} was moved in {group:?}, and the journal does not tell of it: {told:#?}");
        }
    }
}

/// What the journal has learned since, target by target.
async fn told_since(site: &Site, known: &BTreeSet<RunId>) -> Vec<Vec<ChangeRecord>> {
    let record = site.record().await;
    let of = |name: &str| {
        let new = record.iter().filter(|(run, _)| run.start.target.as_str() == name && !known.contains(&run.start.id));
        new.flat_map(|(_, changes)| changes.clone()).collect()
    };
    ["jira", "confluence", "bitbucket"].map(of).to_vec()
}

async fn known_runs(site: &Site) -> BTreeSet<RunId> {
    site.record().await.into_iter().map(|(run, _)| run.start.id).collect()
}

/// Says yes to all that waits.
async fn approve(site: &Site) {
    let waiting: BTreeSet<String> = match site.run(&["status", "--json"]).await.json()["staged"].as_array() {
        Some(staged) => staged.iter().filter_map(|removal| removal["plan"].as_str()).map(str::to_owned).collect(),
        None => BTreeSet::new(),
    };
    for plan in waiting {
        site.run(&["approve", &plan, "--reason", "they left"]).await.exits(0);
    }
}

/// Takes back the last run at Jira. The run's id, if there was something to take back and nobody else was at work.
async fn take_back(site: &Site) -> Option<String> {
    let runs = site.run(&["runs", "--json", "--target", "jira", "-n", "1"]).await.exits(0).json();
    let run = runs[0]["id"].as_str()?.to_owned();
    (site.run(&["undo", &run, "--reason", "a mistake"]).await.code == Some(0)).then_some(run)
}

async fn quiet(site: &Site) {
    until_true("quiet", || site.targets().iter().all(|target| target.log.in_flight() == 0)).await;
}

/// A run that may be killed in the middle: at one of its first writes, whose answer is on its way for long enough.
async fn run(site: &Site, rng: &mut Rng) {
    let doomed = rng.u8(..3) == 0;
    // Somebody else may be at it as well.
    let mut other = (rng.u8(..4) == 0).then(|| Daemon::start(&mut site.command(&["sync"])));
    let enough = site.writes() + rng.usize(1..=4);
    if doomed {
        let slow = |board: Switchboard| {
            ["POST", "PUT", "DELETE"].iter().for_each(|method| board.add(Rule::always(method, "", Fault::Delay(SLOW))));
        };
        switchboards(site).into_iter().skip(1).for_each(slow);
    }
    let mut sync = Daemon::start(&mut site.command(&["sync"]));
    if doomed {
        // Whoever has less to write is done before.
        tokio::select! {
            () = until_true("the writes", || site.writes() >= enough) => sync.signal("KILL"),
            _ = sync.ends() => {}
        }
    }
    sync.ends().await;
    if let Some(other) = &mut other {
        other.ends().await;
    }
}

/// Lets go whoever was put to rest or set aside, and runs until there is nothing to do. A bucket that was said to be empty is
/// so by real time.
async fn settle(site: &Site, seed: u64, undone: &[String]) {
    let deadline = Instant::now() + DEADLINE;
    for run in undone {
        site.run(&["release", run]).await;
    }
    loop {
        approve(site).await;
        for system in ["okta", "jira", "confluence", "bitbucket"] {
            site.run(&["release", system]).await;
        }
        site.run(&["sync"]).await;
        let last = site.run(&["sync"]).await;
        if last.out.matches("converged").count() == 3 {
            return;
        }
        assert!(Instant::now() < deadline, "seed {seed}: {last:?}");
    }
}

/// At each target there is somebody whom the source does not know, in every group that it fills.
fn guests(site: &Site) {
    let groups: Vec<String> = site.estate.okta.world().groups.iter().map(|group| group.name.clone()).collect();
    let come = |directory: &mut Directory| {
        directory.add_user("guest", "guest@elsewhere.example", "A Guest").expect("the name is free");
        // Not every product can have a group of every name.
        let joined = groups.iter().filter(|group| directory.join(group, "guest").is_ok()).count();
        assert!(joined > 1, "there are groups to join");
    };
    come(&mut site.estate.jira.directory());
    come(&mut site.estate.confluence.directory());
    come(&mut site.estate.bitbucket.directory());
}

/// What came of a site: how many runs died, how many were taken back.
#[derive(Default)]
struct Came {
    died: usize,
    undone: usize,
}

async fn course(seed: u64) -> Came {
    let mut rng = Rng::with_seed(seed);
    let site = Site::with(small(), if seed.is_multiple_of(2) { OPEN } else { STRICT }).await;
    let text = std::fs::read_to_string(site.file()).expect("there is a configuration");
    site.write(&text.replace("\nkind ", &format!("\n{PATIENCE}\nkind ")));
    site.run(&["sync"]).await.exits(0);
    guests(&site);
    let (mut undone, mut sick) = (Vec::new(), None);
    for day in 0..DAYS {
        let when = format!("seed {seed}, day {day}");
        life(&site, &mut rng);
        let (before, known) = (site.picture(), known_runs(&site).await);
        weather(&site, &mut rng);
        // Somebody is down for two days.
        sick = match sick {
            None => (rng.u8(..3) == 0).then(|| rng.usize(..4)),
            Some(_) if rng.bool() => None,
            sick => sick,
        };
        if let Some(system) = sick {
            down(&site, system);
        }
        run(&site, &mut rng).await;
        quiet(&site).await;
        clear(&site);
        let after = site.picture();
        nobody_lost(&site.estate.okta.world(), &before, &after, &when);
        strangers_are_left_alone(&site.estate.okta.world(), &before, &after, &when);
        match rng.u8(..4) {
            0 => approve(&site).await,
            1 => undone.extend(take_back(&site).await),
            _ => {}
        }
        // Whoever died has left what it did last to whoever comes next, who tells of it.
        let (after, told) = (site.picture(), told_since(&site, &known).await);
        for ((before, after), told) in before.iter().zip(&after).zip(&told) {
            every_difference_is_told(before, after, told, &when);
        }
    }
    settle(&site, seed, &undone).await;
    site.run(&["journal", "verify"]).await.exits(0);
    let died = |end: Option<&RunEnd>| end.is_some_and(|end| end.ended == Ended::Interrupted);
    let died = site.record().await.iter().filter(|(run, _)| died(run.end.as_ref())).count();
    Came { died, undone: undone.len() }
}

#[tokio::test]
async fn nobody_loses_anything_over_days_of_faults_and_kills() {
    // `ROSTERD_SITES=40` tries that many.
    let sites = std::env::var("ROSTERD_SITES").map_or(4, |text| text.parse().expect("ROSTERD_SITES is a number"));
    let mut came = Came::default();
    for seed in 0..sites {
        let Came { died, undone } = course(seed).await;
        came = Came { died: came.died + died, undone: came.undone + undone };
    }
    assert!(came.died > 0, "nobody was killed in the middle of a run");
    assert!(came.undone > 0, "nothing was taken back");
}
