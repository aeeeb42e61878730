//! What people decided, in the chain: decisions, holds and releases by the hashes of their rows.

use super::digest::{Digest, hex};
use super::{Entry, Said, What, append, leaf_of};
use crate::store::sql::{Connection, Row};

/// The columns of a decision that are never written again.
macro_rules! decision_columns {
    () => {
        "job, target, mark, plan, verdict, kind, source, user_name, group_name, held_by, actor, reason, at, expires"
    };
}
/// All columns of a hold.
macro_rules! hold_columns {
    () => {
        "job, target, user_key, user_name, source, run, actor, reason, since, wish"
    };
}
/// All columns of a release.
macro_rules! release_columns {
    () => {
        "id, at, actor, reason, what, rest, holds, due"
    };
}
pub(in crate::store) use {decision_columns, hold_columns, release_columns};

/// What a write did to decisions, holds or releases: their rows as they are then.
#[derive(Default)]
pub(in crate::store) struct Changes {
    /// Written.
    pub(in crate::store) written: Vec<Row>,
    /// Ended, and kept; with the column that tells when.
    pub(in crate::store) ended: Vec<Row>,
    /// Deleted.
    pub(in crate::store) gone: Vec<Row>,
}

/// Seals a write to the decisions.
pub(in crate::store) async fn decided(connection: &mut Connection, changes: &Changes, at: i64) -> Result<(), sqlx::Error> {
    seal(connection, (What::Decided, Sort::Decision), changes, Some(at)).await
}

/// Seals that decisions were deleted.
pub(in crate::store) async fn tidied(connection: &mut Connection, gone: Vec<Row>) -> Result<(), sqlx::Error> {
    seal(connection, (What::Tidied, Sort::Decision), &Changes { gone, ..Changes::default() }, None).await
}

/// Seals a write to the holds; their end tells no time.
pub(in crate::store) async fn held(connection: &mut Connection, changes: &Changes, at: Option<i64>) -> Result<(), sqlx::Error> {
    seal(connection, (What::Held, Sort::Hold), changes, at).await
}

/// Seals a release.
pub(in crate::store) async fn released(connection: &mut Connection, changes: &Changes, at: i64) -> Result<(), sqlx::Error> {
    seal(connection, (What::Released, Sort::Release), changes, Some(at)).await
}

/// Seals that releases were deleted.
pub(in crate::store) async fn let_be(connection: &mut Connection, gone: Vec<Row>) -> Result<(), sqlx::Error> {
    seal(connection, (What::Released, Sort::Release), &Changes { gone, ..Changes::default() }, None).await
}

async fn seal(
    connection: &mut Connection,
    (what, sort): (What, Sort),
    changes: &Changes,
    at: Option<i64>,
) -> Result<(), sqlx::Error> {
    let Changes { written, ended, gone } = changes;
    if written.is_empty() && ended.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let named = |rows: &[Row]| rows.iter().map(|row| sort.named(row)).collect::<Result<Vec<_>, _>>();
    let (written, gone) = (named(written)?, named(gone)?);
    let mut over = Vec::with_capacity(ended.len());
    for row in ended {
        let (subject, hash) = sort.named(row)?;
        over.push((subject, hash, row.try_get("ended")?));
    }
    append(connection, Entry::saying(what, at, Said { written, ended: over, gone, ..Said::default() })).await.map(drop)
}

/// Of which of the three a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A decision.
    Decision,
    /// A hold.
    Hold,
    /// A release.
    Release,
}

impl Sort {
    /// What a row is about, and its hash.
    pub(super) fn named(self, row: &Row) -> Result<(String, String), sqlx::Error> {
        // What follows these columns is not of the row as it was written.
        let (what, subject, columns) = match self {
            Sort::Decision => (What::Decided, Some("mark"), 14),
            Sort::Hold => (What::Held, Some("user_key"), 10),
            Sort::Release => (What::Released, None, 8),
        };
        let mut key = Digest::new("subject");
        match subject {
            Some(subject) => {
                for column in ["job", "target", subject] {
                    key.text(row.try_get(column)?);
                }
            }
            None => key.int(row.try_get("id")?),
        }
        Ok((hex(&key.finish()[..super::LEAF]), hex(&leaf_of(what, row, columns)?)))
    }
}
