//! `rosterd runs`: past runs, the newest first.

use clap::Args;
use comfy_table::ColumnConstraint;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::contract::journal::{RunQuery, RunRecord};
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct RunsArguments {
    /// Only of this job
    #[arg(long)]
    job: Option<String>,
    /// Only at this target
    #[arg(long)]
    target: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: u32,
}

/// Prints the runs.
///
/// # Errors
/// A configuration or store that cannot be read.
pub fn command(arguments: &Arguments, more: &RunsArguments) -> Result<Exit, Failure> {
    let stage = Stage::rules(arguments)?;
    let (job, target) = (more.job.as_deref().map(Into::into), more.target.as_deref().map(Into::into));
    let query = RunQuery { job, target, beyond: None, whole: false, limit: more.limit };
    let runs = runtime()?.block_on(async { Ok::<_, Failure>(stage.journal(Access::Read).await?.runs(&query).await?) })?;
    if arguments.json {
        output::json(&runs)?;
        return Ok(Exit::Done);
    }
    let mut table = output::table_of_numbers(
        &["run", "job", "target", "fired by", "began", "outcome", "done", "failed", "staged", "requests"],
        4,
    );
    // An id or a time that is broken over lines cannot be copied.
    for at in [0, 4] {
        if let Some(column) = table.column_mut(at) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for run in &runs {
        table.add_row(row(run));
    }
    output::print(&table, "no run is recorded")?;
    Ok(Exit::Done)
}

/// A word in snake case, in plain letters.
pub fn words(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(|s| s.replace('_', " "))).unwrap_or_default()
}

fn row(run: &RunRecord) -> Vec<String> {
    let start = &run.start;
    let (ended, done, failed, staged, requests) = match &run.end {
        None => ("running".to_owned(), String::new(), String::new(), String::new(), String::new()),
        Some(end) => (
            end.ended.word().to_owned(),
            end.done.iter().map(|(_, n)| n).sum::<u64>().to_string(),
            end.failed.to_string(),
            end.staged.to_string(),
            end.requests.to_string(),
        ),
    };
    let began = start.at.format("%Y-%m-%d %H:%M:%SZ").to_string();
    vec![
        start.id.to_string(),
        start.job.to_string(),
        start.target.to_string(),
        words(&start.trigger),
        began,
        ended,
        done,
        failed,
        staged,
        requests,
    ]
}
