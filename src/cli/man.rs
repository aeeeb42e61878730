//! `rosterd man`: the manual pages, for whoever makes a package.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// Write a page for each command into this folder, instead of printing the first
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Prints or writes the pages.
///
/// # Errors
/// If they cannot be written.
pub fn command(more: &ManArguments) -> Result<Exit, Failure> {
    let command = Arguments::command();
    if let Some(folder) = &more.into {
        let failed = |e| Failure::new(Exit::Failed, format!("the manual pages cannot be written to {}: {e}", folder.display()));
        clap_mangen::generate_to(command, folder).map_err(failed)?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    let failed = |e| Failure::new(Exit::Failed, format!("the manual page cannot be written: {e}"));
    clap_mangen::Man::new(command).render(&mut page).map_err(failed)?;
    output::line(String::from_utf8_lossy(&page).trim_end())?;
    Ok(Exit::Done)
}
