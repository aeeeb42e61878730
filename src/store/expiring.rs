//! When credentials expire, and whether that was told.

use super::columns::{millis, text, time};
use super::failure::failed;
use super::outbox;
use super::seats::Seats;
use super::sql::{Row, query};
use crate::contract::journal::JournalError;
use crate::contract::notice::{Expiring, Notice};
use crate::model::key::SystemName;

pub(super) async fn all(seats: &Seats) -> Result<Vec<Expiring>, JournalError> {
    const DOING: &str = "read when credentials expire";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from expiring order by system").fetch_all(&mut seat).await.map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

fn record(row: &Row) -> Result<Expiring, sqlx::Error> {
    let told: i64 = row.try_get("told")?;
    Ok(Expiring { system: text(row, "system")?.into(), at: time(row, "at")?, told: told != 0 })
}

pub(super) async fn set(
    seats: &Seats,
    system: &SystemName,
    expiring: Option<&Expiring>,
    notices: &[Notice],
) -> Result<(), JournalError> {
    const DOING: &str = "write when a credential expires";
    const WRITE: &str = "insert into expiring (system, at, told) values ($1, $2, $3)
        on conflict (system) do update set at = excluded.at, told = excluded.told
            where expiring.at <> excluded.at or expiring.told <> excluded.told";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let statement = match expiring {
        None => query("delete from expiring where system = $1").bind(system.as_str()),
        Some(Expiring { system: _, at, told }) => query(WRITE).bind(system.as_str()).bind(millis(*at)).bind(i64::from(*told)),
    };
    let written = statement.execute(&mut transaction).await.map_err(failed(DOING))?;
    // Another run may have seen it first: one of them tells.
    if written > 0 {
        outbox::write(&mut transaction, notices).await.map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}
