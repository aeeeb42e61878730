//! The connector against exact exchanges: an organisation that answers what it is told to, request by request.

mod pages;
mod recordings;
mod rosters;
mod singles;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use mockito::{Mock, Server, ServerGuard};

use super::Okta;
use crate::contract::settings::{Settings, SettingsError};
use crate::contract::source::{Ask, GroupFilter};
use crate::http::kind::Kit;
use crate::http::meter::Meters;
use crate::http::secret::Secrets;

/// An organisation of Okta that answers what it is told to, and a count of what it was asked.
struct Org {
    server: ServerGuard,
    meters: Arc<Meters>,
    mocks: Vec<Mock>,
}

impl Org {
    async fn new() -> Self {
        Self { server: Server::new_async().await, meters: Arc::default(), mocks: Vec::new() }
    }

    fn kit(&self, private_key: &str) -> Kit {
        let env = [("OKTA_API_TOKEN", "00token"), ("OKTA_KEY", private_key)];
        let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Kit { secrets: Secrets::with_env(env), meters: self.meters.clone(), latches: Default::default() }
    }

    /// The connector with an API token and further settings in TOML. One try each, so that a fault is seen at once.
    fn okta(&self, more: &str) -> Okta {
        let toml = format!("domain = \"{}\"\napi_token = {{ env = \"OKTA_API_TOKEN\" }}\n{more}", self.server.url());
        let toml = if more.contains("http") { toml } else { format!("{toml}\nhttp = {{ attempts = 1 }}") };
        Okta::new(&settings(&toml), &self.kit("none")).expect("good settings")
    }

    /// The connector as a service app with further keys of its `oauth` table.
    fn service_app(&self, private_key: &str, more: &str) -> Okta {
        let oauth = format!("oauth = {{ client_id = \"0oaclient\", private_key = {{ env = \"OKTA_KEY\" }}{more} }}");
        let toml = format!("domain = \"{}\"\n{oauth}\nhttp = {{ attempts = 1 }}", self.server.url());
        Okta::new(&settings(&toml), &self.kit(private_key)).expect("good settings")
    }

    fn requests(&self) -> u64 {
        self.meters.of(&"okta".into()).requests()
    }

    /// Answers one GET, and expects it once.
    async fn on(&mut self, path_and_query: &str, status: usize, headers: &[(&str, &str)], body: &str) {
        let mut mock = self.server.mock("GET", path_and_query).with_status(status).with_body(body);
        if headers.iter().all(|(name, _)| *name != "content-type") {
            mock = mock.with_header("content-type", "application/json");
        }
        for (name, value) in headers {
            mock = mock.with_header(*name, value);
        }
        self.mocks.push(mock.expect(1).create_async().await);
    }

    /// Answers a listing of several pages. `own` are the listing's own parameters, which its next links do not repeat.
    async fn listing(&mut self, path: &str, own: &str, pages: &[Vec<String>]) {
        for (number, page) in pages.iter().enumerate() {
            let asked = if number == 0 { format!("{path}?{own}") } else { format!("{path}?after=c{number}&{own}") };
            let base = self.server.url();
            let this = format!("<{base}{path}?limit=1>; rel=\"self\"");
            let next = format!("<{base}{path}?after=c{}&limit=1>; rel=\"next\"", number + 1);
            let links = [("link", &*this), ("link", &*next)];
            let links = if number + 1 < pages.len() { &links[..] } else { &links[..1] };
            self.on(&asked, 200, links, &array(page)).await;
        }
    }

    /// Every answer that was prepared was asked for exactly once.
    async fn assert_all_asked(&self) {
        for mock in &self.mocks {
            mock.assert_async().await;
        }
    }
}

fn settings(toml: &str) -> Settings {
    Settings::from_toml("okta", toml).expect("TOML")
}

fn refused(toml: &str) -> SettingsError {
    let kit = Kit {
        secrets: Secrets::with_env(BTreeMap::from([("T".into(), "t".into())])),
        meters: Arc::default(),
        latches: Default::default(),
    };
    Okta::new(&settings(toml), &kit).err().expect("refused")
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

fn user(id: &str, status: &str) -> String {
    format!(
        r#"{{"id":"{id}","status":"{status}","created":"2026-07-07T14:59:18.000Z","lastLogin":null,"profile":{{"login":"{id}@example.com","email":"{id}@example.com","firstName":"Ann","lastName":null,"mobilePhone":null,"costCenter":"7"}},"credentials":{{"provider":{{"type":"OKTA","name":"OKTA"}}}},"_links":{{"self":{{"href":"https://x/api/v1/users/{id}"}}}}}}"#
    )
}

fn users(ids: impl IntoIterator<Item = usize>) -> Vec<String> {
    ids.into_iter().map(|n| user(&format!("00u{n:05}"), "ACTIVE")).collect()
}

fn group(id: &str, name: &str, kind: &str) -> String {
    format!(
        r#"{{"id":"{id}","objectClass":["okta:user_group"],"type":"{kind}","profile":{{"name":"{name}","description":null}}}}"#
    )
}

fn app_user(id: &str, scope: &str) -> String {
    let user = user(id, "ACTIVE");
    format!(
        r#"{{"id":"{id}","externalId":null,"scope":"{scope}","status":"ACTIVE","profile":{{}},"_embedded":{{"user":{user}}}}}"#
    )
}

fn app_group(id: &str, name: &str) -> String {
    let group = group(id, name, "OKTA_GROUP");
    format!(r#"{{"id":"{id}","priority":0,"profile":{{}},"_embedded":{{"group":{group}}}}}"#)
}

fn only(names: &'static [&'static str]) -> Ask {
    let filter = GroupFilter(Arc::new(move |name: &str| names.contains(&name)));
    Ask { groups: Some(filter), ..Ask::default() }
}

const NOT_FOUND: &str = r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found: 00u00001 (User)","errorLink":"E0000007","errorId":"oae1","errorCauses":[]}"#;

#[test]
fn the_example_is_a_table_that_is_taken() {
    let text = super::KIND.example.lines().filter(|line| !line.starts_with('[') && !line.starts_with("kind"));
    let text = text.collect::<Vec<_>>().join("\n");
    let kit = Kit {
        secrets: Secrets::with_env(BTreeMap::from([("OKTA_API_TOKEN".into(), "t".into())])),
        meters: Arc::default(),
        latches: Default::default(),
    };
    assert!((super::KIND.build)(&settings(&text), &kit).is_ok());
    let schema = serde_json::to_string(&(super::KIND.schema)()).expect("a schema");
    for key in ["domain", "api_token", "oauth", "app_id", "members_page", "statuses", "group_types"] {
        assert!(schema.contains(key), "{key}");
    }
}

#[test]
fn all_mistakes_of_a_table_are_told_at_once() {
    let error = refused(
        "domain = \"acme-admin.okta.com\"\nmembers_page = 2000\napp_id = \"0oa/1\"\nusers = \"all\"\ngroup_types = []\nstatuses = { SUSPEND = \"disabled\" }",
    );
    let keys: Vec<_> = error.0.iter().map(|finding| &*finding.key).collect();
    assert_eq!(keys, ["api_token", "members_page", "group_types", "app_id", "users", "statuses.SUSPEND", "domain"]);
}

#[test]
fn one_credential_is_needed_and_no_more() {
    let both = "domain = \"acme.okta.com\"\napi_token = { env = \"T\" }\noauth = { client_id = \"0oa1\", private_key = { env = \"T\" } }";
    let keys: Vec<_> = refused(both).0.into_iter().map(|finding| finding.key).collect();
    assert_eq!(keys, ["api_token", "oauth.private_key"]);
}
