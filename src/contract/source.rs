//! A source: the system that says who should exist.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::fault::ConnectorError;
use crate::model::key::SourceKey;
use crate::model::roster::{SourceRoster, SourceUser};

/// What a job needs of a source beyond ids, names and states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Whose profile attributes the job's expressions name (`profile.costCenter` asks for `costCenter`).
    pub attributes: Attributes,
    /// Which groups matter, by name; the members of others need not be read. `None`: all groups.
    pub groups: Option<GroupFilter>,
}

/// Which profile attributes are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attributes {
    /// None: no expression reads `profile`.
    #[default]
    None,
    /// These.
    Named(BTreeSet<String>),
    /// All: some expression uses `profile` as a whole.
    All,
}

/// A test on a source group's name. A pure function of the job's configuration, so it can be compared and shared.
#[derive(Clone)]
pub struct GroupFilter(pub std::sync::Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl std::fmt::Debug for GroupFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GroupFilter")
    }
}
impl PartialEq for GroupFilter {
    fn eq(&self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for GroupFilter {}

/// What a source tells of itself when asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFacts {
    /// What it is, with its version where it tells one.
    pub product: String,
    /// As whom rosterd acts there, where it can be known.
    pub acting_as: Option<String>,
    /// Rights found, and whatever else a person should know (an expiring token, a scoped administrator).
    pub notes: Vec<String>,
}

/// One user as read by itself, with the groups it is in. An answer for proof, retry and explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The user.
    pub user: SourceUser,
    /// Whether the user is within the source's own scope (assigned to the configured app); true where there is none.
    pub in_scope: bool,
    /// The groups it is a direct or indirect member of: id and name. Groups outside the source's own scope may be among
    /// them; whoever asks knows the groups in scope.
    pub groups: Vec<(SourceKey, SmolStr)>,
}

/// One group as read by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFact {
    /// Its name now.
    pub name: SmolStr,
    /// Whether it is within the source's own scope.
    pub in_scope: bool,
}

/// A system that says who should exist.
#[async_trait]
pub trait Source: Send + Sync {
    /// Asks who we are and what we may do. Fails where the credential is refused or a needed right is missing, and where
    /// an answer is suspiciously empty.
    async fn probe(&self) -> Result<SourceFacts, ConnectorError>;

    /// Reads the whole roster in scope, to the last page, or fails.
    async fn fetch(&self, ask: &Ask) -> Result<SourceRoster, ConnectorError>;

    /// Reads one user. `None` only if the source definitely says that there is no such user: an error, a time-out or an
    /// empty answer is not `None`.
    async fn fetch_user(&self, key: &SourceKey, ask: &Ask) -> Result<Option<Subject>, ConnectorError>;

    /// The id of the one user with this id, login or e-mail address, for a person who asks about them. `None` if there is
    /// none: the answer proves nothing.
    ///
    /// # Errors
    /// Several users have the address: [`super::fault::Fault::Conflict`], with their ids. None is chosen.
    async fn find(&self, text: &str) -> Result<Option<SourceKey>, ConnectorError>;

    /// Reads one group. `None` only if the source definitely says that there is no such group.
    async fn fetch_group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError>;
}
