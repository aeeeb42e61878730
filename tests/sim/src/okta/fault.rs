//! Error answers in Okta's form.
//!
//! Only the code is stable; see <https://developer.okta.com/docs/reference/error-codes/>.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

/// An error that Okta answers with.
#[derive(Debug)]
pub(super) struct Fault {
    status: u16,
    code: &'static str,
    summary: String,
    causes: Vec<String>,
}

impl Fault {
    fn new(status: u16, code: &'static str, summary: impl Into<String>) -> Self {
        Self { status, code, summary: summary.into(), causes: Vec::new() }
    }

    pub(super) fn not_found(id: &str, what: &str) -> Self {
        Self::new(404, "E0000007", format!("Not found: Resource not found: {id} ({what})"))
    }

    pub(super) fn no_path() -> Self {
        Self::new(404, "E0000008", "The requested path was not found")
    }

    pub(super) fn no_method() -> Self {
        Self::new(405, "E0000022", "The endpoint does not support the provided HTTP method")
    }

    pub(super) fn invalid_token() -> Self {
        Self::new(401, "E0000011", "Invalid token provided")
    }

    pub(super) fn no_permission() -> Self {
        Self::new(403, "E0000006", "You do not have permission to perform the requested action")
    }

    pub(super) fn too_many() -> Self {
        Self::new(429, "E0000047", "API call exceeded rate limit due to too many requests.")
    }

    pub(super) fn bad_cursor() -> Self {
        Self { causes: vec!["Invalid cursor.".into()], ..Self::new(400, "E0000029", "Invalid paging request.") }
    }

    pub(super) fn bad_limit() -> Self {
        let causes = vec!["limit: The limit must be a positive number.".into()];
        Self { causes, ..Self::new(400, "E0000001", "Api validation failed: limit") }
    }

    pub(super) fn bad_search(why: String) -> Self {
        Self { causes: vec![why], ..Self::new(400, "E0000031", "Invalid search criteria.") }
    }

    pub(super) fn answer(&self) -> Response {
        let causes: Vec<_> = self.causes.iter().map(|c| json!({ "errorSummary": c })).collect();
        let body = json!({
            "errorCode": self.code,
            "errorSummary": self.summary,
            "errorLink": self.code,
            "errorId": "oaeSimulated0000000000000",
            "errorCauses": causes,
        });
        reply(self.status, body.to_string())
    }
}

/// A JSON answer.
pub(super) fn reply(status: u16, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("only real statuses are answered");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
