//! Rate budgets: how many requests a system allows, by bucket, learnt from its own headers.

use std::time::Duration;

/// What the headers of an answer tell about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReading {
    /// A window: so many of so many requests are left until it ends.
    Window {
        /// Requests allowed in a window.
        limit: u32,
        /// Requests left.
        remaining: u32,
        /// Until the window ends, counted from the answer's own `Date`, never from the local clock.
        resets_in: Duration,
    },
    /// A token bucket: so many tokens are left of so many, and so many come back each interval.
    Tokens {
        /// The bucket's size.
        size: u32,
        /// Tokens left.
        remaining: u32,
        /// Tokens that come back each interval.
        refill: u32,
        /// The interval.
        interval: Duration,
    },
}
