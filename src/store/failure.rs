//! From SQLite's errors to the journal's: what a person can do about it, and whether trying again helps.

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

/// The primary result code of an error that SQLite gave.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|extended| extended & 0xff)
}

/// Whether the store was busy with another process's writing.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(BUSY | LOCKED))
}

/// Whether the file itself is broken.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(CORRUPT | NOT_A_DATABASE))
}

/// The cause in words, with what to do where that is known.
pub(super) fn cause(error: &sqlx::Error) -> String {
    match code(error) {
        Some(BUSY | LOCKED) => "another process kept the state file locked for longer than 5 seconds".to_owned(),
        Some(READ_ONLY) => format!("the state file or its folder cannot be written ({error})"),
        Some(IO) => format!("the disk answered with an error ({error})"),
        Some(CORRUPT | NOT_A_DATABASE) => {
            format!("the state file is damaged: stop rosterd, then restore the file or move it away ({error})")
        }
        Some(FULL) => "the disk that holds the state file is full: make room, nothing of this call was written".to_owned(),
        Some(CANNOT_OPEN) => format!("the state file or its companions (-wal, -shm) cannot be opened ({error})"),
        Some(_) | None => error.to_string(),
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
