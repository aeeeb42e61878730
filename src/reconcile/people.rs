//! The diff's first half: accounts. Who is linked, created, changed, activated, deactivated, deleted.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rustc_hash::FxHashMap;

use super::correlate::{ByName, Joined, JoinedLinks, Situation};
use super::diff::{Fate, Inputs, Sketch};
use super::renames::{Rename, Update, updates};
use super::rules::LeaverAction;
use crate::contract::journal::Effect;
use crate::contract::target::Deactivation;
use crate::model::change::{Cause, Edit, Op, OpKind, Reason};
use crate::model::desired::{Attributes, DesiredUser, Standing};
use crate::model::key::{fold, same_name};
use crate::model::link::{UserLink, email_mark};
use crate::model::plan::FindingKind;
use crate::model::roster::{TargetUser, UserIx};

/// Plans the accounts.
pub fn people<'a>(
    inputs: &Inputs<'a>,
    names: &ByName<'_>,
    situations: &[Situation],
    links: &JoinedLinks<'a>,
    sketch: &mut Sketch<'a>,
) {
    let movers = movers(inputs, names, situations, sketch);
    let mut updates: BTreeMap<UserIx, (Attributes, Attributes)> = BTreeMap::new();
    for (at, user) in inputs.desired.users.iter().enumerate() {
        let ix = at as UserIx;
        let joined = links.of_desired[at];
        let link = joined.map(|j| j.link);
        let leavers = &inputs.rules.leavers;
        match (user.standing, joined) {
            (Standing::Entitled, _) => entitled(inputs, user, ix, link, &situations[at], &movers, sketch, &mut updates),
            (Standing::Disabled, Some(joined)) => leaver(inputs, ix, joined, Cause::Disabled, leavers.disabled, sketch),
            (Standing::OutOfScope, Some(joined)) => leaver(inputs, ix, joined, Cause::OutOfScope, leavers.out_of_scope, sketch),
            (Standing::Disabled | Standing::OutOfScope, None) | (Standing::Pending, _) => {}
        }
    }
    for (ix, joined) in (inputs.desired.users.len()..).zip(&links.gone) {
        leaver(inputs, ix as UserIx, *joined, Cause::Gone, inputs.rules.leavers.deleted, sketch);
    }
    write_updates(&movers, updates, sketch);
}

/// The renames that can be made: their wanted names are free, or held by somebody who moves as well.
fn movers(
    inputs: &Inputs<'_>,
    names: &ByName<'_>,
    situations: &[Situation],
    sketch: &mut Sketch<'_>,
) -> BTreeMap<UserIx, Rename> {
    let mut movers: BTreeMap<UserIx, Rename> = BTreeMap::new();
    for (at, user) in inputs.desired.users.iter().enumerate() {
        let (Some(attributes), Situation::Confirmed(held)) = (&user.attributes, &situations[at]) else { continue };
        let held = &inputs.actual.users[*held as usize];
        // Only the case differs: names compare without it, and a rename would gain nothing.
        if user.standing != Standing::Entitled || same_name(&held.name, &attributes.name) {
            continue;
        }
        let refusal = if !held.writable {
            Some((FindingKind::ReadOnly, "the account lies in a read-only directory".to_owned()))
        } else if !inputs.capabilities.can_rename {
            let product = inputs.capabilities.product;
            Some((FindingKind::Unsupported, format!("{product} {} cannot rename users", inputs.capabilities.version)))
        } else {
            (inputs.capabilities.refuse_user)(attributes).map(|why| (FindingKind::Unmappable, why))
        };
        match refusal {
            Some((kind, why)) => {
                let text = format!("should be renamed to {:?}: {why}", attributes.name);
                sketch.find(kind, Some(&user.source), Some(&held.name), text);
            }
            None => {
                movers.insert(at as UserIx, Rename { user: at as u32, from: held.name.clone(), to: attributes.name.clone() });
            }
        }
    }
    hold_up(inputs, names, &mut movers, sketch);
    movers
}

/// A mover whose wanted name is held by somebody who stays cannot move, and then whoever wants the mover's name cannot.
fn hold_up(inputs: &Inputs<'_>, names: &ByName<'_>, movers: &mut BTreeMap<UserIx, Rename>, sketch: &mut Sketch<'_>) {
    let mut in_question: Vec<UserIx> = movers.keys().copied().collect();
    let mut by_wanted: FxHashMap<String, Vec<UserIx>> = FxHashMap::default();
    for rename in movers.values() {
        by_wanted.entry(fold(&rename.to)).or_default().push(rename.user);
    }
    while !in_question.is_empty() {
        let stays = |holder: &UserIx| sketch.user_at(*holder).is_none_or(|u| !movers.contains_key(&u));
        let blocked: Vec<(UserIx, UserIx)> = in_question
            .iter()
            .filter_map(|ix| {
                let holder = names.get(&movers.get(ix)?.to).iter().find(|h| stays(h))?;
                Some((*ix, *holder))
            })
            .collect();
        in_question.clear();
        for (ix, holder) in blocked {
            let Some(rename) = movers.remove(&ix) else { continue };
            let text = format!(
                "should be renamed to {:?}, which is the name of another account; free that name, or change the source",
                inputs.actual.users[holder as usize].name
            );
            sketch.find(FindingKind::Conflict, sketch.users[ix as usize].source, Some(&rename.from), text);
            in_question.extend(by_wanted.get(&fold(&rename.from)).into_iter().flatten());
        }
    }
}

fn entitled(
    inputs: &Inputs<'_>,
    user: &DesiredUser,
    ix: UserIx,
    link: Option<&UserLink>,
    situation: &Situation,
    movers: &BTreeMap<UserIx, Rename>,
    sketch: &mut Sketch<'_>,
    updates: &mut BTreeMap<UserIx, (Attributes, Attributes)>,
) {
    let Some(attributes) = &user.attributes else { return };
    sketch.fate[ix as usize] = Fate::Stays;
    match situation {
        Situation::Confirmed(at) => {
            let held = &inputs.actual.users[*at as usize];
            keep(inputs, ix, attributes, held, link, movers, sketch, updates);
        }
        Situation::Found(at) => found(inputs, ix, attributes, *at, link, sketch, updates),
        Situation::Vanished(instead) => {
            vanished(user, link, sketch);
            match instead {
                Some(at) => found(inputs, ix, attributes, *at, link, sketch, updates),
                None => create(inputs, user, ix, attributes, sketch),
            }
        }
        Situation::Absent => create(inputs, user, ix, attributes, sketch),
        Situation::Taken(holder) => {
            let moves_away = sketch.user_at(*holder).is_some_and(|u| movers.contains_key(&u));
            if moves_away {
                create(inputs, user, ix, attributes, sketch);
            } else {
                let text = taken(inputs, *holder);
                sketch.find(FindingKind::Conflict, Some(&user.source), Some(&attributes.name), text);
            }
        }
        Situation::Ambiguous(candidates) => {
            let text = format!("{} accounts have this name; link one by hand or remove the others", candidates.len());
            sketch.find(FindingKind::Ambiguous, Some(&user.source), Some(&attributes.name), text);
        }
        Situation::Unmanaged => {}
    }
}

/// What to say of an account that is linked to somebody else. It may be the same person, back under another id of the source,
/// or a namesake: an account with all its history goes to nobody but by a person's word.
fn taken(inputs: &Inputs<'_>, holder: UserIx) -> String {
    let account = &inputs.actual.users[holder as usize];
    let link = inputs.links.users.iter().find(|link| link.target == account.key);
    let left = |link: &&UserLink| {
        let standing = inputs.desired.user(&link.source).map(|at| inputs.desired.users[at as usize].standing);
        match standing {
            None | Some(Standing::Disabled | Standing::OutOfScope) => true,
            // Of whom the source was asked of late, the link alone tells.
            Some(Standing::Pending) => link.leaving_since.is_some(),
            Some(Standing::Entitled) => false,
        }
    };
    match link.filter(left) {
        Some(link) => format!(
            "the account of this name is linked to {}, who has left; if this is the same person again, `rosterd release {} --link \
             {}` lets the next run take the account for them, else free the name, or change users.map.username",
            link.source, inputs.target, link.source
        ),
        None => "the account of this name is linked to another person; free the name, or change users.map.username".to_owned(),
    }
}

fn found(
    inputs: &Inputs<'_>,
    ix: UserIx,
    attributes: &Attributes,
    at: UserIx,
    link: Option<&UserLink>,
    sketch: &mut Sketch<'_>,
    updates: &mut BTreeMap<UserIx, (Attributes, Attributes)>,
) {
    sketch.change(Op::LinkUser { user: ix }, Reason::Found);
    let held = &inputs.actual.users[at as usize];
    keep(inputs, ix, attributes, held, link, &BTreeMap::new(), sketch, updates);
}

/// An account that is there and should stay: its attributes, its activity, its link.
fn keep(
    inputs: &Inputs<'_>,
    ix: UserIx,
    wanted: &Attributes,
    held: &TargetUser,
    link: Option<&UserLink>,
    movers: &BTreeMap<UserIx, Rename>,
    sketch: &mut Sketch<'_>,
    updates: &mut BTreeMap<UserIx, (Attributes, Attributes)>,
) {
    let user = &inputs.desired.users[ix as usize];
    if held.active {
        sketch.managed.active_users += 1;
    }
    if let Some((before, after)) = difference(inputs, user, wanted, held, link, movers.contains_key(&ix)) {
        let only_details = before.name == after.name;
        if !held.writable {
            sketch.find(
                FindingKind::ReadOnly,
                Some(&user.source),
                Some(&held.name),
                "attributes differ, and the account lies in a read-only directory",
            );
        } else if only_details && !inputs.capabilities.can_update {
            let text = format!(
                "attributes differ, and {} {} cannot change them",
                inputs.capabilities.product, inputs.capabilities.version
            );
            sketch.find(FindingKind::Unsupported, Some(&user.source), Some(&held.name), text);
        } else {
            updates.insert(ix, (before, after));
        }
    }
    if !held.active && inputs.capabilities.deactivation == Deactivation::Flag {
        if !held.writable {
            sketch.find(
                FindingKind::ReadOnly,
                Some(&user.source),
                Some(&held.name),
                "is inactive, and lies in a read-only directory",
            );
        } else if inputs.capabilities.can.contains(&OpKind::ActivateUser) {
            sketch.change(Op::ActivateUser { user: ix }, Reason::Returned);
        }
    }
    if let Some(link) = link
        && link.target == held.key
    {
        let mark = link.email_mark.or_else(|| wanted.email.as_deref().map(|e| email_mark(&user.source, e)));
        let is_fresh =
            link.name == held.name && link.leaving_since.is_none() && link.last_asked.is_none() && link.email_mark == mark;
        if is_fresh && !link.is_new {
            return;
        }
        let name = held.name.clone();
        let fresh = UserLink { name, email_mark: mark, leaving_since: None, last_asked: None, ..link.clone() };
        if link.is_new {
            sketch.is_new[ix as usize] = true;
            sketch.newcomers.push((ix, fresh.clone()));
        }
        if !is_fresh {
            sketch.effects.push(Effect::LinkUser(Box::new(fresh)));
        }
    }
}

/// What differs and can be compared: before and after, or nothing.
fn difference(
    inputs: &Inputs<'_>,
    user: &DesiredUser,
    wanted: &Attributes,
    held: &TargetUser,
    link: Option<&UserLink>,
    moves: bool,
) -> Option<(Attributes, Attributes)> {
    let email = match (&wanted.email, &held.email) {
        (Some(wanted), Some(held)) if !same_name(wanted, held) => Some(wanted.clone()),
        // A hidden address is never compared; but one that changed at the source since it was last written is written.
        (Some(wanted), None) => {
            let written = link.filter(|l| l.target == held.key).and_then(|l| l.email_mark);
            (inputs.capabilities.can_update && written.is_some_and(|m| m != email_mark(&user.source, wanted)))
                .then(|| wanted.clone())
        }
        (Some(_), Some(_)) | (None, _) => None,
    };
    let display_name = match (&wanted.display_name, &held.display_name) {
        (Some(wanted), Some(held)) if wanted != held => Some(wanted.clone()),
        (Some(_), _) | (None, _) => None,
    };
    // A target may be able to rename and to change nothing else.
    let details = !moves || inputs.capabilities.can_update;
    let (email, display_name) = (email.filter(|_| details), display_name.filter(|_| details));
    if !moves && email.is_none() && display_name.is_none() {
        return None;
    }
    let before = Attributes { name: held.name.clone(), email: held.email.clone(), display_name: held.display_name.clone() };
    let name = if moves { wanted.name.clone() } else { held.name.clone() };
    let after = Attributes {
        name,
        email: email.or_else(|| before.email.clone()),
        display_name: display_name.or_else(|| before.display_name.clone()),
    };
    Some((before, after))
}

fn create(inputs: &Inputs<'_>, user: &DesiredUser, ix: UserIx, attributes: &Attributes, sketch: &mut Sketch<'_>) {
    if !inputs.capabilities.can.contains(&OpKind::CreateUser) {
        let text = format!("{} {} cannot create users", inputs.capabilities.product, inputs.capabilities.version);
        sketch.find(FindingKind::Unsupported, Some(&user.source), Some(&attributes.name), text);
        return;
    }
    let without_email = inputs.capabilities.needs_email && attributes.email.is_none();
    let refusal = (inputs.capabilities.refuse_user)(attributes).or_else(|| {
        without_email.then(|| {
            format!(
                "{} creates no user without an e-mail address; give the user one at the source, or map one",
                inputs.capabilities.product
            )
        })
    });
    if let Some(why) = refusal {
        sketch.find(FindingKind::Unmappable, Some(&user.source), Some(&attributes.name), why);
        return;
    }
    sketch.present[ix as usize] = true;
    sketch.is_new[ix as usize] = true;
    sketch.change(Op::CreateUser { user: ix, attributes: Box::new(attributes.clone()) }, Reason::Joined);
}

/// The link stays until another account is theirs: one that only was not shown would be nobody's, with all that it may do.
fn vanished(user: &DesiredUser, link: Option<&UserLink>, sketch: &mut Sketch<'_>) {
    let Some(link) = link else { return };
    sketch.find(FindingKind::Vanished, Some(&user.source), Some(&link.name), "the linked account is no longer there");
}

/// A linked user whom the source no longer wants.
fn leaver(
    inputs: &Inputs<'_>,
    ix: UserIx,
    Joined { link, at }: Joined<'_>,
    cause: Cause,
    action: LeaverAction,
    sketch: &mut Sketch<'_>,
) {
    // A listing that lacks the account proves no absence: an index may lag behind, a directory be hidden for a day. Without its
    // link the account would be nobody's, and nobody would make it inactive when it shows again. So the link stays, until its
    // user is back and gets another account, or a person cuts it.
    let Some(at) = at else { return };
    let held = &inputs.actual.users[at as usize];
    if held.active {
        sketch.managed.active_users += 1;
    }
    let waits = TimeDelta::from_std(inputs.rules.leavers.grace).unwrap_or(TimeDelta::MAX);
    let delete_after = inputs.rules.leavers.delete_after.and_then(|after| TimeDelta::from_std(after).ok());
    let mut since = link.leaving_since.unwrap_or(inputs.now);
    if let Some(seen_at_work) = inputs.now.checked_sub_signed(waits).filter(|_| held.active && delete_after.is_some()) {
        // A deletion is for accounts that have long been inactive. Whoever was kept, waited for, or was out of scope all the time
        // and is made inactive only now has not.
        since = since.max(seen_at_work);
    }
    if link.name != held.name || link.leaving_since != Some(since) {
        let fresh = UserLink { name: held.name.clone(), leaving_since: Some(since), ..link.clone() };
        sketch.effects.push(Effect::LinkUser(Box::new(fresh)));
    }
    if inputs.now - since < waits {
        return;
    }
    let capabilities = inputs.capabilities;
    match action {
        LeaverAction::Keep => {}
        LeaverAction::RemoveGroups => sketch.fate[ix as usize] = Fate::Leaves(cause),
        LeaverAction::Deactivate if !held.active => {
            if capabilities.deactivation == Deactivation::StripGroups {
                // It may have been broken off once the groups were gone that give access: what is left is left as well.
                sketch.fate[ix as usize] = Fate::Leaves(cause);
            }
            let is_due = delete_after.is_some_and(|after| inputs.now - since >= after);
            if is_due && held.writable && capabilities.can.contains(&OpKind::DeleteUser) {
                sketch.change(Op::DeleteUser { user: ix }, cause.into());
            }
        }
        LeaverAction::Deactivate if !held.writable && capabilities.deactivation == Deactivation::Flag => {
            sketch.find(
                FindingKind::ReadOnly,
                Some(&link.source),
                Some(&held.name),
                "should be deactivated, and lies in a read-only directory",
            );
        }
        LeaverAction::Deactivate if capabilities.can.contains(&OpKind::DeactivateUser) => {
            sketch.change(Op::DeactivateUser { user: ix }, cause.into());
        }
        LeaverAction::Delete if capabilities.can.contains(&OpKind::DeleteUser) && held.writable => {
            sketch.change(Op::DeleteUser { user: ix }, cause.into());
        }
        LeaverAction::Deactivate | LeaverAction::Delete => {
            let text = format!("{} {} cannot do this to the account", capabilities.product, capabilities.version);
            sketch.find(FindingKind::Unsupported, Some(&link.source), Some(&held.name), text);
        }
    }
}

/// Writes the updates: renames in the order that keeps names free, then the others.
fn write_updates(movers: &BTreeMap<UserIx, Rename>, wanted: BTreeMap<UserIx, (Attributes, Attributes)>, sketch: &mut Sketch<'_>) {
    for Update { user, before, after, parks } in updates(wanted, |user| movers.contains_key(&user)) {
        let because = if parks { Reason::MakesRoom } else { Reason::Differs };
        sketch.change(Op::UpdateUser { user, edit: Box::new(Edit { before, after }) }, because);
    }
}
