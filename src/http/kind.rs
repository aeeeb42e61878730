//! Kinds of connectors: the rows of the registries, and what a connector is handed when it is built.

use std::sync::Arc;

use super::latch::Latches;
use super::meter::Meters;
use super::secret::Secrets;
use crate::contract::settings::{Settings, SettingsError};
use crate::contract::source::Source;
use crate::contract::target::{Nature, Target};

/// What a connector is handed. It opens nothing by itself.
#[derive(Clone, Debug)]
pub struct Kit {
    /// Reads secrets by reference.
    pub secrets: Secrets,
    /// Where requests, waits and limits are counted, for progress and metrics.
    pub meters: Arc<Meters>,
    /// Which clients send nothing more, since their credential was refused.
    pub latches: Arc<Latches>,
}

/// Checks a source's table, reads its secrets and builds the connector. Sends nothing.
pub type BuildSource = fn(&Settings, &Kit) -> Result<Arc<dyn Source>, SettingsError>;
/// Checks a target's table, reads its secrets and builds the connector. Sends nothing.
pub type BuildTarget = fn(&Settings, &Kit) -> Result<Arc<dyn Target>, SettingsError>;

/// A row of the registry of sources.
#[derive(Debug)]
pub struct SourceKind {
    /// The word in `kind = "…"`.
    pub kind: &'static str,
    /// One line for `rosterd kinds`.
    pub about: &'static str,
    /// A table as an example, complete and commented; a test parses it.
    pub example: &'static str,
    /// The JSON Schema of the table.
    pub schema: fn() -> schemars::Schema,
    /// How it is built.
    pub build: BuildSource,
}

/// A row of the registry of targets.
#[derive(Debug)]
pub struct TargetKind {
    /// The word in `kind = "…"`.
    pub kind: &'static str,
    /// One line for `rosterd kinds`.
    pub about: &'static str,
    /// A table as an example, complete and commented; a test parses it.
    pub example: &'static str,
    /// The JSON Schema of the table.
    pub schema: fn() -> schemars::Schema,
    /// What all targets of this kind have in common.
    pub nature: Nature,
    /// How it is built.
    pub build: BuildTarget,
}

/// Both registries.
#[derive(Clone, Copy, Debug)]
pub struct Registry {
    /// The kinds of sources, ascending.
    pub sources: &'static [SourceKind],
    /// The kinds of targets, ascending.
    pub targets: &'static [TargetKind],
}
