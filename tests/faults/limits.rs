//! Rate limits as they are told: in seconds, as a date, by a reset that lies in the past, or not at all; waited out inside the
//! run where they are short, left to the queue where they are long.

use std::time::{Duration, Instant, SystemTime};

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Ended;
use rosterd::model::retry::Subject;
use rosterd_sim::harness::{Fault, Rule, Switchboard};

use crate::stage::*;
use crate::support::{Scene, end_of, ended};

const OKTA_429: &str = r#"{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}"#;

fn switchboards(scene: &Scene) -> Vec<Switchboard> {
    let okta = std::iter::once(scene.estate.okta.server.faults.clone());
    okta.chain(At::ALL.iter().map(|at| at.faults(scene).clone())).collect()
}

fn epoch() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn short_limits() -> Vec<(&'static str, Fault)> {
    let limited = || Fault::json(429, OKTA_429);
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(60));
    let window = |reset: u64| {
        limited()
            .header("x-rate-limit-limit", "100")
            .header("x-rate-limit-remaining", "0")
            .header("x-rate-limit-reset", &reset.to_string())
    };
    vec![
        ("seconds", limited().header("Retry-After", "1")),
        ("a date", limited().header("Retry-After", &date)),
        ("a date in the past", limited().header("Retry-After", &past)),
        ("zero seconds", limited().header("Retry-After", "0")),
        ("a reset in a moment", window(epoch() + 1)),
        ("a reset in the past", window(epoch() - 30)),
        ("nothing at all", limited()),
    ]
}

#[tokio::test]
async fn a_short_limit_is_waited_out_within_the_run_however_it_is_told() {
    let scene = fresh(staff()).await;
    scene.converge().await;
    for (what, fault) in short_limits() {
        clear_logs(&scene);
        for switchboard in switchboards(&scene) {
            switchboard.add(Rule::once("GET", "", fault.clone()).after(2));
        }
        let begun = Instant::now();
        let reports = scene.run().await;
        for report in &reports {
            assert_eq!(ended(report), Ended::Converged, "{what}: {:?}", report.record.end);
        }
        assert!(begun.elapsed() >= Duration::from_secs(1), "{what}: it waits at least a second");
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: took {:?}", begun.elapsed());
        clear_faults(&scene);
    }
}

#[tokio::test]
async fn a_long_limit_at_the_source_puts_the_run_on_the_queue_for_the_time_that_it_tells() {
    let mut scene = settled(staff()).await;
    story(&scene, 0);
    scene.estate.okta.server.faults.add(Rule::once("GET", "", Fault::json(429, OKTA_429).header("Retry-After", "3600")).after(1));
    let now = scene.clock.now();
    let reports = scene.run().await;
    assert!(reports.iter().all(|r| ended(r) == Ended::Failed));
    let retries = scene.journal.retries().await.expect("retries");
    assert_eq!(retries.len(), 3);
    for retry in &retries {
        assert_eq!(retry.subject, Subject::Everything);
        let wait = (retry.not_before - now).num_seconds();
        assert!((3590..=3600).contains(&wait), "{wait}");
    }
    // Whoever runs all the same sends nothing: the bucket is known to be empty.
    clear_logs(&scene);
    let reports = scene.run().await;
    assert!(reports.iter().all(|r| ended(r) == Ended::Failed));
    assert_eq!(scene.estate.okta.server.log.len(), 0, "no request while the bucket is known to be empty");
    // The bucket is closed by real time, which a new process does not know of.
    scene.reassemble();
    scene.clock.advance(TimeDelta::seconds(3700));
    heals(&scene).await;
}

#[tokio::test]
async fn a_long_limit_at_a_target_puts_its_run_on_the_queue_and_the_others_go_on() {
    for at in At::ALL {
        let mut scene = settled(staff()).await;
        story(&scene, 0);
        at.faults(&scene).add(Rule::once("GET", "", Fault::json(429, "{}").header("Retry-After", "1800")).after(4));
        let now = scene.clock.now();
        let reports = scene.run().await;
        for other in At::ALL {
            let expected = if other == at { Ended::Failed } else { Ended::Applied };
            assert_eq!(end_of(&reports, other.name()).ended, expected, "{} while {} is limited", other.name(), at.name());
        }
        let retries = scene.journal.retries().await.expect("retries");
        let [retry] = &retries[..] else { panic!("{retries:?}") };
        assert_eq!((&retry.subject, retry.target.as_str()), (&Subject::Everything, at.name()));
        let wait = (retry.not_before - now).num_seconds();
        assert!((1790..=1800).contains(&wait), "{wait}");
        scene.reassemble();
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_long_limit_in_the_middle_of_writing_stops_the_target_and_the_rest_comes_later() {
    for at in At::ALL {
        let mut scene = fresh(crowd(10)).await;
        impatient(&mut scene);
        at.faults(&scene).add(Rule::once("POST", "", Fault::json(429, "{}").header("Retry-After", "1800")).after(3));
        let now = scene.clock.now();
        let reports = scene.run().await;
        let end = end_of(&reports, at.name());
        assert_eq!(end.ended, Ended::Partial, "{}: {end:?}", at.name());
        let after_the_limit = at.log(&scene).all().iter().skip_while(|s| s.status != 429).count();
        assert!(after_the_limit <= 4, "{}: {after_the_limit} requests went out after the limit was told", at.name());
        let retries = scene.journal.retries().await.expect("retries");
        let whole = retries.iter().find(|r| r.subject == Subject::Everything).expect("the whole run is queued");
        let wait = (whole.not_before - now).num_seconds();
        assert!((1790..=1800).contains(&wait), "{wait}");
        assert!(retries.iter().all(|r| r.target == at.system()), "the other targets have nothing to try again");
        scene.reassemble();
        heals(&scene).await;
    }
}

#[tokio::test]
async fn a_limit_that_tells_no_time_stops_the_target_and_is_tried_again_after_the_backoff() {
    for at in At::ALL {
        let mut scene = fresh(crowd(10)).await;
        impatient(&mut scene);
        // A bare 429, as Bitbucket answers it where a proxy drops the headers.
        let bare = Fault::Answer { status: 429, headers: Vec::new(), body: String::new() };
        at.faults(&scene).add(Rule::once("POST", "", bare).after(3));
        let now = scene.clock.now();
        let reports = scene.run().await;
        let end = end_of(&reports, at.name());
        assert_eq!(end.ended, Ended::Partial, "{}: {end:?}", at.name());
        // Whoever was under way ends, with a reading where a creation takes one; nobody else begins.
        let after_the_limit = at.log(&scene).all().into_iter().skip_while(|s| s.status != 429);
        let writes = after_the_limit.filter(|s| s.method != "GET").count();
        assert!(writes <= 4, "{}: {writes} writes went out from the limit on", at.name());
        let retries = scene.journal.retries().await.expect("retries");
        let whole = retries.iter().find(|r| r.subject == Subject::Everything).expect("the whole run is queued");
        let wait = (whole.not_before - now).num_seconds();
        assert!((1..=60).contains(&wait), "{}: {wait}", at.name());
        assert_eq!(scene.journal.rests().await.expect("rests"), [], "an empty bucket is no sickness");
        scene.reassemble();
        heals(&scene).await;
    }
}
