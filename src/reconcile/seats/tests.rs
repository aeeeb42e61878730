//! Who gains and loses a seat, and who waits for one.

use super::*;
use crate::contract::target::Expiry;
use crate::model::change::{OpKind, Reason};
use crate::model::desired::Attributes;
use crate::model::plan::{Managed, PlanGroup, PlanUser};
use crate::model::roster::{TargetRosterBuilder, TargetUser};

/// A licence of which some seats are taken by members of `users` and `admins`.
fn licence(used: u32, of: Option<u32>) -> Seats {
    let groups = vec!["users".to_owned(), "Admins".to_owned()];
    Seats { product: "Jira Software".into(), used, of, groups, taken_by_creation: false }
}

fn capabilities(seats: Vec<Seats>, deactivation: Deactivation) -> Capabilities {
    Capabilities {
        product: "Jira",
        version: "11".into(),
        acting_as: None,
        can: OpKind::ALL.to_vec(),
        can_rename: true,
        can_update: true,
        needs_email: false,
        deactivation,
        adds_per_call: 1,
        writes_at_once: 1,
        admin_groups: Vec::new(),
        groups_writable: true,
        seats,
        expires: Expiry::Unknown,
        refuse_user: |_| None,
        refuse_group: |_| None,
        notes: Vec::new(),
    }
}

/// A target with these groups and members; whoever begins with a capital letter is inactive.
fn target(groups: &[(&str, &[&str])], others: &[&str]) -> TargetRoster {
    let mut roster = TargetRosterBuilder::new();
    for name in groups.iter().flat_map(|(_, members)| *members).chain(others) {
        let active = !name.starts_with(char::is_uppercase);
        let key = TargetKey::from(*name);
        roster.user(TargetUser { key, name: (*name).into(), email: None, display_name: None, active, writable: true });
    }
    for (group, members) in groups {
        roster.group(group, true);
        members.iter().for_each(|member| roster.member(&group_key(group), &TargetKey::from(*member)));
    }
    roster.build()
}

/// One line each: `create ann`, `activate ann`, `deactivate ann`, `delete ann`, `add ann users`, `remove ann users`.
fn plan(lines: &[&str]) -> Plan {
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    let mut names: Vec<&str> = words.iter().map(|words| words[1]).collect();
    let mut groups: Vec<&str> = words.iter().filter_map(|words| words.get(2).copied()).collect();
    names.sort_unstable();
    names.dedup();
    groups.sort_unstable();
    groups.dedup();
    let is_new = |name: &str| words.iter().any(|words| words[..2] == ["create", name]);
    let place = |all: &[&str], one: &str| all.iter().position(|name| *name == one).expect("is there") as u32;
    let op = |words: &Vec<&str>| {
        let user = place(&names, words[1]);
        let group = || place(&groups, words[2]);
        match words[0] {
            "create" => {
                let attributes = Attributes { name: words[1].into(), email: None, display_name: None };
                Op::CreateUser { user, attributes: Box::new(attributes) }
            }
            "activate" => Op::ActivateUser { user },
            "deactivate" => Op::DeactivateUser { user },
            "delete" => Op::DeleteUser { user },
            "add" => Op::AddMember { group: group(), user },
            other => {
                assert_eq!(other, "remove");
                Op::RemoveMember { group: group(), user }
            }
        }
    };
    Plan {
        job: "staff".into(),
        target: "jira".into(),
        users: names
            .iter()
            .map(|name| PlanUser { source: None, key: (!is_new(name)).then(|| TargetKey::from(*name)), name: (*name).into() })
            .collect(),
        groups: groups.iter().map(|name| PlanGroup { key: group_key(name), name: (*name).into(), size: 0 }).collect(),
        sources: Vec::new(),
        changes: words.iter().map(|words| Change { op: op(words), because: Reason::Joined }).collect(),
        findings: Vec::new(),
        managed: Managed::default(),
        rosters: Default::default(),
    }
}

fn said(actual: &TargetRoster, seats: Seats, deactivation: Deactivation, lines: &[&str]) -> String {
    let plan = plan(lines);
    let seating = Seating::of(&plan, actual, &capabilities(vec![seats], deactivation));
    let forecast = seating.forecast(&plan, plan.changes.iter().enumerate());
    assert_eq!(forecast.len(), 1);
    forecast[0].text()
}

/// Who waits, as the lines of the plan.
fn waits<'l>(actual: &TargetRoster, seats: Vec<Seats>, deactivation: Deactivation, lines: &[&'l str]) -> Vec<&'l str> {
    let plan = plan(lines);
    let seating = Seating::of(&plan, actual, &capabilities(seats, deactivation));
    seating.waiting(&plan, plan.changes.iter().enumerate()).changes.iter().map(|(at, _)| lines[*at]).collect()
}

#[test]
fn whoever_gains_or_loses_the_last_access_is_counted_once() {
    let actual = target(&[("users", &["ann", "bob", "Zoe"]), ("admins", &["bob"]), ("wiki", &["cleo"])], &["dan"]);
    let told = |lines: &[&str]| said(&actual, licence(489, Some(500)), Deactivation::Flag, lines);
    assert_eq!(told(&["create eve", "add eve users", "add eve admins"]), "Jira Software: 489 to 490 of 500 seats");
    assert_eq!(told(&["create eve", "add eve wiki"]), "Jira Software: 489 of 500 seats", "no group of hers gives a seat");
    assert_eq!(told(&["add dan users", "add cleo admins"]), "Jira Software: 489 to 491 of 500 seats");
    assert_eq!(told(&["add ann admins"]), "Jira Software: 489 of 500 seats", "she had one");
    assert_eq!(told(&["add ann admins", "remove ann users"]), "Jira Software: 489 of 500 seats", "she moves");
    assert_eq!(told(&["remove bob users"]), "Jira Software: 489 of 500 seats", "he has another way in");
    assert_eq!(told(&["remove ann users", "deactivate bob"]), "Jira Software: 489 to 487 of 500 seats");
    assert_eq!(told(&["activate Zoe"]), "Jira Software: 489 to 490 of 500 seats");
    assert_eq!(told(&["remove Zoe users", "delete Zoe"]), "Jira Software: 489 of 500 seats", "the inactive take none");
    assert_eq!(told(&["delete ann", "delete cleo"]), "Jira Software: 489 to 488 of 500 seats");
}

#[test]
fn a_creation_that_takes_a_seat_by_itself_is_counted() {
    let seats = Seats { taken_by_creation: true, groups: Vec::new(), ..licence(3, None) };
    let text = said(&target(&[], &[]), seats, Deactivation::Flag, &["create eve"]);
    assert_eq!(text, "Jira Software: 3 to 4 seats of an unlimited licence");
}

#[test]
fn where_a_group_was_not_read_the_count_is_about_right() {
    // Nobody knows who is in `admins`.
    let actual = target(&[("users", &["ann"])], &["dan", "Zoe"]);
    let told = |lines: &[&str]| said(&actual, licence(5, Some(9)), Deactivation::Flag, lines);
    assert_eq!(told(&["create eve", "add eve users"]), "Jira Software: 5 to 6 of 9 seats", "she can be nowhere else");
    assert_eq!(told(&["add dan users"]), "Jira Software: 5 to about 6 of 9 seats");
    assert_eq!(told(&["activate Zoe"]), "Jira Software: 5 to about 6 of 9 seats");
    assert_eq!(told(&["remove ann users"]), "Jira Software: 5 or so of 9 seats");
    assert_eq!(told(&["deactivate ann"]), "Jira Software: 5 to 4 of 9 seats");
    assert_eq!(told(&["deactivate dan"]), "Jira Software: 5 or so of 9 seats");
}

#[test]
fn where_groups_alone_let_in_being_active_tells_who_sits() {
    let strips = Deactivation::StripGroups;
    // Active are ann by `users`, and dan by a grant of his own or by `admins`.
    let some = target(&[("users", &["ann"])], &["dan", "Zoe"]);
    let told = |actual: &TargetRoster, lines: &[&str]| said(actual, licence(5, Some(9)), strips, lines);
    assert_eq!(told(&some, &["add Zoe users", "add dan users"]), "Jira Software: 5 to 6 of 9 seats");
    assert_eq!(told(&some, &["deactivate ann", "deactivate dan"]), "Jira Software: 5 to 3 of 9 seats");
    assert_eq!(told(&some, &["remove ann users"]), "Jira Software: 5 or so of 9 seats");
    let all = target(&[("users", &["ann"]), ("admins", &[])], &["dan"]);
    assert_eq!(told(&all, &["deactivate dan"]), "Jira Software: 5 of 9 seats", "his own grant stays");
    assert_eq!(told(&all, &["remove ann users"]), "Jira Software: 5 to 4 of 9 seats");
}

#[test]
fn the_free_seats_go_to_whoever_comes_first_and_the_rest_waits() {
    let actual = target(&[("users", &["ann", "Zoe"]), ("admins", &[])], &["dan"]);
    let lines = [
        "create eve",
        "create flo",
        "create gus",
        "activate Zoe",
        "add dan users",
        "add eve users",
        "add flo users",
        "add gus wiki",
    ];
    let waiting = |free: u32| waits(&actual, vec![licence(9 - free, Some(9))], Deactivation::Flag, &lines);
    assert_eq!(waiting(4), Vec::<&str>::new());
    assert_eq!(waiting(2), ["activate Zoe", "add dan users"]);
    assert_eq!(waiting(0), ["create eve", "create flo", "activate Zoe", "add dan users"]);
    assert_eq!(waits(&actual, vec![licence(12, Some(9))], Deactivation::Flag, &lines).len(), 4, "over the licence none is free");
    assert!(waits(&actual, vec![licence(9, None)], Deactivation::Flag, &lines).is_empty(), "there are as many as one likes");
}

#[test]
fn seats_that_the_plan_frees_are_there_for_the_next_one() {
    let actual = target(&[("users", &["ann", "bob"]), ("admins", &["bob"])], &[]);
    let lines = ["create eve", "add eve users", "add ann admins", "remove ann users", "deactivate bob"];
    let waiting = waits(&actual, vec![licence(9, Some(9))], Deactivation::Flag, &lines);
    assert_eq!(waiting, ["create eve"], "ann moves, and had a seat");
}

#[test]
fn of_two_licences_only_the_full_one_makes_wait() {
    let desk = Seats { product: "Service Desk".into(), groups: vec!["agents".into()], ..licence(3, Some(3)) };
    let seats = vec![licence(4, Some(5)), desk];
    let actual = target(&[("users", &[]), ("admins", &[]), ("agents", &[])], &["ann", "bob"]);
    let lines = ["add ann agents", "add ann users", "add bob agents", "add bob users"];
    let waiting = waits(&actual, seats, Deactivation::Flag, &lines);
    assert_eq!(waiting, ["add ann agents", "add bob agents", "add bob users"]);
}
