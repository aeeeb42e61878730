//! One job: a source, its targets, and the rules between them.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::OneOrMany;
use super::groups::{self, Groups};
use super::guard::{self, Guard};
use super::leavers::{self, Leavers};
use super::names;
use super::raw;
use super::retry::{self, Retry};
use super::schedule::{Schedule, written};
use super::scribe::Scribe;
use super::users::{self, Users};
use crate::contract::settings::near;
use crate::contract::settings::path::KeyPath;
use crate::model::key::{JobName, SystemName};

/// What a job does with its plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It applies what the guard lets through.
    #[default]
    Apply,
    /// It plans and reports, and changes nothing.
    Observe,
}

/// One source, its targets, and the rules between them.
#[derive(Clone, Debug)]
pub struct Job {
    /// The source; it is configured.
    pub source: SystemName,
    /// The targets, at least one, none twice; they are configured.
    pub targets: Vec<SystemName>,
    /// When it runs.
    pub schedule: Schedule,
    /// What it does with its plans.
    pub mode: Mode,
    /// The targets at which it only observes, whatever its mode; they are among its targets.
    pub observe: BTreeSet<SystemName>,
    /// Who is managed.
    pub users: Users,
    /// Which groups are managed.
    pub groups: Groups,
    /// What happens to users who leave.
    pub leavers: Leavers,
    /// What must hold before access is taken away.
    pub guard: Guard,
    /// How what failed for the moment is tried again.
    pub retry: Retry,
}

impl Job {
    /// Whether it only plans and reports at a target.
    pub fn observes(&self, target: &SystemName) -> bool {
        self.mode == Mode::Observe || self.observe.contains(target)
    }
}

/// The names that a job may use.
pub(super) struct Known<'a> {
    pub(super) sources: &'a BTreeSet<String>,
    pub(super) targets: &'a BTreeSet<String>,
    pub(super) zone: Tz,
}

/// Checks all jobs. One whose schedule is none is left out: the configuration is refused then anyway.
pub(super) fn check_all(
    scribe: &mut Scribe<'_>,
    path: &KeyPath,
    raw: BTreeMap<String, raw::Job>,
    known: &Known<'_>,
) -> BTreeMap<JobName, Job> {
    let mut jobs = BTreeMap::new();
    for (name, job) in raw {
        let at = path.key(&name);
        names::given_name(scribe, &at, &name);
        if let Some(job) = check(scribe, &at, job, known) {
            jobs.insert(JobName::from(name), job);
        }
    }
    jobs
}

fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Job, known: &Known<'_>) -> Option<Job> {
    let raw::Job { source, targets, schedule, mode, observe, users, groups, leavers, guard, retry } = raw;
    if !known.sources.contains(&source) {
        dangling(scribe, &path.key("source"), "source", &source, known.sources);
    }
    let observe = check_observed(scribe, &path.key("observe"), &observe, &targets.texts);
    let targets = check_targets(scribe, &path.key("targets"), &targets, known.targets);
    let schedule = written::check(scribe, &path.key("schedule"), schedule, known.zone);
    let users = users::check(scribe, &path.key("users"), users);
    let groups = groups::check(scribe, &path.key("groups"), groups);
    let leavers = leavers::check(scribe, &path.key("leavers"), leavers);
    let guard = guard::check(scribe, &path.key("guard"), guard);
    let retry = retry::check(scribe, &path.key("retry"), retry);
    let mode = mode.unwrap_or_default();
    let (source, schedule) = (SystemName::from(source), schedule?);
    Some(Job { source, targets, schedule, mode, observe, users, groups, leavers, guard, retry })
}

fn check_targets(scribe: &mut Scribe<'_>, path: &KeyPath, written: &OneOrMany, known: &BTreeSet<String>) -> Vec<SystemName> {
    let mut targets: Vec<SystemName> = Vec::new();
    if written.texts.is_empty() {
        scribe.error(path, "the job has no target", near::advise("", known.iter().map(String::as_str)));
    }
    for (index, name) in written.texts.iter().enumerate() {
        let at = if written.listed { path.index(index) } else { path.clone() };
        if !known.contains(name) {
            dangling(scribe, &at, "target", name, known);
        } else if targets.iter().any(|target| target.as_str() == name) {
            scribe.error(&at, format!("`{name}` is there twice"), None);
        } else {
            targets.push(SystemName::from(name.as_str()));
        }
    }
    targets
}

/// A name that is no target of the job is a mistake: whoever wrote it believes that something is only looked at.
fn check_observed(scribe: &mut Scribe<'_>, path: &KeyPath, written: &OneOrMany, targets: &[String]) -> BTreeSet<SystemName> {
    let mut observed = BTreeSet::new();
    for (index, name) in written.texts.iter().enumerate() {
        let at = if written.listed { path.index(index) } else { path.clone() };
        if !targets.contains(name) {
            let hint = near::advise(name, targets.iter().map(String::as_str));
            scribe.error(&at, format!("`{name}` is no target of this job"), hint);
        } else if !observed.insert(SystemName::from(name.as_str())) {
            scribe.error(&at, format!("`{name}` is there twice"), None);
        }
    }
    observed
}

fn dangling(scribe: &mut Scribe<'_>, at: &KeyPath, side: &str, name: &str, known: &BTreeSet<String>) {
    let hint = near::advise(name, known.iter().map(String::as_str))
        .unwrap_or_else(|| format!("write a table [{side}s.{}]", if name.is_empty() { "name" } else { name }));
    scribe.error(at, format!("there is no {side} `{name}`"), hint);
}
