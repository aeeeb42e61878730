//! Drops from a plan the users, groups and source groups that no change refers to, and renumbers the rest.

use crate::model::change::{Change, Op, Reason};
use crate::model::plan::Plan;

/// Old positions to new ones, for those that are used.
struct Renumber(Vec<Option<u32>>);

impl Renumber {
    fn of(count: usize, used: impl Iterator<Item = u32>) -> Self {
        let mut new: Vec<Option<u32>> = vec![None; count];
        for at in used {
            new[at as usize] = Some(0);
        }
        new.iter_mut().flatten().enumerate().for_each(|(next, slot)| *slot = next as u32);
        Self(new)
    }

    fn set(&self, at: &mut u32) {
        if let Some(new) = self.0[*at as usize] {
            *at = new;
        }
    }

    fn keep<T>(&self, list: Vec<T>) -> Vec<T> {
        list.into_iter().zip(&self.0).filter_map(|(item, new)| new.map(|_| item)).collect()
    }
}

fn source(reason: &Reason) -> Option<u32> {
    match reason {
        Reason::MemberOf { source } | Reason::Mapped { source } => Some(*source),
        Reason::Joined
        | Reason::Found
        | Reason::Differs
        | Reason::MakesRoom
        | Reason::Returned
        | Reason::Default
        | Reason::NotMember
        | Reason::Exclusive
        | Reason::GroupGone
        | Reason::GroupRenamed
        | Reason::Disabled
        | Reason::OutOfScope
        | Reason::Gone
        | Reason::Undone => None,
    }
}

/// Compacts a plan. Order is kept.
pub fn compact(mut plan: Plan) -> Plan {
    let users = Renumber::of(plan.users.len(), plan.changes.iter().filter_map(|c| c.op.user()));
    let groups = Renumber::of(plan.groups.len(), plan.changes.iter().filter_map(|c| c.op.group()));
    let sources = Renumber::of(plan.sources.len(), plan.changes.iter().filter_map(|c| source(&c.because)));
    for Change { op, because } in &mut plan.changes {
        match op {
            Op::LinkUser { user }
            | Op::UpdateUser { user, .. }
            | Op::CreateUser { user, .. }
            | Op::ActivateUser { user }
            | Op::DeactivateUser { user }
            | Op::DeleteUser { user } => users.set(user),
            Op::AddMember { group, user } | Op::RemoveMember { group, user } => {
                users.set(user);
                groups.set(group);
            }
            Op::CreateGroup { group } => groups.set(group),
        }
        if let Reason::MemberOf { source } | Reason::Mapped { source } = because {
            sources.set(source);
        }
    }
    plan.users = users.keep(plan.users);
    plan.groups = groups.keep(plan.groups);
    plan.sources = sources.keep(plan.sources);
    plan
}
