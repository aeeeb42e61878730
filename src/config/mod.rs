//! The configuration: as read, and as meant.
//!
//! A text goes through three rooms. [`layers`] lays files and environment over each other and remembers where each value
//! stands. `raw` takes the values as they are written. [`checked`] asks whether they make sense, and hands out a
//! [`Config`] that is known to. All three report everything they find, not only the first: an admin mends a file once.
//!
//! Connectors' tables are opaque here. They are checked by building the connector, which sends nothing. Expressions are
//! checked through a function that the caller gives, so that this floor needs to know no other.

mod document;
mod finding;
mod forms;
mod names;
mod overlap;
mod raw;
mod scribe;
mod systems;

pub mod checked;
pub mod daemon;
pub mod glob;
pub mod groups;
pub mod guard;
pub mod job;
pub mod layers;
pub mod leavers;
pub mod locate;
pub mod log;
pub mod notify;
pub mod retry;
pub mod schedule;
pub mod schema;
pub mod telemetry;
pub mod template;
pub mod users;

pub use checked::{Checked, Checks, Config, check};
pub use finding::{ConfigError, Finding, Place, Severity, render};
pub use layers::Layers;
pub use systems::System;
