//! The journal on disk: the only SQL.
//!
//! One SQLite file holds everything that must outlive a process: runs with their intents and outcomes, links, the
//! ownership ledger, staged removals, the retry queue, rests, notices to be sent, and leases. SQLite because a single binary with a single file
//! has nothing to install, nothing to connect to, and a backup that is a copy; statements keep to what other databases
//! understand, so that a second backend can stand beside it and be held to the same suite.
//!
//! # What the file knows of people
//!
//! Ids, user names and group names, since without them nobody could read a run. An e-mail address is kept in links only
//! as a mark that cannot be read back. Display names and addresses stand in the `before` and `after` of updates and
//! creations, because `undo` needs them, and go with their run when it is pruned; deleted content is overwritten in the
//! file. No credential is ever written. The file is created readable by its owner alone.
//!
//! # How it shows what was done to it
//!
//! Each write to the record of runs, changes, decisions, holds and releases appends an entry to a chain of hashes, in the same
//! transaction; [`crate::contract::chain`] tells what that proves and what it does not.
//!
//! # How it is safe
//!
//! A write is one `BEGIN IMMEDIATE` transaction: a deferred one that reads first can be refused in the middle without
//! being waited for. Each commit is on disk before the call returns (`synchronous = FULL`), since an intent that a power
//! cut could take back proves nothing; the price is one flush per commit, small beside the request that follows it. The
//! write-ahead log lets readers go on meanwhile. Several processes may open one file: leases rule who works, SQLite's
//! locks rule the file.

mod chain;
mod changes;
mod columns;
mod decisions;
mod effects;
mod expiring;
mod failure;
mod history;
mod leases;
mod ledger;
mod links;
mod open;
mod outbox;
mod releases;
mod rests;
mod retries;
mod runs;
mod seats;
mod sqlite;
mod staged;
mod waits;

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod suite;

use std::path::Path;
use std::sync::Arc;

pub use open::{OpenError, OpenOptions, SCHEMA};
pub use sqlite::SqliteJournal;

use crate::contract::journal::Journal;

/// Opens the journal that `daemon.state` names, creating the file if it is missing: `sqlite:` with a path
/// (`sqlite:/var/lib/rosterd/state.db`, also `sqlite:///…`), or `sqlite::memory:` for one that nobody else sees and that
/// ends with the value.
///
/// # Errors
/// See [`OpenError`]. The text names at most the scheme of the address, which may hold a password.
pub async fn open(url: &str) -> Result<Arc<dyn Journal>, OpenError> {
    open_with(url, OpenOptions { create: true, read_only: false }).await
}

/// Opens the same journal for a dry run: nothing can be written, the file stays as it is to the byte, and a file that does
/// not exist yet reads as an empty journal.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_read_only(url: &str) -> Result<Arc<dyn Journal>, OpenError> {
    open_with(url, OpenOptions { create: false, read_only: true }).await
}

async fn open_with(url: &str, options: OpenOptions) -> Result<Arc<dyn Journal>, OpenError> {
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    if scheme != "sqlite" {
        return Err(OpenError::Unsupported { scheme: scheme.to_owned() });
    }
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let journal = match path {
        ":memory:" => SqliteJournal::memory(options.read_only).await?,
        "" => return Err(OpenError::NoPath),
        _ if path.contains('?') => return Err(OpenError::Parameters),
        path => SqliteJournal::open(Path::new(path), options).await?,
    };
    Ok(Arc::new(journal))
}

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read: leaves no trace. A store that does not exist yet reads as an empty one.
    Read,
    /// To read and write: created if it does not exist.
    Write,
}

/// Opens the journal that `daemon.state` names.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_for(url: &str, access: Access) -> Result<Arc<dyn Journal>, OpenError> {
    match access {
        Access::Read => open_read_only(url).await,
        Access::Write => open(url).await,
    }
}
