//! `rosterd status`: how fresh each target is, when each job runs next, what waits for a person, who rests.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::contract::journal::Staged;
use crate::contract::notice::{Expiring, SOON};
use crate::contract::verdict::{Decision, Hold, Verdict};
use crate::daemon::status::{Status, ago, gather};
use crate::engine::rest::resting;
use crate::model::key::{JobName, SystemName};
use crate::store::Access;

/// How many removals, and how many holds, are printed.
const SHOWN: usize = 20;
/// How many users are named in a command.
const NAMED: usize = 5;

/// Prints how things are.
///
/// # Errors
/// A configuration or store that cannot be read.
pub fn command(arguments: &Arguments) -> Result<Exit, Failure> {
    let stage = Stage::rules(arguments)?;
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
            None => match &target.at_work {
                Some(process) => format!("running, began {} ({process})", ago(run.start.at, now)),
                None => format!("running, began {}", ago(run.start.at, now)),
            },
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
        print_staged(job, target, &staged, &status.decisions, now)?;
    }
    let rejected = status.decisions.iter().filter(|d| d.verdict == Verdict::Rejected && d.stands(now)).count();
    if rejected > 0 {
        output::line(&format!("{} rejected, until the source says something new", output::count(rejected, "removal")))?;
    }
    for hold in status.holds.iter().take(SHOWN) {
        let since = output::time(hold.since, now);
        let Hold { user_name, job, target, run, actor, .. } = hold;
        output::line(&format!("held since {since}: {user_name} of {job} at {target}, after {actor} undid run {run}"))?;
    }
    if status.holds.len() > SHOWN {
        output::line(&format!("and {} more held; --json lists all", status.holds.len() - SHOWN))?;
    }
    if status.retries > 0 {
        output::line(&format!(
            "on the retry queue: {}, of these in quarantine: {}; `rosterd retries` lists them",
            output::count(status.retries, "subject"),
            status.quarantined
        ))?;
    }
    for Expiring { system, at, .. } in status.expiring.iter().filter(|e| e.at - now <= SOON) {
        let (word, date) = (if *at <= now { "expired" } else { "expires" }, at.format("%Y-%m-%d"));
        output::line(&format!("the credential of {system} {word} {}, on {date}: make another and reload", ago(*at, now)))?;
    }
    for rest in &status.rests {
        let failures = output::count(rest.failures as usize, "failure");
        output::line(
            &resting(Some(rest), now).unwrap_or_else(|| format!("{}: {failures} in a row: {}", rest.system, rest.cause)),
        )?;
    }
    Ok(())
}

/// What waits at a target, what was said of it, and the command that lets the rest through.
fn print_staged(
    job: &JobName,
    target: &SystemName,
    staged: &[&Staged],
    decisions: &[Decision],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let approval = |removal: &Staged| {
        let is_about = |d: &&Decision| d.job == *job && d.target == *target && d.mark == removal.mark;
        decisions.iter().filter(is_about).find(|d| d.verdict == Verdict::Approved)
    };
    let wait = if staged.len() == 1 { "waits" } else { "wait" };
    output::line(&format!("{} of {job} at {target} {wait} for a person:", output::count(staged.len(), "removal")))?;
    for removal in staged.iter().take(SHOWN) {
        let group = removal.group.as_deref().map(|g| format!(" {g:?}")).unwrap_or_default();
        let since = output::time(removal.since, now);
        let said = match approval(removal) {
            None => String::new(),
            Some(decision) if decision.stands(now) => format!("; approved by {}", decision.actor),
            Some(Decision { actor, expires, .. }) => {
                let when = expires.map_or(String::new(), |at| format!(" {}", output::time(at, now)));
                format!("; the approval by {actor} expired{when}")
            }
        };
        let (kind, held_by) = (removal.kind.word(), removal.held_by.join(", "));
        output::line(&format!("  - {kind} {}{group} since {since} [{held_by}]{said}", removal.user_name))?;
    }
    if staged.len() > SHOWN {
        output::line(&format!("  and {} more; --json lists all", staged.len() - SHOWN))?;
    }
    let (approved, rest): (Vec<&Staged>, Vec<&Staged>) =
        staged.iter().partition(|removal| approval(removal).is_some_and(|decision| decision.stands(now)));
    match approved.len() {
        0 => {}
        1 => output::line("  1 of these is approved and goes through at the next run")?,
        n => output::line(&format!("  {n} of these are approved and go through at the next run"))?,
    }
    let Some(first) = rest.first() else { return Ok(()) };
    let plan = &first.plan;
    if approved.is_empty() {
        let them = if rest.len() == 1 { "it" } else { "them" };
        return output::line(&format!(
            "  `rosterd approve {plan} --reason TEXT` lets {them} through, `rosterd reject {plan} --reason TEXT` drops {them}"
        ));
    }
    // The approval of the others is not given once more, in the name of whoever approves the rest.
    let names: BTreeSet<&str> = rest.iter().map(|removal| &*removal.user_name).collect();
    let only: String = match names.len() {
        0..=NAMED => names.into_iter().map(|name| format!(" --only {}", output::quoted(name))).collect(),
        _ => String::new(),
    };
    output::line(&format!("  `rosterd approve {plan}{only} --reason TEXT` lets the other {} through", rest.len()))
}
