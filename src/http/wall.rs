//! The machine's wall clock, and dates in headers. The clock serves two ends only: it compares with the `Date` of an
//! answer, and it tells people until when is waited. No decision rests on it; waits are counted by the monotonic clock.
//! What is to be dated for a system (an assertion, a proof) is dated by that system's clock, as far as it is known.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::TimeDelta;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Longer waits than this are cut to it: whoever tells to come back in a year has told nothing.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Milliseconds since 1970, so long from now.
pub(super) fn epoch_millis_in(wait: Duration) -> i64 {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(wait);
    i64::try_from(then.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since 1970 by a clock that is so far ahead of ours.
pub(super) fn epoch_seconds(ahead: TimeDelta) -> i64 {
    seconds(SystemTime::now()).saturating_add(ahead.num_seconds())
}

/// How far the clock of whoever wrote these headers is ahead of ours, in whole seconds.
pub(super) fn offset(headers: &HeaderMap) -> Option<TimeDelta> {
    let theirs = seconds(date(headers, DATE)?);
    let difference = theirs - seconds(SystemTime::now());
    // The header is cut to seconds and has travelled: less than two tells nothing.
    Some(if difference.abs() < 2 { TimeDelta::zero() } else { TimeDelta::try_seconds(difference)? })
}

/// What `Retry-After` says, as seconds or as a date compared with the answer's own `Date`. Zero says nothing: Atlassian
/// sends it on each answer while there is room.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            let now = date(headers, DATE).unwrap_or_else(SystemTime::now);
            until.duration_since(now).unwrap_or_default()
        }
    };
    (!wait.is_zero()).then(|| wait.min(LONGEST))
}

fn date(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid")))
            .collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_own_clock() {
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(Duration::from_secs(7)));
        let dated = headers(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&dated), Some(Duration::from_secs(30)));
        let past = headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&past), None);
        for nothing in ["0", "soon", "-5", ""] {
            assert_eq!(retry_after(&headers(&[("retry-after", nothing)])), None, "{nothing:?}");
        }
        assert_eq!(retry_after(&headers(&[("retry-after", "99999999999")])), Some(LONGEST));
    }

    #[test]
    fn the_offset_is_signed_and_small_differences_are_none() {
        let at = |delta: i64| {
            let now = SystemTime::now();
            let then = if delta < 0 {
                now - Duration::from_secs(delta.unsigned_abs())
            } else {
                now + Duration::from_secs(delta.unsigned_abs())
            };
            offset(&headers(&[("date", &httpdate::fmt_http_date(then))])).expect("a date").num_seconds()
        };
        assert_eq!(at(0), 0);
        assert!((-301..=-299).contains(&at(-300)));
        assert!((299..=301).contains(&at(300)));
        assert_eq!(offset(&HeaderMap::new()), None);
    }
}
