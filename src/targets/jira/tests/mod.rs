//! Exact exchanges with a Jira that is nothing but its answers: what is sent, how often, and what is made of what comes back.

mod acts;
mod probe;
mod recorded;
mod roads;

use std::sync::Arc;

use mockito::{Matcher, Mock, Request, ServerGuard};
use serde_json::{Value, json};

use super::probe::{Facts, Version};
use super::{Jira, KIND};
use crate::contract::settings::Settings;
use crate::contract::target::{Wanted, WantedUser};
use crate::http::kind::Kit;
use crate::http::meter::Meters;
use crate::http::secret::Secrets;
use crate::model::key::{SystemName, TargetKey};

const JSON: &str = "application/json;charset=UTF-8";
const NO_USER: &str = r#"{"errorMessages":["The user named 'x' does not exist"],"errors":{}}"#;

fn kit() -> Kit {
    Kit { secrets: Secrets::new(), meters: Arc::new(Meters::default()), latches: Default::default() }
}

/// A table of the configuration; `TOKEN` in it becomes the path of a file with a token.
fn settings(table: &str) -> (Settings, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "a-token").unwrap();
    let table = table.replace("TOKEN", &format!("{{ file = {file:?} }}"));
    (Settings::from_toml("jira", &table).unwrap(), directory)
}

/// A connector to the server, below a context path.
fn jira(server: &ServerGuard, more: &str) -> Jira {
    let (settings, _directory) = settings(&format!("url = \"{}/ctx\"\nauth = {{ token = TOKEN }}\n{more}", server.url()));
    Jira::new(&settings, &kit()).unwrap()
}

/// The same, as if this version had been probed.
fn known(server: &ServerGuard, version: Version, lists_users: bool, more: &str) -> Jira {
    let jira = jira(server, more);
    *jira.facts.lock().unwrap() = Some(Facts { version, lists_users });
    jira
}

fn path(rest: &str) -> String {
    format!("/ctx/rest/api/2/{rest}")
}

fn user_json(number: usize) -> Value {
    json!({
        "self": format!("http://elsewhere.invalid/rest/api/2/user?username=user{number}"),
        "key": format!("JIRAUSER{number}"),
        "name": format!("user{number}"),
        "emailAddress": format!("user{number}@example.com"),
        "displayName": format!("User {number}"),
        "active": true,
        "deleted": false,
    })
}

fn key(number: usize) -> TargetKey {
    TargetKey::from(format!("JIRAUSER{number}"))
}

fn linked(number: usize) -> WantedUser {
    WantedUser { key: Some(key(number)), name: format!("user{number}").into() }
}

fn named(name: &str) -> WantedUser {
    WantedUser { key: None, name: name.into() }
}

fn wanted(users: Vec<WantedUser>, groups: &[&str]) -> Wanted {
    Wanted { users, groups: groups.iter().map(|name| (*name).into()).collect(), ..Wanted::default() }
}

/// A parameter of the request's query, decoded.
fn parameter(request: &Request, name: &str) -> Option<String> {
    let url = url::Url::parse("http://x").unwrap().join(request.path_and_query()).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(request: &Request, name: &str) -> usize {
    parameter(request, name).unwrap().parse().unwrap()
}

fn parameters(pairs: &[(&str, &str)]) -> Matcher {
    Matcher::AllOf(pairs.iter().map(|(name, value)| Matcher::UrlEncoded((*name).into(), (*value).into())).collect())
}

fn get(server: &mut ServerGuard, rest: &str, query: &[(&str, &str)]) -> Mock {
    let query = if query.is_empty() { Matcher::Any } else { parameters(query) };
    server.mock("GET", path(rest).as_str()).match_query(query).with_header("content-type", JSON)
}

/// The group picker, with these groups.
fn picker(server: &mut ServerGuard, groups: &[&str]) -> Mock {
    let shown: Vec<Value> =
        groups.iter().map(|name| json!({"name": name, "html": format!("<b></b>{name}"), "labels": []})).collect();
    let body = json!({"header": "", "total": shown.len(), "groups": shown});
    get(server, "groups/picker", &[("query", ""), ("maxResults", "10000")]).with_body(body.to_string())
}

/// A group's members, 50 a page, each request as this connector has to send it.
fn members(server: &mut ServerGuard, group: &str, people: Vec<Value>) -> Mock {
    get(server, "group/member", &[("groupname", group), ("includeInactiveUsers", "true"), ("maxResults", "50")])
        .with_body_from_request(move |request| member_page(&people, number(request, "startAt")).to_string().into_bytes())
}

fn member_page(people: &[Value], start: usize) -> Value {
    let values: Vec<&Value> = people.iter().skip(start).take(50).collect();
    json!({
        "self": "http://elsewhere.invalid/self", "nextPage": "http://elsewhere.invalid/next",
        "maxResults": 50, "startAt": start, "total": people.len(),
        "isLast": start + values.len() >= people.len(), "values": values,
    })
}

fn no_group(server: &mut ServerGuard, group: &str) -> Mock {
    get(server, "group/member", &[("groupname", group)])
        .with_status(404)
        .with_body(r#"{"errorMessages":["The group does not exist."],"errors":{}}"#)
}

/// One user by itself, for any of these.
fn single(server: &mut ServerGuard, query: &[(&str, &str)], user: &Value) -> Mock {
    get(server, "user", query).with_body(user.to_string())
}

fn with_groups(mut user: Value, groups: &[&str]) -> Value {
    let items: Vec<Value> = groups.iter().map(|name| json!({"name": name, "self": "http://elsewhere.invalid"})).collect();
    user["groups"] = json!({"size": items.len(), "items": items});
    user
}

#[test]
fn the_example_is_a_table_of_this_kind() {
    let table = KIND.example.replace("[targets.jira]\nkind = \"jira\"\n", "").replace("{ env = \"JIRA_TOKEN\" }", "TOKEN");
    let (settings, _directory) = settings(&table);
    assert!(Jira::new(&settings, &kit()).is_ok());
    let everything = table.replace("# application_keys", "application_keys").replace("# notify", "notify");
    let everything = everything.replace("# road", "road").replace("# http", "http");
    let (settings, _directory) = self::settings(&everything);
    let jira = Jira::new(&settings, &kit()).unwrap();
    assert_eq!(jira.application_keys, ["jira-software"]);
}

#[test]
fn what_is_wrong_in_the_table_is_told_all_at_once() {
    let (settings, _directory) = settings("url = \"ftp://jira\"\nauth = { username = \"rosterd\" }");
    let findings = Jira::new(&settings, &kit()).err().unwrap().0;
    let keys: Vec<&str> = findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(keys, ["url", "auth.password"]);
}
