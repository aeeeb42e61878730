//! A plan's id: the hash of its changes in canonical form. If the world moves, the id moves, and an approval of the old one
//! no longer fits.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::model::change::{Change, Op};
use crate::model::desired::Attributes;
use crate::model::key::PlanId;
use crate::model::plan::Plan;

/// The id of a plan: the first 16 hexadecimal digits of a SHA-256 over job, target and changes by name and id. Findings do
/// not count.
pub fn plan_id(plan: &Plan) -> PlanId {
    let mut hash = Sha256::new();
    part(&mut hash, plan.job.as_str());
    part(&mut hash, plan.target.as_str());
    for change in &plan.changes {
        hash_change(&mut hash, plan, change);
    }
    PlanId::from(hex(&hash.finalize()[..8]))
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
    for optional in [email, display_name] {
        hash.update([u8::from(optional.is_some())]);
        part(hash, optional.as_deref().unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
