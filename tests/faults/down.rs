//! A target that is down for a while: the others are served as ever, it is asked ever more rarely, and comes back by itself.

use chrono::TimeDelta;
use rosterd::contract::journal::Ended;
use rosterd_sim::harness::{Fault, Rule};

use crate::stage::*;
use crate::support::{end_of, ended};

#[tokio::test]
async fn one_target_that_is_down_holds_up_no_other_and_heals_when_it_is_back() {
    for at in At::ALL {
        let scene = settled(staff()).await;
        at.faults(&scene).add(Rule::always("", "", Fault::html(503, "<html>Maintenance</html>")));
        for number in 0..6 {
            story(&scene, number);
            scene.clock.advance(TimeDelta::minutes(10));
            let reports = scene.run().await;
            assert_eq!(end_of(&reports, at.name()).ended, Ended::Failed);
            for other in At::ALL.into_iter().filter(|o| *o != at) {
                assert_eq!(end_of(&reports, other.name()).ended, Ended::Applied, "{} in run {number}", other.name());
                assert_eq!(disagreements(&scene, other).await, Vec::<String>::new(), "{} in run {number}", other.name());
            }
        }
        assert!(losses(&scene, at).is_empty());
        let rests = scene.journal.rests().await.expect("rests");
        let [rest] = &rests[..] else { panic!("{rests:?}") };
        assert_eq!((rest.system.as_str(), rest.fault.as_str()), (at.name(), "unavailable"));
        assert!(rest.failures >= 4, "{rest:?}");

        // While it rests it is not asked at all.
        clear_logs(&scene);
        let reports = scene.run().await;
        assert_eq!(end_of(&reports, at.name()).ended, Ended::Failed);
        assert_eq!(at.log(&scene).len(), 0, "{} rests", at.name());
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_system_that_answers_with_pages_of_html_is_left_alone_and_no_other_is_touched_by_it() {
    for at in At::ALL {
        let scene = settled(staff()).await;
        story(&scene, 0);
        at.faults(&scene).add(Rule::always("", "", Fault::html(200, "<html>Log in</html>")));
        let reports = scene.run().await;
        assert_eq!(end_of(&reports, at.name()).ended, Ended::Failed, "at {}", at.name());
        let said = end_of(&reports, at.name()).messages.join(" ");
        assert!(said.to_lowercase().contains("html") || said.contains("login page"), "{said}");
        for other in At::ALL.into_iter().filter(|o| *o != at) {
            assert_eq!(end_of(&reports, other.name()).ended, Ended::Applied, "{}", other.name());
        }
        assert_eq!(at.log(&scene).writes().len(), 0);
        heals(&scene).await;
    }
    let scene = settled(staff()).await;
    story(&scene, 0);
    scene.estate.okta.server.faults.add(Rule::always("", "", Fault::html(200, "<html>Log in</html>")));
    assert!(scene.run().await.iter().all(|r| ended(r) == Ended::Failed));
    assert_eq!(writes(&scene), 0);
    heals(&scene).await;
}

#[tokio::test]
async fn a_target_whose_writes_all_fail_is_left_after_a_few_and_not_after_all() {
    for at in At::ALL {
        let mut scene = fresh(crowd(60)).await;
        impatient(&mut scene);
        for method in ["POST", "PUT"] {
            at.faults(&scene).add(Rule::always(method, "", Fault::json(503, "")));
        }
        let reports = scene.run().await;
        let end = end_of(&reports, at.name());
        assert_eq!(end.ended, Ended::Partial, "{end:?}");
        let tried = at.log(&scene).writes().len();
        assert!(tried <= 40, "{} was written to {tried} times although nothing came of it", at.name());
        for other in At::ALL.into_iter().filter(|o| *o != at) {
            assert_eq!(end_of(&reports, other.name()).ended, Ended::Applied, "{}", other.name());
        }
        heals(&scene).await;
    }
}
