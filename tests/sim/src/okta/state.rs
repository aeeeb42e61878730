//! The organisation: users, groups, memberships and one app, with the indices that its lists are read from.
//!
//! Each index is in the order in which Okta lists, so that a page is a range of it, and a change in the middle of a scan
//! has the effect that it has at Okta: a user whose status changes moves across the cursor.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::render;
use crate::harness::Clock;
use crate::world::{self, GroupKind, Person, Status, World};

/// When everything began: 2024-01-01.
pub(super) const ORIGIN: i64 = 1_704_067_200;
/// Ids of what is made at run time start here, far from those of any world.
const LATER: usize = 500_000_000;

pub(super) type Id = Arc<str>;

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: Id,
    pub(super) person: Person,
    pub(super) created: i64,
    pub(super) activated: Option<i64>,
    pub(super) status_changed: i64,
    pub(super) last_updated: i64,
    pub(super) groups: BTreeSet<Id>,
    pub(super) assignment: Option<Assignment>,
    pub(super) json: Bytes,
}

/// The app, as a user has it.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    /// The hidden id that the app's listing is ordered by. Assigned again is a new one.
    pub(super) id: Id,
    /// The group it comes from, with its name; direct assignments hide it.
    pub(super) group: Option<(Id, String)>,
    pub(super) since: i64,
    pub(super) json: Bytes,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) kind: GroupKind,
    pub(super) created: i64,
    pub(super) last_updated: i64,
    pub(super) members_updated: i64,
    pub(super) members: BTreeMap<Id, usize>,
    pub(super) json: Bytes,
    pub(super) stale: Option<Stale>,
}

/// A group as a lagging replica still shows it.
#[derive(Debug)]
pub(super) struct Stale {
    members: BTreeMap<Id, usize>,
    members_updated: i64,
    json: Bytes,
    left: usize,
}

impl Group {
    /// The object and the members as they are shown now.
    pub(super) fn shown(&self) -> (&Bytes, &BTreeMap<Id, usize>) {
        self.stale.as_ref().map_or((&self.json, &self.members), |s| (&s.json, &s.members))
    }

    /// When the members changed last, as it is shown now.
    pub(super) fn members_updated_shown(&self) -> i64 {
        self.stale.as_ref().map_or(self.members_updated, |s| s.members_updated)
    }

    /// Counts one reading of the member list; the replica catches up after the last.
    pub(super) fn was_read(&mut self) {
        let Some(stale) = &mut self.stale else { return };
        stale.left -= 1;
        if stale.left == 0 {
            self.stale = None;
        }
    }
}

/// Why somebody has the app.
enum Entitlement {
    None,
    Direct,
    Through(Id, String),
}

/// The app, as a group has it.
#[derive(Debug)]
pub(super) struct AppGroup {
    pub(super) id: Id,
    pub(super) since: i64,
    pub(super) json: Bytes,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) base: String,
    pub(super) app: Id,
    pub(super) app_json: Bytes,
    clock: Clock,
    seed: u64,
    made: usize,
    users: Vec<Option<User>>,
    by_id: BTreeMap<Id, usize>,
    by_login: BTreeMap<String, usize>,
    /// Status class, then id: the order of the plain listing.
    by_class: BTreeMap<(u8, Id), usize>,
    groups: BTreeMap<Id, Group>,
    by_name: BTreeSet<(String, Id)>,
    app_users: BTreeMap<Id, usize>,
    /// By priority.
    app_groups: BTreeMap<usize, AppGroup>,
    everyone: Option<Id>,
}

impl State {
    pub(super) fn new(world: World, base: &str, clock: Clock, (app, label): (&str, &str), everyone: bool) -> Self {
        let mut state = Self {
            base: base.to_owned(),
            app: app.into(),
            app_json: render::app(base, app, label),
            clock,
            seed: world.seed,
            made: 0,
            users: Vec::with_capacity(world.people.len()),
            by_id: BTreeMap::new(),
            by_login: BTreeMap::new(),
            by_class: BTreeMap::new(),
            groups: BTreeMap::new(),
            by_name: BTreeSet::new(),
            app_users: BTreeMap::new(),
            app_groups: BTreeMap::new(),
            everyone: None,
        };
        state.settle(world, everyone);
        state
    }

    /// Fills the organisation; objects are written once, at the end.
    fn settle(&mut self, world: World, everyone: bool) {
        if everyone {
            let id: Id = world::id("00g", self.seed, LATER * 3 / 2).into();
            self.insert_group(Arc::clone(&id), "Everyone".to_owned(), GroupKind::BuiltIn, ORIGIN);
            self.everyone = Some(id);
        }
        for (at, person) in world.people.into_iter().enumerate() {
            self.insert_user(person, ORIGIN + at as i64 * 60);
        }
        for group in world.groups {
            let id: Id = group.id.into();
            self.insert_group(Arc::clone(&id), group.name, group.kind, ORIGIN);
            for at in group.members {
                self.link(&id, at);
            }
            if group.assigned {
                self.insert_app_group(id, ORIGIN);
            }
        }
        for at in 0..self.users.len() {
            self.refresh(at);
        }
        let ids: Vec<Id> = self.groups.keys().cloned().collect();
        for id in ids {
            self.write_group(&id);
        }
    }

    pub(super) fn user(&self, at: usize) -> Option<&User> {
        self.users.get(at).and_then(Option::as_ref)
    }

    /// Finds a user as Okta does: by id, by login, or by the part of a login before the `@` if only one has it.
    pub(super) fn find_user(&self, key: &str) -> Option<usize> {
        let lower = key.to_lowercase();
        if let Some(at) = self.by_id.get(key).or_else(|| self.by_login.get(&lower)) {
            return Some(*at);
        }
        let start = format!("{lower}@");
        let mut short = self.by_login.range(start.clone()..).take_while(|(login, _)| login.starts_with(&start));
        match (short.next(), short.next()) {
            (Some((_, at)), None) => Some(*at),
            _ => None,
        }
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    /// Finds a group by id or by name.
    pub(super) fn find_group(&self, key: &str) -> Option<Id> {
        if let Some((id, _)) = self.groups.get_key_value(key) {
            return Some(Arc::clone(id));
        }
        self.groups.values().find(|g| g.name == key).map(|g| Arc::clone(&g.id))
    }

    pub(super) fn users_from(&self, after: Option<(u8, Id)>) -> impl Iterator<Item = (&(u8, Id), usize)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_class.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(key, at)| (key, *at))
    }

    pub(super) fn users_by_id(&self, after: Option<Id>) -> impl Iterator<Item = (&Id, usize)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_id.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(id, at)| (id, *at))
    }

    pub(super) fn groups_from(&self, after: Option<(String, Id)>) -> impl Iterator<Item = (&(String, Id), &Group)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = self.by_name.range((after.map_or(Unbounded, Excluded), Unbounded));
        range.filter_map(|key| self.groups.get(&key.1).map(|g| (key, g)))
    }

    pub(super) fn app_users_from(&self, after: Option<Id>) -> impl Iterator<Item = (&Id, &User)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = self.app_users.range((after.map_or(Unbounded, Excluded), Unbounded));
        range.filter_map(|(id, at)| self.user(*at).map(|u| (id, u)))
    }

    pub(super) fn app_groups_from(&self, after: Option<usize>) -> impl Iterator<Item = (usize, &AppGroup)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.app_groups.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(at, g)| (*at, g))
    }

    pub(super) fn app_group(&self, id: &str) -> Option<&AppGroup> {
        self.app_groups.values().find(|g| &*g.id == id)
    }

    /// Everything as a world again: users by id, without "Everyone".
    pub(super) fn world(&self) -> World {
        let place: BTreeMap<usize, usize> = self.by_id.values().enumerate().map(|(to, at)| (*at, to)).collect();
        let people = self.by_id.values().filter_map(|at| self.user(*at)).map(|u| u.person.clone()).collect();
        let assigned: BTreeSet<&Id> = self.app_groups.values().map(|g| &g.id).collect();
        let groups = self.groups.values().filter(|g| Some(&g.id) != self.everyone.as_ref()).map(|g| world::Group {
            id: g.id.to_string(),
            name: g.name.clone(),
            kind: g.kind,
            members: g.members.values().map(|at| place[at]).collect(),
            assigned: assigned.contains(&g.id),
        });
        World { seed: self.seed, groups: groups.collect(), people }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.epoch()).unwrap_or(i64::MAX)
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.made += 1;
        world::id(prefix, self.seed, LATER + self.made)
    }

    fn insert_user(&mut self, person: Person, created: i64) -> usize {
        let at = self.users.len();
        let id: Id = person.id.as_str().into();
        self.by_id.insert(Arc::clone(&id), at);
        self.by_login.insert(person.login.to_lowercase(), at);
        self.by_class.insert((person.status as u8, Arc::clone(&id)), at);
        self.users.push(Some(User {
            id,
            created,
            activated: (person.status != Status::Staged).then_some(created),
            status_changed: created,
            last_updated: created,
            groups: BTreeSet::new(),
            assignment: None,
            json: Bytes::new(),
            person,
        }));
        if let Some(everyone) = self.everyone.clone() {
            self.link(&everyone, at);
        }
        at
    }

    fn insert_group(&mut self, id: Id, name: String, kind: GroupKind, created: i64) {
        self.by_name.insert((name.to_lowercase(), Arc::clone(&id)));
        let description = (kind == GroupKind::BuiltIn).then(|| "All users in your organization".to_owned());
        let group = Group {
            id: Arc::clone(&id),
            name,
            description,
            kind,
            created,
            last_updated: created,
            members_updated: created,
            members: BTreeMap::new(),
            json: Bytes::new(),
            stale: None,
        };
        self.groups.insert(id, group);
    }

    fn insert_app_group(&mut self, id: Id, since: i64) {
        let priority = self.app_groups.last_key_value().map_or(0, |(p, _)| p + 1);
        let mut group = AppGroup { id, since, json: Bytes::new() };
        group.json = render::app_group(&self.base, &self.app, &group, priority);
        self.app_groups.insert(priority, group);
    }

    fn link(&mut self, group: &Id, at: usize) -> bool {
        let (Some(user), Some(group)) = (self.users[at].as_mut(), self.groups.get_mut(group)) else { return false };
        user.groups.insert(Arc::clone(&group.id));
        group.members.insert(Arc::clone(&user.id), at).is_none()
    }

    fn unlink(&mut self, group: &Id, at: usize) -> bool {
        let (Some(user), Some(group)) = (self.users[at].as_mut(), self.groups.get_mut(group)) else { return false };
        user.groups.remove(&group.id);
        group.members.remove(&user.id).is_some()
    }

    fn refresh_members(&mut self, group: &Id) {
        let members: Vec<usize> = self.groups.get(group).map(|g| g.members.values().copied().collect()).unwrap_or_default();
        for at in members {
            self.refresh(at);
        }
    }

    /// Writes a user's objects anew, and works out whether and why they have the app.
    fn refresh(&mut self, at: usize) {
        let Some(mut user) = self.users[at].take() else { return };
        let now = self.now();
        let group = match self.entitlement(&user) {
            Entitlement::None => {
                if let Some(old) = user.assignment.take() {
                    self.app_users.remove(&old.id);
                }
                None
            }
            Entitlement::Direct => Some(None),
            Entitlement::Through(id, name) => Some(Some((id, name))),
        };
        if let Some(group) = group {
            let assignment = user.assignment.get_or_insert_with(|| {
                self.made += 1;
                let id: Id = world::id("0ua", self.seed, LATER + self.made).into();
                self.app_users.insert(Arc::clone(&id), at);
                Assignment { id, group: None, since: now, json: Bytes::new() }
            });
            assignment.group = group;
        }
        user.json = render::user(&self.base, &user);
        if let Some(mut assignment) = user.assignment.take() {
            assignment.json = render::app_user(&self.base, &self.app, &user, &assignment);
            user.assignment = Some(assignment);
        }
        self.users[at] = Some(user);
    }

    /// Whether a user has the app, and through what; a direct assignment hides those through groups.
    fn entitlement(&self, user: &User) -> Entitlement {
        if user.person.status == Status::Deprovisioned {
            return Entitlement::None;
        }
        if user.person.assigned {
            return Entitlement::Direct;
        }
        let Some(winner) = self.app_groups.values().find(|g| user.groups.contains(&g.id)) else {
            return Entitlement::None;
        };
        let name = self.groups.get(&winner.id).map(|g| g.name.clone()).unwrap_or_default();
        Entitlement::Through(Arc::clone(&winner.id), name)
    }

    fn write_group(&mut self, id: &Id) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.json = render::group(&self.base, group);
    }
}
