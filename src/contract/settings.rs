//! One connector's own table of the configuration, not yet understood. The connector parses it; nobody else knows its keys.

use serde::de::DeserializeOwned;

use crate::model::key::SystemName;

/// One thing that is wrong in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFinding {
    /// The key's path below the table, such as `auth.token`; empty for the table itself.
    pub key: String,
    /// What is wrong, with the offending text.
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
    /// Reads the table into the connector's own type.
    ///
    /// # Errors
    /// Every unknown key, wrong type and missing key, each with its path below the table.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        serde_path_to_error::deserialize(self.value.clone()).map_err(|e| {
            let key = e.path().to_string();
            SettingsError::one(if key == "." { String::new() } else { key }, e.inner().to_string())
        })
    }
}
