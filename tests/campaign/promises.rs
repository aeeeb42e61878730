//! What a run is held against besides the lands: the plan that was shown before it, whom it may speak to, and whom it must not
//! hold up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rosterd::contract::journal::{ChangeRecord, Ended, Journal, Outcome, RunRecord};
use rosterd::engine::run::{World, plan};
use rosterd::model::key::{SourceKey, SystemName, fold};
use rosterd::model::link::Links;
use rosterd::reconcile::render::view;

use crate::systems::SYSTEMS;

/// A change as a plan shows it and as the journal tells it: what is done, to whom (by the source's id, since names change on the
/// way, or by name who has none), in which group.
type Step = (String, String, String);

/// What a plan shows of each target that can be planned for, if it is asked just before a run.
pub struct Shown(BTreeMap<SystemName, BTreeSet<Step>>);

/// Everything that the state file holds, with what is not yet written back into it.
fn state(folder: &Path) -> [Option<Vec<u8>>; 2] {
    ["state.db", "state.db-wal"].map(|name| std::fs::read(folder.join(name)).ok())
}

/// Looks at the plan as an operator would, which must leave no trace.
pub async fn shown(world: &World, folder: &Path) -> Result<Shown, String> {
    let before = state(folder);
    let plans = plan(world).await.map_err(|error| format!("in fair weather there is no plan: {error}"))?;
    if state(folder) != before {
        return Err("a plan was only looked at, and the state file is another".to_owned());
    }
    let mut shown = BTreeMap::new();
    for (target, prepared) in plans {
        let judged = prepared.map_err(|error| format!("in fair weather there is no plan for {target}: {error}"))?.judged;
        let (removals, plan) = (judged.staged.iter().map(|(at, _)| *at), judged.admitted.plan());
        if let Some(at) = removals.into_iter().find(|at| !plan.changes[*at].op.kind().removes()) {
            return Err(format!("{target}: additions flow, and one waits: {:?}", plan.changes[at]));
        }
        let text = |of: Option<&str>| fold(of.unwrap_or_default()).to_string();
        let admitted = view(&judged).changes.into_iter().filter(|change| change.verdict == "admitted");
        let step =
            admitted.map(|c| (c.op.to_string(), text(c.source.as_deref().or(c.user.as_deref())), text(c.group.as_deref())));
        shown.insert(target, step.collect());
    }
    Ok(Shown(shown))
}

impl Shown {
    /// The run has done what was shown, and nothing else.
    pub fn is_what_happened(&self, target: &SystemName, told: &[ChangeRecord]) -> Result<(), String> {
        let shown = &self.0[target];
        let text = |of: Option<&str>| fold(of.unwrap_or_default()).to_string();
        let tried = told.iter().filter(|change| !matches!(change.outcome, Some(Outcome::Skipped | Outcome::Lost)));
        let made: BTreeSet<Step> = tried
            .map(|ChangeRecord { intent, .. }| {
                let whom = intent.source.as_ref().map(SourceKey::as_str).or(intent.user_name.as_deref());
                (intent.kind.word().to_owned(), text(whom), text(intent.group.as_deref()))
            })
            .collect();
        let (missing, besides): (Vec<_>, Vec<_>) = (shown.difference(&made).collect(), made.difference(shown).collect());
        match (&missing[..], &besides[..]) {
            ([], []) => Ok(()),
            _ => Err(format!("{target}: shown and not done: {missing:?}; done and not shown: {besides:?}")),
        }
    }
}

/// Who rests. While the source does, nobody is to be spoken to.
pub async fn resting(journal: &dyn Journal, now: DateTime<Utc>) -> Result<Resting, String> {
    let rests = journal.rests().await.map_err(|error| format!("the store: {error}"))?;
    let systems = SYSTEMS.map(SystemName::from);
    let at = |time: DateTime<Utc>| -> BTreeSet<SystemName> {
        let is_at_rest = |system: &&SystemName| {
            rests.iter().any(|rest| rest.system == **system && rest.until.is_none_or(|until| time < until))
        };
        let all = is_at_rest(&&systems[0]);
        systems.iter().filter(|system| all || is_at_rest(system)).cloned().collect()
    };
    let (now, later) = (at(now), at(now + TimeDelta::hours(1)));
    Ok(Resting { throughout: now.intersection(&later).cloned().collect(), now })
}

/// See [`resting`].
pub struct Resting {
    /// Who rests at this moment.
    pub now: BTreeSet<SystemName>,
    /// Who does and will for an hour, which is longer than any run.
    throughout: BTreeSet<SystemName>,
}

/// Of those who rest nobody was spoken to.
pub fn nobody_resting_was_asked(resting: &Resting, before: &[u64; 4], after: &[u64; 4]) -> Result<(), String> {
    let asked = SYSTEMS.iter().zip(before.iter().zip(after)).filter(|(_, (before, after))| before != after);
    let disturbed: Vec<_> =
        asked.map(|(name, _)| *name).filter(|name| resting.throughout.contains(&SystemName::from(*name))).collect();
    if disturbed.is_empty() { Ok(()) } else { Err(format!("{disturbed:?} rested, and was spoken to")) }
}

/// One target is down and nothing else is wrong: the others have had their run.
pub fn was_not_held_up(runs: &[RunRecord]) -> Result<(), String> {
    let is_through =
        |run: &RunRecord| run.end.as_ref().is_some_and(|end| !matches!(end.ended, Ended::Failed | Ended::Interrupted));
    if runs.iter().any(is_through) { Ok(()) } else { Err(format!("another target was down, and held this one up: {runs:?}")) }
}

/// Nobody at the source has two accounts, and no account belongs to two people.
pub fn nobody_is_there_twice(links: &Links) -> Result<(), String> {
    let (mut people, mut accounts) = (BTreeSet::new(), BTreeSet::new());
    for link in &links.users {
        if !people.insert(&link.source) {
            return Err(format!("{} is linked twice", link.source));
        }
        if !accounts.insert(&link.target) {
            return Err(format!("the account {} is linked to two people", link.target));
        }
    }
    Ok(())
}
