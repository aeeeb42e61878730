//! `rosterd sync`: one run, now.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::actor::actor;
use super::exit::{Exit, Failure};
use super::output;
use super::progress::Bars;
use super::stage::{Stage, jobs, logging, runtime};
use crate::contract::journal::{Ended, Fired, Trigger};
use crate::daemon::signals::{self, Signals, Wish};
use crate::engine::run::{Report, run};
use crate::store::Access;

/// How many messages of a target are printed.
const MESSAGES: usize = 10;

/// What the command takes.
#[derive(Debug, Args)]
pub struct SyncArguments {
    /// Only this job; else all, one after the other
    job: Option<String>,
}

/// Runs and prints what came of it.
///
/// # Errors
/// A configuration or store that cannot be used. What systems do shows in the exit code.
pub fn command(arguments: &Arguments, more: &SyncArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::load(arguments)?;
    signals::arm().map_err(|e| Failure::new(Exit::Failed, format!("signals cannot be handled: {e}")))?;
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Write).await?;
        let (assembly, services) = stage.assemble(journal)?;
        let stop = stop_on_signal()?;
        let fired = Fired { trigger: Trigger::Command, by: Some(actor().into()) };
        let mut reports: Vec<Report> = Vec::new();
        for world in jobs(&assembly, more.job.as_deref())? {
            let bars = Bars::show(&services, world);
            let ran = run(world, &[], fired.clone(), &stop).await;
            drop(bars);
            reports.extend(ran?);
        }
        print(arguments, &reports)?;
        Ok(exit(&reports))
    })
}

/// A token that the first TERM or INT cancels.
pub fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let mut signals = Signals::listen().map_err(|e| Failure::new(Exit::Failed, format!("signals cannot be handled: {e}")))?;
    let heard = stop.clone();
    tokio::spawn(async move {
        while let Some((wish, _)) = signals.next().await {
            if wish == Wish::Stop {
                eprintln!("stopping after the changes in hand; once more ends at once");
                heard.cancel();
            }
        }
    });
    Ok(stop)
}

/// Prints reports as a table, with what a person should know below it.
///
/// # Errors
/// If the standard output cannot be written to.
pub fn print(arguments: &Arguments, reports: &[Report]) -> Result<(), Failure> {
    if arguments.json {
        let records: Vec<_> = reports.iter().map(|r| &r.record).collect();
        return output::json(&records);
    }
    let mut table = output::table_of_numbers(
        &["job", "target", "outcome", "granted", "altered", "removed", "failed", "staged", "requests", "seconds"],
        7,
    );
    for Report { record, .. } in reports {
        let Some(end) = &record.end else { continue };
        let sum =
            |kinds: &[&str]| end.done.iter().filter(|(k, _)| kinds.contains(&k.word())).map(|(_, n)| n).sum::<u64>().to_string();
        let seconds = format!("{:.1}", (end.at - record.start.at).num_milliseconds() as f64 / 1000.0);
        table.add_row([
            record.start.job.as_str(),
            record.start.target.as_str(),
            end.ended.word(),
            &sum(&["create_group", "create_user", "activate_user", "add_member"]),
            &sum(&["update_user", "link_user"]),
            &sum(&["remove_member", "deactivate_user", "delete_user"]),
            &end.failed.to_string(),
            &end.staged.to_string(),
            &end.requests.to_string(),
            &seconds,
        ]);
    }
    output::print(&table, "nothing was run")?;
    for Report { record, .. } in reports {
        let messages = record.end.as_ref().map_or(&[][..], |e| &e.messages);
        let messages = output::grouped(messages.iter().map(|m| match m.split_once(": ") {
            Some((who, text)) => (who.to_owned(), text.to_owned()),
            None => (String::new(), m.clone()),
        }));
        for message in messages.iter().take(MESSAGES) {
            output::line(&format!("{}: {message}", record.start.target))?;
        }
        if messages.len() > MESSAGES {
            let more = messages.len() - MESSAGES;
            output::line(&format!("{}: and {more} more: rosterd show {}", record.start.target, record.start.id))?;
        }
    }
    Ok(())
}

/// How a command ends after these runs.
pub fn exit(reports: &[Report]) -> Exit {
    let one = |report: &Report| {
        if let Some(fault) = &report.fault {
            return Exit::of(fault);
        }
        match report.record.end.as_ref().map(|e| e.ended) {
            Some(Ended::Converged | Ended::Applied | Ended::Observed) => Exit::Done,
            Some(Ended::Staged) => Exit::Staged,
            Some(Ended::Blind | Ended::Refused | Ended::Partial | Ended::Interrupted | Ended::Failed) | None => Exit::Failed,
        }
    };
    let exits: Vec<Exit> = reports.iter().map(one).collect();
    // Staged removals are news of another kind than a failure, which counts for more.
    exits
        .iter()
        .copied()
        .filter(|e| *e != Exit::Staged)
        .max()
        .filter(|e| *e != Exit::Done)
        .or(exits.contains(&Exit::Staged).then_some(Exit::Staged))
        .unwrap_or(Exit::Done)
}
