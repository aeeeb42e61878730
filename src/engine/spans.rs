//! What is said within a run bears the run's id, so that a log can be read run by run: a removal that is withheld, a change that was
//! looked at again, a lease that was lost, a credential that was refused.
//!
//! A span tells names of the configuration and ids of runs, never of people. It is of the gravest level: one below the log's own is
//! not there at all, and whoever logs errors alone needs the id as well.

use tracing::{Span, error_span};

use super::run::World;
use crate::contract::journal::RunStart;

/// A run at a target.
pub(super) fn of_run(start: &RunStart) -> Span {
    error_span!("run", job.name = %start.job, target.name = %start.target, run.id = %start.id)
}

/// The reading of the source, once for all the runs that it is for.
pub(super) fn of_reading<'a>(world: &World, runs: impl Iterator<Item = &'a RunStart>) -> Span {
    let ids: Vec<&str> = runs.map(|start| start.id.as_str()).collect();
    error_span!("reading", job.name = %world.job.name, source.name = %world.source_name, run.ids = ids.join(" "))
}
