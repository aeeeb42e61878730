//! The ownership ledger: which memberships rosterd added, or saw agree with the source. Only these may be removed.

use serde::{Deserialize, Serialize};

use super::key::TargetKey;

/// The owned memberships of one target, interned: 1,000,000 of them take some 4 MB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Users that own at least one entry, ascending.
    pub users: Vec<TargetKey>,
    /// Groups with at least one entry, ascending, each with positions in [`Ledger::users`], ascending.
    pub groups: Vec<(TargetKey, Vec<u32>)>,
}

impl Ledger {
    /// Whether rosterd owns this membership.
    pub fn owns(&self, group: &TargetKey, user: &TargetKey) -> bool {
        let Ok(user) = self.users.binary_search(user) else { return false };
        let Ok(group) = self.groups.binary_search_by(|(g, _)| g.cmp(group)) else { return false };
        self.groups[group].1.binary_search(&(user as u32)).is_ok()
    }

    /// Makes a ledger of pairs in any order.
    pub fn of(pairs: impl IntoIterator<Item = (TargetKey, TargetKey)>) -> Self {
        let pairs: Vec<(TargetKey, TargetKey)> = pairs.into_iter().collect();
        let mut users: Vec<TargetKey> = pairs.iter().map(|(_, u)| u.clone()).collect();
        users.sort_unstable();
        users.dedup();
        let mut by_group: std::collections::BTreeMap<TargetKey, Vec<u32>> = std::collections::BTreeMap::new();
        for (group, user) in pairs {
            if let Ok(at) = users.binary_search(&user) {
                by_group.entry(group).or_default().push(at as u32);
            }
        }
        let groups = by_group
            .into_iter()
            .map(|(group, mut members)| {
                members.sort_unstable();
                members.dedup();
                (group, members)
            })
            .collect();
        Self { users, groups }
    }

    /// The number of owned memberships.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|(_, m)| m.len()).sum()
    }

    /// Whether nothing is owned.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
