//! Requests and answers as connectors see them.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contract::fault::ConnectorError;
use crate::model::key::SystemName;

/// Percent-encodes one segment of a path (`%20` for a space, `%2F` for a slash, never `+`).
pub fn segment(_text: &str) -> String {
    unimplemented!()
}

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// JSON.
    Json(Bytes),
    /// A form.
    Form(Vec<(String, String)>),
}

/// One request to one system.
#[derive(Clone, Debug)]
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

/// An answer, read whole.
#[derive(Clone, Debug)]
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
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`crate::contract::fault::Fault::Malformed`]: another content type than JSON (an HTML login page is named as such), or JSON that does not
    /// fit, with the path of what does not fit and never with its value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ConnectorError> {
        unimplemented!()
    }
}
