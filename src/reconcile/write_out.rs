//! Writes a sketch out as a plan: of users, groups and source groups only those that some change refers to, numbered anew.
//!
//! Of everything that was looked at a plan speaks of little, and only that little is copied. Where it speaks of millions of
//! memberships, each is written once, to the place where it stays.

use smol_str::SmolStr;

use super::diff::{Company, Draft, Inputs, Memberships, NOBODY, Person, Sketch};
use crate::contract::journal::Effect;
use crate::model::change::{Change, Op, OpKind, Reason};
use crate::model::ledger::Ledger;
use crate::model::plan::{Plan, PlanGroup, PlanUser};
use crate::model::roster::{GroupIx, UserIx};

/// Old positions to new ones, for those that are used.
struct Renumber {
    used: Vec<bool>,
    new: Vec<u32>,
}

impl Renumber {
    fn of(count: usize) -> Self {
        Self { used: vec![false; count], new: Vec::new() }
    }

    /// Notes that a position is used.
    fn uses(&mut self, at: Option<u32>) {
        if let Some(at) = at {
            self.used[at as usize] = true;
        }
    }

    /// Numbers what is used, and makes its list.
    fn keep<T, U>(&mut self, list: &[T], make: impl Fn(&T) -> U) -> Vec<U> {
        let mut kept = Vec::with_capacity(self.used.iter().filter(|used| **used).count());
        self.new.reserve_exact(list.len());
        for (used, item) in self.used.iter().zip(list) {
            self.new.push(kept.len() as u32);
            if *used {
                kept.push(make(item));
            }
        }
        kept
    }

    /// The new position of one that is used.
    fn new_of(&self, at: u32) -> u32 {
        self.new[at as usize]
    }
}

/// The renumberings of one plan.
struct Numbers {
    users: Renumber,
    groups: Renumber,
    sources: Renumber,
}

impl Numbers {
    fn of(sketch: &Sketch<'_>, sources: usize) -> Self {
        let mut numbers = Self {
            users: Renumber::of(sketch.users.len()),
            groups: Renumber::of(sketch.groups.len()),
            sources: Renumber::of(sources),
        };
        for Change { op, because } in sketch.changes.iter().flatten() {
            numbers.users.uses(op.user());
            numbers.groups.uses(op.group());
            numbers.sources.uses(source(*because));
        }
        for (group, because, users) in sketch.additions.runs().chain(sketch.removals.runs()) {
            users.iter().for_each(|user| numbers.users.uses(Some(*user)));
            numbers.groups.uses(Some(group));
            numbers.sources.uses(source(because));
        }
        numbers
    }

    fn reason(&self, mut because: Reason) -> Reason {
        if let Some(source) = because.source_mut() {
            *source = self.sources.new_of(*source);
        }
        because
    }

    fn change(&self, Change { mut op, because }: Change) -> Change {
        match &mut op {
            Op::LinkUser { user }
            | Op::UpdateUser { user, .. }
            | Op::CreateUser { user, .. }
            | Op::ActivateUser { user }
            | Op::DeactivateUser { user }
            | Op::DeleteUser { user } => *user = self.users.new_of(*user),
            Op::AddMember { group, user } | Op::RemoveMember { group, user } => {
                *user = self.users.new_of(*user);
                *group = self.groups.new_of(*group);
            }
            Op::CreateGroup { group } => *group = self.groups.new_of(*group),
        }
        Change { op, because: self.reason(because) }
    }

    fn memberships(&self, all: &Memberships, changes: &mut Vec<Change>, op: impl Fn(GroupIx, UserIx) -> Op) {
        for (group, because, users) in all.runs() {
            let (group, because) = (self.groups.new_of(group), self.reason(because));
            changes.extend(users.iter().map(|user| Change { op: op(group, self.users.new_of(*user)), because }));
        }
    }
}

fn source(mut because: Reason) -> Option<u32> {
    because.source_mut().copied()
}

/// The memberships that were seen to agree, as a ledger of their own.
fn agreed(inputs: &Inputs<'_>, sketch: &mut Sketch<'_>) -> Ledger {
    let agreed = std::mem::take(&mut sketch.agreed);
    let mut owns = vec![false; sketch.users.len()];
    agreed.iter().flat_map(|(_, members)| members).for_each(|user| owns[*user as usize] = true);
    let mut places = vec![NOBODY; owns.len()];
    let mut ledger = Ledger::default();
    // Accounts ascend by key, and so do the ledger's users.
    for (account, user) in inputs.actual.users.iter().zip(&sketch.of_target) {
        if *user != NOBODY && owns[*user as usize] {
            places[*user as usize] = ledger.users.len() as u32;
            ledger.users.push(account.key.clone());
        }
    }
    let groups = agreed.into_iter().map(|(group, mut members)| {
        members.iter_mut().for_each(|user| *user = places[*user as usize]);
        members.sort_unstable();
        members.shrink_to_fit();
        (sketch.groups[group as usize].key.clone(), members)
    });
    ledger.groups = groups.collect();
    ledger
}

/// Writes a sketch out. Order is kept.
pub fn write_out(inputs: &Inputs<'_>, mut sketch: Sketch<'_>) -> Draft {
    if !sketch.agreed.is_empty() {
        let agreed = agreed(inputs, &mut sketch);
        sketch.effects.push(Effect::OwnAll(Box::new(agreed)));
    }
    let mut numbers = Numbers::of(&sketch, inputs.desired.sources.len());
    let users = numbers.users.keep(&sketch.users, |Person { source, key, name }| PlanUser {
        source: source.cloned(),
        key: key.cloned(),
        name: (*name).into(),
    });
    let groups = numbers.groups.keep(&sketch.groups, |Company { key, name, size }| PlanGroup {
        key: (*key).clone(),
        name: (*name).into(),
        size: *size,
    });
    let sources = numbers.sources.keep(&inputs.desired.sources, Clone::clone);
    let accounts: usize = sketch.changes.iter().map(Vec::len).sum();
    let mut changes = Vec::with_capacity(accounts + sketch.additions.len() + sketch.removals.len());
    for (kind, of_kind) in OpKind::ALL.into_iter().zip(sketch.changes) {
        changes.extend(of_kind.into_iter().map(|change| numbers.change(change)));
        match kind {
            OpKind::AddMember => {
                numbers.memberships(&sketch.additions, &mut changes, |group, user| Op::AddMember { group, user });
            }
            OpKind::RemoveMember => {
                numbers.memberships(&sketch.removals, &mut changes, |group, user| Op::RemoveMember { group, user });
            }
            OpKind::LinkUser
            | OpKind::CreateGroup
            | OpKind::UpdateUser
            | OpKind::CreateUser
            | OpKind::ActivateUser
            | OpKind::DeactivateUser
            | OpKind::DeleteUser => {}
        }
    }
    let plan = Plan {
        job: inputs.job.clone(),
        target: inputs.target.clone(),
        users,
        groups,
        sources,
        changes,
        findings: sketch.findings,
        managed: sketch.managed,
        rosters: SmolStr::default(),
    };
    Draft { plan, effects: sketch.effects }
}
