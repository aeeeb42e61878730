//! What is no mistake by itself, but most likely not meant: two jobs that write the same groups of the same target, a target
//! or a source that no job uses.

use std::collections::{BTreeMap, BTreeSet};

use super::glob::{Glob, Globs};
use super::job::Job;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::model::key::{JobName, SystemName};

/// Warns of jobs that may work against each other.
pub(super) fn check_jobs(scribe: &mut Scribe<'_>, jobs: &BTreeMap<JobName, Job>) {
    let all: Vec<(&JobName, &Job)> = jobs.iter().collect();
    for (position, (name, job)) in all.iter().enumerate() {
        for (earlier_name, earlier) in &all[..position] {
            let shared = job.targets.iter().find(|target| earlier.targets.contains(target));
            let Some(target) = shared else { continue };
            if !may_meet(&job.groups.include, &earlier.groups.include) {
                continue;
            }
            let what =
                format!("the jobs `{earlier_name}` and `{name}` both manage target `{target}`, and may write the same groups");
            let hint = "keep them apart by groups.include, or make one job of them".to_owned();
            scribe.warn_at_key(&KeyPath::root().key("jobs").key(name.as_str()), what, hint);
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

/// Whether a name may match both. Errs on the side of yes: only beginnings that exclude each other are a no.
fn may_meet(left: &Globs, right: &Globs) -> bool {
    left.0.iter().any(|left| right.0.iter().any(|right| may_both(left, right)))
}

fn may_both(left: &Glob, right: &Glob) -> bool {
    match (left.literal(), right.literal()) {
        (Some(name), _) => right.is_match(name),
        (None, Some(name)) => left.is_match(name),
        (None, None) => {
            let (left, right) = (beginning(left), beginning(right));
            left.starts_with(&right) || right.starts_with(&left)
        }
    }
}

fn beginning(glob: &Glob) -> String {
    let text = glob.as_str();
    let end = text.find(['*', '?', '[', '{', '\\']).unwrap_or(text.len());
    text[..end].to_lowercase()
}
