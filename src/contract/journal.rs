//! The journal: the durable record of runs, intents and outcomes, links, ownership, staged removals, retries and leases.
//!
//! Its contract is the one of a saga log: an intent is written before a call and its outcome after it, together with the
//! effects on links and ledger, in one transaction. An intent without an outcome found at start tells that a process died
//! there; the next run's reading of the target settles it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

pub use super::run::{DIED, Ended, Fired, Freshness, RunEnd, RunQuery, RunRecord, RunStart, STOPPED, Sizes, Trigger};

use super::chain::{Head, Verification};
use super::history::{ChangeQuery, Told};
use super::notice::{Ailing, Expiring, Note, NoteId, Notice};
use super::verdict::{Decision, Hold, Release, SavedPlan};
use crate::model::change::{OpKind, Reason};
use crate::model::desired::Attributes;
use crate::model::key::{JobName, PlanId, RunId, SourceKey, SystemName, TargetKey};
use crate::model::ledger::Ledger;
use crate::model::link::{GroupLink, Links, UserLink};
use crate::model::retry::{Retry, Subject};

/// A journal that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the state store could not {doing}: {why}")]
pub struct JournalError {
    /// What was being done.
    pub doing: &'static str,
    /// The cause, for a person.
    pub why: String,
    /// Whether the same call may succeed in a moment (the store was busy).
    pub passing: bool,
}

/// A change about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Intent {
    /// What kind.
    pub kind: OpKind,
    /// The source user it is about.
    pub source: Option<SourceKey>,
    /// The target user's id, if it exists yet.
    pub user: Option<TargetKey>,
    /// The target user's name.
    #[schema(value_type = Option<String>)]
    pub user_name: Option<SmolStr>,
    /// The target group's name.
    #[schema(value_type = Option<String>)]
    pub group: Option<SmolStr>,
    /// Attributes before, for an update.
    pub before: Option<Attributes>,
    /// Attributes after, for an update or a creation.
    pub after: Option<Attributes>,
    /// Why.
    pub because: Reason,
    /// Who let it through or asked for it, for what no schedule does by itself: an approved removal, an undo. Such removals
    /// do not count towards the limits of a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_by: Option<String>,
}

/// The number of an intent in the journal, ascending in the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct IntentId(pub i64);

/// What came of an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Done by this call.
    Done,
    /// The target was already so; verified by reading.
    AlreadySo,
    /// Failed; the word of the fault and the text for a person.
    Failed {
        /// [`super::fault::Fault::word`].
        fault: String,
        /// Why.
        why: String,
    },
    /// Not made: the run was stopped before the call.
    Skipped,
    /// The process died between intent and outcome; settled by a later run's reading.
    Lost,
}

impl Outcome {
    /// The words of all outcomes.
    pub const WORDS: [&str; 5] = ["done", "already_so", "failed", "skipped", "lost"];

    /// The word that metrics use.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::AlreadySo => "already_so",
            Outcome::Failed { .. } => "failed",
            Outcome::Skipped => "skipped",
            Outcome::Lost => "lost",
        }
    }
}

/// What an outcome changes in links and ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Writes a user link, replacing the one of the same source user. Boxed, since it is the largest by far.
    LinkUser(Box<UserLink>),
    /// Cuts a user link and forgets the user's ledger entries.
    UnlinkUser {
        /// Whose.
        source: SourceKey,
        /// The target's id of the user.
        target: TargetKey,
    },
    /// Writes a group link.
    LinkGroup(GroupLink),
    /// Cuts a group link.
    UnlinkGroup {
        /// The source group.
        source: SourceKey,
        /// The target group.
        target: TargetKey,
    },
    /// Enters a membership into the ledger.
    Own {
        /// The target group.
        group: TargetKey,
        /// The target user.
        user: TargetKey,
    },
    /// Enters memberships into the ledger that were seen to agree. As a ledger, since a first run brings a million of them: so
    /// each takes four bytes.
    OwnAll(Box<Ledger>),
    /// Strikes a membership from the ledger.
    Disown {
        /// The target group.
        group: TargetKey,
        /// The target user.
        user: TargetKey,
    },
}

/// An intent's outcome with its effects; written in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which intent.
    pub intent: IntentId,
    /// What came of it.
    pub outcome: Outcome,
    /// The account that a creation made.
    pub created: Option<TargetKey>,
    /// Groups that a deactivation took the user out of, for undo; also those it had taken before it failed.
    pub left_groups: Vec<String>,
    /// The target's own id of the request that made the change, or at which it failed.
    pub request: Option<Box<str>>,
    /// What it changes.
    pub effects: Vec<Effect>,
}

/// A change as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeRecord {
    /// Its number.
    pub id: IntentId,
    /// Its run.
    pub run: RunId,
    /// What was to be done.
    #[serde(flatten)]
    pub intent: Intent,
    /// When the intent was written.
    pub at: DateTime<Utc>,
    /// What came of it; `None` while open.
    pub outcome: Option<Outcome>,
    /// When the outcome was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<DateTime<Utc>>,
    /// The target's own id of the request that made the change, or at which it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub request: Option<Box<str>>,
    /// Groups that a deactivation took the user out of, whatever came of it as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_groups: Vec<String>,
}

/// A removal that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Staged {
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// The plan it stood in last.
    pub plan: PlanId,
    /// The mark by which a decision names it.
    pub mark: String,
    /// What kind.
    pub kind: OpKind,
    /// The source user, where known.
    pub source: Option<SourceKey>,
    /// The target user.
    pub user: TargetKey,
    /// The target user's name.
    #[schema(value_type = String)]
    pub user_name: SmolStr,
    /// The target group's name, for a membership.
    #[schema(value_type = Option<String>)]
    pub group: Option<SmolStr>,
    /// Why it is wanted.
    pub because: Reason,
    /// Which guards hold it.
    pub held_by: Vec<String>,
    /// Since when it waits.
    pub since: DateTime<Utc>,
}

/// What waits for a job at a target, counted: whoever only watches needs no names, and no more memory where more waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Removals that wait for a person, by kind; kinds of which none waits are left out.
    pub staged: BTreeMap<OpKind, u64>,
    /// Since when the oldest of them waits.
    pub staged_since: Option<DateTime<Utc>>,
    /// Subjects on the retry queue, those in quarantine left out.
    pub retries: u64,
    /// When the oldest of them failed first.
    pub failing_since: Option<DateTime<Utc>>,
    /// Subjects in quarantine.
    pub quarantined: u64,
    /// Users who are held.
    pub held: u64,
}

/// Removals that were made, for the limits over a rolling day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removals {
    /// Deactivations and deletions.
    pub deactivations: u32,
    /// Membership removals.
    pub memberships: u32,
    /// Membership removals by group, ascending by key.
    pub by_group: Vec<(TargetKey, u32)>,
}

/// A target (or source) that rests: its quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rest {
    /// Which system.
    pub system: SystemName,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, for a person.
    pub cause: String,
    /// The word of the fault that caused it; a change of it is worth a message.
    pub fault: String,
    /// Failures in a row.
    pub failures: u32,
    /// No run before this time; `None`: not until its configuration changes or a person releases it.
    pub until: Option<DateTime<Utc>>,
    /// The mark of the credential that was refused, if that is why: whoever has another may try it. Nobody's business outside.
    #[serde(skip)]
    #[schema(ignore)]
    pub credential: Option<String>,
}

/// A credential that a system refused, by its mark. It outlives the rest, which ends once another credential is taken: whoever
/// still has this one must not try it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which system.
    pub system: SystemName,
    /// The credential's mark.
    pub credential: String,
}

/// How the names of leases begin by which daemons show that they are there. Nobody else asks for such a name, and once it is
/// given back nothing is left of it.
pub const DAEMON: &str = "daemon/";

/// A lease on a name, so that no two processes do the same work at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// On what.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Grows with each change of holder.
    pub generation: i64,
}

impl Lease {
    /// The process that holds it, for a person.
    pub fn process(&self) -> String {
        let mut parts = self.holder.split(':');
        let (host, pid) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("process {pid} on {host}")
    }
}

/// A lease that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The lease.
    pub lease: Lease,
    /// Whether its time is over, so that anybody may take it.
    pub has_run_out: bool,
}

/// The durable record.
///
/// Beginnings, intents, outcomes and ends of runs, decisions, holds and releases are chained as they are written: see
/// [`super::chain`].
#[async_trait]
pub trait Journal: Send + Sync {
    /// All links of a target.
    async fn links(&self, target: &SystemName) -> Result<Links, JournalError>;
    /// All owned memberships of a target.
    async fn ledger(&self, target: &SystemName) -> Result<Ledger, JournalError>;
    /// Applies effects that need no call: links found, memberships seen to agree. One transaction.
    async fn record(&self, target: &SystemName, effects: &[Effect]) -> Result<(), JournalError>;

    /// Writes the beginning of a run.
    async fn begin(&self, start: &RunStart) -> Result<(), JournalError>;
    /// Writes the end of a run, and tells the chain's head with it.
    async fn end(&self, run: &RunId, end: &RunEnd) -> Result<Head, JournalError>;
    /// Writes intents, before their calls. One transaction; ids in the order given.
    async fn intend(
        &self,
        run: &RunId,
        target: &SystemName,
        intents: &[Intent],
        at: DateTime<Utc>,
    ) -> Result<Vec<IntentId>, JournalError>;
    /// Writes outcomes and their effects, after the calls. One transaction.
    async fn settle(&self, target: &SystemName, settlements: &[Settlement], at: DateTime<Utc>) -> Result<(), JournalError>;
    /// Marks intents of this target that were left open by a process that died as [`Outcome::Lost`], and runs without an
    /// end as interrupted; returns those changes. To be called by whoever holds the target's lease.
    async fn recover(&self, target: &SystemName, at: DateTime<Utc>) -> Result<Vec<ChangeRecord>, JournalError>;

    /// Lists runs, the newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, JournalError>;
    /// One run. An unambiguous beginning of its id will do.
    async fn run(&self, id: &str) -> Result<Option<RunRecord>, JournalError>;
    /// The changes of a run, in order.
    async fn changes(&self, run: &RunId) -> Result<Vec<ChangeRecord>, JournalError>;
    /// Changes of any runs, by what they are about and when they were made. A page at a time: a journal may be large.
    async fn history(&self, query: &ChangeQuery) -> Result<Vec<Told>, JournalError>;
    /// When a run of this job over everything began last: neither a retry nor an undo.
    async fn last_began(&self, job: &JobName) -> Result<Option<DateTime<Utc>>, JournalError>;
    /// When the last complete run of this job at this target was, as far back as runs are kept, and the oldest that is recorded.
    async fn freshness(&self, job: &JobName, target: &SystemName) -> Result<Freshness, JournalError>;
    /// The sizes of the source's roster at the last trusted run of this job at this target.
    async fn sizes(&self, job: &JobName, target: &SystemName) -> Result<Option<Sizes>, JournalError>;
    /// Removals made at a target since a time, other than those that a person let through.
    async fn removals_since(&self, target: &SystemName, since: DateTime<Utc>) -> Result<Removals, JournalError>;

    /// Replaces the staged removals of a job at a target; those that stay keep their `since`.
    async fn stage(&self, job: &JobName, target: &SystemName, staged: &[Staged]) -> Result<(), JournalError>;
    /// All staged removals.
    async fn staged(&self) -> Result<Vec<Staged>, JournalError>;

    /// Saves a plan, replacing one of the same id, job and target.
    async fn save_plan(&self, plan: &SavedPlan) -> Result<(), JournalError>;
    /// The saved plans of this id, the newest first: one for each target. Where no plan has
    /// this very id, those whose ids begin so: whoever asks has to see whether they are one.
    async fn saved_plans(&self, id: &str) -> Result<Vec<SavedPlan>, JournalError>;
    /// Writes decisions, replacing those on the same changes, and strikes the rejected ones from the staged removals. One
    /// transaction.
    async fn decide(&self, decisions: &[Decision]) -> Result<(), JournalError>;
    /// All decisions that stand: neither used up nor replaced nor ended, by job, target and time.
    async fn decisions(&self) -> Result<Vec<Decision>, JournalError>;
    /// Ends the decisions with these marks: they were used, or the change is gone. They are kept with the runs of their time.
    async fn undecide(&self, job: &JobName, target: &SystemName, marks: &[String], at: DateTime<Utc>)
    -> Result<(), JournalError>;
    /// Writes holds, replacing those on the same users.
    async fn hold(&self, holds: &[Hold]) -> Result<(), JournalError>;
    /// Writes what the source wants into those of these holds that still stand for the same run. One that a person has ended
    /// meanwhile, or that another undo has replaced, is left as it is.
    async fn wish(&self, holds: &[Hold]) -> Result<(), JournalError>;
    /// All holds, by job, target and user name.
    async fn holds(&self) -> Result<Vec<Hold>, JournalError>;
    /// Ends the holds on these users.
    async fn let_go(&self, job: &JobName, target: &SystemName, users: &[TargetKey]) -> Result<(), JournalError>;

    /// Writes retry entries, replacing those of the same job, target and subject.
    async fn enqueue(&self, retries: &[Retry]) -> Result<(), JournalError>;
    /// Drops the entries of these subjects: they healed or were superseded.
    async fn dequeue(&self, job: &JobName, target: &SystemName, subjects: &[Subject]) -> Result<(), JournalError>;
    /// All retry entries, quarantined ones included, by time.
    async fn retries(&self) -> Result<Vec<Retry>, JournalError>;

    /// How much waits for each job at each target: staged removals, the retry queue, quarantine, holds. Where nothing waits there
    /// is no entry. What it costs in memory depends on the number of jobs and targets and not on how much waits.
    async fn waits(&self) -> Result<BTreeMap<(JobName, SystemName), Waits>, JournalError>;

    /// The rests of all systems.
    async fn rests(&self) -> Result<Vec<Rest>, JournalError>;
    /// Writes or ends (`None`) a system's rest. A system whose rest is written ails from then on, until [`Journal::heal`]; a
    /// credential that it names is remembered beyond the rest, until [`Journal::forgive`].
    async fn rest(&self, system: &SystemName, rest: Option<&Rest>) -> Result<(), JournalError>;
    /// The credentials that were refused, by system, the last one of each last.
    async fn refused(&self) -> Result<Vec<Refused>, JournalError>;
    /// Ends a system's rest and forgets which credentials it refused. True if there was any of it.
    async fn forgive(&self, system: &SystemName) -> Result<bool, JournalError>;
    /// The systems that have failed and were not seen to answer since. The end of a rest alone changes nothing here: a reload
    /// or a release only allows another try.
    async fn ailing(&self) -> Result<Vec<Ailing>, JournalError>;
    /// Forgets that a system has failed, and posts the notices if it had. One transaction.
    async fn heal(&self, system: &SystemName, notices: &[Notice]) -> Result<(), JournalError>;

    /// When the credentials of systems expire, by system: what [`Journal::expire`] wrote last.
    async fn expiring(&self) -> Result<Vec<Expiring>, JournalError>;
    /// Writes or forgets (`None`) when a system's credential expires, and posts the notices unless this very thing was
    /// written before. One transaction.
    async fn expire(&self, system: &SystemName, expiring: Option<&Expiring>, notices: &[Notice]) -> Result<(), JournalError>;

    /// Ends what a person releases, and keeps who did: the rest that the release names, these holds, and the waiting of these
    /// entries of the retry queue, which are written as they are given. One transaction, so that neither is without the other.
    async fn release(&self, release: &Release, holds: &[Hold], due: &[Retry]) -> Result<(), JournalError>;
    /// What was released, the newest first, at most so many. They are kept as long as the runs of their time.
    async fn releases(&self, limit: u32) -> Result<Vec<Release>, JournalError>;

    /// Puts notices into the outbox, due at once. One transaction.
    async fn post(&self, notices: &[Notice]) -> Result<(), JournalError>;
    /// Of each webhook the oldest notice in the outbox, if it is due: one is told after the other, in the order of posting.
    async fn notes_due(&self, now: DateTime<Utc>) -> Result<Vec<Note>, JournalError>;
    /// Takes a notice out of the outbox: it was delivered or given up.
    async fn note_done(&self, note: NoteId) -> Result<(), JournalError>;
    /// Puts a notice off that could not be delivered.
    async fn note_later(&self, note: NoteId, attempts: u32, not_before: DateTime<Utc>) -> Result<(), JournalError>;

    /// Takes or renews a lease: `None` if another holder has it and it has not run out, or if the holder had it and let it run
    /// out (in a journal that is not shared: for more than minutes, or until somebody took it): that is lost, and is taken again under another holder's name only. It runs out by `now`, or where several machines
    /// share the journal, by the clock of what they share.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration, now: DateTime<Utc>) -> Result<Option<Lease>, JournalError>;
    /// The lease on a name as it stands, run out or not; `None` if nobody has it. To tell who is at work, and to free the
    /// lease of a holder that is known to be gone: [`Journal::unlease`] with what this returned frees that very lease and
    /// no later one.
    async fn leased(&self, name: &str) -> Result<Option<Lease>, JournalError>;
    /// Gives a lease back.
    async fn unlease(&self, lease: &Lease) -> Result<(), JournalError>;

    /// All leases that somebody has, by name; those that begin with [`DAEMON`] are signs of life.
    async fn leases(&self, now: DateTime<Utc>) -> Result<Vec<Standing>, JournalError>;
    /// The same journal for the holder of a lease: each write proves in its own transaction that the lease is still held, and
    /// fails if it is not, so that whoever was stopped for an hour writes nothing on waking.
    fn fenced(&self, lease: &Lease) -> Arc<dyn Journal>;
    /// Fails if the lease by which this journal was [`fenced`](Journal::fenced) is no longer held; to be asked before each
    /// call that changes something elsewhere.
    async fn standing(&self) -> Result<(), JournalError>;
    /// Whether several machines may be at work on it.
    fn is_shared(&self) -> bool;

    /// The chain's head.
    async fn head(&self) -> Result<Head, JournalError>;
    /// Checks the whole chain against what is recorded, and whether a hash that somebody kept is in it. Reads everything, at one
    /// moment's state; writes nothing.
    async fn verify(&self, head: Option<&str>) -> Result<Verification, JournalError>;

    /// Deletes runs that ended before this time, with their changes. The chain says which, so that what is missing otherwise
    /// shows.
    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, JournalError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_outcomes_are_all_of_them_and_those_that_are_written() {
        // Whoever knows no outcome of a word names all that there are.
        let error = serde_json::from_str::<Outcome>(r#"{"outcome":"none"}"#).expect_err("no outcome").to_string();
        let (_, known) = error.split_once("expected one of ").expect("all are named");
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert_eq!(known, Outcome::WORDS);
        for word in Outcome::WORDS {
            let told = serde_json::json!({"outcome": word, "fault": "rejected", "why": "no"});
            let outcome: Outcome = serde_json::from_value(told).expect("an outcome");
            assert_eq!(outcome.word(), word);
        }
    }
}
