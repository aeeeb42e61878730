//! `/metrics` and `/readyz` of the running daemon, and whatever is built on the metrics: alert rules and the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use regex::Regex;
use rosterd::daemon::metrics::catalogue::{self, Sort};
use rosterd_sim::gate::Rate;
use rosterd_sim::harness::{Fault, Rule};
use serde_json::Value;

use crate::http::{get, listening};
use crate::site::{Site, small, until_told};

/// Only where there is TLS, which the simulators have not: the tests of the door look for it.
const NOT_HERE: &[&str] = &["rosterd_tls_certificate_expiry_timestamp_seconds"];

/// What was answered, as it is read by whoever scrapes.
struct Scraped {
    text: String,
    /// The sort of each metric.
    sorts: BTreeMap<String, String>,
    /// Every figure: name, labels, value.
    figures: Vec<(String, BTreeMap<String, String>, f64)>,
}

async fn scrape(port: u16) -> Scraped {
    let answer = get(port, "/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let label = Regex::new(r#"([a-z_]+)="([^"]*)""#).expect("a pattern");
    let mut scraped = Scraped { text: answer.body.clone(), sorts: BTreeMap::new(), figures: Vec::new() };
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, sort) = rest.split_once(' ').expect("name and sort");
            assert!(scraped.sorts.insert(name.to_owned(), sort.to_owned()).is_none(), "{name} is there twice");
        }
        if line.starts_with('#') {
            continue;
        }
        let (what, value) = line.rsplit_once(' ').expect("a figure");
        let (name, labels) = what.split_once('{').unwrap_or((what, ""));
        let labels = label.captures_iter(labels).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
        scraped.figures.push((name.to_owned(), labels, value.parse().expect("a number")));
    }
    scraped
}

impl Scraped {
    /// The sum of the figures of this name with these labels; `None`: there is none.
    fn sum(&self, name: &str, with: &[(&str, &str)]) -> Option<f64> {
        let fits =
            |labels: &BTreeMap<String, String>| with.iter().all(|(key, value)| labels.get(*key).is_some_and(|v| v == value));
        let values: Vec<f64> = self.figures.iter().filter(|(n, l, _)| n == name && fits(l)).map(|(_, _, value)| *value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// Scrapes until a figure is over zero.
async fn until_over_zero(port: u16, name: &str, with: &[(&str, &str)]) -> Scraped {
    let ask = async || {
        let scraped = scrape(port).await;
        if scraped.sum(name, with).is_some_and(|sum| sum > 0.0) { Ok(scraped) } else { Err(scraped.text) }
    };
    until_told(&format!("{name} {with:?}"), ask).await
}

/// A daemon to which everything has happened that there is a metric of.
async fn eventful() -> (Site, crate::site::Daemon, Scraped) {
    let job = "schedule = { every = \"1s\" }\n[jobs.staff.guard]\ndeactivations = { share = 0.1, floor = 2 }\n\
               [jobs.staff.retry]\nattempts = 50";
    let site = Site::with(small(), job).await;
    let port = listening(&site, "127.0.0.1").await;
    site.estate.jira.gate.set_token_expires(Some(Utc::now() + TimeDelta::days(5)));
    site.estate.jira.gate.set_rate(Some(Rate {
        capacity: 10_000,
        fill: 10_000,
        interval: Duration::from_secs(1),
        headers: true,
    }));
    let daemon = site.daemon().await;
    daemon.converges(1).await;
    site.lay_off(8);
    until_over_zero(port, "rosterd_staged_removals", &[("target", "jira"), ("kind", "deactivate_user")]).await;
    // Somebody new whom Confluence does not take for the moment.
    site.estate.confluence.running.faults.add(Rule::always("POST", "", Fault::json(503, "{}")));
    let mut newcomers = rosterd_sim::world::World::default();
    let at = newcomers.add_person("New", "Comer");
    site.estate.okta.add_user(rosterd_sim::world::Person { id: String::new(), ..newcomers.people.swap_remove(at) });
    until_over_zero(port, "rosterd_retry_entries", &[("target", "confluence")]).await;
    let scraped = until_over_zero(port, "rosterd_retry_oldest_timestamp_seconds", &[]).await;
    (site, daemon, scraped)
}

#[tokio::test]
async fn the_metrics_are_those_of_the_catalogue_and_tell_of_runs_waits_and_failures_and_of_nobody() {
    let (site, daemon, scraped) = eventful().await;
    for metric in catalogue::ALL {
        let sort = match metric.sort {
            Sort::Gauge => "gauge",
            Sort::Counter => "counter",
            Sort::Histogram => "histogram",
        };
        match scraped.sorts.get(metric.name) {
            Some(told) => assert_eq!(told, sort, "{}", metric.name),
            None => assert!(NOT_HERE.contains(&metric.name), "{} is not in:\n{}", metric.name, scraped.text),
        }
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        for (_, told, _) in scraped.figures.iter().filter(|(name, ..)| base(name, &scraped.sorts) == metric.name) {
            let told: BTreeSet<&str> = told.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(told, labels, "{}", metric.name);
        }
    }
    assert!(scraped.sorts.keys().all(|name| catalogue::ALL.iter().any(|metric| metric.name == name)), "{:?}", scraped.sorts);

    let at = |target| [("job_name", "staff"), ("target", target)];
    let sum = |name: &str, with: &[(&str, &str)]| scraped.sum(name, with).unwrap_or_else(|| panic!("{name}{with:?}"));
    assert!(sum("rosterd_runs_total", &at("jira")) >= 2.0);
    // A run may end between the two.
    let apart = sum("rosterd_run_duration_seconds_count", &at("jira")) - sum("rosterd_runs_total", &at("jira"));
    assert!(apart.abs() <= 1.0, "{apart}");
    for stage in ["reading_source", "reading_target", "planning", "applying"] {
        let labels = [at("jira")[0], at("jira")[1], ("stage", stage)];
        assert!(sum("rosterd_run_stage_duration_seconds_count", &labels) >= 2.0, "{stage}");
    }
    let created = [at("jira")[0], at("jira")[1], ("kind", "create_user"), ("outcome", "done")];
    assert!(sum("rosterd_changes_total", &created) > 0.0);
    assert!(sum("rosterd_changes_total", &[("target", "confluence"), ("outcome", "failed")]) > 0.0);
    let done: usize = site.record().await.iter().filter(|(run, _)| run.start.target.as_str() == "bitbucket").count();
    assert!(sum("rosterd_runs_total", &at("bitbucket")) <= done as f64);
    assert!(sum("rosterd_requests_total", &[("system", "okta"), ("status_class", "2xx")]) > 0.0);
    assert!(sum("rosterd_requests_total", &[("system", "confluence"), ("status_class", "5xx")]) > 0.0);
    let day = 86_400.0;
    let left = sum("rosterd_credential_expiry_timestamp_seconds", &[("system", "jira")]) - Utc::now().timestamp() as f64;
    assert!((4.9 * day..=5.0 * day).contains(&left), "{left}");
    for flag in ["rosterd_ready", "rosterd_journal_readable", "rosterd_build_info"] {
        assert_eq!(sum(flag, &[]), 1.0, "{flag}");
    }
    assert_eq!(sum("rosterd_last_run_ended", &at("jira")), 1.0, "it ended in one way");

    let world = site.estate.okta.world();
    for person in &world.people {
        let name = person.login.split('@').next().expect("a name");
        for told in [name, &person.id] {
            assert!(!scraped.text.contains(told), "{told} is in:\n{}", scraped.text);
        }
    }
    for group in &world.groups {
        assert!(!scraped.text.contains(&format!("\"{}\"", group.name)), "{}", group.name);
    }
    drop(world);
    promtool(&["check", "metrics"], &scraped.text);
    rules_and_dashboard_ask_for_what_is_there(&scraped);
    daemon.stop().await;
}

/// The metric that a figure belongs to: a histogram has several.
fn base<'a>(name: &'a str, sorts: &BTreeMap<String, String>) -> &'a str {
    let parts = ["_bucket", "_sum", "_count"];
    let of =
        parts.iter().find_map(|part| name.strip_suffix(part)).filter(|of| sorts.get(*of).is_some_and(|sort| sort == "histogram"));
    of.unwrap_or(name)
}

/// Runs promtool over a text and demands silence. CI unpacks it and says by a variable that it must be there; elsewhere its
/// absence is said.
fn promtool(arguments: &[&str], text: &str) {
    let child =
        Command::new("promtool").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(why) => {
            let is_needed = std::env::var_os("ROSTERD_NEEDS_PROMTOOL").is_some_and(|value| !value.is_empty());
            assert!(!is_needed, "promtool must be there, as ROSTERD_NEEDS_PROMTOOL says, and cannot be run: {why}");
            eprintln!("SKIPPED: promtool is not installed (Debian: prometheus), so nobody else has judged the metrics");
            return;
        }
    };
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let said = child.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.is_empty() && err.is_empty(), "{out}{err}");
}

fn file(path: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every expression at a key of this name, wherever it stands.
fn at_key(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            found.extend(table.get(key).and_then(Value::as_str).map(str::to_owned));
            table.values().for_each(|value| at_key(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| at_key(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What each daemon tells of the store that all of them share, or of a system that is everybody's.
const OF_EVERYBODY: [&str; 16] = [
    "rosterd_last_complete_run_timestamp_seconds",
    "rosterd_last_applied_run_timestamp_seconds",
    "rosterd_overdue_seconds",
    "rosterd_last_run_ended",
    "rosterd_source_believed",
    "rosterd_staged_removals",
    "rosterd_staged_oldest_timestamp_seconds",
    "rosterd_retry_entries",
    "rosterd_retry_oldest_timestamp_seconds",
    "rosterd_quarantined_subjects",
    "rosterd_held_users",
    "rosterd_system_resting",
    "rosterd_system_failures",
    "rosterd_credential_expiry_timestamp_seconds",
    "rosterd_tls_certificate_expiry_timestamp_seconds",
    "rosterd_ready",
];

/// With two daemons over one store each tells the same: a sum over them doubles, and an alert comes twice.
fn counts_each_daemon_once(expression: &str, name: &str) -> bool {
    let once = Regex::new(r"\b(max|min)( without \(instance, pod\) )?\($").expect("a pattern");
    expression.match_indices(name).all(|(at, _)| once.is_match(&expression[..at]))
}

fn rules_and_dashboard_ask_for_what_is_there(scraped: &Scraped) {
    let mut asked = Vec::new();
    let dashboard: Value = serde_json::from_str(&file("deploy/monitoring/dashboard.json")).expect("JSON");
    at_key(&dashboard, "expr", &mut asked);
    at_key(&dashboard, "definition", &mut asked);
    let panels = asked.len();
    let rules: Value = serde_saphyr::from_str(&file("deploy/monitoring/rules.yaml")).expect("YAML");
    at_key(&rules, "expr", &mut asked);
    assert!(panels > 25 && asked.len() - panels >= 14, "{asked:?}");

    let name = Regex::new(r"rosterd_[a-z_]+").expect("a pattern");
    let selector = Regex::new(r"(rosterd_[a-z_]+)\{([^}]*)\}").expect("a pattern");
    let label = Regex::new(r"([a-z_]+)\s*(?:=~|!=|=|!~)").expect("a pattern");
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for expression in &asked {
        let names: Vec<&str> = name.find_iter(expression).map(|found| base(found.as_str(), &scraped.sorts)).collect();
        // Whether a scrape came to anything is Prometheus's own metric.
        assert!(!names.is_empty() || expression.starts_with("up{"), "{expression} asks for nothing of rosterd's");
        for name in names {
            assert!(scraped.sorts.contains_key(name) || NOT_HERE.contains(&name), "{expression}: there is no {name}");
            used.extend(catalogue::ALL.iter().map(|metric| metric.name).filter(|known| *known == name));
        }
        for name in OF_EVERYBODY {
            // One that only lists what there is takes nothing together.
            let lists = expression.starts_with("label_values(");
            assert!(lists || counts_each_daemon_once(expression, name), "{expression}: {name} counts once for each daemon");
        }
        for found in selector.captures_iter(expression) {
            let metric = base(found.get(1).expect("a name").as_str(), &scraped.sorts).to_owned();
            let known = catalogue::ALL.iter().find(|known| known.name == metric).expect("it is in the catalogue").labels;
            for label in label.captures_iter(&found[2]) {
                assert!(known.contains(&&label[1]), "{expression}: {metric} has no label {}", &label[1]);
            }
        }
    }
    let unused: Vec<&str> = catalogue::ALL.iter().map(|metric| metric.name).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "neither an alert nor a panel looks at {unused:?}");
}

#[tokio::test]
async fn who_waits_for_the_schedule_is_ready_and_says_so() {
    let site = Site::idle().await;
    let port = listening(&site, "127.0.0.1").await;
    let daemon = site.daemon().await;
    let ready = get(port, "/readyz").await;
    assert_eq!(ready.status, 200);
    let waits = "daemon ok\nsource okta ok: not read yet: no run has been due since the start or the last reload\n";
    assert!(ready.body.ends_with(waits), "{}", ready.body);
    assert_eq!(scrape(port).await.sum("rosterd_ready", &[]), Some(1.0));
    daemon.stop().await;
}

#[tokio::test]
async fn reloads_are_counted_and_one_that_failed_is_a_figure_until_one_is_done() {
    let site = Site::idle().await;
    let port = listening(&site, "127.0.0.1").await;
    let daemon = site.daemon().await;
    let good = std::fs::read_to_string(site.file()).expect("there");
    site.write("not TOML");
    daemon.signal("HUP");
    daemon.line("the reload failed").await;
    let scraped = until_over_zero(port, "rosterd_last_reload_failed", &[]).await;
    assert_eq!(scraped.sum("rosterd_reloads_total", &[("outcome", "failed")]), Some(1.0));
    site.write(&good);
    daemon.signal("HUP");
    daemon.line("the configuration was reloaded").await;
    let scraped = until_over_zero(port, "rosterd_reloads_total", &[("outcome", "done")]).await;
    assert_eq!(scraped.sum("rosterd_last_reload_failed", &[]), Some(0.0));
    daemon.stop().await;
}
