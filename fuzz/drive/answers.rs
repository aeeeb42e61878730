//! Answers of Okta, Jira, Confluence and Bitbucket, and of whoever stands in front of them: read as every type of every
//! connector, and judged as an error by every one.
//!
//! An input is the status, a line a header, an empty line, the body.

use bytes::Bytes;
use rosterd::contract::fault::{ConnectorError, Fault};
use rosterd::http::fuzzing::judge;
use rosterd::http::wire::Answer;
use rosterd::{sources, targets};
use url::Url;

/// Reads and judges.
pub fn run(data: &[u8]) {
    let (head, body) = super::halves(data);
    let (status, lines) = head.split_at(head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len()));
    let status = std::str::from_utf8(status).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(200);
    let answer = Answer {
        system: "system".into(),
        doing: "read".into(),
        status,
        headers: super::headers(lines),
        body: Bytes::copy_from_slice(body),
        request: None,
    };
    // The one header that is repeated where JSON does not fit.
    let shows = answer.headers.get("content-type").is_some_and(|kind| kind.as_bytes().contains(&b'@'));
    let asked = Url::parse("https://system.example.com/rest?q=1").expect("a URL");
    for (read_all, dialect) in [
        (sources::okta::fuzzing::read_all as fn(&Answer) -> Vec<ConnectorError>, sources::okta::fuzzing::dialect()),
        (targets::jira::fuzzing::read_all, targets::jira::fuzzing::dialect()),
        (targets::confluence::fuzzing::read_all, targets::confluence::fuzzing::dialect()),
        (targets::bitbucket::fuzzing::read_all, targets::bitbucket::fuzzing::dialect()),
    ] {
        for error in read_all(&answer) {
            assert_eq!(error.fault, Fault::Malformed);
            fit_for_a_log(&error, shows);
        }
        fit_for_a_log(&judge(&answer, &asked, dialect), false);
    }
}

/// One line of bearable length, and no e-mail address.
fn fit_for_a_log(error: &ConnectorError, addresses: bool) {
    for text in [Some(error.why.as_str()), error.hint.as_deref()].into_iter().flatten() {
        assert!(text.chars().count() <= 500, "{} characters: {text}", text.chars().count());
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(addresses || !text.contains('@'), "an address is told: {text}");
    }
}
