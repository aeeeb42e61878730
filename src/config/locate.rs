//! Which file is the configuration: the one that is named, or the first of the usual places that is there.

use std::path::PathBuf;

/// The variable that names the file.
pub const VARIABLE: &str = "ROSTERD_CONFIG";

/// The usual places, in order.
pub const PLACES: [&str; 2] = ["./rosterd.toml", "/etc/rosterd/rosterd.toml"];

/// Finds the file: what `--config` names, else what the variable names, else the first place that is there. A file that is
/// named is taken whether it is there or not, so that a slip of the name is told and no other file is used in its stead; and
/// if no place is there, the last is returned, so that the message names where it should be.
pub fn locate(named: Option<PathBuf>, variable: Option<String>, exists: &dyn Fn(&std::path::Path) -> bool) -> PathBuf {
    if let Some(file) = named {
        return file;
    }
    if let Some(file) = variable.filter(|file| !file.is_empty()) {
        return file.into();
    }
    let [here, system] = PLACES.map(PathBuf::from);
    if exists(&here) { here } else { system }
}
