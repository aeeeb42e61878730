//! Drift at the targets of a job, and taking it over by a person's word.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::lease::{at_work, hold};
use super::prepare::{RunError, SourceReading, TargetSide};
use super::run::{World, run_id, tell_run};
use crate::contract::history::{ChangeQuery, Order};
use crate::contract::journal::{ChangeRecord, Effect, Ended, Intent, Journal, JournalError, Outcome, RunEnd, RunStart, Trigger};
use crate::model::change::OpKind;
use crate::model::key::{SystemName, TargetKey};
use crate::model::link::UserLink;
use crate::reconcile::diff::Inputs;
use crate::reconcile::drift::{Drift, Written, can_be_adopted, drift as find, group_of, in_question};
use crate::reconcile::health::disbelieved;
use crate::reconcile::pattern::NameSet;
use crate::reconcile::wanted::wanted;

/// Which memberships are to be taken over, and on whose word.
#[derive(Clone, Copy, Debug)]
pub struct Adoption<'a> {
    /// Those of these users or groups.
    pub names: &'a NameSet,
    /// Who says so.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// About how many accounts the journal is asked, and how far back in each.
const MOST_ASKED: usize = 1000;
const FAR_BACK: u32 = 50;

/// What was found at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The drift.
    pub drift: Vec<Drift>,
    /// Why the source is not believed, if a run would not believe it: whatever follows only from what it does not show is left
    /// out then.
    pub blind: Option<String>,
}

/// Reads a target and finds the drift there. Writes nothing.
///
/// # Errors
/// A target or store that could not be read.
pub async fn drift(world: &World, side: &TargetSide, reading: &SourceReading) -> Result<Found, RunError> {
    let links = world.journal.links(&side.name).await?;
    let ledger = world.journal.ledger(&side.name).await?;
    let holds = world.journal.holds().await?.into_iter().filter(|h| h.job == world.job.name && h.target == side.name);
    let held: BTreeSet<TargetKey> = holds.map(|h| h.user).collect();
    let last = world.journal.sizes(&world.job.name, &side.name).await?;
    let blind = disbelieved(&reading.signs, last.as_ref(), &world.job.health, &reading.desired, &links);
    let capabilities = side.target.probe().await?;
    let actual = side.target.fetch(&wanted(&reading.desired, &links, &ledger, &capabilities.admin_groups)).await?;
    let inputs = Inputs {
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
    };
    let mut written = BTreeMap::new();
    for link in in_question(&inputs).take(MOST_ASKED) {
        written.insert(link.source.clone(), last_written(&*world.journal, &side.name, link).await?);
    }
    let mut drift = find(&inputs, &held, &written);
    drift.retain(|drift| blind.is_none() || !drift.kind.needs_belief());
    Ok(Found { drift, blind })
}

/// What rosterd wrote last to an account.
async fn last_written(journal: &dyn Journal, target: &SystemName, link: &UserLink) -> Result<Written, JournalError> {
    let query = ChangeQuery {
        target: Some(target.clone()),
        source: Some(link.source.clone()),
        order: Order::NewestFirst,
        limit: FAR_BACK,
        ..ChangeQuery::default()
    };
    let told = journal.history(&query).await?;
    let done: Vec<&Intent> = told.iter().map(|told| &told.change).filter(|c| is_so(c)).map(|c| &c.intent).collect();
    let display_name = done.iter().find_map(|intent| intent.after.as_ref()?.display_name.clone());
    let turns = [OpKind::DeactivateUser, OpKind::ActivateUser, OpKind::CreateUser];
    let turned = done.iter().map(|intent| intent.kind).find(|kind| turns.contains(kind));
    Ok(Written { display_name, deactivated: turned == Some(OpKind::DeactivateUser) })
}

/// Whether the target was as intended after a change.
fn is_so(change: &ChangeRecord) -> bool {
    matches!(change.outcome, Some(Outcome::Done | Outcome::AlreadySo))
}

/// Takes memberships over that were given by hand: they are managed from now on, and removed by the next run unless the
/// source wants them. It is recorded as a run. Returns those that were taken over; or why nothing was, if another run is at
/// work at the target, the job only observes it, or the source is not believed.
///
/// # Errors
/// A target or store that could not be read, or a store that could not be written.
pub async fn adopt(
    world: &World,
    side: &TargetSide,
    reading: &SourceReading,
    adoption: Adoption<'_>,
    stop: &CancellationToken,
) -> Result<Result<Vec<Drift>, String>, RunError> {
    if world.job.observes(&side.name) {
        return Ok(Err(format!("{} is only observed by the job: nothing is managed there, so nothing is taken over", side.name)));
    }
    let Some(lease) = hold(world, &side.name, stop).await? else { return Ok(Err(at_work(world, &side.name).await?)) };
    let adopted = take_over(&lease.world(world), side, reading, adoption).await;
    lease.release().await;
    adopted
}

async fn take_over(
    world: &World,
    side: &TargetSide,
    reading: &SourceReading,
    Adoption { names, actor, reason }: Adoption<'_>,
) -> Result<Result<Vec<Drift>, String>, RunError> {
    let is_named = |d: &Drift| names.matches(&d.user_name) || d.group.as_deref().is_some_and(|group| names.matches(group));
    let Found { drift: mut adopted, blind } = drift(world, side, reading).await?;
    if let Some(why) = blind {
        let source = &world.source_name;
        return Ok(Err(format!("{source} is not believed ({why}): whom it does not show may not have been added by hand")));
    }
    adopted.retain(|d| can_be_adopted(d) && is_named(d));
    if adopted.is_empty() {
        return Ok(Ok(adopted));
    }
    let at = world.clock.now();
    let start = RunStart {
        id: run_id(),
        job: world.job.name.clone(),
        target: side.name.clone(),
        trigger: Trigger::Command,
        by: Some(actor.into()),
        at,
    };
    world.journal.recover(&side.name, at).await?;
    world.journal.begin(&start).await?;
    let own = |d: &Drift| Some(Effect::Own { group: group_of(d)?, user: d.user.clone() });
    world.journal.record(&side.name, &adopted.iter().filter_map(own).collect::<Vec<_>>()).await?;
    let by = std::iter::once(format!("taken over by {actor}: {reason}"));
    let each = adopted.iter().map(|d| format!("{} in group {:?}", d.user_name, d.group.as_deref().unwrap_or_default()));
    let end = RunEnd::bare(Ended::Applied, world.clock.now(), by.chain(each).collect());
    let head = world.journal.end(&start.id, &end).await?;
    tell_run(world, &start, &end, &head);
    Ok(Ok(adopted))
}
