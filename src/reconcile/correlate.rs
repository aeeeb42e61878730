//! Correlation: which target record a source record is. By link first; without one by user name, case-insensitively, and
//! never by display name, which is how other tools take over strangers' accounts.
//!
//! Most users are linked, so links are joined with both rosters once, and names are indexed only if somebody is left who
//! must be looked for by name.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use crate::model::desired::{Desired, Standing};
use crate::model::key::folded;
use crate::model::link::{Links, UserLink};
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

/// Positions of a target's users by folded name; made when first asked for.
#[derive(Debug)]
pub struct ByName<'a> {
    roster: &'a TargetRoster,
    index: OnceCell<FxHashMap<Cow<'a, str>, Holders>>,
}

/// Who holds a name: at most targets one, which is worth no list of its own.
#[derive(Debug)]
enum Holders {
    One(UserIx),
    Several(Vec<UserIx>),
}

impl Holders {
    fn add(&mut self, at: UserIx) {
        match self {
            Holders::One(first) => *self = Holders::Several(vec![*first, at]),
            Holders::Several(all) => all.push(at),
        }
    }

    fn as_slice(&self) -> &[UserIx] {
        match self {
            Holders::One(at) => std::slice::from_ref(at),
            Holders::Several(all) => all,
        }
    }
}

impl<'a> ByName<'a> {
    /// Of a roster.
    pub fn new(roster: &'a TargetRoster) -> Self {
        Self { roster, index: OnceCell::new() }
    }

    /// The users of this name, ascending.
    pub fn get(&self, name: &str) -> &[UserIx] {
        let index = self.index.get_or_init(|| {
            let mut index: FxHashMap<Cow<'a, str>, Holders> = FxHashMap::default();
            index.reserve(self.roster.users.len());
            for (at, user) in self.roster.users.iter().enumerate() {
                let at = at as UserIx;
                index.entry(folded(&user.name)).and_modify(|holders| holders.add(at)).or_insert(Holders::One(at));
            }
            index
        });
        index.get(&*folded(name)).map_or(&[], Holders::as_slice)
    }

    /// The roster that is indexed.
    pub fn roster(&self) -> &'a TargetRoster {
        self.roster
    }
}

/// A link, and where its account is in the target's roster, if it is there.
#[derive(Clone, Copy, Debug)]
pub struct Joined<'a> {
    /// The link.
    pub link: &'a UserLink,
    /// The account.
    pub at: Option<UserIx>,
}

/// The links, joined with both sides.
#[derive(Debug)]
pub struct JoinedLinks<'a> {
    /// The link of each desired user, in their order.
    pub of_desired: Vec<Option<Joined<'a>>>,
    /// Links of users whom the source no longer tells of, ascending by source key.
    pub gone: Vec<Joined<'a>>,
    /// Whether anybody is linked to the account, for each account of the roster.
    pub taken: Vec<bool>,
}

/// Joins the links with both sides: with the desired users by walking two ascending lists, with the accounts by an index.
pub fn join<'a>(desired: &Desired, actual: &TargetRoster, links: &'a Links) -> JoinedLinks<'a> {
    let mut index: FxHashMap<&str, UserIx> = FxHashMap::default();
    if !links.users.is_empty() {
        index.reserve(actual.users.len());
        index.extend(actual.users.iter().enumerate().map(|(at, user)| (user.key.as_str(), at as UserIx)));
    }
    let mut joined =
        JoinedLinks { of_desired: vec![None; desired.users.len()], gone: Vec::new(), taken: vec![false; actual.users.len()] };
    let mut next = 0;
    for link in &links.users {
        let at = index.get(link.target.as_str()).copied();
        if let Some(at) = at {
            joined.taken[at as usize] = true;
        }
        let joint = Joined { link, at };
        let here = loop {
            match desired.users.get(next).map_or(Ordering::Greater, |user| user.source.cmp(&link.source)) {
                Ordering::Less => next += 1,
                Ordering::Equal => break Some(next),
                Ordering::Greater => break None,
            }
        };
        match here {
            Some(user) => joined.of_desired[user] = Some(joint),
            None => joined.gone.push(joint),
        }
    }
    joined
}

/// Finds the situation of each desired user, in their order.
pub fn correlate(desired: &Desired, names: &ByName<'_>, links: &JoinedLinks<'_>) -> Vec<Situation> {
    desired
        .users
        .iter()
        .zip(&links.of_desired)
        .map(|(user, link)| {
            if let Some(Joined { at: Some(at), .. }) = link {
                return Situation::Confirmed(*at);
            }
            let name = match (&user.attributes, user.standing) {
                (Some(attributes), Standing::Entitled) => &attributes.name,
                _ if link.is_some() => return Situation::Vanished(None),
                _ => return Situation::Unmanaged,
            };
            match (names.get(name), link.is_some()) {
                ([], false) => Situation::Absent,
                ([], true) => Situation::Vanished(None),
                ([one], _) if links.taken[*one as usize] => Situation::Taken(*one),
                ([one], false) => Situation::Found(*one),
                ([one], true) => Situation::Vanished(Some(*one)),
                (several, _) => Situation::Ambiguous(several.to_vec()),
            }
        })
        .collect()
}
