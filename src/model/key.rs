//! A newtype for every identity, so that a source's id can never stand where a target's belongs.
//!
//! Texts of up to 23 bytes, as nearly all ids and names are, stand in the key itself; longer ones are shared by their copies.
//! With hundreds of thousands of records on each side that halves the memory, and spares a miss of the cache at each look.

use std::borrow::{Borrow, Cow};
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(SmolStr);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<SmolStr>) -> Self { Self(text.into()) }
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

/// The same as [`fold`], borrowed where the name is folded already, as most are.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) { Cow::Borrowed(name) } else { Cow::Owned(fold(name)) }
}

/// Whether two names are one when folded.
pub fn same_name(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    // Only within ASCII: the Kelvin sign, for one, folds to an ASCII letter.
    if one.is_ascii() && other.is_ascii() { one.eq_ignore_ascii_case(other) } else { fold(one) == fold(other) }
}

/// The key of a group at a target: its folded name.
pub fn group_key(name: &str) -> TargetKey {
    TargetKey::from(fold(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_folds_alike_by_every_road() {
        let names = ["ada", "Ada", "ADA", "k", "K", "\u{212a}", "straße", "STRASSE", "Ä", "ä", "İ", "i", "ΑΣ", "ας", "ασ", ""];
        for one in names {
            assert_eq!(folded(one), fold(one));
            for other in names {
                assert_eq!(same_name(one, other), fold(one) == fold(other), "{one:?} and {other:?}");
            }
        }
    }
}
