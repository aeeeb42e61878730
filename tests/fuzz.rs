//! What comes from outside, hostile: the seeds of the fuzz targets (`fuzz/`) and seeded mutations of them, through the same
//! functions. A short, repeatable stand-in for the fuzzer, which needs a compiler of its own; what that finds becomes a seed.

#[path = "../fuzz/drive/mod.rs"]
mod drive;

use std::path::Path;

use fastrand::Rng;

/// What turns a text into another one that a parser may trip over.
const WORDS: [&str; 34] = [
    "\n", "\n\n", "\"", "'", "\\", ",", ";", ":", "<", ">", "[", "]", "{", "}", "(", ")", "@", "..", "//", "%2e", "#", "$1", "*",
    "\0", "\u{feff}", "é", "İ", "null", "0", "-1", "18446744073709551615", "1e999", "next", "= ",
];

/// Tells the input at which a promise was broken.
struct Tell<'a>(&'a str, &'a [u8]);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a promise of {} was broken by {:?}", self.0, String::from_utf8_lossy(self.1));
        }
    }
}

/// Feeds the seeds of a target, and so many mutations of each.
fn feed(target: &str, mutations: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder of seeds").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a seed")).collect();
    assert!(seeds.len() >= 5, "the seeds of {target} are gone");
    let mut rng = Rng::with_seed(7);
    for seed in &seeds {
        let try_one = |input: &[u8]| {
            let _told = Tell(target, input);
            run(input);
        };
        try_one(seed);
        for _ in 0..mutations {
            let mut input = seed.clone();
            for _ in 0..rng.usize(1..=4) {
                mutate(&mut rng, &mut input, &seeds);
            }
            try_one(&input);
        }
    }
}

fn mutate(rng: &mut Rng, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.usize(0..=input.len());
    let end = (at + rng.usize(0..=12)).min(input.len());
    match rng.u8(0..7) {
        0 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
        1 => drop(input.drain(at..end)),
        2 => input.truncate(at),
        3 => {
            let again = input[at..end].repeat(rng.usize(1..=20));
            input.splice(at..at, again);
        }
        4 => {
            let other = &seeds[rng.usize(..seeds.len())];
            let from = rng.usize(0..=other.len());
            let to = (from + rng.usize(0..=60)).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        _ => drop(input.splice(at..end, WORDS[rng.usize(..WORDS.len())].bytes())),
    }
}

#[test]
fn a_link_never_leads_to_another_origin() {
    feed("link", 3000, drive::link::run);
}

#[test]
fn a_wait_is_bounded_and_after_it_a_request_may_go() {
    feed("limits", 2000, drive::limits::run);
}

#[test]
fn an_answer_is_read_or_refused_and_what_is_said_of_it_is_fit_for_a_log() {
    feed("answers", 300, drive::answers::run);
}

#[test]
fn a_configuration_is_taken_or_refused_at_a_place() {
    feed("config", 100, drive::config::run);
}

#[test]
fn an_expression_ends_and_its_text_is_bounded() {
    feed("expression", 500, drive::expression::run);
}

#[test]
fn the_two_readers_of_globs_agree() {
    feed("glob", 500, drive::glob::run);
}

#[test]
fn a_recording_is_whole_or_refused_and_can_be_planned_with() {
    feed("recording", 1500, drive::recording::run);
}
