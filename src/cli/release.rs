//! `rosterd release`: ends the rest of a system, or the quarantine of a subject, by a person's word.

use chrono::Utc;
use clap::Args;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::model::key::SystemName;
use crate::model::retry::{Retry, Subject};
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// The name of a source or target, or the source's id of a user
    what: String,
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
        let now = Utc::now();
        let due: Vec<Retry> = journal
            .retries()
            .await?
            .into_iter()
            .filter(|r| matches!(&r.subject, Subject::User(key) if key.as_str() == more.what) || r.target == system)
            .map(|r| Retry { attempts: 0, quarantined: false, not_before: now, ..r })
            .collect();
        journal.enqueue(&due).await?;
        if !rested && due.is_empty() {
            let hint = "`rosterd retries` lists what rests and waits";
            return Err(Failure::new(Exit::Failed, format!("{:?} neither rests nor waits", more.what)).hint(hint));
        }
        let are = if due.len() == 1 { "is" } else { "are" };
        output::line(&format!("released {}: {} {are} due now", more.what, output::count(due.len(), "subject")))?;
        Ok(Exit::Done)
    })
}
