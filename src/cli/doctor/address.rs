//! Addresses: what of them may be shown, and what of them is a password. They are read as whoever wrote them may have meant them:
//! the file is for configurations that are refused.

use std::collections::BTreeMap;

use url::{Url, form_urlencoded};

use crate::contract::settings::is_secret;
use crate::contract::settings::path::KeyPath;

/// What is shown of an address that is not plainly one.
const HIDDEN: &str = "(an address)";
/// The schemes of which it is known what stands where.
const SCHEMES: [&str; 4] = ["http", "https", "postgres", "postgresql"];
/// How long a user's part without a password is at the least to be taken for a token.
const TOKEN: usize = 16;

/// Scheme, host, port and path of what is plainly an address; or a path, or a plain host.
pub(super) fn shown(text: &str) -> String {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let plain = !path.contains(['@', '?', '#']);
        return if plain { text.to_owned() } else { "sqlite:(a path)".to_owned() };
    }
    match plain(text) {
        Some(url) => url.to_string(),
        None if is_host(text) => text.to_owned(),
        None => HIDDEN.to_owned(),
    }
}

/// The host of an address, if it can be told.
pub(super) fn host(text: &str) -> Option<String> {
    match plain(text) {
        Some(url) => url.host_str().map(str::to_owned),
        None => is_host(text).then(|| text.split([':', '/']).next().unwrap_or(text).to_owned()),
    }
}

/// What an address is called by its scheme, if that is a known one.
pub(super) fn scheme(text: &str) -> Option<&'static str> {
    let scheme = text.split(':').next()?;
    SCHEMES.into_iter().chain(["sqlite"]).find(|known| *known == scheme)
}

fn plain(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    let known = SCHEMES.contains(&url.scheme()) && url.has_host();
    // An @ further behind: the password holds a / or a ?, and what was taken for the host is none.
    let split = [Some(url.path()), url.query(), url.fragment()].into_iter().flatten().any(|part| part.contains('@'));
    if !known || split {
        return None;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

/// Whether a text is the name of a host and no more, but for a port.
fn is_host(text: &str) -> bool {
    let text = text.trim_end_matches('/');
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let of_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    name.contains('.') && name.chars().all(of_host) && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
}

/// Whatever in an address is a password, or may be one; as it is written, and as it is meant.
pub(super) fn passwords(text: &str) -> Vec<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let mut found = Vec::new();
    if let Some((user, _)) = rest.rsplit_once('@') {
        match user.split_once(':') {
            Some((_, password)) => found.push(password.to_owned()),
            None if user.len() >= TOKEN => found.push(user.to_owned()),
            None => {}
        }
    }
    for pair in rest.split(['?', '#', '&', ';']).skip(1) {
        if let Some((key, value)) = pair.split_once('=')
            && is_secret(&KeyPath::root().key(key))
        {
            found.push(value.to_owned());
        }
    }
    let meant: Vec<String> = found.iter().map(|password| decoded(password)).collect();
    found.extend(meant);
    found.retain(|password| !password.trim().is_empty());
    found.sort();
    found.dedup();
    found
}

/// Without percent signs.
fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes()).into_owned().collect::<BTreeMap<_, _>>().remove("x").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_what_cannot_be_a_password_is_shown() {
        for (written, wanted) in [
            ("https://eve:hunter2@jira.example.com/jira", "https://jira.example.com/jira"),
            ("https://jira.example.com:8443/x?os_password=hunter2", "https://jira.example.com:8443/x"),
            ("https://jira.example.com/x#token=hunter2", "https://jira.example.com/x"),
            ("postgres://eve:hunter2@db.example.com/rosterd?x=hunter2", "postgres://db.example.com/rosterd"),
            ("rosterd:hunter2@jira.example.com", HIDDEN),
            ("eve:hunter2@proxy:3128", HIDDEN),
            ("hunter2@jira.example.com", HIDDEN),
            ("jira.example.com/x?os_password=hunter2", HIDDEN),
            ("jira.example.com#hunter2", HIDDEN),
            ("ftp://eve:hunter2@jira.example.com", HIDDEN),
            ("https://eve:hun/ter2@jira.example.com", HIDDEN),
            ("https://eve:12/hunter2@jira.example.com", HIDDEN),
            ("https://eve:12?hunter2@jira.example.com", HIDDEN),
            ("https://eve:12#hunter2@jira.example.com", HIDDEN),
            ("data:hunter2", HIDDEN),
            ("hunter2", HIDDEN),
            ("sqlite:/var/lib/rosterd/state.db", "sqlite:/var/lib/rosterd/state.db"),
            ("sqlite:eve:hunter2@db", "sqlite:(a path)"),
            ("example.okta.com", "example.okta.com"),
            ("proxy.example.com:3128", "proxy.example.com:3128"),
        ] {
            assert_eq!(shown(written), wanted, "{written}");
        }
    }

    #[test]
    fn a_password_is_found_in_whatever_form_an_address_has() {
        for (written, wanted) in [
            ("https://eve:hunter2@jira.example.com/jira", &["hunter2"][..]),
            ("eve:hunter2@proxy:3128", &["hunter2"]),
            ("https://eve:hun%40ter2@jira.example.com", &["hun%40ter2", "hun@ter2"]),
            ("https://eve:hun/ter2@jira.example.com", &["hun/ter2"]),
            ("https://0123456789abcdef@jira.example.com", &["0123456789abcdef"]),
            ("jira.example.com/x?a=b&os_password=hunter2", &["hunter2"]),
            ("jira.example.com/x#access_token=hunter2", &["hunter2"]),
            ("https://jira.example.com/jira", &[]),
            ("example.okta.com", &[]),
        ] {
            assert_eq!(passwords(written), wanted, "{written}");
        }
    }

    #[test]
    fn the_host_is_the_one_that_is_spoken_to() {
        assert_eq!(host("https://eve:pw@jira.example.com/x").as_deref(), Some("jira.example.com"));
        assert_eq!(host("example.okta.com").as_deref(), Some("example.okta.com"));
        assert_eq!(host("eve:pw@jira.example.com"), None);
        assert_eq!(scheme("sqlite:/x"), Some("sqlite"));
        assert_eq!(scheme("hunter2@db/x"), None);
    }
}
