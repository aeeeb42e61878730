//! A script: what happens on which day of a site's life, all of it by a seed; and how one that fails is cut down.

use std::collections::BTreeSet;

use fastrand::Rng;

/// What can happen on a day besides the daily run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// People come, move and leave.
    Life,
    /// Somebody works at a target by hand.
    Hands,
    /// Requests fail.
    Weather,
    /// Systems are down for three days.
    Down,
    /// The source's listing is empty, has holes, or is of yesterday.
    Lies,
    /// After a write a target goes on showing for some readings what it held before.
    Lag,
    /// The process dies at a request.
    Death,
    /// The state file cannot be written or is locked, or the process dies at a write to it.
    Disk,
    /// Two processes run at once.
    Pair,
    /// The clock jumps.
    Jump,
    /// The operator does something.
    Operator,
    /// The configuration changes.
    Reload,
    /// Single subjects are tried again.
    Retry,
    /// The process dies while the operator or a retry is at work.
    Abort,
    /// Limits, protections and expectations hold things back, all the time.
    Guards,
}

/// All of them.
pub const EVENTS: [Event; 15] = [
    Event::Life,
    Event::Hands,
    Event::Weather,
    Event::Down,
    Event::Lies,
    Event::Lag,
    Event::Death,
    Event::Disk,
    Event::Pair,
    Event::Jump,
    Event::Operator,
    Event::Reload,
    Event::Retry,
    Event::Abort,
    Event::Guards,
];

impl Event {
    /// One day in so many it happens.
    fn one_in(self) -> u32 {
        match self {
            Event::Life => 1,
            Event::Weather | Event::Guards => 2,
            Event::Hands | Event::Operator | Event::Retry | Event::Abort => 3,
            Event::Lies | Event::Lag => 4,
            Event::Death => 5,
            Event::Down | Event::Disk | Event::Pair => 6,
            Event::Jump => 8,
            Event::Reload => 10,
        }
    }

    /// The number of its draw for a day.
    fn day(self, day: u32) -> u32 {
        match self {
            // Three days in a row share their draw.
            Event::Down => day / 3,
            Event::Guards => 0,
            _ => day,
        }
    }
}

/// Randomness that is no event's: how much time passes, and which requests fail in which way.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    Hours = 0x80,
    Accidents,
    Fair,
}

/// A site's life, by its seed and by what is left out of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    pub seed: u64,
    pub days: u32,
    pub without: BTreeSet<Event>,
    /// On which days what does not happen either.
    pub spared: BTreeSet<(u32, Event)>,
}

/// As it can be pasted into `scripts.rs`.
impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let left: Vec<String> = EVENTS.iter().filter(|e| !self.without.contains(e)).map(|e| format!("Event::{e:?}")).collect();
        write!(f, "Script::of({}).days({}).with_only(&[{}])", self.seed, self.days, left.join(", "))?;
        let spared: Vec<String> = self.spared.iter().map(|(day, event)| format!("({day}, Event::{event:?})")).collect();
        if spared.is_empty() { Ok(()) } else { write!(f, ".but_not(&[{}])", spared.join(", ")) }
    }
}

impl Script {
    pub fn of(seed: u64) -> Self {
        Self { seed, days: 14, without: BTreeSet::new(), spared: BTreeSet::new() }
    }

    pub fn days(self, days: u32) -> Self {
        Self { days, ..self }
    }

    /// Nothing happens but this.
    pub fn with_only(self, events: &[Event]) -> Self {
        Self { without: EVENTS.into_iter().filter(|event| !events.contains(event)).collect(), ..self }
    }

    /// On these days these do not happen.
    pub fn but_not(self, spared: &[(u32, Event)]) -> Self {
        Self { spared: spared.iter().copied().collect(), ..self }
    }

    /// Randomness of its own for each event and stream of each day: what is left out changes nothing else, and what happens
    /// says nothing of what else does.
    fn rng(&self, day: u32, what: u64) -> Rng {
        let place = (u64::from(day) << 8 | what) + 1;
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        rng.u64(..);
        rng
    }

    /// Randomness that is no event's.
    pub fn stream(&self, day: u32, stream: Stream) -> Rng {
        self.rng(day, stream as u64)
    }

    /// What an event on a day is drawn from, if it happens then.
    pub fn happens(&self, day: u32, event: Event) -> Option<Rng> {
        let day = event.day(day);
        let mut rng = self.rng(day, event as u64);
        let spared = self.without.contains(&event) || self.spared.contains(&(day, event));
        (!spared && rng.u32(..event.one_in()) == 0).then_some(rng)
    }
}

/// The script, cut down as long as it still fails: fewer days, then without one event after the other, then fewer days again, and
/// what is left without one day's event after the other.
pub fn shrunk(mut script: Script, mut why: String, play: impl Fn(&Script) -> Result<(), String>) -> (Script, String) {
    let mut try_one = |shorter: Script, script: &mut Script| match play(&shorter) {
        Ok(()) => false,
        Err(still) => {
            (*script, why) = (shorter, still);
            true
        }
    };
    let fewer_days = |script: &mut Script, try_one: &mut dyn FnMut(Script, &mut Script) -> bool| {
        while script.days > 1 && try_one(script.clone().days(script.days - 1), script) {}
    };
    fewer_days(&mut script, &mut try_one);
    for event in EVENTS.into_iter().filter(|event| !script.without.contains(event)).collect::<Vec<_>>() {
        let mut without = script.without.clone();
        without.insert(event);
        try_one(Script { without, ..script.clone() }, &mut script);
    }
    fewer_days(&mut script, &mut try_one);
    for day in 0..script.days {
        for event in EVENTS.into_iter().filter(|event| script.happens(day, *event).is_some()).collect::<Vec<_>>() {
            let mut spared = script.spared.clone();
            spared.insert((event.day(day), event));
            try_one(Script { spared, ..script.clone() }, &mut script);
        }
    }
    (script, why)
}

/// Whatever can happen on one day happens together on some.
#[test]
fn any_two_events_come_to_happen_on_one_day() {
    let mut together: BTreeSet<(Event, Event)> = BTreeSet::new();
    for script in (0..100).map(Script::of) {
        for day in 0..script.days {
            let today: Vec<Event> = EVENTS.into_iter().filter(|event| script.happens(day, *event).is_some()).collect();
            together.extend(today.iter().flat_map(|one| today.iter().map(move |other| (*one, *other))));
        }
    }
    for one in EVENTS {
        for other in EVENTS {
            assert!(together.contains(&(one, other)), "{one:?} and {other:?} never happen on one day");
        }
    }
}

/// How often an event happens does not depend on the seed's neighbours or on the day.
#[test]
fn an_event_happens_as_often_as_it_should() {
    for event in EVENTS {
        let (seeds, days) = (400, 14);
        let happens = |seed: u64| (0..days).filter(|day| Script::of(seed).happens(*day, event).is_some()).count();
        let found = (0..seeds).map(happens).sum::<usize>() as f64;
        let expected = f64::from(days) * seeds as f64 / f64::from(event.one_in());
        assert!((found - expected).abs() <= expected * 0.15, "{event:?}: {found} times, {expected} were to be expected");
    }
}

/// Of what happens on many days only the day is left on which it matters.
#[test]
fn a_script_is_cut_down_to_the_days_that_make_it_fail() {
    let seed = (0..100).map(Script::of).find(|script| script.happens(4, Event::Hands).is_some()).expect("a seed");
    let play = |script: &Script| match script.happens(4, Event::Hands) {
        Some(_) => Err("on the fifth day".to_owned()),
        None => Ok(()),
    };
    let with_hands = Script::of(seed.seed).with_only(&[Event::Hands]);
    let enough = |script: &Script| if script.days > 4 { play(script) } else { Ok(()) };
    let (short, _) = shrunk(with_hands, "in the end".to_owned(), enough);
    let left: Vec<u32> = (0..short.days).filter(|day| short.happens(*day, Event::Hands).is_some()).collect();
    assert_eq!((short.days, left), (5, vec![4]));
    let spared: Vec<(u32, Event)> = short.spared.iter().copied().collect();
    let again = Script::of(seed.seed).days(5).with_only(&[Event::Hands]).but_not(&spared);
    assert_eq!(short, again, "what is printed is the script");
    let before: Vec<u32> = (0..4).filter(|day| seed.happens(*day, Event::Hands).is_some()).collect();
    assert_eq!(spared.into_iter().map(|(day, _)| day).collect::<Vec<_>>(), before);
}

/// What fails for two of its events and on its sixth day is cut down to just that.
#[test]
fn a_script_is_cut_down_to_what_makes_it_fail() {
    let culprits = [Event::Hands, Event::Death];
    let play = |script: &Script| {
        let whole = script.spared.is_empty() && culprits.iter().all(|event| !script.without.contains(event));
        let fails = script.days >= 6 && whole;
        if fails { Err(format!("with {} days", script.days)) } else { Ok(()) }
    };
    let (short, why) = shrunk(Script::of(3), "with 14 days".to_owned(), play);
    assert_eq!(short, Script::of(3).days(6).with_only(&culprits));
    assert_eq!(why, "with 6 days", "it is told how the short one fails");
    assert_eq!(format!("{short:?}"), "Script::of(3).days(6).with_only(&[Event::Hands, Event::Death])");
    assert_eq!(play(&short.clone().days(5)).and(play(&short.with_only(&culprits[..1]))), Ok(()), "nothing can be left out");
}
