//! What Jira, Confluence and Bitbucket Data Center have in common on the wire: how one logs in, which headers they want and
//! send, how they say that an account is locked out.
//!
//! It lies here and not with a connector since a connector imports no other connector. Everything in it is pure but for
//! [`Auth::into_authorize`], which reads secrets, and [`random_password`], which asks the system for randomness.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::api::Verdict;
use super::auth::{Authorize, Basic, Token};
use super::budget::LimitReading;
use super::secret::{SecretRef, Secrets};
use super::wire::{Answer, Call, told_id};
use crate::contract::fault::Fault;
use crate::contract::settings::SettingsError;

/// The `auth` table: a personal access token, or a user name with its password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Where the personal access token is.
    pub token: Option<SecretRef>,
    /// The user name, for Basic authentication.
    pub username: Option<String>,
    /// Where that user's password is.
    pub password: Option<SecretRef>,
}

impl Auth {
    /// Whether a token is configured: one that may expire, and that Bitbucket's administration does not take.
    pub fn is_token(&self) -> bool {
        self.token.is_some()
    }

    /// Reads the secret and makes the credential. Keys of findings begin with `auth`.
    ///
    /// # Errors
    /// Both ways at once, half of one, none; a secret that cannot be read.
    pub fn into_authorize(self, secrets: &Secrets) -> Result<Arc<dyn Authorize>, SettingsError> {
        const WAYS: &str = "write auth = { token = … }, or auth = { username = \"…\", password = … }";
        match self {
            Self { token: Some(token), username: None, password: None } => {
                let token = secrets.read("auth.token", &token)?;
                Ok(Arc::new(Token { scheme: "Bearer", token }))
            }
            Self { token: None, username: Some(username), password: Some(password) } => {
                // RFC 7617: the colon ends the user name, so a name that has one would be cut there.
                if username.is_empty() || username.contains(':') {
                    return Err(SettingsError::one("auth.username", "is empty or contains a colon"));
                }
                let password = secrets.read("auth.password", &password)?;
                secrets.seen().credential(&username);
                Ok(Arc::new(Basic { username, password }))
            }
            Self { token: Some(_), .. } => {
                Err(SettingsError::one("auth", "has both a token and a user name or password").hint(WAYS))
            }
            Self { token: None, username: Some(_), password: None } => {
                Err(SettingsError::one("auth.password", "is missing").hint(WAYS))
            }
            Self { token: None, username: None, password: Some(_) } => {
                Err(SettingsError::one("auth.username", "is missing").hint(WAYS))
            }
            Self { token: None, username: None, password: None } => {
                Err(SettingsError::one("auth", "names no credential").hint(WAYS))
            }
        }
    }
}

/// Adds the headers that every request carries. `X-Atlassian-Token` lets a write past the check against forged requests and is
/// harmless on a read; without `Accept` some errors come as XML or HTML.
#[must_use]
pub fn with_headers(call: Call) -> Call {
    call.header("X-Atlassian-Token", "no-check").header("Accept", "application/json")
}

/// What the headers tell about the rate limit: a token bucket for each user and node
/// (<https://confluence.atlassian.com/adminjiraserver/adjusting-your-code-for-rate-limiting-987143384.html>). `None` where the
/// limit is switched off, in which case there are no such headers at all.
pub fn limit(headers: &HeaderMap) -> Option<LimitReading> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
    let size = number("x-ratelimit-limit")?;
    let remaining = number("x-ratelimit-remaining")?;
    let interval = number("x-ratelimit-interval-seconds").unwrap_or(0);
    let refill = number("x-ratelimit-fillrate").unwrap_or(0);
    if interval > 0 && refill > 0 {
        return Some(LimitReading::Tokens { size, remaining, refill, interval: Duration::from_secs(interval.into()) });
    }
    // Without the refill only `retry-after` tells when there is room, and it is 0 while tokens are left.
    let wait = number("retry-after").filter(|seconds| *seconds > 0)?;
    Some(LimitReading::Window { limit: size, remaining, resets_in: Duration::from_secs(wait.into()) })
}

/// The product's own id of a request. Jira and Bitbucket write it into their access logs; Confluence tells none but the time,
/// in milliseconds, at which it took the request in, which finds it there as well. Between the two what a proxy told.
pub fn request_id(headers: &HeaderMap) -> Option<Box<str>> {
    told_id(headers, &["x-arequestid", "x-request-id", "x-confluence-request-time"])
}

/// Whether an error answer says that the account must first solve a CAPTCHA in a browser, as it must after a few failed
/// passwords. The right password does not help until then, and every further try is one more failure.
pub fn captcha(headers: &HeaderMap) -> Option<Verdict> {
    let says = |name: &str, word: &str| {
        headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|text| text.to_ascii_uppercase().contains(word)))
    };
    let challenged = says("x-authentication-denied-reason", "CAPTCHA")
        // AUTHENTICATED_FAILED is a wrong password; AUTHENTICATION_DENIED is a login that was not even tried.
        || says("x-seraph-loginreason", "AUTHENTICATION_DENIED");
    challenged.then(|| Verdict {
        fault: Some(Fault::Refused),
        why: "the account is locked out by a CAPTCHA after failed logins".to_owned(),
        hint: Some(
            "log in with this account in a browser and solve the CAPTCHA, or let an administrator reset its failed logins; \
             then check the password in the configuration and reload"
                .to_owned(),
        ),
    })
}

/// Whether an answer says that Basic authentication is switched off, as it is by default from Jira 11 on
/// (<https://confluence.atlassian.com/enterprise/disabling-basic-authentication-1044776464.html>). Every path then answers 403.
pub fn basic_off(answer: &Answer) -> Option<Verdict> {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    if answer.status != 403 {
        return None;
    }
    let Message { message } = serde_json::from_slice(&answer.body).ok()?;
    // The one text that is parsed: it is not localised, since nobody is logged in whose language it could take.
    message.to_ascii_lowercase().contains("basic authentication has been disabled").then(|| Verdict {
        fault: Some(Fault::Refused),
        why: "basic authentication is switched off on this instance".to_owned(),
        hint: Some(
            "create a personal access token for this account and set auth = { token = … }; or let an administrator allow \
             basic authentication for it"
                .to_owned(),
        ),
    })
}

/// A vendor's message made fit for errors and logs: one line, cut at 300 characters, with every word that could be an e-mail
/// address replaced.
pub fn quoted(message: &str) -> String {
    let clean: Vec<&str> = message.split_whitespace().map(|word| if word.contains('@') { "(address)" } else { word }).collect();
    clean.join(" ").chars().take(300).collect()
}

/// A password that nobody knows, for an account whose logins come from elsewhere: 32 characters, with capital and small
/// letters, digits and symbols, so that the usual policies take it. It is to be sent once and forgotten.
pub fn random_password() -> SecretString {
    const CLASSES: [&[u8]; 4] = [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz", b"23456789", b"!#$%*+-.=?@_"];
    const LENGTH: usize = 32;
    let random = SystemRandom::new();
    // Each class once, then any; the order is shuffled below. The capacity is exact, so that growing leaves no copy behind.
    let mut letters = Vec::with_capacity(LENGTH);
    letters.extend(CLASSES.iter().map(|class| class[below(&random, class.len())]));
    while letters.len() < LENGTH {
        let class = CLASSES[below(&random, CLASSES.len())];
        letters.push(class[below(&random, class.len())]);
    }
    for last in (1..letters.len()).rev() {
        letters.swap(last, below(&random, last + 1));
    }
    SecretString::from(String::from_utf8(letters).expect("the classes are ASCII"))
}

/// An even random number below `bound`, which is at most 256: a byte that would favour the small ones is thrown away.
fn below(random: &SystemRandom, bound: usize) -> usize {
    let fair = 256 - 256 % bound;
    loop {
        let mut byte = [0u8];
        random.fill(&mut byte).expect("the system's source of randomness answers");
        let drawn = usize::from(byte[0]);
        if drawn < fair {
            return drawn % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::model::key::SystemName;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn somewhere() -> SecretRef {
        SecretRef { env: Some("X".into()), file: None, credential: None }
    }

    #[test]
    fn a_password_has_every_class_and_no_two_are_alike() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let password = random_password();
            let text = password.expose_secret();
            assert_eq!(text.len(), 32);
            assert!(text.bytes().any(|b| b.is_ascii_uppercase()));
            assert!(text.bytes().any(|b| b.is_ascii_lowercase()));
            assert!(text.bytes().any(|b| b.is_ascii_digit()));
            assert!(text.bytes().any(|b| b.is_ascii_punctuation()));
            assert!(seen.insert(text.to_owned()));
        }
    }

    #[test]
    fn the_classes_do_not_stand_in_the_order_of_their_making() {
        let first_is_capital = (0..400).filter(|_| random_password().expose_secret().as_bytes()[0].is_ascii_uppercase()).count();
        assert!((20..250).contains(&first_is_capital), "{first_is_capital} of 400");
    }

    #[test]
    fn a_bucket_is_read_from_its_four_headers() {
        let read = limit(&headers(&[
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-remaining", "12"),
            ("x-ratelimit-interval-seconds", "1"),
            ("x-ratelimit-fillrate", "5"),
            ("retry-after", "0"),
        ]));
        let interval = Duration::from_secs(1);
        assert_eq!(read, Some(LimitReading::Tokens { size: 60, remaining: 12, refill: 5, interval }));
    }

    #[test]
    fn no_headers_are_no_limit_and_a_bucket_that_never_fills_is_not_believed() {
        assert_eq!(limit(&HeaderMap::new()), None);
        let never = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-fillrate", "0")];
        assert_eq!(limit(&headers(&never)), None);
        let told = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("retry-after", "7")];
        let resets_in = Duration::from_secs(7);
        assert_eq!(limit(&headers(&told)), Some(LimitReading::Window { limit: 60, remaining: 0, resets_in }));
    }

    #[test]
    fn a_request_is_known_by_the_products_id_before_a_proxys_and_by_its_time_where_there_is_none() {
        let time = ("x-confluence-request-time", "1790000000123");
        let proxy = ("x-request-id", "b7e2 c1\t");
        let own = ("x-arequestid", "@1A2B3Cx759x64x0");
        let id = |pairs: &[(&'static str, &str)]| request_id(&headers(pairs));
        assert_eq!(id(&[time, proxy, own]).as_deref(), Some("@1A2B3Cx759x64x0"));
        assert_eq!(id(&[time, proxy]).as_deref(), Some("b7e2c1"));
        assert_eq!(id(&[time]).as_deref(), Some("1790000000123"));
        assert_eq!(id(&[("x-arequestid", &"a".repeat(300))]).map(|id| id.len()), Some(100));
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn a_captcha_is_told_from_a_wrong_password() {
        let challenge = "CAPTCHA_CHALLENGE; login-url=https://jira.example.com/login.jsp";
        let verdict = captcha(&headers(&[("x-authentication-denied-reason", challenge)])).unwrap();
        assert_eq!(verdict.fault, Some(Fault::Refused));
        assert!(captcha(&headers(&[("x-seraph-loginreason", "AUTHENTICATION_DENIED")])).is_some());
        assert!(captcha(&headers(&[("x-seraph-loginreason", "AUTHENTICATED_FAILED")])).is_none());
    }

    #[test]
    fn basic_switched_off_is_told_from_a_missing_right() {
        let answer = |status: u16, body: &'static str| Answer {
            system: SystemName::from("jira"),
            doing: "ask for the version".into(),
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            request: None,
        };
        let off = r#"{"message":"Basic Authentication has been disabled on this instance."}"#;
        assert_eq!(basic_off(&answer(403, off)).unwrap().fault, Some(Fault::Refused));
        assert_eq!(basic_off(&answer(403, r#"{"errorMessages":["no"],"errors":{}}"#)), None);
        assert_eq!(basic_off(&answer(500, off)), None);
    }

    #[test]
    fn addresses_are_not_quoted() {
        assert_eq!(quoted("The user\n ada@example.com   exists."), "The user (address) exists.");
        assert_eq!(quoted(&"é".repeat(400)).chars().count(), 300);
    }

    #[test]
    fn a_credential_is_exactly_one_of_the_two_ways() {
        let key = |auth: Auth| auth.into_authorize(&Secrets::new()).err().unwrap().0[0].key.clone();
        let user = || Some("rosterd".to_owned());
        assert_eq!(key(Auth { token: None, username: None, password: None }), "auth");
        assert_eq!(key(Auth { token: Some(somewhere()), username: user(), password: None }), "auth");
        assert_eq!(key(Auth { token: None, username: user(), password: None }), "auth.password");
        assert_eq!(key(Auth { token: None, username: None, password: Some(somewhere()) }), "auth.username");
        let colon = Some("a:b".to_owned());
        assert_eq!(key(Auth { token: None, username: colon, password: Some(somewhere()) }), "auth.username");
    }
}
