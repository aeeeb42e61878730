//! `rosterd schema`: the JSON Schema of the configuration, for editors; with `--api` the OpenAPI document of the daemon's
//! HTTP API, for whoever writes a program against it.

use clap::Args;

use super::exit::{Exit, Failure};
use super::output;
use crate::daemon::assemble::REGISTRY;
use crate::daemon::http::document;

/// What the command takes.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// The OpenAPI document of the HTTP API instead
    #[arg(long)]
    api: bool,
}

/// Prints the schema.
///
/// # Errors
/// If the standard output cannot be written to.
pub fn command(more: &SchemaArguments) -> Result<Exit, Failure> {
    if more.api {
        output::json(&document())?;
    } else {
        output::json(&crate::config::schema::schema(&REGISTRY))?;
    }
    Ok(Exit::Done)
}
