//! The retry queue, and the quarantine of subjects at its end.

use serde_json::json as row;

use super::columns::{BATCH, count, json, latest, millis, text, text_if, time};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query};
use crate::contract::journal::JournalError;
use crate::model::key::{JobName, SourceKey, SystemName};
use crate::model::retry::{Retry, Subject};

const USER: &str = "user";
const EVERYTHING: &str = "everything";

/// A subject as its two columns hold it.
fn columns(subject: &Subject) -> (&'static str, &str) {
    match subject {
        Subject::User(key) => (USER, key.as_str()),
        Subject::Everything => (EVERYTHING, ""),
    }
}

pub(super) async fn enqueue(seats: &Seats, retries: &[Retry]) -> Result<(), JournalError> {
    const DOING: &str = "write the retry queue";
    if retries.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    write(&mut transaction, retries).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

/// Writes entries, replacing those of the same subjects.
pub(super) async fn write(connection: &mut Connection, retries: &[Retry]) -> Result<(), sqlx::Error> {
    const ENQUEUE: &str = "insert into retries
            (job, target, subject, subject_key, attempts, first_seen, not_before, cause, quarantined, user_name)
        select value ->> 0, value ->> 1, value ->> 2, value ->> 3, cast(value ->> 4 as bigint), cast(value ->> 5 as bigint),
            cast(value ->> 6 as bigint), value ->> 7, cast(value ->> 8 as bigint), value ->> 9
        from json_each($1) where true
        on conflict (job, target, subject, subject_key) do update set attempts = excluded.attempts,
            first_seen = excluded.first_seen, not_before = excluded.not_before, cause = excluded.cause,
            quarantined = excluded.quarantined, user_name = excluded.user_name";
    for batch in retries.chunks(BATCH) {
        let same = |r: &Retry| (r.job.clone(), r.target.clone(), r.subject.clone());
        let rows: Vec<_> = latest(batch, same).map(retry_row).collect();
        query(ENQUEUE).bind(json(&rows)).execute(connection).await?;
    }
    Ok(())
}

fn retry_row(retry: &Retry) -> serde_json::Value {
    let Retry { job, target, subject, attempts, first_seen, not_before, cause, quarantined, user_name } = retry;
    let (subject, key) = columns(subject);
    let (seen, due) = (millis(*first_seen), millis(*not_before));
    row!([job, target, subject, key, attempts, seen, due, cause, i64::from(*quarantined), user_name])
}

pub(super) async fn dequeue(seats: &Seats, job: &JobName, target: &SystemName, subjects: &[Subject]) -> Result<(), JournalError> {
    const DOING: &str = "drop entries of the retry queue";
    const DEQUEUE: &str = "delete from retries where job = $1 and target = $2
        and (subject, subject_key) in (select value ->> 0, value ->> 1 from json_each($3))";
    if subjects.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    for batch in subjects.chunks(BATCH) {
        let rows: Vec<_> = batch.iter().map(columns).collect();
        query(DEQUEUE)
            .bind(job.as_str())
            .bind(target.as_str())
            .bind(json(&rows))
            .execute(&mut transaction)
            .await
            .map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}

pub(super) async fn all(seats: &Seats) -> Result<Vec<Retry>, JournalError> {
    const DOING: &str = "read the retry queue";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from retries order by not_before, job, target, subject, subject_key")
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

fn record(row: &Row) -> Result<Retry, sqlx::Error> {
    let unknown = |word: &str| sqlx::Error::ColumnDecode {
        index: "subject".to_owned(),
        source: format!("\"{word}\" is no kind of subject").into(),
    };
    let subject = match text(row, "subject")?.as_str() {
        USER => Subject::User(SourceKey::from(text(row, "subject_key")?)),
        EVERYTHING => Subject::Everything,
        other => return Err(unknown(other)),
    };
    Ok(Retry {
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        subject,
        attempts: count(row, "attempts")?,
        first_seen: time(row, "first_seen")?,
        not_before: time(row, "not_before")?,
        cause: text(row, "cause")?,
        quarantined: row.try_get::<i64>("quarantined")? != 0,
        user_name: text_if(row, "user_name")?.map(Into::into),
    })
}
