//! How Jira is read: which of several roads, and that each ends with everything or an error.
//!
//! With U wanted users, G wanted groups and m members in each, a reading takes
//!
//! | road | requests |
//! |---|---|
//! | members by group, then all users by list (N users in all) | 1 + Σ max(1, ⌈m/50⌉) + ⌈N/2000⌉ |
//! | members by group, then one search (Jira 9 and older) | 1 + Σ max(1, ⌈m/50⌉) + 1 |
//! | members by group, then those who are in no group by themselves | 1 + Σ max(1, ⌈m/50⌉) + those |
//! | each wanted user with its groups, where [`Wanted::members_of_wanted_users_suffice`] | 1 + U |
//!
//! and the 1 for the group picker, which tells the groups' spelling, falls away where no group is wanted. Members tell as much
//! of a user as any other reading does, so that only wanted users who were met in no group are left for the second part;
//! in most directories these are the joiners alone. Sizes are unknown before they are read. Where two roads compete the
//! cheaper looking one is tried until it has cost as much as the other one would, which is never more than twice the best.
//!
//! Nothing but a definite "no such user" or "no such group" makes a wanted one missing. `user/search` in particular is
//! capped and says so nowhere (<https://jira.atlassian.com/browse/JRASERVER-65089>,
//! <https://jira.atlassian.com/browse/JRASERVER-78660>), and its catch-all finds whom its index finds: whom it shows is there,
//! whom it does not show is asked for. It is one request that may save a thousand, and no more than that.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use rustc_hash::{FxHashMap, FxHashSet};
use smol_str::SmolStr;

use super::probe::{Facts, Version};
use super::wire::{Cursor, Page, Picker, Stream, User};
use super::{Expand, Jira, Road, Who, members};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::{Wanted, WantedUser};
use crate::http::page::Pages;
use crate::http::wire::Call;
use crate::model::key::{TargetKey, folded, group_key};
use crate::model::roster::{TargetRoster, TargetRosterBuilder};

/// What the vendor's listing gives at most in one page.
const LIST_PAGE: usize = 2000;
/// How many groups are asked for at first.
const MOST_GROUPS: usize = 10_000;
/// What the search gives at most, in Jira 9 and older.
const SEARCH_CAP: usize = 1000;
/// From this release on the search gives 100 users altogether, which does not pay.
const SEARCH_ENDS: Version = Version(10, 0);
/// A search may find nobody who is looked for; it is tried where it can save more than a few requests.
const SEARCH_PAYS: usize = 4;

/// Reads everything wanted.
pub(super) async fn fetch(jira: &Jira, facts: Facts, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
    if jira.road == Road::List && !facts.lists_users {
        let why = "this version of jira cannot list users";
        let error = jira.error("read users by list", Fault::Unsupported, why);
        return Err(error.hint("set road = \"auto\", or upgrade to 10.3.12 or 11"));
    }
    let mut reading = Reading::of(wanted);
    let groups = spelled(jira, wanted).await?;
    let known = match (jira.road, wanted.members_of_wanted_users_suffice) {
        (Road::Users, true) => return by_users(jira, reading, groups).await,
        (Road::Auto, true) if reading.users.len() <= groups.len() => return by_users(jira, reading, groups).await,
        (Road::Auto, true) => {
            let firsts = first_pages(jira, groups).await?;
            if pages_left(&firsts) > reading.users.len() {
                let groups = firsts.into_iter().map(|(name, _)| Spelled { name, shown: true }).collect();
                return by_users(jira, reading, groups).await;
            }
            firsts.into_iter().map(|(name, first)| (name, Some(first))).collect()
        }
        (Road::List | Road::Groups, true) | (_, false) => groups.into_iter().map(|group| (group.name, None)).collect(),
    };
    by_groups(jira, &mut reading, known).await?;
    remaining_users(jira, facts, &mut reading).await?;
    Ok(reading.builder.build())
}

/// What is being gathered.
struct Reading<'w> {
    builder: TargetRosterBuilder,
    /// The wanted users, each once.
    users: Vec<&'w WantedUser>,
    /// The folded names among them, and which of these were met.
    names: FxHashMap<SmolStr, bool>,
}

impl<'w> Reading<'w> {
    fn of(wanted: &'w Wanted) -> Self {
        let mut seen = FxHashSet::default();
        let mut once = |user: &'w WantedUser| match &user.key {
            Some(key) => seen.insert((true, Cow::Borrowed(key.as_str()))),
            None => seen.insert((false, folded(&user.name))),
        };
        let users: Vec<&'w WantedUser> = wanted.users.iter().filter(|user| once(user)).collect();
        let names = wanted.users.iter().map(|user| (folded(&user.name).into(), false)).collect();
        Self { builder: TargetRosterBuilder::for_users(users.len()), users, names }
    }

    /// Takes a user in and gives its key.
    fn meet(&mut self, user: User) -> Option<TargetKey> {
        if user.deleted {
            return None;
        }
        // A member of ten groups comes ten times.
        if let Some(known) = self.builder.get(&user.key) {
            return Some(known.key.clone());
        }
        let user = user.into_target();
        if let Some(met) = self.names.get_mut(&*folded(&user.name)) {
            *met = true;
        }
        let key = user.key.clone();
        self.builder.user(user);
        Some(key)
    }

    fn met(&self, user: &WantedUser) -> bool {
        match &user.key {
            Some(key) => self.builder.get(key.as_str()).is_some(),
            None => self.met_name(&user.name),
        }
    }

    fn met_name(&self, name: &str) -> bool {
        self.names.get(&*folded(name)).copied().unwrap_or(false)
    }

    /// Takes a user in with its memberships of wanted groups.
    fn meet_with_groups(&mut self, mut user: User, wanted: &BTreeSet<TargetKey>) {
        let groups = user.groups.take().map(|groups| groups.items).unwrap_or_default();
        let Some(user) = self.meet(user) else {
            return;
        };
        for group in groups {
            let key = group_key(&group.name);
            if wanted.contains(&key) {
                self.builder.group(&group.name, true);
                self.builder.member(&key, &user);
            }
        }
    }

    /// Linked users whose key is gone, to be asked for by name: an account that was deleted and made anew has another key.
    fn renewed(&self, absent: Vec<WantedUser>) -> Vec<WantedUser> {
        let linked = absent.into_iter().filter(|user| user.key.is_some() && !self.met_name(&user.name));
        linked.map(|user| WantedUser { key: None, name: user.name }).collect()
    }

    /// The wanted users who were not met yet.
    fn missing(&self) -> Vec<WantedUser> {
        self.users.iter().copied().filter(|user| !self.met(user)).cloned().collect()
    }

    fn missing_len(&self) -> usize {
        self.users.iter().filter(|user| !self.met(user)).count()
    }
}

/// A wanted group's name in Jira's spelling.
struct Spelled {
    name: String,
    /// Whether the picker shows it. One that it does not show is as it was wanted, and whether it exists is decided by asking
    /// for it.
    shown: bool,
}

/// The wanted groups, each once, ascending.
async fn spelled(jira: &Jira, wanted: &Wanted) -> Result<Vec<Spelled>, ConnectorError> {
    if wanted.groups.is_empty() {
        return Ok(Vec::new());
    }
    let mut shown: BTreeMap<TargetKey, String> = picked(jira).await?.into_iter().map(|name| (group_key(&name), name)).collect();
    let keys: BTreeMap<TargetKey, &str> = wanted.groups.iter().map(|name| (group_key(name), &**name)).collect();
    let spell = |(key, name): (TargetKey, &str)| match shown.remove(&key) {
        Some(name) => Spelled { name, shown: true },
        None => Spelled { name: name.to_owned(), shown: false },
    };
    Ok(keys.into_iter().map(spell).collect())
}

/// Reads the names of all groups. The picker is the only listing of groups there is, and has no pages.
async fn picked(jira: &Jira) -> Result<Vec<String>, ConnectorError> {
    let doing = "list the groups";
    let pick = |most: usize| Call::get("rest/api/2/groups/picker", doing).query("query", "").query("maxResults", most);
    let mut picker: Picker = jira.send(pick(MOST_GROUPS)).await?.json()?;
    if picker.total > MOST_GROUPS {
        picker = jira.send(pick(picker.total)).await?.json()?;
    }
    if picker.groups.len() != picker.total {
        let why = format!("{} groups came where {} are announced", picker.groups.len(), picker.total);
        return Err(jira.error(doing, Fault::Incomplete, why));
    }
    if picker.groups.is_empty() {
        // An administrator sees at least the group that makes an administrator; nobody else sees nothing, and gets 200.
        let why = "jira shows no group at all, as it does to callers that it does not know";
        return Err(jira.error(doing, Fault::Incomplete, why).hint("check the credential and its rights"));
    }
    Ok(picker.groups.into_iter().map(|group| group.name).collect())
}

/// Reads the first page of each group that exists.
async fn first_pages(jira: &Jira, groups: Vec<Spelled>) -> Result<Vec<(String, Page)>, ConnectorError> {
    jira.api.meter().expect(groups.len() as u64);
    let pages: Vec<Option<(String, Page)>> = stream::iter(groups)
        .map(|group| async move {
            let page = members::page(jira, &group.name, 0).await?;
            Ok::<_, ConnectorError>(page.map(|page| (group.name, page)))
        })
        .buffer_unordered(jira.fanout)
        .try_collect()
        .await?;
    Ok(pages.into_iter().flatten().collect())
}

/// How many pages are still to be read.
fn pages_left(firsts: &[(String, Page)]) -> usize {
    firsts.iter().map(|(_, first)| first.total.div_ceil(first.values.len().max(1)).saturating_sub(1)).sum()
}

/// Reads all members of each group. A group that Jira says is not there is left out.
async fn by_groups(jira: &Jira, reading: &mut Reading<'_>, groups: Vec<(String, Option<Page>)>) -> Result<(), ConnectorError> {
    jira.api.meter().expect(groups.iter().filter(|(_, first)| first.is_none()).count() as u64);
    let mut whole = stream::iter(groups)
        .map(|(group, first)| async move {
            let members = members::all(jira, &group, first).await?;
            Ok::<_, ConnectorError>((group, members))
        })
        .buffer_unordered(jira.fanout);
    while let Some(group) = whole.try_next().await? {
        let (name, Some(members)) = group else {
            continue;
        };
        let key = group_key(&name);
        reading.builder.group(&name, true);
        for member in members {
            if let Some(user) = reading.meet(member) {
                reading.builder.member(&key, &user);
            }
        }
    }
    Ok(())
}

/// Reads each wanted user by itself, with its groups.
async fn by_users(jira: &Jira, mut reading: Reading<'_>, groups: Vec<Spelled>) -> Result<TargetRoster, ConnectorError> {
    jira.api.meter().expect(reading.users.len() as u64);
    let wanted: BTreeSet<TargetKey> = groups.iter().map(|group| group_key(&group.name)).collect();
    let (shown, hidden) = groups.into_iter().partition(|group| group.shown);
    let hidden = first_pages(jira, hidden).await?.into_iter().map(|(name, _)| name);
    for name in Vec::into_iter(shown).map(|group: Spelled| group.name).chain(hidden) {
        reading.builder.group(&name, true);
    }
    let mut absent = Vec::new();
    for (asked, user) in read_each(jira, reading.users.iter().copied().cloned().collect(), Expand::Groups).await? {
        match user {
            Some(user) => reading.meet_with_groups(user, &wanted),
            None => absent.push(asked),
        }
    }
    for (_, user) in read_each(jira, reading.renewed(absent), Expand::Groups).await? {
        user.into_iter().for_each(|user| reading.meet_with_groups(user, &wanted));
    }
    Ok(reading.builder.build())
}

/// Reads the wanted users who were met in no group.
async fn remaining_users(jira: &Jira, facts: Facts, reading: &mut Reading<'_>) -> Result<(), ConnectorError> {
    let missing = reading.missing_len();
    let listed = match jira.road {
        Road::List => Some(list(jira, reading, Patience::Endless).await?),
        Road::Auto if facts.lists_users && missing > 1 => Some(list(jira, reading, Patience::WhileItPays).await?),
        Road::Auto if facts.version < SEARCH_ENDS && missing > SEARCH_PAYS => {
            search(jira, reading).await?;
            None
        }
        Road::Auto | Road::Users | Road::Groups => None,
    };
    let mut missing = reading.missing();
    if listed == Some(Listed::Whole) {
        // A linked user who is not there any more is asked for all the same: that is rare, and to be wrong would be to make
        // the account a second time.
        missing.retain(|user| user.key.is_some());
    }
    jira.api.meter().expect(missing.len() as u64);
    let users = read_each(jira, missing, Expand::Nothing).await?;
    let mut absent = Vec::new();
    for (asked, user) in users {
        match user {
            Some(user) => drop(reading.meet(user)),
            None => absent.push(asked),
        }
    }
    for (_, user) in read_each(jira, reading.renewed(absent), Expand::Nothing).await? {
        user.into_iter().for_each(|user| drop(reading.meet(user)));
    }
    Ok(())
}

/// How far a listing is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// To its end.
    Endless,
    /// Until as many pages were read as users are still looked for: from there on asking for them is cheaper.
    WhileItPays,
}

/// What a listing tells of those whom it did not show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// They do not exist.
    Whole,
    /// Nothing.
    Part,
}

/// Reads `user/list`. The vendor's document promises all users and leaves open whether inactive ones are among them, so that
/// a listing proves an absence only if it shows inactive users too.
async fn list(jira: &Jira, reading: &mut Reading<'_>, patience: Patience) -> Result<Listed, ConnectorError> {
    let doing = "list all users";
    let mut pages = Pages::new(jira.api.system(), doing);
    let mut cursor: Option<String> = None;
    let mut inactive = false;
    for read in 0.. {
        let missing = reading.missing_len();
        if patience == Patience::WhileItPays && read >= missing {
            return Ok(Listed::Part);
        }
        jira.api.meter().expect(missing.div_ceil(LIST_PAGE).max(1) as u64);
        let mut call = Call::get("rest/api/2/user/list", doing).query("maxResults", LIST_PAGE);
        if let Some(cursor) = cursor.take() {
            call = call.query("cursor", cursor);
        }
        let page: Stream = jira.send(call).await?.json()?;
        let empty = page.values.is_empty();
        for user in page.values {
            inactive |= !user.active;
            reading.meet(user);
        }
        if page.is_last {
            break;
        }
        let next = page.next_cursor.map(Cursor::into_text).filter(|next| !next.is_empty() && !empty);
        let Some(next) = next else {
            return Err(jira.error(doing, Fault::Incomplete, "a page that is not the last one is empty or names no next one"));
        };
        pages.turn(next.clone())?;
        cursor = Some(next);
    }
    Ok(if inactive { Listed::Whole } else { Listed::Part })
}

/// Searches for everybody. Whom it shows is there; it proves nothing of the others.
async fn search(jira: &Jira, reading: &mut Reading<'_>) -> Result<(), ConnectorError> {
    let call = Call::get("rest/api/2/user/search", "search for users")
        .query("username", ".")
        .query("includeActive", "true")
        .query("includeInactive", "true")
        .query("startAt", 0)
        .query("maxResults", SEARCH_CAP);
    let found: Vec<User> = jira.send(call).await?.json()?;
    for user in found {
        reading.meet(user);
    }
    Ok(())
}

async fn read_each(
    jira: &Jira,
    users: Vec<WantedUser>,
    expand: Expand,
) -> Result<Vec<(WantedUser, Option<User>)>, ConnectorError> {
    stream::iter(users)
        .map(|asked| async move {
            let user = jira.user(Who::of(&asked), expand).await?;
            Ok((asked, user))
        })
        .buffer_unordered(jira.fanout)
        .try_collect()
        .await
}
