//! When a job runs, as plain data and one pure function of it: which moment comes next after a given one.
//!
//! Times of day are times on the wall of a zone, and right over changes of the clock: a time that the spring leaves out
//! fires once, at the moment the gap ends; a time that the autumn repeats fires once, at its first. For that, each time of
//! day is a cron expression of its own: croner, as crontab does, takes a list of hours for a wildcard, which the spring
//! skips and the autumn repeats. Intervals and wildcards run in both of the repeated hours, as they should.

pub(super) mod written;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, Offset, SubsecRound, TimeDelta, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The shortest interval.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// The rhythm of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// At multiples of an interval since midnight of 1970-01-01 on the wall of the zone, so that a restart shifts nothing.
    Every(Duration),
    /// At the full hour.
    Hourly,
    /// Every day at these times; at least one.
    Daily(Vec<NaiveTime>),
    /// Every week on this day at these times; at least one.
    Weekly(Weekday, Vec<NaiveTime>),
    /// By a cron expression of five fields.
    Cron(String),
}

/// When a job runs. It is known to have a next moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    rhythm: Rhythm,
    timezone: Tz,
    jitter: Duration,
    specs: Vec<Cron>,
}

impl Schedule {
    /// Makes a schedule. `jitter` is the longest lateness; by how much of it a job is late depends on its seed alone.
    ///
    /// # Errors
    /// Why there is no such schedule, for a person: an expression that does not parse or never fires, an interval that is
    /// too short, a jitter that would pass the next moment.
    pub fn new(rhythm: Rhythm, timezone: Tz, jitter: Duration) -> Result<Self, String> {
        let specs = specs(&rhythm)?;
        let schedule = Self { rhythm, timezone, jitter, specs };
        let Some(first) = schedule.due_after(DateTime::UNIX_EPOCH) else {
            return Err("it never fires".into());
        };
        let gap = schedule.due_after(first).map(|second| second - first);
        match gap.and_then(|gap| gap.to_std().ok()) {
            Some(gap) if schedule.jitter >= gap => Err(format!(
                "the jitter of {} is not shorter than the {} from one run to the next",
                humantime::format_duration(schedule.jitter),
                humantime::format_duration(gap)
            )),
            _ => Ok(schedule),
        }
    }

    /// The rhythm.
    pub fn rhythm(&self) -> &Rhythm {
        &self.rhythm
    }

    /// The zone on whose wall the times are.
    pub fn timezone(&self) -> Tz {
        self.timezone
    }

    /// The longest lateness.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// The first moment after the given one. The same seed is always late by the same time.
    pub fn next(&self, after: DateTime<Utc>, seed: u64) -> Option<DateTime<Utc>> {
        let late = self.lateness(seed);
        // Searched from the undelayed past, so that a late moment does not hide behind its own slot.
        self.due_after(after.checked_sub_signed(late)?)?.checked_add_signed(late)
    }

    fn lateness(&self, seed: u64) -> TimeDelta {
        let span = self.jitter.as_secs().saturating_add(1);
        TimeDelta::seconds(i64::try_from(spread(seed) % span).unwrap_or(0))
    }

    fn due_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if let Rhythm::Every(interval) = &self.rhythm {
            return next_multiple(*interval, after, self.timezone);
        }
        // Whole seconds: every moment of a cron expression is one, and the search is for a later one.
        let after = after.trunc_subsecs(0).with_timezone(&self.timezone);
        let found = self.specs.iter().filter_map(|spec| spec.find_next_occurrence(&after, false).ok());
        found.map(|moment| moment.with_timezone(&Utc)).min()
    }
}

/// Mixes a seed, so that neighbouring seeds lie far apart (the finaliser of SplitMix64).
fn spread(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The first moment after the given one whose time on the wall is a multiple of the interval.
fn next_multiple(interval: Duration, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let interval = i64::try_from(interval.as_millis()).ok().filter(|interval| *interval > 0)?;
    let offset = |at: DateTime<Utc>| i64::from(at.with_timezone(&zone).offset().fix().local_minus_utc()) * 1000;
    let multiple = |offset: i64| {
        let wall = after.timestamp_millis() + offset;
        DateTime::from_timestamp_millis((wall.div_euclid(interval) + 1) * interval - offset)
    };
    let first = multiple(offset(after))?;
    let then = offset(first);
    if then == offset(after) {
        return Some(first);
    }
    // The clock changes in between, that is, within one interval: by the new clock the moment is the first multiple, or,
    // if the change is yet to come at that one, the second.
    let moment = multiple(then)?;
    if offset(moment) != then {
        return moment.checked_add_signed(TimeDelta::milliseconds(interval));
    }
    Some(moment)
}

fn specs(rhythm: &Rhythm) -> Result<Vec<Cron>, String> {
    let at = |times: &[NaiveTime], days: &str| -> Result<Vec<Cron>, String> {
        times.iter().map(|time| parse(&format!("{} {} * * {days}", time.minute(), time.hour()))).collect()
    };
    match rhythm {
        Rhythm::Every(interval) if *interval < SHORTEST => Err("the shortest interval is 1s".into()),
        Rhythm::Every(_) => Ok(Vec::new()),
        Rhythm::Hourly => Ok(vec![parse("0 * * * *")?]),
        Rhythm::Daily(times) => at(times, "*"),
        Rhythm::Weekly(day, times) => at(times, &day.num_days_from_sunday().to_string()),
        Rhythm::Cron(text) => cron(text),
    }
}

/// A written expression. A plain list of minutes and hours is taken apart into single times, for the reason above.
fn cron(text: &str) -> Result<Vec<Cron>, String> {
    let whole = parse(text)?;
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else { return Ok(vec![whole]) };
    let numbers = |field: &str| field.split(',').map(|n| n.parse::<u32>().ok()).collect::<Option<Vec<_>>>();
    let (Some(minutes), Some(hours)) = (numbers(minutes), numbers(hours)) else { return Ok(vec![whole]) };
    let mut single = Vec::new();
    for hour in &hours {
        for minute in &minutes {
            single.push(parse(&format!("{minute} {hour} {days} {months} {weekdays}"))?);
        }
    }
    Ok(single)
}

fn parse(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| error.to_string().trim_end_matches('.').to_owned())
}

/// The English word for a weekday.
fn day_word(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "monday",
        Weekday::Tue => "tuesday",
        Weekday::Wed => "wednesday",
        Weekday::Thu => "thursday",
        Weekday::Fri => "friday",
        Weekday::Sat => "saturday",
        Weekday::Sun => "sunday",
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock =
            |times: &[NaiveTime]| times.iter().map(|time| time.format("%H:%M").to_string()).collect::<Vec<_>>().join(" and ");
        match &self.rhythm {
            Rhythm::Every(interval) => return write!(f, "every {}", humantime::format_duration(*interval)),
            Rhythm::Hourly => return f.write_str("hourly"),
            Rhythm::Daily(times) => write!(f, "daily at {}", clock(times))?,
            Rhythm::Weekly(day, times) => write!(f, "weekly on {} at {}", day_word(*day), clock(times))?,
            Rhythm::Cron(text) => write!(f, "cron {text}")?,
        }
        write!(f, " ({})", self.timezone.name())
    }
}

#[cfg(test)]
mod tests;
