//! The campaign over real HTTP with the real binary: days of changes at the source, faults of all sorts, and kill -9; an observer
//! who sees both sides says that nobody lost what the source entitles them to, and in the end everything is in order.

use std::time::{Duration, Instant};

use fastrand::Rng;
use rosterd::contract::journal::{Ended, RunEnd};
use rosterd_sim::harness::{Fault, Rule, Switchboard};
use rosterd_sim::world::World;

use crate::site::{DEADLINE, Daemon, Picture, Site, small, until_true};

const DAYS: usize = 5;
/// How long a write takes at whose answer the process is to die.
const SLOW: Duration = Duration::from_millis(300);

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

/// A run that may be killed in the middle: at one of its first writes, whose answer is on its way for long enough.
async fn run(site: &Site, rng: &mut Rng) {
    let doomed = rng.u8(..3) == 0;
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
            _ = sync.ends() => return,
        }
    }
    sync.ends().await;
}

/// Lets go whoever was put to rest or set aside, and runs until there is nothing to do. A bucket that was said to be empty is
/// so by real time.
async fn settle(site: &Site, seed: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
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

/// Returns how many runs died.
async fn course(seed: u64) -> usize {
    let mut rng = Rng::with_seed(seed);
    let site =
        Site::with(small(), "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 1.0, floor = 99 }").await;
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
    settle(&site, seed).await;
    site.run(&["journal", "verify"]).await.exits(0);
    let died = |end: Option<&RunEnd>| end.is_some_and(|end| end.ended == Ended::Interrupted);
    site.record().await.iter().filter(|(run, _)| died(run.end.as_ref())).count()
}

#[tokio::test]
async fn nobody_loses_anything_over_days_of_faults_and_kills() {
    let mut died = 0;
    for seed in 0..4 {
        died += course(seed).await;
    }
    assert!(died > 0, "nobody was killed in the middle of a run");
}
