//! Links: which target record belongs to which source record. The only proof of ownership of a record.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::key::{SourceKey, TargetKey};

/// The recorded pair of a source user and a target user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLink {
    /// The source's immutable id.
    pub source: SourceKey,
    /// The target's stable id.
    pub target: TargetKey,
    /// The target's user name when last seen or written.
    pub name: SmolStr,
    /// The mark of the e-mail address last written (see [`email_mark`]): what is compared where a target hides addresses.
    pub email_mark: Option<u64>,
    /// Since when the source has wanted this user gone, for `leavers.grace`.
    pub leaving_since: Option<DateTime<Utc>>,
    /// When the source was last asked about this user by itself, since its listing lacked the user, and its answer left
    /// nothing to do: that answer stands for a day.
    pub last_asked: Option<DateTime<Utc>>,
    /// Whether the account was made by rosterd, and is still to be put into a group of `groups.default.new_users`: that must
    /// not be forgotten because the call failed, or the process died, after the account was there.
    #[serde(default)]
    pub is_new: bool,
}

/// A mark of an e-mail address, salted with the user's id: enough to see that it changed, not enough to read it from a
/// stolen state file.
pub fn email_mark(source: &SourceKey, email: &str) -> u64 {
    let digest = Sha256::new().chain_update(source.as_str()).chain_update([0]).chain_update(email).finalize();
    digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

/// The recorded pair of a source group and a target group that it maps to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupLink {
    /// The source group's immutable id.
    pub source: SourceKey,
    /// The target group's folded name.
    pub target: TargetKey,
    /// The target group's name as written.
    pub name: SmolStr,
}

/// All links of one target. Users ascend by source key; groups by source key, then target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// User links, ascending by source key.
    pub users: Vec<UserLink>,
    /// Group links, ascending.
    pub groups: Vec<GroupLink>,
}

impl Links {
    /// The link of a source user.
    pub fn user(&self, source: &SourceKey) -> Option<&UserLink> {
        self.users.binary_search_by(|l| l.source.cmp(source)).ok().map(|i| &self.users[i])
    }
}
