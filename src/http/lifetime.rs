//! How long a personal access token of Jira or Confluence lives.
//!
//! Both list the tokens of the account that asks, with when each expires, and not which of them is the one in use. It is the one
//! that has not expired; where several have not, nothing is known: when a token was used last is written down late, and of two
//! in turn either may be it. It is nice to know and no more, so that no answer to this question fails anything but a refused
//! credential, which shows at any request.
//! <https://confluence.atlassian.com/enterprise/using-personal-access-tokens-1026032365.html>

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use tokio::time::Instant;

use super::api::Api;
use super::atlassian::with_headers;
use super::wire::Call;
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::target::Expiry;

/// How long an answer stands.
const STANDS: Duration = Duration::from_secs(24 * 3600);
/// How long one stands that told nothing.
const STANDS_UNKNOWN: Duration = Duration::from_secs(3600);

/// A credential's expiry, asked for once a day.
#[derive(Debug)]
pub struct Lifetime {
    is_token: bool,
    /// When it was asked for last, and what the answer was.
    known: Mutex<Option<(Instant, Expiry)>>,
}

impl Lifetime {
    /// Of a personal access token, or of a password, of which nobody tells when it expires.
    pub fn new(is_token: bool) -> Self {
        Self { is_token, known: Mutex::new(None) }
    }

    /// When the credential expires.
    ///
    /// # Errors
    /// Only a refused credential.
    pub async fn expiry(&self, api: &Api) -> Result<Expiry, ConnectorError> {
        if !self.is_token {
            return Ok(Expiry::Never);
        }
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = |expiry: Expiry| if expiry == Expiry::Unknown { STANDS_UNKNOWN } else { STANDS };
        if let Some((_, expiry)) = known.filter(|(asked, expiry)| asked.elapsed() < stands(*expiry)) {
            return Ok(expiry);
        }
        let call = Call::get("rest/pat/latest/tokens", "ask when the token expires");
        // Whoever may not ask is told so in several ways, none of which is about the credential: it has just been accepted.
        let call = [400, 401, 403, 404, 405].into_iter().fold(with_headers(call), Call::accept);
        let expiry = match api.send(call).await {
            Ok(answer) if answer.status == 200 => {
                // By the system's own clock, which it compares with too.
                let now = DateTime::from_timestamp(api.system_time(), 0).unwrap_or_default();
                answer.json::<Vec<Listed>>().map_or(Expiry::Unknown, |listed| in_use(&listed, now))
            }
            Err(error) if error.fault == Fault::Refused => return Err(error),
            Ok(_) | Err(_) => Expiry::Unknown,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), expiry));
        Ok(expiry)
    }
}

/// A token as listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// Told of every token, so that an answer of another shape is not taken for a token without an end.
    #[serde(rename = "name")]
    _name: String,
    expiring_at: Option<String>,
}

impl Listed {
    fn expiry(&self) -> Expiry {
        match self.expiring_at.as_deref() {
            None => Expiry::Never,
            Some(text) => time(text).map_or(Expiry::Unknown, Expiry::At),
        }
    }
}

/// The expiry of the token in use: it lives.
fn in_use(listed: &[Listed], now: DateTime<Utc>) -> Expiry {
    let mut alive = listed.iter().map(Listed::expiry).filter(|expiry| !matches!(expiry, Expiry::At(at) if *at <= now));
    match (alive.next(), alive.next()) {
        (Some(one), None) => one,
        _ => Expiry::Unknown,
    }
}

/// A time as Java writes it, in whole seconds: the zone as `Z`, `+00:00` or `+0000`.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    read.ok().map(|time| time.to_utc().trunc_subsecs(0))
}

/// What reads the listing of tokens, opened for fuzzing. No part of the interface.
#[doc(hidden)]
pub mod fuzzing {
    use super::{DateTime, Listed, in_use};
    use crate::contract::fault::ConnectorError;
    use crate::http::wire::Answer;

    /// Reads an answer as the listing of tokens, before, at and after any time that it may tell. Returns what is said of it
    /// where it does not fit.
    pub fn read(answer: &Answer) -> Option<ConnectorError> {
        match answer.json::<Vec<Listed>>() {
            Ok(listed) => {
                for now in [DateTime::UNIX_EPOCH, DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()] {
                    let _ = in_use(&listed, now);
                }
                None
            }
            Err(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Expiry {
        let now = "2026-12-01T00:00:00Z".parse().expect("a time");
        in_use(&serde_json::from_str::<Vec<Listed>>(text).expect("JSON"), now)
    }

    #[test]
    fn the_only_token_is_the_one_in_use() {
        let at = Expiry::At("2027-01-02T03:04:05Z".parse().expect("a time"));
        for zone in ["Z", "+0000", "+00:00", ".000Z", ".000+0000"] {
            assert_eq!(listed(&format!(r#"[{{"id":1,"name":"sync","expiringAt":"2027-01-02T03:04:05{zone}"}}]"#)), at, "{zone}");
        }
        assert_eq!(listed(r#"[{"id":1,"name":"sync"}]"#), Expiry::Never);
        assert_eq!(listed(r#"[{"name":"sync","expiringAt":"soon"}]"#), Expiry::Unknown);
        assert_eq!(listed("[]"), Expiry::Unknown);
    }

    #[test]
    fn of_several_it_is_the_only_one_that_lives_and_otherwise_none() {
        let two = |first: &str| {
            format!(
                r#"[{{"name":"a","expiringAt":"{first}"}},{{"name":"b","expiringAt":"2027-01-02T00:00:00Z","lastAccessedAt":null}}]"#
            )
        };
        let other = Expiry::At("2027-01-02T00:00:00Z".parse().expect("a time"));
        assert_eq!(listed(&two("2026-11-30T23:59:59Z")), other, "the one before has expired");
        assert_eq!(listed(&two("2026-12-31T00:00:00Z")), Expiry::Unknown);
        assert_eq!(listed(r#"[{"name":"a","expiringAt":"2026-11-30T00:00:00Z"}]"#), Expiry::Unknown, "it was just accepted");
    }
}
