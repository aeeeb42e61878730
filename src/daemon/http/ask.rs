//! How requests are read: bounded, and with the place of each mistake.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path as Place, Segment};
use tokio::time::timeout;

use super::problem::{Kind, Mistake, Problem};

/// No body may have more bytes: a reason and some names need less.
pub const LARGEST: usize = 64 * 1024;

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

/// The query of an address.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Problem::new(Kind::Malformed, error.body_text())),
        }
    }
}

/// The name or id in an address.
#[derive(Debug)]
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What is no text is the name of nothing.
        let named = Path::<String>::from_request_parts(parts, state).await;
        named.map(|Path(name)| Self(name)).map_err(|_| Problem::new(Kind::Unknown, "the name in the address is not UTF-8"))
    }
}

/// A body of JSON that must be there.
#[derive(Debug)]
pub struct Told<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read(request, state).await?;
        is_json(&headers)?;
        parse(&bytes).map(Self)
    }
}

/// A body of JSON that may be left out.
#[derive(Debug)]
pub struct ToldIf<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for ToldIf<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        is_json(&headers)?;
        parse::<Option<T>>(&bytes).map(|told| Self(told.unwrap_or_default()))
    }
}

/// Reads a body up to the limits of size and time that the router sets.
async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<(HeaderMap, Bytes), Problem> {
    let headers = request.headers().clone();
    let Patience(patience) = request.extensions().get().copied().unwrap_or(Patience(Duration::MAX));
    let slow = |_| Problem::new(Kind::Slow, format!("the body took longer than {patience:?}"));
    let bytes = timeout(patience, Bytes::from_request(request, state)).await.map_err(slow)?;
    let bytes = bytes.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Kind::TooLarge, format!("the body has more than {LARGEST} bytes")),
        _ => Problem::new(Kind::Malformed, "the body breaks off"),
    })?;
    Ok((headers, bytes))
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = stated.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = if media.is_empty() { "the body has no Content-Type".to_owned() } else { format!("the body is {media:?}") };
    Err(Problem::new(Kind::Media, detail).hint("send JSON, with Content-Type: application/json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // To serde a list is as good as an object: the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::at("", "is a list, and should be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        (pointer, error.into_inner())
    });
    let parsed = parsed.and_then(|parsed| reader.end().map(|()| parsed).map_err(|error| (String::new(), error)));
    parsed.map_err(|(pointer, error)| match error.classify() {
        Category::Data => {
            let detail = error.to_string();
            // The place in the text is told by the pointer.
            let detail = detail.rsplit_once(" at line ").map_or(detail.as_str(), |(what, _)| what).to_owned();
            Problem::mistakes(vec![Mistake { pointer, detail }])
        }
        Category::Syntax | Category::Eof | Category::Io => Problem::new(Kind::Malformed, format!("the body is no JSON: {error}")),
    })
}

/// A place as a JSON pointer.
fn pointer(place: &Place) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    place.iter().map(step).collect()
}
