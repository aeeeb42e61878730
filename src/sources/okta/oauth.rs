//! The service app's access token: client credentials with an assertion signed by a private key.
//!
//! A token lasts an hour and cannot be refreshed; a new one is got when four fifths of its life are over, and once when it
//! is refused before. However many requests wait for a token, one gets it, and they share its failure too. An assertion is
//! good for one try, and dated by the server's clock. A token with fewer scopes than needed is no token: Okta grants what
//! it may and says nothing of the rest.
//! <https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/>

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::dialect::{OktaDialect, OktaError, challenge};
use super::dpop::{Dpop, PROOF, hash_of};
use super::key::SigningKey;
use super::settings::OauthSettings;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::settings::SettingsError;
use crate::http::api::{Api, Dialect, HttpSettings};
use crate::http::auth::{Anonymous, Authorize};
use crate::http::budget::LimitReading;
use crate::http::kind::Kit;
use crate::http::wire::{Answer, Call};
use crate::model::backoff::Backoff;
use crate::model::key::SystemName;

const TOKEN_PATH: &str = "oauth2/v1/token";
const DOING: &str = "get an access token";
/// An assertion is used at once; Okta allows an hour.
const ASSERTION_LIFE: i64 = 300;
/// A refusal of a token younger than this was heard before for good tokens: it is sent once more as it is.
const YOUNG: Duration = Duration::from_secs(5);
/// Okta forgives some minutes between the clocks; whoever is farther off is told so by a refusal.
const CLOCKS_APART: i64 = 30;
const TRIES: u32 = 4;
/// Statuses that are understood here, since the same assertion must not be sent twice.
const UNDERSTOOD: [u16; 9] = [400, 401, 403, 429, 500, 502, 503, 504, 404];

/// Gets tokens, and puts them on requests.
pub(super) struct Oauth {
    /// For the token endpoint alone: a request for a token carries no token.
    api: Api,
    token_url: Url,
    client_id: String,
    key: SigningKey,
    asked: BTreeSet<String>,
    needed: BTreeSet<String>,
    dpop: Option<Dpop>,
    max_wait: Duration,
    held: Mutex<Option<Arc<Held>>>,
    /// One at a time gets a token. Holds the last failure, for those who waited meanwhile.
    minting: tokio::sync::Mutex<Option<ConnectorError>>,
    /// How often a token was asked for.
    rounds: AtomicU64,
}

/// A token.
struct Held {
    authorization: HeaderValue,
    /// The token's hash, if it is bound to our key.
    bound: Option<String>,
    granted: BTreeSet<String>,
    minted: Instant,
    good_until: Instant,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    access_token: String,
    token_type: String,
    expires_in: u64,
    #[serde(default)]
    scope: Option<String>,
}

impl TokenAnswer {
    /// How long its parts are, for fuzzing: the token itself is nobody's business.
    pub(super) fn shape(&self) -> (usize, usize, u64, Option<usize>) {
        (self.access_token.len(), self.token_type.len(), self.expires_in, self.scope.as_ref().map(String::len))
    }
}

#[derive(Deserialize)]
pub(super) struct TokenError {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenError {
    /// How long its parts are, for fuzzing.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.error.len(), self.error_description.len())
    }
}

/// What came of one try.
enum Try {
    Got(Held),
    /// Another try, now: what was wrong is known.
    Again(Amends),
    /// Another try may help, after this wait.
    Later(Option<Duration>, ConnectorError),
    Failed(ConnectorError),
}

/// What the next try has that the last one lacked. Each helps once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Amends {
    Nonce,
    Clock,
}

impl Oauth {
    pub(super) fn new(
        system: &SystemName,
        base: Url,
        settings: OauthSettings,
        key: SigningKey,
        needed: BTreeSet<String>,
        http: &HttpSettings,
        kit: &Kit,
    ) -> Result<Self, SettingsError> {
        let OauthSettings { client_id, private_key: _, key_id, algorithm: _, dpop, scopes } = settings;
        // A key that was refused for want of a scope, or under another id, is another credential with them.
        kit.secrets.seen().credential(&format!("{client_id} {key_id:?} {scopes:?}"));
        let token_url =
            base.join(TOKEN_PATH).map_err(|e| SettingsError::one("domain", format!("no address can be made from it: {e}")))?;
        Ok(Self {
            api: Api::new(system, base, http, Arc::new(Anonymous), Arc::new(OktaDialect), kit)?,
            token_url,
            client_id,
            key,
            asked: scopes.unwrap_or_else(|| needed.clone()),
            needed,
            dpop: dpop.then(Dpop::default),
            max_wait: http.max_wait,
            held: Mutex::default(),
            minting: tokio::sync::Mutex::default(),
            rounds: AtomicU64::new(0),
        })
    }

    /// As whom rosterd acts.
    pub(super) fn acting_as(&self) -> String {
        format!("service app {}", self.client_id)
    }

    /// What a person should know of the token that is held.
    pub(super) fn notes(&self) -> Vec<String> {
        let Some(held) = self.held() else { return Vec::new() };
        let words = |set: &mut dyn Iterator<Item = &String>| set.map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut notes = vec![format!("scopes granted: {}", words(&mut held.granted.iter()))];
        let lacking = words(&mut self.asked.difference(&held.granted));
        if !lacking.is_empty() {
            notes.push(format!("scopes asked for and not granted: {lacking}"));
        }
        notes
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn good(&self) -> Option<Arc<Held>> {
        self.held().filter(|held| Instant::now() < held.good_until)
    }

    /// A token that is good for some time.
    async fn token(&self) -> Result<Arc<Held>, ConnectorError> {
        if let Some(held) = self.good() {
            return Ok(held);
        }
        let round = self.rounds.load(Ordering::Acquire);
        let mut failure = self.minting.lock().await;
        if let Some(held) = self.good() {
            return Ok(held);
        }
        if let Some(error) = failure.as_ref().filter(|_| self.rounds.load(Ordering::Acquire) != round) {
            return Err(error.clone());
        }
        let minted = self.mint().await;
        self.rounds.fetch_add(1, Ordering::AcqRel);
        match minted {
            Ok(held) => {
                let held = Arc::new(held);
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
                *failure = None;
                Ok(held)
            }
            Err(error) => {
                *failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Gets a token. Each try has an assertion and a proof of its own.
    async fn mint(&self) -> Result<Held, ConnectorError> {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).expect("one is less than thirty");
        let mut tries = 1;
        let mut amended = Vec::new();
        loop {
            let (told, error) = match self.try_once().await? {
                Try::Got(held) => return Ok(held),
                Try::Again(amends) if !amended.contains(&amends) => {
                    amended.push(amends);
                    continue;
                }
                Try::Again(Amends::Nonce) => return Err(self.error(Fault::Refused, "Okta asks for one DPoP nonce after another")),
                Try::Again(Amends::Clock) => return Err(self.error(Fault::Refused, "Okta does not take the assertion's date")),
                Try::Failed(error) => return Err(error),
                Try::Later(told, error) => (told, error),
            };
            let wait = told.unwrap_or_else(|| backoff.delay(tries, fastrand::f64()));
            if tries >= TRIES || wait > self.max_wait {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(&self) -> Result<Try, ConnectorError> {
        let offset = self.offset();
        let mut call = Call::post(TOKEN_PATH, DOING).form(vec![
            ("grant_type".into(), "client_credentials".into()),
            ("scope".into(), self.asked.iter().map(String::as_str).collect::<Vec<_>>().join(" ")),
            ("client_assertion_type".into(), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()),
            ("client_assertion".into(), self.assertion()?),
        ]);
        for status in UNDERSTOOD {
            call = call.accept(status);
        }
        if let Some(dpop) = &self.dpop {
            let proof = dpop.proof(&Method::POST, &self.token_url, self.api.system_time(), None).await;
            call = call.header(PROOF, proof.map_err(|e| self.error(Fault::Rejected, e.to_string()))?);
        }
        let answer = match self.api.send_unauthorized(call).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.fault, Fault::Unreachable) => return Ok(Try::Later(None, error)),
            Err(error) => return Err(error),
        };
        let nonce_told = self.dpop.as_ref().is_some_and(|dpop| dpop.learn(&answer.headers));
        if answer.status < 300 {
            return Ok(self.got(&answer));
        }
        Ok(self.refused(&answer, nonce_told, (self.offset() - offset).abs() > CLOCKS_APART))
    }

    fn assertion(&self) -> Result<String, ConnectorError> {
        let now = self.api.system_time();
        let assertion = Assertion {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: self.token_url.as_str(),
            iat: now,
            exp: now + ASSERTION_LIFE,
            jti: uuid::Uuid::new_v4().to_string(),
        };
        self.key.sign(&assertion).map_err(|_| self.error(Fault::Refused, "the assertion could not be signed"))
    }

    fn got(&self, answer: &Answer) -> Try {
        let TokenAnswer { access_token, token_type, expires_in, scope } = match answer.json() {
            Ok(token) => token,
            Err(error) => return Try::Failed(error),
        };
        let scheme = if token_type.eq_ignore_ascii_case("dpop") { "DPoP" } else { "Bearer" };
        if scheme == "DPoP" && self.dpop.is_none() {
            return Try::Failed(self.error(Fault::Malformed, "Okta gave a token that is bound to a key nobody named"));
        }
        let Ok(mut authorization) = HeaderValue::try_from(format!("{scheme} {access_token}")) else {
            return Try::Failed(self.error(Fault::Malformed, "Okta gave a token that no header can hold"));
        };
        authorization.set_sensitive(true);
        let granted = match scope {
            Some(scope) => scope.split_whitespace().map(str::to_owned).collect(),
            None => self.asked.clone(),
        };
        let missing: Vec<&str> = self.needed.difference(&granted).map(String::as_str).collect();
        if !missing.is_empty() {
            let why = format!("the token that Okta grants lacks the scope {}", missing.join(", "));
            let hint =
                "a super administrator grants scopes in the service app, under Okta API Scopes; oauth.scopes must name them too";
            return Try::Failed(self.error(Fault::Forbidden, why).hint(hint));
        }
        let now = Instant::now();
        Try::Got(Held {
            bound: (scheme == "DPoP").then(|| hash_of(&access_token)),
            authorization,
            granted,
            minted: now,
            good_until: now + Duration::from_secs(expires_in).mul_f64(0.8),
        })
    }

    fn refused(&self, answer: &Answer, nonce_told: bool, clock_learnt: bool) -> Try {
        if answer.status == 429 {
            let wait = limit_wait(&answer.headers);
            let error = self.error(Fault::Limited { retry_after: wait }, format!("HTTP 429: {}", said(answer)));
            return Try::Later(wait, error);
        }
        if answer.status >= 500 {
            let error = self.error(Fault::Unavailable { retry_after: None }, format!("HTTP {}: {}", answer.status, said(answer)));
            return Try::Later(None, error);
        }
        let why = format!("HTTP {}: {}", answer.status, said(answer));
        let code = serde_json::from_slice::<TokenError>(&answer.body).map(|e| e.error).unwrap_or_default();
        let (fault, hint) = match code.as_str() {
            "use_dpop_nonce" if nonce_told => return Try::Again(Amends::Nonce),
            "invalid_client" | "invalid_dpop_proof" if clock_learnt => return Try::Again(Amends::Clock),
            "invalid_dpop_proof" | "use_dpop_nonce" if self.dpop.is_none() => {
                (Fault::Refused, "set oauth.dpop = true: the service app requires DPoP")
            }
            "invalid_client" | "unauthorized_client" => (
                Fault::Refused,
                "check oauth.client_id, that the public key is registered with the service app, oauth.key_id, and the clock",
            ),
            "invalid_scope" => {
                (Fault::Forbidden, "a super administrator grants scopes in the service app, under Okta API Scopes")
            }
            "invalid_dpop_proof" => (Fault::Refused, "check the clock of this machine"),
            _ => match answer.status {
                401 => (Fault::Refused, "check the service app in Okta's console"),
                403 => (Fault::Forbidden, "check the service app in Okta's console"),
                404 => (Fault::Malformed, "check domain: the organisation's own address serves tokens"),
                _ => (Fault::Rejected, "check the service app in Okta's console"),
            },
        };
        Try::Failed(self.error(fault, why).hint(hint))
    }

    fn error(&self, fault: Fault, why: impl Into<String>) -> ConnectorError {
        ConnectorError::new(self.api.system(), DOING, fault, why)
    }

    fn offset(&self) -> i64 {
        self.api.clock_offset().num_seconds()
    }
}

/// How long a limit at the token endpoint lasts, where its headers tell.
fn limit_wait(headers: &HeaderMap) -> Option<Duration> {
    match OktaDialect.limit(headers)? {
        LimitReading::Window { limit, resets_in, .. } if limit > 0 => Some(resets_in + Duration::from_secs(1)),
        LimitReading::Window { .. } | LimitReading::Tokens { .. } => None,
    }
}

/// The vendor's code and message, in one line of bounded length.
fn said(answer: &Answer) -> String {
    let text = match serde_json::from_slice::<TokenError>(&answer.body) {
        Ok(TokenError { error, error_description }) if error_description.is_empty() => error,
        Ok(TokenError { error, error_description }) => format!("{error}: {error_description}"),
        Err(_) => OktaError::of(answer).map_or_else(|| "no reason given".to_owned(), |error| error.to_string()),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[async_trait]
impl Authorize for Oauth {
    async fn authorize(&self, method: &Method, url: &Url, headers: &mut HeaderMap) -> Result<(), ConnectorError> {
        let held = self.token().await?;
        headers.insert(AUTHORIZATION, held.authorization.clone());
        let (Some(ath), Some(dpop)) = (&held.bound, &self.dpop) else { return Ok(()) };
        let proof = dpop.proof(method, url, self.api.system_time(), Some(ath)).await;
        let proof = proof.map_err(|e| self.error(Fault::Rejected, e.to_string()))?;
        let mut proof =
            HeaderValue::try_from(proof).map_err(|_| self.error(Fault::Rejected, "a DPoP proof that no header can hold"))?;
        proof.set_sensitive(true);
        headers.insert(HeaderName::from_static(PROOF), proof);
        Ok(())
    }

    async fn renew(&self, answer: &HeaderMap) -> bool {
        let nonce_told = self.dpop.as_ref().is_some_and(|dpop| dpop.learn(answer));
        if challenge(answer, "error").as_deref() == Some("use_dpop_nonce") {
            return nonce_told;
        }
        // The next try gets a new token, or says why it could not: that there is none now is no refusal.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held.minted.elapsed() >= YOUNG) {
            *held = None;
        }
        true
    }
}
