//! What an answer means: the one place where a status becomes a fault.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use url::Url;

use super::api::{Dialect, Verdict};
use super::wall::retry_after;
use super::wire::Answer;
use crate::contract::fault::{ConnectorError, Fault};

/// Classifies an answer that is none of the statuses that the caller takes.
pub(super) fn judge(answer: &Answer, asked: &Url, dialect: &dyn Dialect) -> ConnectorError {
    let told = retry_after(&answer.headers);
    let verdict = dialect.fault(answer);
    let by_status = by_status(answer.status, told);
    let Verdict { fault, why, hint } = verdict.unwrap_or(Verdict { fault: None, why: String::new(), hint: None });
    let fault = match fault.unwrap_or(by_status) {
        Fault::Limited { retry_after } => Fault::Limited { retry_after: retry_after.or(told) },
        Fault::Unavailable { retry_after } => Fault::Unavailable { retry_after: retry_after.or(told) },
        other => other,
    };

    let redirect = (300..400).contains(&answer.status).then(|| redirect(answer, asked));
    let said = if why.trim().is_empty() { redirect.as_ref().map(|r| r.0.clone()).unwrap_or_default() } else { quiet(&why) };
    let status = status_line(answer.status);
    let why = if said.is_empty() { status } else { format!("{status}: {said}") };
    let hint = hint.or_else(|| redirect.map(|r| r.1)).or_else(|| advice(&fault, answer.status).map(str::to_owned));
    let error = ConnectorError::new(&answer.system, &*answer.doing, fault, why).request(answer.request.clone());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What a status means where the vendor gives it no other meaning.
fn by_status(status: u16, retry_after: Option<Duration>) -> Fault {
    match status {
        300..=399 => Fault::Malformed,
        401 => Fault::Refused,
        403 => Fault::Forbidden,
        404 | 410 => Fault::NotFound,
        405 | 501 => Fault::Unsupported,
        // The proxy on the way wants a credential: the system itself was never asked.
        407 => Fault::Unreachable,
        408 | 423 | 425 => Fault::Unavailable { retry_after },
        409 => Fault::Conflict,
        429 => Fault::Limited { retry_after },
        500..=599 => Fault::Unavailable { retry_after },
        400..=499 => Fault::Rejected,
        _ => Fault::Malformed,
    }
}

fn advice(fault: &Fault, status: u16) -> Option<&'static str> {
    match fault {
        Fault::Refused => {
            Some("check the credential and renew it; nothing more is sent with it until the configuration is reloaded")
        }
        Fault::Forbidden => Some("give the account or token of rosterd the right that this needs"),
        Fault::Unreachable if status == 407 => Some("set http.proxy_auth"),
        Fault::Unsupported => Some("check the base URL with its context path, and the system's version"),
        Fault::Unreachable
        | Fault::Unavailable { .. }
        | Fault::Limited { .. }
        | Fault::NotFound
        | Fault::Conflict
        | Fault::Rejected
        | Fault::LicenceFull
        | Fault::Malformed
        | Fault::Incomplete => None,
    }
}

fn status_line(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
    format!("HTTP {status} {reason}").trim_end().to_owned()
}

/// Where a redirect leads, without its query, and what that suggests.
fn redirect(answer: &Answer, asked: &Url) -> (String, String) {
    let target = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| asked.join(to).ok());
    let hint = "check the base URL: its scheme, host and context path; single sign-on in front of the API answers so too";
    let Some(target) = target else { return ("a redirect to nowhere".to_owned(), hint.to_owned()) };
    let host = target.host_str().unwrap_or("no host");
    let port = target.port().map(|port| format!(":{port}")).unwrap_or_default();
    let said = format!("a redirect to {}://{host}{port}{}", target.scheme(), quiet(target.path()));
    let upgraded = asked.scheme() == "http" && target.scheme() == "https" && target.host_str() == asked.host_str();
    (said, if upgraded { "write the base URL with https".to_owned() } else { hint.to_owned() })
}

/// A vendor's words made fit for a log: one line, not too long, and no e-mail address, for user names often are some.
fn quiet(text: &str) -> String {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).map(masked).collect();
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn masked(word: &str) -> String {
    let part =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '%' | '@' | '=' | '~' | '!' | '#' | '$' | '&' | '*');
    let mut out = String::new();
    let mut rest = word;
    while let Some(start) = rest.find(part) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let run = &rest[..end];
        let is_address = run.contains('@') || run.to_ascii_lowercase().contains("%40");
        out.push_str(if is_address { "(address)" } else { run });
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    struct Plain;
    impl Dialect for Plain {}

    struct Says(Option<Fault>, &'static str);
    impl Dialect for Says {
        fn fault(&self, _answer: &Answer) -> Option<Verdict> {
            Some(Verdict { fault: self.0.clone(), why: self.1.to_owned(), hint: None })
        }
    }

    fn judged(status: u16, headers: &[(&'static str, &str)], dialect: &dyn Dialect) -> ConnectorError {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid")))
            .collect();
        let answer = Answer {
            system: "jira".into(),
            doing: "read".into(),
            status,
            headers,
            body: Bytes::from_static(b"<secret>"),
            request: None,
        };
        judge(&answer, &Url::parse("http://jira.example.com/jira/rest?q=1").expect("valid"), dialect)
    }

    #[test]
    fn each_status_has_its_fault() {
        let after = Some(Duration::from_secs(9));
        for (status, fault) in [
            (302, Fault::Malformed),
            (400, Fault::Rejected),
            (401, Fault::Refused),
            (403, Fault::Forbidden),
            (404, Fault::NotFound),
            (405, Fault::Unsupported),
            (408, Fault::Unavailable { retry_after: after }),
            (409, Fault::Conflict),
            (422, Fault::Rejected),
            (423, Fault::Unavailable { retry_after: after }),
            (429, Fault::Limited { retry_after: after }),
            (500, Fault::Unavailable { retry_after: after }),
            (501, Fault::Unsupported),
            (503, Fault::Unavailable { retry_after: after }),
        ] {
            let error = judged(status, &[("retry-after", "9")], &Plain);
            assert_eq!(error.fault, fault, "{status}");
            assert!(!error.why.contains("secret"), "a body is never shown");
        }
        assert_eq!(judged(503, &[], &Plain).why, "HTTP 503 Service Unavailable");
    }

    #[test]
    fn the_vendors_words_follow_the_status_and_may_change_the_fault() {
        let error = judged(400, &[], &Says(Some(Fault::Conflict), "USER_EXISTS a user named\n<jane.doe@example.com> exists"));
        assert_eq!(error.fault, Fault::Conflict);
        assert_eq!(error.why, "HTTP 400 Bad Request: USER_EXISTS a user named <(address)> exists");
        let limited = judged(400, &[("retry-after", "3")], &Says(Some(Fault::Limited { retry_after: None }), "slow down"));
        assert_eq!(limited.fault, Fault::Limited { retry_after: Some(Duration::from_secs(3)) });
        assert_eq!(judged(404, &[], &Says(None, "E0000007 not found")).fault, Fault::NotFound);
        assert!(judged(400, &[], &Says(None, &"é".repeat(400).leak()[..])).why.chars().count() < 340);
    }

    #[test]
    fn a_redirect_is_named_without_its_query() {
        let error = judged(302, &[("location", "https://sso.example.com/login?token=secret#x")], &Plain);
        assert_eq!(error.why, "HTTP 302 Found: a redirect to https://sso.example.com/login");
        assert!(error.hint.is_some_and(|hint| hint.contains("single sign-on")));
        let upgrade = judged(301, &[("location", "https://jira.example.com/jira/rest")], &Plain);
        assert_eq!(upgrade.hint.as_deref(), Some("write the base URL with https"));
        assert_eq!(judged(303, &[], &Plain).why, "HTTP 303 See Other: a redirect to nowhere");
    }
}
