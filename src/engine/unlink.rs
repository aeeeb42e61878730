//! Cutting a link by a person's word: whoever returns under another id of the source gets the old account only so.
//!
//! The source is asked about the old id first, as before any removal: a link is the only proof of whose an account is, and one
//! that is cut while its user is still at work would leave the account to whoever has the name next.

use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;

use super::lease::hold;
use super::prepare::TargetSide;
use super::rest::Rests;
use super::rest::put_to_rest;
use super::run::{World, run_id, tell_run};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::{Effect, Ended, JournalError, RunEnd, RunStart, Trigger};
use crate::model::key::{SourceKey, SystemName, fold};
use crate::model::link::UserLink;
use crate::model::retry::{Retry, Subject};
use crate::model::roster::Lifecycle;

/// Why a link was not cut.
#[derive(Debug, thiserror::Error)]
pub enum UnlinkError {
    /// Nobody is linked so.
    #[error("no link at {0} is of that user")]
    Nobody(SystemName),
    /// A user name that several links have, with the source's ids.
    #[error("several links at {0} have that user name; name one of the source's ids: {1}")]
    Several(SystemName, String),
    /// Another run is at work at the target.
    #[error("another run is at work at {0}: try again when it is done")]
    AtWork(SystemName),
    /// The source still has the user, and has not disabled it.
    #[error("{system} still has the user {source_key}: {status}")]
    StillThere {
        /// The source.
        system: SystemName,
        /// Whom.
        source_key: SourceKey,
        /// The status in the source's own word.
        status: SmolStr,
    },
    /// The source is left alone for now, since it refused the credential.
    #[error("{0}")]
    LeftAlone(String),
    /// The source gave no definite answer.
    #[error("it is not certain that the user has left: {0}")]
    Unproven(ConnectorError),
    /// The state store.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Whether the source must bear out that the user has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Only a definite answer counts: no such user, or a disabled one.
    Demanded,
    /// A person knows better.
    Waived,
}

/// Whose link is to be cut, and on whose word.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The user.
    pub who: &'a str,
    /// Whether the source must bear out that the user has left.
    pub proof: Proof,
    /// Who says so; the run keeps it.
    pub actor: &'a str,
}

/// Cuts the link of a user at one target, named by the source's id, the user name at the target, or the target's id. It is
/// recorded as a run, and the job's next run at the target is put on the queue for now.
///
/// # Errors
/// Whatever kept the link. Nothing was changed then.
pub async fn unlink(world: &World, side: &TargetSide, said: Said<'_>, stop: &CancellationToken) -> Result<UserLink, UnlinkError> {
    let Some(lease) = hold(world, &side.name, stop).await? else { return Err(UnlinkError::AtWork(side.name.clone())) };
    let world = &lease.world(world);
    let cut = cut(world, side, said).await;
    if let Err(UnlinkError::Unproven(error)) = &cut
        && error.fault == Fault::Refused
    {
        put_to_rest(world, &world.source_name, None, error).await?;
    }
    lease.release().await;
    cut
}

async fn cut(world: &World, side: &TargetSide, said: Said<'_>) -> Result<UserLink, UnlinkError> {
    let Said { who, proof, actor } = said;
    let links = world.journal.links(&side.name).await?.users;
    let by_id: Vec<&UserLink> = links.iter().filter(|l| l.source.as_str() == who || l.target.as_str() == who).collect();
    let by_name = || links.iter().filter(|l| fold(&l.name) == fold(who)).collect();
    let found: Vec<&UserLink> = if by_id.is_empty() { by_name() } else { by_id };
    let link = match &found[..] {
        [] => return Err(UnlinkError::Nobody(side.name.clone())),
        [one] => (*one).clone(),
        several => {
            let ids: Vec<&str> = several.iter().map(|l| l.source.as_str()).collect();
            return Err(UnlinkError::Several(side.name.clone(), ids.join(", ")));
        }
    };
    if proof == Proof::Demanded {
        has_left(world, &link.source).await?;
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
    let effect = Effect::UnlinkUser { source: link.source.clone(), target: link.target.clone() };
    let cause = format!("by a person's word the account {:?} is linked to {} no more", link.name, link.source);
    // A run too many does no harm; one too few leaves the user waiting for the schedule.
    look_again(world, side, &cause).await?;
    world.journal.record(&side.name, &[effect]).await?;
    let end = RunEnd::bare(Ended::Applied, world.clock.now(), vec![cause]);
    let head = world.journal.end(&start.id, &end).await?;
    tell_run(world, &start, &end, &head);
    Ok(link)
}

/// Asks the source about the user.
async fn has_left(world: &World, key: &SourceKey) -> Result<(), UnlinkError> {
    // Under the lease: it may have been refused while this one waited. Whoever rests for another reason may be asked.
    let rests = Rests::of_world(world).await?;
    let alone = rests.why_not(&world.source_name, world.credential(&world.source_name), world.clock.now());
    if let Some(alone) = alone.filter(|alone| alone.refused) {
        return Err(UnlinkError::LeftAlone(alone.why));
    }
    let subject = world.source.fetch_user(key, &world.job.ask()).await.map_err(UnlinkError::Unproven)?;
    match subject {
        None => Ok(()),
        Some(subject) if subject.user.lifecycle == Lifecycle::Disabled => Ok(()),
        Some(subject) => Err(UnlinkError::StillThere {
            system: world.source_name.clone(),
            source_key: key.clone(),
            status: subject.user.status,
        }),
    }
}

/// Puts the job's next run at the target on the queue for now, unless it only looks there.
async fn look_again(world: &World, side: &TargetSide, cause: &str) -> Result<(), JournalError> {
    if world.job.observes(&side.name) {
        return Ok(());
    }
    let now = world.clock.now();
    let entry = Retry {
        job: world.job.name.clone(),
        target: side.name.clone(),
        subject: Subject::Everything,
        attempts: 0,
        first_seen: now,
        not_before: now,
        cause: cause.to_owned(),
        quarantined: false,
        user_name: None,
    };
    world.journal.enqueue(&[entry]).await
}
