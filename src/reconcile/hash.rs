//! A plan's id: the hash of its changes in canonical form and of both rosters. If the world moves, the id moves. A change's
//! mark: the same of one change alone, so that a decision about it holds exactly as long as it is the same change.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::model::change::{Change, Op};
use crate::model::desired::{Attributes, Desired, DesiredUser};
use crate::model::key::PlanId;
use crate::model::plan::Plan;
use crate::model::roster::{TargetRoster, UserIx};

/// The id of a plan: the first 16 hexadecimal digits of a SHA-256 over job, target, the rosters' digest and changes by name
/// and id. Findings do not count.
pub fn plan_id(plan: &Plan) -> PlanId {
    let mut hash = Sha256::new();
    part(&mut hash, plan.job.as_str());
    part(&mut hash, plan.target.as_str());
    part(&mut hash, &plan.rosters);
    for change in &plan.changes {
        hash_change(&mut hash, plan, change);
    }
    PlanId::from(hex(&hash.finalize()[..8]))
}

/// The digest of what should be and of what is, for [`Plan::rosters`].
pub fn rosters(desired: &Desired, actual: &TargetRoster) -> Box<str> {
    let mut hash = Sha256::new();
    for user in &desired.users {
        hash_desired(&mut hash, user);
    }
    for group in &desired.groups {
        part(&mut hash, group.key.as_str());
        members(&mut hash, &group.members);
    }
    for user in &actual.users {
        part(&mut hash, user.key.as_str());
        hash.update([u8::from(user.active), u8::from(user.writable)]);
        part(&mut hash, &user.name);
        optional(&mut hash, user.email.as_deref());
        optional(&mut hash, user.display_name.as_deref());
    }
    for group in &actual.groups {
        part(&mut hash, group.key.as_str());
        members(&mut hash, &group.members);
    }
    hex(&hash.finalize()[..16]).into()
}

/// What the source wants of one user, `None` if it does not tell of the user: a hold on the user ends when this changes.
pub fn wish(desired: &Desired, user: Option<UserIx>) -> String {
    let mut hash = Sha256::new();
    if let Some(ix) = user {
        hash_desired(&mut hash, &desired.users[ix as usize]);
        for group in desired.groups.iter().filter(|g| g.members.binary_search(&ix).is_ok()) {
            part(&mut hash, group.key.as_str());
        }
    }
    hex(&hash.finalize()[..16])
}

/// The mark of one change: what an approval is for.
pub fn mark(plan: &Plan, change: &Change) -> String {
    let mut hash = Sha256::new();
    part(&mut hash, plan.job.as_str());
    part(&mut hash, plan.target.as_str());
    hash_change(&mut hash, plan, change);
    hex(&hash.finalize()[..16])
}

/// Hashes a text with its length before it, so that no two lists of texts give the same bytes.
fn part(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

fn hash_change(hash: &mut Sha256, plan: &Plan, change: &Change) {
    part(hash, change.op.kind().word());
    if let Some(user) = change.op.user().map(|u| plan.user(u)) {
        part(hash, user.source.as_ref().map_or("", |k| k.as_str()));
        part(hash, user.key.as_ref().map_or("", |k| k.as_str()));
        part(hash, &user.name);
    }
    if let Some(group) = change.op.group().map(|g| plan.group(g)) {
        part(hash, group.key.as_str());
    }
    match &change.op {
        Op::UpdateUser { before, after, .. } => [before, after].into_iter().for_each(|a| hash_attributes(hash, a)),
        Op::CreateUser { attributes, .. } => hash_attributes(hash, attributes),
        Op::LinkUser { .. }
        | Op::CreateGroup { .. }
        | Op::ActivateUser { .. }
        | Op::AddMember { .. }
        | Op::RemoveMember { .. }
        | Op::DeactivateUser { .. }
        | Op::DeleteUser { .. } => {}
    }
}

fn hash_attributes(hash: &mut Sha256, attributes: &Attributes) {
    let Attributes { name, email, display_name } = attributes;
    part(hash, name);
    optional(hash, email.as_deref());
    optional(hash, display_name.as_deref());
}

fn optional(hash: &mut Sha256, text: Option<&str>) {
    hash.update([u8::from(text.is_some())]);
    part(hash, text.unwrap_or_default());
}

fn hash_desired(hash: &mut Sha256, user: &DesiredUser) {
    let DesiredUser { source, standing, attributes } = user;
    part(hash, source.as_str());
    hash.update([*standing as u8, u8::from(attributes.is_some())]);
    if let Some(attributes) = attributes {
        hash_attributes(hash, attributes);
    }
}

fn members(hash: &mut Sha256, members: &[UserIx]) {
    hash.update((members.len() as u64).to_le_bytes());
    members.iter().for_each(|m| hash.update(m.to_le_bytes()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
