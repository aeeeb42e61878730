//! Okta's dialect of HTTP: which bucket a request draws from, what the rate headers say, what an error code means.
//!
//! The buckets follow Okta's own cut of its paths, as seen in the counters that answers carry: a single object is far
//! cheaper than a listing, and a group's members draw from the same scarce bucket as the list of groups. Numbers are never
//! assumed, since they differ by edition and by the share that an administrator gives to a token: the headers tell.
//! <https://developer.okta.com/docs/reference/rate-limits/>, <https://developer.okta.com/docs/reference/error-codes/>

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{DATE, HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;

use crate::contract::fault::Fault;
use crate::http::api::{Dialect, Verdict};
use crate::http::budget::LimitReading;
use crate::http::wire::{Answer, told_id};

/// See the file's head.
#[derive(Debug)]
pub(super) struct OktaDialect;

impl Dialect for OktaDialect {
    fn bucket(&self, _method: &Method, path: &str) -> &'static str {
        let Some(path) = path.strip_prefix("api/v1/") else {
            return if path.starts_with("oauth2/") { "oauth2/token" } else { "other" };
        };
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        match (parts.next(), parts.next(), parts.next()) {
            (Some("apps"), Some(_), None) => "apps/{id}",
            (Some("apps"), _, _) => "apps",
            (Some("groups"), Some(id), None) if id != "rules" => "groups/{id}",
            (Some("groups"), _, _) => "groups",
            (Some("users"), Some(_), None) => "users/{id}",
            (Some("users"), _, _) => "users",
            _ => "other",
        }
    }

    fn request_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        told_id(headers, &["x-okta-request-id"])
    }

    fn limit(&self, headers: &HeaderMap) -> Option<LimitReading> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
        let limit = u32::try_from(number("x-rate-limit-limit")?).ok()?;
        let remaining = u32::try_from(number("x-rate-limit-remaining")?.max(0)).ok()?;
        let resets = number("x-rate-limit-reset")?;
        // Counted from the same answer's date: the local clock may be off by more than the window is long.
        let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
        let date = i64::try_from(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let resets_in = Duration::from_secs(resets.saturating_sub(date).clamp(0, 120).unsigned_abs());
        Some(LimitReading::Window { limit, remaining, resets_in })
    }

    fn fault(&self, answer: &Answer) -> Option<Verdict> {
        if let Some(verdict) = by_challenge(answer) {
            return Some(verdict);
        }
        let error = OktaError::of(answer)?;
        let (fault, hint) = meaning(&error.code, answer);
        Some(Verdict { fault, why: error.to_string(), hint: hint.map(str::to_owned) })
    }
}

/// The one stable part of an error is its code; the texts vary.
#[derive(Debug, Deserialize)]
pub(super) struct OktaError {
    #[serde(rename = "errorCode")]
    pub(super) code: String,
    #[serde(rename = "errorSummary", default)]
    pub(super) summary: String,
    #[serde(rename = "errorCauses", default)]
    causes: Vec<Cause>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    #[serde(rename = "errorSummary", default)]
    summary: String,
}

impl OktaError {
    /// Reads the body, whatever its content type. `None` if it is not an error in Okta's words.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        serde_json::from_slice(&answer.body).ok()
    }
}

impl std::fmt::Display for OktaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.summary)?;
        match self.causes.first() {
            Some(cause) if !cause.summary.is_empty() => write!(f, " ({})", cause.summary),
            Some(_) | None => Ok(()),
        }
    }
}

/// There is no such object, in Okta's own words.
pub(super) const NO_SUCH_OBJECT: &str = "E0000007";
/// The server gave up, which on a listing means that the page was too large for it.
pub(super) const SERVER_GAVE_UP: &str = "E0000009";

fn meaning(code: &str, answer: &Answer) -> (Option<Fault>, Option<&'static str>) {
    match code {
        "E0000004" | "E0000005" | "E0000011" => (
            Some(Fault::Refused),
            Some("make a new API token, or check the service app; a token lapses after 30 days without use and with its owner"),
        ),
        "E0000006" | "E0000015" => (
            Some(Fault::Forbidden),
            Some("give the token's owner, or the service app, the role Read-only Administrator or one that sees what is read"),
        ),
        NO_SUCH_OBJECT => (Some(Fault::NotFound), None),
        "E0000008" | "E0000022" | "E0000060" => (Some(Fault::Unsupported), None),
        SERVER_GAVE_UP | "E0000010" | "E0000112" | "E0000239" => (Some(Fault::Unavailable { retry_after: None }), None),
        "E0000029" => (Some(Fault::Incomplete), None),
        "E0000047" => (Some(Fault::Limited { retry_after: concurrency_wait(&answer.headers) }), None),
        "E0000001" | "E0000003" | "E0000028" | "E0000030" | "E0000031" => (Some(Fault::Rejected), None),
        _ => (None, None),
    }
}

/// A limit of 0 speaks of requests at the same time, and its reset is only a guess: it is tried again after a short while,
/// not the same for all who wait.
/// <https://developer.okta.com/docs/reference/rl2-concurrency/>
fn concurrency_wait(headers: &HeaderMap) -> Option<Duration> {
    let limit = headers.get("x-rate-limit-limit")?.to_str().ok()?;
    (limit.trim() == "0").then(|| Duration::from_millis(fastrand::u64(1000..3000)))
}

/// An access token without the scope gets 403, no body, and the scope's name in a header.
fn by_challenge(answer: &Answer) -> Option<Verdict> {
    if !matches!(answer.status, 401 | 403) || challenge(&answer.headers, "error")? != "insufficient_scope" {
        return None;
    }
    let scope = challenge(&answer.headers, "scope").filter(|scope| is_scope(scope));
    let scope = scope.unwrap_or_else(|| "that this needs".to_owned());
    Some(Verdict {
        fault: Some(Fault::Forbidden),
        why: format!("insufficient_scope: the access token lacks the scope {scope}"),
        hint: Some(format!("grant the scope {scope} to the service app, under Okta API Scopes")),
    })
}

/// Whether this may be the name of a scope or two, and may be shown.
fn is_scope(text: &str) -> bool {
    text.len() <= 100 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b' '))
}

/// A parameter of the `WWW-Authenticate` headers.
pub(super) fn challenge(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| parameter(line, name)).next().map(str::to_owned)
}

fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = line;
    let mut before = ' ';
    while let Some(at) = rest.find(name) {
        before = rest[..at].chars().next_back().unwrap_or(before);
        rest = &rest[at + name.len()..];
        if matches!(before, ' ' | ',')
            && let Some(value) = rest.strip_prefix('=')
        {
            return match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => value.split([',', ' ']).next(),
            };
        }
        before = name.chars().next_back().unwrap_or(' ');
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid"));
        }
        headers
    }

    fn verdict(status: u16, lines: &[(&'static str, &str)], body: &'static str) -> Option<Verdict> {
        let answer = Answer {
            system: "okta".into(),
            doing: "list users".into(),
            status,
            headers: headers(lines),
            body: Bytes::from_static(body.as_bytes()),
            request: None,
        };
        OktaDialect.fault(&answer)
    }

    #[test]
    fn each_path_draws_from_the_bucket_that_okta_counts_it_in() {
        for (path, bucket) in [
            ("api/v1/users", "users"),
            ("api/v1/users/00u1", "users/{id}"),
            ("api/v1/users/me", "users/{id}"),
            ("api/v1/users/00u1/groups", "users"),
            ("api/v1/groups", "groups"),
            ("api/v1/groups/00g1", "groups/{id}"),
            ("api/v1/groups/00g1/users", "groups"),
            ("api/v1/groups/rules", "groups"),
            ("api/v1/apps", "apps"),
            ("api/v1/apps/0oa1", "apps/{id}"),
            ("api/v1/apps/0oa1/users", "apps"),
            ("api/v1/apps/0oa1/users/00u1", "apps"),
            ("api/v1/apps/0oa1/groups", "apps"),
            ("oauth2/v1/token", "oauth2/token"),
            ("api/v1/logs", "other"),
        ] {
            assert_eq!(OktaDialect.bucket(&Method::GET, path), bucket, "{path}");
        }
    }

    #[test]
    fn a_window_ends_by_the_servers_clock() {
        let read = |reset: &str| {
            OktaDialect.limit(&headers(&[
                ("x-rate-limit-limit", "250"),
                ("x-rate-limit-remaining", "249"),
                ("x-rate-limit-reset", reset),
                ("date", "Thu, 12 Mar 2026 04:57:45 GMT"),
            ]))
        };
        let ends_in =
            |seconds| Some(LimitReading::Window { limit: 250, remaining: 249, resets_in: Duration::from_secs(seconds) });
        assert_eq!(read("1773291473"), ends_in(8));
        assert_eq!(read("1773291400"), ends_in(0));
        assert_eq!(read("1873291400"), ends_in(120));
        assert_eq!(read("soon"), None);
        assert_eq!(OktaDialect.limit(&headers(&[("x-rate-limit-limit", "250")])), None);
    }

    #[test]
    fn each_code_has_its_fault() {
        for (status, code, fault) in [
            (401, "E0000004", Some(Fault::Refused)),
            (401, "E0000011", Some(Fault::Refused)),
            (403, "E0000006", Some(Fault::Forbidden)),
            (401, "E0000015", Some(Fault::Forbidden)),
            (404, "E0000007", Some(Fault::NotFound)),
            (404, "E0000008", Some(Fault::Unsupported)),
            (500, "E0000009", Some(Fault::Unavailable { retry_after: None })),
            (503, "E0000010", Some(Fault::Unavailable { retry_after: None })),
            (400, "E0000029", Some(Fault::Incomplete)),
            (400, "E0000031", Some(Fault::Rejected)),
            (429, "E0000047", Some(Fault::Limited { retry_after: None })),
            (418, "E0999999", None),
        ] {
            let body = format!(r#"{{"errorCode":"{code}","errorSummary":"Words.","errorCauses":[]}}"#);
            let verdict = verdict(status, &[], body.leak()).expect("understood");
            assert_eq!(verdict.fault, fault, "{code}");
            assert_eq!(verdict.why, format!("{code}: Words."));
        }
    }

    #[test]
    fn a_cause_is_told_along() {
        let body = r#"{"errorCode":"E0000029","errorSummary":"Invalid paging request.","errorCauses":[{"errorSummary":"Invalid cursor."}]}"#;
        assert_eq!(verdict(400, &[], body).expect("understood").why, "E0000029: Invalid paging request. (Invalid cursor.)");
    }

    #[test]
    fn a_missing_scope_is_named_though_the_body_is_empty() {
        let line = r#"Bearer authorization_uri="https://acme.okta.com/oauth2/v1/authorize", realm="https://acme.okta.com", scope="okta.groups.read", error="insufficient_scope", error_description="The access token provided does not contain the required scopes.", resource="/api/v1/groups""#;
        let verdict = verdict(403, &[("www-authenticate", line)], "").expect("understood");
        assert_eq!(verdict.fault, Some(Fault::Forbidden));
        assert!(verdict.why.contains("okta.groups.read"));
        assert!(verdict.hint.is_some_and(|hint| hint.contains("okta.groups.read")));
    }

    #[test]
    fn what_cannot_be_a_scope_is_not_shown() {
        for scope in ["ada@example.com", &"a".repeat(101)] {
            let line = format!(r#"Bearer scope="{scope}", error="insufficient_scope""#);
            let verdict = verdict(403, &[("www-authenticate", &line)], "").expect("understood");
            let hint = "grant the scope that this needs to the service app, under Okta API Scopes";
            assert_eq!(verdict.hint.as_deref(), Some(hint), "{}", verdict.why);
        }
    }

    #[test]
    fn a_limit_of_nought_is_one_of_concurrency_and_waited_out_briefly() {
        let body = r#"{"errorCode":"E0000047","errorSummary":"Too many."}"#;
        let verdict = verdict(429, &[("x-rate-limit-limit", "0"), ("x-rate-limit-remaining", "0")], body).expect("understood");
        let Some(Fault::Limited { retry_after: Some(wait) }) = verdict.fault else { panic!("{verdict:?}") };
        assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&wait));
    }

    #[test]
    fn html_of_a_gateway_is_left_to_its_status() {
        assert_eq!(verdict(502, &[], "<html>"), None);
        assert_eq!(verdict(403, &[], ""), None);
    }
}
