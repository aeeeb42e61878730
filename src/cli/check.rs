//! `rosterd check`: the configuration; with `--online` also credentials, rights and versions of every system.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use futures::future::{join, join_all};
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, logging, runtime};
use crate::contract::fault::ConnectorError;
use crate::contract::target::{Capabilities, Expiry, Target, Wanted};
use crate::daemon::assemble::tokens;
use crate::daemon::status::ago;
use crate::engine::prepare::admins;
use crate::model::key::SystemName;
use crate::reconcile::guard::admins_missing;
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Speak to every system as well; changes nothing there
    #[arg(long)]
    online: bool,
}

/// One system's answer.
struct Checked {
    name: String,
    role: &'static str,
    answer: Result<(String, Vec<String>), ConnectorError>,
}

/// Checks and prints.
///
/// # Errors
/// A configuration that is wrong.
pub fn command(arguments: &Arguments, more: &CheckArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::load(arguments)?;
    tokens(&stage.config, &stage.kit)?;
    let summary = format!(
        "{} is good: {}, {}, {}",
        stage.file.display(),
        output::count(stage.config.sources.len(), "source"),
        output::count(stage.config.targets.len(), "target"),
        output::count(stage.config.jobs.len(), "job")
    );
    if !more.online {
        if arguments.json {
            output::json(&json!({"file": stage.file, "good": true}))?;
        } else {
            output::line(&summary)?;
        }
        return Ok(Exit::Done);
    }
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        let (assembly, _services) = stage.assemble(journal)?;
        let now = Utc::now();
        let sources = assembly.sources.iter().map(|(name, source)| async move {
            let answer = source.probe().await.map(|facts| {
                let who = facts.acting_as.map(|w| format!(" as {w}")).unwrap_or_default();
                (format!("{}{who}", facts.product), facts.notes)
            });
            Checked { name: name.to_string(), role: "source", answer }
        });
        let guards = |target: &SystemName| {
            let mut here = assembly.config.jobs.values().filter(|job| job.targets.contains(target));
            here.any(|job| job.guard.admins_at_least > 0)
        };
        let targets = assembly.targets.iter().map(|(name, target)| async move {
            let answer = match target.probe().await {
                Ok(c) if guards(name) => {
                    let missing = unguarded(target, &c).await;
                    Ok((c, missing))
                }
                Ok(c) => Ok((c, Vec::new())),
                Err(error) => Err(error),
            };
            let answer = answer.map(|(c, missing)| {
                let who = c.acting_as.map(|w| format!(" as {w}")).unwrap_or_default();
                let expires = expiry(c.expires, now);
                (format!("{} {}{who}", c.product, c.version), c.notes.into_iter().chain(expires).chain(missing).collect())
            });
            Checked { name: name.to_string(), role: "target", answer }
        });
        // All at once: one that does not answer is waited for no longer than it has to be.
        let (sources, targets) = join(join_all(sources), join_all(targets)).await;
        let checked: Vec<Checked> = sources.into_iter().chain(targets).collect();
        print(arguments, &summary, &checked)?;
        let worst = checked.iter().filter_map(|c| c.answer.as_ref().err()).map(|e| Exit::of(&e.fault)).max();
        Ok(worst.unwrap_or(Exit::Done))
    })
}

/// Which of the groups that are to give administration rights is not there, as notes; and if they could not be read, that.
async fn unguarded(target: &Arc<dyn Target>, can: &Capabilities) -> Vec<String> {
    let groups = can.admin_groups.iter().map(|name| name.as_str().into()).collect();
    match target.fetch(&Wanted { groups, ..Wanted::default() }).await {
        Ok(there) => admins_missing(&can.admin_groups, &admins(&there, &can.admin_groups)),
        Err(error) => vec![format!("whether the administration groups are there is not known: {error}")],
    }
}

/// When a credential expires, as a note.
fn expiry(expires: Expiry, now: DateTime<Utc>) -> Option<String> {
    let Expiry::At(at) = expires else { return None };
    Some(format!("the token expires {}, on {}", ago(at, now), at.format("%Y-%m-%d")))
}

fn print(arguments: &Arguments, summary: &str, checked: &[Checked]) -> Result<(), Failure> {
    if arguments.json {
        let rows: Vec<_> = checked
            .iter()
            .map(|c| match &c.answer {
                Ok((what, notes)) => json!({"system": c.name, "role": c.role, "good": true, "what": what, "notes": notes}),
                Err(e) => json!({"system": c.name, "role": c.role, "good": false, "error": e.to_string(), "hint": e.hint, "fault": e.fault.word()}),
            })
            .collect();
        return output::json(&rows);
    }
    output::line(summary)?;
    let mut table = output::table(&["role", "system", "answer"]);
    for Checked { name, role, answer } in checked {
        let text = match answer {
            Ok((what, notes)) => notes.iter().fold(format!("good: {what}"), |text, note| format!("{text}\n{note}")),
            Err(error) => {
                let hint = error.hint.as_ref().map(|h| format!("\nhint: {h}")).unwrap_or_default();
                format!("{error}{hint}")
            }
        };
        table.add_row([*role, name, &text]);
    }
    output::print(&table, "no system is configured")
}
