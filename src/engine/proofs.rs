//! Asking the source about single users and groups, each at most once a job run, however many targets want to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::{Ask, GroupFact, Source, Subject};
use crate::model::desired::Desired;
use crate::model::key::{SourceKey, TargetKey, group_key};
use crate::reconcile::proof::{Fresh, desired_of, fresh};
use crate::reconcile::rules::Rules;
use crate::reconcile::wish::Told;

type Asked<T> = Mutex<BTreeMap<SourceKey, Arc<OnceCell<Result<Option<T>, ConnectorError>>>>>;

/// The answers of one job run.
pub struct Proofs {
    source: Arc<dyn Source>,
    ask: Ask,
    known_groups: BTreeSet<SourceKey>,
    users: Asked<Arc<Subject>>,
    groups: Asked<GroupFact>,
    played: Option<BTreeSet<SourceKey>>,
}

impl Proofs {
    /// Nothing asked yet. `known_groups` are those of the roster: they are in the source's scope.
    pub fn new(source: Arc<dyn Source>, ask: Ask, known_groups: BTreeSet<SourceKey>) -> Self {
        Self { source, ask, known_groups, users: Mutex::default(), groups: Mutex::default(), played: None }
    }

    /// Those of a recording under pseudonyms: `users` are those about whom it was asked, in whatever order.
    pub fn playing(self, users: BTreeSet<SourceKey>) -> Self {
        Self { played: Some(users), ..self }
    }

    /// Who can be asked about, if only some can.
    pub fn played(&self) -> Option<&BTreeSet<SourceKey>> {
        self.played.as_ref()
    }

    fn cell<T>(asked: &Asked<T>, key: &SourceKey) -> Arc<OnceCell<Result<Option<T>, ConnectorError>>> {
        asked.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone()
    }

    /// The user as the source has it now; `None` only if it definitely has none.
    ///
    /// # Errors
    /// Whatever kept the source from a definite answer.
    pub async fn user(&self, key: &SourceKey) -> Result<Option<Arc<Subject>>, ConnectorError> {
        let cell = Self::cell(&self.users, key);
        cell.get_or_init(|| async { Ok(self.source.fetch_user(key, &self.ask).await?.map(Arc::new)) }).await.clone()
    }

    /// The refusal of the source's credential, if one of the questions met it.
    pub fn refusal(&self) -> Option<ConnectorError> {
        fn met<T>(asked: &Asked<T>) -> Option<ConnectorError> {
            let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            let mut errors = asked.values().filter_map(|cell| cell.get().and_then(|answer| answer.as_ref().err()));
            errors.find(|error| error.fault == Fault::Refused).cloned()
        }
        met(&self.users).or_else(|| met(&self.groups))
    }

    /// The group as the source has it now; `None` only if it definitely has none.
    ///
    /// # Errors
    /// Whatever kept the source from a definite answer.
    pub async fn group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        Self::cell(&self.groups, key).get_or_init(|| self.source.fetch_group(key)).await.clone()
    }

    /// Whether a group that the roster does not have is in the source's scope all the same.
    async fn group_in_scope(&self, key: &SourceKey) -> Result<bool, ConnectorError> {
        Ok(self.group(key).await?.is_some_and(|group| group.in_scope))
    }

    /// What should be for one user by the job's rules, read now. `about` are the target groups in question: groups of the
    /// user that the roster lacks are asked about only if they could speak for one of these.
    ///
    /// # Errors
    /// Whatever kept the source from a definite answer.
    pub async fn fresh(&self, key: &SourceKey, about: &BTreeSet<TargetKey>, rules: &Rules) -> Result<Fresh, ConnectorError> {
        let subject = self.user(key).await?;
        let counting = self.counting(subject.as_deref(), about, rules).await?;
        Ok(fresh(subject.as_deref(), |group| counting.contains(group), rules))
    }

    /// One user read alone: what a run over everybody would make of what the source says of the user, but for what depends on
    /// others.
    ///
    /// # Errors
    /// Whatever kept the source from a definite answer.
    pub async fn single(&self, key: &SourceKey, rules: &Rules) -> Result<Single, ConnectorError> {
        let Some(subject) = self.user(key).await? else { return Ok(Single::default()) };
        let names = subject.groups.iter().flat_map(|(_, name)| rules.groups.targets(name));
        let about: BTreeSet<TargetKey> = names.map(|target| group_key(&target)).collect();
        let counting = self.counting(Some(&subject), &about, rules).await?;
        let desired = desired_of(&subject, |group| counting.contains(group), rules);
        let outside = (!subject.in_scope).then(|| key.clone()).into_iter().collect();
        Ok(Single { subject: Some(subject), counting, desired, outside })
    }

    /// The subject's groups that count.
    ///
    /// # Errors
    /// Whatever kept the source from a definite answer.
    pub async fn counting(
        &self,
        subject: Option<&Subject>,
        about: &BTreeSet<TargetKey>,
        rules: &Rules,
    ) -> Result<BTreeSet<SourceKey>, ConnectorError> {
        let mut counting = BTreeSet::new();
        for (group, name) in subject.map_or(&[][..], |s| &s.groups) {
            let speaks = rules.uses().groups
                || rules.scope.member_of.matches(name)
                || (rules.groups.takes(name) && rules.groups.targets(name).iter().any(|t| about.contains(&group_key(t))));
            if self.known_groups.contains(group) || (speaks && self.group_in_scope(group).await?) {
                counting.insert(group.clone());
            }
        }
        Ok(counting)
    }
}

/// One user read alone.
#[derive(Clone, Debug, Default)]
pub struct Single {
    /// The facts; `None`: the source definitely has no such user.
    pub subject: Option<Arc<Subject>>,
    /// Of its groups those that count.
    pub counting: BTreeSet<SourceKey>,
    /// What should be.
    pub desired: Desired,
    /// The user, if the source has it outside its own scope.
    outside: BTreeSet<SourceKey>,
}

impl Single {
    /// The same for whoever weighs holds.
    pub fn told<'a>(&'a self, rules: &'a str) -> Told<'a> {
        Told { desired: &self.desired, outside: &self.outside, rules }
    }
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proofs").field("known_groups", &self.known_groups.len()).finish_non_exhaustive()
    }
}
