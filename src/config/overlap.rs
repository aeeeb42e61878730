//! What stands between the tables of a configuration: two jobs that would write to one target, and systems that no job uses.

use std::collections::{BTreeMap, BTreeSet};

use super::job::Job;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::model::key::{JobName, SystemName};

/// Refuses a target to which two jobs write. What rosterd knows of a target is the target's: whose each account is, which
/// memberships it gave, what was taken away in the last day. To each of two jobs whoever came by the other would be a leaver,
/// and it makes no difference that both have one source: the rules for users, groups and leavers decide who is wanted. A job
/// that only observes a target takes nothing from anybody there, so one may stand beside the job that writes.
pub(super) fn check_jobs(scribe: &mut Scribe<'_>, jobs: &BTreeMap<JobName, Job>) {
    let mut writers: BTreeMap<&SystemName, &JobName> = BTreeMap::new();
    for (name, job) in jobs {
        for target in job.targets.iter().filter(|target| !job.observes(target)) {
            let Some(earlier) = writers.get(target) else {
                writers.insert(target, name);
                continue;
            };
            let what = format!(
                "the jobs `{earlier}` and `{name}` both write to target `{target}`: each would take the other's people for leavers"
            );
            let hint = format!("make one job of them, or let one of them only look: jobs.{name}.observe = [\"{target}\"]");
            scribe.error_at_key(&KeyPath::root().key("jobs").key(name.as_str()).key("targets"), what, hint);
        }
    }
}

/// Warns of systems that no job uses.
pub(super) fn check_unused(scribe: &mut Scribe<'_>, side: &str, systems: &BTreeSet<String>, used: &BTreeSet<&SystemName>) {
    for name in systems {
        if !used.iter().any(|system| system.as_str() == name) {
            let word = side.trim_end_matches('s');
            let what = format!("no job uses the {word} `{name}`");
            scribe.warn_at_key(&KeyPath::root().key(side).key(name), what, None);
        }
    }
}
