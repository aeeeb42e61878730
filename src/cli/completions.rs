//! `rosterd completions`: for the shell to source.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;

/// What the command takes.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// For which shell
    shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// If the standard output cannot be written to.
pub fn command(more: &CompletionsArguments) -> Result<Exit, Failure> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    generate(more.shell, &mut Arguments::command(), "rosterd", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
