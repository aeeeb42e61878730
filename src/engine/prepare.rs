//! The reading half of a run: from two systems and the journal to a judged plan of which it is known what will happen.
//! Writes nothing anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use smol_str::SmolStr;

use super::belief::believed;
use super::confirm::{Confirmed, confirm_beside};
use super::decided::Decided;
use super::memory::Memory;
use super::policy::Job;
use super::progress::{Board, Stage};
use super::proofs::Proofs;
use super::seats;
use crate::contract::fault::ConnectorError;
use crate::contract::journal::{Effect, Journal, JournalError, Sizes};
use crate::contract::source::Subject;
use crate::contract::target::{Capabilities, Deactivation, Target};
use crate::model::desired::{Desired, DesiredUser, SetAside, Standing};
use crate::model::key::{SourceKey, SystemName, TargetKey, group_key};
use crate::model::ledger::Ledger;
use crate::model::link::{Links, UserLink};
use crate::model::plan::FindingKind;
use crate::model::roster::{Lifecycle, TargetRoster};
use crate::reconcile::diff::{Draft, Inputs, diff};
use crate::reconcile::guard::expect::{self, Member};
use crate::reconcile::guard::{AdminGroup, Circumstances, Judged, Policy, admins_missing, judge};
use crate::reconcile::hash::rosters;
use crate::reconcile::health::{Signs, keep_ownership};
use crate::reconcile::rules::{LeaverAction, Rules};
use crate::reconcile::seats::{Seating, WhenFull};
use crate::reconcile::wanted::wanted;
use crate::reconcile::wish::{Told, rules_mark};

/// How many users that the listing lacks are asked about in one run; the rest waits for the next.
const MOST_UNACCOUNTED: usize = 500;
/// How many of them are asked about at once.
const ASKED_AT_ONCE: usize = 4;

/// Why a run could not come to a plan.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A remote system.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The state store.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What all targets of a job share in one run.
#[derive(Debug)]
pub struct SourceReading {
    /// By what its roster is believed or not. The roster itself is not kept: a large one would take more memory than what it
    /// says should be.
    pub signs: Signs,
    /// What should be.
    pub desired: Desired,
    /// Single answers of the source.
    pub proofs: Proofs,
}

/// A target in a run.
#[derive(Clone)]
pub struct TargetSide {
    /// Its name.
    pub name: SystemName,
    /// The connector.
    pub target: Arc<dyn Target>,
}

impl std::fmt::Debug for TargetSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TargetSide({})", self.name)
    }
}

/// A run that has come to a judged plan.
#[derive(Debug)]
pub struct Prepared {
    /// The plan and what the guards said.
    pub judged: Judged,
    /// What was withheld of what the guards let through.
    pub confirmed: Confirmed,
    /// What the readings alone change in links and ledger.
    pub effects: Vec<Effect>,
    /// What the target can do.
    pub capabilities: Capabilities,
    /// The links that the plan was made with.
    pub links: Links,
    /// The source's sizes, if it is believed.
    pub sizes: Option<Sizes>,
    /// Why it is not, if it is not.
    pub blind: Option<String>,
    /// Whether it is taken for another organisation, so that nothing at all is done.
    pub is_stranger: bool,
    /// What people decided.
    pub decided: Decided,
    /// Who sat where before the plan.
    pub seating: Seating,
}

/// Reads the target and makes the plan.
///
/// # Errors
/// A system or store that could not be read. Nothing was written.
pub async fn prepare(
    job: &Job,
    side: &TargetSide,
    reading: &SourceReading,
    journal: &dyn Journal,
    now: DateTime<Utc>,
    board: &Board,
) -> Result<Prepared, RunError> {
    let memory = Memory::read(journal, &job.name, &side.name, now).await?;
    Ok(prepare_from(job, side, reading, memory, now, board).await?)
}

/// The same as [`prepare`] of what is known already.
///
/// # Errors
/// A target that could not be read. Nothing was written.
pub async fn prepare_from(
    job: &Job,
    side: &TargetSide,
    reading: &SourceReading,
    memory: Memory,
    now: DateTime<Utc>,
    board: &Board,
) -> Result<Prepared, ConnectorError> {
    let name = &side.name;
    let Memory { links, ledger, sizes: last, recent, mut decided, waiting } = memory;
    let (blind, stranger) = believed(job, reading, last.as_ref(), &links, now).await;
    board.enter(name, Stage::ReadingTarget, 0);
    let capabilities = side.target.probe().await?;
    let wanted = wanted(&reading.desired, &links, &ledger, &looked_at(&capabilities, &job.guard));
    let actual = side.target.fetch(&wanted).await?;
    drop(wanted);
    let accounted = match &blind {
        Some(_) => None,
        None => {
            let losing = Losing { actual: &actual, ledger: &ledger, rules: &job.rules, capabilities: &capabilities, now };
            account_for(&reading.desired, &links, &losing, &reading.proofs).await
        }
    };
    let (desired, asked) = accounted.as_ref().map_or((&reading.desired, &[][..]), |a| (&a.desired, &a.asked));
    if blind.is_none() {
        let nobody = BTreeSet::new();
        let outside = accounted.as_ref().map_or(&nobody, |a| &a.outside);
        decided.weigh(Told { desired, outside, rules: &rules_mark(&job.rules) });
    }
    board.enter(name, Stage::Planning, 0);
    let inputs = Inputs {
        job: &job.name,
        target: name,
        desired,
        actual: &actual,
        links: &links,
        ledger: &ledger,
        rules: &job.rules,
        capabilities: &capabilities,
        now,
        partial: false,
    };
    let Draft { mut plan, mut effects } = diff(&inputs);
    plan.rosters = rosters(desired, &actual);
    if blind.is_some() {
        keep_ownership(&mut effects);
    }
    if stranger.is_some() {
        // Nor is anybody advised by whom another organisation has, who may be namesakes.
        plan.findings.clear();
    }
    note_asked(&mut effects, &links, asked, now);
    let addresses = addresses(desired, &job.guard);
    let mut circumstances = Circumstances {
        blind: blind.clone(),
        acting_as: capabilities.acting_as.clone(),
        recent,
        admins: admins(&actual, &capabilities.admin_groups),
        members: expected_of(&actual, &job.guard, &links, &addresses),
        addresses,
        strips: capabilities.deactivation == Deactivation::StripGroups,
        ..Circumstances::default()
    };
    decided.tell(&mut circumstances, now);
    let seating = Seating::of(&plan, &actual, &capabilities);
    let mut judged = judge(plan, &job.guard, &circumstances);
    let is_stranger = stranger.is_some();
    if let Some(why) = stranger {
        // Whom another organisation has is nobody's here: they are given nothing, and least of all the accounts of namesakes.
        // And nobody of them is linked, by whom it would be known next time.
        let all = judged.admitted.changes().map(|(at, _)| (at, why.clone())).collect();
        judged.withhold(all);
        effects.clear();
    }
    let unguarded = match job.guard.admins_at_least {
        0 => Vec::new(),
        _ => admins_missing(&capabilities.admin_groups, &circumstances.admins),
    };
    // What the plan was made of is not needed any more, and the questions that follow may take long.
    drop((actual, ledger, accounted, circumstances));
    let mut confirmed = confirm_beside(job, side, &capabilities, &mut judged, &reading.proofs, waiting, now, board).await;
    confirmed.messages.extend(unguarded);
    let sizes = blind.is_none().then_some(reading.signs.sizes);
    let mut prepared = Prepared { judged, confirmed, effects, capabilities, links, sizes, blind, is_stranger, decided, seating };
    seats::count(job, &mut prepared);
    Ok(prepared)
}

/// Whether a linked user whom the listing lacks has anything to lose at the target.
struct Losing<'a> {
    actual: &'a TargetRoster,
    ledger: &'a Ledger,
    rules: &'a Rules,
    capabilities: &'a Capabilities,
    now: DateTime<Utc>,
}

impl Losing<'_> {
    fn owns(&self, link: &UserLink) -> bool {
        let Ok(at) = self.ledger.users.binary_search(&link.target) else { return false };
        self.ledger.groups.iter().any(|(_, members)| members.binary_search(&(at as u32)).is_ok())
    }

    fn active(&self, link: &UserLink) -> bool {
        self.actual.user(&link.target).is_some_and(|at| self.actual.users[at as usize].active)
    }

    /// Whether the source must be asked about the user in this run. Whoever is inactive has lost it already, and an answer
    /// that left nothing to do stands for a day.
    fn asks(&self, link: &UserLink) -> bool {
        if self.actual.user(&link.target).is_none()
            || link.last_asked.is_some_and(|asked| self.now - asked < TimeDelta::hours(24))
        {
            return false;
        }
        let deletes = self.rules.leavers.deletes_at_once() || self.is_due(link);
        self.active(link) || deletes || (self.strips() && self.owns(link))
    }

    /// Whether being inactive is being in no group, so that a group that is left is something to be taken away.
    fn strips(&self) -> bool {
        self.capabilities.deactivation == Deactivation::StripGroups
    }

    /// Whether an account that was made inactive may have to be deleted by now, or the time until then has yet to begin.
    fn is_due(&self, link: &UserLink) -> bool {
        let long_enough = |after| link.leaving_since.is_none_or(|since| self.now - since >= after);
        self.rules.leavers.delete_after.and_then(|after| TimeDelta::from_std(after).ok()).is_some_and(long_enough)
    }

    /// Who is asked about first where there are too many for one run: whoever still has access, then who has waited longest.
    fn turn(&self, link: &UserLink) -> (bool, Option<DateTime<Utc>>) {
        (!self.active(link), link.last_asked)
    }

    /// Whether an answer leaves nothing to be done.
    fn settled(&self, link: &UserLink, standing: Option<Standing>) -> bool {
        match self.rules.leavers.action(standing) {
            Some(LeaverAction::Keep) => true,
            Some(LeaverAction::RemoveGroups) => !self.owns(link),
            Some(LeaverAction::Deactivate) => !(self.active(link) || self.is_due(link) || (self.strips() && self.owns(link))),
            Some(LeaverAction::Delete) | None => false,
        }
    }
}

/// What should be, completed by the answers about those whom the listing lacks.
struct Accounted {
    desired: Desired,
    /// Of whom the answer left nothing to do.
    asked: Vec<SourceKey>,
    /// Whom the source has outside its own scope.
    outside: BTreeSet<SourceKey>,
}

/// Linked users whom the listing lacks are asked about, one by one: a listing proves no absence, and the answer tells the
/// cause (disabled, out of scope, gone). Whoever gets no definite answer is left as it is, and so is whoever has nothing to
/// lose. `None` if nobody is missing.
async fn account_for(desired: &Desired, links: &Links, losing: &Losing<'_>, proofs: &Proofs) -> Option<Accounted> {
    let missing: Vec<&UserLink> = links.users.iter().filter(|l| desired.user(&l.source).is_none()).collect();
    if missing.is_empty() {
        return None;
    }
    let (mut in_question, settled): (Vec<&UserLink>, Vec<&UserLink>) = missing.into_iter().partition(|l| losing.asks(l));
    in_question.sort_by_cached_key(|link| losing.turn(link));
    let later = in_question.split_off(in_question.len().min(MOST_UNACCOUNTED));
    let questions: Vec<_> = in_question.iter().map(|link| async move { (*link, proofs.user(&link.source).await) }).collect();
    let answers: Vec<_> = futures::stream::iter(questions).buffered(ASKED_AT_ONCE).collect().await;
    let mut accounted = Accounted { desired: desired.clone(), asked: Vec::new(), outside: BTreeSet::new() };
    let mut users: Vec<DesiredUser> = Vec::new();
    let mut leave = |users: &mut Vec<DesiredUser>, source: &SourceKey, standing, why: Option<String>| {
        if let Some(why) = why {
            accounted.desired.set_aside.push(SetAside { source: source.clone(), kind: FindingKind::Unmappable, why });
        }
        users.push(DesiredUser { source: source.clone(), standing, attributes: None });
    };
    let (mut asked, mut outside) = (Vec::new(), BTreeSet::new());
    for (link, answer) in answers {
        let standing = match answer {
            Ok(subject) => subject.map(|s| standing_of(&s)),
            Err(error) => {
                let why = format!("is not in the listing, and the source gave no definite answer: {error}");
                leave(&mut users, &link.source, Standing::Pending, Some(why));
                continue;
            }
        };
        if losing.settled(link, standing) {
            asked.push(link.source.clone());
        }
        if standing == Some(Standing::OutOfScope) {
            outside.insert(link.source.clone());
        }
        if let Some(standing) = standing {
            leave(&mut users, &link.source, standing, None);
        }
    }
    for link in later {
        let why = format!("is not in the listing; {MOST_UNACCOUNTED} others were asked about first");
        leave(&mut users, &link.source, Standing::Pending, Some(why));
    }
    for link in settled {
        leave(&mut users, &link.source, Standing::Pending, None);
    }
    insert(&mut accounted.desired, users);
    (accounted.asked, accounted.outside) = (asked, outside);
    Some(accounted)
}

/// Writes down of whom the answer left nothing to do, with whatever else of their links has changed.
fn note_asked(effects: &mut Vec<Effect>, links: &Links, asked: &[SourceKey], now: DateTime<Utc>) {
    let mut unwritten: BTreeSet<&SourceKey> = asked.iter().collect();
    for effect in effects.iter_mut() {
        match effect {
            Effect::LinkUser(link) => {
                if unwritten.remove(&link.source) {
                    link.last_asked = Some(now);
                }
            }
            Effect::UnlinkUser { .. }
            | Effect::LinkGroup(_)
            | Effect::UnlinkGroup { .. }
            | Effect::Own { .. }
            | Effect::OwnAll(_)
            | Effect::Disown { .. } => {}
        }
    }
    let rest = unwritten.into_iter().filter_map(|source| links.user(source));
    effects.extend(rest.map(|link| Effect::LinkUser(Box::new(UserLink { last_asked: Some(now), ..link.clone() }))));
}

/// Where a user stands whom the listing lacks. One who turns out to be entitled was overlooked by the listing: nothing is
/// done about them until a listing shows them again.
fn standing_of(subject: &Subject) -> Standing {
    match subject.user.lifecycle {
        Lifecycle::Disabled => Standing::Disabled,
        Lifecycle::Entitled | Lifecycle::Pending if !subject.in_scope => Standing::OutOfScope,
        Lifecycle::Entitled | Lifecycle::Pending => Standing::Pending,
    }
}

/// Inserts users and renumbers the members of groups.
fn insert(desired: &mut Desired, more: Vec<DesiredUser>) {
    let old = std::mem::take(&mut desired.users);
    let mut numbered: Vec<(Option<u32>, DesiredUser)> = old.into_iter().enumerate().map(|(at, u)| (Some(at as u32), u)).collect();
    numbered.extend(more.into_iter().map(|u| (None, u)));
    numbered.sort_by(|a, b| a.1.source.cmp(&b.1.source));
    let mut places = vec![0u32; numbered.len()];
    for (place, (old, _)) in numbered.iter().enumerate() {
        if let Some(old) = old {
            places[*old as usize] = place as u32;
        }
    }
    desired.users = numbered.into_iter().map(|(_, u)| u).collect();
    for group in &mut desired.groups {
        group.members.iter_mut().for_each(|m| *m = places[*m as usize]);
    }
}

/// The administration groups with their active members.
pub fn admins(actual: &TargetRoster, names: &[String]) -> Vec<AdminGroup> {
    names
        .iter()
        .filter_map(|name| {
            let key = group_key(name);
            let group = &actual.groups[actual.group(&key)? as usize];
            let members = group.members.iter().map(|m| &actual.users[*m as usize]);
            Some(AdminGroup { key, active: members.filter(|u| u.active).map(|u| u.key.clone()).collect() })
        })
        .collect()
}

/// The groups that guards look at, whoever manages them: those that give administration rights, and those of which something
/// is expected.
pub(super) fn guarded(capabilities: &Capabilities, policy: &Policy) -> Vec<String> {
    capabilities.admin_groups.iter().cloned().chain(expect::groups(policy).map(str::to_owned)).collect()
}

/// The same, and where a licence that is full lets people wait the groups that give a seat, so that it is certain who has one.
fn looked_at(capabilities: &Capabilities, policy: &Policy) -> Vec<String> {
    let mut groups = guarded(capabilities, policy);
    if policy.seats == WhenFull::Hold {
        groups.extend(capabilities.seats.iter().flat_map(|seats| seats.groups.iter().cloned()));
    }
    groups
}

/// The members of the groups of which something is expected. Of linked users whose address the target hides the source's counts.
pub(super) fn expected_of(
    actual: &TargetRoster,
    policy: &Policy,
    links: &Links,
    addresses: &BTreeMap<SourceKey, SmolStr>,
) -> BTreeMap<TargetKey, Vec<Member>> {
    let linked = links.users.iter().filter_map(|link| Some((&link.target, addresses.get(&link.source)?)));
    let linked: BTreeMap<&TargetKey, &SmolStr> = linked.collect();
    let member = |at: &u32| {
        let user = &actual.users[*at as usize];
        let email = user.email.clone().or_else(|| linked.get(&user.key).map(|email| (*email).clone()));
        Member { name: user.name.clone(), email, active: user.active }
    };
    let members_of =
        |key: &TargetKey| actual.group(key).map(|at| actual.groups[at as usize].members.iter().map(member).collect());
    expect::groups(policy).map(group_key).filter_map(|key| Some((key.clone(), members_of(&key)?))).collect()
}

/// The addresses that users are to have, where something is expected of addresses.
pub(super) fn addresses(desired: &Desired, policy: &Policy) -> BTreeMap<SourceKey, SmolStr> {
    if policy.expect.iter().all(|expected| expected.only_domains.is_empty()) {
        return BTreeMap::new();
    }
    let address = |user: &DesiredUser| Some((user.source.clone(), user.attributes.as_ref()?.email.clone()?));
    desired.users.iter().filter_map(address).collect()
}
