//! The chain: one entry for each write to the record, hashed with the entry before.
//!
//! What is hashed is what stands in the rows, column by column with its type, so that a check needs nothing but the rows. Of a
//! change intent and outcome are hashed apart, as they are written; neither is written twice. Decisions, holds and releases come and go:
//! their entries keep the hashes of their rows and not the words, and a check plays them through to what must stand now.
//!
//! It costs one small row and one hash per transaction, of which there is one for each chunk of changes.

mod digest;
mod fold;
mod spoken;
mod verify;

use serde::{Deserialize, Serialize};

use self::digest::{Digest, Hash, feed, hex};
use super::columns::{json, word};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query};
use crate::contract::chain::Head;
use crate::contract::journal::JournalError;
use crate::model::key::RunId;

pub(super) use self::fold::{fold, open};
pub(super) use self::spoken::{
    Changes, decided, decision_columns, held, hold_columns, let_be, release_columns, released, tidied,
};
pub(super) use self::verify::{check, verify};

/// The columns of a change that its intent writes.
macro_rules! intent_columns {
    () => {
        "id, run, target, kind, source, user_key, user_name, group_name, before, after, because, let_by, at"
    };
}
/// The columns of a change that its outcome writes.
macro_rules! outcome_columns {
    () => {
        "id, run, outcome, fault, why, left_groups, created, request, settled_at"
    };
}
/// The columns of a run that its beginning writes.
macro_rules! begun_columns {
    () => {
        "id, job, target, fired_by, began_at"
    };
}
/// The columns of a run that its end writes.
macro_rules! ended_columns {
    () => {
        "id, ended, ended_at, plan, planned, done, failed, staged, requests, messages, size_users, size_groups, size_memberships"
    };
}
pub(super) use {begun_columns, ended_columns, intent_columns, outcome_columns};

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// The chain begins, over what a version without one has left.
    Opened,
    /// A run has begun.
    Begun,
    /// Changes are about to be made.
    Intended,
    /// What came of changes.
    Settled,
    /// A run has ended.
    Ended,
    /// Decisions were written or have ended.
    Decided,
    /// Holds were written or have ended.
    Held,
    /// Something was released, or such a record is past its retention.
    Released,
    /// Runs are past their retention.
    Pruned,
    /// So are decisions.
    Tidied,
    /// Entries before one are past theirs.
    Folded,
}

/// What an entry says beside the hashes of rows.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    /// Decisions, holds or releases that were written: key and hash of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    written: Vec<(String, String)>,
    /// Decisions that have ended, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ended: Vec<(String, String, i64)>,
    /// Decisions, holds or releases whose rows were deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<(String, String)>,
    /// Holds that were there before the chain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holds: Vec<(String, String)>,
    /// Runs that were deleted with their changes, or that were there before the chain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<String>,
    /// The last change that was there before the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<i64>,
    /// The entry from which on the chain is kept, with its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<(i64, String)>,
}

/// An entry about to be written.
struct Entry<'a> {
    what: What,
    /// `None`: as of the entry before, for what tells no time.
    at: Option<i64>,
    run: Option<&'a str>,
    covers: Option<String>,
    leaves: Vec<Hash>,
    said: Option<Said>,
}

impl Entry<'_> {
    fn saying(what: What, at: Option<i64>, said: Said) -> Self {
        Self { what, at, run: None, covers: None, leaves: Vec::new(), said: Some(said) }
    }
}

/// How much of each row's hash is kept to find it by.
const LEAF: usize = 8;

/// Appends an entry, within the transaction of what it is about.
async fn append(connection: &mut Connection, entry: Entry<'_>) -> Result<Head, sqlx::Error> {
    const LAST: &str = "select id, at, chain, (select seq from sqlite_sequence where name = 'seals') as given
        from seals order by id desc limit 1";
    const APPEND: &str = "insert into seals (id, at, what, run, covers, leaves, content, said, chain)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let last = query(LAST).fetch_optional(&mut *connection).await?;
    let (given, before, time) = match &last {
        Some(row) => (row.try_get::<i64>("given")?, row.try_get::<Vec<u8>>("chain")?, row.try_get::<i64>("at")?),
        None => (0, Vec::new(), 0),
    };
    let Entry { what, at, run, covers, leaves, said } = entry;
    let (id, at, what) = (given + 1, at.unwrap_or(time), word(&what));
    let content = content(&leaves);
    let leaves = (!leaves.is_empty()).then(|| leaves.iter().flat_map(|leaf| &leaf[..LEAF]).copied().collect::<Vec<u8>>());
    let said = said.as_ref().map(json);
    let mut digest = Digest::link(&before);
    digest.int(id);
    digest.int(at);
    digest.text(&what);
    digest.text_if(run);
    digest.text_if(covers.as_deref());
    digest.bytes_if(leaves.as_deref());
    digest.bytes(&content);
    digest.text_if(said.as_deref());
    let chain = digest.finish();
    query(APPEND)
        .bind(id)
        .bind(at)
        .bind(what)
        .bind(run)
        .bind(covers)
        .bind(leaves)
        .bind(&content[..])
        .bind(said)
        .bind(&chain[..])
        .execute(connection)
        .await?;
    Ok(Head { entry: id.unsigned_abs(), hash: hex(&chain) })
}

fn content(leaves: &[Hash]) -> Hash {
    let mut digest = Digest::new("content");
    leaves.iter().for_each(|leaf| digest.bytes(leaf));
    digest.finish()
}

/// The hash of a row as it was written.
fn leaf(what: What, row: &Row) -> Result<Hash, sqlx::Error> {
    leaf_of(what, row, usize::MAX)
}

/// The same of its first columns.
fn leaf_of(what: What, row: &Row, columns: usize) -> Result<Hash, sqlx::Error> {
    let mut digest = Digest::new(&word(&what));
    feed(&mut digest, row, columns)?;
    Ok(digest.finish())
}

/// Seals the beginning or the end of a run.
pub(super) async fn run(connection: &mut Connection, what: What, row: &Row, at: i64) -> Result<Head, sqlx::Error> {
    let run: &str = row.try_get("id")?;
    let leaves = vec![leaf(what, row)?];
    append(connection, Entry { what, at: Some(at), run: Some(run), covers: None, leaves, said: None }).await
}

/// Seals intents or outcomes: an entry for each run.
pub(super) async fn changes(connection: &mut Connection, what: What, rows: &[Row], at: i64) -> Result<(), sqlx::Error> {
    let mut sorted: Vec<(&str, i64, Hash)> = Vec::with_capacity(rows.len());
    for row in rows {
        sorted.push((row.try_get("run")?, row.try_get("id")?, leaf(what, row)?));
    }
    sorted.sort_unstable();
    for of_run in sorted.chunk_by(|a, b| a.0 == b.0) {
        let covers = Some(ranges(of_run.iter().map(|(_, id, _)| *id)));
        let leaves = of_run.iter().map(|(.., leaf)| *leaf).collect();
        append(connection, Entry { what, at: Some(at), run: Some(of_run[0].0), covers, leaves, said: None }).await?;
    }
    Ok(())
}

/// Seals that runs were deleted.
pub(super) async fn pruned(connection: &mut Connection, runs: Vec<String>) -> Result<(), sqlx::Error> {
    append(connection, Entry::saying(What::Pruned, None, Said { runs, ..Said::default() })).await.map(drop)
}

/// Ascending numbers as text: `1-256,300`.
fn ranges(ids: impl Iterator<Item = i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            Some(_) | None => ranges.push((id, id)),
        }
    }
    let text = |(first, last): &(i64, i64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// The same read back; what is no number is left out.
fn ranges_of(text: &str) -> Vec<(i64, i64)> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').filter_map(range).collect()
}

/// The chain's head.
pub(super) async fn head(seats: &Seats) -> Result<Head, JournalError> {
    const DOING: &str = "read the chain's head";
    let mut seat = seats.reader(DOING).await?;
    head_of(&mut seat).await.map_err(failed(DOING))
}

pub(super) async fn head_of(connection: &mut Connection) -> Result<Head, sqlx::Error> {
    let last = query("select id, chain from seals order by id desc limit 1").fetch_optional(connection).await?;
    let Some(row) = last else { return Ok(Head { entry: 0, hash: String::new() }) };
    Ok(Head { entry: row.try_get::<i64>("id")?.unsigned_abs(), hash: hex(row.try_get("chain")?) })
}

/// For a check: which run an entry is about.
fn run_of(text: Option<&str>) -> Option<RunId> {
    text.map(RunId::from)
}

#[cfg(test)]
mod tests;
