//! Who is managed, and how users are named at the targets.

use super::glob::{self, Globs};
use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;

/// The user name if nothing is said: what stands before the at sign of the login, in lower case.
pub const DEFAULT_USERNAME: &str = "login | before('@') | lower";
/// The e-mail address if nothing is said.
pub const DEFAULT_EMAIL: &str = "email";
/// The display name if nothing is said.
pub const DEFAULT_DISPLAY_NAME: &str = "full_name";

/// Expressions over the source's record; they are known to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMap {
    /// The user name.
    pub username: String,
    /// The e-mail address.
    pub email: String,
    /// The name shown.
    pub display_name: String,
}

/// Who is managed, and how users are named.
#[derive(Clone, Debug)]
pub struct Users {
    /// Source groups of which any must hold the user; empty: everybody.
    pub member_of: Globs,
    /// An expression that must be true, known to parse.
    pub filter: Option<String>,
    /// Logins that are never managed.
    pub exclude: Globs,
    /// What makes the user at the target.
    pub map: UserMap,
}

/// Checks the rules for users.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Users) -> Users {
    let raw::Users { member_of, filter, exclude, map } = raw;
    if let Some(filter) = &filter {
        scribe.expression(&path.key("filter"), filter);
    }
    if scribe.layers.has(&path.key("member_of")) && member_of.is_empty() {
        let hint = "leave the key out if everybody is meant".to_owned();
        scribe.error(&path.key("member_of"), "an empty gate lets everybody through", hint);
    }
    Users {
        member_of: glob::check(scribe, &path.key("member_of"), &member_of),
        filter,
        exclude: glob::check(scribe, &path.key("exclude"), &exclude),
        map: check_map(scribe, &path.key("map"), map),
    }
}

fn check_map(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::UserMap) -> UserMap {
    let raw::UserMap { username, email, display_name } = raw;
    let mut expression = |key: &str, given: Option<String>, default: &str| {
        let text = given.unwrap_or_else(|| default.to_owned());
        scribe.expression(&path.key(key), &text);
        text
    };
    UserMap {
        username: expression("username", username, DEFAULT_USERNAME),
        email: expression("email", email, DEFAULT_EMAIL),
        display_name: expression("display_name", display_name, DEFAULT_DISPLAY_NAME),
    }
}
