//! Explain: everything about one user, with a handful of requests. The plan in it is made by the code that retries single
//! users, which is the code of a run over fewer people; so it says what the next run would write.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use smol_str::SmolStr;

use super::confirm::confirm;
use super::decided::Decided;
use super::prepare::{RunError, TargetSide};
use super::proofs::Proofs;
use super::run::World;
use super::seats;
use super::subjects::{Known, only, prepare_subjects};
use crate::contract::fault::Fault;
use crate::contract::history::{ChangeQuery, Order};
use crate::contract::journal::{ChangeRecord, Staged};
use crate::contract::target::{Deactivation, WantedUser};
use crate::contract::verdict::Hold;
use crate::model::change::OpKind;
use crate::model::key::{JobName, SourceKey, SystemName, TargetKey, fold, group_key};
use crate::model::link::{Links, UserLink};
use crate::model::retry::{Retry, Subject};
use crate::model::roster::TargetUser;
use crate::reconcile::explain::{Reading, read};
use crate::reconcile::render::{PlanView, view};

/// How many of the last changes are told.
const HISTORY: u32 = 10;

/// Everything about one user of a job.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The job.
    pub job: JobName,
    /// The source's id.
    pub source: SourceKey,
    /// What the source says, and what the rules make of it; nothing: it says that there is no such user.
    pub reading: Option<Reading>,
    /// Each target.
    pub targets: Vec<AtTarget>,
}

/// One user at one target.
#[derive(Debug, Serialize)]
pub struct AtTarget {
    /// The target.
    pub target: SystemName,
    /// Why it could not be looked at, if so.
    pub error: Option<String>,
    /// The fault in it, for exit codes.
    #[serde(skip)]
    pub fault: Option<Fault>,
    /// The link.
    pub link: Option<UserLink>,
    /// The account as it is.
    pub account: Option<TargetUser>,
    /// The groups it is in, and whether rosterd owns that.
    pub groups: Vec<(String, bool)>,
    /// What the next run would write about the user; nothing: only a whole run can tell (see `whole`).
    pub plan: Option<PlanView>,
    /// Whether only a run over everybody can tell: a group must be created first, or the name is held by somebody else.
    pub whole: bool,
    /// What the plan depends on that only a run over everybody can tell.
    pub proviso: Option<String>,
    /// The groups that the account is in once that is done.
    pub afterwards: Vec<String>,
    /// What waits for a person about the user.
    pub staged: Vec<Staged>,
    /// The entry in the retry queue.
    pub retry: Option<Retry>,
    /// The hold after an undo.
    pub hold: Option<Hold>,
    /// The last changes, the newest first.
    pub history: Vec<ChangeRecord>,
}

/// Whom a text names: by what the links know, or as the source finds them. `None`: nobody.
///
/// # Errors
/// A store or source that could not be read.
pub async fn whom(world: &World, text: &str) -> Result<Option<SourceKey>, RunError> {
    let mut found: BTreeSet<SourceKey> = BTreeSet::new();
    for side in &world.targets {
        let links = world.journal.links(&side.name).await?;
        let named = |l: &&UserLink| l.source.as_str() == text || l.target.as_str() == text || fold(&l.name) == fold(text);
        found.extend(links.users.iter().filter(named).map(|l| l.source.clone()));
    }
    // Where targets disagree about a name, the source decides.
    match found.len() {
        1 => Ok(found.pop_first()),
        _ => Ok(world.source.find(text).await?),
    }
}

/// Explains a user.
///
/// # Errors
/// A source or store that could not be read. What a target does is told with it.
pub async fn explain(world: &World, source: &SourceKey) -> Result<Explanation, RunError> {
    let rules = &world.job.rules;
    let proofs = Proofs::new(world.source.clone(), world.job.ask(), BTreeSet::new());
    let subject = proofs.user(source).await?;
    let reading = match &subject {
        None => None,
        Some(subject) => {
            let names = subject.groups.iter().flat_map(|(_, name)| rules.groups.targets(name));
            let about: BTreeSet<TargetKey> = names.map(|t| group_key(&t)).collect();
            let counting = proofs.counting(Some(subject), &about, rules).await?;
            Some(read(subject, |key| counting.contains(key), rules))
        }
    };
    let looks = world.targets.iter().map(|side| at_target(world, side, source, reading.as_ref(), &proofs));
    let mut targets = Vec::new();
    for look in futures::future::join_all(looks).await {
        targets.push(look?);
    }
    Ok(Explanation { job: world.job.name.clone(), source: source.clone(), reading, targets })
}

async fn at_target(
    world: &World,
    side: &TargetSide,
    source: &SourceKey,
    reading: Option<&Reading>,
    proofs: &Proofs,
) -> Result<AtTarget, RunError> {
    let journal = &*world.journal;
    let (job, target) = (&world.job.name, &side.name);
    let links = journal.links(target).await?;
    let link = links.user(source).cloned();
    let here = |j: &JobName, t: &SystemName| j == job && t == target;
    let is_about = |r: &Retry| here(&r.job, &r.target) && r.subject == Subject::User(source.clone());
    let last = ChangeQuery {
        target: Some(target.clone()),
        source: Some(source.clone()),
        order: Order::NewestFirst,
        limit: HISTORY,
        ..ChangeQuery::default()
    };
    let mut told = AtTarget {
        target: target.clone(),
        error: None,
        fault: None,
        link: link.clone(),
        account: None,
        groups: Vec::new(),
        plan: None,
        whole: false,
        proviso: None,
        afterwards: Vec::new(),
        staged: journal
            .staged()
            .await?
            .into_iter()
            .filter(|s| here(&s.job, &s.target) && s.source.as_ref() == Some(source))
            .collect(),
        retry: journal.retries().await?.into_iter().find(is_about),
        hold: journal.holds().await?.into_iter().find(|h| here(&h.job, &h.target) && h.source.as_ref() == Some(source)),
        history: journal.history(&last).await?.into_iter().map(|told| told.change).collect(),
    };
    match look(world, side, source, reading, links, proofs, &mut told).await {
        Ok(()) => {}
        Err(RunError::Connector(error)) => {
            told.error = Some(error.to_string());
            told.fault = Some(error.fault);
        }
        Err(error @ RunError::Journal(_)) => return Err(error),
    }
    Ok(told)
}

/// Reads the account and plans for it alone.
async fn look(
    world: &World,
    side: &TargetSide,
    source: &SourceKey,
    reading: Option<&Reading>,
    links: Links,
    proofs: &Proofs,
    told: &mut AtTarget,
) -> Result<(), RunError> {
    let keys = [source.clone()];
    let ledger = world.journal.ledger(&side.name).await?;
    let decided = Decided::read(&*world.journal, &world.job.name, &side.name).await?;
    let mapped = reading.and_then(|r| r.mapped.iter().find(|m| m.attribute == "user name")).and_then(|m| m.value.clone());
    let names: BTreeMap<SourceKey, SmolStr> = mapped.iter().map(|name| (source.clone(), name.as_str().into())).collect();
    let key = told.link.as_ref().map(|l| l.target.clone());
    let name = told.link.as_ref().map(|l| l.name.clone()).or_else(|| names.get(source).cloned());
    if let Some(name) = name
        && let Some((account, groups)) = side.target.fetch_user(&WantedUser { key, name }).await?
    {
        let owned = |group: &str| ledger.owns(&group_key(group), &account.key);
        told.groups = groups.into_iter().map(|group| (group.clone(), owned(&group))).collect();
        told.account = Some(account);
    }
    let others: BTreeSet<TargetKey> = links.users.iter().filter(|l| l.source != *source).map(|l| l.target.clone()).collect();
    let links = only(links, &keys);
    // It tells what a run that believes the source does.
    let known = Known { links: &links, others: &others, ledger: &ledger, decided: &decided, names: &names, doubt: None };
    let prepared = prepare_subjects(world, side, &keys, known, proofs).await?;
    let Some((mut prepared, _)) = prepared else {
        told.whole = true;
        return Ok(());
    };
    let now = world.clock.now();
    let (judged, can) = (&mut prepared.judged, &prepared.capabilities);
    prepared.confirmed = confirm(&world.job, side, can, judged, proofs, &*world.journal, now, &world.board).await?;
    seats::count(&world.job, &mut prepared);
    // Two who are to have one name are both set aside, and of one alone that is not seen. Whoever leaves does so all the same.
    let grants = prepared.judged.admitted.plan().changes.iter().any(|change| !change.op.kind().removes());
    let given = names.get(source).filter(|_| grants);
    told.proviso = given.map(|name| {
        format!(
            "unless somebody else at the source is to have the user name {name:?} as well: only a run over everybody sees that"
        )
    });
    let plan = view(&prepared.judged);
    let of = |op: &str| -> Vec<String> {
        let admitted = plan.changes.iter().filter(|c| c.verdict == "admitted" && c.op == op);
        admitted.filter_map(|c| c.group.clone()).collect()
    };
    let (gone, new) = (of("remove_member"), of("add_member"));
    let admits = |kind: OpKind| plan.changes.iter().any(|c| c.verdict == "admitted" && c.op == kind.word());
    let strips = prepared.capabilities.deactivation == Deactivation::StripGroups;
    let leaves_all = admits(OpKind::DeleteUser) || (strips && admits(OpKind::DeactivateUser));
    let stays = told.groups.iter().map(|(group, _)| group.clone()).filter(|g| !leaves_all && !gone.contains(g));
    told.afterwards = stays.chain(new).collect();
    told.plan = Some(plan);
    Ok(())
}
