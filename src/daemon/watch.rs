//! Notices that the configuration or a secret has changed on disk, and asks for what SIGHUP would do.
//!
//! Files are looked at now and then rather than watched by the kernel's events, which do not come over a network, and come in
//! kinds of their own where a folder is mounted anew. A change counts once it looks the same twice in a row: whoever
//! writes may be in the middle of it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::http::seen::{Changed, Seen};

/// Looks at files until dropped.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>);

impl Watch {
    /// Begins to look at the files that were read, and sends which of them have changed.
    pub fn start(every: Duration, seen: Seen, changed: UnboundedSender<Vec<PathBuf>>) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before = Changed::default();
            loop {
                ticks.tick().await;
                let look = seen.clone();
                // A file on a network may keep whoever reads it waiting.
                let Ok(now) = spawn_blocking(move || look.changed()).await else { return };
                let steady = !now.is_empty() && now == before;
                if steady && changed.send(now.files().map(PathBuf::from).collect()).is_err() {
                    return;
                }
                before = if steady { Changed::default() } else { now };
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
