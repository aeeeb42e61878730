//! What is done with hostile bytes, and what must hold of whatever comes out: by the fuzz targets of this folder, and by
//! `tests/fuzz.rs` with the seeds and mutations of them. A broken promise is a panic.

pub mod answers;
pub mod config;
pub mod expression;
pub mod glob;
pub mod limits;
pub mod link;
pub mod recording;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Lines `name: value` as headers. What cannot be one is left out: no HTTP library would let it through either.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            && headers.len() < 100
        {
            headers.append(name, value);
        }
    }
    headers
}

/// What stands before the first empty line, and what stands after it.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[]),
    }
}
