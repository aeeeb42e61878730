//! The guard: a plan goes in, what may happen comes out. [`Admitted`] is the only thing that the engine applies, and only
//! this module makes one.
//!
//! Additions flow, removals wait: a limit that trips holds the removals of its class, by name, and nothing else. All of the
//! class, not only what is over the limit: a mass removal is a symptom, and letting its first tenth through would do the
//! harm in slices. Of the class of deactivations is whatever is taken from those who leave. What is refused (protected names, our own account, the last administrators, a blind source) no
//! approval lets through.

mod admitted;
pub mod expect;
mod limits;
mod protect;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use admitted::stranded;
pub use admitted::{Admitted, Judged};
pub use protect::admins_missing;
use smol_str::SmolStr;

use self::expect::{Expectation, Member};
use super::hash::mark;
use super::pattern::NameSet;
use super::seats::WhenFull;
use crate::contract::journal::Removals;
use crate::model::change::{Op, OpKind};
use crate::model::key::{SourceKey, TargetKey};
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
    /// How many active administrators must stay, of all administration groups together; in each somebody stays.
    pub admins_at_least: u32,
    /// What happens to those for whom the licence has no seat. No guard, since nothing of it waits for a person: the seats are
    /// counted once it is known what happens.
    pub seats: WhenFull,
    /// After how long a plan can no longer be approved.
    pub plan_expires: Duration,
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
    /// The members of the groups that the configuration expects something of, as they are; a group that is not there has none.
    pub members: BTreeMap<TargetKey, Vec<Member>>,
    /// The addresses that users are to have, where something is expected of addresses.
    pub addresses: BTreeMap<SourceKey, SmolStr>,
    /// Whether a deactivation takes a user out of every group.
    pub strips: bool,
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

type Guard = fn(&Plan, &Policy, &Circumstances) -> Vec<Violation>;

/// The guards. All run, all report.
pub const GUARDS: &[(&str, Guard)] = &[
    ("blind-source", protect::blind_source),
    ("protected-user", protect::protected_user),
    ("protected-group", protect::protected_group),
    ("own-account", protect::own_account),
    ("last-admins", protect::last_admins),
    ("held-user", protect::held_user),
    ("rejected", protect::rejected),
    (STAGED_BEFORE, protect::staged_before),
    ("deactivation-limit", limits::deactivation_limit),
    ("membership-limit", limits::membership_limit),
    ("group-limit", limits::group_limit),
    (EXPECTATION, expect::before),
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
            let Some(approval) = circumstances.approved.get(&mark(&plan, &plan.changes[*at])) else { return true };
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
    // Last, since what waits or is refused breaks nothing.
    expect_of_plan(&plan, &mut allowed, policy, circumstances, &mut refused, &mut violations);
    violations.extend(found(BUILDS_ON, false, stranded, |n| format!("{n} changes build on changes that are refused")));
    Judged {
        admitted: Admitted { plan, allowed, let_by },
        staged: held,
        refused,
        withheld: Vec::new(),
        violations,
        seats: Vec::new(),
        expected: expect::seen_by(policy, circumstances),
    }
}

/// Refuses everything that is allowed, if it would break what the configuration expects.
fn expect_of_plan(
    plan: &Plan,
    allowed: &mut [bool],
    policy: &Policy,
    circumstances: &Circumstances,
    refused: &mut Vec<(usize, Vec<&'static str>)>,
    violations: &mut Vec<Violation>,
) {
    for broken in expect::by_plan(plan, allowed, policy, circumstances) {
        refused.extend(broken.holds.iter().filter(|at| std::mem::take(&mut allowed[**at])).map(|at| (*at, vec![EXPECTATION])));
        violations.push(broken);
    }
    refused.sort_by_key(|(at, _)| *at);
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

/// The guard of what the configuration expects.
const EXPECTATION: &str = "expectation";

/// The name under which changes are refused that build on refused ones. Not among [`GUARDS`], since it follows from them.
const BUILDS_ON: &str = "protected-name";

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

#[cfg(test)]
mod tests;
