//! The pure core: scope, mapping, correlate, diff, guard, render. Values in, values out: no I/O, no clock, no async, no
//! logging. What a run decides is decided here, and a law in `tests/laws.rs` holds each promise over random worlds.
//!
//! The road of one run: [`mapping::desired`] makes of the source's roster what should be; [`wanted::wanted`] says what must
//! be read of the target; [`diff::diff`] makes the plan of both; [`guard::judge`] lets through what may happen.

pub mod compare;
pub mod correlate;
pub mod diff;
pub mod drift;
pub mod explain;
pub mod expression;
pub mod guard;
pub mod hash;
pub mod health;
pub mod mapping;
pub mod members;
pub mod pattern;
pub mod people;
pub mod proof;
pub mod renames;
pub mod render;
pub mod rules;
pub mod seats;
pub mod undo;
pub mod wanted;
pub mod wish;
pub mod write_out;
