//! `rosterd plan`: what a run would do, and why. Reads both sides, writes nothing, leaves no trace.

use clap::Args;
use serde_json::json;

use super::Arguments;
use super::actor::actor;
use super::exit::{Exit, Failure, worst};
use super::output;
use super::progress::Bars;
use super::stage::{Stage, jobs, logging, runtime, spoken_to};
use crate::contract::verdict::SavedPlan;
use crate::engine::prepare::Prepared;
use crate::engine::run;
use crate::reconcile::render::{self, PlanView, line, view};
use crate::store::Access;

/// How many findings of a target are printed.
const FINDINGS: usize = 20;

/// What the command takes.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Only this job
    job: Option<String>,
    /// Print at most so many changes per target; 0: all
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// Keep the plan, so that what waits in it can be approved before a run meets it
    #[arg(long)]
    save: bool,
}

/// Plans and prints.
///
/// # Errors
/// A system that cannot be read, of which nothing can be said; others are still shown.
pub fn command(arguments: &Arguments, more: &PlanArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(if more.save { Access::Write } else { Access::Read }).await?;
        let (assembly, services) = stage.assemble(journal.clone())?;
        let mut kept: Vec<SavedPlan> = Vec::new();
        let mut shown: Vec<PlanView> = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        for world in jobs(&assembly, more.job.as_deref())? {
            let Some(world) = spoken_to(world, &mut failures).await? else { continue };
            let bars = Bars::show(&services, &world);
            let plans = run::plan(&world).await;
            drop(bars);
            match plans {
                Ok(plans) => {
                    for (_, plan) in plans {
                        match plan {
                            Ok(prepared) => {
                                if more.save && !prepared.judged.admitted.plan().changes.is_empty() {
                                    kept.push(saved(&prepared, world.job.guard.plan_expires));
                                }
                                shown.push(view(&prepared.judged));
                            }
                            Err(error) => failures.push(error.into()),
                        }
                    }
                }
                Err(error) => failures.push(error.into()),
            }
        }
        for plan in &kept {
            journal.save_plan(plan).await?;
        }
        if arguments.json {
            output::json(&json!({"plans": shown, "errors": failures}))?;
        } else {
            for plan in &shown {
                print(plan, more.limit)?;
            }
            kept.iter().try_for_each(tell_saved)?;
        }
        Ok(exit(&shown, failures))
    })
}

fn saved(prepared: &Prepared, lasts: std::time::Duration) -> SavedPlan {
    let now = chrono::Utc::now();
    let expires = now + chrono::TimeDelta::from_std(lasts).unwrap_or(chrono::TimeDelta::days(365));
    render::saved(&prepared.judged, actor(), now, expires)
}

fn tell_saved(plan: &SavedPlan) -> Result<(), Failure> {
    let until = plan.expires.format("%Y-%m-%d %H:%M:%SZ");
    let SavedPlan { id, target, .. } = plan;
    output::line(&match plan.changes.len() {
        0 => format!("saved as {id} ({target}): nothing in it waits for a person"),
        n => {
            let removals = output::count(n, "removal");
            format!("saved as {id} ({target}): `rosterd approve {id} --reason TEXT` until {until} lets {removals} through")
        }
    })
}

fn exit(shown: &[PlanView], failures: Vec<Failure>) -> Exit {
    if let Some(worst) = worst(&failures) {
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
    for forecast in plan.seats.iter().filter(|f| f.of.is_some() && f.is_news()) {
        let over = if forecast.is_over() { ": the licence does not suffice" } else { "" };
        output::line(&format!("  # {}{over}", forecast.text()))?;
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
