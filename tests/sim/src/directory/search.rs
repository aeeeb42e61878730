//! An index of users by any three bytes of their names and addresses, for searches by a part.
//!
//! A daemon that has created 20,000 users has searched for each of them, and a search that looks at everybody makes of
//! that minutes in which the simulator is measured and not the daemon.

use std::collections::{BTreeMap, BTreeSet};

use super::{User, UserId, contains_folded};

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    users_with: BTreeMap<[u8; 3], Vec<UserId>>,
}

impl Index {
    /// Adds a user whose id is higher than any other's.
    pub(super) fn add(&mut self, user: &User) {
        let texts = texts(user).map(folded);
        let triples: BTreeSet<[u8; 3]> = texts.iter().flat_map(|text| triples(text)).collect();
        for triple in triples {
            self.users_with.entry(triple).or_default().push(user.id);
        }
    }

    /// The users who may have this folded part, among them all who do; `None`: it is too short to tell.
    pub(super) fn candidates(&self, part: &str) -> Option<&[UserId]> {
        let lists = triples(part).map(|triple| self.users_with.get(&triple).map_or(&[][..], Vec::as_slice));
        lists.min_by_key(|list| list.len())
    }
}

/// Whether the folded part stands in the user's name, full name or address.
pub(super) fn has(user: &User, part: &str) -> bool {
    texts(user).into_iter().any(|text| contains_folded(text, part))
}

fn texts(user: &User) -> [&str; 3] {
    [&user.name, &user.display_name, &user.email]
}

/// Folded letter by letter, as a search compares.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn triples(text: &str) -> impl Iterator<Item = [u8; 3]> {
    text.as_bytes().windows(3).map(|w| [w[0], w[1], w[2]])
}
