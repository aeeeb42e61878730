//! One system's API: base URL, client, credential, budgets. Every request of a connector goes through [`Api::send`], so
//! that limits, retries and the handling of a refused credential are the same everywhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::TimeDelta;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::tls::TlsInfo;
use reqwest::{Client, Method, Response};
use url::Url;

pub use super::address::base_url;
use super::address::{below, encode, is_loopback, join};
use super::auth::Authorize;
use super::budget::{LimitReading, Tone};
use super::client::{self, Trouble, trouble};
use super::gate::{Gate, Pass, TooLong};
use super::judge::judge;
use super::kind::Kit;
use super::latch::Latch;
use super::meter::{Cause, Meter};
pub use super::settings::HttpSettings;
use super::wall;
use super::wire::{Answer, Body, Call, told_id};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::journal::JournalError;
use crate::contract::permit;
use crate::contract::settings::SettingsError;
use crate::model::backoff::Backoff;
use crate::model::key::SystemName;

/// What is particular to a vendor's HTTP: which bucket a request draws from, what the headers say, what an error means.
pub trait Dialect: Send + Sync {
    /// The rate bucket that a request draws from. The path is the call's, below the base URL.
    fn bucket(&self, _method: &Method, _path: &str) -> &'static str {
        "all"
    }
    /// What the headers say about the limit.
    fn limit(&self, _headers: &HeaderMap) -> Option<LimitReading> {
        None
    }
    /// What an error answer means, with the vendor's code and message in words; `None`: as its status says. Asked for
    /// every answer outside 200 to 299 that the call does not take. A verdict other than [`Fault::Refused`] on a 401 says
    /// that the credential is good; [`Fault::Refused`] on any status says that it must not be used again.
    fn fault(&self, _answer: &Answer) -> Option<Verdict> {
        None
    }
    /// The system's own id of the request, from its answer's headers.
    fn request_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        told_id(headers, &["x-request-id"])
    }
    /// Headers that go with every request, such as `X-Atlassian-Token`. A call's own header of the same name wins.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
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
    client: Client,
    auth: Arc<dyn Authorize>,
    dialect: Arc<dyn Dialect>,
    meter: Arc<Meter>,
    gate: Gate,
    /// Requests without the credential have their own gate: a token may be fetched while a request holds the last place,
    /// and their limits are others'.
    open_gate: Gate,
    max_body: u64,
    max_wait: Duration,
    attempts: u32,
    backoff: Backoff,
    /// The refusal, once the credential was refused.
    latch: Latch,
    /// Whether the credential was taken once. Until then requests go one by one: a handful at once with a wrong password
    /// locks an account.
    proven: AtomicBool,
    first: tokio::sync::Mutex<()>,
    /// Seconds that the system's clock is ahead of ours.
    offset: AtomicI64,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("system", &self.system).field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Whether a request carries the system's credential.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Credential {
    Added,
    LeftOut,
}

/// What came of one try.
enum Try {
    Answered(Answer),
    Failed {
        error: ConnectorError,
        /// The wait before another try that the answer, or our own budget, asks for.
        wait: Option<Duration>,
        /// A 401's headers, for whoever can get a fresh credential.
        unauthorized: Option<HeaderMap>,
        /// Whether nothing took effect for certain.
        harmless: bool,
    },
    /// No request went out.
    Refrained(ConnectorError),
}

impl Api {
    /// Builds the client. Sends nothing.
    ///
    /// # Errors
    /// A base URL or `http` table that cannot be used; keys are relative to the connector's table (`url`, `http.ca_file`).
    pub fn new(
        system: &SystemName,
        base: Url,
        http: &HttpSettings,
        auth: Arc<dyn Authorize>,
        dialect: Arc<dyn Dialect>,
        kit: &Kit,
    ) -> Result<Self, SettingsError> {
        http.check()?;
        if base.scheme() != "https" && !http.allow_http && !is_loopback(&base) {
            return Err(SettingsError::one("url", "is not https, so the credential would travel readable")
                .hint("write https://…, or set http.allow_http = true"));
        }
        let client = client::build(&base, http, &kit.secrets)?;
        let meter = kit.meters.of(system);
        let gate = || Gate::new(http.concurrency, http.rate_share, http.max_wait, meter.clone());
        Ok(Self {
            system: system.clone(),
            client,
            auth,
            dialect,
            gate: gate(),
            open_gate: gate(),
            meter,
            base,
            max_body: http.max_body,
            max_wait: http.max_wait,
            attempts: http.attempts,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).expect("one is less than thirty"),
            latch: kit.latches.fresh(system),
            proven: AtomicBool::new(false),
            first: tokio::sync::Mutex::new(()),
            offset: AtomicI64::new(0),
        })
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
    /// Once the credential was refused no further request goes out: each send fails at once with that refusal.
    ///
    /// # Errors
    /// Whatever [`Fault`] is born here.
    pub async fn send(&self, call: Call) -> Result<Answer, ConnectorError> {
        self.persist(&call, Credential::Added).await
    }

    /// Sends a request without the system's credential, such as one for a token. Limits, retries and classification are
    /// those of [`Api::send`]; a 400 or 401 that is to be understood by the caller is named by [`Call::accept`].
    ///
    /// # Errors
    /// As [`Api::send`].
    pub async fn send_unauthorized(&self, call: Call) -> Result<Answer, ConnectorError> {
        self.persist(&call, Credential::LeftOut).await
    }

    /// Makes the call for a link that an answer gave, such as `rel="next"`, absolute or relative to the base URL.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if the link leads to another origin than the base URL's, or above its context path.
    pub fn follow(&self, link: &str, doing: &str) -> Result<Call, ConnectorError> {
        let Some((path, query)) = below(&self.base, link) else {
            let why = "the link to the next page cannot be read or leads away from the base URL";
            return Err(ConnectorError::new(&self.system, doing, Fault::Malformed, why)
                .hint("check that the base URL is the address that the system itself uses in its links"));
        };
        let mut call = Call::get(path, doing);
        call.query = query;
        Ok(call)
    }

    /// How far the system's clock is ahead of ours (negative: behind), from the last answer's `Date`. Differences under
    /// two seconds are zero.
    pub fn clock_offset(&self) -> TimeDelta {
        TimeDelta::try_seconds(self.offset.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// Seconds since 1970 by the system's clock, as far as it is known: what it compares dates with. Ours alone decides nothing.
    pub fn system_time(&self) -> i64 {
        wall::epoch_seconds(self.clock_offset())
    }

    async fn persist(&self, call: &Call, credential: Credential) -> Result<Answer, ConnectorError> {
        let Some(url) = join(&self.base, &call.path, &call.query) else {
            let why = "a name in it cannot stand in a URL";
            return Err(ConnectorError::new(&self.system, &*call.doing, Fault::Rejected, why)
                .hint("a name that is a single or double dot must be changed at its source"));
        };
        let mut tries = 1;
        let mut renewed = false;
        loop {
            let (error, wait, unauthorized, harmless) = match self.attempt(call, &url, credential).await {
                Try::Answered(answer) => return Ok(answer),
                Try::Refrained(error) => return Err(error),
                Try::Failed { error, wait, unauthorized, harmless } => (error, wait, unauthorized, harmless),
            };
            if let Some(headers) = unauthorized
                && credential == Credential::Added
                && !renewed
                && self.auth.renew(&headers).await
            {
                renewed = true;
                continue;
            }
            if error.fault == Fault::Refused {
                return Err(self.latch(error));
            }
            let again = reads(&call.method) || harmless;
            let passing = match error.fault {
                Fault::Unreachable | Fault::Unavailable { .. } | Fault::Limited { .. } => true,
                Fault::Refused
                | Fault::Forbidden
                | Fault::NotFound
                | Fault::Conflict
                | Fault::Rejected
                | Fault::LicenceFull
                | Fault::Malformed
                | Fault::Incomplete
                | Fault::Unsupported => false,
            };
            let wait = wait.unwrap_or_else(|| self.backoff.delay(tries, fastrand::f64()));
            if !again || !passing || tries >= self.attempts || wait > self.max_wait {
                return Err(error);
            }
            // After a 429 the gate itself is closed, for this request and all others.
            if !matches!(error.fault, Fault::Limited { .. }) {
                let _waiting = self.meter.wait(Cause::Retry, format!("another try after {}", error.why), wait);
                tokio::time::sleep(wait).await;
            }
            tries += 1;
        }
    }

    /// Notes that the credential was refused, and says so to the operator once.
    fn latch(&self, error: ConnectorError) -> ConnectorError {
        if self.latch.shut(&error) {
            // Whoever lets it be tried again may be wrong: one by one, as at first.
            self.proven.store(false, Ordering::Release);
            tracing::error!(system.name = %self.system, cause = %error.why, "the credential was refused; nothing more is sent with it");
        }
        error
    }

    fn refusal(&self, call: &Call) -> Option<ConnectorError> {
        self.latch.refusal().map(|error| ConnectorError { doing: call.doing.clone(), ..error })
    }

    async fn attempt(&self, call: &Call, url: &Url, credential: Credential) -> Try {
        let bucket = self.dialect.bucket(&call.method, &call.path);
        let first = match credential {
            Credential::Added if !self.proven.load(Ordering::Acquire) => {
                let guard = self.first.lock().await;
                (!self.proven.load(Ordering::Acquire)).then_some(guard)
            }
            Credential::Added | Credential::LeftOut => None,
        };
        let gate = match credential {
            Credential::Added => &self.gate,
            Credential::LeftOut => &self.open_gate,
        };
        if let Some(error) = self.refusal(call) {
            return Try::Refrained(error);
        }
        let pass = match gate.enter(bucket).await {
            Ok(pass) => pass,
            Err(TooLong(wait)) => return Try::Refrained(self.too_long(call, wait)),
        };
        // The wait may have been long, and the refusal may have come meanwhile.
        if let Some(error) = self.refusal(call) {
            pass.unsent();
            return Try::Refrained(error);
        }
        let headers = match self.headers(call, url, credential).await {
            Ok(headers) => headers,
            Err(error) => {
                pass.unsent();
                // Whoever gets tokens has made its own tries.
                return Try::Refrained(if error.fault == Fault::Refused { self.latch(error) } else { error });
            }
        };
        if credential == Credential::Added
            && !reads(&call.method)
            && let Err(error) = permit::granted().await
        {
            pass.unsent();
            return Try::Refrained(self.not_permitted(call, &error));
        }
        let outcome = self.exchange(call, url, headers, pass, gate).await;
        if let (Some(_), Try::Answered(_)) = (&first, &outcome) {
            self.proven.store(true, Ordering::Release);
        }
        outcome
    }

    fn too_long(&self, call: &Call, wait: Duration) -> ConnectorError {
        let seconds = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        let why = format!("its rate limit leaves no room for another {}", humantime::format_duration(seconds));
        ConnectorError::new(&self.system, &*call.doing, Fault::Limited { retry_after: Some(seconds) }, why)
    }

    fn not_permitted(&self, call: &Call, error: &JournalError) -> ConnectorError {
        // As where a limit leaves no room: nothing took effect for certain, nothing more begins, and the system is not to blame.
        let why = format!("it was not sent: {error}");
        ConnectorError::new(&self.system, &*call.doing, Fault::Limited { retry_after: None }, why)
    }

    async fn headers(&self, call: &Call, url: &Url, credential: Credential) -> Result<HeaderMap, ConnectorError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in self.dialect.headers() {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        match &call.body {
            Body::None => {}
            Body::Json(_) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            Body::Form(_) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            }
        }
        for (name, value) in &call.headers {
            let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let Some((name, value)) = pair else {
                let why = format!("the header {name} cannot be sent with its value");
                return Err(ConnectorError::new(&self.system, &*call.doing, Fault::Rejected, why));
            };
            headers.insert(name, value);
        }
        if credential == Credential::Added {
            self.auth.authorize(&call.method, url, &mut headers).await.map_err(|error| {
                let doing = if error.doing.is_empty() { call.doing.clone() } else { error.doing };
                ConnectorError { system: self.system.clone(), doing, ..error }
            })?;
        }
        Ok(headers)
    }

    /// Sends, and reads the answer whole.
    async fn exchange(&self, call: &Call, url: &Url, headers: HeaderMap, mut pass: Pass<'_>, gate: &Gate) -> Try {
        let request = self.client.request(call.method.clone(), url.clone()).headers(headers);
        let request = match &call.body {
            Body::None => request,
            Body::Json(json) => request.body(json.clone()),
            Body::Form(fields) => {
                let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
                request.body(pairs.join("&"))
            }
        };
        self.meter.requests.fetch_add(1, Ordering::Relaxed);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                self.meter.count(0);
                return self.unreachable(call, error, None);
            }
        };

        let status = response.status().as_u16();
        let headers = response.headers().clone();
        self.meter.count(status);
        if let Some(certificate) = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate) {
            self.meter.certificate(certificate);
        }
        if let Some(offset) = wall::offset(&headers) {
            self.offset.store(offset.num_seconds(), Ordering::Relaxed);
            self.meter.clock(offset.num_seconds());
        }
        let reading = self.dialect.limit(&headers);
        pass.answered(reading, tone(status));

        let taken = (200..300).contains(&status) || call.accept.contains(&status);
        let body = match read(response, self.max_body).await {
            Ok(body) => body,
            Err(broken) if taken => return self.broken(call, broken, self.dialect.request_id(&headers)),
            // The status alone says enough, and a refusal must be heeded even if its words were cut off.
            Err(_) => Bytes::new(),
        };
        let request = self.dialect.request_id(&headers);
        let answer = Answer { system: self.system.clone(), doing: call.doing.clone(), status, headers, body, request };
        if taken {
            return Try::Answered(answer);
        }
        let error = judge(&answer, url, &*self.dialect);
        self.failed(call, gate, answer, error, reading)
    }

    /// Works out what a fault means for the next try, and closes the bucket after a limit.
    fn failed(&self, call: &Call, gate: &Gate, answer: Answer, error: ConnectorError, reading: Option<LimitReading>) -> Try {
        let (wait, harmless) = match error.fault {
            Fault::Limited { retry_after } => {
                let told = retry_after.or_else(|| reading.and_then(|r| r.wait()));
                let wait = told.unwrap_or_else(|| self.backoff.delay(2, fastrand::f64())).max(Duration::from_secs(1));
                gate.close(self.dialect.bucket(&call.method, &call.path), wait);
                let error = ConnectorError { fault: Fault::Limited { retry_after: told }, ..error };
                return Try::Failed { error, wait: Some(wait), unauthorized: None, harmless: true };
            }
            Fault::Unavailable { retry_after } => (retry_after, answer.status == 503 && retry_after.is_some()),
            Fault::Unreachable
            | Fault::Refused
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Conflict
            | Fault::Rejected
            | Fault::LicenceFull
            | Fault::Malformed
            | Fault::Incomplete
            | Fault::Unsupported => (None, false),
        };
        let unauthorized = (answer.status == 401 && error.fault == Fault::Refused).then_some(answer.headers);
        Try::Failed { error, wait, unauthorized, harmless }
    }

    fn unreachable(&self, call: &Call, error: reqwest::Error, request: Option<Box<str>>) -> Try {
        let Trouble { why, hint } = trouble(error);
        let error = ConnectorError {
            hint: hint.map(Into::into),
            ..ConnectorError::new(&self.system, &*call.doing, Fault::Unreachable, why).request(request)
        };
        Try::Failed { error, wait: None, unauthorized: None, harmless: false }
    }

    fn broken(&self, call: &Call, broken: Broken, request: Option<Box<str>>) -> Try {
        match broken {
            Broken::Cut(error) => self.unreachable(call, error, request),
            Broken::TooLarge => {
                let why = format!("its answer is larger than {} bytes", self.max_body);
                let error = ConnectorError::new(&self.system, &*call.doing, Fault::Malformed, why).hint("raise http.max_body");
                let error = error.request(request);
                Try::Failed { error, wait: None, unauthorized: None, harmless: false }
            }
        }
    }
}

/// Whether a request of this method changes nothing, whatever comes of it.
fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn tone(status: u16) -> Tone {
    match status {
        429 => Tone::Limited,
        // A refusal and a redirect may come from whatever stands in front of the API.
        401 | 407 | 408 | 300..=399 | 500.. => Tone::Distress,
        _ => Tone::Served,
    }
}

/// Why a body was not read whole.
enum Broken {
    Cut(reqwest::Error),
    TooLarge,
}

/// The most room that is made for a body before it comes.
const READY: u64 = 2 << 20;

/// Reads a body, unpacked, up to a size.
async fn read(mut response: Response, most: u64) -> Result<Bytes, Broken> {
    // What is told is not believed beyond what is usual: a lie must not cost memory.
    let told = response.content_length().unwrap_or(0).min(most).min(READY);
    let mut body = BytesMut::with_capacity(usize::try_from(told).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(Broken::Cut)? {
        let size = u64::try_from(body.len() + chunk.len()).unwrap_or(u64::MAX);
        if size > most {
            return Err(Broken::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
