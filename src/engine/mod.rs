//! One run: fetch, diff, guard, apply; and the retry of single subjects. Knows contracts, no connector and no store.
//!
//! * Runs take no input about what changed. They read both sides and compare: whatever was missed, heals.
//! * [`prepare`] only reads; a dry run is that and nothing more. Its last step, [`confirm`], asks the source and the target
//!   whatever decides if an admitted change happens, so that a plan shows what a run does. [`perform`] carries it out.
//! * [`recording`] keeps what a plan was made of, and plays it: [`prepare`] cannot tell it from the systems.
//! * Every target of a job is a run of its own: one sick target never holds up another.

pub mod apply;
mod belief;
pub mod confirm;
pub mod decide;
pub mod decided;
pub mod drift;
pub mod explain;
pub mod lease;
pub mod memory;
mod newcomers;
mod panic;
pub mod perform;
pub mod policy;
pub mod prepare;
pub mod progress;
pub mod proofs;
pub mod recording;
pub mod release;
pub mod rest;
pub mod run;
mod seats;
pub mod spans;
mod spare;
pub mod subjects;
mod tell;
pub mod undo;
pub mod unlink;
