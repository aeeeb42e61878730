//! `rosterd record`: keeps everything that a plan is made of in a file. Reads what `plan` reads, writes nothing else.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure, worst};
use super::output;
use super::progress::Bars;
use super::stage::{Stage, jobs, logging, runtime, spoken_to};
use crate::contract::target::Nature;
use crate::daemon::assemble::natures;
use crate::engine::policy::Job;
use crate::engine::recording::pseudonyms::{Key, disguise};
use crate::engine::recording::replay::replay;
use crate::engine::recording::{Recording, record, write};
use crate::model::key::SystemName;
use crate::reconcile::render::{PlanView, view};
use crate::store::Access;

/// What the command takes.
#[derive(Debug, Args)]
pub struct RecordArguments {
    /// The job
    job: String,
    /// The file to write, which must not be there yet [default: rosterd-JOB-TIME.jsonl.gz]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace logins, names, addresses, profile values and ids of users by pseudonyms
    #[arg(long)]
    pseudonyms: bool,
}

/// Records.
///
/// # Errors
/// A source that cannot be read, or a file that cannot be written. Targets that cannot be read are left out and shown.
pub fn command(arguments: &Arguments, more: &RecordArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let stage = Stage::load(arguments)?;
    let kinds: BTreeMap<SystemName, String> =
        stage.config.targets.iter().map(|(name, system)| (name.clone(), system.kind.clone())).collect();
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        let (assembly, services) = stage.assemble(journal)?;
        let world = jobs(&assembly, Some(&more.job))?[0];
        let mut failures: Vec<Failure> = Vec::new();
        let Some(world) = spoken_to(world, &mut failures).await? else {
            return Ok(worst(&failures).unwrap_or(Exit::Failed));
        };
        let bars = Bars::show(&services, &world);
        let recorded = record(&world, &kinds).await;
        drop(bars);
        let (mut recording, unread) = recorded?;
        failures.extend(unread.into_iter().map(Failure::from));
        if recording.targets.is_empty() {
            return Ok(worst(&failures).unwrap_or(Exit::Failed));
        }
        let natures = natures(&kinds);
        if more.pseudonyms {
            let real: Vec<PlanView> = recording.targets.iter().map(|target| target.plan.clone()).collect();
            recording = disguise(&recording, &world.job, &natures, &key()?).await?;
            warn_if_another(&real, &recording);
        } else {
            prove(&recording, &world.job, &natures).await?;
        }
        let file = more.out.clone().unwrap_or_else(|| {
            let made = recording.head.made.format("%Y%m%dT%H%M%SZ");
            PathBuf::from(format!("rosterd-{}-{made}.jsonl.gz", recording.head.job))
        });
        save(&recording, &file)?;
        tell(arguments, &recording, &file, &failures)?;
        Ok(worst(&failures).unwrap_or(Exit::Done))
    })
}

fn key() -> Result<Key, Failure> {
    let mut key = Key::default();
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Failure::new(Exit::Failed, "the system gives no random numbers"))?;
    Ok(key)
}

/// A recording that does not give its own plan again is worth nothing: better to know it now.
async fn prove(recording: &Recording, job: &Job, natures: &BTreeMap<SystemName, Nature>) -> Result<(), Failure> {
    for replayed in replay(recording, job, natures).await?.targets {
        let again = view(&replayed.prepared.judged);
        let first = recording.targets.iter().find(|target| target.name == replayed.target).map(|target| &target.plan);
        if first.is_none_or(|first| *first != again) {
            let target = &replayed.target;
            eprintln!("warning: a replay of the recording plans otherwise for {target}; please report it");
        }
    }
    Ok(())
}

/// Rules that look at single letters, or for words that they do not name, judge pseudonyms otherwise.
fn warn_if_another(real: &[PlanView], recording: &Recording) {
    let counts = |plan: &PlanView| {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        plan.changes.iter().for_each(|c| *counts.entry((c.op.to_string(), c.verdict.to_string())).or_default() += 1);
        counts
    };
    for (real, target) in real.iter().zip(&recording.targets) {
        if counts(real) != counts(&target.plan) {
            eprintln!(
                "warning: with pseudonyms the plan for {} has {} instead of {}: some rule looks at more than whole words",
                target.name,
                output::count(target.plan.changes.len(), "change"),
                real.changes.len()
            );
        }
    }
}

/// Writes the file for its owner alone. One that is there is left as it is, and one that could not be finished is removed.
fn save(recording: &Recording, path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()));
    let file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let there = error.kind() == std::io::ErrorKind::AlreadyExists;
        let failure = failed(error);
        if there { failure.hint("give another name with --out; no recording is written over another") } else { failure }
    })?;
    let written = write(recording, &file).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

fn tell(arguments: &Arguments, recording: &Recording, file: &Path, failures: &[Failure]) -> Result<(), Failure> {
    if arguments.json {
        let plan = |plan: &PlanView| json!({"target": plan.target, "plan": plan.plan, "changes": plan.changes.len()});
        let plans: Vec<_> = recording.targets.iter().map(|target| plan(&target.plan)).collect();
        let pseudonyms = recording.head.pseudonyms;
        return output::json(&json!({"file": file, "pseudonyms": pseudonyms, "plans": plans, "errors": failures}));
    }
    let (users, groups) = (recording.roster.users.len(), recording.roster.groups.len());
    let of = format!("{} and {} of {}", output::count(users, "user"), output::count(groups, "group"), recording.head.source);
    output::line(&format!("{}: {of}", file.display()))?;
    for target in &recording.targets {
        let changes = output::count(target.plan.changes.len(), "change");
        output::line(&format!("  {}: {changes} (plan {})", target.name, target.plan.plan))?;
    }
    if recording.head.pseudonyms {
        return output::line("users are pseudonyms; names of groups, and mail domains that several share, are as they are");
    }
    output::line("it holds personal data of everybody in it: keep it as you keep the state file")
}
