//! Drift at the targets of a job, and taking it over.

use crate::contract::journal::Effect;
use crate::model::key::SystemName;
use crate::reconcile::diff::Inputs;
use crate::reconcile::drift::{Drift, can_be_adopted, drift as find, group_of};
use crate::reconcile::wanted::wanted;

use super::prepare::{RunError, SourceReading, TargetSide};
use super::run::World;

/// Reads a target and finds the drift there. Writes nothing.
///
/// # Errors
/// A target or store that could not be read.
pub async fn drift(world: &World, side: &TargetSide, reading: &SourceReading) -> Result<Vec<Drift>, RunError> {
    let links = world.journal.links(&side.name).await?;
    let ledger = world.journal.ledger(&side.name).await?;
    let capabilities = side.target.probe().await?;
    let actual = side.target.fetch(&wanted(&reading.desired, &links, &ledger, &capabilities.admin_groups)).await?;
    Ok(find(&Inputs {
        job: &world.job.name,
        target: &side.name,
        desired: &reading.desired,
        actual: &actual,
        links: &links,
        ledger: &ledger,
        rules: &world.job.rules,
        capabilities: &capabilities,
        now: world.clock.now(),
        partial: false,
    }))
}

/// Takes memberships over: they are managed from now on, and removed by the next run unless the source wants them. Returns
/// those that were.
///
/// # Errors
/// A store that could not be written.
pub async fn adopt(world: &World, target: &SystemName, drift: &[Drift]) -> Result<Vec<Drift>, RunError> {
    let adopted: Vec<Drift> = drift.iter().filter(|d| can_be_adopted(d)).cloned().collect();
    let own = |d: &Drift| Some(Effect::Own { group: group_of(d)?, user: d.user.clone() });
    let effects: Vec<Effect> = adopted.iter().filter_map(own).collect();
    world.journal.record(target, &effects).await?;
    Ok(adopted)
}
