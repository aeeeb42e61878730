//! The table of calls that a simulated product offers, and what a call looks like to its handler.
//!
//! A table instead of a router's chain of calls, because the table can be read: a test holds every line of it against
//! the vendor's OpenAPI document. Handlers are plain functions from a question to an answer, since all state is in memory.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::gate::{Caller, Gate, Refused};

/// No request of a directory sync comes near it.
const LARGEST_BODY: usize = 16 << 20;

/// One call that a product offers.
#[derive(Debug)]
pub struct Route<P> {
    /// The method.
    pub method: &'static str,
    /// The path from the root of the product, with `{name}` for a segment that varies.
    pub path: &'static str,
    /// What answers. A refusal is an answer too; it comes as `Err` so that a handler can leave early.
    pub run: fn(&P, &Ask) -> Result<Answer, Answer>,
}

/// A product: its table, its door, and its way of saying no.
pub trait Product: Send + Sync + Sized + 'static {
    /// The calls it offers.
    const ROUTES: &'static [Route<Self>];
    /// The context path, empty or `/jira`.
    fn context(&self) -> &str;
    /// The door.
    fn gate(&self) -> &Gate;
    /// The path under which the table knows it.
    fn canonical(&self, path: &str) -> String {
        path.to_owned()
    }
    /// Whether this path counts against the rate limit.
    fn is_limited(&self, _path: &str) -> bool {
        true
    }
    /// The header by which an answer says which request it is to.
    fn mark(number: u64) -> (&'static str, String) {
        ("X-AREQUESTID", format!("759x{number}x1"))
    }
    /// Says no at the door.
    fn refuse(&self, why: Refused) -> Answer;
    /// Says that there is no such call.
    fn unknown(&self, ask: &Ask) -> Answer;
    /// Puts on each answer what the product puts on each answer.
    fn stamp(&self, _ask: &Ask, answer: Answer) -> Answer {
        answer
    }
}

/// A request, taken apart.
#[derive(Debug)]
pub struct Ask {
    /// The method.
    pub method: String,
    /// The canonical path, below the context path, still percent-encoded.
    pub path: String,
    /// The segments that vary, decoded, in their order.
    pub args: Vec<String>,
    /// The query, decoded, in its order.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub caller: Caller,
}

impl Ask {
    /// The varying segment of that position, empty if there is none.
    pub fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }
    /// The query parameter of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
    /// The same as a number; the default if it is absent or none.
    pub fn number(&self, name: &str, default: usize) -> usize {
        self.query(name).and_then(|v| v.parse().ok()).unwrap_or(default)
    }
    /// The same as a flag. Only `true` is true: `True` was read as false by several versions.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.query(name).map_or(default, |v| v == "true")
    }
    /// Whether `expand` names this part.
    pub fn expands(&self, part: &str) -> bool {
        self.query("expand").is_some_and(|v| v.split(',').any(|p| p == part))
    }
    /// The body as a JSON object; `None` if it is none.
    pub fn object(&self) -> Option<serde_json::Map<String, Value>> {
        match serde_json::from_slice(&self.body).ok()? {
            Value::Object(object) => Some(object),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }
    /// Whether the caller wants JSON. Without that the products answer some refusals in XML or HTML.
    pub fn wants_json(&self) -> bool {
        self.headers.get("accept").and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"))
    }
}

/// What a handler answers.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// JSON.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("wire types have string keys");
        Self { status, headers: vec![("content-type", "application/json;charset=UTF-8".to_owned())], body }
    }
    /// Nothing, with the content type that the products put on nothing.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: vec![("content-type", "text/html;charset=UTF-8".to_owned())], body: Vec::new() }
    }
    /// A page for people.
    pub fn html(status: u16, title: &str) -> Self {
        let body = format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>");
        Self { status, headers: vec![("content-type", "text/html;charset=UTF-8".to_owned())], body: body.into_bytes() }
    }
    /// XML.
    pub fn xml(status: u16, body: String) -> Self {
        let headers = vec![("content-type", "application/xml;charset=UTF-8".to_owned())];
        Self { status, headers, body: body.into_bytes() }
    }
    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    /// What Atlassian's REST layer says where it has no such call.
    pub fn no_such_resource(ask: &Ask) -> Self {
        if !ask.wants_json() {
            let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><status><status-code>404</status-code></status>";
            return Self::xml(404, body.to_owned());
        }
        let message = format!("null for uri: {}", ask.path);
        Self::json(404, &serde_json::json!({ "message": message, "status-code": 404 }))
    }

    fn response(self) -> axum::response::Response {
        let mut response = axum::response::Response::new(axum::body::Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a handler answers a valid status");
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a handler writes valid header names");
            let value = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("?"));
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// An axum router that answers with the product's table.
pub fn router<P: Product>(product: Arc<P>) -> axum::Router {
    axum::Router::new().fallback(move |request: axum::extract::Request| {
        let product = Arc::clone(&product);
        async move {
            let (head, body) = request.into_parts();
            match axum::body::to_bytes(body, LARGEST_BODY).await {
                Ok(body) => answer(product.as_ref(), &head, body).response(),
                Err(_) => Answer::html(413, "Request Entity Too Large").response(),
            }
        }
    })
}

fn answer<P: Product>(product: &P, head: &axum::http::request::Parts, body: Bytes) -> Answer {
    // Outside its context path there is the servlet container, not the product.
    let Some(path) = head.uri.path().strip_prefix(product.context()).filter(|p| p.starts_with('/')) else {
        return Answer::html(404, "HTTP Status 404 - Not Found");
    };
    // Tomcat refuses an encoded slash or backslash in a path before anybody sees it.
    if path.to_ascii_lowercase().contains("%2f") || path.to_ascii_lowercase().contains("%5c") {
        return Answer::html(400, "HTTP Status 400 - Bad Request");
    }
    let path = product.canonical(path);
    let admission = product.gate().admit(&head.headers, product.is_limited(&path));
    let caller = admission.caller.unwrap_or(Caller::Anonymous);
    let mut ask = Ask {
        method: head.method.to_string(),
        path,
        args: Vec::new(),
        query: split_query(head.uri.query().unwrap_or_default()),
        headers: head.headers.clone(),
        body,
        caller,
    };
    let mut answer = match admission.caller {
        Err(why) => product.refuse(why),
        Ok(_) if forged(&ask) => Answer::html(403, "XSRF check failed"),
        Ok(_) => run(product, &mut ask),
    };
    answer.headers.extend(admission.headers);
    answer.headers.push(P::mark(admission.number));
    product.stamp(&ask, answer)
}

/// The XSRF guard meets writes that look as if a browser sent them, unless they carry the magic header.
/// <https://developer.atlassian.com/server/framework/atlassian-sdk/rest-and-xsrf/>
fn forged(ask: &Ask) -> bool {
    let of = |name: &str| ask.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ask.method != "GET" && of("user-agent").starts_with("Mozilla") && of("x-atlassian-token") != "no-check"
}

fn run<P: Product>(product: &P, ask: &mut Ask) -> Answer {
    let mut other_method = false;
    for route in P::ROUTES {
        let Some(args) = match_path(route.path, &ask.path) else { continue };
        if route.method != ask.method {
            other_method = true;
            continue;
        }
        ask.args = args;
        return (route.run)(product, ask).unwrap_or_else(|refusal| refusal);
    }
    if other_method { Answer::html(405, "HTTP Status 405 - Method Not Allowed") } else { product.unknown(ask) }
}

/// The varying segments, decoded, if the path fits the template.
pub(crate) fn match_path(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut args = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(args),
            (Some(w), Some(g)) if w.starts_with('{') && !g.is_empty() => args.push(decode(g, false)),
            (Some(w), Some(g)) if w == g => {}
            (Some(_) | None, Some(_) | None) => return None,
        }
    }
}

/// A query, decoded, in its order.
pub fn split_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|p| !p.is_empty());
    pairs.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(k, v)| (decode(k, true), decode(v, true))).collect()
}

/// Percent-decodes; what is no valid escape stays as it is.
pub fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped =
            (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) if plus_is_space => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Percent-encodes all but the unreserved characters.
pub fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            other => write!(out, "%{other:02X}").expect("writing to a string does not fail"),
        }
        out
    })
}

/// A product's version, compared by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `10.3.12`; what is missing or no number is 0.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(['.', '-']).map(|p| p.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

/// Asks a product without a socket, for the tests of this crate.
#[cfg(test)]
pub(crate) fn ask<P: Product>(product: &P, call: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (method, uri) = call.split_once(' ').expect("a call is a method and a path");
    let mut request = axum::http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).expect("a test asks a valid request").into_parts();
    answer(product, &head, Bytes::copy_from_slice(body.as_bytes()))
}

#[cfg(test)]
impl Answer {
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_matched_by_segments_and_decoded_after_that() {
        assert_eq!(match_path("/a/{x}/b", "/a/l%C3%A4nd%20er+/b"), Some(vec!["länd er+".to_owned()]));
        assert_eq!(match_path("/a/{x}", "/a/"), None);
        assert_eq!(match_path("/a/{x}", "/a/b/c"), None);
    }

    #[test]
    fn encoding_and_decoding_agree() {
        let odd = "a b+c#d%e/ü&=";
        assert_eq!(decode(&encode(odd), true), odd);
        assert_eq!(split_query("a=1+2&b=%2B"), [("a".into(), "1 2".into()), ("b".into(), "+".into())]);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::parse("10.3.12") > Version::parse("10.3.9"));
        assert!(Version::parse("9.12") < Version::parse("10.0.0-m1"));
    }
}
