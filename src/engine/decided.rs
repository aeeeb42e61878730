//! What people decided, as a run meets it: approvals that let staged removals through, rejections that drop them, holds that
//! keep an undone change from being made again; and what of that is used up by the run.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::contract::journal::{Journal, JournalError, Staged};
use crate::contract::verdict::{Decision, Hold, Verdict};
use crate::model::key::{JobName, PlanId, SourceKey, SystemName, TargetKey, group_key};
use crate::reconcile::guard::{Admitted, Approval, Circumstances};
use crate::reconcile::hash::{lesser, mark};
use crate::reconcile::wish::{Told, Weighed};

/// The decisions and holds of one job at one target.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    decisions: Vec<Decision>,
    holds: Vec<Hold>,
    /// What waited for a person when this was read.
    staged: Vec<Staged>,
    /// Users whose hold ends, since the source says something else of them.
    ended: Vec<TargetKey>,
    /// Holds whose wish was still open, or was made by other rules, with the one that counts from now on.
    met: Vec<Hold>,
    /// Users of whom this run cannot tell what the source wants: whatever was decided about them stands.
    untold: BTreeSet<SourceKey>,
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
        Ok(Self::of(decisions, holds, staged))
    }

    /// Of what was read before.
    pub fn of(decisions: Vec<Decision>, holds: Vec<Hold>, staged: Vec<Staged>) -> Self {
        Self { decisions, holds, staged, ..Self::default() }
    }

    /// The decisions.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The holds: all that were read, and once [weighed](Self::weigh) those that stand.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Compares the holds with what the source says now, whoever the listing lacks being accounted for. Not for a source
    /// that is not believed, and not for the reading of a few subjects: neither is the source's word on everybody.
    ///
    /// Of a user who is pending nothing is wanted, be it that the source says so or that it gave no definite answer: that is
    /// no other wish, and ends nothing.
    pub fn weigh(&mut self, told: Told<'_>) {
        self.untold = self.decisions.iter().filter_map(|d| d.source.clone()).filter(|source| told.is_pending(source)).collect();
        for hold in std::mem::take(&mut self.holds) {
            self.weigh_hold(hold, told);
        }
    }

    /// The same for the holds on one user, read alone: what a run would make of them.
    pub fn weigh_one(&mut self, source: &SourceKey, told: Told<'_>) {
        for hold in std::mem::take(&mut self.holds) {
            if hold.source.as_ref() == Some(source) { self.weigh_hold(hold, told) } else { self.holds.push(hold) }
        }
    }

    fn weigh_hold(&mut self, mut hold: Hold, told: Told<'_>) {
        // Of somebody who is not the source's it says nothing.
        let source = hold.source.as_ref().filter(|source| !told.is_pending(source));
        match source.map_or(Weighed::Stands, |source| told.weigh(source, hold.wish.as_deref())) {
            Weighed::Stands => self.holds.push(hold),
            Weighed::Anew(wish) => {
                hold.wish = Some(wish.text());
                self.met.push(hold.clone());
                self.holds.push(hold);
            }
            Weighed::Ended => self.ended.push(hold.user),
        }
    }

    /// Tells the guard.
    pub fn tell(&self, circumstances: &mut Circumstances, now: DateTime<Utc>) {
        let with = |verdict| self.decisions.iter().filter(move |d| d.verdict == verdict && d.stands(now));
        let approval =
            |d: &Decision| Approval { said: format!("{}: {}", d.actor, d.reason), guards: d.held_by.iter().cloned().collect() };
        circumstances.approved = with(Verdict::Approved).map(|d| (d.mark.clone(), approval(d))).collect();
        circumstances.rejected = with(Verdict::Rejected).map(|d| d.mark.clone()).collect();
        circumstances.held = self.holds.iter().map(|h| h.user.clone()).collect();
        circumstances.held_sources = self.holds.iter().filter_map(|h| h.source.clone()).collect();
    }

    /// Tells the guard of a plan over a few subjects, which must not let through what waits for a person.
    pub fn tell_of_few(&self, circumstances: &mut Circumstances, now: DateTime<Utc>) {
        self.tell(circumstances, now);
        let removal = |s: &Staged| (s.kind, s.user.clone(), s.group.as_deref().map(group_key));
        circumstances.waiting = self.staged.iter().map(removal).collect();
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
        journal.wish(&self.met).await?;
        journal.let_go(job, target, &self.ended).await?;
        if self.decisions.is_empty() {
            return Ok(());
        }
        let plan = admitted.plan();
        let removals = plan.changes.iter().filter(|c| c.op.kind().removes());
        let wanted: BTreeSet<String> =
            removals.flat_map(|change| std::iter::once(mark(plan, change)).chain(lesser(plan, change))).collect();
        let is_untold = |d: &Decision| d.source.as_ref().is_some_and(|source| self.untold.contains(source));
        let is_over = |d: &&Decision| !d.stands(now) || !(wanted.contains(&d.mark) || is_untold(d));
        let gone: Vec<String> = self.decisions.iter().filter(is_over).map(|d| d.mark.clone()).collect();
        journal.undecide(job, target, &gone, now).await
    }
}
