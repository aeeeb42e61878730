//! A configuration that is known to make sense.

use std::collections::{BTreeMap, BTreeSet};

use super::daemon::{self, Daemon};
use super::finding::{ConfigError, Finding};
use super::job::{self, Job, Known};
use super::layers::Layers;
use super::log::{self, Log};
use super::notify::{self, Notify};
use super::overlap;
use super::raw;
use super::scribe::Scribe;
use super::systems::{self, Side, System};
use super::telemetry::{self, Telemetry};
use crate::contract::settings::path::KeyPath;
use crate::contract::settings::read;
use crate::http::kind::{Kit, Registry};
use crate::model::key::{JobName, SystemName};

/// What a configuration is checked with that this floor does not know itself.
#[derive(Clone, Copy)]
pub struct Checks<'a> {
    /// Whether an expression can be compiled; if not, why, for a person.
    pub expression: &'a dyn Fn(&str) -> Result<(), String>,
    /// The kinds of connectors.
    pub registry: &'a Registry,
    /// What connectors are built with.
    pub kit: &'a Kit,
}

/// A configuration as meant. Every name in it leads somewhere, every expression, glob and pattern compiles, every connector
/// can be built.
#[derive(Clone, Debug)]
pub struct Config {
    /// The daemon's own settings.
    pub daemon: Daemon,
    /// What is logged.
    pub log: Log,
    /// The sources by name.
    pub sources: BTreeMap<SystemName, System>,
    /// The targets by name. No target has the name of a source.
    pub targets: BTreeMap<SystemName, System>,
    /// The jobs by name; at least one. No two write to one target.
    pub jobs: BTreeMap<JobName, Job>,
    /// The webhooks by name.
    pub notify: BTreeMap<String, Notify>,
    /// Where traces of runs are sent, if anywhere.
    pub telemetry: Option<Telemetry>,
}

/// What came of a check that passed.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What a person should look at all the same.
    pub warnings: Vec<Finding>,
}

/// Checks a configuration. Sends nothing; reads the secrets that connectors need to be built.
///
/// # Errors
/// Everything that is wrong in it, in the order of its lines.
pub fn check(layers: &Layers, checks: &Checks<'_>) -> Result<Checked, ConfigError> {
    let mut scribe = Scribe::new(layers, checks);
    let reading = read::<raw::File>(&layers.root);
    scribe.settings(&KeyPath::root(), reading.findings);
    scribe.overlook(reading.holes);
    let Some(file) = reading.value else { return Err(ConfigError { findings: scribe.finish() }) };
    let config = check_file(&mut scribe, file);
    let refused = scribe.refuses();
    let findings = scribe.finish();
    if refused { Err(ConfigError { findings }) } else { Ok(Checked { config, warnings: findings }) }
}

fn check_file(scribe: &mut Scribe<'_>, file: raw::File) -> Config {
    let raw::File { daemon, log, sources, targets, jobs, notify, telemetry } = file;
    let root = KeyPath::root();
    let source_names: BTreeSet<String> = sources.into_keys().collect();
    let target_names: BTreeSet<String> = targets.into_keys().collect();
    let daemon = daemon::check(scribe, &root.key("daemon"), daemon);
    let log = log::check(scribe, &root.key("log"), log);
    let notify = notify::check(scribe, &root.key("notify"), notify);
    let telemetry = telemetry::check(scribe, &root.key("telemetry"), telemetry);
    let sources = systems::check(scribe, Side::Sources, &source_names);
    let targets = systems::check(scribe, Side::Targets, &target_names);
    systems::check_names(scribe, &source_names, &target_names);
    if jobs.is_empty() {
        let hint = "write a table [jobs.name] with source, targets and schedule; `rosterd init` writes a whole file".to_owned();
        scribe.error_at_key(&root.key("jobs"), "there is no job", hint);
    }
    let known = Known { sources: &source_names, targets: &target_names, zone: daemon.timezone };
    let jobs = job::check_all(scribe, &root.key("jobs"), jobs, &known);
    overlap::check_jobs(scribe, &jobs);
    // A slip of a name makes a system look unused: warnings wait until nothing is wrong.
    if !scribe.refuses() {
        let used = |of: fn(&Job) -> Vec<&SystemName>| jobs.values().flat_map(of).collect::<BTreeSet<&SystemName>>();
        overlap::check_unused(scribe, "sources", &source_names, &used(|job| vec![&job.source]));
        overlap::check_unused(scribe, "targets", &target_names, &used(|job| job.targets.iter().collect()));
    }
    Config { daemon, log, sources, targets, jobs, notify, telemetry }
}
