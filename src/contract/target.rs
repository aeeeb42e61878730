//! A target: the system that is made to agree.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::fault::ConnectorError;
use crate::model::change::OpKind;
use crate::model::desired::Attributes;
use crate::model::key::TargetKey;
use crate::model::roster::{TargetRoster, TargetUser};

/// How a target makes a user unable to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deactivation {
    /// By a flag on the account.
    Flag,
    /// There is no call for it: the user is taken out of every group that gives access.
    StripGroups,
    /// Not at all in this version.
    None,
}

/// A licence, or the part of one that a role at the target has: how many may use it, and how many do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Of what, for people.
    pub product: String,
    /// How many are taken.
    pub used: u32,
    /// How many there are; `None`: as many as one likes.
    pub of: Option<u32>,
    /// The groups whose active members take one, by name.
    pub groups: Vec<String>,
    /// Whether an account takes one as soon as it is created, in no group of rosterd's making.
    pub taken_by_creation: bool,
}

/// When the credential that a system is spoken to with stops being accepted by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// The system could not be asked, or its answer did not say.
    #[default]
    Unknown,
    /// There is no date that the system knows of: a password, a token without an end.
    Never,
    /// Then.
    At(DateTime<Utc>),
}

/// What all targets of one kind have in common, whatever a probe finds: with this and what was found once, a plan can be made
/// without the target.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// [`Capabilities::product`].
    pub product: &'static str,
    /// [`Capabilities::refuse_user`].
    pub refuse_user: fn(&Attributes) -> Option<String>,
    /// [`Capabilities::refuse_group`].
    pub refuse_group: fn(&str) -> Option<String>,
}

/// What a target is and can do, found at its probe. Plans never hold an op that it cannot do.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// The product's name, for people.
    pub product: &'static str,
    /// Its version as told.
    pub version: String,
    /// The account that rosterd acts with, by user name at the target. Guards never touch it.
    pub acting_as: Option<String>,
    /// The kinds of op it can do.
    pub can: Vec<OpKind>,
    /// Whether a user's name can be changed.
    pub can_rename: bool,
    /// Whether e-mail and display name can be changed.
    pub can_update: bool,
    /// Whether a user cannot be created without an e-mail address.
    pub needs_email: bool,
    /// How users are deactivated.
    pub deactivation: Deactivation,
    /// The most users that one call can add to a group.
    pub adds_per_call: usize,
    /// The most writes to have under way at once: the configuration's `http.concurrency`.
    pub writes_at_once: usize,
    /// Groups that give administration rights, by name, where known.
    pub admin_groups: Vec<String>,
    /// Whether members of groups can be changed at all: not where every directory is read-only.
    pub groups_writable: bool,
    /// The licences that the target tells of; none where it tells of none.
    pub seats: Vec<Seats>,
    /// When the credential expires.
    pub expires: Expiry,
    /// Why the target cannot hold this user, if it cannot.
    pub refuse_user: fn(&Attributes) -> Option<String>,
    /// Why the target cannot hold a group of this name, if it cannot.
    pub refuse_group: fn(&str) -> Option<String>,
    /// Whatever else a person should know (a read-only directory, a missing right).
    pub notes: Vec<String>,
}

/// A user to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedUser {
    /// The stable id, for a linked user.
    pub key: Option<TargetKey>,
    /// The user name: of the link, or as the mapping wants it.
    pub name: SmolStr,
}

/// What a run wants to know of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Linked users, and user names that are to be correlated. The same user may be wanted under two names (rename).
    pub users: Vec<WantedUser>,
    /// The managed groups, by name: exactly these groups' members are read.
    pub groups: Vec<SmolStr>,
    /// Whether it is enough to know which of the wanted users are members of the wanted groups, so that reading each
    /// user with its groups is a complete answer too. False (the default): all members are needed, as they are for an
    /// exclusive group, for a limit by share of a group, and for an expected size. With true the members in the roster
    /// are at least the wanted users', and may be no more than theirs: that somebody else is *not* listed proves nothing.
    pub members_of_wanted_users_suffice: bool,
}

/// A user in a call to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// The stable id.
    pub key: &'a TargetKey,
    /// The user name now.
    pub name: &'a str,
}

/// One call to make, with all that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Creates a group.
    CreateGroup {
        /// Its name.
        name: &'a str,
    },
    /// Changes attributes; only those that differ are sent.
    UpdateUser {
        /// Whom.
        user: Who<'a>,
        /// What it holds.
        before: &'a Attributes,
        /// What it shall hold.
        after: &'a Attributes,
    },
    /// Creates a user, with a random password where one is needed, and without mail unless configured.
    CreateUser {
        /// With what.
        attributes: &'a Attributes,
    },
    /// Makes a user active.
    ActivateUser {
        /// Whom.
        user: Who<'a>,
    },
    /// Puts users into a group, at most [`Capabilities::adds_per_call`].
    AddMembers {
        /// The group's name.
        group: &'a str,
        /// Whom.
        users: &'a [Who<'a>],
    },
    /// Takes a user out of a group.
    RemoveMember {
        /// The group's name.
        group: &'a str,
        /// Whom.
        user: Who<'a>,
    },
    /// Makes a user inactive.
    DeactivateUser {
        /// Whom.
        user: Who<'a>,
    },
    /// Deletes a user.
    DeleteUser {
        /// Whom.
        user: Who<'a>,
    },
}

/// What came of an act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The user as created, for [`Act::CreateUser`]: at least its key and name.
    pub created: Option<TargetUser>,
    /// The groups a user was taken out of, where deactivation works so. Kept for undo.
    pub left_groups: Vec<String>,
    /// The system's own id of the request that did it, where its answer told one: the last, where it took several. Kept with
    /// the change, so that it is found in the system's own log.
    pub request: Option<Box<str>>,
}

/// Whether the target looks as it should after an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does. For [`Act::CreateUser`] with the account as found.
    Yes(Option<TargetUser>),
    /// It does not.
    No,
}

/// A system that is made to agree.
#[async_trait]
pub trait Target: Send + Sync {
    /// Asks for version, identity, rights and directories. Called at the start of each run.
    async fn probe(&self) -> Result<Capabilities, ConnectorError>;

    /// Reads every wanted user and group that exists, and all members of those groups, or fails. Takes the cheapest
    /// complete road that the version found by `probe` allows.
    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError>;

    /// Reads one user by itself with the names of all groups it is in. `None` only if the target definitely says that
    /// there is no such user.
    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError>;

    /// Makes one call. Asking twice must do no more than asking once. An answer that means "already so" is
    /// [`super::fault::Fault::Conflict`] (or `NotFound`): the engine then asks [`Target::holds`].
    async fn apply(&self, act: Act<'_>) -> Result<Applied, ConnectorError>;

    /// Reads whether what the act wants is already so.
    async fn holds(&self, act: Act<'_>) -> Result<Holds, ConnectorError>;
}
