//! The campaign over real HTTP with the real binary: days of changes at the source, faults of all sorts, and kill -9; an observer
//! who sees both sides says that nobody lost what the source entitles them to, and in the end everything is in order.

use std::time::Duration;

use fastrand::Rng;
use rosterd_sim::harness::{Fault, Rule, Switchboard};
use rosterd_sim::world::World;

use crate::site::{Daemon, Picture, Site, small, until_true};

const DAYS: usize = 5;

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

/// Whoever works at the source, had an account and was in groups that the source still wants has kept all of it.
fn nobody_lost(world: &World, before: &[Picture], after: &[Picture], when: &str) {
    for (target, (before, after)) in before.iter().zip(after).enumerate() {
        for (place, person) in world.people.iter().enumerate().filter(|(_, p)| p.status.works()) {
            let name = person.login.split('@').next().unwrap_or_default().to_lowercase();
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

async fn quiet(site: &Site) {
    until_true("quiet", || site.targets().iter().all(|target| target.log.in_flight() == 0)).await;
}

/// A run that may be killed in the middle.
async fn run(site: &Site, rng: &mut Rng) {
    let mut sync = Daemon::start(&mut site.command(&["sync"]));
    if rng.u8(..3) == 0 {
        let sent = || site.estate.okta.server.log.len() + site.targets().iter().map(|t| t.log.len()).sum::<usize>();
        let enough = sent() + rng.usize(1..60);
        // Whoever is done before that many requests is done.
        tokio::select! {
            () = until_true("the requests", || sent() >= enough) => sync.signal("KILL"),
            _ = sync.ends() => return,
        }
    }
    sync.ends().await;
}

async fn course(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let site = Site::with(small(), "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 1.0, floor = 99 }").await;
    site.run(&["sync"]).await.exits(0);
    for day in 0..DAYS {
        life(&site, &mut rng);
        let before = site.picture();
        weather(&site, &mut rng);
        run(&site, &mut rng).await;
        quiet(&site).await;
        clear(&site);
        nobody_lost(&site.estate.okta.world(), &before, &site.picture(), &format!("seed {seed}, day {day}"));
    }
    // Whoever was put to rest or set aside on the way is let go.
    for system in ["okta", "jira", "confluence", "bitbucket"] {
        site.run(&["release", system]).await;
    }
    // A bucket that was said to be empty is so by real time.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    site.run(&["sync"]).await;
    let last = site.run(&["sync"]).await;
    assert_eq!(last.out.matches("converged").count(), 3, "seed {seed}: {last:?}");
    site.run(&["journal", "verify"]).await.exits(0);
}

#[tokio::test]
async fn nobody_loses_anything_over_days_of_faults_and_kills() {
    for seed in 0..4 {
        course(seed).await;
    }
}
