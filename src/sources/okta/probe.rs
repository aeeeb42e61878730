//! The self-test: one small request for each thing that will be read. A credential that is refused ends it at once, so that
//! nothing is sent with it twice; a listing without anyone is a right that is missing.

use serde::de::IgnoredAny;

use super::rights::Right;
use super::wire::read;
use super::{Okta, Scope};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::SourceFacts;
use crate::http::wire::Call;

/// A user, of whom only the login matters.
#[derive(serde::Deserialize)]
pub(super) struct Me {
    profile: MyProfile,
}

impl Me {
    /// Under which name the user logs in.
    pub(super) fn login(&self) -> &str {
        &self.profile.login
    }
}

#[derive(serde::Deserialize)]
struct MyProfile {
    login: String,
}

impl Okta {
    /// Asks who we are and what we may do.
    pub(super) async fn facts(&self) -> Result<SourceFacts, ConnectorError> {
        let mut notes = Vec::new();
        for (path, doing, right) in
            [("api/v1/users", "list users", Right::Users), ("api/v1/groups", "list groups", Right::Groups)]
        {
            if !self.sees_any(path, doing, right).await? {
                let why = "it answers with nobody and nothing, which is what a missing right looks like";
                return Err(ConnectorError::new(self.api.system(), doing, Fault::Forbidden, why).hint(right.hint()));
            }
        }
        if let Scope::App(id) = &self.scope {
            let (status, label) = self.app(id).await?;
            let label = label.unwrap_or_else(|| id.clone());
            if status == "ACTIVE" {
                notes.push(format!("scope: users and groups assigned to the app {label:?}"));
            } else {
                notes.push(format!("the app {label:?} is {status} in Okta: nobody can use it"));
            }
        }
        let acting_as = match &self.oauth {
            Some(oauth) => {
                notes.extend(oauth.notes());
                Some(oauth.acting_as())
            }
            None => {
                notes.push("the API token lapses after 30 days without use, and when its owner is deactivated".to_owned());
                self.owner().await
            }
        };
        Ok(SourceFacts { product: "Okta".to_owned(), acting_as, notes })
    }

    /// Whether a listing holds anything.
    pub(super) async fn sees_any(&self, path: &str, doing: &str, right: Right) -> Result<bool, ConnectorError> {
        let answer = self.send(Call::get(path, doing).query("limit", 1), right).await?;
        Ok(!read::<Vec<IgnoredAny>>(&answer)?.is_empty())
    }

    /// The token's owner. Nice to know, and so no reason to fail.
    async fn owner(&self) -> Option<String> {
        let answer = self.send(Call::get("api/v1/users/me", "read the token's owner"), Right::Users).await.ok()?;
        Some(read::<Me>(&answer).ok()?.profile.login)
    }
}
