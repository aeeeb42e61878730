//! What people release: the end of a rest, of a quarantine, of holds, together with who said so and why.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::chain::{self, Changes, release_columns};
use super::columns::{json, millis, text, text_if, time, value};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query};
use super::{decisions, rests, retries};
use crate::contract::journal::JournalError;
use crate::contract::verdict::{Hold, Release};
use crate::model::key::{JobName, SystemName, TargetKey};
use crate::model::retry::Retry;

pub(super) async fn release(seats: &Seats, release: &Release, holds: &[Hold], due: &[Retry]) -> Result<(), JournalError> {
    const DOING: &str = "release what a person named";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    write(&mut transaction, release, holds, due).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

async fn write(connection: &mut Connection, release: &Release, holds: &[Hold], due: &[Retry]) -> Result<(), sqlx::Error> {
    const KEEP: &str = concat!(
        "insert into releases (at, actor, reason, what, rest, holds, due) values ($1, $2, $3, $4, $5, $6, $7) returning ",
        release_columns!()
    );
    let mut users: BTreeMap<(&JobName, &SystemName), Vec<&TargetKey>> = BTreeMap::new();
    for hold in holds {
        users.entry((&hold.job, &hold.target)).or_default().push(&hold.user);
    }
    for ((job, target), users) in users {
        decisions::end_holds(connection, job, target, &users).await?;
    }
    retries::write(connection, due).await?;
    let Release { what, actor, reason, at, rest, holds, due } = release;
    if let Some(system) = rest {
        rests::end(connection, system).await?;
    }
    let written = query(KEEP)
        .bind(millis(*at))
        .bind(actor)
        .bind(reason)
        .bind(what)
        .bind(rest.as_ref().map(SystemName::as_str))
        .bind(json(holds))
        .bind(json(due))
        .fetch_all(connection)
        .await?;
    chain::released(connection, &Changes { written, ..Changes::default() }, millis(*at)).await
}

/// The newest first.
pub(super) async fn list(seats: &Seats, limit: u32) -> Result<Vec<Release>, JournalError> {
    const DOING: &str = "read what was released";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from releases order by id desc limit $1")
        .bind(i64::from(limit))
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

fn record(row: &Row) -> Result<Release, sqlx::Error> {
    Ok(Release {
        what: text(row, "what")?,
        actor: text(row, "actor")?,
        reason: text_if(row, "reason")?,
        at: time(row, "at")?,
        rest: text_if(row, "rest")?.map(Into::into),
        holds: value(row, "holds")?,
        due: value(row, "due")?,
    })
}

/// Deletes what was released before a time.
pub(super) async fn tidy(connection: &mut Connection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    const TIDY: &str = concat!("delete from releases where at < $1 returning ", release_columns!());
    let gone = query(TIDY).bind(millis(before)).fetch_all(connection).await?;
    // As with decisions that are past their time, it tells no time of its own.
    chain::let_be(connection, gone).await
}
