//! Whose account is new: who is still to get the groups of `groups.default.new_users`.

use std::collections::BTreeSet;

use super::policy::Job;
use crate::contract::fault::Fault;
use crate::contract::history::{ChangeQuery, Order};
use crate::contract::journal::{Journal, JournalError, Outcome};
use crate::model::change::{Op, OpKind};
use crate::model::key::{SourceKey, SystemName};
use crate::model::plan::Plan;

/// Of how many accounts that are found by name it is asked whether rosterd itself had begun to make them. Deaths and lost answers
/// leave a handful; where there are more, a target is linked for the first time.
const MOST: usize = 100;
/// How far back the changes about one user are looked through.
const BACK: u32 = 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Newcomers {
    /// Whether the job gives groups to new users alone.
    greeted: bool,
    /// Whose account an earlier run had begun to make, without knowing whether it was made: what is found by that name is new.
    begun: BTreeSet<SourceKey>,
}

impl Newcomers {
    /// Those of a plan.
    ///
    /// # Errors
    /// Only the journal's.
    pub async fn of(journal: &dyn Journal, job: &Job, target: &SystemName, plan: &Plan) -> Result<Self, JournalError> {
        let mut newcomers = Self { greeted: !job.rules.groups.new_users.is_empty(), begun: BTreeSet::new() };
        let found = plan.changes.iter().filter_map(|change| match change.op {
            Op::LinkUser { user } => plan.user(user).source.clone(),
            _ => None,
        });
        let found: Vec<SourceKey> = found.take(MOST + 1).collect();
        if !newcomers.greeted || found.len() > MOST {
            return Ok(newcomers);
        }
        for source in found {
            if had_begun(journal, target, &source).await? {
                newcomers.begun.insert(source);
            }
        }
        Ok(newcomers)
    }

    /// Whether an account is new that is made for this user now.
    pub fn made(&self) -> bool {
        self.greeted
    }

    /// Whether an account is new that was found by this user's name.
    pub fn found(&self, source: &SourceKey) -> bool {
        self.begun.contains(source)
    }
}

/// Whether the last attempt to make an account for this user may have made one.
async fn had_begun(journal: &dyn Journal, target: &SystemName, source: &SourceKey) -> Result<bool, JournalError> {
    let query = ChangeQuery {
        target: Some(target.clone()),
        source: Some(source.clone()),
        order: Order::NewestFirst,
        limit: BACK,
        ..ChangeQuery::default()
    };
    let history = journal.history(&query).await?;
    let last = history.iter().find(|told| told.change.intent.kind == OpKind::CreateUser);
    let is_unknown = |outcome: &Outcome| match outcome {
        Outcome::Lost => true,
        Outcome::Failed { fault, .. } => Fault::UNKNOWN_EFFECTS.contains(&&**fault),
        Outcome::Done | Outcome::AlreadySo | Outcome::Skipped => false,
    };
    Ok(last.is_some_and(|told| told.change.outcome.as_ref().is_none_or(is_unknown)))
}
