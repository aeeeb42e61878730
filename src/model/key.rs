//! A newtype for every identity, so that a source's id can never stand where a target's belongs.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self { Self(text.into()) }
            /// The text as it was given.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({:?})", stringify!($name), &*self.0) }
        }
        impl Borrow<str> for $name { fn borrow(&self) -> &str { &self.0 } }
        impl From<&str> for $name { fn from(text: &str) -> Self { Self(text.into()) } }
        impl From<String> for $name { fn from(text: String) -> Self { Self(text.into()) } }
    )*};
}

keys! {
    /// The immutable id of a user or group at its source: never a name, never an e-mail.
    SourceKey;
    /// The stable id of a user at a target (Jira `key`, Confluence `userKey`, Bitbucket `id`), or of a group there: its
    /// folded name, since no target gives groups another id.
    TargetKey;
    /// The name under which a source or target stands in the configuration.
    SystemName;
    /// The name of a job in the configuration.
    JobName;
    /// One run: a UUIDv7 in text, so that runs sort by the time they began.
    RunId;
    /// The hash of a plan's canonical changes, in hexadecimal.
    PlanId;
}

/// Folds a user or group name for comparison: Unicode lower case of the root locale, since all targets compare names so
/// but keep the spelling.
pub fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// The key of a group at a target: its folded name.
pub fn group_key(name: &str) -> TargetKey {
    TargetKey::from(fold(name))
}
