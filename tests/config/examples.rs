//! The files that newcomers copy load, mean what they say, and stay within the schema's keys.

use std::path::Path;
use std::time::Duration;

use rosterd::config::job::Mode;
use rosterd::config::leavers::LeaverAction;
use rosterd::config::notify::Format;
use rosterd::config::template::{Answers, Product, render};
use rosterd::config::{Checked, Config, locate, schema};
use rosterd::contract::notice::Topic;

use super::{load, stand_ins};

fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    std::fs::read_to_string(file).expect("the example is there")
}

fn loaded(text: &str) -> Config {
    let Checked { config, warnings } = load(text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

#[test]
fn the_minimal_example_loads_with_the_defaults() {
    let config = loaded(&example("minimal.toml"));
    assert_eq!(config.daemon.state, "sqlite:/var/lib/rosterd/state.db");
    assert_eq!(config.daemon.drain, Duration::from_secs(25));
    assert_eq!(config.daemon.listen.map(|listen| listen.to_string()).as_deref(), Some("127.0.0.1:9640"));
    assert_eq!((config.log.level.as_str(), config.daemon.watch), ("info", None));
    let job = &config.jobs["staff"];
    assert_eq!((job.targets.len(), job.mode, job.schedule.to_string().as_str()), (3, Mode::Apply, "hourly"));
    assert_eq!(job.users.map.username, "login | before('@') | lower");
    assert!(job.users.member_of.is_empty() && job.groups.include.is_match("anything") && job.groups.create_missing);
    assert_eq!(job.leavers.disabled, LeaverAction::Deactivate);
    assert_eq!(job.leavers.out_of_scope, LeaverAction::RemoveGroups);
    assert_eq!((job.guard.deactivations.share, job.guard.deactivations.floor), (0.10, 5));
    assert_eq!((job.guard.admins_at_least, job.guard.source_band, job.retry.attempts), (1, 0.5, 8));
}

#[test]
fn the_full_example_loads_and_means_what_it_says() {
    let config = loaded(&example("full.toml"));
    let job = &config.jobs["staff"];
    assert_eq!(job.schedule.to_string(), "daily at 06:30 and 18:30 (Europe/Berlin)");
    assert_eq!(job.schedule.jitter(), Duration::from_secs(300));
    assert!(job.users.exclude.is_match("SVC-Backup") && !job.users.exclude.is_match("ada"));
    assert!(job.groups.include.is_match("JIRA-users") && job.groups.exclude.is_match("jira-test"));
    assert_eq!(job.groups.map.len(), 2);
    assert_eq!(job.leavers.grace, Duration::from_secs(2 * 24 * 3600));
    assert_eq!(job.guard.expect[0].at_least, Some(300));
    assert_eq!(config.log.file.as_ref().map(|file| file.keep), Some(14));
}

#[test]
fn the_full_example_writes_every_key_of_the_schema() {
    let text = example("full.toml");
    let schema = schema::schema(&stand_ins::REGISTRY);
    for section in [
        "Daemon",
        "Token",
        "Log",
        "LogFile",
        "Job",
        "Users",
        "UserMap",
        "Groups",
        "Leavers",
        "Guard",
        "Expect",
        "Canaries",
        "Retry",
        "Notify",
        "Telemetry",
    ] {
        let keys = schema.pointer(&format!("/$defs/{section}/properties")).and_then(|keys| keys.as_object());
        for key in keys.expect("the section is in the schema").keys() {
            assert!(text.lines().any(|line| sets(line, key)), "{section}.{key} is not in full.toml");
        }
    }
}

/// Whether a line sets this key, at its beginning or within a table, perhaps behind a comment's mark.
fn sets(line: &str, key: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(key)
        .any(|(at, _)| !line[..at].ends_with(part_of_name) && line[at + key.len()..].trim_start().starts_with(['=', '.', ']']))
}

#[test]
fn the_webhook_of_the_full_example_loads_and_means_what_it_says() {
    let text = example("full.toml");
    let (before, hook) = text.split_once("# [notify.ops]").expect("it is there, as a comment");
    let hook: Vec<&str> = hook.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let hook = hook.join("\n").replace("{ credential = \"hook-url\" }", "{ env = \"HOOK_URL\" }");
    let config = loaded(&format!("{before}[notify.ops]{hook}"));
    let ops = &config.notify["ops"];
    assert_eq!((config.notify.len(), ops.format, ops.url.env.as_deref()), (1, Format::Slack, Some("HOOK_URL")));
    assert_eq!(ops.on, Topic::ALL.into());
}

#[test]
fn what_init_writes_loads() {
    let answers = Answers {
        okta_domain: "company\"name.okta.com".into(),
        okta_app_id: None,
        targets: vec![(Product::Jira, "https://jira.example.com".into())],
        schedule: "15m".into(),
        state: None,
    };
    let elsewhere = Answers { state: Some("sqlite:/home/ada/a \"b\"/state.db".into()), ..answers.clone() };
    assert_eq!(loaded(&render(&elsewhere)).daemon.state, "sqlite:/home/ada/a \"b\"/state.db");
    assert_eq!(loaded(&render(&answers)).jobs["staff"].mode, Mode::Observe);
    let all = Answers {
        okta_app_id: Some("0oa1".into()),
        targets: Product::ALL.iter().map(|product| (*product, format!("https://{}", product.word()))).collect(),
        ..answers
    };
    let text = render(&all);
    loaded(&text);
    let uncommented: Vec<&str> = text.lines().map(|line| if is_setting(line) { &line[2..] } else { line }).collect();
    let opened = loaded(&uncommented.join("\n"));
    assert_eq!(opened.jobs["staff"].leavers.grace, Duration::from_secs(2 * 24 * 3600));
    insta::assert_snapshot!("init", text);
}

/// Whether a comment is a key or a header that can be taken in by taking out its mark.
fn is_setting(line: &str) -> bool {
    line.strip_prefix("# ")
        .is_some_and(|rest| rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.trim().contains(' ')))
}

#[test]
fn the_schema_knows_each_kind_by_its_word() {
    let schema = schema::schema(&stand_ins::REGISTRY);
    let kinds = schema.pointer("/properties/targets/additionalProperties/oneOf").and_then(|kinds| kinds.as_array());
    let words: Vec<_> = kinds.expect("it is there").iter().map(|kind| kind.pointer("/properties/kind/const").cloned()).collect();
    assert_eq!(words, ["bitbucket", "confluence", "jira"].map(|word| Some(word.into())));
    let mut references = Vec::new();
    collect_references(&schema, &mut references);
    assert!(references.iter().any(|reference| reference == "#/$defs/targets.jira.Auth"), "{references:?}");
    for reference in references {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let mut schema = schema;
    let definitions = schema.pointer_mut("/$defs").and_then(|definitions| definitions.as_object_mut());
    definitions.expect("they are there").retain(|name, _| !name.ends_with("SecretRef"));
    assert!(!schema.to_string().contains("null"), "TOML has no null");
    insta::assert_json_snapshot!("schema", schema);
}

fn collect_references(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(table) => {
            into.extend(table.get("$ref").and_then(|reference| reference.as_str()).map(str::to_owned));
            table.values().for_each(|value| collect_references(value, into));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}

#[test]
fn the_file_that_is_named_wins_and_is_not_replaced_by_another() {
    let there = |path: &Path| path == Path::new("./rosterd.toml");
    let nowhere = |_: &Path| false;
    let named = locate::locate(Some("a.toml".into()), Some("b.toml".into()), &there);
    assert_eq!(named, Path::new("a.toml"));
    assert_eq!(locate::locate(None, Some("b.toml".into()), &there), Path::new("b.toml"));
    assert_eq!(locate::locate(None, Some(String::new()), &there), Path::new("./rosterd.toml"));
    assert_eq!(locate::locate(None, None, &nowhere), Path::new("/etc/rosterd/rosterd.toml"));
}
