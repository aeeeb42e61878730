//! Limits: how much may be removed in a run and in a day, over all and of one group.

use std::collections::BTreeMap;

use super::{Circumstances, Policy, Violation, found, positions};
use crate::model::change::{Op, OpKind};
use crate::model::key::TargetKey;
use crate::model::plan::Plan;

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

/// Deactivations and deletions, counted together. A mass of them is a symptom, so with them waits whatever else is taken from
/// those who leave: where being inactive is to be in no group that gives access, who has none all the same may lose the rest.
pub(super) fn deactivation_limit(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let holds = positions(plan, |op| matches!(op.kind(), OpKind::DeactivateUser | OpKind::DeleteUser));
    let limit = policy.deactivations.of(plan.managed.active_users);
    let what = format!("deactivations of {} active users", plan.managed.active_users);
    let mut violations = over("deactivation-limit", &what, limit, circumstances.recent.deactivations, holds);
    let leaves = |at: &usize| {
        let change = &plan.changes[*at];
        change.op.kind() == OpKind::RemoveMember && change.because.cause().is_some()
    };
    for violation in &mut violations {
        violation.holds.extend((0..plan.changes.len()).filter(leaves));
        violation.holds.sort_unstable();
    }
    violations
}

/// Membership removals at the whole target.
pub(super) fn membership_limit(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
    let holds = positions(plan, |op| op.kind() == OpKind::RemoveMember);
    let limit = policy.membership_removals.of(plan.managed.memberships);
    let what = format!("membership removals of {} memberships", plan.managed.memberships);
    over("membership-limit", &what, limit, circumstances.recent.memberships, holds)
}

/// Membership removals of each group.
pub(super) fn group_limit(plan: &Plan, policy: &Policy, circumstances: &Circumstances) -> Vec<Violation> {
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
