//! `rosterd retries`: what is to be tried again and when, and what is set aside, each with its cause.

use chrono::Utc;
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::model::retry::Subject;
use crate::store::Access;

/// Prints the retry queue.
///
/// # Errors
/// A configuration or store that cannot be read.
pub fn command(arguments: &Arguments) -> Result<Exit, Failure> {
    let stage = Stage::rules(arguments)?;
    let (retries, rests) = runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        Ok::<_, Failure>((journal.retries().await?, journal.rests().await?))
    })?;
    if arguments.json {
        output::json(&json!({"retries": retries, "rests": rests}))?;
        return Ok(Exit::Done);
    }
    let now = Utc::now();
    let mut table = output::table(&["job", "target", "subject", "tries", "next", "since", "cause"]);
    for retry in &retries {
        let subject = match &retry.subject {
            Subject::User(key) => key.to_string(),
            Subject::Everything => "the whole run".to_owned(),
        };
        let next = output::time(retry.not_before, now);
        let next = if retry.quarantined { format!("in quarantine; {next}") } else { next };
        let since = output::time(retry.first_seen, now);
        table.add_row([
            retry.job.as_str(),
            retry.target.as_str(),
            &subject,
            &retry.attempts.to_string(),
            &next,
            &since,
            &retry.cause,
        ]);
    }
    output::print(&table, "nothing is to be tried again")?;
    for rest in rests {
        let until = rest.until.map_or("until it is released or its credential is another".to_owned(), |t| {
            format!("until {}", output::time(t, now))
        });
        let failures = output::count(rest.failures as usize, "failure");
        output::line(&format!("{} rests {until}, after {failures}: {}", rest.system, rest.cause))?;
    }
    Ok(Exit::Done)
}
