//! A simulated Jira Data Center, 8.20 to 11: `/rest/api/2`.
//!
//! What makes Jira hard to keep in step is simulated on purpose: a search that silently stops (after 1000 matches up to 9.x, after 100
//! from 10.0 on), a complete list that only some versions have, pages of 50 members whatever is asked, links that point to the
//! configured host rather than the one that was called, a group picker that tells an anonymous caller "none" with a
//! 200, and 400 for what was so already.
//! <https://developer.atlassian.com/server/jira/platform/rest/v10003/>

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::directory::{self, Directory, Group, Keys, Refusal, Shared, User, contains_folded, fold, starts_folded};
use crate::gate::{Access, Caller, Gate, Refused};
use crate::harness::{self, Running};
use crate::route::{self, Answer, Ask, Product, Route, Version, encode};

/// How Jira shows e-mail addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailVisibility {
    /// As they are.
    Public,
    /// `ann at example dot com`
    Masked,
    /// The field is missing.
    Hidden,
}

/// What kind of Jira it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version; it decides which calls exist and where searches stop.
    pub version: String,
    /// Who may come in.
    pub access: Access,
    /// The configured base URL, which links in answers use; it is not the URL that the server listens on.
    pub base_url: String,
    /// The context path, empty or `/jira`.
    pub context: String,
    /// How e-mail addresses are shown.
    pub email: EmailVisibility,
    /// The group that a user joins who is created without `applicationKeys`; it is licensed.
    pub default_group: String,
    /// Whether `user/list` holds inactive users too.
    pub list_inactive: bool,
    /// An existing directory, for a restart or an upgrade.
    pub directory: Option<Shared>,
    /// The port; a free one otherwise.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "10.3.24".to_owned(),
            access: Access::default(),
            base_url: "https://jira.example.com".to_owned(),
            context: String::new(),
            email: EmailVisibility::Public,
            default_group: "jira-software-users".to_owned(),
            list_inactive: true,
            directory: None,
            port: None,
        }
    }
}

/// The group of the administrators.
pub const ADMINISTRATORS: &str = "jira-administrators";

/// A running Jira. Dropping it stops it.
#[derive(Debug)]
pub struct Jira {
    /// The server.
    pub running: Running,
    /// Who may come in.
    pub gate: Gate,
    /// What it holds.
    pub directory: Shared,
}

impl Jira {
    /// Starts one. A new directory holds the account of [`Access::user`], the administrators and the default group.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let port = options.port;
        let instance = Arc::new(Instance::new(options));
        let (gate, directory) = (instance.gate.clone(), Arc::clone(&instance.directory));
        let mut running = harness::serve(route::router(Arc::clone(&instance)), port).await?;
        running.url.push_str(&instance.options.context);
        Ok(Self { running, gate, directory })
    }

    /// The URL to configure, with the context path.
    pub fn url(&self) -> &str {
        &self.running.url
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
}

/// The calls that this Jira offers.
pub const ROUTES: &[Route<Instance>] = &[
    Route { method: "GET", path: "/rest/api/2/serverInfo", run: server_info },
    Route { method: "GET", path: "/rest/api/2/myself", run: myself },
    Route { method: "GET", path: "/rest/api/2/mypermissions", run: my_permissions },
    Route { method: "GET", path: "/rest/api/2/user", run: get_user },
    Route { method: "POST", path: "/rest/api/2/user", run: create_user },
    Route { method: "PUT", path: "/rest/api/2/user", run: update_user },
    Route { method: "DELETE", path: "/rest/api/2/user", run: delete_user },
    Route { method: "GET", path: "/rest/api/2/user/search", run: search_users },
    Route { method: "GET", path: "/rest/api/2/user/list", run: list_users },
    Route { method: "GET", path: "/rest/api/2/groups/picker", run: pick_groups },
    Route { method: "POST", path: "/rest/api/2/group", run: create_group },
    Route { method: "DELETE", path: "/rest/api/2/group", run: delete_group },
    Route { method: "GET", path: "/rest/api/2/group/member", run: list_members },
    Route { method: "POST", path: "/rest/api/2/group/user", run: add_member },
    Route { method: "DELETE", path: "/rest/api/2/group/user", run: remove_member },
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
    fn is_limited(&self, path: &str) -> bool {
        path != "/rest/api/2/serverInfo"
    }
    fn refuse(&self, why: Refused) -> Answer {
        match why {
            Refused::Token => Answer::json(
                401,
                &json!({ "message": "Client must be authenticated to access this resource.", "status-code": 401 }),
            ),
            Refused::Password => Answer::html(401, "Unauthorized (401)")
                .with("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
                .with("WWW-Authenticate", "OAuth realm=\"https%3A%2F%2Fjira.example.com\""),
            Refused::BasicDisabled => {
                Answer::json(403, &json!({ "message": "Basic Authentication has been disabled on this instance." }))
            }
            Refused::Captcha => {
                let challenge = format!("CAPTCHA_CHALLENGE; login-url={}/login.jsp", self.options.base_url);
                Answer::html(403, "Forbidden (403)")
                    .with("X-Seraph-LoginReason", "AUTHENTICATION_DENIED")
                    .with("X-Authentication-Denied-Reason", challenge)
            }
            Refused::Limited => Answer::json(429, &json!({ "message": "Rate limit exceeded." })),
        }
    }
    fn unknown(&self, ask: &Ask) -> Answer {
        if ask.path.starts_with("/rest/") {
            return Answer::no_such_resource(ask);
        }
        Answer::html(404, "Oops, you've found a dead link")
    }
}

/// A user as Jira shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserBean<'a> {
    #[serde(rename = "self")]
    link: String,
    key: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<Cow<'a, str>>,
    avatar_urls: Avatars,
    display_name: &'a str,
    active: bool,
    deleted: bool,
    time_zone: &'static str,
    locale: &'static str,
    /// This and the following only in the single view.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_roles: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expand: Option<&'static str>,
}

#[derive(Serialize)]
struct Avatars {
    #[serde(rename = "48x48")]
    large: &'static str,
    #[serde(rename = "16x16")]
    small: &'static str,
}

/// A page of members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberPage<'a> {
    #[serde(rename = "self")]
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<String>,
    max_results: usize,
    start_at: usize,
    total: usize,
    is_last: bool,
    values: Vec<UserBean<'a>>,
}

/// A page of the complete list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CursorPage<'a> {
    #[serde(rename = "self")]
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    max_results: usize,
    is_last: bool,
    values: Vec<UserBean<'a>>,
}

impl Instance {
    /// The server's side without a socket.
    pub fn new(options: Options) -> Self {
        let directory = options.directory.clone().unwrap_or_else(|| {
            let shared = Directory::shared(Keys::Jira);
            seed(&mut directory::lock(&shared), &options);
            shared
        });
        let (version, gate) = (Version::parse(&options.version), Gate::new(options.access.clone()));
        Self { options, version, gate, directory }
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        directory::lock(&self.directory)
    }

    /// `user/list` came with 11.0 and was carried back to the 10.3 line in 10.3.12.
    fn has_user_list(&self) -> bool {
        let Version(major, minor, patch) = self.version;
        major >= 11 || ((major, minor) == (10, 3) && patch >= 12)
    }

    /// How many matches a search ever shows. <https://jira.atlassian.com/browse/JRASERVER-65089>,
    /// <https://jira.atlassian.com/browse/JRASERVER-78520>
    fn search_window(&self) -> usize {
        if self.version.0 >= 10 { 100 } else { 1000 }
    }

    fn known(&self, ask: &Ask) -> Result<(), Answer> {
        match ask.caller {
            Caller::Token | Caller::Password => Ok(()),
            Caller::Anonymous => {
                Err(errors(401, "You are not authenticated. Authentication required to perform this operation."))
            }
        }
    }

    fn admin(&self, ask: &Ask) -> Result<(), Answer> {
        self.known(ask)?;
        if self.gate.is_admin() {
            return Ok(());
        }
        Err(errors(403, "Forbidden"))
    }

    fn bean<'a>(&self, user: &'a User) -> UserBean<'a> {
        let email_address = match self.options.email {
            EmailVisibility::Public => Some(Cow::Borrowed(user.email.as_str())),
            EmailVisibility::Masked => Some(Cow::Owned(user.email.replace('@', " at ").replace('.', " dot "))),
            EmailVisibility::Hidden => None,
        };
        UserBean {
            link: format!("{}/rest/api/2/user?username={}", self.options.base_url, encode(user.name())),
            key: &user.key,
            name: user.name(),
            email_address,
            avatar_urls: Avatars {
                large: "https://jira.example.com/secure/useravatar?avatarId=10122",
                small: "https://jira.example.com/secure/useravatar?size=xsmall&avatarId=10122",
            },
            display_name: &user.display_name,
            active: user.active,
            deleted: false,
            time_zone: "Etc/UTC",
            locale: "en_US",
            groups: None,
            application_roles: None,
            expand: None,
        }
    }

    /// With the sizes always, and the items only if asked for.
    fn single<'a>(&self, directory: &'a Directory, user: &'a User, ask: &Ask) -> UserBean<'a> {
        let name = |g: &Group| {
            let link = format!("{}/rest/api/2/group?groupname={}", self.options.base_url, encode(g.name()));
            json!({ "name": g.name(), "self": link })
        };
        let mut items: Vec<Value> = Vec::new();
        if ask.expands("groups") {
            items = directory.groups_of(user).map(name).collect();
        }
        let licensed = usize::from(directory.is_licensed(user));
        UserBean {
            groups: Some(json!({ "size": user.groups().len(), "items": items })),
            application_roles: Some(json!({ "size": licensed, "items": [] })),
            expand: Some("groups,applicationRoles"),
            ..self.bean(user)
        }
    }

    fn here(&self, ask: &Ask, query: &str) -> String {
        format!("{}{}?{query}", self.options.base_url, ask.path)
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

fn errors(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "errorMessages": [message], "errors": {} }))
}

fn field(name: &str, message: &str) -> Answer {
    Answer::json(400, &json!({ "errorMessages": [], "errors": { name: message } }))
}

fn status(_: &Instance, _: &Ask) -> Result<Answer, Answer> {
    Ok(Answer::json(200, &json!({ "state": "RUNNING" })))
}

fn server_info(jira: &Instance, _: &Ask) -> Result<Answer, Answer> {
    let Version(major, minor, patch) = jira.version;
    Ok(Answer::json(
        200,
        &json!({
            "baseUrl": jira.options.base_url,
            "version": jira.options.version,
            "versionNumbers": [major, minor, patch],
            "deploymentType": "Server",
            "buildNumber": major * 1_000_000 + minor * 10_000 + patch,
            "buildDate": "2025-01-22T00:00:00.000+0000",
            "databaseBuildNumber": major * 1_000_000 + minor * 10_000 + patch,
            "serverTime": chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
            "serverTitle": "Simulated Jira",
        }),
    ))
}

fn myself(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    let directory = jira.directory();
    let user = directory.user(&jira.gate.user()).ok_or_else(|| errors(404, "The user could not be found."))?;
    Ok(Answer::json(200, &jira.single(&directory, user, ask)))
}

fn my_permissions(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    let permission = |id: &str, key: &str, name: &str, have: bool| json!({ "id": id, "key": key, "name": name, "type": "GLOBAL", "description": name, "havePermission": have });
    let (admin, system) = (jira.gate.is_admin(), jira.gate.is_system_admin());
    Ok(Answer::json(
        200,
        &json!({ "permissions": {
            "ADMINISTER": permission("0", "ADMINISTER", "Jira Administrators", admin),
            "SYSTEM_ADMIN": permission("44", "SYSTEM_ADMIN", "Jira System Administrators", system),
            "USER_PICKER": permission("27", "USER_PICKER", "Browse Users", true),
        } }),
    ))
}

/// The user that `username` or `key` names.
fn named<'a>(directory: &'a Directory, ask: &Ask) -> Result<&'a User, Answer> {
    match (ask.query("username"), ask.query("key")) {
        (Some(name), _) => directory.user(name).ok_or_else(|| errors(404, &format!("The user named '{name}' does not exist"))),
        (None, Some(key)) => {
            directory.user_by_key(key).ok_or_else(|| errors(404, &format!("The user with the key '{key}' does not exist")))
        }
        (None, None) => Err(errors(400, "Either the 'username' or the 'key' query parameters need to be provided")),
    }
}

fn get_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    let directory = jira.directory();
    let user = named(&directory, ask)?;
    Ok(Answer::json(200, &jira.single(&directory, user, ask)))
}

/// A text of the body, refused if it is there and no text.
fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Answer> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(errors(400, &format!("Can not deserialize instance of java.lang.String for \"{name}\"")))
        }
    }
}

fn object(ask: &Ask) -> Result<Map<String, Value>, Answer> {
    ask.object().ok_or_else(|| errors(400, "Unexpected character: expected a JSON object"))
}

fn valid_name(name: &str) -> Result<(), Answer> {
    if name.is_empty() {
        return Err(field("username", "You must specify a username."));
    }
    if name.contains(['<', '>', '&']) {
        return Err(field("username", "The username must not contain '<', '>' or '&'."));
    }
    if name.chars().count() > 255 {
        return Err(field("username", "The username must not exceed 255 characters in length."));
    }
    Ok(())
}

fn valid_details(email: Option<&str>, display_name: Option<&str>) -> Result<(), Answer> {
    match email {
        Some("") => return Err(field("emailAddress", "You must specify an email address.")),
        Some(email) if !email.contains('@') => {
            return Err(field("emailAddress", "You must specify a valid email address."));
        }
        Some(_) | None => {}
    }
    if display_name == Some("") {
        return Err(field("displayName", "You must specify a full name."));
    }
    Ok(())
}

const NAME_TAKEN: &str = "A user with that username already exists.";

fn create_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let body = object(ask)?;
    let name = text(&body, "name")?.unwrap_or_default();
    let email = text(&body, "emailAddress")?.unwrap_or_default();
    let display_name = text(&body, "displayName")?.unwrap_or_default();
    valid_name(name)?;
    valid_details(Some(email), Some(display_name))?;
    // Without `applicationKeys` the default access of the instance is granted, with an empty list none.
    let takes_seat = body.get("applicationKeys").is_none_or(|keys| keys.as_array().is_none_or(|k| !k.is_empty()));
    let mut directory = jira.directory();
    if directory.user(name).is_some() {
        return Err(field("username", NAME_TAKEN));
    }
    if takes_seat && directory.is_full() {
        return Err(errors(400, "You cannot create a user at this time, since the license limit has been exceeded."));
    }
    directory.add_user(name, email, display_name).map_err(|_| field("username", NAME_TAKEN))?;
    if takes_seat {
        // The default group may have been deleted by hand.
        let _joined = directory.join(&jira.options.default_group, name);
    }
    if let (Some(active), Some(user)) = (body.get("active").and_then(Value::as_bool), directory.user_mut(name)) {
        user.active = active;
    }
    directory.wrote();
    let user = directory.user(name).ok_or_else(|| errors(500, "The user was not created."))?;
    Ok(Answer::json(201, &jira.single(&directory, user, ask)))
}

fn update_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let body = object(ask)?;
    let (name, email, display_name) = (text(&body, "name")?, text(&body, "emailAddress")?, text(&body, "displayName")?);
    let active = body.get("active").and_then(Value::as_bool);
    let mut directory = jira.directory();
    let user = named(&directory, ask)?.clone();
    let changes = name.is_some_and(|n| n != user.name())
        || email.is_some_and(|e| e != user.email)
        || display_name.is_some_and(|d| d != user.display_name)
        || active.is_some_and(|a| a != user.active);
    if !changes {
        return Err(errors(400, "error.no.value.found.to.be.changed"));
    }
    if user.read_only {
        return Err(errors(403, "The directory is read-only."));
    }
    if let Some(name) = name {
        valid_name(name)?;
    }
    valid_details(email, display_name)?;
    if active == Some(false) && user.active && user.leads_project {
        return Err(field("active", "Cannot deactivate user, because the user is currently a project lead."));
    }
    if active == Some(true) && !user.active && directory.is_full() && directory.groups_of(&user).any(|g| g.licensed) {
        return Err(errors(400, "You cannot activate the user, since the license limit has been exceeded."));
    }
    if let Some(name) = name {
        directory.rename_user(user.name(), name).map_err(|_| field("username", NAME_TAKEN))?;
    }
    let current = name.unwrap_or(user.name());
    if let Some(user) = directory.user_mut(current) {
        user.email = email.map_or_else(|| user.email.clone(), str::to_owned);
        user.display_name = display_name.map_or_else(|| user.display_name.clone(), str::to_owned);
        user.active = active.unwrap_or(user.active);
    }
    directory.wrote();
    let user = directory.user(current).ok_or_else(|| errors(404, "The user does not exist."))?;
    Ok(Answer::json(200, &jira.single(&directory, user, ask)))
}

fn delete_user(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let mut directory = jira.directory();
    let user = named(&directory, ask)?.clone();
    if user.read_only {
        return Err(errors(403, "The directory is read-only."));
    }
    if user.leads_project {
        return Err(errors(400, "Cannot delete user, because the user is currently a project lead."));
    }
    if fold(user.name()) == fold(&jira.gate.user()) {
        return Err(errors(400, "You cannot delete the currently logged in user."));
    }
    directory.delete_user(user.name()).map_err(|_| errors(404, "The user does not exist."))?;
    directory.wrote();
    Ok(Answer::empty(204))
}

fn search_users(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    let Some(query) = ask.query("username").filter(|q| !q.is_empty()) else {
        return Err(errors(400, "The username query parameter was not provided"));
    };
    let (active, inactive) = (ask.flag("includeActive", true), ask.flag("includeInactive", false));
    let window = jira.search_window();
    let most = ask.number("maxResults", 50).min(window);
    let directory = jira.directory();
    let folded = fold(query);
    let matches = directory
        .users()
        .filter(|u| if u.active { active } else { inactive })
        .filter(|u| query == "." || query == "\"\"" || is_found(u, &folded));
    let page: Vec<_> = matches.take(window).skip(ask.number("startAt", 0)).take(most).map(|u| jira.bean(u)).collect();
    Ok(Answer::json(200, &page))
}

/// The beginning of the address, or of a word of user name or display name.
fn is_found(user: &User, folded: &str) -> bool {
    starts_folded(&user.email, folded) || word_starts(user.name(), folded) || word_starts(&user.display_name, folded)
}

fn word_starts(text: &str, folded: &str) -> bool {
    let mut inside = false;
    for (at, character) in text.char_indices() {
        let starts = !inside && starts_folded(&text[at..], folded);
        if starts {
            return true;
        }
        inside = character.is_alphanumeric();
    }
    false
}

fn list_users(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    if !jira.has_user_list() {
        return Err(Answer::no_such_resource(ask));
    }
    jira.admin(ask)?;
    let cursor = match ask.query("cursor").map(str::parse::<u64>) {
        None => 0,
        Some(Ok(cursor)) => cursor,
        Some(Err(_)) => return Err(Answer::no_such_resource(ask)),
    };
    let max_results = ask.number("maxResults", 2000).clamp(1, 2000);
    let directory = jira.directory();
    let mut rest = directory.users_after(cursor).filter(|u| u.active || jira.options.list_inactive).peekable();
    let page: Vec<&User> = rest.by_ref().take(max_results).collect();
    let next = page.last().filter(|_| rest.peek().is_some()).map(|u| u.id.to_string());
    let body = CursorPage {
        link: jira.here(ask, &format!("maxResults={max_results}&cursor={cursor}")),
        next_page: next.as_ref().map(|c| jira.here(ask, &format!("maxResults={max_results}&cursor={c}"))),
        is_last: next.is_none(),
        next_cursor: next,
        max_results,
        values: page.into_iter().map(|u| jira.bean(u)).collect(),
    };
    Ok(Answer::json(200, &body))
}

/// Anonymous callers get an empty answer with a 200, which is the trap of this call.
fn pick_groups(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    let directory = jira.directory();
    let query = fold(ask.query("query").unwrap_or_default());
    let most = match ask.number("maxResults", 20) {
        0 => 20,
        most => most,
    };
    let visible = ask.caller != Caller::Anonymous;
    let found: Vec<&Group> = directory.groups().filter(|g| visible && contains_folded(g.name(), &query)).collect();
    let shown: Vec<Value> = found.iter().take(most).map(|g| suggestion(g.name(), &query)).collect();
    let header = format!("Showing {} of {} matching groups", shown.len(), found.len());
    Ok(Answer::json(200, &json!({ "header": header, "total": found.len(), "groups": shown })))
}

fn suggestion(name: &str, query: &str) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let end = name.char_indices().nth(query.chars().count()).map_or(name.len(), |(at, _)| at);
    let html = if !query.is_empty() && starts_folded(name, query) {
        format!("<b>{}</b>{}", escaped(&name[..end]), escaped(&name[end..]))
    } else {
        escaped(name)
    };
    json!({ "name": name, "html": html, "labels": [] })
}

fn no_group(name: &str) -> Answer {
    errors(404, &format!("The group named '{name}' does not exist."))
}

fn group_bean(jira: &Instance, name: &str, size: usize) -> Value {
    json!({
        "name": name,
        "self": format!("{}/rest/api/2/group?groupname={}", jira.options.base_url, encode(name)),
        "users": { "size": size, "items": [], "max-results": 50, "start-index": 0, "end-index": 0 },
        "expand": "users",
    })
}

fn create_group(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let body = object(ask)?;
    let name = text(&body, "name")?.filter(|n| !n.is_empty()).ok_or_else(|| field("name", "You must specify a group name."))?;
    let mut directory = jira.directory();
    directory.add_group(name).map_err(|_| errors(400, "A group or user with this name already exists."))?;
    directory.wrote();
    Ok(Answer::json(201, &group_bean(jira, name, 0)))
}

/// The query parameter `groupname`, which must not be empty.
fn group_name(ask: &Ask) -> Result<&str, Answer> {
    ask.query("groupname")
        .filter(|g| !g.is_empty())
        .ok_or_else(|| errors(400, "The 'groupname' query parameter needs to be provided."))
}

fn delete_group(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let name = group_name(ask)?;
    let mut directory = jira.directory();
    if directory.group(name).ok_or_else(|| no_group(name))?.read_only {
        return Err(errors(400, "Cannot delete group, the group is in a read-only directory."));
    }
    directory.delete_group(name).map_err(|_| no_group(name))?;
    directory.wrote();
    Ok(Answer::empty(200))
}

/// At most 50 a page, whatever is asked.
fn list_members(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let name = group_name(ask)?;
    let inactive = ask.flag("includeInactiveUsers", false);
    let (start_at, max_results) = (ask.number("startAt", 0), ask.number("maxResults", 50).clamp(1, 50));
    let directory = jira.directory();
    let group = directory.group(name).ok_or_else(|| no_group(name))?;
    let shown = |u: &&User| u.active || inactive;
    let total = if inactive { group.members().len() } else { directory.members(group).filter(|u| u.active).count() };
    let page = directory.members(group).filter(shown).skip(start_at).take(max_results);
    let values: Vec<_> = page.map(|u| jira.bean(u)).collect();
    let end = start_at + values.len();
    let link = |at: usize| {
        let query = format!("groupname={}&includeInactiveUsers={inactive}&startAt={at}&maxResults={max_results}", encode(name));
        jira.here(ask, &query)
    };
    let is_last = end >= total;
    let next_page = (!is_last).then(|| link(end));
    let body = MemberPage { link: link(start_at), next_page, max_results, start_at, total, is_last, values };
    Ok(Answer::json(200, &body))
}

/// The group that both membership calls are about, if its memberships can change.
fn changeable(directory: &Directory, group: &str, user: &str) -> Result<(), Answer> {
    let found = directory.group(group).ok_or_else(|| no_group(group))?;
    let member = directory.user(user).ok_or_else(|| errors(404, &format!("The user named '{user}' does not exist.")))?;
    if found.read_only || member.memberships_fixed {
        return Err(errors(400, "Cannot change the membership, the directory is read-only."));
    }
    Ok(())
}

fn add_member(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let group = group_name(ask)?;
    let body = object(ask)?;
    let user = text(&body, "name")?.unwrap_or_default();
    let mut directory = jira.directory();
    changeable(&directory, group, user)?;
    if directory.is_member(group, user) {
        let message = format!("Cannot add user. '{user}' is already a member of '{group}'");
        return Err(errors(400, &message));
    }
    let licensed = directory.group(group).is_some_and(|g| g.licensed);
    if licensed && directory.is_full() && directory.user(user).is_some_and(|u| u.active && !directory.is_licensed(u)) {
        return Err(errors(400, "Cannot add user, since the license limit has been exceeded."));
    }
    directory.join(group, user).map_err(|refusal| unlucky(refusal, group, user))?;
    directory.wrote();
    let group = directory.group(group).ok_or_else(|| no_group(group))?;
    Ok(Answer::json(201, &group_bean(jira, group.name(), group.members().len())))
}

fn remove_member(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let group = group_name(ask)?;
    let user = ask.query("username").unwrap_or_default();
    let mut directory = jira.directory();
    changeable(&directory, group, user)?;
    if !directory.leave(group, user).map_err(|refusal| unlucky(refusal, group, user))? {
        let message = format!("Cannot remove user '{user}' from group '{group}' since user is not a member of '{group}'");
        return Err(errors(400, &message));
    }
    directory.wrote();
    Ok(Answer::empty(200))
}

fn unlucky(refusal: Refusal, group: &str, user: &str) -> Answer {
    match refusal {
        Refusal::NoSuchGroup => no_group(group),
        Refusal::NoSuchUser => errors(404, &format!("The user named '{user}' does not exist.")),
        Refusal::UserExists | Refusal::GroupExists => errors(400, NAME_TAKEN),
    }
}

#[cfg(test)]
#[path = "jira_tests.rs"]
mod tests;
