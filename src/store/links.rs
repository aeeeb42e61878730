//! Links: which target record belongs to which source record.

use std::mem::discriminant;

use futures::TryStreamExt;
use serde_json::json as row;

use super::columns::{BATCH, json, latest, millis, time_if};
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, query, query_scalar};
use crate::contract::journal::JournalError;
use crate::model::key::{SourceKey, SystemName, TargetKey};
use crate::model::link::{GroupLink, Links, UserLink};

/// One change of user links.
pub(super) enum UserStep<'a> {
    Link(&'a UserLink),
    Unlink { source: &'a SourceKey, user: &'a TargetKey },
}

impl<'a> UserStep<'a> {
    /// Which row it is about.
    fn same(&self) -> (&'a str, Option<&'a str>) {
        match self {
            UserStep::Link(link) => (link.source.as_str(), None),
            UserStep::Unlink { source, user } => (source.as_str(), Some(user.as_str())),
        }
    }
}

/// One change of group links.
pub(super) enum GroupStep<'a> {
    Link(&'a GroupLink),
    Unlink { source: &'a SourceKey, group: &'a TargetKey },
}

impl<'a> GroupStep<'a> {
    /// Which row it is about.
    fn same(&self) -> (&'a str, &'a str) {
        match self {
            GroupStep::Link(link) => (link.source.as_str(), link.target.as_str()),
            GroupStep::Unlink { source, group } => (source.as_str(), group.as_str()),
        }
    }
}

pub(super) async fn load(seats: &Seats, target: &SystemName) -> Result<Links, JournalError> {
    const DOING: &str = "read the links";
    let mut seat = seats.reader(DOING).await?;
    read(&mut seat, target).await.map_err(failed(DOING))
}

async fn read(connection: &mut Connection, target: &SystemName) -> Result<Links, sqlx::Error> {
    const COUNT: &str = "select count(*) from user_links where target = $1";
    const USERS: &str = "select source, user_key, name, email_mark, leaving_since, last_asked, is_new from user_links
        where target = $1 order by source";
    const GROUPS: &str = "select source, group_key, name from group_links where target = $1 order by source, group_key";
    // One transaction, so that both lists are of the same moment; and row by row, since a row of SQLite's takes several times
    // what is kept of it.
    let mut snapshot = connection.snapshot().await?;
    // Counted first: to grow into a large list would take half as much again.
    let users: i64 = query_scalar(COUNT).bind(target.as_str()).fetch_one(&mut snapshot).await?;
    let mut links = Links { users: Vec::with_capacity(usize::try_from(users).unwrap_or(0)), groups: Vec::new() };
    let mut rows = query(USERS).bind(target.as_str()).fetch(&mut snapshot);
    while let Some(row) = rows.try_next().await? {
        links.users.push(UserLink {
            source: row.try_get::<&str>("source")?.into(),
            target: row.try_get::<&str>("user_key")?.into(),
            name: row.try_get::<&str>("name")?.into(),
            email_mark: row.try_get::<Option<i64>>("email_mark")?.map(i64::cast_unsigned),
            leaving_since: time_if(&row, "leaving_since")?,
            last_asked: time_if(&row, "last_asked")?,
            is_new: row.try_get::<i64>("is_new")? != 0,
        });
    }
    drop(rows);
    let mut rows = query(GROUPS).bind(target.as_str()).fetch(&mut snapshot);
    while let Some(row) = rows.try_next().await? {
        links.groups.push(GroupLink {
            source: row.try_get::<&str>("source")?.into(),
            target: row.try_get::<&str>("group_key")?.into(),
            name: row.try_get::<&str>("name")?.into(),
        });
    }
    drop(rows);
    snapshot.rollback().await?;
    Ok(links)
}

pub(super) async fn write_users(
    connection: &mut Connection,
    target: &SystemName,
    steps: &[UserStep<'_>],
) -> Result<(), sqlx::Error> {
    const LINK: &str = "insert into user_links (target, source, user_key, name, email_mark, leaving_since, last_asked, is_new)
        select $1, value ->> 0, value ->> 1, value ->> 2, cast(value ->> 3 as bigint), cast(value ->> 4 as bigint),
            cast(value ->> 5 as bigint), cast(value ->> 6 as bigint)
        from json_each($2) where true
        on conflict (target, source) do update set user_key = excluded.user_key, name = excluded.name,
            email_mark = excluded.email_mark, leaving_since = excluded.leaving_since,
            last_asked = excluded.last_asked, is_new = excluded.is_new";
    // A link that was written anew meanwhile, to another account, is not the one that is cut.
    const UNLINK: &str = "delete from user_links where target = $1
        and (source, user_key) in (select value ->> 0, value ->> 1 from json_each($2))";
    for alike in steps.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
        for batch in alike.chunks(BATCH) {
            let rows: Vec<_> = latest(batch, UserStep::same)
                .map(|step| match step {
                    UserStep::Link(link) => row!([
                        link.source,
                        link.target,
                        link.name,
                        link.email_mark.map(u64::cast_signed),
                        link.leaving_since.map(millis),
                        link.last_asked.map(millis),
                        i64::from(link.is_new)
                    ]),
                    UserStep::Unlink { source, user } => row!([source, user]),
                })
                .collect();
            let statement = match alike[0] {
                UserStep::Link(_) => LINK,
                UserStep::Unlink { .. } => UNLINK,
            };
            query(statement).bind(target.as_str()).bind(json(&rows)).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

pub(super) async fn write_groups(
    connection: &mut Connection,
    target: &SystemName,
    steps: &[GroupStep<'_>],
) -> Result<(), sqlx::Error> {
    const LINK: &str = "insert into group_links (target, source, group_key, name)
        select $1, value ->> 0, value ->> 1, value ->> 2 from json_each($2) where true
        on conflict (target, source, group_key) do update set name = excluded.name";
    const UNLINK: &str = "delete from group_links where target = $1
        and (source, group_key) in (select value ->> 0, value ->> 1 from json_each($2))";
    for alike in steps.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
        for batch in alike.chunks(BATCH) {
            let rows: Vec<_> = latest(batch, GroupStep::same)
                .map(|step| match step {
                    GroupStep::Link(link) => row!([link.source, link.target, link.name]),
                    GroupStep::Unlink { source, group } => row!([source, group]),
                })
                .collect();
            let statement = match alike[0] {
                GroupStep::Link(_) => LINK,
                GroupStep::Unlink { .. } => UNLINK,
            };
            query(statement).bind(target.as_str()).bind(json(&rows)).execute(&mut *connection).await?;
        }
    }
    Ok(())
}
