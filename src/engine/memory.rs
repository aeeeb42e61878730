//! What the journal says of one job at one target: read once, so that a plan is made of values, and can be made again of the
//! same values later.

use chrono::{DateTime, TimeDelta, Utc};

use super::confirm::waiting;
use super::decided::Decided;
use crate::contract::journal::{Journal, JournalError, Removals, Sizes};
use crate::model::key::{JobName, SystemName};
use crate::model::ledger::Ledger;
use crate::model::link::Links;
use crate::model::retry::Retry;

/// What is known before anything is asked.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Which account is whose.
    pub links: Links,
    /// Which memberships are ours.
    pub ledger: Ledger,
    /// The source's sizes at the last good run.
    pub sizes: Option<Sizes>,
    /// What was taken away in the last 24 hours.
    pub recent: Removals,
    /// What people decided, and what waits for them.
    pub decided: Decided,
    /// The retry queue's entries of this job at this target.
    pub waiting: Vec<Retry>,
}

impl Memory {
    /// Reads it.
    ///
    /// # Errors
    /// A journal that could not be read.
    pub async fn read(
        journal: &dyn Journal,
        job: &JobName,
        target: &SystemName,
        now: DateTime<Utc>,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            links: journal.links(target).await?,
            ledger: journal.ledger(target).await?,
            sizes: journal.sizes(job, target).await?,
            recent: journal.removals_since(target, now - TimeDelta::hours(24)).await?,
            decided: Decided::read(journal, job, target).await?,
            waiting: waiting(journal, job, target).await?,
        })
    }
}
