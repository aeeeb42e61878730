//! `rosterd status`: how fresh each target is, when each job runs next, what waits for a person, who rests.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::contract::journal::Staged;
use crate::contract::verdict::{Hold, Verdict};
use crate::daemon::status::{Status, ago, gather};
use crate::model::key::{JobName, SystemName};
use crate::store::Access;

/// Prints how things are.
///
/// # Errors
/// A configuration or store that cannot be read.
pub fn command(arguments: &Arguments) -> Result<Exit, Failure> {
    let stage = Stage::load(arguments)?;
    let now = Utc::now();
    let status = runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        Ok::<_, Failure>(gather(&stage.config, &*journal, now).await?)
    })?;
    if arguments.json {
        output::json(&status)?;
    } else {
        print(&status, now)?;
    }
    Ok(if status.staged.is_empty() { Exit::Done } else { Exit::Staged })
}

fn print(status: &Status, now: DateTime<Utc>) -> Result<(), Failure> {
    let mut table = output::table(&["job", "target", "in step", "last run", "next run"]);
    let when = |at: Option<DateTime<Utc>>| at.map_or("never".to_owned(), |t| ago(t, now));
    for target in &status.targets {
        let last = target.last.as_ref().map_or("none".to_owned(), |run| match &run.end {
            None => format!("running, began {}", ago(run.start.at, now)),
            Some(end) => format!("{}, {}", end.ended.word(), ago(end.at, now)),
        });
        table.add_row([target.job.as_str(), target.target.as_str(), &when(target.fresh), &last, &when(target.next)]);
    }
    output::print(&table, "no job is configured")?;
    let mut by_target: BTreeMap<(&JobName, &SystemName), Vec<&Staged>> = BTreeMap::new();
    for staged in &status.staged {
        by_target.entry((&staged.job, &staged.target)).or_default().push(staged);
    }
    for ((job, target), staged) in by_target {
        let plan = &staged[0].plan;
        let wait = if staged.len() == 1 { "waits" } else { "wait" };
        output::line(&format!("{} of {job} at {target} {wait} for a person:", output::count(staged.len(), "removal")))?;
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
        let approved = |s: &&&Staged| status.decisions.iter().any(|d| d.mark == s.mark && d.verdict == Verdict::Approved);
        match staged.iter().filter(approved).count() {
            0 => {
                output::line(&format!("  `rosterd approve {plan} --reason TEXT` lets them through, `rosterd reject` drops them"))?
            }
            n => output::line(&format!("  {n} of these are approved and go through at the next run"))?,
        }
    }
    let rejected = status.decisions.iter().filter(|d| d.verdict == Verdict::Rejected).count();
    if rejected > 0 {
        output::line(&format!("{} rejected, until the source says something new", output::count(rejected, "removal")))?;
    }
    for hold in status.holds.iter().take(20) {
        let since = output::time(hold.since, now);
        let Hold { user_name, job, target, run, actor, .. } = hold;
        output::line(&format!("held since {since}: {user_name} of {job} at {target}, after {actor} undid run {run}"))?;
    }
    if status.holds.len() > 20 {
        output::line(&format!("and {} more held; --json lists all", status.holds.len() - 20))?;
    }
    if status.retries > 0 {
        output::line(&format!(
            "on the retry queue: {}, of these in quarantine: {}; `rosterd retries` lists them",
            output::count(status.retries, "subject"),
            status.quarantined
        ))?;
    }
    for rest in &status.rests {
        output::line(&format!(
            "{} rests after {}: {}",
            rest.system,
            output::count(rest.failures as usize, "failure"),
            rest.cause
        ))?;
    }
    Ok(())
}
