//! Members of protected groups keep their accounts: where an account's end would take somebody out of groups, the target
//! is asked which groups those are, just before.
//!
//! The guard sees what a plan names, and a deactivation that works by leaving every group, like a deletion, names none.
//! Which groups they are is read only where groups are protected at all, and only for those who are to go.

use futures::StreamExt;

use super::policy::Job;
use super::prepare::TargetSide;
use crate::contract::target::{Capabilities, Deactivation, WantedUser};
use crate::model::change::OpKind;
use crate::model::plan::PlanUser;
use crate::reconcile::guard::Judged;

/// How many users are read at once.
const READ_AT_ONCE: usize = 4;

/// Withholds what would take members out of protected groups by the way. Returns what a person should know.
pub async fn spare(job: &Job, side: &TargetSide, capabilities: &Capabilities, judged: &mut Judged) -> Vec<String> {
    let protected = &job.guard.protect_groups;
    if protected.is_empty() {
        return Vec::new();
    }
    let leaves_groups = |kind: OpKind| match kind {
        OpKind::DeactivateUser => capabilities.deactivation == Deactivation::StripGroups,
        OpKind::DeleteUser => true,
        OpKind::LinkUser
        | OpKind::CreateGroup
        | OpKind::UpdateUser
        | OpKind::CreateUser
        | OpKind::ActivateUser
        | OpKind::AddMember
        | OpKind::RemoveMember => false,
    };
    let plan = judged.admitted.plan();
    let going: Vec<(usize, PlanUser)> = judged
        .admitted
        .changes()
        .filter(|(_, change)| leaves_groups(change.op.kind()))
        .filter_map(|(at, change)| Some((at, plan.user(change.op.user()?).clone())))
        .collect();
    let answers: Vec<_> = futures::stream::iter(going)
        .map(|(at, user)| async move {
            let wanted = WantedUser { key: user.key.clone(), name: user.name.clone() };
            let why = match side.target.fetch_user(&wanted).await {
                Ok(Some((_, groups))) => groups
                    .iter()
                    .find(|group| protected.matches(group))
                    .map(|group| format!("is a member of group {group:?} of guard.protect_groups and stays")),
                Ok(None) => None,
                // Not knowing is no leave to take them out.
                Err(error) => Some(format!("stays, since its groups could not be read: {error}")),
            };
            (at, why.map(|why| (user.name, why)))
        })
        .buffered(READ_AT_ONCE)
        .collect()
        .await;
    let stay: Vec<_> = answers.into_iter().filter_map(|(at, why)| Some((at, why?))).collect();
    let messages = stay.iter().map(|(_, (name, why))| format!("{name}: {why}")).collect();
    judged.withhold(stay.into_iter().map(|(at, (_, why))| (at, why)).collect());
    messages
}
