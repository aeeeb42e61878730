//! The diff: desired x actual x links x ledger -> plan. Deterministic to the byte, free of no-ops, ordered so that grants
//! come before removals and whatever another change needs comes before it.
//!
//! Desired is keyed by the source's ids and actual by the target's, so the two cannot be swapped by mistake.
//!
//! What leaves is proposed here with its reason; whether it may happen is for [`super::guard`], and whether it is true for
//! the source to say ([`super::proof`]).

use std::borrow::Cow;
use std::cell::OnceCell;

use chrono::{DateTime, Utc};
use rustc_hash::FxHashSet;

use super::correlate::{ByName, Joined, JoinedLinks, Situation, correlate, join};
use super::members::memberships;
use super::people::people;
use super::rules::Rules;
use super::write_out::write_out;
use crate::contract::journal::Effect;
use crate::contract::target::Capabilities;
use crate::model::change::{Cause, Change, Op, OpKind, Reason};
use crate::model::desired::Desired;
use crate::model::key::{JobName, SourceKey, SystemName, TargetKey, folded};
use crate::model::ledger::Ledger;
use crate::model::link::{Links, UserLink};
use crate::model::plan::{Finding, FindingKind, Managed, Plan};
use crate::model::roster::{GroupIx, TargetRoster, UserIx};

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
    let links = join(inputs.desired, inputs.actual, inputs.links);
    let situations = correlate(inputs.desired, &names, &links);
    let mut sketch = Sketch::new(inputs, &situations, &links);
    people(inputs, &names, &situations, &links, &mut sketch);
    memberships(inputs, &mut sketch);
    sketch.finish(inputs)
}

/// A user as the sketch knows it: a [`PlanUser`](crate::model::plan::PlanUser) that is not written out, since most plans
/// speak of few.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// The source's id.
    pub source: Option<&'a SourceKey>,
    /// The target's id.
    pub key: Option<&'a TargetKey>,
    /// The user name at the target.
    pub name: &'a str,
}

/// A group as the sketch knows it.
#[derive(Clone, Copy, Debug)]
pub struct Company<'a> {
    /// The folded name.
    pub key: &'a TargetKey,
    /// The name as the target spells it, or as it will be created.
    pub name: &'a str,
    /// Members at the target.
    pub size: u32,
}

/// Memberships to be added, or to be removed. There may be millions, and most share group and reason with the one before:
/// four bytes each, where a [`Change`] has thirty-two.
#[derive(Debug, Default)]
pub struct Memberships {
    users: Vec<UserIx>,
    /// Where in `users` the memberships of a group and reason end.
    runs: Vec<(GroupIx, Reason, usize)>,
}

impl Memberships {
    /// Adds one.
    pub fn push(&mut self, group: GroupIx, user: UserIx, because: Reason) {
        self.users.push(user);
        let end = self.users.len();
        match self.runs.last_mut() {
            Some((last, reason, until)) if *last == group && *reason == because => *until = end,
            Some(_) | None => self.runs.push((group, because, end)),
        }
    }

    /// Takes back the latest ones, which are all of this group.
    pub fn take_back(&mut self, group: GroupIx) {
        while self.runs.pop_if(|(last, ..)| *last == group).is_some() {}
        self.users.truncate(self.runs.last().map_or(0, |(_, _, until)| *until));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The memberships in their order, by group and reason.
    pub fn runs(&self) -> impl Iterator<Item = (GroupIx, Reason, &[UserIx])> {
        let mut from = 0;
        self.runs.iter().map(move |(group, because, until)| {
            let users = &self.users[from..*until];
            from = *until;
            (*group, *because, users)
        })
    }
}

/// In [`Sketch::of_target`]: nobody whom the plan knows.
pub const NOBODY: UserIx = UserIx::MAX;

/// A plan in the making. Users are numbered as in `desired`, then come linked users whom the source no longer tells of,
/// then strangers in exclusive groups.
#[derive(Debug)]
pub struct Sketch<'a> {
    /// All users.
    pub users: Vec<Person<'a>>,
    /// Whether each user can be put into groups: it is there, or the plan creates it.
    pub present: Vec<bool>,
    /// Whether each user is new: the plan creates it, or has, and it is still to get the groups of new users.
    pub is_new: Vec<bool>,
    /// Links of accounts that are there and were new, as they are to be written.
    pub newcomers: Vec<(UserIx, UserLink)>,
    /// New users who are missing from a group of new users.
    pub owed: Vec<UserIx>,
    /// What the plan does about each user's memberships when they are no longer wanted.
    pub fate: Vec<Fate>,
    /// The user at each position of the target's roster, or [`NOBODY`].
    pub of_target: Vec<UserIx>,
    /// Linked accounts that the target's roster lacks. Whoever is not shown may be shown again: what is owned of them stays so.
    pub unseen: FxHashSet<&'a TargetKey>,
    /// All managed groups.
    pub groups: Vec<Company<'a>>,
    /// Changes by kind, in the order of [`OpKind::ALL`]; memberships stand in the two lists below.
    pub changes: [Vec<Change>; OpKind::ALL.len()],
    /// Memberships to be added.
    pub additions: Memberships,
    /// Memberships to be removed.
    pub removals: Memberships,
    /// Who is in a group as they should be, and not in the ledger yet; groups ascend.
    pub agreed: Vec<(GroupIx, Vec<UserIx>)>,
    /// Findings.
    pub findings: Vec<Finding>,
    /// Effects of the readings.
    pub effects: Vec<Effect>,
    /// How much is managed.
    pub managed: Managed,
    /// The folded user names that desired users map to, made when first asked for.
    spoken_for: OnceCell<FxHashSet<Cow<'a, str>>>,
}

/// What happens to memberships of a user that are not desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Owned ones are removed: the user is entitled and simply not in that group.
    Stays,
    /// Owned ones are removed: the user leaves, for this cause.
    Leaves(Cause),
    /// They are left as they are.
    Untouched,
}

impl<'a> Sketch<'a> {
    fn new(inputs: &Inputs<'a>, situations: &[Situation], links: &JoinedLinks<'a>) -> Self {
        let Inputs { desired, actual, .. } = inputs;
        let count = desired.users.len() + links.gone.len();
        let mut users = Vec::with_capacity(count);
        let mut present = Vec::with_capacity(count);
        let mut of_target = vec![NOBODY; actual.users.len()];
        let mut place = |user: usize, at: Option<UserIx>| {
            present.push(at.is_some());
            if let Some(at) = at {
                of_target[at as usize] = user as UserIx;
            }
        };
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
            place(users.len(), at);
            let name = held.map(|u| &*u.name).or(user.attributes.as_ref().map(|a| &*a.name));
            users.push(Person { source: Some(&user.source), key: held.map(|u| &u.key), name: name.unwrap_or_default() });
        }
        for Joined { link, at } in &links.gone {
            place(users.len(), *at);
            users.push(Person { source: Some(&link.source), key: Some(&link.target), name: &link.name });
        }
        let joined = links.of_desired.iter().flatten().chain(&links.gone);
        let unseen = joined.filter(|joined| joined.at.is_none()).map(|joined| &joined.link.target).collect();
        Self {
            present,
            is_new: vec![false; users.len()],
            newcomers: Vec::new(),
            owed: Vec::new(),
            fate: vec![Fate::Untouched; users.len()],
            users,
            of_target,
            unseen,
            groups: Vec::new(),
            changes: Default::default(),
            additions: Memberships::default(),
            removals: Memberships::default(),
            agreed: Vec::new(),
            findings: Vec::new(),
            effects: Vec::new(),
            managed: Managed::default(),
            spoken_for: OnceCell::new(),
        }
    }

    /// The plan's user of an account, if the plan knows it.
    pub fn user_at(&self, account: UserIx) -> Option<UserIx> {
        Some(self.of_target[account as usize]).filter(|user| *user != NOBODY)
    }

    /// Whether some desired user, however it stands, should have this user name.
    pub fn is_spoken_for(&self, desired: &'a Desired, name: &str) -> bool {
        let names = || desired.users.iter().filter_map(|u| u.attributes.as_ref()).map(|a| folded(&a.name)).collect();
        self.spoken_for.get_or_init(names).contains(&*folded(name))
    }

    /// Adds a change.
    pub fn change(&mut self, op: Op, because: Reason) {
        self.changes[op.kind() as usize].push(Change { op, because });
    }

    /// Reports something.
    pub fn find(&mut self, kind: FindingKind, source: Option<&SourceKey>, name: Option<&str>, text: impl Into<String>) {
        self.findings.push(Finding { kind, source: source.cloned(), name: name.map(Into::into), text: text.into() });
    }

    fn finish(mut self, inputs: &Inputs<'_>) -> Draft {
        for aside in &inputs.desired.set_aside {
            let source = Some(aside.source.clone());
            self.findings.push(Finding { kind: aside.kind, source, name: None, text: aside.why.clone() });
        }
        self.findings.sort_unstable();
        self.findings.dedup();
        write_out(inputs, self)
    }
}
