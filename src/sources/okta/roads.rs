//! The roads to a whole roster. Which one is taken follows from the configuration alone; each is the cheapest for its scope.
//!
//! With N users, G groups, g the groups that take part, m their members, L members a page (1000):
//!
//! | road | when | requests |
//! |---|---|---|
//! | organisation | by default | ⌈N/200⌉ + ⌈G/200⌉ + Σ ⌈m/L⌉ over g |
//! | app | `app_id` is set; A users and AG groups are assigned | ⌈A/500⌉ + ⌈AG/200⌉ + Σ ⌈m/L⌉ over the assigned g |
//! | groups | `users = "groups"` | ⌈G/200⌉ + Σ ⌈m/L⌉ over g |
//!
//! where each term is at least 1: a listing tells that it is empty by one page. With `skip_empty_groups` the groups that
//! Okta counts as empty cost nothing on the first and third road.
//!
//! The listing of users runs beside that of groups and members, since they draw from different buckets; within a listing
//! pages come one after the other, and several groups' members at once.
//!
//! Why the users are read at all, when members are whole users: the listing has everyone who is in no group. And why
//! members may be new to the roster, when all users are listed: the plain listing leaves out who is deactivated, while
//! groups keep them; and it is ordered by status, so that someone whose status changes between two pages may slip through.
//! They enter the roster from there. That someone is in neither is still no proof that they are gone: whoever would act on
//! it asks for that user first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use smol_str::SmolStr;

use super::listing::{Listed, Listing};
use super::rights::Right;
use super::settings::GroupType;
use super::wire::{AppGroup, AppUser, Group, User, read};
use super::{Okta, Scope};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::Ask;
use crate::http::wire::{Answer, segment};
use crate::model::roster::{SourceRoster, SourceRosterBuilder};

/// The most that Okta gives of each listing.
const USERS_PAGE: u32 = 200;
/// More is accepted and was once inconsistent; Okta advises against it.
const GROUPS_PAGE: u32 = 200;
const APP_USERS_PAGE: u32 = 500;
const APP_GROUPS_PAGE: u32 = 200;

/// Whether a member who is not in the roster yet enters it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Enter,
    StayOut,
}

/// What was gathered so far. The lock is never held across a wait.
struct Basket<'a> {
    okta: &'a Okta,
    ask: &'a Ask,
    inner: Mutex<Gathered>,
    /// Groups whose members are still to be read.
    to_read: AtomicU64,
}

#[derive(Default)]
struct Gathered {
    roster: SourceRosterBuilder,
    /// Statuses of which rosterd does not know what they mean, with the number of users.
    unknown: BTreeMap<String, usize>,
}

impl<'a> Basket<'a> {
    fn new(okta: &'a Okta, ask: &'a Ask) -> Self {
        Self { okta, ask, inner: Mutex::default(), to_read: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, gathered: &mut Gathered, user: &User<'_>, answer: &Answer) -> Result<(), ConnectorError> {
        let unfolded = self.okta.unfold(user, &self.ask.attributes, answer)?;
        if !unfolded.status_known {
            *gathered.unknown.entry(user.status.clone().into_owned()).or_default() += 1;
        }
        gathered.roster.user(unfolded.user);
        Ok(())
    }

    fn takes(&self, name: &str) -> bool {
        self.ask.groups.as_ref().is_none_or(|filter| (filter.0)(name))
    }

    /// So many requests are at least to come, now that the groups are known.
    fn expect(&self) {
        self.okta.api.meter().expect(self.to_read.load(Ordering::Relaxed));
    }

    fn finish(self) -> SourceRoster {
        let Gathered { roster, unknown } = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (status, users) in unknown {
            tracing::warn!(
                source.name = %self.okta.api.system(), okta.status = %status, users,
                "a user status that is new to rosterd; these users are left as they are"
            );
        }
        roster.build()
    }
}

impl Okta {
    /// Reads the whole roster by the road that the scope allows.
    pub(super) async fn roster(&self, ask: &Ask) -> Result<SourceRoster, ConnectorError> {
        let basket = Basket::new(self, ask);
        match &self.scope {
            Scope::Organisation => {
                tokio::try_join!(self.list_users(&basket), self.list_groups_and_members(&basket))?;
            }
            Scope::Groups => self.list_groups_and_members(&basket).await?,
            Scope::App(app) => {
                let (by_group, groups) =
                    tokio::try_join!(self.list_app_users(app, &basket), self.list_app_groups_and_members(app, &basket))?;
                self.insist_on_agreement(by_group, groups)?;
            }
        }
        let roster = basket.finish();
        if roster.users.is_empty() {
            return Err(self.empty());
        }
        Ok(roster)
    }

    /// An empty roster is never an answer: it is what a missing right looks like.
    fn empty(&self) -> ConnectorError {
        let (doing, fault, why, hint) = match &self.scope {
            Scope::Organisation => ("list users", Fault::Forbidden, "it lists no user at all", Right::Users.hint()),
            Scope::Groups => (
                "list the members of groups",
                Fault::Incomplete,
                "none of the groups that the job names has a member",
                format!("check the job's group names; {}", Right::Groups.hint()),
            ),
            Scope::App(_) => (
                "list the app's users",
                Fault::Incomplete,
                "it lists no user of the app",
                format!("check app_id and who is assigned to that app; {}", Right::Apps.hint()),
            ),
        };
        ConnectorError::new(self.api.system(), doing, fault, why).hint(hint).showing_nobody()
    }

    /// Users who say that a group brought them contradict a list of groups that is empty.
    fn insist_on_agreement(&self, users_by_group: usize, groups: usize) -> Result<(), ConnectorError> {
        if users_by_group == 0 || groups > 0 {
            return Ok(());
        }
        let why = format!("it lists no group of the app, and {users_by_group} users who are assigned to it by way of a group");
        Err(ConnectorError::new(self.api.system(), "list the app's groups", Fault::Incomplete, why).hint(Right::Groups.hint()))
    }

    async fn list_users(&self, basket: &Basket<'_>) -> Result<(), ConnectorError> {
        let listing = Listing::new("api/v1/users", "list users", Right::Users, USERS_PAGE).light();
        let mut seen = 0usize;
        let listed = self
            .list(&listing, |answer| {
                let users: Vec<User<'_>> = read(answer)?;
                seen += users.len();
                let mut gathered = basket.lock();
                users.iter().try_for_each(|user| basket.take(&mut gathered, user, answer))
            })
            .await?;
        self.insist_on(listed, &listing.doing)?;
        // Members may have entered the roster meanwhile; a listing without anyone is an error all the same.
        if seen == 0 { Err(self.empty()) } else { Ok(()) }
    }

    async fn list_groups_and_members(&self, basket: &Basket<'_>) -> Result<(), ConnectorError> {
        let mut listing = Listing::new("api/v1/groups", "list groups", Right::Groups, GROUPS_PAGE);
        let filtered = !self.group_types.contains(&GroupType::AppGroup);
        if filtered {
            // Imported groups may be many. The two built-in ones are not worth a filter, which reads a replica.
            let clauses: Vec<_> = self.group_types.iter().map(|kind| format!("type eq \"{}\"", kind.word())).collect();
            listing = listing.with("filter", clauses.join(" or "));
        }
        if self.skip_empty_groups {
            listing = listing.with("expand", "stats");
        }
        let mut seen = 0usize;
        let mut groups = BTreeMap::new();
        let listed = self
            .list(&listing, |answer| {
                let page: Vec<Group<'_>> = read(answer)?;
                seen += page.len();
                for group in page.iter().filter(|group| self.takes_type(group.kind())) {
                    // Of a group that was renamed between two pages the later name holds.
                    groups.insert(group.id.clone().into_owned(), Found::of(group));
                }
                Ok(())
            })
            .await?;
        self.insist_on(listed, &listing.doing)?;
        if seen == 0 {
            self.insist_on_any_group(filtered).await?;
        }
        self.read_members(groups, Strangers::Enter, basket).await
    }

    /// Every organisation has the group Everyone: a listing without any group is what a missing right looks like.
    async fn insist_on_any_group(&self, filtered: bool) -> Result<(), ConnectorError> {
        let error = || {
            ConnectorError::new(self.api.system(), "list groups", Fault::Forbidden, "it lists no group at all, not even Everyone")
                .hint(Right::Groups.hint())
                .showing_nobody()
        };
        if !filtered {
            return Err(error());
        }
        if self.sees_any("api/v1/groups", "list groups", Right::Groups).await? { Ok(()) } else { Err(error()) }
    }

    /// Returns how many users are assigned by way of a group.
    async fn list_app_users(&self, app: &str, basket: &Basket<'_>) -> Result<usize, ConnectorError> {
        let path = format!("api/v1/apps/{}/users", segment(app));
        let listing = Listing::new(path, "list the app's users", Right::Apps, APP_USERS_PAGE).with("expand", "user");
        let mut by_group = 0usize;
        let mut bare = Vec::new();
        let listed = self
            .list(&listing, |answer| {
                let users: Vec<AppUser<'_>> = read(answer)?;
                let mut gathered = basket.lock();
                for assigned in &users {
                    by_group += usize::from(assigned.scope.as_ref().is_some_and(|scope| scope.0 == "GROUP"));
                    match assigned.user() {
                        Some(user) => basket.take(&mut gathered, user, answer)?,
                        None => bare.push(assigned.id.clone().into_owned()),
                    }
                }
                Ok(())
            })
            .await?;
        self.insist_on(listed, &listing.doing)?;
        // Users who did not come along are read one by one, from a bucket of their own.
        let reading = bare.iter().map(|id| async move {
            let Some(answer) = self.one_user(id).await? else { return Ok(()) };
            basket.take(&mut basket.lock(), &read(&answer)?, &answer)
        });
        self.several(reading).await?;
        Ok(by_group)
    }

    /// Returns how many groups are assigned, whatever their type.
    async fn list_app_groups_and_members(&self, app: &str, basket: &Basket<'_>) -> Result<usize, ConnectorError> {
        let path = format!("api/v1/apps/{}/groups", segment(app));
        let listing = Listing::new(path, "list the app's groups", Right::Apps, APP_GROUPS_PAGE).with("expand", "group");
        let mut assigned = 0usize;
        let mut groups = BTreeMap::new();
        let mut bare = Vec::new();
        let listed = self
            .list(&listing, |answer| {
                let page: Vec<AppGroup<'_>> = read(answer)?;
                assigned += page.len();
                for assignment in &page {
                    match assignment.group() {
                        Some(group) if self.takes_type(group.kind()) => {
                            groups.insert(assignment.id.clone().into_owned(), Found::of(group));
                        }
                        Some(_) => {}
                        None => bare.push(assignment.id.clone().into_owned()),
                    }
                }
                Ok(())
            })
            .await?;
        self.insist_on(listed, &listing.doing)?;
        let groups = Mutex::new(groups);
        let found = &groups;
        let reading = bare.iter().map(|id| async move {
            let Some(answer) = self.one_group(id).await? else { return Ok(()) };
            let group: Group<'_> = read(&answer)?;
            if self.takes_type(group.kind()) {
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Found::of(&group));
            }
            Ok(())
        });
        self.several(reading).await?;
        let groups = groups.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.read_members(groups, Strangers::StayOut, basket).await?;
        Ok(assigned)
    }

    /// Reads the members of the groups that the job names. The others are kept by name: that they exist is known.
    async fn read_members(
        &self,
        groups: BTreeMap<String, Found>,
        strangers: Strangers,
        basket: &Basket<'_>,
    ) -> Result<(), ConnectorError> {
        let mut to_read = Vec::new();
        for (id, found) in groups {
            if basket.takes(&found.name) && !(self.skip_empty_groups && found.counted_empty) {
                to_read.push((id, found.name));
            } else {
                basket.lock().roster.group(&id, &found.name);
            }
        }
        basket.to_read.store(u64::try_from(to_read.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        basket.expect();
        let reading = to_read.iter().map(|(id, name)| self.read_members_of(id, name, strangers, basket));
        self.several(reading).await
    }

    async fn read_members_of(
        &self,
        id: &str,
        name: &str,
        strangers: Strangers,
        basket: &Basket<'_>,
    ) -> Result<(), ConnectorError> {
        let path = format!("api/v1/groups/{}/users", segment(id));
        let listing = Listing::new(path, format!("list the members of group {id}"), Right::Groups, self.members_page).light();
        let listed = self
            .list(&listing, |answer| {
                let members: Vec<User<'_>> = read(answer)?;
                basket.expect();
                let mut gathered = basket.lock();
                let new = gathered.roster.members(id, members.iter().map(|member| &*member.id));
                if strangers == Strangers::Enter {
                    new.into_iter().try_for_each(|at| basket.take(&mut gathered, &members[at], answer))?;
                }
                Ok(())
            })
            .await?;
        basket.to_read.fetch_sub(1, Ordering::Relaxed);
        // Only now that its last page was read is the group in the roster. One that was deleted meanwhile stays out.
        if listed == Listed::Whole {
            basket.lock().roster.group(id, name);
        }
        Ok(())
    }

    /// Runs readings side by side, and stops at the first that fails.
    async fn several<R>(&self, readings: impl Iterator<Item = R> + Send) -> Result<(), ConnectorError>
    where
        R: Future<Output = Result<(), ConnectorError>> + Send,
    {
        futures::stream::iter(readings.map(Ok)).try_for_each_concurrent(self.fanout, |reading| reading).await
    }

    fn insist_on(&self, listed: Listed, doing: &str) -> Result<(), ConnectorError> {
        match listed {
            Listed::Whole => Ok(()),
            Listed::Gone => {
                let why = "it says that what is to be listed does not exist";
                let hint = match &self.scope {
                    Scope::App(_) => "check app_id, and that the credential sees that app",
                    Scope::Organisation | Scope::Groups => "check domain",
                };
                Err(ConnectorError::new(self.api.system(), doing, Fault::NotFound, why).hint(hint))
            }
        }
    }
}

/// A group as it was listed.
struct Found {
    name: SmolStr,
    counted_empty: bool,
}

impl Found {
    fn of(group: &Group<'_>) -> Self {
        Self { name: group.name().into(), counted_empty: group.counted_empty() }
    }
}
