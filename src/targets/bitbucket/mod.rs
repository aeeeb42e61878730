//! Bitbucket Data Center, 7.21 to 10.
//!
//! Two things set it apart. There is no call that deactivates a user: whoever is in no group that gives access cannot log in,
//! and that is what inactive means here. And an HTTP access token never has the rights of an administrator, so that the
//! account has to log in with its password.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | settings, the vendor's errors |
//! | `land.rs` | what the probe finds: who gives access, who administers, which directories are read-only |
//! | `read.rs` | listings and single users |
//! | `write.rs` | writes, and whether they took effect |
//! | `wire.rs` | what Bitbucket says |

#[doc(hidden)]
pub mod fuzzing;
mod land;
mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use self::land::Land;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::settings::{Settings, SettingsError};
use crate::contract::target::{Act, Applied, Capabilities, Holds, Target, Wanted, WantedUser};
use crate::http::api::{Api, Dialect, HttpSettings, Verdict, base_url};
use crate::http::atlassian::{self, Auth};
use crate::http::budget::LimitReading;
use crate::http::kind::{Kit, TargetKind};
use crate::http::wire::{Answer, Call};
use crate::model::key::SystemName;
use crate::model::roster::{TargetRoster, TargetUser};

/// The row of the registry.
pub const KIND: TargetKind = TargetKind {
    kind: "bitbucket",
    about: "Bitbucket Data Center 7.21 to 10",
    example: r#"kind = "bitbucket"
url  = "https://bitbucket.example.com"                   # with the context path, if it has one
auth = { username = "rosterd", password = { env = "BITBUCKET_PASSWORD" } }   # of an administrator; a token has too few rights
# notify = false                                         # true: Bitbucket mails new users a link to set a password
# http = { concurrency = 4, rate_share = 0.5 }
"#,
    schema: || schemars::schema_for!(BitbucketSettings),
    nature: land::NATURE,
    build,
};

/// The most users that one call adds to a group. The vendor states no bound; a long list makes a long transaction.
const ADDS_PER_CALL: usize = 100;

/// The table of a Bitbucket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BitbucketSettings {
    /// The base URL, with the context path if there is one.
    pub url: String,
    /// User name and password of an administrator. An HTTP access token cannot administer users.
    pub auth: Auth,
    /// Whether Bitbucket mails new users a link with which they set a password. Else they get a random one that nobody knows.
    #[serde(default)]
    pub notify: bool,
    /// Limits and transport.
    #[serde(default)]
    pub http: HttpSettings,
}

fn build(settings: &Settings, kit: &Kit) -> Result<Arc<dyn Target>, SettingsError> {
    Ok(Arc::new(Bitbucket::new(settings, kit)?))
}

/// One Bitbucket.
struct Bitbucket {
    api: Api,
    /// Requests under way at once while the members of many groups are read.
    concurrency: usize,
    notify: bool,
    has_token: bool,
    /// What the last probe found.
    land: Mutex<Option<Arc<Land>>>,
    /// How many pages all users took at the last listing; 0 before the first. Only costs depend on it.
    user_pages: AtomicU64,
}

impl Bitbucket {
    fn new(settings: &Settings, kit: &Kit) -> Result<Self, SettingsError> {
        let BitbucketSettings { url, auth, notify, http } = settings.parse()?;
        let base = base_url("url", &url, http.allow_http)?;
        let has_token = auth.is_token();
        let authorize = auth.into_authorize(&kit.secrets)?;
        let api = Api::new(&settings.name, base, &http, authorize, Arc::new(Speech { has_token }), kit)?;
        Ok(Self {
            api,
            concurrency: http.concurrency.max(1),
            notify,
            has_token,
            land: Mutex::default(),
            user_pages: AtomicU64::new(0),
        })
    }

    async fn send(&self, call: Call) -> Result<Answer, ConnectorError> {
        self.api.send(atlassian::with_headers(call)).await
    }

    fn system(&self) -> &SystemName {
        self.api.system()
    }
}

#[async_trait]
impl Target for Bitbucket {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        self.explore().await
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        self.read_roster(wanted).await
    }

    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        self.read_with_groups(user).await
    }

    async fn apply(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        self.write(act).await
    }

    async fn holds(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        self.verify(act).await
    }
}

/// What to do about a token that is too weak. The wish for tokens with such rights: <https://jira.atlassian.com/browse/BSERV-10482>.
const TOKEN_HINT: &str = "an HTTP access token never has the rights of an administrator in Bitbucket: set \
     auth = { username = \"…\", password = … } of an administrator, and let basic authentication be allowed for that account";
/// What to do about an account that is too weak.
const RIGHTS_HINT: &str =
    "give the account the global permission \"Admin\", or \"System admin\" if it is to touch those who hold that";

/// How Bitbucket speaks over HTTP.
struct Speech {
    has_token: bool,
}

impl Dialect for Speech {
    fn limit(&self, headers: &HeaderMap) -> Option<LimitReading> {
        atlassian::limit(headers)
    }

    fn request_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        atlassian::request_id(headers)
    }

    fn fault(&self, answer: &Answer) -> Option<Verdict> {
        let shared = atlassian::captcha(&answer.headers).or_else(|| atlassian::basic_off(answer));
        shared.or_else(|| verdict(answer, if self.has_token { TOKEN_HINT } else { RIGHTS_HINT }))
    }
}

/// What an error of Bitbucket means.
///
/// Its 401 says two things: "who are you?" and "you may not". They are told apart by the name of the exception, and where
/// there is none by whether the answer names the account: a missing right must not be taken for a refused credential, which
/// would stop the whole system.
fn verdict(answer: &Answer, rights: &str) -> Option<Verdict> {
    let Some(body) = wire::ErrorBody::read(&answer.body) else {
        return foreign(answer.status);
    };
    let exception = body.exception();
    let say = |fault: Fault, plain: &str, hint: Option<&str>| {
        let words = atlassian::quoted(&body.words());
        let parts: Vec<&str> = [plain, exception, &words].into_iter().filter(|part| !part.is_empty()).collect();
        Some(Verdict { fault: Some(fault), why: parts.join(": "), hint: hint.map(str::to_owned) })
    };
    let forbidden = || say(Fault::Forbidden, "a right is missing", Some(rights));
    let refused = || {
        let hint = "check user name and password in the configuration, then reload; more tries can lock the account";
        say(Fault::Refused, "the credential was refused", Some(hint))
    };
    if exception.starts_with("CaptchaRequired") {
        let hint = "log in with this account in a browser and solve the CAPTCHA, or let another administrator clear it";
        return say(Fault::Refused, "the account is locked out by a CAPTCHA after failed logins", Some(hint));
    }
    match answer.status {
        401 if exception.ends_with("AuthorisationException") => forbidden(),
        401 if exception.contains("Authentication") => refused(),
        401 if answer.headers.contains_key("x-ausername") => forbidden(),
        401 => refused(),
        403 | 409 if is_about_seats(answer.status, &body) => say(
            Fault::LicenceFull,
            "the licence has no seat left",
            Some("free a seat by taking users out of groups that give access, or get a larger licence"),
        ),
        403 => forbidden(),
        404 => say(Fault::NotFound, "Bitbucket has no such user or group", None),
        409 => say(Fault::Conflict, "Bitbucket says that this is already so or cannot be so", None),
        400 => say(Fault::Rejected, "Bitbucket does not take these values", None),
        _ => say_as_status(&body),
    }
}

fn say_as_status(body: &wire::ErrorBody) -> Option<Verdict> {
    let why = format!("{}: {}", body.exception(), atlassian::quoted(&body.words()));
    Some(Verdict { fault: None, why, hint: None })
}

/// Whether an error is about seats. The exception's name says so; the text, which quotes names of users and groups, is
/// believed only with the refusal that the vendor documents for it.
fn is_about_seats(status: u16, body: &wire::ErrorBody) -> bool {
    if body.exception().to_ascii_lowercase().contains("licens") {
        return true;
    }
    let words = body.words().to_ascii_lowercase();
    status == 403 && words.contains("licens") && ["limit", "exceed", "maximum"].iter().any(|word| words.contains(word))
}

/// What an error that is not Bitbucket's own means, where its status would mislead: a 404 that is no answer proves nothing.
fn foreign(status: u16) -> Option<Verdict> {
    (status == 404).then(|| Verdict {
        fault: Some(Fault::Malformed),
        why: "not an answer of Bitbucket's API".to_owned(),
        hint: Some("check the context path in `url`, and whether a proxy stands in between".to_owned()),
    })
}
