//! What comes from outside, hostile: the seeds of the fuzz targets (`fuzz/`) and seeded mutations of them, through the same
//! functions. A short, repeatable stand-in for the fuzzer, which needs a compiler of its own; what that finds becomes a seed.

#[path = "../fuzz/drive/mod.rs"]
mod drive;

use std::collections::BTreeSet;
use std::path::Path;

use fastrand::Rng;
use rosterd::engine::recording::{Unreadable, read};

/// What turns a text into another one that a parser may trip over.
const WORDS: [&str; 34] = [
    "\n",
    "\n\n",
    "\"",
    "'",
    "\\",
    ",",
    ";",
    ":",
    "<",
    ">",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "@",
    "..",
    "//",
    "%2e",
    "#",
    "$1",
    "*",
    "\0",
    "\u{feff}",
    "é",
    "İ",
    "null",
    "0",
    "-1",
    "18446744073709551615",
    "1e999",
    "next",
    "= ",
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
    feed("link", 1000, drive::link::run);
}

#[test]
fn a_wait_is_bounded_and_after_it_a_request_may_go() {
    feed("limits", 500, drive::limits::run);
}

#[test]
fn an_answer_is_read_or_refused_and_what_is_said_of_it_is_fit_for_a_log() {
    feed("answers", 60, drive::answers::run);
}

#[test]
fn a_configuration_is_taken_or_refused_at_a_place() {
    feed("config", 20, drive::config::run);
}

#[test]
fn an_expression_ends_and_its_text_is_bounded() {
    feed("expression", 80, drive::expression::run);
}

/// What is nested or chained without end is refused or read, on a stack as small as that of the daemon's threads.
#[test]
fn a_long_expression_does_not_use_up_the_stack() {
    for (before, piece, after) in [
        ("login", " ~ login", ""),
        ("1", "+1", ""),
        ("login", "|lower", ""),
        ("profile", ".a", ""),
        ("login", "[0]", ""),
        ("", "not ", "login"),
        ("", "-", "1"),
        ("", "(", "login"),
        ("", "[", "1"),
        ("login", " if 1 else login", ""),
        ("login", " and login", ""),
        ("login", " or 1", ""),
        ("1", "<1", ""),
        ("login", " if 1", ""),
    ] {
        for bytes in [4000, 1_000_000] {
            let text = format!("{before}{}{after}", piece.repeat(bytes / piece.len()));
            drive::expression::run(text.as_bytes());
        }
    }
}

#[test]
fn what_is_nested_without_end_does_not_use_up_the_stack() {
    let many = |piece: &str| piece.repeat(20_000);
    for text in [
        format!("a{} = 1", many(".a")),
        format!("[a{}]", many(".a")),
        format!("a = {}", many("[")),
        format!("a = {}", many("{a=")),
        format!("a = {}1{}", many("["), many("]")),
    ] {
        drive::config::run(text.as_bytes());
    }
    for text in [many("{"), many("{a,"), many("["), many("?"), many("*"), many("\\"), format!("{}{}", many("{a,"), many("}"))] {
        drive::glob::run(format!("{text}\n\na").as_bytes());
    }
    for json in [many("["), many("{\"a\":"), format!("{}1{}", many("["), many("]"))] {
        let head = "200\ncontent-type: application/json\n\n";
        let user = format!("{{\"id\":\"1\",\"status\":\"ACTIVE\",\"profile\":{{\"a\":{json}}}}}");
        for body in [&json, &format!("{{\"values\":{json}}}"), &user] {
            drive::answers::run(format!("{head}{body}").as_bytes());
        }
        drive::recording::run(format!("{{\"recording\":{{\"format\":1,\"a\":{json}}}}}\n").as_bytes());
        drive::expression::run(format!("profile.a\n\n{{\"a\":{json}}}").as_bytes());
    }
}

#[test]
fn the_two_readers_of_globs_agree() {
    feed("glob", 400, drive::glob::run);
}

#[test]
fn a_recording_is_whole_or_refused_and_can_be_planned_with() {
    feed("recording", 500, drive::recording::run);
}

/// A format that moved on would leave the fuzzer with files that are refused at their first line.
#[test]
fn the_seeds_of_recordings_are_recordings_or_fail_for_what_they_are_named_after() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/recording");
    let read_one = |name: &str| read(&std::fs::read(folder.join(name)).expect("a seed")[..]);
    for whole in ["whole", "packed"] {
        let recording = read_one(whole).unwrap_or_else(|why| panic!("{whole}: {why}"));
        let target = recording.targets.first().unwrap_or_else(|| panic!("{whole} has no target"));
        let memory = &target.memory;
        assert!(!recording.roster.users.is_empty() && !recording.roster.groups.is_empty(), "{whole}");
        assert!(!recording.users.is_empty() && !target.roster.users.is_empty() && !memory.links.users.is_empty(), "{whole}");
        assert!(!memory.ledger.is_empty() && !target.plan.changes.is_empty(), "{whole}");
    }
    assert!(read_one("small").is_ok_and(|small| small.targets.is_empty()));
    for cut in ["cut", "cut_packed"] {
        assert!(matches!(read_one(cut), Err(Unreadable::Cut)), "{cut}: {:?}", read_one(cut).err());
    }
    assert!(matches!(read_one("positions"), Err(Unreadable::Broken(_))), "{:?}", read_one("positions").err());
    assert!(matches!(read_one("later_format"), Err(Unreadable::Format { .. })));
}

/// Most mutations of a recording are refused at once. Of those that are not there must be enough to say something.
#[test]
fn mutated_recordings_are_often_read() {
    let seed = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/recording/whole")).expect("a seed");
    let mut rng = Rng::with_seed(11);
    let read = (0..500).filter(|_| {
        let mut input = seed.clone();
        mutate(&mut rng, &mut input, std::slice::from_ref(&seed));
        drive::recording::opened(&input).is_some()
    });
    let read = read.count();
    assert!(read >= 50, "{read} of 500");
}

/// The folder has a lock of its own, which nothing else would keep in step.
#[test]
fn the_lock_of_the_fuzz_folder_has_the_dependencies_of_rosterd() {
    let text = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file");
    let (manifest, lock) = (text("Cargo.toml"), text("fuzz/Cargo.lock"));
    let table = manifest.split("[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next()).expect("dependencies");
    let named = table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split([' ', '=']).next());
    let wanted: BTreeSet<&str> = named.filter(|name| !name.is_empty()).collect();
    let package = lock.split("name = \"rosterd\"\n").nth(1).and_then(|rest| rest.split("\n]").next()).expect("rosterd");
    let locked = package.lines().filter_map(|line| line.strip_prefix(" \"")?.split(['"', ' ']).next());
    assert_eq!(locked.collect::<BTreeSet<_>>(), wanted, "renew it: cargo metadata --manifest-path fuzz/Cargo.toml");
}
