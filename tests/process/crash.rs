//! kill -9 at many points: whatever was in hand, the next start goes on at once, and ends where an undisturbed run ends.

use std::time::{Duration, Instant};

use rosterd::contract::journal::Outcome;

use crate::site::{Daemon, Site, small, until_true};

/// Kills a run after so many changes were asked for, starts anew, and compares with a site that was never disturbed.
async fn killed_after(writes: usize, reference: &Site) {
    let site = Site::plain().await;
    site.latency(Duration::from_millis(15));
    let mut first = Daemon::start(&mut site.command(&["sync"]));
    until_true("the changes", || site.writes() >= writes).await;
    first.signal("KILL");
    assert_eq!(first.ends().await, None);
    // What was under way at the targets takes effect or not; nobody knows.
    until_true("quiet", || site.targets().iter().all(|t| t.log.in_flight() == 0)).await;
    site.latency(Duration::ZERO);

    let again = Instant::now();
    site.run(&["sync"]).await.exits(0);
    assert!(again.elapsed() < Duration::from_secs(12), "it waited for a lease that nobody holds: {:?}", again.elapsed());
    let last = site.run(&["sync"]).await.exits(0);
    assert_eq!(last.out.matches("converged").count(), 3, "{}", last.out);
    assert_eq!(site.picture(), reference.picture(), "after {writes} writes");
    site.run(&["journal", "verify"]).await.exits(0);

    let record = site.record().await;
    assert_eq!(record.len(), 9);
    let mut lost = 0;
    for (run, changes) in record {
        assert!(run.end.is_some(), "{run:?}");
        for change in changes {
            match change.outcome {
                Some(Outcome::Lost) => lost += 1,
                Some(Outcome::Done | Outcome::AlreadySo) => {}
                other => panic!("after {writes} writes: {:?} came to {other:?}", change.intent),
            }
        }
    }
    assert!(lost > 0, "after {writes} writes: something was in hand");
}

#[tokio::test]
async fn a_killed_run_is_completed_by_the_next_with_nobody_twice_and_nothing_lost() {
    let reference = Site::plain().await;
    reference.run(&["sync"]).await.exits(0);
    let all = reference.writes();
    for point in 0..15 {
        killed_after(1 + point * (all - 3) / 15, &reference).await;
    }
}

#[tokio::test]
async fn a_daemon_that_is_killed_again_and_again_gets_there() {
    let reference = Site::plain().await;
    reference.run(&["sync"]).await.exits(0);
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    site.latency(Duration::from_millis(10));
    let mut goal = 0;
    for _ in 0..6 {
        let mut daemon = site.daemon().await;
        goal += reference.writes() / 8;
        until_true("more changes", || site.writes() >= goal).await;
        daemon.signal("KILL");
        daemon.ends().await;
    }
    site.latency(Duration::ZERO);
    let daemon = site.daemon().await;
    daemon.converges(1).await;
    daemon.stop().await;
    assert_eq!(site.picture(), reference.picture());
}
