//! Everything that is wrong in a table is told at once, and no secret with it.

use serde::Deserialize;

use super::path::KeyPath;
use super::{INLINE_SECRET, Settings, near};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretRef {
    env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Fast,
    Slow,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    concurrency: u16,
    share: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    domain: String,
    api_token: SecretRef,
    mode: Option<Mode>,
    http: Option<Http>,
    #[serde(default)]
    groups: Vec<Http>,
}

fn findings(text: &str) -> Vec<(String, String)> {
    let settings = Settings::from_toml("okta", text).expect("the test writes TOML");
    let found = settings.parse::<Table>().expect_err("the test's table is wrong");
    found.0.into_iter().map(|f| (f.key, f.what)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, what)| ((*key).to_owned(), (*what).to_owned())).collect()
}

#[test]
fn every_mistake_of_a_table_is_found_at_once() {
    let found = findings(
        "domian = 'x'\napi_token = { evn = 'T' }\nmode = 'fsat'\nhttp = { concurrency = 'four', share = true }\ngroups = [{ concurrency = 1 }, { concurrency = 70000 }]",
    );
    let expected = [
        ("api_token.evn", "unknown key `evn`"),
        ("domian", "unknown key `domian`"),
        ("groups[1].concurrency", "expected a whole number from 0 to 65535, found number 70000"),
        ("http.concurrency", "expected a whole number from 0 to 65535, found text \"four\""),
        ("http.share", "expected a number, found true"),
        ("mode", "unknown word `fsat`"),
    ];
    assert_eq!(found, pairs(&expected));
}

#[test]
fn a_mistyped_key_is_not_also_missing() {
    let found = findings("domian = 'x'\napi_token = {}");
    assert_eq!(found, pairs(&[("domian", "unknown key `domian`")]));
}

#[test]
fn a_secret_written_in_the_table_is_refused_and_not_repeated() {
    let found = findings("domain = 'x'\napi_token = 'hunter2'");
    assert_eq!(found, pairs(&[("api_token", INLINE_SECRET)]));
}

#[test]
fn missing_keys_are_all_told() {
    assert_eq!(
        findings("http = {}"),
        pairs(&[
            ("http.concurrency", "missing key `concurrency`"),
            ("domain", "missing key `domain`"),
            ("api_token", "missing key `api_token`"),
        ])
    );
}

#[test]
fn text_is_no_number_and_a_number_no_text() {
    assert_eq!(
        findings("domain = 5\napi_token = { env = 'T' }\nhttp = { concurrency = '5' }"),
        pairs(&[
            ("domain", "expected text in quotes, found number 5"),
            ("http.concurrency", "expected a whole number from 0 to 65535, found text \"5\""),
        ])
    );
}

#[test]
fn a_right_table_is_read() {
    let text = "kind = 'okta'\ndomain = 'x'\napi_token = { env = 'T' }\nmode = 'slow'\nhttp = { concurrency = 3, share = 1 }";
    let table: Table = Settings::from_toml("okta", text).expect("the test writes TOML").parse().expect("it is right");
    assert_eq!((table.domain.as_str(), table.api_token.env.as_deref()), ("x", Some("T")));
    assert!(matches!(table.mode, Some(Mode::Slow)) && !matches!(table.mode, Some(Mode::Fast)));
    let http = table.http.expect("it is there");
    assert_eq!((http.concurrency, http.share, table.groups.len()), (3, Some(1.0), 0));
}

#[test]
fn a_path_prints_as_it_is_read() {
    for text in ["", "a", "a.b[0].c", "targets.\"jira.dc\".url", "a[1][2]"] {
        assert_eq!(KeyPath::parse(text).to_string(), text);
    }
    assert_eq!(KeyPath::parse("a..b").0.len(), 1);
}

#[test]
fn the_nearest_key_is_found_and_a_distant_one_is_not() {
    let keys = ["schedule", "source", "targets", "mode"];
    assert_eq!(near::nearest("scheduel", keys), Some("schedule"));
    assert_eq!(near::nearest("target", keys), Some("targets"));
    assert_eq!(near::nearest("colour", keys), None);
    assert_eq!(near::advise("x", keys).as_deref(), Some("allowed here: schedule, source, targets, mode"));
}
