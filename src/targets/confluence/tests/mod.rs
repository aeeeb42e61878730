//! Exact exchanges with a Confluence that answers as the vendor documents.

mod probe;
mod reading;
mod writing;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mockito::{Matcher, Mock, Server, ServerGuard};
use serde_json::{Value, json};

use super::*;
use crate::contract::target::{Expiry, Who};
use crate::http::meter::Meters;
use crate::http::secret::Secrets;
use crate::model::desired::Attributes;
use crate::model::key::TargetKey;

struct Rig {
    server: ServerGuard,
    target: Arc<dyn Target>,
    kit: Kit,
}

impl Rig {
    async fn new() -> Self {
        let server = Server::new_async().await;
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "the-token").unwrap();
        let table =
            format!("url = \"{}/wiki\"\nauth = {{ token = {{ file = {:?} }} }}\n", server.url(), secret.path().to_str().unwrap());
        let kit = Kit { secrets: Secrets::new(), meters: Arc::new(Meters::default()), latches: Default::default() };
        let target = (KIND.build)(&settings(&table), &kit).unwrap();
        Self { server, target, kit }
    }

    fn requests(&self) -> u64 {
        self.kit.meters.of(&SystemName::from("wiki")).requests()
    }

    async fn answers(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        self.answer(method, path, status, body).create_async().await
    }

    /// An answer that a later one for the same request takes the place of.
    async fn answers_else(&mut self, path: &str, body: Value) {
        self.answer("GET", path, 200, body).expect_at_least(0).create_async().await;
    }

    fn answer(&mut self, method: &str, path: &str, status: usize, body: Value) -> Mock {
        let path = format!("/wiki/rest/{path}");
        let path = if path.contains('?') { Matcher::Exact(path) } else { Matcher::Regex(format!("^{}(\\?.*)?$", escape(&path))) };
        self.server
            .mock(method, path)
            .match_header("authorization", "Bearer the-token")
            .match_header("x-atlassian-token", "no-check")
            .with_status(status)
            .with_header("content-type", "application/json")
            .with_body(if body.is_null() { String::new() } else { body.to_string() })
    }

    /// Serves a listing in pages of at most `cap`.
    async fn lists(&mut self, path: &str, items: Vec<Value>, cap: usize) -> Mock {
        self.server
            .mock("GET", Matcher::Regex(format!("^/wiki/rest/api/{}\\?.*", escape(path))))
            .with_header("content-type", "application/json")
            .with_body_from_request(move |request| {
                let (start, limit) = (number(request.path_and_query(), "start"), number(request.path_and_query(), "limit"));
                page(&items, start, limit.min(cap)).to_string().into()
            })
            .expect_at_least(0)
            .create_async()
            .await
    }
}

fn settings(table: &str) -> Settings {
    Settings::from_toml("wiki", table).unwrap()
}

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_alphanumeric() || "/%_-".contains(c) { vec![c] } else { vec!['\\', c] }).collect()
}

fn number(path: &str, name: &str) -> usize {
    let query = path.split_once('?').unwrap().1;
    url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).unwrap().1.parse().unwrap()
}

fn page(items: &[Value], start: usize, limit: usize) -> Value {
    let some: Vec<&Value> = items.iter().skip(start).take(limit).collect();
    let mut links = json!({ "base": "https://elsewhere.example/wiki", "self": "https://elsewhere.example/wiki/rest/api/x" });
    if start + some.len() < items.len() {
        links["next"] = json!(format!("/rest/api/x?start={}", start + some.len()));
    }
    json!({ "size": some.len(), "results": some, "start": start, "limit": limit, "_links": links })
}

fn person(n: usize) -> Value {
    json!({ "type": "known", "username": format!("u{n}"), "userKey": format!("k{n}"), "displayName": format!("User {n}"),
            "status": "CURRENT" })
}

fn group(name: &str) -> Value {
    json!({ "type": "group", "name": name, "_links": {} })
}

fn problem(status: u16, message: &str) -> Value {
    json!({ "statusCode": status, "message": message, "reason": "Because",
            "data": { "authorized": true, "valid": true, "errors": [], "successful": false } })
}

fn wants(key: Option<&str>, name: &str) -> WantedUser {
    WantedUser { key: key.map(TargetKey::from), name: name.into() }
}

fn ada() -> Attributes {
    Attributes { name: "ada".into(), email: Some("ada@example.org".into()), display_name: Some("Ada L".into()) }
}

async fn probeable(rig: &mut Rig, version: &str) {
    rig.answers_else("applinks/1.0/manifest", json!({ "typeId": "confluence", "version": version })).await;
    let me = json!({ "type": "known", "username": "rosterd", "userKey": "k", "displayName": "R", "status": "CURRENT" });
    rig.answers_else("api/user/current", me).await;
    rig.lists("user/list", vec![person(1)], 100).await;
    rig.lists("group/confluence-administrators/member", vec![person(1)], 200).await;
    let token = json!([{ "id": 1, "name": "sync", "expiringAt": "2099-01-02T03:04:05.000Z" }]);
    rig.answers_else("pat/latest/tokens", token).await;
    rig.answers_else("license/1.0/license/userCount", json!({ "count": 489 })).await;
    rig.answers_else("license/1.0/license/maxUsers", json!({ "count": 500 })).await;
}

#[test]
fn the_example_is_a_table_that_is_understood() {
    let value = settings(&KIND.example.replace("kind = \"confluence\"", "")).value;
    let settings = Settings { name: "wiki".into(), value };
    assert!(!settings.parse::<ConfluenceSettings>().unwrap().notify);
}
