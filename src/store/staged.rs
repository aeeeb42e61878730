//! Removals that wait for a person.

use serde_json::json as row;

use super::columns::{BATCH, enumerated, json, latest, millis, text, text_if, time, value};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query, query_scalar};
use crate::contract::journal::{JournalError, Staged};
use crate::model::key::{JobName, SystemName, fold};

/// Replaces the set of one job at one target. A removal is the same as before by its kind, user and group: then it waits
/// since it was first staged, whatever plan it stands in now.
pub(super) async fn replace(seats: &Seats, job: &JobName, target: &SystemName, staged: &[Staged]) -> Result<(), JournalError> {
    const DOING: &str = "write the staged removals";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    write(&mut transaction, job, target, staged).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

async fn write(connection: &mut Connection, job: &JobName, target: &SystemName, staged: &[Staged]) -> Result<(), sqlx::Error> {
    const STAMP: &str = "select coalesce(max(stamp), 0) + 1 from staged where job = $1 and target = $2";
    const STAGE: &str = "insert into staged (job, target, stamp, kind, user_key, group_key, plan, source, user_name,
            group_name, because, held_by, since, mark)
        select $1, $2, $3, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, cast(value ->> 9 as bigint), value ->> 10
        from json_each($4) where true
        on conflict (job, target, kind, user_key, group_key) do update set stamp = excluded.stamp, plan = excluded.plan,
            source = excluded.source, user_name = excluded.user_name, group_name = excluded.group_name,
            because = excluded.because, held_by = excluded.held_by, mark = excluded.mark";
    const DROP: &str = "delete from staged where job = $1 and target = $2 and stamp <> $3";
    let stamp: i64 = query_scalar(STAMP).bind(job.as_str()).bind(target.as_str()).fetch_one(&mut *connection).await?;
    for batch in staged.chunks(BATCH) {
        let same = |s: &Staged| (s.kind, s.user.clone(), s.group.as_deref().map(fold));
        let rows: Vec<_> = latest(batch, same).map(staged_row).collect();
        query(STAGE).bind(job.as_str()).bind(target.as_str()).bind(stamp).bind(json(&rows)).execute(&mut *connection).await?;
    }
    query(DROP).bind(job.as_str()).bind(target.as_str()).bind(stamp).execute(connection).await?;
    Ok(())
}

fn staged_row(staged: &Staged) -> serde_json::Value {
    let Staged { job: _, target: _, plan, mark, kind, source, user, user_name, group, because, held_by, since } = staged;
    // No group has an empty name, so that the empty text can stand for none: a key column is never null.
    let group_key = group.as_deref().map(fold).unwrap_or_default();
    row!([kind.word(), user, group_key, plan, source, user_name, group, json(because), json(held_by), millis(*since), mark])
}

/// All of them, by job, target, kind, group and user.
pub(super) async fn all(seats: &Seats) -> Result<Vec<Staged>, JournalError> {
    const DOING: &str = "read the staged removals";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from staged order by job, target, group_key, user_name, user_key")
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    let mut staged: Vec<Staged> = rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))?;
    // Kinds in the order of a plan, which their words do not have.
    staged.sort_by(|a, b| (&a.job, &a.target, a.kind).cmp(&(&b.job, &b.target, b.kind)));
    Ok(staged)
}

fn record(row: &Row) -> Result<Staged, sqlx::Error> {
    Ok(Staged {
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        plan: text(row, "plan")?.into(),
        mark: text(row, "mark")?,
        kind: enumerated(row, "kind")?,
        source: text_if(row, "source")?.map(Into::into),
        user: text(row, "user_key")?.into(),
        user_name: text(row, "user_name")?.into(),
        group: text_if(row, "group_name")?.map(Into::into),
        because: value(row, "because")?,
        held_by: value(row, "held_by")?,
        since: time(row, "since")?,
    })
}
