//! Correlation: which target record a source record is. By link first; without one by user name, case-insensitively, and
//! never by display name, which is how other tools take over strangers' accounts.

use rustc_hash::FxHashMap;

use crate::model::desired::{Desired, Standing};
use crate::model::key::{TargetKey, fold};
use crate::model::link::Links;
use crate::model::roster::{TargetRoster, UserIx};

/// What correlation found for one source user. Users are positions in the target's roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Situation {
    /// Linked, and the account is there.
    Confirmed(UserIx),
    /// Linked, and the account is gone; perhaps another of the wanted name is there.
    Vanished(Option<UserIx>),
    /// Not linked, and exactly one account has the wanted name.
    Found(UserIx),
    /// Not linked, and no account has the wanted name.
    Absent,
    /// Not linked, and several accounts have the wanted name.
    Ambiguous(Vec<UserIx>),
    /// The account of the wanted name is linked to another source user.
    Taken(UserIx),
    /// Not linked and not entitled: nobody's business.
    Unmanaged,
}

/// Positions of a target's users by folded name.
#[derive(Debug)]
pub struct ByName<'a>(FxHashMap<String, Vec<UserIx>>, &'a TargetRoster);

impl<'a> ByName<'a> {
    /// Indexes a roster.
    pub fn new(actual: &'a TargetRoster) -> Self {
        let mut names: FxHashMap<String, Vec<UserIx>> = FxHashMap::default();
        names.reserve(actual.users.len());
        for (at, user) in actual.users.iter().enumerate() {
            names.entry(fold(&user.name)).or_default().push(at as UserIx);
        }
        Self(names, actual)
    }

    /// The users of this name, ascending.
    pub fn get(&self, name: &str) -> &[UserIx] {
        self.0.get(&fold(name)).map_or(&[], Vec::as_slice)
    }

    /// The roster that is indexed.
    pub fn roster(&self) -> &'a TargetRoster {
        self.1
    }
}

/// Finds the situation of each desired user, in their order.
pub fn correlate(desired: &Desired, actual: &ByName<'_>, links: &Links) -> Vec<Situation> {
    let roster = actual.roster();
    let mut linked: FxHashMap<&TargetKey, ()> = FxHashMap::default();
    linked.extend(links.users.iter().map(|l| (&l.target, ())));
    desired
        .users
        .iter()
        .map(|user| {
            let link = links.user(&user.source);
            if let Some(at) = link.and_then(|l| roster.user(&l.target)) {
                return Situation::Confirmed(at);
            }
            let name = match (&user.attributes, user.standing) {
                (Some(attributes), Standing::Entitled) => &attributes.name,
                _ if link.is_some() => return Situation::Vanished(None),
                _ => return Situation::Unmanaged,
            };
            let candidates = actual.get(name);
            match (candidates, link.is_some()) {
                ([], false) => Situation::Absent,
                ([], true) => Situation::Vanished(None),
                ([one], _) if linked.contains_key(&roster.users[*one as usize].key) => Situation::Taken(*one),
                ([one], false) => Situation::Found(*one),
                ([one], true) => Situation::Vanished(Some(*one)),
                (several, _) => Situation::Ambiguous(several.to_vec()),
            }
        })
        .collect()
}
