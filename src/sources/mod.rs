//! The registry of sources: one row a kind.

pub mod okta;

use crate::http::kind::SourceKind;

/// Every kind of source, ascending.
pub const KINDS: &[SourceKind] = &[okta::KIND];
