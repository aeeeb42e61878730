//! The ownership ledger: a million memberships that load in the time of a request.
//!
//! Users and groups are named once and numbered; an entry is two numbers in a clustered index. Entries go down as one
//! sorted array of packed numbers, and come up as one row per group: what costs here is the number of rows that pass
//! between threads, not their size.

use std::mem::discriminant;

use futures::TryStreamExt;
use rustc_hash::FxHashMap;

use super::columns::json;
use super::failure::failed;
use super::seats::Seats;
use super::sql::{Connection, query};
use crate::contract::journal::JournalError;
use crate::model::key::{SystemName, TargetKey};
use crate::model::ledger::Ledger;

/// How many entries one statement takes: a packed one is some 14 bytes of text.
const ENTRIES: usize = 250_000;

/// One change of the ledger.
pub(super) enum Step<'a> {
    Own { group: &'a TargetKey, user: &'a TargetKey },
    OwnAll(&'a Ledger),
    Disown { group: &'a TargetKey, user: &'a TargetKey },
    Forget { user: &'a TargetKey },
}

/// The statements that number one kind of thing.
struct Numbers {
    give: &'static str,
    find: &'static str,
}

const GROUPS: Numbers = Numbers {
    give: "insert into ledger_groups (target, key) select $1, atom from json_each($2) where true
        on conflict (target, key) do nothing",
    find: "select key, id from ledger_groups where target = $1 and key in (select atom from json_each($2))",
};
const USERS: Numbers = Numbers {
    give: "insert into ledger_users (target, key) select $1, atom from json_each($2) where true
        on conflict (target, key) do nothing",
    find: "select key, id from ledger_users where target = $1 and key in (select atom from json_each($2))",
};

const OWN: &str = "insert into ledger (group_id, user_id) select cast(atom as bigint) >> 32, cast(atom as bigint) & 4294967295 from json_each($1) where true
    on conflict (group_id, user_id) do nothing";
const DISOWN: &str = "delete from ledger
    where (group_id, user_id) in (select cast(atom as bigint) >> 32, cast(atom as bigint) & 4294967295 from json_each($1))";

pub(super) async fn load(seats: &Seats, target: &SystemName) -> Result<Ledger, JournalError> {
    const DOING: &str = "read the ownership ledger";
    let mut seat = seats.reader(DOING).await?;
    read(&mut seat, target).await.map_err(failed(DOING))
}

async fn read(connection: &mut Connection, target: &SystemName) -> Result<Ledger, sqlx::Error> {
    const USERS: &str = "select key, id from ledger_users where target = $1 order by key";
    const GROUPS: &str =
        "select key, (select string_agg(cast(user_id as text), ',') from ledger where group_id = g.id) from ledger_groups g
        where target = $1 order by key";
    // One transaction, so that names and entries are of the same moment; and row by row, since a row of SQLite's takes
    // several times what is kept of it.
    let mut snapshot = connection.snapshot().await?;
    let mut ledger = Ledger::default();
    let mut places: FxHashMap<i64, u32> = FxHashMap::default();
    let mut users = query(USERS).bind(target.as_str()).fetch(&mut snapshot);
    while let Some(row) = users.try_next().await? {
        places.insert(row.try_get(1)?, ledger.users.len() as u32);
        ledger.users.push(row.try_get::<&str>(0)?.into());
    }
    drop(users);
    let mut groups = query(GROUPS).bind(target.as_str()).fetch(&mut snapshot);
    while let Some(row) = groups.try_next().await? {
        let Some(numbers) = row.try_get::<Option<&str>>(1)? else { continue };
        let mut members = Vec::with_capacity(numbers.bytes().filter(|b| *b == b',').count() + 1);
        for number in numbers.split(',') {
            let place = number.parse().ok().and_then(|id: i64| places.get(&id));
            members.push(*place.ok_or_else(|| nameless(number))?);
        }
        members.sort_unstable();
        ledger.groups.push((row.try_get::<&str>(0)?.into(), members));
    }
    drop(groups);
    snapshot.rollback().await?;
    Ok(of_owners(ledger))
}

/// Leaves out users without an entry (all struck since), as a ledger names only owners.
fn of_owners(mut ledger: Ledger) -> Ledger {
    let mut owns = vec![false; ledger.users.len()];
    ledger.groups.iter().flat_map(|(_, members)| members).for_each(|user| owns[*user as usize] = true);
    let mut moved = Vec::with_capacity(owns.len());
    let mut owners = 0;
    for owns in &owns {
        moved.push(owners);
        owners += u32::from(*owns);
    }
    let mut owns = owns.into_iter();
    ledger.users.retain(|_| owns.next().unwrap_or_default());
    ledger.users.shrink_to_fit();
    ledger.groups.shrink_to_fit();
    // Ascending lists stay so: nobody overtakes anybody.
    ledger.groups.iter_mut().flat_map(|(_, members)| members).for_each(|user| *user = moved[*user as usize]);
    ledger
}

fn nameless(number: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: "user_id".to_owned(), source: format!("no user has the number {number}").into() }
}

pub(super) async fn write(connection: &mut Connection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    for alike in steps.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
        for batch in alike.chunks(ENTRIES) {
            match alike[0] {
                Step::Own { .. } => own(connection, target, batch).await?,
                Step::OwnAll(_) => own_all(connection, target, batch).await?,
                Step::Disown { .. } => disown(connection, target, batch).await?,
                Step::Forget { .. } => forget(connection, target, batch).await?,
            }
        }
    }
    Ok(())
}

async fn own(connection: &mut Connection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    let entries = Entries::of(steps);
    entries.groups.give(connection, &GROUPS, target).await?;
    entries.users.give(connection, &USERS, target).await?;
    let mut packed = entries.packed(connection, target).await?;
    own_packed(connection, &mut packed).await
}

async fn own_all(connection: &mut Connection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    for step in steps {
        if let Step::OwnAll(ledger) = step {
            enter(connection, target, ledger).await?;
        }
    }
    Ok(())
}

/// Enters all of a ledger, in pieces.
async fn enter(connection: &mut Connection, target: &SystemName, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let groups = Names::of(ledger.groups.iter().map(|(group, _)| group.as_str()));
    let users = Names::of(ledger.users.iter().map(TargetKey::as_str));
    groups.give(connection, &GROUPS, target).await?;
    users.give(connection, &USERS, target).await?;
    let groups = groups.find(connection, &GROUPS, target).await?;
    let users = users.find(connection, &USERS, target).await?;
    let mut packed: Vec<i64> = Vec::with_capacity(ledger.len().min(ENTRIES));
    for ((_, members), group) in ledger.groups.iter().zip(groups) {
        packed.extend(members.iter().filter_map(|user| Some(group? << 32 | users[*user as usize]?)));
        if packed.len() >= ENTRIES {
            own_packed(connection, &mut packed).await?;
        }
    }
    own_packed(connection, &mut packed).await
}

/// Enters packed entries, and takes them off the list.
async fn own_packed(connection: &mut Connection, packed: &mut Vec<i64>) -> Result<(), sqlx::Error> {
    // Ascending, as the index wants them.
    packed.sort_unstable();
    query(OWN).bind(json(packed)).execute(connection).await?;
    packed.clear();
    Ok(())
}

async fn disown(connection: &mut Connection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    let packed = Entries::of(steps).packed(connection, target).await?;
    query(DISOWN).bind(json(&packed)).execute(connection).await?;
    Ok(())
}

async fn forget(connection: &mut Connection, target: &SystemName, steps: &[Step<'_>]) -> Result<(), sqlx::Error> {
    // By the groups of this target: the clustered index begins with the group, and one of users would double the table.
    const ENTRIES: &str = "delete from ledger
        where group_id in (select id from ledger_groups where target = $1)
        and user_id in (select cast(atom as bigint) from json_each($2))";
    const NAMES: &str = "delete from ledger_users where id in (select cast(atom as bigint) from json_each($1))";
    let users = Names::of(steps.iter().filter_map(|step| match step {
        Step::Forget { user } => Some(user.as_str()),
        Step::Own { .. } | Step::OwnAll(_) | Step::Disown { .. } => None,
    }));
    let numbers: Vec<i64> = users.find(connection, &USERS, target).await?.into_iter().flatten().collect();
    let numbers = json(&numbers);
    query(ENTRIES).bind(target.as_str()).bind(&numbers).execute(&mut *connection).await?;
    query(NAMES).bind(&numbers).execute(connection).await?;
    Ok(())
}

/// The distinct names of a batch, each at a place of its own.
#[derive(Default)]
struct Names<'a> {
    listed: Vec<&'a str>,
    places: FxHashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn of(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for name in names {
            all.place(name);
        }
        all
    }

    fn place(&mut self, name: &'a str) -> usize {
        let Self { listed, places } = self;
        *places.entry(name).or_insert_with(|| {
            listed.push(name);
            (listed.len() - 1) as u32
        }) as usize
    }

    async fn give(&self, connection: &mut Connection, numbers: &Numbers, target: &SystemName) -> Result<(), sqlx::Error> {
        query(numbers.give).bind(target.as_str()).bind(json(&self.listed)).execute(connection).await?;
        Ok(())
    }

    /// The names' numbers, by place; `None` for a name without one.
    async fn find(
        &self,
        connection: &mut Connection,
        numbers: &Numbers,
        target: &SystemName,
    ) -> Result<Vec<Option<i64>>, sqlx::Error> {
        let mut found = vec![None; self.listed.len()];
        let names = json(&self.listed);
        for row in query(numbers.find).bind(target.as_str()).bind(names).fetch_all(connection).await? {
            if let Some(place) = self.places.get(row.try_get::<&str>(0)?) {
                found[*place as usize] = Some(row.try_get(1)?);
            }
        }
        Ok(found)
    }
}

/// Entries by the places of their names.
struct Entries<'a> {
    groups: Names<'a>,
    users: Names<'a>,
    pairs: Vec<(usize, usize)>,
}

impl<'a> Entries<'a> {
    fn of(steps: &[Step<'a>]) -> Self {
        let mut entries = Self { groups: Names::default(), users: Names::default(), pairs: Vec::with_capacity(steps.len()) };
        for step in steps {
            match step {
                Step::Own { group, user } | Step::Disown { group, user } => {
                    let pair = (entries.groups.place(group.as_str()), entries.users.place(user.as_str()));
                    entries.pairs.push(pair);
                }
                Step::OwnAll(_) | Step::Forget { .. } => {}
            }
        }
        entries
    }

    /// The entries as single numbers, group before user, ascending. Pairs of which one name has no
    /// number are left out: there is no such entry.
    async fn packed(&self, connection: &mut Connection, target: &SystemName) -> Result<Vec<i64>, sqlx::Error> {
        let groups = self.groups.find(connection, &GROUPS, target).await?;
        let users = self.users.find(connection, &USERS, target).await?;
        let pack = |(group, user): &(usize, usize)| Some(groups[*group]? << 32 | users[*user]?);
        let mut packed: Vec<i64> = self.pairs.iter().filter_map(pack).collect();
        packed.sort_unstable();
        Ok(packed)
    }
}

/// Drops the names that no entry uses any more. Called now and then: an unused name costs a row and nothing else.
pub(super) async fn tidy(connection: &mut Connection) -> Result<(), sqlx::Error> {
    // As sets: "not in" goes through the whole ledger for each name on a server, and "not exists" does so in a file.
    const GROUPS: &str =
        "delete from ledger_groups where id in (select id from ledger_groups except select group_id from ledger)";
    const USERS: &str = "delete from ledger_users where id in (select id from ledger_users except select user_id from ledger)";
    query(GROUPS).execute(&mut *connection).await?;
    query(USERS).execute(connection).await?;
    Ok(())
}
