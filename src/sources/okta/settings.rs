//! The `[sources.…]` table of this kind, and what is checked of it before anything is sent: whoever mistypes an address
//! or a status should read so from `rosterd check`, not from a run at night.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use url::{Host, Url};

use crate::contract::settings::{SettingsError, SettingsFinding};
use crate::http::api::{HttpSettings, base_url};
use crate::http::secret::SecretRef;
use crate::model::roster::Lifecycle;

/// The `[sources.…]` table of this kind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OktaSettings {
    /// The organisation's address, such as `companyname.okta.com`: never the one with `-admin`.
    pub(super) domain: String,
    /// An API token. Either this or `oauth`.
    pub(super) api_token: Option<SecretRef>,
    /// A service app. Either this or `api_token`.
    pub(super) oauth: Option<OauthSettings>,
    /// The id of an app (`0oa…`): only users and groups assigned to it are in scope.
    pub(super) app_id: Option<String>,
    /// Who is in scope where no app is named. By default all users.
    pub(super) users: Option<UsersFrom>,
    /// How many members are asked for at once, from 1 to 1000. Okta recommends 200 and allows 1000, which takes a fifth of
    /// the requests from its scarcest limit.
    #[serde(default = "thousand")]
    pub(super) members_page: u32,
    /// Whether groups that Okta counts as empty are not read. Saves a request for each of them, costs Okta the counting,
    /// and rests on a count that may lag.
    #[serde(default)]
    pub(super) skip_empty_groups: bool,
    /// What a user's status means, where it shall mean something else than by default.
    #[serde(default)]
    pub(super) statuses: BTreeMap<String, Treatment>,
    /// The types of groups that take part. By default `OKTA_GROUP` and `APP_GROUP`.
    #[serde(default = "own_and_imported")]
    pub(super) group_types: BTreeSet<GroupType>,
    /// Concurrency, share of rate limits, certificates.
    #[serde(default)]
    pub(super) http: HttpSettings,
}

/// The `oauth` table.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OauthSettings {
    /// The service app's client id (`0oa…`).
    pub(super) client_id: String,
    /// The private key, in PEM: RSA as PKCS#8 or PKCS#1, EC as PKCS#8.
    pub(super) private_key: SecretRef,
    /// The key's id as Okta shows it. Needed once the app has more than one key.
    pub(super) key_id: Option<String>,
    /// How assertions are signed. By default RS256 with an RSA key, ES256 with an EC key.
    pub(super) algorithm: Option<SigningAlgorithm>,
    /// Whether tokens are bound to a key by DPoP, which new service apps require.
    #[serde(default = "yes")]
    pub(super) dpop: bool,
    /// The scopes to ask for. By default those that are needed.
    pub(super) scopes: Option<BTreeSet<String>>,
}

/// How assertions are signed, in the words of RFC 7518, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
}

/// Who is in scope where no app is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UsersFrom {
    /// All users of the organisation.
    #[default]
    All,
    /// The members of the groups that the job names. The listing of users is then not read at all.
    Groups,
}

/// The types of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum GroupType {
    /// Made in Okta.
    OktaGroup,
    /// Imported from an app or a directory.
    AppGroup,
    /// Everyone, and Okta Administrators.
    BuiltIn,
}

impl GroupType {
    pub(super) fn word(self) -> &'static str {
        match self {
            GroupType::OktaGroup => "OKTA_GROUP",
            GroupType::AppGroup => "APP_GROUP",
            GroupType::BuiltIn => "BUILT_IN",
        }
    }
}

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Treatment {
    /// Should exist and be active.
    Entitled,
    /// Not yet: nothing is created, and an account that is there is left as it is.
    Pending,
    /// Not allowed in.
    Disabled,
}

impl From<Treatment> for Lifecycle {
    fn from(treatment: Treatment) -> Self {
        match treatment {
            Treatment::Entitled => Lifecycle::Entitled,
            Treatment::Pending => Lifecycle::Pending,
            Treatment::Disabled => Lifecycle::Disabled,
        }
    }
}

fn thousand() -> u32 {
    1000
}

fn yes() -> bool {
    true
}

fn own_and_imported() -> BTreeSet<GroupType> {
    BTreeSet::from([GroupType::OktaGroup, GroupType::AppGroup])
}

/// What each status of Okta means here.
///
/// Okta's words: <https://developer.okta.com/docs/api/openapi/okta-management/management/tag/UserLifecycle/>. A user in
/// `RECOVERY`, `PASSWORD_EXPIRED` or `LOCKED_OUT` comes back without an administrator's doing, and so keeps what they have.
#[derive(Clone, Debug)]
pub(super) struct Statuses(BTreeMap<String, Lifecycle>);

impl Statuses {
    const DEFAULTS: [(&'static str, Lifecycle); 8] = [
        ("STAGED", Lifecycle::Pending),
        ("PROVISIONED", Lifecycle::Entitled),
        ("ACTIVE", Lifecycle::Entitled),
        ("RECOVERY", Lifecycle::Entitled),
        ("PASSWORD_EXPIRED", Lifecycle::Entitled),
        ("LOCKED_OUT", Lifecycle::Entitled),
        ("SUSPENDED", Lifecycle::Disabled),
        ("DEPROVISIONED", Lifecycle::Disabled),
    ];

    /// The defaults, with these overrides.
    ///
    /// # Errors
    /// A word that is no status: a mistyped one would have no effect, which nobody would see.
    pub(super) fn new(overrides: &BTreeMap<String, Treatment>) -> Result<Self, SettingsError> {
        let mut table: BTreeMap<String, Lifecycle> =
            Self::DEFAULTS.iter().map(|(status, means)| ((*status).to_owned(), *means)).collect();
        let mut findings = Vec::new();
        for (word, treatment) in overrides {
            // A key that comes by the environment comes in lower case.
            match table.get_mut(&word.to_ascii_uppercase()) {
                Some(means) => *means = Lifecycle::from(*treatment),
                None => findings.push(SettingsFinding {
                    key: format!("statuses.{word}"),
                    what: format!("{word:?} is not a status of Okta's users"),
                    hint: Some(format!("one of {}", Self::DEFAULTS.map(|(status, _)| status).join(", "))),
                }),
            }
        }
        if findings.is_empty() { Ok(Self(table)) } else { Err(SettingsError(findings)) }
    }

    /// What a status means; `None` for a word that is new to rosterd.
    pub(super) fn of(&self, status: &str) -> Option<Lifecycle> {
        self.0.get(status).copied()
    }
}

/// The organisation's base URL.
///
/// # Errors
/// At `domain`: what is no address, the address of the administrators' console, or that of one of Okta's endpoints.
pub(super) fn organisation(domain: &str, http: &HttpSettings) -> Result<Url, SettingsError> {
    let domain = domain.trim();
    let bare_word = !domain.is_empty() && domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if bare_word && domain != "localhost" {
        return Err(SettingsError::one("domain", format!("{domain:?} is not a domain"))
            .hint(format!("write domain = \"{domain}.okta.com\"")));
    }
    let base = base_url("domain", domain, http.allow_http)?;
    let host = match base.host() {
        Some(Host::Domain(host)) => host.to_owned(),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => String::new(),
    };
    // Links in answers carry the host without `-admin`, so that the second page of each listing would be refused.
    if let Some((first, rest)) = host.split_once('.')
        && let Some(name) = first.strip_suffix("-admin")
    {
        return Err(SettingsError::one("domain", format!("{host:?} is the address of the administrators' console"))
            .hint(format!("write domain = \"{name}.{rest}\"")));
    }
    let path = base.path();
    if path.starts_with("/oauth2/") || path.starts_with("/api/") {
        return Err(
            SettingsError::one("domain", format!("{path:?} is one of Okta's endpoints")).hint(format!("write domain = {host:?}"))
        );
    }
    Ok(base)
}

impl OktaSettings {
    /// Everything wrong that can be seen without secrets and network.
    pub(super) fn findings(&self) -> Vec<SettingsFinding> {
        let mut wrong = SettingsError::default();
        let mut note = |error: SettingsError| wrong.0.extend(error.0);
        match (&self.api_token, &self.oauth) {
            (None, None) => note(
                SettingsError::one("api_token", "there is no credential")
                    .hint("write api_token = { env = \"OKTA_API_TOKEN\" }, or oauth = { client_id = …, private_key = { … } }"),
            ),
            (Some(_), Some(_)) => {
                note(SettingsError::one("api_token", "there is an oauth credential as well").hint("keep one of the two"));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if !(1..=1000).contains(&self.members_page) {
            let what = format!("{} is out of range", self.members_page);
            note(SettingsError::one("members_page", what).hint("write a number from 1 to 1000"));
        }
        if self.group_types.is_empty() {
            note(SettingsError::one("group_types", "is empty").hint("name one of OKTA_GROUP, APP_GROUP, BUILT_IN"));
        }
        if let Some(app) = &self.app_id
            && (app.is_empty() || !app.chars().all(|c| c.is_ascii_alphanumeric()))
        {
            let hint = "copy it from the app's address in Okta's console: it begins with 0oa";
            note(SettingsError::one("app_id", format!("{app:?} is not an app's id")).hint(hint));
        }
        if self.app_id.is_some() && self.users.is_some() {
            let what = "has no meaning together with app_id, whose users are those assigned to the app";
            note(SettingsError::one("users", what).hint("keep one of the two"));
        }
        wrong.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(domain: &str) -> SettingsFinding {
        organisation(domain, &HttpSettings::default()).expect_err("refused").0.remove(0)
    }

    #[test]
    fn a_domain_or_url_is_taken() {
        let taken = |domain: &str| organisation(domain, &HttpSettings::default()).expect("taken").to_string();
        assert_eq!(taken("acme.okta.com"), "https://acme.okta.com/");
        assert_eq!(taken(" https://login.acme.example "), "https://login.acme.example/");
        assert_eq!(taken("http://127.0.0.1:8801"), "http://127.0.0.1:8801/");
    }

    #[test]
    fn the_consoles_address_is_corrected() {
        let finding = refused("acme-admin.okta.com");
        assert_eq!(finding.key, "domain");
        assert_eq!(finding.hint.as_deref(), Some("write domain = \"acme.okta.com\""));
        assert_eq!(
            refused("https://acme-admin.oktapreview.com/").hint.as_deref(),
            Some("write domain = \"acme.oktapreview.com\"")
        );
    }

    #[test]
    fn an_endpoint_a_bare_word_and_readable_http_are_refused() {
        assert_eq!(refused("https://acme.okta.com/oauth2/default").hint.as_deref(), Some("write domain = \"acme.okta.com\""));
        assert_eq!(refused("acme").hint.as_deref(), Some("write domain = \"acme.okta.com\""));
        assert!(refused("http://acme.okta.com").what.contains("https"));
    }

    #[test]
    fn every_status_means_what_was_decided() {
        let statuses = Statuses::new(&BTreeMap::new()).expect("no overrides");
        for (status, means) in [
            ("STAGED", Some(Lifecycle::Pending)),
            ("PROVISIONED", Some(Lifecycle::Entitled)),
            ("ACTIVE", Some(Lifecycle::Entitled)),
            ("RECOVERY", Some(Lifecycle::Entitled)),
            ("PASSWORD_EXPIRED", Some(Lifecycle::Entitled)),
            ("LOCKED_OUT", Some(Lifecycle::Entitled)),
            ("SUSPENDED", Some(Lifecycle::Disabled)),
            ("DEPROVISIONED", Some(Lifecycle::Disabled)),
            ("ARCHIVED", None),
        ] {
            assert_eq!(statuses.of(status), means, "{status}");
        }
    }

    #[test]
    fn a_status_can_be_given_another_meaning_and_a_mistyped_one_is_an_error() {
        let overrides = BTreeMap::from([("staged".to_owned(), Treatment::Entitled)]);
        assert_eq!(Statuses::new(&overrides).expect("known").of("STAGED"), Some(Lifecycle::Entitled));
        let error = Statuses::new(&BTreeMap::from([("SUSPEND".to_owned(), Treatment::Entitled)])).expect_err("mistyped");
        assert_eq!(error.0[0].key, "statuses.SUSPEND");
    }
}
