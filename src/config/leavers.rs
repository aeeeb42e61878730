//! What happens to users who leave.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;

/// What is done with a leaver's account at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaverAction {
    /// Nothing.
    Keep,
    /// It is taken out of the groups that rosterd put it into.
    RemoveGroups,
    /// It is made inactive.
    Deactivate,
    /// It is deleted.
    Delete,
}

/// What happens to users who leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leavers {
    /// The source disabled the user.
    pub disabled: LeaverAction,
    /// The source has the user, the job does not want it.
    pub out_of_scope: LeaverAction,
    /// The source says that there is no such user any more.
    pub deleted: LeaverAction,
    /// How long the user must have been gone before anything is done.
    pub grace: Duration,
}

/// Checks the rules for leavers.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Leavers) -> Leavers {
    let raw::Leavers { disabled, out_of_scope, deleted, grace } = raw;
    Leavers {
        disabled: disabled.unwrap_or(LeaverAction::Deactivate),
        out_of_scope: out_of_scope.unwrap_or(LeaverAction::RemoveGroups),
        deleted: deleted.unwrap_or(LeaverAction::Deactivate),
        grace: scribe.duration(&path.key("grace"), grace.as_deref(), Duration::ZERO),
    }
}
