//! What is expected at its bounds: what breaks it, what mends it, and which plans are looked at for it.

use std::time::Duration;

use super::*;
use crate::model::change::{Edit, Reason};
use crate::model::desired::Attributes;
use crate::model::key::{JobName, SourceKey, SystemName};
use crate::model::plan::{Managed, PlanGroup, PlanUser};
use crate::reconcile::guard::{Judged, Limit, judge};
use crate::reconcile::pattern::NameSet;
use crate::reconcile::seats::WhenFull;

fn policy(expected: Expectation) -> Policy {
    let open = Limit { share: 1.0, floor: u32::MAX };
    Policy {
        deactivations: open,
        membership_removals: open,
        per_group_removals: open,
        protect_users: NameSet::none(),
        protect_groups: NameSet::none(),
        expect: vec![expected],
        admins_at_least: 0,
        seats: WhenFull::Warn,
        plan_expires: Duration::MAX,
    }
}

fn staff() -> Expectation {
    Expectation { group: "Staff".to_owned(), ..Expectation::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A roll by user names, each with an address or none that is known.
fn roll<'a>(members: &[(&str, Option<&'a str>)]) -> Roll<'a> {
    members.iter().map(|(name, email)| ((*name).to_owned(), *email)).collect()
}

/// A roll of so many.
fn many(size: usize) -> Roll<'static> {
    (0..size).map(|at| (format!("u{at}"), None)).collect()
}

const USERS: [&str; 4] = ["ada", "bob", "cid", "dan"];
const GROUPS: [&str; 2] = ["staff", "sales"];

/// A plan over four users and two groups.
fn plan(ops: Vec<Op>) -> Plan {
    let user = |(at, name): (usize, &&str)| PlanUser {
        source: Some(SourceKey::from(format!("s{at}"))),
        key: Some(TargetKey::from(format!("k{at}"))),
        name: (*name).into(),
    };
    let group = |name: &&str| PlanGroup { key: group_key(name), name: (*name).into(), size: 0 };
    Plan {
        job: JobName::from("j"),
        target: SystemName::from("t"),
        users: USERS.iter().enumerate().map(user).collect(),
        groups: GROUPS.iter().map(group).collect(),
        sources: vec![],
        changes: ops.into_iter().map(|op| Change { op, because: Reason::Default }).collect(),
        findings: vec![],
        managed: Managed::default(),
        rosters: Default::default(),
    }
}

/// The first so many of the users are in the group, with these addresses.
fn circumstances(emails: &[Option<&str>]) -> Circumstances {
    let member =
        |(at, email): (usize, &Option<&str>)| Member { name: USERS[at].into(), email: email.map(Into::into), active: true };
    let members = emails.iter().enumerate().map(member).collect();
    Circumstances { members: [(group_key("staff"), members)].into(), ..Circumstances::default() }
}

fn update(user: u32, name: &str, email: Option<&str>) -> Op {
    let named =
        |name: &str, email: Option<&str>| Attributes { name: name.into(), email: email.map(Into::into), display_name: None };
    Op::UpdateUser { user, edit: Box::new(Edit { before: named(USERS[user as usize], None), after: named(name, email) }) }
}

fn judged(ops: Vec<Op>, expected: Expectation, circumstances: &Circumstances) -> Judged {
    judge(plan(ops), &policy(expected), circumstances)
}

#[test]
fn nothing_expected_is_met_by_nobody() {
    assert_eq!(broken(&staff(), &many(0), 7), None);
}

#[test]
fn counts_are_bounds_that_may_be_reached() {
    let between = Expectation { at_least: Some(2), at_most: Some(3), ..staff() };
    for (size, holds) in [(1, false), (2, true), (3, true), (4, false)] {
        assert_eq!(broken(&between, &many(size), size).is_none(), holds, "{size}");
    }
}

#[test]
fn a_share_is_of_the_members_before_the_plan() {
    let half = Expectation { at_least_share: Some(0.5), ..staff() };
    for (before, after, holds) in
        [(4, 2, true), (4, 1, false), (5, 3, true), (5, 2, false), (0, 0, true), (1, 0, false), (2, 9, true)]
    {
        assert_eq!(broken(&half, &many(after), before).is_none(), holds, "{after} of {before}");
    }
    let why = broken(&half, &many(1), 4).expect("it is broken");
    assert!(why.contains("has 1 active members, expected are at least 50 % of 4"), "{why}");
    // As things are, nobody has left yet.
    assert!(before(&plan(vec![]), &policy(half), &circumstances(&[None])).is_empty());
}

#[test]
fn a_share_refuses_the_whole_plan_at_one_member_too_many() {
    let remove = |user| Op::RemoveMember { group: 0, user };
    let half = || Expectation { at_least_share: Some(0.5), ..staff() };
    let four = circumstances(&[None; 4]);
    assert_eq!(judged(vec![remove(0), remove(1)], half(), &four).admitted.len(), 2);
    let refused = judged(vec![Op::ActivateUser { user: 3 }, remove(0), remove(1), remove(2)], half(), &four);
    assert!(refused.is_refused() && refused.admitted.is_empty());
    assert_eq!(refused.refused.len(), 4, "also what has nothing to do with it");
}

#[test]
fn names_are_looked_for_regardless_of_case() {
    let has = Expectation { has: names(&["ADA", "bob"]), ..staff() };
    assert_eq!(broken(&has, &roll(&[("ada", None), ("bob", None)]), 2), None);
    let why = broken(&has, &roll(&[("ada", None)]), 2).expect("bob is missing");
    assert!(why.contains("is without bob,") && !why.contains("ADA"), "{why}");
}

#[test]
fn domains_are_those_of_known_addresses() {
    let within = Expectation { only_domains: names(&["example.com"]), ..staff() };
    let fine = roll(&[("ada", Some("ada@EXAMPLE.com")), ("bob", None), ("cid", Some("c@d@example.com"))]);
    assert_eq!(broken(&within, &fine, 3), None, "the last part counts, and what is hidden is no offence");
    for outside in ["x@sub.example.com", "x@example.com.evil", "no address"] {
        let why = broken(&within, &roll(&[("x", Some(outside))]), 1);
        assert!(why.is_some_and(|why| why.ends_with("outside of example.com: x")), "{outside}");
    }
}

#[test]
fn what_is_broken_is_mended_by_whatever_makes_it_no_worse() {
    let few = Expectation { at_least: Some(5), ..staff() };
    let crowded = Expectation { at_most: Some(3), ..staff() };
    let share = Expectation { at_least_share: Some(0.5), ..staff() };
    for (expected, now, after, holds) in [
        (&few, 2, 3, true),
        (&few, 2, 2, true),
        (&few, 2, 1, false),
        (&few, 7, 5, true),
        (&crowded, 5, 4, true),
        (&crowded, 5, 5, true),
        (&crowded, 5, 6, false),
        (&crowded, 1, 3, true),
        (&share, 4, 2, true),
        (&share, 4, 1, false),
    ] {
        assert_eq!(mends(expected, &many(now), &many(after)), holds, "{expected:?}: {now} to {after}");
    }
}

#[test]
fn a_stranger_more_mends_nothing_and_a_stranger_who_was_there_hinders_nothing() {
    let within = Expectation { only_domains: names(&["example.com"]), ..staff() };
    let (ada, eve, mal) = (("ada", Some("ada@example.com")), ("eve", Some("eve@else.org")), ("mal", Some("mal@else.org")));
    assert!(mends(&within, &roll(&[eve]), &roll(&[eve, ada])));
    assert!(mends(&within, &roll(&[eve, mal]), &roll(&[mal])));
    assert!(!mends(&within, &roll(&[eve]), &roll(&[eve, mal])));
    assert!(!mends(&within, &roll(&[eve]), &roll(&[mal])), "another one is no fewer");
}

#[test]
fn whoever_is_to_be_there_is_not_traded_for_another() {
    let has = Expectation { has: names(&["ada", "bob"]), ..staff() };
    let only = |name| roll(&[(name, None)]);
    assert!(mends(&has, &only("ada"), &only("ada")), "as it was");
    assert!(mends(&has, &only("ada"), &roll(&[("ada", None), ("bob", None)])));
    assert!(!mends(&has, &only("ada"), &many(0)));
    assert!(!mends(&has, &only("ada"), &only("bob")), "ada is to be there, was, and would not be");
}

#[test]
fn a_plan_that_mends_goes_on_where_one_that_worsens_is_refused() {
    let two = circumstances(&[None; 2]);
    let few = || Expectation { at_least: Some(4), ..staff() };
    let add = Op::AddMember { group: 0, user: 2 };
    let better = judged(vec![add.clone()], few(), &two);
    assert_eq!((better.admitted.len(), better.is_refused()), (1, false), "three of four are better than two");
    let worse = judged(vec![add, Op::DeleteUser { user: 0 }], few(), &two);
    // The removal waits, since it was broken before; what is left mends.
    assert_eq!((worse.admitted.len(), worse.staged.len(), worse.is_refused()), (1, 1, false));
    let renamed = Expectation { has: names(&["ada", "eve"]), ..staff() };
    let worse = judged(vec![update(0, "ida", None)], renamed, &two);
    assert!(worse.is_refused(), "eve is missing, and ada would be too");
}

#[test]
fn an_update_that_takes_a_member_out_of_the_domain_is_refused() {
    let within = || Expectation { only_domains: names(&["example.com"]), ..staff() };
    let two = circumstances(&[Some("ada@example.com"), None]);
    assert!(judged(vec![update(0, "ada", Some("ada@else.org"))], within(), &two).is_refused());
    assert!(judged(vec![update(1, "bob", Some("bob@else.org"))], within(), &two).is_refused(), "it was hidden, and is known now");
    assert!(!judged(vec![update(0, "ada", Some("new@example.com"))], within(), &two).is_refused());
    assert!(!judged(vec![update(3, "dan", Some("dan@else.org"))], within(), &two).is_refused(), "he is no member");
    // A new name without a new address keeps the address, under the new name as well.
    let outside = circumstances(&[Some("ada@else.org")]);
    assert!(!judged(vec![update(0, "ida", None)], within(), &circumstances(&[Some("ada@example.com")])).is_refused());
    let back = judged(vec![update(0, "ada", Some("ada@example.com"))], within(), &outside);
    assert!(!back.is_refused() && back.admitted.len() == 1, "it mends");
}

#[test]
fn whoever_comes_in_is_judged_by_the_address_to_be() {
    let within = || Expectation { only_domains: names(&["example.com"]), ..staff() };
    let with = |email: Option<&str>| Circumstances {
        addresses: email.map(|email| (SourceKey::from("s2"), email.into())).into_iter().collect(),
        ..circumstances(&[])
    };
    let add = || vec![Op::AddMember { group: 0, user: 2 }];
    assert!(judged(add(), within(), &with(Some("cid@else.org"))).is_refused());
    assert!(!judged(add(), within(), &with(Some("cid@example.com"))).is_refused());
    assert!(!judged(add(), within(), &with(None)).is_refused(), "of whom no address is known is within");
    let elsewhere = vec![Op::AddMember { group: 1, user: 2 }];
    assert!(!judged(elsewhere, within(), &with(Some("cid@else.org"))).is_refused(), "another group");
}

#[test]
fn a_deactivation_counts_whether_or_not_it_takes_out_of_groups() {
    let both = || Expectation { at_least: Some(2), ..staff() };
    let leave = || vec![Op::DeactivateUser { user: 0 }];
    let two = circumstances(&[None; 2]);
    assert!(judged(leave(), both(), &two).is_refused());
    assert!(judged(leave(), both(), &Circumstances { strips: true, ..two.clone() }).is_refused());
    assert!(judged(vec![Op::DeleteUser { user: 0 }], both(), &two).is_refused());
    let root = || Expectation { has: names(&["ada"]), ..staff() };
    assert!(judged(leave(), root(), &two).is_refused());
}

#[test]
fn whoever_is_inactive_counts_as_soon_as_they_are_active() {
    let mut two = circumstances(&[None, Some("bob@else.org")]);
    two.members.values_mut().flatten().for_each(|member| member.active = member.name != "bob");
    let before_of = |expected| before(&plan(vec![Op::RemoveMember { group: 1, user: 3 }]), &policy(expected), &two).len();
    assert_eq!(before_of(Expectation { at_least: Some(2), ..staff() }), 1);
    assert_eq!(before_of(Expectation { has: names(&["bob"]), ..staff() }), 1);
    assert_eq!(before_of(Expectation { at_most: Some(1), ..staff() }), 0);
    assert_eq!(before_of(Expectation { only_domains: names(&["example.com"]), ..staff() }), 0);
    let returns = || vec![Op::ActivateUser { user: 1 }];
    assert!(judged(returns(), Expectation { at_most: Some(1), ..staff() }, &two).is_refused());
    assert!(judged(returns(), Expectation { only_domains: names(&["example.com"]), ..staff() }, &two).is_refused());
    // One goes and one comes back: as many as before.
    let swap = vec![Op::ActivateUser { user: 1 }, Op::DeactivateUser { user: 0 }];
    assert!(!judged(swap, Expectation { at_least: Some(1), ..staff() }, &two).is_refused());
    // Whoever is to join and cannot be made active does not count.
    let joins = vec![Op::ActivateUser { user: 2 }, Op::AddMember { group: 0, user: 2 }, Op::RemoveMember { group: 0, user: 0 }];
    let one = || Expectation { at_least: Some(1), ..staff() };
    assert!(!judged(joins.clone(), one(), &two).is_refused());
    let now = now(&staff(), &two);
    let joins = plan(joins);
    let after = active_of(&after(&joins, &[false, true, true], &staff(), &now, &two));
    assert!(after.is_empty(), "{after:?}");
}

#[test]
fn a_plan_is_looked_at_for_what_it_removes_updates_or_moves_in_these_groups() {
    let create =
        Op::CreateUser { user: 0, attributes: Box::new(Attributes { name: "ada".into(), email: None, display_name: None }) };
    for (op, looked_at) in [
        (Op::AddMember { group: 0, user: 0 }, true),
        (Op::AddMember { group: 1, user: 0 }, false),
        (Op::RemoveMember { group: 0, user: 0 }, true),
        // Whatever it is of: a stripping deactivation names no group.
        (Op::RemoveMember { group: 1, user: 0 }, true),
        (Op::DeactivateUser { user: 0 }, true),
        (Op::DeleteUser { user: 0 }, true),
        (update(0, "ada", Some("a@b")), true),
        (Op::CreateGroup { group: 0 }, true),
        (Op::CreateGroup { group: 1 }, false),
        (Op::LinkUser { user: 0 }, false),
        (Op::ActivateUser { user: 0 }, true),
        (create, false),
    ] {
        let plan = plan(vec![op.clone()]);
        assert_eq!(concerns(&plan, &policy(staff())), looked_at, "{op:?}");
        let nothing = Policy { expect: vec![], ..policy(staff()) };
        assert!(!concerns(&plan, &nothing), "nothing is expected, {op:?}");
    }
    assert!(!concerns(&plan(vec![]), &policy(staff())));
}
