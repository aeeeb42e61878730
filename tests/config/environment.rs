//! The environment lies over the file: each variable reaches the key that it names, whatever its case, and is text.

use std::time::Duration;

use rosterd::config::schedule::Rhythm;
use rosterd::config::{ConfigError, Place};

use super::mistakes::WORKING;
use super::{load, load_with};

fn refused(text: &str, environment: &[(&str, &str)]) -> ConfigError {
    load_with(text, environment).expect_err("the test's configuration is wrong")
}

#[test]
fn a_variable_overrides_a_key() {
    let checked = load_with(WORKING, &[("ROSTERD__JOBS__STAFF__SCHEDULE", "15m")]).expect("it is right");
    let job = checked.config.jobs.values().next().expect("there is one");
    assert_eq!(*job.schedule.rhythm(), Rhythm::Every(Duration::from_secs(900)));
}

#[test]
fn a_variable_reaches_a_key_in_capitals() {
    let text = WORKING.replace("jobs.staff", "jobs.Staff_EU");
    let checked = load_with(&text, &[("ROSTERD__JOBS__STAFF_EU__MODE", "observe")]).expect("it is right");
    let (name, job) = checked.config.jobs.iter().next().expect("there is one");
    assert_eq!((name.as_str(), job.mode), ("Staff_EU", rosterd::config::job::Mode::Observe));
}

#[test]
fn a_variable_makes_tables_that_the_file_lacks() {
    let environment = [("ROSTERD__JOBS__STAFF__GUARD__DEACTIVATIONS__FLOOR", "7"), ("ROSTERD__DAEMON__LISTEN", "off")];
    let config = load_with(WORKING, &environment).expect("it is right").config;
    let guard = &config.jobs.values().next().expect("there is one").guard;
    assert_eq!((guard.deactivations.floor, guard.deactivations.share), (7, 0.10));
    assert_eq!(config.daemon.listen, None);
}

#[test]
fn a_variable_that_looks_like_a_list_or_a_table_is_one() {
    let environment = [
        ("ROSTERD__JOBS__STAFF__TARGETS", r#"["jira"]"#),
        ("ROSTERD__JOBS__STAFF__SCHEDULE", r#"{ every = "daily", at = "06:30" }"#),
    ];
    let text = format!("{WORKING}[targets.confluence]\nkind = 'confluence'\nurl = 'https://c'\nauth = {{}}\n");
    let checked = load_with(&text, &environment).expect("it is right");
    assert_eq!(checked.config.jobs.values().next().expect("there is one").targets.len(), 1);
    assert_eq!(checked.warnings.len(), 1, "nobody uses confluence now");
}

#[test]
fn the_text_of_a_variable_is_kept_to_the_letter() {
    for text in ["0012345", "1e5", "TRUE", " padded "] {
        let checked = load_with(WORKING, &[("ROSTERD__SOURCES__OKTA__APP_ID", text)]).expect("it is right");
        let value = &checked.config.sources.values().next().expect("there is one").settings.value;
        let config::ValueKind::Table(table) = &value.kind else { panic!("a table") };
        assert_eq!(table.get("app_id").map(|value| value.kind.clone()), Some(config::ValueKind::String(text.into())));
    }
}

#[test]
fn a_connector_converts_the_text_of_a_variable() {
    let environment = [("ROSTERD__TARGETS__JIRA__HTTP__CONCURRENCY", "8"), ("ROSTERD__TARGETS__JIRA__ALLOW_HTTP", "true")];
    load_with(WORKING, &environment).expect("it is right");
}

#[test]
fn the_variable_that_names_the_file_overrides_nothing() {
    load_with(WORKING, &[("ROSTERD_CONFIG", "/etc/rosterd/rosterd.toml"), ("OTHER__KEY", "x")]).expect("it is right");
}

#[test]
fn a_mistake_in_a_variable_is_told_by_its_name_and_shows_no_secret() {
    let environment = [
        ("ROSTERD__JOBS__STAFF__GUARD__ADMINS_AT_LEAST", "two"),
        ("ROSTERD__JOBS__STAFF__SCHEDUEL", "hourly"),
        ("ROSTERD__SOURCES__OKTA__API_TOKEN", "hunter2-hunter2"),
        ("ROSTERD__DAEMON__LISTEN", "everywhere"),
    ];
    let error = refused(WORKING, &environment);
    assert!(error.findings.iter().all(|finding| matches!(finding.place, Place::Variable { .. })));
    let shown = error.render(false);
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!("variables", shown);
}

#[test]
fn a_variable_that_leads_astray_is_told() {
    let environment = [
        ("ROSTERD__JOBS__STAFF__TARGETS__0", "jira"),
        ("ROSTERD__JOBS____MODE", "observe"),
        ("ROSTERD__LOG__FILE", "{ directory = "),
    ];
    insta::assert_snapshot!("variables_astray", refused(WORKING, &environment).render(false));
}

#[test]
fn a_segment_that_may_mean_two_keys_is_refused() {
    let text = format!("{WORKING}[jobs.STAFF]\nsource = 'okta'\ntargets = ['jira']\nschedule = 'daily'\nmode = 'observe'\n");
    load(&text).expect("it is right");
    let error = refused(&text, &[("ROSTERD__JOBS__Staff__MODE", "observe")]);
    assert_eq!(error.findings[0].what, "`Staff` may mean `STAFF` or `staff`");
    load_with(&text, &[("ROSTERD__JOBS__staff__MODE", "observe")]).expect("the key's own spelling is meant");
}
