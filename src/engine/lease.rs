//! The lease on a target: whoever is to write there holds it, and what it writes into the journal proves that it still does.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use super::run::World;
use crate::contract::clock::Clock;
use crate::contract::journal::{Journal, JournalError, Lease, Standing};
use crate::model::key::SystemName;

/// How long a lease lasts without being renewed. Whoever takes over from a process that died without a word begins so much
/// later.
const LEASE: Duration = Duration::from_secs(15);
/// How often one that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A held lease, renewed in the background until released or dropped.
pub struct Held {
    lease: Option<Lease>,
    journal: Arc<dyn Journal>,
    fenced: Arc<dyn Journal>,
    renewal: tokio::task::JoinHandle<()>,
    run: Arc<OnceLock<Span>>,
}

impl Held {
    /// Says for which run it is held: what becomes of the lease is said within that run's span.
    pub(super) fn is_for(&self, run: &Span) {
        let _at_first = self.run.set(run.clone());
    }

    /// The world for whoever works by this lease: nothing is written into its journal once the lease is lost.
    pub fn world(&self, world: &World) -> World {
        World { journal: self.fenced.clone(), ..world.clone() }
    }

    /// Gives the lease back.
    pub async fn release(mut self) {
        self.renewal.abort();
        if let Some(lease) = self.lease.take() {
            give_back(&*self.journal, &lease).await;
        }
    }
}

/// A run that panics or is dropped must not keep its lease: the renewal would go on for as long as the process lives.
impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
        if let (Some(lease), Ok(runtime)) = (self.lease.take(), tokio::runtime::Handle::try_current()) {
            let journal = self.journal.clone();
            runtime.spawn(async move { give_back(&*journal, &lease).await });
        }
    }
}

async fn give_back(journal: &dyn Journal, lease: &Lease) {
    if let Err(error) = journal.unlease(lease).await {
        tracing::warn!(lease.name = %lease.name, "{error}; the lease runs out by itself");
    }
}

/// The name of the lease on a target.
pub fn lease_name(target: &SystemName) -> String {
    format!("target/{target}")
}

/// Who is at work on a target, for a person.
pub async fn at_work(world: &World, target: &SystemName) -> Result<String, JournalError> {
    Ok(match world.journal.leased(&lease_name(target)).await? {
        Some(lease) => busy(target, &lease),
        None => format!("another run is at work on {target}"),
    })
}

/// The lease by which somebody is at work on a target, unless its process is known to be gone.
pub fn worker<'l>(leases: &'l [Standing], target: &SystemName, gone: impl Fn(&str) -> bool) -> Option<&'l Lease> {
    let name = lease_name(target);
    let lease = &leases.iter().find(|standing| standing.lease.name == name && !standing.has_run_out)?.lease;
    (!gone(&lease.holder)).then_some(lease)
}

/// Who is at work on a target, for a person, if that is another process than this one, the holder `own`.
pub fn at_work_elsewhere(leases: &[Standing], target: &SystemName, own: &str, gone: impl Fn(&str) -> bool) -> Option<String> {
    let is_ours = |holder: &str| holder.strip_prefix(own).is_some_and(|run| run.is_empty() || run.starts_with(':'));
    worker(leases, target, gone).filter(|lease| !is_ours(&lease.holder)).map(|lease| busy(target, lease))
}

fn busy(target: &SystemName, lease: &Lease) -> String {
    format!("another run is at work on {target} ({})", lease.process())
}

/// Takes the lease on a target, waiting for one that is about to run out. `None`: somebody else keeps it.
///
/// # Errors
/// Only the journal's.
pub async fn hold(world: &World, target: &SystemName, stop: &CancellationToken) -> Result<Option<Held>, JournalError> {
    hold_within(world, target, LEASE, stop).await
}

/// The same for what nobody waits for: where others stand by, whoever has the lease does the work, or whoever looks after
/// those that fail to.
///
/// # Errors
/// Only the journal's.
pub(super) async fn hold_unasked(
    world: &World,
    target: &SystemName,
    stop: &CancellationToken,
) -> Result<Option<Held>, JournalError> {
    let patience = if world.journal.is_shared() { Duration::ZERO } else { LEASE };
    hold_within(world, target, patience, stop).await
}

async fn hold_within(
    world: &World,
    target: &SystemName,
    patience: Duration,
    stop: &CancellationToken,
) -> Result<Option<Held>, JournalError> {
    let name = lease_name(target);
    // Each run holds for itself: two jobs of one process exclude each other as two processes do.
    let holder = format!("{}:{}", world.holder, Uuid::now_v7());
    let started = world.clock.now();
    loop {
        let now = world.clock.now();
        if let Some(lease) = world.journal.lease(&name, &holder, LEASE, now).await? {
            let (journal, fenced) = (world.journal.clone(), world.journal.fenced(&lease));
            let run = Arc::new(OnceLock::new());
            let renewal = tokio::spawn(renew(fenced.clone(), world.clock.clone(), lease.clone(), run.clone()));
            return Ok(Some(Held { lease: Some(lease), journal, fenced, renewal, run }));
        }
        if let Some(lease) = world.journal.leased(&name).await?
            && (world.gone)(&lease.holder)
        {
            tracing::warn!(lease.name = %name, lease.holder = %lease.holder, "a run's process is gone; its work is taken over");
            give_back(&*world.journal, &lease).await;
            continue;
        }
        let waited = (now - started).to_std().unwrap_or_default();
        if waited > patience || patience.is_zero() || stop.is_cancelled() {
            return Ok(None);
        }
        world.clock.sleep(LOOK).await;
    }
}

/// Renews a lease for as long as that can be. The journal is the one that the lease fences: it renews nothing for a run whose
/// own writes hang.
async fn renew(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, lease: Lease, run: Arc<OnceLock<Span>>) {
    let within = || run.get().cloned().unwrap_or_else(Span::none);
    let mut wait = LEASE / 3;
    let mut told = false;
    loop {
        clock.sleep(wait).await;
        wait = LEASE / 3;
        match journal.lease(&lease.name, &lease.holder, LEASE, clock.now()).await {
            Ok(Some(_)) => told = false,
            Ok(None) => {
                within().in_scope(|| {
                    tracing::warn!(lease.name = %lease.name, "the lease was lost: it was not renewed in time; the run by it ends");
                });
                // Where nobody has taken it since, nothing of the run's must be written either.
                give_back(&*journal, &lease).await;
                return;
            }
            // A store that was away for a moment must not cost the run its lease.
            Err(error) => {
                if !told {
                    within().in_scope(|| tracing::warn!(lease.name = %lease.name, "{error}"));
                }
                (wait, told) = (LOOK, true);
            }
        }
    }
}
