//! Confluence Data Center, 8.4 to 10.
//!
//! Users can be created by REST from 8.4 on, and full name and e-mail address changed from 9.4 on; user names cannot be changed
//! at all. No listing tells an e-mail address, so that the engine has to compare with what it wrote last.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | settings, the vendor's errors, what is asked at the probe |
//! | `names.rs` | which names Confluence takes |
//! | `read.rs` | listings and single users |
//! | `write.rs` | writes, and whether they took effect |
//! | `wire.rs` | what Confluence says |

#[doc(hidden)]
pub mod fuzzing;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::settings::{Settings, SettingsError};
use crate::contract::target::{Act, Applied, Capabilities, Deactivation, Holds, Nature, Seats, Target, Wanted, WantedUser};
use crate::http::api::{Api, Dialect, HttpSettings, Verdict, base_url};
use crate::http::atlassian::{self, Auth};
use crate::http::budget::LimitReading;
use crate::http::kind::{Kit, TargetKind};
use crate::http::lifetime::Lifetime;
use crate::http::wire::{Answer, Call, segment};
use crate::model::change::OpKind;
use crate::model::key::SystemName;
use crate::model::roster::{TargetRoster, TargetUser};

const NATURE: Nature =
    Nature { product: "Confluence Data Center", refuse_user: names::refuse_user, refuse_group: names::refuse_group };

/// The row of the registry.
pub const KIND: TargetKind = TargetKind {
    kind: "confluence",
    about: "Confluence Data Center 8.4 to 10",
    example: r#"kind = "confluence"
url  = "https://confluence.example.com"                  # with the context path, if it has one
auth = { token = { env = "CONFLUENCE_TOKEN" } }          # of a Confluence administrator; or { username = "…", password = { … } }
# notify = false                                         # true: Confluence mails new users a link to set a password
# admin_groups = ["confluence-administrators"]           # who holds the administrators' right, for guard.admins_at_least
# http = { concurrency = 4, rate_share = 0.5 }
"#,
    schema: || schemars::schema_for!(ConfluenceSettings),
    nature: NATURE,
    build,
};

/// The group of administrators that every Confluence has, and from which the right to read members is asked at the probe.
const ADMINISTRATORS: &str = "confluence-administrators";

/// What came of asking for a figure.
#[derive(Clone, Copy)]
enum Figure {
    /// This is it.
    Is(i64),
    /// It is not told to us.
    Untold,
    /// There was no answer this time.
    Unknown,
}

/// For how long a Confluence is not asked again for its licence that does not tell of it.
const SEATS_UNTOLD: Duration = Duration::from_secs(24 * 3600);

/// The table of a Confluence.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfluenceSettings {
    /// The base URL, with the context path if there is one.
    pub url: String,
    /// A personal access token, or user name and password, of a Confluence administrator.
    pub auth: Auth,
    /// Whether Confluence mails new users a link with which they set a password. Else they get a random one that nobody knows.
    #[serde(default)]
    pub notify: bool,
    /// The groups that hold the global permissions of administrators, for `guard.admins_at_least`.
    #[serde(default = "administrators")]
    pub admin_groups: Vec<String>,
    /// Limits and transport.
    #[serde(default)]
    pub http: HttpSettings,
}

fn administrators() -> Vec<String> {
    vec![ADMINISTRATORS.to_owned()]
}

fn build(settings: &Settings, kit: &Kit) -> Result<Arc<dyn Target>, SettingsError> {
    Ok(Arc::new(Confluence::new(settings, kit)?))
}

/// One Confluence.
struct Confluence {
    api: Api,
    /// Requests under way at once while the members of many groups are read.
    concurrency: usize,
    notify: bool,
    admin_groups: Vec<String>,
    /// When the credential expires.
    lifetime: Lifetime,
    learnt: Mutex<Learnt>,
}

/// What was learnt from earlier answers. Only costs and version-dependent refusals depend on it, never what is read.
#[derive(Clone, Copy, Debug, Default)]
struct Learnt {
    /// From the probe.
    version: Option<Version>,
    /// How many users there are.
    users: Option<u64>,
    /// How many the server puts on a page of users.
    page: Option<u64>,
    /// When it was asked last how many seats its licence has, and did not tell.
    seats_untold: Option<Instant>,
}

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    /// The first that can create and list users.
    const OLDEST: Self = Self(8, 4);
    /// The first of which it is certain that it changes full name and e-mail address.
    const UPDATES: Self = Self(9, 4);

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '-']);
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl Confluence {
    fn new(settings: &Settings, kit: &Kit) -> Result<Self, SettingsError> {
        let ConfluenceSettings { url, auth, notify, admin_groups, http } = settings.parse()?;
        let base = base_url("url", &url, http.allow_http)?;
        let lifetime = Lifetime::new(auth.is_token());
        let authorize = auth.into_authorize(&kit.secrets)?;
        let api = Api::new(&settings.name, base, &http, authorize, Arc::new(Speech), kit)?;
        let concurrency = http.concurrency.max(1);
        Ok(Self { api, concurrency, notify, admin_groups, lifetime, learnt: Mutex::default() })
    }

    async fn send(&self, call: Call) -> Result<Answer, ConnectorError> {
        self.api.send(atlassian::with_headers(call)).await
    }

    fn system(&self) -> &SystemName {
        self.api.system()
    }

    fn learnt(&self) -> Learnt {
        *self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, change: impl FnOnce(&mut Learnt)) {
        change(&mut self.learnt.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The version, from the manifest that needs no login, else from the server information of newer versions.
    async fn version(&self) -> Result<(String, Version), ConnectorError> {
        let doing = "ask for the version";
        let manifest = match self.manifest("rest/applinks/1.0/manifest", doing).await {
            // Some instances lock this path away. A refused credential is another matter: it is not to be tried again.
            Err(e) if matches!(e.fault, Fault::NotFound | Fault::Malformed | Fault::Forbidden) => {
                self.manifest("rest/api/server-information", doing).await?
            }
            other => other?,
        };
        let error = |fault, why: String| ConnectorError::new(self.system(), doing, fault, why);
        if let Some(other) = manifest.type_id.filter(|id| !id.eq_ignore_ascii_case("confluence")) {
            return Err(error(Fault::Unsupported, format!("the application there is {other:?} and not Confluence"))
                .hint("check `url` and `kind`"));
        }
        let Some(version) = Version::read(&manifest.version) else {
            return Err(error(Fault::Malformed, "the version that it tells is no version".into()));
        };
        if version < Version::OLDEST {
            let why = format!("Confluence {} cannot create and list users by REST; 8.4 is the first that can", manifest.version);
            return Err(error(Fault::Unsupported, why).hint(
                "upgrade Confluence to 8.4 or later, or let it take its users from Crowd or from Jira as user server and sync that",
            ));
        }
        Ok((manifest.version, version))
    }

    async fn manifest(&self, path: &str, doing: &str) -> Result<wire::Manifest, ConnectorError> {
        self.send(Call::get(path, doing)).await?.json()
    }

    /// The account that the credential belongs to.
    async fn identity(&self) -> Result<String, ConnectorError> {
        let doing = "ask whose the credential is";
        let answer = self.send(Call::get("rest/api/user/current", doing).query("expand", "status")).await?;
        let person: wire::Person = answer.json()?;
        if person.is_anonymous() {
            return Err(ConnectorError::new(self.system(), doing, Fault::Refused, "Confluence takes us for anonymous").hint(
                "the token has expired or was revoked, or a proxy drops the Authorization header: make a new token and reload",
            ));
        }
        person
            .username
            .map(Into::into)
            .ok_or_else(|| ConnectorError::new(self.system(), doing, Fault::Malformed, "the account has no user name"))
    }

    /// How many seats the licence has, where Confluence tells: most tell a system administrator alone. Nothing but the count of
    /// seats depends on it, so that only a refused credential ends the probe here. Who finds no seat shows by a refusal.
    async fn seats(&self) -> Result<Option<Seats>, ConnectorError> {
        if self.learnt().seats_untold.is_some_and(|asked| asked.elapsed() < SEATS_UNTOLD) {
            return Ok(None);
        }
        let used = self.count_of_licence("userCount", "ask how many seats are taken").await?;
        let most = match used {
            Figure::Is(_) => self.count_of_licence("maxUsers", "ask how many seats the licence has").await?,
            Figure::Untold | Figure::Unknown => used,
        };
        match (used, most) {
            // A licence without a limit has a negative one. Which groups give a seat it does not tell.
            (Figure::Is(used), Figure::Is(most)) if u32::try_from(used).is_ok() => Ok(Some(Seats {
                product: "Confluence".to_owned(),
                used: u32::try_from(used).unwrap_or_default(),
                of: u32::try_from(most).ok(),
                groups: Vec::new(),
                taken_by_creation: true,
            })),
            // What went wrong this once is no word of Confluence's.
            (Figure::Unknown, _) | (_, Figure::Unknown) => Ok(None),
            _ => {
                self.learn(|learnt| learnt.seats_untold = Some(Instant::now()));
                Ok(None)
            }
        }
    }

    /// A figure of the licence.
    async fn count_of_licence(&self, what: &str, doing: &str) -> Result<Figure, ConnectorError> {
        // The credential has been accepted by the questions before: a 401 to this one is about rights.
        let call = Call::get(format!("rest/license/1.0/license/{what}"), doing);
        let call = [401, 403, 404].into_iter().fold(call, Call::accept);
        match self.send(call).await {
            Ok(answer) if answer.status == 200 => {
                Ok(answer.json::<wire::Count>().map_or(Figure::Untold, |told| Figure::Is(told.count)))
            }
            Ok(_) => Ok(Figure::Untold),
            Err(error) if error.fault == Fault::Refused => Err(error),
            Err(_) => Ok(Figure::Unknown),
        }
    }

    /// Tries the rights that a sync needs, as far as reading can tell.
    async fn rights(&self) -> Result<(), ConnectorError> {
        let doing = "check the right to list users";
        let call = Call::get("rest/api/user/list", doing).query("start", 0).query("limit", 1);
        let page: wire::Page<wire::Person> = self.send(call).await?.json()?;
        if let Some(total) = page.total() {
            self.learn(|learnt| learnt.users = Some(total));
        }
        // Newer versions show members to administrators alone. An instance without this group answers 404 to an administrator.
        let doing = format!("check the right to read the members of group {ADMINISTRATORS:?}");
        let path = format!("rest/api/group/{}/member", segment(ADMINISTRATORS));
        match self.send(Call::get(path, doing).query("start", 0).query("limit", 1)).await {
            Err(e) if e.fault == Fault::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

#[async_trait]
impl Target for Confluence {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        let (told, version) = self.version().await?;
        let acting_as = self.identity().await?;
        self.rights().await?;
        self.learn(|learnt| learnt.version = Some(version));
        let expires = self.lifetime.expiry(&self.api).await?;
        let seats = self.seats().await?;

        let can_update = version >= Version::UPDATES;
        let mut notes = vec!["e-mail addresses cannot be read: they are compared with what was written last".to_owned()];
        if !can_update {
            notes.push(format!(
                "Confluence {told} cannot change full name and e-mail address by REST (9.4 can): such differences are left"
            ));
        }
        let can = OpKind::ALL.into_iter().filter(|kind| can_update || *kind != OpKind::UpdateUser).collect();
        Ok(Capabilities {
            product: NATURE.product,
            version: told,
            acting_as: Some(acting_as),
            can,
            can_rename: false,
            can_update,
            needs_email: true,
            deactivation: Deactivation::Flag,
            adds_per_call: 1,
            writes_at_once: self.concurrency,
            admin_groups: self.admin_groups.clone(),
            groups_writable: true,
            seats: seats.into_iter().collect(),
            expires,
            refuse_user: NATURE.refuse_user,
            refuse_group: NATURE.refuse_group,
            notes,
        })
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

/// How Confluence speaks over HTTP.
struct Speech;

impl Dialect for Speech {
    fn limit(&self, headers: &HeaderMap) -> Option<LimitReading> {
        atlassian::limit(headers)
    }

    fn request_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        atlassian::request_id(headers)
    }

    fn fault(&self, answer: &Answer) -> Option<Verdict> {
        atlassian::captcha(&answer.headers).or_else(|| atlassian::basic_off(answer)).or_else(|| verdict(answer))
    }
}

/// What an error of Confluence means.
fn verdict(answer: &Answer) -> Option<Verdict> {
    const RIGHTS: &str = "give the account of the credential the global permission \"Confluence administrator\"";
    let body = wire::ErrorBody::read(answer.status, &answer.body);
    let words = body.as_ref().map(|body| atlassian::quoted(&body.words())).filter(|words| !words.is_empty());
    let say = |fault: Fault, plain: &str, hint: Option<&str>| {
        let why = words.as_ref().map_or_else(|| plain.to_owned(), |words| format!("{plain}: {words}"));
        Some(Verdict { fault: Some(fault), why, hint: hint.map(str::to_owned) })
    };
    match answer.status {
        // The login itself went well, so it is the right that is missing: some versions say it so of members.
        401 if body.is_some() && is_logged_in(&answer.headers) => say(Fault::Forbidden, "a right is missing", Some(RIGHTS)),
        402 => say(
            Fault::LicenceFull,
            "the licence has no seat left",
            Some("free a seat by deactivating users, or get a larger licence"),
        ),
        403 => say(Fault::Forbidden, "a right is missing", Some(RIGHTS)),
        404 if body.is_some() => say(Fault::NotFound, "Confluence has no such user, group or task", None),
        404 => say(
            Fault::Malformed,
            "not an answer of Confluence's API",
            Some("check the context path in `url`, and whether a proxy stands in between"),
        ),
        405 if body.is_some() => say(
            Fault::Unavailable { retry_after: None },
            "Confluence is in read-only mode",
            Some("an administrator ends it under General configuration, Maintenance"),
        ),
        405 => say(Fault::Unsupported, "this version of Confluence does not have this call", None),
        409 => say(Fault::Conflict, "Confluence says that this exists already", None),
        400 => say(Fault::Rejected, "Confluence does not take these values", None),
        _ => words.map(|why| Verdict { fault: None, why, hint: None }),
    }
}

/// Whether the answer names the account it was given to.
fn is_logged_in(headers: &HeaderMap) -> bool {
    headers.get("x-ausername").and_then(|name| name.to_str().ok()).is_some_and(|name| name != "anonymous" && !name.is_empty())
}
