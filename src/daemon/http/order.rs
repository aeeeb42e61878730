//! The API's writing half: to start a run, decide on what waits, release, undo. The same functions do it that the commands call, and
//! the journal names the token where it names the person of a command.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::View;
use super::admit::Writer;
use super::ask::{Named, Told, ToldIf};
use super::document::{Deciding, Releasing, Starting, Undoing};
use super::look::{known_run, whole_plan_id};
use super::page::address;
use super::problem::{Kind, Mistake, Problem};
use crate::config::Config;
use crate::config::guard::PLAN_EXPIRES;
use crate::config::job::Job;
use crate::contract::verdict::{Decision, Hold, Verdict};
use crate::daemon::holder;
use crate::daemon::orders::{Declined, Errand, Order};
use crate::daemon::reverse::{Reversal, Reversed};
use crate::daemon::supervise::seed;
use crate::engine::decide::{DecideError, Said, Written, decide};
use crate::engine::lease::at_work_elsewhere;
use crate::engine::release::{self, ReleaseError, Released};
use crate::engine::rest::Rests;
use crate::model::key::{JobName, PlanId, RunId, SystemName};
use crate::model::retry::Retry;
use crate::reconcile::pattern::NameSet;
use crate::reconcile::render::{ChangeView, PlanView, ViolationView};

/// The longest reason, in characters.
const REASON: usize = 1000;
/// The longest name.
const NAME: usize = 256;
/// The most names at once.
const NAMES: usize = 200;
/// How many rows of what was done are told; the rest is counted.
const TOLD: usize = 500;

const ONCE_ENDED: &str = "ask again once its runs have ended, or name the other targets";

/// At which targets.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ToRun {
    /// Only at these targets of the job; left out: at all.
    #[schema(min_items = 1, max_items = 200)]
    targets: Option<Vec<String>>,
}

/// A run that begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Begun {
    /// The job.
    job: JobName,
    /// The targets at which it runs.
    targets: Vec<SystemName>,
    /// The targets that are left out.
    left_out: Vec<LeftOut>,
    /// Who asked for it, as the run keeps it in `by`.
    by: String,
    /// When.
    at: DateTime<Utc>,
    /// Where the run is to be seen: one for each target at which it could begin, fired by `api`, begun at `at` or later.
    /// What kept it from beginning (a rest or another process meanwhile, a stop of the daemon) the log tells alone.
    look: String,
}

/// A target at which a job does not run.
#[derive(Debug, Serialize, ToSchema)]
struct LeftOut {
    /// The target.
    target: SystemName,
    /// Why.
    why: String,
}

/// Runs a job once, now. As `rosterd sync JOB`, within the daemon.
#[utoipa::path(post, path = "/api/v1/jobs/{job}/run", tag = "order",
    params(("job" = String, Path, description = "The job's name")),
    request_body(content = Option<ToRun>, content_type = "application/json"),
    responses((status = 202, description = "It begins", body = Begun, headers(("location" = String, description = "Where to look"))),
        Starting),
    security(("token" = [])))]
pub(super) async fn run(
    State(view): State<View>,
    Writer(bearer): Writer,
    Named(job): Named,
    ToldIf(ToRun { targets }): ToldIf<ToRun>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Begun>), Problem> {
    let config = view.config()?;
    let unknown = || {
        let jobs: Vec<&str> = config.jobs.keys().map(JobName::as_str).collect();
        Problem::new(Kind::Unknown, "there is no job of this name").hint(format!("the jobs are: {}", jobs.join(", ")))
    };
    let (name, written) = config.jobs.get_key_value(job.as_str()).ok_or_else(unknown)?;
    let wanted = wanted(written, targets)?;
    let (targets, left_out) = awake(&view, written, wanted).await?;
    nobody_else(&view, &targets).await?;
    let by = bearer.actor();
    let (ask, answer) = Errand::new(name.clone(), targets.iter().cloned().collect(), &by);
    let at = view.clock.now();
    let stopping = || Problem::new(Kind::Unavailable, "the daemon is stopping");
    view.orders.send(Order::Run(ask)).map_err(|_| stopping())?;
    match answer.await.map_err(|_| stopping())? {
        Ok(()) => {
            let look = address("/api/v1/runs", &[("job", Some(name.to_string()))]);
            let begun = Begun { job: name.clone(), targets, left_out, by, at, look: look.clone() };
            Ok((StatusCode::ACCEPTED, [(header::LOCATION, look)], Json(begun)))
        }
        Err(Declined::Unknown) => Err(unknown()),
        Err(declined) => Err(not_now(name, declined)),
    }
}

/// Why the supervisor does not do what somebody asks for.
fn not_now(job: &JobName, declined: Declined) -> Problem {
    match declined {
        Declined::AtWork(busy) => {
            let busy: Vec<&str> = busy.iter().map(SystemName::as_str).collect();
            let detail = format!("the job {job} is at work at {}", busy.join(", "));
            Problem::new(Kind::AtWork, detail).hint(ONCE_ENDED)
        }
        Declined::Resting(why) => rested(why),
        Declined::Observed(why) => Problem::new(Kind::Observed, why),
        Declined::Failed(why) => Problem::new(Kind::Unavailable, why),
        Declined::Unknown => Problem::new(Kind::Unknown, format!("there is no job {job} with this target any more")),
    }
}

fn rested(why: String) -> Problem {
    Problem::new(Kind::Resting, why).hint("POST /api/v1/release ends a rest")
}

/// The targets that are asked for.
fn wanted(job: &Job, asked: Option<Vec<String>>) -> Result<Vec<SystemName>, Problem> {
    let Some(asked) = asked else { return Ok(job.targets.clone()) };
    if asked.is_empty() || asked.len() > NAMES {
        let detail = format!("names {} targets: leave it out for all, or name at most {NAMES}", asked.len());
        return Err(Problem::at("/targets", detail));
    }
    let stray = |(at, name): (usize, &String)| {
        let is_one = job.targets.iter().any(|target| target.as_str() == name);
        (!is_one).then(|| Mistake { pointer: format!("/targets/{at}"), detail: "is no target of this job".to_owned() })
    };
    let mistakes: Vec<Mistake> = asked.iter().enumerate().filter_map(stray).collect();
    if !mistakes.is_empty() {
        return Err(Problem::mistakes(mistakes));
    }
    Ok(job.targets.iter().filter(|target| asked.iter().any(|name| name == target.as_str())).cloned().collect())
}

/// Those of the targets that do not rest, and the others; at all, if the source does not.
async fn awake(view: &View, job: &Job, wanted: Vec<SystemName>) -> Result<(Vec<SystemName>, Vec<LeftOut>), Problem> {
    let (rests, now) = (Rests::read(&*view.journal).await?, view.clock.now());
    let credentials = view.condition().credentials;
    let rests = |system: &SystemName| Some(rests.why_not(system, credentials.get(system).map(String::as_str), now)?.why);
    if let Some(why) = rests(&job.source) {
        return Err(rested(why));
    }
    let (mut awake, mut left_out) = (Vec::new(), Vec::new());
    for target in wanted {
        match rests(&target) {
            Some(why) => left_out.push(LeftOut { target, why }),
            None => awake.push(target),
        }
    }
    if awake.is_empty() {
        return Err(rested(left_out.into_iter().map(|out| out.why).collect::<Vec<_>>().join("; ")));
    }
    Ok((awake, left_out))
}

/// No other process is at work at these targets: the run would wait for it and then be given up, and who asked would look for
/// it in vain.
async fn nobody_else(view: &View, targets: &[SystemName]) -> Result<(), Problem> {
    let (own, leases) = (holder::mark(), view.journal.leases(view.clock.now()).await?);
    let busy: Vec<String> = targets.iter().filter_map(|target| at_work_elsewhere(&leases, target, &own, holder::gone)).collect();
    if busy.is_empty() { Ok(()) } else { Err(Problem::new(Kind::AtWork, busy.join("; ")).hint(ONCE_ENDED)) }
}

/// A person's word on removals that wait.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    /// Why; kept in the journal.
    #[schema(
        min_length = 1,
        max_length = 1000,
        pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[!-~][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
    )]
    reason: String,
    /// Only the removals about the users or groups of these names at the target (globs); left out: all that wait in the plan.
    #[schema(min_items = 1, max_items = 200)]
    only: Option<Vec<String>>,
}

/// What was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decided {
    /// The decisions, the first 500 of them.
    decisions: Vec<Decision>,
    /// How many they are.
    decided: usize,
    /// How many removals of the plan still wait.
    others: usize,
    /// When it takes effect.
    takes_effect: Vec<Next>,
}

/// When a job runs next by its schedule.
#[derive(Debug, Serialize, ToSchema)]
struct Next {
    /// The job.
    job: JobName,
    /// When; `POST /api/v1/jobs/{job}/run` runs it now.
    at: Option<DateTime<Utc>>,
}

/// Lets removals through that wait, at the next run, if they are still the same and the source still bears them out. As
/// `rosterd approve`.
#[utoipa::path(post, path = "/api/v1/plans/{id}/approve", tag = "order",
    params(("id" = String, Path, description = "The plan's whole id", pattern = "^[0-9a-f]{16}$")),
    request_body(content = Word, content_type = "application/json"),
    responses((status = 200, description = "Decided", body = Decided), Deciding), security(("token" = [])))]
pub(super) async fn approve(
    State(view): State<View>,
    Writer(bearer): Writer,
    Named(id): Named,
    Told(word): Told<Word>,
) -> Result<Json<Decided>, Problem> {
    decided(&view, &bearer.actor(), &id, word, Verdict::Approved).await
}

/// Drops removals that wait, until the source says something new. As `rosterd reject`.
#[utoipa::path(post, path = "/api/v1/plans/{id}/reject", tag = "order",
    params(("id" = String, Path, description = "The plan's whole id", pattern = "^[0-9a-f]{16}$")),
    request_body(content = Word, content_type = "application/json"),
    responses((status = 200, description = "Decided", body = Decided), Deciding), security(("token" = [])))]
pub(super) async fn reject(
    State(view): State<View>,
    Writer(bearer): Writer,
    Named(id): Named,
    Told(word): Told<Word>,
) -> Result<Json<Decided>, Problem> {
    decided(&view, &bearer.actor(), &id, word, Verdict::Rejected).await
}

async fn decided(view: &View, actor: &str, id: &str, word: Word, verdict: Verdict) -> Result<Json<Decided>, Problem> {
    let config = view.config()?;
    let (reason, only) = (reason(&word.reason)?, only(word.only.as_deref())?);
    let said = Said { verdict, only: &only, actor, reason, at: view.clock.now() };
    let lasts = |job: &JobName| config.jobs.get(job).map_or(PLAN_EXPIRES, |job| job.guard.plan_expires);
    let Written { mut decisions, others } = decide(&*view.journal, whole_plan_id(id)?, said, lasts).await?;
    let word = match verdict {
        Verdict::Approved => "approved",
        Verdict::Rejected => "rejected",
    };
    tracing::info!(actor, plan = id, decisions = decisions.len(), "removals that wait are {word} over HTTP");
    let jobs: BTreeSet<&JobName> = decisions.iter().map(|d| &d.job).collect();
    let takes_effect = jobs.into_iter().map(|job| Next { job: job.clone(), at: next(&config, job, said.at) }).collect();
    let decided = decisions.len();
    decisions.truncate(TOLD);
    Ok(Json(Decided { decisions, decided, others, takes_effect }))
}

fn next(config: &Config, job: &JobName, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    config.jobs.get(job)?.schedule.next(now, seed(job))
}

/// A reason that says something, in lines of text.
fn reason(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::at("/reason", "is empty: say why in a few words, which are kept"));
    }
    if text.chars().count() > REASON {
        return Err(Problem::at("/reason", format!("is longer than {REASON} characters")));
    }
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(Problem::at("/reason", "holds a control character"));
    }
    Ok(text)
}

/// The removals that are meant. A list of nobody is no list of everybody: whoever computed it meant something else.
fn only(names: Option<&[String]>) -> Result<NameSet, Problem> {
    let Some(names) = names else { return Ok(NameSet::none()) };
    if names.is_empty() || names.len() > NAMES {
        let detail = format!("holds {} names: leave it out for the whole plan, or give at most {NAMES}", names.len());
        return Err(Problem::at("/only", detail));
    }
    if let Some(at) = names.iter().position(|name| name.is_empty() || name.chars().count() > NAME) {
        return Err(Problem::at(format!("/only/{at}"), format!("is empty, or longer than {NAME} characters")));
    }
    NameSet::new(names).map_err(|(at, why)| Problem::at(format!("/only/{at}"), format!("is no glob: {why}")))
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let kind = match error {
            DecideError::Journal(error) => return error.into(),
            DecideError::NoSuchName(_) => return Self::at("/only", error.to_string()).hint(error.hint().unwrap_or_default()),
            DecideError::Ambiguous { .. } => Kind::Ambiguous,
            DecideError::Unknown(_) => Kind::Unknown,
            DecideError::Expired { .. } => Kind::Expired,
            DecideError::NothingWaits(_) => Kind::NothingWaits,
        };
        let problem = Self::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

/// What is to be released.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToRelease {
    /// A source or target: its rest ends, and what waits on the retry queue there is due. A user who waits or is held, by the
    /// source's id or the user name at the target. A run that was undone, by its id: everybody who is held since.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[!-~][^\x00-\x1f\x7f-\x9f]*$")]
    what: String,
    /// Why; kept in the journal.
    #[schema(
        min_length = 1,
        max_length = 1000,
        pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[!-~][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
    )]
    reason: String,
}

/// What was released.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Released)]
pub(super) struct Ended {
    /// What was asked for.
    released: String,
    /// Whether a system's rest has ended.
    rest: bool,
    /// The holds that have ended, the first 500 of them.
    holds: Vec<Hold>,
    /// How many they are.
    held: usize,
    /// The entries of the retry queue that are due now, the first 500 of them.
    due: Vec<Retry>,
    /// How many they are.
    waited: usize,
}

/// Ends a rest, a quarantine, or a hold after an undo. As `rosterd release`; a link is cut by the command alone.
#[utoipa::path(post, path = "/api/v1/release", tag = "order",
    request_body(content = ToRelease, content_type = "application/json"),
    responses((status = 200, description = "Released", body = Ended), Releasing), security(("token" = [])))]
pub(super) async fn release(
    State(view): State<View>,
    Writer(bearer): Writer,
    Told(ToRelease { what, reason: why }): Told<ToRelease>,
) -> Result<Json<Ended>, Problem> {
    if what.trim().is_empty() || what.chars().count() > NAME || what.contains(char::is_control) {
        return Err(Problem::at("/what", format!("is empty, longer than {NAME} characters, or holds a control character")));
    }
    let why = reason(&why)?;
    // Gone through with even if whoever asked does not wait.
    let (journal, at) = (view.journal.clone(), view.clock.now());
    let (name, actor, because) = (what.clone(), bearer.actor(), why.to_owned());
    let released = tokio::spawn(async move {
        let said = release::Said { what: &name, actor: &actor, reason: Some(&because), at };
        release::release(&*journal, said).await
    });
    let released = released.await;
    let released = released
        .map_err(|_| Problem::new(Kind::Unavailable, "the daemon met a fault of its own; the error stream says where"))?;
    let Released { rest, mut holds, mut due } = released.map_err(|error| match error {
        ReleaseError::Journal(error) => Problem::from(error),
        ReleaseError::Nothing(_) => Problem::new(Kind::Unknown, error.to_string())
            .hint("/api/v1/quarantine and /api/v1/retries list what rests and waits, /api/v1/status who is held"),
    })?;
    let (held, waited) = (holds.len(), due.len());
    tracing::info!(actor = %bearer.actor(), released = %what, reason = %why, rest, holds = held, due = waited, "released over HTTP");
    holds.truncate(TOLD);
    due.truncate(TOLD);
    Ok(Json(Ended { released: what, rest, holds, held, due, waited }))
}

/// What of a run is to be taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ToUndo {
    /// Only show what would be done. It is done where this is false, and then takes a `reason`.
    #[schema(default = true)]
    dry: bool,
    /// Why; kept in the journal.
    #[schema(
        min_length = 1,
        max_length = 1000,
        pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[!-~][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
    )]
    reason: Option<String>,
    /// Only what is about the users or groups of these names at the target (globs); left out: all that the run did.
    #[schema(min_items = 1, max_items = 200)]
    only: Option<Vec<String>>,
}

impl Default for ToUndo {
    fn default() -> Self {
        Self { dry: true, reason: None, only: None }
    }
}

/// What an undo would do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WouldUndo {
    /// The run that would be taken back.
    run: RunId,
    /// Its job.
    job: JobName,
    /// Its target.
    target: SystemName,
    /// The plan's id.
    plan: PlanId,
    /// What would be done, and what is held back by a guard, the first 500 of it.
    changes: Vec<ChangeView>,
    /// How much that is.
    total: usize,
    /// What the guards found. What a limit holds is not made over HTTP: `rosterd undo --over-limits` makes it.
    violations: Vec<ViolationView>,
    /// What stays, since somebody changed it since or no call takes it back; the first 500.
    stays: Vec<String>,
    /// How much that is.
    staying: usize,
}

/// An undo that begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UndoBegun {
    /// The run that is taken back.
    run: RunId,
    /// Its job.
    job: JobName,
    /// Its target.
    target: SystemName,
    /// Who asked for it, as the undo keeps it in `by`.
    by: String,
    /// When.
    at: DateTime<Utc>,
    /// Where the undo is to be seen: a run fired by `undo`, begun at `at` or later. What kept it from beginning (a rest or
    /// another process meanwhile, a stop of the daemon) the log tells alone.
    look: String,
}

/// Takes back what a run did, or shows what that would be. As `rosterd undo`, within the limits: whoever is concerned is held
/// until the source says something new, or a release of the run.
#[utoipa::path(post, path = "/api/v1/runs/{id}/undo", tag = "order",
    params(("id" = String, Path, description = "The run's whole id: a UUID")),
    request_body(content = Option<ToUndo>, content_type = "application/json"),
    responses((status = 200, description = "What would be done", body = WouldUndo),
        (status = 202, description = "It begins", body = UndoBegun, headers(("location" = String, description = "Where to look"))),
        Undoing),
    security(("token" = [])))]
pub(super) async fn undo(
    State(view): State<View>,
    Writer(bearer): Writer,
    Named(id): Named,
    ToldIf(ToUndo { dry, reason: why, only: names }): ToldIf<ToUndo>,
) -> Result<Response, Problem> {
    let only = only(names.as_deref())?;
    let why = why.as_deref().map(reason).transpose()?;
    let why = match (dry, why) {
        (true, _) => None,
        (false, Some(why)) => Some(why),
        (false, None) => return Err(Problem::at("/reason", "is missing: what is done is done for a reason, which is kept")),
    };
    let run = known_run(&view, &id).await?;
    let (id, job, target) = (run.start.id.clone(), run.start.job.clone(), run.start.target.clone());
    let changes = view.journal.changes(&id).await?;
    if changes.is_empty() {
        return Err(Problem::new(Kind::NothingDone, format!("the run {id} changed nothing")));
    }
    let (rests, credentials) = (Rests::read(&*view.journal).await?, view.condition().credentials);
    if let Some(alone) = rests.why_not(&target, credentials.get(&target).map(String::as_str), view.clock.now()) {
        return Err(rested(alone.why));
    }
    nobody_else(&view, std::slice::from_ref(&target)).await?;
    let (by, at) = (bearer.actor(), view.clock.now());
    let (ask, answer) = Reversal::new((run, changes), only, &by, why);
    let stopping = || Problem::new(Kind::Unavailable, "the daemon is stopping");
    view.orders.send(Order::Undo(Box::new(ask))).map_err(|_| stopping())?;
    match answer.await.map_err(|_| stopping())? {
        Ok(Reversed::Shown { plan, stays }) => Ok(Json(would_undo(id, job, target, *plan, stays)).into_response()),
        Ok(Reversed::Begun) => {
            let query = [("job", Some(job.to_string())), ("target", Some(target.to_string()))];
            let look = address("/api/v1/runs", &query);
            let begun = UndoBegun { run: id, job, target, by, at, look: look.clone() };
            Ok((StatusCode::ACCEPTED, [(header::LOCATION, look)], Json(begun)).into_response())
        }
        Err(Declined::Unknown) => {
            let detail = format!("the job {job}, or its target {target}, is not configured any more");
            Err(Problem::new(Kind::Unknown, detail).hint("an undo needs the target's address and credential: put it back"))
        }
        Err(declined) => Err(not_now(&job, declined)),
    }
}

fn would_undo(run: RunId, job: JobName, target: SystemName, plan: PlanView, mut stays: Vec<String>) -> WouldUndo {
    let PlanView { plan, mut changes, violations, .. } = plan;
    let (total, staying) = (changes.len(), stays.len());
    changes.truncate(TOLD);
    stays.truncate(TOLD);
    WouldUndo { run, job, target, plan: plan.into(), changes, total, violations, stays, staying }
}
