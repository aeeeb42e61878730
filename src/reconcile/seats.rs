//! Licence seats: how many a plan takes and frees, and who waits where none is free.
//!
//! A target tells how many seats are taken and which groups give one. Who has one it does not tell: that follows from who is
//! active and in which of these groups, as far as they were read. Where it does not follow, the count is about right and
//! errs towards more seats taken.
//!
//! Seats that a plan frees count in its forecast and not for those who wait: removals come after grants, so that nobody who
//! moves is without access in between, and a removal may yet be withheld. What they free is there for the next run.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::contract::target::{Capabilities, Deactivation, Seats};
use crate::model::change::{Change, Op};
use crate::model::key::{TargetKey, group_key};
use crate::model::plan::Plan;
use crate::model::roster::{TargetRoster, UserIx};

/// What happens to those for whom no seat is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The target is asked all the same; the plan and the run say that the licence does not suffice.
    #[default]
    Warn,
    /// They wait.
    Hold,
}

/// What a plan does to the seats of a licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Of what.
    pub product: String,
    /// How many are taken before it.
    pub used: u32,
    /// How many are taken after it.
    pub after: u32,
    /// How many there are; `None`: as many as one likes.
    pub of: Option<u32>,
    /// Whether `after` may be wrong, since not every group that gives a seat was read.
    pub about: bool,
}

impl Forecast {
    /// Whether more are taken after the plan than there are.
    pub fn is_over(&self) -> bool {
        self.of.is_some_and(|of| self.after > of)
    }

    /// Whether it says anything: some are taken or freed, or the licence does not suffice.
    pub fn is_news(&self) -> bool {
        self.used != self.after || self.is_over()
    }

    /// In words: `Jira Software: 489 to 503 of 500 seats`.
    pub fn text(&self) -> String {
        let Self { product, used, after, of, about } = self;
        let to = match (used == after, about) {
            (true, false) => String::new(),
            (true, true) => " or so".to_owned(),
            (false, false) => format!(" to {after}"),
            (false, true) => format!(" to about {after}"),
        };
        match of {
            Some(of) => format!("{product}: {used}{to} of {of} seats"),
            None => format!("{product}: {used}{to} seats of an unlimited licence"),
        }
    }
}

/// Who waits for a seat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The changes that wait, as positions in the plan, each with the reason in words.
    pub changes: Vec<(usize, String)>,
    /// For how many users, licence by licence, with the licence as it is before the plan.
    pub users: Vec<(Seats, u32)>,
}

/// Who sits where before a plan: what the target tells of its licences, and of everybody in the plan what was read.
#[derive(Clone, Debug, Default)]
pub struct Seating {
    rows: Vec<Row>,
    /// Everybody whom the plan concerns and who has an account.
    people: BTreeMap<UserIx, Person>,
    /// Of each group of the plan whether it gives a seat anywhere.
    doors: Vec<bool>,
    /// Whether being active is having a seat, and a deactivation takes the user out of every group.
    by_groups_alone: bool,
}

#[derive(Clone, Debug)]
struct Row {
    seats: Seats,
    groups: BTreeSet<TargetKey>,
    /// Whether some of these groups were not read.
    hidden: bool,
}

/// A user, as far as seats are concerned.
#[derive(Clone, Debug, Default)]
struct Person {
    active: bool,
    /// The groups that give a seat anywhere and were read, of which the user is a member.
    inside: BTreeSet<TargetKey>,
    /// Has access although in none of these: through a group that was not read, or by a grant of its own.
    otherwise: bool,
    /// Created by the plan, and so in no group but those that the plan names.
    new: bool,
    /// Taken out of such a group.
    left: bool,
}

/// Whether a user takes a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sits {
    No,
    Maybe,
    Yes,
}

impl Seating {
    /// Who sits where at the target as it was read. Every member of the plan's users in the groups of the roster is known.
    pub fn of(plan: &Plan, actual: &TargetRoster, capabilities: &Capabilities) -> Self {
        let row = |seats: &Seats| {
            let groups: BTreeSet<TargetKey> = seats.groups.iter().map(|name| group_key(name)).collect();
            // Of some it is not told at all which groups give one.
            let hidden = groups.is_empty() || groups.iter().any(|group| actual.group(group).is_none());
            Row { seats: seats.clone(), groups, hidden }
        };
        let rows: Vec<Row> = capabilities.seats.iter().map(row).collect();
        if rows.is_empty() {
            return Self::default();
        }
        let by_groups_alone = capabilities.deactivation == Deactivation::StripGroups;
        let all: BTreeSet<&TargetKey> = rows.iter().flat_map(|row| &row.groups).collect();
        let read: Vec<_> = all.iter().filter_map(|key| Some(&actual.groups[actual.group(key)? as usize])).collect();
        let doors = plan.groups.iter().map(|group| all.contains(&group.key)).collect();
        let seating = Self { doors, by_groups_alone, ..Self::default() };
        let concerned = plan.changes.iter().filter(|change| seating.concerns(&change.op)).filter_map(|change| change.op.user());
        let users: BTreeSet<UserIx> = concerned.collect();
        let person = |user: UserIx| {
            let at = actual.user(plan.user(user).key.as_ref()?)?;
            let inside = read.iter().filter(|group| group.members.binary_search(&at).is_ok());
            let inside: BTreeSet<TargetKey> = inside.map(|group| group.key.clone()).collect();
            let active = actual.users[at as usize].active;
            let otherwise = by_groups_alone && active && inside.is_empty();
            Some((user, Person { active, inside, otherwise, ..Person::default() }))
        };
        let people = users.into_iter().filter_map(person).collect();
        Self { rows, people, ..seating }
    }

    /// What these changes of the plan do to each licence.
    pub fn forecast<'p>(&self, plan: &Plan, changes: impl Iterator<Item = (usize, &'p Change)>) -> Vec<Forecast> {
        let mut sums: Vec<(i64, bool)> = vec![(0, false); self.rows.len()];
        for (user, at) in self.by_user(changes) {
            for (row, sum) in self.rows.iter().zip(&mut sums) {
                let (more, about) = self.more(row, user, plan, at.iter().copied());
                *sum = (sum.0 + more, sum.1 || about);
            }
        }
        let forecast = |(row, (more, about)): (&Row, (i64, bool))| {
            let Seats { product, used, of, .. } = &row.seats;
            let after = u32::try_from((i64::from(*used) + more).max(0)).unwrap_or(u32::MAX);
            Forecast { product: product.clone(), used: *used, after, of: *of, about }
        };
        self.rows.iter().zip(sums).map(forecast).collect()
    }

    /// Which of these changes have to wait for a seat: the free ones go to whoever comes first in the plan. Of a user who is
    /// to be created the creation waits, and with it all that builds on it; of others only what would take the seat.
    pub fn waiting<'p>(&self, plan: &Plan, changes: impl Iterator<Item = (usize, &'p Change)>) -> Waiting {
        let mut free: Vec<Option<u32>> = self.rows.iter().map(|row| Some(row.seats.of?.saturating_sub(row.seats.used))).collect();
        let mut users = vec![0; self.rows.len()];
        let mut waiting = Waiting::default();
        for (user, mut at) in self.by_user(changes) {
            let takes = |row: &Row, at: &[usize]| self.more(row, user, plan, at.iter().copied()).0 > 0;
            let full: Vec<usize> = (0..free.len()).filter(|n| free[*n] == Some(0) && takes(&self.rows[*n], &at)).collect();
            if let Some(first) = full.first() {
                let why = reason(&self.rows[*first].seats);
                let held = self.ways_in(plan, &at, &full);
                at = if plan.user(user).key.is_none() { Vec::new() } else { difference(&at, &held) };
                waiting.changes.extend(held.into_iter().map(|at| (at, why.clone())));
                full.iter().for_each(|n| users[*n] += 1);
            }
            for (row, free) in self.rows.iter().zip(&mut free) {
                if takes(row, &at) {
                    *free = free.map(|free| free.saturating_sub(1));
                }
            }
        }
        waiting.changes.sort_unstable_by_key(|(at, _)| *at);
        let counted = self.rows.iter().zip(users).filter(|(_, users)| *users > 0);
        waiting.users = counted.map(|(row, users)| (row.seats.clone(), users)).collect();
        waiting
    }

    /// How many users give up a seat by these changes, or may.
    pub fn frees<'p>(&self, plan: &Plan, changes: impl Iterator<Item = (usize, &'p Change)>) -> usize {
        // Where it is not told which groups give access, any may have been the last that did.
        let is_untold = self.rows.iter().any(|row| row.groups.is_empty());
        let mut taken_out: BTreeSet<UserIx> = BTreeSet::new();
        let changes = changes.inspect(|(_, change)| match change.op {
            Op::RemoveMember { user, .. } if is_untold => drop(taken_out.insert(user)),
            _ => {}
        });
        let by_user = self.by_user(changes);
        let gives_up = |(user, at): &(UserIx, Vec<usize>)| {
            let before = self.people.get(user).cloned().unwrap_or_default();
            self.rows.iter().any(|row| {
                let mut after = before.clone();
                at.iter().for_each(|at| self.apply(&mut after, plan, &plan.changes[*at].op, row.hidden));
                self.sits(row, &before) != Sits::No && self.sits(row, &after) == Sits::No
            })
        };
        taken_out.extend(by_user.iter().filter(|user| gives_up(user)).map(|(user, _)| *user));
        taken_out.len()
    }

    /// Of the changes of one user those without which no seat of these licences is taken.
    fn ways_in(&self, plan: &Plan, at: &[usize], full: &[usize]) -> Vec<usize> {
        let of = |wanted: &dyn Fn(&Op) -> bool| at.iter().copied().filter(|at| wanted(&plan.changes[*at].op)).collect::<Vec<_>>();
        let begins = of(&|op| matches!(op, Op::CreateUser { .. } | Op::ActivateUser { .. }));
        if !begins.is_empty() {
            return begins;
        }
        of(&|op| {
            let into = |group: u32| full.iter().any(|n| self.rows[*n].groups.contains(&plan.group(group).key));
            matches!(op, Op::AddMember { group, .. } if into(*group))
        })
    }

    /// The changes that matter to seats, user by user, in the order in which each comes first.
    fn by_user<'p>(&self, changes: impl Iterator<Item = (usize, &'p Change)>) -> Vec<(UserIx, Vec<usize>)> {
        let mut places: BTreeMap<UserIx, usize> = BTreeMap::new();
        let mut by_user: Vec<(UserIx, Vec<usize>)> = Vec::new();
        for (at, change) in changes.filter(|(_, change)| !self.rows.is_empty() && self.concerns(&change.op)) {
            let Some(user) = change.op.user() else { continue };
            let place = *places.entry(user).or_insert_with(|| {
                by_user.push((user, Vec::new()));
                by_user.len() - 1
            });
            by_user[place].1.push(at);
        }
        by_user
    }

    /// Whether an op can take or free a seat.
    fn concerns(&self, op: &Op) -> bool {
        match op {
            Op::AddMember { group, .. } | Op::RemoveMember { group, .. } => {
                self.doors.get(*group as usize).copied().unwrap_or_default()
            }
            Op::CreateUser { .. } | Op::ActivateUser { .. } | Op::DeactivateUser { .. } | Op::DeleteUser { .. } => true,
            Op::LinkUser { .. } | Op::CreateGroup { .. } | Op::UpdateUser { .. } => false,
        }
    }

    /// How many seats more a user takes after these changes, and whether that is not certain.
    fn more(&self, row: &Row, user: UserIx, plan: &Plan, at: impl Iterator<Item = usize>) -> (i64, bool) {
        let before = self.people.get(&user).cloned().unwrap_or_default();
        let mut after = before.clone();
        at.for_each(|at| self.apply(&mut after, plan, &plan.changes[at].op, row.hidden));
        match (self.sits(row, &before), self.sits(row, &after)) {
            (Sits::No, Sits::No) | (Sits::Yes, Sits::Yes) => (0, false),
            (Sits::No, Sits::Yes) => (1, false),
            (Sits::Yes, Sits::No) => (-1, false),
            (Sits::No, Sits::Maybe) | (Sits::Maybe, Sits::Yes) => (1, true),
            (Sits::Yes, Sits::Maybe) | (Sits::Maybe, Sits::No) => (0, true),
            (Sits::Maybe, Sits::Maybe) => (0, true),
        }
    }

    fn apply(&self, person: &mut Person, plan: &Plan, op: &Op, hidden: bool) {
        match op {
            Op::CreateUser { .. } => *person = Person { active: true, new: true, ..Person::default() },
            Op::ActivateUser { .. } => person.active = true,
            Op::DeactivateUser { .. } if self.by_groups_alone => {
                person.inside.clear();
                // A grant of its own stays with a user who is in no group.
                person.otherwise &= !hidden;
            }
            Op::DeactivateUser { .. } => person.active = false,
            Op::DeleteUser { .. } => *person = Person::default(),
            Op::AddMember { group, .. } => {
                person.inside.insert(plan.group(*group).key.clone());
            }
            Op::RemoveMember { group, .. } => {
                person.left |= person.inside.remove(&plan.group(*group).key);
            }
            Op::LinkUser { .. } | Op::CreateGroup { .. } | Op::UpdateUser { .. } => {}
        }
    }

    fn sits(&self, row: &Row, person: &Person) -> Sits {
        if !self.by_groups_alone && !person.active {
            return Sits::No;
        }
        let sits = person.otherwise
            || (person.new && row.seats.taken_by_creation)
            || person.inside.iter().any(|group| row.groups.contains(group));
        // Where groups alone tell who is active, whoever is inactive is in none that was not read either.
        let untold = if self.by_groups_alone { person.left } else { !person.new };
        match (sits, row.hidden && untold) {
            (true, _) => Sits::Yes,
            (false, true) => Sits::Maybe,
            (false, false) => Sits::No,
        }
    }
}

fn difference(all: &[usize], less: &[usize]) -> Vec<usize> {
    all.iter().copied().filter(|at| !less.contains(at)).collect()
}

fn reason(Seats { product, used, of, .. }: &Seats) -> String {
    let of = of.unwrap_or_default();
    let rest = if *used < of { ", and others of this plan take the rest" } else { "" };
    format!("waits for a free seat of {product}: {used} of {of} are taken{rest}")
}
