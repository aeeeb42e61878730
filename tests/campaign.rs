//! The campaign: whole sites live for weeks under everything that goes wrong, and an observer who knows the truth looks on.
//!
//! A site is a source, three targets, a real state file and the real engine. From day to day people come, move and leave, names
//! are swapped, somebody works at the targets by hand, the operator approves, rejects, undoes, adopts, releases and changes the
//! groups of the configuration. Meanwhile requests fail before and after their effect, systems are down for days, the source's
//! listing lies or is empty, a target goes on showing what it held before a write, the state file cannot be written, the process
//! dies at any request or write, be it in a run, a retry or an act of the operator, the clock jumps, and two processes run at once.
//!
//! Whatever happens: nobody whom the source entitles loses access, nobody's stranger is touched, nobody is taken out of a group
//! who was put there by another hand, and every difference is in the journal.
//!
//! Then the faults cease, the operator lets everything go and says yes to what waits. Where nothing holds anything back two runs
//! bring everything in order, a few more where a grace must pass first or where deleted accounts free their names, and the next
//! one says that there is nothing to do; with limits and expectations in the way it is at rest within eight. Everybody has what
//! is due then, nothing is withheld or queued, and the journal is as it was written.
//!
//! Everything is drawn from a seed. A seed that fails is cut down, event by event, to a short script, which is printed and can
//! be kept in `scripts.rs`. `ROSTERD_SEEDS=20000` tries that many (`--profile long` makes that three times as fast); `ROSTERD_SEED=7` tries one.

#[path = "faults/brittle.rs"]
#[allow(dead_code, reason = "only a part of it is used here")]
mod brittle;
#[path = "campaign/course.rs"]
mod course;
#[path = "laws/land.rs"]
#[allow(dead_code, reason = "only a part of it is used here")]
mod land;
#[path = "campaign/observer.rs"]
mod observer;
#[path = "campaign/operator.rs"]
mod operator;
#[path = "laws/orders.rs"]
#[allow(dead_code, reason = "only a part of it is used here")]
mod orders;
#[path = "campaign/promises.rs"]
mod promises;
#[path = "campaign/properties.rs"]
mod properties;
#[path = "campaign/script.rs"]
mod script;
#[path = "campaign/scripts.rs"]
mod scripts;
#[path = "campaign/systems.rs"]
mod systems;
#[path = "laws/truth.rs"]
#[allow(dead_code, reason = "only a part of it is used here")]
mod truth;

use std::sync::atomic::{AtomicU64, Ordering};

use course::{BESIDE_SICK, SHOWN, play, played};
use script::{Script, shrunk};

/// A seed that fails must fail again when it is looked at.
#[test]
fn a_script_plays_the_same_each_time() {
    let mut told = 0;
    for seed in 0..12 {
        let script = Script::of(seed);
        let one = played(&script);
        let again = played(&script);
        let first = first_difference(one.as_ref(), again.as_ref());
        assert!(one == again, "{script:?} has played differently: {first:#?}");
        told += one.map_or(0, |ending| ending.lines().count());
    }
    assert!(told > 100, "something came of it: {told} lines");
}

/// The first line in which two courses differ.
fn first_difference<'a>(one: Result<&'a String, &'a String>, again: Result<&'a String, &'a String>) -> [&'a str; 2] {
    let (Ok(one) | Err(one), Ok(again) | Err(again)) = (one, again);
    let longest = one.lines().count().max(again.lines().count());
    let pairs = one.lines().chain(std::iter::repeat("")).zip(again.lines().chain(std::iter::repeat("")));
    let (one, again) = pairs.take(longest).find(|(one, again)| one != again).unwrap_or(("one fails", "the other does not"));
    [one, again]
}

/// How many seeds are tried unless the environment says otherwise.
const SEEDS: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn nobody_loses_what_the_source_entitles_them_to_whatever_goes_wrong() {
    let seeds = match number("ROSTERD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROSTERD_SEEDS").unwrap_or(SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<(Script, String)> = std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= seeds.end {
                    return None;
                }
                let script = Script::of(seed);
                if let Err(why) = play(&script) {
                    // Whoever fails first is enough: the others stop.
                    next.store(seeds.end, Ordering::SeqCst);
                    return Some((script, why));
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("the rig itself does not fail")).collect()
    });
    if let Some((script, why)) = failed.into_iter().next() {
        let (short, still) = shrunk(script, why, play);
        panic!("{short:?} fails: {still}");
    }
    if number("ROSTERD_SEED").is_none() && seeds.end >= SEEDS {
        let (shown, beside) = (SHOWN.load(Ordering::Relaxed), BESIDE_SICK.load(Ordering::Relaxed));
        assert!(
            shown > 300 && beside > 60,
            "what is promised was tried: {shown} plans, {beside} runs beside a target that was down"
        );
    }
}
