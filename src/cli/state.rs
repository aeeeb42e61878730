//! `rosterd state`: the state store as a whole. Copied from one place to another, and taken into use again after that.

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime, unopened};
use crate::store::{self, CopyError, Place};

/// What the command takes.
#[derive(Debug, Args)]
pub struct StateArguments {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Copy everything from one store to another, which must be empty, while no daemon runs
    Copy(CopyArguments),
    /// Take a store into use again that was copied elsewhere, where the copy is given up
    Reopen(ReopenArguments),
}

#[derive(Debug, Args)]
struct ReopenArguments {
    /// Which: sqlite:/path or postgres://user@host/database, whose password is daemon.state_password
    store: String,
}

#[derive(Debug, Args)]
struct CopyArguments {
    /// From where: sqlite:/path or postgres://user@host/database, whose password is daemon.state_password
    from: String,
    /// Where to, likewise
    to: String,
}

/// Does what is asked of the state store.
///
/// # Errors
/// A configuration that is wrong, a store that cannot be read or written, or one that must not be.
pub fn command(arguments: &Arguments, more: &StateArguments) -> Result<Exit, Failure> {
    match &more.command {
        StateCommand::Copy(CopyArguments { from, to }) if from == to => {
            Err(Failure::new(Exit::Usage, "the two stores are the same"))
        }
        StateCommand::Copy(CopyArguments { from, to }) => copy(arguments, from, to),
        StateCommand::Reopen(ReopenArguments { store }) => reopen(arguments, store),
    }
}

fn reopen(arguments: &Arguments, store: &str) -> Result<Exit, Failure> {
    let password = Stage::load(arguments)?.state_password()?;
    let place = Place { url: store, password: password.as_ref() };
    let was = runtime()?.block_on(store::reopen(place)).map_err(failed)?;
    match (arguments.json, was) {
        (true, was) => output::json(&json!({ "was_copied_to": was }))?,
        (false, Some(to)) => output::line(&format!("it is in use again; start no daemon on {to}"))?,
        (false, None) => output::line("it was not copied elsewhere, and is in use")?,
    }
    Ok(Exit::Done)
}

fn copy(arguments: &Arguments, from: &str, to: &str) -> Result<Exit, Failure> {
    let stage = Stage::load(arguments)?;
    let password = stage.state_password()?;
    let place = |url| Place { url, password: password.as_ref() };
    let copied =
        runtime()?.block_on(store::copy(place(from), place(to), crate::daemon::holder::gone, Utc::now())).map_err(failed)?;
    let rows: u64 = copied.rows.iter().map(|(_, rows)| rows).sum();
    if arguments.json {
        let tables: serde_json::Map<String, serde_json::Value> =
            copied.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
        output::json(&json!({"rows": tables, "head": copied.checked.head, "chain_holds": copied.checked.holds()}))?;
    } else {
        output::line(&format!("copied {rows} rows; the chain of both ends at {}", copied.checked.head.hash))?;
        output::line("name the copy as daemon.state; the original is written no more")?;
    }
    if !copied.checked.holds() {
        eprintln!("warning: the chain of the original does not hold, nor does that of the copy: see `rosterd journal verify`");
    }
    Ok(Exit::Done)
}

fn failed(error: CopyError) -> Failure {
    let hint = match &error {
        CopyError::Open(_) | CopyError::Failed { .. } | CopyError::Unmarked { .. } => None,
        CopyError::Nothing(_) => Some("name the store as in daemon.state"),
        CopyError::NotEmpty { .. } => Some("copy into a store that nothing was written to; nothing is ever merged"),
        CopyError::AtWork { .. } => Some(
            "stop every daemon first; of one that crashed the sign is gone in half a minute, in a file in a quarter of an hour",
        ),
        CopyError::Unlike => Some("nothing was written"),
    };
    let failure = match error {
        CopyError::Open(error) => return unopened(error),
        CopyError::AtWork { .. } => Failure::new(Exit::Unavailable, error.to_string()),
        error => Failure::new(Exit::Failed, error.to_string()),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
