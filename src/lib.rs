//! rosterd keeps the users, groups and memberships of Jira, Confluence and Bitbucket in step with Okta.
//!
//! # The house
//!
//! Imports run downward only; `tests/architecture.rs` keeps it so.
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 5 | [`cli`] | one file per command |
//! | 5 | [`daemon`] | schedule, supervise, reload, signals, telemetry |
//! | 4 | [`sources`], [`targets`] | one file per kind and one registry row |
//! | 4 | [`store`] | the journal on disk; the only SQL |
//! | 3 | [`engine`] | one run: fetch, diff, guard, apply; retries |
//! | 3 | [`config`] | the file: raw as read, checked as meant |
//! | 3 | [`http`] | the connector author's toolbox |
//! | 2 | [`reconcile`] | the pure core: scope, mapping, correlate, diff, guard, render |
//! | 2 | [`contract`] | the traits the engine is promised, and their faults |
//! | 1 | [`model`] | plain values |

pub mod cli;
pub mod config;
pub mod contract;
pub mod daemon;
pub mod engine;
pub mod http;
pub mod model;
pub mod reconcile;
pub mod sources;
pub mod store;
pub mod targets;
