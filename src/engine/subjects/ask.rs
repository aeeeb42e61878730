//! What a retry asks the source: about whom it gives an answer, and whether it can be believed that somebody is gone.

use std::collections::BTreeSet;

use super::super::prepare::TargetSide;
use super::super::proofs::Proofs;
use super::super::run::{World, last_wholes};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::JournalError;
use crate::contract::target::WantedUser;
use crate::model::key::SourceKey;
use crate::model::link::Links;
use crate::model::retry::Subject;
use crate::reconcile::health::LEAST_LINKED;

/// With so many in a row about whom a system gives no answer it may be the system that is in trouble, and not they.
pub(super) const TROUBLE: usize = 3;

/// Those about whom the source gives an answer, and those about whom alone it gives none, with why: an account that cannot be
/// read keeps nobody else waiting. Where it is not clear whose trouble it is, the source is asked about one of the `others`.
///
/// # Errors
/// What is the source's own trouble: it gives no answer about somebody else either, or refuses to be asked.
pub(super) async fn by_answer(
    world: &World,
    keys: Vec<SourceKey>,
    mut others: Vec<&SourceKey>,
    proofs: &Proofs,
) -> Result<(Vec<SourceKey>, Vec<(Subject, ConnectorError)>), ConnectorError> {
    let mut without: Vec<(Subject, ConnectorError)> = Vec::new();
    let mut answered: Vec<SourceKey> = Vec::new();
    let mut in_a_row = 0;
    let mut last = None;
    for key in keys {
        match proofs.single(&key, &world.job.rules).await {
            Ok(_) => {
                answered.push(key);
                in_a_row = 0;
            }
            Err(error) if matches!(error.fault, Fault::Refused | Fault::Limited { .. }) => return Err(error),
            Err(error) => {
                in_a_row += 1;
                if in_a_row == TROUBLE {
                    answers(&mut others, world, proofs, &error).await?;
                    in_a_row = 0;
                }
                last = Some(error.clone());
                without.push((Subject::User(key), error));
            }
        }
    }
    // It may have gone down on the way.
    if let Some(error) = last.filter(|_| in_a_row > 0) {
        answers(&mut others, world, proofs, &error).await?;
    }
    Ok((answered, without))
}

/// Whether the source gives an answer about somebody else, and all that it was asked about those: else it is the source that
/// is in trouble.
async fn answers(
    others: &mut Vec<&SourceKey>,
    world: &World,
    proofs: &Proofs,
    met: &ConnectorError,
) -> Result<(), ConnectorError> {
    match drawn(others, world) {
        Some(witness) => proofs.single(witness, &world.job.rules).await.map(drop),
        None => Err(met.clone()),
    }
}

/// Whether the target tells of somebody else: else it is the target that is in trouble.
pub(super) async fn tells(
    world: &World,
    side: &TargetSide,
    links: &Links,
    keys: &[SourceKey],
    met: ConnectorError,
) -> Result<(), ConnectorError> {
    let mut others = others(links, keys);
    let witness = drawn(&mut others, world).and_then(|witness| links.user(witness));
    match witness {
        Some(link) => {
            let wanted = WantedUser { key: Some(link.target.clone()), name: link.name.clone() };
            side.target.fetch_user(&wanted).await.map(drop)
        }
        None => Err(met),
    }
}

/// The linked users who are not among these, and have not left: whom the source ought to know.
pub(super) fn others<'l>(links: &'l Links, keys: &[SourceKey]) -> Vec<&'l SourceKey> {
    let keys: BTreeSet<&SourceKey> = keys.iter().collect();
    let others = links.users.iter().filter(|link| link.leaving_since.is_none() && !keys.contains(&link.source));
    others.map(|link| &link.source).collect()
}

/// One of them by chance, since whoever was asked about once and is gone for good would be asked about for ever.
fn drawn<'l>(others: &mut Vec<&'l SourceKey>, world: &World) -> Option<&'l SourceKey> {
    let at = ((world.draw)() * others.len() as f64) as usize;
    (!others.is_empty()).then(|| others.swap_remove(at.min(others.len() - 1)))
}

/// How many others are asked about before it is believed that a user is gone.
const WITNESSES: usize = 3;

/// Why nothing is taken away by what the source says of these subjects, if nothing is.
pub(super) async fn doubt(
    world: &World,
    side: &TargetSide,
    links: &Links,
    keys: &[SourceKey],
    proofs: &Proofs,
) -> Result<Option<String>, JournalError> {
    let last = last_wholes(&*world.journal, &world.job.name, &side.name, 1).await?.into_iter().next();
    let Some(last) = last else { return Ok(Some("there was no whole run yet that believed it".to_owned())) };
    // Only a run that believes it keeps its sizes, however it ended.
    if last.end.is_none_or(|end| end.sizes.is_none()) {
        return Ok(Some(format!("the last whole run ({}) did not come to believe it", last.start.id)));
    }
    if world.job.health.shrink >= 1.0 {
        return Ok(None);
    }
    let linked: BTreeSet<&SourceKey> = links.users.iter().map(|link| &link.source).collect();
    let mut gone = 0;
    for key in keys {
        match proofs.user(key).await {
            // Ids are given by one organisation: whoever knows one of them is no other.
            Ok(Some(_)) if linked.contains(key) => return Ok(None),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => gone += 1,
        }
    }
    if gone == 0 {
        return Ok(None);
    }
    let mut others = others(links, keys);
    let mut unanswered = None;
    let nobody_to_ask = others.is_empty();
    for _ in 0..WITNESSES {
        let Some(witness) = drawn(&mut others, world) else { break };
        match proofs.user(witness).await {
            Ok(Some(_)) => return Ok(None),
            Ok(None) => {}
            Err(error) => unanswered = Some(error),
        }
    }
    Ok(match unanswered {
        Some(error) => Some(format!("whether it knows others who were there at the last whole run is not known: {error}")),
        // So few may all have left.
        None if nobody_to_ask && gone < LEAST_LINKED => None,
        None => Some("it knows nobody who was there at the last whole run: it may be another organisation".to_owned()),
    })
}
