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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// Between two looks.
    const HALF: Duration = Duration::from_millis(500);

    /// A file that was read, and a watch that looks at it every second of a clock that the test moves; now it is half past.
    async fn watched(file: &Path) -> (Seen, Watch, UnboundedReceiver<Vec<PathBuf>>) {
        std::fs::write(file, "old").expect("written");
        let seen = Seen::default();
        seen.look(file);
        let (send, receive) = unbounded_channel();
        let watch = Watch::start(Duration::from_secs(1), seen.clone(), send);
        tokio::time::sleep(HALF).await;
        (seen, watch, receive)
    }

    /// Lets one look pass.
    async fn look() {
        tokio::time::sleep(HALF * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_told_once_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let (seen, _watch, mut told) = watched(&file).await;
        look().await;
        assert!(told.try_recv().is_err(), "nothing has changed");
        // Other bytes at every look: whoever writes is in the middle of it.
        for part in ["", "n", "ne"] {
            std::fs::write(&file, part).expect("written");
            look().await;
            assert!(told.try_recv().is_err(), "{part:?} is half of it");
        }
        std::fs::write(&file, "new").expect("written");
        look().await;
        assert!(told.try_recv().is_err(), "seen once, it may be half of it too");
        look().await;
        assert_eq!(told.try_recv(), Ok(vec![file.clone()]));
        // Whoever is told reads it anew, and that is that.
        seen.look(&file);
        look().await;
        look().await;
        assert!(told.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_as_it_was_again_has_not_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let (_seen, _watch, mut told) = watched(&file).await;
        for text in ["other", "old", "another", "old", "old"] {
            std::fs::write(&file, text).expect("written");
            look().await;
        }
        std::fs::remove_file(&file).expect("removed");
        look().await;
        std::fs::write(&file, "old").expect("written");
        look().await;
        look().await;
        assert!(told.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_dropped_looks_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let (_seen, watch, mut told) = watched(&file).await;
        std::fs::write(&file, "new").expect("written");
        drop(watch);
        look().await;
        look().await;
        assert_eq!(told.recv().await, None);
    }
}
