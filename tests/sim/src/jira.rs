//! A simulated Jira Data Center, 8.20 to 11: `/rest/api/2`.
//!
//! What makes Jira hard to keep in step is simulated on purpose: a search that silently stops (after 1000 matches up to 9.x, after 100
//! from 10.0 on), a complete list that only some versions have, pages of 50 members whatever is asked, links that point to the
//! configured host rather than the one that was called, a group picker that tells an anonymous caller "none" with a
//! 200, and 400 for what was so already.
//! <https://developer.atlassian.com/server/jira/platform/rest/v10003/>

mod groups;
#[cfg(test)]
mod tests;
mod users;

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::directory::{self, Directory, Group, Keys, Refusal, Shared, User, contains_folded, fold, starts_folded};
use crate::gate::{Access, Caller, Gate, Refused};
use crate::harness::{self, Running};
use crate::route::{self, Answer, Ask, Product, Route, Version, encode};

use self::groups::{add_member, create_group, delete_group, list_members, pick_groups, remove_member};
use self::users::{create_user, delete_user, get_user, list_users, search_users, update_user};

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
    Route { method: "GET", path: "/rest/api/2/applicationrole", run: application_roles },
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
    Route { method: "GET", path: "/rest/pat/latest/tokens", run: list_tokens },
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
            active: user.is_active(),
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

/// The tokens of whoever asks. <https://confluence.atlassian.com/enterprise/using-personal-access-tokens-1026032365.html>
fn list_tokens(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.known(ask)?;
    Ok(Answer::json(200, &jira.gate.listed_tokens()))
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

/// How many seats the licence has, role by role; this one has only one that anything gives.
fn application_roles(jira: &Instance, ask: &Ask) -> Result<Answer, Answer> {
    jira.admin(ask)?;
    let directory = jira.directory();
    let groups: Vec<&str> = directory.groups().filter(|g| g.licensed).map(Group::name).collect();
    let (taken, seats) = (directory.seats_taken(), directory.seats);
    let number = |n: Option<usize>| n.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
    let role = |key: &str, name: &str, groups: &[&str], taken: usize| {
        json!({
            "key": key,
            "groups": groups,
            "name": name,
            "defaultGroups": if groups.is_empty() { vec![] } else { vec![jira.options.default_group.as_str()] },
            "selectedByDefault": !groups.is_empty(),
            "defined": !groups.is_empty(),
            "numberOfSeats": number(seats),
            "remainingSeats": number(seats.map(|seats| seats.saturating_sub(taken))),
            "userCount": taken,
            "userCountDescription": format!("{taken} users"),
            "hasUnlimitedSeats": seats.is_none(),
            "platform": groups.is_empty(),
        })
    };
    let roles = [role("jira-core", "Jira Core", &[], 0), role("jira-software", "Jira Software", &groups, taken)];
    Ok(Answer::json(200, &roles))
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
