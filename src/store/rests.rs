//! Rests: systems in quarantine. Whoever is put to rest ails until it is seen to answer.

use super::columns::{count, millis, text, time, time_if};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Row, query};
use crate::contract::journal::{JournalError, Rest};
use crate::model::key::SystemName;

pub(super) async fn all(seats: &Seats) -> Result<Vec<Rest>, JournalError> {
    const DOING: &str = "read which systems rest";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from rests order by system").fetch_all(&mut seat).await.map_err(failed(DOING))?;
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
    let mut transaction = seat.writing().await?;
    let statement = match rest {
        None => query("delete from rests where system = $1").bind(system.as_str()),
        Some(Rest { system: _, since, cause, fault, failures, until }) => query(BEGIN)
            .bind(system.as_str())
            .bind(millis(*since))
            .bind(cause)
            .bind(fault)
            .bind(i64::from(*failures))
            .bind(until.map(millis)),
    };
    statement.execute(&mut transaction).await.map_err(failed(DOING))?;
    if let Some(rest) = rest {
        let ail = query(AIL).bind(system.as_str()).bind(millis(rest.since));
        ail.execute(&mut transaction).await.map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}

fn record(row: &Row) -> Result<Rest, sqlx::Error> {
    Ok(Rest {
        system: text(row, "system")?.into(),
        since: time(row, "since")?,
        cause: text(row, "cause")?,
        fault: text(row, "fault")?,
        failures: count(row, "failures")?,
        until: time_if(row, "until")?,
    })
}
