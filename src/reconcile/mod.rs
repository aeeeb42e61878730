//! The pure core: scope, mapping, correlate, diff, guard, render. Values in, values out: no I/O, no clock, no async, no
//! logging. What a run decides is decided here, and a law in `tests/laws.rs` holds each promise over random worlds.
//!
//! The road of one run: [`mapping::desired`] makes of the source's roster what should be; [`wanted::wanted`] says what must
//! be read of the target; [`diff::diff`] makes the plan of both; [`guard::judge`] lets through what may happen.

//X pub mod correlate;
//X pub mod diff;
pub mod expression;
//X pub mod guard;
//X pub mod hash;
//X pub mod health;
//X pub mod mapping;
pub mod pattern;
//X pub mod proof;
//X pub mod render;
//X pub mod renames;
//X pub mod rules;
//X pub mod wanted;
