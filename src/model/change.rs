//! One step of a plan, and why it is taken.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::desired::Attributes;
use super::key::fold;
use super::roster::{GroupIx, UserIx};

/// A verb with its data. Users and groups are positions in the plan that the op stands in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Records which target user a source user is. Nothing is sent to the target.
    LinkUser {
        /// Who.
        user: UserIx,
    },
    /// Creates a group.
    CreateGroup {
        /// Which.
        group: GroupIx,
    },
    /// Changes user name, e-mail or display name of a linked user.
    UpdateUser {
        /// Who.
        user: UserIx,
        /// From what to what. Both behind one pointer: a plan may have millions of changes, and so each takes 24 bytes.
        #[serde(flatten)]
        edit: Box<Edit>,
    },
    /// Creates a user.
    CreateUser {
        /// Who.
        user: UserIx,
        /// With what.
        attributes: Box<Attributes>,
    },
    /// Makes a deactivated user active again.
    ActivateUser {
        /// Who.
        user: UserIx,
    },
    /// Puts a user into a group.
    AddMember {
        /// Into which.
        group: GroupIx,
        /// Whom.
        user: UserIx,
    },
    /// Takes a user out of a group.
    RemoveMember {
        /// Out of which.
        group: GroupIx,
        /// Whom.
        user: UserIx,
    },
    /// Makes a user inactive; where a target has no such call, takes it out of every group that gives access.
    DeactivateUser {
        /// Who.
        user: UserIx,
    },
    /// Deletes a user.
    DeleteUser {
        /// Who.
        user: UserIx,
    },
}

/// How a user's attributes change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edit {
    /// What the target held.
    pub before: Attributes,
    /// What it shall hold.
    pub after: Attributes,
}

impl Edit {
    /// Whether it gives another user name, by more than the case of its letters.
    pub fn renames(&self) -> bool {
        fold(&self.before.name) != fold(&self.after.name)
    }
}

/// The kinds of ops, in the order in which a plan performs them: grants before removals, what others need before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// See [`Op::LinkUser`].
    LinkUser,
    /// See [`Op::CreateGroup`].
    CreateGroup,
    /// See [`Op::UpdateUser`].
    UpdateUser,
    /// See [`Op::CreateUser`].
    CreateUser,
    /// See [`Op::ActivateUser`].
    ActivateUser,
    /// See [`Op::AddMember`].
    AddMember,
    /// See [`Op::RemoveMember`].
    RemoveMember,
    /// See [`Op::DeactivateUser`].
    DeactivateUser,
    /// See [`Op::DeleteUser`].
    DeleteUser,
}

impl OpKind {
    /// All kinds, in order.
    pub const ALL: [OpKind; 9] = [
        OpKind::LinkUser,
        OpKind::CreateGroup,
        OpKind::UpdateUser,
        OpKind::CreateUser,
        OpKind::ActivateUser,
        OpKind::AddMember,
        OpKind::RemoveMember,
        OpKind::DeactivateUser,
        OpKind::DeleteUser,
    ];

    /// Whether performing it takes access away.
    pub fn removes(self) -> bool {
        matches!(self, OpKind::RemoveMember | OpKind::DeactivateUser | OpKind::DeleteUser)
    }

    /// The word that logs, metrics, tables and JSON use.
    pub fn word(self) -> &'static str {
        match self {
            OpKind::LinkUser => "link_user",
            OpKind::CreateGroup => "create_group",
            OpKind::UpdateUser => "update_user",
            OpKind::CreateUser => "create_user",
            OpKind::ActivateUser => "activate_user",
            OpKind::AddMember => "add_member",
            OpKind::RemoveMember => "remove_member",
            OpKind::DeactivateUser => "deactivate_user",
            OpKind::DeleteUser => "delete_user",
        }
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.word() == word)
    }
}

impl Op {
    /// Its kind.
    pub fn kind(&self) -> OpKind {
        match self {
            Op::LinkUser { .. } => OpKind::LinkUser,
            Op::CreateGroup { .. } => OpKind::CreateGroup,
            Op::UpdateUser { .. } => OpKind::UpdateUser,
            Op::CreateUser { .. } => OpKind::CreateUser,
            Op::ActivateUser { .. } => OpKind::ActivateUser,
            Op::AddMember { .. } => OpKind::AddMember,
            Op::RemoveMember { .. } => OpKind::RemoveMember,
            Op::DeactivateUser { .. } => OpKind::DeactivateUser,
            Op::DeleteUser { .. } => OpKind::DeleteUser,
        }
    }

    /// The user it is about, if any.
    pub fn user(&self) -> Option<UserIx> {
        match self {
            Op::LinkUser { user }
            | Op::UpdateUser { user, .. }
            | Op::CreateUser { user, .. }
            | Op::ActivateUser { user }
            | Op::AddMember { user, .. }
            | Op::RemoveMember { user, .. }
            | Op::DeactivateUser { user }
            | Op::DeleteUser { user } => Some(*user),
            Op::CreateGroup { .. } => None,
        }
    }

    /// The user name that it gives somebody, with whom, if it does.
    pub fn names(&self) -> Option<(UserIx, &str)> {
        match self {
            Op::CreateUser { user, attributes } => Some((*user, &attributes.name)),
            Op::UpdateUser { user, edit } if edit.renames() => Some((*user, &edit.after.name)),
            Op::LinkUser { .. }
            | Op::CreateGroup { .. }
            | Op::UpdateUser { .. }
            | Op::ActivateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => None,
        }
    }

    /// The group it is about, if any.
    pub fn group(&self) -> Option<GroupIx> {
        match self {
            Op::CreateGroup { group } | Op::AddMember { group, .. } | Op::RemoveMember { group, .. } => Some(*group),
            Op::LinkUser { .. }
            | Op::UpdateUser { .. }
            | Op::CreateUser { .. }
            | Op::ActivateUser { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => None,
        }
    }
}

/// Why a change is planned. Source groups are positions in [`super::plan::Plan::sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The source has the user, the target does not.
    Joined,
    /// An unlinked account with the same correlation attribute was found.
    Found,
    /// The attributes differ from what the mapping says.
    Differs,
    /// A step of a swap or circle of user names: a name is parked for a moment.
    MakesRoom,
    /// The source entitles the user again.
    Returned,
    /// The user is in this source group.
    MemberOf {
        /// Which.
        source: u32,
    },
    /// The group is a default group.
    Default,
    /// A source group maps to this target group, which does not exist.
    Mapped {
        /// Which.
        source: u32,
    },
    /// The user is no longer in any source group that maps here.
    NotMember,
    /// The membership is in nobody's ledger, and the group is declared exclusive.
    Exclusive,
    /// The source group that mapped here is gone, or no longer assigned.
    GroupGone,
    /// The source group that mapped here has another name now and maps elsewhere.
    GroupRenamed,
    /// A leaver: the source disabled the user.
    Disabled,
    /// A leaver: the job's scope does not want the user.
    OutOfScope,
    /// A leaver: the source does not have the user.
    Gone,
    /// Takes back what a run did, since a person asked for it.
    Undone {
        /// Whether a membership that is given back was rosterd's. Records from before this was told do not have it.
        #[serde(default)]
        owned: bool,
    },
}

/// Why a user leaves: those of the reasons that can be. A byte of its own, since it is looked up for every removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The source disabled the user.
    Disabled,
    /// The job's scope does not want the user, or the source has it outside its own.
    OutOfScope,
    /// The source does not have the user.
    Gone,
}

impl Cause {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Disabled => "disabled",
            Cause::OutOfScope => "out of scope",
            Cause::Gone => "gone",
        }
    }
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Disabled => Reason::Disabled,
            Cause::OutOfScope => Reason::OutOfScope,
            Cause::Gone => Reason::Gone,
        }
    }
}

impl Reason {
    /// Why somebody leaves, where that is the reason: a removal for another cause is another removal.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Reason::Disabled => Some(Cause::Disabled),
            Reason::OutOfScope => Some(Cause::OutOfScope),
            Reason::Gone => Some(Cause::Gone),
            Reason::Joined
            | Reason::Found
            | Reason::Differs
            | Reason::MakesRoom
            | Reason::Returned
            | Reason::MemberOf { .. }
            | Reason::Default
            | Reason::Mapped { .. }
            | Reason::NotMember
            | Reason::Exclusive
            | Reason::GroupGone
            | Reason::GroupRenamed
            | Reason::Undone { .. } => None,
        }
    }

    /// The position of the source group that it names.
    pub fn source_mut(&mut self) -> Option<&mut u32> {
        match self {
            Reason::MemberOf { source } | Reason::Mapped { source } => Some(source),
            Reason::Joined
            | Reason::Found
            | Reason::Differs
            | Reason::MakesRoom
            | Reason::Returned
            | Reason::Default
            | Reason::NotMember
            | Reason::Exclusive
            | Reason::GroupGone
            | Reason::GroupRenamed
            | Reason::Disabled
            | Reason::OutOfScope
            | Reason::Gone
            | Reason::Undone { .. } => None,
        }
    }
}

/// An op with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// What.
    #[serde(flatten)]
    pub op: Op,
    /// Why.
    #[serde(flatten)]
    pub because: Reason,
}
