//! Budgets: each rule by itself, and whole courses against simulated limits in simulated time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::http::budget::{Budget, Grant, LimitReading, Tone, Turn};
use crate::http::gate::{Gate, TooLong};
use crate::http::meter::Meter;

const SECOND: Duration = Duration::from_secs(1);

fn window(limit: u32, remaining: u32, seconds: u64) -> Option<LimitReading> {
    Some(LimitReading::Window { limit, remaining, resets_in: Duration::from_secs(seconds) })
}

#[track_caller]
fn go(budget: &mut Budget, now: Instant) -> Grant {
    match budget.ask(now) {
        Turn::Go(grant) => grant,
        other => panic!("it must wait: {other:?}"),
    }
}

#[track_caller]
fn waits(budget: &mut Budget, now: Instant) -> Turn {
    match budget.ask(now) {
        Turn::Go(_) => panic!("it may go"),
        other => other,
    }
}

#[test]
fn one_request_goes_ahead_while_nothing_is_known() {
    let now = Instant::now();
    let mut budget = Budget::new(0.5);
    let probe = go(&mut budget, now);
    assert_eq!(budget.ask(now), Turn::News(None));
    // It came to nothing: the next one goes ahead.
    budget.lost(probe);
    let probe = go(&mut budget, now);
    assert_eq!(budget.ask(now), Turn::News(None));
    // A gateway's error says nothing of limits.
    budget.answered(probe, now, None, Tone::Distress);
    let probe = go(&mut budget, now);
    assert_eq!(budget.ask(now), Turn::News(None));
    budget.answered(probe, now, None, Tone::Served);
    let many: Vec<_> = (0..100).map(|_| go(&mut budget, now)).collect();
    assert_eq!(many.len(), 100, "a system without limits is not held back");
    assert_eq!(budget.used(), None);
}

#[test]
fn no_more_than_the_share_of_a_window_is_used() {
    let now = Instant::now();
    for (share, limit, ours) in [(0.5, 10, 5), (0.29, 100, 29), (0.01, 10, 1), (1.0, 7, 7)] {
        let mut budget = Budget::new(share);
        let probe = go(&mut budget, now);
        budget.answered(probe, now, window(limit, limit - 1, 60), Tone::Served);
        let under_way: Vec<_> = (1..ours).map(|_| go(&mut budget, now)).collect();
        match (waits(&mut budget, now), under_way.len()) {
            (Turn::After(at), 0) | (Turn::News(Some(at)), 1..) => assert_eq!(at, now + 61 * SECOND),
            (other, _) => panic!("{other:?}"),
        }
        let mut left = limit - 1;
        for grant in under_way {
            left -= 1;
            budget.answered(grant, now, window(limit, left, 60), Tone::Served);
        }
        assert_eq!(budget.ask(now), Turn::After(now + 61 * SECOND), "{share} of {limit}");
        assert_eq!(budget.ask(now + 60 * SECOND), Turn::After(now + 61 * SECOND));
        // The window is over: again one goes ahead.
        let _probe = go(&mut budget, now + 61 * SECOND);
        assert_eq!(budget.ask(now + 61 * SECOND), Turn::News(None));
    }
}

#[test]
fn what_others_use_is_left_to_them() {
    let now = Instant::now();
    let mut budget = Budget::new(0.5);
    let probe = go(&mut budget, now);
    budget.answered(probe, now, window(100, 20, 30), Tone::Served);
    assert_eq!(budget.ask(now), Turn::After(now + 31 * SECOND));
    assert_eq!(budget.used(), Some(800));
    assert_eq!(budget.whole_at(), Some(now + 31 * SECOND));
}

#[test]
fn answers_that_overtake_each_other_do_not_raise_what_is_left() {
    let now = Instant::now();
    let mut budget = Budget::new(0.5);
    let probe = go(&mut budget, now);
    budget.answered(probe, now, window(10, 9, 60), Tone::Served);
    let grants: Vec<_> = (0..3).map(|_| go(&mut budget, now)).collect();
    for (grant, left) in grants.into_iter().zip([6, 8, 7]) {
        budget.answered(grant, now + SECOND, window(10, left, 60), Tone::Served);
    }
    let _last = go(&mut budget, now + SECOND);
    assert_eq!(budget.ask(now + SECOND), Turn::News(Some(now + 61 * SECOND)), "the earliest end holds");
    // An answer of the window before, arriving late, changes nothing.
    let mut budget = Budget::new(1.0);
    let (first, probe) = (go(&mut budget, now), Budget::new(1.0).ask(now));
    assert!(matches!(probe, Turn::Go(_)));
    budget.answered(first, now, window(10, 3, 60), Tone::Served);
    let late = go(&mut budget, now);
    budget.answered(late, now, window(10, 0, 5), Tone::Served);
    assert_eq!(budget.used(), Some(700));
}

#[test]
fn a_request_without_an_answer_counts_as_spent_and_an_unsent_one_does_not() {
    let now = Instant::now();
    let mut budget = Budget::new(1.0);
    let probe = go(&mut budget, now);
    budget.answered(probe, now, window(4, 2, 60), Tone::Served);
    let unsent = go(&mut budget, now);
    budget.unsent(unsent);
    let lost = go(&mut budget, now);
    budget.lost(lost);
    let _last = go(&mut budget, now);
    waits(&mut budget, now);
}

#[test]
fn a_closed_bucket_opens_with_one_request() {
    let now = Instant::now();
    let mut budget = Budget::new(0.5);
    let probe = go(&mut budget, now);
    budget.answered(probe, now, None, Tone::Served);
    let limited = go(&mut budget, now);
    // Okta's limit on requests at the same time is told as a window of nothing.
    budget.answered(limited, now, window(0, 0, 60), Tone::Limited);
    budget.close(now + 3 * SECOND);
    budget.close(now + 2 * SECOND);
    assert_eq!(budget.ask(now + 2 * SECOND), Turn::After(now + 3 * SECOND));
    let _probe = go(&mut budget, now + 3 * SECOND);
    assert_eq!(budget.ask(now + 3 * SECOND), Turn::News(None));
}

#[test]
fn tokens_come_back_and_the_others_share_stays_in_the_bucket() {
    let now = Instant::now();
    let tokens = |remaining| Some(LimitReading::Tokens { size: 10, remaining, refill: 2, interval: SECOND });
    let mut budget = Budget::new(0.5);
    let probe = go(&mut budget, now);
    budget.answered(probe, now, tokens(6), Tone::Served);
    let grant = go(&mut budget, now);
    assert_eq!(budget.ask(now), Turn::News(Some(now + SECOND / 2)));
    budget.answered(grant, now, tokens(5), Tone::Served);
    assert_eq!(budget.ask(now), Turn::After(now + SECOND / 2));
    let first = go(&mut budget, now + SECOND);
    let second = go(&mut budget, now + SECOND);
    waits(&mut budget, now + SECOND);
    budget.answered(second, now + SECOND, tokens(5), Tone::Served);
    // Overtaken: it was answered before, and tells of a token that is gone.
    budget.answered(first, now + SECOND, tokens(6), Tone::Served);
    assert_eq!(budget.ask(now + SECOND), Turn::After(now + SECOND + SECOND / 2));
    // A reading that makes no sense is no limit.
    let mut odd = Budget::new(0.5);
    let probe = go(&mut odd, now);
    odd.answered(probe, now, Some(LimitReading::Tokens { size: 10, remaining: 0, refill: 0, interval: SECOND }), Tone::Served);
    let _grant = go(&mut odd, now);
    let _grant = go(&mut odd, now);
}

#[test]
fn absurd_numbers_overflow_nothing() {
    let now = Instant::now();
    for reading in [
        window(u32::MAX, 0, u64::MAX),
        window(1, u32::MAX, 0),
        Some(LimitReading::Tokens { size: u32::MAX, remaining: 0, refill: 1, interval: Duration::MAX }),
        Some(LimitReading::Tokens { size: 1, remaining: u32::MAX, refill: u32::MAX, interval: Duration::from_nanos(1) }),
    ] {
        let mut budget = Budget::new(0.01);
        let probe = go(&mut budget, now);
        budget.answered(probe, now, reading, Tone::Limited);
        let _ = budget.ask(now);
        let _ = budget.used();
        assert!(reading.and_then(|r| r.wait()).is_none_or(|wait| wait <= Duration::from_secs(90_000)));
    }
}

/// A limit at the other side.
trait Limiter: Send {
    /// Takes a request: whether it is served, and what the headers say.
    fn take(&mut self) -> (bool, LimitReading);
}

/// Windows as Okta has them: opened by the first request, told in whole seconds, and that cut short.
struct Windows {
    limit: u32,
    length: Duration,
    begun: Instant,
    opened: Option<Instant>,
    used: u32,
    most_used: u32,
}

impl Limiter for Windows {
    fn take(&mut self) -> (bool, LimitReading) {
        let now = Instant::now();
        if self.opened.is_none_or(|opened| now >= opened + self.length) {
            (self.opened, self.used) = (Some(now), 0);
        }
        let served = self.used < self.limit;
        self.used += u32::from(served);
        self.most_used = self.most_used.max(self.used);
        let end = self.opened.unwrap_or(now) + self.length;
        // By the server's clock, which began at some part of a second.
        let whole = |at: Instant| (at - self.begun + Duration::from_millis(370)).as_secs();
        let resets_in = Duration::from_secs(whole(end) - whole(now));
        (served, LimitReading::Window { limit: self.limit, remaining: self.limit - self.used, resets_in })
    }
}

/// A bucket of tokens as Atlassian has it, that refills at each tick or all the time.
struct Bucket {
    size: u32,
    refill: u32,
    tokens: f64,
    at: Instant,
    in_lumps: bool,
    lowest: f64,
}

impl Limiter for Bucket {
    fn take(&mut self) -> (bool, LimitReading) {
        let now = Instant::now();
        let passed = (now - self.at).as_secs_f64();
        let ticks = if self.in_lumps { passed.floor() } else { passed };
        self.at += Duration::from_secs_f64(ticks);
        self.tokens = (self.tokens + ticks * f64::from(self.refill)).min(f64::from(self.size));
        let served = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(served));
        self.lowest = self.lowest.min(self.tokens);
        let remaining = self.tokens.floor() as u32;
        (served, LimitReading::Tokens { size: self.size, remaining, refill: self.refill, interval: SECOND })
    }
}

/// Sends so many requests, eight at once, each with a latency of its own both ways; gives the time that all took and how
/// many were over the limit.
async fn course<L: Limiter + 'static>(limiter: Arc<Mutex<L>>, share: f64, requests: u32) -> (Duration, u32) {
    let gate = Arc::new(Gate::new(8, share, 65 * SECOND, Arc::new(Meter::default())));
    let (left, refused) = (Arc::new(Mutex::new(requests)), Arc::new(Mutex::new(0)));
    let begun = Instant::now();
    let workers = (0..8).map(|seed| {
        let (gate, left, refused, limiter) = (gate.clone(), left.clone(), refused.clone(), limiter.clone());
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            loop {
                {
                    let mut left = left.lock().expect("not poisoned");
                    let Some(fewer) = left.checked_sub(1) else { return };
                    *left = fewer;
                }
                let mut pass = gate.enter("all").await.expect("no wait is too long");
                sleep(Duration::from_millis(random.u64(5..150))).await;
                let (served, reading) = limiter.lock().expect("not poisoned").take();
                sleep(Duration::from_millis(random.u64(5..150))).await;
                pass.answered(Some(reading), if served { Tone::Served } else { Tone::Limited });
                *refused.lock().expect("not poisoned") += u32::from(!served);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("no panic");
    }
    let refused = *refused.lock().expect("not poisoned");
    (begun.elapsed(), refused)
}

#[tokio::test(start_paused = true)]
async fn windows_are_used_to_the_share_and_never_beyond_in_little_more_than_the_least_time() {
    for (limit, share, requests) in [(100, 0.5, 500), (50, 1.0, 400), (600, 0.3, 900), (10, 0.1, 5)] {
        let begun = Instant::now();
        let windows = Windows { limit, length: 60 * SECOND, begun, opened: None, used: 0, most_used: 0 };
        let windows = Arc::new(Mutex::new(windows));
        let (took, refused) = course(windows.clone(), share, requests).await;
        let ours = (share * f64::from(limit)).floor() as u32;
        assert_eq!(refused, 0, "{limit} at {share}");
        assert!(windows.lock().expect("not poisoned").most_used <= ours, "{limit} at {share}");
        // Each window but the last has to pass; the last one's requests take their latency.
        let least = 60 * SECOND * (requests.div_ceil(ours) - 1);
        let last = Duration::from_millis(150) * ours.div_ceil(8) + SECOND;
        assert!(took <= least.mul_f64(1.05) + last, "{limit} at {share}: {took:?} against {least:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_used_as_they_come_and_the_others_share_is_left() {
    for (in_lumps, share) in [(false, 0.5), (true, 0.5), (false, 0.9)] {
        let bucket = Bucket { size: 60, refill: 5, tokens: 60.0, at: Instant::now(), in_lumps, lowest: 60.0 };
        let bucket = Arc::new(Mutex::new(bucket));
        let (took, refused) = course(bucket.clone(), share, 600).await;
        let kept = 60.0 * (1.0 - share);
        assert_eq!(refused, 0);
        // One tick may be believed that has not come yet.
        let slack = if in_lumps { 5.0 } else { 1.0 };
        let lowest = bucket.lock().expect("not poisoned").lowest;
        assert!(lowest >= kept - slack, "{lowest} of {kept}");
        let least = Duration::from_secs_f64((600.0 - 60.0 * share) / 5.0);
        assert!(took <= least.mul_f64(1.05) + SECOND, "lumps {in_lumps}, share {share}: {took:?} against {least:?}");
    }
}

#[test]
fn a_bucket_that_is_said_to_fill_for_months_is_asked_again_after_a_day() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let now = Instant::now();
    let mut budget = Budget::new(0.5);
    let probe = go(&mut budget, now);
    let slow = Some(LimitReading::Tokens { size: 60, remaining: 0, refill: 1, interval: Duration::MAX });
    budget.answered(probe, now, slow, Tone::Served);
    assert_eq!(budget.ask(now), Turn::After(now + DAY));
    let _probe = go(&mut budget, now + DAY);
    assert_eq!(budget.ask(now + DAY), Turn::News(None), "it goes ahead alone");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_one_bucket_does_not_hold_up_another() {
    let gate = Arc::new(Gate::new(1, 1.0, 65 * SECOND, Arc::new(Meter::default())));
    gate.enter("users").await.expect("room").answered(window(10, 0, 50), Tone::Served);
    let begun = Instant::now();
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { drop(gate.enter("users").await.expect("room in the end")) }
    });
    tokio::task::yield_now().await;
    drop(gate.enter("groups").await.expect("room"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    waiting.await.expect("no panic");
    assert_eq!(begun.elapsed(), 51 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_not_waited() {
    let meter = Arc::new(Meter::default());
    let gate = Gate::new(4, 1.0, 60 * SECOND, meter.clone());
    gate.enter("all").await.expect("room").answered(window(10, 0, 300), Tone::Served);
    assert_eq!(gate.enter("all").await.err(), Some(TooLong(301 * SECOND)));
    // A whole minute's window is waited out, the margin included.
    gate.enter("other").await.expect("room").answered(window(10, 0, 60), Tone::Served);
    drop(gate.enter("other").await.expect("room"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_shown_while_it_lasts_and_a_request_given_up_leaves_its_place() {
    let meter = Arc::new(Meter::default());
    let gate = Arc::new(Gate::new(1, 1.0, 60 * SECOND, meter.clone()));
    // Given up midway: neither the place nor the right to go ahead is lost.
    drop(gate.enter("all").await.expect("room"));
    gate.enter("all").await.expect("room").answered(window(10, 0, 20), Tone::Served);
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { drop(gate.enter("all").await.expect("room in the end")) }
    });
    tokio::task::yield_now().await;
    let shown = meter.waiting.lock().expect("not poisoned").clone();
    assert_eq!(shown.map(|(what, _)| what).as_deref(), Some("rate limit (all)"));
    waiting.await.expect("no panic");
    assert_eq!(*meter.waiting.lock().expect("not poisoned"), None);
}

#[tokio::test(start_paused = true)]
async fn a_closed_bucket_lets_one_go_first_and_the_others_after_it() {
    let gate = Arc::new(Gate::new(8, 0.5, 60 * SECOND, Arc::new(Meter::default())));
    gate.enter("all").await.expect("room").answered(None, Tone::Served);
    gate.close("all", 5 * SECOND);
    let begun = Instant::now();
    let times = futures::future::join_all((0..4).map(|_| async {
        let mut pass = gate.enter("all").await.expect("room");
        let at = begun.elapsed();
        sleep(SECOND).await;
        pass.answered(None, Tone::Served);
        at
    }))
    .await;
    let mut times: Vec<_> = times.iter().map(Duration::as_secs).collect();
    times.sort_unstable();
    assert_eq!(times, [5, 6, 6, 6]);
}
