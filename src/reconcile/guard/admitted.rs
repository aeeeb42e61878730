//! A verdict, and what is left of a plan after it: changes can be withheld later, and none let through.

use std::collections::{BTreeMap, BTreeSet};

use super::{Circumstances, EXPECTATION, Policy, Violation, expect_of_plan};
use crate::model::change::{Change, Op, OpKind};
use crate::model::key::{fold, same_name};
use crate::model::plan::Plan;
use crate::reconcile::seats::Forecast;

/// A plan of which only what the guards let through can be seen as admitted. Only [`super::judge`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub(super) plan: Plan,
    pub(super) allowed: Vec<bool>,
    pub(super) let_by: BTreeMap<usize, String>,
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
    /// What comes of the licences' seats by all that happens, where the target tells of licences; known last of all.
    pub seats: Vec<Forecast>,
    /// By what the expectations are looked at once more.
    pub(super) expected: Circumstances,
}

impl Judged {
    /// Whether the plan as a whole is refused, since it would break what the configuration expects.
    pub fn is_refused(&self) -> bool {
        self.violations.iter().any(|v| v.guard == EXPECTATION && !v.liftable)
    }

    /// Looks at the expectations once more, over what is left after something was withheld: a group that would have had
    /// somebody to replace whoever leaves may now be without.
    pub fn expect_again(&mut self, policy: &Policy) {
        let Self { admitted: Admitted { plan, allowed, .. }, refused, violations, expected, .. } = self;
        expect_of_plan(plan, allowed, policy, expected, refused, violations);
    }

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

/// Takes back what cannot happen without changes that do not happen, and returns its positions. A rename that is not made
/// keeps its name from whoever was to get it; had that one been parked already, it would be left under the parking name.
pub(super) fn stranded(plan: &Plan, allowed: &mut [bool]) -> Vec<usize> {
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
