//! The gate that every request passes: the number under way at once, and its bucket's budget. Whoever waits for a budget
//! holds no place meanwhile, so that an empty bucket does not hold up the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::budget::{Budget, Grant, LimitReading, Tone, Turn};
use super::meter::{Cause, Meter};

/// One system's gate.
pub(super) struct Gate {
    places: Semaphore,
    share: f64,
    max_wait: Duration,
    budgets: Mutex<BTreeMap<&'static str, Budget>>,
    /// Something became known, or a request under way came back.
    news: Notify,
    meter: Arc<Meter>,
}

/// The wait would be longer than is waited inside a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) Duration);

impl Gate {
    pub(super) fn new(places: usize, share: f64, max_wait: Duration, meter: Arc<Meter>) -> Self {
        let budgets = Mutex::default();
        Self { places: Semaphore::new(places), share, max_wait, budgets, news: Notify::new(), meter }
    }

    /// Waits for room.
    pub(super) async fn enter(&self, bucket: &'static str) -> Result<Pass<'_>, TooLong> {
        loop {
            let place = self.places.acquire().await.expect("the semaphore is never closed");
            let mut news = std::pin::pin!(self.news.notified());
            // Listening begins before asking: what happens between the two is heard.
            news.as_mut().enable();
            let turn = self.budget(bucket, |budget| budget.ask(Instant::now()));
            let until = match turn {
                Turn::Go(grant) => return Ok(Pass { gate: self, bucket, grant: Some(grant), _place: place }),
                Turn::News(until) => until,
                Turn::After(until) => {
                    let wait = until.saturating_duration_since(Instant::now());
                    if wait > self.max_wait.saturating_add(SLACK) {
                        return Err(TooLong(wait));
                    }
                    Some(until)
                }
            };
            drop(place);
            let Some(until) = until else {
                news.await;
                continue;
            };
            let _waiting =
                self.meter.wait(Cause::Limit, format!("rate limit ({bucket})"), until.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = news => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Lets nothing of a bucket go for so long.
    pub(super) fn close(&self, bucket: &'static str, wait: Duration) {
        self.budget(bucket, |budget| budget.close(Instant::now() + wait));
        self.news.notify_waiters();
    }

    fn budget<T>(&self, bucket: &'static str, act: impl FnOnce(&mut Budget) -> T) -> T {
        let mut budgets = self.lock();
        act(budgets.entry(bucket).or_insert_with(|| Budget::new(self.share)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Budget>> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bucket: &'static str, act: impl FnOnce(&mut Budget)) {
        let told = self.budget(bucket, |budget| {
            act(budget);
            budget.used().zip(budget.whole_at())
        });
        if let Some((used, until)) = told {
            self.meter.share(bucket, used, until);
        }
        self.news.notify_waiters();
    }
}

/// The margin that a budget adds to a window's end must not make a wait too long that is not.
const SLACK: Duration = Duration::from_secs(1);

/// The right to send one request. Dropped without an answer it counts as lost, so that a request that is given up
/// midway leaves no place taken.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    bucket: &'static str,
    grant: Option<Grant>,
    _place: SemaphorePermit<'a>,
}

impl Pass<'_> {
    /// The headers have come. The place stays taken until the pass is dropped, since a body is still to be read.
    pub(super) fn answered(&mut self, reading: Option<LimitReading>, tone: Tone) {
        if let Some(grant) = self.grant.take() {
            self.gate.give_back(self.bucket, |budget| budget.answered(grant, Instant::now(), reading, tone));
        }
    }

    /// Nothing was sent.
    pub(super) fn unsent(mut self) {
        if let Some(grant) = self.grant.take() {
            self.gate.give_back(self.bucket, |budget| budget.unsent(grant));
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.gate.give_back(self.bucket, |budget| budget.lost(grant));
        }
    }
}
