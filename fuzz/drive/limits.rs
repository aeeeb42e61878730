//! Headers that tell rosterd to wait: no wait is without end, and after it a request may go.
//!
//! An input is the headers of one answer a paragraph; paragraphs are the answers of one bucket, in their order.

use std::time::Duration;

use rosterd::http::budget::{Budget, Tone, Turn};
use rosterd::http::fuzzing::{offset, retry_after, wait};
use rosterd::{sources, targets};
use tokio::time::Instant;

/// No wait is longer: a day, and the margin of a window's end.
const LONGEST: Duration = Duration::from_secs(24 * 3600 + 1);

/// Takes the headers as those of each system.
pub fn run(data: &[u8]) {
    let answers: Vec<_> = paragraphs(data).map(super::headers).collect();
    let dialects = [
        sources::okta::fuzzing::dialect(),
        targets::jira::fuzzing::dialect(),
        targets::confluence::fuzzing::dialect(),
        targets::bitbucket::fuzzing::dialect(),
    ];
    for dialect in dialects {
        for share in [0.01, 0.5, 1.0] {
            let mut budget = Budget::new(share);
            let mut now = Instant::now();
            for headers in &answers {
                let _ = offset(headers);
                for told in [retry_after(headers), dialect.limit(headers).and_then(|reading| wait(&reading))] {
                    assert!(told.is_none_or(|wait| !wait.is_zero() && wait <= LONGEST), "a wait of {told:?}");
                }
                let grant = turn(&mut budget, &mut now);
                budget.answered(grant, now, dialect.limit(headers), Tone::Served);
                assert!(budget.used().is_none_or(|used| used <= 1000));
                let _ = dialect.request_id(headers).map(|id| assert!(id.len() <= 100));
            }
            let grant = turn(&mut budget, &mut now);
            budget.unsent(grant);
        }
    }
}

/// Waits for the next turn, which must come: nothing is under way.
fn turn(budget: &mut Budget, now: &mut Instant) -> rosterd::http::budget::Grant {
    // A window that ends leaves nothing known, and the request after it goes ahead alone: one wait is all there is.
    for _ in 0..3 {
        match budget.ask(*now) {
            Turn::Go(grant) => return grant,
            Turn::After(at) => {
                assert!(at > *now, "a wait of nothing");
                assert!(at.duration_since(*now) <= LONGEST, "a wait of {:?}", at.duration_since(*now));
                *now = at;
            }
            Turn::News(at) => panic!("nothing is under way, and news is waited for until {at:?}"),
        }
    }
    panic!("waiting does not help: {budget:?}")
}

fn paragraphs(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        let (one, more) = super::halves(all);
        rest = (!more.is_empty()).then_some(more);
        Some(one)
    })
    .take(20)
}
