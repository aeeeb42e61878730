//! Rests: systems in quarantine. Whoever is put to rest ails until it is seen to answer.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::columns::{count, millis, text, time, time_if};
use super::failure::failed;
use super::seats::{Seats, immediate};
use crate::contract::journal::{JournalError, Rest};
use crate::model::key::SystemName;

pub(super) async fn all(seats: &Seats) -> Result<Vec<Rest>, JournalError> {
    const DOING: &str = "read which systems rest";
    let mut seat = seats.reader(DOING).await?;
    let rows = sqlx::query("select * from rests order by system").fetch_all(&mut *seat).await.map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

pub(super) async fn set(seats: &Seats, system: &SystemName, rest: Option<&Rest>) -> Result<(), JournalError> {
    const DOING: &str = "write the rest of a system";
    const BEGIN: &str = "insert into rests (system, since, cause, fault, failures, until)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (system) do update set since = excluded.since, cause = excluded.cause, fault = excluded.fault,
            failures = excluded.failures, until = excluded.until";
    const AIL: &str = "insert into ailing (system, since) values ($1, $2) on conflict (system) do nothing";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = immediate(&mut seat, DOING).await?;
    match rest {
        None => end(&mut transaction, system).await.map_err(failed(DOING))?,
        Some(Rest { system: _, since, cause, fault, failures, until }) => {
            let begin = sqlx::query(BEGIN)
                .bind(system.as_str())
                .bind(millis(*since))
                .bind(cause)
                .bind(fault)
                .bind(i64::from(*failures))
                .bind(until.map(millis));
            begin.execute(&mut *transaction).await.map_err(failed(DOING))?;
            let ail = sqlx::query(AIL).bind(system.as_str()).bind(millis(*since));
            ail.execute(&mut *transaction).await.map_err(failed(DOING))?;
        }
    }
    transaction.commit().await.map_err(failed(DOING))
}

/// Ends the rest of a system, if it rests.
pub(super) async fn end(connection: &mut SqliteConnection, system: &SystemName) -> Result<(), sqlx::Error> {
    sqlx::query("delete from rests where system = $1").bind(system.as_str()).execute(connection).await.map(drop)
}

fn record(row: &SqliteRow) -> Result<Rest, sqlx::Error> {
    Ok(Rest {
        system: text(row, "system")?.into(),
        since: time(row, "since")?,
        cause: text(row, "cause")?,
        fault: text(row, "fault")?,
        failures: count(row, "failures")?,
        until: time_if(row, "until")?,
    })
}
