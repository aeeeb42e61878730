//! A credential that is taken back in the middle of a run is not tried again: not in this run, not by the next one, not by a
//! new process, until a person says so. The other systems go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rosterd::contract::fault::Fault as Met;
use rosterd::contract::journal::{Ended, Trigger};
use rosterd::daemon::assemble::load;
use rosterd::engine::run::{World as JobWorld, run};
use rosterd_sim::harness::{Fault, Log, Rule};
use tokio_util::sync::CancellationToken;

use crate::brittle::Brittle;
use crate::stage::*;
use crate::support::{Scene, end_of, ended, report_of};

/// Requests that may be under way when the first refusal comes back.
const UNDER_WAY: usize = 4;

fn refusals(log: &Log) -> usize {
    log.all().iter().filter(|s| s.status == 401).count()
}

async fn rests_without_end(scene: &Scene, system: &str) {
    let rests = scene.journal.rests().await.expect("rests");
    let rest = rests.iter().find(|r| r.system.as_str() == system).unwrap_or_else(|| panic!("{system} rests: {rests:?}"));
    assert_eq!((rest.fault.as_str(), rest.until), ("refused", None));
}

#[tokio::test]
async fn a_token_of_okta_that_is_taken_back_in_mid_run_is_not_tried_again() {
    let body = r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#;
    for after in [0, 1, 3, 7] {
        let mut scene = settled(crowd(60)).await;
        scene.estate.okta.quirks(|q| q.page_cap = Some(5));
        scene.estate.okta.deactivate("pat.number59@example.com");
        let okta = scene.estate.okta.server.log.clone();
        scene.estate.okta.server.faults.add(Rule::always("", "", Fault::json(401, body)).after(after));
        let reports = scene.run().await;
        for report in &reports {
            assert_eq!((ended(report), &report.fault), (Ended::Failed, &Some(Met::Refused)), "{:?}", report.record.end);
        }
        let said = end_of(&reports, "jira").messages.join(" ");
        assert!(said.contains("E0000011") && said.contains("token"), "{said}");
        assert!((1..=UNDER_WAY).contains(&refusals(&okta)), "refused {} times", refusals(&okta));
        rests_without_end(&scene, "okta").await;
        assert_eq!(writes(&scene), 0);

        clear_logs(&scene);
        scene.clock.advance(chrono::TimeDelta::days(3));
        scene.run().await;
        scene.reassemble();
        scene.run().await;
        assert_eq!(okta.len(), 0, "neither the next run nor a new process tries it again");
        assert_eq!(At::ALL.iter().map(|at| at.log(&scene).len()).sum::<usize>(), 0);

        scene.journal.forgive(&"okta".into()).await.expect("released");
        scene.reassemble();
        heals(&scene).await;
    }
}

/// The whole of a refusal at a target: told once, rests, others go on, no further request.
async fn is_left_alone(scene: &mut Scene, at: At) {
    assert!((1..=UNDER_WAY).contains(&refusals(at.log(scene))), "{} refused {} times", at.name(), refusals(at.log(scene)));
    let after = at.log(scene).all().iter().skip_while(|s| s.status != 401).count();
    assert!(after <= UNDER_WAY, "{} requests went to {} after the refusal", after, at.name());
    rests_without_end(scene, at.name()).await;
    clear_logs(scene);
    scene.clock.advance(chrono::TimeDelta::days(3));
    story(scene, 7);
    scene.run().await;
    scene.reassemble();
    let reports = scene.run().await;
    assert_eq!(at.log(scene).len(), 0, "neither the next run nor a new process asks {} again", at.name());
    assert_eq!(end_of(&reports, at.name()).ended, Ended::Failed);
    for other in At::ALL.into_iter().filter(|o| *o != at) {
        assert_eq!(disagreements(scene, other).await, Vec::<String>::new(), "{} is served", other.name());
    }
    // A person puts in the credential anew and releases the target.
    at.gate(scene).accept_token("token-of-rosterd");
    at.gate(scene).accept_password("password-of-rosterd");
    at.faults(scene).clear();
    scene.journal.forgive(&at.system()).await.expect("released");
    scene.reassemble();
    heals(scene).await;
}

/// An account was locked and is unlocked: the credential is the same, and so is the process.
#[tokio::test]
async fn whoever_is_released_is_tried_again_by_the_process_that_met_the_refusal() {
    let scene = settled(staff()).await;
    let okta = scene.estate.okta.server.log.clone();
    let body = r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#;
    scene.estate.okta.server.faults.add(Rule::always("", "", Fault::json(401, body)));
    scene.run().await;
    rests_without_end(&scene, "okta").await;
    // A reload that comes to nothing in between has built its own clients and dropped them.
    load(&scene.folder.path().join("rosterd.toml"), &scene.services.kit).expect("it is good; what comes after it may not be");
    clear_logs(&scene);
    scene.clock.advance(chrono::TimeDelta::days(1));
    scene.run().await;
    assert_eq!(okta.len(), 0, "whether it would be taken now nobody knows");
    // Released too early: it is tried once, although this client has been at work for long.
    scene.journal.forgive(&"okta".into()).await.expect("released");
    scene.run().await;
    assert_eq!(refusals(&okta), 1);
    rests_without_end(&scene, "okta").await;
    scene.estate.okta.server.faults.clear();
    scene.journal.forgive(&"okta".into()).await.expect("released");
    heals(&scene).await;
}

#[tokio::test]
async fn a_credential_that_a_target_refuses_while_it_is_read_is_not_tried_again() {
    for at in At::ALL {
        for after in [0, 1, 4, 7] {
            let mut scene = settled(staff()).await;
            story(&scene, 0);
            // The refusal in the product's own words, and from then on for good.
            let faults = at.faults(&scene).clone();
            let body = match at {
                At::Jira | At::Confluence => {
                    r#"{"message":"Client must be authenticated to access this resource.","status-code":401}"#
                }
                At::Bitbucket => {
                    r#"{"errors":[{"context":null,"message":"Authentication failed.","exceptionName":"com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException"}]}"#
                }
            };
            faults.add(Rule::always("", "", Fault::json(401, body)).after(after));
            let reports = scene.run().await;
            let report = report_of(&reports, at.name());
            assert_eq!((ended(report), &report.fault), (Ended::Failed, &Some(Met::Refused)), "{:?}", report.record.end);
            for other in At::ALL.into_iter().filter(|o| *o != at) {
                assert_eq!(end_of(&reports, other.name()).ended, Ended::Applied, "{}", other.name());
            }
            is_left_alone(&mut scene, at).await;
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_taken_back_while_it_writes_is_not_tried_again() {
    for at in At::ALL {
        for nth in [1, 2] {
            let mut scene = fresh(staff()).await;
            impatient(&mut scene);
            let (gate, count) = (at.gate(&scene).clone(), Arc::new(AtomicUsize::new(0)));
            let brittle = Brittle::settling(scene.journal.clone(), at.system(), move || {
                if count.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                    gate.revoke();
                }
            });
            let world = JobWorld { journal: brittle, ..scene.job().clone() };
            let reports = run(&world, &[], Trigger::Command, &CancellationToken::new()).await.expect("the store works");
            let report = report_of(&reports, at.name());
            assert_eq!(ended(report), Ended::Partial, "{:?}", report.record.end);
            assert_eq!(report.fault, Some(Met::Refused), "the exit code tells it: {:?}", report.record.end);
            for other in At::ALL.into_iter().filter(|o| *o != at) {
                assert_eq!(end_of(&reports, other.name()).ended, Ended::Applied, "{}", other.name());
            }
            is_left_alone(&mut scene, at).await;
        }
    }
}

#[tokio::test]
async fn a_token_of_okta_that_is_taken_back_before_the_proofs_takes_nothing_from_anybody() {
    let mut scene = settled(staff()).await;
    story(&scene, 0);
    let body = r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#;
    scene.estate.okta.server.faults.add(Rule::always("", "/api/v1/users/", Fault::json(401, body)));
    let reports = scene.run().await;
    for report in &reports {
        let end = report.record.end.as_ref().expect("ended");
        let removed: u64 = end.done.iter().filter(|(kind, _)| kind.removes()).map(|(_, n)| n).sum();
        assert_eq!(removed, 0, "without proof nothing is taken away: {end:?}");
    }
    let okta = scene.estate.okta.server.log.clone();
    assert!((1..=UNDER_WAY).contains(&refusals(&okta)), "refused {} times", refusals(&okta));
    clear_logs(&scene);
    scene.run().await;
    assert_eq!(okta.len(), 0, "the next run does not try it again");
    scene.journal.forgive(&"okta".into()).await.expect("released");
    scene.reassemble();
    heals(&scene).await;
}
