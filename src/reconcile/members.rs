//! The diff's second half: groups and memberships. One walk over all managed groups; each membership is looked at a fixed
//! number of times, so that a million of them take well under a tenth of a second.

use std::cmp::Ordering;

use super::diff::{Company, Fate, Inputs, NOBODY, Person, Sketch};
use crate::contract::journal::Effect;
use crate::model::change::{Op, OpKind, Reason};
use crate::model::desired::{BY_DEFAULT, DesiredGroup};
use crate::model::key::{SourceKey, TargetKey};
use crate::model::link::{GroupLink, UserLink};
use crate::model::plan::FindingKind;
use crate::model::roster::{GroupIx, TargetGroup, UserIx};

/// Plans groups and memberships.
pub fn memberships<'a>(inputs: &Inputs<'a>, sketch: &mut Sketch<'a>) {
    let mut links: Vec<&GroupLink> = inputs.links.groups.iter().collect();
    // Stable, so that the links of one group go on ascending by source.
    links.sort_by(|a, b| a.target.cmp(&b.target));
    let managed = managed(inputs, &links);
    let owners = owners(inputs, sketch);
    let mut marks = Marks(vec![0; sketch.users.len()]);
    sketch.groups = managed.iter().map(Sides::company).collect();
    for (at, sides) in managed.iter().enumerate() {
        one_group(inputs, at as GroupIx, sides, &owners, &mut marks, sketch);
    }
    settle_newcomers(sketch);
    if !inputs.partial {
        group_links(inputs, &managed, sketch);
    }
}

/// Whoever was new and is in all groups of new users is not new any more: taken out of one by hand, they stay out.
fn settle_newcomers(sketch: &mut Sketch<'_>) {
    sketch.owed.sort_unstable();
    for (user, link) in std::mem::take(&mut sketch.newcomers) {
        if sketch.owed.binary_search(&user).is_err() {
            sketch.effects.push(Effect::LinkUser(Box::new(UserLink { is_new: false, ..link })));
        }
    }
}

/// What is known of one managed group.
struct Sides<'a, 'l> {
    key: &'a TargetKey,
    desired: Option<&'a DesiredGroup>,
    actual: Option<&'a TargetGroup>,
    owned: &'a [u32],
    /// Ascending by source.
    links: &'l [&'a GroupLink],
}

impl<'a> Sides<'a, '_> {
    /// Under the target's spelling, else the mapping's, else the link's.
    fn company(&self) -> Company<'a> {
        let actual = self.actual.map(|g| &*g.name);
        let desired = self.desired.map(|g| &*g.name);
        let linked = self.links.first().map(|l| &*l.name);
        Company {
            key: self.key,
            name: actual.or(desired).or(linked).unwrap_or(self.key.as_str()),
            size: self.actual.map_or(0, |g| g.members.len() as u32),
        }
    }
}

/// The managed groups, ascending: what is desired, owned or linked. Four ascending lists are walked side by side.
fn managed<'a, 'l>(inputs: &Inputs<'a>, links: &'l [&'a GroupLink]) -> Vec<Sides<'a, 'l>> {
    let (mut desired, mut owned) = (inputs.desired.groups.iter().peekable(), inputs.ledger.groups.iter().peekable());
    let (mut actual, mut links) = (inputs.actual.groups.iter().peekable(), links);
    let mut managed = Vec::with_capacity(inputs.desired.groups.len().max(inputs.ledger.groups.len()));
    loop {
        let heads = [desired.peek().map(|g| &g.key), owned.peek().map(|(key, _)| key), links.first().map(|l| &l.target)];
        let Some(key) = heads.into_iter().flatten().min() else { return managed };
        let (here, later) = links.split_at(links.iter().take_while(|l| l.target == *key).count());
        links = later;
        while actual.next_if(|g| g.key < *key).is_some() {}
        managed.push(Sides {
            key,
            desired: desired.next_if(|g| g.key == *key),
            actual: actual.next_if(|g| g.key == *key),
            owned: owned.next_if(|(owned, _)| owned == key).map_or(&[], |(_, members)| members),
            links: here,
        });
    }
}

/// The plan's user for each user of the ledger, or [`NOBODY`]. Who has no account any more is nobody here: such an entry is
/// struck in either case.
fn owners(inputs: &Inputs<'_>, sketch: &Sketch<'_>) -> Vec<UserIx> {
    let accounts = &inputs.actual.users;
    let mut next = 0;
    let owner = |key: &TargetKey| loop {
        match accounts.get(next).map_or(Ordering::Greater, |account| account.key.cmp(key)) {
            Ordering::Less => next += 1,
            Ordering::Equal => return sketch.of_target[next],
            Ordering::Greater => return NOBODY,
        }
    };
    inputs.ledger.users.iter().map(owner).collect()
}

/// On which sides of the group in hand each user was seen. One byte each, so that all of them stay in the processor's
/// cache, where each of a million memberships looks them up on three sides.
struct Marks(Vec<u8>);

impl Marks {
    const DESIRED: u8 = 1;
    const ACTUAL: u8 = 2;
    const OWNED: u8 = 4;

    /// Notes that the user was seen on a side, and returns the sides so far.
    fn set(&mut self, user: UserIx, side: u8) -> u8 {
        let mark = &mut self.0[user as usize];
        *mark |= side;
        *mark
    }

    /// The sides on which the user was seen.
    fn of(&self, user: UserIx) -> u8 {
        self.0[user as usize]
    }

    /// Forgets where the user was seen.
    fn wipe(&mut self, user: UserIx) {
        self.0[user as usize] = 0;
    }
}

fn one_group<'a>(
    inputs: &Inputs<'a>,
    at: GroupIx,
    sides: &Sides<'a, '_>,
    owners: &[UserIx],
    marks: &mut Marks,
    sketch: &mut Sketch<'a>,
) {
    let owning = || sides.owned.iter().map(|o| owners[*o as usize]).filter(|owner| *owner != NOBODY);
    owning().for_each(|owner| {
        marks.set(owner, Marks::OWNED);
    });
    let strangers = mark_actual(sides, marks, sketch);
    let agreed = sides.desired.map_or(0, |desired| grant(inputs, at, desired, sides, marks, sketch));
    match sides.actual {
        Some(actual) => {
            let exclusive = sides.desired.is_some() && inputs.rules.groups.exclusive.matches(&actual.name);
            let unwanted = if agreed == sides.owned.len() && !exclusive {
                Vec::new()
            } else {
                unwanted(inputs, actual, exclusive, sides, owners, marks, sketch)
            };
            take(inputs, at, actual, sides, unwanted, if exclusive { strangers } else { Vec::new() }, sketch);
        }
        None => {
            // The group is gone at the target: nobody is in it, so nothing of it is owned.
            let users = sides.owned.iter().map(|owned| inputs.ledger.users[*owned as usize].clone());
            sketch.effects.extend(users.map(|user| Effect::Disown { group: sides.key.clone(), user }));
        }
    }
    owning().for_each(|owner| marks.wipe(owner));
    sides.desired.into_iter().flat_map(|g| &g.members).for_each(|user| marks.wipe(*user));
    let members = sides.actual.into_iter().flat_map(|g| &g.members);
    members.filter_map(|m| sketch.user_at(*m)).for_each(|user| marks.wipe(user));
}

/// Marks members whom the plan knows, counts them, and returns the others, as positions in the target's roster.
fn mark_actual(sides: &Sides<'_, '_>, marks: &mut Marks, sketch: &mut Sketch<'_>) -> Vec<UserIx> {
    let mut strangers = Vec::new();
    let members = sides.actual.map_or(&[][..], |g| &g.members);
    for member in members {
        match sketch.user_at(*member) {
            Some(user) => _ = marks.set(user, Marks::ACTUAL),
            None => strangers.push(*member),
        }
    }
    sketch.managed.memberships += (members.len() - strangers.len()) as u32;
    strangers
}

/// Adds who is missing, and notes who agrees: marks who is desired, and returns how many of them are members and owned.
fn grant(
    inputs: &Inputs<'_>,
    at: GroupIx,
    desired: &DesiredGroup,
    sides: &Sides<'_, '_>,
    marks: &mut Marks,
    sketch: &mut Sketch<'_>,
) -> usize {
    let (mut agreed, mut unowned) = (0, Vec::new());
    let before = sketch.additions.len();
    for (user, via) in desired.members.iter().zip(&desired.via) {
        let ix = *user as usize;
        let seen = marks.set(*user, Marks::DESIRED);
        if seen & Marks::ACTUAL != 0 {
            if seen & Marks::OWNED != 0 {
                agreed += 1;
            } else if !desired.only_new_users && sketch.users[ix].key.is_some() {
                unowned.push(*user);
            }
            continue;
        }
        // What the ledger has of a group of new users was given once: whoever is not in it any more was taken out.
        let was_given = desired.only_new_users && seen & Marks::OWNED != 0;
        if sketch.present[ix] && !was_given && (!desired.only_new_users || sketch.is_new[ix]) {
            if desired.only_new_users {
                sketch.owed.push(*user);
            }
            let because = if *via == BY_DEFAULT { Reason::Default } else { Reason::MemberOf { source: *via } };
            sketch.additions.push(at, *user, because);
        }
    }
    if !unowned.is_empty() {
        sketch.agreed.push((at, unowned));
    }
    let missing = sketch.additions.len() - before;
    if missing == 0 {
        return agreed;
    }
    let can_be = match sides.actual {
        Some(group) if !group.writable => {
            let text = format!("{missing} people should be added, and the group lies in a read-only directory");
            sketch.find(FindingKind::ReadOnly, None, Some(&group.name), text);
            false
        }
        Some(_) => true,
        None => create_group(inputs, at, desired, missing, sketch),
    };
    if !can_be {
        sketch.additions.take_back(at);
    }
    agreed
}

/// Plans the creation of a group; false if it cannot be.
fn create_group(inputs: &Inputs<'_>, at: GroupIx, desired: &DesiredGroup, members: usize, sketch: &mut Sketch<'_>) -> bool {
    let because = desired.sources.first().map_or(Reason::Default, |source| Reason::Mapped { source: *source });
    let refusal = if !inputs.rules.groups.create_missing {
        Some((FindingKind::GroupMissing, "groups.create_missing is off".to_owned()))
    } else if !inputs.capabilities.can.contains(&OpKind::CreateGroup) {
        let text = format!("{} {} cannot create groups", inputs.capabilities.product, inputs.capabilities.version);
        Some((FindingKind::Unsupported, text))
    } else {
        (inputs.capabilities.refuse_group)(&desired.name).map(|why| (FindingKind::Unmappable, why))
    };
    match refusal {
        None => {
            sketch.change(Op::CreateGroup { group: at }, because);
            true
        }
        Some((kind, why)) => {
            sketch.find(
                kind,
                None,
                Some(&desired.name),
                format!("the group does not exist, and {members} people should be in it: {why}"),
            );
            false
        }
    }
}

/// Owned memberships that nothing wants any more, ascending, each with its reason. Entries of the ledger that the target
/// no longer has are struck.
fn unwanted(
    inputs: &Inputs<'_>,
    actual: &TargetGroup,
    exclusive: bool,
    sides: &Sides<'_, '_>,
    owners: &[UserIx],
    marks: &Marks,
    sketch: &mut Sketch<'_>,
) -> Vec<(UserIx, Reason)> {
    let cause = cause(inputs, sides);
    let mut unwanted: Vec<(UserIx, Reason)> = Vec::with_capacity(sides.owned.len());
    let mut consider = |user: UserIx, sketch: &Sketch<'_>| match (sketch.fate[user as usize], cause) {
        (Fate::Untouched, _) | (Fate::Stays, None) => {}
        (Fate::Stays, Some(reason)) => unwanted.push((user, reason)),
        (Fate::Leaves(cause), _) => unwanted.push((user, cause.into())),
    };
    for owned in sides.owned {
        let owner = owners[*owned as usize];
        let seen = if owner == NOBODY { 0 } else { marks.of(owner) };
        if seen & Marks::DESIRED != 0 {
            continue;
        }
        if seen & Marks::ACTUAL != 0 {
            consider(owner, sketch);
        } else if !sketch.unseen.contains(&&inputs.ledger.users[*owned as usize]) {
            let user = inputs.ledger.users[*owned as usize].clone();
            sketch.effects.push(Effect::Disown { group: sides.key.clone(), user });
        }
    }
    if exclusive {
        for user in actual.members.iter().filter_map(|m| sketch.user_at(*m)) {
            if marks.of(user) & (Marks::DESIRED | Marks::OWNED) == 0 {
                consider(user, sketch);
            }
        }
    }
    unwanted.sort_unstable_by_key(|(user, _)| *user);
    unwanted
}

/// Why a staying user's owned membership of this group is not wanted; `None`: it is to be left alone.
fn cause(inputs: &Inputs<'_>, sides: &Sides<'_, '_>) -> Option<Reason> {
    if sides.desired.is_some() {
        return Some(Reason::NotMember);
    }
    let is_left_out = |link: &&GroupLink| inputs.desired.left_out.binary_search(&link.source).is_ok();
    // Of a few subjects only their own groups are known, and each was asked about.
    if inputs.partial {
        let alone = sides.links.is_empty() || sides.links.iter().any(is_left_out);
        return (!alone).then_some(Reason::NotMember);
    }
    let (mut alone, mut renamed, mut gone) = (sides.links.is_empty(), false, false);
    for link in sides.links {
        if is_left_out(link) {
            alone = true;
        } else if inputs.desired.sources.binary_search_by(|s| s.key.cmp(&link.source)).is_ok() {
            renamed = true;
        } else {
            gone = true;
        }
    }
    match (alone, renamed, gone) {
        (true, ..) => None,
        (false, _, true) => Some(Reason::GroupGone),
        (false, true, false) => Some(Reason::GroupRenamed),
        (false, false, false) => None,
    }
}

/// Plans the removals of one group.
fn take<'a>(
    inputs: &Inputs<'a>,
    at: GroupIx,
    actual: &TargetGroup,
    sides: &Sides<'a, '_>,
    unwanted: Vec<(UserIx, Reason)>,
    strangers: Vec<UserIx>,
    sketch: &mut Sketch<'a>,
) {
    let left_alone = sides.desired.is_none() && !sides.owned.is_empty() && cause(inputs, sides).is_none();
    if left_alone {
        sketch.find(
            FindingKind::LeftAlone,
            None,
            Some(&actual.name),
            "is no longer in groups.include; its memberships stay as they are",
        );
    }
    if unwanted.is_empty() && strangers.is_empty() {
        return;
    }
    if !actual.writable {
        let text =
            format!("{} people should be removed, and the group lies in a read-only directory", unwanted.len() + strangers.len());
        sketch.find(FindingKind::ReadOnly, None, Some(&actual.name), text);
        return;
    }
    unwanted.into_iter().for_each(|(user, because)| sketch.removals.push(at, user, because));
    for member in strangers {
        let stranger = &inputs.actual.users[member as usize];
        // The account of somebody who is set aside, pending or excluded is no stranger's.
        if inputs.rules.scope.exclude.matches(&stranger.name) || sketch.is_spoken_for(inputs.desired, &stranger.name) {
            continue;
        }
        let user = sketch.users.len() as UserIx;
        sketch.users.push(Person { source: None, key: Some(&stranger.key), name: &stranger.name });
        sketch.removals.push(at, user, Reason::Exclusive);
    }
}

/// Links of source groups to target groups: new ones are written once the target group is there; one whose source group
/// maps elsewhere, or is gone, is cut once nothing of the target group is owned any more.
fn group_links(inputs: &Inputs<'_>, managed: &[Sides<'_, '_>], sketch: &mut Sketch<'_>) {
    for sides in managed {
        // Ascending, as positions in an ascending list are.
        let sources: Vec<&SourceKey> = sides
            .desired
            .map(|d| d.sources.iter().map(|s| &inputs.desired.sources[*s as usize].key).collect())
            .unwrap_or_default();
        if let Some(actual) = sides.actual {
            for source in sources.iter().filter(|s| sides.links.binary_search_by(|l| l.source.cmp(s)).is_err()) {
                let link = GroupLink { source: (**source).clone(), target: sides.key.clone(), name: actual.name.clone() };
                sketch.effects.push(Effect::LinkGroup(link));
            }
        }
        for link in sides.links.iter().filter(|l| sources.binary_search(&&l.source).is_err()) {
            if !sides.owned.is_empty() || inputs.desired.left_out.binary_search(&link.source).is_ok() {
                continue;
            }
            sketch.effects.push(Effect::UnlinkGroup { source: link.source.clone(), target: link.target.clone() });
            if sides.actual.is_some() && sides.desired.is_none() {
                let text = "is left behind without its members: its source group was renamed or removed; delete it by hand once nothing needs it";
                sketch.find(FindingKind::Retired, Some(&link.source), Some(&link.name), text);
            }
        }
    }
}
