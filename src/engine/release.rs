//! The end of a rest, of a quarantine or of holds by a person's word, from whichever side it comes: the command line or the
//! API.

use chrono::{DateTime, Utc};

use crate::contract::journal::{Journal, JournalError};
use crate::contract::verdict::{Freed, Hold, Release};
use crate::model::key::{SystemName, fold};
use crate::model::retry::{Retry, Subject};

/// What was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whether a system's rest was.
    pub rest: bool,
    /// The holds.
    pub holds: Vec<Hold>,
    /// The entries of the retry queue that are due now.
    pub due: Vec<Retry>,
}

/// Why nothing was released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Nothing of that name waits for it.
    #[error("{0:?} neither rests nor waits, and is not held")]
    Nothing(String),
    /// The store.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Whether a hold is on the user of this name or id, or due to the undo of this run. The name of its target is not enough:
/// whoever ends the rest of a system has not looked at who is held there.
fn is_about(hold: &Hold, what: &str) -> bool {
    let source = hold.source.as_ref().map(|s| s.as_str());
    source == Some(what) || hold.run.as_str() == what || fold(&hold.user_name) == fold(what)
}

/// Whether an entry of the retry queue is about the user of this name or id.
fn waits_as(retry: &Retry, what: &str) -> bool {
    let Subject::User(key) = &retry.subject else { return false };
    key.as_str() == what || retry.user_name.as_deref().is_some_and(|name| fold(name) == fold(what))
}

/// Who releases what.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// What is named.
    pub what: &'a str,
    /// Who says it.
    pub actor: &'a str,
    /// Why, where a reason is given.
    pub reason: Option<&'a str>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Ends whatever is meant by a name: the rest of a system, with what waits on the retry queue there; the quarantine or the
/// holds of a user; the holds that a run's undo has left. The journal keeps who said so, in the same write.
///
/// # Errors
/// A name by which nothing rests, waits or is held; a journal that cannot be written.
pub async fn release(journal: &dyn Journal, said: Said<'_>) -> Result<Released, ReleaseError> {
    let Said { what, actor, reason, at } = said;
    let system = SystemName::from(what);
    let rests = journal.rests().await?.iter().any(|rest| rest.system == system);
    // Also where a credential is all that is remembered: whoever releases it has it tried again.
    let rest = rests || journal.refused().await?.iter().any(|refused| refused.system == system);
    let holds: Vec<Hold> = journal.holds().await?.into_iter().filter(|h| is_about(h, what)).collect();
    let waiting = journal.retries().await?.into_iter().filter(|r| r.target == system || waits_as(r, what));
    let due: Vec<Retry> = waiting.map(|r| Retry { attempts: 0, quarantined: false, not_before: at, ..r }).collect();
    if !rest && due.is_empty() && holds.is_empty() {
        return Err(ReleaseError::Nothing(what.to_owned()));
    }
    let release = Release {
        what: what.to_owned(),
        actor: actor.to_owned(),
        reason: reason.map(str::to_owned),
        at,
        rest: rest.then_some(system),
        holds: holds.iter().map(held).collect(),
        due: due.iter().map(waited).collect(),
    };
    journal.release(&release, &holds, &due).await?;
    Ok(Released { rest, holds, due })
}

fn held(hold: &Hold) -> Freed {
    let Hold { job, target, source, user_name, .. } = hold.clone();
    Freed { job, target, source, user_name: Some(user_name) }
}

fn waited(retry: &Retry) -> Freed {
    let Retry { job, target, subject, user_name, .. } = retry.clone();
    let source = match subject {
        Subject::User(key) => Some(key),
        Subject::Everything => None,
    };
    Freed { job, target, source, user_name }
}
