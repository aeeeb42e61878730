//! Proof of absence: a removal stands only if the source, asked about that very user, says that it is right. The answer goes
//! through the same scope and mapping as everybody's, so proof and plan cannot disagree about the rules.

use std::collections::BTreeSet;

use super::mapping::desired;
use super::rules::{LeaverAction, Rules};
use crate::contract::source::Subject;
use crate::model::change::{Cause, Change, Op, OpKind};
use crate::model::desired::{Desired, Standing};
use crate::model::key::{SourceKey, TargetKey};
use crate::model::plan::Plan;
use crate::model::roster::{SourceRoster, SourceRosterBuilder};

/// What the source says of one user, by the job's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Where the user stands; `None`: the source definitely has no such user.
    pub standing: Option<Standing>,
    /// The target groups that it should be in.
    pub groups: BTreeSet<TargetKey>,
}

/// A roster of one user with the groups it is in, as far as `counts` says that they are in the source's scope.
pub fn roster_of(subject: &Subject, counts: impl Fn(&SourceKey) -> bool) -> SourceRoster {
    let mut roster = SourceRosterBuilder::new();
    roster.user(subject.user.clone());
    for (key, name) in subject.groups.iter().filter(|(key, _)| counts(key)) {
        roster.group(key.as_str(), name);
        roster.member(key.as_str(), subject.user.key.as_str());
    }
    roster.build()
}

/// What should be for one user read by itself.
pub fn desired_of(subject: &Subject, counts: impl Fn(&SourceKey) -> bool, rules: &Rules) -> Desired {
    let mut desired = desired(&roster_of(subject, counts), rules);
    if !subject.in_scope {
        for user in &mut desired.users {
            if user.standing != Standing::Disabled {
                user.standing = Standing::OutOfScope;
            }
        }
        desired.groups.iter_mut().for_each(|g| {
            g.members.clear();
            g.via.clear();
        });
    }
    desired
}

/// Reads an answer of the source by the job's rules.
pub fn fresh(answer: Option<&Subject>, counts: impl Fn(&SourceKey) -> bool, rules: &Rules) -> Fresh {
    let Some(subject) = answer else { return Fresh { standing: None, groups: BTreeSet::new() } };
    let desired = desired_of(subject, counts, rules);
    // A group for new users is no claim of anybody else; and where a source group maps to it as well it is an ordinary group,
    // which an answer about somebody outside of that source group does not show.
    let claimed = desired.groups.iter().filter(|g| !g.members.is_empty() && !g.only_new_users);
    let groups = claimed.map(|g| g.key.clone()).collect();
    Fresh { standing: desired.users.first().map(|u| u.standing), groups }
}

/// Whether what the source says now bears out the removal. `Err` with the reason why it does not.
pub fn bears_out(fresh: &Fresh, plan: &Plan, change: &Change, rules: &Rules) -> Result<(), &'static str> {
    match &change.op {
        Op::RemoveMember { group, .. } => {
            if fresh.standing == Some(Standing::Pending) {
                return Err("the source says that the user is pending, or it was set aside");
            }
            if fresh.groups.contains(&plan.group(*group).key) {
                return Err("the source says that the user is still to be in this group");
            }
            let action = rules.leavers.action(fresh.standing);
            if action.is_none() && change.because.cause().is_some() {
                return Err("the source says that the user is entitled, and the plan took it for a leaver");
            }
            if action == Some(LeaverAction::Keep) {
                return Err("the source says that the user leaves for a cause for which everything is kept");
            }
            Ok(())
        }
        Op::DeactivateUser { .. } | Op::DeleteUser { .. } => {
            let allows = match rules.leavers.action(fresh.standing) {
                None if fresh.standing == Some(Standing::Pending) => {
                    return Err("the source says that the user is pending, or it was set aside");
                }
                None => return Err("the source says that the user is entitled"),
                Some(LeaverAction::Delete) => true,
                Some(LeaverAction::Deactivate) => {
                    // What was made inactive is deleted later only for a cause for which that was planned.
                    let later =
                        || rules.leavers.delete_after.is_some() && planned(change, rules) == Some(LeaverAction::Deactivate);
                    change.op.kind() == OpKind::DeactivateUser || later()
                }
                Some(LeaverAction::Keep | LeaverAction::RemoveGroups) => false,
            };
            if allows { Ok(()) } else { Err("the source gives another cause than the plan, for which less is to be done") }
        }
        Op::LinkUser { .. }
        | Op::CreateGroup { .. }
        | Op::UpdateUser { .. }
        | Op::CreateUser { .. }
        | Op::ActivateUser { .. }
        | Op::AddMember { .. } => Ok(()),
    }
}

/// What is done about somebody who leaves for the planned cause.
fn planned(change: &Change, rules: &Rules) -> Option<LeaverAction> {
    let standing = match change.because.cause()? {
        Cause::Gone => None,
        Cause::Disabled => Some(Standing::Disabled),
        Cause::OutOfScope => Some(Standing::OutOfScope),
    };
    rules.leavers.action(standing)
}
