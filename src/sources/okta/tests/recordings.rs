//! The parsers against answers of real organisations, where recordings of them are at hand: cassettes in YAML, of two
//! recorders, read as far as bodies and links go.

use std::path::PathBuf;

use reqwest::header::{HeaderMap, HeaderValue, LINK};

use super::super::dialect::OktaError;
use super::super::wire::{AppGroup, AppUser, Group, User};
use super::*;
use crate::contract::source::Attributes;
use crate::http::page::next_link;

/// One recorded exchange.
#[derive(Default)]
struct Exchange {
    method: String,
    uri: String,
    body: String,
    links: Vec<String>,
}

fn cassettes() -> Option<PathBuf> {
    let shared = std::env::var_os("ROSTERD_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let folder = shared.join("recordings/okta");
    folder.is_dir().then_some(folder)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A YAML scalar that begins at `first`: it goes on to its closing quote, or while lines have more indent than its key.
fn scalar(first: &str, rest: &[&str], key_indent: usize) -> String {
    let mut folded = first.trim().to_owned();
    for line in rest {
        let more = line.trim();
        let closed = folded.len() > 1
            && match folded.as_bytes()[0] {
                b'\'' => folded.ends_with('\'') && folded[1..].matches('\'').count() % 2 == 1,
                b'"' => folded.ends_with('"') && !folded.ends_with("\\\""),
                _ => false,
            };
        let quoted = matches!(folded.as_bytes().first(), Some(b'\'' | b'"'));
        if closed || (!quoted && !more.is_empty() && indent(line) <= key_indent) {
            break;
        }
        if let Some(joined) = folded.strip_suffix('\\') {
            folded = format!("{joined}{}", more.strip_prefix('\\').unwrap_or(more));
        } else {
            folded.push(' ');
            folded.push_str(more);
        }
    }
    match folded.as_bytes().first() {
        Some(b'\'') => folded.trim_matches('\'').replace("''", "'"),
        Some(b'"') => serde_json::from_str(&folded).unwrap_or_default(),
        _ => folded,
    }
}

fn exchanges(text: &str) -> Vec<Exchange> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut now = Exchange::default();
    let mut answering = false;
    for (at, line) in lines.iter().enumerate() {
        let rest = &lines[at + 1..];
        let bare = line.trim().trim_start_matches("- ");
        if bare == "request:" {
            found.push(std::mem::take(&mut now));
            answering = false;
        } else if bare == "response:" {
            answering = true;
        } else if let Some(method) = bare.strip_prefix("method: ").filter(|_| !answering) {
            now.method = method.to_ascii_uppercase();
        } else if let Some(uri) = bare.strip_prefix("uri: ") {
            now.uri = scalar(uri, rest, indent(line));
        } else if let Some(body) = bare.strip_prefix("string: ").filter(|_| answering) {
            now.body = scalar(body, rest, indent(line));
        } else if answering && bare.get(..5).is_some_and(|key| key.eq_ignore_ascii_case("link:")) {
            let mut items: Vec<(usize, &str)> = vec![(at, bare[5..].trim())];
            if bare.len() == 5 {
                let listed = rest.iter().enumerate().take_while(|(_, l)| {
                    let item = l.trim_start().starts_with("- ");
                    (item && indent(l) >= indent(line)) || (!item && indent(l) > indent(line))
                });
                items = listed.filter_map(|(n, l)| Some((at + 1 + n, l.trim_start().strip_prefix("- ")?))).collect();
            }
            now.links.extend(items.into_iter().map(|(n, item)| scalar(item, &lines[n + 1..], indent(lines[n]))));
        }
    }
    found.push(now);
    found.into_iter().filter(|exchange| !exchange.uri.is_empty()).collect()
}

/// Reads a body as what its address promises. `None`: not one of ours.
fn hold(exchange: &Exchange) -> Option<usize> {
    let path = exchange.uri.split_once("/api/v1/")?.1.split('?').next()?;
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let body = &*exchange.body;
    let each = |users: Vec<User<'_>>| {
        let statuses = super::super::settings::Statuses::new(&BTreeMap::new()).expect("defaults");
        for user in &users {
            let unfolded = user.unfold(&statuses, &Attributes::All).expect("a profile");
            assert!(unfolded.status_known, "{}", user.status);
            assert!(!unfolded.user.key.as_str().is_empty());
        }
        users.len()
    };
    fn of<'a, T: serde::Deserialize<'a>>(body: &'a str, exchange: &Exchange) -> T {
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{} {}: {error}", exchange.method, exchange.uri))
    }
    Some(match *parts {
        ["users"] | ["groups", _, "users"] => each(of(body, exchange)),
        ["users", _] => each(vec![of(body, exchange)]),
        ["groups"] | ["users", _, "groups"] => of::<Vec<Group<'_>>>(body, exchange).len(),
        ["groups", id] if id != "rules" => usize::from(!of::<Group<'_>>(body, exchange).name().is_empty()),
        ["apps", _, "users"] => {
            let users: Vec<AppUser<'_>> = of(body, exchange);
            let expanded = exchange.uri.contains("expand=user");
            assert!(users.iter().all(|user| user.user().is_some() == expanded), "{}", exchange.uri);
            users.len()
        }
        ["apps", _, "groups"] => of::<Vec<AppGroup<'_>>>(body, exchange).len(),
        _ => return None,
    })
}

#[test]
fn recorded_answers_of_real_organisations_are_read() {
    let Some(folder) = cassettes() else {
        println!("skipped: no recordings at hand (ROSTERD_SHARED names their place)");
        return;
    };
    let (mut bodies, mut items, mut nexts, mut errors) = (0, 0, 0, 0);
    for entry in std::fs::read_dir(folder).expect("readable") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        for exchange in exchanges(&text) {
            let mut headers = HeaderMap::new();
            for link in &exchange.links {
                headers.append(LINK, HeaderValue::from_str(link).expect("a header"));
            }
            let told = exchange.links.iter().any(|link| link.contains("rel=\"next\""));
            let next = next_link(&headers);
            assert_eq!(next.as_deref().is_some_and(|next| next.starts_with("https://") && next.contains("after=")), told);
            nexts += usize::from(told);
            if exchange.body.starts_with("{\"errorCode\"") {
                let error: OktaError = serde_json::from_str(&exchange.body).expect("an error");
                assert!(error.code.starts_with('E'));
                errors += 1;
            } else if exchange.method == "GET" && exchange.uri.contains("/api/v1/") {
                let read = hold(&exchange);
                bodies += usize::from(read.is_some());
                items += read.unwrap_or_default();
            }
        }
    }
    println!("{bodies} bodies with {items} objects, {nexts} next links, {errors} errors");
    assert!(bodies > 20 && items > 20 && nexts > 5 && errors > 3);
}
