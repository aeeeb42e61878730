//! Rosters: everything one system holds in scope, whole. A reader that could not finish returns an error, never a
//! shorter roster.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::key::{SourceKey, TargetKey};

/// A position in a roster's (or plan's) list of users.
pub type UserIx = u32;
/// A position in a roster's (or plan's) list of groups.
pub type GroupIx = u32;

/// What a source's status means for the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Should exist and be active.
    Entitled,
    /// Not yet: nothing is created, and an account that is already linked is left as it is.
    Pending,
    /// Known to the source and not allowed in: a leaver whose cause is *disabled*.
    Disabled,
}

/// A user as a source tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceUser {
    /// The immutable id.
    pub key: SourceKey,
    /// The login name as written at the source.
    pub login: SmolStr,
    /// The e-mail address, where there is one.
    pub email: Option<SmolStr>,
    /// Given name.
    pub first_name: Option<SmolStr>,
    /// Family name.
    pub last_name: Option<SmolStr>,
    /// The name to show, where the source keeps one of its own.
    pub display_name: Option<SmolStr>,
    /// The status in the source's own word, for filters and for people.
    pub status: SmolStr,
    /// What that status means here.
    pub lifecycle: Lifecycle,
    /// The profile attributes that the job's expressions name, as one JSON object in text; `None` where they name none.
    /// Kept as text since a parsed tree takes some ten times the memory.
    pub profile: Option<Box<str>>,
}

/// A group as a source tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceGroup {
    /// The immutable id.
    pub key: SourceKey,
    /// The name as written at the source.
    pub name: SmolStr,
    /// Direct members, ascending, each once.
    pub members: Vec<UserIx>,
    /// Groups that are members of this one, ascending, each once. Circles are possible.
    pub subgroups: Vec<GroupIx>,
}

/// All users and groups of a source that are in scope. Users and groups ascend by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRoster {
    /// The users, ascending by key.
    pub users: Vec<SourceUser>,
    /// The groups, ascending by key.
    pub groups: Vec<SourceGroup>,
}

impl SourceRoster {
    /// The position of a user.
    pub fn user(&self, key: &SourceKey) -> Option<UserIx> {
        self.users.binary_search_by(|u| u.key.cmp(key)).ok().map(|i| i as UserIx)
    }
    /// The position of a group.
    pub fn group(&self, key: &SourceKey) -> Option<GroupIx> {
        self.groups.binary_search_by(|g| g.key.cmp(key)).ok().map(|i| i as GroupIx)
    }
    /// The number of direct memberships.
    pub fn memberships(&self) -> usize {
        self.groups.iter().map(|g| g.members.len()).sum()
    }
}

/// Gathers a [`SourceRoster`] from pages that come in any order.
#[derive(Debug, Default)]
pub struct SourceRosterBuilder {
    ids: FxHashMap<SourceKey, u32>,
    users: Vec<Option<SourceUser>>,
    /// Whether each user was added: beside the users, so that to ask for a member touches a byte and not a record.
    added: Vec<bool>,
    group_ids: FxHashMap<SourceKey, u32>,
    groups: Vec<Gathered>,
}

/// A source group in the making; without a name as long as only a membership spoke of it.
#[derive(Debug)]
struct Gathered {
    key: SourceKey,
    name: Option<SmolStr>,
    members: Vec<u32>,
    subgroups: Vec<u32>,
}

impl SourceRosterBuilder {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn id(&mut self, key: &str) -> u32 {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let id = self.users.len() as u32;
        self.users.push(None);
        self.added.push(false);
        self.ids.insert(SourceKey::from(key), id);
        id
    }

    fn group_id(&mut self, key: &str) -> u32 {
        if let Some(id) = self.group_ids.get(key) {
            return *id;
        }
        let id = self.groups.len() as u32;
        let key = SourceKey::from(key);
        self.groups.push(Gathered { key: key.clone(), name: None, members: Vec::new(), subgroups: Vec::new() });
        self.group_ids.insert(key, id);
        id
    }

    /// Adds a user. One that is already there is replaced: a listing may repeat a user whose status changed meanwhile,
    /// and the later reading is the fresher one.
    pub fn user(&mut self, user: SourceUser) {
        let id = self.id(user.key.as_str()) as usize;
        self.users[id] = Some(user);
        self.added[id] = true;
    }

    /// Adds a group, or renames one that is there.
    pub fn group(&mut self, key: &str, name: &str) {
        let id = self.group_id(key) as usize;
        self.groups[id].name = Some(name.into());
    }

    /// Notes that a user is a direct member of a group. Both may be added later.
    pub fn member(&mut self, group: &str, user: &str) {
        let user = self.id(user);
        let group = self.group_id(group) as usize;
        self.groups[group].members.push(user);
    }

    /// Notes a page of direct members of a group, and gives the positions of those who were not added as users.
    pub fn members<'k>(&mut self, group: &str, users: impl IntoIterator<Item = &'k str>) -> Vec<usize> {
        let group = self.group_id(group) as usize;
        let mut strangers = Vec::new();
        for (at, user) in users.into_iter().enumerate() {
            let user = self.id(user);
            self.groups[group].members.push(user);
            if !self.added[user as usize] {
                strangers.push(at);
            }
        }
        strangers
    }

    /// Notes that a group is a member of a group.
    pub fn subgroup(&mut self, group: &str, child: &str) {
        let child = self.group_id(child);
        let group = self.group_id(group) as usize;
        self.groups[group].subgroups.push(child);
    }

    /// The users so far.
    pub fn users_len(&self) -> usize {
        self.users.iter().flatten().count()
    }

    /// Sorts everything and drops members and subgroups that were named but never added: they are out of scope.
    pub fn build(self) -> SourceRoster {
        let user_places = places(&self.users.iter().map(|u| u.as_ref().map(|u| &u.key)).collect::<Vec<_>>());
        let group_places = places(&self.groups.iter().map(|g| g.name.as_ref().map(|_| &g.key)).collect::<Vec<_>>());
        let mut users: Vec<SourceUser> = self.users.into_iter().flatten().collect();
        users.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let mut groups: Vec<SourceGroup> = self
            .groups
            .into_iter()
            .filter_map(|Gathered { key, name, members, subgroups }| {
                Some(SourceGroup {
                    key,
                    name: name?,
                    members: renumbered(members, &user_places),
                    subgroups: renumbered(subgroups, &group_places),
                })
            })
            .collect();
        groups.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        SourceRoster { users, groups }
    }
}

/// A user as a target holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetUser {
    /// The stable id.
    pub key: TargetKey,
    /// The user name as the target spells it.
    pub name: SmolStr,
    /// The e-mail address; `None` where the target does not tell it, which is not the same as an empty one.
    pub email: Option<SmolStr>,
    /// The name shown; `None` where the target does not tell it.
    pub display_name: Option<SmolStr>,
    /// Whether the account can be used.
    pub active: bool,
    /// Whether the account lies in a directory that can be written to.
    pub writable: bool,
}

/// A group as a target holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The folded name.
    pub key: TargetKey,
    /// The name as the target spells it.
    pub name: SmolStr,
    /// Whether memberships of this group can be written.
    pub writable: bool,
    /// Members, ascending, each once.
    pub members: Vec<UserIx>,
}

/// What a target holds of what was asked for: every wanted user and group that exists, every member of those groups.
/// Users and groups ascend by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRoster {
    /// The users, ascending by key. Users who were not asked for may be among them, as members or since the target was
    /// read by listing.
    pub users: Vec<TargetUser>,
    /// The wanted groups that exist, ascending by key.
    pub groups: Vec<TargetGroup>,
}

impl TargetRoster {
    /// The position of a user.
    pub fn user(&self, key: &TargetKey) -> Option<UserIx> {
        self.users.binary_search_by(|u| u.key.cmp(key)).ok().map(|i| i as UserIx)
    }
    /// The position of a group.
    pub fn group(&self, key: &TargetKey) -> Option<GroupIx> {
        self.groups.binary_search_by(|g| g.key.cmp(key)).ok().map(|i| i as GroupIx)
    }
    /// The number of memberships.
    pub fn memberships(&self) -> usize {
        self.groups.iter().map(|g| g.members.len()).sum()
    }
}

/// Gathers a [`TargetRoster`] from pages that come in any order. Users are numbered as they come, so that a membership is a
/// number and not another copy of a key: there are ten times as many memberships as users.
#[derive(Debug, Default)]
pub struct TargetRosterBuilder {
    ids: FxHashMap<TargetKey, u32>,
    users: Vec<Option<TargetUser>>,
    groups: FxHashMap<TargetKey, GatheredTarget>,
}

/// A target group in the making.
#[derive(Debug)]
struct GatheredTarget {
    name: SmolStr,
    writable: bool,
    members: Vec<u32>,
}

impl TargetRosterBuilder {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }
    /// Starts with nothing, and with room for so many users: to grow into it would take half as much again.
    pub fn for_users(count: usize) -> Self {
        let mut ids = FxHashMap::default();
        ids.reserve(count);
        Self { ids, users: Vec::with_capacity(count), groups: FxHashMap::default() }
    }
    /// Adds a user; one that is already there is replaced.
    pub fn user(&mut self, user: TargetUser) {
        let id = self.id(&user.key);
        self.users[id as usize] = Some(user);
    }
    /// Adds a user unless one with this key is there: for members, which some targets tell in less detail.
    pub fn user_if_new(&mut self, user: TargetUser) {
        let id = self.id(&user.key);
        self.users[id as usize].get_or_insert(user);
    }
    /// The user with this key, if added.
    pub fn get(&self, key: &str) -> Option<&TargetUser> {
        self.users[*self.ids.get(key)? as usize].as_ref()
    }
    /// Adds a group; its key is its folded name.
    pub fn group(&mut self, name: &str, writable: bool) {
        let new = || GatheredTarget { name: name.into(), writable, members: Vec::new() };
        self.groups.entry(super::key::group_key(name)).or_insert_with(new);
    }
    /// Notes a member of a group that was added.
    pub fn member(&mut self, group: &TargetKey, user: &TargetKey) {
        let user = self.id(user);
        if let Some(group) = self.groups.get_mut(group) {
            group.members.push(user);
        }
    }
    /// Sorts everything. A member who was not added as a user is dropped.
    pub fn build(self) -> TargetRoster {
        drop(self.ids);
        let places = places(&self.users.iter().map(|u| u.as_ref().map(|u| &u.key)).collect::<Vec<_>>());
        let mut users: Vec<TargetUser> = self.users.into_iter().flatten().collect();
        users.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        users.shrink_to_fit();
        let mut groups: Vec<TargetGroup> = self
            .groups
            .into_iter()
            .map(|(key, GatheredTarget { name, writable, members })| TargetGroup {
                key,
                name,
                writable,
                members: renumbered(members, &places),
            })
            .collect();
        groups.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        TargetRoster { users, groups }
    }

    fn id(&mut self, key: &TargetKey) -> u32 {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let id = self.users.len() as u32;
        self.users.push(None);
        self.ids.insert(key.clone(), id);
        id
    }
}

/// The place of what was never added.
const NOWHERE: u32 = u32::MAX;

/// The place of each key among those that are there, ascending.
fn places<K: Ord>(keys: &[Option<&K>]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..keys.len() as u32).filter(|i| keys[*i as usize].is_some()).collect();
    order.sort_unstable_by_key(|i| keys[*i as usize]);
    let mut places = vec![NOWHERE; keys.len()];
    for (place, id) in order.iter().enumerate() {
        places[*id as usize] = place as u32;
    }
    places
}

/// Numbers as places, ascending, each once, without what was never added.
fn renumbered(ids: Vec<u32>, places: &[u32]) -> Vec<u32> {
    let mut at: Vec<u32> = ids.into_iter().map(|i| places[i as usize]).filter(|p| *p != NOWHERE).collect();
    at.sort_unstable();
    at.dedup();
    at.shrink_to_fit();
    at
}
