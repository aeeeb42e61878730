//! `rosterd drift`: what differs at the targets that rosterd neither caused nor owns; with --adopt it takes memberships over.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::actor::actor;
use super::decide::{only, reason};
use super::exit::{Exit, Failure};
use super::output;
use super::progress::Bars;
use super::stage::{Stage, jobs, logging, runtime};
use crate::engine::drift::{Adoption, adopt, drift};
use crate::engine::run::{self, read_source};
use crate::model::key::SystemName;
use crate::reconcile::drift::{Drift, DriftKind, can_be_adopted};
use crate::store::Access;

/// How many differences of a kind are printed.
const SHOWN: usize = 50;

/// What the command takes.
#[derive(Debug, Args)]
pub struct DriftArguments {
    /// Only this job
    job: Option<String>,
    /// Take over memberships that were added by hand, of these users or groups (globs): the next run removes them unless the
    /// source wants them
    #[arg(long, num_args = 1.., value_name = "NAME", requires = "reason")]
    adopt: Vec<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", requires = "adopt")]
    reason: Option<String>,
}

/// Looks, and prints or takes over.
///
/// # Errors
/// A system that cannot be read.
pub fn command(arguments: &Arguments, more: &DriftArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let names = only(&more.adopt)?;
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(if names.is_empty() { Access::Read } else { Access::Write }).await?;
        let (assembly, services) = stage.assemble(journal)?;
        let mut found: BTreeMap<(String, SystemName), Vec<Drift>> = BTreeMap::new();
        for world in jobs(&assembly, more.job.as_deref())? {
            let systems =
                std::iter::once(world.source_name.clone()).chain(world.targets.iter().map(|t| t.name.clone())).collect();
            let bars = Bars::show(services.kit.meters.clone(), services.board.clone(), systems);
            let reading = read_source(world).await.map_err(Failure::from)?;
            for side in &world.targets {
                let here = match &more.reason {
                    None => drift(world, side, &reading).await?,
                    Some(why) => {
                        let adoption = Adoption { names: &names, actor: &actor(), reason: reason(why)? };
                        let adopted = adopt(world, side, &reading, adoption, &CancellationToken::new()).await?;
                        adopted.map_err(|why| Failure::new(Exit::Unavailable, why))?
                    }
                };
                found.insert((run::name(world).to_string(), side.name.clone()), here);
            }
            drop(bars);
        }
        if arguments.json {
            let entries: Vec<_> =
                found.iter().map(|((job, target), drift)| json!({"job": job, "target": target, "drift": drift})).collect();
            output::json(&entries)?;
        } else if names.is_empty() {
            found.iter().try_for_each(|((job, target), drift)| print(job, target, drift))?;
        } else {
            found.iter().try_for_each(|((job, target), adopted)| tell_adopted(job, target, adopted))?;
        }
        Ok(Exit::Done)
    })
}

fn print(job: &str, target: &SystemName, drift: &[Drift]) -> Result<(), Failure> {
    if drift.is_empty() {
        return output::line(&format!("{job} at {target}: nothing has drifted"));
    }
    output::line(&format!("{job} at {target}: {}", output::count(drift.len(), "difference")))?;
    let mut by_kind: BTreeMap<DriftKind, Vec<&Drift>> = BTreeMap::new();
    drift.iter().for_each(|d| by_kind.entry(d.kind).or_default().push(d));
    for (kind, drift) in by_kind {
        output::line(&format!("  {}:", kind.means()))?;
        for one in drift.iter().take(SHOWN) {
            let group = one.group.as_deref().map(|g| format!(" in {g:?}")).unwrap_or_default();
            output::line(&format!("    {}{group}", one.user_name))?;
        }
        if drift.len() > SHOWN {
            output::line(&format!("    and {} more; --json lists all", drift.len() - SHOWN))?;
        }
    }
    if drift.iter().any(can_be_adopted) {
        output::line("  `rosterd drift --adopt NAME --reason TEXT` takes over what was added by hand")?;
    }
    Ok(())
}

fn tell_adopted(job: &str, target: &SystemName, adopted: &[Drift]) -> Result<(), Failure> {
    for one in adopted {
        let group = one.group.as_deref().unwrap_or_default();
        output::line(&format!("adopted: {} in {group:?} of {job} at {target}", one.user_name))?;
    }
    output::line(&format!("{job} at {target}: {} adopted", output::count(adopted.len(), "membership")))
}
