//! What people decided, as a run meets it: approvals that let staged removals through, rejections that drop them, holds that
//! keep an undone change from being made again; and what of that is used up by the run.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::contract::journal::{Journal, JournalError, Staged};
use crate::contract::verdict::{Decision, Hold, Verdict};
use crate::model::desired::Desired;
use crate::model::key::{JobName, PlanId, SystemName, TargetKey};
use crate::reconcile::guard::{Admitted, Circumstances};
use crate::reconcile::hash::{mark, wish};

/// The decisions and holds of one job at one target.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    decisions: Vec<Decision>,
    holds: Vec<Hold>,
    /// What waited for a person when this was read.
    staged: Vec<Staged>,
    /// Users whose hold ends, since the source wants something else of them.
    ended: Vec<TargetKey>,
    /// Holds that a run meets for the first time, with what the source wants.
    met: Vec<Hold>,
}

impl Decided {
    /// Reads them.
    ///
    /// # Errors
    /// A journal that could not be read.
    pub async fn read(journal: &dyn Journal, job: &JobName, target: &SystemName) -> Result<Self, JournalError> {
        let here = |j: &JobName, t: &SystemName| j == job && t == target;
        let decisions = journal.decisions().await?.into_iter().filter(|d| here(&d.job, &d.target)).collect();
        let holds = journal.holds().await?.into_iter().filter(|h| here(&h.job, &h.target)).collect();
        let staged = journal.staged().await?.into_iter().filter(|s| here(&s.job, &s.target)).collect();
        Ok(Self { decisions, holds, staged, ended: Vec::new(), met: Vec::new() })
    }

    /// Compares the holds with what the source wants now. Not for a source that is not believed, and not for the reading of
    /// a few subjects: neither is the source's word on everybody.
    pub fn weigh(&mut self, desired: &Desired) {
        let holds = std::mem::take(&mut self.holds);
        for mut hold in holds {
            let now = wish(desired, hold.source.as_ref().and_then(|source| desired.user(source)));
            match &hold.wish {
                Some(then) if *then != now => {
                    self.ended.push(hold.user);
                    continue;
                }
                Some(_) => {}
                None => {
                    hold.wish = Some(now);
                    self.met.push(hold.clone());
                }
            }
            self.holds.push(hold);
        }
    }

    /// Tells the guard.
    pub fn tell(&self, circumstances: &mut Circumstances, now: DateTime<Utc>) {
        let with = |verdict| self.decisions.iter().filter(move |d| d.verdict == verdict && d.stands(now));
        circumstances.approved = with(Verdict::Approved).map(|d| (d.mark.clone(), d.actor.clone())).collect();
        circumstances.rejected = with(Verdict::Rejected).map(|d| d.mark.clone()).collect();
        circumstances.held = self.holds.iter().map(|h| h.user.clone()).collect();
    }

    /// Tells the guard of a plan over a few subjects, which must not let through what waits for a person.
    pub fn tell_of_few(&self, circumstances: &mut Circumstances, now: DateTime<Utc>) {
        self.tell(circumstances, now);
        circumstances.waiting = self.staged.iter().map(|s| s.mark.clone()).collect();
    }

    /// The plan in which exactly these removals waited already, if one did: as long as the same removals wait, it is that
    /// plan that is to be decided on, whatever else has changed.
    pub fn same_wait(&self, staged: &[Staged]) -> Option<&PlanId> {
        let marks = |of: &[Staged]| of.iter().map(|s| s.mark.clone()).collect::<BTreeSet<_>>();
        let plan = &self.staged.first()?.plan;
        let same = self.staged.iter().all(|s| s.plan == *plan) && marks(&self.staged) == marks(staged);
        same.then_some(plan)
    }

    /// What waited when this was read.
    pub fn staged(&self) -> &[Staged] {
        &self.staged
    }

    /// Writes down what a run over everything changes in holds, and ends decisions about changes that are gone: the source
    /// or the target has said something new.
    ///
    /// # Errors
    /// A journal that could not be written.
    pub async fn settle(
        &self,
        journal: &dyn Journal,
        job: &JobName,
        target: &SystemName,
        admitted: &Admitted,
        now: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        // A hold that a person has ended meanwhile stays ended.
        let still = journal.holds().await?;
        let stands = |met: &&Hold| still.iter().any(|h| h.job == met.job && h.target == met.target && h.user == met.user);
        let met: Vec<Hold> = self.met.iter().filter(stands).cloned().collect();
        journal.hold(&met).await?;
        journal.let_go(job, target, &self.ended).await?;
        if self.decisions.is_empty() {
            return Ok(());
        }
        let plan = admitted.plan();
        let wanted: BTreeSet<String> =
            plan.changes.iter().filter(|c| c.op.kind().removes()).map(|change| mark(plan, change)).collect();
        let gone: Vec<String> =
            self.decisions.iter().filter(|d| !d.stands(now) || !wanted.contains(&d.mark)).map(|d| d.mark.clone()).collect();
        journal.undecide(job, target, &gone).await
    }

    /// Ends the approvals of changes that were made: each lets its change through once.
    ///
    /// # Errors
    /// A journal that could not be written.
    pub async fn used(
        journal: &dyn Journal,
        job: &JobName,
        target: &SystemName,
        admitted: &Admitted,
        made: &[usize],
    ) -> Result<(), JournalError> {
        let plan = admitted.plan();
        let used: Vec<String> =
            made.iter().filter(|at| admitted.let_by(**at).is_some()).map(|at| mark(plan, &plan.changes[*at])).collect();
        journal.undecide(job, target, &used).await
    }
}
