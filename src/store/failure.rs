//! From the databases' errors to the journal's: what a person can do about it, and whether trying again helps.

use sqlx::postgres::PgDatabaseError;

use crate::contract::journal::JournalError;

// Primary result codes, the low byte of the extended ones: https://www.sqlite.org/rescode.html
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READ_ONLY: u32 = 8;
const IO: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANNOT_OPEN: u32 = 14;
const NOT_A_DATABASE: u32 = 26;
/// PostgreSQL's word to whoever stands still in a transaction.
const STOOD_STILL: &str = "25P03";
/// And to whoever writes where nothing may be written.
const READ_ONLY_THERE: &str = "25006";

/// The primary result code of an error that SQLite gave.
fn code(error: &sqlx::Error) -> Option<u32> {
    let error = error.as_database_error().filter(|error| error.try_downcast_ref::<PgDatabaseError>().is_none())?;
    error.code()?.parse::<u32>().ok().map(|extended| extended & 0xff)
}

/// The state of an error that PostgreSQL gave: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn state(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// Whether the connection itself failed, and not what was said on it.
pub(super) fn is_loss(error: &sqlx::Error) -> bool {
    match state(error) {
        // Of class 57 those by which the server ends a connection: shut down, crashed, starting up.
        // And one that has become a standby is not the one to speak to.
        Some(state) => state.starts_with("08") || state.starts_with("57P") || [STOOD_STILL, READ_ONLY_THERE].contains(&state),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) && !is_untrusted(error),
    }
}

/// Whether the other end is not whom we would trust, or has no wish to be: no fault that passes.
fn is_untrusted(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

/// That a transaction was to be made to last, and no answer came: it may have been, or not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unsure(sqlx::Error);

/// The error of a commit. Where the connection was lost over it nobody knows what became of it, and that is to be said.
pub(super) fn unsure(error: sqlx::Error) -> sqlx::Error {
    // Who was cut off for standing still was so before the commit was said.
    if is_loss(&error) && state(&error) != Some(STOOD_STILL) {
        return sqlx::Error::Io(std::io::Error::other(Unsure(error)));
    }
    error
}

fn is_unsure(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Unsure>()))
}

/// Whether the store was busy with another process's writing, or cannot be reached just now.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let waited_for = |state: &str| state.starts_with("40") || state.starts_with("53") || ["55P03", "57014"].contains(&state);
    matches!(code(error), Some(BUSY | LOCKED)) || is_loss(error) || state(error).is_some_and(waited_for)
}

/// Whether the file itself is broken.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(CORRUPT | NOT_A_DATABASE))
}

/// The cause in words, with what to do where that is known.
pub(super) fn cause(error: &sqlx::Error) -> String {
    if let Some(state) = state(error) {
        return cause_there(state, error);
    }
    match code(error) {
        Some(BUSY | LOCKED) => "another process kept the state file locked for longer than 5 seconds".to_owned(),
        Some(READ_ONLY) => format!("the state file or its folder cannot be written ({error})"),
        Some(IO) => format!("the disk answered with an error ({error})"),
        Some(CORRUPT | NOT_A_DATABASE) => {
            format!("the state file is damaged: stop rosterd, then restore the file or move it away ({error})")
        }
        Some(FULL) => "the disk that holds the state file is full: make room, nothing of this call was written".to_owned(),
        Some(CANNOT_OPEN) => format!("the state file or its companions (-wal, -shm) cannot be opened ({error})"),
        Some(_) | None if is_unsure(error) => format!(
            "the connection to the database was lost while this was made to last ({error}): it may have been written, or not; \
             look with `rosterd status`, or do it again"
        ),
        Some(_) | None if is_untrusted(error) => format!(
            "the database has no certificate that is trusted, or none at all ({error}): name its authority as sslrootcert=/path"
        ),
        Some(_) | None if is_loss(error) => format!("the connection to the database failed ({error})"),
        Some(_) | None => error.to_string(),
    }
}

/// The same of what PostgreSQL said.
fn cause_there(state: &str, error: &sqlx::Error) -> String {
    let said = error.as_database_error().map_or_else(String::new, |error| error.message().to_owned());
    match state {
        "28P01" | "28000" => format!("the database refused the login: look at the user and daemon.state_password ({said})"),
        "3D000" => format!("the database does not exist: create it, owned by the user of daemon.state ({said})"),
        "42501" => format!("the user of daemon.state lacks a right in the database ({said})"),
        "25006" => format!("the database may only be read, as a standby may: daemon.state must name the primary ({said})"),
        "53100" => format!("the disk of the database is full: make room, nothing of this call was written ({said})"),
        "53300" => format!("the database takes no more connections: each rosterd needs four ({said})"),
        "57014" => format!("the database gave up on a statement that took more than a minute ({said})"),
        STOOD_STILL => format!("this process stood still in the middle of a write, and the database has taken it back ({said})"),
        state if is_loss(error) => format!("the database closed the connection ({said}, {state})"),
        state => format!("{said} ({state})"),
    }
}

/// Names what was being done. For `map_err`.
pub(super) fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> JournalError {
    move |error| JournalError { doing, why: cause(&error), passing: is_busy(&error) }
}

/// A refusal of our own, which trying again does not change.
pub(super) fn refused(doing: &'static str, why: impl Into<String>) -> JournalError {
    JournalError { doing, why: why.into(), passing: false }
}
