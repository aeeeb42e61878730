//! `rosterd plan`: what a run would do, and why. Reads both sides, writes nothing, leaves no trace.

use clap::Args;
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::progress::Bars;
use super::stage::{Stage, jobs, logging, runtime};
use crate::engine::prepare::{Prepared, RunError};
use crate::engine::run;
use crate::model::key::SystemName;
use crate::reconcile::render::{PlanView, line, view};
use crate::store::Access;

/// How many findings of a target are printed.
const FINDINGS: usize = 20;

/// What the command takes.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Only this job
    job: Option<String>,
    /// Print at most so many changes per target; 0: all
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Plans and prints.
///
/// # Errors
/// A system that cannot be read, of which nothing can be said; others are still shown.
pub fn command(arguments: &Arguments, more: &PlanArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        let (assembly, services) = stage.assemble(journal)?;
        let mut shown: Vec<PlanView> = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        for world in jobs(&assembly, more.job.as_deref())? {
            let systems =
                std::iter::once(world.source_name.clone()).chain(world.targets.iter().map(|t| t.name.clone())).collect();
            let bars = Bars::show(services.kit.meters.clone(), services.board.clone(), systems);
            let plans = run::plan(world).await;
            drop(bars);
            match plans {
                Ok(plans) => plans.into_iter().for_each(|(name, plan)| keep(name, plan, &mut shown, &mut failures)),
                Err(error) => failures.push(error.into()),
            }
        }
        if arguments.json {
            let errors: Vec<_> = failures.iter().map(|f| json!({"message": f.message, "hint": f.hint})).collect();
            output::json(&json!({"plans": shown, "errors": errors}))?;
        } else {
            for plan in &shown {
                print(plan, more.limit)?;
            }
        }
        Ok(exit(&shown, failures))
    })
}

fn keep(_name: SystemName, plan: Result<Prepared, RunError>, shown: &mut Vec<PlanView>, failures: &mut Vec<Failure>) {
    match plan {
        Ok(prepared) => shown.push(view(&prepared.judged)),
        Err(RunError::Connector(error)) => failures.push(error.into()),
        Err(RunError::Journal(error)) => failures.push(error.into()),
    }
}

fn exit(shown: &[PlanView], failures: Vec<Failure>) -> Exit {
    failures.iter().for_each(Failure::print);
    if let Some(worst) = failures.iter().map(|f| f.exit).max() {
        return worst;
    }
    let any = |verdict: &str| shown.iter().flat_map(|p| &p.changes).any(|c| c.verdict == verdict);
    if any("staged") {
        return Exit::Staged;
    }
    if shown.iter().any(|p| !p.changes.is_empty()) { Exit::Changes } else { Exit::Done }
}

/// Prints one plan.
///
/// # Errors
/// If the standard output cannot be written to.
pub fn print(plan: &PlanView, limit: usize) -> Result<(), Failure> {
    let count = |sign| plan.changes.iter().filter(|c| c.sign == sign).count();
    if plan.changes.is_empty() {
        output::line(&format!("{} at {}: nothing to do", plan.job, plan.target))?;
    } else {
        let head = format!(
            "{} at {}: {} to grant, {} to alter, {} to remove (plan {})",
            plan.job,
            plan.target,
            count('+'),
            count('~'),
            count('-'),
            plan.plan
        );
        output::line(&head)?;
    }
    let most = if limit == 0 { usize::MAX } else { limit };
    // What takes something away is shown whatever the limit cuts.
    let (removals, others): (Vec<_>, Vec<_>) = plan.changes.iter().partition(|c| c.sign == '-');
    for change in others.iter().take(most).chain(removals.iter().take(most)) {
        output::line(&format!("  {}", line(change)))?;
    }
    let hidden = others.len().saturating_sub(most) + removals.len().saturating_sub(most);
    if hidden > 0 {
        output::line(&format!("  and {hidden} more; --limit 0 prints all"))?;
    }
    for violation in &plan.violations {
        let lift = if violation.liftable { "waits for a person" } else { "will not happen" };
        output::line(&format!("  ! {}: {} ({} changes: {lift})", violation.guard, violation.text, violation.holds))?;
    }
    let findings = output::grouped(plan.findings.iter().map(|finding| {
        let who = finding.name.as_deref().or(finding.source.as_ref().map(|s| s.as_str())).unwrap_or_default();
        (who.to_owned(), finding.text.clone())
    }));
    let most = if limit == 0 { findings.len() } else { FINDINGS };
    for finding in findings.iter().take(most) {
        output::line(&format!("  ? {finding}"))?;
    }
    if findings.len() > most {
        output::line(&format!("  ? and {} more findings; --limit 0 prints all", findings.len() - most))?;
    }
    Ok(())
}
