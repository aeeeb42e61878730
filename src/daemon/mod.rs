//! The shell: schedule, supervise, reload, signals, telemetry. Time, signals and wiring live here; decisions do not.

pub mod assemble;
pub mod clock;
pub mod notify;
pub mod schedule;
pub mod signals;
pub mod supervise;
pub mod telemetry;
