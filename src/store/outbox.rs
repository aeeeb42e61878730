//! The outbox: what waits to be told by webhook, and the systems of which a recovery is still to be told.

use serde_json::json as row;

use chrono::{DateTime, Utc};

use super::columns::{BATCH, count, json, millis, text, time, value};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query};
use crate::contract::journal::JournalError;
use crate::contract::notice::{Ailing, Note, NoteId, Notice};
use crate::model::key::SystemName;

pub(super) async fn post(seats: &Seats, notices: &[Notice]) -> Result<(), JournalError> {
    const DOING: &str = "post notices";
    if notices.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    write(&mut transaction, notices).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

pub(super) async fn write(connection: &mut Connection, notices: &[Notice]) -> Result<(), sqlx::Error> {
    const POST: &str = "insert into outbox (hook, event, at, attempts, not_before)
        select value ->> 0, value ->> 1, cast(value ->> 2 as bigint), 0, cast(value ->> 2 as bigint) from json_each($1) order by key";
    for batch in notices.chunks(BATCH) {
        let rows: Vec<_> = batch.iter().map(|n| row!([n.hook, json(&n.event), millis(n.at)])).collect();
        query(POST).bind(json(&rows)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Of each webhook the oldest notice, if its time has come: the next one waits for it.
pub(super) async fn due(seats: &Seats, now: DateTime<Utc>) -> Result<Vec<Note>, JournalError> {
    const DOING: &str = "read the outbox";
    const DUE: &str = "select * from outbox where id in (select min(id) from outbox group by hook) and not_before <= $1
        order by id";
    let mut seat = seats.reader(DOING).await?;
    let rows = query(DUE).bind(millis(now)).fetch_all(&mut seat).await.map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

fn record(row: &Row) -> Result<Note, sqlx::Error> {
    let notice = Notice { hook: text(row, "hook")?, event: value(row, "event")?, at: time(row, "at")? };
    Ok(Note { id: NoteId(row.try_get("id")?), notice, attempts: count(row, "attempts")? })
}

pub(super) async fn done(seats: &Seats, note: NoteId) -> Result<(), JournalError> {
    const DOING: &str = "take a notice out of the outbox";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let done = query("delete from outbox where id = $1").bind(note.0).execute(&mut transaction);
    done.await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

pub(super) async fn later(seats: &Seats, note: NoteId, attempts: u32, not_before: DateTime<Utc>) -> Result<(), JournalError> {
    const DOING: &str = "put a notice off";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    query("update outbox set attempts = $2, not_before = $3 where id = $1")
        .bind(note.0)
        .bind(i64::from(attempts))
        .bind(millis(not_before))
        .execute(&mut transaction)
        .await
        .map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

/// Deletes notices from before a time: where no daemon runs, nobody delivers them.
pub(super) async fn tidy(connection: &mut Connection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    query("delete from outbox where at < $1").bind(millis(before)).execute(connection).await?;
    Ok(())
}

pub(super) async fn ailing(seats: &Seats) -> Result<Vec<Ailing>, JournalError> {
    const DOING: &str = "read which systems have failed";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from ailing order by system").fetch_all(&mut seat).await.map_err(failed(DOING))?;
    let record = |row: &Row| Ok(Ailing { system: text(row, "system")?.into(), since: time(row, "since")? });
    rows.iter().map(record).collect::<Result<_, sqlx::Error>>().map_err(failed(DOING))
}

pub(super) async fn heal(seats: &Seats, system: &SystemName, notices: &[Notice]) -> Result<(), JournalError> {
    const DOING: &str = "write that a system answers again";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let struck = query("delete from ailing where system = $1")
        .bind(system.as_str())
        .execute(&mut transaction)
        .await
        .map_err(failed(DOING))?;
    // Another run may have seen it first: one of them tells.
    if struck > 0 {
        write(&mut transaction, notices).await.map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}
