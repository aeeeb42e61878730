//! `rosterd release`: ends the rest of a system, or the quarantine of a subject, by a person's word; with `--link` it cuts the
//! link between a user of the source and an account.

use chrono::Utc;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, may_speak, runtime};
use crate::contract::verdict::Hold;
use crate::daemon::assemble::Assembly;
use crate::engine::prepare::TargetSide;
use crate::engine::run::World;
use crate::engine::unlink::{Proof, UnlinkError, unlink};
use crate::model::key::{SystemName, fold};
use crate::model::retry::{Retry, Subject};
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// A source or target that rests; a user who waits or is held, by the source's id or the user name at the target; or a
    /// run that was undone, by its id: everybody held after it. With --link a target or job
    what: String,
    /// Cut the link of this user: the source's id, or the user name at the target. The source is asked first whether the
    /// user has left; the next run takes the account for whoever has its name then
    #[arg(long, value_name = "USER")]
    link: Option<String>,
    /// With --link: cut it even if the source still has the user, or gives no answer
    #[arg(long, requires = "link")]
    force: bool,
}

/// Whether a hold is on the user of this name or id, or due to the undo of this run. The name of its target is not enough:
/// whoever ends the rest of a system has not looked at who is held there.
fn is_about(hold: &Hold, what: &str) -> bool {
    let source = hold.source.as_ref().map(|s| s.as_str());
    source == Some(what) || hold.run.as_str() == what || fold(&hold.user_name) == fold(what)
}

/// Releases.
///
/// # Errors
/// A name that neither rests nor waits; a link that is not there, or whose user has not left.
pub fn command(arguments: &Arguments, more: &ReleaseArguments) -> Result<Exit, Failure> {
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        match &more.link {
            Some(who) => cut(stage, more, who).await,
            None => release(stage, more).await,
        }
    })
}

async fn release(stage: Stage, more: &ReleaseArguments) -> Result<Exit, Failure> {
    let journal = stage.journal(Access::Write).await?;
    let system = SystemName::from(more.what.as_str());
    let rested = journal.rests().await?.iter().any(|r| r.system == system);
    if rested {
        journal.rest(&system, None).await?;
    }
    let holds: Vec<Hold> = journal.holds().await?.into_iter().filter(|h| is_about(h, &more.what)).collect();
    for hold in &holds {
        journal.let_go(&hold.job, &hold.target, std::slice::from_ref(&hold.user)).await?;
    }
    let now = Utc::now();
    let due: Vec<Retry> = journal
        .retries()
        .await?
        .into_iter()
        .filter(|r| matches!(&r.subject, Subject::User(key) if key.as_str() == more.what) || r.target == system)
        .map(|r| Retry { attempts: 0, quarantined: false, not_before: now, ..r })
        .collect();
    journal.enqueue(&due).await?;
    if !rested && due.is_empty() && holds.is_empty() {
        let hint = "`rosterd retries` lists what rests and waits, `rosterd status` who is held";
        return Err(Failure::new(Exit::Failed, format!("{:?} neither rests nor waits, and is not held", more.what)).hint(hint));
    }
    if !holds.is_empty() {
        let users = output::count(holds.len(), "user");
        output::line(&format!("no longer held: {users}; the next run decides about them again"))?;
    }
    let are = if due.len() == 1 { "is" } else { "are" };
    output::line(&format!("released {}: {} {are} due now", more.what, output::count(due.len(), "subject")))?;
    Ok(Exit::Done)
}

/// Cuts the link of a user at a target, or at every target of a job where there is one.
async fn cut(stage: Stage, more: &ReleaseArguments, who: &str) -> Result<Exit, Failure> {
    let journal = stage.journal(Access::Write).await?;
    let (assembly, _services) = stage.assemble(journal)?;
    let places = places(&assembly, &more.what);
    if places.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("there is no target or job {:?}", more.what)));
    }
    let proof = if more.force { Proof::Waived } else { Proof::Demanded };
    let mut any = false;
    let mut nobody = None;
    for (world, side) in places {
        // Only the source is asked, and only where it has to bear out that the user has left.
        if proof == Proof::Demanded {
            may_speak(world, &world.source_name).await?;
        }
        match unlink(world, side, who, proof, &CancellationToken::new()).await {
            Ok(link) => {
                any = true;
                let (target, name, source) = (&side.name, &link.name, &link.source);
                output::line(&format!(
                    "at {target} the account {name:?} is linked to {source} no more; the next run takes it for whoever has its name"
                ))?;
            }
            Err(error @ UnlinkError::Nobody(_)) => nobody = Some(error),
            Err(error) => return Err(failure(error)),
        }
    }
    match nobody {
        Some(error) if !any => Err(failure(error)),
        Some(_) | None => Ok(Exit::Done),
    }
}

/// The targets of this name or of the job of this name, each with one job that writes to it.
fn places<'a>(assembly: &'a Assembly, what: &str) -> Vec<(&'a World, &'a TargetSide)> {
    let mut places: Vec<(&World, &TargetSide)> = Vec::new();
    for world in assembly.worlds.values() {
        for side in &world.targets {
            let meant = world.job.name.as_str() == what || side.name.as_str() == what;
            if meant && places.iter().all(|(_, known)| known.name != side.name) {
                places.push((world, side));
            }
        }
    }
    places
}

fn failure(error: UnlinkError) -> Failure {
    let message = error.to_string();
    match error {
        UnlinkError::Nobody(_) => Failure::new(Exit::Failed, message).hint("give the source's id or the user name at the target"),
        UnlinkError::StillThere { .. } => {
            Failure::new(Exit::Failed, message).hint("--force cuts the link all the same; the next run links anew by user name")
        }
        UnlinkError::Unproven(error) => {
            Failure::new(Exit::of(&error.fault), message).hint("try again when the source answers; --force does not ask")
        }
        UnlinkError::AtWork(_) => Failure::new(Exit::Unavailable, message),
        UnlinkError::Several(..) => Failure::new(Exit::Usage, message),
        UnlinkError::Journal(error) => error.into(),
    }
}
