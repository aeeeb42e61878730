//! Names: those that an admin gives to systems and jobs, which become file names, metric labels and parts of variables'
//! names, and those of groups and users, which are whatever the systems allow.

use super::scribe::Scribe;
use crate::contract::settings::path::{KeyPath, is_bare};

/// Checks the name that an admin gave to a system or a job.
pub(super) fn given_name(scribe: &mut Scribe<'_>, path: &KeyPath, name: &str) {
    if !is_bare(name) || name.contains("__") {
        let hint = "use letters, digits, - and single _".to_owned();
        scribe.error_at_key(path, format!("{name:?} cannot be a name"), hint);
        return;
    }
    if name.len() > 64 {
        scribe.error_at_key(path, "the name is too long", "use at most 64 characters".to_owned());
    }
}

/// Checks names of groups or users as the systems know them: they must not be empty or begin or end with a space.
pub(super) fn foreign_names(scribe: &mut Scribe<'_>, path: &KeyPath, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        foreign_name(scribe, &path.index(index), name);
    }
}

/// Checks one such name.
pub(super) fn foreign_name(scribe: &mut Scribe<'_>, path: &KeyPath, name: &str) {
    if name.is_empty() {
        scribe.error(path, "the name is empty", None);
    } else if name.trim() != name {
        scribe.error(path, format!("{name:?} begins or ends with a space"), None);
    }
}
