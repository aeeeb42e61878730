//! The guard: a plan goes in, what may happen comes out. [`Admitted`] is the only thing that the engine applies, and only
//! this module makes one.
//!
//! Additions flow, removals wait: a limit that trips holds the removals of its class, by name, and nothing else. All of the
//! class, not only what is over the limit: a mass removal is a symptom, and letting its first tenth through would do the
//! harm in slices. What is refused (protected names, our own account, the last administrators, a blind source) no
//! approval lets through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pattern::NameSet;
use crate::contract::journal::Removals;
use crate::model::change::{Change, Op, OpKind};
use crate::model::key::{SourceKey, TargetKey, fold, same_name};
use crate::model::plan::Plan;

/// A limit: a share with a floor, so that small sites are not blocked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Of what is managed, from 0.0 to 1.0.
    pub share: f64,
    /// Never under this count.
    pub floor: u32,
}

impl Limit {
    /// The count that is still within the limit.
    pub fn of(&self, managed: u32) -> u32 {
        self.floor.max((self.share.clamp(0.0, 1.0) * f64::from(managed)) as u32)
    }
}

/// What the configuration says of limits and protection.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Deactivations and deletions, of active linked users.
    pub deactivations: Limit,
    /// Membership removals, of managed memberships.
    pub membership_removals: Limit,
    /// Membership removals of one group, of its members.
    pub per_group_removals: Limit,
    /// Target user names that are never touched.
    pub protect_users: NameSet,
    /// Target group names that are never touched.
    pub protect_groups: NameSet,
    /// What must be true before and after.
    pub expect: Vec<Expectation>,
    /// How many active administrators must stay in each administration group.
    pub admins_at_least: u32,
    /// After how long a plan can no longer be approved.
    pub plan_expires: Duration,
}

/// A group's size that must be true before and after a plan that removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The target group's name.
    pub group: String,
    /// The least number of members.
    pub at_least: Option<u32>,
    /// The greatest number of members.
    pub at_most: Option<u32>,
}

/// A group that gives administration rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminGroup {
    /// Its folded name.
    pub key: TargetKey,
    /// Its active members.
    pub active: BTreeSet<TargetKey>,
}

/// What a guard must know besides the plan.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Why the source cannot be trusted in this run, if it cannot.
    pub blind: Option<String>,
    /// The account that rosterd acts with.
    pub acting_as: Option<String>,
    /// Removals made at the target within the last 24 hours.
    pub recent: Removals,
    /// The administration groups with their active members.
    pub admins: Vec<AdminGroup>,
    /// Sizes of the target's groups now, for expectations.
    pub sizes: BTreeMap<TargetKey, u32>,
    /// Staged removals that a person approved, by their marks ([`super::hash::mark`]).
    pub approved: BTreeMap<String, Approval>,
    /// Marks of removals that a person rejected.
    pub rejected: BTreeSet<String>,
    /// Removals that wait for a person since the last run over everything, for whatever cause: kind, user and group. A plan
    /// over a few subjects sees too little of what tripped the limit, and would let them through one by one.
    pub waiting: BTreeSet<(OpKind, TargetKey, Option<TargetKey>)>,
    /// Who asked for the whole plan, if it is no schedule's: an undo.
    pub asked_by: Option<Asked>,
    /// Target users about whom nothing is written, since a person undid what a run had done.
    pub held: BTreeSet<TargetKey>,
    /// The same by the source's ids: whoever is held gets no new account either.
    pub held_sources: BTreeSet<SourceKey>,
}

/// A person's word on a whole plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asked for it.
    pub actor: String,
    /// Whether limits yield. What no person can lift stays refused.
    pub over_limits: bool,
}

/// What a person let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who did, and why.
    pub said: String,
    /// The guards that were shown to hold it. If another one holds it now, it waits on.
    pub guards: BTreeSet<String>,
}

/// What a guard found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The guard's name.
    pub guard: &'static str,
    /// Whether an approval lifts it.
    pub liftable: bool,
    /// What was found, with counts and the limit, for a person.
    pub text: String,
    /// Which changes it holds, as positions in the plan.
    pub holds: Vec<usize>,
}

/// A plan of which only what the guards let through can be seen as admitted. Only [`judge`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    plan: Plan,
    allowed: Vec<bool>,
    let_by: BTreeMap<usize, String>,
}

impl Admitted {
    /// The whole plan, for names and positions.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// The positions of admitted changes, in order.
    pub fn changes(&self) -> impl Iterator<Item = (usize, &Change)> {
        self.plan.changes.iter().enumerate().filter(|(at, _)| self.allowed[*at])
    }
    /// Who let a change through that a limit had held, or asked for it, and why; `None` for an ordinary change.
    pub fn let_by(&self, at: usize) -> Option<&str> {
        self.let_by.get(&at).map(String::as_str)
    }
    /// Takes back the admission of changes, for want of proof. There is no way to admit one.
    ///
    /// What builds on them is withheld with them: whoever was to get a name that is not given up now, whoever was to be put
    /// into a group or made a member and is not created now. Returns the positions of these.
    pub fn withhold(&mut self, these: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut carries = false;
        for at in these {
            self.allowed[at] = false;
            let kind = self.plan.changes[at].op.kind();
            carries |= matches!(kind, OpKind::CreateGroup | OpKind::UpdateUser | OpKind::CreateUser);
        }
        // Nothing builds on what takes away, on links, or on members.
        if carries { stranded(&self.plan, &mut self.allowed) } else { Vec::new() }
    }
    /// How many changes are admitted.
    pub fn len(&self) -> usize {
        self.allowed.iter().filter(|a| **a).count()
    }
    /// Whether nothing is admitted.
    pub fn is_empty(&self) -> bool {
        !self.allowed.contains(&true)
    }
}

/// A verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What may happen.
    pub admitted: Admitted,
    /// What waits for a person: positions in the plan, with the guards that hold each.
    pub staged: Vec<(usize, Vec<&'static str>)>,
    /// What will not happen, approval or not.
    pub refused: Vec<(usize, Vec<&'static str>)>,
    /// What the guards admitted and does not happen in this run all the same: positions in the plan, with the reason in words.
    pub withheld: Vec<(usize, String)>,
    /// Everything that was found.
    pub violations: Vec<Violation>,
}

impl Judged {
    /// Withholds admitted changes, each for its reason, and whatever builds on them. Returns the positions of all of these.
    pub fn withhold(&mut self, these: Vec<(usize, String)>) -> Vec<usize> {
        let also = self.admitted.withhold(these.iter().map(|(at, _)| *at));
        let why = match &these[..] {
            [(_, why)] => format!("builds on a change that is withheld: {why}"),
            _ => "builds on a change that is withheld".to_owned(),
        };
        let positions = these.iter().map(|(at, _)| *at).chain(also.iter().copied()).collect();
        self.withheld.extend(these);
        self.withheld.extend(also.into_iter().map(|at| (at, why.clone())));
        positions
    }
}

type Guard = fn(&Plan, &Policy, &Circumstances) -> Vec<Violation>;

/// The guards. All run, all report.
pub const GUARDS: &[(&str, Guard)] = &[
    ("blind-source", blind_source),
    ("protected-user", protected_user),
    ("protected-group", protected_group),
    ("own-account", own_account),
    ("last-admins", last_admins),
    ("held-user", held_user),
    ("rejected", rejected),
    (STAGED_BEFORE, staged_before),
    ("deactivation-limit", deactivation_limit),
    ("membership-limit", membership_limit),
    ("group-limit", group_limit),
    ("expectation", expectation),
];

/// Judges a plan.
pub fn judge(plan: Plan, policy: &Policy, circumstances: &Circumstances) -> Judged {
    let mut violations: Vec<Violation> = GUARDS.iter().flat_map(|(_, guard)| guard(&plan, policy, circumstances)).collect();
    let mut refused = held_by(violations.iter().filter(|v| !v.liftable));
    let mut held = held_by(violations.iter().filter(|v| v.liftable));
    held.retain(|(at, _)| refused.binary_search_by_key(at, |(at, _)| *at).is_err());
    let mut let_by: BTreeMap<usize, String> = BTreeMap::new();
    if let Some(asked) = &circumstances.asked_by {
        let_by.extend((0..plan.changes.len()).map(|at| (at, asked.actor.clone())));
        if asked.over_limits {
            held.clear();
        }
    }
    if !circumstances.approved.is_empty() {
        held.retain(|(at, by)| {
            let Some(approval) = circumstances.approved.get(&super::hash::mark(&plan, &plan.changes[*at])) else { return true };
            if !by.iter().all(|guard| *guard == STAGED_BEFORE || approval.guards.contains(*guard)) {
                return true;
            }
            let_by.insert(*at, approval.said.clone());
            false
        });
    }
    let mut allowed = vec![true; plan.changes.len()];
    held.iter().chain(&refused).for_each(|(at, _)| allowed[*at] = false);
    let stranded = stranded(&plan, &mut allowed);
    refused.extend(stranded.iter().map(|at| (*at, vec![BUILDS_ON])));
    refused.sort_by_key(|(at, _)| *at);
    violations.extend(found(BUILDS_ON, false, stranded, |n| format!("{n} changes build on changes that are refused")));
    Judged { admitted: Admitted { plan, allowed, let_by }, staged: held, refused, withheld: Vec::new(), violations }
}

/// Which changes are held, ascending, each with the guards that hold it in the order of their findings.
fn held_by<'a>(violations: impl Iterator<Item = &'a Violation>) -> Vec<(usize, Vec<&'static str>)> {
    let mut holds: Vec<(usize, &'static str)> = violations.flat_map(|v| v.holds.iter().map(|at| (*at, v.guard))).collect();
    // Stable: the order of the findings is kept.
    holds.sort_by_key(|(at, _)| *at);
    let mut held: Vec<(usize, Vec<&'static str>)> = Vec::new();
    for (at, guard) in holds {
        match held.last_mut() {
            Some((last, by)) if *last == at => {
                if !by.contains(&guard) {
                    by.push(guard);
                }
            }
            Some(_) | None => held.push((at, vec![guard])),
        }
    }
    held
}

/// The guard of what waits since the last run over everything. What was approved does not wait any more.
const STAGED_BEFORE: &str = "staged-before";

/// The name under which changes are refused that build on refused ones. Not among [`GUARDS`], since it follows from them.
const BUILDS_ON: &str = "protected-name";

/// Takes back what cannot happen without changes that do not happen, and returns its positions. A rename that is not made
/// keeps its name from whoever was to get it; had that one been parked already, it would be left under the parking name.
fn stranded(plan: &Plan, allowed: &mut [bool]) -> Vec<usize> {
    let mut stranded = Vec::new();
    loop {
        let mut kept_names: BTreeSet<String> = BTreeSet::new();
        let (mut stuck, mut unborn, mut unfounded) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (change, _) in plan.changes.iter().zip(allowed.iter()).filter(|(_, allowed)| !**allowed) {
            match &change.op {
                Op::UpdateUser { user, edit } if edit.renames() => {
                    kept_names.insert(fold(&plan.user(*user).name));
                    stuck.insert(*user);
                }
                Op::CreateUser { user, .. } => {
                    unborn.insert(*user);
                }
                Op::CreateGroup { group } => {
                    unfounded.insert(*group);
                }
                Op::UpdateUser { .. }
                | Op::LinkUser { .. }
                | Op::ActivateUser { .. }
                | Op::AddMember { .. }
                | Op::RemoveMember { .. }
                | Op::DeactivateUser { .. }
                | Op::DeleteUser { .. } => {}
            }
        }
        let cannot = |op: &Op| match op {
            Op::UpdateUser { user, edit } => {
                let keeps = same_name(&plan.user(*user).name, &edit.after.name);
                stuck.contains(user) || (!keeps && kept_names.contains(&fold(&edit.after.name)))
            }
            Op::CreateUser { attributes, .. } => kept_names.contains(&fold(&attributes.name)),
            Op::AddMember { group, user } => unborn.contains(user) || unfounded.contains(group),
            Op::LinkUser { .. }
            | Op::CreateGroup { .. }
            | Op::ActivateUser { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => false,
        };
        let more: Vec<usize> = (0..allowed.len()).filter(|at| allowed[*at] && cannot(&plan.changes[*at].op)).collect();
        if more.is_empty() {
            stranded.sort_unstable();
            return stranded;
        }
        more.iter().for_each(|at| allowed[*at] = false);
        stranded.extend(more);
    }
}

fn positions(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> Vec<usize> {
    plan.changes.iter().enumerate().filter(|(_, c)| wanted(&c.op)).map(|(at, _)| at).collect()
}

fn found(guard: &'static str, liftable: bool, holds: Vec<usize>, text: impl FnOnce(usize) -> String) -> Vec<Violation> {
    if holds.is_empty() {
        return Vec::new();
    }
    let text = text(holds.len());
    vec![Violation { guard, liftable, text, holds }]
}

/// A source that cannot be trusted in this run removes nothing.
fn blind_source(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let Some(why) = &circumstances.blind else { return Vec::new() };
    let holds = positions(plan, |op| op.kind().removes());
    // Worth saying even where there is nothing to hold.
    vec![Violation {
        guard: "blind-source",
        liftable: false,
        text: format!("the source cannot be trusted in this run, so nothing is removed: {why}"),
        holds,
    }]
}

/// Protected users are never touched, and nobody is given a protected name.
fn protected_user(plan: &Plan, policy: &Policy, _: &Circumstances) -> Vec<Violation> {
    let takes_protected = |op: &Op| matches!(op, Op::UpdateUser { edit, .. } if policy.protect_users.matches(&edit.after.name));
    // Asked once for each user: there may be twenty changes for each.
    let protected: Vec<bool> = plan.users.iter().map(|user| policy.protect_users.matches(&user.name)).collect();
    let holds = positions(plan, |op| {
        let touches = op.kind() != OpKind::LinkUser && op.user().is_some_and(|u| protected[u as usize]);
        touches || takes_protected(op)
    });
    found("protected-user", false, holds, |n| format!("{n} changes touch users of guard.protect_users"))
}

/// Protected groups are never touched.
fn protected_group(plan: &Plan, policy: &Policy, _: &Circumstances) -> Vec<Violation> {
    let protected: Vec<bool> = plan.groups.iter().map(|group| policy.protect_groups.matches(&group.name)).collect();
    let holds = positions(plan, |op| op.group().is_some_and(|g| protected[g as usize]));
    found("protected-group", false, holds, |n| format!("{n} changes touch groups of guard.protect_groups"))
}

/// The account that rosterd acts with loses nothing and is not changed: the next run needs it.
fn own_account(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let Some(own) = circumstances.acting_as.as_deref() else { return Vec::new() };
    let touches = |op: &Op| op.kind().removes() || op.kind() == OpKind::UpdateUser;
    let holds = positions(plan, |op| touches(op) && op.user().is_some_and(|u| same_name(&plan.user(u).name, own)));
    found("own-account", false, holds, |_| "the plan changes the account that rosterd acts with".to_owned())
}

/// The last administrators stay.
fn last_admins(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let mut violations = Vec::new();
    for group in &circumstances.admins {
        let leaves = |op: &Op| {
            let here = || op.group().is_none_or(|g| plan.group(g).key == group.key);
            let user = || op.user().and_then(|u| plan.user(u).key.as_ref());
            op.kind().removes() && here() && user().is_some_and(|u| group.active.contains(u))
        };
        let holds = positions(plan, leaves);
        let users: BTreeSet<_> = holds.iter().filter_map(|at| plan.changes[*at].op.user()).collect();
        let stay = group.active.len().saturating_sub(users.len());
        if stay >= policy.admins_at_least as usize {
            continue;
        }
        violations.extend(found("last-admins", false, holds, |_| {
            format!(
                "group {:?} would keep {stay} active members, guard.admins_at_least is {}",
                group.key.as_str(),
                policy.admins_at_least
            )
        }));
    }
    violations
}

/// Nothing is written about whom a person took out of the daemon's hands by an undo.
fn held_user(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    if circumstances.held.is_empty() {
        return Vec::new();
    }
    let is_held = |op: &Op| {
        op.user().map(|u| plan.user(u)).is_some_and(|user| {
            let by_source = user.source.as_ref().is_some_and(|s| circumstances.held_sources.contains(s));
            by_source || user.key.as_ref().is_some_and(|k| circumstances.held.contains(k))
        })
    };
    let holds = positions(plan, |op| op.kind() != OpKind::LinkUser && is_held(op));
    found("held-user", false, holds, |n| {
        let are = if n == 1 { "1 change is about a user who is" } else { &format!("{n} changes are about users who are") };
        format!("{are} held after an undo; `rosterd release` ends that")
    })
}

/// What waits for a person waits on where only a few subjects are looked at.
fn staged_before(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    if circumstances.waiting.is_empty() {
        return Vec::new();
    }
    let holds = positions(plan, |op| {
        let user = op.user().and_then(|u| plan.user(u).key.clone());
        let group = op.group().map(|g| plan.group(g).key.clone());
        op.kind().removes() && user.is_some_and(|user| circumstances.waiting.contains(&(op.kind(), user, group)))
    });
    found(STAGED_BEFORE, true, holds, |n| format!("{n} removals wait for a person since the last run over everybody"))
}

/// What a person rejected is not wanted again until it has become another change.
fn rejected(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    if circumstances.rejected.is_empty() {
        return Vec::new();
    }
    let is_rejected =
        |change: &Change| change.op.kind().removes() && circumstances.rejected.contains(&super::hash::mark(plan, change));
    let holds: Vec<usize> = (0..plan.changes.len()).filter(|at| is_rejected(&plan.changes[*at])).collect();
    found("rejected", false, holds, |n| format!("{n} removals were rejected by a person"))
}

/// One limit, for a run and twice that for a rolling day.
fn over(guard: &'static str, what: &str, limit: u32, recent: u32, holds: Vec<usize>) -> Vec<Violation> {
    let count = holds.len() as u32;
    let day = limit.saturating_mul(2);
    if count <= limit && count.saturating_add(recent) <= day {
        return Vec::new();
    }
    found(guard, true, holds, |_| {
        if count > limit {
            format!("{count} {what}, the limit for one run is {limit}")
        } else {
            format!("{count} {what} after {recent} within 24 hours, the limit for a day is {day}")
        }
    })
}

/// Deactivations and deletions, counted together.
fn deactivation_limit(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let holds = positions(plan, |op| matches!(op.kind(), OpKind::DeactivateUser | OpKind::DeleteUser));
    let limit = policy.deactivations.of(plan.managed.active_users);
    let what = format!("deactivations of {} active users", plan.managed.active_users);
    over("deactivation-limit", &what, limit, circumstances.recent.deactivations, holds)
}

/// Membership removals at the whole target.
fn membership_limit(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let holds = positions(plan, |op| op.kind() == OpKind::RemoveMember);
    let limit = policy.membership_removals.of(plan.managed.memberships);
    let what = format!("membership removals of {} memberships", plan.managed.memberships);
    over("membership-limit", &what, limit, circumstances.recent.memberships, holds)
}

/// Membership removals of each group.
fn group_limit(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let mut by_group: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, change) in plan.changes.iter().enumerate() {
        if let Op::RemoveMember { group, .. } = change.op {
            by_group.entry(group).or_default().push(at);
        }
    }
    let recent = |key: &TargetKey| {
        let by_group = &circumstances.recent.by_group;
        by_group.binary_search_by(|(g, _)| g.cmp(key)).map_or(0, |at| by_group[at].1)
    };
    by_group
        .into_iter()
        .flat_map(|(group, holds)| {
            let group = plan.group(group);
            let limit = policy.per_group_removals.of(group.size);
            let what = format!("removals of {} members of group {:?}", group.size, group.name);
            over("group-limit", &what, limit, recent(&group.key), holds)
        })
        .collect()
}

/// What the configuration expects to be true holds before and after; else nothing is removed.
fn expectation(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    if policy.expect.is_empty() {
        return Vec::new();
    }
    let removals = positions(plan, |op| op.kind().removes());
    let mut violations = Vec::new();
    for expected in &policy.expect {
        let key = crate::model::key::group_key(&expected.group);
        let now = circumstances.sizes.get(&key).copied().unwrap_or(0);
        let count = |kind| {
            plan.changes.iter().filter(|c| c.op.kind() == kind && c.op.group().is_some_and(|g| plan.group(g).key == key)).count()
                as u32
        };
        let after = (now + count(OpKind::AddMember)).saturating_sub(count(OpKind::RemoveMember));
        let broken =
            |size: u32| expected.at_least.is_some_and(|least| size < least) || expected.at_most.is_some_and(|most| size > most);
        if !broken(now) && !broken(after) {
            continue;
        }
        let bounds = match (expected.at_least, expected.at_most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => continue,
        };
        let text =
            format!("group {:?} is expected to have {bounds} members; it has {now}, and would have {after}", expected.group);
        violations.extend(found("expectation", true, removals.clone(), |_| text));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::{Edit, Reason};
    use crate::model::desired::Attributes;
    use crate::model::key::{JobName, SourceKey, SystemName};
    use crate::model::plan::{Managed, PlanGroup, PlanUser};

    fn policy() -> Policy {
        let open = Limit { share: 1.0, floor: u32::MAX };
        Policy {
            deactivations: open,
            membership_removals: open,
            per_group_removals: open,
            protect_users: NameSet::new(&["boss", "admin"]).expect("globs"),
            protect_groups: NameSet::none(),
            expect: vec![],
            admins_at_least: 0,
            plan_expires: Duration::MAX,
        }
    }

    fn named(name: &str) -> Attributes {
        Attributes { name: name.into(), email: None, display_name: None }
    }

    fn rename(user: u32, before: &str, after: &str) -> Change {
        let edit = Box::new(Edit { before: named(before), after: named(after) });
        Change { op: Op::UpdateUser { user, edit }, because: Reason::Differs }
    }

    /// The users of these names, the first ones existing; whoever has changes without being there is created.
    fn plan(names: &[&str], there: usize, changes: Vec<Change>) -> Plan {
        let user = |(at, name): (usize, &&str)| PlanUser {
            source: Some(SourceKey::from(format!("s{at}"))),
            key: (at < there).then(|| TargetKey::from(format!("k{at}"))),
            name: (*name).into(),
        };
        Plan {
            job: JobName::from("j"),
            target: SystemName::from("t"),
            users: names.iter().enumerate().map(user).collect(),
            groups: vec![PlanGroup { key: TargetKey::from("g"), name: "g".into(), size: 0 }],
            sources: vec![],
            changes,
            findings: vec![],
            managed: Managed::default(),
            rosters: Default::default(),
        }
    }

    fn allowed(judged: &Judged) -> Vec<usize> {
        judged.admitted.changes().map(|(at, _)| at).collect()
    }

    #[test]
    fn nobody_is_parked_for_a_swap_with_a_protected_user() {
        let changes = vec![
            rename(0, "ada", "rosterd-moving-boss"),
            rename(1, "boss", "ada"),
            rename(0, "rosterd-moving-boss", "boss"),
            rename(2, "bob", "lin"),
        ];
        let judged = judge(plan(&["ada", "boss", "bob"], 3, changes), &policy(), &Circumstances::default());
        assert_eq!(allowed(&judged), [3]);
    }

    #[test]
    fn who_waits_for_the_name_of_a_refused_rename_waits_on() {
        let create = Change { op: Op::CreateUser { user: 2, attributes: Box::new(named("ada")) }, because: Reason::Joined };
        let member = Change { op: Op::AddMember { group: 0, user: 2 }, because: Reason::Default };
        let chain = vec![rename(1, "boss", "lin"), rename(0, "ada", "BOSS"), create, member];
        let judged = judge(plan(&["ada", "boss", "ada"], 2, chain), &policy(), &Circumstances::default());
        assert!(judged.admitted.is_empty());
        assert_eq!(judged.refused.len(), 4);
        assert!(judged.violations.iter().any(|v| v.guard == BUILDS_ON));
    }

    #[test]
    fn nobody_is_given_a_protected_name() {
        let judged = judge(plan(&["ada"], 1, vec![rename(0, "ada", "Admin")]), &policy(), &Circumstances::default());
        assert!(judged.admitted.is_empty());
    }

    #[test]
    fn what_is_withheld_takes_along_what_builds_on_it() {
        let changes = vec![rename(1, "bob", "lin"), rename(0, "ada", "bob"), rename(2, "x", "y")];
        let mut judged = judge(plan(&["ada", "bob", "x"], 3, changes), &policy(), &Circumstances::default());
        assert_eq!(judged.admitted.len(), 3);
        assert_eq!(judged.withhold(vec![(0, "not now".to_owned())]), [0, 1]);
        assert_eq!(allowed(&judged), [2]);
        assert_eq!(judged.withheld.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1]);
        assert!(judged.withheld.iter().all(|(_, why)| why.ends_with("not now")), "{:?}", judged.withheld);
    }
}
