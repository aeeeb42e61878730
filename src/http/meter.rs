//! What is counted of each system's traffic: for progress bars, `status` and metrics. Plain atomics, read at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::wall::epoch_millis_in;
use crate::model::key::SystemName;

/// The counters of one system.
#[derive(Debug, Default)]
pub struct Meter {
    /// Requests sent.
    pub requests: AtomicU64,
    /// Requests that the reading under way is expected to need in all, counted like `requests`; 0 if unknown.
    pub expected: AtomicU64,
    /// Answers by status class: 1xx to 5xx, and at 0 those that never came.
    pub classes: [AtomicU64; 6],
    /// Answers that said "limited" (429).
    pub limited: AtomicU64,
    /// What is being waited for, and until when (milliseconds since 1970), if anything.
    pub waiting: Mutex<Option<(String, i64)>>,
    /// How much of each bucket was used when somebody was told last, in thousandths, and until when that can be so.
    shares: Mutex<BTreeMap<String, (u32, Instant)>>,
    /// Milliseconds that requests have waited, by [`Cause`]. Those that wait at once count each.
    waited: [AtomicU64; Cause::ALL.len()],
    /// How far the system's clock was ahead of ours at the last answer, in seconds, and when that was.
    clock_ahead: Mutex<Option<(i64, Instant)>>,
    /// The certificate that the last answer came under, and when that was.
    certificate: Mutex<Option<(Certificate, Instant)>>,
    /// How many requests wait, so that the last one to go on clears `waiting`.
    waiters: AtomicU64,
}

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no room in a rate limit.
    Limit,
    /// The try before failed for the moment.
    Retry,
}

impl Cause {
    /// Both.
    pub const ALL: [Cause; 2] = [Cause::Limit, Cause::Retry];

    /// The word that metrics use.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Limit => "limit",
            Cause::Retry => "retry",
        }
    }
}

/// How long it is told what an answer told of its system. Longer than most schedules pause, and short enough that a daemon that others
/// do the work for does not tell of a certificate that was renewed, or of a clock that was set right.
const TOLD: Duration = Duration::from_secs(26 * 3600);

/// A certificate as it came, and when it ends.
#[derive(Debug)]
struct Certificate {
    der: Vec<u8>,
    ends: Option<DateTime<Utc>>,
}

impl Meter {
    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
    /// Says that so many more requests are to come.
    pub fn expect(&self, more: u64) {
        self.expected.store(self.requests() + more, Ordering::Relaxed);
    }

    /// Notes a wait until the guard is dropped.
    pub(super) fn wait(&self, cause: Cause, what: impl Into<String>, wait: Duration) -> Waiting<'_> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        *locked(&self.waiting) = Some((what.into(), epoch_millis_in(wait)));
        Waiting { meter: self, cause, since: Instant::now() }
    }

    /// How long requests have waited for this cause, those that are still waiting left out.
    pub fn waited(&self, cause: Cause) -> Duration {
        Duration::from_millis(self.waited[cause as usize].load(Ordering::Relaxed))
    }

    /// Notes how far the system's clock is ahead of ours, in seconds.
    pub(super) fn clock(&self, ahead: i64) {
        *locked(&self.clock_ahead) = Some((ahead, Instant::now()));
    }

    /// How far the system's clock was ahead of ours at the last answer (negative: behind), in seconds. `None` before one told, and
    /// when that was long ago.
    pub fn clock_ahead(&self) -> Option<i64> {
        let (ahead, at) = (*locked(&self.clock_ahead))?;
        is_told(at).then_some(ahead)
    }

    /// Notes the certificate that an answer came under. It is read once: as long as it is the same, nothing is to be done.
    pub(crate) fn certificate(&self, der: &[u8]) {
        let now = Instant::now();
        match &mut *locked(&self.certificate) {
            Some((known, at)) if known.der == der => *at = now,
            known => *known = Some((Certificate { der: der.to_vec(), ends: ends(der) }, now)),
        }
    }

    /// When the certificate ends under which the last answer came; `None` without TLS, and when that was long ago.
    pub fn certificate_ends(&self) -> Option<DateTime<Utc>> {
        let known = locked(&self.certificate);
        let (certificate, at) = known.as_ref()?;
        if is_told(*at) { certificate.ends } else { None }
    }

    /// Notes an answer's status; 0: none came.
    pub(super) fn count(&self, status: u16) {
        let class = usize::from(status / 100).min(self.classes.len() - 1);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        if status == 429 {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes how much of a bucket is used, in thousandths, and when all of it is there again.
    pub(super) fn share(&self, bucket: &str, used: u32, until: Instant) {
        let mut shares = locked(&self.shares);
        match shares.get_mut(bucket) {
            Some(share) => *share = (used, until),
            None => {
                shares.insert(bucket.to_owned(), (used, until));
            }
        }
    }

    /// How much of each bucket is used, in thousandths, by what was told last; 0 once its window is over: of the next one nobody
    /// has told anything, and an alert on what was used in the last must not go on.
    pub fn shares(&self) -> BTreeMap<String, u32> {
        let now = Instant::now();
        let left = |(used, until): &(u32, Instant)| if now < *until { *used } else { 0 };
        locked(&self.shares).iter().map(|(bucket, share)| (bucket.clone(), left(share))).collect()
    }
}

/// A wait that is under way.
pub(super) struct Waiting<'a> {
    meter: &'a Meter,
    cause: Cause,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Self { meter, cause, since } = self;
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        meter.waited[*cause as usize].fetch_add(millis, Ordering::Relaxed);
        if meter.waiters.fetch_sub(1, Ordering::Relaxed) == 1 {
            *locked(&meter.waiting) = None;
        }
    }
}

/// Whether what was told then is still told.
fn is_told(at: Instant) -> bool {
    at.elapsed() < TOLD
}

/// When a certificate ends. One that cannot be read is the transport's to refuse, and was taken by it.
fn ends(der: &[u8]) -> Option<DateTime<Utc>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The meters of all systems, for the life of the process: a reload does not reset them.
#[derive(Debug, Default)]
pub struct Meters(Mutex<BTreeMap<SystemName, Arc<Meter>>>);

impl Meters {
    /// The meter of a system.
    pub fn of(&self, system: &SystemName) -> Arc<Meter> {
        let mut meters = locked(&self.0);
        meters.entry(system.clone()).or_default().clone()
    }
    /// All meters.
    pub fn all(&self) -> Vec<(SystemName, Arc<Meter>)> {
        let meters = locked(&self.0);
        meters.iter().map(|(name, meter)| (name.clone(), meter.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_are_added_up_by_cause_and_each_counts() {
        let meter = Meter::default();
        let (one, other) = (meter.wait(Cause::Limit, "a", Duration::ZERO), meter.wait(Cause::Limit, "b", Duration::ZERO));
        let retry = meter.wait(Cause::Retry, "c", Duration::ZERO);
        tokio::time::advance(Duration::from_secs(2)).await;
        drop((one, retry));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(locked(&meter.waiting).is_some());
        drop(other);
        assert_eq!(Cause::ALL.map(|cause| meter.waited(cause).as_secs()), [5, 2]);
        assert!(locked(&meter.waiting).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_told_until_its_window_is_over() {
        let meter = Meter::default();
        let share = || meter.shares().get("all").copied();
        assert_eq!(share(), None, "nobody has told of a limit");
        meter.share("all", 900, Instant::now() + Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(share(), Some(900));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(share(), Some(0));
        meter.share("all", 100, Instant::now() + Duration::from_secs(60));
        assert_eq!(share(), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_has_told_for_long_is_told_no_more() {
        let meter = Meter::default();
        let key = rcgen::generate_simple_self_signed(vec!["jira.example.com".to_owned()]).expect("signed");
        let answer = || {
            meter.certificate(key.cert.der());
            meter.clock(3);
        };
        let told = || (meter.certificate_ends().is_some(), meter.clock_ahead());
        answer();
        tokio::time::advance(TOLD / 2).await;
        answer();
        tokio::time::advance(TOLD - Duration::from_secs(1)).await;
        assert_eq!(told(), (true, Some(3)), "the same certificate came again");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(), (false, None));
        answer();
        assert_eq!(told(), (true, Some(3)));
    }

    #[test]
    fn a_certificate_tells_when_it_ends_and_what_is_none_tells_nothing() {
        let meter = Meter::default();
        assert_eq!((meter.certificate_ends(), meter.clock_ahead()), (None, None));
        let mut written = rcgen::CertificateParams::new(vec!["jira.example.com".to_owned()]).expect("a name");
        written.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().expect("a key");
        meter.certificate(written.self_signed(&key).expect("signed").der());
        assert_eq!(meter.certificate_ends().map(|ends| ends.format("%Y-%m-%d").to_string()).as_deref(), Some("2031-02-03"));
        meter.certificate(b"none");
        assert_eq!(meter.certificate_ends(), None);
        meter.clock(-7);
        assert_eq!(meter.clock_ahead(), Some(-7));
    }
}
