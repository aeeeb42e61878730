//! The connections to one file: one that writes and a few that read.
//!
//! SQLite lets one writer in at a time, so writers queue here, in order and without polling, instead of at the file's lock.
//! A pool would do the same with time-outs of its own; there are none here, because waiting for the own process always
//! ends, and because a time-out of the async runtime has no meaning to tests that stop the clock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use super::failure::{failed, refused};
use crate::contract::journal::JournalError;

/// A reading of a file that nobody had open, without locks; see [`Seats::frozen`].
struct Frozen {
    /// Files whose appearance tells that somebody has begun to write.
    signs: Vec<PathBuf>,
    /// How to join that somebody.
    join: SqliteConnectOptions,
    joined: AtomicBool,
}

/// The connections to one file.
pub(super) struct Seats {
    writer: Option<Mutex<SqliteConnection>>,
    readers: Vec<Mutex<SqliteConnection>>,
    next: AtomicUsize,
    frozen: Option<Frozen>,
}

impl Seats {
    /// One writer, and readers beside it; without any the writer reads too.
    pub(super) fn new(writer: SqliteConnection, readers: Vec<SqliteConnection>) -> Self {
        Self {
            writer: Some(Mutex::new(writer)),
            readers: readers.into_iter().map(Mutex::new).collect(),
            next: AtomicUsize::new(0),
            frozen: None,
        }
    }

    /// A reader only: every write is refused.
    pub(super) fn read_only(reader: SqliteConnection) -> Self {
        Self { writer: None, readers: vec![Mutex::new(reader)], next: AtomicUsize::new(0), frozen: None }
    }

    /// A reader of a file that nobody has open, without locks and without companions beside the file. The file cannot
    /// change as long as none of `signs` appears: whoever writes creates its log first. From then on reading joins the
    /// writer by `join`, as any reader does.
    pub(super) fn frozen(reader: SqliteConnection, signs: Vec<PathBuf>, join: SqliteConnectOptions) -> Self {
        Self { frozen: Some(Frozen { signs, join, joined: AtomicBool::new(false) }), ..Self::read_only(reader) }
    }

    /// Waits for a connection to read with.
    pub(super) async fn reader(&self, doing: &'static str) -> Result<MutexGuard<'_, SqliteConnection>, JournalError> {
        if let Some(free) = self.readers.iter().find_map(|seat| seat.try_lock().ok()) {
            return self.thawed(free, doing).await;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let seat = match self.readers.len() {
            0 => self.writer.as_ref().expect("seats have a reader or a writer"),
            some => &self.readers[turn % some],
        };
        self.thawed(seat.lock().await, doing).await
    }

    /// Waits for the connection to write with. To be followed by [`immediate`].
    pub(super) async fn writer(&self, doing: &'static str) -> Result<MutexGuard<'_, SqliteConnection>, JournalError> {
        match &self.writer {
            Some(writer) => Ok(writer.lock().await),
            None => Err(refused(doing, "it is open for reading only, as a dry run leaves no trace")),
        }
    }

    /// Closes all connections; the last one to a file moves its log into it.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        for seat in self.readers.into_iter().chain(self.writer) {
            seat.into_inner().close().await?;
        }
        Ok(())
    }

    async fn thawed<'s>(
        &'s self,
        mut seat: MutexGuard<'s, SqliteConnection>,
        doing: &'static str,
    ) -> Result<MutexGuard<'s, SqliteConnection>, JournalError> {
        let Some(frozen) = &self.frozen else { return Ok(seat) };
        if !frozen.joined.load(Ordering::Relaxed) && frozen.signs.iter().any(|sign| sign.exists()) {
            *seat = frozen.join.connect().await.map_err(failed(doing))?;
            frozen.joined.store(true, Ordering::Relaxed);
        }
        Ok(seat)
    }
}

/// Begins a write transaction. Immediate, so that it waits for its turn at the start instead of being refused in the
/// middle; dropped without a commit it leaves nothing.
pub(super) async fn immediate<'c>(
    connection: &'c mut SqliteConnection,
    doing: &'static str,
) -> Result<Transaction<'c, Sqlite>, JournalError> {
    connection.begin_with("begin immediate").await.map_err(failed(doing))
}
