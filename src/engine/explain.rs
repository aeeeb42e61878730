//! Explain: everything about one user, with a handful of requests. The plan in it is made by the code that retries single
//! users, which is the code of a run over fewer people; so it says what the next run would write.
//!
//! Of one user alone it is not seen what a run decides by everybody: whether the source is believed, whether a limit trips,
//! whether a name is free. Where that may change what is told, it says so.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Serialize;
use smol_str::SmolStr;

use super::confirm::confirm;
use super::decided::Decided;
use super::prepare::{RunError, TargetSide};
use super::proofs::{Proofs, Single};
use super::run::{World, last_wholes};
use super::seats;
use super::subjects::{Known, Unread, only, prepare_subjects};
use crate::contract::fault::Fault;
use crate::contract::history::{ChangeQuery, Order};
use crate::contract::journal::{ChangeRecord, Ended, RunRecord, Staged};
use crate::contract::target::{Capabilities, Deactivation, WantedUser};
use crate::contract::verdict::Hold;
use crate::model::change::OpKind;
use crate::model::key::{JobName, SourceKey, SystemName, TargetKey, fold, group_key};
use crate::model::link::{Links, UserLink};
use crate::model::retry::{Retry, Subject};
use crate::model::roster::TargetUser;
use crate::reconcile::explain::{Reading, read};
use crate::reconcile::render::{PlanView, view};
use crate::reconcile::wish::rules_mark;

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
    /// On whom else it depends whether a name can be given.
    pub proviso: Option<String>,
    /// What may keep a run over everybody from taking away what is told here as admitted.
    pub unseen: Vec<String>,
    /// The groups that the account is in once that is done.
    pub afterwards: Vec<String>,
    /// What gives access once that is done; nothing: only a whole run can tell.
    pub access: Option<GivenBy>,
    /// What waits for a person about the user.
    pub staged: Vec<Staged>,
    /// The entry in the retry queue.
    pub retry: Option<Retry>,
    /// The hold after an undo.
    pub hold: Option<Hold>,
    /// Whether the next run ends it, since the source says something else of the user.
    pub hold_ends: bool,
    /// The last changes, the newest first.
    pub history: Vec<ChangeRecord>,
}

/// What gives an account access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum GivenBy {
    /// Nothing: there is no account.
    NoAccount,
    /// Nothing: the account is inactive, in whatever groups it is.
    Inactive,
    /// These groups; none: nothing.
    Groups {
        /// By name.
        groups: Vec<String>,
    },
    /// The account is active, and the target does not tell which groups give access.
    Untold,
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
    let single = proofs.single(source, rules).await?;
    let reading = single.subject.as_deref().map(|subject| read(subject, |key| single.counting.contains(key), rules));
    let read = Read { source, single: &single, reading: reading.as_ref(), proofs: &proofs };
    let looks = world.targets.iter().map(|side| at_target(world, side, read));
    let mut targets = Vec::new();
    for look in futures::future::join_all(looks).await {
        targets.push(look?);
    }
    Ok(Explanation { job: world.job.name.clone(), source: source.clone(), reading, targets })
}

/// What was read of the user at the source.
#[derive(Clone, Copy)]
struct Read<'a> {
    source: &'a SourceKey,
    single: &'a Single,
    reading: Option<&'a Reading>,
    proofs: &'a Proofs,
}

async fn at_target(world: &World, side: &TargetSide, read: Read<'_>) -> Result<AtTarget, RunError> {
    let source = read.source;
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
        unseen: Vec::new(),
        afterwards: Vec::new(),
        access: None,
        staged: journal
            .staged()
            .await?
            .into_iter()
            .filter(|s| here(&s.job, &s.target) && s.source.as_ref() == Some(source))
            .collect(),
        retry: journal.retries().await?.into_iter().find(is_about),
        hold: journal.holds().await?.into_iter().find(|h| here(&h.job, &h.target) && h.source.as_ref() == Some(source)),
        hold_ends: false,
        history: journal.history(&last).await?.into_iter().map(|told| told.change).collect(),
    };
    match look(world, side, read, links, &mut told).await {
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
    Read { source, single, reading, proofs }: Read<'_>,
    links: Links,
    told: &mut AtTarget,
) -> Result<(), RunError> {
    let keys = [source.clone()];
    let ledger = world.journal.ledger(&side.name).await?;
    let mut decided = Decided::read(&*world.journal, &world.job.name, &side.name).await?;
    decided.weigh_one(source, single.told(&rules_mark(&world.job.rules)));
    told.hold_ends = told.hold.is_some() && !decided.holds().iter().any(|hold| hold.source.as_ref() == Some(source));
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
    let capabilities = side.target.probe().await?;
    let prepared = prepare_subjects(world, side, &keys, known, proofs, capabilities).await.map_err(Unread::into_error)?;
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
    let takes = |kind: OpKind| prepared.judged.admitted.changes().any(|(_, change)| change.op.kind() == kind);
    let takes: Vec<OpKind> = OpKind::ALL.into_iter().filter(|kind| kind.removes() && takes(*kind)).collect();
    let some = !prepared.judged.admitted.is_empty();
    told.unseen = unseen(world, side, &takes, some).await?;
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
    let is_there =
        (told.account.is_some() && !admits(OpKind::DeleteUser)) || admits(OpKind::CreateUser) || admits(OpKind::LinkUser);
    let flag = prepared.capabilities.deactivation == Deactivation::Flag;
    let is_active = told.account.as_ref().is_none_or(|account| account.active) || admits(OpKind::ActivateUser);
    told.access = Some(match (is_there, is_active && !(flag && admits(OpKind::DeactivateUser))) {
        (false, _) => GivenBy::NoAccount,
        (true, false) => GivenBy::Inactive,
        (true, true) => access_by(&told.afterwards, &prepared.capabilities),
    });
    told.plan = Some(plan);
    Ok(())
}

/// What of these groups gives access, by what the target tells of its licences.
fn access_by(groups: &[String], capabilities: &Capabilities) -> GivenBy {
    let doors: BTreeSet<TargetKey> =
        capabilities.seats.iter().flat_map(|seats| &seats.groups).map(|door| group_key(door)).collect();
    if doors.is_empty() {
        return GivenBy::Untold;
    }
    GivenBy::Groups { groups: groups.iter().filter(|group| doors.contains(&group_key(group))).cloned().collect() }
}

/// What may keep a run over everybody from what the guards let through for this user alone: from removals of these kinds, and
/// from anything, if something is let through.
async fn unseen(world: &World, side: &TargetSide, takes: &[OpKind], some: bool) -> Result<Vec<String>, RunError> {
    let mut unseen = Vec::new();
    if !some {
        return Ok(unseen);
    }
    let (job, target) = (&world.job.name, &side.name);
    let last = last_wholes(&*world.journal, job, target, 1).await?.into_iter().next();
    if let Some(RunRecord { start, end: Some(end) }) = last
        && end.ended == Ended::Blind
    {
        let why = end.messages.iter().find_map(|message| message.strip_prefix("blind-source: "));
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        unseen.push(format!(
            "unless the source is not believed: the last run over everybody ({}, {}) did not believe it{why}. Such a run takes \
             nothing away and ends no hold, and by another organisation it does nothing at all",
            start.id,
            start.at.format("%Y-%m-%d %H:%M:%SZ")
        ));
    }
    if takes.is_empty() {
        return Ok(unseen);
    }
    let recent = world.journal.removals_since(target, world.clock.now() - TimeDelta::hours(24)).await?;
    let waiting = world.journal.staged().await?.into_iter().filter(|s| s.job == *job && s.target == *target);
    let waiting = waiting.filter(|s| takes.contains(&s.kind)).count();
    let made = if takes == [OpKind::RemoveMember] { recent.memberships } else { recent.deactivations + recent.memberships };
    unseen.push(format!(
        "unless so much is to be taken away in one run, or within 24 hours, that a limit trips: only a run over everybody sees \
         that ({made} removals were made within 24 hours, {waiting} of the kind wait for a person)"
    ));
    Ok(unseen)
}
