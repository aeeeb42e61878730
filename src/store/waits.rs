//! How much waits, counted where it lies: a row for each kind at each target comes out, however many there are.
//!
//! Each statement reads one narrow index and no row of a table, in the order in which it groups, so that it keeps nothing in
//! memory either. A test holds them to that.

use std::collections::BTreeMap;

use super::columns::{count, enumerated, text, time_if};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, query};
use crate::contract::journal::{JournalError, Waits};
use crate::model::key::{JobName, SystemName};

pub(super) const STAGED: &str =
    "select job, target, kind, count(*) as many, min(since) as oldest from staged group by job, target, kind";
pub(super) const RETRIES: &str = "select job, target, quarantined, count(*) as many, min(first_seen) as oldest from retries
    group by job, target, quarantined";
pub(super) const HELD: &str = "select job, target, count(*) as many from holds group by job, target";

type All = BTreeMap<(JobName, SystemName), Waits>;

/// All of it, as of one moment.
pub(super) async fn all(seats: &Seats) -> Result<All, JournalError> {
    const DOING: &str = "count what waits";
    let mut seat = seats.reader(DOING).await?;
    let mut transaction = seat.snapshot().await.map_err(failed(DOING))?;
    let waits = counted(&mut transaction).await.map_err(failed(DOING))?;
    transaction.rollback().await.map_err(failed(DOING))?;
    Ok(waits)
}

async fn counted(connection: &mut Connection) -> Result<All, sqlx::Error> {
    let mut all = All::new();
    for row in query(STAGED).fetch_all(connection).await? {
        let waits = all.entry((text(&row, "job")?.into(), text(&row, "target")?.into())).or_default();
        waits.staged.insert(enumerated(&row, "kind")?, count(&row, "many")?);
        let oldest = time_if(&row, "oldest")?;
        waits.staged_since = [waits.staged_since, oldest].into_iter().flatten().min();
    }
    for row in query(RETRIES).fetch_all(connection).await? {
        let waits = all.entry((text(&row, "job")?.into(), text(&row, "target")?.into())).or_default();
        if row.try_get::<i64>("quarantined")? != 0 {
            waits.quarantined = count(&row, "many")?;
        } else {
            (waits.retries, waits.failing_since) = (count(&row, "many")?, time_if(&row, "oldest")?);
        }
    }
    for row in query(HELD).fetch_all(connection).await? {
        let waits = all.entry((text(&row, "job")?.into(), text(&row, "target")?.into())).or_default();
        waits.held = count(&row, "many")?;
    }
    Ok(all)
}
