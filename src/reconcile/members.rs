//! The diff's second half: groups and memberships. One walk over all managed groups; each membership is looked at a fixed
//! number of times, so that a million of them take well under a tenth of a second.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::diff::{Fate, Inputs, Sketch};
use crate::contract::journal::Effect;
use crate::model::change::{Op, OpKind, Reason};
use crate::model::desired::{BY_DEFAULT, DesiredGroup};
use crate::model::key::TargetKey;
use crate::model::link::GroupLink;
use crate::model::plan::{FindingKind, PlanGroup, PlanUser};
use crate::model::roster::{GroupIx, TargetGroup, UserIx};

/// Plans groups and memberships.
pub fn memberships(inputs: &Inputs<'_>, sketch: &mut Sketch) {
    let managed = managed(inputs);
    let owners = owners(inputs, sketch);
    let mut marks = Marks::new(sketch.users.len());
    sketch.groups = managed
        .iter()
        .map(|(key, group)| PlanGroup {
            key: (*key).clone(),
            name: group.name(key),
            size: group.actual.map_or(0, |g| g.members.len() as u32),
        })
        .collect();
    for (at, (key, group)) in managed.iter().enumerate() {
        one_group(inputs, key, at as GroupIx, group, &owners, &mut marks, sketch);
    }
    if !inputs.partial {
        group_links(inputs, &managed, sketch);
    }
}

/// What is known of one managed group.
#[derive(Default)]
struct Sides<'a> {
    desired: Option<&'a DesiredGroup>,
    actual: Option<&'a TargetGroup>,
    owned: &'a [u32],
    links: Vec<&'a GroupLink>,
}

impl Sides<'_> {
    /// The target's spelling, else the mapping's, else the link's.
    fn name(&self, key: &TargetKey) -> Box<str> {
        let actual = self.actual.map(|g| g.name.clone());
        let desired = || self.desired.map(|g| g.name.clone());
        let linked = || self.links.first().map(|l| l.name.clone());
        actual.or_else(desired).or_else(linked).unwrap_or_else(|| key.as_str().into())
    }
}

fn managed<'a>(inputs: &Inputs<'a>) -> BTreeMap<&'a TargetKey, Sides<'a>> {
    let mut managed: BTreeMap<&TargetKey, Sides<'_>> = BTreeMap::new();
    for group in &inputs.desired.groups {
        managed.entry(&group.key).or_default().desired = Some(group);
    }
    for (key, members) in &inputs.ledger.groups {
        managed.entry(key).or_default().owned = members;
    }
    for link in &inputs.links.groups {
        managed.entry(&link.target).or_default().links.push(link);
    }
    for (key, sides) in &mut managed {
        sides.actual = inputs.actual.group(key).map(|at| &inputs.actual.groups[at as usize]);
    }
    managed
}

/// The plan's user for each user of the ledger.
fn owners(inputs: &Inputs<'_>, sketch: &Sketch) -> Vec<Option<UserIx>> {
    let by_key: FxHashMap<&TargetKey, UserIx> =
        sketch.users.iter().enumerate().filter_map(|(at, u)| u.key.as_ref().map(|k| (k, at as UserIx))).collect();
    inputs.ledger.users.iter().map(|key| by_key.get(key).copied()).collect()
}

/// For each user the last group in which it was seen on each side: sets that are emptied by counting on.
struct Marks {
    desired: Vec<u32>,
    actual: Vec<u32>,
    owned: Vec<u32>,
}

impl Marks {
    fn new(users: usize) -> Self {
        Self { desired: vec![0; users], actual: vec![0; users], owned: vec![0; users] }
    }
}

fn one_group(
    inputs: &Inputs<'_>,
    key: &TargetKey,
    at: GroupIx,
    sides: &Sides<'_>,
    owners: &[Option<UserIx>],
    marks: &mut Marks,
    sketch: &mut Sketch,
) {
    let mark = at + 1;
    for user in sides.owned.iter().filter_map(|o| owners[*o as usize]) {
        marks.owned[user as usize] = mark;
    }
    let strangers = mark_actual(sides, mark, marks, sketch);
    if let Some(desired) = sides.desired {
        desired.members.iter().for_each(|u| marks.desired[*u as usize] = mark);
        grant(inputs, at, desired, sides, mark, marks, sketch);
    }
    let Some(actual) = sides.actual else {
        // The group is gone at the target: nobody is in it, so nothing of it is owned.
        for owned in sides.owned {
            sketch.effects.push(Effect::Disown { group: key.clone(), user: inputs.ledger.users[*owned as usize].clone() });
        }
        return;
    };
    let unwanted = unwanted(inputs, key, actual, sides, owners, mark, marks, sketch);
    let exclusive = sides.desired.is_some() && inputs.rules.groups.exclusive.matches(&actual.name);
    take(inputs, at, actual, sides, unwanted, if exclusive { strangers } else { Vec::new() }, sketch);
}

/// Marks members whom the plan knows, counts them, and returns the others, as positions in the target's roster.
fn mark_actual(sides: &Sides<'_>, mark: u32, marks: &mut Marks, sketch: &mut Sketch) -> Vec<UserIx> {
    let mut strangers = Vec::new();
    for member in sides.actual.map_or(&[][..], |g| &g.members) {
        match sketch.of_target[*member as usize] {
            Some(user) => {
                marks.actual[user as usize] = mark;
                sketch.managed.memberships += 1;
            }
            None => strangers.push(*member),
        }
    }
    strangers
}

/// Adds who is missing, and notes who agrees.
fn grant(
    inputs: &Inputs<'_>,
    at: GroupIx,
    desired: &DesiredGroup,
    sides: &Sides<'_>,
    mark: u32,
    marks: &Marks,
    sketch: &mut Sketch,
) {
    let mut missing: Vec<(UserIx, Reason)> = Vec::new();
    for (user, via) in desired.members.iter().zip(&desired.via) {
        let ix = *user as usize;
        if marks.actual[ix] == mark {
            if marks.owned[ix] != mark
                && !desired.only_new_users
                && let Some(key) = &sketch.users[ix].key
            {
                sketch.effects.push(Effect::Own { group: desired.key.clone(), user: key.clone() });
            }
            continue;
        }
        if sketch.present[ix] && (!desired.only_new_users || sketch.created[ix]) {
            missing.push((*user, if *via == BY_DEFAULT { Reason::Default } else { Reason::MemberOf { source: *via } }));
        }
    }
    if missing.is_empty() {
        return;
    }
    match sides.actual {
        Some(group) if !group.writable => {
            let text = format!("{} people should be added, and the group lies in a read-only directory", missing.len());
            sketch.find(FindingKind::ReadOnly, None, Some(&group.name), text);
            return;
        }
        Some(_) => {}
        None if !create_group(inputs, at, desired, missing.len(), sketch) => return,
        None => {}
    }
    for (user, because) in missing {
        sketch.change(Op::AddMember { group: at, user }, because);
    }
}

/// Plans the creation of a group; false if it cannot be.
fn create_group(inputs: &Inputs<'_>, at: GroupIx, desired: &DesiredGroup, members: usize, sketch: &mut Sketch) -> bool {
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
    key: &TargetKey,
    actual: &TargetGroup,
    sides: &Sides<'_>,
    owners: &[Option<UserIx>],
    mark: u32,
    marks: &Marks,
    sketch: &mut Sketch,
) -> Vec<(UserIx, Reason)> {
    let wanted = |user: UserIx| marks.desired[user as usize] == mark;
    let present = |user: UserIx| marks.actual[user as usize] == mark;
    let exclusive = sides.desired.is_some() && inputs.rules.groups.exclusive.matches(&actual.name);
    let cause = cause(inputs, sides);
    let mut unwanted: Vec<(UserIx, Reason)> = Vec::new();
    let mut consider = |user: UserIx, sketch: &Sketch| match (sketch.fate[user as usize], cause) {
        (Fate::Untouched, _) | (Fate::Stays, None) => {}
        (Fate::Stays, Some(reason)) | (Fate::Leaves(reason), _) => unwanted.push((user, reason)),
    };
    for owned in sides.owned {
        match owners[*owned as usize] {
            Some(user) if present(user) && !wanted(user) => consider(user, sketch),
            Some(user) if present(user) || wanted(user) => {}
            Some(_) | None => {
                let user = inputs.ledger.users[*owned as usize].clone();
                sketch.effects.push(Effect::Disown { group: key.clone(), user });
            }
        }
    }
    if exclusive {
        for user in actual.members.iter().filter_map(|m| sketch.of_target[*m as usize]) {
            if !wanted(user) && marks.owned[user as usize] != mark {
                consider(user, sketch);
            }
        }
    }
    unwanted.sort_unstable_by_key(|(user, _)| *user);
    unwanted
}

/// Why a staying user's owned membership of this group is not wanted; `None`: it is to be left alone.
fn cause(inputs: &Inputs<'_>, sides: &Sides<'_>) -> Option<Reason> {
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
    for link in &sides.links {
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
fn take(
    inputs: &Inputs<'_>,
    at: GroupIx,
    actual: &TargetGroup,
    sides: &Sides<'_>,
    unwanted: Vec<(UserIx, Reason)>,
    strangers: Vec<UserIx>,
    sketch: &mut Sketch,
) {
    let left_alone = sides.desired.is_none() && cause(inputs, sides).is_none() && !sides.owned.is_empty();
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
    for (user, because) in unwanted {
        sketch.change(Op::RemoveMember { group: at, user }, because);
    }
    for member in strangers {
        let stranger = &inputs.actual.users[member as usize];
        // The account of somebody who is set aside, pending or excluded is no stranger's.
        if inputs.rules.scope.exclude.matches(&stranger.name) || sketch.is_spoken_for(inputs.desired, &stranger.name) {
            continue;
        }
        let user = sketch.users.len() as UserIx;
        sketch.users.push(PlanUser { source: None, key: Some(stranger.key.clone()), name: stranger.name.clone() });
        sketch.change(Op::RemoveMember { group: at, user }, Reason::Exclusive);
    }
}

/// Links of source groups to target groups: new ones are written once the target group is there; one whose source group
/// maps elsewhere, or is gone, is cut once nothing of the target group is owned any more.
fn group_links(inputs: &Inputs<'_>, managed: &BTreeMap<&TargetKey, Sides<'_>>, sketch: &mut Sketch) {
    for (key, sides) in managed {
        let sources: Vec<&crate::model::key::SourceKey> = sides
            .desired
            .map(|d| d.sources.iter().map(|s| &inputs.desired.sources[*s as usize].key).collect())
            .unwrap_or_default();
        if let Some(actual) = sides.actual {
            for source in sources.iter().filter(|s| !sides.links.iter().any(|l| l.source == ***s)) {
                let link = GroupLink { source: (**source).clone(), target: (*key).clone(), name: actual.name.clone() };
                sketch.effects.push(Effect::LinkGroup(link));
            }
        }
        for link in sides.links.iter().filter(|l| !sources.contains(&&l.source)) {
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
