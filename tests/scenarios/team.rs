//! The team that most stories are about: six people, everybody in `staff`, which gives access, and two groups of work.

use std::collections::BTreeSet;

use rosterd::contract::journal::Ended;
use rosterd_sim::world::World;

pub use crate::support::newcomer as person;
use crate::support::{Scene, Setting, TARGETS, ended};

/// First and last names.
pub const PEOPLE: [(&str, &str); 6] =
    [("Ada", "Lovelace"), ("Bob", "Stone"), ("Cleo", "Hart"), ("Dan", "Ng"), ("Eve", "Ito"), ("Finn", "Moss")];

/// The team: Ada, Bob and Cleo in `engineering`, Dan and Eve in `sales`.
pub fn team() -> World {
    let mut world = World::default();
    let all: Vec<usize> = PEOPLE.iter().map(|(first, last)| world.add_person(first, last)).collect();
    world.add_group("staff", &all);
    world.add_group("engineering", &all[..3]);
    world.add_group("sales", &all[3..5]);
    world
}

/// So many people in `staff`, named `p00.crew` and so on.
pub fn crew(count: usize) -> World {
    let mut world = World::default();
    let all: Vec<usize> = (0..count).map(|at| world.add_person(&format!("P{at:02}"), "Crew")).collect();
    world.add_group("staff", &all);
    world
}

/// A scene in which everybody is at work already and nothing is left to do.
pub async fn at_work(world: World, setting: Setting) -> Scene {
    let scene = Scene::new(world, setting).await;
    scene.open_doors("staff");
    scene.at_rest().await;
    scene.hush();
    scene
}

/// The team at work under a plain job.
pub async fn team_at_work() -> Scene {
    at_work(team(), Setting::default()).await
}

/// The team at work under a job with more settings.
pub async fn team_under(job: &str) -> Scene {
    at_work(team(), Setting { job: job.to_owned(), ..Setting::default() }).await
}

/// Runs, and demands that every target did all that was planned.
pub async fn applied(scene: &Scene) {
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{}: {:?}", report.record.start.target, report.record.end);
    }
}

/// A set of names.
pub fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// Demands that a group has exactly these members at every target.
pub fn everywhere<const N: usize>(scene: &Scene, group: &str, members: [&str; N]) {
    for target in TARGETS {
        assert_eq!(scene.members(target, group), names(members), "{group} at {target}");
    }
}
