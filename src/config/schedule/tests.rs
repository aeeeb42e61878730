//! A schedule fires when the clock on the wall says so, also on the two days of the year when that clock jumps.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Europe::Berlin;
use chrono_tz::Tz;
use proptest::prelude::*;

use super::{Rhythm, Schedule};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("the test writes a moment")
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").expect("the test writes a time")
}

fn schedule(rhythm: Rhythm, zone: Tz) -> Schedule {
    Schedule::new(rhythm, zone, Duration::ZERO).expect("the test's schedule is right")
}

fn daily(times: &[&str]) -> Rhythm {
    Rhythm::Daily(times.iter().map(|t| time(t)).collect())
}

/// The next moments on the wall of Berlin.
fn next(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    let mut moment = at(after);
    let mut moments = Vec::new();
    for _ in 0..count {
        moment = schedule.next(moment, 0).expect("the schedule goes on");
        moments.push(moment.with_timezone(&Berlin).format("%d.%m. %H:%M %z").to_string());
    }
    moments
}

#[test]
fn a_daily_time_is_right_over_both_changes_of_the_clock() {
    let daily = schedule(daily(&["06:30"]), Berlin);
    let spring = next(&daily, "2027-03-27T00:00:00Z", 3);
    assert_eq!(spring, ["27.03. 06:30 +0100", "28.03. 06:30 +0200", "29.03. 06:30 +0200"]);
    let autumn = next(&daily, "2026-10-24T00:00:00Z", 3);
    assert_eq!(autumn, ["24.10. 06:30 +0200", "25.10. 06:30 +0100", "26.10. 06:30 +0100"]);
}

#[test]
fn a_time_in_the_gap_of_spring_fires_once_when_the_gap_ends() {
    let nightly = schedule(daily(&["02:30"]), Berlin);
    let moments = next(&nightly, "2027-03-27T00:00:00Z", 3);
    assert_eq!(moments, ["27.03. 02:30 +0100", "28.03. 03:00 +0200", "29.03. 02:30 +0200"]);
}

#[test]
fn a_time_that_autumn_repeats_fires_once() {
    let nightly = schedule(daily(&["02:30"]), Berlin);
    let moments = next(&nightly, "2026-10-24T00:00:00Z", 3);
    assert_eq!(moments, ["24.10. 02:30 +0200", "25.10. 02:30 +0200", "26.10. 02:30 +0100"]);
    let within = next(&nightly, "2026-10-25T01:10:00Z", 1);
    assert_eq!(within, ["26.10. 02:30 +0100"], "02:10 by the second clock is after the one run of that night");
}

#[test]
fn twice_a_day_is_twice_on_the_days_of_change_too() {
    let twice = schedule(daily(&["02:00", "14:00"]), Berlin);
    let spring = next(&twice, "2027-03-28T00:00:00Z", 3);
    assert_eq!(spring, ["28.03. 03:00 +0200", "28.03. 14:00 +0200", "29.03. 02:00 +0200"]);
    let autumn = next(&twice, "2026-10-24T23:00:00Z", 3);
    assert_eq!(autumn, ["25.10. 02:00 +0200", "25.10. 14:00 +0100", "26.10. 02:00 +0100"]);
    let written = schedule(Rhythm::Cron("0 2,14 * * *".into()), Berlin);
    assert_eq!(next(&written, "2027-03-28T00:00:00Z", 3), spring);
    assert_eq!(next(&written, "2026-10-24T23:00:00Z", 3), autumn);
}

#[test]
fn an_hourly_job_runs_in_both_of_the_repeated_hours() {
    let hourly = schedule(Rhythm::Hourly, Berlin);
    let moments = next(&hourly, "2026-10-24T23:30:00Z", 3);
    assert_eq!(moments, ["25.10. 02:00 +0200", "25.10. 02:00 +0100", "25.10. 03:00 +0100"]);
}

#[test]
fn a_weekly_job_runs_on_its_day() {
    let weekly = schedule(Rhythm::Weekly(Weekday::Sun, vec![time("03:00")]), Berlin);
    assert_eq!(next(&weekly, "2027-03-22T00:00:00Z", 2), ["28.03. 03:00 +0200", "04.04. 03:00 +0200"]);
}

#[test]
fn an_interval_is_aligned_to_the_wall_and_not_to_the_start() {
    let quarter = schedule(Rhythm::Every(Duration::from_secs(900)), Berlin);
    assert_eq!(next(&quarter, "2026-06-01T10:07:12.5Z", 2), ["01.06. 12:15 +0200", "01.06. 12:30 +0200"]);
    let day = schedule(Rhythm::Every(Duration::from_secs(86_400)), Berlin);
    assert_eq!(next(&day, "2027-03-27T12:00:00Z", 2), ["28.03. 00:00 +0100", "29.03. 00:00 +0200"]);
    let six = schedule(Rhythm::Every(Duration::from_secs(21_600)), Berlin);
    assert_eq!(next(&six, "2026-10-24T22:30:00Z", 2), ["25.10. 06:00 +0100", "25.10. 12:00 +0100"]);
    let second = schedule(Rhythm::Every(Duration::from_secs(1)), Tz::UTC);
    assert_eq!(second.next(at("2026-01-01T00:00:00.25Z"), 9), Some(at("2026-01-01T00:00:01Z")));
}

#[test]
fn day_of_month_and_day_of_week_are_alternatives() {
    let either = schedule(Rhythm::Cron("0 6 1 * MON".into()), Tz::UTC);
    let first = either.next(at("2026-12-28T12:00:00Z"), 0);
    assert_eq!(first, Some(at("2027-01-01T06:00:00Z")));
    assert_eq!(either.next(at("2027-01-01T12:00:00Z"), 0), Some(at("2027-01-04T06:00:00Z")));
}

#[test]
fn a_date_that_never_comes_is_refused() {
    let never = Schedule::new(Rhythm::Cron("0 6 30 2 *".into()), Tz::UTC, Duration::ZERO);
    assert_eq!(never.expect_err("there is no 30 February"), "it never fires");
}

#[test]
fn jitter_is_constant_for_a_job_and_never_skips_a_run() {
    let jitter = Duration::from_secs(300);
    let late = Schedule::new(daily(&["06:30"]), Berlin, jitter).expect("it is right");
    let punctual = schedule(daily(&["06:30"]), Berlin);
    let due = punctual.next(at("2026-06-01T00:00:00Z"), 0).expect("it goes on");
    let first = late.next(at("2026-06-01T00:00:00Z"), 42).expect("it goes on");
    let lateness = first - due;
    assert!(lateness >= TimeDelta::zero() && lateness <= TimeDelta::seconds(300), "{lateness}");
    assert_eq!(late.next(first, 42), Some(first + TimeDelta::days(1)));
    assert_eq!(late.next(first - TimeDelta::milliseconds(1), 42), Some(first));
    assert!(Schedule::new(Rhythm::Hourly, Berlin, Duration::from_secs(3600)).is_err());
}

#[test]
fn a_schedule_says_itself_in_words() {
    assert_eq!(schedule(daily(&["06:30", "18:30"]), Berlin).to_string(), "daily at 06:30 and 18:30 (Europe/Berlin)");
    assert_eq!(schedule(Rhythm::Every(Duration::from_secs(900)), Berlin).to_string(), "every 15m");
}

fn rhythms() -> impl Strategy<Value = Rhythm> {
    let clock = (0u32..24, 0u32..60).prop_map(|(h, m)| NaiveTime::from_hms_opt(h, m, 0).expect("it is a time"));
    prop_oneof![
        (1u64..700_000).prop_map(|s| Rhythm::Every(Duration::from_secs(s))),
        Just(Rhythm::Hourly),
        prop::collection::vec(clock.clone(), 1..4).prop_map(Rhythm::Daily),
        clock.prop_map(|time| Rhythm::Weekly(Weekday::Fri, vec![time])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// Whatever the zone and the moment: the next run lies ahead, nothing lies between, and it does not depend on where
    /// the search began.
    #[test]
    fn the_next_run_lies_ahead_and_is_the_same_from_anywhere_before_it(
        rhythm in rhythms(), zone in 0usize..chrono_tz::TZ_VARIANTS.len(), second in 0i64..2_000_000_000, seed: u64, part in 1i64..1000,
    ) {
        let schedule = schedule(rhythm, chrono_tz::TZ_VARIANTS[zone]);
        let after = DateTime::from_timestamp(second, 0).expect("it is a moment");
        let next = schedule.next(after, seed).expect("it goes on");
        prop_assert!(next > after);
        let between = after + TimeDelta::milliseconds((next - after).num_milliseconds() * part / 1000);
        prop_assert_eq!(schedule.next(between.min(next - TimeDelta::milliseconds(1)), seed), Some(next));
    }
}
