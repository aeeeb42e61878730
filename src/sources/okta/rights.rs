//! The rights that rosterd needs at Okta, and how to grant them. A service app needs both a scope and an administrator's
//! role, and without the role `GET /users` answers 200 with nothing: so an empty listing speaks of a right that is missing.

use std::collections::BTreeSet;

use crate::contract::fault::{ConnectorError, Fault};

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Users,
    Groups,
    Apps,
}

impl Right {
    /// The scope that a service app needs for it.
    pub(super) fn scope(self) -> &'static str {
        match self {
            Right::Users => "okta.users.read",
            Right::Groups => "okta.groups.read",
            Right::Apps => "okta.apps.read",
        }
    }

    /// How to grant it.
    pub(super) fn hint(self) -> String {
        let (what, scope) = (self.what(), self.scope());
        format!(
            "give the token's owner, or the service app, a role that sees all {what} (Read-only Administrator does); \
             a service app also needs the scope {scope}"
        )
    }

    fn what(self) -> &'static str {
        match self {
            Right::Users => "users",
            Right::Groups => "groups",
            Right::Apps => "apps",
        }
    }

    /// Says of an error that this right is missing, if it is. An error that names a scope says it more exactly.
    pub(super) fn named_in(self, error: ConnectorError) -> ConnectorError {
        let unnamed = error.fault == Fault::Forbidden && !error.why.contains("scope");
        if unnamed { error.hint(self.hint()) } else { error }
    }

    /// The scopes that rosterd needs.
    pub(super) fn scopes(app: bool) -> BTreeSet<String> {
        let rights = if app { &[Right::Users, Right::Groups, Right::Apps][..] } else { &[Right::Users, Right::Groups] };
        rights.iter().map(|right| right.scope().to_owned()).collect()
    }
}
