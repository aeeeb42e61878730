//! The registry of targets: one row a kind.

pub mod bitbucket;
pub mod confluence;
pub mod jira;

use crate::http::kind::TargetKind;

/// Every kind of target, ascending.
pub const KINDS: &[TargetKind] = &[bitbucket::KIND, confluence::KIND, jira::KIND];
