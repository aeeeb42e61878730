//! `rosterd release`: ends the rest of a system, or the quarantine of a subject, by a person's word.

use chrono::Utc;
use clap::Args;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::contract::verdict::Hold;
use crate::model::key::{SystemName, fold};
use crate::model::retry::{Retry, Subject};
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// The name of a source or target, the source's id of a user, the user name at a target, or the id of a run that was undone
    what: String,
}

/// Whether a hold is on the user of this name or id, at the target of this name, or due to the undo of this run.
fn is_about(hold: &Hold, what: &str) -> bool {
    let source = hold.source.as_ref().map(|s| s.as_str());
    source == Some(what) || hold.target.as_str() == what || hold.run.as_str() == what || fold(&hold.user_name) == fold(what)
}

/// Releases.
///
/// # Errors
/// A name that neither rests nor waits.
pub fn command(arguments: &Arguments, more: &ReleaseArguments) -> Result<Exit, Failure> {
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Write).await?;
        let system = SystemName::from(more.what.as_str());
        let rested = journal.rests().await?.iter().any(|r| r.system == system);
        if rested {
            journal.rest(&system, None).await?;
        }
        let holds: Vec<Hold> = journal.holds().await?.into_iter().filter(|h| is_about(h, &more.what)).collect();
        for hold in &holds {
            journal.let_go(&hold.job, &hold.target, std::slice::from_ref(&hold.user)).await?;
        }
        let now = Utc::now();
        let due: Vec<Retry> = journal
            .retries()
            .await?
            .into_iter()
            .filter(|r| matches!(&r.subject, Subject::User(key) if key.as_str() == more.what) || r.target == system)
            .map(|r| Retry { attempts: 0, quarantined: false, not_before: now, ..r })
            .collect();
        journal.enqueue(&due).await?;
        if !rested && due.is_empty() && holds.is_empty() {
            let hint = "`rosterd retries` lists what rests and waits, `rosterd status` who is held";
            return Err(
                Failure::new(Exit::Failed, format!("{:?} neither rests nor waits, and is not held", more.what)).hint(hint)
            );
        }
        let are = if due.len() == 1 { "is" } else { "are" };
        if !holds.is_empty() {
            let users = output::count(holds.len(), "user");
            output::line(&format!("no longer held: {users}; the next run decides about them again"))?;
        }
        output::line(&format!("released {}: {} {are} due now", more.what, output::count(due.len(), "subject")))?;
        Ok(Exit::Done)
    })
}
