//! `Link` headers: whoever writes them must not send rosterd, with its credential, to another place.
//!
//! An input is one header value a line.

use reqwest::header::{HeaderMap, HeaderValue, LINK};
use rosterd::http::address::base_url;
use rosterd::http::fuzzing::{Next, next};
use rosterd::http::page::next_link;

/// Follows the links below several bases.
pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        if let Ok(value) = HeaderValue::from_bytes(line.trim_ascii()) {
            headers.append(LINK, value);
        }
    }
    let told = next_link(&headers);
    let plain = |line: &HeaderValue| String::from_utf8_lossy(line.as_bytes()).replace('\\', "").to_ascii_lowercase();
    let speaks = headers.values().any(|line| plain(line).contains("next"));
    assert!(told.is_none() || speaks, "a next page of which no line speaks: {told:?}");
    for base in ["https://acme.okta.com", "https://example.com:8443/jira", "http://127.0.0.1:9/a/b"] {
        let base = base_url("url", base, false).expect("a base");
        match next(&base, &headers) {
            Next::Last => assert!(told.is_none(), "a link was lost: {told:?}"),
            Next::Refused => assert!(told.is_some()),
            Next::At(url) => {
                assert_eq!(url.origin(), base.origin(), "{told:?} leads to another origin: {url}");
                assert!(url.path().starts_with(base.path()), "{told:?} leads above the base: {url}");
                assert!(url.username().is_empty() && url.password().is_none(), "{told:?} brings a credential");
                assert!(url.fragment().is_none(), "{told:?} leaves a fragment: {url}");
            }
        }
    }
}
