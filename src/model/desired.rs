//! What should be: the outcome of scope and mapping, before any target is looked at.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

use super::key::{SourceKey, TargetKey};
use super::plan::FindingKind;
use super::roster::UserIx;

/// The attributes that rosterd writes to a target's user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Attributes {
    /// The user name.
    #[schema(value_type = String)]
    pub name: SmolStr,
    /// The e-mail address; `None`: leave it as it is.
    #[schema(value_type = Option<String>)]
    pub email: Option<SmolStr>,
    /// The name shown; `None`: leave it as it is.
    #[schema(value_type = Option<String>)]
    pub display_name: Option<SmolStr>,
}

/// Where a source user stands with this job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Should exist and be active at every target of the job.
    Entitled,
    /// Is left as it is: not yet activated, or set aside because of a conflict or a failing expression.
    Pending,
    /// A leaver: the source disabled the user.
    Disabled,
    /// A leaver: the source has the user, the job's scope does not want it.
    OutOfScope,
}

/// One source user as the targets should have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredUser {
    /// The source's id.
    pub source: SourceKey,
    /// Where the user stands.
    pub standing: Standing,
    /// What the mapping made of it. Only an entitled user's attributes are ever written; for others it may be missing.
    pub attributes: Option<Attributes>,
}

/// In [`DesiredGroup::via`]: the user is a member since the group is a default group.
pub const BY_DEFAULT: u32 = u32::MAX;

/// One target group with the users who should be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredGroup {
    /// The folded name.
    pub key: TargetKey,
    /// The name in the spelling of the mapping.
    pub name: SmolStr,
    /// The source groups that map to it, as positions in [`Desired::sources`], ascending. Empty for a default group.
    pub sources: Vec<u32>,
    /// Entitled members, as positions in [`Desired::users`], ascending.
    pub members: Vec<UserIx>,
    /// Through which source group each member is here: parallel to `members`, positions in [`Desired::sources`];
    /// [`BY_DEFAULT`] for a default group.
    pub via: Vec<u32>,
    /// Whether new users alone are put here (`groups.default.new_users`): such a group's other members are not missing.
    pub only_new_users: bool,
}

/// A source group that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceGroupRef {
    /// The source's id.
    pub key: SourceKey,
    /// Its name now.
    pub name: SmolStr,
}

/// Something that could not be decided for one subject and was set aside, so that everyone else goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Who.
    pub source: SourceKey,
    /// Of which kind: [`FindingKind::Conflict`] or [`FindingKind::Unmappable`].
    pub kind: FindingKind,
    /// Why, for a person.
    pub why: String,
}

/// What should be, for one job. Users ascend by source key, groups by folded name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Every user the source told of, ascending by source key.
    pub users: Vec<DesiredUser>,
    /// The target groups, ascending by key.
    pub groups: Vec<DesiredGroup>,
    /// The source groups in scope, ascending by key.
    pub sources: Vec<SourceGroupRef>,
    /// Source groups that exist and that the job's scope leaves out, ascending by key. What they once gave is left alone.
    pub left_out: Vec<SourceKey>,
    /// Who was set aside, and why.
    pub set_aside: Vec<SetAside>,
}

impl Desired {
    /// The position of a user.
    pub fn user(&self, key: &SourceKey) -> Option<UserIx> {
        self.users.binary_search_by(|u| u.source.cmp(key)).ok().map(|i| i as UserIx)
    }
}
