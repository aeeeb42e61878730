//! The plan: all changes of one run for one target, in the order in which they are performed.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::change::{Change, OpKind};
use super::desired::SourceGroupRef;
use super::key::{JobName, SourceKey, SystemName, TargetKey};
use super::roster::{GroupIx, UserIx};

/// A user that a plan speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanUser {
    /// The source's id; `None` for a member of an exclusive group whom no source knows.
    pub source: Option<SourceKey>,
    /// The target's id; `None` for a user who is yet to be created.
    pub key: Option<TargetKey>,
    /// The user name at the target: as it is, or for a user yet to be created as it will be.
    pub name: SmolStr,
}

/// A group that a plan speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanGroup {
    /// The folded name.
    pub key: TargetKey,
    /// The name as the target spells it, or as it will be created.
    pub name: SmolStr,
    /// Members at the target before the plan, for shares.
    pub size: u32,
}

/// What kind of thing was reported instead of changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Several target users fit one source user.
    Ambiguous,
    /// Two source users map to one user name, or a wanted name belongs to somebody else.
    Conflict,
    /// The record lies in a read-only directory.
    ReadOnly,
    /// An expression failed, or made something that the target cannot hold.
    Unmappable,
    /// The target cannot do what is needed.
    Unsupported,
    /// A group is missing and `groups.create_missing` is off.
    GroupMissing,
    /// A group fell out of the configured scope: its memberships are left as they are.
    LeftAlone,
    /// A linked account has vanished from the target.
    Vanished,
    /// A group whose source group was renamed is left behind, empty.
    Retired,
}

/// A difference that is reported and not acted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Of which kind.
    pub kind: FindingKind,
    /// The source user or group it is about, where there is one.
    pub source: Option<SourceKey>,
    /// The target's user or group name it is about, where there is one.
    pub name: Option<SmolStr>,
    /// What was found and what to do, for a person.
    pub text: String,
}

/// How much is managed at the target: the denominators of the guards' shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// Linked users who are active at the target.
    pub active_users: u32,
    /// Memberships of linked users in managed groups.
    pub memberships: u32,
}

/// All changes of one run for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// For which job.
    pub job: JobName,
    /// For which target.
    pub target: SystemName,
    /// The users that changes refer to.
    pub users: Vec<PlanUser>,
    /// The groups that changes refer to, ascending by key.
    pub groups: Vec<PlanGroup>,
    /// The source groups that reasons refer to.
    pub sources: Vec<SourceGroupRef>,
    /// The changes, ordered by kind, then by name.
    pub changes: Vec<Change>,
    /// What is reported and left as it is.
    pub findings: Vec<Finding>,
    /// How much is managed.
    pub managed: Managed,
    /// A digest of what both sides looked like when the plan was made; empty where nobody asked for it. It is part of the
    /// plan's id: the same changes in another world are another plan.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub rosters: SmolStr,
}

impl Plan {
    /// The user at a position.
    pub fn user(&self, ix: UserIx) -> &PlanUser {
        &self.users[ix as usize]
    }
    /// The group at a position.
    pub fn group(&self, ix: GroupIx) -> &PlanGroup {
        &self.groups[ix as usize]
    }
    /// How many changes of each kind there are, leaving out kinds without any.
    pub fn counts(&self) -> std::collections::BTreeMap<OpKind, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for change in &self.changes {
            *counts.entry(change.op.kind()).or_default() += 1;
        }
        counts
    }
}
