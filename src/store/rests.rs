//! Rests: systems in quarantine. Whoever is put to rest ails until it is seen to answer.
//!
//! A row remembers which credentials the system refused, and outlives the rest for that: it counts no failure then. Those are
//! marks of a few bits, by which a credential can be told from another and not be found.

use super::columns::{count, millis, text, text_if, time, time_if};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query};
use crate::contract::fault::Fault;
use crate::contract::journal::{JournalError, Refused, Rest};
use crate::model::key::SystemName;

/// How many refused credentials of a system are remembered: more than daemons have different ones.
const REMEMBERED: usize = 16;

pub(super) async fn all(seats: &Seats) -> Result<Vec<Rest>, JournalError> {
    const DOING: &str = "read which systems rest";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from rests where failures > 0 order by system").fetch_all(&mut seat).await;
    rows.map_err(failed(DOING))?.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

pub(super) async fn refused(seats: &Seats) -> Result<Vec<Refused>, JournalError> {
    const DOING: &str = "read which credentials were refused";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from rests where fingerprint is not null order by system").fetch_all(&mut seat).await;
    let mut refused = Vec::new();
    for row in &rows.map_err(failed(DOING))? {
        let system: SystemName = text(row, "system").map_err(failed(DOING))?.into();
        let marks = marks(row).map_err(failed(DOING))?;
        refused.extend(marks.into_iter().map(|credential| Refused { system: system.clone(), credential }));
    }
    Ok(refused)
}

pub(super) async fn set(seats: &Seats, system: &SystemName, rest: Option<&Rest>) -> Result<(), JournalError> {
    const DOING: &str = "write the rest of a system";
    const KNOWN: &str = "select * from rests where system = $1";
    const BEGIN: &str = "insert into rests (system, since, cause, fault, failures, until, fingerprint)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (system) do update set since = excluded.since, cause = excluded.cause, fault = excluded.fault,
            failures = excluded.failures, until = excluded.until, fingerprint = excluded.fingerprint";
    const END: &str = "delete from rests where system = $1 and fingerprint is null";
    const END_ALONE: &str = "update rests set failures = 0, until = since where system = $1";
    const AIL: &str = "insert into ailing (system, since) values ($1, $2) on conflict (system) do nothing";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let Some(Rest { system: _, since, cause, fault, failures, until, credential }) = rest else {
        for end in [END, END_ALONE] {
            query(end).bind(system.as_str()).execute(&mut transaction).await.map_err(failed(DOING))?;
        }
        return transaction.commit().await.map_err(failed(DOING));
    };
    let known = query(KNOWN).bind(system.as_str()).fetch_optional(&mut transaction).await.map_err(failed(DOING))?;
    let mut refused = known.as_ref().map(marks).transpose().map_err(failed(DOING))?.unwrap_or_default();
    if let Some(mark) = credential {
        refused.retain(|known| known != mark);
        refused.push(mark.clone());
        refused.drain(..refused.len().saturating_sub(REMEMBERED));
    }
    let begin = query(BEGIN)
        .bind(system.as_str())
        .bind(millis(*since))
        .bind(cause)
        .bind(fault)
        .bind(i64::from(*failures))
        .bind(until.map(millis))
        .bind((!refused.is_empty()).then(|| refused.join(" ")));
    begin.execute(&mut transaction).await.map_err(failed(DOING))?;
    let ail = query(AIL).bind(system.as_str()).bind(millis(*since));
    ail.execute(&mut transaction).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

/// Ends the rest of a system, and forgets which credentials it refused.
pub(super) async fn end(connection: &mut Connection, system: &SystemName) -> Result<u64, sqlx::Error> {
    query("delete from rests where system = $1").bind(system.as_str()).execute(connection).await
}

pub(super) async fn forgive(seats: &Seats, system: &SystemName) -> Result<bool, JournalError> {
    const DOING: &str = "forget that a system refused";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let gone = end(&mut transaction, system).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))?;
    Ok(gone > 0)
}

/// The marks of refused credentials, the last one last.
fn marks(row: &Row) -> Result<Vec<String>, sqlx::Error> {
    let marks = text_if(row, "fingerprint")?.unwrap_or_default();
    Ok(marks.split_whitespace().map(str::to_owned).collect())
}

fn record(row: &Row) -> Result<Rest, sqlx::Error> {
    let fault = text(row, "fault")?;
    let credential = if fault == Fault::Refused.word() { marks(row)?.pop() } else { None };
    Ok(Rest {
        system: text(row, "system")?.into(),
        since: time(row, "since")?,
        cause: text(row, "cause")?,
        fault,
        failures: count(row, "failures")?,
        until: time_if(row, "until")?,
        credential,
    })
}
