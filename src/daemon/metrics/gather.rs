//! One answer: what was counted, and how things are now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::TextEncoder;

use super::Metrics;
use super::catalogue::{
    APPLIED, BELIEVED, BUILD, CERTIFICATE, CLOCK, COMPLETE, CREDENTIAL, FAILURES, HEARTBEAT, HELD, LAST_ENDED, LIMIT_USED,
    LIMITED, LOADED, NEXT, OVERDUE, QUARANTINED, READABLE, READY, RELOAD_FAILED, RELOADS, REQUESTS, RESTING, RETRIES,
    RETRY_OLDEST, RUNNING, STAGED, STAGED_OLDEST, STARTED, TARGET, WAITED,
};
use super::sheet::Sheet;
use crate::config::Config;
use crate::contract::journal::{Ended, JournalError, Waits};
use crate::contract::notice::Expiring;
use crate::daemon::condition::Condition;
use crate::daemon::http::View;
use crate::daemon::readiness::{self, Part, at_work, readiness};
use crate::daemon::supervise::seed;
use crate::engine::rest::resting;
use crate::http::meter::{Cause, Meter};
use crate::model::change::OpKind;
use crate::model::key::{JobName, SystemName};

/// How long the journal may take to be read: less than whoever asks waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what was read is told again. The counts are new each time.
const FRESH: TimeDelta = TimeDelta::seconds(5);
/// The classes of statuses, as [`Meter::classes`] counts them.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Writes the answer.
pub(super) async fn scrape(view: &View) -> Result<String, prometheus::Error> {
    let metrics = &*view.metrics;
    let condition = view.condition();
    let now = view.clock.now();
    let mut sheet = Sheet::default();
    of_process(&mut sheet, metrics, &condition);
    for (system, meter) in view.meters.all() {
        of_traffic(&mut sheet, system.as_str(), &meter);
        // What was last seen of a system that is no longer spoken to is true of nothing.
        let here = |config: &Arc<Config>| config.sources.contains_key(&system) || config.targets.contains_key(&system);
        if condition.config.as_ref().is_none_or(here) {
            of_last_answer(&mut sheet, system.as_str(), &meter);
        }
    }
    if let Some(config) = &condition.config {
        of_jobs(&mut sheet, config, &condition);
        metrics.counts.begin(config);
        let told = tokio::time::timeout(PATIENCE, read_or_kept(metrics, config, view)).await;
        let told = match told {
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it takes longer than {PATIENCE:?} to be read")),
        };
        let parts = told.as_ref().map(|told| readiness(metrics, &condition, &told.ready, now));
        let ready = parts.is_ok_and(|parts| parts.iter().all(Part::stands));
        sheet.flag(&READY, &[], ready);
        sheet.flag(&READABLE, &[], told.is_ok());
        match told {
            Ok(told) => {
                of_targets(&mut sheet, metrics, config, &told, now);
                of_systems(&mut sheet, config, &told, now);
            }
            Err(error) => tracing::warn!("metrics lack what comes of the journal: {error}"),
        }
    }
    let mut families = metrics.counts.families();
    families.extend(sheet.families());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    TextEncoder::new().encode_to_string(&families)
}

fn of_process(sheet: &mut Sheet, metrics: &Metrics, condition: &Condition) {
    sheet.set(&BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    sheet.at(&STARTED, &[], Some(metrics.started));
    if let Some(heard) = condition.heartbeat {
        sheet.set(&HEARTBEAT, &[], heard.elapsed().as_secs_f64());
    }
    sheet.at(&LOADED, &[], condition.loaded);
    sheet.set(&RELOADS, &["done"], condition.reloads.done as f64);
    sheet.set(&RELOADS, &["failed"], condition.reloads.failed as f64);
    sheet.flag(&RELOAD_FAILED, &[], condition.reload_failed.is_some());
}

fn of_jobs(sheet: &mut Sheet, config: &Config, condition: &Condition) {
    for (name, job) in &config.jobs {
        sheet.flag(&RUNNING, &[name.as_str()], condition.running.contains(name));
        sheet.at(&NEXT, &[name.as_str()], condition.next.get(name).copied().flatten());
        for target in &job.targets {
            let mode = if job.observes(target) { "observe" } else { "apply" };
            sheet.set(&TARGET, &[name.as_str(), target.as_str(), job.source.as_str(), mode], 1.0);
        }
    }
}

fn of_traffic(sheet: &mut Sheet, system: &str, meter: &Meter) {
    for (class, count) in CLASSES.into_iter().zip(&meter.classes) {
        sheet.set(&REQUESTS, &[system, class], count.load(Ordering::Relaxed) as f64);
    }
    sheet.set(&LIMITED, &[system], meter.limited.load(Ordering::Relaxed) as f64);
    for cause in Cause::ALL {
        sheet.set(&WAITED, &[system, cause.word()], meter.waited(cause).as_secs_f64());
    }
}

fn of_last_answer(sheet: &mut Sheet, system: &str, meter: &Meter) {
    for (bucket, used) in meter.shares() {
        sheet.set(&LIMIT_USED, &[system, &bucket], f64::from(used) / 1000.0);
    }
    if let Some(ahead) = meter.clock_ahead() {
        sheet.set(&CLOCK, &[system], ahead as f64);
    }
    sheet.at(&CERTIFICATE, &[system], meter.certificate_ends());
}

/// What the journal told, and when, for which configuration, after how many runs.
pub(super) struct Kept {
    told: Arc<Told>,
    at: DateTime<Utc>,
    config: Arc<Config>,
    ended: u64,
}

/// What the journal told.
struct Told {
    ready: readiness::Told,
    waits: BTreeMap<(JobName, SystemName), Waits>,
    expiring: Vec<Expiring>,
}

/// Reads the journal, unless that was done a moment ago and no run has ended since: whoever asks at the same time costs nothing.
async fn read_or_kept(metrics: &Metrics, config: &Arc<Config>, view: &View) -> Result<Arc<Told>, JournalError> {
    let mut last = metrics.last.lock().await;
    let (at, ended) = (view.clock.now(), metrics.ended.load(Ordering::Relaxed));
    let holds = |kept: &&Kept| {
        let age = at - kept.at;
        kept.ended == ended && Arc::ptr_eq(&kept.config, config) && age >= TimeDelta::zero() && age < FRESH
    };
    if let Some(kept) = last.as_ref().filter(holds) {
        return Ok(kept.told.clone());
    }
    // Whoever gives up waiting leaves nothing behind.
    *last = None;
    let told = Arc::new(read(metrics, config, view).await?);
    *last = Some(Kept { told: told.clone(), at, config: config.clone(), ended });
    Ok(told)
}

async fn read(metrics: &Metrics, config: &Config, view: &View) -> Result<Told, JournalError> {
    let journal = &*view.journal;
    let mut known = BTreeMap::new();
    for (job, written) in &config.jobs {
        for target in &written.targets {
            known.insert((job.clone(), target.clone()), metrics.known(journal, job, target).await?);
        }
    }
    let at_work = at_work(journal, config, view.clock.now()).await?;
    let ready = readiness::Told { rests: journal.rests().await?, known, at_work };
    Ok(Told { ready, waits: journal.waits().await?, expiring: journal.expiring().await? })
}

fn of_targets(sheet: &mut Sheet, metrics: &Metrics, config: &Config, told: &Told, now: DateTime<Utc>) {
    for ((job, target), known) in &told.ready.known {
        let at = [job.as_str(), target.as_str()];
        sheet.at(&COMPLETE, &at, known.complete);
        sheet.at(&APPLIED, &at, known.applied);
        let since = known.complete.or(known.first).unwrap_or(metrics.started);
        let due = config.jobs.get(job).and_then(|written| written.schedule.next(since, seed(job)));
        let overdue = due.map_or(0, |due| (now - due).num_milliseconds().max(0));
        sheet.set(&OVERDUE, &at, overdue as f64 / 1000.0);
        if let Some((_, believed)) = known.believed {
            sheet.flag(&BELIEVED, &at, believed);
        }
        for ended in Ended::ALL {
            let is = known.last.is_some_and(|(_, last)| last == ended);
            sheet.flag(&LAST_ENDED, &[at[0], at[1], ended.word()], is);
        }
        let none = Waits::default();
        let Waits { staged, staged_since, retries, failing_since, quarantined, held } =
            told.waits.get(&(job.clone(), target.clone())).unwrap_or(&none);
        for kind in OpKind::ALL.into_iter().filter(|kind| kind.removes()) {
            sheet.set(&STAGED, &[at[0], at[1], kind.word()], staged.get(&kind).copied().unwrap_or(0) as f64);
        }
        sheet.at(&STAGED_OLDEST, &at, *staged_since);
        sheet.set(&RETRIES, &at, *retries as f64);
        sheet.at(&RETRY_OLDEST, &at, *failing_since);
        sheet.set(&QUARANTINED, &at, *quarantined as f64);
        sheet.set(&HELD, &at, *held as f64);
    }
}

fn of_systems(sheet: &mut Sheet, config: &Config, told: &Told, now: DateTime<Utc>) {
    for system in config.sources.keys().chain(config.targets.keys()) {
        let rest = told.ready.rests.iter().find(|rest| rest.system == *system);
        sheet.flag(&RESTING, &[system.as_str()], resting(rest, now).is_some());
        sheet.set(&FAILURES, &[system.as_str()], rest.map_or(0.0, |rest| f64::from(rest.failures)));
        let expires = told.expiring.iter().find(|expiring| expiring.system == *system);
        sheet.at(&CREDENTIAL, &[system.as_str()], expires.map(|expiring| expiring.at));
    }
}
