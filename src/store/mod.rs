//! The journal kept: the only SQL.
//!
//! One SQLite file, or one PostgreSQL database, holds everything that must outlive a process: runs with their intents and
//! outcomes, links, the ownership ledger, staged removals, the retry queue, rests, notices to be sent, and leases. SQLite because
//! a single binary with a single file has nothing to install, nothing to connect to, and a backup that is a copy; PostgreSQL
//! where several machines are to share the work. Statements keep to what both understand and are written once (`sql` speaks
//! them); what differs is how a store is opened (`open` and `server`), and both are held to the same suite.
//!
//! # What the store knows of people
//!
//! Ids, user names and group names, since without them nobody could read a run. An e-mail address is kept in links only
//! as a mark that cannot be read back. Display names and addresses stand in the `before` and `after` of updates and
//! creations, because `undo` needs them, and go with their run when it is pruned; deleted content is overwritten in the
//! file. No credential is ever written; of one that was refused there are sixteen bits by which it is known again (`rests`). The file is created readable by its owner alone.
//!
//! # How it shows what was done to it
//!
//! Each write to the record of runs, changes, decisions, holds and releases appends an entry to a chain of hashes, in the same
//! transaction; [`crate::contract::chain`] tells what that proves and what it does not.
//!
//! # How it is safe
//!
//! A write is one transaction that waits for its turn at its start: in a file by `BEGIN IMMEDIATE`, since a deferred one that
//! reads first can be refused in the middle without being waited for; on a server by a lock that all writers take first, since
//! the chain has one end. Each commit is on disk before the call returns, since an intent that a power cut could take back
//! proves nothing; the price is one flush per commit, small beside the request that follows it. Readers go on meanwhile.
//! Several processes may open one store: leases rule who works, and whoever works by one proves with each write that it is
//! still theirs (`fence`).

mod chain;
mod changes;
mod columns;
mod copy;
mod decisions;
mod effects;
mod expiring;
mod failure;
mod fence;
mod history;
mod journal;
mod leases;
mod ledger;
mod links;
mod moved;
mod open;
mod outbox;
mod releases;
mod rests;
mod retries;
mod runs;
mod schema;
mod seats;
mod server;
mod sql;
mod staged;
mod waits;

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod suite;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

pub use copy::{Copied, CopyError, copy};
pub use journal::SqlJournal;
pub use moved::reopen;
pub use open::{OpenError, OpenOptions, SCHEMA};

use crate::contract::journal::Journal;
use server::Server;

/// Reads the password at a server. Asked for each connection, since passwords are changed. The error says what is wrong, and
/// nothing of the password.
pub type Password = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// Where a journal is, as `daemon.state` names it: `sqlite:` with a path (`sqlite:/var/lib/rosterd/state.db`, also
/// `sqlite:///…`), `sqlite::memory:` for one that nobody else sees and that ends with the value, or `postgres://…` without
/// a password.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The address.
    pub url: &'a str,
    /// The password at a server.
    pub password: Option<&'a Password>,
}

impl Place<'_> {
    /// The address without its parameters, for a person.
    fn bare(&self) -> String {
        self.url.split('?').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("url", &self.url).finish_non_exhaustive()
    }
}

impl<'a> From<&'a str> for Place<'a> {
    fn from(url: &'a str) -> Self {
        Self { url, password: None }
    }
}

impl<'a> From<&'a String> for Place<'a> {
    fn from(url: &'a String) -> Self {
        Self::from(url.as_str())
    }
}

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read: leaves no trace. A store that does not exist yet reads as an empty one.
    Read,
    /// To read and write: created if it does not exist.
    Write,
}

/// Opens a journal.
///
/// # Errors
/// See [`OpenError`]. The text never tells a password.
pub async fn open_for(place: impl Into<Place<'_>>, access: Access) -> Result<Arc<dyn Journal>, OpenError> {
    Ok(Arc::new(open_any(place.into(), access).await?))
}

/// Opens a journal that is there, to write; `None` where there is none.
async fn open_existing(place: Place<'_>) -> Result<Option<SqlJournal>, OpenError> {
    let journal = open_wherever(place, Access::Write, false).await?;
    if let Some(journal) = &journal {
        moved::refuse_to_open(journal, place).await?;
    }
    Ok(journal)
}

async fn open_any(place: Place<'_>, access: Access) -> Result<SqlJournal, OpenError> {
    let journal =
        open_wherever(place, access, access == Access::Write).await?.expect("one that is not there is made, or read as empty");
    if access == Access::Write {
        moved::refuse_to_open(&journal, place).await?;
    }
    Ok(journal)
}

/// Opens a journal, even one that was copied elsewhere. `None` where there is none, if it is to be written and not to be made.
async fn open_wherever(place: Place<'_>, access: Access, create: bool) -> Result<Option<SqlJournal>, OpenError> {
    let Place { url, password } = place;
    let read_only = access == Access::Read;
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    let opened = match scheme {
        "sqlite" => match rest.strip_prefix("//").unwrap_or(rest) {
            ":memory:" => SqlJournal::memory(read_only).await,
            "" => Err(OpenError::NoPath),
            path if path.contains('?') => Err(OpenError::Parameters),
            path => SqlJournal::open(Path::new(path), OpenOptions { create, read_only }).await,
        },
        "postgres" | "postgresql" => match Server::at(url, password)?.open(read_only, create).await? {
            Some(seats) => Ok(SqlJournal { seats }),
            None if read_only => SqlJournal::memory(true).await,
            None => return Ok(None),
        },
        _ => Err(OpenError::Unsupported { scheme: scheme.to_owned() }),
    };
    match opened {
        Err(OpenError::Missing(_)) if !read_only && !create => Ok(None),
        opened => opened.map(Some),
    }
}
