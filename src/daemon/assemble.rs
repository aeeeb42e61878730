//! From a checked configuration to a working assembly: every connector built, every rule compiled; all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::config::{Value, ValueKind};
use regex::Regex;
use secrecy::ExposeSecret;

use super::herald::{Hook, Hooks};
use super::http::tokens::{Tokens, flaw};
use crate::config::daemon::Right;
use crate::config::glob::Globs;
use crate::config::groups::{GroupRule as RuleAsWritten, Groups};
use crate::config::job::Job as JobAsWritten;
use crate::config::layers::environment;
use crate::config::leavers::LeaverAction as ActionAsWritten;
use crate::config::notify::Notify;
use crate::config::{Checked, Checks, Config, ConfigError, Layers, System, check, guard as guards, users};
use crate::contract::clock::Clock;
use crate::contract::journal::Journal;
use crate::contract::notice::Subscription;
use crate::contract::settings::Settings;
use crate::contract::source::Source;
use crate::contract::target::{Nature, Target};
use crate::engine::policy::{Job, RetryPolicy};
use crate::engine::prepare::TargetSide;
use crate::engine::progress::Board;
use crate::engine::rest::Refusals;
use crate::engine::run::World;
use crate::http::kind::{Kit, Registry};
use crate::http::meter::Meters;
use crate::http::secret::Secrets;
use crate::http::webhook::Webhook;
use crate::model::backoff::Backoff;
use crate::model::key::{JobName, SystemName, fold};
use crate::reconcile::expression::Expression;
use crate::reconcile::guard;
use crate::reconcile::health::HealthPolicy;
use crate::reconcile::pattern::NameSet;
use crate::reconcile::rules::{GroupRule, GroupRules, LeaverAction, Leavers, Mapping, Rules, Scope};
use crate::reconcile::seats::WhenFull;

/// Every kind of connector.
pub const REGISTRY: Registry = Registry { sources: crate::sources::KINDS, targets: crate::targets::KINDS };

/// How long a quarantined subject or target rests between tries.
const REST: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// What does not change when the configuration does.
#[derive(Clone)]
pub struct Services {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// A draw from 0.0 to 1.0, for jitter.
    pub draw: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// This process, as holder of leases.
    pub holder: String,
    /// What connectors are handed.
    pub kit: Kit,
    /// Progress.
    pub board: Board,
}

impl Services {
    /// The services of a real process over a journal.
    pub fn new(journal: Arc<dyn Journal>, kit: Kit) -> Self {
        Self {
            journal,
            clock: Arc::new(super::clock::SystemClock),
            draw: Arc::new(fastrand::f64),
            holder: super::holder::mark(),
            kit,
            board: Board::default(),
        }
    }
}

/// What connectors are handed in a real process.
pub fn kit() -> Kit {
    Kit { secrets: Secrets::new(), meters: Arc::new(Meters::default()), latches: Default::default() }
}

/// What connectors are handed where none is to speak: no secret is read.
pub fn kit_of_stand_ins() -> Kit {
    Kit { secrets: Secrets::stand_ins(), ..kit() }
}

/// What a kind of target says of itself, for these targets; one of an unknown kind is left out.
pub fn natures<'a>(kinds: impl IntoIterator<Item = (&'a SystemName, &'a String)>) -> BTreeMap<SystemName, Nature> {
    let row = |kind: &str| REGISTRY.targets.iter().find(|row| row.kind == kind);
    kinds.into_iter().filter_map(|(name, kind)| Some((name.clone(), row(kind)?.nature))).collect()
}

/// A configuration at work.
#[derive(Clone)]
pub struct Assembly {
    /// The configuration.
    pub config: Arc<Config>,
    /// The jobs.
    pub worlds: BTreeMap<JobName, World>,
    /// The sources, for a check of their credentials.
    pub sources: BTreeMap<SystemName, Arc<dyn Source>>,
    /// The targets, likewise.
    pub targets: BTreeMap<SystemName, Arc<dyn Target>>,
    /// The webhooks.
    pub hooks: Arc<Hooks>,
    /// The files that each system was built from: its secrets and authorities.
    pub files: BTreeMap<SystemName, BTreeSet<PathBuf>>,
    /// The marks of the credentials that they were built with.
    pub credentials: Arc<BTreeMap<SystemName, String>>,
}

impl std::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").field("worlds", &self.worlds).finish_non_exhaustive()
    }
}

/// What cannot be put together although each part was checked: a secret that went away between check and building, say.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be built: {why}")]
pub struct AssembleError {
    /// Which part.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Reads and checks a file with the environment's overrides. What is read from here on is what [`Secrets::seen`] tells of.
///
/// # Errors
/// Everything that is wrong.
pub fn load(file: &Path, kit: &Kit) -> Result<Checked, ConfigError> {
    kit.secrets.seen().begin();
    kit.secrets.seen().look(file);
    let layers = Layers::read(&[file.to_path_buf()], &environment())?;
    check(&layers, &checks(kit))
}

/// What a configuration is checked with.
pub fn checks(kit: &Kit) -> Checks<'_> {
    Checks { expression: &expression, registry: &REGISTRY, kit }
}

fn expression(text: &str) -> Result<(), String> {
    Expression::new(text).map(drop).map_err(|e| e.what)
}

/// Puts everything together.
///
/// # Errors
/// The first part that cannot be built; nothing is left half done.
pub fn assemble(config: Config, services: &Services) -> Result<Assembly, AssembleError> {
    let (mut files, mut credentials) = (BTreeMap::new(), BTreeMap::new());
    // Their own: what another assembly's clients were refused is not theirs, nor the other way round.
    let kit = Kit { latches: Arc::default(), ..services.kit.clone() };
    let seen = kit.secrets.seen();
    seen.fresh();
    let begin = |name: &SystemName, system: &System| {
        seen.mark(name.as_str());
        addressed(&system.settings).iter().for_each(|part| seen.credential(part));
    };
    let mut sources: BTreeMap<SystemName, Arc<dyn Source>> = BTreeMap::new();
    for (name, system) in &config.sources {
        let row = REGISTRY.sources.iter().find(|row| row.kind == system.kind);
        let row = row.ok_or_else(|| unknown(name, system))?;
        begin(name, system);
        sources.insert(name.clone(), (row.build)(&system.settings, &kit).map_err(|e| failed(name, &e))?);
        files.insert(name.clone(), seen.fresh());
        credentials.extend(seen.mark(name.as_str()).map(|mark| (name.clone(), mark)));
    }
    let mut targets: BTreeMap<SystemName, Arc<dyn Target>> = BTreeMap::new();
    for (name, system) in &config.targets {
        let row = REGISTRY.targets.iter().find(|row| row.kind == system.kind);
        let row = row.ok_or_else(|| unknown(name, system))?;
        begin(name, system);
        targets.insert(name.clone(), (row.build)(&system.settings, &kit).map_err(|e| failed(name, &e))?);
        files.insert(name.clone(), seen.fresh());
        credentials.extend(seen.mark(name.as_str()).map(|mark| (name.clone(), mark)));
    }
    let hooks = Arc::new(hooks(&config, services)?);
    let notify: Vec<Subscription> =
        config.notify.iter().map(|(name, hook)| Subscription { hook: name.clone(), on: hook.on.clone() }).collect();
    let credentials = Arc::new(credentials);
    let latches = kit.latches.clone();
    let refusals = Arc::new(Refusals::new(move |system| latches.open(system)));
    let mut worlds = BTreeMap::new();
    for (name, job) in &config.jobs {
        let mut built = build_job(name, job).map_err(|why| AssembleError { what: format!("job {name}"), why })?;
        built.notify.clone_from(&notify);
        worlds.insert(name.clone(), world(built, job, &sources, &targets, services, (&credentials, &refusals))?);
    }
    Ok(Assembly { config: Arc::new(config), worlds, sources, targets, hooks, files, credentials })
}

/// What a system's table says in plain words at its top, its address above all: a credential that was refused elsewhere was not
/// refused here.
fn addressed(settings: &Settings) -> BTreeSet<String> {
    let table = settings.value.clone().into_table().unwrap_or_default();
    let plain = |(key, value): (String, Value)| match value.kind {
        ValueKind::String(text) => Some(format!("{key} {text}")),
        _ => None,
    };
    table.into_iter().filter_map(plain).collect()
}

/// The webhooks, with their URLs read now.
fn hooks(config: &Config, services: &Services) -> Result<Hooks, AssembleError> {
    let build = |(name, written): (&String, &Notify)| {
        let failed = |error: crate::contract::settings::SettingsError| AssembleError {
            what: format!("the webhook {name}"),
            why: error.to_string(),
        };
        let webhook = Webhook::new("url", &written.url, &services.kit.secrets).map_err(failed)?;
        Ok((name.clone(), Hook { webhook, format: written.format }))
    };
    config.notify.iter().map(build).collect()
}

/// Reads the tokens of the daemon's own HTTP server.
///
/// # Errors
/// A secret that cannot be read, that is too weak for what it opens, or that two of them are.
pub fn tokens(config: &Config, kit: &Kit) -> Result<Arc<Tokens>, AssembleError> {
    let failed = |why: String| AssembleError { what: "the daemon's HTTP server".to_owned(), why };
    let from_elsewhere = config.daemon.listen.is_some_and(|address| !address.ip().is_loopback());
    let mut tokens = Tokens::default();
    for (name, token) in &config.daemon.tokens {
        let secret = kit.secrets.read(&token.key.to_string(), &token.secret).map_err(|e| failed(e.to_string()))?;
        let strict = (token.may == Right::Write || from_elsewhere) && !kit.secrets.are_stand_ins();
        if strict && let Some(flaw) = flaw(secret.expose_secret()) {
            let why = if token.may == Right::Write { "it may write" } else { "other machines can try it" };
            return Err(failed(format!(
                "{} {flaw}; since {why}, it must be random and long: make one by `openssl rand -hex 32`",
                token.key
            )));
        }
        if let Some(other) = tokens.add(name, token.may, secret.expose_secret()) {
            let why =
                format!("the tokens {other} and {name} are one secret, and nobody could tell who asks: make another for one");
            return Err(failed(why));
        }
    }
    Ok(Arc::new(tokens))
}

fn unknown(name: &SystemName, system: &System) -> AssembleError {
    AssembleError { what: name.to_string(), why: format!("there is no kind {:?}", system.kind) }
}

fn failed(name: &SystemName, error: &crate::contract::settings::SettingsError) -> AssembleError {
    AssembleError { what: name.to_string(), why: error.to_string() }
}

fn world(
    job: Job,
    written: &JobAsWritten,
    sources: &BTreeMap<SystemName, Arc<dyn Source>>,
    targets: &BTreeMap<SystemName, Arc<dyn Target>>,
    services: &Services,
    (credentials, refusals): (&Arc<BTreeMap<SystemName, String>>, &Arc<Refusals>),
) -> Result<World, AssembleError> {
    let missing =
        |name: &SystemName| AssembleError { what: format!("job {}", job.name), why: format!("there is no system {name}") };
    let source = sources.get(&written.source).ok_or_else(|| missing(&written.source))?.clone();
    let mut sides = Vec::new();
    for name in &written.targets {
        sides.push(TargetSide { name: name.clone(), target: targets.get(name).ok_or_else(|| missing(name))?.clone() });
    }
    let meters = services.kit.meters.clone();
    let board = services.board.of(&job.name);
    Ok(World {
        job: Arc::new(job),
        source_name: written.source.clone(),
        source,
        targets: sides,
        journal: services.journal.clone(),
        clock: services.clock.clone(),
        draw: services.draw.clone(),
        holder: services.holder.clone(),
        gone: Arc::new(super::holder::gone),
        board,
        requests: Arc::new(move |system| meters.of(system).requests()),
        credentials: credentials.clone(),
        refusals: refusals.clone(),
    })
}

/// A job's rules as the core knows them; whom it tells is the whole configuration's, and put in later.
///
/// # Errors
/// What does not compile; a checked configuration has nothing of that.
pub fn build_job(name: &JobName, job: &JobAsWritten) -> Result<Job, String> {
    let backoff =
        Backoff::new(job.retry.base, job.retry.ceiling).ok_or("retry.base must be over zero and not over retry.ceiling")?;
    Ok(Job {
        name: name.clone(),
        rules: Rules {
            scope: scope(&job.users)?,
            mapping: mapping(&job.users.map)?,
            groups: groups(&job.groups)?,
            leavers: Leavers {
                disabled: action(job.leavers.disabled),
                out_of_scope: action(job.leavers.out_of_scope),
                deleted: action(job.leavers.deleted),
                grace: job.leavers.grace,
                delete_after: job.leavers.delete_after,
            },
        },
        guard: policy(&job.guard)?,
        health: HealthPolicy {
            shrink: job.guard.source_band,
            canary_users: job.guard.canaries.users.clone(),
            canary_groups: job.guard.canaries.groups.clone(),
        },
        retry: RetryPolicy { backoff, attempts: job.retry.attempts, rest: REST },
        observe: job.targets.iter().filter(|target| job.observes(target)).cloned().collect(),
        notify: Vec::new(),
    })
}

fn names(globs: &Globs) -> Result<NameSet, String> {
    let texts: Vec<&str> = globs.0.iter().map(|g| g.as_str()).collect();
    NameSet::new(&texts).map_err(|(at, why)| format!("{:?}: {why}", texts.get(at).copied().unwrap_or_default()))
}

fn scope(users: &users::Users) -> Result<Scope, String> {
    let filter = users.filter.as_deref().map(Expression::condition).transpose().map_err(|e| e.what)?;
    Ok(Scope { member_of: names(&users.member_of)?, filter, exclude: names(&users.exclude)? })
}

fn mapping(map: &users::UserMap) -> Result<Mapping, String> {
    let compile = |text: &str| Expression::new(text).map_err(|e| e.what);
    Ok(Mapping { username: compile(&map.username)?, email: compile(&map.email)?, display_name: compile(&map.display_name)? })
}

fn groups(groups: &Groups) -> Result<GroupRules, String> {
    let everything = groups.include.0.iter().any(|g| g.as_str() == "*");
    let rule = |rule: &RuleAsWritten| match rule {
        RuleAsWritten::From { from, to } => GroupRule::Name { from: fold(from), to: to.clone() },
        RuleAsWritten::Pattern { pattern, to } => GroupRule::Pattern { pattern: Regex::clone(pattern), to: to.clone() },
    };
    Ok(GroupRules {
        include: if everything { None } else { Some(names(&groups.include)?) },
        exclude: names(&groups.exclude)?,
        map: groups.map.iter().map(rule).collect(),
        create_missing: groups.create_missing,
        exclusive: names(&groups.exclusive)?,
        new_users: groups.default.new_users.clone(),
        all_users: groups.default.all_users.clone(),
    })
}

fn policy(written: &guards::Guard) -> Result<guard::Policy, String> {
    let limit = |l: guards::Limit| guard::Limit { share: l.share, floor: l.floor };
    let count = |n: Option<u64>| n.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let expectation = |e: &guards::Expect| guard::expect::Expectation {
        group: e.group.clone(),
        at_least: count(e.at_least),
        at_most: count(e.at_most),
        at_least_share: e.at_least_share,
        has: e.has.clone(),
        only_domains: e.only_domains.clone(),
    };
    Ok(guard::Policy {
        deactivations: limit(written.deactivations),
        membership_removals: limit(written.membership_removals),
        per_group_removals: limit(written.per_group_removals),
        protect_users: names(&written.protect_users)?,
        protect_groups: names(&written.protect_groups)?,
        expect: written.expect.iter().map(expectation).collect(),
        admins_at_least: written.admins_at_least,
        seats: match written.seats {
            guards::Seats::Warn => WhenFull::Warn,
            guards::Seats::Hold => WhenFull::Hold,
        },
        plan_expires: written.plan_expires,
    })
}

fn action(written: ActionAsWritten) -> LeaverAction {
    match written {
        ActionAsWritten::Keep => LeaverAction::Keep,
        ActionAsWritten::RemoveGroups => LeaverAction::RemoveGroups,
        ActionAsWritten::Deactivate => LeaverAction::Deactivate,
        ActionAsWritten::Delete => LeaverAction::Delete,
    }
}
