//! What is answered when a request is not granted: `application/problem+json` (RFC 9457), with a word for programs that never
//! changes and a text for the reader.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::contract::journal::JournalError;

/// The media type.
pub const MEDIA: &str = "application/problem+json";

/// What kind of problem. The words are part of the API: they are added to, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be read.
    Malformed,
    /// No token, or a wrong one.
    Unauthorized,
    /// The token may not do this.
    Forbidden,
    /// It comes from a web page of elsewhere, or under a foreign name of this machine.
    Foreign,
    /// There is no such thing.
    Unknown,
    /// The address knows no such method.
    Method,
    /// The beginning of an id fits several.
    Ambiguous,
    /// The job is at work.
    AtWork,
    /// The systems rest.
    Resting,
    /// The job only looks at the target.
    Observed,
    /// The plan is too old.
    Expired,
    /// Nothing in the plan waits for a person.
    NothingWaits,
    /// The run changed nothing.
    NothingDone,
    /// The body does not come.
    Slow,
    /// The body is too large.
    TooLarge,
    /// The body is no JSON.
    Media,
    /// The body does not say what it should.
    Invalid,
    /// Too many wrong tokens.
    TooMany,
    /// The store or the daemon is not ready for it.
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 19] = [
        Kind::Malformed,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::Foreign,
        Kind::Unknown,
        Kind::Method,
        Kind::Ambiguous,
        Kind::AtWork,
        Kind::Resting,
        Kind::Observed,
        Kind::Expired,
        Kind::NothingWaits,
        Kind::NothingDone,
        Kind::Slow,
        Kind::TooLarge,
        Kind::Media,
        Kind::Invalid,
        Kind::TooMany,
        Kind::Unavailable,
    ];

    /// Its status, its word and what it is called.
    pub fn said(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Kind::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The token may not do this"),
            Kind::Foreign => (StatusCode::FORBIDDEN, "foreign", "The request comes from elsewhere"),
            Kind::Unknown => (StatusCode::NOT_FOUND, "unknown", "There is no such thing"),
            Kind::Method => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "There is no such method here"),
            Kind::Ambiguous => (StatusCode::CONFLICT, "ambiguous", "Several things are meant"),
            Kind::AtWork => (StatusCode::CONFLICT, "at-work", "The job is at work"),
            Kind::Resting => (StatusCode::CONFLICT, "resting", "The systems rest"),
            Kind::Observed => (StatusCode::CONFLICT, "observed", "The target is only observed"),
            Kind::Expired => (StatusCode::CONFLICT, "expired", "The plan is too old"),
            Kind::NothingWaits => (StatusCode::CONFLICT, "nothing-waits", "Nothing waits"),
            Kind::NothingDone => (StatusCode::CONFLICT, "nothing-done", "The run changed nothing"),
            Kind::Slow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body does not come"),
            Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Kind::Media => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is no JSON"),
            Kind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The body does not say what it should"),
            Kind::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many-failures", "Too many wrong tokens"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now"),
        }
    }
}

/// One mistake in a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mistake {
    /// Where it is, as a JSON pointer (RFC 6901).
    #[schema(example = "/only/0")]
    pub pointer: String,
    /// What it is.
    pub detail: String,
}

/// Why a request was not granted: a problem detail as of RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Said {
    /// What kind of problem, for programs: `urn:rosterd:problem:` and a word that never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:rosterd:problem:at-work")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, for the reader.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The mistakes in the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Mistake>,
}

/// A problem as an answer.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    hint: Option<String>,
    errors: Vec<Mistake>,
    retry_after: Option<i64>,
}

impl Problem {
    /// A problem with what is wrong.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), hint: None, errors: Vec::new(), retry_after: None }
    }

    /// A body with a mistake at a place.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::mistakes(vec![Mistake { pointer: pointer.into(), detail: detail.into() }])
    }

    /// A body with mistakes, of which there is one at least.
    pub fn mistakes(errors: Vec<Mistake>) -> Self {
        let told = |m: &Mistake| if m.pointer.is_empty() { m.detail.clone() } else { format!("{}: {}", m.pointer, m.detail) };
        let detail = errors.iter().map(told).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(Kind::Invalid, detail) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the seconds after which to try again.
    #[must_use]
    pub fn after(mut self, seconds: i64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let problem = Self::new(Kind::Unavailable, error.to_string());
        if error.passing { problem.after(1) } else { problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { kind, detail, hint, errors, retry_after } = self;
        let (status, word, title) = kind.said();
        let kind_word = format!("urn:rosterd:problem:{word}");
        let said = Said { kind: kind_word, title, status: status.as_u16(), detail, hint, errors };
        let mut response = (status, axum::Json(said)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rosterd\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.said().1).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.said().0.is_client_error() || kind.said().0.is_server_error()));
    }
}
