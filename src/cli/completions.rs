//! `rosterd completions`: for the shell to source.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Arguments;
use super::exit::{Exit, Failure};

/// What the command takes.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// For which shell
    shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// None so far.
pub fn command(more: &CompletionsArguments) -> Result<Exit, Failure> {
    generate(more.shell, &mut Arguments::command(), "rosterd", &mut std::io::stdout());
    Ok(Exit::Done)
}
