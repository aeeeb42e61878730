//! `rosterd show`: a run with its changes, each with its reason and what came of it.

use clap::Args;
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::runs::words;
use super::stage::{Stage, runtime};
use crate::contract::journal::{ChangeRecord, Intent, Outcome, RunRecord};
use crate::model::change::OpKind;
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The run's id, or the beginning of it; `rosterd runs` lists them
    run: String,
}

/// Prints a run.
///
/// # Errors
/// A run that is not recorded.
pub fn command(arguments: &Arguments, more: &ShowArguments) -> Result<Exit, Failure> {
    let stage = Stage::rules(arguments)?;
    let found = runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        let Some(run) = journal.run(&more.run).await? else { return Ok::<_, Failure>(None) };
        let changes = journal.changes(&run.start.id).await?;
        Ok(Some((run, changes)))
    })?;
    let Some((run, changes)) = found else {
        return Err(Failure::new(Exit::Failed, format!("no run {:?} is recorded", more.run)).hint("`rosterd runs` lists them"));
    };
    if arguments.json {
        output::json(&json!({"run": run, "changes": changes}))?;
        return Ok(Exit::Done);
    }
    head(&run)?;
    for change in &changes {
        output::line(&line(change))?;
    }
    Ok(Exit::Done)
}

fn head(run: &RunRecord) -> Result<(), Failure> {
    let start = &run.start;
    output::line(&format!(
        "run {} of job {} at {}, fired by {}, began {}",
        start.id,
        start.job,
        start.target,
        words(&start.trigger),
        start.at
    ))?;
    let Some(end) = &run.end else { return output::line("it has not ended") };
    let seconds = (end.at - start.at).num_milliseconds() as f64 / 1000.0;
    output::line(&format!("{} after {seconds:.1} s and {} requests", end.ended.word(), end.requests))?;
    for message in &end.messages {
        output::line(&format!("  {message}"))?;
    }
    Ok(())
}

/// A change with what came of it, as one line.
pub fn line(change: &ChangeRecord) -> String {
    format!("{} {}", change.at.format("%H:%M:%S%.3f"), what(change))
}

/// Why a change was made, as one word.
pub fn reason(intent: &Intent) -> String {
    let because = serde_json::to_value(intent.because).ok();
    because.and_then(|because| because.get("reason").and_then(|r| r.as_str().map(str::to_owned))).unwrap_or_default()
}

/// The same line without its time.
pub fn what(change: &ChangeRecord) -> String {
    let intent = &change.intent;
    let sign = match intent.kind {
        OpKind::RemoveMember | OpKind::DeactivateUser | OpKind::DeleteUser => '-',
        OpKind::UpdateUser | OpKind::LinkUser => '~',
        OpKind::CreateGroup | OpKind::CreateUser | OpKind::ActivateUser | OpKind::AddMember => '+',
    };
    let user = intent.user_name.as_deref().unwrap_or_default();
    let group = intent.group.as_deref().map(|g| format!(" {g:?}")).unwrap_or_default();
    let outcome = match &change.outcome {
        None => "open".to_owned(),
        Some(Outcome::Done) => "done".to_owned(),
        Some(Outcome::AlreadySo) => "already so".to_owned(),
        Some(Outcome::Failed { why, .. }) => format!("failed: {why}"),
        Some(Outcome::Skipped) => "not made".to_owned(),
        Some(Outcome::Lost) => "unknown: the process ended before the outcome was recorded".to_owned(),
    };
    let left = match &change.left_groups[..] {
        [] => String::new(),
        groups => format!("; taken out of {}", groups.join(", ")),
    };
    let let_by = intent.let_by.as_ref().map(|who| format!("; let through by {who}")).unwrap_or_default();
    let request = change.request.as_ref().map(|id| format!("; request {id}")).unwrap_or_default();
    let because = reason(intent).replace('_', " ");
    format!("{sign} {:<15} {user}{group} ({because}): {outcome}{left}{let_by}{request}", intent.kind.word())
}
