//! Changes by what they are about and when they were made, a page at a time.

use super::changes;
use super::columns::{fired, millis, text, text_if};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Builder, Query, Row};
use crate::contract::history::{ChangeQuery, Order, Told};
use crate::contract::journal::{Fired, JournalError};

pub(super) async fn history(seats: &Seats, query: &ChangeQuery) -> Result<Vec<Told>, JournalError> {
    const DOING: &str = "read the record of changes";
    let mut seat = seats.reader(DOING).await?;
    let rows = statement(query).fetch_all(&mut seat).await.map_err(failed(DOING))?;
    rows.iter().map(told).collect::<Result<_, _>>().map_err(failed(DOING))
}

/// Only the conditions that are set: an index helps with no other form.
fn statement(query: &ChangeQuery) -> Query<'_> {
    let ChangeQuery { run, job, target, source, user, group, since, until, order, beyond, limit } = query;
    let mut sql = Builder::new("select c.*, r.job, r.fired_by, r.plan from changes c join runs r on r.id = c.run where true");
    if let Some(run) = run {
        sql.push(" and c.run = ").push_bind(run.as_str());
    }
    if let Some(job) = job {
        sql.push(" and r.job = ").push_bind(job.as_str());
    }
    if let Some(target) = target {
        sql.push(" and c.target = ").push_bind(target.as_str());
    }
    if let Some(source) = source {
        sql.push(" and c.source = ").push_bind(source.as_str());
    }
    if let Some(user) = user {
        sql.push(" and (c.source = ").push_bind(user.as_str());
        for id in ["c.user_key", "c.created"] {
            sql.push(" or ").push(id).push(" = ").push_bind(user.as_str());
        }
        for name in ["c.user_name", "json_extract(c.before, '$.name')", "json_extract(c.after, '$.name')"] {
            named(&mut sql, name, user);
        }
        sql.push(")");
    }
    if let Some(group) = group {
        sql.push(" and (false");
        named(&mut sql, "c.group_name", group);
        sql.push(" or exists (select 1 from json_each(c.left_groups) as g where false");
        named(&mut sql, "g.atom", group);
        sql.push("))");
    }
    if let Some(since) = since {
        sql.push(" and c.at >= ").push_bind(millis(*since));
    }
    if let Some(until) = until {
        sql.push(" and c.at < ").push_bind(millis(*until));
    }
    let (beyond_it, by) = match order {
        Order::OldestFirst => (" and c.id > ", " order by c.id"),
        Order::NewestFirst => (" and c.id < ", " order by c.id desc"),
    };
    if let Some(beyond) = beyond {
        sql.push(beyond_it).push_bind(beyond.0);
    }
    sql.push(by).push(" limit ").push_bind(i64::from(*limit));
    sql.build()
}

/// The store folds the letters of ASCII, and no others.
fn named(sql: &mut Builder<'_>, column: &str, name: &str) {
    sql.push(" or lower(").push(column).push(") = ").push_bind(name.to_ascii_lowercase());
}

fn told(row: &Row) -> Result<Told, sqlx::Error> {
    let Fired { trigger, by } = fired(row)?;
    Ok(Told {
        job: text(row, "job")?.into(),
        target: text(row, "target")?.into(),
        trigger,
        by,
        plan: text_if(row, "plan")?.map(Into::into),
        change: changes::record(row)?,
    })
}
