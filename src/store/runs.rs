//! Runs: their beginnings and ends, what is asked about them, and their pruning.

use chrono::{DateTime, Utc};

use super::chain::{self, What, begun_columns, ended_columns};
use super::columns::{count, count_if, enum_if, fired, json, millis, signed, text, text_if, time, time_if, value};
use super::failure::{failed, refused};
use super::seats::Seats;
use super::sql::{Connection, Row, query, query_scalar};
use super::{decisions, leases, ledger, outbox, releases};
use crate::contract::chain::Head;
use crate::contract::journal::{Ended, Fired, Freshness, JournalError, RunEnd, RunQuery, RunRecord, RunStart, STOPPED, Sizes};
use crate::model::key::{JobName, RunId, SystemName};

/// That a run is one over everything: neither a retry nor an undo, whoever asked for it.
macro_rules! is_whole {
    () => {
        "not (fired_by in ('retry', 'undo') or fired_by like 'retry %' or fired_by like 'undo %')"
    };
}

/// How many runs one transaction prunes: other writers wait no longer than that takes.
const SLICE: i64 = 50;

pub(super) async fn begin(seats: &Seats, start: &RunStart) -> Result<(), JournalError> {
    const DOING: &str = "write the beginning of a run";
    const BEGIN: &str = concat!(
        "insert into runs (id, job, target, fired_by, began_at) values ($1, $2, $3, $4, $5) returning ",
        begun_columns!()
    );
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let row = query(BEGIN)
        .bind(start.id.as_str())
        .bind(start.job.as_str())
        .bind(start.target.as_str())
        .bind(Fired { trigger: start.trigger, by: start.by.clone() }.text())
        .bind(millis(start.at))
        .fetch_one(&mut transaction)
        .await
        .map_err(failed(DOING))?;
    chain::run(&mut transaction, What::Begun, &row, millis(start.at)).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

pub(super) async fn end(seats: &Seats, run: &RunId, end: &RunEnd) -> Result<Head, JournalError> {
    const DOING: &str = "write the end of a run";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let written = write_end(&mut transaction, run, end).await.map_err(failed(DOING))?;
    if written.is_none() {
        let known: i64 = query_scalar("select count(*) from runs where id = $1")
            .bind(run.as_str())
            .fetch_one(&mut transaction)
            .await
            .map_err(failed(DOING))?;
        if known == 0 {
            return Err(refused(DOING, format!("the run {run} never began")));
        }
    }
    let head = match written {
        Some(head) => head,
        None => chain::head_of(&mut transaction).await.map_err(failed(DOING))?,
    };
    transaction.commit().await.map_err(failed(DOING))?;
    Ok(head)
}

/// Writes an end, with its entry in the chain; `None` if the run is not there or has another end already. An end that recovery wrote gives way to the
/// one that the run itself tells: it knows better.
pub(super) async fn write_end(connection: &mut Connection, run: &RunId, end: &RunEnd) -> Result<Option<Head>, sqlx::Error> {
    const END: &str = concat!(
        "update runs set ended = $2, ended_at = $3, plan = $4, planned = $5, done = $6, failed = $7,
            staged = $8, requests = $9, messages = $10, size_users = $11, size_groups = $12, size_memberships = $13
        where id = $1 and (ended is null or ended = 'interrupted') returning ",
        ended_columns!()
    );
    let RunEnd { ended, at, plan, planned, done, failed, staged, requests, messages, sizes } = end;
    let written = query(END)
        .bind(run.as_str())
        .bind(ended.word())
        .bind(millis(*at))
        .bind(plan.as_ref().map(|p| p.as_str()))
        .bind(json(planned))
        .bind(json(done))
        .bind(signed(*failed))
        .bind(signed(*staged))
        .bind(signed(*requests))
        .bind(json(messages))
        .bind(sizes.map(|s| signed(s.users)))
        .bind(sizes.map(|s| signed(s.groups)))
        .bind(sizes.map(|s| signed(s.memberships)))
        .fetch_optional(&mut *connection)
        .await?;
    match written {
        Some(row) => chain::run(connection, What::Ended, &row, millis(*at)).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn list(seats: &Seats, wanted: &RunQuery) -> Result<Vec<RunRecord>, JournalError> {
    const DOING: &str = "list the runs";
    const LIST: &str = concat!(
        "select * from runs where ($1 is null or job = $1) and ($2 is null or target = $2)
        and ($4 is null or (began_at, id) < (select began_at, id from runs where id = $4))
        and ($5 = 0 or ",
        is_whole!(),
        ") order by began_at desc, id desc limit $3"
    );
    let mut seat = seats.reader(DOING).await?;
    let rows = query(LIST)
        .bind(wanted.job.as_ref().map(JobName::as_str))
        .bind(wanted.target.as_ref().map(SystemName::as_str))
        .bind(i64::from(wanted.limit))
        .bind(wanted.beyond.as_ref().map(RunId::as_str))
        .bind(i64::from(wanted.whole))
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

pub(super) async fn find(seats: &Seats, id: &str) -> Result<Option<RunRecord>, JournalError> {
    const DOING: &str = "find the run";
    const FIND: &str = "select * from runs where id >= $1 and substr(id, 1, length($1)) = $1 order by id limit 3";
    if id.is_empty() {
        return Ok(None);
    }
    let mut seat = seats.reader(DOING).await?;
    let rows = query(FIND).bind(id).fetch_all(&mut seat).await.map_err(failed(DOING))?;
    let mut found: Vec<RunRecord> = rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))?;
    // The whole id sorts before every id that it begins.
    let exact = found.first().is_some_and(|run| run.start.id.as_str() == id);
    if found.len() > 1 && !exact {
        let ids: Vec<&str> = found.iter().map(|run| run.start.id.as_str()).collect();
        return Err(refused(DOING, format!("\"{id}\" begins the ids of several runs: give more of {}", ids.join(" or "))));
    }
    Ok((!found.is_empty()).then(|| found.swap_remove(0)))
}

pub(super) async fn last_began(seats: &Seats, job: &JobName) -> Result<Option<DateTime<Utc>>, JournalError> {
    const DOING: &str = "find when a job ran last";
    const LAST: &str = concat!("select max(began_at) as began_at from runs where job = $1 and ", is_whole!());
    let mut seat = seats.reader(DOING).await?;
    let row = query(LAST).bind(job.as_str()).fetch_one(&mut seat).await.map_err(failed(DOING))?;
    time_if(&row, "began_at").map_err(failed(DOING))
}

/// Whether it is complete is told as by [`RunEnd::is_complete`]. The index gives the newest first, and the oldest.
pub(super) async fn freshness(seats: &Seats, job: &JobName, target: &SystemName) -> Result<Freshness, JournalError> {
    const DOING: &str = "find the last complete run";
    const FIND: &str = "select
        (select ended_at from runs where job = $1 and target = $2 and size_users is not null and (
                ended in ('converged', 'applied', 'staged', 'observed')
                or ended = 'partial' and coalesce(substr(messages, 1, length($3) + 2), '') <> '[\"' || $3)
            order by began_at desc, id desc limit 1) as complete,
        (select min(began_at) from runs where job = $1 and target = $2) as first";
    let mut seat = seats.reader(DOING).await?;
    let row =
        query(FIND).bind(job.as_str()).bind(target.as_str()).bind(STOPPED).fetch_one(&mut seat).await.map_err(failed(DOING))?;
    let of = |column| time_if(&row, column).map_err(failed(DOING));
    Ok(Freshness { complete: of("complete")?, first: of("first")? })
}

pub(super) async fn sizes(seats: &Seats, job: &JobName, target: &SystemName) -> Result<Option<Sizes>, JournalError> {
    const DOING: &str = "read the sizes of the last trusted run";
    const LAST: &str = "select size_users, size_groups, size_memberships from runs
        where job = $1 and target = $2 and size_users is not null order by began_at desc, id desc limit 1";
    let mut seat = seats.reader(DOING).await?;
    let row = query(LAST).bind(job.as_str()).bind(target.as_str()).fetch_optional(&mut seat).await.map_err(failed(DOING))?;
    row.as_ref().map_or(Ok(None), sizes_of).map_err(failed(DOING))
}

/// Deletes in slices, each its own transaction. The newest run with sizes is what the health gate compares with, and the
/// newest beginning is what tells a missed run: both outlive their time.
pub(super) async fn prune(seats: &Seats, before: DateTime<Utc>) -> Result<u64, JournalError> {
    const DOING: &str = "prune old runs";
    const PRUNE: &str = concat!(
        "delete from runs where id in (
        select id from runs as old where ended_at < $1
        and id <> coalesce((select id from runs where job = old.job and target = old.target and size_users is not null
            order by began_at desc, id desc limit 1), '')
        and id <> coalesce((select id from runs where job = old.job and ",
        is_whole!(),
        " order by began_at desc, id desc limit 1), '')
        limit $2) returning id"
    );
    let mut pruned = 0;
    loop {
        let mut seat = seats.writer(DOING).await?;
        let mut transaction = seat.writing().await?;
        let slice: Vec<String> =
            query_scalar(PRUNE).bind(millis(before)).bind(SLICE).fetch_all(&mut transaction).await.map_err(failed(DOING))?;
        if slice.is_empty() {
            tidy(&mut transaction, before).await.map_err(failed(DOING))?;
            transaction.commit().await.map_err(failed(DOING))?;
            return Ok(pruned);
        }
        pruned += slice.len() as u64;
        chain::pruned(&mut transaction, slice).await.map_err(failed(DOING))?;
        transaction.commit().await.map_err(failed(DOING))?;
    }
}

/// What goes with the runs of its time.
async fn tidy(connection: &mut Connection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    ledger::tidy(connection).await?;
    decisions::tidy(connection, before).await?;
    releases::tidy(connection, before).await?;
    outbox::tidy(connection, before).await?;
    leases::tidy(connection, before).await?;
    chain::fold(connection, millis(before)).await
}

fn record(row: &Row) -> Result<RunRecord, sqlx::Error> {
    let Fired { trigger, by } = fired(row)?;
    let start = RunStart {
        id: text(row, "id")?.into(),
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        trigger,
        by,
        at: time(row, "began_at")?,
    };
    let Some(ended) = enum_if::<Ended>(row, "ended")? else { return Ok(RunRecord { start, end: None }) };
    let end = RunEnd {
        ended,
        at: time(row, "ended_at")?,
        plan: text_if(row, "plan")?.map(Into::into),
        planned: value(row, "planned")?,
        done: value(row, "done")?,
        failed: count(row, "failed")?,
        staged: count(row, "staged")?,
        requests: count(row, "requests")?,
        messages: value(row, "messages")?,
        sizes: sizes_of(row)?,
    };
    Ok(RunRecord { start, end: Some(end) })
}

fn sizes_of(row: &Row) -> Result<Option<Sizes>, sqlx::Error> {
    let Some(users) = count_if(row, "size_users")? else { return Ok(None) };
    Ok(Some(Sizes { users, groups: count(row, "size_groups")?, memberships: count(row, "size_memberships")? }))
}
