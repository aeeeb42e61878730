//! What the guards let through, hold and refuse.

use super::*;
use crate::model::change::{Change, Edit, Reason};
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
