//! The door of a simulated product: credentials, lock-outs, rate limits.
//!
//! The three products guard their doors with the same machinery (a token or a password, a CAPTCHA after failed
//! passwords, a token bucket per user) and differ only in the words of a refusal. So the decision is taken here, and the
//! product says it. All of it can be changed while the server runs, since that is what happens to a daemon that
//! lives for months: tokens expire, rights are withdrawn, a limiter is switched on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Who may come in, and how.
#[derive(Clone, Debug)]
pub struct Access {
    /// The user name of the account that the daemon acts with.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Its personal access token.
    pub token: String,
    /// Whether it is an administrator.
    pub admin: bool,
    /// Whether it is a system administrator too.
    pub system_admin: bool,
    /// Basic authentication is switched off, as in a new Jira 11.
    pub basic_disabled: bool,
    /// After so many failed passwords in a row a CAPTCHA must be solved in a browser.
    pub captcha_after: Option<u32>,
    /// A credential that is not accepted makes the caller anonymous instead of refusing the call.
    pub anonymous: bool,
    /// When the token expires by what the product tells; it is accepted all the same. `None`: never.
    pub token_expires: Option<DateTime<Utc>>,
    /// The rate limit, if one is switched on.
    pub rate: Option<Rate>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            user: "rosterd".to_owned(),
            password: "password-of-rosterd".to_owned(),
            token: "token-of-rosterd".to_owned(),
            admin: true,
            system_admin: true,
            basic_disabled: false,
            captcha_after: None,
            anonymous: false,
            token_expires: None,
            rate: None,
        }
    }
}

/// A rate limit: a bucket of tokens per user, of which each request takes one.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many tokens the bucket holds.
    pub capacity: u32,
    /// How many come back per interval.
    pub fill: u32,
    /// The interval.
    pub interval: Duration,
    /// Whether answers tell the state of the bucket; Jira and Confluence do, of Bitbucket it is not known.
    pub headers: bool,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// The account, by token.
    Token,
    /// The account, by password.
    Password,
}

/// Why a caller does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token is not accepted.
    Token,
    /// The password is not accepted.
    Password,
    /// Passwords are not accepted from anybody.
    BasicDisabled,
    /// A CAPTCHA must be solved first; the right password does not help.
    Captcha,
    /// The bucket is empty.
    Limited,
}

/// The decision about one request.
#[derive(Debug)]
pub struct Admission {
    /// Who calls, or why not.
    pub caller: Result<Caller, Refused>,
    /// What the answer tells about the rate limit.
    pub headers: Vec<(&'static str, String)>,
    /// The request's number, counted from 1.
    pub number: u64,
}

/// The door. Clones share one state.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    access: Access,
    tokens: BTreeSet<String>,
    passwords: BTreeSet<String>,
    failed: u32,
    bucket: Option<Bucket>,
    asked: u64,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    left: u32,
    filled: Instant,
}

impl Gate {
    /// A door with these rules.
    pub fn new(access: Access) -> Self {
        let bucket = access.rate.map(Bucket::new);
        let (tokens, passwords) = (BTreeSet::from([access.token.clone()]), BTreeSet::from([access.password.clone()]));
        Self { inner: Arc::new(Mutex::new(State { access, tokens, passwords, failed: 0, bucket, asked: 0 })) }
    }

    /// Stops accepting any token and password.
    pub fn revoke(&self) {
        let mut state = self.state();
        state.tokens.clear();
        state.passwords.clear();
    }

    /// Accepts this token too.
    pub fn accept_token(&self, token: &str) {
        self.state().tokens.insert(token.to_owned());
    }

    /// Accepts this password too.
    pub fn accept_password(&self, password: &str) {
        self.state().passwords.insert(password.to_owned());
    }

    /// Solves the CAPTCHA, as a person in a browser would.
    pub fn solve_captcha(&self) {
        self.state().failed = 0;
    }

    /// Gives the account administrator's rights, or takes them.
    pub fn set_admin(&self, admin: bool) {
        self.state().access.admin = admin;
    }

    /// Makes unaccepted credentials anonymous, or refuses them.
    pub fn set_anonymous(&self, anonymous: bool) {
        self.state().access.anonymous = anonymous;
    }

    /// Switches Basic authentication off or on.
    pub fn set_basic_disabled(&self, disabled: bool) {
        self.state().access.basic_disabled = disabled;
    }

    /// Switches a rate limit on (with a full bucket) or off.
    pub fn set_rate(&self, rate: Option<Rate>) {
        let mut state = self.state();
        state.access.rate = rate;
        state.bucket = rate.map(Bucket::new);
    }

    /// The rate limit.
    pub fn rate(&self) -> Option<Rate> {
        self.state().access.rate
    }

    /// The user name of the account.
    pub fn user(&self) -> String {
        self.state().access.user.clone()
    }

    /// Whether the account is an administrator.
    pub fn is_admin(&self) -> bool {
        self.state().access.admin
    }

    /// Whether the account is a system administrator.
    pub fn is_system_admin(&self) -> bool {
        let state = self.state();
        state.access.admin && state.access.system_admin
    }

    /// Changes when the token expires.
    pub fn set_token_expires(&self, at: Option<DateTime<Utc>>) {
        self.state().access.token_expires = at;
    }

    /// The personal access tokens of the account as Jira and Confluence list them to itself: never the token, and without an
    /// expiry where there is none.
    pub fn listed_tokens(&self) -> Value {
        let written = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let used = Utc::now();
        let mut token =
            json!({ "id": 1, "name": "sync", "createdAt": "2026-01-05T08:00:00.000Z", "lastAccessedAt": written(used) });
        if let Some(at) = self.state().access.token_expires {
            token["expiringAt"] = json!(written(at));
        }
        json!([token])
    }

    /// Decides about a request. Only a caller who is known counts against the rate limit, and only if `limited`.
    pub fn admit(&self, headers: &HeaderMap, limited: bool) -> Admission {
        let mut state = self.state();
        state.asked += 1;
        let number = state.asked;
        let caller = state.identify(headers);
        let known = matches!(caller, Ok(Caller::Token | Caller::Password));
        let (true, true, Some(bucket)) = (known, limited, state.bucket.as_mut()) else {
            return Admission { caller, headers: Vec::new(), number };
        };
        let taken = bucket.take();
        let caller = if taken { caller } else { Err(Refused::Limited) };
        Admission { caller, headers: bucket.headers(), number }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn identify(&mut self, headers: &HeaderMap) -> Result<Caller, Refused> {
        let Some(credential) = headers.get("authorization").and_then(|v| v.to_str().ok()) else {
            return Ok(Caller::Anonymous);
        };
        let outcome = match credential.split_once(' ') {
            Some(("Bearer", token)) if self.tokens.contains(token) => Ok(Caller::Token),
            Some(("Basic", pair)) => self.password(pair),
            Some(_) | None => Err(Refused::Token),
        };
        match outcome {
            Err(Refused::Token | Refused::Password) if self.access.anonymous => Ok(Caller::Anonymous),
            Ok(_) | Err(_) => outcome,
        }
    }

    /// The challenge comes before the password is looked at, so the right one does not help any more.
    fn password(&mut self, pair: &str) -> Result<Caller, Refused> {
        if self.access.basic_disabled {
            return Err(Refused::BasicDisabled);
        }
        if self.access.captcha_after.is_some_and(|most| self.failed >= most) {
            return Err(Refused::Captcha);
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(pair).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        let right =
            decoded.split_once(':').is_some_and(|(user, password)| user == self.access.user && self.passwords.contains(password));
        if !right {
            self.failed += 1;
            return Err(Refused::Password);
        }
        self.failed = 0;
        Ok(Caller::Password)
    }
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self { rate, left: rate.capacity, filled: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let intervals = self.filled.elapsed().as_nanos() / self.rate.interval.as_nanos().max(1);
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(intervals.saturating_mul(self.rate.fill)).min(self.rate.capacity);
        self.filled += self.rate.interval.saturating_mul(intervals);
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    /// `retry-after` is on every answer, 0 while tokens are left.
    /// <https://confluence.atlassian.com/adminjiraserver/improving-instance-stability-with-rate-limiting-983794911.html>
    fn headers(&self) -> Vec<(&'static str, String)> {
        if !self.rate.headers {
            return Vec::new();
        }
        let wait = (self.filled + self.rate.interval).saturating_duration_since(Instant::now());
        let wait = if self.left > 0 { 0 } else { whole_seconds(wait) };
        vec![
            ("X-RateLimit-Limit", self.rate.capacity.to_string()),
            ("X-RateLimit-Remaining", self.left.to_string()),
            ("X-RateLimit-Interval-Seconds", whole_seconds(self.rate.interval).to_string()),
            ("X-RateLimit-FillRate", self.rate.fill.to_string()),
            ("retry-after", wait.to_string()),
        ]
    }
}

/// Rounded up, and never 0.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn with(credential: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(credential).unwrap());
        headers
    }

    fn basic(password: &str) -> HeaderMap {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("rosterd:{password}"));
        with(&format!("Basic {pair}"))
    }

    #[test]
    fn after_three_wrong_passwords_the_right_one_meets_a_captcha_too() {
        let gate = Gate::new(Access { captcha_after: Some(3), ..Access::default() });
        for _ in 0..3 {
            assert_eq!(gate.admit(&basic("wrong"), true).caller, Err(Refused::Password));
        }
        assert_eq!(gate.admit(&basic("password-of-rosterd"), true).caller, Err(Refused::Captcha));
        assert_eq!(gate.admit(&with("Bearer token-of-rosterd"), true).caller, Ok(Caller::Token));
        gate.solve_captcha();
        assert_eq!(gate.admit(&basic("password-of-rosterd"), true).caller, Ok(Caller::Password));
    }

    #[test]
    fn a_revoked_credential_is_refused_or_becomes_anonymous() {
        let gate = Gate::new(Access::default());
        gate.revoke();
        assert_eq!(gate.admit(&with("Bearer token-of-rosterd"), true).caller, Err(Refused::Token));
        gate.set_anonymous(true);
        assert_eq!(gate.admit(&with("Bearer token-of-rosterd"), true).caller, Ok(Caller::Anonymous));
        gate.accept_token("second");
        assert_eq!(gate.admit(&with("Bearer second"), true).caller, Ok(Caller::Token));
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_bucket_refuses_until_the_next_interval() {
        let rate = Rate { capacity: 2, fill: 1, interval: Duration::from_secs(10), headers: true };
        let gate = Gate::new(Access { rate: Some(rate), ..Access::default() });
        let token = with("Bearer token-of-rosterd");
        let first = gate.admit(&token, true);
        assert!(first.headers.contains(&("retry-after", "0".to_owned())));
        assert!(gate.admit(&token, true).caller.is_ok());
        let third = gate.admit(&token, true);
        assert_eq!(third.caller, Err(Refused::Limited));
        assert!(third.headers.contains(&("retry-after", "10".to_owned())));
        assert!(gate.admit(&token, false).caller.is_ok());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(gate.admit(&token, true).caller.is_ok());
        assert_eq!(gate.admit(&token, true).caller, Err(Refused::Limited));
    }
}
