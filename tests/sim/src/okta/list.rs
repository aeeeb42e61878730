//! Lists: queries, opaque cursors, pages of precomputed objects, and Link headers.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};

use super::Quirks;
use super::fault::{Fault, reply};

/// A query as sent, and decoded.
#[derive(Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        let pair = |p: &str| p.split_once('=').map_or((p.to_owned(), String::new()), |(n, v)| (n.to_owned(), v.to_owned()));
        Self { pairs: raw.split('&').filter(|p| !p.is_empty()).map(pair).collect() }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| decoded(v))
    }

    /// Whether a list parameter such as `expand` names this word.
    pub(super) fn names(&self, name: &str, word: &str) -> bool {
        self.get(name).is_some_and(|v| v.split(',').any(|w| w.trim() == word))
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One list endpoint: how it is called in its cursors, and its page sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    pub(super) name: &'static str,
    pub(super) default: usize,
    pub(super) max: usize,
}

/// What a request wants of a list.
#[derive(Debug)]
pub(super) struct Wanted {
    listing: Listing,
    /// Rows to give.
    limit: usize,
    /// The limit as the links tell it.
    said: usize,
    /// The key of the last row of the page before.
    pub(super) after: Option<String>,
    cursor: Option<String>,
}

impl Wanted {
    pub(super) fn read(listing: Listing, query: &Query, quirks: &Quirks) -> Result<Self, Fault> {
        let said = match query.get("limit") {
            None => listing.default,
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if limit > 0 => limit.min(listing.max),
                _ => return Err(Fault::bad_limit()),
            },
        };
        let cursor = query.get("after");
        let after = cursor.as_deref().map(|c| key(listing.name, c)).transpose()?;
        let limit = quirks.page_cap.map_or(said, |cap| said.min(cap.max(1)));
        Ok(Self { listing, limit, said, after, cursor })
    }
}

/// Where the links lead.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// `http://host:port`
    pub(super) base: &'a str,
    /// As sent.
    pub(super) path: &'a str,
    pub(super) query: &'a Query,
    /// A parameter that the next link loses.
    pub(super) loses: Option<&'static str>,
}

/// One page of rows, each given as its key and written by `write`.
pub(super) fn page<T>(
    wanted: &Wanted,
    place: &Place<'_>,
    quirks: &Quirks,
    mut rows: impl Iterator<Item = (String, T)>,
    write: impl Fn(&T, &mut BytesMut),
) -> Response {
    let mut body = BytesMut::with_capacity(64 * 1024);
    body.put_u8(b'[');
    let (mut count, mut last) = (0, None);
    for (key, row) in rows.by_ref().take(wanted.limit) {
        if count > 0 {
            body.put_u8(b',');
        }
        write(&row, &mut body);
        (count, last) = (count + 1, Some(key));
    }
    body.put_u8(b']');
    let more = rows.next().is_some() || (quirks.empty_page_after_full && count == wanted.limit);
    let next = match (&wanted.cursor, last) {
        (Some(sent), Some(_)) if quirks.repeated_cursor => Some(sent.clone()),
        (_, Some(key)) if more => Some(cursor(wanted.listing.name, &key)),
        _ => None,
    };
    let mut response = reply(200, Bytes::from(body));
    for line in links(wanted, place, quirks, next) {
        let line = HeaderValue::try_from(line).expect("an address as sent is ASCII");
        response.headers_mut().append(header::LINK, line);
    }
    response
}

fn links(wanted: &Wanted, place: &Place<'_>, quirks: &Quirks, next: Option<String>) -> Vec<String> {
    let base = quirks.link_base.as_deref().unwrap_or(place.base);
    let link = |cursor: Option<&str>, loses: Option<&str>| {
        let kept = place.query.pairs.iter().filter(|(n, _)| n != "after" && n != "limit" && Some(n.as_str()) != loses);
        let mut query: Vec<String> = cursor.map(|c| format!("after={c}")).into_iter().collect();
        query.push(format!("limit={}", wanted.said));
        query.extend(kept.map(|(n, v)| format!("{n}={v}")));
        format!("<{base}{}?{}>", place.path, query.join("&"))
    };
    let this = format!("{}; rel=\"self\"", link(wanted.cursor.as_deref(), None));
    let Some(next) = next else { return vec![this] };
    let next = format!("{}; rel=\"next\"", link(Some(&next), place.loses));
    if quirks.joined_links { vec![format!("{this}, {next}")] } else { vec![this, next] }
}

fn cursor(listing: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{listing}\n{key}"))
}

/// The row key in a cursor; a cursor of another list is no good here.
fn key(listing: &str, cursor: &str) -> Result<String, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Fault::bad_cursor())?;
    let text = String::from_utf8(bytes).map_err(|_| Fault::bad_cursor())?;
    match text.split_once('\n') {
        Some((name, key)) if name == listing => Ok(key.to_owned()),
        _ => Err(Fault::bad_cursor()),
    }
}
