//! Backoff: from the number of attempts to a delay. The caller brings the randomness, so that tests can bring their own.

use std::time::Duration;

/// Exponential backoff with full jitter and a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// A backoff whose first delay is at most `base`, and no delay is over `ceiling`. `None` if `base` is zero or over
    /// the ceiling.
    pub fn new(base: Duration, ceiling: Duration) -> Option<Self> {
        (!base.is_zero() && base <= ceiling).then_some(Self { base, ceiling })
    }

    /// The delay after the given number of failed attempts (1 is the first), for a draw from 0.0 to 1.0.
    /// Never under a tenth of the full delay: a delay of almost nothing is no delay.
    pub fn delay(&self, attempts: u32, draw: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(30);
        let full = self.base.saturating_mul(1 << doublings).min(self.ceiling);
        full.mul_f64(draw.clamp(0.1, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stop_at_the_ceiling() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).expect("valid");
        assert_eq!(backoff.delay(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff.delay(4, 1.0), Duration::from_secs(8));
        assert_eq!(backoff.delay(400, 1.0), Duration::from_secs(60));
        assert_eq!(backoff.delay(1, 0.0), Duration::from_millis(100));
        assert_eq!(Backoff::new(Duration::ZERO, Duration::from_secs(1)), None);
        assert_eq!(Backoff::new(Duration::from_secs(2), Duration::from_secs(1)), None);
    }
}
