//! Whether a run believes the source: by what it shows, and where it shows nobody who is linked, by what it says of them.

use chrono::{DateTime, Datelike, Utc};

use super::policy::Job;
use super::prepare::SourceReading;
use super::proofs::Proofs;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::Sizes;
use crate::model::link::{Links, UserLink};
use crate::reconcile::health::{blind, knows_nobody};

/// Why the source is not believed, and why it is taken for another organisation, if it is.
pub(super) async fn believed(
    job: &Job,
    reading: &SourceReading,
    last: Option<&Sizes>,
    links: &Links,
    now: DateTime<Utc>,
) -> (Option<String>, Option<String>) {
    let blind = blind(&reading.signs, last, &job.health);
    let Some(nobody) = knows_nobody(&reading.desired, links, &job.health) else { return (blind, None) };
    let (why, is_stranger) = match has_any(links, &reading.proofs, now).await {
        Ok(true) => {
            ("it has users who are linked, and shows none of them: what it is asked for is not what it was".to_owned(), false)
        }
        Ok(false) => (nobody, true),
        Err(error) => {
            (format!("it shows none of the users who are linked, and whether it has them at all is not known: {error}"), true)
        }
    };
    (blind.or_else(|| Some(why.clone())), is_stranger.then_some(why))
}

/// Of how many who are linked a source that shows none of them is asked whether it has them.
const ASKED_FOR: usize = 8;

/// Whether the source has any of those who are linked, though it shows none: then it is the same organisation, of which other
/// people are asked for than before (another app, other groups). It is asked about a few from all over the list, one by one,
/// and about others every day: those of today may all have left.
async fn has_any(links: &Links, proofs: &Proofs, now: DateTime<Utc>) -> Result<bool, ConnectorError> {
    let linked: Vec<&UserLink> = links.users.iter().filter(|link| link.leaving_since.is_none()).collect();
    let step = linked.len().div_ceil(ASKED_FOR).max(1);
    let first = now.ordinal() as usize % step;
    let mut few: Vec<&UserLink> = linked.iter().skip(first).step_by(step).copied().collect();
    // Under pseudonyms those who were asked about stand elsewhere in the list.
    let asked: Vec<&UserLink> =
        linked.into_iter().filter(|link| proofs.played().is_some_and(|p| p.contains(&link.source))).collect();
    if !asked.is_empty() {
        few = asked;
    }
    let mut unanswered = None;
    for link in few {
        match proofs.user(&link.source).await {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => {}
            // One may be unreadable.
            Err(error) if unanswered.is_none() && error.fault != Fault::Refused => unanswered = Some(error),
            Err(error) => return Err(error),
        }
    }
    unanswered.map_or(Ok(false), Err)
}
