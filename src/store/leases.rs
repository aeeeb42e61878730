//! Leases: two processes on one store never do the same work at once.
//!
//! Taking one is a single statement, so that no moment lies between looking and taking. The generation is a fence: it
//! grows with each change of holder and never starts again, so that who holds an older one can be told from who holds now.
//!
//! One that has run out is lost, also to whoever had it: it is not renewed, and whoever comes back takes it under another name, as
//! anybody does. In a file it may be renewed a little late, unless somebody has taken it since.
//!
//! A lease runs out by one clock. Where processes share a machine that is the machine's; where they share a server, the
//! server's: no two machines agree on the time.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::columns::{millis, text};
use super::failure::failed;
use super::moved;
use super::seats::Seats;
use super::sql::{Connection, Row, query, query_scalar};
use crate::contract::journal::{DAEMON, JournalError, Lease, Standing};

/// So many milliseconds late a lease in a file may be renewed, if nobody has taken it since: each run is a holder of its own, and
/// whoever takes a lease changes its generation. A clock that is set, or a renewal that waits behind a long write, must end no run.
/// What slept for longer works by what it read long ago, and is to begin anew.
const LATE_IN_A_FILE: i64 = 5 * 60 * 1000;

/// The time by the store's own clock, if it has one.
pub(super) async fn time_there(connection: &mut Connection) -> Result<Option<i64>, sqlx::Error> {
    const TIME: &str = "select cast(extract(epoch from clock_timestamp()) * 1000 as bigint)";
    match connection {
        Connection::Sqlite(_) => Ok(None),
        Connection::Postgres(_) => query_scalar(TIME).fetch_one(connection).await.map(Some),
    }
}

async fn time(connection: &mut Connection, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    Ok(time_there(connection).await?.unwrap_or_else(|| millis(now)))
}

pub(super) async fn take(
    seats: &Seats,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: DateTime<Utc>,
) -> Result<Option<Lease>, JournalError> {
    const DOING: &str = "take a lease";
    if let Some(fence) = seats.fence() {
        fence.writes(DOING)?;
    }
    let mut seat = seats.watch(DOING).await?;
    let generation = take_with(&mut seat, name, holder, ttl, now).await.map_err(failed(DOING))?;
    if generation.is_none() {
        moved::refuse(&mut seat, DOING).await?;
    }
    Ok(generation.map(|generation| Lease { name: name.to_owned(), holder: holder.to_owned(), generation }))
}

async fn take_with(
    connection: &mut Connection,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: DateTime<Utc>,
) -> Result<Option<i64>, sqlx::Error> {
    // Apart from a takeover, since it writes no key: a write of the holder's that is under way does not keep it waiting.
    const RENEW: &str = "update leases set until = $3 where name = $1 and holder = $2 and until > $4
        and not exists (select 1 from moved) returning generation";
    const TAKE: &str = "insert into leases (name, holder, generation, until) select $1, $2, 1, $3
        where not exists (select 1 from moved)
        on conflict (name) do update set holder = excluded.holder, until = excluded.until, generation = leases.generation + 1
        where leases.until <= $4 and leases.holder <> excluded.holder
        returning generation";
    let now = time(connection, now).await?;
    let until = now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let late = match connection {
        Connection::Sqlite(_) => now.saturating_sub(LATE_IN_A_FILE),
        Connection::Postgres(_) => now,
    };
    let renewed = query_scalar(RENEW).bind(name).bind(holder).bind(until).bind(late).fetch_optional(connection).await?;
    if renewed.is_some() {
        return Ok(renewed);
    }
    query_scalar(TAKE).bind(name).bind(holder).bind(until).bind(now).fetch_optional(connection).await
}

/// Who has the name, whether or not the time has run out.
pub(super) async fn look(seats: &Seats, name: &str) -> Result<Option<Lease>, JournalError> {
    const DOING: &str = "look at a lease";
    let mut seat = seats.reader(DOING).await?;
    look_with(&mut seat, name).await.map_err(failed(DOING))
}

pub(super) async fn look_with(connection: &mut Connection, name: &str) -> Result<Option<Lease>, sqlx::Error> {
    const LOOK: &str = "select name, holder, generation from leases where name = $1 and holder <> ''";
    query(LOOK).bind(name).fetch_optional(connection).await?.as_ref().map(lease).transpose()
}

/// All that somebody has, by name.
pub(super) async fn all(seats: &Seats, now: DateTime<Utc>) -> Result<Vec<Standing>, JournalError> {
    const DOING: &str = "look at the leases";
    const ALL: &str = "select name, holder, generation, until from leases where holder <> '' order by name";
    let mut seat = seats.reader(DOING).await?;
    let now = time(&mut seat, now).await.map_err(failed(DOING))?;
    let rows = query(ALL).fetch_all(&mut seat).await.map_err(failed(DOING))?;
    let standing = |row: &Row| Ok(Standing { lease: lease(row)?, has_run_out: row.try_get::<i64>("until")? <= now });
    rows.iter().map(standing).collect::<Result<_, sqlx::Error>>().map_err(failed(DOING))
}

/// A lease as its row has it.
pub(super) fn lease(row: &Row) -> Result<Lease, sqlx::Error> {
    Ok(Lease { name: text(row, "name")?, holder: text(row, "holder")?, generation: row.try_get("generation")? })
}

/// Frees the name, unless somebody else has taken it meanwhile.
pub(super) async fn give_back(seats: &Seats, lease: &Lease) -> Result<(), JournalError> {
    const DOING: &str = "give a lease back";
    // The row stays, held by nobody. Not so the one of a daemon's sign of life, whose name nobody takes again.
    const FREE: &str = "update leases set holder = '', until = 0 where name = $1 and holder = $2 and generation = $3";
    const GONE: &str = "delete from leases where name = $1 and holder = $2 and generation = $3";
    let mut seat = seats.watch(DOING).await?;
    let free = if lease.name.starts_with(DAEMON) { GONE } else { FREE };
    let freed = query(free).bind(&lease.name).bind(&lease.holder).bind(lease.generation).execute(&mut seat).await;
    freed.map(drop).map_err(failed(DOING))
}

/// Deletes the signs of life of daemons that died without a word before a time.
pub(super) async fn tidy(connection: &mut Connection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    const TIDY: &str = "delete from leases where substr(name, 1, length($1)) = $1 and until < $2";
    query(TIDY).bind(DAEMON).bind(millis(before)).execute(connection).await.map(drop)
}
