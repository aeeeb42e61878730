//! The ownership ledger: a million memberships that load in the time of a request.
//!
//! Users and groups are named once and numbered; an entry is two numbers in a clustered index. Entries go down as one
//! sorted array of packed numbers, and come up as one row per group: what costs here is the number of rows that pass
//! between threads, not their size.

use std::collections::BTreeSet;
use std::mem::discriminant;

use rustc_hash::FxHashMap;
use sqlx::{Connection, Row, SqliteConnection};

use super::columns::json;
use super::failure::failed;
use super::seats::Seats;
use crate::contract::journal::JournalError;
use crate::model::key::{SystemName, TargetKey};
use crate::model::ledger::Ledger;

/// How many entries one statement takes: a packed one is some 14 bytes of text.
const ENTRIES: usize = 250_000;

/// One change of the ledger.
pub(super) enum Step<'a> {
    Own { group: &'a TargetKey, user: &'a TargetKey },
    Disown { group: &'a TargetKey, user: &'a TargetKey },
    Forget { user: &'a TargetKey },
}

/// The statements that number one kind of thing.
struct Numbers {
    give: &'static str,
    find: &'static str,
}

const GROUPS: Numbers = Numbers {
    give: "insert into ledger_groups (target, key) select $1, value from json_each($2) where true
        on conflict (target, key) do nothing",
    find: "select key, id from ledger_groups where target = $1 and key in (select value from json_each($2))",
};
const USERS: Numbers = Numbers {
    give: "insert into ledger_users (target, key) select $1, value from json_each($2) where true
        on conflict (target, key) do nothing",
    find: "select key, id from ledger_users where target = $1 and key in (select value from json_each($2))",
};

const OWN: &str = "insert into ledger (group_id, user_id) select value >> 32, value & 4294967295 from json_each($1) where true
    on conflict (group_id, user_id) do nothing";
const DISOWN: &str = "delete from ledger
    where (group_id, user_id) in (select value >> 32, value & 4294967295 from json_each($1))";

pub(super) async fn load(seats: &Seats, target: &SystemName) -> Result<Ledger, JournalError> {
    const DOING: &str = "read the ownership ledger";
    let mut seat = seats.reader(DOING).await?;
    read(&mut seat, target).await.map_err(failed(DOING))
}

async fn read(connection: &mut SqliteConnection, target: &SystemName) -> Result<Ledger, sqlx::Error> {
    // One transaction, so that names and entries are of the same moment.
    let mut snapshot = connection.begin().await?;
    let groups: Vec<(String, Option<String>)> = sqlx::query_as(
        "select key, (select group_concat(user_id) from ledger where group_id = g.id) from ledger_groups g
         where target = $1 order by key",
    )
    .bind(target.as_str())
    .fetch_all(&mut *snapshot)
    .await?;
    let users: Vec<(String, i64)> = sqlx::query_as("select key, id from ledger_users where target = $1 order by key")
        .bind(target.as_str())
        .fetch_all(&mut *snapshot)
        .await?;
    snapshot.rollback().await?;
    assemble(groups, users)
}

/// Turns numbers into positions. Users without an entry (all struck since) are left out, as a ledger names only owners.
fn assemble(groups: Vec<(String, Option<String>)>, users: Vec<(String, i64)>) -> Result<Ledger, sqlx::Error> {
    let place: FxHashMap<i64, u32> = users.iter().enumerate().map(|(at, (_, id))| (*id, at as u32)).collect();
    let mut named = vec![false; users.len()];
    let mut entries = Vec::with_capacity(groups.len());
    for (group, members) in groups {
        let Some(members) = members else { continue };
        let mut places = Vec::new();
        for number in members.split(',') {
            let at = number.parse().ok().and_then(|id: i64| place.get(&id)).ok_or_else(|| nameless(number))?;
            named[*at as usize] = true;
            places.push(*at);
        }
        entries.push((TargetKey::from(group), places));
    }
    let mut moved = vec![0; users.len()];
    let mut owners = Vec::with_capacity(users.len());
    for (at, (key, _)) in users.into_iter().enumerate() {
        moved[at] = owners.len() as u32;
        if named[at] {
            owners.push(TargetKey::from(key));
        }
    }
    for (_, places) in &mut entries {
        places.iter_mut().for_each(|at| *at = moved[*at as usize]);
        places.sort_unstable();
    }
    Ok(Ledger { users: owners, groups: entries })
}

fn nameless(number: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: "user_id".to_owned(), source: format!("no user has the number {number}").into() }
}

pub(super) async fn write(connection: &mut SqliteConnection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    for alike in steps.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
        for batch in alike.chunks(ENTRIES) {
            match alike[0] {
                Step::Own { .. } => own(connection, target, &pairs(batch)).await?,
                Step::Disown { .. } => disown(connection, target, &pairs(batch)).await?,
                Step::Forget { .. } => forget(connection, target, batch).await?,
            }
        }
    }
    Ok(())
}

fn pairs<'a>(steps: &[Step<'a>]) -> Vec<(&'a str, &'a str)> {
    let pair = |step: &Step<'a>| match step {
        Step::Own { group, user } | Step::Disown { group, user } => Some((group.as_str(), user.as_str())),
        Step::Forget { .. } => None,
    };
    steps.iter().filter_map(pair).collect()
}

async fn own(connection: &mut SqliteConnection, target: &SystemName, pairs: &[(&str, &str)]) -> Result<(), sqlx::Error> {
    let names = Names::of(pairs);
    give(connection, &GROUPS, target, &names.groups).await?;
    give(connection, &USERS, target, &names.users).await?;
    let packed = names.packed(connection, target, pairs).await?;
    sqlx::query(OWN).bind(json(&packed)).execute(connection).await?;
    Ok(())
}

async fn disown(connection: &mut SqliteConnection, target: &SystemName, pairs: &[(&str, &str)]) -> Result<(), sqlx::Error> {
    let packed = Names::of(pairs).packed(connection, target, pairs).await?;
    sqlx::query(DISOWN).bind(json(&packed)).execute(connection).await?;
    Ok(())
}

async fn forget(connection: &mut SqliteConnection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    // By the groups of this target: the clustered index begins with the group, and one of users would double the table.
    const ENTRIES: &str = "delete from ledger
        where group_id in (select id from ledger_groups where target = $1)
        and user_id in (select value from json_each($2))";
    const NAMES: &str = "delete from ledger_users where id in (select value from json_each($1))";
    let users: BTreeSet<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Forget { user } => Some(user.as_str()),
            Step::Own { .. } | Step::Disown { .. } => None,
        })
        .collect();
    let numbers = json(&find(connection, &USERS, target, &users).await?.into_values().collect::<Vec<_>>());
    sqlx::query(ENTRIES).bind(target.as_str()).bind(&numbers).execute(&mut *connection).await?;
    sqlx::query(NAMES).bind(&numbers).execute(connection).await?;
    Ok(())
}

/// The distinct names of a batch.
struct Names<'a> {
    groups: BTreeSet<&'a str>,
    users: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(pairs: &[(&'a str, &'a str)]) -> Self {
        Self { groups: pairs.iter().map(|p| p.0).collect(), users: pairs.iter().map(|p| p.1).collect() }
    }

    /// The entries as single numbers, group before user, ascending as the index wants them. Pairs of which one name has no
    /// number are left out: there is no such entry.
    async fn packed(
        &self,
        connection: &mut SqliteConnection,
        target: &SystemName,
        pairs: &[(&'a str, &'a str)],
    ) -> Result<Vec<i64>, sqlx::Error> {
        let groups = find(connection, &GROUPS, target, &self.groups).await?;
        let users = find(connection, &USERS, target, &self.users).await?;
        let pack = |(group, user): &(&str, &str)| Some(groups.get(*group)? << 32 | users.get(*user)?);
        let mut packed: Vec<i64> = pairs.iter().filter_map(pack).collect();
        packed.sort_unstable();
        Ok(packed)
    }
}

async fn give(
    connection: &mut SqliteConnection,
    numbers: &Numbers,
    target: &SystemName,
    names: &BTreeSet<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(numbers.give).bind(target.as_str()).bind(json(names)).execute(connection).await?;
    Ok(())
}

async fn find(
    connection: &mut SqliteConnection,
    numbers: &Numbers,
    target: &SystemName,
    names: &BTreeSet<&str>,
) -> Result<FxHashMap<String, i64>, sqlx::Error> {
    let rows = sqlx::query(numbers.find).bind(target.as_str()).bind(json(names)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Drops the names that no entry uses any more. Called now and then: an unused name costs a row and nothing else.
pub(super) async fn tidy(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    const GROUPS: &str = "delete from ledger_groups where id not in (select group_id from ledger)";
    const USERS: &str = "delete from ledger_users where id not in (select user_id from ledger)";
    sqlx::query(GROUPS).execute(&mut *connection).await?;
    sqlx::query(USERS).execute(connection).await?;
    Ok(())
}
