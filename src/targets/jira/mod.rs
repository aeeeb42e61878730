//! Jira Data Center, 8.20 to 11, over `/rest/api/2`.
//!
//! What Jira's API does that a reader would not expect, and where it is dealt with:
//! - no version lists all users and tells that these are all; a road is chosen by cost and version (`roads`);
//! - members come 50 at a time whatever is asked, without inactive ones unless asked (`members`);
//! - the group picker answers an anonymous caller with an empty list and 200 (`roads`, `Jira::send`);
//! - "already so" is 400, in the language of the account (`acts`);
//! - a 404 may be Jira speaking of a user, or a wrong context path (`Jira::says_absent`).
//!
//! Vendor documentation: <https://developer.atlassian.com/server/jira/platform/rest/>.

mod acts;
#[doc(hidden)]
pub mod fuzzing;
mod members;
mod probe;
mod roads;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::settings::{Settings, SettingsError};
use crate::contract::target::{Act, Applied, Capabilities, Holds, Target, Wanted, WantedUser};
use crate::http::api::{Api, Dialect, HttpSettings, Verdict, base_url};
use crate::http::atlassian::{self, Auth};
use crate::http::budget::LimitReading;
use crate::http::kind::{Kit, TargetKind};
use crate::http::lifetime::Lifetime;
use crate::http::wire::{Answer, Call};
use crate::model::roster::{TargetRoster, TargetUser};
use probe::Facts;

/// The registry's row.
pub const KIND: TargetKind = TargetKind {
    kind: "jira",
    about: "Jira Data Center 8.20 to 11: users, groups, memberships",
    example: r#"[targets.jira]
kind = "jira"
url  = "https://jira.example.com"                 # with the context path, if there is one
auth = { token = { env = "JIRA_TOKEN" } }         # a personal access token; or { username = "…", password = { … } }
# application_keys = ["jira-software"]            # application access given on creation; default: none, groups give it
# notify = false                                  # whether Jira mails to users that are created
# road = "auto"                                   # how users are read: "list", "users" or "groups" forces one way
# admin_groups = ["jira-administrators"]          # who holds the administrators' right, for guard.admins_at_least
# http = { concurrency = 4, rate_share = 0.5 }
"#,
    schema: || schemars::schema_for!(JiraSettings),
    nature: probe::NATURE,
    build: |settings, kit| Ok(Arc::new(Jira::new(settings, kit)?)),
};

/// The `[targets.…]` table of this kind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JiraSettings {
    /// The address, with the context path if there is one.
    url: String,
    /// A personal access token, or a user name with its password.
    auth: Auth,
    /// Concurrency, share of rate limits, certificates.
    #[serde(default)]
    http: HttpSettings,
    /// Applications to which a user gets access when created (`jira-software`, `jira-servicedesk`, `jira-core`). None by
    /// default: application access is a membership in the application's default groups, and so would be at odds with groups
    /// that follow the source.
    #[serde(default)]
    application_keys: Vec<String>,
    /// Whether Jira mails to users that are created.
    #[serde(default)]
    notify: bool,
    /// How users are read.
    #[serde(default)]
    road: Road,
    /// The groups that hold the global permissions of administrators, for `guard.admins_at_least`. Jira does not tell them.
    #[serde(default = "administrators")]
    admin_groups: Vec<String>,
}

/// The group of administrators that a new Jira has.
fn administrators() -> Vec<String> {
    vec!["jira-administrators".to_owned()]
}

/// How users are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Road {
    /// The cheapest that is complete.
    #[default]
    Auto,
    /// By listing all users (10.3.12 and later of 10.3, and 11).
    List,
    /// Each wanted user by itself, with its groups. Where all members of a group are needed, as `groups`.
    Users,
    /// By the groups' members, and each wanted user who is in none of them by itself.
    Groups,
}

/// One Jira.
struct Jira {
    api: Api,
    application_keys: Vec<String>,
    notify: bool,
    road: Road,
    admin_groups: Vec<String>,
    /// Requests of one listing that are prepared at once; how many are really under way is the API's own matter.
    fanout: usize,
    /// When the credential expires.
    lifetime: Lifetime,
    /// What the last probe found. A plain mutex, since it is never held across a wait.
    facts: Mutex<Option<Facts>>,
}

impl Jira {
    fn new(settings: &Settings, kit: &Kit) -> Result<Self, SettingsError> {
        let own: JiraSettings = settings.parse()?;
        let base = base_url("url", &own.url, own.http.allow_http);
        let lifetime = Lifetime::new(own.auth.is_token());
        let auth = own.auth.into_authorize(&kit.secrets);
        let (base, auth) = match (base, auth) {
            (Ok(base), Ok(auth)) => (base, auth),
            (Err(mut one), Err(other)) => {
                one.0.extend(other.0);
                return Err(one);
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        Ok(Self {
            api: Api::new(&settings.name, base, &own.http, auth, Arc::new(JiraDialect), kit)?,
            application_keys: own.application_keys,
            notify: own.notify,
            road: own.road,
            admin_groups: own.admin_groups,
            fanout: own.http.concurrency.max(1),
            lifetime,
            facts: Mutex::new(None),
        })
    }

    fn error(&self, doing: impl Into<String>, fault: Fault, why: impl Into<String>) -> ConnectorError {
        ConnectorError::new(self.api.system(), doing, fault, why)
    }

    /// Sends a request below `rest/api/2` and makes sure that Jira knew us: a credential that it takes for nobody's would
    /// otherwise read a world without groups.
    async fn send(&self, call: Call) -> Result<Answer, ConnectorError> {
        let answer = self.api.send(atlassian::with_headers(call)).await?;
        let anonymous = answer.headers.get("x-ausername").is_some_and(|name| name.as_bytes() == b"anonymous");
        if !anonymous {
            return Ok(answer);
        }
        let why = "jira took the request for an anonymous one";
        Err(self
            .error(answer.doing, Fault::Refused, why)
            .request(answer.request)
            .hint("renew the token or password; it may have expired"))
    }

    /// Takes a 404 for "there is no such thing" only if it is Jira's REST API that says so.
    fn says_absent(&self, answer: &Answer) -> Result<(), ConnectorError> {
        match wire::Errors::of(answer) {
            Some(_) => Ok(()),
            None => Err(self.error(answer.doing.clone(), Fault::Malformed, NOT_JIRA).hint(CONTEXT_PATH)),
        }
    }

    /// Reads one user, with its groups if `expand` says so. `None` only if Jira says that there is none.
    async fn user(&self, who: Who<'_>, expand: Expand) -> Result<Option<wire::User>, ConnectorError> {
        let (name, value) = match who {
            Who::Key(key) => ("key", key),
            Who::Name(name) => ("username", name),
        };
        let mut call = Call::get("rest/api/2/user", format!("read user {}", shown(value))).query(name, value).accept(404);
        if expand == Expand::Groups {
            call = call.query("expand", "groups");
        }
        let answer = self.send(call).await?;
        if answer.status == 404 {
            self.says_absent(&answer)?;
            return Ok(None);
        }
        let user: wire::User = answer.json()?;
        let asked_for = match who {
            Who::Key(key) => user.key == key,
            Who::Name(name) => crate::model::key::fold(&user.name) == crate::model::key::fold(name),
        };
        if !asked_for {
            return Err(self.error(answer.doing, Fault::Malformed, "the answer is about another user"));
        }
        if expand == Expand::Groups {
            let whole = user.groups.as_ref().is_some_and(|groups| groups.size == groups.items.len());
            if !whole {
                let why = "the user's groups did not come whole";
                return Err(self.error(answer.doing, Fault::Incomplete, why));
            }
        }
        Ok((!user.deleted).then_some(user))
    }

    /// Reads one user with the names of its groups.
    async fn user_with_groups(&self, who: Who<'_>) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        let Some(mut user) = self.user(who, Expand::Groups).await? else {
            return Ok(None);
        };
        let groups = user.groups.take().map(|groups| groups.items).unwrap_or_default();
        Ok(Some((user.into_target(), groups.into_iter().map(|group| group.name).collect())))
    }

    fn known(&self) -> Option<Facts> {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what a user is asked for.
#[derive(Clone, Copy)]
enum Who<'a> {
    Key(&'a str),
    Name(&'a str),
}

impl<'a> Who<'a> {
    /// By key where there is one: it survives renames.
    fn of(user: &'a WantedUser) -> Self {
        user.key.as_ref().map_or(Who::Name(&user.name), |key| Who::Key(key.as_str()))
    }
}

/// What a single reading brings along.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expand {
    Nothing,
    Groups,
}

/// A key or user name as errors show it: one that is an e-mail address without its domain.
fn shown(name: &str) -> String {
    match name.split_once('@') {
        Some((local, _)) => format!("\"{local}@…\""),
        None => format!("\"{name}\""),
    }
}

const NOT_JIRA: &str = "answered 404 without an error of Jira's REST API";
const CONTEXT_PATH: &str = "check url: it needs the context path under which Jira answers, such as https://host/jira";

#[async_trait]
impl Target for Jira {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        let (facts, capabilities) = probe::probe(self).await?;
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
        Ok(capabilities)
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        let facts = match self.known() {
            Some(facts) => facts,
            None => {
                self.probe().await?;
                self.known().expect("a probe that succeeds leaves its facts")
            }
        };
        roads::fetch(self, facts, wanted).await
    }

    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        self.user_with_groups(Who::of(user)).await
    }

    async fn apply(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        acts::apply(self, act).await
    }

    async fn holds(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        acts::holds(self, act).await
    }
}

/// How Jira's HTTP is read.
struct JiraDialect;

impl Dialect for JiraDialect {
    fn limit(&self, headers: &HeaderMap) -> Option<LimitReading> {
        atlassian::limit(headers)
    }

    fn request_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        atlassian::request_id(headers)
    }

    fn fault(&self, answer: &Answer) -> Option<Verdict> {
        let locked_out = || atlassian::captcha(&answer.headers).or_else(|| atlassian::basic_off(answer));
        if matches!(answer.status, 401 | 403)
            && let Some(verdict) = locked_out()
        {
            return Some(verdict);
        }
        let errors = wire::Errors::of(answer);
        let (fault, hint) = match answer.status {
            401 => (Some(Fault::Refused), Some("renew the token or password and reload; a token may have expired")),
            403 => (
                Some(Fault::Forbidden),
                Some(
                    "give the account the global permission Jira Administrators; users of a read-only directory cannot be changed",
                ),
            ),
            404 if errors.is_none() => (Some(Fault::Malformed), Some(CONTEXT_PATH)),
            _ => (None, None),
        };
        let words = match errors {
            Some(errors) => errors.words(),
            None if answer.status == 404 => NOT_JIRA.to_owned(),
            None if hint.is_some() => "no reason given".to_owned(),
            None => return None,
        };
        Some(Verdict { fault, why: words, hint: hint.map(str::to_owned) })
    }
}
