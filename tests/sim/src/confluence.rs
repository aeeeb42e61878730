//! A simulated Confluence Data Center, 7.19 to 10: `/rest/api`.
//!
//! What makes Confluence hard to keep in step is simulated on purpose: which writes exist depends on the version, and 7.19 has none; no listing shows
//! an e-mail address; the server shortens pages as it likes, and only `_links.next` tells that there is more; user
//! names obey rules that the other products do not have; a rename does not exist.
//! <https://developer.atlassian.com/server/confluence/rest/v1003/>

mod groups;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::directory::{self, Directory, Group, Keys, Refusal, Shared, User, fold};
use crate::gate::{Access, Caller, Gate, Refused};
use crate::harness::{self, Running};
use crate::route::{self, Answer, Ask, Product, Route, Version, encode};

use self::groups::{add_member, create_group, delete_group, get_group, list_groups, list_members, remove_member};
use self::users::{
    create_user, current_user, delete_user, disable_user, enable_user, get_user, list_groups_of, list_users, long_task,
    update_user,
};

/// What kind of Confluence it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version; it decides which calls exist.
    pub version: String,
    /// Who may come in.
    pub access: Access,
    /// The configured base URL, which links in answers use; it is not the URL that the server listens on.
    pub base_url: String,
    /// The context path, empty or `/confluence`.
    pub context: String,
    /// The group that a new user joins; it is licensed.
    pub default_group: String,
    /// The longest page of `user/list`.
    pub list_max: usize,
    /// `status` is written in lower case.
    pub status_lower: bool,
    /// An existing directory, for a restart or an upgrade.
    pub directory: Option<Shared>,
    /// The port; a free one otherwise.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "10.0.3".to_owned(),
            access: Access::default(),
            base_url: "https://confluence.example.com".to_owned(),
            context: String::new(),
            default_group: "confluence-users".to_owned(),
            list_max: 200,
            status_lower: false,
            directory: None,
            port: None,
        }
    }
}

/// The group of the administrators.
pub const ADMINISTRATORS: &str = "confluence-administrators";

/// A running Confluence. Dropping it stops it.
#[derive(Debug)]
pub struct Confluence {
    /// The server.
    pub running: Running,
    /// Who may come in.
    pub gate: Gate,
    /// What it holds.
    pub directory: Shared,
    tells_licence: Arc<AtomicBool>,
}

impl Confluence {
    /// Starts one. A new directory holds the account of [`Access::user`], the administrators and the default group.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let port = options.port;
        let instance = Arc::new(Instance::new(options));
        let (gate, directory) = (instance.gate.clone(), Arc::clone(&instance.directory));
        let tells_licence = Arc::clone(&instance.tells_licence);
        let mut running = harness::serve(route::router(Arc::clone(&instance)), port).await?;
        running.url.push_str(&instance.options.context);
        Ok(Self { running, gate, directory, tells_licence })
    }

    /// The URL to configure, with the context path.
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// Makes the account that asks a system administrator, or no longer: to no other the licence is told.
    pub fn tell_licence(&self, tells: bool) {
        self.tells_licence.store(tells, Ordering::Relaxed);
    }

    /// Locks the directory.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        directory::lock(&self.directory)
    }
}

/// The server's side of it.
#[derive(Debug)]
pub struct Instance {
    options: Options,
    version: Version,
    gate: Gate,
    directory: Shared,
    /// Long tasks by id, with how often each was asked about.
    tasks: Mutex<BTreeMap<String, u32>>,
    tells_licence: Arc<AtomicBool>,
}

/// The calls that this Confluence offers, in its newest version.
pub const ROUTES: &[Route<Instance>] = &[
    Route { method: "GET", path: "/rest/applinks/1.0/manifest", run: manifest },
    Route { method: "GET", path: "/rest/api/server-information", run: server_information },
    Route { method: "GET", path: "/rest/api/user/current", run: current_user },
    Route { method: "GET", path: "/rest/api/user", run: get_user },
    Route { method: "GET", path: "/rest/api/user/list", run: list_users },
    Route { method: "GET", path: "/rest/api/user/memberof", run: list_groups_of },
    Route { method: "GET", path: "/rest/api/group", run: list_groups },
    Route { method: "GET", path: "/rest/api/group/{groupName}", run: get_group },
    Route { method: "GET", path: "/rest/api/group/{groupName}/member", run: list_members },
    Route { method: "POST", path: "/rest/api/admin/user", run: create_user },
    Route { method: "PUT", path: "/rest/api/admin/user/{username}", run: update_user },
    Route { method: "DELETE", path: "/rest/api/admin/user/{username}", run: delete_user },
    Route { method: "PUT", path: "/rest/api/admin/user/{username}/enable", run: enable_user },
    Route { method: "PUT", path: "/rest/api/admin/user/{username}/disable", run: disable_user },
    Route { method: "POST", path: "/rest/api/admin/group", run: create_group },
    Route { method: "DELETE", path: "/rest/api/admin/group/{groupName}", run: delete_group },
    Route { method: "PUT", path: "/rest/api/user/{username}/group/{groupName}", run: add_member },
    Route { method: "DELETE", path: "/rest/api/user/{username}/group/{groupName}", run: remove_member },
    Route { method: "GET", path: "/rest/api/longtask/{id}", run: long_task },
    Route { method: "GET", path: "/rest/pat/latest/tokens", run: list_tokens },
    Route { method: "GET", path: "/rest/license/1.0/license/userCount", run: seats_taken },
    Route { method: "GET", path: "/rest/license/1.0/license/maxUsers", run: seats_of_licence },
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
        // No id, but the time in milliseconds.
        ("X-Confluence-Request-Time", (1_790_000_000_000 + number).to_string())
    }
    fn is_limited(&self, path: &str) -> bool {
        !path.starts_with("/rest/applinks/")
    }
    fn refuse(&self, why: Refused) -> Answer {
        match why {
            Refused::Token => {
                let message = "Client must be authenticated to access this resource.";
                Answer::json(401, &json!({ "message": message, "status-code": 401 }))
            }
            Refused::Password => Answer::html(401, "HTTP Status 401 - Unauthorized")
                .with("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
                .with("WWW-Authenticate", "OAuth realm=\"https%3A%2F%2Fconfluence.example.com\""),
            Refused::BasicDisabled => {
                Answer::json(403, &json!({ "message": "Basic Authentication has been disabled on this instance." }))
            }
            Refused::Captcha => {
                let challenge = format!("CAPTCHA_CHALLENGE; login-url={}/login.action", self.options.base_url);
                Answer::html(403, "HTTP Status 403 - Forbidden").with("X-Authentication-Denied-Reason", challenge)
            }
            Refused::Limited => Answer::json(429, &json!({ "message": "Rate limit exceeded." })),
        }
    }
    fn unknown(&self, ask: &Ask) -> Answer {
        if ask.path.starts_with("/rest/") {
            return Answer::no_such_resource(ask);
        }
        Answer::html(404, "Page Not Found - Confluence")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserBean<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    username: &'a str,
    user_key: &'a str,
    profile_picture: Icon,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(rename = "_links")]
    links: SelfLink,
    #[serde(rename = "_expandable")]
    expandable: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Icon {
    path: &'static str,
    width: u32,
    height: u32,
    is_default: bool,
}

#[derive(Serialize)]
struct SelfLink {
    #[serde(rename = "self")]
    link: String,
}

#[derive(Serialize)]
struct GroupBean<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(rename = "_links")]
    links: SelfLink,
}

#[derive(Serialize)]
struct Page<T> {
    results: Vec<T>,
    start: usize,
    limit: usize,
    size: usize,
    #[serde(rename = "_links")]
    links: PageLinks,
}

#[derive(Serialize)]
struct PageLinks {
    base: String,
    context: String,
    #[serde(rename = "self")]
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<String>,
}

/// The first version that has the writes of groups, memberships and activity.
const WRITES: Version = Version(8, 2, 0);
/// The first version that creates and lists users.
const CREATES: Version = Version(8, 4, 0);
/// The first version that changes details.
const UPDATES: Version = Version(9, 4, 0);
/// The first version that tells about the server.
const INFORMATION: Version = Version(10, 0, 0);

impl Instance {
    /// The server's side without a socket.
    pub fn new(options: Options) -> Self {
        let directory = options.directory.clone().unwrap_or_else(|| {
            let shared = Directory::shared(Keys::Hex);
            seed(&mut directory::lock(&shared), &options);
            shared
        });
        let (version, gate) = (Version::parse(&options.version), Gate::new(options.access.clone()));
        Self { options, version, gate, directory, tasks: Mutex::default(), tells_licence: Arc::default() }
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        directory::lock(&self.directory)
    }

    fn since(&self, version: Version, ask: &Ask) -> Result<(), Answer> {
        if self.version >= version { Ok(()) } else { Err(Answer::no_such_resource(ask)) }
    }

    fn known(&self, ask: &Ask) -> Result<(), Answer> {
        match ask.caller {
            Caller::Token | Caller::Password => Ok(()),
            Caller::Anonymous => Err(refusal(403, "The calling user does not have permission to view users.")),
        }
    }

    fn admin(&self, ask: &Ask) -> Result<(), Answer> {
        match ask.caller {
            Caller::Anonymous => Err(refusal(401, "The calling user is not authenticated.")),
            Caller::Token | Caller::Password if self.gate.is_admin() => Ok(()),
            Caller::Token | Caller::Password => {
                Err(refusal(403, "The calling user does not have permission to perform this action."))
            }
        }
    }

    fn bean<'a>(&self, directory: &Directory, user: &'a User, ask: &Ask) -> UserBean<'a> {
        let expanded = ask.expands("status");
        let link = format!("{}/rest/api/user?key={}", self.options.base_url, user.key);
        UserBean {
            kind: "known",
            username: user.name(),
            user_key: &user.key,
            profile_picture: Icon { path: "/images/icons/profilepics/default.svg", width: 48, height: 48, is_default: true },
            display_name: &user.display_name,
            status: expanded.then(|| self.status_of(directory, user)),
            links: SelfLink { link },
            expandable: if expanded { BTreeMap::new() } else { BTreeMap::from([("status", "")]) },
        }
    }

    fn status_of(&self, directory: &Directory, user: &User) -> String {
        let status = match (user.is_active(), directory.is_licensed(user)) {
            (false, _) => "DEACTIVATED",
            (true, false) => "UNLICENSED",
            (true, true) => "CURRENT",
        };
        if self.options.status_lower { status.to_lowercase() } else { status.to_owned() }
    }

    fn group_bean<'a>(&self, group: &'a Group) -> GroupBean<'a> {
        let link = format!("{}/rest/api/group/{}", self.options.base_url, encode(group.name()));
        GroupBean { kind: "group", name: group.name(), links: SelfLink { link } }
    }

    /// A page, no longer than `most`; `next` is relative to `base`, and is what tells that there is more.
    fn page<S, T>(&self, ask: &Ask, default: usize, most: usize, all: impl Iterator<Item = S>, show: impl Fn(S) -> T) -> Page<T> {
        let (start, limit) = (ask.number("start", 0), ask.number("limit", default).clamp(1, most));
        let mut rest = all.skip(start).peekable();
        let results: Vec<T> = rest.by_ref().take(limit).map(show).collect();
        let link = |start: usize| {
            let kept = ask.query.iter().filter(|(name, _)| name != "start" && name != "limit");
            let kept: String = kept.map(|(name, value)| format!("{}={}&", encode(name), encode(value))).collect();
            format!("{}?{kept}limit={limit}&start={start}", ask.path)
        };
        let links = PageLinks {
            base: self.options.base_url.clone(),
            context: self.options.context.clone(),
            link: format!("{}{}", self.options.base_url, link(start)),
            next: rest.peek().is_some().then(|| link(start + limit)),
            prev: (start > 0).then(|| link(start.saturating_sub(limit))),
        };
        Page { start, limit, size: results.len(), results, links }
    }
}

fn seed(directory: &mut Directory, options: &Options) {
    let seeded = "an empty directory has no such name";
    let user = &options.access.user;
    directory.add_user(user, &format!("{user}@example.com"), "Directory Sync").expect(seeded);
    for group in [ADMINISTRATORS, options.default_group.as_str()] {
        directory.add_group(group).expect(seeded);
        directory.join(group, user).expect("both were added");
    }
    if let Some(group) = directory.group_mut(&options.default_group) {
        group.licensed = true;
    }
}

fn refusal(status: u16, message: &str) -> Answer {
    let reason = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        _ => "Internal Server Error",
    };
    let error = json!({ "message": { "key": message, "args": [], "translation": message } });
    let data = json!({
        "authorized": status != 401 && status != 403,
        "valid": status != 400,
        "errors": [error],
        "successful": false,
        "allowedInReadOnlyMode": true,
    });
    Answer::json(status, &json!({ "statusCode": status, "data": data, "message": message, "reason": reason }))
}

fn no_user(name: &str) -> Answer {
    refusal(404, &format!("No user found with username or key: {name}"))
}

fn no_group(name: &str) -> Answer {
    refusal(404, &format!("No group found with name: {name}"))
}

/// The tokens of whoever asks. <https://confluence.atlassian.com/enterprise/using-personal-access-tokens-1026032365.html>
fn list_tokens(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.known(ask)?;
    Ok(Answer::json(200, &confluence.gate.listed_tokens()))
}

fn status(_: &Instance, _: &Ask) -> Result<Answer, Answer> {
    Ok(Answer::json(200, &json!({ "state": "RUNNING" })))
}

/// What there is on the licence is told to a system administrator alone.
fn licence(confluence: &Instance, ask: &Ask, count: impl FnOnce(&Directory) -> i64) -> Result<Answer, Answer> {
    confluence.admin(ask)?;
    if !confluence.tells_licence.load(Ordering::Relaxed) {
        return Err(refusal(403, "The calling user does not have permission to view the license."));
    }
    Ok(Answer::json(200, &json!({ "count": count(&confluence.directory()) })))
}

fn seats_taken(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    licence(confluence, ask, |directory| directory.seats_taken() as i64)
}

fn seats_of_licence(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    licence(confluence, ask, |directory| directory.seats.map_or(-1, |seats| seats as i64))
}

/// The version, to anybody, in JSON or else in XML.
fn manifest(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    let (version, url) = (&confluence.options.version, &confluence.options.base_url);
    if !ask.wants_json() {
        let body = format!("<manifest><typeId>confluence</typeId><version>{version}</version><url>{url}</url></manifest>");
        return Ok(Answer::xml(200, body));
    }
    Ok(Answer::json(
        200,
        &json!({
            "id": "5ff2ffab-4bd6-3b57-8c5b-4d4b5b1f0001",
            "name": "Simulated Confluence",
            "typeId": "confluence",
            "version": version,
            "buildNumber": build_number(confluence.version),
            "applinksVersion": "9.1.0",
            "inboundAuthenticationTypes": [],
            "outboundAuthenticationTypes": [],
            "publicSignup": false,
            "url": url,
        }),
    ))
}

fn build_number(Version(major, minor, patch): Version) -> u32 {
    major * 1000 + minor * 100 + patch
}

fn server_information(confluence: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    confluence.since(INFORMATION, ask)?;
    if ask.caller == Caller::Anonymous {
        return Err(refusal(401, "The calling user is not authenticated."));
    }
    let build = build_number(confluence.version);
    Ok(Answer::json(
        200,
        &json!({
            "baseUrl": confluence.options.base_url,
            "version": confluence.options.version,
            "buildNumber": build,
            "marketplaceBuildNumber": build,
            "buildDate": "2025-08-01",
        }),
    ))
}

fn object(ask: &Ask) -> Result<Map<String, Value>, Answer> {
    ask.object().ok_or_else(|| refusal(400, "Could not parse the request body as JSON."))
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).map_or("", str::trim)
}
