//! Base URLs, and URLs below them. A target often lives below a context path (`https://host/jira/`), which joining must
//! keep, and a user or group name must never bend a path to another endpoint.

use std::fmt::Write as _;

use url::{Host, Url};

use crate::contract::settings::SettingsError;

/// Reads a base URL: a bare host becomes `https://host/`, a missing final slash is added, user info and query are refused,
/// `http` is refused unless the host is loopback or `allow_http` is set.
///
/// # Errors
/// What is wrong with it, at `key`.
pub fn base_url(key: &str, text: &str, allow_http: bool) -> Result<Url, SettingsError> {
    let text = text.trim();
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    // The text is repeated only where it cannot hold a password.
    let shown = if text.contains('@') { "the value".to_owned() } else { format!("{text:?}") };
    let mut url = Url::parse(&full).map_err(|e| {
        SettingsError::one(key, format!("{shown} is not a URL: {e}")).hint("write it like https://jira.example.com")
    })?;

    if !matches!(url.scheme(), "http" | "https") {
        let what = format!("{:?} is not a scheme that rosterd speaks", url.scheme());
        return Err(SettingsError::one(key, what).hint("write https://…"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            SettingsError::one(key, "a credential stands in the URL").hint("write the credential under auth, by reference")
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        let what = format!("{shown} has a query or fragment");
        return Err(SettingsError::one(key, what).hint("write only scheme, host, port and context path"));
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(SettingsError::one(key, format!("{shown} is not https, so the credential would travel readable"))
            .hint("write https://…, or set http.allow_http = true"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Whether the host is this machine, by name or address.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Percent-encodes all but the unreserved characters: `%20` for a space, never `+`, since not every server reads that.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The URL of a path (encoded, no leading slash) and a query (not encoded) below a base. `None` if the path would not
/// stay as it is: a URL folds `.` and `..` however they are encoded, so a group of that name has no URL.
pub(super) fn join(base: &Url, path: &str, query: &[(String, String)]) -> Option<Url> {
    let unfit = |c: char| c.is_ascii_control() || matches!(c, '?' | '#' | '\\' | ' ');
    if path.starts_with('/') || path.contains(unfit) || path.split('/').any(is_dots) {
        return None;
    }
    let mut url = Url::parse(&format!("{base}{path}")).ok()?;
    if !query.is_empty() {
        let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        url.set_query(Some(&pairs.join("&")));
    }
    Some(url)
}

fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// Path and query pairs of a link, relative to the base. `None` if it is no link, or leads away from the base.
pub(super) fn below(base: &Url, link: &str) -> Option<(String, Vec<(String, String)>)> {
    // An empty link would lead to the base itself, which is nobody's next page.
    if link.trim().is_empty() {
        return None;
    }
    let url = base.join(link).ok()?;
    if url.origin() != base.origin() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let path = url.path().strip_prefix(base.path())?.to_owned();
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    Some((path, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Url {
        base_url("url", text, false).expect("valid")
    }

    #[test]
    fn a_bare_host_means_https_and_a_context_path_is_kept() {
        assert_eq!(base("acme.okta.com").as_str(), "https://acme.okta.com/");
        assert_eq!(base("jira.example.com:8443/jira").as_str(), "https://jira.example.com:8443/jira/");
        assert_eq!(base("https://example.com/confluence/").as_str(), "https://example.com/confluence/");
        let url = join(&base("https://example.com/jira"), "rest/api/2/user", &[("username".into(), "a b+c".into())]);
        assert_eq!(url.expect("valid").as_str(), "https://example.com/jira/rest/api/2/user?username=a%20b%2Bc");
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for here in ["http://127.0.0.1:8801", "http://localhost", "http://[::1]:1"] {
            base(here);
        }
        let refused = base_url("url", "http://jira.example.com", false).expect_err("credentials would be readable");
        assert_eq!(refused.0[0].key, "url");
        assert!(refused.0[0].hint.as_deref().is_some_and(|h| h.contains("allow_http")));
        assert!(base_url("url", "http://127.0.0.1.example.com", false).is_err());
        assert!(base_url("url", "http://jira.example.com", true).is_ok());
    }

    #[test]
    fn what_is_no_base_is_refused_and_a_password_is_not_repeated() {
        for wrong in ["", "ftp://host", "https://host/?a=b", "https://host/#x", "https://", "https://exa mple"] {
            assert!(base_url("url", wrong, true).is_err(), "{wrong:?}");
        }
        for wrong in ["https://me:geheim@host/", "me:geheim@host:x"] {
            let refused = base_url("url", wrong, false).expect_err("no credential in a URL");
            assert!(!refused.to_string().contains("geheim"), "{refused}");
        }
    }

    #[test]
    fn a_name_cannot_bend_a_path() {
        let base = base("https://example.com/");
        for path in ["groups/../users", "groups/%2E%2e/users", "groups/.", "/x", "a?b", "a#b", "a\\b", "a\nb"] {
            assert!(join(&base, path, &[]).is_none(), "{path:?}");
        }
        let path = format!("group/{}", encode("a/b ü..?#"));
        assert_eq!(join(&base, &path, &[]).expect("valid").as_str(), "https://example.com/group/a%2Fb%20%C3%BC..%3F%23");
    }

    #[test]
    fn a_link_is_followed_below_the_base_only() {
        let base = base("https://example.com/jira");
        let query = vec![("after".to_owned(), "a b/c".to_owned()), ("limit".to_owned(), "2".to_owned())];
        let found = Some(("rest/x".to_owned(), query));
        assert_eq!(below(&base, "https://EXAMPLE.com:443/jira/rest/x?after=a%20b%2Fc&limit=2"), found);
        assert_eq!(below(&base, "/jira/rest/x?after=a+b/c&limit=2"), found);
        assert_eq!(below(&base, "rest/x?after=a+b/c&limit=2"), found);
        for wrong in [
            "http://example.com/jira/rest/x",
            "https://example.com:8443/jira/rest/x",
            "https://example.org/jira/rest/x",
            "https://me@example.com/jira/rest/x",
            "//example.org/jira/rest/x",
            "/rest/x",
            "/jira/../rest/x",
            "",
        ] {
            assert_eq!(below(&base, wrong), None, "{wrong:?}");
        }
    }
}
