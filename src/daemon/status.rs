//! How things are: the same answer for `rosterd status`, the JSON of the status API and the console page.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::holder;
use super::supervise::seed;
use crate::config::Config;
use crate::contract::chain::Head;
use crate::contract::journal::Lease;
use crate::contract::journal::{Journal, JournalError, Rest, RunQuery, RunRecord, Staged};
use crate::contract::notice::Expiring;
use crate::contract::verdict::{Decision, Hold};
use crate::engine::lease::worker;
use crate::model::key::{JobName, SystemName};

/// How things are.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Status {
    /// Each job at each target.
    pub targets: Vec<TargetStatus>,
    /// Removals that wait for a person.
    pub staged: Vec<Staged>,
    /// Entries of the retry queue, those in quarantine among them.
    pub retries: usize,
    /// Of these, in quarantine.
    pub quarantined: usize,
    /// Systems that rest.
    pub rests: Vec<Rest>,
    /// What people decided, and no run has used up yet.
    pub decisions: Vec<Decision>,
    /// Users about whom nothing is written, after an undo.
    pub holds: Vec<Hold>,
    /// When credentials expire, where the systems tell.
    pub expiring: Vec<Expiring>,
    /// The head of the journal's chain.
    pub journal: Head,
}

/// One job at one target.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetStatus {
    /// The job.
    pub job: JobName,
    /// The target.
    pub target: SystemName,
    /// When the job runs next by its schedule.
    pub next: Option<DateTime<Utc>>,
    /// When the last complete run ended, at a target that the job writes to: the age of this is the freshness.
    pub fresh: Option<DateTime<Utc>>,
    /// The last run, however it ended.
    pub last: Option<RunRecord>,
    /// The process that is at work at the target now, for whatever job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_work: Option<String>,
}

/// Gathers how things are.
///
/// # Errors
/// A store that cannot be read.
pub async fn gather(config: &Config, journal: &dyn Journal, now: DateTime<Utc>) -> Result<Status, JournalError> {
    let mut targets = Vec::new();
    let leases = journal.leases(now).await?;
    let at_work = |target: &SystemName| worker(&leases, target, holder::gone).map(Lease::process);
    for (job, written) in &config.jobs {
        let next = written.schedule.next(now, seed(job));
        for target in &written.targets {
            let query = RunQuery { job: Some(job.clone()), target: Some(target.clone()), limit: 1, ..RunQuery::default() };
            let last = journal.runs(&query).await?.into_iter().next();
            // What is only looked at is in step by chance.
            let fresh = if written.observes(target) { None } else { journal.freshness(job, target).await?.complete };
            let at_work = at_work(target);
            targets.push(TargetStatus { job: job.clone(), target: target.clone(), next, fresh, last, at_work });
        }
    }
    let retries = journal.retries().await?;
    let quarantined = retries.iter().filter(|r| r.quarantined).count();
    Ok(Status {
        targets,
        staged: journal.staged().await?,
        retries: retries.len(),
        quarantined,
        rests: journal.rests().await?,
        decisions: journal.decisions().await?,
        holds: journal.holds().await?,
        expiring: journal.expiring().await?.into_iter().filter(|e| config.targets.contains_key(&e.system)).collect(),
        journal: journal.head().await?,
    })
}

/// How long ago, or in how long, in the two largest units.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let gap = std::time::Duration::from_secs((now - at).num_seconds().unsigned_abs());
    let gap = humantime::format_duration(gap).to_string().split(' ').take(2).collect::<Vec<_>>().join(" ");
    if at <= now { format!("{gap} ago") } else { format!("in {gap}") }
}
