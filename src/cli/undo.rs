//! `rosterd undo`: takes back what a run did. Without a reason it only shows what it would do.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::Arguments;
use super::actor::actor;
use super::decide::{only, reason};
use super::exit::{Exit, Failure};
use super::output;
use super::plan;
use super::stage::{Stage, logging, may_speak, runtime};
use super::sync::{self, stop_on_signal};
use crate::contract::journal::{ChangeRecord, Journal, RunRecord};
use crate::daemon::assemble::Assembly;
use crate::daemon::signals;
use crate::engine::prepare::TargetSide;
use crate::engine::run::World;
use crate::engine::undo::{Request, Undo, only_observed, prepare, undo};
use crate::model::key::RunId;
use crate::reconcile::render::view;
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct UndoArguments {
    /// The run's id, or the beginning of it; `rosterd runs` lists them
    run: String,
    /// Only what is about the users or groups of this name at the target (a glob; may be given several times)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Do it, and why; kept in the journal. Without: only show what would be done
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do it even where it removes more than the limits allow
    #[arg(long)]
    over_limits: bool,
}

/// Shows or takes back.
///
/// # Errors
/// A run that is not recorded, whose job or target is not configured any more, or that did nothing.
pub fn command(arguments: &Arguments, more: &UndoArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let only = only("--only", &more.only)?;
    let why = more.reason.as_deref().map(reason).transpose()?;
    let stage = Stage::load(arguments)?;
    signals::arm().map_err(|e| Failure::new(Exit::Failed, format!("signals cannot be handled: {e}")))?;
    runtime()?.block_on(async {
        let journal = stage.journal(if why.is_some() { Access::Write } else { Access::Read }).await?;
        let (record, changes) = recorded(&journal, &more.run).await?;
        let (assembly, _services) = stage.assemble(journal)?;
        let (world, side) = place(&assembly, &record)?;
        if let Some(why) = only_observed(world, side) {
            return Err(Failure::new(Exit::Failed, why).hint("take the target out of `observe` first: an undo writes there"));
        }
        may_speak(world, &side.name).await?;
        let actor = actor();
        let request = Request { run: &record, changes: &changes, only: &only, actor: &actor, over_limits: more.over_limits };
        let Some(why) = why else {
            let shown = prepare(world, side, request).await?;
            return show(arguments, &shown, more, &record.start.id);
        };
        let report = undo(world, side, request, why, &stop_on_signal()?).await?;
        let report = report.map_err(|busy| Failure::new(Exit::Unavailable, busy))?;
        let reports = [report];
        sync::print(arguments, &reports)?;
        eprintln!("whoever is concerned is held: `rosterd status` lists them, `rosterd release {}` ends it", record.start.id);
        Ok(sync::exit(&reports))
    })
}

async fn recorded(journal: &Arc<dyn Journal>, id: &str) -> Result<(RunRecord, Vec<ChangeRecord>), Failure> {
    let Some(run) = journal.run(id).await? else {
        return Err(Failure::new(Exit::Failed, format!("no run {id:?} is recorded")).hint("`rosterd runs` lists them"));
    };
    let changes = journal.changes(&run.start.id).await?;
    if changes.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("run {} changed nothing", run.start.id)));
    }
    Ok((run, changes))
}

/// The job and target of a run, as they are configured now.
fn place<'a>(assembly: &'a Assembly, run: &RunRecord) -> Result<(&'a World, &'a TargetSide), Failure> {
    let (job, target) = (&run.start.job, &run.start.target);
    let gone = |what: String| {
        Failure::new(Exit::Failed, format!("{what} of run {} is not configured any more", run.start.id))
            .hint("put it back into the configuration: an undo needs the target's address and credential")
    };
    let world = assembly.worlds.get(job).ok_or_else(|| gone(format!("job {job}")))?;
    let side = world.targets.iter().find(|t| t.name == *target).ok_or_else(|| gone(format!("target {target}")))?;
    Ok((world, side))
}

fn show(arguments: &Arguments, undo: &Undo, more: &UndoArguments, run: &RunId) -> Result<Exit, Failure> {
    let plan = view(&undo.judged);
    if arguments.json {
        output::json(&json!({"plan": plan, "stays": undo.stays}))?;
    } else {
        plan::print(&plan, 0)?;
        undo.stays.iter().try_for_each(|text| output::line(&format!("  = {text}")))?;
    }
    if plan.changes.is_empty() {
        return Ok(Exit::Done);
    }
    let held = undo.judged.violations.iter().any(|v| v.liftable);
    let only: String = more.only.iter().map(|name| format!(" --only {}", output::quoted(name))).collect();
    let over = if held { " --over-limits" } else { "" };
    eprintln!("nothing was changed; to do it: rosterd undo {run}{only} --reason TEXT{over}");
    Ok(Exit::Changes)
}
