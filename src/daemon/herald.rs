//! The herald: takes notices out of the outbox and delivers them, beside the supervisor and never in its way.
//!
//! Each webhook is told one thing after the other, in the order in which they happened; one that does not answer keeps only
//! its own messages waiting. A process that dies between sending and striking out sends once more. Of several processes over
//! one store one delivers at a time, by a lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::assemble::Services;
use super::message;
use crate::config::notify::Format;
use crate::contract::clock::Clock;
use crate::contract::journal::{Journal, JournalError, Lease};
use crate::contract::notice::Note;
use crate::engine::run::is_anybodys;
use crate::http::webhook::{Undelivered, Webhook};
use crate::model::backoff::Backoff;

/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a message is tried: with [`backoff`] for four hours or so.
const ATTEMPTS: u32 = 14;
/// After so long nobody needs to be told any more: `rosterd status` shows what is.
const STALE: TimeDelta = TimeDelta::days(3);
/// The lease, and how long it lasts: longer than any message takes.
const LEASE: (&str, Duration) = ("notify", Duration::from_secs(60));
/// How long a stopping daemon waits for the messages in hand, if its own deadline leaves so much.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long it waits for the lease to be given back.
const GRACE: Duration = Duration::from_millis(200);

/// A webhook at work.
#[derive(Debug)]
pub struct Hook {
    /// Where messages go.
    pub webhook: Webhook,
    /// What they look like.
    pub format: Format,
}

/// The webhooks by name.
pub type Hooks = BTreeMap<String, Hook>;

fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(10), Duration::from_secs(3600)).expect("ten seconds are over zero and under an hour")
}

/// The herald's task.
pub struct Herald {
    hooks: watch::Sender<Arc<Hooks>>,
    halt: Halt,
    task: JoinHandle<()>,
}

/// How deliveries come to an end.
#[derive(Clone, Default)]
struct Halt {
    /// Nothing more is sent.
    stop: CancellationToken,
    /// What is under way is not waited for.
    let_go: CancellationToken,
}

impl std::fmt::Debug for Herald {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Herald").finish_non_exhaustive()
    }
}

impl Herald {
    /// Begins to deliver.
    pub fn start(services: &Services, hooks: Arc<Hooks>) -> Self {
        let (send, receive) = watch::channel(hooks);
        let halt = Halt::default();
        let round = Round {
            journal: services.journal.clone(),
            clock: services.clock.clone(),
            draw: services.draw.clone(),
            holder: services.holder.clone(),
            hooks: receive,
            halt: halt.clone(),
        };
        Self { hooks: send, halt, task: tokio::spawn(round.go()) }
    }

    /// Goes on with other webhooks.
    pub fn replace(&self, hooks: Arc<Hooks>) {
        self.hooks.send_replace(hooks);
    }

    /// Sends nothing more; waits a moment for the messages in hand, and never beyond the deadline. What is not sent waits in
    /// the outbox, and whoever delivers next need not wait for this process's lease to run out.
    pub async fn stop(mut self, deadline: Instant) {
        self.halt.stop.cancel();
        if tokio::time::timeout_at(deadline.min(Instant::now() + FAREWELL), &mut self.task).await.is_ok() {
            return;
        }
        self.halt.let_go.cancel();
        // The lease is given back by now, unless the store itself hangs.
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

struct Round {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    draw: Arc<dyn Fn() -> f64 + Send + Sync>,
    holder: String,
    hooks: watch::Receiver<Arc<Hooks>>,
    halt: Halt,
}

impl Round {
    async fn go(self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.halt.stop.cancelled() => return,
                _ = look.tick() => {}
            }
            if let Err(error) = self.deliver().await {
                tracing::warn!("notices are not delivered for now: {error}");
            }
        }
    }

    /// Delivers whatever is due.
    async fn deliver(&self) -> Result<(), JournalError> {
        if self.due().await?.is_empty() {
            return Ok(());
        }
        let mut held = None;
        let delivered = self.deliver_by(&mut held).await;
        match held {
            Some(lease) => self.journal.unlease(&lease).await.and(delivered),
            None => delivered,
        }
    }

    /// The same with the lease, which is given back however it ends.
    async fn deliver_by(&self, held: &mut Option<Lease>) -> Result<(), JournalError> {
        let (name, ttl) = LEASE;
        // Each round holds for itself: one that let the lease run out has lost it.
        let holder = format!("{}:{}", self.holder, Uuid::now_v7());
        while !self.halt.stop.is_cancelled() {
            // Renewed for each message.
            let Some(lease) = self.journal.lease(name, &holder, ttl, self.clock.now()).await? else { break };
            *held = Some(lease);
            let due = self.due().await?;
            if due.is_empty() {
                break;
            }
            let hooks = self.hooks.borrow().clone();
            // At most one for each webhook: the slowest holds up the others by its timeout and no more.
            let told = futures::future::join_all(due.iter().map(|note| self.tell(&hooks, note)));
            tokio::select! {
                biased;
                settled = told => settled.into_iter().collect::<Result<(), _>>()?,
                () = self.halt.let_go.cancelled() => break,
            }
        }
        Ok(())
    }

    /// What is due and ours to deliver: a webhook that is not configured here may be known to another daemon.
    async fn due(&self) -> Result<Vec<Note>, JournalError> {
        let now = self.clock.now();
        let mut due = self.journal.notes_due(now).await?;
        let hooks = self.hooks.borrow().clone();
        due.retain(|note| hooks.contains_key(&note.notice.hook) || is_anybodys(&*self.journal, note.notice.at, now));
        Ok(due)
    }

    async fn tell(&self, hooks: &Hooks, note: &Note) -> Result<(), JournalError> {
        let name = &note.notice.hook;
        let Some(hook) = hooks.get(name) else {
            tracing::warn!(hook.name = %name, "a message is dropped: this webhook is no longer configured");
            return self.journal.note_done(note.id).await;
        };
        let now = self.clock.now();
        if now - note.notice.at > STALE {
            tracing::error!(hook.name = %name, event = ?note.notice.event.topic(), "a message is dropped: it has waited for too long");
            return self.journal.note_done(note.id).await;
        }
        match hook.webhook.send(&message::body(hook.format, &note.notice)).await {
            Ok(()) => self.journal.note_done(note.id).await,
            Err(failure) => self.failed(note, &failure, now).await,
        }
    }

    async fn failed(&self, note: &Note, failure: &Undelivered, now: DateTime<Utc>) -> Result<(), JournalError> {
        let (name, topic, attempts) = (&note.notice.hook, note.notice.event.topic(), note.attempts + 1);
        if !failure.passing || attempts >= ATTEMPTS {
            tracing::error!(hook.name = %name, event = ?topic, attempts, "a message is dropped, it could not be delivered: {}", failure.why);
            return self.journal.note_done(note.id).await;
        }
        if attempts == 1 {
            tracing::warn!(hook.name = %name, event = ?topic, "a message could not be delivered, and is tried again: {}", failure.why);
        }
        let wait = backoff().delay(attempts, (self.draw)()).max(failure.after.unwrap_or_default());
        let not_before = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1));
        self.journal.note_later(note.id, attempts, not_before).await
    }
}

#[cfg(test)]
mod tests;
