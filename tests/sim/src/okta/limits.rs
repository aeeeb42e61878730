//! Okta's rate limits: fixed windows by bucket, each opened by its first request.
//!
//! Every answer tells what is left. A refused request gets no `Retry-After`; the client has to work from the reset time
//! and the answer's own `Date`. See <https://developer.okta.com/docs/reference/rl-best-practices/>.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// The limits of an organisation.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests that a bucket allows in a window, where it has no number of its own.
    pub default: u32,
    /// By bucket: `apps`, `apps/{id}`, `groups`, `groups/{id}`, `users`, `users/{id}`, `token`, `other`.
    pub buckets: BTreeMap<&'static str, u32>,
    /// How long a window is; Okta's are 60 s.
    pub window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { default: 1_000_000, buckets: BTreeMap::new(), window: Duration::from_secs(60) }
    }
}

impl Limits {
    /// The limits that one token or service app has in a Workforce trial (half of what the organisation has).
    pub fn workforce_share() -> Self {
        let buckets = [
            ("apps", 50),
            ("apps/{id}", 250),
            ("groups", 250),
            ("groups/{id}", 500),
            ("users", 300),
            ("users/{id}", 1000),
            ("token", 150),
            ("other", 500),
        ];
        Self { buckets: BTreeMap::from(buckets), ..Self::default() }
    }
}

/// The bucket that a path draws from.
pub(super) fn bucket(path: &str) -> &'static str {
    let Some(rest) = path.strip_prefix("/api/v1/") else {
        return if path == "/oauth2/v1/token" { "token" } else { "other" };
    };
    let segments: Vec<&str> = rest.split('/').filter(|s| !s.is_empty()).collect();
    match segments.as_slice() {
        ["apps", _] => "apps/{id}",
        ["apps", ..] => "apps",
        ["groups", "rules"] => "groups",
        ["groups", _] => "groups/{id}",
        ["groups", ..] => "groups",
        ["users", _] => "users/{id}",
        ["users", ..] => "users",
        _ => "other",
    }
}

/// What the headers of an answer tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) reset: u64,
    pub(super) admitted: bool,
}

/// The windows that are open.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) limits: Limits,
    open: BTreeMap<&'static str, (Instant, u32)>,
    refused: usize,
}

impl Windows {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, open: BTreeMap::new(), refused: 0 }
    }

    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// Takes one request from a bucket.
    pub(super) fn take(&mut self, bucket: &'static str, now: SystemTime) -> Reading {
        let limit = self.limits.buckets.get(bucket).copied().unwrap_or(self.limits.default);
        let window = self.open.entry(bucket).or_insert_with(|| (Instant::now(), 0));
        if window.0.elapsed() >= self.limits.window {
            *window = (Instant::now(), 0);
        }
        let ends = now + self.limits.window.saturating_sub(window.0.elapsed());
        let admitted = window.1 < limit;
        if admitted {
            window.1 += 1;
        } else {
            self.refused += 1;
        }
        let used = window.1;
        Reading { limit, remaining: limit.saturating_sub(used), reset: epoch_ceil(ends), admitted }
    }

    /// Refuses a request because too many are under way: Okta then says that the limit is 0, and only guesses the reset.
    pub(super) fn crowded(&mut self, now: SystemTime) -> Reading {
        self.refused += 1;
        Reading { limit: 0, remaining: 0, reset: epoch_ceil(now + Duration::from_secs(1)), admitted: false }
    }
}

fn epoch_ceil(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_members_share_a_bucket_and_single_objects_have_their_own() {
        let cases = [
            ("/api/v1/users", "users"),
            ("/api/v1/users/00u1", "users/{id}"),
            ("/api/v1/users/00u1/groups", "users"),
            ("/api/v1/groups", "groups"),
            ("/api/v1/groups/00g1", "groups/{id}"),
            ("/api/v1/groups/00g1/users", "groups"),
            ("/api/v1/apps/0oa1", "apps/{id}"),
            ("/api/v1/apps/0oa1/users/00u1", "apps"),
            ("/oauth2/v1/token", "token"),
            ("/api/v1/logs", "other"),
        ];
        for (path, expected) in cases {
            assert_eq!(bucket(path), expected, "{path}");
        }
    }

    #[test]
    fn a_window_opens_with_its_first_request_and_ends_a_window_later() {
        let limits = Limits { default: 2, window: Duration::from_millis(40), ..Limits::default() };
        let mut windows = Windows::new(limits);
        let now = SystemTime::now();
        assert_eq!(windows.take("users", now).remaining, 1);
        assert!(windows.take("users", now).admitted);
        let refused = windows.take("users", now);
        assert_eq!((refused.admitted, refused.remaining, windows.refused()), (false, 0, 1));
        assert!(windows.take("groups", now).admitted, "buckets are apart");
        let opened = Instant::now();
        while opened.elapsed() < Duration::from_millis(41) {
            std::thread::yield_now();
        }
        assert!(windows.take("users", now).admitted);
    }
}
