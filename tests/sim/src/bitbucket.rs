//! A simulated Bitbucket Data Center, 7.21 to 10: `/rest/api/latest` and `/rest/api/1.0`.
//!
//! What makes Bitbucket hard to keep in step is simulated on purpose: a token may read but not administer, and the refusal is a 401; pages go on at
//! `nextPageStart`, which need not be `start + size`; filters match parts of names; a new user joins the default
//! group and takes a seat unless told otherwise; a bulk addition that fails has done half of its work; a user cannot be deactivated.
//! <https://developer.atlassian.com/server/bitbucket/rest/v904/>

mod groups;
mod permissions;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::directory::{self, Directory, Keys, Refusal, Shared, User, contains_folded, fold};
use crate::gate::{Access, Caller, Gate, Refused};
use crate::harness::{self, Running};
use crate::route::{self, Answer, Ask, Product, Route};

use self::groups::{
    add_group, add_groups, add_user, add_users, create_group, delete_group, list_groups, list_members, remove_group, remove_user,
};
use self::permissions::{licence, list_directories, list_group_permissions, list_user_permissions, rate_limit, revoke_user};
use self::users::{create_user, delete_user, list_groups_of, list_users, rename_user, update_user};

/// What kind of Bitbucket it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version.
    pub version: String,
    /// Who may come in.
    pub access: Access,
    /// The configured base URL, which links in answers use; it is not the URL that the server listens on.
    pub base_url: String,
    /// The context path, empty or `/bitbucket`.
    pub context: String,
    /// Every third row of a page is one that the caller may not see: a page is shorter than its limit although it is not
    /// the last, and `nextPageStart` is not `start + size`.
    pub gaps: bool,
    /// Whether a token may read what a licensed user may read.
    pub token_reads: bool,
    /// The members of an unknown group are an empty page instead of a 404.
    pub unknown_group_is_empty: bool,
    /// Whether there is a mail server, without which `notify` is refused.
    pub mail_server: bool,
    /// An existing directory, for a restart or an upgrade.
    pub directory: Option<Shared>,
    /// The port; a free one otherwise.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "9.4.0".to_owned(),
            access: Access::default(),
            base_url: "https://bitbucket.example.com".to_owned(),
            context: String::new(),
            gaps: false,
            token_reads: true,
            unknown_group_is_empty: false,
            mail_server: true,
            directory: None,
            port: None,
        }
    }
}

/// The group that a new user joins by default; it has the permission `LICENSED_USER`.
pub const USERS: &str = "stash-users";
/// The group with the permission `SYS_ADMIN`.
pub const ADMINISTRATORS: &str = "bitbucket-system-admins";

/// A running Bitbucket. Dropping it stops it.
#[derive(Debug)]
pub struct Bitbucket {
    /// The server.
    pub running: Running,
    /// Who may come in.
    pub gate: Gate,
    /// What it holds.
    pub directory: Shared,
    instance: Arc<Instance>,
}

impl Bitbucket {
    /// Starts one. A new directory holds the account of [`Access::user`], the system administrators and `stash-users`.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let port = options.port;
        let instance = Arc::new(Instance::new(options));
        let (gate, directory) = (instance.gate.clone(), Arc::clone(&instance.directory));
        let mut running = harness::serve(route::router(Arc::clone(&instance)), port).await?;
        running.url.push_str(&instance.options.context);
        Ok(Self { running, gate, directory, instance })
    }

    /// The URL to configure, with the context path.
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// Locks the directory.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        directory::lock(&self.directory)
    }

    /// Grants a global permission (`LICENSED_USER`, `PROJECT_CREATE`, `ADMIN`, `SYS_ADMIN`) to a group; with each of them its
    /// members take seats.
    pub fn grant_group(&self, group: &str, permission: &str) {
        self.instance.grant_group(group, permission);
    }

    /// Grants a global permission to a user.
    pub fn grant_user(&self, user: &str, permission: &str) {
        self.instance.permissions().users.insert(fold(user), permission.to_owned());
    }

    /// The personal global permission of a user.
    pub fn permission_of(&self, user: &str) -> Option<String> {
        self.instance.permissions().users.get(&fold(user)).cloned()
    }
}

/// The server's side of it.
#[derive(Debug)]
pub struct Instance {
    options: Options,
    gate: Gate,
    directory: Shared,
    permissions: Mutex<Permissions>,
}

/// Global permissions by folded name.
#[derive(Debug, Default)]
struct Permissions {
    groups: BTreeMap<String, String>,
    users: BTreeMap<String, String>,
}

/// The calls that this Bitbucket offers.
pub const ROUTES: &[Route<Instance>] = &[
    Route { method: "GET", path: "/rest/api/latest/application-properties", run: application_properties },
    Route { method: "GET", path: "/rest/api/latest/admin/users", run: list_users },
    Route { method: "POST", path: "/rest/api/latest/admin/users", run: create_user },
    Route { method: "PUT", path: "/rest/api/latest/admin/users", run: update_user },
    Route { method: "DELETE", path: "/rest/api/latest/admin/users", run: delete_user },
    Route { method: "POST", path: "/rest/api/latest/admin/users/rename", run: rename_user },
    Route { method: "GET", path: "/rest/api/latest/admin/users/more-members", run: list_groups_of },
    Route { method: "POST", path: "/rest/api/latest/admin/users/add-groups", run: add_groups },
    Route { method: "POST", path: "/rest/api/latest/admin/users/add-group", run: add_group },
    Route { method: "POST", path: "/rest/api/latest/admin/users/remove-group", run: remove_group },
    Route { method: "GET", path: "/rest/api/latest/admin/groups", run: list_groups },
    Route { method: "POST", path: "/rest/api/latest/admin/groups", run: create_group },
    Route { method: "DELETE", path: "/rest/api/latest/admin/groups", run: delete_group },
    Route { method: "GET", path: "/rest/api/latest/admin/groups/more-members", run: list_members },
    Route { method: "POST", path: "/rest/api/latest/admin/groups/add-users", run: add_users },
    Route { method: "POST", path: "/rest/api/latest/admin/groups/add-user", run: add_user },
    Route { method: "POST", path: "/rest/api/latest/admin/groups/remove-user", run: remove_user },
    Route { method: "GET", path: "/rest/api/latest/admin/permissions/groups", run: list_group_permissions },
    Route { method: "GET", path: "/rest/api/latest/admin/permissions/users", run: list_user_permissions },
    Route { method: "DELETE", path: "/rest/api/latest/admin/permissions/users", run: revoke_user },
    Route { method: "GET", path: "/rest/api/latest/admin/user-directories", run: list_directories },
    Route { method: "GET", path: "/rest/api/latest/admin/license", run: licence },
    Route { method: "GET", path: "/rest/api/latest/admin/rate-limit/settings", run: rate_limit },
    Route { method: "GET", path: "/status", run: status },
];

impl Product for Instance {
    const ROUTES: &'static [Route<Self>] = ROUTES;

    fn context(&self) -> &str {
        &self.options.context
    }
    fn gate(&self) -> &Gate {
        &self.gate
    }
    fn mark(number: u64) -> (&'static str, String) {
        ("X-AREQUESTID", format!("@S1MULAx759x{number}x0"))
    }
    fn canonical(&self, path: &str) -> String {
        path.strip_prefix("/rest/api/1.0/").map_or_else(|| path.to_owned(), |rest| format!("/rest/api/latest/{rest}"))
    }
    fn refuse(&self, why: Refused) -> Answer {
        let incorrect = "com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException";
        match why {
            Refused::Token | Refused::Password => error(401, "Invalid username or password.", incorrect),
            Refused::BasicDisabled => {
                Answer::json(403, &json!({ "message": "Basic Authentication has been disabled on this instance." }))
            }
            Refused::Captcha => {
                let message = "CAPTCHA required. Your Bitbucket account has been marked as requiring a CAPTCHA response.";
                let challenge = format!("CAPTCHA_CHALLENGE; login-url={}/login", self.options.base_url);
                error(403, message, "com.atlassian.bitbucket.auth.CaptchaRequiredAuthenticationException")
                    .with("X-Authentication-Denied-Reason", challenge)
            }
            Refused::Limited => {
                let message = "You have been rate limited. Your user account has exceeded its request quota.";
                error(429, message, "com.atlassian.bitbucket.internal.ratelimit.RateLimitedException")
            }
        }
    }
    fn unknown(&self, ask: &Ask) -> Answer {
        if ask.path.starts_with("/rest/") {
            return Answer::no_such_resource(ask);
        }
        Answer::html(404, "Page not found - Bitbucket")
    }
    /// Who the server saw; absent for an anonymous caller.
    fn stamp(&self, ask: &Ask, answer: Answer) -> Answer {
        if ask.caller == Caller::Anonymous {
            return answer;
        }
        let name = self.gate.user();
        let id = self.directory().user(&name).map_or(0, |u| u.id);
        answer.with("X-AUSERNAME", route::encode(&name)).with("X-AUSERID", id.to_string())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserBean<'a> {
    name: &'a str,
    email_address: &'a str,
    id: u64,
    display_name: &'a str,
    active: bool,
    slug: String,
    #[serde(rename = "type")]
    kind: &'static str,
    directory_name: &'static str,
    deletable: bool,
    mutable_details: bool,
    mutable_groups: bool,
    links: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    size: usize,
    limit: usize,
    is_last_page: bool,
    values: Vec<T>,
    start: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_start: Option<usize>,
}

const INTERNAL_DIRECTORY: &str = "Bitbucket Internal Directory";
const CROWD_DIRECTORY: &str = "Crowd Server";

const FORBIDDEN: &str = "com.atlassian.bitbucket.AuthorisationException";
const INVALID: &str = "com.atlassian.bitbucket.validation.ArgumentValidationException";
const NO_USER: &str = "com.atlassian.bitbucket.user.NoSuchUserException";
const NO_GROUP: &str = "com.atlassian.bitbucket.user.NoSuchGroupException";
const INTEGRITY: &str = "com.atlassian.bitbucket.IntegrityException";
const LICENCE: &str = "com.atlassian.bitbucket.license.LicenseLimitException";
const READ_ONLY: &str = "com.atlassian.bitbucket.user.UnsupportedOperationException";

impl Instance {
    /// The server's side without a socket.
    pub fn new(options: Options) -> Self {
        let existing = options.directory.clone();
        let directory = existing.clone().unwrap_or_else(|| Directory::shared(Keys::Number));
        let gate = Gate::new(options.access.clone());
        let instance = Self { options, gate, directory, permissions: Mutex::default() };
        if existing.is_none() {
            seed(&mut instance.directory(), &instance.options.access.user);
        }
        instance.grant_group(USERS, "LICENSED_USER");
        instance.grant_group(ADMINISTRATORS, "SYS_ADMIN");
        instance
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        directory::lock(&self.directory)
    }

    fn permissions(&self) -> MutexGuard<'_, Permissions> {
        self.permissions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant_group(&self, group: &str, permission: &str) {
        if let Some(group) = self.directory().group_mut(group) {
            group.licensed = true;
        }
        self.permissions().groups.insert(fold(group), permission.to_owned());
    }

    /// What any licensed user may do.
    fn licensed(&self, ask: &Ask) -> Result<(), Answer> {
        match ask.caller {
            Caller::Password => Ok(()),
            Caller::Token if self.options.token_reads => Ok(()),
            Caller::Token | Caller::Anonymous => Err(not_permitted()),
        }
    }

    /// What an administrator may do, and a token never: its rights end at those of a project's administrator.
    /// <https://jira.atlassian.com/browse/BSERV-10482>
    fn admin(&self, ask: &Ask) -> Result<(), Answer> {
        if ask.caller == Caller::Password && self.gate.is_admin() { Ok(()) } else { Err(not_permitted()) }
    }

    /// An administrator cannot touch a group that is above him.
    fn above(&self, group: &str) -> Result<(), Answer> {
        let above = self.permissions().groups.get(&fold(group)).is_some_and(|p| p == "SYS_ADMIN");
        if above && !self.gate.is_system_admin() {
            return Err(error(403, "The group has a higher permission level than you.", FORBIDDEN));
        }
        Ok(())
    }

    fn bean<'a>(&self, user: &'a User) -> UserBean<'a> {
        let slug = slug(user.name());
        let href = format!("{}/users/{slug}", self.options.base_url);
        UserBean {
            name: user.name(),
            email_address: &user.email,
            id: user.id,
            display_name: &user.display_name,
            active: user.is_active(),
            slug,
            kind: "NORMAL",
            directory_name: if user.read_only { CROWD_DIRECTORY } else { INTERNAL_DIRECTORY },
            deletable: !user.read_only,
            mutable_details: !user.read_only,
            mutable_groups: !user.memberships_fixed,
            links: json!({ "self": [{ "href": href }] }),
        }
    }

    /// A page. Rows are counted before the ones are left out that the caller may not see.
    fn page<S, T>(&self, ask: &Ask, all: impl Iterator<Item = S>, show: impl Fn(S) -> T) -> Page<T> {
        let (start, limit) = (ask.number("start", 0), ask.number("limit", 25).clamp(1, 1000));
        let (gap, mut row) = (self.options.gaps, 0_usize);
        let mut values = Vec::new();
        let mut more = false;
        for item in all {
            // With gaps the rows 2, 5, 8, … are invisible ones.
            if gap && row % 3 == 2 {
                row += 1;
            }
            if row >= start + limit {
                more = true;
                break;
            }
            if row >= start {
                values.push(show(item));
            }
            row += 1;
        }
        let next_page_start = more.then_some(start + limit);
        Page { size: values.len(), limit, is_last_page: !more, values, start, next_page_start }
    }
}

fn seed(directory: &mut Directory, user: &str) {
    let seeded = "an empty directory has no such name";
    directory.add_user(user, &format!("{user}@example.com"), "Directory Sync").expect(seeded);
    for group in [USERS, ADMINISTRATORS] {
        directory.add_group(group).expect(seeded);
        directory.join(group, user).expect("both were added");
    }
}

/// A slug is lower-case, and has `_` for what a path does not bear.
fn slug(name: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || c == '.' || c == '-' || c == '_' { c } else { '_' };
    fold(name).chars().map(keep).collect()
}

fn error(status: u16, message: &str, exception: &str) -> Answer {
    let error = json!({ "context": null, "message": message, "exceptionName": exception });
    Answer::json(status, &json!({ "errors": [error] }))
}

fn invalid(context: &str, message: &str) -> Answer {
    let error = json!({ "context": context, "message": message, "exceptionName": INVALID });
    Answer::json(400, &json!({ "errors": [error] }))
}

fn not_permitted() -> Answer {
    error(401, "You are not permitted to access this resource", FORBIDDEN)
}

fn no_user(name: &str) -> Answer {
    error(404, &format!("No such user: {name}"), NO_USER)
}

fn no_group(name: &str) -> Answer {
    error(404, &format!("No such group: {name}"), NO_GROUP)
}

fn unlucky(why: Refusal, group: &str, user: &str) -> Answer {
    match why {
        Refusal::NoSuchUser => no_user(user),
        Refusal::NoSuchGroup => no_group(group),
        Refusal::UserExists | Refusal::GroupExists => error(409, "The name is already in use.", INTEGRITY),
    }
}

fn status(_: &Instance, _: &Ask) -> Result<Answer, Answer> {
    Ok(Answer::json(200, &json!({ "state": "RUNNING" })))
}

/// The version, to anybody.
fn application_properties(bitbucket: &Instance, _: &Ask) -> Result<Answer, Answer> {
    Ok(Answer::json(
        200,
        &json!({
            "version": bitbucket.options.version,
            "buildNumber": "9004000",
            "buildDate": "1736899200000",
            "displayName": "Bitbucket",
        }),
    ))
}

/// A query parameter that must be there.
fn required<'a>(ask: &'a Ask, name: &str) -> Result<&'a str, Answer> {
    ask.query(name).filter(|v| !v.trim().is_empty()).ok_or_else(|| invalid(name, &format!("The {name} parameter is required.")))
}

fn object(ask: &Ask) -> Result<Map<String, Value>, Answer> {
    ask.object().ok_or_else(|| error(400, "The request body is not a JSON object.", INVALID))
}

/// A text of the body that must be there.
fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, Answer> {
    let text = body.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty());
    text.ok_or_else(|| invalid(name, &format!("The {name} is required.")))
}
