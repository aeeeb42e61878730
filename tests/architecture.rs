//! The laws of the house, read off the source text: who may import whom, what the pure floors know nothing of, and which
//! files alone may speak SQL, build an HTTP client, or ask the machine for the time.
//!
//! Read as text rather than with a parser: the laws are about names that stand in a file, and a reader of a failure wants
//! file and line. Comments, and modules under `#[cfg(test)]`, are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which top-level modules each one may import, besides itself. Whatever is not listed is a floor above.
const FLOORS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("contract", &["model"]),
    ("reconcile", &["model", "contract"]),
    ("http", &["model", "contract"]),
    ("config", &["model", "contract", "http", "reconcile"]),
    ("engine", &["model", "contract", "reconcile"]),
    ("sources", &["model", "contract", "http"]),
    ("targets", &["model", "contract", "http"]),
    ("store", &["model", "contract"]),
    ("daemon", &["model", "contract", "reconcile", "http", "config", "engine", "sources", "targets", "store"]),
    ("cli", &["model", "contract", "reconcile", "http", "config", "engine", "sources", "targets", "store", "daemon"]),
];

/// Who else asks the machine for the time of day, and why that is not the engine's clock.
const ASKS_THE_TIME: &[(&str, &str)] = &[
    ("daemon/clock.rs", "is the clock"),
    ("daemon/schedule.rs", "hands the ticker library the moments at which to fire"),
    ("daemon/supervise.rs", "stamps heartbeat and reload in the status"),
    (
        "http/wall.rs",
        "compares the machine's clock with the Date headers of answers, and tells the time by the clock of who sent them",
    ),
    ("cli/", "prints ages and stamps what a person orders"),
];

/// A line of code with where it stands.
struct Line {
    file: String,
    number: usize,
    text: String,
}

impl Line {
    fn at(&self) -> String {
        format!("src/{}:{}: {}", self.file, self.number, self.text.trim())
    }

    /// The top-level module, or the file's own name for a file beside `lib.rs`.
    fn module(&self) -> &str {
        self.file.split('/').next().unwrap_or_default()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(under: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(under).expect("a folder of the source").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every file of the source by its path under `src`, with its text.
fn sources() -> BTreeMap<String, String> {
    let mut found = Vec::new();
    files(&root(), &mut found);
    let named = |path: &PathBuf| path.strip_prefix(root()).expect("under src").to_string_lossy().replace('\\', "/");
    found.iter().map(|p| (named(p), std::fs::read_to_string(p).expect("a source file"))).collect()
}

/// Whether a file is a test module of its own (`tests.rs`, or under `tests/`).
fn is_tests(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// The code of one file: comments cut off, what follows `#[cfg(test)]` left out up to the end of its item.
fn code(file: &str, text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut skipping, mut depth, mut opened) = (false, 0i64, false);
    for (at, line) in text.lines().enumerate() {
        let bare = without_comment(line);
        if !skipping && bare.trim_start().starts_with("#[cfg(test)]") {
            (skipping, depth, opened) = (true, 0, false);
        }
        if skipping {
            for c in braces(bare) {
                depth += if c == '{' { 1 } else { -1 };
                opened |= c == '{';
            }
            let ends = (opened && depth <= 0) || (!opened && bare.trim_end().ends_with(';'));
            skipping = !ends;
            continue;
        }
        if !bare.trim().is_empty() {
            lines.push(Line { file: file.to_owned(), number: at + 1, text: bare.to_owned() });
        }
    }
    lines
}

/// The braces of a line that stand outside of string literals.
fn braces(line: &str) -> Vec<char> {
    let mut braces = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '}' if !quoted => braces.push(c),
            _ => {}
        }
    }
    braces
}

/// A line up to a comment. `//` inside a string literal, as in an address, does not begin one.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    let bytes = line.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'/' if !quoted && bytes.get(at + 1) == Some(&b'/') => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The code of all files.
fn all() -> Vec<Line> {
    sources().iter().filter(|(file, _)| !is_tests(file)).flat_map(|(file, text)| code(file, text)).collect()
}

/// The names that stand right after a path, as `a` and `b` in `crate::a::x` and `crate::{a::x, b}`.
fn after<'a>(line: &'a str, path: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, _) in line.match_indices(path) {
        // `supercrate::` is not `crate::`.
        if line[..at].chars().next_back().is_some_and(is_name) {
            continue;
        }
        let rest = &line[at + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.extend(rest.split(|c: char| !is_name(c)).next().filter(|n| !n.is_empty()));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && is_name(c) => {
                    names.extend(list[at..].split(|c: char| !is_name(c)).next());
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// Statements of `use` that run over several lines, put on one; everything else as it is.
fn joined(lines: Vec<Line>) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    let mut open = false;
    for line in lines {
        let goes_on = open;
        let trimmed = line.text.trim();
        if !goes_on {
            let begins = trimmed.trim_start_matches("pub ").trim_start_matches("pub(crate) ").starts_with("use ");
            open = begins && !trimmed.ends_with(';');
        } else if trimmed.ends_with(';') {
            open = false;
        }
        match out.last_mut() {
            Some(last) if goes_on => last.text.push_str(trimmed),
            Some(_) | None => out.push(line),
        }
    }
    out
}

fn none(broken: Vec<String>, law: &str) {
    assert!(broken.is_empty(), "{law}\n  {}", broken.join("\n  "));
}

fn imports(line: &Line) -> Vec<&str> {
    after(&line.text, "crate::").into_iter().filter(|n| FLOORS.iter().any(|(module, _)| module == n)).collect()
}

#[test]
fn imports_run_downward_only() {
    let mut broken = Vec::new();
    for line in joined(all()) {
        let Some((module, may)) = FLOORS.iter().find(|(module, _)| *module == line.module()) else { continue };
        for import in imports(&line).into_iter().filter(|i| i != module && !may.contains(i)) {
            broken.push(format!("{} ({module} may not import {import})", line.at()));
        }
    }
    none(broken, "imports run downward only");
}

#[test]
fn every_module_has_its_floor() {
    let known: BTreeSet<&str> = FLOORS.iter().map(|(m, _)| *m).chain(["lib.rs", "main.rs"]).collect();
    let files = sources();
    let unknown: Vec<String> = files
        .keys()
        .filter(|f| {
            !known.contains(f.split('/').next().unwrap_or_default().trim_end_matches(".rs")) && !known.contains(f.as_str())
        })
        .map(|f| format!("src/{f}"))
        .collect();
    none(unknown, "a top-level module without a floor: say in FLOORS what it may import");
}

#[test]
fn no_two_modules_import_each_other_in_a_circle() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in joined(all()) {
        let from = line.module().to_owned();
        for to in imports(&line).into_iter().filter(|to| *to != from) {
            graph.entry(from.clone()).or_default().insert(to.to_owned());
        }
    }
    let circles: Vec<String> = graph.keys().filter(|m| reached(&graph, m).contains(m.as_str())).cloned().collect();
    none(circles, "these modules import themselves through others");
}

/// Every module that one comes to by following imports.
fn reached<'a>(graph: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if seen.insert(module) {
            next.extend(graph.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

#[test]
fn model_and_reconcile_know_nothing_of_the_world() {
    const IMPURE: &[&str] = &[
        "tokio",
        "reqwest",
        "sqlx",
        "axum",
        "tracing",
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "::now(",
        "async fn",
        "async move",
        ".await",
        "println!",
        "eprintln!",
        "fastrand",
    ];
    let broken = all()
        .iter()
        .filter(|l| ["model", "reconcile"].contains(&l.module()))
        .filter_map(|l| IMPURE.iter().find(|word| l.text.contains(**word)).map(|word| format!("{} ({word})", l.at())))
        .collect();
    none(broken, "model and reconcile are values in, values out");
}

#[test]
fn a_connector_imports_no_other_connector() {
    let mut broken = Vec::new();
    for line in joined(all()) {
        let mut parts = line.file.split('/');
        let (Some(family @ ("sources" | "targets")), Some(own)) = (parts.next(), parts.next()) else { continue };
        if own == "mod.rs" {
            continue;
        }
        let own = own.trim_end_matches(".rs");
        for other in ["sources", "targets"] {
            let named = after(&line.text, &format!("crate::{other}::"));
            let foreign = named.into_iter().filter(|n| other != family || *n != own);
            broken.extend(foreign.map(|n| format!("{} ({family}/{own} imports {other}/{n})", line.at())));
        }
        // From the connector's own folder `super::super` is the family.
        let depth = line.file.matches('/').count();
        let up = "super::".repeat(depth);
        let siblings = after(&line.text, &up).into_iter().filter(|n| *n != own && *n != "super" && depth > 0);
        broken.extend(siblings.filter(|n| connectors(family).contains(*n)).map(|n| format!("{} (imports {n})", line.at())));
    }
    none(broken, "a connector imports no other connector");
}

/// The connectors of a family, by the names of their files or folders.
fn connectors(family: &str) -> BTreeSet<String> {
    sources()
        .keys()
        .filter_map(|f| {
            f.strip_prefix(family)?.strip_prefix('/')?.split('/').next().map(|n| n.trim_end_matches(".rs").to_owned())
        })
        .filter(|n| n != "mod")
        .collect()
}

#[test]
fn the_engine_imports_no_connector_and_no_store() {
    let broken = joined(all())
        .iter()
        .filter(|l| l.module() == "engine")
        .filter(|l| imports(l).iter().any(|i| ["sources", "targets", "store", "http", "config", "daemon", "cli"].contains(i)))
        .map(Line::at)
        .collect();
    none(broken, "the engine knows contracts only");
}

#[test]
fn only_the_store_speaks_sql() {
    let broken = all()
        .iter()
        .filter(|l| l.module() != "store")
        .filter(|l| !after(&l.text, "sqlx::").is_empty() || l.text.contains("use sqlx"))
        .map(Line::at)
        .collect();
    none(broken, "only src/store says sqlx");
}

/// Connectors may name the vocabulary of HTTP, which reqwest passes on (methods, header names); whatever sends is the
/// toolbox's. A name in a string, as in a filter of the log, is no use of it.
#[test]
fn only_the_toolbox_builds_http_clients() {
    const VOCABULARY: [&str; 3] = ["Method", "StatusCode", "header"];
    let foreign = |line: &&Line| after(&line.text, "reqwest::").iter().any(|name| !VOCABULARY.contains(name));
    let whole = |line: &&Line| ["use reqwest;", "use reqwest as", "extern crate reqwest"].iter().any(|w| line.text.contains(w));
    let lines = joined(all());
    let broken = lines.iter().filter(|l| l.module() != "http" && (foreign(l) || whole(l))).map(Line::at).collect();
    none(broken, "only src/http builds and holds reqwest's clients");
}

#[test]
fn only_the_clock_and_named_others_ask_for_the_time() {
    let asks = |text: &str| ["Utc::now(", "Local::now(", "SystemTime::now("].iter().any(|call| text.contains(call));
    let lines = all();
    let asking: Vec<&Line> = lines.iter().filter(|l| asks(&l.text)).collect();
    let may = |file: &str| ASKS_THE_TIME.iter().find(|(who, _)| file.starts_with(who));
    none(
        asking.iter().filter(|l| may(&l.file).is_none()).map(|l| l.at()).collect(),
        "the time comes from the clock of the contract",
    );
    assert!(asking.iter().any(|l| l.file == "daemon/clock.rs"), "the clock no longer asks: is it still daemon/clock.rs?");
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let broken = sources().iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(f, _)| format!("src/{f}")).collect();
    none(broken, "every file opens with `//! `");
}

#[test]
fn no_module_is_a_drawer_for_odds_and_ends() {
    const DRAWERS: [&str; 9] = ["common", "util", "utils", "helpers", "helper", "types", "manager", "prelude", "misc"];
    let drawer = |file: &str| file.split('/').map(|part| part.trim_end_matches(".rs")).any(|part| DRAWERS.contains(&part));
    let mut broken: Vec<String> = sources().keys().filter(|f| drawer(f)).map(|f| format!("src/{f}")).collect();
    let inline = |line: &Line| after(&line.text, "mod ").iter().any(|name| DRAWERS.contains(name));
    broken.extend(all().iter().filter(|l| inline(l)).map(Line::at));
    none(broken, "a module is named for one idea");
}

#[test]
fn the_reader_of_this_file_reads_as_meant() {
    let text = "use crate::model::{\n    key::Key,\n};\nlet a = \"http://x\"; // crate::daemon\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\nfn b() {}\n";
    let lines = joined(code("engine/x.rs", text));
    let texts: Vec<&str> = lines.iter().map(|l| l.text.trim()).collect();
    assert_eq!(texts, ["use crate::model::{key::Key,};", "let a = \"http://x\";", "fn b() {}"]);
    assert_eq!(after("use crate::{a::{x, y}, b, c::z};", "crate::"), ["a", "b", "c"]);
    assert_eq!(after("crate::model::key::fold(crate::http::x)", "crate::"), ["model", "http"]);
}

/// Variants that a list of all leaves out, and why.
const LEFT_OUT: &[(&str, &str, &str)] = &[("Stage", "Over", "no run spends time in it")];

/// The variants of an enum of this file.
fn variants(code: &[Line], name: &str) -> Vec<String> {
    let head = format!("enum {name} {{");
    let body = code.iter().skip_while(|line| !line.text.contains(&head)).skip(1).take_while(|line| !line.text.starts_with('}'));
    // Variants stand at the first step of indentation, their fields deeper, attributes and closing braces begin otherwise.
    let named = |line: &Line| {
        let text = line.text.strip_prefix("    ")?;
        let word: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
        word.starts_with(char::is_uppercase).then_some(word)
    };
    body.filter_map(named).collect()
}

/// A list of all variants that lacks one lets a metric, a schema or a message lack it too, and no compiler says so.
#[test]
fn a_list_of_all_variants_has_every_one() {
    let mut lists = 0;
    for (file, text) in sources() {
        let code = code(&file, &text);
        for (at, line) in code.iter().enumerate() {
            let Some((_, rest)) = line.text.split_once("const ALL: [") else { continue };
            let Some((name, _)) = rest.split_once(';') else { continue };
            let listed: String = code[at..].iter().map(|line| line.text.as_str()).take_while(|text| *text != "}").collect();
            let listed = listed.split_once("];").map_or(listed.as_str(), |(listed, _)| listed);
            let listed: BTreeSet<&str> =
                listed.split("::").skip(1).map(|part| part.split([',', ']', ' ']).next().unwrap_or("")).collect();
            let all = variants(&code, name);
            assert!(!all.is_empty(), "{}: no enum {name} in this file", line.at());
            for variant in &all {
                let left_out = LEFT_OUT.iter().any(|(of, one, _)| of == &name && one == variant);
                assert!(listed.contains(variant.as_str()) != left_out, "{}: {name}::{variant}", line.at());
            }
            lists += 1;
        }
    }
    assert!(lists >= 7, "only {lists} lists were found: is this test still right?");
}
