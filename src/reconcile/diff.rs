//! The diff: desired x actual x links x ledger -> plan. Deterministic to the byte, free of no-ops, ordered so that grants
//! come before removals and whatever another change needs comes before it.
//!
//! Desired is keyed by the source's ids and actual by the target's, so the two cannot be swapped by mistake.
//!
//! What leaves is proposed here with its reason; whether it may happen is for [`super::guard`], and whether it is true for
//! the source to say ([`super::proof`]).

use std::cell::OnceCell;

use chrono::{DateTime, Utc};
use rustc_hash::FxHashSet;

use super::compact::compact;
use super::correlate::{ByName, Situation, correlate};
use super::members::memberships;
use super::people::people;
use super::rules::Rules;
use crate::contract::journal::Effect;
use crate::contract::target::Capabilities;
use crate::model::change::{Change, Op, OpKind, Reason};
use crate::model::desired::Desired;
use crate::model::key::{JobName, SourceKey, SystemName, fold};
use crate::model::ledger::Ledger;
use crate::model::link::{Links, UserLink};
use crate::model::plan::{Finding, FindingKind, Managed, Plan, PlanGroup, PlanUser};
use crate::model::roster::{TargetRoster, UserIx};

/// What a diff is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// For which job.
    pub job: &'a JobName,
    /// For which target.
    pub target: &'a SystemName,
    /// What should be.
    pub desired: &'a Desired,
    /// What is.
    pub actual: &'a TargetRoster,
    /// Which target user is which source user.
    pub links: &'a Links,
    /// Which memberships are ours.
    pub ledger: &'a Ledger,
    /// The job's rules.
    pub rules: &'a Rules,
    /// What the target can do.
    pub capabilities: &'a Capabilities,
    /// The time of the run, for the leavers' grace.
    pub now: DateTime<Utc>,
    /// Whether both sides hold a few subjects only (a retry), so that nothing follows from what is not among them.
    pub partial: bool,
}

/// A plan, and what the readings alone change in links and ledger.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The plan.
    pub plan: Plan,
    /// Memberships seen to agree, links whose name changed, entries that have become stale: to be recorded without a call.
    pub effects: Vec<Effect>,
}

/// Makes the plan.
pub fn diff(inputs: &Inputs<'_>) -> Draft {
    let names = ByName::new(inputs.actual);
    let situations = correlate(inputs.desired, &names, inputs.links);
    let mut sketch = Sketch::new(inputs, &situations);
    people(inputs, &names, &situations, &mut sketch);
    memberships(inputs, &mut sketch);
    sketch.finish(inputs)
}

/// A plan in the making. Users are numbered as in `desired`, then come linked users whom the source no longer tells of,
/// then strangers in exclusive groups.
#[derive(Debug)]
pub struct Sketch {
    /// All users.
    pub users: Vec<PlanUser>,
    /// Where each user is in the target's roster.
    pub at_target: Vec<Option<UserIx>>,
    /// Whether each user can be put into groups: it is there, or the plan creates it.
    pub present: Vec<bool>,
    /// Whether the plan creates each user.
    pub created: Vec<bool>,
    /// What the plan does about each user's memberships when they are no longer wanted.
    pub fate: Vec<Fate>,
    /// The user at each position of the target's roster.
    pub of_target: Vec<Option<UserIx>>,
    /// All managed groups.
    pub groups: Vec<PlanGroup>,
    /// Changes by kind, in the order of [`OpKind::ALL`].
    pub changes: [Vec<Change>; OpKind::ALL.len()],
    /// Findings.
    pub findings: Vec<Finding>,
    /// Effects of the readings.
    pub effects: Vec<Effect>,
    /// How much is managed.
    pub managed: Managed,
    /// The folded user names that desired users map to, made when first asked for.
    spoken_for: OnceCell<FxHashSet<String>>,
}

/// What happens to memberships of a user that are not desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Owned ones are removed: the user is entitled and simply not in that group.
    Stays,
    /// Owned ones are removed: the user leaves, for this reason.
    Leaves(Reason),
    /// They are left as they are.
    Untouched,
}

impl Sketch {
    fn new(inputs: &Inputs<'_>, situations: &[Situation]) -> Self {
        let Inputs { desired, actual, links, .. } = inputs;
        let gone: Vec<&UserLink> = links.users.iter().filter(|l| desired.user(&l.source).is_none()).collect();
        let count = desired.users.len() + gone.len();
        let mut users = Vec::with_capacity(count);
        let mut at_target = Vec::with_capacity(count);
        for (user, situation) in desired.users.iter().zip(situations) {
            let at = match situation {
                Situation::Confirmed(at) | Situation::Found(at) | Situation::Vanished(Some(at)) => Some(*at),
                Situation::Vanished(None)
                | Situation::Absent
                | Situation::Ambiguous(_)
                | Situation::Taken(_)
                | Situation::Unmanaged => None,
            };
            let held = at.map(|at| &actual.users[at as usize]);
            let name = held.map(|u| &u.name).or(user.attributes.as_ref().map(|a| &a.name)).cloned();
            users.push(PlanUser {
                source: Some(user.source.clone()),
                key: held.map(|u| u.key.clone()),
                name: name.unwrap_or_default(),
            });
            at_target.push(at);
        }
        for link in gone {
            users.push(PlanUser { source: Some(link.source.clone()), key: Some(link.target.clone()), name: link.name.clone() });
            at_target.push(actual.user(&link.target));
        }
        let mut of_target = vec![None; actual.users.len()];
        for (user, at) in at_target.iter().enumerate() {
            if let Some(at) = at {
                of_target[*at as usize] = Some(user as UserIx);
            }
        }
        Self {
            present: at_target.iter().map(Option::is_some).collect(),
            created: vec![false; users.len()],
            fate: vec![Fate::Untouched; users.len()],
            users,
            at_target,
            of_target,
            groups: Vec::new(),
            changes: Default::default(),
            findings: Vec::new(),
            effects: Vec::new(),
            managed: Managed::default(),
            spoken_for: OnceCell::new(),
        }
    }

    /// Whether some desired user, however it stands, should have this user name.
    pub fn is_spoken_for(&self, desired: &Desired, name: &str) -> bool {
        let names = || desired.users.iter().filter_map(|u| u.attributes.as_ref()).map(|a| fold(&a.name)).collect();
        self.spoken_for.get_or_init(names).contains(&fold(name))
    }

    /// Adds a change.
    pub fn change(&mut self, op: Op, because: Reason) {
        self.changes[op.kind() as usize].push(Change { op, because });
    }

    /// Reports something.
    pub fn find(&mut self, kind: FindingKind, source: Option<&SourceKey>, name: Option<&str>, text: impl Into<String>) {
        self.findings.push(Finding { kind, source: source.cloned(), name: name.map(Into::into), text: text.into() });
    }

    fn finish(self, inputs: &Inputs<'_>) -> Draft {
        let mut findings = self.findings;
        for aside in &inputs.desired.set_aside {
            findings.push(Finding { kind: aside.kind, source: Some(aside.source.clone()), name: None, text: aside.why.clone() });
        }
        findings.sort_unstable();
        findings.dedup();
        let plan = Plan {
            job: inputs.job.clone(),
            target: inputs.target.clone(),
            users: self.users,
            groups: self.groups,
            sources: inputs.desired.sources.clone(),
            changes: self.changes.into_iter().flatten().collect(),
            findings,
            managed: self.managed,
            rosters: Box::default(),
        };
        Draft { plan: compact(plan), effects: self.effects }
    }
}
