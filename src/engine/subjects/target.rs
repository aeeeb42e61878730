//! The target's side of a retry: what it tells of a few subjects.

use std::collections::{BTreeMap, BTreeSet};

use super::super::prepare::TargetSide;
use super::ask::TROUBLE;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::WantedUser;
use crate::model::desired::{Desired, DesiredGroup, Standing};
use crate::model::key::{SourceKey, TargetKey, fold, group_key};
use crate::model::ledger::Ledger;
use crate::model::link::{Links, UserLink};
use crate::model::roster::{TargetRoster, TargetRosterBuilder};

/// Why subjects cannot be planned for.
#[derive(Debug)]
pub(in crate::engine) enum Unread {
    /// A system is in trouble, or something that is about nobody among them cannot be read.
    System(ConnectorError),
    /// The target did not tell of some when it was asked about them.
    Users {
        /// Of whom, and why.
        untold: Vec<(SourceKey, ConnectorError)>,
        /// What was met last, if that was no answer: the target may have gone down on the way.
        last: Option<ConnectorError>,
    },
}

impl Unread {
    /// What was met, where it is about one subject alone.
    pub(in crate::engine) fn into_error(self) -> ConnectorError {
        match self {
            Self::System(error) => error,
            Self::Users { mut untold, .. } => untold.swap_remove(0).1,
        }
    }
}

impl From<ConnectorError> for Unread {
    fn from(error: ConnectorError) -> Self {
        Self::System(error)
    }
}

/// The target's side of a few subjects: the users, and of managed groups and those that give a seat just their memberships.
/// `None`: a desired group is not known to be there.
pub(super) async fn read_target(
    side: &TargetSide,
    desired: &Desired,
    links: &Links,
    managed: &BTreeSet<TargetKey>,
    doors: &[&String],
    groups_writable: bool,
) -> Result<Option<TargetRoster>, Unread> {
    let mut roster = TargetRosterBuilder::new();
    let account = |l: &UserLink| (l.source.clone(), WantedUser { key: Some(l.target.clone()), name: l.name.clone() });
    let mut wanted: Vec<(SourceKey, WantedUser)> = links.users.iter().map(account).collect();
    for user in desired.users.iter().filter(|u| u.standing == Standing::Entitled) {
        if let Some(attributes) = &user.attributes
            && links.user(&user.source).is_none_or(|l| fold(&l.name) != fold(&attributes.name))
        {
            wanted.push((user.source.clone(), WantedUser { key: None, name: attributes.name.clone() }));
        }
    }
    // The ledger knows groups by their folded names. Whoever spells them out knows better: the target above all.
    let mut spelled: BTreeMap<TargetKey, String> = managed.iter().map(|key| (key.clone(), key.to_string())).collect();
    spelled.extend(links.groups.iter().map(|l| (l.target.clone(), l.name.to_string())));
    let is_there = |group: &&DesiredGroup| managed.contains(&group.key);
    spelled.extend(desired.groups.iter().filter(is_there).map(|g| (g.key.clone(), g.name.to_string())));
    // The target has those that give a seat, whoever is in them.
    spelled.extend(doors.iter().map(|door| (group_key(door), (*door).clone())));
    let mut memberships: Vec<(TargetKey, TargetKey)> = Vec::new();
    let mut untold: BTreeMap<SourceKey, ConnectorError> = BTreeMap::new();
    let (mut in_a_row, mut last) = (0, None);
    for (source, user) in &wanted {
        let (account, groups) = match side.target.fetch_user(user).await {
            Ok(account) => {
                (in_a_row, last) = (0, None);
                let Some(account) = account else { continue };
                account
            }
            Err(error) if matches!(error.fault, Fault::Refused | Fault::Limited { .. }) => return Err(Unread::System(error)),
            Err(error) => {
                in_a_row += 1;
                last = Some(error.clone());
                untold.insert(source.clone(), error);
                if in_a_row == TROUBLE {
                    break;
                }
                continue;
            }
        };
        for group in groups {
            let key = group_key(&group);
            if spelled.contains_key(&key) || desired.groups.iter().any(|g| g.key == key) {
                memberships.push((key.clone(), account.key.clone()));
                spelled.insert(key, group);
            }
        }
        roster.user(account);
    }
    if !untold.is_empty() {
        return Err(Unread::Users { untold: untold.into_iter().collect(), last });
    }
    spelled.values().for_each(|name| roster.group(name, groups_writable));
    memberships.iter().for_each(|(group, user)| roster.member(group, user));
    let actual = roster.build();
    let all_there = desired.groups.iter().filter(|g| !g.members.is_empty()).all(|g| actual.group(&g.key).is_some());
    Ok(all_there.then_some(actual))
}

/// The ledger's entries of those users who were read.
pub(super) fn own_ledger(ledger: &Ledger, actual: &TargetRoster, links: &Links) -> Ledger {
    let ours = |user: &TargetKey| actual.user(user).is_some() || links.users.iter().any(|l| l.target == *user);
    Ledger::of(ledger.groups.iter().flat_map(|(group, members)| {
        let users = members.iter().map(|m| &ledger.users[*m as usize]).filter(|u| ours(u));
        users.map(|u| (group.clone(), u.clone())).collect::<Vec<_>>()
    }))
}
