//! What the configuration expects to be true of groups at the target.
//!
//! An expectation that is broken before anything is done says that the target is not as everybody thinks: removals wait for a
//! person. One that the plan would break says that the plan is not as anybody wants it: none of it is done. What waits or is
//! refused for other reasons breaks nothing, so a mass removal that a limit holds does not keep joiners out.
//!
//! Whoever is inactive stays a member at some products and can do nothing there. So only active members count: else a group
//! would look as full as ever after a mass deactivation.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::{Circumstances, EXPECTATION, Policy, Violation, found, positions};
use crate::model::change::{Change, Op, OpKind};
use crate::model::key::{TargetKey, fold, group_key};
use crate::model::plan::Plan;
use crate::model::roster::UserIx;

/// How many names a finding holds.
const NAMED: usize = 10;

/// What must be true of a group before and after a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// The target group's name.
    pub group: String,
    /// The least number of active members.
    pub at_least: Option<u32>,
    /// The greatest number of active members.
    pub at_most: Option<u32>,
    /// The least share, from 0.0 to 1.0, of the members that it had before the plan.
    pub at_least_share: Option<f64>,
    /// User names that must be active members.
    pub has: Vec<String>,
    /// Mail domains of its active members; none: any. Members whose address the target hides count as within.
    pub only_domains: Vec<String>,
}

/// A member of a group of which something is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user's name.
    pub name: SmolStr,
    /// The address, if the target shows it.
    pub email: Option<SmolStr>,
    /// Whether the account can be used.
    pub active: bool,
}

/// The active members of a group as it is or would be: folded user names with what is known of the address.
type Roll<'a> = BTreeMap<String, Option<&'a str>>;

/// All members of a group, by folded user names: what is known of the address, and whether the account is active.
type Book<'a> = BTreeMap<String, (Option<&'a str>, bool)>;

fn active_of<'a>(book: &Book<'a>) -> Roll<'a> {
    let active = book.iter().filter(|(_, (_, active))| *active);
    active.map(|(name, (email, _))| (name.clone(), *email)).collect()
}

/// What is broken as things are.
pub(super) fn before(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let mut violations = Vec::new();
    for expected in &policy.expect {
        let now = active_of(&now(expected, circumstances));
        if let Some(why) = broken(expected, &now, now.len()) {
            let removals = positions(plan, |op| op.kind().removes());
            let text = format!("{why}; it is so before anything is done");
            violations.extend(found(EXPECTATION, true, removals, |_| text));
        }
    }
    violations
}

/// What the changes that are let through would break. All of them are held then.
pub(super) fn by_plan(plan: &Plan, allowed: &[bool], policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let mut violations = Vec::new();
    for expected in &policy.expect {
        let now = now(expected, circumstances);
        let after = active_of(&after(plan, allowed, expected, &now, circumstances));
        let now = active_of(&now);
        let was_broken = broken(expected, &now, now.len());
        let Some(why) = broken(expected, &after, now.len()) else { continue };
        // What was broken before and is less so after is on the way to be mended.
        if was_broken.is_some() && mends(expected, &now, &after) {
            continue;
        }
        let moved = moved(&now, &after);
        let text = format!("after this plan {why}{moved}; none of it is done");
        let all = (0..plan.changes.len()).filter(|at| allowed[*at]).collect();
        violations.extend(found(EXPECTATION, false, all, |_| text));
    }
    violations
}

/// What of the circumstances the expectations are looked at by; nothing, where nothing is expected.
pub(super) fn seen_by(policy: &Policy, circumstances: &Circumstances) -> Circumstances {
    if policy.expect.is_empty() {
        return Circumstances::default();
    }
    Circumstances {
        members: circumstances.members.clone(),
        addresses: circumstances.addresses.clone(),
        strips: circumstances.strips,
        ..Circumstances::default()
    }
}

fn now<'a>(expected: &Expectation, circumstances: &'a Circumstances) -> Book<'a> {
    let members = circumstances.members.get(&group_key(&expected.group));
    let entry = |member: &'a Member| (fold(&member.name), (member.email.as_deref(), member.active));
    members.into_iter().flatten().map(entry).collect()
}

fn after<'a>(
    plan: &'a Plan,
    allowed: &[bool],
    expected: &Expectation,
    now: &Book<'a>,
    circumstances: &'a Circumstances,
) -> Book<'a> {
    let key = group_key(&expected.group);
    let mut book = now.clone();
    // Whoever is to be made active and is not, joins as somebody inactive.
    let activated =
        plan.changes.iter().zip(allowed).filter(|(change, allowed)| !**allowed && change.op.kind() == OpKind::ActivateUser);
    let stay_inactive: BTreeSet<UserIx> = activated.filter_map(|(change, _)| change.op.user()).collect();
    let mut names: BTreeMap<UserIx, String> = BTreeMap::new();
    for (Change { op, .. }, _) in plan.changes.iter().zip(allowed).filter(|(_, allowed)| **allowed) {
        let Some(user) = op.user() else { continue };
        let name = names.entry(user).or_insert_with(|| fold(&plan.user(user).name)).clone();
        let here = op.group().is_some_and(|group| plan.group(group).key == key);
        match op {
            Op::UpdateUser { edit, .. } => {
                let after = &edit.after;
                let new = fold(&after.name);
                if let Some((email, active)) = book.remove(&name) {
                    book.insert(new.clone(), (after.email.as_deref().or(email), active));
                }
                names.insert(user, new);
            }
            Op::AddMember { .. } if here => {
                let source = plan.user(user).source.as_ref();
                let email = source.and_then(|source| circumstances.addresses.get(source)).map(|email| &**email);
                book.insert(name, (email, !stay_inactive.contains(&user)));
            }
            Op::RemoveMember { .. } if here => {
                book.remove(&name);
            }
            Op::DeleteUser { .. } => {
                book.remove(&name);
            }
            Op::DeactivateUser { .. } if circumstances.strips => {
                book.remove(&name);
            }
            Op::ActivateUser { .. } | Op::DeactivateUser { .. } => {
                if let Some((_, active)) = book.get_mut(&name) {
                    *active = op.kind() == OpKind::ActivateUser;
                }
            }
            Op::LinkUser { .. }
            | Op::CreateGroup { .. }
            | Op::CreateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. } => {}
        }
    }
    book
}

/// Why an expectation is not met, with names.
fn broken(expected: &Expectation, roll: &Roll<'_>, before: usize) -> Option<String> {
    let group = &expected.group;
    let size = roll.len();
    let has = |how: &str, bound: String| Some(format!("group {group:?} has {size} active members, expected are {how} {bound}"));
    if let Some(least) = expected.at_least.filter(|least| size < *least as usize) {
        return has("at least", least.to_string());
    }
    if let Some(most) = expected.at_most.filter(|most| size > *most as usize) {
        return has("at most", most.to_string());
    }
    if let Some(share) = expected.at_least_share.filter(|share| (size as f64) < share * before as f64) {
        return has("at least", format!("{:.0} % of {before}", share * 100.0));
    }
    let missing: Vec<&str> = expected.has.iter().map(String::as_str).filter(|name| !roll.contains_key(&fold(name))).collect();
    if !missing.is_empty() {
        return Some(format!("group {group:?} is without {}, expected to be in it", first(&missing)));
    }
    let outside: Vec<&str> = outside(expected, roll).collect();
    if !outside.is_empty() {
        let domains = expected.only_domains.join(" or ");
        return Some(format!("group {group:?} has members outside of {domains}: {}", first(&outside)));
    }
    None
}

/// The members whose address is known to be of another domain.
fn outside<'a>(expected: &'a Expectation, roll: &'a Roll<'_>) -> impl Iterator<Item = &'a str> {
    let is_outside = |email: &str| {
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        !expected.only_domains.is_empty() && !expected.only_domains.iter().any(|d| fold(d) == fold(domain))
    };
    roll.iter().filter(move |(_, email)| email.is_some_and(is_outside)).map(|(name, _)| name.as_str())
}

/// Whether a plan makes nothing worse of what was broken before it.
fn mends(expected: &Expectation, now: &Roll<'_>, after: &Roll<'_>) -> bool {
    let few = expected.at_least.is_none_or(|least| after.len() >= now.len().min(least as usize));
    let many = expected.at_most.is_none_or(|most| after.len() <= now.len().max(most as usize));
    let share = expected.at_least_share.is_none_or(|share| after.len() as f64 >= share * now.len() as f64);
    // By name, not by number: whoever is to be there is not traded for another who is.
    let keeps = expected.has.iter().map(|name| fold(name)).all(|name| after.contains_key(&name) || !now.contains_key(&name));
    let was_outside: BTreeSet<&str> = outside(expected, now).collect();
    few && many && share && keeps && outside(expected, after).all(|name| was_outside.contains(name))
}

/// Who comes and goes, for a person.
fn moved(now: &Roll<'_>, after: &Roll<'_>) -> String {
    let less = |a: &Roll<'_>, b: &Roll<'_>| a.keys().filter(|name| !b.contains_key(*name)).cloned().collect::<Vec<String>>();
    let (leave, come) = (less(now, after), less(after, now));
    let tell = |what: &str, names: &[String]| {
        if names.is_empty() { String::new() } else { format!(" ({what}: {})", first(names)) }
    };
    tell("leaving", &leave) + &tell("coming", &come)
}

/// The first names, and how many more there are.
fn first<T: AsRef<str>>(names: &[T]) -> String {
    let mut told = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        told += &format!(" and {} more", names.len() - NAMED);
    }
    told
}

/// The groups of which something is expected.
pub fn groups(policy: &Policy) -> impl Iterator<Item = &str> {
    policy.expect.iter().map(|expected| expected.group.as_str())
}

/// Whether a plan could break or mend an expectation, so that its groups must be looked at.
pub fn concerns(plan: &Plan, policy: &Policy) -> bool {
    let keys: BTreeSet<TargetKey> = groups(policy).map(group_key).collect();
    let moves = |op: &Op| {
        let kind = op.kind();
        // Whoever is made active counts in every group that has them.
        kind.removes() || kind == OpKind::ActivateUser || op.group().is_some_and(|group| keys.contains(&plan.group(group).key))
    };
    !keys.is_empty() && plan.changes.iter().any(|change| moves(&change.op) || change.op.kind() == OpKind::UpdateUser)
}

#[cfg(test)]
mod tests;
