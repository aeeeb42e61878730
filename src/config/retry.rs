//! How what failed for the moment is tried again.

use std::time::Duration;

use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;

/// How what failed for the moment is tried again: after `base`, then twice that and so on, up to `ceiling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many tries a subject gets before it is set aside; at least 1.
    pub attempts: u32,
    /// The first wait; not zero.
    pub base: Duration,
    /// The longest wait; not shorter than the first.
    pub ceiling: Duration,
}

/// Checks the settings of retries.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Retry) -> Retry {
    let raw::Retry { attempts, base, ceiling } = raw;
    let retry = Retry {
        attempts: attempts.unwrap_or(8),
        base: scribe.duration(&path.key("base"), base.as_deref(), Duration::from_secs(30)),
        ceiling: scribe.duration(&path.key("ceiling"), ceiling.as_deref(), Duration::from_secs(6 * 3600)),
    };
    if retry.attempts == 0 {
        scribe.error(&path.key("attempts"), "a subject needs at least one try", None);
    }
    if retry.base < Duration::from_secs(1) {
        scribe.error(&path.key("base"), "the first wait must be at least 1s", None);
    }
    if retry.ceiling < retry.base {
        let at = if scribe.layers.has(&path.key("ceiling")) { path.key("ceiling") } else { path.key("base") };
        scribe.error(&at, "the longest wait (`ceiling`) is shorter than the first (`base`)", None);
    }
    retry
}
