//! Effects: what outcomes change in links and ledger.
//!
//! They come by the hundred thousand, so neighbours of one kind go down in one statement. Order matters only between
//! effects on the same record; user links, group links and ledger are different records, so each is its own stream, in the
//! order given.

use super::failure::failed;
use super::seats::Seats;
use super::sql::Connection;
use super::{ledger, links};
use crate::contract::journal::{Effect, JournalError};
use crate::model::key::SystemName;

/// Effects that are made into statements at a time: those of a first run come by the million, and memory is not needed for
/// all of them twice.
const AT_A_TIME: usize = 50_000;

pub(super) async fn record(seats: &Seats, target: &SystemName, effects: &[Effect]) -> Result<(), JournalError> {
    const DOING: &str = "record links and owned memberships";
    if effects.is_empty() {
        return Ok(());
    }
    let mut seat = seats.writer(DOING).await?;
    let mut transaction = seat.writing().await?;
    for some in effects.chunks(AT_A_TIME) {
        apply(&mut transaction, target, some).await.map_err(failed(DOING))?;
    }
    transaction.commit().await.map_err(failed(DOING))
}

/// Applies effects within the transaction of their outcomes.
pub(super) async fn apply<'e>(
    connection: &mut Connection,
    target: &SystemName,
    effects: impl IntoIterator<Item = &'e Effect>,
) -> Result<(), sqlx::Error> {
    let mut users = Vec::new();
    let mut groups = Vec::new();
    let mut entries = Vec::new();
    for effect in effects {
        match effect {
            Effect::LinkUser(link) => users.push(links::UserStep::Link(link)),
            Effect::UnlinkUser { source, target: user } => {
                users.push(links::UserStep::Unlink { source, user });
                entries.push(ledger::Step::Forget { user });
            }
            Effect::LinkGroup(link) => groups.push(links::GroupStep::Link(link)),
            Effect::UnlinkGroup { source, target: group } => groups.push(links::GroupStep::Unlink { source, group }),
            Effect::Own { group, user } => entries.push(ledger::Step::Own { group, user }),
            Effect::OwnAll(ledger) => entries.push(ledger::Step::OwnAll(ledger)),
            Effect::Disown { group, user } => entries.push(ledger::Step::Disown { group, user }),
        }
    }
    links::write_users(connection, target, &users).await?;
    links::write_groups(connection, target, &groups).await?;
    ledger::write(connection, target, &entries).await
}
