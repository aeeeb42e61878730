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
    /// How long until an account that was made inactive is deleted; never, if not given.
    pub delete_after: Option<Duration>,
}

/// Checks the rules for leavers.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Leavers) -> Leavers {
    let raw::Leavers { disabled, out_of_scope, deleted, grace, delete_after } = raw;
    let at = path.key("delete_after");
    let leavers = Leavers {
        disabled: disabled.unwrap_or(LeaverAction::Deactivate),
        out_of_scope: out_of_scope.unwrap_or(LeaverAction::RemoveGroups),
        deleted: deleted.unwrap_or(LeaverAction::Deactivate),
        grace: scribe.duration(&path.key("grace"), grace.as_deref(), Duration::ZERO),
        delete_after: delete_after.map(|text| scribe.duration(&at, Some(&text), LONGEST)),
    };
    check_deletion(scribe, &at, &leavers);
    leavers
}

/// Stands for a duration that did not parse.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

fn check_deletion(scribe: &mut Scribe<'_>, at: &KeyPath, leavers: &Leavers) {
    let Some(after) = leavers.delete_after else { return };
    if after <= leavers.grace {
        let hint = "it counts from the day on which the source wanted the user gone, as grace does: write more, such as \"90d\"";
        scribe.error(at, "accounts would be deleted before they are made inactive", hint.to_owned());
    }
    if ![leavers.disabled, leavers.out_of_scope, leavers.deleted].contains(&LeaverAction::Deactivate) {
        let hint = "it deletes accounts that were made inactive; \"delete\" for a cause deletes at once";
        scribe.error(at, "no leaver's account is made inactive, so that none would be deleted", hint.to_owned());
    }
}
