//! The API's reading half: how things are, and were.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::admit::Looker;
use super::ask::{Asked, Named};
use super::document::{Looking, LookingAt, LookingAtPlan};
use super::page::{Slice, address, limit, name, slice};
use super::problem::{Kind, Problem};
use super::{View, current};
use crate::contract::history::ChangeQuery;
use crate::contract::journal::{ChangeRecord, IntentId, Rest, RunQuery, RunRecord};
use crate::contract::verdict::Decision;
use crate::daemon::status::Status;
use crate::engine::decide::{DecideError, Waiting, waiting};
use crate::engine::rest::resting;
use crate::model::change::OpKind;
use crate::model::key::{JobName, PlanId, SourceKey, SystemName};
use crate::model::retry::Retry;

/// How many rows of each list the status tells unless it is asked for more, and at the most.
const STATUS: (u32, u32) = (500, 5_000);
/// The same of runs.
const RUNS: (u32, u32) = (50, 500);
/// Of everything else.
const ROWS: (u32, u32) = (200, 1_000);
/// No list is told from beyond here.
const FARTHEST: u32 = 1_000_000;

/// How much of each list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatusAsked {
    /// At most so many of `staged`, `decisions` and `holds` each; `totals` counts all.
    #[param(minimum = 1, maximum = 5000, default = 500)]
    limit: Option<u32>,
}

/// How things are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatusAnswer)]
pub(super) struct Answer {
    /// The version of rosterd.
    version: &'static str,
    /// When this was told.
    now: DateTime<Utc>,
    /// Whether configuration, store and schedule stand.
    ready: bool,
    /// When the configuration in force was read.
    loaded: Option<DateTime<Utc>>,
    /// What was wrong at the last reload, if it failed.
    reload_failed: Option<String>,
    /// The jobs at work.
    running: Vec<JobName>,
    /// How many there are of what is told in part.
    totals: Totals,
    #[serde(flatten)]
    status: Status,
}

/// How many there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Totals {
    /// Removals that wait for a person.
    staged: usize,
    /// Decisions that no run has used up yet.
    decisions: usize,
    /// Users about whom nothing is written.
    holds: usize,
}

/// How things are: freshness, next runs, what waits for a person, who rests. As `rosterd status`.
#[utoipa::path(get, path = "/api/v1/status", tag = "look", params(StatusAsked),
    responses((status = 200, description = "How things are", body = Answer), Looking), security((), ("token" = [])))]
pub(super) async fn status(State(view): State<View>, Asked(asked): Asked<StatusAsked>) -> Result<Json<Answer>, Problem> {
    let most = limit(asked.limit, STATUS.0, STATUS.1)? as usize;
    let condition = view.condition();
    let now = view.clock.now();
    let mut status = current(&view, &condition, now).await?;
    let totals = Totals { staged: status.staged.len(), decisions: status.decisions.len(), holds: status.holds.len() };
    status.staged.truncate(most);
    status.decisions.truncate(most);
    status.holds.truncate(most);
    Ok(Json(Answer {
        version: env!("CARGO_PKG_VERSION"),
        now,
        ready: condition.ready,
        loaded: condition.loaded,
        reload_failed: condition.reload_failed,
        running: condition.running.into_iter().collect(),
        totals,
        status,
    }))
}

/// The jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    /// By name.
    jobs: Vec<Job>,
}

/// A job as it is configured, and how it is.
#[derive(Debug, Serialize, ToSchema)]
struct Job {
    /// Its name.
    job: JobName,
    /// Its source.
    source: SystemName,
    /// Its targets.
    targets: Vec<JobTarget>,
    /// Its schedule, in words.
    schedule: String,
    /// When it runs next.
    next: Option<DateTime<Utc>>,
    /// Whether it is at work.
    running: bool,
    /// Why its source is not spoken to, if it rests.
    resting: Option<String>,
}

/// A target of a job.
#[derive(Debug, Serialize, ToSchema)]
struct JobTarget {
    /// Its name.
    target: SystemName,
    /// Whether the job plans and reports there, and changes nothing.
    observes: bool,
    /// Why it is not spoken to, if it rests.
    resting: Option<String>,
}

/// The jobs of the configuration in force. There are no more than were written down, so they are told at once.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "look",
    responses((status = 200, description = "The jobs", body = Jobs), Looking), security((), ("token" = [])))]
pub(super) async fn jobs(State(view): State<View>) -> Result<Json<Jobs>, Problem> {
    let config = view.config()?;
    let (condition, now) = (view.condition(), view.clock.now());
    let rests = view.journal.rests().await?;
    let rests = |system: &SystemName| resting(rests.iter().find(|rest| rest.system == *system), now);
    let of = |(name, job): (&JobName, &crate::config::job::Job)| Job {
        job: name.clone(),
        source: job.source.clone(),
        targets: job
            .targets
            .iter()
            .map(|target| JobTarget { target: target.clone(), observes: job.observes(target), resting: rests(target) })
            .collect(),
        schedule: job.schedule.to_string(),
        next: condition.next.get(name).copied().flatten(),
        running: condition.running.contains(name),
        resting: rests(&job.source),
    };
    Ok(Json(Jobs { jobs: config.jobs.iter().map(of).collect() }))
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsAsked {
    /// Only of this job.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    job: Option<String>,
    /// Only at this target.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    target: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Only those before this run: the last of the page before.
    beyond: Option<String>,
}

/// Runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runs {
    /// The newest first.
    runs: Vec<RunRecord>,
    /// The address of the next page, if there is one.
    next: Option<String>,
}

/// Past runs, the newest first. As `rosterd runs`.
#[utoipa::path(get, path = "/api/v1/runs", tag = "look", params(RunsAsked),
    responses((status = 200, description = "Runs", body = Runs), LookingAt), security((), ("token" = [])))]
pub(super) async fn runs(State(view): State<View>, Asked(asked): Asked<RunsAsked>) -> Result<Json<Runs>, Problem> {
    let most = limit(asked.limit, RUNS.0, RUNS.1)?;
    let RunsAsked { job, target, limit: given, beyond } = asked;
    let beyond = match &beyond {
        Some(id) => Some(run_of(&view, id).await?.ok_or_else(|| {
            Problem::new(Kind::Unknown, "beyond: no such run is recorded").hint("it may be past its time: begin anew, without it")
        })?),
        None => None,
    };
    let query = RunQuery {
        job: name("job", job.as_deref())?,
        target: name("target", target.as_deref())?,
        beyond: beyond.map(|run| run.start.id),
        limit: most + 1,
        whole: false,
    };
    let mut runs = view.journal.runs(&query).await?;
    let more = runs.len() > most as usize;
    runs.truncate(most as usize);
    let next = runs.last().filter(|_| more).map(|last| {
        let beyond = Some(last.start.id.to_string());
        let limit = given.map(|n| n.to_string());
        address("/api/v1/runs", &[("job", job), ("target", target), ("limit", limit), ("beyond", beyond)])
    });
    Ok(Json(Runs { runs, next }))
}

/// A run by its whole id.
///
/// # Errors
/// One that is not recorded.
pub(super) async fn known_run(view: &View, id: &str) -> Result<RunRecord, Problem> {
    let unknown =
        || Problem::new(Kind::Unknown, "no run of this id is recorded").hint("/api/v1/runs lists them with their whole ids");
    run_of(view, id).await?.ok_or_else(unknown)
}

/// The same, if it is recorded.
async fn run_of(view: &View, id: &str) -> Result<Option<RunRecord>, Problem> {
    let is_whole = id.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(id).is_ok();
    Ok(if is_whole { view.journal.run(&id.to_ascii_lowercase()).await? } else { None })
}

/// Which changes of a run.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunAsked {
    /// At most so many changes.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: Option<u32>,
    /// Only those after the change of this number: the last of the page before.
    beyond: Option<i64>,
}

/// A run with its changes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunShown {
    /// The run.
    run: RunRecord,
    /// Its changes, as they were made. To whoever bears no token, `before` and `after` are not told: they hold e-mail
    /// addresses and display names.
    changes: Vec<ChangeRecord>,
    /// The address of the next page of changes, if there is one.
    next: Option<String>,
}

/// A run with its changes, each with its reason and what came of it. As `rosterd show`.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "look",
    params(("id" = String, Path, description = "The run's whole id: a UUID"), RunAsked),
    responses((status = 200, description = "The run", body = RunShown), LookingAt), security((), ("token" = [])))]
pub(super) async fn run(
    State(view): State<View>,
    Looker(looker): Looker,
    Named(id): Named,
    Asked(asked): Asked<RunAsked>,
) -> Result<Json<RunShown>, Problem> {
    let most = limit(asked.limit, ROWS.0, ROWS.1)?;
    let run = known_run(&view, &id).await?;
    let query = ChangeQuery {
        run: Some(run.start.id.clone()),
        beyond: asked.beyond.map(IntentId),
        limit: most + 1,
        ..ChangeQuery::default()
    };
    let mut changes: Vec<ChangeRecord> = view.journal.history(&query).await?.into_iter().map(|told| told.change).collect();
    let more = changes.len() > most as usize;
    changes.truncate(most as usize);
    if looker.is_none() {
        changes.iter_mut().for_each(|change| (change.intent.before, change.intent.after) = (None, None));
    }
    let next = changes.last().filter(|_| more).map(|last| {
        let query = [("limit", asked.limit.map(|n| n.to_string())), ("beyond", Some(last.id.0.to_string()))];
        address(&format!("/api/v1/runs/{}", run.start.id), &query)
    });
    Ok(Json(RunShown { run, changes, next }))
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PartAsked {
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: Option<u32>,
    /// After so many.
    #[param(minimum = 0, maximum = 1000000, default = 0)]
    offset: Option<u32>,
}

impl PartAsked {
    /// The part, and the address of the next one.
    fn of<T>(&self, path: &str, all: Vec<T>) -> Result<(Slice<T>, Option<String>), Problem> {
        let offset = self.offset.unwrap_or(0);
        if offset > FARTHEST {
            return Err(Problem::new(Kind::Malformed, format!("offset: is a number from 0 to {FARTHEST}")));
        }
        let part = slice(all, offset, limit(self.limit, ROWS.0, ROWS.1)?);
        let next = part
            .next
            .map(|offset| address(path, &[("limit", self.limit.map(|n| n.to_string())), ("offset", Some(offset.to_string()))]));
        Ok((part, next))
    }
}

/// A removal that waits in a plan.
#[derive(Debug, Serialize, ToSchema)]
struct Removal {
    /// For which job.
    job: JobName,
    /// At which target.
    target: SystemName,
    /// What kind.
    kind: OpKind,
    /// The source user, where there is one.
    source: Option<SourceKey>,
    /// The target user's name.
    #[schema(value_type = String)]
    user_name: SmolStr,
    /// The target group's name.
    #[schema(value_type = Option<String>)]
    group: Option<SmolStr>,
    /// Which guards hold it.
    held_by: Vec<String>,
    /// Since when a run has it wait; null while it stands only in a saved plan.
    since: Option<DateTime<Utc>>,
    /// What was said of it, and has neither been used up nor expired.
    decision: Option<Decision>,
}

/// What waits in a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plan {
    /// The plan's whole id.
    plan: PlanId,
    /// The removals that wait.
    removals: Vec<Removal>,
    /// How many they are.
    total: usize,
    /// The address of the next page, if there is one.
    next: Option<String>,
}

/// What waits for a person in a plan, by name, with what was said of it already.
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "look",
    params(("id" = String, Path, description = "The plan's id, or an unambiguous beginning of it"), PartAsked),
    responses((status = 200, description = "What waits", body = Plan), LookingAtPlan), security((), ("token" = [])))]
pub(super) async fn plan(
    State(view): State<View>,
    Named(id): Named,
    Asked(asked): Asked<PartAsked>,
) -> Result<Json<Plan>, Problem> {
    let now = view.clock.now();
    let all = waiting(&*view.journal, beginning_of_plan_id(&id)?, now).await?;
    let plan = all.first().map(|w| w.plan.clone()).ok_or_else(|| Problem::from(DecideError::Unknown(id)))?;
    let (part, next) = asked.of(&format!("/api/v1/plans/{plan}"), all)?;
    let decisions = view.journal.decisions().await?;
    let removal = |Waiting { job, target, plan: _, change, since }: Waiting| {
        let is_about = |d: &&Decision| d.job == job && d.target == target && d.mark == change.mark && d.stands(now);
        Removal {
            decision: decisions.iter().find(is_about).cloned(),
            job,
            target,
            kind: change.kind,
            source: change.source,
            user_name: change.user_name,
            group: change.group,
            held_by: change.held_by,
            since,
        }
    };
    let Slice { rows, total, next: _ } = part;
    Ok(Json(Plan { plan, removals: rows.into_iter().map(removal).collect(), total, next }))
}

/// The id of a plan, or the beginning of one.
///
/// # Errors
/// What cannot be any.
pub(super) fn beginning_of_plan_id(id: &str) -> Result<&str, Problem> {
    let can_be = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if can_be { Ok(id) } else { Err(DecideError::Unknown(id.to_owned()).into()) }
}

/// The whole id of a plan. Who decides by a program sees nothing printed back: a beginning that was cut off by accident, or
/// kept from yesterday, must not fit another plan than the one that was shown.
///
/// # Errors
/// What is none.
pub(super) fn whole_plan_id(id: &str) -> Result<&str, Problem> {
    if id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(id);
    }
    let detail = format!("{id:?} is not the whole id of a plan: to decide takes all of its 16 digits (0-9, a-f)");
    Err(Problem::new(Kind::Malformed, detail).hint("GET the same plan by its beginning: `plan` in the answer is the whole id"))
}

/// What is to be tried again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Retries {
    /// By the time of the next try; those in quarantine among them.
    retries: Vec<Retry>,
    /// How many there are.
    total: usize,
    /// The address of the next page, if there is one.
    next: Option<String>,
}

/// The retry queue: what is to be tried again and when, each with its cause. As `rosterd retries`.
#[utoipa::path(get, path = "/api/v1/retries", tag = "look", params(PartAsked),
    responses((status = 200, description = "The queue", body = Retries), Looking), security((), ("token" = [])))]
pub(super) async fn retries(State(view): State<View>, Asked(asked): Asked<PartAsked>) -> Result<Json<Retries>, Problem> {
    let (Slice { rows, total, next: _ }, next) = asked.of("/api/v1/retries", view.journal.retries().await?)?;
    Ok(Json(Retries { retries: rows, total, next }))
}

/// What is set aside.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Quarantine {
    /// Users, and whole runs, whose attempts are spent.
    subjects: Vec<Retry>,
    /// How many these are.
    total: usize,
    /// The address of the next page of them, if there is one.
    next: Option<String>,
    /// Systems that have failed; those rest whose `until` is null or lies ahead.
    systems: Vec<Rest>,
}

/// What is set aside until it heals or a person releases it: subjects whose attempts are spent, and systems that rest.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "look", params(PartAsked),
    responses((status = 200, description = "What is set aside", body = Quarantine), Looking), security((), ("token" = [])))]
pub(super) async fn quarantine(State(view): State<View>, Asked(asked): Asked<PartAsked>) -> Result<Json<Quarantine>, Problem> {
    let all: Vec<Retry> = view.journal.retries().await?.into_iter().filter(|retry| retry.quarantined).collect();
    let (Slice { rows, total, next: _ }, next) = asked.of("/api/v1/quarantine", all)?;
    Ok(Json(Quarantine { subjects: rows, total, next, systems: view.journal.rests().await? }))
}
