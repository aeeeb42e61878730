//! Drift: what differs at a target that rosterd neither caused nor owns. Looked for beside the diff, which says what will be
//! written: much of drift is left alone for good, and an administrator wants to know of it all the same.
//!
//! By whose hand it came is inferred from what rosterd remembers: the ledger (what it gave), the links (the name and the mark
//! of the address that it wrote last) and the journal (the display name that it wrote last, and whom it made inactive). What it
//! does not remember it does not claim: a display name that it never wrote may have changed on either side.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use serde::Serialize;
use smol_str::SmolStr;

use super::diff::Inputs;
use crate::contract::target::Deactivation;
use crate::model::desired::{DesiredUser, Standing};
use crate::model::key::{SourceKey, TargetKey, fold, group_key};
use crate::model::link::{UserLink, email_mark};
use crate::model::roster::{TargetGroup, TargetUser, UserIx};

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A managed user is in a managed group and should not be; rosterd did not put them there and leaves them.
    AddedMember,
    /// An account that no source knows is in a managed group.
    Stranger,
    /// A membership that rosterd gave is gone, and the source still wants it: the next run gives it again.
    RemovedMember,
    /// A managed account has another user name than rosterd knows: the next run renames it where it can.
    Renamed,
    /// A managed account has another e-mail address than rosterd wrote: the next run writes it where it can.
    OtherAddress,
    /// A managed account has another display name than rosterd wrote: the next run writes it where it can.
    OtherDisplayName,
    /// An entitled user's account was made inactive: the next run activates it where it can.
    Deactivated,
    /// A leaver's account that rosterd had made inactive is active again: the next run makes it inactive where it may.
    Activated,
}

impl DriftKind {
    /// Whether it says that the source does not have somebody, or does not want them: of a source that is not believed that
    /// is no news.
    pub fn needs_belief(self) -> bool {
        match self {
            DriftKind::AddedMember | DriftKind::Stranger | DriftKind::Activated => true,
            DriftKind::RemovedMember
            | DriftKind::Renamed
            | DriftKind::OtherAddress
            | DriftKind::OtherDisplayName
            | DriftKind::Deactivated => false,
        }
    }

    /// What it means, for a person.
    pub fn means(self) -> &'static str {
        match self {
            DriftKind::AddedMember => "added by hand; left alone until adopted",
            DriftKind::Stranger => "not known to the source; left alone",
            DriftKind::RemovedMember => "taken out by hand; the next run puts it back",
            DriftKind::Renamed => "renamed by hand; the next run renames it where it can",
            DriftKind::OtherAddress => "address changed by hand; the next run writes it where it can",
            DriftKind::OtherDisplayName => "display name changed by hand; the next run writes it where it can",
            DriftKind::Activated => "made active by hand; the next run makes it inactive again where it may",
            DriftKind::Deactivated => "made inactive by hand; the next run activates it where it can",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Drift {
    /// What kind.
    pub kind: DriftKind,
    /// The group's name at the target, for a membership.
    pub group: Option<SmolStr>,
    /// The user's name at the target.
    pub user_name: SmolStr,
    /// The user's id at the target.
    pub user: TargetKey,
    /// The source's id, for a managed user.
    pub source: Option<SourceKey>,
}

/// What the journal remembers of accounts that are not as they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The display name that rosterd wrote last.
    pub display_name: Option<SmolStr>,
    /// Whether it made the account inactive, and not active since.
    pub deactivated: bool,
}

/// The linked accounts of which the journal may tell whose hand it was: with another display name than the source wants, or
/// active though their users have left.
pub fn in_question<'a>(inputs: &'a Inputs<'_>) -> impl Iterator<Item = &'a UserLink> {
    inputs.links.users.iter().filter(|link| {
        let held = inputs.actual.user(&link.target).map(|at| &inputs.actual.users[at as usize]);
        held.is_some_and(|held| other_display_name(inputs, held, link).is_some() || came_back(inputs, held, link))
    })
}

/// The display name that the source wants of an entitled user, if the target shows another one.
fn other_display_name<'a>(inputs: &'a Inputs<'_>, held: &TargetUser, link: &UserLink) -> Option<&'a SmolStr> {
    let wanted = inputs.desired.user(&link.source).map(|at| &inputs.desired.users[at as usize])?;
    let name = wanted.attributes.as_ref().filter(|_| wanted.standing == Standing::Entitled)?.display_name.as_ref()?;
    held.display_name.as_ref().filter(|shown| *shown != name).map(|_| name)
}

/// Whether the account of somebody who has left is active, where being active is a flag.
fn came_back(inputs: &Inputs<'_>, held: &TargetUser, link: &UserLink) -> bool {
    let standing = inputs.desired.user(&link.source).map(|at| inputs.desired.users[at as usize].standing);
    let has_left = !matches!(standing, Some(Standing::Entitled | Standing::Pending));
    inputs.capabilities.deactivation == Deactivation::Flag && held.active && has_left
}

/// Finds the drift, ordered by kind, group and user. Nothing is said of those in `held`: where they differ a person has seen
/// to it. `written` holds what the journal remembers of those [in question](in_question).
pub fn drift(inputs: &Inputs<'_>, held: &BTreeSet<TargetKey>, written: &BTreeMap<SourceKey, Written>) -> Vec<Drift> {
    let managed: FxHashMap<&TargetKey, &UserLink> = inputs.links.users.iter().map(|l| (&l.target, l)).collect();
    let mut found = Vec::new();
    for user in &inputs.actual.users {
        if let Some(link) = managed.get(&user.key) {
            account(inputs, user, link, written.get(&link.source), &mut found);
        }
    }
    let spoken_for = spoken_for(inputs);
    for group in &inputs.actual.groups {
        if is_managed(inputs, &group.key) {
            members(inputs, group, &managed, &spoken_for, &mut found);
        }
    }
    found.retain(|drift| !held.contains(&drift.user));
    found.sort();
    found
}

/// Whether rosterd has to do with a group: the source wants members in it, or it put some there.
fn is_managed(inputs: &Inputs<'_>, key: &TargetKey) -> bool {
    inputs.desired.groups.binary_search_by(|g| g.key.cmp(key)).is_ok()
        || inputs.ledger.groups.binary_search_by(|(g, _)| g.cmp(key)).is_ok()
}

/// The folded user names that somebody at the source is to have, however they stand: no stranger's.
fn spoken_for(inputs: &Inputs<'_>) -> BTreeSet<String> {
    inputs.desired.users.iter().filter_map(|u| u.attributes.as_ref()).map(|a| fold(&a.name)).collect()
}

fn account(inputs: &Inputs<'_>, held: &TargetUser, link: &UserLink, written: Option<&Written>, found: &mut Vec<Drift>) {
    let mut find = |kind| {
        found.push(Drift {
            kind,
            group: None,
            user_name: held.name.clone(),
            user: held.key.clone(),
            source: Some(link.source.clone()),
        });
    };
    if fold(&held.name) != fold(&link.name) {
        find(DriftKind::Renamed);
    }
    if written.is_some_and(|written| written.deactivated) && came_back(inputs, held, link) {
        find(DriftKind::Activated);
    }
    let last = written.and_then(|written| written.display_name.as_ref());
    if other_display_name(inputs, held, link).is_some_and(|wanted| last == Some(wanted)) {
        find(DriftKind::OtherDisplayName);
    }
    let Some(wanted) = inputs.desired.user(&link.source).map(|at| &inputs.desired.users[at as usize]) else { return };
    if wanted.standing != Standing::Entitled {
        return;
    }
    // Where there is no flag, being inactive only means to be in no group that gives access.
    let by_flag = inputs.capabilities.deactivation == Deactivation::Flag;
    if by_flag && !held.active && link.leaving_since.is_none() {
        find(DriftKind::Deactivated);
    }
    if address_changed(wanted, held, link) {
        find(DriftKind::OtherAddress);
    }
}

/// Whether the target shows another address while the source still wants the one that was written last.
fn address_changed(wanted: &DesiredUser, held: &TargetUser, link: &UserLink) -> bool {
    let (Some(email), Some(shown)) = (wanted.attributes.as_ref().and_then(|a| a.email.as_ref()), &held.email) else {
        return false;
    };
    link.email_mark == Some(email_mark(&link.source, email)) && fold(email) != fold(shown)
}

fn members(
    inputs: &Inputs<'_>,
    group: &TargetGroup,
    managed: &FxHashMap<&TargetKey, &UserLink>,
    spoken_for: &BTreeSet<String>,
    found: &mut Vec<Drift>,
) {
    let desired = inputs.desired.groups.binary_search_by(|g| g.key.cmp(&group.key)).ok().map(|at| &inputs.desired.groups[at]);
    // Whoever has left an exclusive group's source is taken out by the next run, by whomever they were put there: a plan says so.
    let exclusive = desired.is_some() && inputs.rules.groups.exclusive.matches(&group.name);
    let wants = |link: &UserLink| {
        let at = inputs.desired.user(&link.source);
        desired.zip(at).is_some_and(|(group, at)| group.members.binary_search(&at).is_ok())
    };
    // Of whom the source wants nothing now it cannot be told what differs.
    let is_open = |link: &UserLink| {
        let at = inputs.desired.user(&link.source);
        at.is_some_and(|at| inputs.desired.users[at as usize].standing == Standing::Pending)
    };
    let is_known = |name: &str| inputs.rules.scope.exclude.matches(name) || spoken_for.contains(&fold(name));
    let mut find = |kind, name: &str, user: &TargetKey, source: Option<&SourceKey>| {
        found.push(Drift {
            kind,
            group: Some(group.name.clone()),
            user_name: name.into(),
            user: user.clone(),
            source: source.cloned(),
        });
    };
    let there: BTreeMap<&TargetKey, UserIx> = group.members.iter().map(|m| (&inputs.actual.users[*m as usize].key, *m)).collect();
    for (key, at) in &there {
        let held = &inputs.actual.users[*at as usize];
        match managed.get(key) {
            None if exclusive || is_known(&held.name) => {}
            None => find(DriftKind::Stranger, &held.name, key, None),
            Some(link) if !exclusive && !wants(link) && !is_open(link) && !inputs.ledger.owns(&group.key, key) => {
                find(DriftKind::AddedMember, &held.name, key, Some(&link.source));
            }
            Some(_) => {}
        }
    }
    let Ok(owned) = inputs.ledger.groups.binary_search_by(|(g, _)| g.cmp(&group.key)) else { return };
    for user in &inputs.ledger.groups[owned].1 {
        let key = &inputs.ledger.users[*user as usize];
        // New users get a group once, and an account that is gone is in none.
        let given_again = desired.is_some_and(|d| !d.only_new_users) && inputs.actual.user(key).is_some();
        if let Some(link) = managed.get(key).filter(|link| given_again && !there.contains_key(key) && wants(link)) {
            find(DriftKind::RemovedMember, &link.name, key, Some(&link.source));
        }
    }
}

/// Whether a person can take a difference over, so that it is managed from then on.
pub fn can_be_adopted(drift: &Drift) -> bool {
    drift.kind == DriftKind::AddedMember
}

/// The group's key of a membership.
pub fn group_of(drift: &Drift) -> Option<TargetKey> {
    drift.group.as_deref().map(group_key)
}
