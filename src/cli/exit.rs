//! Exit codes, and failures as people read them.

use std::process::ExitCode;

use serde::Serialize;

use crate::config::ConfigError;
use crate::contract::fault::{ConnectorError, Fault};
use crate::engine::prepare::RunError;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed.
    Failed,
    /// `plan` found changes.
    Changes,
    /// Removals wait for a person.
    Staged,
    /// The command line is wrong.
    Usage,
    /// A system cannot be reached, or is not able to answer.
    Unavailable,
    /// A credential was refused, or a right is missing.
    Permission,
    /// The configuration is wrong.
    Configuration,
}

impl Exit {
    /// The code, after sysexits.h where it has one.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Changes => 2,
            Exit::Staged => 3,
            Exit::Usage => 64,
            Exit::Unavailable => 69,
            Exit::Permission => 77,
            Exit::Configuration => 78,
        }
    }

    /// The exit for a fault.
    pub fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Refused | Fault::Forbidden => Exit::Permission,
            Fault::Unreachable | Fault::Unavailable { .. } | Fault::Limited { .. } => Exit::Unavailable,
            Fault::NotFound
            | Fault::Conflict
            | Fault::Rejected
            | Fault::LicenceFull
            | Fault::Malformed
            | Fault::Incomplete
            | Fault::Unsupported => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// A command that failed: what to say, and how to end.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// How to end.
    #[serde(skip)]
    pub exit: Exit,
    /// What to say.
    pub message: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }
    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Prints it to the error stream.
    pub fn print(&self) {
        let message = self.message.trim_end();
        // What the configuration's checker renders says by itself that it is an error.
        if message.starts_with("error") || message.starts_with("\u{1b}") {
            eprintln!("{message}");
        } else {
            eprintln!("error: {message}");
        }
        if let Some(hint) = &self.hint {
            eprintln!("  hint: {hint}");
        }
    }
}

/// Prints the failures of a command that went on despite them, and says how it ends. `None`: there were none.
pub fn worst(failures: &[Failure]) -> Option<Exit> {
    failures.iter().for_each(Failure::print);
    failures.iter().map(|failure| failure.exit).max()
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        Self { exit: Exit::of(&error.fault), message: error.to_string(), hint: error.hint.map(Into::into) }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Connector(error) => error.into(),
            RunError::Journal(error) => error.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error.render(super::output::color_on_stderr()))
    }
}

impl From<crate::contract::journal::JournalError> for Failure {
    fn from(error: crate::contract::journal::JournalError) -> Self {
        // A store that another process keeps locked is there again in a moment.
        let exit = if error.passing { Exit::Unavailable } else { Exit::Failed };
        Self::new(exit, error.to_string())
    }
}

impl From<crate::daemon::assemble::AssembleError> for Failure {
    fn from(error: crate::daemon::assemble::AssembleError) -> Self {
        Self::new(Exit::Configuration, error.to_string())
    }
}
