//! The commands: one file each. Data goes to the standard output, talk to the error stream.

pub mod actor;
pub mod check;
pub mod completions;
pub mod decide;
pub mod doctor;
pub mod drift;
pub mod exit;
pub mod explain;
pub mod init;
pub mod journal;
pub mod kinds;
pub mod man;
pub mod output;
pub mod plan;
pub mod progress;
pub mod record;
pub mod release;
pub mod replay;
pub mod retries;
pub mod run;
pub mod runs;
pub mod schema;
pub mod show;
pub mod stage;
pub mod state;
pub mod status;
pub mod sync;
pub mod undo;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

use exit::Exit;

use crate::contract::verdict::Verdict;

/// Over the options that every command takes.
const EVERYWHERE: &str = "Options of every command";
/// Below the list of commands.
const EXIT_CODES: &str =
    "Exit codes: 0 done or nothing to do; 1 failed; 2 plan or undo show changes, replay differences; 3 removals wait for a person;
64 usage; 69 a system or the state is not available now; 77 refused credential or missing right; 78 configuration";
/// What the long help and the manual page end with.
const AFTERWARDS: &str =
    "Exit codes: 0 done or nothing to do; 1 failed; 2 plan or undo show changes, replay differences; 3 removals wait for a person;
64 usage; 69 a system or the state is not available now; 77 refused credential or missing right; 78 configuration

Environment: ROSTERD_CONFIG names the configuration; ROSTERD__SECTION__KEY overrides a key of it; CREDENTIALS_DIRECTORY is the \
folder of secrets that are named as credentials; RUST_LOG and NO_COLOR as usual.";

/// Keeps the users, groups and memberships of Jira, Confluence and Bitbucket in step with Okta.
#[derive(Debug, Parser)]
#[command(name = "rosterd", version, about, max_term_width = 110, after_help = EXIT_CODES, after_long_help = AFTERWARDS)]
pub struct Arguments {
    /// The configuration's file; without it ./rosterd.toml, then /etc/rosterd/rosterd.toml
    // Taken as text, so that an empty variable can mean none.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "ROSTERD_CONFIG", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Say more on the error stream
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as a daemon, until told to stop
    Run,
    /// Write a configuration, asking a few questions
    Init(init::InitArguments),
    /// Check the configuration; with --online also credentials, rights and versions
    Check(check::CheckArguments),
    /// Show what a run would do; changes nothing, and without --save leaves no trace
    Plan(plan::PlanArguments),
    /// Keep everything that a plan of a job is made of in a file; changes nothing
    Record(record::RecordArguments),
    /// Plan with a recording and the rules of the configuration, offline, and show what differs from the recorded plan
    Replay(replay::ReplayArguments),
    /// Run every job, or one, once, now
    Sync(sync::SyncArguments),
    /// Let removals through that wait for a person, as a plan shows them
    Approve(decide::DecideArguments),
    /// Drop removals that wait for a person, until the source says something new
    Reject(decide::DecideArguments),
    /// Take back what a run did; without --reason only show it
    Undo(undo::UndoArguments),
    /// Explain one user: facts, rules, groups, and what the next run would write
    Explain(explain::ExplainArguments),
    /// Show what differs at the targets that rosterd neither caused nor owns
    Drift(drift::DriftArguments),
    /// Gather how things are into one file to attach to a question: no secrets, users as pseudonyms; changes nothing
    Doctor(doctor::DoctorArguments),
    /// Show how things are: freshness, next runs, what waits
    Status,
    /// List past runs
    Runs(runs::RunsArguments),
    /// Show a run and its changes
    Show(show::ShowArguments),
    /// Check the record of changes, write it out, search it
    Journal(journal::JournalArguments),
    /// Copy the state from one store to another
    State(state::StateArguments),
    /// List what is to be tried again, and what is set aside
    Retries,
    /// End a rest, a quarantine, or a hold after an undo; with --link, let an account go from a user who has left
    Release(release::ReleaseArguments),
    /// List the kinds of sources and targets
    Kinds(kinds::KindsArguments),
    /// Print the JSON Schema of the configuration, or with --api the OpenAPI document of the HTTP API
    Schema(schema::SchemaArguments),
    /// Print shell completions
    Completions(completions::CompletionsArguments),
    /// Print the manual page
    #[command(hide = true)]
    Man(man::ManArguments),
}

/// Runs a command line.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let usage = error.use_stderr();
            let _ = error.print();
            return if usage { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match dispatch(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<Exit, exit::Failure> {
    match &arguments.command {
        Command::Run => run::command(arguments),
        Command::Init(more) => init::command(arguments, more),
        Command::Check(more) => check::command(arguments, more),
        Command::Plan(more) => plan::command(arguments, more),
        Command::Record(more) => record::command(arguments, more),
        Command::Replay(more) => replay::command(arguments, more),
        Command::Sync(more) => sync::command(arguments, more),
        Command::Approve(more) => decide::command(arguments, more, Verdict::Approved),
        Command::Reject(more) => decide::command(arguments, more, Verdict::Rejected),
        Command::Undo(more) => undo::command(arguments, more),
        Command::Explain(more) => explain::command(arguments, more),
        Command::Drift(more) => drift::command(arguments, more),
        Command::Doctor(more) => doctor::command(arguments, more),
        Command::Status => status::command(arguments),
        Command::Runs(more) => runs::command(arguments, more),
        Command::Show(more) => show::command(arguments, more),
        Command::Journal(more) => journal::command(arguments, more),
        Command::State(more) => state::command(arguments, more),
        Command::Retries => retries::command(arguments),
        Command::Release(more) => release::command(arguments, more),
        Command::Kinds(more) => kinds::command(arguments, more),
        Command::Schema(more) => schema::command(more),
        Command::Completions(more) => completions::command(more),
        Command::Man(more) => man::command(more),
    }
}
