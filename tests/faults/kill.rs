//! Death at any instruction: the process stops for ever at the n-th thing that it writes down, for every n, before or after
//! it is written. A new process then finds what was done, makes nobody twice, and comes to rest.

use chrono::TimeDelta;
use rosterd::contract::journal::{Outcome, RunQuery, Trigger};
use rosterd::engine::run::{World as JobWorld, run};
use tokio_util::sync::CancellationToken;

use crate::brittle::{Blow, Brittle};
use crate::stage::*;
use crate::support::Scene;

/// Runs until death. Returns at which write it died, or `None` if it came to its end.
async fn die(scene: &Scene, at: usize, blow: Blow) -> Option<&'static str> {
    let brittle = Brittle::dying(scene.journal.clone(), at, blow);
    let world = JobWorld { journal: brittle.clone(), ..scene.job().clone() };
    let stop = CancellationToken::new();
    tokio::select! {
        biased;
        () = brittle.died() => {}
        _ = run(&world, &[], Trigger::Command, &stop) => {}
    }
    brittle.fatal()
}

/// How many changes are recorded as lost by the runs since the last death: that one, and the two that healed it.
async fn lost(scene: &Scene) -> usize {
    let mut lost = 0;
    for run in scene.journal.runs(&RunQuery { limit: 9, ..RunQuery::default() }).await.expect("runs") {
        let changes = scene.journal.changes(&run.start.id).await.expect("changes");
        lost += changes.iter().filter(|c| c.outcome == Some(Outcome::Lost)).count();
    }
    lost
}

async fn death_at_every(step: usize, blow: fn() -> Blow, loses: impl Fn(&str) -> bool) {
    let mut scene = settled(staff()).await;
    story(&scene, 0);
    heals(&scene).await;
    let mut at = 1;
    loop {
        story(&scene, at);
        let fatal = die(&scene, at, blow()).await;
        quiet(&scene).await;
        // A new process. The lease of the dead one runs out.
        scene.reassemble();
        scene.clock.advance(TimeDelta::seconds(30));
        for target in At::ALL {
            assert_eq!(losses(&scene, target), Vec::<String>::new(), "died at write {at}, {fatal:?}");
        }
        heals(&scene).await;
        let Some(fatal) = fatal else {
            assert!(at > 20, "a run writes more than {at} times");
            return;
        };
        if loses(fatal) {
            assert!(lost(&scene).await > 0, "died at write {at}, {fatal}: the journal does not tell what was lost");
        }
        at += step;
    }
}

#[tokio::test]
async fn a_process_that_dies_before_any_write_of_its_journal_leaves_nothing_that_the_next_run_cannot_heal() {
    death_at_every(1, || Blow::Before, |what| what == "settle").await;
}

#[tokio::test]
async fn a_process_that_dies_after_any_write_of_its_journal_leaves_nothing_that_the_next_run_cannot_heal() {
    death_at_every(1, || Blow::After, |what| what == "intend").await;
}

#[tokio::test]
async fn a_store_that_cannot_be_written_at_any_moment_leaves_nothing_that_the_next_run_cannot_heal() {
    death_at_every(3, || Blow::Error, |what| what == "settle").await;
}

#[tokio::test]
async fn a_store_that_is_locked_at_any_moment_leaves_nothing_that_the_next_run_cannot_heal() {
    let mut scene = settled(staff()).await;
    let mut failed = 0;
    for at in (1..24).step_by(2) {
        story(&scene, at);
        let world = JobWorld { journal: Brittle::locked(scene.journal.clone(), at), ..scene.job().clone() };
        failed += usize::from(run(&world, &[], Trigger::Command, &CancellationToken::new()).await.is_err());
        scene.reassemble();
        scene.clock.advance(TimeDelta::seconds(30));
        for target in At::ALL {
            assert_eq!(losses(&scene, target), Vec::<String>::new(), "locked at reading {at}");
        }
        heals(&scene).await;
    }
    assert!(failed > 5, "a run does not go on without its memory: {failed}");
}

#[tokio::test]
async fn a_run_that_is_dropped_gives_the_target_free_once_its_lease_runs_out() {
    let mut scene = settled(staff()).await;
    story(&scene, 0);
    assert!(die(&scene, 5, Blow::Before).await.is_some());
    scene.reassemble();
    // Whoever renewed the lease is gone with the run, so real time alone does not keep it.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    scene.clock.advance(TimeDelta::seconds(16));
    let lease = scene.journal.lease("target/jira", "somebody else", std::time::Duration::from_secs(15), scene_now(&scene)).await;
    assert!(lease.expect("the store works").is_some(), "the lease of a dropped run is renewed for ever");
}

fn scene_now(scene: &Scene) -> chrono::DateTime<chrono::Utc> {
    rosterd::contract::clock::Clock::now(&*scene.clock)
}
