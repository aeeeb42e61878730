//! What people decide: saved plans, approvals and rejections, holds.

use chrono::{DateTime, Utc};
use serde_json::json as row;

use super::chain::{self, Changes, decision_columns, hold_columns};
use super::columns::{BATCH, enumerated, json, latest, millis, text, text_if, time, time_if, value, word};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, Row, query};
use crate::contract::journal::JournalError;
use crate::contract::verdict::{Decision, Hold, SavedPlan, Verdict};
use crate::model::key::{JobName, SystemName, TargetKey};

pub(super) async fn save_plan(seats: &Seats, plan: &SavedPlan) -> Result<(), JournalError> {
    const DOING: &str = "save a plan";
    const SAVE: &str = "insert into plans (id, job, target, made, expires, made_by, changes) values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (id, job, target) do update set made = excluded.made, expires = excluded.expires,
            made_by = excluded.made_by, changes = excluded.changes";
    let SavedPlan { id, job, target, made, expires, by, changes } = plan;
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    query(SAVE)
        .bind(id.as_str())
        .bind(job.as_str())
        .bind(target.as_str())
        .bind(millis(*made))
        .bind(millis(*expires))
        .bind(by)
        .bind(json(changes))
        .execute(&mut transaction)
        .await
        .map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

pub(super) async fn saved_plans(seats: &Seats, id: &str) -> Result<Vec<SavedPlan>, JournalError> {
    const DOING: &str = "find a saved plan";
    const FIND: &str = "select * from plans where id >= $1 and substr(id, 1, length($1)) = $1
        order by made desc, id, job, target";
    if id.is_empty() {
        return Ok(Vec::new());
    }
    let mut seat = seats.reader(DOING).await?;
    let rows = query(FIND).bind(id).fetch_all(&mut seat).await.map_err(failed(DOING))?;
    let mut found: Vec<SavedPlan> = rows.iter().map(saved_plan).collect::<Result<_, _>>().map_err(failed(DOING))?;
    if found.iter().any(|plan| plan.id.as_str() == id) {
        found.retain(|plan| plan.id.as_str() == id);
    }
    Ok(found)
}

/// Deletes plans that expired, and decisions that ended or expired, before a time.
pub(super) async fn tidy(connection: &mut Connection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    // What still waits in a plan must be seen to be past its time.
    const PLANS: &str = "delete from plans where expires < $1 and not exists
        (select 1 from staged s where s.plan = plans.id and s.job = plans.job and s.target = plans.target)";
    const DECISIONS: &str = concat!("delete from decisions where coalesce(ended, expires) < $1 returning ", decision_columns!());
    query(PLANS).bind(millis(before)).execute(&mut *connection).await?;
    let gone = query(DECISIONS).bind(millis(before)).fetch_all(&mut *connection).await?;
    chain::tidied(connection, gone).await
}

fn saved_plan(row: &Row) -> Result<SavedPlan, sqlx::Error> {
    Ok(SavedPlan {
        id: text(row, "id")?.into(),
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        made: time(row, "made")?,
        expires: time(row, "expires")?,
        by: text(row, "made_by")?,
        changes: value(row, "changes")?,
    })
}

pub(super) async fn decide(seats: &Seats, decisions: &[Decision]) -> Result<(), JournalError> {
    const DOING: &str = "write decisions";
    const REPLACE: &str = concat!(
        "update decisions set ended = told_at
        from (select value ->> 0 as told_job, value ->> 1 as told_target, value ->> 2 as told_mark,
            cast(value ->> 12 as bigint) as told_at from json_each($1)) as told
        where job = told_job and target = told_target and mark = told_mark and ended is null
        returning ",
        decision_columns!(),
        ", ended"
    );
    const DECIDE: &str = concat!(
        "insert into decisions (job, target, mark, plan, verdict, kind, source, user_name, group_name,
            held_by, actor, reason, at, expires)
        select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
            value ->> 8, value ->> 9, value ->> 10, value ->> 11, cast(value ->> 12 as bigint), cast(value ->> 13 as bigint)
        from json_each($1) returning ",
        decision_columns!()
    );
    const STRIKE: &str = "delete from staged where (job, target, mark) in
        (select value ->> 0, value ->> 1, value ->> 2 from json_each($1))";
    if decisions.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    for batch in decisions.chunks(BATCH) {
        let rows: Vec<_> = batch.iter().map(decision_row).collect();
        let ended = query(REPLACE).bind(json(&rows)).fetch_all(&mut transaction).await.map_err(failed(DOING))?;
        let written = query(DECIDE).bind(json(&rows)).fetch_all(&mut transaction).await.map_err(failed(DOING))?;
        let changes = Changes { written, ended, ..Changes::default() };
        let at = batch.iter().map(|decision| millis(decision.at)).max().unwrap_or_default();
        chain::decided(&mut transaction, &changes, at).await.map_err(failed(DOING))?;
        let rejected: Vec<_> =
            batch.iter().filter(|d| d.verdict == Verdict::Rejected).map(|d| (&d.job, &d.target, &d.mark)).collect();
        query(STRIKE).bind(json(&rejected)).execute(&mut transaction).await.map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}

fn decision_row(decision: &Decision) -> serde_json::Value {
    let Decision { job, target, mark, plan, verdict, held_by, source, kind, user_name, group, actor, reason, at, expires } =
        decision;
    let (verdict, kind, held_by) = (word(verdict), kind.word(), json(held_by));
    let (at, expires) = (millis(*at), expires.map(millis));
    row!([job, target, mark, plan, verdict, kind, source, user_name, group, held_by, actor, reason, at, expires])
}

pub(super) async fn decisions(seats: &Seats) -> Result<Vec<Decision>, JournalError> {
    const DOING: &str = "read the decisions";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from decisions where ended is null order by job, target, at, mark")
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(decision).collect::<Result<_, _>>().map_err(failed(DOING))
}

fn decision(row: &Row) -> Result<Decision, sqlx::Error> {
    Ok(Decision {
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        mark: text(row, "mark")?,
        plan: text(row, "plan")?.into(),
        verdict: enumerated(row, "verdict")?,
        held_by: value(row, "held_by")?,
        source: text_if(row, "source")?.map(Into::into),
        kind: enumerated(row, "kind")?,
        user_name: text(row, "user_name")?.into(),
        group: text_if(row, "group_name")?.map(Into::into),
        actor: text(row, "actor")?,
        reason: text(row, "reason")?,
        at: time(row, "at")?,
        expires: time_if(row, "expires")?,
    })
}

pub(super) async fn undecide(
    seats: &Seats,
    job: &JobName,
    target: &SystemName,
    marks: &[String],
    at: DateTime<Utc>,
) -> Result<(), JournalError> {
    const DOING: &str = "end decisions";
    const UNDECIDE: &str = concat!(
        "update decisions set ended = $4
        where job = $1 and target = $2 and ended is null and mark in (select atom from json_each($3)) returning ",
        decision_columns!(),
        ", ended"
    );
    if marks.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let ended = query(UNDECIDE)
        .bind(job.as_str())
        .bind(target.as_str())
        .bind(json(marks))
        .bind(millis(at))
        .fetch_all(&mut transaction)
        .await
        .map_err(failed(DOING))?;
    let changes = Changes { ended, ..Changes::default() };
    chain::decided(&mut transaction, &changes, millis(at)).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

pub(super) async fn hold(seats: &Seats, holds: &[Hold]) -> Result<(), JournalError> {
    const HOLD: &str = concat!(
        "insert into holds (job, target, user_key, user_name, source, run, actor, reason, since, wish)
        select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
            cast(value ->> 8 as bigint), value ->> 9
        from json_each($1) where true
        on conflict (job, target, user_key) do update set user_name = excluded.user_name, source = excluded.source,
            run = excluded.run, actor = excluded.actor, reason = excluded.reason, since = excluded.since, wish = excluded.wish
        returning ",
        hold_columns!()
    );
    write_holds(seats, HOLD, holds).await
}

pub(super) async fn wish(seats: &Seats, holds: &[Hold]) -> Result<(), JournalError> {
    const WISH: &str = concat!(
        "update holds set wish = told_wish
        from (select value ->> 0 as told_job, value ->> 1 as told_target, value ->> 2 as told_user, value ->> 5 as told_run,
            value ->> 9 as told_wish from json_each($1)) as told
        where job = told_job and target = told_target and user_key = told_user and run = told_run
        returning ",
        hold_columns!()
    );
    write_holds(seats, WISH, holds).await
}

async fn write_holds(seats: &Seats, statement: &'static str, holds: &[Hold]) -> Result<(), JournalError> {
    const DOING: &str = "write holds";
    if holds.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    for batch in holds.chunks(BATCH) {
        let same = |h: &Hold| (h.job.clone(), h.target.clone(), h.user.clone());
        let rows: Vec<_> = latest(batch, same).map(hold_row).collect();
        let written = query(statement).bind(json(&rows)).fetch_all(&mut transaction).await.map_err(failed(DOING))?;
        let at = batch.iter().map(|hold| millis(hold.since)).max();
        chain::held(&mut transaction, &Changes { written, ..Changes::default() }, at).await.map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}

fn hold_row(hold: &Hold) -> serde_json::Value {
    let Hold { job, target, user, user_name, source, run, actor, reason, since, wish } = hold;
    row!([job, target, user, user_name, source, run, actor, reason, millis(*since), wish])
}

pub(super) async fn holds(seats: &Seats) -> Result<Vec<Hold>, JournalError> {
    const DOING: &str = "read the holds";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from holds order by job, target, user_name, user_key")
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(hold_of).collect::<Result<_, _>>().map_err(failed(DOING))
}

fn hold_of(row: &Row) -> Result<Hold, sqlx::Error> {
    Ok(Hold {
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        user: text(row, "user_key")?.into(),
        user_name: text(row, "user_name")?.into(),
        source: text_if(row, "source")?.map(Into::into),
        run: text(row, "run")?.into(),
        actor: text(row, "actor")?,
        reason: text(row, "reason")?,
        since: time(row, "since")?,
        wish: text_if(row, "wish")?,
    })
}

pub(super) async fn let_go(seats: &Seats, job: &JobName, target: &SystemName, users: &[TargetKey]) -> Result<(), JournalError> {
    const DOING: &str = "end holds";
    if users.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let users: Vec<&TargetKey> = users.iter().collect();
    end_holds(&mut transaction, job, target, &users).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

/// Deletes the holds on these users, with their entry in the chain.
pub(super) async fn end_holds(
    connection: &mut Connection,
    job: &JobName,
    target: &SystemName,
    users: &[&TargetKey],
) -> Result<(), sqlx::Error> {
    const LET_GO: &str = concat!(
        "delete from holds where job = $1 and target = $2 and user_key in (select atom from json_each($3)) returning ",
        hold_columns!()
    );
    let gone = query(LET_GO).bind(job.as_str()).bind(target.as_str()).bind(json(users)).fetch_all(connection).await?;
    chain::held(connection, &Changes { gone, ..Changes::default() }, None).await
}
