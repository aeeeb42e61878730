//! What must be read of a target: only what is managed, so that the target is asked for as little as possible.

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use smol_str::SmolStr;

use crate::contract::target::{Wanted, WantedUser};
use crate::model::desired::{Desired, Standing};
use crate::model::key::{folded, same_name};
use crate::model::ledger::Ledger;
use crate::model::link::Links;

/// Linked users; entitled users by the name that they should have; the desired groups and those where rosterd owns
/// memberships; and the groups that only the guards look at.
pub fn wanted(desired: &Desired, links: &Links, ledger: &Ledger, guarded: &[String]) -> Wanted {
    let mut users: Vec<WantedUser> =
        links.users.iter().map(|link| WantedUser { key: Some(link.target.clone()), name: link.name.clone() }).collect();
    let mut linked = links.users.iter().peekable();
    for user in desired.users.iter().filter(|u| u.standing == Standing::Entitled) {
        let Some(attributes) = &user.attributes else { continue };
        while linked.next_if(|link| link.source < user.source).is_some() {}
        let link = linked.peek().filter(|link| link.source == user.source);
        let held = link.is_some_and(|link| same_name(&link.name, &attributes.name));
        if !held {
            // A name that is to be taken is asked for as well, to see who holds it now.
            users.push(WantedUser { key: None, name: attributes.name.clone() });
        }
    }
    let mut seen: FxHashSet<Cow<'_, str>> = FxHashSet::default();
    let mut groups: Vec<SmolStr> = Vec::new();
    let desired_names = desired.groups.iter().map(|g| (Cow::Borrowed(g.key.as_str()), &*g.name));
    let linked_names = links.groups.iter().map(|g| (Cow::Borrowed(g.target.as_str()), &*g.name));
    let owned_names = ledger.groups.iter().map(|(key, _)| (Cow::Borrowed(key.as_str()), key.as_str()));
    let guarded_names = guarded.iter().map(|name| (folded(name), name.as_str()));
    for (key, name) in desired_names.chain(linked_names).chain(owned_names).chain(guarded_names) {
        if seen.insert(key) {
            groups.push(name.into());
        }
    }
    Wanted { users, groups, ..Wanted::default() }
}
