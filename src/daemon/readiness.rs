//! Whether the daemon can do its work, part by part: `/readyz`, and a figure among the metrics.
//!
//! A source counts as ready once it was read whole since the start, or where the store tells of a run that has read it and no
//! later one was due since: a restart says nothing of the source. What was ready stays so; a source that fails later is not
//! mended by taking the daemon out of service, and has alerts of its own.

use super::http::View;
use super::supervise::Condition;
use crate::contract::journal::JournalError;

/// A part, and why it does not stand if it does not. In general words: anybody may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    name: String,
    missing: Option<&'static str>,
}

impl Part {
    fn new(name: impl Into<String>, missing: Option<&'static str>) -> Self {
        Self { name: name.into(), missing }
    }

    /// Whether it stands.
    pub(super) fn stands(&self) -> bool {
        self.missing.is_none()
    }

    /// The part in one line.
    pub(super) fn line(&self) -> String {
        format!("{} {}\n", self.name, self.missing.unwrap_or("ok"))
    }
}

/// All parts.
pub(super) async fn parts(view: &View, condition: &Condition) -> Vec<Part> {
    let store = view.journal.rests().await.map(drop);
    let mut parts = vec![
        Part::new("configuration", condition.config.is_none().then_some("is not loaded yet")),
        Part::new("store", unreadable(&store).then_some("cannot be read; the log says why")),
        Part::new("schedule", (!condition.ready && !condition.stopping).then_some("has not started")),
        Part::new("daemon", condition.stopping.then_some("is stopping")),
    ];
    let Some(config) = &condition.config else { return parts };
    for source in config.sources.keys() {
        let read = match &store {
            Ok(()) => view.metrics.is_read(config, source, &*view.journal, view.clock.now()).await.unwrap_or(false),
            Err(_) => view.metrics.was_read(source),
        };
        parts.push(Part::new(format!("source {source}"), (!read).then_some("has not been read whole yet")));
    }
    parts
}

fn unreadable(store: &Result<(), JournalError>) -> bool {
    match store {
        Ok(()) => false,
        Err(error) => {
            tracing::warn!("not ready: {error}");
            true
        }
    }
}
