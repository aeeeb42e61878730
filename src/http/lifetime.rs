//! How long a personal access token of Jira or Confluence lives.
//!
//! Both list the tokens of the account that asks, with when each expires and was used last, and not which of them is the one
//! in use. Of several it is the one that was used last: the requests just before this one were made with it. Where that is not
//! told either, nothing is known. It is nice to know and no more, so that no answer to this question fails anything but a
//! refused credential, which shows at any request.
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
        if let Some((_, expiry)) = known.filter(|(asked, _)| asked.elapsed() < STANDS) {
            return Ok(expiry);
        }
        let call = Call::get("rest/pat/latest/tokens", "ask when the token expires");
        // Whoever may not ask is told so in several ways, none of which is about the credential: it has just been accepted.
        let call = [400, 401, 403, 404, 405].into_iter().fold(with_headers(call), Call::accept);
        let expiry = match api.send(call).await {
            Ok(answer) if answer.status == 200 => answer.json::<Vec<Listed>>().map_or(Expiry::Unknown, |listed| in_use(&listed)),
            Ok(_) => Expiry::Unknown,
            Err(error) if error.fault == Fault::Refused => return Err(error),
            Err(_) => return Ok(Expiry::Unknown),
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
    last_accessed_at: Option<String>,
}

/// The expiry of the token in use.
fn in_use(listed: &[Listed]) -> Expiry {
    let last = |token: &&Listed| token.last_accessed_at.as_deref().and_then(time);
    let token = match listed {
        [] => return Expiry::Unknown,
        [one] => one,
        several => match several.iter().max_by_key(last).filter(|token| last(token).is_some()) {
            Some(token) => token,
            None => return Expiry::Unknown,
        },
    };
    match token.expiring_at.as_deref() {
        None => Expiry::Never,
        Some(text) => time(text).map_or(Expiry::Unknown, Expiry::At),
    }
}

/// A time as Java writes it, in whole seconds: the zone as `Z`, `+00:00` or `+0000`.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    read.ok().map(|time| time.to_utc().trunc_subsecs(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Expiry {
        in_use(&serde_json::from_str::<Vec<Listed>>(text).expect("JSON"))
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
    fn of_several_it_is_the_one_that_was_used_last_and_without_that_none() {
        let two = |used: &str| {
            format!(
                r#"[{{"name":"a","expiringAt":"2027-01-02T00:00:00Z"{used}}},
                    {{"name":"b","expiringAt":"2028-01-02T00:00:00Z","lastAccessedAt":null}}]"#
            )
        };
        assert_eq!(listed(&two("")), Expiry::Unknown);
        let first = Expiry::At("2027-01-02T00:00:00Z".parse().expect("a time"));
        assert_eq!(listed(&two(r#","lastAccessedAt":"2026-12-31T23:00:00Z""#)), first);
    }
}
