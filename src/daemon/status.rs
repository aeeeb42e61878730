//! How things are: the same answer for `rosterd status`, the JSON of the status API and the console page.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::supervise::seed;
use crate::config::Config;
use crate::contract::chain::Head;
use crate::contract::journal::{Ended, Journal, JournalError, Rest, RunEnd, RunQuery, RunRecord, Staged};
use crate::contract::notice::Expiring;
use crate::contract::verdict::{Decision, Hold};
use crate::engine::lease::lease_name;
use crate::model::key::{JobName, SystemName};

/// How things are.
#[derive(Debug, Default, Serialize)]
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
#[derive(Debug, Serialize)]
pub struct TargetStatus {
    /// The job.
    pub job: JobName,
    /// The target.
    pub target: SystemName,
    /// When the job runs next by its schedule.
    pub next: Option<DateTime<Utc>>,
    /// When the last run that was complete and applied ended: the age of this is the freshness.
    pub fresh: Option<DateTime<Utc>>,
    /// The last run, however it ended.
    pub last: Option<RunRecord>,
    /// The process that is at work at the target now, for whatever job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_work: Option<String>,
}

/// Whether a run left its target in agreement with the source, but for what waits for a person. The sizes tell a run over
/// everything from a retry of a few subjects.
fn complete(end: &RunEnd) -> bool {
    matches!(end.ended, Ended::Converged | Ended::Applied | Ended::Staged) && end.sizes.is_some()
}

/// How many of the last runs are looked through for a complete one, before all of them are.
const USUALLY: u32 = 100;

/// Gathers how things are.
///
/// # Errors
/// A store that cannot be read.
pub async fn gather(config: &Config, journal: &dyn Journal, now: DateTime<Utc>) -> Result<Status, JournalError> {
    let mut targets = Vec::new();
    let leases = journal.leases(now).await?;
    let at_work = |target: &SystemName| {
        let name = lease_name(target);
        leases.iter().find(|s| s.lease.name == name && !s.has_run_out).map(|s| s.lease.process())
    };
    for (job, written) in &config.jobs {
        let next = written.schedule.next(now, seed(job));
        for target in &written.targets {
            let (last, fresh) = runs_at(journal, job, target).await?;
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

/// The last run of a job at a target, and when the last complete one ended.
async fn runs_at(
    journal: &dyn Journal,
    job: &JobName,
    target: &SystemName,
) -> Result<(Option<RunRecord>, Option<DateTime<Utc>>), JournalError> {
    let mut found = (None, None);
    for limit in [USUALLY, u32::MAX] {
        let query = RunQuery { job: Some(job.clone()), target: Some(target.clone()), limit };
        let runs = journal.runs(&query).await?;
        let all = runs.len() < limit as usize;
        let fresh = runs.iter().filter_map(|r| r.end.as_ref()).find(|e| complete(e)).map(|e| e.at);
        found = (runs.into_iter().next(), fresh);
        if all || fresh.is_some() {
            break;
        }
    }
    Ok(found)
}

/// How long ago, or in how long, in the two largest units.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let gap = std::time::Duration::from_secs((now - at).num_seconds().unsigned_abs());
    let gap = humantime::format_duration(gap).to_string().split(' ').take(2).collect::<Vec<_>>().join(" ");
    if at <= now { format!("{gap} ago") } else { format!("in {gap}") }
}
