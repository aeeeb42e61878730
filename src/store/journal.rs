//! The journal on a database: the contract's methods, each told in the file of its idea.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::open::{self, OpenError, OpenOptions};
use super::seats::Seats;
use super::{
    chain, changes, decisions, effects, expiring, history, leases, ledger, links, outbox, releases, rests, retries, runs, staged,
    waits,
};
use crate::contract::chain::{Head, Verification};
use crate::contract::history::{ChangeQuery, Told};
use crate::contract::journal::{
    ChangeRecord, Effect, Freshness, Intent, IntentId, Journal, JournalError, Lease, Refused, Removals, Rest, RunEnd, RunQuery,
    RunRecord, RunStart, Settlement, Sizes, Staged, Standing, Waits,
};
use crate::contract::notice::{Ailing, Expiring, Note, NoteId, Notice};
use crate::contract::verdict::{Decision, Hold, Release, SavedPlan};
use crate::model::key::{JobName, RunId, SystemName, TargetKey};
use crate::model::ledger::Ledger;
use crate::model::link::Links;
use crate::model::retry::{Retry, Subject};

/// The journal in one SQLite file, in memory, or on a PostgreSQL server. Cheap to share; methods may be called from any number of tasks.
pub struct SqlJournal {
    pub(super) seats: Seats,
}

impl SqlJournal {
    /// Opens a state file.
    ///
    /// # Errors
    /// See [`OpenError`]. A file that is refused was not touched.
    pub async fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        Ok(Self { seats: open::file(path, options).await? })
    }

    /// Opens an empty journal in memory, seen by this value alone; optionally one that refuses to be written.
    ///
    /// # Errors
    /// When SQLite cannot be set up at all.
    pub async fn memory(read_only: bool) -> Result<Self, OpenError> {
        Ok(Self { seats: open::memory(read_only).await? })
    }

    /// Closes the file and waits for it, so that it can be copied. Dropping the value closes it too, in its own time.
    ///
    /// # Errors
    /// When the last write into the file fails; nothing is lost then, the log beside the file has it.
    pub async fn close(self) -> Result<(), JournalError> {
        self.seats.close().await.map_err(super::failure::failed("close the state file"))
    }
}

#[async_trait]
impl Journal for SqlJournal {
    async fn links(&self, target: &SystemName) -> Result<Links, JournalError> {
        links::load(&self.seats, target).await
    }
    async fn ledger(&self, target: &SystemName) -> Result<Ledger, JournalError> {
        ledger::load(&self.seats, target).await
    }
    async fn record(&self, target: &SystemName, effects: &[Effect]) -> Result<(), JournalError> {
        effects::record(&self.seats, target, effects).await
    }

    async fn begin(&self, start: &RunStart) -> Result<(), JournalError> {
        runs::begin(&self.seats, start).await
    }
    async fn end(&self, run: &RunId, end: &RunEnd) -> Result<Head, JournalError> {
        runs::end(&self.seats, run, end).await
    }
    async fn intend(
        &self,
        run: &RunId,
        target: &SystemName,
        intents: &[Intent],
        at: DateTime<Utc>,
    ) -> Result<Vec<IntentId>, JournalError> {
        changes::intend(&self.seats, run, target, intents, at).await
    }
    async fn settle(&self, target: &SystemName, settlements: &[Settlement], at: DateTime<Utc>) -> Result<(), JournalError> {
        changes::settle(&self.seats, target, settlements, at).await
    }
    async fn recover(&self, target: &SystemName, at: DateTime<Utc>) -> Result<Vec<ChangeRecord>, JournalError> {
        changes::recover(&self.seats, target, at).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, JournalError> {
        runs::list(&self.seats, query).await
    }
    async fn run(&self, id: &str) -> Result<Option<RunRecord>, JournalError> {
        runs::find(&self.seats, id).await
    }
    async fn changes(&self, run: &RunId) -> Result<Vec<ChangeRecord>, JournalError> {
        changes::of_run(&self.seats, run).await
    }
    async fn history(&self, query: &ChangeQuery) -> Result<Vec<Told>, JournalError> {
        history::history(&self.seats, query).await
    }
    async fn last_began(&self, job: &JobName) -> Result<Option<DateTime<Utc>>, JournalError> {
        runs::last_began(&self.seats, job).await
    }
    async fn freshness(&self, job: &JobName, target: &SystemName) -> Result<Freshness, JournalError> {
        runs::freshness(&self.seats, job, target).await
    }
    async fn sizes(&self, job: &JobName, target: &SystemName) -> Result<Option<Sizes>, JournalError> {
        runs::sizes(&self.seats, job, target).await
    }
    async fn removals_since(&self, target: &SystemName, since: DateTime<Utc>) -> Result<Removals, JournalError> {
        changes::removals_since(&self.seats, target, since).await
    }

    async fn stage(&self, job: &JobName, target: &SystemName, staged: &[Staged]) -> Result<(), JournalError> {
        staged::replace(&self.seats, job, target, staged).await
    }
    async fn staged(&self) -> Result<Vec<Staged>, JournalError> {
        staged::all(&self.seats).await
    }

    async fn save_plan(&self, plan: &SavedPlan) -> Result<(), JournalError> {
        decisions::save_plan(&self.seats, plan).await
    }
    async fn saved_plans(&self, id: &str) -> Result<Vec<SavedPlan>, JournalError> {
        decisions::saved_plans(&self.seats, id).await
    }
    async fn decide(&self, decided: &[Decision]) -> Result<(), JournalError> {
        decisions::decide(&self.seats, decided).await
    }
    async fn decisions(&self) -> Result<Vec<Decision>, JournalError> {
        decisions::decisions(&self.seats).await
    }
    async fn undecide(
        &self,
        job: &JobName,
        target: &SystemName,
        marks: &[String],
        at: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        decisions::undecide(&self.seats, job, target, marks, at).await
    }
    async fn hold(&self, holds: &[Hold]) -> Result<(), JournalError> {
        decisions::hold(&self.seats, holds).await
    }
    async fn wish(&self, holds: &[Hold]) -> Result<(), JournalError> {
        decisions::wish(&self.seats, holds).await
    }
    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        decisions::holds(&self.seats).await
    }
    async fn let_go(&self, job: &JobName, target: &SystemName, users: &[TargetKey]) -> Result<(), JournalError> {
        decisions::let_go(&self.seats, job, target, users).await
    }

    async fn enqueue(&self, retries: &[Retry]) -> Result<(), JournalError> {
        retries::enqueue(&self.seats, retries).await
    }
    async fn dequeue(&self, job: &JobName, target: &SystemName, subjects: &[Subject]) -> Result<(), JournalError> {
        retries::dequeue(&self.seats, job, target, subjects).await
    }
    async fn retries(&self) -> Result<Vec<Retry>, JournalError> {
        retries::all(&self.seats).await
    }
    async fn waits(&self) -> Result<BTreeMap<(JobName, SystemName), Waits>, JournalError> {
        waits::all(&self.seats).await
    }

    async fn rests(&self) -> Result<Vec<Rest>, JournalError> {
        rests::all(&self.seats).await
    }
    async fn rest(&self, system: &SystemName, rest: Option<&Rest>) -> Result<(), JournalError> {
        rests::set(&self.seats, system, rest).await
    }
    async fn refused(&self) -> Result<Vec<Refused>, JournalError> {
        rests::refused(&self.seats).await
    }
    async fn forgive(&self, system: &SystemName) -> Result<bool, JournalError> {
        rests::forgive(&self.seats, system).await
    }
    async fn ailing(&self) -> Result<Vec<Ailing>, JournalError> {
        outbox::ailing(&self.seats).await
    }
    async fn heal(&self, system: &SystemName, notices: &[Notice]) -> Result<(), JournalError> {
        outbox::heal(&self.seats, system, notices).await
    }

    async fn expiring(&self) -> Result<Vec<Expiring>, JournalError> {
        expiring::all(&self.seats).await
    }
    async fn expire(&self, system: &SystemName, expiring: Option<&Expiring>, notices: &[Notice]) -> Result<(), JournalError> {
        expiring::set(&self.seats, system, expiring, notices).await
    }
    async fn release(&self, release: &Release, holds: &[Hold], due: &[Retry]) -> Result<(), JournalError> {
        releases::release(&self.seats, release, holds, due).await
    }
    async fn releases(&self, limit: u32) -> Result<Vec<Release>, JournalError> {
        releases::list(&self.seats, limit).await
    }
    async fn post(&self, notices: &[Notice]) -> Result<(), JournalError> {
        outbox::post(&self.seats, notices).await
    }
    async fn notes_due(&self, now: DateTime<Utc>) -> Result<Vec<Note>, JournalError> {
        outbox::due(&self.seats, now).await
    }
    async fn note_done(&self, note: NoteId) -> Result<(), JournalError> {
        outbox::done(&self.seats, note).await
    }
    async fn note_later(&self, note: NoteId, attempts: u32, not_before: DateTime<Utc>) -> Result<(), JournalError> {
        outbox::later(&self.seats, note, attempts, not_before).await
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration, now: DateTime<Utc>) -> Result<Option<Lease>, JournalError> {
        leases::take(&self.seats, name, holder, ttl, now).await
    }
    async fn leased(&self, name: &str) -> Result<Option<Lease>, JournalError> {
        leases::look(&self.seats, name).await
    }
    async fn unlease(&self, lease: &Lease) -> Result<(), JournalError> {
        leases::give_back(&self.seats, lease).await
    }

    async fn leases(&self, now: DateTime<Utc>) -> Result<Vec<Standing>, JournalError> {
        leases::all(&self.seats, now).await
    }
    fn fenced(&self, lease: &Lease) -> Arc<dyn Journal> {
        Arc::new(Self { seats: self.seats.fenced(lease) })
    }
    async fn standing(&self) -> Result<(), JournalError> {
        match self.seats.fence() {
            Some(fence) => fence.standing(&self.seats).await,
            None => Ok(()),
        }
    }
    fn is_shared(&self) -> bool {
        self.seats.is_shared()
    }

    async fn head(&self) -> Result<Head, JournalError> {
        chain::head(&self.seats).await
    }
    async fn verify(&self, head: Option<&str>) -> Result<Verification, JournalError> {
        chain::verify(&self.seats, head).await
    }

    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, JournalError> {
        runs::prune(&self.seats, before).await
    }
}
