//! The file as it is read: the same tables and keys, plain text where the meaning is looked at later. Its doc comments are
//! the descriptions in the JSON Schema.
//!
//! No `flatten` and no `untagged`: serde buffers their content, and the place of a mistake is lost. What may be written in
//! two forms has a visitor of its own, in [`super::forms`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{Filled, OneOrMany, WordOrTable};
use crate::contract::notice::Topic;
use crate::http::secret::SecretRef;

/// The configuration of rosterd.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// The daemon itself.
    pub(super) daemon: Daemon,
    /// What is logged, how and where.
    pub(super) log: Log,
    /// The systems that say who should exist, by a name of your choice.
    pub(super) sources: BTreeMap<String, Filled>,
    /// The systems that are made to agree, by a name of your choice.
    pub(super) targets: BTreeMap<String, Filled>,
    /// What is kept in step with what, by a name of your choice.
    pub(super) jobs: BTreeMap<String, Job>,
    /// Webhooks that are told what needs a person, by a name of your choice.
    pub(super) notify: BTreeMap<String, Notify>,
    /// Where traces of runs are sent.
    pub(super) telemetry: Telemetry,
}

/// Where traces of runs are sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    /// The base URL of a collector that speaks OTLP over HTTP, such as "http://127.0.0.1:4318" (default: none).
    pub(super) otlp: Option<String>,
    /// The bearer token that it asks for (default: none).
    pub(super) token: Option<SecretRef>,
}

/// A webhook that is told what needs a person.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    /// Where its URL is, which is a secret: whoever knows it can write there.
    pub(super) url: SecretRef,
    /// What a message looks like (default "json").
    pub(super) format: Option<super::notify::Format>,
    /// What is told (default: everything).
    pub(super) on: Option<Vec<Topic>>,
}

/// The daemon itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Daemon {
    /// Where the journal is kept: "sqlite:/path" (default "sqlite:/var/lib/rosterd/state.db") or "postgres://user@host/db".
    pub(super) state: Option<String>,
    /// The password of the PostgreSQL store.
    pub(super) state_password: Option<SecretRef>,
    /// Address and port of health, metrics, status and console (default "127.0.0.1:9640"), or "off".
    pub(super) listen: Option<String>,
    /// A bearer token that may read, called "token". Where `listen` can be reached from other machines all but health needs one.
    pub(super) token: Option<SecretRef>,
    /// Bearer tokens by a name of your choice, which the journal keeps with what is asked by it.
    pub(super) tokens: BTreeMap<String, Token>,
    /// The IANA time zone of schedules, such as "Europe/Berlin" (default "UTC").
    pub(super) timezone: Option<String>,
    /// How long a stopping daemon may finish what it has in hand (default "25s").
    pub(super) drain: Option<String>,
    /// How long finished runs stay in the journal (default "90d").
    pub(super) keep_runs: Option<String>,
    /// How often the file and the secrets are looked at for changes, which then take effect as by SIGHUP (default "off").
    pub(super) watch: Option<String>,
}

/// A bearer token of the HTTP API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    /// Where the token is.
    pub(super) secret: SecretRef,
    /// What its holder may do: "metrics" (read /metrics, nothing else), "read", or "write" (start runs, decide, release, undo as well).
    pub(super) may: super::daemon::Right,
}

/// What is logged, how and where.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    /// "error", "warn", "info" (default), "debug", "trace", or a tracing filter such as "info,rosterd::engine=debug".
    pub(super) level: Option<String>,
    /// How a line looks (default "text").
    pub(super) format: Option<super::log::LogFormat>,
    /// A file beside the standard error stream.
    pub(super) file: Option<LogFile>,
}

/// A log file that is begun anew from time to time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    /// The directory.
    pub(super) directory: String,
    /// When a new file is begun (default "daily").
    pub(super) rotate: Option<super::log::Rotation>,
    /// How many files are kept (default 14).
    pub(super) keep: Option<u32>,
}

/// One source, its targets, and the rules between them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    /// The name of a source.
    pub(super) source: String,
    /// The names of targets.
    pub(super) targets: OneOrMany,
    /// When the job runs: "hourly", "daily", "twice_daily", "weekly", an interval such as "15m", or a table.
    pub(super) schedule: WordOrTable<Schedule>,
    /// "apply" (default), or "observe": plan and report, change nothing.
    pub(super) mode: Option<super::job::Mode>,
    /// Targets of the job at which it only observes, whatever its mode (default: none).
    #[serde(default)]
    pub(super) observe: OneOrMany,
    /// Who is managed, and how users are named.
    #[serde(default)]
    pub(super) users: Users,
    /// Which groups are managed, and how they are named.
    #[serde(default)]
    pub(super) groups: Groups,
    /// What happens to users who leave.
    #[serde(default)]
    pub(super) leavers: Leavers,
    /// What must hold before access is taken away.
    #[serde(default)]
    pub(super) guard: Guard,
    /// How what failed for the moment is tried again.
    #[serde(default)]
    pub(super) retry: Retry,
}

/// When a job runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Schedule {
    /// "hourly", "daily", "twice_daily", "weekly", or an interval of at least "1s".
    pub(super) every: Option<String>,
    /// A cron expression of five fields; day of month and day of week are alternatives, as in crontab(5).
    pub(super) cron: Option<String>,
    /// Times of day, "HH:MM" (default "03:00"; for twice_daily "03:00" and "15:00").
    pub(super) at: Option<OneOrMany>,
    /// The day of a weekly job (default "monday").
    pub(super) weekday: Option<String>,
    /// The IANA time zone of this schedule (default: that of the daemon).
    pub(super) timezone: Option<String>,
    /// Spreads jobs: this one is late by a constant part of this time.
    pub(super) jitter: Option<String>,
}

/// Who is managed, and how users are named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Users {
    /// Only members of any of these source groups (names or globs). Empty: everybody.
    pub(super) member_of: Vec<String>,
    /// Only users for whom this expression over the source's record is true.
    pub(super) filter: Option<String>,
    /// Never users whose login matches one of these globs.
    pub(super) exclude: Vec<String>,
    /// Expressions over the source's record that make the user at the target.
    pub(super) map: UserMap,
}

/// Expressions that make the user at the target.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UserMap {
    /// Default: login | before('@') | lower.
    pub(super) username: Option<String>,
    /// Default: email.
    pub(super) email: Option<String>,
    /// Default: full_name, which is the display name, else given and family name as far as there are any, else the login.
    pub(super) display_name: Option<String>,
}

/// Which groups are managed, and how they are named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Groups {
    /// Globs over source group names (default: all).
    pub(super) include: Option<Vec<String>>,
    /// Globs over source group names, stronger than include.
    pub(super) exclude: Vec<String>,
    /// Rules from source names to target names; a group that no rule names keeps its name.
    pub(super) map: Vec<GroupRule>,
    /// Whether a group that the target lacks is created (default true).
    pub(super) create_missing: Option<bool>,
    /// Globs over target group names whose membership equals the source's: a member whom rosterd did not put there goes.
    pub(super) exclusive: Vec<String>,
    /// Target groups that need no group at the source.
    pub(super) default: DefaultGroups,
}

/// One rule for the names of groups: `from` or `pattern`, and `to`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupRule {
    /// A source group's name.
    pub(super) from: Option<String>,
    /// A regular expression over source group names.
    pub(super) pattern: Option<String>,
    /// Target groups' names; with a pattern they may hold $1 or ${name}.
    pub(super) to: OneOrMany,
}

/// Target groups that need no group at the source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DefaultGroups {
    /// Where a user is put once, when rosterd creates it.
    pub(super) new_users: Vec<String>,
    /// Where every managed user is a member.
    pub(super) all_users: Vec<String>,
}

/// What happens to users who leave.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Leavers {
    /// The source disabled the user (default "deactivate").
    pub(super) disabled: Option<super::leavers::LeaverAction>,
    /// The source has the user, this job does not want it (default "remove_groups").
    pub(super) out_of_scope: Option<super::leavers::LeaverAction>,
    /// The source says that there is no such user any more (default "deactivate").
    pub(super) deleted: Option<super::leavers::LeaverAction>,
    /// How long a user must have been gone before anything is done (default "0s").
    pub(super) grace: Option<String>,
    /// How long a user must have been gone until an account that was made inactive is deleted (default: never).
    pub(super) delete_after: Option<String>,
}

/// What must hold before access is taken away.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Guard {
    /// How many users may lose their account (default share 0.10, floor 5).
    pub(super) deactivations: Limit,
    /// How many memberships may be removed at a target (default share 0.25, floor 20).
    pub(super) membership_removals: Limit,
    /// How many members one group may lose (default share 0.50, floor 10).
    pub(super) per_group_removals: Limit,
    /// Globs over target user names that are never touched, approval or not.
    pub(super) protect_users: Vec<String>,
    /// Globs over target group names from which nobody is ever removed, approval or not.
    pub(super) protect_groups: Vec<String>,
    /// What must be true of groups before anything is removed.
    pub(super) expect: Vec<Expect>,
    /// How many different active administrators a target must keep, of all its administration groups together (default 1).
    pub(super) admins_at_least: Option<u32>,
    /// What happens to those for whom the target's licence has no free seat (default "warn").
    pub(super) seats: Option<super::guard::Seats>,
    /// By what share the source may have shrunk since the last good run before a run is blind (default 0.5).
    pub(super) source_band: Option<f64>,
    /// Users and groups that must be visible at the source, or the run is blind.
    pub(super) canaries: Canaries,
    /// After how long a plan can no longer be approved (default "7d").
    pub(super) plan_expires: Option<String>,
}

/// A limit on removals: what exceeds both share and floor is staged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limit {
    /// A share from 0 to 1: 0.10 is a tenth.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) share: Option<f64>,
    /// So many are always let through.
    pub(super) floor: Option<u32>,
}

/// What must be true of a group, before a run and after it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// A target group's name.
    pub(super) group: String,
    /// The fewest active members.
    pub(super) at_least: Option<u64>,
    /// The most active members.
    pub(super) at_most: Option<u64>,
    /// The least share of the active members before a run that must be left after it, from 0 to 1.
    pub(super) at_least_share: Option<f64>,
    /// User names that must be active members.
    #[serde(default)]
    pub(super) has: Vec<String>,
    /// Mail domains; nobody with an address of another one may be an active member.
    #[serde(default)]
    pub(super) only_domains: Vec<String>,
}

/// Users and groups that must be visible at the source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Canaries {
    /// Logins.
    pub(super) users: Vec<String>,
    /// Group names.
    pub(super) groups: Vec<String>,
}

/// How what failed for the moment is tried again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retry {
    /// How many tries a subject gets before it is set aside (default 8).
    pub(super) attempts: Option<u32>,
    /// The first wait, which doubles (default "30s").
    pub(super) base: Option<String>,
    /// The longest wait (default "6h").
    pub(super) ceiling: Option<String>,
}
