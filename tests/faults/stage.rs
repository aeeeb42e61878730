//! What the fault tests share: a small staff, stories that happen to it, and an oracle.
//!
//! The oracle knows the rule of the plain job and nothing of rosterd: whoever works at the source has one account at each
//! target, named after the login, and is in the groups of the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd::model::key::{SourceKey, SystemName, TargetKey};
use rosterd_sim::directory::Directory;
use rosterd_sim::gate::Gate;
use rosterd_sim::harness::{Log, Running, Switchboard};
use rosterd_sim::world::{Status, World};

pub use crate::support::newcomer;
use crate::support::{Scene, ended};

/// A target of the estate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Jira,
    Confluence,
    Bitbucket,
}

impl At {
    pub const ALL: [At; 3] = [At::Jira, At::Confluence, At::Bitbucket];

    pub fn name(self) -> &'static str {
        match self {
            At::Jira => "jira",
            At::Confluence => "confluence",
            At::Bitbucket => "bitbucket",
        }
    }

    pub fn system(self) -> SystemName {
        SystemName::from(self.name())
    }

    pub fn running(self, scene: &Scene) -> &Running {
        match self {
            At::Jira => &scene.estate.jira.running,
            At::Confluence => &scene.estate.confluence.running,
            At::Bitbucket => &scene.estate.bitbucket.running,
        }
    }

    pub fn faults(self, scene: &Scene) -> &Switchboard {
        &self.running(scene).faults
    }

    pub fn log(self, scene: &Scene) -> &Log {
        &self.running(scene).log
    }

    pub fn gate(self, scene: &Scene) -> &Gate {
        match self {
            At::Jira => &scene.estate.jira.gate,
            At::Confluence => &scene.estate.confluence.gate,
            At::Bitbucket => &scene.estate.bitbucket.gate,
        }
    }

    pub fn directory(self, scene: &Scene) -> MutexGuard<'_, Directory> {
        match self {
            At::Jira => scene.estate.jira.directory(),
            At::Confluence => scene.estate.confluence.directory(),
            At::Bitbucket => scene.estate.bitbucket.directory(),
        }
    }
}

/// Seven people in three groups.
pub fn staff() -> World {
    let mut world = World { seed: 5, ..World::default() };
    let names = [
        ("Anna", "Müller"),
        ("Ben", "Stone"),
        ("Cleo", "Park"),
        ("Dora", "King"),
        ("Emil", "Hart"),
        ("Fred", "Lang"),
        ("Gina", "Ruiz"),
    ];
    let all: Vec<usize> = names.iter().map(|(first, last)| world.add_person(first, last)).collect();
    world.add_group("staff", &all);
    world.add_group("devs", &all[..2]);
    world.add_group("ops", &all[2..4]);
    world
}

/// So many people, all in the group "everybody", some in "few".
pub fn crowd(people: usize) -> World {
    let mut world = World { seed: 9, ..World::default() };
    let all: Vec<usize> = (0..people).map(|at| world.add_person("Pat", &format!("Number{at}"))).collect();
    world.add_group("everybody", &all);
    world.add_group("few", &all[..4]);
    world
}

/// No waiting inside a run: what fails or is limited is left to the queue.
pub const IMPATIENT: &str = "http = { max_wait = \"0s\", attempts = 1 }";

/// Adds a line to a table of the configuration, such as `targets.jira`, and assembles anew as a reload does.
pub fn amend(scene: &mut Scene, table: &str, line: &str) {
    rewrite(scene, |text| {
        let head = format!("[{table}]\n");
        assert!(text.contains(&head), "there is a table {table}");
        text.replacen(&head, &format!("{head}{line}\n"), 1)
    });
}

/// Rewrites the configuration, and assembles anew.
pub fn rewrite(scene: &mut Scene, change: impl FnOnce(String) -> String) {
    scene.reconfigure(change);
}

/// The groups that let their members into Bitbucket.
const LET_IN: [&str; 2] = ["staff", "everybody"];

/// A scene over a world, with nothing done yet.
pub async fn fresh(world: World) -> Scene {
    prepared(Scene::plain(world).await)
}

/// Lets the groups of everybody into Bitbucket, where a group without a permission lets nobody in.
pub fn prepared(scene: Scene) -> Scene {
    LET_IN.iter().for_each(|group| scene.estate.bitbucket.grant_group(group, "LICENSED_USER"));
    scene
}

/// A staff that is in order everywhere, and a job that does not wait.
pub async fn settled(world: World) -> Scene {
    let mut scene = fresh(world).await;
    impatient(&mut scene);
    scene.converge().await;
    clear_logs(&scene);
    scene
}

pub fn impatient(scene: &mut Scene) {
    for table in ["sources.okta", "targets.jira", "targets.confluence", "targets.bitbucket"] {
        amend(scene, table, IMPATIENT);
    }
}

pub fn clear_logs(scene: &Scene) {
    scene.estate.okta.server.log.clear();
    At::ALL.iter().for_each(|at| at.log(scene).clear());
}

pub fn clear_faults(scene: &Scene) {
    scene.estate.okta.server.faults.clear();
    At::ALL.iter().for_each(|at| at.faults(scene).clear());
}

/// How many requests changed something, or tried to, at all targets.
pub fn writes(scene: &Scene) -> usize {
    At::ALL.iter().map(|at| at.log(scene).writes().len()).sum()
}

/// Waits until no simulator is answering any more.
pub async fn quiet(scene: &Scene) {
    loop {
        let busy = scene.estate.okta.server.log.in_flight() + At::ALL.iter().map(|at| at.log(scene).in_flight()).sum::<usize>();
        if busy == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Things that happen at the source, the same in their kinds for each number: one joins, the one before leaves, one moves, one
/// has another name.
pub fn story(scene: &Scene, number: usize) {
    let okta = &scene.estate.okta;
    let login = |n: usize| format!("joiner.number{n}@example.com");
    okta.add_user(newcomer("Joiner", &format!("Number{number}")));
    okta.add_member("staff", &login(number));
    okta.add_member(if number.is_multiple_of(2) { "devs" } else { "ops" }, &login(number));
    if let Some(before) = number.checked_sub(1).map(login).filter(|l| okta.world().person(l).is_some()) {
        okta.deactivate(&before);
    }
    let (from, to) = if number.is_multiple_of(2) { ("ops", "devs") } else { ("devs", "ops") };
    okta.remove_member(from, "dora.king@example.com");
    okta.add_member(to, "dora.king@example.com");
    okta.change_user("fred.lang@example.com", |p| p.last = format!("Lang{number}"));
}

/// Whom no [`story`] touches: what they have, they keep, whatever fails.
const UNTOUCHED: [&str; 5] = ["anna.mueller", "ben.stone", "cleo.park", "emil.hart", "gina.ruiz"];

/// What each of those whom no story touches has lost at a target.
pub fn losses(scene: &Scene, at: At) -> Vec<String> {
    let okta = scene.estate.okta.world();
    let mut lost = Vec::new();
    for name in UNTOUCHED {
        let place = okta.people.iter().position(|p| p.login.starts_with(name)).expect("is there");
        let directory = at.directory(scene);
        let Some(user) = directory.user(name) else {
            lost.push(format!("{name} has no account"));
            continue;
        };
        if !user.is_active() {
            lost.push(format!("{name} is inactive"));
        }
        for group in okta.groups.iter().filter(|g| g.members.contains(&place)) {
            if !directory.is_member(&group.name, name) {
                lost.push(format!("{name} is not in {}", group.name));
            }
        }
    }
    lost
}

/// How a finding on the ledger begins that has something the target has not.
const STALE: &str = "the ledger has";

/// Everything in which a target, the links and the ledger are not as the source wants; empty if nothing.
pub async fn disagreements(scene: &Scene, at: At) -> Vec<String> {
    let links = scene.journal.links(&at.system()).await.expect("links");
    let ledger = scene.journal.ledger(&at.system()).await.expect("ledger");
    let okta = scene.estate.okta.world();
    let directory = at.directory(scene);
    let managed: BTreeSet<&str> = okta.groups.iter().map(|g| g.name.as_str()).collect();
    let mut wrong = Vec::new();
    for (place, person) in okta.people.iter().enumerate() {
        let name = person.login.split('@').next().unwrap_or_default().to_lowercase();
        let link = links.user(&SourceKey::from(person.id.as_str()));
        let user = link.and_then(|l| directory.user_by_key(l.target.as_str()));
        if !person.status.works() {
            if let Some(user) = user.filter(|_| person.status != Status::Staged) {
                let lets_in = if at == At::Bitbucket {
                    LET_IN.iter().any(|g| directory.is_member(g, user.name()))
                } else {
                    user.is_active()
                };
                if lets_in {
                    wrong.push(format!("{name} left and can still log in"));
                }
            }
            continue;
        }
        let Some(user) = user else {
            wrong.push(format!("{name} has no account, or no link to it"));
            continue;
        };
        // Confluence cannot rename.
        if at != At::Confluence && user.name() != name {
            wrong.push(format!("{name} is called {}", user.name()));
        }
        if !user.is_active() {
            wrong.push(format!("{name} is inactive"));
        }
        if user.display_name != format!("{} {}", person.first, person.last) {
            wrong.push(format!("{name} is shown as {}", user.display_name));
        }
        if person.email.as_ref().is_some_and(|email| *email != user.email) {
            wrong.push(format!("{name} has the address {}", user.email));
        }
        let wanted: BTreeSet<&str> = okta.groups.iter().filter(|g| g.members.contains(&place)).map(|g| g.name.as_str()).collect();
        let held: BTreeSet<String> = directory.group_names(user.name()).into_iter().collect();
        for group in &wanted {
            if !held.contains(*group) {
                wrong.push(format!("{name} is not in {group}"));
            }
            if !ledger.owns(&TargetKey::from(*group), &TargetKey::from(user.key.as_str())) {
                wrong.push(format!("the ledger does not know {name} in {group}"));
            }
        }
        for group in held.iter().filter(|g| managed.contains(g.as_str()) && !wanted.contains(g.as_str())) {
            wrong.push(format!("{name} is still in {group}"));
        }
    }
    for (group, members) in &ledger.groups {
        for member in members {
            let key = &ledger.users[*member as usize];
            let held = directory.user_by_key(key.as_str()).is_some_and(|u| directory.is_member(group.as_str(), u.name()));
            if !held {
                wrong.push(format!("{STALE} {key} in {group}, where it is not"));
            }
        }
    }
    let targets: BTreeMap<&str, usize> = links.users.iter().fold(BTreeMap::new(), |mut seen, l| {
        *seen.entry(l.target.as_str()).or_default() += 1;
        seen
    });
    if targets.values().any(|n| *n > 1) {
        wrong.push("two people have one account".to_owned());
    }
    // Each account is somebody's, but for the one that rosterd acts with: nobody is there twice.
    if directory.user_count() != 1 + targets.len() {
        wrong.push(format!("there are {} accounts for {} people", directory.user_count() - 1, targets.len()));
    }
    wrong
}

/// Demands that one more run, a day later and with nothing going wrong, puts everything in order, and that the run after it
/// finds nothing to do.
pub async fn heals(scene: &Scene) {
    quiet(scene).await;
    clear_faults(scene);
    scene.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    let reports = scene.run().await;
    for report in &reports {
        let target = &report.record.start.target;
        assert!(matches!(ended(report), Ended::Applied | Ended::Converged), "{target}: {:?}", report.record.end);
    }
    for at in At::ALL {
        // A deactivation that is found already made does not tell which groups it took; the next reading does.
        let wrong: Vec<String> = disagreements(scene, at).await.into_iter().filter(|w| !w.starts_with(STALE)).collect();
        assert_eq!(wrong, Vec::<String>::new(), "at {}", at.name());
    }
    assert_eq!(scene.journal.retries().await.expect("retries"), [], "nothing waits any more");
    assert_eq!(scene.journal.rests().await.expect("rests"), [], "nobody rests any more");
    no_open_intents(scene).await;
    clear_logs(scene);
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{}: {:?}", report.record.start.target, report.record.end);
    }
    assert_eq!(writes(scene), 0, "a run with nothing to do writes nothing");
    for at in At::ALL {
        assert_eq!(disagreements(scene, at).await, Vec::<String>::new(), "at {}", at.name());
    }
}

/// Demands that every run of late has an end and every change an outcome.
pub async fn no_open_intents(scene: &Scene) {
    let query = rosterd::contract::journal::RunQuery { limit: 20, ..Default::default() };
    for run in scene.journal.runs(&query).await.expect("runs") {
        assert!(run.end.is_some(), "run {} has no end", run.start.id);
        for change in scene.journal.changes(&run.start.id).await.expect("changes") {
            assert!(change.outcome.is_some(), "{change:?} has no outcome");
        }
    }
}
