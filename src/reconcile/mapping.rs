//! Scope and mapping: of a source's roster makes what should be. Looks at no target.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::expression::Record;
use super::rules::Rules;
use crate::model::desired::{Attributes, BY_DEFAULT, Desired, DesiredGroup, DesiredUser, SetAside, SourceGroupRef, Standing};
use crate::model::key::{TargetKey, folded, group_key};
use crate::model::plan::FindingKind;
use crate::model::roster::{GroupIx, Lifecycle, SourceRoster, SourceUser, UserIx};

/// Makes what should be.
///
/// Nobody stops anybody: a user whose expression fails, or whose user name another user maps to as well, is set aside and
/// named, and everyone else goes on.
pub fn desired(roster: &SourceRoster, rules: &Rules) -> Desired {
    let flat = flatten(roster);
    let memberships = MembersOf::new(roster, &flat, rules);
    let uses = rules.uses();
    let mut set_aside = Vec::new();
    let mut users: Vec<DesiredUser> = Vec::with_capacity(roster.users.len());
    for (at, user) in roster.users.iter().enumerate() {
        let groups = memberships.names(at as UserIx);
        let record = Record::new(user, &groups, &uses);
        let judged = match user.lifecycle {
            Lifecycle::Disabled => Ok((Standing::Disabled, None)),
            Lifecycle::Pending => Ok((Standing::Pending, None)),
            Lifecycle::Entitled if !memberships.passes_gate(at as UserIx) => Ok((Standing::OutOfScope, None)),
            Lifecycle::Entitled => record.as_ref().map_err(Clone::clone).and_then(|record| place(user, record, rules)),
        };
        let (standing, mut attributes) = judged.unwrap_or_else(|why| {
            set_aside.push(SetAside { source: user.key.clone(), kind: FindingKind::Unmappable, why });
            (Standing::Pending, None)
        });
        if standing == Standing::Pending {
            attributes = record.ok().and_then(|record| only_name(&record, rules));
        }
        users.push(DesiredUser { source: user.key.clone(), standing, attributes });
    }
    set_aside_conflicts(&mut users, &mut set_aside);
    let groups = target_groups(roster, &flat, &users, rules);
    let sources = roster.groups.iter().map(|g| SourceGroupRef { key: g.key.clone(), name: g.name.clone() }).collect();
    let left_out = roster.groups.iter().filter(|g| !rules.groups.takes(&g.name)).map(|g| g.key.clone()).collect();
    set_aside.sort_by(|a, b| a.source.cmp(&b.source));
    Desired { users, groups, sources, left_out, set_aside }
}

/// Where an entitled user who passes the gate stands, with attributes.
fn place(user: &SourceUser, record: &Record, rules: &Rules) -> Result<(Standing, Option<Attributes>), String> {
    if let Some(filter) = &rules.scope.filter
        && !filter.holds(record).map_err(|e| format!("users.filter: {e}"))?
    {
        return Ok((Standing::OutOfScope, None));
    }
    let map = &rules.mapping;
    let name = map.username.text_of(record).map_err(|e| format!("users.map.username: {e}"));
    if rules.scope.exclude.matches(&user.login) {
        // Nothing is written; but the account of that name must not be taken for a stranger's.
        let known = name.ok().flatten();
        return Ok((Standing::Pending, known.map(|name| Attributes { name, email: None, display_name: None })));
    }
    let name = name?.ok_or("users.map.username gives no user name")?;
    if rules.scope.exclude.matches(&name) {
        return Ok((Standing::Pending, Some(Attributes { name, email: None, display_name: None })));
    }
    let email = map.email.text_of(record).map_err(|e| format!("users.map.email: {e}"))?;
    let display_name = map.display_name.text_of(record).map_err(|e| format!("users.map.display_name: {e}"))?;
    Ok((Standing::Entitled, Some(Attributes { name, email, display_name })))
}

/// The user name of somebody who is pending, excluded or set aside, if it can be made. Nothing is written for such a user;
/// but whose name it is must be known, so that nobody takes the account for a stranger's.
fn only_name(record: &Record, rules: &Rules) -> Option<Attributes> {
    let name = rules.mapping.username.text_of(record).ok()??;
    Some(Attributes { name, email: None, display_name: None })
}

/// Two users who map to one user name are both set aside: the machine does not choose who gets the account.
fn set_aside_conflicts(users: &mut [DesiredUser], set_aside: &mut Vec<SetAside>) {
    for clash in clashes(users) {
        let keys: Vec<String> = clash.iter().map(|at| users[*at].source.to_string()).collect();
        for at in clash {
            let user = &mut users[at];
            let name = user.attributes.as_ref().map(|a| a.name.clone()).unwrap_or_default();
            user.standing = Standing::Pending;
            let why = format!(
                "{} map to the one user name {name:?}; change one of them at the source, or users.map.username",
                keys.join(" and ")
            );
            set_aside.push(SetAside { source: user.source.clone(), kind: FindingKind::Conflict, why });
        }
    }
}

/// The entitled users, as positions, who map to a name that others map to as well; ascending.
fn clashes(users: &[DesiredUser]) -> Vec<Vec<usize>> {
    let mut first: FxHashMap<Cow<'_, str>, usize> = FxHashMap::default();
    first.reserve(users.len());
    let mut clashes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, user) in users.iter().enumerate() {
        let (Standing::Entitled, Some(attributes)) = (user.standing, &user.attributes) else { continue };
        let first = *first.entry(folded(&attributes.name)).or_insert(at);
        if first != at {
            clashes.entry(first).or_insert_with(|| vec![first]).push(at);
        }
    }
    clashes.into_values().collect()
}

/// The members of each group with those of its subgroups, ascending; circles are harmless.
pub fn flatten(roster: &SourceRoster) -> Vec<Cow<'_, [UserIx]>> {
    // The last group for which each group was seen.
    let mut seen_for: Vec<Option<usize>> = vec![None; roster.groups.len()];
    roster
        .groups
        .iter()
        .enumerate()
        .map(|(at, group)| {
            if group.subgroups.is_empty() {
                return Cow::Borrowed(&*group.members);
            }
            seen_for[at] = Some(at);
            let mut seen = vec![at as GroupIx];
            let mut members = Vec::new();
            let mut next = 0;
            while let Some(group) = seen.get(next).and_then(|ix| roster.groups.get(*ix as usize)) {
                members.extend_from_slice(&group.members);
                for child in &group.subgroups {
                    if seen_for.get_mut(*child as usize).is_some_and(|seen| seen.replace(at) != Some(at)) {
                        seen.push(*child);
                    }
                }
                next += 1;
            }
            members.sort_unstable();
            members.dedup();
            Cow::Owned(members)
        })
        .collect()
}

/// Which groups a user is in, as far as the rules ask.
struct MembersOf<'a> {
    gate: Option<Vec<bool>>,
    names: Option<Vec<Vec<&'a str>>>,
}

impl<'a> MembersOf<'a> {
    fn new(roster: &'a SourceRoster, flat: &[Cow<'_, [UserIx]>], rules: &Rules) -> Self {
        let gate = (!rules.scope.member_of.is_empty()).then(|| {
            let mut passes = vec![false; roster.users.len()];
            for (_, members) in roster.groups.iter().zip(flat).filter(|(g, _)| rules.scope.member_of.matches(&g.name)) {
                members.iter().for_each(|m| passes[*m as usize] = true);
            }
            passes
        });
        let names = rules.uses().groups.then(|| {
            let mut names: Vec<Vec<&str>> = vec![Vec::new(); roster.users.len()];
            for (group, members) in roster.groups.iter().zip(flat) {
                members.iter().for_each(|m| names[*m as usize].push(&group.name));
            }
            names.iter_mut().for_each(|n| n.sort_unstable());
            names
        });
        Self { gate, names }
    }

    fn passes_gate(&self, user: UserIx) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate[user as usize])
    }

    fn names(&self, user: UserIx) -> Vec<&'a str> {
        self.names.as_ref().map(|names| names[user as usize].clone()).unwrap_or_default()
    }
}

/// A target group in the making: its spelling, its sources, and its members with the source they come through.
#[derive(Default)]
struct Gathered {
    name: String,
    sources: Vec<u32>,
    members: Vec<(UserIx, u32)>,
    only_new_users: bool,
}

fn target_groups(roster: &SourceRoster, flat: &[Cow<'_, [UserIx]>], users: &[DesiredUser], rules: &Rules) -> Vec<DesiredGroup> {
    let entitled: Vec<bool> = users.iter().map(|u| u.standing == Standing::Entitled).collect();
    let mut gathered: BTreeMap<TargetKey, Gathered> = BTreeMap::new();
    for (at, (group, members)) in roster.groups.iter().zip(flat).enumerate() {
        if !rules.groups.takes(&group.name) {
            continue;
        }
        for name in rules.groups.targets(&group.name) {
            let entry = gathered.entry(group_key(&name)).or_default();
            if entry.name.is_empty() {
                entry.name = name;
            }
            entry.sources.push(at as u32);
            entry.members.extend(members.iter().filter(|m| entitled[**m as usize]).map(|m| (*m, at as u32)));
        }
    }
    let everybody = || (0..users.len() as UserIx).filter(|u| entitled[*u as usize]).map(|u| (u, BY_DEFAULT));
    for name in &rules.groups.all_users {
        let entry = gathered.entry(group_key(name)).or_default();
        if entry.name.is_empty() {
            entry.name.clone_from(name);
        }
        entry.members.extend(everybody());
    }
    for name in &rules.groups.new_users {
        // A group that is mapped to as well is an ordinary group: whoever is new gets there by its source or not at all.
        gathered.entry(group_key(name)).or_insert_with(|| Gathered {
            name: name.clone(),
            members: everybody().collect(),
            only_new_users: true,
            ..Gathered::default()
        });
    }
    gathered
        .into_iter()
        .map(|(key, mut group)| {
            group.members.sort_unstable();
            group.members.dedup_by_key(|(user, _)| *user);
            let (members, via) = group.members.into_iter().unzip();
            DesiredGroup {
                key,
                name: group.name.into(),
                sources: group.sources,
                members,
                via,
                only_new_users: group.only_new_users,
            }
        })
        .collect()
}
