//! `rosterd drift`: what differs at the targets that rosterd neither caused nor owns; with --adopt it takes memberships over.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::actor::actor;
use super::decide::{only, reason};
use super::exit::{Exit, Failure, worst};
use super::output;
use super::progress::Bars;
use super::stage::{Stage, jobs, logging, runtime, spoken_to};
use crate::engine::drift::{Adoption, Found, adopt, drift};
use crate::engine::prepare::{SourceReading, TargetSide};
use crate::engine::run::{self, World, read_source};
use crate::model::key::SystemName;
use crate::reconcile::drift::{Drift, DriftKind, can_be_adopted};
use crate::store::Access;

/// How many lines are printed of a kind of difference.
const SHOWN: usize = 50;
/// How many members of a group are named in its line.
const NAMED: usize = 10;

/// What the command takes.
#[derive(Debug, Args)]
pub struct DriftArguments {
    /// Only this job
    job: Option<String>,
    /// Take over memberships that were added by hand, of the users or groups of this name at the target (a glob; may be
    /// given several times): the next run removes them unless the source wants them
    #[arg(long, value_name = "NAME", requires = "reason")]
    adopt: Vec<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT", requires = "adopt")]
    reason: Option<String>,
}

/// Looks, and prints or takes over. What cannot be read is told after all the others.
///
/// # Errors
/// A configuration or store that cannot be used. What systems do shows in the exit code.
pub fn command(arguments: &Arguments, more: &DriftArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let names = only("--adopt", &more.adopt)?;
    let why = more.reason.as_deref().map(reason).transpose()?;
    let actor = actor();
    let adoption = why.map(|reason| Adoption { names: &names, actor: &actor, reason });
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(if names.is_empty() { Access::Read } else { Access::Write }).await?;
        let (assembly, services) = stage.assemble(journal)?;
        let mut found: BTreeMap<(String, SystemName), Found> = BTreeMap::new();
        let mut failures: Vec<Failure> = Vec::new();
        for world in jobs(&assembly, more.job.as_deref())? {
            let Some(world) = spoken_to(world, &mut failures).await? else { continue };
            let bars = Bars::show(&services, &world);
            match read_source(&world).await {
                Ok(reading) => {
                    for side in &world.targets {
                        match at_target(&world, side, &reading, adoption).await {
                            Ok(here) => drop(found.insert((run::name(&world).to_string(), side.name.clone()), here)),
                            Err(error) => failures.push(error),
                        }
                    }
                }
                Err(error) => failures.push(error.into()),
            }
            drop(bars);
        }
        if arguments.json {
            let entries: Vec<_> = found
                .iter()
                .map(|((job, target), here)| json!({"job": job, "target": target, "drift": here.drift, "blind": here.blind}))
                .collect();
            output::json(&json!({"targets": entries, "errors": failures}))?;
        } else if names.is_empty() {
            found.iter().try_for_each(|((job, target), here)| print(job, target, here))?;
        } else {
            found.iter().try_for_each(|((job, target), adopted)| tell_adopted(job, target, &adopted.drift))?;
        }
        Ok(worst(&failures).unwrap_or(Exit::Done))
    })
}

/// The drift at a target, or what was adopted of it.
async fn at_target(
    world: &World,
    side: &TargetSide,
    reading: &SourceReading,
    adoption: Option<Adoption<'_>>,
) -> Result<Found, Failure> {
    let Some(adoption) = adoption else { return Ok(drift(world, side, reading).await?) };
    let adopted = adopt(world, side, reading, adoption, &CancellationToken::new()).await?;
    let found = |drift| Found { drift, blind: None };
    adopted.map(found).map_err(|why| Failure::new(Exit::Unavailable, why))
}

fn print(job: &str, target: &SystemName, Found { drift, blind }: &Found) -> Result<(), Failure> {
    if let Some(why) = blind {
        let left_out = "nobody is listed here as added by hand, as unknown to it or as a leaver who is active";
        output::line(&format!("{job} at {target}: THE SOURCE IS NOT BELIEVED: {why}; {left_out}"))?;
    }
    if drift.is_empty() {
        return output::line(&format!("{job} at {target}: nothing has drifted"));
    }
    output::line(&format!("{job} at {target}: {}", output::count(drift.len(), "difference")))?;
    let mut by_kind: BTreeMap<DriftKind, Vec<&Drift>> = BTreeMap::new();
    drift.iter().for_each(|d| by_kind.entry(d.kind).or_default().push(d));
    for (kind, drift) in by_kind {
        output::line(&format!("  {}:", kind.means()))?;
        let lines = lines(&drift);
        lines.iter().take(SHOWN).try_for_each(|line| output::line(&format!("    {line}")))?;
        if lines.len() > SHOWN {
            output::line(&format!("    and {} more; --json lists all", lines.len() - SHOWN))?;
        }
    }
    if drift.iter().any(can_be_adopted) {
        let how = "`rosterd drift --adopt NAME --reason TEXT` takes over what was added by hand, of a user or a group";
        output::line(&format!("  {how}; --json names everybody"))?;
    }
    Ok(())
}

/// One line for each group with its members, and one for each user of whom no group is told.
fn lines(drift: &[&Drift]) -> Vec<String> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut lines: Vec<String> = Vec::new();
    for one in drift {
        match one.group.as_deref() {
            Some(group) => groups.entry(group).or_default().push(&one.user_name),
            None => lines.push(one.user_name.to_string()),
        }
    }
    lines.extend(groups.into_iter().map(|(group, users)| match users.len().saturating_sub(NAMED) {
        0 => format!("{group:?}: {}", users.join(", ")),
        more => format!("{group:?}: {} and {more} more", users[..NAMED].join(", ")),
    }));
    lines
}

fn tell_adopted(job: &str, target: &SystemName, adopted: &[Drift]) -> Result<(), Failure> {
    for one in adopted {
        let group = one.group.as_deref().unwrap_or_default();
        output::line(&format!("adopted: {} in {group:?} of {job} at {target}", one.user_name))?;
    }
    output::line(&format!("{job} at {target}: {} adopted", output::count(adopted.len(), "membership")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_many_were_added_to_is_one_line() {
        let one = |name: &str, group: Option<&str>| Drift {
            kind: DriftKind::AddedMember,
            user: name.into(),
            user_name: name.into(),
            group: group.map(Into::into),
            source: None,
        };
        let many: Vec<Drift> = (0..12).map(|n| one(&format!("u{n:02}"), Some("all, of us"))).collect();
        let few = [one("zoe", None), one("ada", Some("eng")), one("ben", Some("eng"))];
        let all: Vec<&Drift> = many.iter().chain(&few).collect();
        let of_many = r#""all, of us": u00, u01, u02, u03, u04, u05, u06, u07, u08, u09 and 2 more"#;
        assert_eq!(lines(&all), ["zoe", of_many, "\"eng\": ada, ben"]);
    }
}
