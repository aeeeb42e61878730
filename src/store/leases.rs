//! Leases: two processes on one file never do the same work at once.
//!
//! Taking one is a single statement, so that no moment lies between looking and taking. The generation is a fence: it
//! grows with each change of holder and never starts again, so that who holds an older one can be told from who holds now.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::columns::millis;
use super::failure::failed;
use super::seats::Seats;
use crate::contract::journal::{JournalError, Lease};

pub(super) async fn take(
    seats: &Seats,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: DateTime<Utc>,
) -> Result<Option<Lease>, JournalError> {
    const DOING: &str = "take a lease";
    const TAKE: &str = "insert into leases (name, holder, generation, until) values ($1, $2, 1, $3)
        on conflict (name) do update set holder = excluded.holder, until = excluded.until,
            generation = leases.generation + case when leases.holder = excluded.holder then 0 else 1 end
        where leases.holder = excluded.holder or leases.until <= $4
        returning generation";
    let until = millis(now).saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let mut seat = seats.writer(DOING).await?;
    let generation: Option<i64> = sqlx::query_scalar(TAKE)
        .bind(name)
        .bind(holder)
        .bind(until)
        .bind(millis(now))
        .fetch_optional(&mut *seat)
        .await
        .map_err(failed(DOING))?;
    let until = at(until);
    Ok(generation.map(|generation| Lease { name: name.to_owned(), holder: holder.to_owned(), generation, until }))
}

/// Who has the name, whether or not the time has run out.
pub(super) async fn look(seats: &Seats, name: &str) -> Result<Option<Lease>, JournalError> {
    const DOING: &str = "look at a lease";
    const LOOK: &str = "select holder, generation, until from leases where name = $1 and holder <> ''";
    let mut seat = seats.reader(DOING).await?;
    let row: Option<(String, i64, i64)> =
        sqlx::query_as(LOOK).bind(name).fetch_optional(&mut *seat).await.map_err(failed(DOING))?;
    Ok(row.map(|(holder, generation, until)| Lease { name: name.to_owned(), holder, generation, until: at(until) }))
}

fn at(until: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(until).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Frees the name, unless somebody else has taken it meanwhile.
pub(super) async fn give_back(seats: &Seats, lease: &Lease) -> Result<(), JournalError> {
    const DOING: &str = "give a lease back";
    // The row stays, held by nobody.
    const FREE: &str = "update leases set holder = '', until = 0 where name = $1 and holder = $2 and generation = $3";
    let mut seat = seats.writer(DOING).await?;
    sqlx::query(FREE)
        .bind(&lease.name)
        .bind(&lease.holder)
        .bind(lease.generation)
        .execute(&mut *seat)
        .await
        .map_err(failed(DOING))?;
    Ok(())
}
