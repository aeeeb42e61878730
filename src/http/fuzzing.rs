//! What reads headers and error answers, opened for fuzzing: tests feed it bytes that no simulator would send. No part of
//! the interface, and nothing here decides anything.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::header::HeaderMap;
use url::Url;

use super::address::{below, join};
use super::api::Dialect;
use super::budget::LimitReading;
use super::page::next_link;
use super::wall;
use super::wire::Answer;
use crate::contract::fault::ConnectorError;

/// Where a listing goes on.
#[derive(Debug)]
pub enum Next {
    /// Nowhere: it was the last page.
    Last,
    /// It cannot be told, or leads away: the listing is void.
    Refused,
    /// Here.
    At(Url),
}

/// Follows a page's links as a connector does.
pub fn next(base: &Url, headers: &HeaderMap) -> Next {
    let Some(link) = next_link(headers) else { return Next::Last };
    let url = below(base, &link).and_then(|(path, query)| join(base, &path, &query));
    url.map_or(Next::Refused, Next::At)
}

/// The wait that `Retry-After` tells.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    wall::retry_after(headers)
}

/// How far the sender's clock is ahead.
pub fn offset(headers: &HeaderMap) -> Option<TimeDelta> {
    wall::offset(headers)
}

/// The wait that a limit's reading means.
pub fn wait(reading: &LimitReading) -> Option<Duration> {
    reading.wait()
}

/// What an answer means.
pub fn judge(answer: &Answer, asked: &Url, dialect: &dyn Dialect) -> ConnectorError {
    super::judge::judge(answer, asked, dialect)
}
