//! Both ends of what is kept: how the chain begins, and how its oldest part goes when what it is about has gone.

use super::digest::hex;
use super::spoken::Sort;
use super::{Entry, Said, What, append};
use crate::store::sql::{Connection, query, query_scalar};

/// Begins the chain of a store that has none: with what is there already, of which nothing is known.
pub(in crate::store) async fn open(connection: &mut Connection) -> Result<(), sqlx::Error> {
    const LAST: &str = "select max(at) from (select max(began_at) as at from runs union all select max(ended_at) from runs
        union all select max(at) from changes union all select max(settled_at) from changes
        union all select max(at) from decisions union all select max(ended) from decisions
        union all select max(since) from holds) as times";
    const DECISIONS: &str = concat!("select ", super::decision_columns!(), ", ended from decisions");
    const HOLDS: &str = concat!("select ", super::hold_columns!(), " from holds");
    let begun: bool =
        query_scalar("select exists (select 1 from sqlite_sequence where name = 'seals')").fetch_one(&mut *connection).await?;
    if begun {
        return Ok(());
    }
    let at: Option<i64> = query_scalar(LAST).fetch_one(&mut *connection).await?;
    let mut said = Said {
        runs: query_scalar("select id from runs order by id").fetch_all(&mut *connection).await?,
        changes: query_scalar("select max(id) from changes").fetch_one(&mut *connection).await?,
        ..Said::default()
    };
    // Those that have ended already go unchecked: nobody acts on them any more.
    for row in query(DECISIONS).fetch_all(&mut *connection).await? {
        if row.try_get::<Option<i64>>("ended")?.is_none() {
            said.written.push(Sort::Decision.named(&row)?);
        }
    }
    for row in query(HOLDS).fetch_all(&mut *connection).await? {
        said.holds.push(Sort::Hold.named(&row)?);
    }
    append(connection, Entry::saying(What::Opened, Some(at.unwrap_or(0)), said)).await.map(drop)
}

/// Deletes the oldest entries, as far as nothing that is still there is older than they are. The last of them stays as the
/// beginning, and a new entry names it.
pub(in crate::store) async fn fold(connection: &mut Connection, before: i64) -> Result<(), sqlx::Error> {
    const BOUND: &str = "select min(at) from (select min(began_at) as at from runs union all select min(at) from decisions
        union all select min(since) from holds union all select min(at) from releases union all select $1) as times";
    const ENDS: &str =
        "select min(id) as first, (select id from seals where at >= $1 order by id limit 1) as stays, max(id) as last from seals";
    let bound: i64 = query_scalar(BOUND).bind(before).fetch_one(&mut *connection).await?;
    let ends = query(ENDS).bind(bound).fetch_one(&mut *connection).await?;
    let (Some(first), Some(last)) = (ends.try_get::<Option<i64>>("first")?, ends.try_get::<Option<i64>>("last")?) else {
        return Ok(());
    };
    let kept = ends.try_get::<Option<i64>>("stays")?.map_or(last, |stays| stays - 1);
    if kept <= first {
        return Ok(());
    }
    let chain: Vec<u8> = query_scalar("select chain from seals where id = $1").bind(kept).fetch_one(&mut *connection).await?;
    query("delete from seals where id < $1").bind(kept).execute(&mut *connection).await?;
    let said = Said { from: Some((kept, hex(&chain))), ..Said::default() };
    append(connection, Entry::saying(What::Folded, None, said)).await.map(drop)
}
