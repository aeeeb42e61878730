//! Undo: from what a run did, and from what the target holds now, the plan that takes it back. An ordinary plan: it is shown,
//! judged, applied and recorded like any other.
//!
//! Only what still is as the run left it is taken back: whatever somebody changed since is theirs. What cannot be taken back
//! is named beforehand.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::renames::{Update, is_parking, updates};
use crate::contract::journal::{ChangeRecord, Outcome};
use crate::contract::target::{Capabilities, Deactivation};
use crate::model::change::{Change, Edit, Op, OpKind, Reason};
use crate::model::desired::Attributes;
use crate::model::key::{JobName, SourceKey, SystemName, TargetKey, group_key};
use crate::model::link::Links;
use crate::model::plan::{Managed, Plan, PlanGroup, PlanUser};
use crate::model::roster::{GroupIx, TargetRoster, UserIx};

/// What an undo is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Whose run it was.
    pub job: &'a JobName,
    /// Where.
    pub target: &'a SystemName,
    /// What the run did, in order; only these are taken back.
    pub changes: &'a [&'a ChangeRecord],
    /// What the target holds now: the users and groups of these changes.
    pub actual: &'a TargetRoster,
    /// The links, which tell whose an account is now.
    pub links: &'a Links,
    /// What the target can do.
    pub capabilities: &'a Capabilities,
}

/// A plan that takes a run back.
#[derive(Clone, Debug)]
pub struct Reverse {
    /// The plan.
    pub plan: Plan,
    /// What cannot be taken back, or need not be, for a person.
    pub stays: Vec<String>,
}

/// Whether a change is known to have taken effect. One that found the target already so changed nothing, unless it took the
/// user out of groups on the way, as one that failed may have.
pub fn took_effect(change: &ChangeRecord) -> bool {
    change.outcome == Some(Outcome::Done) || !change.left_groups.is_empty()
}

/// Makes the plan.
pub fn reverse(inputs: &Inputs<'_>) -> Reverse {
    let mut sketch = Sketch::default();
    let mut updates: BTreeMap<UserIx, (Attributes, Attributes)> = BTreeMap::new();
    // The last change first: where a run changed something twice, the first state counts.
    for change in inputs.changes.iter().rev() {
        if took_effect(change) {
            take_back(inputs, change, &mut sketch, &mut updates);
        } else if change.outcome == Some(Outcome::Lost) {
            let who = change.intent.user_name.as_ref().or(change.intent.group.as_ref()).map_or("", |name| &**name);
            let what = change.intent.kind.word();
            sketch
                .stays
                .push(format!("{who}: what became of {what} is not known, since its answer was lost; look at it by hand"));
        }
    }
    write_updates(inputs, updates, &mut sketch);
    let Sketch { users, groups, mut changes, mut stays, .. } = sketch;
    stays.sort();
    stays.dedup();
    changes.sort_by_key(|change| change.op.kind());
    // Updates keep the order that keeps names free; everything else is told once.
    let mut told: BTreeSet<(OpKind, Option<UserIx>, Option<GroupIx>)> = BTreeSet::new();
    changes.retain(|Change { op, .. }| op.kind() == OpKind::UpdateUser || told.insert((op.kind(), op.user(), op.group())));
    let plan = Plan {
        job: inputs.job.clone(),
        target: inputs.target.clone(),
        users,
        groups,
        sources: Vec::new(),
        changes,
        findings: Vec::new(),
        managed: managed(inputs.actual),
        rosters: SmolStr::default(),
    };
    Reverse { plan, stays }
}

/// The shares of an undo are of what it has before it.
fn managed(actual: &TargetRoster) -> Managed {
    Managed {
        active_users: actual.users.iter().filter(|u| u.active).count() as u32,
        memberships: actual.groups.iter().map(|g| g.members.len() as u32).sum(),
    }
}

#[derive(Default)]
struct Sketch {
    users: Vec<PlanUser>,
    by_key: BTreeMap<TargetKey, UserIx>,
    groups: Vec<PlanGroup>,
    group_at: BTreeMap<TargetKey, GroupIx>,
    changes: Vec<Change>,
    stays: Vec<String>,
}

impl Sketch {
    fn user(&mut self, key: &TargetKey, name: &str, source: Option<&SourceKey>) -> UserIx {
        if let Some(at) = self.by_key.get(key) {
            return *at;
        }
        let at = self.users.len() as UserIx;
        self.users.push(PlanUser { source: source.cloned(), key: Some(key.clone()), name: name.into() });
        self.by_key.insert(key.clone(), at);
        at
    }

    fn group(&mut self, key: &TargetKey, name: &str, size: usize) -> GroupIx {
        if let Some(at) = self.group_at.get(key) {
            return *at;
        }
        let at = self.groups.len() as GroupIx;
        self.groups.push(PlanGroup { key: key.clone(), name: name.into(), size: size as u32 });
        self.group_at.insert(key.clone(), at);
        at
    }

    fn change(&mut self, op: Op) {
        self.changes.push(Change { op, because: Reason::Undone { owned: true } });
    }
}

fn take_back(
    inputs: &Inputs<'_>,
    change: &ChangeRecord,
    sketch: &mut Sketch,
    updates: &mut BTreeMap<UserIx, (Attributes, Attributes)>,
) {
    let intent = &change.intent;
    let recorded = intent.user_name.as_deref().unwrap_or_default();
    if intent.kind == OpKind::CreateGroup {
        let group = intent.group.as_deref().unwrap_or_default();
        sketch.stays.push(format!("group {group:?} stays: groups are never deleted, since permissions go with them"));
        return;
    }
    if intent.kind == OpKind::DeleteUser {
        sketch.stays.push(format!("{recorded} was deleted: a deleted account and its password cannot be brought back"));
        return;
    }
    let at = intent.user.as_ref().and_then(|key| inputs.actual.user(key));
    let Some(held) = at.map(|at| &inputs.actual.users[at as usize]) else {
        sketch.stays.push(format!("{recorded} is not there any more"));
        return;
    };
    // Whoever is no longer linked to the account has nothing to do with it any more: it may be another's by now.
    if let Some(source) = &intent.source
        && inputs.links.user(source).is_none_or(|link| link.target != held.key)
    {
        sketch.stays.push(format!("{}: the account is no longer linked to {source}", held.name));
        return;
    }
    let user = sketch.user(&held.key, &held.name, intent.source.as_ref());
    let can = |kind| inputs.capabilities.can.contains(&kind);
    match intent.kind {
        OpKind::LinkUser => {
            sketch.stays.push(format!("{}: the link to the source stays; it changes nothing at the target", held.name));
        }
        OpKind::CreateUser => {
            sketch
                .stays
                .push(format!("{}: the account stays, and can no longer be used: only a person deletes accounts", held.name));
            deactivate(inputs, held.active, user, &held.name, sketch);
        }
        OpKind::ActivateUser => deactivate(inputs, held.active, user, &held.name, sketch),
        OpKind::DeactivateUser => {
            if !held.active && can(OpKind::ActivateUser) {
                sketch.change(Op::ActivateUser { user });
            } else if !held.active {
                sketch.stays.push(format!("{}: {} has no call that activates users", held.name, inputs.capabilities.product));
            }
            for group in &change.left_groups {
                // Whose these were was not asked when they were left.
                membership(inputs, at, group, Some(false), user, &held.name, sketch);
            }
        }
        OpKind::AddMember | OpKind::RemoveMember => {
            // An exclusive group was rid of a membership that was never rosterd's.
            let back_in = (intent.kind == OpKind::RemoveMember).then_some(intent.because != Reason::Exclusive);
            membership(inputs, at, intent.group.as_deref().unwrap_or_default(), back_in, user, &held.name, sketch);
        }
        OpKind::UpdateUser => {
            let (Some(before), Some(after)) = (&intent.before, &intent.after) else { return };
            let after = updates.remove(&user).map_or_else(|| after.clone(), |(_, last)| last);
            updates.insert(user, (before.clone(), after));
        }
        OpKind::CreateGroup | OpKind::DeleteUser => {}
    }
}

fn deactivate(inputs: &Inputs<'_>, active: bool, user: UserIx, name: &str, sketch: &mut Sketch) {
    if !active {
        return;
    }
    if inputs.capabilities.can.contains(&OpKind::DeactivateUser) && inputs.capabilities.deactivation != Deactivation::None {
        sketch.change(Op::DeactivateUser { user });
    } else {
        sketch.stays.push(format!("{name}: {} has no call that deactivates users", inputs.capabilities.product));
    }
}

/// Puts a user back into a group, with whether that is rosterd's from then on, or takes it out again.
fn membership(
    inputs: &Inputs<'_>,
    at: Option<UserIx>,
    name: &str,
    back_in: Option<bool>,
    user: UserIx,
    user_name: &str,
    sketch: &mut Sketch,
) {
    let key = group_key(name);
    let Some(group) = inputs.actual.group(&key).map(|g| &inputs.actual.groups[g as usize]) else {
        sketch.stays.push(format!("{user_name}: group {name:?} is not there any more"));
        return;
    };
    let is_member = at.is_some_and(|at| group.members.binary_search(&at).is_ok());
    if is_member == back_in.is_some() {
        return;
    }
    let ix = sketch.group(&key, &group.name, group.members.len());
    match back_in {
        Some(owned) => {
            let because = Reason::Undone { owned };
            sketch.changes.push(Change { op: Op::AddMember { group: ix, user }, because });
        }
        None => sketch.change(Op::RemoveMember { group: ix, user }),
    }
}

/// Writes attributes back, each only if it still is what the run wrote.
fn write_updates(inputs: &Inputs<'_>, written: BTreeMap<UserIx, (Attributes, Attributes)>, sketch: &mut Sketch) {
    let mut wanted: BTreeMap<UserIx, (Attributes, Attributes)> = BTreeMap::new();
    for (user, (first, last)) in written {
        let key = sketch.users[user as usize].key.clone();
        let Some(held) = key.and_then(|k| inputs.actual.user(&k)).map(|at| &inputs.actual.users[at as usize]) else { continue };
        let now = Attributes { name: held.name.clone(), email: held.email.clone(), display_name: held.display_name.clone() };
        let mut then = now.clone();
        if first.name != last.name {
            // A swap that broke off may have left it under a name of the run's own making.
            if now.name != last.name && !is_parking(&now.name) {
                sketch.stays.push(format!("{}: was renamed since", now.name));
            } else if !inputs.capabilities.can_rename {
                sketch.stays.push(format!("{}: {} cannot rename users", now.name, inputs.capabilities.product));
            } else {
                then.name = first.name.clone();
            }
        }
        then.email = earlier("e-mail address", &first.email, &last.email, &now.email, &now.name, sketch);
        then.display_name =
            earlier("display name", &first.display_name, &last.display_name, &now.display_name, &now.name, sketch);
        if then == now {
            continue;
        }
        wanted.insert(user, (now, then));
    }
    for Update { user, before, after, parks } in updates(wanted, |_| true) {
        let because = if parks { Reason::MakesRoom } else { Reason::Undone { owned: true } };
        let edit = Box::new(Edit { before, after });
        sketch.changes.push(Change { op: Op::UpdateUser { user, edit }, because });
    }
}

/// The value that an attribute is to have again. A hidden one cannot be compared, and is written if it is known.
fn earlier(
    what: &str,
    first: &Option<SmolStr>,
    last: &Option<SmolStr>,
    now: &Option<SmolStr>,
    name: &str,
    sketch: &mut Sketch,
) -> Option<SmolStr> {
    if first == last {
        return now.clone();
    }
    match (first, now) {
        (None, _) => {
            sketch.stays.push(format!("{name}: the {what} before is not known: the target hides it"));
            now.clone()
        }
        (Some(_), Some(_)) if now != last => {
            sketch.stays.push(format!("{name}: the {what} was changed since"));
            now.clone()
        }
        (Some(first), _) => Some(first.clone()),
    }
}
