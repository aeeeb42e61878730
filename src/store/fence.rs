//! The fence: whoever works by a lease proves with every write, in the same transaction, that the lease is still theirs.
//!
//! A process that was stopped for an hour does not know it. Its lease has run out meanwhile, somebody else has done its work,
//! and whatever it still wants to write is of a world that is gone. The generation tells: it grows with each change of holder.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::failure::{failed, refused};
use super::leases;
use super::seats::Seats;
use super::sql::{Connection, query, query_scalar};
use crate::contract::journal::{JournalError, Lease};

/// For how long a look is believed: it costs little, but not so little as to be had before each of a thousand calls.
const BELIEVED: Duration = Duration::from_millis(500);
/// For how long a write may be under way, with its waiting for other writes, until the lease is no longer renewed: whoever can
/// write nothing down gets no further, and somebody else may.
const HANGS: Duration = Duration::from_secs(60);
/// How long an answer may take to be believed, and how often it is asked anew for one that is fresh.
const FRESH: Duration = Duration::from_secs(1);
const LOOKS: u32 = 3;
/// How much of a lease must be left for another call to begin, in milliseconds: an answer's age, and the connection that the call
/// may have to make first. One that is renewed in time has ten seconds left at any moment.
const LEFT: i64 = 8_000;

/// How long the machine runs, with the time in which it was suspended: what the usual clock of durations leaves out.
fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What the writes of a lease's holder prove.
pub(super) struct Fence {
    lease: Lease,
    /// When the lease was last seen to stand, by a clock that runs on while process or machine are stopped.
    seen: Mutex<Option<Duration>>,
    /// Since when writes are under way, by the same clock, each by a number of its own.
    under_way: Mutex<BTreeMap<u64, Duration>>,
    /// [`HANGS`].
    hangs: Duration,
}

/// A write that is under way until this is dropped.
pub(super) struct UnderWay<'f> {
    fence: &'f Fence,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.fence.under_way().remove(&self.number);
    }
}

impl Fence {
    /// Of this lease.
    pub(super) fn new(lease: &Lease) -> Self {
        Self { lease: lease.clone(), seen: Mutex::new(None), under_way: Mutex::default(), hangs: HANGS }
    }

    /// The same for writes that hang at once.
    #[cfg(test)]
    pub(super) fn without_patience(lease: &Lease) -> Self {
        Self { hangs: Duration::ZERO, ..Self::new(lease) }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<u64, Duration>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a write begins.
    pub(super) fn write(&self) -> UnderWay<'_> {
        let mut under_way = self.under_way();
        let number = under_way.last_key_value().map_or(0, |(last, _)| last + 1);
        under_way.insert(number, since_boot());
        UnderWay { fence: self, number }
    }

    /// Fails if a write hangs.
    pub(super) fn writes(&self, doing: &'static str) -> Result<(), JournalError> {
        let now = since_boot();
        let longest = self.under_way().values().map(|since| now.saturating_sub(*since)).max().unwrap_or_default();
        if longest <= self.hangs {
            return Ok(());
        }
        let why =
            format!("a write of its run's has been under way for {} seconds: it is not renewed meanwhile", longest.as_secs());
        Err(JournalError { doing, why, passing: true })
    }

    /// Fails unless the lease is held; if it is, nobody takes it over before the transaction has ended.
    pub(super) async fn proved(&self, transaction: &mut Connection, doing: &'static str) -> Result<(), JournalError> {
        const HELD: &str = "select generation from leases where name = $1 and holder = $2 and generation = $3";
        // A takeover waits for this lock, a renewal does not: the one writes a key, the other none.
        const HELD_ON: &str = "select generation from leases where name = $1 and holder = $2 and generation = $3 for key share";
        let Lease { name, holder, generation } = &self.lease;
        let held = match transaction {
            Connection::Sqlite(_) => HELD,
            Connection::Postgres(_) => HELD_ON,
        };
        let held = query(held).bind(name).bind(holder).bind(generation).fetch_optional(transaction).await;
        match held.map_err(failed(doing))? {
            Some(_) => Ok(()),
            None => Err(self.lost(transaction, doing).await),
        }
    }

    /// Fails unless the lease is held and, on a server, has a while to go by the server's clock. In a file its generation alone
    /// counts: there nobody is further away than the file's lock.
    pub(super) async fn standing(&self, seats: &Seats) -> Result<(), JournalError> {
        const DOING: &str = "prove that nobody else is at work";
        const STANDS: &str = "select count(*) from leases where name = $1 and holder = $2 and generation = $3
            and not exists (select 1 from moved)";
        // By the clock of the moment at which it is asked: one that was asked before may be long past by then.
        const STANDS_THERE: &str = "select count(*) from leases where name = $1 and holder = $2 and generation = $3
            and until >= cast(extract(epoch from clock_timestamp()) * 1000 as bigint) + $4 and not exists (select 1 from moved)";
        if self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|seen| since_boot().saturating_sub(seen) < BELIEVED)
        {
            return Ok(());
        }
        let mut seat = seats.reader(DOING).await?;
        let Lease { name, holder, generation } = &self.lease;
        for _ in 0..LOOKS {
            let asked = since_boot();
            let ask = match *seat {
                Connection::Sqlite(_) => query_scalar(STANDS).bind(name).bind(holder).bind(generation),
                Connection::Postgres(_) => query_scalar(STANDS_THERE).bind(name).bind(holder).bind(generation).bind(LEFT),
            };
            let stands: i64 = ask.fetch_one(&mut seat).await.map_err(failed(DOING))?;
            if stands == 0 {
                return Err(self.lost(&mut seat, DOING).await);
            }
            // An answer that was long under way, or that nobody was awake to read, is of a time that is past.
            if since_boot().saturating_sub(asked) < FRESH {
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
                return Ok(());
            }
        }
        let why = format!("{LOOKS} answers in a row took longer than {FRESH:?}, so that none of them can be believed");
        Err(JournalError { passing: true, ..refused(DOING, why) })
    }

    /// Says who has it now.
    async fn lost(&self, connection: &mut Connection, doing: &'static str) -> JournalError {
        let name = &self.lease.name;
        let now = match leases::look_with(connection, name).await {
            Ok(Some(lease)) if lease == self.lease => {
                let why = format!("the lease on {name} was not renewed in time: too little of it is left for a call to begin");
                return JournalError { passing: true, ..refused(doing, why) };
            }
            Ok(Some(lease)) => format!("{} holds it now", lease.process()),
            Ok(None) | Err(_) => "nobody holds it now".to_owned(),
        };
        let why = "this process was stopped, or cut off from its store, for longer than the lease lasts";
        refused(doing, format!("the lease on {name} was lost ({now}): {why}; nothing of this was written"))
    }
}
