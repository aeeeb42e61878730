//! A daemon's sign of life in its store: there from its start to its end, whether or not it has anything to do.
//!
//! Who works at a target holds a lease; a daemon that waits for its hour holds none, and would be overlooked by whoever wants the
//! store for himself, as `rosterd state copy` does. So each holds one on a name of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::contract::clock::Clock;
use crate::contract::journal::{DAEMON, Journal, JournalError, Lease};

/// How long the sign stands without being renewed on a server: a daemon that died without a word is missed so much later.
const LASTS: Duration = Duration::from_secs(30);
/// The same in a file, where whoever looks can mostly see whether the process is still there, and each renewal wakes a disk.
const LASTS_IN_A_FILE: Duration = Duration::from_secs(15 * 60);

/// How long the store may take to take it away.
const FAREWELL: Duration = Duration::from_secs(2);

/// A sign that stands until it is taken away, or for a while after this is dropped.
pub struct Presence {
    journal: Arc<dyn Journal>,
    /// What stands now.
    lease: tokio::sync::watch::Receiver<Option<Lease>>,
    renewal: JoinHandle<()>,
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").finish_non_exhaustive()
    }
}

impl Presence {
    /// Sets the sign, and keeps it up. A store that does not take it now is asked again: nobody is kept from starting by that.
    pub fn show(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, holder: String) -> Self {
        let (tell, lease) = tokio::sync::watch::channel::<Option<Lease>>(None);
        let lasts = if journal.is_shared() { LASTS } else { LASTS_IN_A_FILE };
        let renewal = tokio::spawn({
            let journal = journal.clone();
            async move {
                let mut is_fine = true;
                loop {
                    let now = tell.borrow().clone();
                    let kept = match &now {
                        Some(lease) => journal.lease(&lease.name, &lease.holder, lasts, clock.now()).await,
                        None => Ok(None),
                    };
                    // One that has run out, since the machine slept or the store was away, is lost: another takes its place.
                    let kept = match kept {
                        Ok(None) => {
                            if let Some(lost) = &now {
                                let _ = journal.unlease(lost).await;
                            }
                            set(&*journal, &*clock, &holder, lasts).await
                        }
                        kept => kept,
                    };
                    match kept {
                        Ok(kept) => {
                            tell.send_replace(kept);
                            is_fine = true;
                        }
                        Err(error) if is_fine => {
                            tracing::warn!("the sign that this daemon is there cannot be kept up in the store: {error}");
                            is_fine = false;
                        }
                        Err(_) => {}
                    }
                    let there = tell.borrow().is_some();
                    clock.sleep(if there { lasts / 3 } else { LASTS / 3 }).await;
                }
            }
        });
        Self { journal, lease, renewal }
    }

    /// Takes the sign away. A store that does not answer keeps no daemon from its end.
    pub async fn end(self) {
        self.renewal.abort();
        let lease = self.lease.borrow().clone();
        let Some(lease) = lease else { return };
        match tokio::time::timeout(FAREWELL, self.journal.unlease(&lease)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(lease.name = %lease.name, "{error}; it runs out by itself"),
            Err(_) => tracing::warn!(lease.name = %lease.name, "the store does not answer; the lease runs out by itself"),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn set(journal: &dyn Journal, clock: &dyn Clock, holder: &str, lasts: Duration) -> Result<Option<Lease>, JournalError> {
    let process: Vec<&str> = holder.split(':').take(2).collect();
    let name = format!("{DAEMON}{}:{}", process.join(":"), Uuid::now_v7());
    journal.lease(&name, holder, lasts, clock.now()).await
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::{Access, open_for};

    /// A clock that goes on when it is told to, and ends one sleep each time.
    struct Stepped {
        now: std::sync::Mutex<DateTime<Utc>>,
        steps: Semaphore,
    }

    impl Stepped {
        fn step(&self, seconds: i64) {
            *self.now.lock().expect("not poisoned") += TimeDelta::seconds(seconds);
            self.steps.add_permits(1);
        }
    }

    #[async_trait::async_trait]
    impl Clock for Stepped {
        fn now(&self) -> DateTime<Utc> {
            *self.now.lock().expect("not poisoned")
        }
        async fn sleep(&self, _duration: Duration) {
            self.steps.acquire().await.expect("open").forget();
        }
    }

    #[tokio::test]
    async fn the_sign_stands_while_the_daemon_is_there_and_leaves_nothing_behind() {
        let journal = open_for("sqlite::memory:", Access::Write).await.expect("opens");
        let clock = Arc::new(Stepped { now: DateTime::UNIX_EPOCH.into(), steps: Semaphore::new(0) });
        let presence = Presence::show(journal.clone(), clock.clone(), "here:4711:1".into());
        let standing = || async { journal.leases(clock.now()).await.expect("read") };
        let mut kept = presence.lease.clone();
        kept.changed().await.expect("it is set");
        for _ in 0..15 {
            clock.step(5 * 60);
            kept.changed().await.expect("it is kept up");
        }
        let signs = standing().await;
        assert!(signs.len() == 1 && !signs[0].has_run_out && signs[0].lease.name.starts_with("daemon/here:4711:"), "{signs:?}");
        // The machine sleeps for longer than the sign lasts: somebody may have come and gone.
        clock.step(3600);
        kept.changed().await.expect("another takes its place");
        let again = standing().await;
        assert!(again.len() == 1 && !again[0].has_run_out && again[0].lease.name != signs[0].lease.name, "{again:?}");
        presence.end().await;
        assert!(standing().await.is_empty());
    }
}
