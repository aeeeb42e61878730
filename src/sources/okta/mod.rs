//! Okta, over its management API, read only.
//!
//! What Okta's API does that a reader would not expect, and where it is dealt with:
//! - a credential without an administrator's role lists *no* user, with 200: an empty listing is an error (`roads`, `rights`);
//! - the plain listing of users is ordered by status and leaves out who is deactivated, while groups keep them as members:
//!   members enter the roster, and absence from a listing proves nothing (`roads`);
//! - pages are linked by two `Link` lines of which the first is `self`, the links lose parameters, and a page may be too
//!   large for the server (`listing`);
//! - buckets follow the path, a token has half of each, and waits are told by the server's clock (`dialect`);
//! - a 404 may speak of the user, of the app, or of a wrong address (`single`);
//! - a service app gets a token with fewer scopes than asked, without an error (`oauth`), and by default must prove with
//!   each request that it holds a key (`dpop`).
//!
//! Vendor documentation: <https://developer.okta.com/docs/api/>.

mod dialect;
mod dpop;
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod listing;
mod oauth;
mod probe;
mod rights;
mod roads;
mod settings;
mod single;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::settings::{Settings, SettingsError};
use crate::contract::source::{Ask, Attributes, GroupFact, Source, SourceFacts, Subject};
use crate::http::api::Api;
use crate::http::auth::{Authorize, Token};
use crate::http::kind::{Kit, SourceKind};
use crate::http::wire::{Answer, Call};
use crate::model::key::SourceKey;
use crate::model::roster::SourceRoster;
use dialect::OktaDialect;
use oauth::Oauth;
use rights::Right;
use settings::{GroupType, OktaSettings, Statuses, UsersFrom, organisation};
use wire::{Unfolded, User};

/// The registry's row.
pub const KIND: SourceKind = SourceKind {
    kind: "okta",
    about: "Okta: users, groups and memberships of an organisation, or of one app in it",
    example: r#"[sources.okta]
kind      = "okta"
domain    = "companyname.okta.com"             # without -admin
api_token = { env = "OKTA_API_TOKEN" }         # or, better, a service app:
# oauth = { client_id = "0oa…", private_key = { file = "/etc/rosterd/okta.pem" }, key_id = "…", dpop = true }
# app_id = "0oa1gjh63g214q0Hq0g4"              # only users and groups assigned to this app
# users = "groups"                             # only members of the groups that the job names; default: all users
# group_types = ["OKTA_GROUP", "APP_GROUP"]    # "BUILT_IN" adds Everyone
# members_page = 1000                          # members asked for at once; Okta recommends 200
# skip_empty_groups = true                     # do not read groups that Okta counts as empty
# statuses = { STAGED = "entitled" }           # or "pending", "disabled"; default: STAGED waits, SUSPENDED and
#                                              # DEPROVISIONED are disabled, all others are entitled
# http = { concurrency = 4, rate_share = 0.5 } # how much of each rate limit rosterd may use
"#,
    schema: || schemars::schema_for!(OktaSettings),
    build: |settings, kit| Ok(Arc::new(Okta::new(settings, kit)?)),
};

/// Who and what is in scope.
#[derive(Clone, Debug)]
enum Scope {
    /// All users, and the groups of the types that take part.
    Organisation,
    /// The groups, and whoever is in one of them.
    Groups,
    /// Users and groups assigned to the app of this id.
    App(String),
}

/// One Okta organisation.
struct Okta {
    api: Api,
    oauth: Option<Arc<Oauth>>,
    scope: Scope,
    statuses: Statuses,
    group_types: BTreeSet<GroupType>,
    members_page: u32,
    skip_empty_groups: bool,
    /// Groups whose members are read side by side; how many requests are really under way is the API's own matter.
    fanout: usize,
}

impl Okta {
    fn new(settings: &Settings, kit: &Kit) -> Result<Self, SettingsError> {
        let own: OktaSettings = settings.parse()?;
        let mut findings = own.findings();
        let mut keep = |error: SettingsError| findings.extend(error.0);
        let statuses = Statuses::new(&own.statuses).map_err(&mut keep).ok();
        let base = organisation(&own.domain, &own.http).map_err(&mut keep).ok();
        let token = own.api_token.as_ref().and_then(|at| kit.secrets.read("api_token", at).map_err(&mut keep).ok());
        let key = own.oauth.as_ref().and_then(|oauth| key::read(oauth, &kit.secrets).map_err(&mut keep).ok());
        let (Some(statuses), Some(base), true) = (statuses, base, findings.is_empty()) else {
            return Err(SettingsError(findings));
        };

        let needed = Right::scopes(own.app_id.is_some());
        let oauth = match (own.oauth, key) {
            (Some(oauth), Some(key)) => {
                Some(Arc::new(Oauth::new(&settings.name, base.clone(), oauth, key, needed, &own.http, kit)?))
            }
            _ => None,
        };
        let auth: Arc<dyn Authorize> = match (&oauth, token) {
            (Some(oauth), _) => oauth.clone(),
            (None, Some(token)) => Arc::new(Token { scheme: "SSWS", token }),
            (None, None) => return Err(SettingsError::one("api_token", "there is no credential")),
        };
        Ok(Self {
            api: Api::new(&settings.name, base, &own.http, auth, Arc::new(OktaDialect), kit)?,
            oauth,
            scope: match (own.app_id, own.users.unwrap_or_default()) {
                (Some(app), _) => Scope::App(app),
                (None, UsersFrom::All) => Scope::Organisation,
                (None, UsersFrom::Groups) => Scope::Groups,
            },
            statuses,
            group_types: own.group_types,
            members_page: own.members_page,
            skip_empty_groups: own.skip_empty_groups,
            fanout: own.http.concurrency.max(1),
        })
    }

    /// Sends a request, and names the right if it is missing.
    async fn send(&self, call: Call, right: Right) -> Result<Answer, ConnectorError> {
        self.api.send(call).await.map_err(|error| right.named_in(error))
    }

    /// Unfolds a user of an answer.
    fn unfold(&self, user: &User<'_>, keep: &Attributes, answer: &Answer) -> Result<Unfolded, ConnectorError> {
        user.unfold(&self.statuses, keep).map_err(|_| {
            let why = format!("answered with a profile of user {} that does not fit", user.id);
            ConnectorError::new(self.api.system(), &*answer.doing, Fault::Malformed, why)
        })
    }

    /// Whether groups of this type take part. One that tells no type does.
    fn takes_type(&self, kind: Option<&str>) -> bool {
        kind.is_none_or(|word| self.group_types.iter().any(|taken| taken.word() == word))
    }
}

#[async_trait]
impl Source for Okta {
    async fn probe(&self) -> Result<SourceFacts, ConnectorError> {
        self.facts().await
    }

    async fn fetch(&self, ask: &Ask) -> Result<SourceRoster, ConnectorError> {
        self.roster(ask).await
    }

    async fn fetch_user(&self, key: &SourceKey, ask: &Ask) -> Result<Option<Subject>, ConnectorError> {
        self.subject(key, ask).await
    }

    async fn find(&self, text: &str) -> Result<Option<SourceKey>, ConnectorError> {
        self.find_user(text).await
    }

    async fn fetch_group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        self.group_fact(key).await
    }
}
