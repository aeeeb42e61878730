//! Kinds that take the tables of the design's files and build connectors that reach nothing.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rosterd::contract::fault::{ConnectorError, Fault};
use rosterd::contract::settings::{Settings, SettingsError};
use rosterd::contract::source::{Ask, GroupFact, Source, SourceFacts, Subject};
use rosterd::contract::target::{Act, Applied, Capabilities, Holds, Nature, Target, Wanted, WantedUser};
use rosterd::http::kind::{Kit, Registry, SourceKind, TargetKind};
use rosterd::http::secret::SecretRef;
use rosterd::model::key::{SourceKey, SystemName};
use rosterd::model::roster::{SourceRoster, TargetRoster, TargetUser};
use schemars::JsonSchema;
use serde::Deserialize;

pub static REGISTRY: Registry = Registry { sources: SOURCES, targets: TARGETS };

const SOURCES: &[SourceKind] =
    &[SourceKind { kind: "okta", about: "Okta", example: "", schema: || schemars::schema_for!(OktaTable), build: build_okta }];

const TARGETS: &[TargetKind] = &[product("bitbucket"), product("confluence"), product("jira")];

const fn product(kind: &'static str) -> TargetKind {
    let nature = Nature { product: "a product", refuse_user: |_| None, refuse_group: |_| None };
    TargetKind {
        kind,
        about: "a product",
        example: "",
        schema: || schemars::schema_for!(ProductTable),
        nature,
        build: build_product,
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is read, nothing is done with it")]
struct OktaTable {
    domain: String,
    api_token: Option<SecretRef>,
    oauth: Option<OAuth>,
    app_id: Option<String>,
    http: Option<Http>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is read, nothing is done with it")]
struct OAuth {
    client_id: String,
    private_key: SecretRef,
    key_id: Option<String>,
    #[serde(default)]
    dpop: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is read, nothing is done with it")]
struct Http {
    concurrency: Option<u16>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is read, nothing is done with it")]
struct ProductTable {
    url: String,
    auth: Auth,
    #[serde(default)]
    allow_http: bool,
    http: Option<Http>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is read, nothing is done with it")]
struct Auth {
    token: Option<SecretRef>,
    username: Option<String>,
    password: Option<SecretRef>,
}

fn build_okta(settings: &Settings, _: &Kit) -> Result<Arc<dyn Source>, SettingsError> {
    let table: OktaTable = settings.parse()?;
    if table.api_token.is_none() && table.oauth.is_none() {
        return Err(SettingsError::one("", "a credential is missing").hint("give `api_token` or `oauth`"));
    }
    Ok(Arc::new(Nowhere(settings.name.clone())))
}

fn build_product(settings: &Settings, _: &Kit) -> Result<Arc<dyn Target>, SettingsError> {
    let table: ProductTable = settings.parse()?;
    if table.url.starts_with("http://") && !table.allow_http {
        return Err(SettingsError::one("url", "plain http would show the credential to the network").hint("use https"));
    }
    Ok(Arc::new(Nowhere(settings.name.clone())))
}

struct Nowhere(SystemName);

impl Nowhere {
    fn error<T>(&self) -> Result<T, ConnectorError> {
        Err(ConnectorError::new(&self.0, "be reached", Fault::Unreachable, "it stands for a real system"))
    }
}

#[async_trait]
impl Source for Nowhere {
    async fn probe(&self) -> Result<SourceFacts, ConnectorError> {
        self.error()
    }
    async fn fetch(&self, _: &Ask) -> Result<SourceRoster, ConnectorError> {
        self.error()
    }
    async fn fetch_user(&self, _: &SourceKey, _: &Ask) -> Result<Option<Subject>, ConnectorError> {
        self.error()
    }
    async fn find(&self, _: &str) -> Result<Option<SourceKey>, ConnectorError> {
        self.error()
    }
    async fn fetch_group(&self, _: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        self.error()
    }
}

#[async_trait]
impl Target for Nowhere {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        self.error()
    }
    async fn fetch(&self, _: &Wanted) -> Result<TargetRoster, ConnectorError> {
        self.error()
    }
    async fn fetch_user(&self, _: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        self.error()
    }
    async fn apply(&self, _: Act<'_>) -> Result<Applied, ConnectorError> {
        self.error()
    }
    async fn holds(&self, _: Act<'_>) -> Result<Holds, ConnectorError> {
        self.error()
    }
}
