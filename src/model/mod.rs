//! The nouns: plain values that every other part speaks in. No I/O, no clock, no async, no logging.
//!
//! Rosters of 100,000 users, 10,000 groups and 1,000,000 memberships must be comfortable, so users and groups are held
//! once, sorted by key, and memberships are sorted lists of 32-bit positions in them, never pairs of strings.

pub mod backoff;
pub mod change;
pub mod desired;
pub mod key;
pub mod ledger;
pub mod link;
pub mod plan;
pub mod retry;
pub mod roster;
