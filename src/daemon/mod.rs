//! The shell: schedule, supervise, reload, signals, status over HTTP, telemetry. Time, signals and wiring live here;
//! decisions do not.

pub mod assemble;
pub mod clock;
pub mod condition;
pub mod console;
mod crew;
mod failover;
pub mod herald;
pub mod holder;
pub mod http;
mod lookout;
mod message;
pub mod metrics;
pub mod notify;
pub mod orders;
pub mod presence;
mod queue;
mod readiness;
mod reload;
pub mod reverse;
pub mod schedule;
pub mod signals;
pub mod status;
pub mod supervise;
pub mod telemetry;
pub mod traces;
mod watch;
