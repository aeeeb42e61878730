//! What is refused or waits whatever its number: nobody's word, a protected name, the last administrators, what a person said.

use std::collections::BTreeSet;

use super::{AdminGroup, Circumstances, Policy, STAGED_BEFORE, Violation, found, positions};
use crate::model::change::{Change, Op, OpKind};
use crate::model::key::{group_key, same_name};
use crate::model::plan::Plan;
use crate::reconcile::hash::{lesser, mark};

/// A source that cannot be trusted in this run removes nothing.
pub(super) fn blind_source(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
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
pub(super) fn protected_user(plan: &Plan, policy: &Policy, _: &Circumstances) -> Vec<Violation> {
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
pub(super) fn protected_group(plan: &Plan, policy: &Policy, _: &Circumstances) -> Vec<Violation> {
    let protected: Vec<bool> = plan.groups.iter().map(|group| policy.protect_groups.matches(&group.name)).collect();
    let holds = positions(plan, |op| op.group().is_some_and(|g| protected[g as usize]));
    found("protected-group", false, holds, |n| format!("{n} changes touch groups of guard.protect_groups"))
}

/// The account that rosterd acts with loses nothing and is not changed, and nobody else is given its name: the next run
/// needs it.
pub(super) fn own_account(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let Some(own) = circumstances.acting_as.as_deref() else { return Vec::new() };
    let touches = |op: &Op| op.kind().removes() || op.kind() == OpKind::UpdateUser;
    let takes_its_name = |op: &Op| op.names().is_some_and(|(_, name)| same_name(name, own));
    let is_it = |op: &Op| op.user().is_some_and(|u| same_name(&plan.user(u).name, own));
    let holds = positions(plan, |op| (touches(op) && is_it(op)) || takes_its_name(op));
    found("own-account", false, holds, |_| {
        "the plan changes the account that rosterd acts with, or gives its name to another".to_owned()
    })
}

/// The last administrators stay: of all groups that give the right together so many different people as are configured, and
/// somebody in each group that has somebody, since one may give a right that another does not.
pub(super) fn last_admins(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let least = policy.admins_at_least as usize;
    if least == 0 {
        return Vec::new();
    }
    // Who leaves which of the groups, by which changes.
    let leaves = |group: &AdminGroup, op: &Op| {
        let here = op.group().is_none_or(|g| plan.group(g).key == group.key);
        let user = op.user().and_then(|u| plan.user(u).key.as_ref());
        user.filter(|u| op.kind().removes() && here && group.active.contains(*u)).cloned()
    };
    let mut violations = Vec::new();
    let (mut before, mut after, mut all) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for group in &circumstances.admins {
        let holds = positions(plan, |op| leaves(group, op).is_some());
        let gone: BTreeSet<_> = holds.iter().filter_map(|at| leaves(group, &plan.changes[*at].op)).collect();
        before.extend(&group.active);
        after.extend(group.active.iter().filter(|user| !gone.contains(*user)));
        all.extend(holds.iter().copied());
        if gone.len() == group.active.len() {
            violations.extend(found("last-admins", false, holds, |_| {
                format!("group {:?} would keep 0 active members, and it gives administration rights", group.key.as_str())
            }));
        }
    }
    if after.len() < least {
        let are = if before.len() < least { format!(" (there are {} now)", before.len()) } else { String::new() };
        violations.extend(found("last-admins", false, all.into_iter().collect(), |_| {
            let stay = after.len();
            format!("{stay} active administrators would be left, guard.admins_at_least is {least}{are}")
        }));
    }
    violations
}

/// What a person should know of the groups that are to give administration rights: one that is not there guards nobody, and
/// with nobody in any of them there is nothing to guard by.
pub fn admins_missing(names: &[String], admins: &[AdminGroup]) -> Vec<String> {
    let is_there = |name: &&String| admins.iter().any(|group| group.key == group_key(name));
    let missing = |name: &String| format!("the administration group {name:?} does not exist: nobody is guarded by it");
    let mut told: Vec<String> = names.iter().filter(|name| !is_there(name)).map(missing).collect();
    if admins.iter().all(|group| group.active.is_empty()) {
        told.push("no active administrator is known, so that guard.admins_at_least guards nobody (admin_groups)".to_owned());
    }
    told
}

/// Nothing is written about whom a person took out of the daemon's hands by an undo.
pub(super) fn held_user(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    if circumstances.held.is_empty() && circumstances.held_sources.is_empty() {
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
pub(super) fn staged_before(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
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
pub(super) fn rejected(plan: &Plan, _: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    if circumstances.rejected.is_empty() {
        return Vec::new();
    }
    let no_to = |mark: String| circumstances.rejected.contains(&mark);
    let is_rejected =
        |change: &Change| change.op.kind().removes() && (no_to(mark(plan, change)) || lesser(plan, change).is_some_and(no_to));
    let holds: Vec<usize> = (0..plan.changes.len()).filter(|at| is_rejected(&plan.changes[*at])).collect();
    found("rejected", false, holds, |n| format!("{n} removals were rejected by a person"))
}
