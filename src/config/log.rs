//! What is logged, how and where.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::near;
use crate::contract::settings::path::KeyPath;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// When a new log file is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// At midnight UTC.
    #[default]
    Daily,
    /// At the full hour.
    Hourly,
    /// On Sundays at midnight UTC.
    Weekly,
    /// Never.
    Never,
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The directory.
    pub directory: PathBuf,
    /// When a new one is begun.
    pub rotate: Rotation,
    /// How many are kept, the present one among them.
    pub keep: usize,
}

/// What is logged, how and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level or a tracing filter, known to parse.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// A file beside the standard error stream.
    pub file: Option<LogFile>,
}

/// Checks the log's settings.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Log) -> Log {
    let raw::Log { level, format, file } = raw;
    let level = level.unwrap_or_else(|| "info".to_owned());
    check_level(scribe, &path.key("level"), &level);
    Log { level, format: format.unwrap_or_default(), file: file.map(|file| check_file(scribe, &path.key("file"), file)) }
}

/// A single word that is no level would be taken for the name of a module to log in full, and the log fall silent otherwise.
fn check_level(scribe: &mut Scribe<'_>, path: &KeyPath, level: &str) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let bare = level.split(',').map(str::trim).find(|part| !part.contains(['=', '[']) && !is_level(part));
    if let Some(word) = bare {
        let what = if word.is_empty() { "the filter has an empty part".to_owned() } else { format!("unknown level `{word}`") };
        let near = near::nearest(word, LEVELS).map(|near| format!("did you mean `{near}`? "));
        let hint = format!("{}write a level ({}) or module=level", near.unwrap_or_default(), LEVELS.join(", "));
        scribe.error(path, what, hint);
        return;
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(level) {
        let hint = r#"write a level, or a filter such as "info,rosterd::engine=debug""#.to_owned();
        scribe.error(path, format!("{level:?} is not a filter: {error}"), hint);
    }
}

fn check_file(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::LogFile) -> LogFile {
    let raw::LogFile { directory, rotate, keep } = raw;
    if directory.is_empty() {
        scribe.error(&path.key("directory"), "the directory is empty", None);
    }
    if keep == Some(0) {
        scribe.error(&path.key("keep"), "at least one file must be kept", None);
    }
    let keep = keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(14);
    LogFile { directory: directory.into(), rotate: rotate.unwrap_or_default(), keep }
}
