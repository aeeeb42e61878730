//! A schedule as written: a word, an interval, or a table that says more.

use std::time::Duration;

use chrono::{NaiveTime, Timelike, Weekday};
use chrono_tz::Tz;

use super::{Rhythm, SHORTEST, Schedule};
use crate::config::forms::{OneOrMany, WordOrTable};
use crate::config::raw;
use crate::config::scribe::Scribe;
use crate::contract::settings::near;
use crate::contract::settings::path::KeyPath;

const WORDS: [&str; 4] = ["hourly", "daily", "twice_daily", "weekly"];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What may stand for `every`.
enum Word {
    Hourly,
    Daily,
    TwiceDaily,
    Weekly,
    Interval(Duration),
}

/// Checks a schedule. `None` if it is not one, which is then among the findings.
pub(in crate::config) fn check(
    scribe: &mut Scribe<'_>,
    path: &KeyPath,
    raw: WordOrTable<raw::Schedule>,
    zone: Tz,
) -> Option<Schedule> {
    match raw {
        WordOrTable::Word(text) => {
            let table = raw::Schedule { every: Some(text), ..raw::Schedule::default() };
            let rhythm = by_word(scribe, path, path, table)?;
            made(scribe, path, rhythm, zone, Duration::ZERO)
        }
        WordOrTable::Table(table) => check_table(scribe, path, table, zone),
    }
}

fn check_table(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Schedule, zone: Tz) -> Option<Schedule> {
    let zone = scribe.timezone(&path.key("timezone"), raw.timezone.as_deref(), zone);
    let jitter = scribe.duration(&path.key("jitter"), raw.jitter.as_deref(), Duration::ZERO);
    match (raw.every.is_some(), raw.cron.is_some()) {
        (true, false) => {
            let rhythm = by_word(scribe, path, &path.key("every"), raw)?;
            made(scribe, &path.key("every"), rhythm, zone, jitter)
        }
        (false, true) => {
            let rhythm = by_cron(scribe, path, &raw)?;
            made(scribe, &path.key("cron"), rhythm, zone, jitter)
        }
        (true, true) => {
            scribe.error_at_key(path, "a schedule has `every` or `cron`, not both", None);
            None
        }
        (false, false) => {
            let hint = r#"write { every = "daily", at = "06:30" } or { cron = "30 6 * * *" }"#.to_owned();
            scribe.error_at_key(path, "a schedule needs `every` or `cron`", hint);
            None
        }
    }
}

fn made(scribe: &mut Scribe<'_>, at: &KeyPath, rhythm: Rhythm, zone: Tz, jitter: Duration) -> Option<Schedule> {
    match Schedule::new(rhythm, zone, jitter) {
        Ok(schedule) => Some(schedule),
        Err(why) => {
            let cron = at.last_key() == Some("cron");
            let hint = cron.then(|| "the fields are minute, hour, day of month, month, day of week".to_owned());
            scribe.error(at, format!("the schedule cannot be used: {why}"), hint);
            None
        }
    }
}

fn by_cron(scribe: &mut Scribe<'_>, path: &KeyPath, raw: &raw::Schedule) -> Option<Rhythm> {
    for (key, given) in [("at", raw.at.is_some()), ("weekday", raw.weekday.is_some())] {
        if given {
            scribe.error_at_key(&path.key(key), format!("`{key}` does not go with `cron`"), None);
        }
    }
    let text = raw.cron.clone()?;
    let fields = text.split_whitespace().count();
    if fields == 6 || fields == 7 {
        let hint = "leave the seconds out: minute, hour, day of month, month, day of week".to_owned();
        scribe.error(&path.key("cron"), format!("a cron expression has five fields, this one has {fields}"), hint);
        return None;
    }
    Some(Rhythm::Cron(text))
}

fn by_word(scribe: &mut Scribe<'_>, table: &KeyPath, at: &KeyPath, raw: raw::Schedule) -> Option<Rhythm> {
    let raw::Schedule { every, cron: _, at: times, weekday, timezone: _, jitter: _ } = raw;
    let word = word(scribe, at, &every.unwrap_or_default())?;
    if weekday.is_some() && !matches!(word, Word::Weekly) {
        scribe.error_at_key(&table.key("weekday"), "`weekday` goes with `weekly` alone", None);
    }
    let mut at_times = |defaults: &[u32]| check_times(scribe, &table.key("at"), times.as_ref(), defaults);
    match word {
        Word::Hourly | Word::Interval(_) if times.is_some() => {
            let hint = r#"for another minute of the hour write { cron = "15 * * * *" }"#.to_owned();
            scribe.error_at_key(&table.key("at"), "`at` goes with daily, twice_daily and weekly alone", hint);
            None
        }
        Word::Hourly => Some(Rhythm::Hourly),
        Word::Interval(interval) => Some(Rhythm::Every(interval)),
        Word::Daily => Some(Rhythm::Daily(at_times(&[3])?)),
        Word::TwiceDaily => {
            let times = at_times(&[3, 15])?;
            if times.len() != 2 {
                let hint = r#"write at = ["06:30", "18:30"]"#.to_owned();
                scribe.error(&table.key("at"), format!("twice_daily needs two times, found {}", times.len()), hint);
                return None;
            }
            Some(Rhythm::Daily(times))
        }
        Word::Weekly => {
            let times = at_times(&[3])?;
            let day = weekday.map_or(Some(Weekday::Mon), |day| check_day(scribe, &table.key("weekday"), &day))?;
            Some(Rhythm::Weekly(day, times))
        }
    }
}

fn word(scribe: &mut Scribe<'_>, at: &KeyPath, text: &str) -> Option<Word> {
    match text {
        "hourly" => return Some(Word::Hourly),
        "daily" => return Some(Word::Daily),
        "twice_daily" => return Some(Word::TwiceDaily),
        "weekly" => return Some(Word::Weekly),
        _ => {}
    }
    match humantime::parse_duration(text) {
        Ok(interval) if interval < SHORTEST => {
            scribe.error(at, format!("{text:?} is too often"), "the shortest interval is \"1s\"".to_owned());
            None
        }
        Ok(interval) if interval > Duration::from_secs(366 * 24 * 3600) => {
            scribe.error(at, format!("{text:?} is longer than a year"), None);
            None
        }
        Ok(interval) => Some(Word::Interval(interval)),
        Err(_) => {
            let hint = match near::nearest(text, WORDS) {
                _ if text.contains('*') || text.split_whitespace().count() >= 5 => {
                    format!("a cron expression is written {{ cron = {text:?} }}")
                }
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write {}, or an interval such as \"15m\"", WORDS.join(", ")),
            };
            scribe.error(at, format!("unknown schedule {text:?}"), hint);
            None
        }
    }
}

fn check_times(scribe: &mut Scribe<'_>, at: &KeyPath, times: Option<&OneOrMany>, defaults: &[u32]) -> Option<Vec<NaiveTime>> {
    let Some(times) = times else {
        return defaults.iter().map(|hour| NaiveTime::from_hms_opt(*hour, 0, 0)).collect();
    };
    let mut read = Vec::new();
    for (index, text) in times.texts.iter().enumerate() {
        let place = if times.listed { at.index(index) } else { at.clone() };
        match time_of_day(text) {
            Some(time) if read.contains(&time) => scribe.error(&place, format!("{text:?} is there twice"), None),
            Some(time) => read.push(time),
            None => {
                let hint = r#"write hours and minutes, such as "06:30""#.to_owned();
                scribe.error(&place, format!("{text:?} is not a time of day"), hint);
            }
        }
    }
    if times.texts.is_empty() {
        scribe.error(at, "the list of times is empty", "leave the key out for the default".to_owned());
    }
    read.sort();
    (read.len() == times.texts.len() && !read.is_empty()).then_some(read)
}

/// Hours and minutes; seconds only if they are zero, as TOML writes a time without quotes.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let time = NaiveTime::parse_from_str(text, "%H:%M").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S")).ok()?;
    (time.second() == 0 && time.nanosecond() == 0).then_some(time)
}

fn check_day(scribe: &mut Scribe<'_>, at: &KeyPath, text: &str) -> Option<Weekday> {
    let day = text.parse().ok();
    if day.is_none() {
        let hint = near::advise(text, DAYS);
        scribe.error(at, format!("{text:?} is not a day of the week"), hint);
    }
    day
}
