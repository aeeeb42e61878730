//! Answers that are slow, dribble, or never come.

use std::time::{Duration, Instant};

use rosterd::contract::journal::Ended;
use rosterd_sim::harness::{Fault, Rule};

use crate::stage::*;
use crate::support::{end_of, ended};

const SHORT: &str = "http = { max_wait = \"0s\", attempts = 1, read_timeout = \"2s\", timeout = \"6s\" }";

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_no_answer() {
    let mut scene = settled(staff()).await;
    rewrite(&mut scene, |text| text.replace(IMPATIENT, SHORT));
    story(&scene, 0);
    scene.estate.okta.server.faults.add(Rule::once("GET", "/users", Fault::Delay(Duration::from_secs(60))));
    let begun = Instant::now();
    assert!(scene.run().await.iter().all(|r| ended(r) == Ended::Failed));
    assert!(begun.elapsed() < Duration::from_secs(30), "took {:?}", begun.elapsed());
    clear_faults(&scene);

    for at in At::ALL {
        at.faults(&scene).add(Rule::always("GET", "", Fault::Delay(Duration::from_secs(60))));
        let reports = scene.run().await;
        assert_eq!(end_of(&reports, at.name()).ended, Ended::Failed, "at {}", at.name());
        for other in At::ALL.into_iter().filter(|o| *o != at) {
            let end = end_of(&reports, other.name());
            assert!(matches!(end.ended, Ended::Applied | Ended::Converged), "{end:?}");
        }
        at.faults(&scene).clear();
    }
    scene.reassemble();
    // The simulators still hold the requests that nobody waits for any more.
    heals(&scene).await;
}

#[tokio::test]
async fn a_dribbling_answer_is_read_to_its_end_and_one_that_dribbles_for_ever_is_given_up() {
    let mut scene = settled(staff()).await;
    rewrite(&mut scene, |text| text.replace(IMPATIENT, SHORT));
    scene.estate.okta.server.faults.add(Rule::always("GET", "/api/v1/users?", Fault::Dribble(Duration::from_millis(30))));
    for at in At::ALL {
        at.faults(&scene).add(Rule::once("GET", "member", Fault::Dribble(Duration::from_millis(30))));
    }
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{:?}", report.record.end);
    }
    clear_faults(&scene);
    // Each pause is short enough, all of them are not.
    scene.estate.okta.server.faults.add(Rule::always("GET", "/api/v1/users?", Fault::Dribble(Duration::from_millis(900))));
    let begun = Instant::now();
    assert!(scene.run().await.iter().all(|r| ended(r) == Ended::Failed));
    assert!(begun.elapsed() < Duration::from_secs(30), "took {:?}", begun.elapsed());
    heals(&scene).await;
}
