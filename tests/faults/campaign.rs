//! Each request of a run in its turn meets a fault, of every sort: whichever it is, nobody loses what they should have, and
//! the next run brings everything in order.

use std::time::Duration;

use rosterd_sim::harness::{Fault, Rule, Switchboard};

use crate::stage::*;
use crate::support::Scene;

/// The place of the rate limit among the sorts.
const LIMITED: usize = 10;

/// The places of answers that look right and are empty.
const LIES: std::ops::Range<usize> = 4..6;

fn sorts() -> Vec<Fault> {
    vec![
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Cut,
        Fault::html(200, "<html>Log in</html>"),
        Fault::json(200, "[]"),
        Fault::json(200, "{}"),
        Fault::json(503, ""),
        Fault::html(502, "<html>Bad gateway</html>"),
        Fault::html(404, "<html>Not found</html>"),
        Fault::json(403, "{}"),
        Fault::json(429, "").header("Retry-After", "1"),
        Fault::html(302, "").header("Location", "https://sso.example.com/login"),
        Fault::Dribble(Duration::from_millis(1)),
    ]
}

/// Lets the n-th request to a system fail, for each n of a run, with sorts of faults in turn.
async fn each_request_in_turn(switchboard: impl Fn(&Scene) -> Switchboard, offset: usize) {
    let scene = settled(staff()).await;
    let sorts = sorts();
    let mut number = 0;
    loop {
        story(&scene, number);
        let sort = (number + offset) % sorts.len();
        // Shown where the test fails.
        println!("request {number} meets {:?}", sorts[sort]);
        let faults = switchboard(&scene);
        let before = faults.hits();
        // A write that is said to be done in the system's own words is done: no reading doubts that.
        let method = if LIES.contains(&sort) { "GET" } else { "" };
        faults.add(Rule::once(method, "", sorts[sort].clone()).after(number));
        scene.run().await;
        quiet(&scene).await;
        let met = faults.hits() > before;
        for at in At::ALL {
            let lost = losses(&scene, at);
            assert_eq!(lost, Vec::<String>::new(), "request {number} met {:?}", sorts[sort]);
        }
        if sort == LIMITED {
            // A closed bucket is closed by real time.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        heals(&scene).await;
        if !met && !LIES.contains(&sort) {
            assert!(number > 5, "a run takes more than {number} requests");
            return;
        }
        number += 1;
    }
}

#[tokio::test]
async fn whichever_request_to_okta_fails_nobody_loses_anything() {
    for offset in [0, 5] {
        each_request_in_turn(|scene| scene.estate.okta.server.faults.clone(), offset).await;
    }
}

#[tokio::test]
async fn whichever_request_to_jira_fails_nobody_loses_anything() {
    for offset in [0, 5] {
        each_request_in_turn(|scene| At::Jira.faults(scene).clone(), offset).await;
    }
}

#[tokio::test]
async fn whichever_request_to_confluence_fails_nobody_loses_anything() {
    for offset in [0, 5] {
        each_request_in_turn(|scene| At::Confluence.faults(scene).clone(), offset).await;
    }
}

#[tokio::test]
async fn whichever_request_to_bitbucket_fails_nobody_loses_anything() {
    for offset in [0, 5] {
        each_request_in_turn(|scene| At::Bitbucket.faults(scene).clone(), offset).await;
    }
}
