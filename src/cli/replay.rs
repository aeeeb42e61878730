//! `rosterd replay`: plans with a recording and the rules of the configuration, offline, and shows what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output::{self, count};
use super::stage::{Stage, logging, runtime};
use crate::config::job::Job as Written;
use crate::daemon::assemble::{build_job, natures};
use crate::engine::recording::replay::{Replay, replay};
use crate::engine::recording::{Recording, read};
use crate::model::key::SystemName;
use crate::reconcile::compare::{Differences, compare};
use crate::reconcile::render::{PlanView, line, view};

/// How many names are printed of what was not read.
const NAMED: usize = 10;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The recording
    file: PathBuf,
    /// Print at most so many differences of each kind per target; 0: all
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    job: String,
    made: String,
    pseudonyms: bool,
    targets: Vec<TargetReport>,
    /// Whether the recording holds all that the rules ask for.
    whole: bool,
    /// What the replay could not know.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TargetReport {
    target: String,
    /// Whether both plans have the same changes with the same verdicts, and the guards found the same in both.
    agrees: bool,
    recorded_plan: String,
    /// `null`: the job has no such target any more.
    plan: Option<String>,
    newly_staged: usize,
    #[serde(flatten)]
    differences: Differences,
    /// Names that the rules ask for and that were not read: users taken as free, groups taken as missing.
    unread_users: BTreeSet<String>,
    unread_groups: BTreeSet<String>,
    /// Accounts whose groups were not read: they stay.
    unread_accounts: BTreeSet<String>,
}

/// Replays.
///
/// # Errors
/// A file that is no recording, or a configuration that is wrong or has no such job.
pub fn command(arguments: &Arguments, more: &ReplayArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::rules(arguments)?;
    let unusable = |why: String| Failure::new(Exit::Failed, format!("{}: {why}", more.file.display()));
    let file = File::open(&more.file).map_err(|error| unusable(format!("it cannot be opened: {error}")))?;
    let recording = read(file).map_err(|error| unusable(error.to_string()))?;
    let name = &recording.head.job;
    let Some(written) = stage.config.jobs.get(name) else {
        let names: Vec<&str> = stage.config.jobs.keys().map(crate::model::key::JobName::as_str).collect();
        let failure = Failure::new(Exit::Usage, format!("the recording is of job {name}, which the configuration does not have"));
        return Err(failure.hint(format!("its jobs are: {}", names.join(", "))));
    };
    let job = build_job(name, written).map_err(|why| Failure::new(Exit::Configuration, format!("job {name}: {why}")))?;
    let natures = natures(recording.targets.iter().map(|target| (&target.name, &target.kind)));
    let replayed = runtime()?.block_on(replay(&recording, &job, &natures))?;
    let report = report(&recording, written, &replayed);
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report, more.limit)?;
    }
    Ok(exit(&report))
}

fn report(recording: &Recording, written: &Written, replayed: &Replay) -> Report {
    let plans: BTreeMap<&SystemName, _> = replayed.targets.iter().map(|target| (&target.target, target)).collect();
    let served = |name: &SystemName| written.targets.contains(name);
    let mut targets = Vec::new();
    for recorded in &recording.targets {
        let before = &recorded.plan;
        let played = plans.get(&recorded.name).filter(|_| served(&recorded.name));
        let after = match played {
            Some(played) => view(&played.prepared.judged),
            None => PlanView { changes: Vec::new(), violations: Vec::new(), findings: Vec::new(), ..before.clone() },
        };
        let differences = compare(before, &after);
        targets.push(TargetReport {
            target: recorded.name.to_string(),
            agrees: differences.is_empty() && played.is_some(),
            recorded_plan: before.plan.clone(),
            plan: played.map(|_| after.plan.clone()),
            newly_staged: differences.newly_staged().count(),
            differences,
            unread_users: played.map(|played| played.unread_users.clone()).unwrap_or_default(),
            unread_groups: played.map(|played| played.unread_groups.clone()).unwrap_or_default(),
            unread_accounts: played.map(|played| played.unread_accounts.clone()).unwrap_or_default(),
        });
    }
    let head = &recording.head;
    let lacking = lacking(recording, written, replayed);
    let unread = |of: &TargetReport| of.unread_users.len() + of.unread_groups.len() + of.unread_accounts.len();
    let whole = lacking.is_empty() && targets.iter().all(|target| unread(target) == 0);
    let notes = assumed(replayed).into_iter().chain(lacking).collect();
    Report { job: head.job.to_string(), made: head.made.to_rfc3339(), pseudonyms: head.pseudonyms, targets, whole, notes }
}

/// That of some users the listing is believed, for a person.
fn assumed(replayed: &Replay) -> Option<String> {
    let users = count(replayed.assumed.len(), "user");
    let what = format!(
        "offline nobody can be asked: of {users} who would lose something the recorded listing is believed; a run asks the source"
    );
    (!replayed.assumed.is_empty()).then_some(what)
}

/// What the rules ask for and the recording lacks, for a person.
fn lacking(recording: &Recording, written: &Written, replayed: &Replay) -> Vec<String> {
    let mut notes = Vec::new();
    let Replay { unanswered, attributes, groups, .. } = replayed;
    if !unanswered.is_empty() {
        let asked = count(unanswered.len(), "subject");
        notes.push(format!("of {} that the listing lacks no answer was recorded: nothing is taken away on their account", asked));
    }
    if !attributes.is_empty() {
        let names: Vec<&str> = attributes.iter().map(String::as_str).collect();
        notes.push(format!("the rules read profile attributes that were not recorded, here empty: {}", names.join(", ")));
    }
    if *groups {
        notes.push("the rules may take in groups of the source that were not read when this was recorded".to_owned());
    }
    for target in &written.targets {
        if !recording.targets.iter().any(|recorded| recorded.name == *target) {
            notes.push(format!("{target} is not in the recording"));
        }
    }
    if written.source != recording.head.source {
        notes.push(format!("the job reads {} now, and the recording is of {}", written.source, recording.head.source));
    }
    notes
}

/// What was not read is no answer: a replay that lacks something does not agree, whatever it came to.
fn exit(report: &Report) -> Exit {
    if report.targets.iter().any(|target| target.newly_staged > 0) {
        return Exit::Staged;
    }
    if report.whole && report.targets.iter().all(|target| target.agrees) { Exit::Done } else { Exit::Changes }
}

fn print(report: &Report, limit: usize) -> Result<(), Failure> {
    let most = if limit == 0 { usize::MAX } else { limit };
    for target in &report.targets {
        let TargetReport { target: name, recorded_plan, plan, differences, newly_staged, .. } = target;
        let Differences { new, gone, otherwise, violations_new, violations_gone, findings_new, findings_gone } = differences;
        let head = match plan {
            None => format!("{} does not serve {name} any more", report.job),
            Some(_) if target.agrees => format!("{} at {name}: agrees with the recorded plan {recorded_plan}", report.job),
            Some(plan) => format!(
                "{} at {name}: {} new, {} gone, {} judged otherwise, {newly_staged} newly staged (plan {plan}, recorded {recorded_plan})",
                report.job,
                new.len(),
                gone.len(),
                otherwise.len()
            ),
        };
        output::line(&head)?;
        for (what, changes) in [("new ", new), ("gone", gone)] {
            changes.iter().take(most).try_for_each(|change| output::line(&format!("  {what} {}", line(change))))?;
            hidden(what, changes.len(), most)?;
        }
        for change in otherwise.iter().take(most) {
            output::line(&format!("  now  {}", line(&change.after)))?;
            output::line(&format!("  was  {}", line(&change.before)))?;
        }
        hidden("now ", otherwise.len(), most)?;
        for (what, violations) in [("new ", violations_new), ("gone", violations_gone)] {
            violations.iter().try_for_each(|found| output::line(&format!("  {what} ! {}: {}", found.guard, found.text)))?;
        }
        for (what, findings) in [("new ", findings_new), ("gone", findings_gone)] {
            let who = |f: &crate::model::plan::Finding| f.name.as_deref().map_or_else(String::new, str::to_owned);
            let lines = output::grouped(findings.iter().map(|finding| (who(finding), finding.text.clone())));
            lines.iter().take(most).try_for_each(|text| output::line(&format!("  {what} ? {text}")))?;
            hidden(what, lines.len(), most)?;
        }
        unread("user names", "are taken as free", &target.unread_users)?;
        unread("groups", "are taken as missing", &target.unread_groups)?;
        unread("accounts", "stay, since their groups are not known", &target.unread_accounts)?;
    }
    report.notes.iter().try_for_each(|note| output::line(&format!("note: {note}")))
}

fn hidden(what: &str, all: usize, most: usize) -> Result<(), Failure> {
    match all.saturating_sub(most) {
        0 => Ok(()),
        more => output::line(&format!("  {what} and {more} more; --limit 0 prints all")),
    }
}

fn unread(what: &str, taken: &str, names: &BTreeSet<String>) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    output::line(&format!(
        "  ! {} {what} were not read when this was recorded and {taken}: {}{more}",
        names.len(),
        first.join(", ")
    ))
}
