//! Changes: intents before their calls, outcomes after them, and what a dead process left open.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json as row;

use super::chain::{self, What, intent_columns, outcome_columns};
use super::columns::{BATCH, enumerated, json, millis, text, text_if, time, time_if, value, value_if};
use super::effects;
use super::failure::{failed, refused};
use super::runs::write_end;
use super::seats::Seats;
use super::sql::{Connection, Row, query, query_scalar};
use crate::contract::journal::{
    ChangeRecord, DIED, Ended, Intent, IntentId, JournalError, Outcome, Removals, RunEnd, Settlement,
};
use crate::model::change::OpKind;
use crate::model::key::{RunId, SystemName, group_key};

pub(super) async fn intend(
    seats: &Seats,
    run: &RunId,
    target: &SystemName,
    intents: &[Intent],
    at: DateTime<Utc>,
) -> Result<Vec<IntentId>, JournalError> {
    const DOING: &str = "write intents";
    const INTEND: &str = concat!(
        "insert into changes
            (run, target, at, kind, source, user_key, user_name, group_name, before, after, because, let_by)
        select $1, $2, $3, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8
        from json_each($4) order by key
        returning ",
        intent_columns!()
    );
    if intents.is_empty() {
        return Ok(Vec::new());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let mut ids: Vec<i64> = Vec::with_capacity(intents.len());
    for batch in intents.chunks(BATCH) {
        let rows: Vec<_> = batch.iter().map(intent_row).collect();
        let written = query(INTEND)
            .bind(run.as_str())
            .bind(target.as_str())
            .bind(millis(at))
            .bind(json(&rows))
            .fetch_all(&mut transaction)
            .await
            .map_err(failed(DOING))?;
        chain::changes(&mut transaction, What::Intended, &written, millis(at)).await.map_err(failed(DOING))?;
        for row in &written {
            ids.push(row.try_get("id").map_err(failed(DOING))?);
        }
    }
    transaction.commit().await.map_err(failed(DOING))?;
    // Numbers are given in the order of insertion, but may be returned in any.
    ids.sort_unstable();
    Ok(ids.into_iter().map(IntentId).collect())
}

fn intent_row(intent: &Intent) -> serde_json::Value {
    let Intent { kind, source, user, user_name, group, before, after, because, let_by } = intent;
    let (before, after) = (before.as_ref().map(json), after.as_ref().map(json));
    row!([kind.word(), source, user, user_name, group, before, after, json(because), let_by])
}

pub(super) async fn settle(
    seats: &Seats,
    target: &SystemName,
    settlements: &[Settlement],
    at: DateTime<Utc>,
) -> Result<(), JournalError> {
    const DOING: &str = "write outcomes";
    if settlements.is_empty() {
        return Ok(());
    }
    // The first outcome of an intent stays, within a call as between calls.
    let mut seen = BTreeSet::new();
    let firsts: Vec<&Settlement> = settlements.iter().filter(|s| seen.insert(s.intent)).collect();

    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let settled = write_outcomes(&mut transaction, target, &firsts, at).await.map_err(failed(DOING))?;
    if settled.len() < firsts.len() {
        let open: Vec<IntentId> = firsts.iter().map(|s| s.intent).filter(|id| !settled.contains(id)).collect();
        if let Some(stray) = first_unknown(&mut transaction, target, &open).await.map_err(failed(DOING))? {
            return Err(refused(DOING, format!("no intent of target {target} has the number {}", stray.0)));
        }
    }
    let effects = firsts.iter().filter(|s| settled.contains(&s.intent)).flat_map(|s| &s.effects);
    effects::apply(&mut transaction, target, effects).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))
}

/// Writes the outcomes of intents that are open, and returns which they were.
async fn write_outcomes(
    connection: &mut Connection,
    target: &SystemName,
    settlements: &[&Settlement],
    at: DateTime<Utc>,
) -> Result<BTreeSet<IntentId>, sqlx::Error> {
    // The detours to target and outcome keep the planner from going through all open changes and, for each, through what is told anew.
    const SETTLE: &str = concat!(
        "update changes set outcome = told_outcome, fault = told_fault, why = told_why, left_groups = told_left,
            created = told_created, request = told_request, settled_at = $2
        from (select cast(value ->> 0 as bigint) as told_id, value ->> 1 as told_outcome, value ->> 2 as told_fault,
            value ->> 3 as told_why, value ->> 4 as told_left, value ->> 5 as told_created, value ->> 6 as told_request
            from json_each($3)) as told
        where id = told_id and target || '' = $1 and coalesce(outcome, '') = ''
        returning ",
        outcome_columns!()
    );
    let mut settled = BTreeSet::new();
    for batch in settlements.chunks(BATCH) {
        let rows: Vec<_> = batch.iter().map(|s| settlement_row(s)).collect();
        let written = query(SETTLE).bind(target.as_str()).bind(millis(at)).bind(json(&rows)).fetch_all(&mut *connection).await?;
        chain::changes(connection, What::Settled, &written, millis(at)).await?;
        for row in &written {
            settled.insert(IntentId(row.try_get("id")?));
        }
    }
    Ok(settled)
}

fn settlement_row(settlement: &Settlement) -> serde_json::Value {
    let (word, fault, why) = match &settlement.outcome {
        Outcome::Done => ("done", None, None),
        Outcome::AlreadySo => ("already_so", None, None),
        Outcome::Failed { fault, why } => ("failed", Some(fault), Some(why)),
        Outcome::Skipped => ("skipped", None, None),
        Outcome::Lost => ("lost", None, None),
    };
    let left = (!settlement.left_groups.is_empty()).then(|| json(&settlement.left_groups));
    row!([settlement.intent, word, fault, why, left, settlement.created, settlement.request])
}

async fn first_unknown(
    connection: &mut Connection,
    target: &SystemName,
    ids: &[IntentId],
) -> Result<Option<IntentId>, sqlx::Error> {
    const UNKNOWN: &str = "select min(id) from (select cast(atom as bigint) as id from json_each($2)
        except select id from changes where target = $1 and id in (select cast(atom as bigint) from json_each($2))) as stray";
    let id: Option<i64> = query_scalar(UNKNOWN).bind(target.as_str()).bind(json(ids)).fetch_one(connection).await?;
    Ok(id.map(IntentId))
}

pub(super) async fn recover(seats: &Seats, target: &SystemName, at: DateTime<Utc>) -> Result<Vec<ChangeRecord>, JournalError> {
    const DOING: &str = "settle what a dead process left open";
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    let lost = close_open(&mut transaction, target, at).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))?;
    Ok(lost)
}

async fn close_open(
    connection: &mut Connection,
    target: &SystemName,
    at: DateTime<Utc>,
) -> Result<Vec<ChangeRecord>, sqlx::Error> {
    const OPEN: &str = "select * from changes where target = $1 and outcome is null order by id";
    const CLOSE: &str = concat!(
        "update changes set outcome = 'lost', settled_at = $2 where target = $1 and outcome is null returning ",
        outcome_columns!()
    );
    const RUNS: &str = "select id from runs where target = $1 and ended is null order by id";
    let rows = query(OPEN).bind(target.as_str()).fetch_all(&mut *connection).await?;
    let mut lost: Vec<ChangeRecord> = rows.iter().map(record).collect::<Result<_, _>>()?;
    for change in &mut lost {
        change.outcome = Some(Outcome::Lost);
        change.settled_at = DateTime::from_timestamp_millis(millis(at));
    }
    if !lost.is_empty() {
        let closed = query(CLOSE).bind(target.as_str()).bind(millis(at)).fetch_all(&mut *connection).await?;
        chain::changes(connection, What::Settled, &closed, millis(at)).await?;
    }
    let runs: Vec<String> = query_scalar(RUNS).bind(target.as_str()).fetch_all(&mut *connection).await?;
    for run in runs.into_iter().map(RunId::from) {
        let left_open = lost.iter().filter(|change| change.run == run).count();
        let end = interrupted(connection, &run, left_open, at).await?;
        write_end(connection, &run, &end).await?;
    }
    Ok(lost)
}

/// The end of a run whose process died, from what its changes tell.
async fn interrupted(
    connection: &mut Connection,
    run: &RunId,
    left_open: usize,
    at: DateTime<Utc>,
) -> Result<RunEnd, sqlx::Error> {
    const COUNTS: &str = "select kind, outcome, count(*) as number from changes where run = $1 group by kind, outcome";
    let mut planned: BTreeMap<OpKind, u64> = BTreeMap::new();
    let mut done: BTreeMap<OpKind, u64> = BTreeMap::new();
    let mut failed = 0;
    for row in query(COUNTS).bind(run.as_str()).fetch_all(connection).await? {
        let kind: OpKind = enumerated(&row, "kind")?;
        let number = row.try_get::<i64>("number")?.unsigned_abs();
        *planned.entry(kind).or_default() += number;
        match text_if(&row, "outcome")?.as_deref() {
            Some("done" | "already_so") => *done.entry(kind).or_default() += number,
            Some("failed") => failed += number,
            Some(_) | None => {}
        }
    }
    let message = match left_open {
        0 => format!("{DIED}before the run ended; no change was under way"),
        1 => format!("{DIED}before the run ended; whether 1 change took effect is settled by the next reading"),
        n => format!("{DIED}before the run ended; whether {n} changes took effect is settled by the next reading"),
    };
    let (planned, done) = (planned.into_iter().collect(), done.into_iter().collect());
    Ok(RunEnd { planned, done, failed, ..RunEnd::bare(Ended::Interrupted, at, vec![message]) })
}

pub(super) async fn of_run(seats: &Seats, run: &RunId) -> Result<Vec<ChangeRecord>, JournalError> {
    const DOING: &str = "read the changes of a run";
    let mut seat = seats.reader(DOING).await?;
    let rows = query("select * from changes where run = $1 order by id")
        .bind(run.as_str())
        .fetch_all(&mut seat)
        .await
        .map_err(failed(DOING))?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(DOING))
}

pub(super) async fn removals_since(seats: &Seats, target: &SystemName, since: DateTime<Utc>) -> Result<Removals, JournalError> {
    const DOING: &str = "count the removals of late";
    const COUNT: &str = "select kind, group_name, count(*) as number from changes
        where target = $1 and settled_at >= $2 and outcome = 'done' and let_by is null
        and kind in ('remove_member', 'deactivate_user', 'delete_user')
        group by kind, group_name";
    let mut seat = seats.reader(DOING).await?;
    let rows = query(COUNT).bind(target.as_str()).bind(millis(since)).fetch_all(&mut seat).await.map_err(failed(DOING))?;
    sum(&rows).map_err(failed(DOING))
}

/// Sums by folded name: two spellings of a group's name are one group.
fn sum(rows: &[Row]) -> Result<Removals, sqlx::Error> {
    let mut removals = Removals::default();
    let mut by_group: BTreeMap<_, u32> = BTreeMap::new();
    for row in rows {
        let number = u32::try_from(row.try_get::<i64>("number")?).unwrap_or(u32::MAX);
        if enumerated::<OpKind>(row, "kind")? != OpKind::RemoveMember {
            removals.deactivations = removals.deactivations.saturating_add(number);
            continue;
        }
        removals.memberships = removals.memberships.saturating_add(number);
        if let Some(group) = text_if(row, "group_name")? {
            let sum = by_group.entry(group_key(&group)).or_default();
            *sum = sum.saturating_add(number);
        }
    }
    removals.by_group = by_group.into_iter().collect();
    Ok(removals)
}

pub(super) fn record(row: &Row) -> Result<ChangeRecord, sqlx::Error> {
    Ok(ChangeRecord {
        id: IntentId(row.try_get("id")?),
        run: text(row, "run")?.into(),
        intent: Intent {
            kind: enumerated(row, "kind")?,
            source: text_if(row, "source")?.map(Into::into),
            user: text_if(row, "created")?.or(text_if(row, "user_key")?).map(Into::into),
            user_name: text_if(row, "user_name")?.map(Into::into),
            group: text_if(row, "group_name")?.map(Into::into),
            before: value_if(row, "before")?,
            after: value_if(row, "after")?,
            because: value(row, "because")?,
            let_by: text_if(row, "let_by")?,
        },
        at: time(row, "at")?,
        outcome: outcome(row)?,
        settled_at: time_if(row, "settled_at")?,
        request: text_if(row, "request")?.map(Into::into),
        left_groups: value_if(row, "left_groups")?.unwrap_or_default(),
    })
}

fn outcome(row: &Row) -> Result<Option<Outcome>, sqlx::Error> {
    let unknown = |word: &str| sqlx::Error::ColumnDecode {
        index: "outcome".to_owned(),
        source: format!("\"{word}\" is no outcome").into(),
    };
    let Some(word) = text_if(row, "outcome")? else { return Ok(None) };
    Ok(Some(match word.as_str() {
        "done" => Outcome::Done,
        "already_so" => Outcome::AlreadySo,
        "failed" => Outcome::Failed { fault: text(row, "fault")?, why: text(row, "why")? },
        "skipped" => Outcome::Skipped,
        "lost" => Outcome::Lost,
        other => return Err(unknown(other)),
    }))
}
