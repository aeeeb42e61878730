//! One connector's own table of the configuration, not yet understood. The connector parses it; nobody else knows its keys.
//!
//! Reading a table reports everything that is wrong with it at once, since an admin who mends a file one message at a time
//! loses an evening. The whole file is read by the same means ([`read()`]), so that the messages are alike everywhere.

mod misfit;
pub mod near;
pub mod path;
mod read;
mod reader;

use serde::de::DeserializeOwned;

pub use misfit::{INLINE_SECRET, is_secret};
pub use read::{Reading, read};

use crate::model::key::SystemName;

/// What to do about a secret that stands in the configuration itself.
pub const THREE_WAYS: &str =
    r#"say where it is: { env = "NAME" }, { file = "/path" } or { credential = "name" } (systemd's LoadCredential=)"#;

/// How the origin of a value begins that came from the environment. Such a value is text, whatever is wanted of it, and
/// only it is converted: in a file, `floor = "5"` is a mistake.
pub const FROM_ENVIRONMENT: &str = "env ";

/// One thing that is wrong in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFinding {
    /// The key's path below the table, such as `auth.token` or `groups[0].name`; empty for the table itself.
    pub key: String,
    /// What is wrong, with the offending text unless it may be a secret.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Everything that is wrong in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|f| format!("{}: {}", f.key, f.what)).collect::<Vec<_>>().join("; "))]
pub struct SettingsError(pub Vec<SettingsFinding>);

impl SettingsError {
    /// One finding.
    pub fn one(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self(vec![SettingsFinding { key: key.into(), what: what.into(), hint: None }])
    }
    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.hint = Some(hint.into());
        }
        self
    }
    /// Puts all findings below a key.
    #[must_use]
    pub fn under(mut self, key: &str) -> Self {
        for finding in &mut self.0 {
            finding.key = if finding.key.is_empty() { key.to_owned() } else { format!("{key}.{}", finding.key) };
        }
        self
    }
    /// Adds another's findings, so that a connector can report all of its own at once.
    pub fn merge(&mut self, other: SettingsError) {
        self.0.extend(other.0);
    }
}

/// A connector's table.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The system's name: the last part of the table's path.
    pub name: SystemName,
    /// The table as layered from file and environment, without `kind`.
    pub value: config::Value,
}

impl Settings {
    /// Reads a table from TOML text, as connectors' tests and examples do. A `kind` at its top is taken out.
    ///
    /// # Errors
    /// Text that is not TOML.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, SettingsError> {
        let source = config::File::from_str(text, config::FileFormat::Toml);
        let built = config::Config::builder().add_source(source).build();
        let mut value = built.map_err(|e| SettingsError::one("", e.to_string()))?.cache;
        if let config::ValueKind::Table(table) = &mut value.kind {
            table.remove("kind");
        }
        Ok(Self { name: SystemName::from(name), value })
    }

    /// Reads the table into the connector's own type.
    ///
    /// # Errors
    /// Every unknown key, wrong type and missing key, each with its path below the table. No text of a secret is among them.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let reading = read(&self.value);
        match reading.value {
            Some(value) if reading.findings.is_empty() => Ok(value),
            Some(_) | None => Err(SettingsError(reading.findings)),
        }
    }
}

#[cfg(test)]
mod tests;
