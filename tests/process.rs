//! The real binary: what it prints, how it exits, what it does on signals, and what is left of its work when it is killed.
//!
//! Everything runs against the simulated systems on loopback. Nothing waits by the clock: a test waits for a line, a
//! message or a state, and a deadline only ends a test that has failed.

#[path = "process/api.rs"]
mod api;
#[path = "process/campaign.rs"]
mod campaign;
#[path = "process/commands.rs"]
mod commands;
#[path = "process/crash.rs"]
mod crash;
#[path = "process/daemon.rs"]
mod daemon;
#[path = "process/decisions.rs"]
mod decisions;
#[path = "process/demo.rs"]
mod demo;
#[path = "process/doctor.rs"]
mod doctor;
#[path = "process/exits.rs"]
mod exits;
#[path = "process/http.rs"]
mod http;
#[path = "process/logs.rs"]
mod logs;
#[path = "process/metrics.rs"]
mod metrics;
#[path = "process/notices.rs"]
mod notices;
#[path = "process/pair.rs"]
mod pair;
#[path = "process/record.rs"]
mod record;
#[path = "process/recordings.rs"]
mod recordings;
#[path = "process/reload.rs"]
mod reload;
#[path = "process/replicas.rs"]
mod replicas;
#[path = "process/rests.rs"]
mod rests;
#[path = "process/site.rs"]
mod site;
#[path = "process/state.rs"]
mod state;
#[path = "process/traces.rs"]
mod traces;
