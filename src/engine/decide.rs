//! A person's word on removals that wait, from whichever side it comes: the command line or the API.
//!
//! What is approved is each change by itself, as it was shown. The next run lets it through if it is still that change, and
//! if the source still bears it out; whatever else the run wants to remove waits as before.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::contract::journal::{Journal, JournalError, Staged};
use crate::contract::verdict::{Decision, SavedChange, SavedPlan, Verdict};
use crate::model::key::{JobName, PlanId, SystemName};
use crate::reconcile::pattern::NameSet;

/// What was said, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Let through, or drop.
    pub verdict: Verdict,
    /// Only removals about these users or groups; none: all of the plan.
    pub only: &'a NameSet,
    /// Who says so.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The decisions, as written.
    pub decisions: Vec<Decision>,
    /// How many removals of the plan still wait.
    pub others: usize,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The beginning of several ids.
    #[error("{given:?} begins the ids of several plans: give more of {ids}")]
    Ambiguous {
        /// What was given.
        given: String,
        /// The ids.
        ids: String,
    },
    /// Nobody knows of such a plan.
    #[error("no plan {0:?} waits or was saved")]
    Unknown(String),
    /// It is too old.
    #[error("plan {plan} of {made} is too old to be decided on")]
    Expired {
        /// Its id.
        plan: PlanId,
        /// When it was made.
        made: DateTime<Utc>,
    },
    /// Nothing in it needs a person.
    #[error("nothing in plan {0} waits for a person")]
    NothingWaits(PlanId),
    /// None of the names is in it.
    #[error("no removal of this plan is about any of these names; it waits for {0}")]
    NoSuchName(String),
    /// The store.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl DecideError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            DecideError::Unknown(_) | DecideError::Expired { .. } => {
                Some("make it anew with `rosterd plan --save`; `rosterd status` names the plan that waits now")
            }
            DecideError::NothingWaits(_) => {
                Some("what a run may do by itself needs no approval, and what is refused cannot be approved")
            }
            DecideError::NoSuchName(_) => {
                Some("names are those of users and groups at the target, `*` stands for any characters")
            }
            DecideError::Ambiguous { .. } | DecideError::Journal(_) => None,
        }
    }
}

/// A removal that can be decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For which job.
    pub job: JobName,
    /// At which target.
    pub target: SystemName,
    /// The plan it is shown in.
    pub plan: PlanId,
    /// What.
    pub change: SavedChange,
    /// Since when a run has it wait; `None`: no run has met it yet, it stands in a saved plan.
    pub since: Option<DateTime<Utc>>,
}

/// Decides on the removals of a plan. `lasts` says for how long an approval of a job stands if it is not used.
///
/// # Errors
/// See [`DecideError`]. Nothing was written then.
pub async fn decide(
    journal: &dyn Journal,
    plan: &str,
    said: Said<'_>,
    lasts: impl Fn(&JobName) -> Duration,
) -> Result<Written, DecideError> {
    let waiting = waiting(journal, plan, said.at).await?;
    let chosen: Vec<&Waiting> = waiting.iter().filter(|w| said.only.is_empty() || names(&w.change, said.only)).collect();
    if chosen.is_empty() {
        let names: BTreeSet<&str> = waiting.iter().map(|w| &*w.change.user_name).collect();
        return Err(DecideError::NoSuchName(names.into_iter().take(10).collect::<Vec<_>>().join(", ")));
    }
    let decisions: Vec<Decision> = chosen.iter().map(|w| decision(w, said, lasts(&w.job))).collect();
    journal.decide(&decisions).await?;
    Ok(Written { others: waiting.len() - decisions.len(), decisions })
}

/// Whether a change is about one of these users or groups.
fn names(change: &SavedChange, only: &NameSet) -> bool {
    [Some(&change.user_name), change.group.as_ref()].into_iter().flatten().any(|name| only.matches(name))
}

/// The removals of a plan that wait: those that a run staged, and those of a saved plan. An unambiguous beginning of the
/// plan's id will do.
///
/// # Errors
/// See [`DecideError`].
pub async fn waiting(journal: &dyn Journal, id: &str, now: DateTime<Utc>) -> Result<Vec<Waiting>, DecideError> {
    let staged = journal.staged().await?;
    let saved = journal.saved_plans(id).await?;
    // What an earlier version staged has no mark yet; the next run gives it one.
    let of_runs = staged.iter().filter(|s| !id.is_empty() && !s.mark.is_empty() && s.plan.as_str().starts_with(id));
    // Each run that is believed renews the plan that waits. Where none came for so long, nobody knows whether it is still right.
    let plan_of = |s: &Staged| saved.iter().find(|p| (&p.id, &p.job, &p.target) == (&s.plan, &s.job, &s.target));
    let is_fresh = |s: &&Staged| plan_of(s).is_none_or(|plan| now < plan.expires);
    let plans: BTreeSet<&str> = of_runs.clone().map(|s| s.plan.as_str()).chain(saved.iter().map(|p| p.id.as_str())).collect();
    let whole = plans.contains(id);
    if plans.len() > 1 && !whole {
        return Err(DecideError::Ambiguous { given: id.to_owned(), ids: plans.into_iter().collect::<Vec<_>>().join(" or ") });
    }
    let (fresh, stale): (Vec<&SavedPlan>, Vec<&SavedPlan>) = saved.iter().partition(|plan| now < plan.expires);
    let mut seen: BTreeSet<(JobName, SystemName, String)> = BTreeSet::new();
    let mut found: Vec<Waiting> = Vec::new();
    for entry in of_runs
        .filter(is_fresh)
        .filter(|s| !whole || s.plan.as_str() == id)
        .map(of_run)
        .chain(fresh.into_iter().flat_map(of_saved))
    {
        if seen.insert((entry.job.clone(), entry.target.clone(), entry.change.mark.clone())) {
            found.push(entry);
        }
    }
    match (found.is_empty(), stale.first(), saved.first()) {
        (false, _, _) => Ok(found),
        (true, Some(plan), _) => Err(DecideError::Expired { plan: plan.id.clone(), made: plan.made }),
        (true, None, Some(plan)) => Err(DecideError::NothingWaits(plan.id.clone())),
        (true, None, None) => Err(DecideError::Unknown(id.to_owned())),
    }
}

fn of_run(staged: &Staged) -> Waiting {
    Waiting {
        job: staged.job.clone(),
        target: staged.target.clone(),
        plan: staged.plan.clone(),
        change: SavedChange {
            mark: staged.mark.clone(),
            kind: staged.kind,
            source: staged.source.clone(),
            user_name: staged.user_name.clone(),
            group: staged.group.clone(),
            held_by: staged.held_by.clone(),
        },
        since: Some(staged.since),
    }
}

fn of_saved(plan: &SavedPlan) -> impl Iterator<Item = Waiting> + '_ {
    plan.changes.iter().map(|change| Waiting {
        job: plan.job.clone(),
        target: plan.target.clone(),
        plan: plan.id.clone(),
        change: change.clone(),
        since: None,
    })
}

fn decision(waiting: &Waiting, said: Said<'_>, lasts: Duration) -> Decision {
    let Waiting { job, target, plan, change, since: _ } = waiting;
    let until = said.at + TimeDelta::from_std(lasts).unwrap_or(TimeDelta::days(365));
    Decision {
        job: job.clone(),
        target: target.clone(),
        mark: change.mark.clone(),
        plan: plan.clone(),
        verdict: said.verdict,
        held_by: change.held_by.clone(),
        source: change.source.clone(),
        kind: change.kind,
        user_name: change.user_name.clone(),
        group: change.group.clone(),
        actor: said.actor.to_owned(),
        reason: said.reason.to_owned(),
        at: said.at,
        expires: (said.verdict == Verdict::Approved).then_some(until),
    }
}
