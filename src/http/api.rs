//! One system's API: base URL, client, credential, budgets.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::auth::Authorize;
use super::budget::LimitReading;
use super::kind::Kit;
use super::meter::Meter;
use super::wire::{Answer, Call};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::settings::SettingsError;
use crate::model::key::SystemName;

/// The `http` table that every connector over HTTP takes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// The most requests under way at once.
    pub concurrency: usize,
    /// The share of a rate limit that rosterd may use, from 0.01 to 1.0.
    pub rate_share: f64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { concurrency: 4, rate_share: 0.5 }
    }
}

/// What is particular to a vendor's HTTP: which bucket a request draws from, what the headers say, what an error means.
pub trait Dialect: Send + Sync {
    /// The rate bucket that a request draws from.
    fn bucket(&self, _method: &Method, _path: &str) -> &'static str {
        "all"
    }
    /// What the headers say about the limit.
    fn limit(&self, _headers: &HeaderMap) -> Option<LimitReading> {
        None
    }
    /// What an error answer means, with the vendor's code and message in words; `None`: as its status says.
    fn fault(&self, _answer: &Answer) -> Option<Verdict> {
        None
    }
}

/// A vendor's error, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What happened; `None`: as the status says.
    pub fault: Option<Fault>,
    /// The vendor's code and message.
    pub why: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

/// One system's API.
pub struct Api {
    system: SystemName,
    base: Url,
    meter: Arc<Meter>,
}

impl Api {
    /// Builds the client. Sends nothing.
    ///
    /// # Errors
    /// A base URL or `http` table that cannot be used; keys are relative to the connector's table (`url`, `http.ca_file`).
    pub fn new(
        _system: &SystemName,
        _base: Url,
        _http: &HttpSettings,
        _auth: Arc<dyn Authorize>,
        _dialect: Arc<dyn Dialect>,
        _kit: &Kit,
    ) -> Result<Self, SettingsError> {
        unimplemented!()
    }

    /// The system's name.
    pub fn system(&self) -> &SystemName {
        &self.system
    }

    /// The base URL, ending in a slash.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The system's counters.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Sends a request: waits for room in its budget, adds the credential, reads the answer whole, and classifies what is
    /// not an answer. A GET is tried again after passing faults whose wait is within `http.max_wait`; another method only
    /// where the answer says that nothing took effect (429, 503 with Retry-After).
    ///
    /// # Errors
    /// Whatever [`Fault`] is born here.
    pub async fn send(&self, _call: Call) -> Result<Answer, ConnectorError> {
        unimplemented!()
    }

    /// Makes the call for an absolute link that an answer gave, such as `rel="next"`.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if the link leads to another origin than the base URL's.
    pub fn follow(&self, _link: &str, _doing: &str) -> Result<Call, ConnectorError> {
        unimplemented!()
    }

    /// The offset of the system's clock to ours, from the last answer's `Date`: positive if theirs is ahead.
    pub fn clock_offset(&self) -> Duration {
        Duration::ZERO
    }
}

/// Reads a base URL: a bare host becomes `https://host/`, a missing final slash is added, user info and query are refused,
/// `http` is refused unless the host is loopback or `allow_http` is set.
///
/// # Errors
/// What is wrong with it, at `key`.
pub fn base_url(_key: &str, _text: &str, _allow_http: bool) -> Result<Url, SettingsError> {
    unimplemented!()
}
