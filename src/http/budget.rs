//! Rate budgets: how many requests a system allows, by bucket, learnt from its own headers.
//!
//! A [`Budget`] is one bucket as a value: it is told of grants and answers with the time, and says whether the next
//! request may go. It waits for nothing and asks no clock, so that every course of events can be played in a test; the
//! waiting is done around it.
//!
//! It errs on the side of the other users of the limit. What is under way counts as spent, since an answer may or may not
//! have counted it; of several answers about one window the lowest holds, since answers overtake each other; and while
//! nothing is known, one request goes ahead alone to find out.

use std::time::Duration;

use tokio::time::Instant;

use super::wall::LONGEST;

/// What the headers of an answer tell about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReading {
    /// A window: so many of so many requests are left until it ends. A limit of 0 stands for a limit of another sort,
    /// on requests at the same time: it is no window, and the request is tried again after a short while.
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

impl LimitReading {
    /// How long after this reading there is certainly room, where it tells of none now.
    pub(super) fn wait(&self) -> Option<Duration> {
        match *self {
            LimitReading::Window { limit, resets_in, .. } if limit > 0 && !resets_in.is_zero() => {
                Some(resets_in.min(LONGEST) + MARGIN)
            }
            LimitReading::Window { .. } => None,
            LimitReading::Tokens { refill, interval, .. } if refill > 0 && !interval.is_zero() => {
                Some((interval.min(LONGEST) / refill).max(MARGIN))
            }
            LimitReading::Tokens { .. } => None,
        }
    }
}

/// A window's end is told in whole seconds: it may be this much later than told.
const MARGIN: Duration = Duration::from_secs(1);
/// Ends that lie closer together than this are the same window's, told by answers that travelled for a different time.
const SAME: Duration = Duration::from_secs(2);

/// Whether the next request may go.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may. The grant must be given back by exactly one of [`Budget::answered`], [`Budget::lost`], [`Budget::unsent`].
    Go(Grant),
    /// Not before this time; asking earlier is of no use.
    After(Instant),
    /// Requests under way will tell; without news, ask again at this time if one is given.
    News(Option<Instant>),
}

/// A request that may go, or is under way.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a grant that is not given back counts as under way for ever"]
pub struct Grant {
    /// How many readings had been taken when it was granted.
    readings: u64,
    /// Whether it goes ahead alone.
    probe: bool,
}

/// What an answer tells beyond its reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The request was served or judged: had there been a limit, the headers would have told.
    Served,
    /// Someone on the way, or a system in distress, answered: its silence on limits means nothing.
    Distress,
    /// The request was over a limit.
    Limited,
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct Budget {
    share: f64,
    known: Known,
    under_way: u32,
    /// A request is under way to find out.
    probing: bool,
    closed_until: Option<Instant>,
    readings: u64,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    /// The system tells of no limit.
    NoLimit,
    Window {
        limit: u32,
        /// The lowest reading of this window, less what was lost since.
        remaining: u32,
        ends: Instant,
    },
    Tokens {
        size: u32,
        tokens: f64,
        at: Instant,
        per_second: f64,
    },
}

impl Budget {
    /// A bucket of which nothing is known, and of which this share (0.01 to 1.0) may be used.
    pub fn new(share: f64) -> Self {
        Self { share, known: Known::Nothing, under_way: 0, probing: false, closed_until: None, readings: 0 }
    }

    /// Asks for the next request.
    pub fn ask(&mut self, now: Instant) -> Turn {
        if let Some(until) = self.closed_until {
            if now < until {
                return Turn::After(until);
            }
            self.closed_until = None;
        }
        if matches!(self.known, Known::Window { ends, .. } if now >= ends + MARGIN) {
            self.known = Known::Nothing;
        }
        // What was told a day ago tells nothing: a bucket that is said to fill for months is asked again.
        if matches!(self.known, Known::Tokens { at, .. } if now >= at + LONGEST) {
            self.known = Known::Nothing;
        }
        match self.known {
            Known::NoLimit => self.grant(false),
            Known::Nothing if self.probing => Turn::News(None),
            Known::Nothing => self.grant(true),
            Known::Window { limit, remaining, ends } => {
                if remaining.saturating_sub(self.under_way) > self.kept(limit) {
                    return self.grant(false);
                }
                self.later(ends + MARGIN)
            }
            Known::Tokens { size, tokens, at, per_second } => {
                let needed = f64::from(self.kept(size)) + f64::from(self.under_way) + 1.0;
                let tokens = refilled(size, tokens, at, per_second, now);
                // A token that is all but there is there: rounding must not end in a wait of nothing.
                if tokens + 1e-6 >= needed {
                    return self.grant(false);
                }
                self.later(now + seconds((needed - tokens) / per_second))
            }
        }
    }

    /// How much of a limit is not ours to use.
    fn kept(&self, limit: u32) -> u32 {
        // The product of a share like 0.29 and 100 is a little under 29, and casts of floats saturate.
        let ours = (self.share * f64::from(limit) + 1e-9).floor() as u32;
        limit.saturating_sub(ours.max(1))
    }

    fn grant(&mut self, probe: bool) -> Turn {
        self.under_way += 1;
        self.probing |= probe;
        Turn::Go(Grant { readings: self.readings, probe })
    }

    fn later(&self, at: Instant) -> Turn {
        if self.under_way > 0 { Turn::News(Some(at)) } else { Turn::After(at) }
    }

    fn back(&mut self, grant: &Grant) {
        self.under_way = self.under_way.saturating_sub(1);
        if grant.probe {
            self.probing = false;
        }
    }

    /// An answer's headers have come.
    pub fn answered(&mut self, grant: Grant, now: Instant, reading: Option<LimitReading>, tone: Tone) {
        self.back(&grant);
        match reading {
            Some(LimitReading::Window { limit, remaining, resets_in }) if limit > 0 => {
                self.window(limit, remaining, now + resets_in.min(LONGEST));
            }
            Some(LimitReading::Tokens { size, remaining, refill, interval }) if size > 0 && refill > 0 && !interval.is_zero() => {
                let newer = grant.readings == self.readings;
                let per_second = f64::from(refill) / interval.min(LONGEST).as_secs_f64();
                self.tokens(size, f64::from(remaining.min(size)), now, per_second, newer);
            }
            Some(LimitReading::Window { .. } | LimitReading::Tokens { .. }) | None => match (self.known, tone) {
                (Known::Nothing, Tone::Served) => self.known = Known::NoLimit,
                // There is a limit after all, and nothing is known of it.
                (Known::NoLimit, Tone::Limited) => self.known = Known::Nothing,
                (Known::Nothing | Known::NoLimit, Tone::Served | Tone::Distress) | (Known::Nothing, Tone::Limited) => {}
                (Known::Window { .. } | Known::Tokens { .. }, Tone::Served | Tone::Distress | Tone::Limited) => self.spend_one(),
            },
        }
        if reading.is_some() {
            self.readings += 1;
        }
    }

    fn window(&mut self, limit: u32, remaining: u32, ends: Instant) {
        let remaining = remaining.min(limit);
        self.known = match self.known {
            Known::Window { remaining: before, ends: known, .. } if apart(known, ends) <= SAME => {
                // Each answer's estimate of the end is late by the time it travelled, so the earliest is the best.
                Known::Window { limit, remaining: remaining.min(before), ends: ends.min(known) }
            }
            // An answer of an earlier window that was overtaken.
            Known::Window { ends: known, .. } if ends < known => return,
            Known::Nothing | Known::NoLimit | Known::Window { .. } | Known::Tokens { .. } => {
                Known::Window { limit, remaining, ends }
            }
        };
    }

    fn tokens(&mut self, size: u32, told: f64, now: Instant, per_second: f64, newer: bool) {
        let tokens = match self.known {
            // Granted before the last reading was taken, so either may be the later word: the lower holds.
            Known::Tokens { size, tokens, at, per_second } if !newer => told.min(refilled(size, tokens, at, per_second, now)),
            Known::Tokens { .. } | Known::Nothing | Known::NoLimit | Known::Window { .. } => told,
        };
        self.known = Known::Tokens { size, tokens, at: now, per_second };
    }

    /// No answer came: the request may have been counted all the same.
    pub fn lost(&mut self, grant: Grant) {
        self.back(&grant);
        self.spend_one();
    }

    fn spend_one(&mut self) {
        match &mut self.known {
            Known::Window { remaining, .. } => *remaining = remaining.saturating_sub(1),
            Known::Tokens { tokens, .. } => *tokens = (*tokens - 1.0).max(0.0),
            Known::Nothing | Known::NoLimit => {}
        }
    }

    /// The request was not sent after all.
    pub fn unsent(&mut self, grant: Grant) {
        self.back(&grant);
    }

    /// Lets nothing go before this time. Afterwards one request goes ahead alone, unless more is known by then.
    pub fn close(&mut self, until: Instant) {
        self.closed_until = Some(self.closed_until.map_or(until, |known| known.max(until)));
        if matches!(self.known, Known::NoLimit) {
            self.known = Known::Nothing;
        }
    }

    /// How much of the limit is used as far as is known, by us and by others, in thousandths. `None` if there is no
    /// limit or none is known.
    pub fn used(&self) -> Option<u32> {
        let (limit, left) = match self.known {
            Known::Window { limit, remaining, .. } => (limit, f64::from(remaining)),
            Known::Tokens { size, tokens, .. } => (size, tokens),
            Known::Nothing | Known::NoLimit => return None,
        };
        Some((1000.0 * (1.0 - left / f64::from(limit.max(1)))).round() as u32)
    }

    /// When all of it is there again, unless somebody asks: from then on nothing is known of what is used.
    pub fn whole_at(&self) -> Option<Instant> {
        match self.known {
            Known::Window { ends, .. } => Some(ends + MARGIN),
            Known::Tokens { size, tokens, at, per_second } => {
                Some(at + seconds((f64::from(size) - tokens).max(0.0) / per_second))
            }
            Known::Nothing | Known::NoLimit => None,
        }
    }
}

fn refilled(size: u32, tokens: f64, at: Instant, per_second: f64, now: Instant) -> f64 {
    (tokens + per_second * now.saturating_duration_since(at).as_secs_f64()).min(f64::from(size))
}

fn apart(a: Instant, b: Instant) -> Duration {
    a.max(b).duration_since(a.min(b))
}

/// Rounded up to a whole millisecond, since timers count no finer.
fn seconds(value: f64) -> Duration {
    Duration::from_millis((value.min(LONGEST.as_secs_f64()) * 1000.0).ceil() as u64)
}
