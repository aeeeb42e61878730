//! Reads Bitbucket: listings to their last page, or not at all.
//!
//! Members come before users, since they come in the same detail: only if a wanted user is in no group that was read are users
//! asked for. The groups that give access are read along with the wanted ones, for whoever is in none of them is inactive.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt, TryStreamExt};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::DeserializeOwned;

use super::Bitbucket;
use super::land::{Groups, Land};
use super::wire::{Group, Page, User};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Wanted, WantedUser};
use crate::http::page::Pages;
use crate::http::wire::Call;
use crate::model::key::{TargetKey, fold, folded, group_key};
use crate::model::roster::{TargetRoster, TargetRosterBuilder, TargetUser};

/// How many are asked for at once: the most that a server gives unless it is set lower.
const LIMIT: u64 = 1000;

/// What was read of the groups.
#[derive(Default)]
struct Members {
    /// Everyone who is in a group that was read.
    users: BTreeMap<TargetKey, User>,
    /// Everyone who is in a group that gives access.
    let_in: BTreeSet<TargetKey>,
    /// Everyone who is in a wanted group.
    shown: FxHashSet<TargetKey>,
}

impl Bitbucket {
    /// Reads every wanted user and group that exists, and all members of those groups (or the wanted users among them, where
    /// that is enough and takes fewer requests).
    pub(super) async fn read_roster(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        let land = self.land().await?;
        let managed: BTreeSet<String> = wanted.groups.iter().map(|name| fold(name)).collect();
        let groups = self.existing_groups(&land, &managed).await?;
        let mut roster = TargetRosterBuilder::for_users(wanted.users.len());
        for group in groups.iter().filter(|group| managed.contains(&fold(group))) {
            roster.group(group, land.groups_writable);
        }
        if wanted.members_of_wanted_users_suffice && wanted.users.len() * 2 < groups.len() {
            self.read_by_user(wanted, &land, &mut roster).await?;
            return Ok(roster.build());
        }

        let Members { mut users, let_in, shown } = self.read_members(&land, groups, &managed, &mut roster).await?;
        self.read_missing(wanted, &mut users).await?;
        let sought = Sought::new(&wanted.users);
        for (key, user) in users {
            // Of the groups that were read for access alone, only the wanted users are of interest.
            if shown.contains(&key) || sought.wants(&user) {
                roster.user(land.user(&user, Groups::of(&key, &let_in)));
            }
        }
        Ok(roster.build())
    }

    async fn read_by_user(&self, wanted: &Wanted, land: &Land, roster: &mut TargetRosterBuilder) -> Result<(), ConnectorError> {
        let mut users = BTreeMap::new();
        self.read_missing(wanted, &mut users).await?;
        self.api.meter().expect(users.len() as u64);
        for (key, user) in users {
            let groups = self.groups_of(&user.name).await?;
            // A group that is not among the wanted ones is not in the roster, and its members are not noted.
            groups.iter().for_each(|group| roster.member(&group_key(group), &key));
            roster.user(land.user(&user, land.groups(&groups)));
        }
        Ok(())
    }

    /// Reads one user with the names of all groups it is in.
    pub(super) async fn read_with_groups(
        &self,
        wanted: &WantedUser,
    ) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        let land = self.land().await?;
        let Some(user) = self.find(wanted.key.as_ref(), &wanted.name).await? else {
            return Ok(None);
        };
        let groups = self.groups_of(&user.name).await?;
        Ok(Some((land.user(&user, land.groups(&groups)), groups)))
    }

    /// Finds one user, by key if there is one, else by name; `None` if a listing that was read to its end does not have it.
    pub(super) async fn find(&self, key: Option<&TargetKey>, name: &str) -> Result<Option<User>, ConnectorError> {
        let is_it = |user: &User| match key {
            Some(key) => user.key() == *key,
            None => fold(&user.name) == fold(name),
        };
        let found = self.filtered(name).await?.into_iter().find(is_it);
        if found.is_some() || key.is_none() {
            return Ok(found);
        }
        // A filter finds no keys. Whoever has another name by now is found in the whole listing only.
        let mut found = None;
        self.list_users(|user| {
            if is_it(&user) {
                found = Some(user);
            }
        })
        .await?;
        Ok(found)
    }

    /// The names of all groups of a user. In spite of its documentation this call lists groups.
    pub(super) async fn groups_of(&self, user: &str) -> Result<Vec<String>, ConnectorError> {
        let call = Call::get("rest/api/latest/admin/users/more-members", format!("list the groups of user {user:?}"))
            .query("context", user);
        let mut groups = Vec::new();
        self.pages(&call, |group: Group| {
            groups.push(group.name);
            Ok(())
        })
        .await?;
        Ok(groups)
    }

    /// All members of a group.
    pub(super) async fn members(&self, group: &str) -> Result<Vec<User>, ConnectorError> {
        let call = Call::get("rest/api/latest/admin/groups/more-members", format!("list the members of group {group:?}"))
            .query("context", group);
        let mut members = Vec::new();
        self.pages(&call, |user: User| {
            if !user.is_service() {
                members.push(user);
            }
            Ok(())
        })
        .await?;
        Ok(members)
    }

    /// The group of this name, as Bitbucket spells it. The filter is for a part of a name, so the rest is done here.
    pub(super) async fn group(&self, name: &str) -> Result<Option<String>, ConnectorError> {
        let call = Call::get("rest/api/latest/admin/groups", format!("read the group {name:?}")).query("filter", name);
        let mut found = None;
        self.pages(&call, |group: Group| {
            if fold(&group.name) == fold(name) {
                found = Some(group.name);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// The managed groups and those that give access, as far as they exist and as Bitbucket spells them.
    async fn existing_groups(&self, land: &Land, managed: &BTreeSet<String>) -> Result<BTreeSet<String>, ConnectorError> {
        let access: BTreeSet<String> = land.access.iter().map(|name| fold(name)).collect();
        let mut groups = BTreeSet::new();
        if managed.is_empty() && access.is_empty() {
            return Ok(groups);
        }
        self.api.meter().expect(1);
        // Groups with permissions are looked up too: one that is gone from its directory may still hold some.
        self.pages(&Call::get("rest/api/latest/admin/groups", "list the groups"), |group: Group| {
            let key = fold(&group.name);
            if managed.contains(&key) || access.contains(&key) {
                groups.insert(group.name);
            }
            Ok(())
        })
        .await?;
        Ok(groups)
    }

    /// Reads the members of all groups, and notes those of the managed ones in the roster.
    async fn read_members(
        &self,
        land: &Land,
        groups: BTreeSet<String>,
        managed: &BTreeSet<String>,
        roster: &mut TargetRosterBuilder,
    ) -> Result<Members, ConnectorError> {
        let access: BTreeSet<String> = land.access.iter().map(|name| fold(name)).collect();
        self.api.meter().expect(groups.len() as u64);
        let mut read = Members::default();
        let mut readings = stream::iter(groups)
            .map(|group| async move { self.members(&group).await.map(|members| (group, members)) })
            .buffer_unordered(self.concurrency);
        // A member of ten groups comes ten times, and is kept once.
        let mut met: FxHashMap<u64, TargetKey> = FxHashMap::default();
        while let Some((group, members)) = readings.try_next().await? {
            let folded = fold(&group);
            let (is_managed, gives_access) = (managed.contains(&folded), access.contains(&folded));
            let group = TargetKey::from(folded);
            for member in members {
                let key = match met.get(&member.id) {
                    Some(key) => key.clone(),
                    None => {
                        let key = member.key();
                        met.insert(member.id, key.clone());
                        read.users.insert(key.clone(), member);
                        key
                    }
                };
                if is_managed {
                    roster.member(&group, &key);
                    read.shown.insert(key.clone());
                }
                if gives_access {
                    read.let_in.insert(key);
                }
            }
        }
        Ok(read)
    }

    /// Reads the wanted users who are in none of the groups that were read.
    async fn read_missing(&self, wanted: &Wanted, users: &mut BTreeMap<TargetKey, User>) -> Result<(), ConnectorError> {
        let mut sought = Sought::new(&wanted.users);
        users.values().for_each(|user| sought.found(user));
        let pages = self.user_pages.load(Ordering::Relaxed).max(1);
        let missing = sought.missing(&wanted.users);
        if missing.len() as u64 <= pages {
            for wanted in missing {
                for user in self.filtered(&wanted.name).await? {
                    if sought.wants(&user) {
                        sought.found(&user);
                        users.insert(user.key(), user);
                    }
                }
                // Nobody else can have this name. But a key that did not come with it may have another name by now.
                sought.names.remove(&*folded(&wanted.name));
            }
        }
        if sought.keys.is_empty() && sought.names.is_empty() {
            return Ok(());
        }
        self.api.meter().expect(pages);
        self.list_users(|user| {
            if sought.wants(&user) {
                users.insert(user.key(), user);
            }
        })
        .await
    }

    /// The users in whose name, full name or address this text stands.
    async fn filtered(&self, text: &str) -> Result<Vec<User>, ConnectorError> {
        let call = Call::get("rest/api/latest/admin/users", format!("read the user {text:?}")).query("filter", text);
        let mut users = Vec::new();
        self.pages(&call, |user: User| {
            if !user.is_service() {
                users.push(user);
            }
            Ok(())
        })
        .await?;
        Ok(users)
    }

    async fn list_users(&self, mut each: impl FnMut(User) + Send) -> Result<(), ConnectorError> {
        let pages = self
            .pages(&Call::get("rest/api/latest/admin/users", "list the users"), |user: User| {
                if !user.is_service() {
                    each(user);
                }
                Ok(())
            })
            .await?;
        self.user_pages.store(pages, Ordering::Relaxed);
        Ok(())
    }

    /// Reads a listing to its end, and tells how many pages it took.
    ///
    /// Only `nextPageStart` leads on: positions are counted before filtering, so that a sum of sizes would read some entries
    /// twice and end too early.
    pub(super) async fn pages<T, F>(&self, call: &Call, mut each: F) -> Result<u64, ConnectorError>
    where
        T: DeserializeOwned + Send,
        F: FnMut(T) -> Result<(), ConnectorError> + Send,
    {
        let incomplete = |why: String| ConnectorError::new(self.system(), call.doing.clone(), Fault::Incomplete, why);
        let mut turns = Pages::new(self.system(), call.doing.clone());
        let (mut start, mut count) = (0, 0);
        loop {
            turns.turn(start.to_string())?;
            let page: Page<T> = self.send(call.clone().query("start", start).query("limit", LIMIT)).await?.json()?;
            count += 1;
            if page.start.is_some_and(|told| told != start) {
                return Err(incomplete(format!("asked for the page at {start} and got another one")));
            }
            if page.size.is_some_and(|told| told != page.values.len() as u64) {
                return Err(incomplete(format!("the page at {start} does not have as many entries as it says")));
            }
            let next = match (page.is_last_page, page.next_page_start) {
                (true, None) => None,
                (false, Some(next)) if next > start => Some(next),
                (false, Some(_)) => return Err(incomplete(format!("the page at {start} leads back"))),
                (false, None) => return Err(incomplete(format!("the page at {start} is not the last and leads nowhere"))),
                (true, Some(_)) => return Err(incomplete(format!("the page at {start} is the last and leads on"))),
            };
            for value in page.values {
                each(value)?;
            }
            match next {
                Some(next) => start = next,
                None => return Ok(count),
            }
        }
    }
}

/// The wanted users who have not been seen yet.
struct Sought<'a> {
    keys: FxHashSet<&'a str>,
    names: FxHashSet<Cow<'a, str>>,
}

impl<'a> Sought<'a> {
    fn new(wanted: &'a [WantedUser]) -> Self {
        Self {
            keys: wanted.iter().filter_map(|user| user.key.as_ref()).map(TargetKey::as_str).collect(),
            names: wanted.iter().map(|user| folded(&user.name)).collect(),
        }
    }

    fn wants(&self, user: &User) -> bool {
        self.keys.contains(user.key().as_str()) || self.names.contains(&*folded(&user.name))
    }

    fn found(&mut self, user: &User) {
        self.keys.remove(user.key().as_str());
        self.names.remove(&*folded(&user.name));
    }

    /// Those of whom key or name has not been seen, each name once.
    fn missing(&self, wanted: &'a [WantedUser]) -> Vec<&'a WantedUser> {
        let is_missing = |user: &WantedUser| {
            user.key.as_ref().is_some_and(|key| self.keys.contains(key.as_str())) || self.names.contains(&*folded(&user.name))
        };
        let by_name: BTreeMap<String, &WantedUser> =
            wanted.iter().filter(|user| is_missing(user)).map(|user| (fold(&user.name), user)).collect();
        by_name.into_values().collect()
    }
}
