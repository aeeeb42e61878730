//! `rosterd approve` and `rosterd reject`: a person's word on removals that wait.
//!
//! What is approved is each change by itself, as it was shown. The next run lets it through if it is still that change, and
//! if the source still bears it out; whatever else the run wants to remove waits as before.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

use super::Arguments;
use super::actor::actor;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::config::Config;
use crate::config::guard::PLAN_EXPIRES;
use crate::contract::journal::{Journal, Staged};
use crate::contract::verdict::{Decision, SavedChange, SavedPlan, Verdict};
use crate::model::key::{JobName, PlanId, SystemName};
use crate::reconcile::pattern::NameSet;
use crate::store::Access;

/// What the commands take.
#[derive(Debug, Args)]
pub struct DecideArguments {
    /// The plan's id, or the beginning of it
    plan: String,
    /// Only the removals about these users or groups (globs); else all that wait in the plan
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// A removal that can be decided on.
struct Waiting {
    job: JobName,
    target: SystemName,
    plan: PlanId,
    change: SavedChange,
}

/// Writes decisions.
///
/// # Errors
/// A plan that is not known, that is too old, or in which nothing waits.
pub fn command(arguments: &Arguments, more: &DecideArguments, verdict: Verdict) -> Result<Exit, Failure> {
    if more.reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "the reason is empty").hint("say why in a few words: it is kept in the journal"));
    }
    let only = NameSet::new(&more.only).map_err(|(at, why)| Failure::new(Exit::Usage, format!("--only {:?}: {why}", more.only[at])))?;
    let stage = Stage::load(arguments)?;
    let now = Utc::now();
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Write).await?;
        let waiting = waiting(&*journal, &more.plan, now).await?;
        let chosen: Vec<&Waiting> = waiting.iter().filter(|w| only.is_empty() || names(&w.change, &only)).collect();
        if chosen.is_empty() {
            let names: BTreeSet<&str> = waiting.iter().filter_map(|w| w.change.user_name.as_deref()).take(10).collect();
            return Err(Failure::new(Exit::Failed, "no removal of this plan is about any of these names")
                .hint(format!("the plan waits for: {}", names.into_iter().collect::<Vec<_>>().join(", "))));
        }
        let who = actor();
        let decisions: Vec<Decision> =
            chosen.iter().map(|w| decision(w, verdict, &who, &more.reason, &stage.config, now)).collect();
        journal.decide(&decisions).await?;
        if arguments.json {
            output::json(&decisions)?;
        } else {
            tell(&decisions, verdict, waiting.len() - chosen.len(), &stage.config, now)?;
        }
        Ok(Exit::Done)
    })
}

/// Whether a change is about one of these users or groups.
fn names(change: &SavedChange, only: &NameSet) -> bool {
    [&change.user_name, &change.group].into_iter().flatten().any(|name| only.matches(name))
}

/// The removals of a plan that wait: those that a run staged, and those of a saved plan.
async fn waiting(journal: &dyn Journal, id: &str, now: DateTime<Utc>) -> Result<Vec<Waiting>, Failure> {
    let staged = journal.staged().await?;
    let saved = journal.saved_plans(id).await?;
    let mut found: Vec<Waiting> = Vec::new();
    let mut seen: BTreeSet<(JobName, SystemName, String)> = BTreeSet::new();
    let of_runs = staged.iter().filter(|s| !id.is_empty() && s.plan.as_str().starts_with(id));
    let plans: BTreeSet<&str> = of_runs.clone().map(|s| s.plan.as_str()).chain(saved.iter().map(|p| p.id.as_str())).collect();
    if plans.len() > 1 {
        let ids = plans.into_iter().collect::<Vec<_>>().join(" or ");
        return Err(Failure::new(Exit::Usage, format!("{id:?} begins the ids of several plans: give more of {ids}")));
    }
    let (fresh, stale): (Vec<&SavedPlan>, Vec<&SavedPlan>) = saved.iter().partition(|plan| now < plan.expires);
    for entry in of_runs.map(of_run).chain(fresh.into_iter().flat_map(of_saved)) {
        if seen.insert((entry.job.clone(), entry.target.clone(), entry.change.mark.clone())) {
            found.push(entry);
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let again = "make it anew with `rosterd plan --save`; `rosterd status` names the plan that waits now";
    Err(match (stale.first(), saved.first()) {
        (Some(plan), _) => {
            Failure::new(Exit::Failed, format!("plan {} of {} is too old to be decided on", plan.id, plan.made)).hint(again)
        }
        (None, Some(plan)) => {
            Failure::new(Exit::Failed, format!("nothing in plan {} waits for a person", plan.id))
                .hint("what a run may do by itself needs no approval, and what is refused cannot be approved")
        }
        (None, None) => Failure::new(Exit::Failed, format!("no plan {id:?} waits or was saved")).hint(again),
    })
}

fn of_run(staged: &Staged) -> Waiting {
    Waiting {
        job: staged.job.clone(),
        target: staged.target.clone(),
        plan: staged.plan.clone(),
        change: SavedChange {
            mark: staged.mark.clone(),
            kind: staged.kind,
            user_name: Some(staged.user_name.clone()),
            group: staged.group.clone(),
            because: String::new(),
            staged: true,
            held_by: staged.held_by.clone(),
        },
    }
}

fn of_saved(plan: &SavedPlan) -> impl Iterator<Item = Waiting> + '_ {
    plan.changes.iter().filter(|change| change.staged).map(|change| Waiting {
        job: plan.job.clone(),
        target: plan.target.clone(),
        plan: plan.id.clone(),
        change: change.clone(),
    })
}

fn decision(waiting: &Waiting, verdict: Verdict, actor: &str, reason: &str, config: &Config, now: DateTime<Utc>) -> Decision {
    let lasts = config.jobs.get(&waiting.job).map_or(PLAN_EXPIRES, |job| job.guard.plan_expires);
    Decision {
        job: waiting.job.clone(),
        target: waiting.target.clone(),
        mark: waiting.change.mark.clone(),
        plan: waiting.plan.clone(),
        verdict,
        kind: waiting.change.kind,
        user_name: waiting.change.user_name.clone().unwrap_or_default(),
        group: waiting.change.group.clone(),
        actor: actor.to_owned(),
        reason: reason.to_owned(),
        at: now,
        expires: (verdict == Verdict::Approved).then(|| now + TimeDelta::from_std(lasts).unwrap_or(TimeDelta::MAX)),
    }
}

/// How many removals are named.
const NAMED: usize = 50;

fn tell(
    decisions: &[Decision],
    verdict: Verdict,
    others: usize,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let word = match verdict {
        Verdict::Approved => "approved",
        Verdict::Rejected => "rejected",
    };
    for decision in decisions.iter().take(NAMED) {
        let group = decision.group.as_deref().map(|g| format!(" {g:?}")).unwrap_or_default();
        let Decision { job, target, user_name, kind, .. } = decision;
        output::line(&format!("{word}: {} {user_name}{group} of {job} at {target}", kind.word()))?;
    }
    if decisions.len() > NAMED {
        output::line(&format!("and {} more", decisions.len() - NAMED))?;
    }
    if others > 0 {
        let wait = if others == 1 { "waits" } else { "wait" };
        output::line(&format!("{} of this plan still {wait}", output::count(others, "removal")))?;
    }
    let jobs: BTreeSet<&JobName> = decisions.iter().map(|d| &d.job).collect();
    for job in jobs {
        let next = config.jobs.get(job).and_then(|j| j.schedule.next(now, crate::daemon::supervise::seed(job)));
        let when = next.map_or(String::new(), |at| format!(", {}", output::time(at, now)));
        eprintln!("takes effect at the next run of {job}{when}; `rosterd sync {job}` runs it now");
    }
    Ok(())
}
