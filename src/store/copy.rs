//! From one store to another: everything, with its numbers and its chain, or nothing.
//!
//! Nobody writes to the one while it is copied, and the other is empty before and whole afterwards: one transaction each. The
//! chain is checked at both ends and must come to the same. Afterwards the one says where it went, and takes nothing more.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::columns::millis;
use super::failure::cause;
use super::open::OpenError;
use super::sql::{Builder, Connection, Query, Raw, Row, query, query_scalar};
use super::{Access, Place, SqlJournal, chain, leases, moved, open_any, open_existing};
use crate::contract::chain::Verification;
use crate::contract::journal::JournalError;

/// The tables with their columns, in an order in which each row finds what it refers to.
pub(super) const TABLES: [(&str, &str); 17] = [
    (
        "runs",
        "id, job, target, fired_by, began_at, ended, ended_at, plan, planned, done, failed, staged, requests, messages, size_users,
        size_groups, size_memberships",
    ),
    (
        "changes",
        "id, run, target, kind, source, user_key, user_name, group_name, before, after, because, at, outcome, fault, why,
        left_groups, settled_at, let_by, request, created",
    ),
    ("user_links", "target, source, user_key, name, email_mark, leaving_since, last_asked, is_new"),
    ("group_links", "target, source, group_key, name"),
    ("ledger_users", "id, target, key"),
    ("ledger_groups", "id, target, key"),
    ("ledger", "group_id, user_id"),
    (
        "staged",
        "job, target, kind, user_key, group_key, plan, source, user_name, group_name, because, held_by, since, stamp, mark",
    ),
    ("retries", "job, target, subject, subject_key, attempts, first_seen, not_before, cause, quarantined, user_name"),
    ("rests", "system, since, cause, fault, failures, until, fingerprint"),
    ("plans", "id, job, target, made, expires, made_by, changes"),
    (
        "decisions",
        "job, target, mark, plan, verdict, kind, source, user_name, group_name, held_by, actor, reason, at, expires, ended",
    ),
    ("holds", "job, target, user_key, user_name, source, run, actor, reason, since, wish"),
    ("releases", "id, at, actor, reason, what, rest, holds, due"),
    ("outbox", "id, hook, event, at, attempts, not_before"),
    ("ailing", "system, since"),
    ("expiring", "system, at, told"),
];
/// Those that a store which was just made is not without: the chain has a beginning.
pub(super) const FROM_THE_START: [(&str, &str); 2] =
    [("leases", "name, holder, generation, until"), ("seals", "id, at, what, run, covers, leaves, content, said, chain")];
/// Values of one statement: fewer than either store takes.
const VALUES: usize = 30_000;

/// Why a store was not copied. Where it does not say otherwise nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing to copy.
    #[error("there is no state at {0}")]
    Nothing(String),
    /// There is something where it should go.
    #[error("{to} is not empty: there are rows in {table}")]
    NotEmpty {
        /// Where.
        to: String,
        /// In which table.
        table: &'static str,
    },
    /// Somebody is at work.
    #[error("{process} is at work ({lease})")]
    AtWork {
        /// Who.
        process: String,
        /// By which lease.
        lease: String,
    },
    /// Everything was copied, and the original could not be told so.
    #[error("everything was copied to {to}, but {from} could not be told so ({why}): start no daemon on it")]
    Unmarked {
        /// The original.
        from: String,
        /// The copy.
        to: String,
        /// The cause.
        why: String,
    },
    /// What came out is not what went in.
    #[error("the copy's chain does not come to what the original's does: the original has text that the other store cannot hold")]
    Unlike,
    /// A store that could not be read or written.
    #[error("the state could not be {doing}: {why}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        why: String,
    },
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Rows by table.
    pub rows: Vec<(&'static str, u64)>,
    /// What a check of the chain tells, at both ends.
    pub checked: Verification,
}

fn read(error: sqlx::Error) -> CopyError {
    CopyError::Failed { doing: "read", why: cause(&error) }
}

fn written(error: sqlx::Error) -> CopyError {
    CopyError::Failed { doing: "written", why: cause(&error) }
}

/// Copies all that is in one store into another, which must be empty. `gone` says of the holder of a lease that its process is
/// known to be no more.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy(from: Place<'_>, to: Place<'_>, gone: fn(&str) -> bool, now: DateTime<Utc>) -> Result<Copied, CopyError> {
    let source = open_existing(from).await?.ok_or_else(|| CopyError::Nothing(from.bare()))?;
    let goal = open_any(to, Access::Write).await?;
    let copied = between(&source, &goal, (from.bare(), to.bare()), gone, millis(now)).await;
    for journal in [source, goal] {
        journal.close().await.map_err(|e| CopyError::Failed { doing: "closed", why: e.why })?;
    }
    copied
}

async fn between(
    source: &SqlJournal,
    goal: &SqlJournal,
    (from, to): (String, String),
    gone: fn(&str) -> bool,
    now: i64,
) -> Result<Copied, CopyError> {
    let busy = |error: JournalError| CopyError::Failed { doing: "reached", why: error.why };
    let (mut source, mut goal) = (source.seats.writer("").await.map_err(busy)?, goal.seats.writer("").await.map_err(busy)?);
    // Both as writers: nobody else writes to either meanwhile.
    let (mut source, mut goal) = (source.writing().await.map_err(busy)?, goal.writing().await.map_err(busy)?);
    for end in [&mut source, &mut goal] {
        nobody_works(end, gone, now).await?;
        // One end stands still while the other is read, and a table is one statement for as long as the other end writes.
        end.be_patient().await.map_err(read)?;
    }
    is_empty(&mut goal, &to).await?;
    let mut rows = Vec::new();
    for (table, columns) in TABLES.into_iter().chain(FROM_THE_START) {
        rows.push((table, copy_table(&mut source, &mut goal, table, columns).await?));
    }
    numbers(&mut source, &mut goal).await?;
    let checked = chain::check(&mut goal).await.map_err(written)?;
    if checked != chain::check(&mut source).await.map_err(read)? {
        return Err(CopyError::Unlike);
    }
    moved::mark(&mut source, &to, now).await.map_err(written)?;
    goal.commit().await.map_err(written)?;
    // Last, so that at no time both refuse.
    source.commit().await.map_err(|e| CopyError::Unmarked { from, to, why: cause(&e) })?;
    Ok(Copied { rows, checked })
}

async fn nobody_works(connection: &mut Connection, gone: fn(&str) -> bool, now: i64) -> Result<(), CopyError> {
    const HELD: &str = "select name, holder, generation from leases where holder <> '' and until > $1 order by name";
    if let Connection::Postgres(_) = connection {
        // Leases are taken without the turn of writers. Whoever waits for one here finds the store moved.
        query("lock table leases in exclusive mode").execute(connection).await.map_err(read)?;
    }
    let now = leases::time_there(connection).await.map_err(read)?.unwrap_or(now);
    for row in query(HELD).bind(now).fetch_all(connection).await.map_err(read)? {
        let lease = leases::lease(&row).map_err(read)?;
        if !gone(&lease.holder) {
            return Err(CopyError::AtWork { process: lease.process(), lease: lease.name });
        }
    }
    Ok(())
}

async fn is_empty(connection: &mut Connection, to: &str) -> Result<(), CopyError> {
    for (table, _) in TABLES {
        let mut any = Builder::new("select count(*) from (select 1 from ");
        any.push(table).push(" limit 1) as any_row");
        let row = any.build().fetch_one(connection).await.map_err(read)?;
        if row.try_get::<i64>(0).map_err(read)? > 0 {
            return Err(CopyError::NotEmpty { to: to.to_owned(), table });
        }
    }
    let entries: i64 = query_scalar("select count(*) from seals").fetch_one(connection).await.map_err(read)?;
    if entries > 1 {
        return Err(CopyError::NotEmpty { to: to.to_owned(), table: "seals" });
    }
    Ok(())
}

async fn copy_table(
    source: &mut Connection,
    goal: &mut Connection,
    table: &'static str,
    columns: &'static str,
) -> Result<u64, CopyError> {
    let text = |before: &str, between: &str, after: &str| [before, columns, between, table, after].concat();
    let mut clear = Builder::new("delete from ");
    clear.push(table);
    clear.build().execute(goal).await.map_err(written)?;
    let mut rows = Builder::new(&text("select ", " from ", "")).build().fetch(source);
    let insert = ["insert into ", table, " (", columns, ") values "].concat();
    let width = columns.split(',').count();
    let mut copied = 0;
    let mut some: Vec<Row> = Vec::new();
    loop {
        let next = rows.try_next().await.map_err(read)?;
        let is_over = next.is_none();
        some.extend(next);
        if !some.is_empty() && (is_over || (some.len() + 1) * width > VALUES) {
            copied += inserting(&insert, &some, width).map_err(read)?.execute(goal).await.map_err(written)?;
            some.clear();
        }
        if is_over {
            return Ok(copied);
        }
    }
}

/// One statement for some rows.
fn inserting<'r>(insert: &str, rows: &'r [Row], width: usize) -> Result<Query<'r>, sqlx::Error> {
    let mut sql = Builder::new(insert);
    for (n, row) in rows.iter().enumerate() {
        sql.push(if n == 0 { "(" } else { ", (" });
        for at in 0..width {
            if at > 0 {
                sql.push(", ");
            }
            match row.raw(at)? {
                // Not as a value: a value has a type, and nothing has none.
                Raw::Null => sql.push("null"),
                Raw::Int(value) => sql.push_bind(value),
                Raw::Text(value) => sql.push_bind(value),
                Raw::Bytes(value) => sql.push_bind(value),
                Raw::Real(_) => return Err(sqlx::Error::Decode("a number with a fraction, of which there are none".into())),
            };
        }
        sql.push(")");
    }
    Ok(sql.build())
}

/// The numbers that were given go over as well: none is given again.
async fn numbers(source: &mut Connection, goal: &mut Connection) -> Result<(), CopyError> {
    const IN_A_FILE: &str = "select coalesce((select seq from sqlite_sequence where name = $1), 0)";
    for table in ["changes", "outbox", "releases", "ledger_users", "ledger_groups", "seals"] {
        let given: i64 = match source {
            Connection::Postgres(_) if table != "seals" => {
                let mut last = Builder::new("select case when is_called then last_value else 0 end from ");
                last.push(table).push("_id_seq");
                last.build().fetch_one(source).await.and_then(|row| row.try_get(0)).map_err(read)?
            }
            _ => query_scalar(IN_A_FILE).bind(table).fetch_one(source).await.map_err(read)?,
        };
        let mut last = Builder::new("select coalesce(max(id), 0) from ");
        last.push(table);
        let last: i64 = last.build().fetch_one(goal).await.and_then(|row| row.try_get(0)).map_err(read)?;
        let given = given.max(last);
        let statements: &[&'static str] = match goal {
            Connection::Postgres(_) if table != "seals" => {
                &["select setval(pg_get_serial_sequence($1, 'id'), greatest($2, 1), $2 > 0)"]
            }
            // A row of ours for each table that has one; SQLite gives the others none.
            Connection::Sqlite(_) if table.starts_with("ledger") => &[],
            _ => &[
                "delete from sqlite_sequence where name = $1 and $2 >= 0",
                "insert into sqlite_sequence (name, seq) values ($1, $2)",
            ],
        };
        for statement in statements {
            query(statement).bind(table).bind(given).fetch_all(goal).await.map_err(written)?;
        }
    }
    Ok(())
}
