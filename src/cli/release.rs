//! `rosterd release`: ends the rest of a system, or the quarantine of a subject, by a person's word; with `--link` it cuts the
//! link between a user of the source and an account.

use chrono::Utc;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::actor::actor;
use super::decide::reason;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, may_speak, runtime};
use crate::daemon::assemble::Assembly;
use crate::engine::prepare::TargetSide;
use crate::engine::release::{ReleaseError, Released, Said, release as end};
use crate::engine::run::World;
use crate::engine::unlink::{self, Proof, UnlinkError};
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// A source or target: its rest ends, and what waits on the retry queue there is due. A user who waits or is held, by the
    /// source's id or the user name at the target. A run that was undone, by its id: everybody who is held since. With --link
    /// a target or job
    what: String,
    /// Cut the link of this user: the source's id, or the user name at the target. The source is asked first whether the
    /// user has left; the next run takes the account for whoever has its name then
    #[arg(long, value_name = "USER")]
    link: Option<String>,
    /// Why; kept in the journal with who said it
    #[arg(long, value_name = "TEXT", conflicts_with = "link")]
    reason: Option<String>,
    /// With --link: cut it even if the source still has the user, or gives no answer
    #[arg(long, requires = "link")]
    force: bool,
}

/// Releases.
///
/// # Errors
/// A name that neither rests nor waits; a link that is not there, or whose user has not left.
pub fn command(arguments: &Arguments, more: &ReleaseArguments) -> Result<Exit, Failure> {
    let why = more.reason.as_deref().map(reason).transpose()?;
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        match &more.link {
            Some(who) => cut(arguments, stage, more, who).await,
            None => release(arguments, stage, &more.what, why).await,
        }
    })
}

async fn release(arguments: &Arguments, stage: Stage, what: &str, reason: Option<&str>) -> Result<Exit, Failure> {
    let journal = stage.journal(Access::Write).await?;
    let said = Said { what, actor: &actor(), reason, at: Utc::now() };
    let Released { rest, holds, due } = match end(&*journal, said).await {
        Ok(released) => released,
        Err(ReleaseError::Journal(error)) => return Err(error.into()),
        Err(error @ ReleaseError::Nothing(_)) => {
            let hint = "`rosterd retries` lists what rests and waits, `rosterd status` who is held";
            return Err(Failure::new(Exit::Failed, error.to_string()).hint(hint));
        }
    };
    if arguments.json {
        output::json(&json!({"released": what, "rest": rest, "holds": holds, "due": due}))?;
        return Ok(Exit::Done);
    }
    if !holds.is_empty() {
        let users = output::count(holds.len(), "user");
        output::line(&format!("no longer held: {users}; the next run decides about them again"))?;
    }
    let are = if due.len() == 1 { "is" } else { "are" };
    output::line(&format!("released {what}: {} {are} due now", output::count(due.len(), "subject")))?;
    Ok(Exit::Done)
}

/// Cuts the link of a user at a target, or at every target of a job where there is one.
async fn cut(arguments: &Arguments, stage: Stage, more: &ReleaseArguments, who: &str) -> Result<Exit, Failure> {
    let journal = stage.journal(Access::Write).await?;
    let (assembly, _services) = stage.assemble(journal)?;
    let places = places(&assembly, &more.what);
    if places.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("there is no target or job {:?}", more.what)));
    }
    let proof = if more.force { Proof::Waived } else { Proof::Demanded };
    // Only the source is asked, and only where it has to bear out that the user has left.
    if let (Proof::Demanded, Some((world, _))) = (proof, places.first()) {
        may_speak(world, &world.source_name).await?;
    }
    let mut links: Vec<serde_json::Value> = Vec::new();
    let mut failed: Option<UnlinkError> = None;
    for (world, side) in places {
        let said = unlink::Said { who, proof, actor: &actor() };
        match unlink::unlink(world, side, said, &CancellationToken::new()).await {
            Ok(link) => {
                let (target, name, source) = (&side.name, &link.name, &link.source);
                links.push(json!({"target": target, "account": name, "source": source}));
                if !arguments.json {
                    output::line(&format!(
                        "at {target} the account {name:?} is linked to {source} no more; the next run takes it for whoever has its name"
                    ))?;
                }
            }
            // There may be a link at the next target.
            Err(error @ UnlinkError::Nobody(_)) => failed = Some(error),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if arguments.json && !links.is_empty() {
        output::json(&json!({ "cut": links }))?;
    }
    match failed {
        Some(UnlinkError::Nobody(_)) if !links.is_empty() => Ok(Exit::Done),
        Some(error) => Err(failure(error)),
        None => Ok(Exit::Done),
    }
}

/// The targets of this name or of the job of this name, each with the job that writes to it, or else one that looks at it.
fn places<'a>(assembly: &'a Assembly, what: &str) -> Vec<(&'a World, &'a TargetSide)> {
    let mut places: Vec<(&World, &TargetSide)> = Vec::new();
    let all = || assembly.worlds.values().flat_map(|world| world.targets.iter().map(move |side| (world, side)));
    let (lookers, writers): (Vec<_>, Vec<_>) = all().partition(|(world, side)| world.job.observes(&side.name));
    for (world, side) in writers.into_iter().chain(lookers) {
        let meant = world.job.name.as_str() == what || side.name.as_str() == what;
        if meant && places.iter().all(|(_, known)| known.name != side.name) {
            places.push((world, side));
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
        UnlinkError::LeftAlone(_) => Failure::new(Exit::Permission, message),
        UnlinkError::AtWork(_) => Failure::new(Exit::Unavailable, message),
        UnlinkError::Several(..) => Failure::new(Exit::Usage, message),
        UnlinkError::Journal(error) => error.into(),
    }
}
