//! What the engine must know of one job.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::contract::notice::Subscription;
use crate::contract::source::{Ask, Attributes, GroupFilter};
use crate::model::backoff::Backoff;
use crate::model::key::{JobName, SystemName};
use crate::reconcile::guard;
use crate::reconcile::health::HealthPolicy;
use crate::reconcile::rules::Rules;

/// A job, as the engine sees it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// What should be.
    pub rules: Rules,
    /// What may happen.
    pub guard: guard::Policy,
    /// When the source is believed.
    pub health: HealthPolicy,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// The targets at which it only plans and reports.
    pub observe: BTreeSet<SystemName>,
    /// Who is told what needs a person.
    pub notify: Vec<Subscription>,
}

/// How failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The delays.
    pub backoff: Backoff,
    /// Failures in a row until a subject is quarantined.
    pub attempts: u32,
    /// How long a quarantined subject, or target, rests between tries.
    pub rest: Duration,
}

impl Job {
    /// Whether it only plans and reports at a target.
    pub fn observes(&self, target: &SystemName) -> bool {
        self.observe.contains(target)
    }

    /// What the job needs of its source.
    pub fn ask(&self) -> Ask {
        let uses = self.rules.uses();
        let attributes = if uses.whole_profile {
            Attributes::All
        } else if uses.attributes.is_empty() {
            Attributes::None
        } else {
            Attributes::Named(uses.attributes)
        };
        let rules = self.rules.clone();
        let all = rules.groups.include.is_none() && rules.groups.exclude.is_empty();
        let groups = (!all).then(|| GroupFilter(std::sync::Arc::new(move |name: &str| rules.needs_group(name))));
        Ask { attributes, groups }
    }
}
