//! `rosterd kinds`: the kinds of sources and targets; with a name, an example of its table.

use clap::Args;
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use crate::daemon::assemble::REGISTRY;

/// What the command takes.
#[derive(Debug, Args)]
pub struct KindsArguments {
    /// Show an example of this kind's table
    kind: Option<String>,
}

/// Prints the kinds.
///
/// # Errors
/// A name that no kind has.
pub fn command(arguments: &Arguments, more: &KindsArguments) -> Result<Exit, Failure> {
    let rows = || {
        let sources = REGISTRY.sources.iter().map(|r| ("source", r.kind, r.about, r.example));
        sources.chain(REGISTRY.targets.iter().map(|r| ("target", r.kind, r.about, r.example)))
    };
    if let Some(kind) = &more.kind {
        let Some((_, _, _, example)) = rows().find(|(_, k, ..)| k == kind) else {
            let known: Vec<&str> = rows().map(|(_, k, ..)| k).collect();
            return Err(Failure::new(Exit::Usage, format!("there is no kind {kind:?}"))
                .hint(format!("the kinds are: {}", known.join(", "))));
        };
        output::line(example.trim_end())?;
        return Ok(Exit::Done);
    }
    if arguments.json {
        let all: Vec<_> = rows().map(|(role, kind, about, _)| json!({"role": role, "kind": kind, "about": about})).collect();
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["role", "kind", "what it is"]);
    for (role, kind, about, _) in rows() {
        table.add_row([role, kind, about]);
    }
    output::print(&table, "there are no kinds")?;
    Ok(Exit::Done)
}
