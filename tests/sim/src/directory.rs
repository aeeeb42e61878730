//! The embedded user directory that Jira, Confluence and Bitbucket have in common: users, groups, memberships.
//!
//! The three products share one ancestor here, and with it the same habits: a name keeps its case and is compared without it,
//! a membership survives a deactivation, a licence counts the active members of certain groups. So they share one
//! model, and each simulator adds only its own way of speaking. Everything is kept in ordered maps by id, with an index by
//! folded name: a page of a group of 20,000 costs a page, and the order never changes between two readings.
//!
//! The methods are also the hands of a test: they change the directory as an administrator would, behind the back of
//! whoever is being tested, and are not counted as writes. The simulators count theirs with [`Directory::wrote`].

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory that a simulator serves while a test looks into it.
pub type Shared = Arc<Mutex<Directory>>;

/// Locks a shared directory. A test that panicked while it held the lock leaves the directory usable.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Directory> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The id of a user; ids rise in the order of creation and are never used again.
pub type UserId = u64;
/// The id of a group; ids rise in the order of creation and are never used again.
pub type GroupId = u64;

/// Which stable keys a product gives to its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `JIRAUSER10100`
    Jira,
    /// 32 hexadecimal digits, as of Confluence.
    Hex,
    /// The number itself, as of Bitbucket.
    Number,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The stable key that the product shows; it survives a rename.
    pub key: String,
    name: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    active: bool,
    /// The user comes from a read-only directory: name, details and activity cannot be changed, nor the user deleted.
    pub read_only: bool,
    /// Neither can the memberships (a read-only directory without local groups).
    pub memberships_fixed: bool,
    /// The user leads a project, so that Jira refuses to deactivate or delete it.
    pub leads_project: bool,
    groups: BTreeSet<GroupId>,
}

impl User {
    /// The user name as written.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whether the user may log in; [`Directory::set_active`] changes it.
    pub fn is_active(&self) -> bool {
        self.active
    }
    /// The groups that the user is a direct member of.
    pub fn groups(&self) -> &BTreeSet<GroupId> {
        &self.groups
    }
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// The id.
    pub id: GroupId,
    name: String,
    /// Whether an active member of it takes a licence seat.
    pub licensed: bool,
    /// The group comes from a read-only directory: it can neither be deleted nor change its members.
    pub read_only: bool,
    members: Vec<UserId>,
}

impl Group {
    /// The name as written.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The members, in the order of their creation. A slice, so that a page far down costs no more than the first.
    pub fn members(&self) -> &[UserId] {
        &self.members
    }

    fn drop_member(&mut self, user: UserId) -> bool {
        let at = self.members.binary_search(&user);
        if let Ok(at) = at {
            self.members.remove(at);
        }
        at.is_ok()
    }
}

/// Why the directory did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No user has that name.
    NoSuchUser,
    /// No group has that name.
    NoSuchGroup,
    /// Another user has that name, in whatever case.
    UserExists,
    /// Another group has that name, in whatever case.
    GroupExists,
}

/// Users, groups and memberships of one instance.
#[derive(Clone, Debug)]
pub struct Directory {
    keys: Keys,
    next: u64,
    users: BTreeMap<UserId, User>,
    user_names: BTreeMap<String, UserId>,
    user_keys: BTreeMap<String, UserId>,
    inactive: BTreeSet<UserId>,
    /// Made by the first search, and anew by the first one after a user has changed.
    index: Option<search::Index>,
    groups: BTreeMap<GroupId, Group>,
    group_names: BTreeMap<String, GroupId>,
    /// How many licence seats there are; `None`: as many as one likes.
    pub seats: Option<usize>,
    writes: usize,
}

impl Directory {
    /// An empty directory.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            next: 10_000,
            users: BTreeMap::new(),
            user_names: BTreeMap::new(),
            user_keys: BTreeMap::new(),
            inactive: BTreeSet::new(),
            index: None,
            groups: BTreeMap::new(),
            group_names: BTreeMap::new(),
            seats: None,
            writes: 0,
        }
    }

    /// The same, to share between a simulator and a test.
    pub fn shared(keys: Keys) -> Shared {
        Arc::new(Mutex::new(Self::new(keys)))
    }

    /// Adds an active user.
    ///
    /// # Errors
    /// [`Refusal::UserExists`].
    pub fn add_user(&mut self, name: &str, email: &str, display_name: &str) -> Result<UserId, Refusal> {
        let folded = fold(name);
        if self.user_names.contains_key(&folded) {
            return Err(Refusal::UserExists);
        }
        self.next += 1;
        let id = self.next;
        let key = match self.keys {
            Keys::Jira => format!("JIRAUSER{id}"),
            Keys::Hex => format!("4028b88189abcdef{id:016x}"),
            Keys::Number => id.to_string(),
        };
        self.user_names.insert(folded, id);
        self.user_keys.insert(key.clone(), id);
        let user = User {
            id,
            key,
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            email: email.to_owned(),
            active: true,
            read_only: false,
            memberships_fixed: false,
            leads_project: false,
            groups: BTreeSet::new(),
        };
        if let Some(index) = &mut self.index {
            index.add(&user);
        }
        self.users.insert(id, user);
        Ok(id)
    }

    /// Adds an empty group.
    ///
    /// # Errors
    /// [`Refusal::GroupExists`].
    pub fn add_group(&mut self, name: &str) -> Result<GroupId, Refusal> {
        let folded = fold(name);
        if self.group_names.contains_key(&folded) {
            return Err(Refusal::GroupExists);
        }
        self.next += 1;
        let id = self.next;
        self.group_names.insert(folded, id);
        let group = Group { id, name: name.to_owned(), licensed: false, read_only: false, members: Vec::new() };
        self.groups.insert(id, group);
        Ok(id)
    }

    /// Makes a user a member. False: it was one already.
    ///
    /// # Errors
    /// [`Refusal::NoSuchGroup`] before [`Refusal::NoSuchUser`].
    pub fn join(&mut self, group: &str, user: &str) -> Result<bool, Refusal> {
        let (group, user) = self.pair(group, user)?;
        self.join_ids(group, user)
    }

    /// The same by ids, for seeding a large world.
    ///
    /// # Errors
    /// [`Refusal::NoSuchGroup`] before [`Refusal::NoSuchUser`].
    pub fn join_ids(&mut self, group: GroupId, user: UserId) -> Result<bool, Refusal> {
        let members = self.groups.get_mut(&group).ok_or(Refusal::NoSuchGroup)?;
        let groups = self.users.get_mut(&user).ok_or(Refusal::NoSuchUser)?;
        groups.groups.insert(group);
        let at = members.members.binary_search(&user);
        if let Err(at) = at {
            members.members.insert(at, user);
        }
        Ok(at.is_err())
    }

    /// Ends a membership. False: there was none.
    ///
    /// # Errors
    /// [`Refusal::NoSuchGroup`] before [`Refusal::NoSuchUser`].
    pub fn leave(&mut self, group: &str, user: &str) -> Result<bool, Refusal> {
        let (group, user) = self.pair(group, user)?;
        if let Some(user) = self.users.get_mut(&user) {
            user.groups.remove(&group);
        }
        Ok(self.groups.get_mut(&group).is_some_and(|g| g.drop_member(user)))
    }

    /// Gives a user another name. Key and memberships stay. A change of case alone is a rename too.
    ///
    /// # Errors
    /// [`Refusal::NoSuchUser`], [`Refusal::UserExists`].
    pub fn rename_user(&mut self, from: &str, to: &str) -> Result<(), Refusal> {
        let id = *self.user_names.get(&fold(from)).ok_or(Refusal::NoSuchUser)?;
        if self.user_names.get(&fold(to)).is_some_and(|other| *other != id) {
            return Err(Refusal::UserExists);
        }
        self.index = None;
        self.user_names.remove(&fold(from));
        self.user_names.insert(fold(to), id);
        if let Some(user) = self.users.get_mut(&id) {
            to.clone_into(&mut user.name);
        }
        Ok(())
    }

    /// Activates or deactivates a user; the memberships stay. False: it was so already.
    ///
    /// # Errors
    /// [`Refusal::NoSuchUser`].
    pub fn set_active(&mut self, name: &str, active: bool) -> Result<bool, Refusal> {
        let id = *self.user_names.get(&fold(name)).ok_or(Refusal::NoSuchUser)?;
        let user = self.users.get_mut(&id).ok_or(Refusal::NoSuchUser)?;
        let changed = user.active != active;
        user.active = active;
        if active {
            self.inactive.remove(&id)
        } else {
            self.inactive.insert(id)
        };
        Ok(changed)
    }

    /// Deletes a user with its memberships. A user made later under the same name is another one.
    ///
    /// # Errors
    /// [`Refusal::NoSuchUser`].
    pub fn delete_user(&mut self, name: &str) -> Result<User, Refusal> {
        let id = self.user_names.remove(&fold(name)).ok_or(Refusal::NoSuchUser)?;
        let user = self.users.remove(&id).ok_or(Refusal::NoSuchUser)?;
        self.index = None;
        self.user_keys.remove(&user.key);
        self.inactive.remove(&id);
        for group in &user.groups {
            if let Some(group) = self.groups.get_mut(group) {
                group.drop_member(id);
            }
        }
        Ok(user)
    }

    /// Deletes a group with its memberships.
    ///
    /// # Errors
    /// [`Refusal::NoSuchGroup`].
    pub fn delete_group(&mut self, name: &str) -> Result<Group, Refusal> {
        let id = self.group_names.remove(&fold(name)).ok_or(Refusal::NoSuchGroup)?;
        let group = self.groups.remove(&id).ok_or(Refusal::NoSuchGroup)?;
        for user in &group.members {
            if let Some(user) = self.users.get_mut(user) {
                user.groups.remove(&id);
            }
        }
        Ok(group)
    }

    /// The user of that name, in whatever case.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(self.user_names.get(&fold(name))?)
    }

    /// The same, to change its details by hand.
    pub fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.index = None;
        self.users.get_mut(self.user_names.get(&fold(name))?)
    }

    /// The user of that stable key.
    pub fn user_by_key(&self, key: &str) -> Option<&User> {
        self.users.get(self.user_keys.get(key)?)
    }

    /// The user of that id.
    pub fn user_by_id(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// The group of that name, in whatever case.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(self.group_names.get(&fold(name))?)
    }

    /// The same, to change its flags by hand.
    pub fn group_mut(&mut self, name: &str) -> Option<&mut Group> {
        self.groups.get_mut(self.group_names.get(&fold(name))?)
    }

    /// The group of that id.
    pub fn group_by_id(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// All users, ordered by folded name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.user_names.values().filter_map(|id| self.users.get(id))
    }

    /// The users in whose name, full name or address this folded part stands, ordered by folded name.
    pub fn users_with(&mut self, part: &str) -> Vec<&User> {
        if self.index.is_none() && part.len() >= 3 {
            let mut index = search::Index::default();
            self.users.values().for_each(|user| index.add(user));
            self.index = Some(index);
        }
        let Some(candidates) = self.index.as_ref().and_then(|index| index.candidates(part)) else {
            return self.users().filter(|user| search::has(user, part)).collect();
        };
        let found = candidates.iter().filter_map(|id| self.users.get(id)).filter(|user| search::has(user, part));
        let by_name: BTreeMap<String, &User> = found.map(|user| (fold(&user.name), user)).collect();
        by_name.into_values().collect()
    }

    /// The users whose id is greater, in the order of creation.
    pub fn users_after(&self, id: UserId) -> impl Iterator<Item = &User> {
        self.users.range(id.saturating_add(1)..).map(|(_, user)| user)
    }

    /// All groups, ordered by folded name.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.group_names.values().filter_map(|id| self.groups.get(id))
    }

    /// The members of a group, in the order of their creation.
    pub fn members(&self, group: &Group) -> impl Iterator<Item = &User> {
        group.members.iter().filter_map(|id| self.users.get(id))
    }

    /// How many members of a group are inactive.
    pub fn inactive_members(&self, group: &Group) -> usize {
        self.inactive.iter().filter(|id| group.members.binary_search(id).is_ok()).count()
    }

    /// The groups of a user, in the order of their creation.
    pub fn groups_of(&self, user: &User) -> impl Iterator<Item = &Group> {
        user.groups.iter().filter_map(|id| self.groups.get(id))
    }

    /// The names of a group's members, sorted; empty if there is no such group. For assertions.
    pub fn member_names(&self, group: &str) -> BTreeSet<String> {
        let Some(group) = self.group(group) else { return BTreeSet::new() };
        self.members(group).map(|u| u.name.clone()).collect()
    }

    /// The names of a user's groups, sorted; empty if there is no such user. For assertions.
    pub fn group_names(&self, user: &str) -> BTreeSet<String> {
        let Some(user) = self.user(user) else { return BTreeSet::new() };
        self.groups_of(user).map(|g| g.name.clone()).collect()
    }

    /// Whether that user is a member of that group.
    pub fn is_member(&self, group: &str, user: &str) -> bool {
        self.pair(group, user).is_ok_and(|(group, user)| self.users.get(&user).is_some_and(|u| u.groups.contains(&group)))
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether a user takes a licence seat: it is active and in a licensed group.
    pub fn is_licensed(&self, user: &User) -> bool {
        user.active && self.groups_of(user).any(|g| g.licensed)
    }

    /// How many licence seats are taken.
    pub fn seats_taken(&self) -> usize {
        let licensed: BTreeSet<UserId> =
            self.groups.values().filter(|g| g.licensed).flat_map(|g| g.members.iter().copied()).collect();
        licensed.iter().filter(|id| self.users.get(id).is_some_and(|u| u.active)).count()
    }

    /// Whether no further user finds a seat.
    pub fn is_full(&self) -> bool {
        self.seats.is_some_and(|seats| self.seats_taken() >= seats)
    }

    /// How many writes came over REST and changed something.
    pub fn writes(&self) -> usize {
        self.writes
    }

    /// Counts a write that came over REST and changed something.
    pub fn wrote(&mut self) {
        self.writes += 1;
    }

    fn pair(&self, group: &str, user: &str) -> Result<(GroupId, UserId), Refusal> {
        let group = *self.group_names.get(&fold(group)).ok_or(Refusal::NoSuchGroup)?;
        let user = *self.user_names.get(&fold(user)).ok_or(Refusal::NoSuchUser)?;
        Ok((group, user))
    }
}

/// A name as it is compared: the products lower-case it in the root locale.
pub fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Whether `text` begins with `prefix`, which is folded already. Without copying: it is asked 20,000 times a search.
pub fn starts_folded(text: &str, prefix: &str) -> bool {
    let mut folded = text.chars().flat_map(char::to_lowercase);
    prefix.chars().all(|wanted| folded.next() == Some(wanted))
}

/// Whether `text` contains `part`, which is folded already.
pub fn contains_folded(text: &str, part: &str) -> bool {
    part.is_empty() || text.char_indices().any(|(at, _)| starts_folded(&text[at..], part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_case_and_are_compared_without_it() {
        let mut directory = Directory::new(Keys::Jira);
        directory.add_user("Ann", "ann@example.com", "Ann").unwrap();
        directory.add_group("Devs").unwrap();
        assert_eq!(directory.add_user("aNN", "", ""), Err(Refusal::UserExists));
        assert_eq!(directory.add_group("DEVS"), Err(Refusal::GroupExists));
        assert_eq!(directory.join("dEVS", "ANN"), Ok(true));
        assert_eq!(directory.join("devs", "ann"), Ok(false));
        assert_eq!(directory.user("ANN").unwrap().name(), "Ann");
        assert_eq!(directory.member_names("devs"), BTreeSet::from(["Ann".to_owned()]));
    }

    #[test]
    fn a_rename_keeps_key_and_memberships_and_refuses_a_taken_name() {
        let mut directory = Directory::new(Keys::Hex);
        directory.add_user("ann", "", "").unwrap();
        directory.add_user("bob", "", "").unwrap();
        directory.add_group("devs").unwrap();
        directory.join("devs", "ann").unwrap();
        let key = directory.user("ann").unwrap().key.clone();
        assert_eq!(directory.rename_user("ann", "BOB"), Err(Refusal::UserExists));
        directory.rename_user("ann", "anne").unwrap();
        assert_eq!(directory.user_by_key(&key).unwrap().name(), "anne");
        assert!(directory.user("ann").is_none());
        assert!(directory.is_member("devs", "anne"));
    }

    #[test]
    fn deleting_a_user_or_a_group_ends_its_memberships() {
        let mut directory = Directory::new(Keys::Number);
        directory.add_user("ann", "", "").unwrap();
        for group in ["a", "b"] {
            directory.add_group(group).unwrap();
            directory.join(group, "ann").unwrap();
        }
        directory.delete_group("a").unwrap();
        assert_eq!(directory.group_names("ann"), BTreeSet::from(["b".to_owned()]));
        directory.delete_user("ann").unwrap();
        assert!(directory.member_names("b").is_empty());
        directory.add_user("ann", "", "").unwrap();
        assert!(directory.group_names("ann").is_empty());
    }

    #[test]
    fn a_search_by_a_part_finds_the_same_with_and_without_its_index() {
        let mut directory = Directory::new(Keys::Number);
        for (name, email) in [("Zoë.Ann", "zoe@x"), ("ann", "ann@x"), ("bob", "joANNe@x")] {
            directory.add_user(name, email, "").unwrap();
        }
        let names =
            |directory: &mut Directory, part| directory.users_with(part).iter().map(|u| u.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&mut directory, ""), ["ann", "bob", "Zoë.Ann"]);
        assert_eq!(names(&mut directory, "ann"), ["ann", "bob", "Zoë.Ann"]);
        directory.add_user("Hanna", "", "").unwrap();
        directory.user_mut("bob").unwrap().email.clear();
        assert_eq!(names(&mut directory, "ann"), ["ann", "Hanna", "Zoë.Ann"]);
        directory.rename_user("ann", "carl").unwrap();
        directory.user_mut("carl").unwrap().email.clear();
        assert_eq!(names(&mut directory, "ann"), ["Hanna", "Zoë.Ann"]);
        directory.delete_user("hanna").unwrap();
        assert_eq!(names(&mut directory, "zoë"), ["Zoë.Ann"]);
        assert_eq!(names(&mut directory, "ann"), ["Zoë.Ann"]);
        assert!(names(&mut directory, "anne").is_empty());
    }

    #[test]
    fn seats_count_active_members_of_licensed_groups_once() {
        let mut directory = Directory::new(Keys::Jira);
        for group in ["users", "admins"] {
            directory.add_group(group).unwrap();
            directory.group_mut(group).unwrap().licensed = true;
        }
        for user in ["ann", "bob"] {
            directory.add_user(user, "", "").unwrap();
            directory.join("users", user).unwrap();
            directory.join("admins", user).unwrap();
        }
        assert_eq!(directory.seats_taken(), 2);
        directory.set_active("bob", false).unwrap();
        directory.seats = Some(2);
        assert!(!directory.is_full());
        directory.seats = Some(1);
        assert!(directory.is_full());
    }
}
