//! A word to stop in mid-apply: what is in hand is settled, what is not begun is left, and the next run completes it.

use std::sync::Arc;

use rosterd::contract::journal::{Ended, Outcome, Trigger};
use rosterd::engine::run::{World as JobWorld, run};
use tokio_util::sync::CancellationToken;

use crate::brittle::Brittle;
use crate::stage::*;
use crate::support::{end_of, report_of};

#[tokio::test]
async fn a_run_that_is_told_to_stop_settles_what_is_in_hand_and_leaves_the_rest() {
    for when in ["intend", "settle"] {
        for nth in [1, 2, 4] {
            let scene = fresh(crowd(12)).await;
            let stop = CancellationToken::new();
            let (word, count) = (stop.clone(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
            let hook = move |what: &'static str, _: usize| {
                if what == when && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth {
                    word.cancel();
                }
            };
            let world = JobWorld { journal: Brittle::telling(scene.journal.clone(), hook), ..scene.job().clone() };
            let reports = run(&world, &[], Trigger::Command, &stop).await.expect("the store works");
            let interrupted = reports.iter().filter(|r| crate::support::ended(r) == Ended::Interrupted).count();
            assert!(interrupted >= 2, "at {when} {nth}: {reports:#?}");
            no_open_intents(&scene).await;
            assert_eq!(scene.journal.retries().await.expect("retries"), [], "an interrupted run puts nothing on the queue");
            for at in At::ALL {
                // Each request that went out is settled as done, and each that did not go out as skipped.
                let end = end_of(&reports, at.name());
                let run = &report_of(&reports, at.name()).record.start.id;
                let changes = scene.journal.changes(run).await.expect("changes");
                let done = changes.iter().filter(|c| c.outcome == Some(Outcome::Done)).count();
                assert_eq!(done as u64, end.done.iter().map(|(_, n)| n).sum::<u64>(), "{end:?}");
                if at != At::Bitbucket {
                    assert_eq!(at.log(&scene).writes().len(), done, "at {}", at.name());
                }
                let left = changes.iter().filter(|c| c.outcome == Some(Outcome::Skipped)).count();
                assert_eq!(done + left, changes.len(), "nothing is in between");
            }
            heals(&scene).await;
        }
    }
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_before_it_begins_changes_nothing() {
    let scene = fresh(staff()).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let reports = run(scene.job(), &[], Trigger::Command, &stop).await.expect("the store works");
    assert_eq!(writes(&scene), 0);
    assert!(reports.iter().all(|r| crate::support::ended(r) == Ended::Interrupted), "{reports:#?}");
    heals(&scene).await;
}

#[tokio::test]
async fn a_swap_is_not_left_half_done_when_the_run_is_told_to_stop() {
    for at in [At::Jira, At::Bitbucket] {
        let scene = settled(staff()).await;
        let okta = &scene.estate.okta;
        let keys = || ["emil.hart", "fred.lang"].map(|name| at.directory(&scene).user(name).map(|u| u.key.clone()));
        let before = keys();
        for (from, to) in [("emil.hart", "between"), ("fred.lang", "emil.hart"), ("between", "fred.lang")] {
            okta.rename_user(&format!("{from}@example.com"), &format!("{to}@example.com"));
        }
        // Told when the first of three steps is done and about to be settled.
        let stop = CancellationToken::new();
        let word = stop.clone();
        let hook = move |what: &'static str, _: usize| {
            if what == "settle" {
                word.cancel();
            }
        };
        let world = JobWorld { journal: Brittle::telling(scene.journal.clone(), hook), ..scene.job().clone() };
        let reports = run(&world, &[at.system()], Trigger::Command, &stop).await.expect("the store works");
        assert_eq!(crate::support::end_of(&reports, at.name()).ended, Ended::Interrupted);
        assert_eq!(at.log(&scene).writes().len(), 2, "there and back: {:?}", at.log(&scene).writes());
        assert_eq!(keys(), before, "everybody has the former name at {}", at.name());
        no_open_intents(&scene).await;
        // Confluence cannot rename, so the oracle is asked of this target alone.
        scene.run().await;
        assert_eq!(disagreements(&scene, at).await, Vec::<String>::new());
    }
}
