//! A store that was copied elsewhere says so, and takes nothing more.
//!
//! Of two stores with one past only one may go on. A daemon that was started on the old one by mistake, or that had it open and
//! was stopped while it was copied, would do again what is done by the other, and forget what the other remembers. So the mark is
//! read when a store is opened to be written, with each write in its own transaction, and with each lease.

use super::failure::{failed, refused};
use super::open::OpenError;
use super::sql::{Connection, query, query_scalar};
use super::{Access, CopyError, Place, SqlJournal, open_wherever};
use crate::contract::journal::JournalError;

/// Where the store was copied to; `None` for one that is in use.
pub(super) async fn place(connection: &mut Connection) -> Result<Option<String>, sqlx::Error> {
    query_scalar("select place from moved limit 1").fetch_optional(connection).await
}

/// Fails for a store that was copied elsewhere.
pub(super) async fn refuse(connection: &mut Connection, doing: &'static str) -> Result<(), JournalError> {
    match place(connection).await.map_err(failed(doing))? {
        None => Ok(()),
        Some(place) => {
            Err(refused(doing, format!("this store was copied to {place}, which is in use since: nothing is written here")))
        }
    }
}

/// The same for a store that is being opened to be written.
pub(super) async fn refuse_to_open(journal: &SqlJournal, there: Place<'_>) -> Result<(), OpenError> {
    let at = there.bare();
    let failed = |error: JournalError| OpenError::Unsaid { store: at.clone(), why: error.why, passing: error.passing };
    let mut seat = journal.seats.reader("").await.map_err(failed)?;
    let place = place(&mut seat).await.map_err(super::failure::failed("")).map_err(failed)?;
    place.map_or(Ok(()), |to| Err(OpenError::Moved { store: at, to }))
}

/// Says where it was copied to.
pub(super) async fn mark(connection: &mut Connection, place: &str, at: i64) -> Result<(), sqlx::Error> {
    query("insert into moved (place, at) values ($1, $2)").bind(place).bind(at).execute(connection).await.map(drop)
}

/// Takes a store into use again that was copied elsewhere, and says where; `None` if it was not.
///
/// # Errors
/// See [`CopyError`].
pub async fn reopen(place: Place<'_>) -> Result<Option<String>, CopyError> {
    let there = open_wherever(place, Access::Write, false).await?.ok_or_else(|| CopyError::Nothing(place.bare()))?;
    let reopened = take_back(&there).await;
    there.close().await.map_err(|e| CopyError::Failed { doing: "closed", why: e.why })?;
    reopened.map_err(|e| CopyError::Failed { doing: "written", why: e.why })
}

async fn take_back(journal: &SqlJournal) -> Result<Option<String>, JournalError> {
    const DOING: &str = "take a store into use again";
    let mut seat = journal.seats.writer(DOING).await?;
    let mut transaction = seat.writing_wherever().await?;
    let was = self::place(&mut transaction).await.map_err(failed(DOING))?;
    query("delete from moved").execute(&mut transaction).await.map_err(failed(DOING))?;
    transaction.commit().await.map_err(failed(DOING))?;
    Ok(was)
}
