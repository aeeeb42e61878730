//! The shell: schedule, supervise, reload, signals, telemetry.
