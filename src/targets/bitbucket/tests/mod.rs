//! Exact exchanges with a Bitbucket that answers as the vendor documents.

mod groups;
mod leavers;
mod probe;
mod reading;
mod truth;
mod users;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mockito::{Matcher, Mock, Server, ServerGuard};
use serde_json::{Value, json};

use super::*;
use crate::contract::target::{Deactivation, Expiry, Seats, Who};
use crate::http::meter::Meters;
use crate::http::secret::Secrets;
use crate::model::change::OpKind;
use crate::model::desired::Attributes;
use crate::model::key::TargetKey;

type Listing = Arc<Mutex<Vec<Value>>>;

struct Rig {
    server: ServerGuard,
    target: Arc<dyn Target>,
    kit: Kit,
}

impl Rig {
    async fn new() -> Self {
        Self::with_auth("username = \"rosterd\", password").await
    }

    async fn with_auth(auth: &str) -> Self {
        Self::with(auth, "").await
    }

    async fn with(auth: &str, more: &str) -> Self {
        let server = Server::new_async().await;
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "the-secret").unwrap();
        let table = format!(
            "url = \"{}\"\nauth = {{ {auth} = {{ file = {:?} }} }}\n{more}",
            server.url(),
            secret.path().to_str().unwrap()
        );
        let kit = Kit { secrets: Secrets::new(), meters: Arc::new(Meters::default()), latches: Default::default() };
        let target = (KIND.build)(&settings(&table), &kit).unwrap();
        Self { server, target, kit }
    }

    fn requests(&self) -> u64 {
        self.kit.meters.of(&SystemName::from("bb")).requests()
    }

    async fn answers(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        self.answer(method, path, status, body).create_async().await
    }

    /// An answer that a later one for the same request takes the place of.
    async fn answers_else(&mut self, path: &str, body: Value) {
        self.answer("GET", path, 200, body).expect_at_least(0).create_async().await;
    }

    fn answer(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        let path = Matcher::Regex(format!("^/rest/api/latest/{path}(\\?.*)?$"));
        self.server
            .mock(method, path)
            .match_header("x-atlassian-token", "no-check")
            .with_status(status)
            .with_header("content-type", "application/json;charset=UTF-8")
            .with_header("x-ausername", "rosterd")
            .with_body(if body.is_null() { String::new() } else { body.to_string() })
    }

    /// Serves a listing in pages of at most `cap`, filtered and by context as Bitbucket does it.
    async fn lists(&mut self, path: &str, context: Option<&str>, items: Vec<Value>, cap: usize) -> Listing {
        let items = Arc::new(Mutex::new(items));
        let copy = items.clone();
        let mut query = vec![Matcher::UrlEncoded("limit".into(), "1000".into())];
        query.extend(context.map(|context| Matcher::UrlEncoded("context".into(), context.into())));
        self.server
            .mock("GET", format!("/rest/api/latest/{path}").as_str())
            .match_query(Matcher::AllOf(query))
            .with_header("content-type", "application/json;charset=UTF-8")
            .with_header("x-ausername", "rosterd")
            .with_body_from_request(move |request| page(&copy.lock().unwrap(), request.path_and_query(), cap).to_string().into())
            .expect_at_least(0)
            .create_async()
            .await;
        items
    }

    /// A Bitbucket in which `staff` gives access and `admins` rights of administration.
    async fn ordinary(version: &str) -> Self {
        let mut rig = Self::new().await;
        rig.land(version).await;
        rig
    }

    async fn land(&mut self, version: &str) {
        self.answers_else("application-properties", json!({ "version": version, "displayName": "Bitbucket" })).await;
        self.answers_else("admin/users\\?limit=1", page(&[user(1)], "?start=0&limit=1", 1)).await;
        let grants = [("staff", "LICENSED_USER"), ("Admins", "SYS_ADMIN"), ("odd", "SOMETHING_NEW")];
        let grants = grants.map(|(name, permission)| json!({ "group": { "name": name }, "permission": permission }));
        self.lists("admin/permissions/groups", None, grants.to_vec(), 1000).await;
        self.lists("admin/permissions/users", None, Vec::new(), 1000).await;
        let directory = json!([{ "name": "Internal", "type": "Internal", "active": true }]);
        self.answers_else("admin/user-directories", directory).await;
        let licence =
            json!({ "maximumNumberOfUsers": 50, "unlimitedNumberOfUsers": false, "status": { "currentNumberOfUsers": 48 } });
        self.answers_else("admin/license", licence).await;
    }
}

fn settings(table: &str) -> Settings {
    Settings::from_toml("bb", table).unwrap()
}

fn query(path: &str) -> BTreeMap<String, String> {
    let query = path.split_once('?').unwrap().1;
    url::form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

/// A page as Bitbucket makes it: positions count before filtering.
fn page(items: &[Value], path: &str, cap: usize) -> Value {
    let query = query(path);
    let start: usize = query.get("start").map_or(0, |start| start.parse().unwrap());
    let limit = query["limit"].parse::<usize>().unwrap().min(cap);
    let filter = query.get("filter").map(|text| text.to_lowercase());
    let fits = |item: &Value| {
        let text = ["name", "displayName", "emailAddress"].map(|key| item[key].as_str().unwrap_or("")).join(" ").to_lowercase();
        filter.as_ref().is_none_or(|filter| text.contains(filter))
    };
    let some: Vec<&Value> = items.iter().skip(start).take(limit).filter(|item| fits(item)).collect();
    let last = start + limit >= items.len();
    let mut page = json!({ "size": some.len(), "limit": limit, "isLastPage": last, "values": some, "start": start });
    if !last {
        page["nextPageStart"] = json!(start + limit);
    }
    page
}

fn user(n: usize) -> Value {
    json!({ "name": format!("u{n}"), "emailAddress": format!("u{n}@example.org"), "id": n, "displayName": format!("User {n}"),
            "active": true, "slug": format!("slug-{n}"), "type": "NORMAL", "directoryName": "Internal", "mutableDetails": true })
}

fn group(name: &str) -> Value {
    json!({ "name": name, "deletable": true })
}

fn problem(exception: &str, message: &str) -> Value {
    json!({ "errors": [{ "context": null, "message": message, "exceptionName": format!("com.atlassian.bitbucket.{exception}") }] })
}

fn wants(key: Option<&str>, name: &str) -> WantedUser {
    WantedUser { key: key.map(TargetKey::from), name: name.into() }
}

fn ada() -> Attributes {
    Attributes { name: "ada".into(), email: Some("ada@example.org".into()), display_name: Some("Ada L".into()) }
}

#[test]
fn the_example_is_a_table_that_is_understood() {
    let value = settings(&KIND.example.replace("kind = \"bitbucket\"", "")).value;
    let settings = Settings { name: "bb".into(), value };
    assert!(!settings.parse::<BitbucketSettings>().unwrap().notify);
}
