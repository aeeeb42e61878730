//! Secrets by reference: the configuration says where a secret is, never what it is.

use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::contract::settings::SettingsError;

/// Where a secret is: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The name of an environment variable.
    pub env: Option<String>,
    /// A file; a trailing line break is cut.
    pub file: Option<PathBuf>,
    /// The name of a systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
}

/// Reads secrets. Holds no secret itself.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    _private: (),
}

impl Secrets {
    /// Reads from the process's environment and file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a secret now.
    ///
    /// # Errors
    /// A variable that is unset or empty, a file that cannot be read or is empty, a reference that names none or several
    /// places; `key` is the reference's own key in its table.
    pub fn read(&self, _key: &str, _reference: &SecretRef) -> Result<SecretString, SettingsError> {
        unimplemented!()
    }
}
