//! `rosterd approve` and `rosterd reject`: a person's word on removals that wait.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use clap::Args;

use super::Arguments;
use super::actor::actor;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{Stage, runtime};
use crate::config::Config;
use crate::config::guard::PLAN_EXPIRES;
use crate::contract::verdict::{Decision, Verdict};
use crate::daemon::supervise::seed;
use crate::engine::decide::{DecideError, Said, Written, decide};
use crate::model::key::JobName;
use crate::reconcile::pattern::NameSet;
use crate::store::Access;

/// How many removals are named.
const NAMED: usize = 50;

/// What the commands take.
#[derive(Debug, Args)]
pub struct DecideArguments {
    /// The plan's id, or the beginning of it; `rosterd status` and `rosterd plan --save` name it
    plan: String,
    /// Only the removals about the users or groups of this name at the target (a glob; may be given several times);
    /// without it all that wait in the plan
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Writes decisions.
///
/// # Errors
/// A plan that is not known, that is too old, or in which nothing waits.
pub fn command(arguments: &Arguments, more: &DecideArguments, verdict: Verdict) -> Result<Exit, Failure> {
    let reason = reason(&more.reason)?;
    let only = only("--only", &more.only)?;
    let stage = Stage::rules(arguments)?;
    let said = Said { verdict, only: &only, actor: &actor(), reason, at: Utc::now() };
    let lasts = |job: &JobName| stage.config.jobs.get(job).map_or(PLAN_EXPIRES, |job| job.guard.plan_expires);
    let written = runtime()?.block_on(async {
        let journal = stage.journal(Access::Write).await?;
        Ok::<_, Failure>(decide(&*journal, &more.plan, said, lasts).await?)
    })?;
    if arguments.json {
        output::json(&written.decisions)?;
    } else {
        tell(&written, verdict, &stage.config, said.at)?;
    }
    Ok(Exit::Done)
}

/// A reason that says something.
///
/// # Errors
/// An empty one.
pub fn reason(text: &str) -> Result<&str, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "the reason is empty").hint("say why in a few words: it is kept in the journal"));
    }
    Ok(text.trim())
}

/// The names given by a flag.
///
/// # Errors
/// A glob that does not parse.
pub fn only(flag: &str, globs: &[String]) -> Result<NameSet, Failure> {
    NameSet::new(globs).map_err(|(at, why)| Failure::new(Exit::Usage, format!("{flag} {:?}: {why}", globs[at])))
}

impl From<DecideError> for Failure {
    fn from(error: DecideError) -> Self {
        let exit = match error {
            DecideError::Journal(error) => return error.into(),
            DecideError::Ambiguous { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure { exit, message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

fn tell(written: &Written, verdict: Verdict, config: &Config, now: DateTime<Utc>) -> Result<(), Failure> {
    let word = match verdict {
        Verdict::Approved => "approved",
        Verdict::Rejected => "rejected",
    };
    let Written { decisions, others } = written;
    for decision in decisions.iter().take(NAMED) {
        let group = decision.group.as_deref().map(|g| format!(" {g:?}")).unwrap_or_default();
        let Decision { job, target, user_name, kind, .. } = decision;
        output::line(&format!("{word}: {} {user_name}{group} of {job} at {target}", kind.word()))?;
    }
    if decisions.len() > NAMED {
        output::line(&format!("and {} more", decisions.len() - NAMED))?;
    }
    if *others > 0 {
        let wait = if *others == 1 { "waits" } else { "wait" };
        output::line(&format!("{} of this plan still {wait}", output::count(*others, "removal")))?;
    }
    let jobs: BTreeSet<&JobName> = decisions.iter().map(|d| &d.job).collect();
    for job in jobs {
        let next = config.jobs.get(job).and_then(|j| j.schedule.next(now, seed(job)));
        let when = next.map_or(String::new(), |at| format!(", {}", output::time(at, now)));
        eprintln!("takes effect at the next run of {job}{when}; `rosterd sync {job}` runs it now");
    }
    Ok(())
}
