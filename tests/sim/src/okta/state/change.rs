//! What can happen to the organisation, as its administrators would do it.
//!
//! Each change leaves every index and every written object as it would be had the organisation begun that way.

use std::sync::Arc;

use super::{Id, Stale, State};
use crate::world::{GroupKind, Person, Status};

impl State {
    /// Adds a user; an empty id gets one.
    pub(in crate::okta) fn add_user(&mut self, mut person: Person) -> Id {
        if person.id.is_empty() {
            person.id = self.fresh("00u");
        }
        let now = self.now();
        let at = self.insert_user(person, now);
        self.refresh(at);
        if let Some(everyone) = self.everyone.clone() {
            if let Some(group) = self.groups.get_mut(&everyone) {
                group.members_updated = now;
            }
            self.write_group(&everyone);
        }
        self.user(at).map(|u| Arc::clone(&u.id)).expect("it was just added")
    }

    /// Changes what a user is; the login index and everything written follows.
    pub(in crate::okta) fn change_user(&mut self, at: usize, change: impl FnOnce(&mut Person)) {
        let now = self.now();
        let Some(user) = self.users[at].as_mut() else { return };
        let before = (user.person.status, user.person.login.to_lowercase());
        change(&mut user.person);
        user.last_updated = now;
        let after = (user.person.status, user.person.login.to_lowercase());
        if before.0 != after.0 {
            user.status_changed = now;
            if after.0 != Status::Staged {
                user.activated.get_or_insert(now);
            }
            if after.0 == Status::Deprovisioned {
                // Deactivation takes direct assignments for good; memberships stay.
                user.person.assigned = false;
            }
            let id = Arc::clone(&user.id);
            self.by_class.remove(&(before.0 as u8, Arc::clone(&id)));
            self.by_class.insert((after.0 as u8, id), at);
        }
        if before.1 != after.1 {
            self.by_login.remove(&before.1);
            self.by_login.insert(after.1, at);
        }
        self.refresh(at);
    }

    /// Assigns the app directly, or takes that away; no change of the user itself.
    pub(in crate::okta) fn assign_user(&mut self, at: usize, assigned: bool) {
        if let Some(user) = self.users[at].as_mut() {
            user.person.assigned = assigned;
        }
        self.refresh(at);
    }

    pub(in crate::okta) fn delete_user(&mut self, at: usize) {
        let Some(user) = self.users[at].take() else { return };
        self.by_id.remove(&user.id);
        self.by_login.remove(&user.person.login.to_lowercase());
        self.by_class.remove(&(user.person.status as u8, Arc::clone(&user.id)));
        if let Some(assignment) = &user.assignment {
            self.app_users.remove(&assignment.id);
        }
        let now = self.now();
        for id in &user.groups {
            if let Some(group) = self.groups.get_mut(id) {
                group.members.remove(&user.id);
                group.members_updated = now;
            }
            self.write_group(id);
        }
    }

    pub(in crate::okta) fn add_group(&mut self, name: &str, kind: GroupKind) -> Id {
        let id: Id = self.fresh("00g").into();
        self.insert_group(Arc::clone(&id), name.to_owned(), kind, self.now());
        self.write_group(&id);
        id
    }

    pub(in crate::okta) fn rename_group(&mut self, id: &Id, name: &str) {
        let now = self.now();
        let Some(group) = self.groups.get_mut(id) else { return };
        self.by_name.remove(&(group.name.to_lowercase(), Arc::clone(id)));
        group.name = name.to_owned();
        group.last_updated = now;
        self.by_name.insert((group.name.to_lowercase(), Arc::clone(id)));
        self.write_group(id);
        self.refresh_members(id);
    }

    pub(in crate::okta) fn delete_group(&mut self, id: &Id) {
        let Some(group) = self.groups.remove(id) else { return };
        self.by_name.remove(&(group.name.to_lowercase(), Arc::clone(id)));
        self.app_groups.retain(|_, g| g.id != *id);
        for at in group.members.into_values() {
            if let Some(user) = self.users[at].as_mut() {
                user.groups.remove(id);
            }
            self.refresh(at);
        }
    }

    /// Adds a membership or takes it away. Repeated, it changes nothing.
    pub(in crate::okta) fn set_member(&mut self, group: &Id, at: usize, member: bool) {
        let changed = if member { self.link(group, at) } else { self.unlink(group, at) };
        if !changed {
            return;
        }
        let now = self.now();
        if let Some(group) = self.groups.get_mut(group) {
            group.members_updated = now;
        }
        self.write_group(group);
        self.refresh(at);
    }

    pub(in crate::okta) fn assign_group(&mut self, id: &Id, assigned: bool) {
        let has = self.app_group(id).is_some();
        match (has, assigned) {
            (false, true) => self.insert_app_group(Arc::clone(id), self.now()),
            (true, false) => self.app_groups.retain(|_, g| g.id != *id),
            (true, true) | (false, false) => return,
        }
        self.refresh_members(id);
    }

    /// From now on the group looks as it does now for so many readings of its member list.
    pub(in crate::okta) fn freeze(&mut self, id: &Id, readings: usize) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let (json, members) = (group.json.clone(), group.members.clone());
        let members_updated = group.members_updated;
        group.stale = (readings > 0).then_some(Stale { members, members_updated, json, left: readings });
    }
}
