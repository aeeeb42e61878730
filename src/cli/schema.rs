//! `rosterd schema`: the JSON Schema of the configuration, for editors.

use super::exit::{Exit, Failure};
use super::output;
use crate::daemon::assemble::REGISTRY;

/// Prints the schema.
///
/// # Errors
/// If the standard output cannot be written to.
pub fn command() -> Result<Exit, Failure> {
    output::json(&crate::config::schema::schema(&REGISTRY))?;
    Ok(Exit::Done)
}
