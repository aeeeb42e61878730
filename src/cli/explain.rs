//! `rosterd explain`: one user, from the facts at the source to what the next run would write, with the reason for each step.

use chrono::Utc;
use clap::Args;

use super::Arguments;
use super::exit::{Exit, Failure, worst};
use super::output;
use super::show;
use super::stage::{Stage, jobs, logging, runtime, spoken_to};
use crate::engine::explain::{AtTarget, Explanation, GivenBy, explain, whom};
use crate::model::desired::Standing;
use crate::model::roster::{Lifecycle, SourceUser};
use crate::reconcile::explain::Reading;
use crate::reconcile::render::line;
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The job
    job: String,
    /// The user: login or e-mail address at the source, user name at a target, or an id of either
    user: String,
}

/// Explains.
///
/// # Errors
/// A user whom neither the links nor the source know.
pub fn command(arguments: &Arguments, more: &ExplainArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::load(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        let (assembly, _services) = stage.assemble(journal)?;
        let mut failures: Vec<Failure> = Vec::new();
        let mut unseen: Option<Exit> = None;
        for world in jobs(&assembly, Some(&more.job))? {
            let Some(world) = spoken_to(world, &mut failures).await? else { continue };
            let Some(source) = whom(&world, &more.user).await? else {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("neither {} nor a link knows {:?}", world.source_name, more.user),
                )
                .hint("give the login or e-mail address at the source, the user name at a target, or an id"));
            };
            let explanation = explain(&world, &source).await?;
            if arguments.json {
                output::json(&explanation)?;
            } else {
                print(&explanation)?;
            }
            unseen = explanation.targets.iter().filter_map(|at| at.fault.as_ref()).map(Exit::of).max();
        }
        Ok(worst(&failures).max(unseen).unwrap_or(Exit::Done))
    })
}

fn print(explanation: &Explanation) -> Result<(), Failure> {
    let Explanation { job, source, reading, targets } = explanation;
    match reading {
        None => output::line(&format!("{source}: the source says that there is no such user (job {job})"))?,
        Some(reading) => print_reading(source.as_str(), job.as_str(), reading)?,
    }
    targets.iter().try_for_each(print_target)
}

fn print_reading(source: &str, job: &str, reading: &Reading) -> Result<(), Failure> {
    let stands = match reading.standing {
        Standing::Entitled => "is entitled",
        Standing::Pending => "waits: nothing is created, nothing is taken away",
        Standing::Disabled => "is a leaver: disabled at the source",
        Standing::OutOfScope => "is out of the job's scope",
    };
    output::line(&format!("{} ({source}) {stands} in job {job}", reading.facts.login))?;
    print_facts(reading)?;
    output::line("scope:")?;
    for rule in &reading.rules {
        let sign = if rule.passes { "+" } else { "-" };
        output::line(&format!("  {sign} {}: {}", rule.rule, rule.why))?;
    }
    output::line("attributes:")?;
    for mapped in &reading.mapped {
        let made = match (&mapped.value, &mapped.error) {
            (_, Some(why)) => format!("fails: {why}"),
            (Some(value), None) => format!("{value:?}"),
            (None, None) => "left as it is".to_owned(),
        };
        output::line(&format!("  {}: `{}` makes {made}", mapped.attribute, mapped.expression))?;
    }
    output::line("groups at the source:")?;
    for group in &reading.groups {
        let to = if group.targets.is_empty() { String::new() } else { format!(" -> {}", quoted(&group.targets)) };
        output::line(&format!("  {:?}{to} ({})", group.group, group.why))?;
    }
    output::line("should be in:")?;
    for (group, via) in &reading.gives {
        let why = via.as_ref().map_or("a default group".to_owned(), |source| format!("by source group {source:?}"));
        output::line(&format!("  {group:?} ({why})"))?;
    }
    Ok(())
}

/// What the source says, as read: what the rules make of it comes after.
fn print_facts(reading: &Reading) -> Result<(), Failure> {
    let SourceUser { key: _, login, email, first_name, last_name, display_name, status, lifecycle, profile } = &reading.facts;
    let means = match lifecycle {
        Lifecycle::Entitled => "entitled",
        Lifecycle::Pending => "pending",
        Lifecycle::Disabled => "disabled",
    };
    output::line("facts at the source:")?;
    output::line(&format!("  status: {status} ({means})"))?;
    output::line(&format!("  login: {login:?}"))?;
    let told = [("email", email), ("first_name", first_name), ("last_name", last_name), ("display_name", display_name)];
    for (name, value) in told {
        let value = value.as_ref().map_or("none".to_owned(), |value| format!("{value:?}"));
        output::line(&format!("  {name}: {value}"))?;
    }
    // Only those that the rules read: others were not asked for.
    let profile = profile.as_deref().and_then(|text| serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(text).ok());
    for (name, value) in profile.into_iter().flatten() {
        output::line(&format!("  profile.{name}: {value}"))?;
    }
    let groups: Vec<String> = reading.groups.iter().map(|group| group.group.clone()).collect();
    output::line(&format!("  groups: {}", if groups.is_empty() { "none".to_owned() } else { quoted(&groups) }))
}

/// Names, told apart even where they hold commas.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn print_target(at: &AtTarget) -> Result<(), Failure> {
    let now = Utc::now();
    output::line(&format!("at {}:", at.target))?;
    if let Some(error) = &at.error {
        output::line(&format!("  could not be looked at: {error}"))?;
    }
    match (&at.account, &at.link) {
        (Some(account), Some(_)) => {
            let active = if account.active { "active" } else { "inactive" };
            output::line(&format!("  linked to the account {:?} ({}), {active}", account.name, account.key))?;
        }
        (Some(account), None) => {
            output::line(&format!("  not linked; an account {:?} ({}) is there", account.name, account.key))?;
        }
        (None, Some(link)) => {
            output::line(&format!("  linked to the account {:?} ({}), which is not there", link.name, link.target))?
        }
        (None, None) => output::line("  no account")?,
    }
    for (group, owned) in &at.groups {
        let whose = if *owned { "owned by rosterd" } else { "not rosterd's" };
        output::line(&format!("  is in {group:?} ({whose})"))?;
    }
    match &at.plan {
        Some(plan) if plan.changes.is_empty() => output::line("  the next run changes nothing")?,
        Some(plan) => {
            output::line("  the next run would:")?;
            plan.changes.iter().try_for_each(|change| output::line(&format!("    {}", line(change))))?;
            plan.violations.iter().try_for_each(|v| output::line(&format!("    ! {}: {}", v.guard, v.text)))?;
            let rest = if at.afterwards.is_empty() { "no group".to_owned() } else { quoted(&at.afterwards) };
            output::line(&format!("  and leaves the account in {rest}"))?;
            at.proviso.iter().chain(&at.unseen).try_for_each(|proviso| output::line(&format!("  {proviso}")))?;
        }
        None if at.whole => output::line(
            "  what the next run does depends on others: a group is yet to be created, or the user name is held by somebody else; `rosterd plan` tells",
        )?,
        None => {}
    }
    match &at.access {
        Some(GivenBy::NoAccount) | None => {}
        Some(GivenBy::Inactive) => output::line("  then nothing gives access: the account is inactive")?,
        Some(GivenBy::Groups { groups }) if groups.is_empty() => {
            output::line("  then no group gives access, of those that the target tells of")?;
        }
        Some(GivenBy::Groups { groups }) => output::line(&format!("  then access is given by {}", quoted(groups)))?,
        Some(GivenBy::Untold) => output::line("  then the account is active; which groups give access the target does not tell")?,
    }
    for staged in &at.staged {
        let group = staged.group.as_deref().map(|g| format!(" {g:?}")).unwrap_or_default();
        output::line(&format!("  waits for a person: {}{group} [{}]", staged.kind.word(), staged.held_by.join(", ")))?;
    }
    if let Some(retry) = &at.retry {
        let what = if retry.quarantined { "in quarantine" } else { "on the retry queue" };
        output::line(&format!("  {what} until {}: {}", output::time(retry.not_before, now), retry.cause))?;
    }
    if let Some(hold) = &at.hold {
        output::line(&format!("  held since {}, after {} undid run {}", output::time(hold.since, now), hold.actor, hold.run))?;
        if at.hold_ends {
            output::line("  the source says something else since: the next run that believes it ends the hold")?;
        }
    }
    if !at.history.is_empty() {
        output::line("  last changes:")?;
        at.history
            .iter()
            .try_for_each(|change| output::line(&format!("    {} {}", change.at.format("%Y-%m-%d"), show::line(change))))?;
    }
    Ok(())
}
