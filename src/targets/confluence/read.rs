//! Reads Confluence: listings to their last page, or not at all.
//!
//! The members of the wanted groups come first, since they come with all that a listing of users tells. Only for wanted users
//! whom that did not show are users asked for, one by one or by listing, whichever takes fewer requests.

use std::borrow::Cow;
use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use rustc_hash::FxHashSet;
use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use super::wire::{ErrorBody, Group, Page, Person};
use super::{Confluence, names};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Wanted, WantedUser};
use crate::http::wire::{Call, segment};
use crate::model::key::{TargetKey, fold, folded, group_key};
use crate::model::roster::{TargetRoster, TargetRosterBuilder, TargetUser};

/// How many groups or members are asked for at once: the vendor's default.
const LIMIT: u64 = 200;
/// How many users are asked for at once. The server may give fewer, and says so by the size of its page.
const USER_LIMIT: u64 = 1000;
/// How many users the server puts on a page by default.
const USER_PAGE: u64 = 100;
/// Up to how many users are looked up singly while the number of all users is not known.
const FEW: usize = 10;

impl Confluence {
    /// Reads every wanted user and group that exists, and all members of those groups (or the wanted users among them, where
    /// that is enough and takes fewer requests).
    pub(super) async fn read_roster(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        let groups = self.existing_groups(&wanted.groups).await?;
        let mut roster = TargetRosterBuilder::for_users(wanted.users.len());
        for group in &groups {
            roster.group(group, true);
        }
        let mut sought = Sought::new(&wanted.users);
        if wanted.members_of_wanted_users_suffice && wanted.users.len() * 2 < groups.len() {
            let users = self.read_missing(&mut sought).await?;
            self.read_memberships(&users, &mut roster).await?;
            users.into_iter().for_each(|user| roster.user(user));
            return Ok(roster.build());
        }
        self.read_members(groups, &mut sought, &mut roster).await?;
        self.read_missing(&mut sought).await?.into_iter().for_each(|user| roster.user(user));
        Ok(roster.build())
    }

    async fn read_members(
        &self,
        groups: BTreeSet<String>,
        sought: &mut Sought<'_>,
        roster: &mut TargetRosterBuilder,
    ) -> Result<(), ConnectorError> {
        self.api.meter().expect(groups.len() as u64);
        let mut readings = stream::iter(groups)
            .map(|group| async move { self.members(&group).await.map(|members| (group_key(&group), members)) })
            .buffer_unordered(self.concurrency);
        let mut told: FxHashSet<TargetKey> = FxHashSet::default();
        while let Some((group, members)) = readings.try_next().await? {
            for member in members {
                // A member of ten groups comes ten times.
                if let Some(known) = member.user_key.as_deref().and_then(|key| told.get(key)) {
                    roster.member(&group, known);
                    continue;
                }
                let user = self.complete(&member)?;
                roster.member(&group, &user.key);
                // A member whose status was not told is no answer to the question for a wanted user.
                if member.status.is_some() {
                    sought.found(&user);
                    told.insert(user.key.clone());
                    roster.user(user);
                } else {
                    roster.user_if_new(user);
                }
            }
        }
        Ok(())
    }

    /// Notes of each of these users which of the roster's groups it is in.
    async fn read_memberships(&self, users: &[TargetUser], roster: &mut TargetRosterBuilder) -> Result<(), ConnectorError> {
        self.api.meter().expect(users.len() as u64);
        let pairs: Vec<(TargetKey, SmolStr)> = users.iter().map(|user| (user.key.clone(), user.name.clone())).collect();
        let mut readings = stream::iter(pairs)
            .map(|(key, name)| async move { self.groups_of(key.as_str(), &name).await.map(|groups| (key, groups)) })
            .buffer_unordered(self.concurrency);
        while let Some((user, groups)) = readings.try_next().await? {
            // A group that is not among the wanted ones is not in the roster, and its members are not noted.
            groups.iter().for_each(|group| roster.member(&group_key(group), &user));
        }
        Ok(())
    }

    /// Reads the wanted users who have not been seen: one by one or by listing, whichever takes fewer requests.
    async fn read_missing(&self, sought: &mut Sought<'_>) -> Result<Vec<TargetUser>, ConnectorError> {
        let missing = sought.missing();
        let learnt = self.learnt();
        if !is_cheaper_singly(missing.len(), learnt.users, learnt.page.unwrap_or(USER_PAGE)) {
            return self.read_listing(sought).await;
        }
        self.api.meter().expect(missing.len() as u64);
        let readings =
            stream::iter(missing).map(|user| async move { self.read_wanted(&user).await }).buffer_unordered(self.concurrency);
        let found: Vec<Vec<TargetUser>> = readings.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads whoever has this key, and whoever has this name if that is somebody else.
    async fn read_wanted(&self, wanted: &WantedUser) -> Result<Vec<TargetUser>, ConnectorError> {
        let mut found = Vec::new();
        if let Some(key) = &wanted.key {
            found.extend(self.read_user("key", key.as_str(), &wanted.name).await?);
        }
        if !found.iter().any(|user: &TargetUser| fold(&user.name) == fold(&wanted.name)) {
            found.extend(self.read_user("username", &wanted.name, &wanted.name).await?);
        }
        Ok(found)
    }

    async fn read_listing(&self, sought: &mut Sought<'_>) -> Result<Vec<TargetUser>, ConnectorError> {
        let learnt = self.learnt();
        let pages = learnt.users.map_or(1, |users| users.div_ceil(learnt.page.unwrap_or(USER_PAGE)));
        self.api.meter().expect(pages);
        let call = Call::get("rest/api/user/list", "list the users").query("expand", "status");
        let (mut users, mut first) = (0, 0);
        let mut found = Vec::new();
        self.pages(&call, USER_LIMIT, |page: Page<Person>| {
            users += page.results.len() as u64;
            if first == 0 {
                first = page.results.len() as u64;
            }
            for person in &page.results {
                // A trace of an account that is gone may have lost its name; whoever is wanted has one.
                if person.is_trace() || person.is_anonymous() {
                    continue;
                }
                let user = self.complete(person)?;
                if sought.wants(&user) {
                    self.demand_status(person)?;
                    sought.found(&user);
                    found.push(user);
                }
            }
            Ok(())
        })
        .await?;
        self.learn(|learnt| {
            learnt.users = Some(users);
            learnt.page = Some(first.max(1)).filter(|page| *page < users);
        });
        Ok(found)
    }

    /// Reads one user by key or user name. `None` only if Confluence itself says that there is none.
    pub(super) async fn read_user(&self, by: &'static str, what: &str, name: &str) -> Result<Option<TargetUser>, ConnectorError> {
        let call =
            Call::get("rest/api/user", format!("read the user {name:?}")).query(by, what).query("expand", "status").accept(404);
        let answer = self.send(call).await?;
        if answer.status == 404 {
            return match ErrorBody::read(404, &answer.body) {
                Some(_) => Ok(None),
                None => Err(ConnectorError::new(
                    self.system(),
                    answer.doing,
                    Fault::Malformed,
                    "a 404 that is not an answer of Confluence's API",
                )
                .hint("check the context path in `url`, and whether a proxy stands in between")),
            };
        }
        let person: Person = answer.json()?;
        if person.is_trace() && person.user().is_none() {
            return Ok(None);
        }
        if !person.is_trace() {
            self.demand_status(&person)?;
        }
        self.complete(&person).map(Some)
    }

    /// Reads one user and all the groups it is in.
    pub(super) async fn read_with_groups(
        &self,
        wanted: &WantedUser,
    ) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        let found = match &wanted.key {
            Some(key) => self.read_user("key", key.as_str(), &wanted.name).await?,
            None => self.read_user("username", &wanted.name, &wanted.name).await?,
        };
        let Some(user) = found else {
            return Ok(None);
        };
        let groups = self.groups_of(user.key.as_str(), &user.name).await?;
        Ok(Some((user, groups)))
    }

    /// Reads the names of all groups of a user.
    pub(super) async fn groups_of(&self, key: &str, name: &str) -> Result<Vec<String>, ConnectorError> {
        let call = Call::get("rest/api/user/memberof", format!("list the groups of user {name:?}")).query("key", key);
        let mut groups = Vec::new();
        self.pages(&call, LIMIT, |page: Page<Group>| {
            groups.extend(page.results.into_iter().map(|group| group.name));
            Ok(())
        })
        .await?;
        Ok(groups)
    }

    /// The wanted groups that exist, each once, as Confluence spells them. One whose name cannot stand in a path is left out:
    /// its members cannot be asked for, and one such group must not keep all others from being read. The plan reports it
    /// when it comes to create it.
    async fn existing_groups(&self, wanted: &[SmolStr]) -> Result<BTreeSet<String>, ConnectorError> {
        let mut existing = BTreeSet::new();
        let wanted: BTreeSet<String> = wanted.iter().map(|name| fold(name)).collect();
        if wanted.is_empty() {
            return Ok(existing);
        }
        self.api.meter().expect(1);
        self.pages(&Call::get("rest/api/group", "list the groups"), LIMIT, |page: Page<Group>| {
            let names = page.results.into_iter().map(|group| group.name);
            existing.extend(names.filter(|name| wanted.contains(&fold(name)) && names::refuse_group(name).is_none()));
            Ok(())
        })
        .await?;
        Ok(existing)
    }

    async fn members(&self, group: &str) -> Result<Vec<Person>, ConnectorError> {
        let path = format!("rest/api/group/{}/member", segment(group));
        let call = Call::get(path, format!("list the members of group {group:?}")).query("expand", "status");
        let mut members = Vec::new();
        self.pages(&call, LIMIT, |page: Page<Person>| {
            // Who is but a trace can no longer log in; and a nameless one could not be taken out by name either.
            members.extend(page.results.into_iter().filter(|person| !person.is_trace()));
            Ok(())
        })
        .await?;
        Ok(members)
    }

    /// Reads a listing to its end.
    ///
    /// The next page begins where the results of the last one ended: the asked limit may have been lowered by the server, and
    /// `_links.next`, whose host is the configured base URL, only tells whether there is a next page at all.
    async fn pages<T, F>(&self, call: &Call, limit: u64, mut each: F) -> Result<(), ConnectorError>
    where
        T: DeserializeOwned + Send,
        F: FnMut(Page<T>) -> Result<(), ConnectorError> + Send,
    {
        let incomplete = |why: String| ConnectorError::new(self.system(), call.doing.clone(), Fault::Incomplete, why);
        let (mut start, mut total) = (0, 0);
        loop {
            let page: Page<T> = self.send(call.clone().query("start", start).query("limit", limit)).await?.json()?;
            let (count, more) = (page.results.len() as u64, page.links.next.is_some());
            if page.start.is_some_and(|told| told != start) {
                return Err(incomplete(format!("asked for the page at {start} and got another one")));
            }
            if page.size.is_some_and(|told| told != count) {
                return Err(incomplete(format!("the page at {start} has {count} entries and says otherwise")));
            }
            if more && count == 0 {
                return Err(incomplete(format!("the page at {start} is empty and says that there are more")));
            }
            let stated = page.total().unwrap_or(0);
            // Whoever leaves while we read moves everybody behind by one place, so that one of them is on no page.
            if total > stated && stated > 0 {
                return Err(incomplete("the listing became shorter while it was read".into()));
            }
            total = total.max(stated);
            each(page)?;
            start += count;
            if !more {
                break;
            }
        }
        if start < total {
            return Err(incomplete(format!("{start} entries came and {total} were stated")));
        }
        Ok(())
    }

    fn complete(&self, person: &Person) -> Result<TargetUser, ConnectorError> {
        person.user().ok_or_else(|| self.malformed("a user without user name or key"))
    }

    fn demand_status(&self, person: &Person) -> Result<(), ConnectorError> {
        match person.status {
            Some(_) => Ok(()),
            None => Err(self.malformed("a user without a status, although it was asked for")),
        }
    }

    fn malformed(&self, why: &str) -> ConnectorError {
        ConnectorError::new(self.system(), "read users", Fault::Malformed, why)
    }
}

/// Whether looking users up one by one takes no more requests than listing all of them.
fn is_cheaper_singly(missing: usize, users: Option<u64>, page: u64) -> bool {
    match users {
        Some(users) => missing as u64 <= users.div_ceil(page.max(1)),
        None => missing <= FEW,
    }
}

/// The wanted users who have not been seen yet.
struct Sought<'a> {
    wanted: &'a [WantedUser],
    keys: FxHashSet<&'a str>,
    names: FxHashSet<Cow<'a, str>>,
}

impl<'a> Sought<'a> {
    fn new(wanted: &'a [WantedUser]) -> Self {
        let keys = wanted.iter().filter_map(|user| user.key.as_ref()).map(|key| key.as_str()).collect();
        Self { wanted, keys, names: wanted.iter().map(|user| folded(&user.name)).collect() }
    }

    fn wants(&self, user: &TargetUser) -> bool {
        self.keys.contains(user.key.as_str()) || self.names.contains(&*folded(&user.name))
    }

    fn found(&mut self, user: &TargetUser) {
        self.keys.remove(user.key.as_str());
        self.names.remove(&*folded(&user.name));
    }

    /// Those of whom key or name has not been seen.
    fn missing(&self) -> Vec<WantedUser> {
        let is_missing = |user: &&WantedUser| {
            user.key.as_ref().is_some_and(|key| self.keys.contains(key.as_str())) || self.names.contains(&*folded(&user.name))
        };
        self.wanted.iter().filter(is_missing).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_looked_up_and_many_are_listed() {
        assert!(is_cheaper_singly(50, Some(5000), 100));
        assert!(!is_cheaper_singly(51, Some(5000), 100));
        assert!(is_cheaper_singly(1, Some(1), 100));
        assert!(is_cheaper_singly(FEW, None, 100));
        assert!(!is_cheaper_singly(FEW + 1, None, 100));
    }
}
