//! Between columns and values: times, counts, words and JSON. A column that cannot be read back is an error with its name,
//! never a default: a journal that guesses is no proof.

use std::hash::Hash;

use chrono::{DateTime, Utc};
use rustc_hash::FxHashSet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::Row;

use crate::contract::journal::Fired;

/// How many rows one statement takes as JSON: few statements, and no text near SQLite's limits.
pub(super) const BATCH: usize = 20_000;

/// The time as a column holds it: milliseconds; what is finer is cut off.
pub(super) fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// A count as a column holds it.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A value as JSON text. The character of number zero, which not every store takes, becomes the mark of what cannot be shown.
pub(super) fn json(value: &(impl Serialize + ?Sized)) -> String {
    const ZERO: &str = "\\u0000";
    let text = serde_json::to_string(value).expect("the values of the model have text keys and finite numbers");
    if !text.contains(ZERO) {
        return text;
    }
    let (mut storable, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(at) = rest.find('\\') {
        // An escaped backslash begins no escape.
        let length = if rest[at..].starts_with("\\\\") { 2 } else { 1 };
        let (is_zero, end) = if rest[at..].starts_with(ZERO) { (true, at + ZERO.len()) } else { (false, at + length) };
        storable.push_str(if is_zero { &rest[..at] } else { &rest[..end] });
        if is_zero {
            storable.push('\u{fffd}');
        }
        rest = &rest[end..];
    }
    storable + rest
}

/// Of those that are the same thing the last, in the order given: a statement that writes a row twice is refused by some stores.
pub(super) fn latest<T, K: Eq + Hash>(batch: &[T], same: impl Fn(&T) -> K) -> impl Iterator<Item = &T> {
    let mut seen = FxHashSet::default();
    let mut kept: Vec<&T> = batch.iter().rev().filter(|item| seen.insert(same(item))).collect();
    kept.reverse();
    kept.into_iter()
}

/// The word of an enum that serialises as one.
pub(super) fn word(value: &impl Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}

fn unreadable(column: &'static str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.into() }
}

/// Reads a text.
pub(super) fn text(row: &Row, column: &'static str) -> Result<String, sqlx::Error> {
    row.try_get(column)
}

/// Reads a text that may be missing.
pub(super) fn text_if(row: &Row, column: &'static str) -> Result<Option<String>, sqlx::Error> {
    row.try_get(column)
}

/// Reads a time that may be missing.
pub(super) fn time_if(row: &Row, column: &'static str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let Some(millis) = row.try_get::<Option<i64>>(column)? else { return Ok(None) };
    DateTime::from_timestamp_millis(millis).map(Some).ok_or_else(|| unreadable(column, format!("{millis} is not a time")))
}

/// Reads a time.
pub(super) fn time(row: &Row, column: &'static str) -> Result<DateTime<Utc>, sqlx::Error> {
    time_if(row, column)?.ok_or_else(|| unreadable(column, "the time is missing"))
}

/// Reads a count that may be missing.
pub(super) fn count_if<N: TryFrom<i64>>(row: &Row, column: &'static str) -> Result<Option<N>, sqlx::Error> {
    let Some(number) = row.try_get::<Option<i64>>(column)? else { return Ok(None) };
    N::try_from(number).map(Some).map_err(|_| unreadable(column, format!("{number} is not a count")))
}

/// Reads a count.
pub(super) fn count<N: TryFrom<i64>>(row: &Row, column: &'static str) -> Result<N, sqlx::Error> {
    count_if(row, column)?.ok_or_else(|| unreadable(column, "the count is missing"))
}

/// Reads a value from JSON text that may be missing.
pub(super) fn value_if<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, sqlx::Error> {
    let Some(text) = text_if(row, column)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| unreadable(column, e))
}

/// Reads a value from JSON text.
pub(super) fn value<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, sqlx::Error> {
    value_if(row, column)?.ok_or_else(|| unreadable(column, "the value is missing"))
}

/// Reads an enum by its word, if there is one.
pub(super) fn enum_if<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, sqlx::Error> {
    let Some(text) = text_if(row, column)? else { return Ok(None) };
    serde_json::from_value(serde_json::Value::String(text)).map(Some).map_err(|e| unreadable(column, e))
}

/// Reads an enum by its word.
pub(super) fn enumerated<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, sqlx::Error> {
    enum_if(row, column)?.ok_or_else(|| unreadable(column, "the word is missing"))
}

/// Reads what fired a run, and who asked for it.
pub(super) fn fired(row: &Row) -> Result<Fired, sqlx::Error> {
    const COLUMN: &str = "fired_by";
    Fired::of_text(&text(row, COLUMN)?).map_err(|e| unreadable(COLUMN, e))
}
