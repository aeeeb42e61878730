//! `rosterd status`: how fresh each target is, when each job runs next, what waits for a person, who rests.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::contract::journal::{Ended, Journal, Rest, RunQuery, RunRecord, Staged};
use crate::daemon::supervise::seed;
use crate::model::key::{JobName, SystemName};
use crate::store::Access;

/// How things are.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Each job at each target.
    pub targets: Vec<TargetStatus>,
    /// Removals that wait for a person.
    pub staged: Vec<Staged>,
    /// Entries of the retry queue, and those in quarantine.
    pub retries: usize,
    /// Of these, in quarantine.
    pub quarantined: usize,
    /// Systems that rest.
    pub rests: Vec<Rest>,
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
}

/// Whether a run left its target in agreement with the source, but for what waits for a person.
fn complete(ended: Ended) -> bool {
    matches!(ended, Ended::Converged | Ended::Applied | Ended::Staged)
}

/// Gathers how things are.
///
/// # Errors
/// A store that cannot be read.
pub async fn gather(config: &crate::config::Config, journal: &dyn Journal, now: DateTime<Utc>) -> Result<Status, Failure> {
    let mut targets = Vec::new();
    for (job, written) in &config.jobs {
        let next = written.schedule.next(now, seed(job));
        for target in &written.targets {
            let query = RunQuery { job: Some(job.clone()), target: Some(target.clone()), limit: 200 };
            let runs = journal.runs(&query).await?;
            let fresh = runs.iter().filter_map(|r| r.end.as_ref()).find(|e| complete(e.ended)).map(|e| e.at);
            targets.push(TargetStatus { job: job.clone(), target: target.clone(), next, fresh, last: runs.into_iter().next() });
        }
    }
    let retries = journal.retries().await?;
    let quarantined = retries.iter().filter(|r| r.quarantined).count();
    Ok(Status { targets, staged: journal.staged().await?, retries: retries.len(), quarantined, rests: journal.rests().await? })
}

/// Prints how things are.
///
/// # Errors
/// A configuration or store that cannot be read.
pub fn command(arguments: &Arguments) -> Result<Exit, Failure> {
    let stage = Stage::load(arguments)?;
    let now = Utc::now();
    let status = runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        gather(&stage.config, &*journal, now).await
    })?;
    if arguments.json {
        output::json(&status)?;
    } else {
        print(&status, now)?;
    }
    Ok(if status.staged.is_empty() { Exit::Done } else { Exit::Staged })
}

fn print(status: &Status, now: DateTime<Utc>) -> Result<(), Failure> {
    let mut table = output::table(&["job", "target", "fresh as of", "last run", "next run"]);
    let when = |at: Option<DateTime<Utc>>| at.map_or("never".to_owned(), |t| output::time(t, now));
    for target in &status.targets {
        let last = target.last.as_ref().map_or("none".to_owned(), |run| match &run.end {
            None => format!("running since {}", output::time(run.start.at, now)),
            Some(end) => format!("{}, {}", end.ended.word(), output::time(end.at, now)),
        });
        table.add_row([target.job.as_str(), target.target.as_str(), &when(target.fresh), &last, &when(target.next)]);
    }
    output::print(&table, "no job is configured")?;
    let mut by_target: BTreeMap<(&JobName, &SystemName), Vec<&Staged>> = BTreeMap::new();
    for staged in &status.staged {
        by_target.entry((&staged.job, &staged.target)).or_default().push(staged);
    }
    for ((job, target), staged) in by_target {
        output::line(&format!("{} removals of {job} at {target} wait for a person:", staged.len()))?;
        for removal in staged.iter().take(20) {
            let group = removal.group.as_deref().map(|g| format!(" {g:?}")).unwrap_or_default();
            let since = output::time(removal.since, now);
            output::line(&format!(
                "  - {} {}{group} since {since} [{}]",
                removal.kind.word(),
                removal.user_name,
                removal.held_by.join(", ")
            ))?;
        }
        if staged.len() > 20 {
            output::line(&format!("  and {} more; --json lists all", staged.len() - 20))?;
        }
    }
    if status.retries > 0 {
        output::line(&format!(
            "{} subjects are on the retry queue, {} of them in quarantine: rosterd retries",
            status.retries, status.quarantined
        ))?;
    }
    for rest in &status.rests {
        output::line(&format!("{} rests after {} failures: {}", rest.system, rest.failures, rest.cause))?;
    }
    Ok(())
}
