//! Requests and answers as connectors see them. An answer is held whole, so that nothing half-read is ever parsed.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::address::encode;
use crate::contract::fault::{ConnectorError, Fault};
use crate::model::key::SystemName;

/// Percent-encodes one segment of a path (`%20` for a space, `%2F` for a slash, never `+`).
pub fn segment(text: &str) -> String {
    encode(text)
}

/// What a request carries.
#[derive(Clone, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// JSON.
    Json(Bytes),
    /// A form.
    Form(Vec<(String, String)>),
}

/// What it is, and never what is in it: bodies carry passwords, assertions and people.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Body::None => "None",
            Body::Json(_) => "Json(…)",
            Body::Form(_) => "Form(…)",
        })
    }
}

/// One request to one system.
#[derive(Clone)]
pub struct Call {
    /// What is being done, so that "could not …" reads well. No e-mail address, no secret.
    pub doing: String,
    /// The method.
    pub method: Method,
    /// The path below the system's base URL, without a leading slash, already encoded.
    pub path: String,
    /// The query, not yet encoded.
    pub query: Vec<(String, String)>,
    /// What it carries.
    pub body: Body,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Statuses outside 200 to 299 that are answers to this request and not faults.
    pub accept: Vec<u16>,
}

/// Query and body are left out: a creation carries the new account's password there.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("doing", &self.doing)
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Any method.
    pub fn new(method: Method, path: impl Into<String>, doing: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            method,
            path: path.into(),
            query: Vec::new(),
            body: Body::None,
            headers: Vec::new(),
            accept: Vec::new(),
        }
    }
    /// A GET.
    pub fn get(path: impl Into<String>, doing: impl Into<String>) -> Self {
        Self::new(Method::GET, path, doing)
    }
    /// A POST.
    pub fn post(path: impl Into<String>, doing: impl Into<String>) -> Self {
        Self::new(Method::POST, path, doing)
    }
    /// A PUT.
    pub fn put(path: impl Into<String>, doing: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, doing)
    }
    /// A DELETE.
    pub fn delete(path: impl Into<String>, doing: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, doing)
    }
    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    /// Carries JSON.
    #[must_use]
    pub fn json(mut self, value: &impl Serialize) -> Self {
        self.body = Body::Json(serde_json::to_vec(value).unwrap_or_default().into());
        self
    }
    /// Carries a form.
    #[must_use]
    pub fn form(mut self, fields: Vec<(String, String)>) -> Self {
        self.body = Body::Form(fields);
        self
    }
    /// Takes this status as an answer.
    #[must_use]
    pub fn accept(mut self, status: u16) -> Self {
        self.accept.push(status);
        self
    }
}

/// The first of these headers that is there, as an id to be kept: one short word of plain letters, whatever stood there.
pub fn told_id(headers: &HeaderMap, names: &[&str]) -> Option<Box<str>> {
    const MOST: usize = 100;
    let told = names.iter().find_map(|name| headers.get(*name)?.to_str().ok())?;
    let id: String = told.chars().filter(char::is_ascii_graphic).take(MOST).collect();
    (!id.is_empty()).then(|| id.into())
}

/// An answer, read whole.
#[derive(Clone)]
pub struct Answer {
    /// Who answered.
    pub system: SystemName,
    /// What was being done.
    pub doing: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The system's own id of the request, where a header told one ([`super::api::Dialect::request_id`]).
    pub request: Option<Box<str>>,
}

/// Headers and body are left out: an answer may carry a token, a cookie or a whole roster.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("system", &self.system)
            .field("doing", &self.doing)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`Fault::Malformed`]: another content type than JSON (an HTML login page is named as such), or JSON that does not
    /// fit, with the path of what does not fit and never with its value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ConnectorError> {
        self.insist_on_json()?;
        let body = self.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.body);
        if body.trim_ascii().is_empty() {
            return Err(self.malformed(format!("answered HTTP {} with nothing where JSON is due", self.status)));
        }
        if let Ok(value) = serde_json::from_slice(body) {
            return Ok(value);
        }
        // What does not fit is read once more for its path: to keep one costs as much again as the reading.
        let mut reader = serde_json::Deserializer::from_slice(body);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| self.malformed(misfit(&e)))?;
        reader.end().map_err(|_| self.malformed("answered with more than one JSON value".to_owned()))?;
        Ok(value)
    }

    fn insist_on_json(&self) -> Result<(), ConnectorError> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "application/json" || kind.ends_with("+json") {
            return Ok(());
        }
        if self.body.is_empty() {
            return Err(self.malformed(format!("answered HTTP {} with nothing where JSON is due", self.status)));
        }
        if kind == "text/html" || self.body.trim_ascii_start().starts_with(b"<") {
            return Err(self
                .malformed(format!("answered HTTP {} with an HTML page instead of JSON", self.status))
                .hint("a login page, single sign-on in front of the API, or a wrong context path in the base URL answers so"));
        }
        let kind: String = kind.chars().filter(|c| c.is_ascii_graphic()).take(60).collect();
        let kind = if kind.is_empty() { "no content type".to_owned() } else { format!("content type {kind}") };
        Err(self.malformed(format!("answered HTTP {} with {kind} instead of JSON", self.status)))
    }

    fn malformed(&self, why: String) -> ConnectorError {
        ConnectorError::new(&self.system, &*self.doing, Fault::Malformed, why).request(self.request.clone())
    }
}

/// Where and how JSON does not fit. The parser's own text repeats values, which are people's data: only what it says of
/// our types is kept.
fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let inner = error.inner();
    if !inner.is_data() {
        return format!("answered with JSON that ends early or is broken at line {} column {}", inner.line(), inner.column());
    }
    let path = shown(error.path());
    let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
    let text = inner.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
    let what = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!(": expected {expected}"),
        None if text.starts_with("missing field `") || text.starts_with("duplicate field `") => format!(": {text}"),
        None => String::new(),
    };
    format!("answered with JSON that does not fit{place}{what}")
}

/// A path through the JSON. Keys may be people's data where an object is a map, so only plain words are shown.
fn shown(path: &serde_path_to_error::Path) -> String {
    let mut out = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("[{index}]")),
            Segment::Map { key: word } | Segment::Enum { variant: word } => {
                let plain =
                    word.len() <= 40 && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'));
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(if plain { word } else { "…" });
            }
            Segment::Unknown => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct User {
        id: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Listing {
        users: Vec<User>,
    }

    fn answer(kind: Option<&str>, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).expect("valid"));
        }
        Answer {
            system: "jira".into(),
            doing: "list users".into(),
            status: 200,
            headers,
            body: Bytes::from_static(body.as_bytes()),
            request: None,
        }
    }

    fn refused(kind: Option<&str>, body: &'static str) -> ConnectorError {
        let error = answer(kind, body).json::<Listing>().expect_err("not a listing");
        assert_eq!(error.fault, Fault::Malformed);
        error
    }

    #[test]
    fn json_is_read_under_each_of_its_content_types() {
        for kind in ["application/json", "application/json;charset=UTF-8", "Application/JSON", "application/problem+json"] {
            let read: Listing = answer(Some(kind), "{\"users\":[{\"id\":7}]}").json().expect("fits");
            assert_eq!(read.users[0].id, 7);
        }
    }

    #[test]
    fn a_login_page_is_named_as_such() {
        for (kind, body) in
            [(Some("text/html; charset=UTF-8"), "<!doctype html>"), (None, "\n <html>"), (Some("text/plain"), "<html>")]
        {
            let error = refused(kind, body);
            assert_eq!(error.why, "answered HTTP 200 with an HTML page instead of JSON");
            assert!(error.hint.is_some_and(|hint| hint.contains("login page")));
        }
        assert_eq!(refused(Some("text/plain"), "[]").why, "answered HTTP 200 with content type text/plain instead of JSON");
        assert_eq!(refused(None, "[]").why, "answered HTTP 200 with no content type instead of JSON");
    }

    #[test]
    fn nothing_is_not_an_empty_listing() {
        for (kind, body) in [(Some("application/json"), ""), (Some("application/json"), " \n"), (None, "")] {
            assert_eq!(refused(kind, body).why, "answered HTTP 200 with nothing where JSON is due");
        }
    }

    #[test]
    fn a_misfit_is_told_by_its_path_and_never_by_its_value() {
        let json = Some("application/json");
        let why = |body| refused(json, body).why;
        assert_eq!(
            why("{\"users\":[{\"id\":1},{\"id\":\"hunter2, expected\"}]}"),
            "answered with JSON that does not fit at users[1].id: expected u32"
        );
        assert_eq!(why("{\"users\":[{}]}"), "answered with JSON that does not fit at users[0]: missing field `id`");
        assert_eq!(why("{\"users\":[{\"id\":-5}]}"), "answered with JSON that does not fit at users[0].id: expected u32");
        assert_eq!(why("{\"users\":[{\"id\":5}"), "answered with JSON that ends early or is broken at line 1 column 18");
        assert_eq!(why("{\"users\":[]} {}"), "answered with more than one JSON value");
        let map =
            answer(json, "{\"jane@example.com\":\"x\"}").json::<std::collections::BTreeMap<String, u8>>().expect_err("no number");
        assert_eq!(map.why, "answered with JSON that does not fit at …: expected u8");
    }

    #[test]
    fn what_is_printed_of_a_call_and_an_answer_holds_nothing_of_what_they_carry() {
        let call = Call::post("rest/users", "create the user \"ada\"")
            .query("password", "hunter2")
            .header("dpop", "hunter2".to_owned())
            .json(&serde_json::json!({ "password": "hunter2" }));
        let form = Call::post("token", "get an access token").form(vec![("client_assertion".into(), "hunter2".into())]);
        let mut answer = answer(Some("application/json"), "{\"access_token\":\"hunter2\"}");
        answer.headers.insert("set-cookie", HeaderValue::from_static("session=hunter2"));
        for text in [format!("{call:?}"), format!("{form:?}"), format!("{:?} {:?}", call.body, form.body), format!("{answer:?}")]
        {
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(format!("{call:?}").contains("rest/users") && format!("{answer:?}").contains("200"));
    }

    #[test]
    fn a_segment_holds_any_name() {
        assert_eq!(segment("a b/c+d%é"), "a%20b%2Fc%2Bd%25%C3%A9");
    }
}
