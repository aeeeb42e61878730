//! The schedule: tokio-cron-scheduler ticks, and a store of our own decides when.
//!
//! The library's way to compute the next tick is off by an hour after each change to or from summer time, knows nothing of
//! ticks missed while the daemon was down, and fires on after a shutdown. All of that lies in the storage it asks for next
//! ticks, which can be replaced. So this store holds each job's [`Timing`], answers with nothing while its gate is shut, and
//! the job closures do one thing that can neither panic nor block: they hand the job's name over.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc::UnboundedSender;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, MetaDataStorage, SimpleJobCode, SimpleNotificationCode, SimpleNotificationStore,
};
use uuid::Uuid;

use crate::model::key::JobName;

/// A schedule that the ticker can ask for the next time after another.
pub type NextTime = Arc<dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>> + Send + Sync>;

/// When a job runs.
#[derive(Clone)]
pub struct Timing {
    /// The next time after a given one.
    pub next: NextTime,
    /// When it ran last, if ever: a run missed since is caught up once, at start.
    pub last: Option<DateTime<Utc>>,
}

/// The clock stepping back by more than this makes all next times be computed anew.
const STEPPED_BACK: i64 = 2;
/// A valid spec for the library, never used: due times come from the store.
const UNUSED: &str = "0 0 0 1 1 *";

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

#[derive(Default)]
struct Inner {
    timings: BTreeMap<Uuid, Timing>,
    data: BTreeMap<Uuid, JobStoredData>,
    /// The moment that was missed and is caught up by the next tick.
    missed: BTreeMap<Uuid, DateTime<Utc>>,
    /// The moment for which a job fires now: the same on every machine, whenever the tick comes.
    due: BTreeMap<Uuid, DateTime<Utc>>,
    open: bool,
    seen: Option<DateTime<Utc>>,
}

impl Inner {
    fn first(&mut self, id: Uuid, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let timing = self.timings.get(&id)?;
        match timing.last.and_then(|last| (timing.next)(last)).filter(|next| *next <= now) {
            Some(missed) => {
                self.missed.insert(id, missed);
                Some(now)
            }
            None => (timing.next)(now),
        }
    }

    fn recompute(&mut self, now: DateTime<Utc>) {
        for (id, data) in &mut self.data {
            data.set_next_tick(self.timings.get(id).and_then(|t| (t.next)(now)));
        }
    }
}

/// The library's storage, ours.
#[derive(Clone, Default)]
struct Ticks(Arc<Mutex<Inner>>);

impl Ticks {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InitStore for Ticks {
    fn init(&mut self) -> Answer<()> {
        Box::pin(ready(Ok(())))
    }
    fn inited(&mut self) -> Answer<bool> {
        Box::pin(ready(Ok(true)))
    }
}

impl DataStore<JobStoredData> for Ticks {
    fn get(&mut self, id: Uuid) -> Answer<Option<JobStoredData>> {
        let found = self.lock().data.get(&id).cloned();
        Box::pin(ready(Ok(found)))
    }
    fn add_or_update(&mut self, mut data: JobStoredData) -> Answer<()> {
        if let Some(id) = data.id.as_ref().map(Uuid::from) {
            let mut inner = self.lock();
            let first = inner.first(id, Utc::now());
            data.set_next_tick(first);
            inner.data.insert(id, data);
        }
        Box::pin(ready(Ok(())))
    }
    fn delete(&mut self, id: Uuid) -> Answer<()> {
        let mut inner = self.lock();
        inner.data.remove(&id);
        inner.timings.remove(&id);
        inner.due.remove(&id);
        Box::pin(ready(Ok(())))
    }
}

impl MetaDataStorage for Ticks {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let mut inner = self.lock();
        let now = Utc::now();
        if inner.seen.is_some_and(|seen| now < seen - TimeDelta::seconds(STEPPED_BACK)) {
            inner.recompute(now);
        }
        inner.seen = Some(now);
        let Inner { data, due, .. } = &mut *inner;
        let times = data.iter().filter_map(|(id, data)| Some((*id, data.next_tick_utc()?)));
        due.extend(times.filter(|(_, time)| *time <= now));
        let ticks = if inner.open {
            let row = |data: &JobStoredData| JobAndNextTick {
                id: data.id,
                next_tick: data.next_tick,
                last_tick: data.last_tick,
                job_type: data.job_type,
            };
            inner.data.values().map(row).collect()
        } else {
            Vec::new()
        };
        Box::pin(ready(Ok(ticks)))
    }
    fn set_next_and_last_tick(&mut self, id: Uuid, _proposed: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> Answer<()> {
        let mut inner = self.lock();
        let next = inner.timings.get(&id).and_then(|t| (t.next)(last.unwrap_or_else(Utc::now)));
        if let Some(data) = inner.data.get_mut(&id) {
            data.set_next_tick(next);
            data.set_last_tick(last);
        }
        Box::pin(ready(Ok(())))
    }
    fn time_till_next_job(&mut self) -> Answer<Option<std::time::Duration>> {
        Box::pin(ready(Ok(None)))
    }
}

/// A job whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub job: JobName,
    /// Whether a run missed while the daemon was down is caught up.
    pub caught_up: bool,
    /// Since when it is due.
    pub at: DateTime<Utc>,
}

/// The ticker with its jobs.
pub struct Ticker {
    scheduler: JobScheduler,
    ticks: Ticks,
    ids: BTreeMap<JobName, Uuid>,
    due: UnboundedSender<Due>,
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticker").field("jobs", &self.ids.keys()).finish_non_exhaustive()
    }
}

impl Ticker {
    /// Starts to tick, with no job and its gate shut. Jobs whose time has come are sent to `due`.
    ///
    /// # Errors
    /// The library's.
    pub async fn start(due: UnboundedSender<Due>) -> Result<Self, JobSchedulerError> {
        let ticks = Ticks::default();
        let scheduler = JobScheduler::new_with_storage_and_code(
            Box::new(ticks.clone()),
            Box::new(SimpleNotificationStore::default()),
            Box::new(SimpleJobCode::default()),
            Box::new(SimpleNotificationCode::default()),
            4096,
        )
        .await?;
        scheduler.start().await?;
        Ok(Self { scheduler, ticks, ids: BTreeMap::new(), due })
    }

    /// Opens or shuts the gate. While it is shut nothing fires.
    pub fn open(&self, open: bool) {
        self.ticks.lock().open = open;
    }

    /// Puts these jobs in the place of those before. A job that stays keeps its place and gets its new times.
    ///
    /// # Errors
    /// The library's; jobs that were added before the error stay.
    pub async fn replace(&mut self, timings: BTreeMap<JobName, Timing>) -> Result<(), JobSchedulerError> {
        let gone: Vec<JobName> = self.ids.keys().filter(|name| !timings.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(id) = self.ids.remove(&name) {
                self.scheduler.remove(&id).await?;
            }
        }
        for (name, timing) in timings {
            if let Some(id) = self.ids.get(&name) {
                let mut inner = self.ticks.lock();
                let next = (timing.next)(Utc::now());
                inner.timings.insert(*id, timing);
                if let Some(data) = inner.data.get_mut(id) {
                    data.set_next_tick(next);
                }
                continue;
            }
            let (due, ticks, job) = (self.due.clone(), self.ticks.clone(), name.clone());
            let code = Job::new_async(UNUSED, move |id, _| {
                let mut inner = ticks.lock();
                let missed = inner.missed.remove(&id);
                let at = missed.or_else(|| inner.due.get(&id).copied()).unwrap_or_else(Utc::now);
                // Nobody listens only while the daemon is going down.
                let _ = due.send(Due { job: job.clone(), caught_up: missed.is_some(), at });
                Box::pin(ready(()))
            })?;
            self.ticks.lock().timings.insert(code.guid(), timing);
            let id = self.scheduler.add(code).await?;
            self.ids.insert(name, id);
        }
        Ok(())
    }

    /// When a job fires next.
    pub fn next(&self, job: &JobName) -> Option<DateTime<Utc>> {
        let id = self.ids.get(job)?;
        self.ticks.lock().data.get(id).and_then(JobStoredData::next_tick_utc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(seconds: i64) -> NextTime {
        Arc::new(move |after| Some(after + TimeDelta::seconds(seconds)))
    }

    #[tokio::test]
    async fn a_missed_run_is_caught_up_once_and_nothing_fires_while_the_gate_is_shut() {
        let (send, mut due) = tokio::sync::mpsc::unbounded_channel();
        let mut ticker = Ticker::start(send).await.expect("starts");
        let week = Utc::now() - TimeDelta::weeks(1);
        let name = JobName::from("staff");
        let timings = BTreeMap::from([(name.clone(), Timing { next: every(3600), last: Some(week) })]);
        ticker.replace(timings.clone()).await.expect("replaces");
        assert!(due.try_recv().is_err());
        ticker.open(true);
        let first = due.recv().await.expect("fires");
        assert_eq!(first, Due { job: name.clone(), caught_up: true, at: week + TimeDelta::hours(1) });
        let next = ticker.next(&name).expect("has a next time");
        assert!(next > Utc::now() + TimeDelta::minutes(58), "{next}");
        ticker.replace(BTreeMap::new()).await.expect("replaces");
        assert_eq!(ticker.next(&name), None);
    }
}
