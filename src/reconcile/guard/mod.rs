//! The guard: a plan goes in, what may happen comes out. [`Admitted`] is the only thing that the engine applies, and only
//! this module makes one.
//!
//! Additions flow, removals wait: a limit that trips holds the removals of its class, by name, and nothing else. All of the
//! class, not only what is over the limit: a mass removal is a symptom, and letting its first tenth through would do the
//! harm in slices. What is refused (protected names, our own account, the last administrators, a blind source) no
//! approval lets through.

pub mod expect;
mod limits;
mod protect;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use protect::admins_missing;
use smol_str::SmolStr;

use self::expect::{Expectation, Member};
use super::hash::mark;
use super::pattern::NameSet;
use super::seats::{Forecast, WhenFull};
use crate::contract::journal::Removals;
use crate::model::change::{Change, Op, OpKind};
use crate::model::key::{SourceKey, TargetKey, fold, same_name};
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

/// A plan of which only what the guards let through can be seen as admitted. Only [`judge`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    plan: Plan,
    allowed: Vec<bool>,
    let_by: BTreeMap<usize, String>,
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
    expected: Circumstances,
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

/// Takes back what cannot happen without changes that do not happen, and returns its positions. A rename that is not made
/// keeps its name from whoever was to get it; had that one been parked already, it would be left under the parking name.
fn stranded(plan: &Plan, allowed: &mut [bool]) -> Vec<usize> {
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
mod tests {
    use super::*;
    use crate::model::change::{Edit, Reason};
    use crate::model::desired::Attributes;
    use crate::model::key::{JobName, SourceKey, SystemName};
    use crate::model::plan::{Managed, PlanGroup, PlanUser};

    fn policy() -> Policy {
        let open = Limit { share: 1.0, floor: u32::MAX };
        Policy {
            deactivations: open,
            membership_removals: open,
            per_group_removals: open,
            protect_users: NameSet::new(&["boss", "admin"]).expect("globs"),
            protect_groups: NameSet::none(),
            expect: vec![],
            admins_at_least: 0,
            seats: WhenFull::Warn,
            plan_expires: Duration::MAX,
        }
    }

    fn named(name: &str) -> Attributes {
        Attributes { name: name.into(), email: None, display_name: None }
    }

    fn rename(user: u32, before: &str, after: &str) -> Change {
        let edit = Box::new(Edit { before: named(before), after: named(after) });
        Change { op: Op::UpdateUser { user, edit }, because: Reason::Differs }
    }

    /// The users of these names, the first ones existing; whoever has changes without being there is created.
    fn plan(names: &[&str], there: usize, changes: Vec<Change>) -> Plan {
        let user = |(at, name): (usize, &&str)| PlanUser {
            source: Some(SourceKey::from(format!("s{at}"))),
            key: (at < there).then(|| TargetKey::from(format!("k{at}"))),
            name: (*name).into(),
        };
        Plan {
            job: JobName::from("j"),
            target: SystemName::from("t"),
            users: names.iter().enumerate().map(user).collect(),
            groups: vec![PlanGroup { key: TargetKey::from("g"), name: "g".into(), size: 0 }],
            sources: vec![],
            changes,
            findings: vec![],
            managed: Managed::default(),
            rosters: Default::default(),
        }
    }

    fn allowed(judged: &Judged) -> Vec<usize> {
        judged.admitted.changes().map(|(at, _)| at).collect()
    }

    #[test]
    fn with_too_many_deactivations_waits_what_is_taken_from_others_who_leave_and_no_other_removal() {
        let change = |op, because| Change { op, because };
        let changes = vec![
            change(Op::DeactivateUser { user: 0 }, Reason::Disabled),
            change(Op::DeactivateUser { user: 1 }, Reason::Gone),
            change(Op::RemoveMember { group: 0, user: 2 }, Reason::Disabled),
            change(Op::RemoveMember { group: 0, user: 3 }, Reason::NotMember),
        ];
        let one = Policy { deactivations: Limit { share: 0.0, floor: 1 }, ..policy() };
        let plan = || plan(&["ada", "bob", "cy", "dan"], 4, changes.clone());
        let judged = judge(plan(), &one, &Circumstances::default());
        assert_eq!((allowed(&judged), judged.staged.len()), (vec![3], 3));
        assert!(judged.violations.iter().any(|v| v.text.starts_with("2 deactivations")), "{:?}", judged.violations);
        let two = Policy { deactivations: Limit { share: 0.0, floor: 2 }, ..policy() };
        assert_eq!(allowed(&judge(plan(), &two, &Circumstances::default())), [0, 1, 2, 3]);
    }

    #[test]
    fn nobody_is_parked_for_a_swap_with_a_protected_user() {
        let changes = vec![
            rename(0, "ada", "rosterd-moving-boss"),
            rename(1, "boss", "ada"),
            rename(0, "rosterd-moving-boss", "boss"),
            rename(2, "bob", "lin"),
        ];
        let judged = judge(plan(&["ada", "boss", "bob"], 3, changes), &policy(), &Circumstances::default());
        assert_eq!(allowed(&judged), [3]);
    }

    #[test]
    fn who_waits_for_the_name_of_a_refused_rename_waits_on() {
        let create = Change { op: Op::CreateUser { user: 2, attributes: Box::new(named("ada")) }, because: Reason::Joined };
        let member = Change { op: Op::AddMember { group: 0, user: 2 }, because: Reason::Default };
        let chain = vec![rename(1, "boss", "lin"), rename(0, "ada", "BOSS"), create, member];
        let judged = judge(plan(&["ada", "boss", "ada"], 2, chain), &policy(), &Circumstances::default());
        assert!(judged.admitted.is_empty());
        assert_eq!(judged.refused.len(), 4);
        assert!(judged.violations.iter().any(|v| v.guard == BUILDS_ON));
    }

    #[test]
    fn nobody_is_given_a_protected_name() {
        let judged = judge(plan(&["ada"], 1, vec![rename(0, "ada", "Admin")]), &policy(), &Circumstances::default());
        assert!(judged.admitted.is_empty());
    }

    #[test]
    fn what_is_withheld_takes_along_what_builds_on_it() {
        let changes = vec![rename(1, "bob", "lin"), rename(0, "ada", "bob"), rename(2, "x", "y")];
        let mut judged = judge(plan(&["ada", "bob", "x"], 3, changes), &policy(), &Circumstances::default());
        assert_eq!(judged.admitted.len(), 3);
        assert_eq!(judged.withhold(vec![(0, "not now".to_owned())]), [0, 1]);
        assert_eq!(allowed(&judged), [2]);
        assert_eq!(judged.withheld.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1]);
        assert!(judged.withheld.iter().all(|(_, why)| why.ends_with("not now")), "{:?}", judged.withheld);
    }

    fn leaves(because: Reason) -> Plan {
        let changes = vec![Change { op: Op::DeactivateUser { user: 0 }, because }];
        Plan { managed: Managed { active_users: 1, memberships: 0 }, ..plan(&["ada"], 1, changes) }
    }

    /// Judged under a limit of no deactivation at all, after an approval of what these guards held.
    fn judged_after(plan: Plan, approved: &Plan, guards: &[&str]) -> Judged {
        let mark = mark(approved, &approved.changes[0]);
        let said = Approval { said: "os:ops: left".into(), guards: guards.iter().map(|g| (*g).to_owned()).collect() };
        let circumstances = Circumstances { approved: [(mark, said)].into(), ..Circumstances::default() };
        let none = Policy { deactivations: Limit { share: 0.0, floor: 0 }, ..policy() };
        judge(plan, &none, &circumstances)
    }

    #[test]
    fn an_approval_lifts_the_guards_that_were_shown_and_no_other() {
        let gone = leaves(Reason::Gone);
        let judged = judged_after(gone.clone(), &gone, &["deactivation-limit"]);
        assert_eq!((allowed(&judged), judged.admitted.let_by(0)), (vec![0], Some("os:ops: left")));
        let judged = judged_after(gone.clone(), &gone, &["expectation"]);
        assert_eq!(judged.staged, [(0, vec!["deactivation-limit"])], "another guard holds it now");
    }

    #[test]
    fn an_approval_is_for_the_cause_that_was_shown() {
        let judged = judged_after(leaves(Reason::Gone), &leaves(Reason::Disabled), &["deactivation-limit"]);
        assert!(allowed(&judged).is_empty());
    }

    #[test]
    fn who_said_no_to_a_deactivation_has_said_no_to_the_deletion() {
        let deactivation = leaves(Reason::Disabled);
        let rejected = [mark(&deactivation, &deactivation.changes[0])].into();
        let circumstances = Circumstances { rejected, ..Circumstances::default() };
        let deletion = |because| {
            let changes = vec![Change { op: Op::DeleteUser { user: 0 }, because }];
            judge(plan(&["ada"], 1, changes), &policy(), &circumstances)
        };
        assert_eq!(deletion(Reason::Disabled).refused, [(0, vec!["rejected"])]);
        assert_eq!(allowed(&deletion(Reason::Gone)), [0], "that is another cause");
    }

    #[test]
    fn what_waits_for_another_reason_may_break_what_was_expected_of_the_plan() {
        let expect = vec![Expectation { group: "g".into(), at_least: Some(1), ..Expectation::default() }];
        let policy = Policy { expect, ..policy() };
        let member = Member { name: "ada".into(), email: None, active: true };
        let circumstances = Circumstances { members: [("g".into(), vec![member])].into(), ..Circumstances::default() };
        let changes = vec![
            Change { op: Op::AddMember { group: 0, user: 1 }, because: Reason::Default },
            Change { op: Op::RemoveMember { group: 0, user: 0 }, because: Reason::NotMember },
        ];
        let mut judged = judge(plan(&["ada", "bob"], 2, changes), &policy, &circumstances);
        judged.expect_again(&policy);
        assert_eq!((allowed(&judged), judged.is_refused()), (vec![0, 1], false));
        judged.withhold(vec![(0, "no seat".to_owned())]);
        judged.expect_again(&policy);
        assert_eq!((allowed(&judged), judged.is_refused()), (vec![], true));
        assert_eq!(judged.refused, [(1, vec![EXPECTATION])]);
    }

    /// The users `k0`, `k1`, … of these numbers are the active members of a group.
    fn admin_group(key: &str, users: &[u32]) -> AdminGroup {
        AdminGroup { key: key.into(), active: users.iter().map(|at| TargetKey::from(format!("k{at}"))).collect() }
    }

    #[test]
    fn administrators_are_different_people_of_all_groups() {
        let op = |op| Change { op, because: Reason::NotMember };
        let leave = |user| op(Op::RemoveMember { group: 0, user });
        let ends = |user| op(Op::DeactivateUser { user });
        let judged = |least, admins: &[AdminGroup], changes| {
            let policy = Policy { admins_at_least: least, ..policy() };
            let circumstances = Circumstances { admins: admins.to_vec(), ..Circumstances::default() };
            allowed(&judge(plan(&["ada", "bob", "cid"], 3, changes), &policy, &circumstances))
        };
        let two = [admin_group("g", &[0, 1]), admin_group("other", &[1, 2])];
        assert_eq!(judged(2, &two, vec![leave(0)]), [0], "two are left, one in each");
        assert_eq!(judged(2, &two, vec![leave(0), leave(1)]), [0; 0], "a group is left empty");
        assert_eq!(judged(2, &two, vec![leave(1)]), [0], "in the other group they still are");
        assert_eq!(judged(3, &two, vec![leave(1)]), [0]);
        assert_eq!(judged(3, &two, vec![ends(1)]), [0; 0]);
        assert_eq!(judged(2, &two, vec![ends(0), ends(2)]), [0; 0], "one is left");
        assert_eq!(judged(1, &two, vec![ends(0), ends(2)]), [0, 1]);
        assert_eq!(judged(4, &two, vec![leave(0)]), [0; 0], "there were too few before");
        assert_eq!(judged(1, &[admin_group("g", &[0]), admin_group("other", &[1])], vec![leave(0)]), [0; 0]);
        assert_eq!(judged(0, &two, vec![ends(0), ends(1), ends(2)]), [0, 1, 2]);
    }

    #[test]
    fn an_administration_group_that_is_not_there_is_told() {
        let names = ["G".to_owned(), "admins".to_owned()];
        let told = admins_missing(&names, &[admin_group("g", &[0])]);
        assert!(matches!(&told[..], [only] if only.contains("\"admins\" does not exist")), "{told:?}");
        assert_eq!(admins_missing(&names[..1], &[admin_group("g", &[])]).len(), 1);
        assert_eq!(admins_missing(&[], &[]).len(), 1);
        assert!(admins_missing(&names[..1], &[admin_group("g", &[0])]).is_empty());
    }

    #[test]
    fn whoever_is_held_is_held_under_a_new_account_too() {
        let create = Change { op: Op::CreateUser { user: 0, attributes: Box::new(named("ada")) }, because: Reason::Joined };
        let circumstances = Circumstances { held_sources: ["s0".into()].into(), ..Circumstances::default() };
        assert!(judge(plan(&["ada"], 0, vec![create]), &policy(), &circumstances).admitted.is_empty());
    }
}
