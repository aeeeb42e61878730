//! The fault campaign: everything that goes wrong between rosterd and the systems, over real HTTP.
//!
//! What is asked after each fault is the same: has anybody lost what they should have, is anybody there twice, do links and
//! ledger tell the truth, and does one more run bring everything in order. The answers are worked out from what the
//! simulators hold, not from what rosterd says.

mod support;

#[path = "faults/brittle.rs"]
#[allow(dead_code, reason = "only a part of it is used here")]
mod brittle;
#[path = "faults/campaign.rs"]
mod campaign;
#[path = "faults/clocks.rs"]
mod clocks;
#[path = "faults/down.rs"]
mod down;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/lying.rs"]
mod lying;
#[path = "faults/pages.rs"]
mod pages;
#[path = "faults/panics.rs"]
mod panics;
#[path = "faults/refused.rs"]
mod refused;
#[path = "faults/slow.rs"]
mod slow;
#[path = "faults/stage.rs"]
mod stage;
#[path = "faults/stop.rs"]
mod stop;
#[path = "faults/subjects.rs"]
mod subjects;
#[path = "faults/turns.rs"]
mod turns;
#[path = "faults/watched.rs"]
mod watched;
#[path = "faults/writes.rs"]
mod writes;
