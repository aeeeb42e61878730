//! For whoever watches over the process: whether it lives, and whether it is ready. Anybody may ask, and is told no details.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::View;
use crate::daemon::readiness::{Part, parts};

/// A supervisor that was not heard for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);

/// Whether the supervisor was heard of late.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, description = "It is alive", body = String, content_type = "text/plain"),
    (status = 503, description = "It is not: since when", body = String, content_type = "text/plain")))]
pub(super) async fn alive(State(view): State<View>) -> Response {
    match view.condition().heartbeat {
        Some(heard) if heard.elapsed() < SILENCE => "alive\n".into_response(),
        Some(heard) => {
            let seconds = heard.elapsed().as_secs();
            (StatusCode::SERVICE_UNAVAILABLE, format!("the supervisor was last heard {seconds} s ago\n")).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the supervisor has not started\n").into_response(),
    }
}

/// Says of each part whether it stands.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Every part stands", body = String, content_type = "text/plain"),
    (status = 503, description = "Some part does not", body = String, content_type = "text/plain")))]
pub(super) async fn ready(State(view): State<View>) -> Response {
    let parts = parts(&view, &view.condition()).await;
    let code = if parts.iter().all(Part::stands) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, parts.iter().map(Part::line).collect::<String>()).into_response()
}
