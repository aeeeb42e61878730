//! The check itself on a small document, and every call that the simulators offer against the vendors' documents.

use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::route::Route;

fn document() -> Value {
    json!({
        "servers": [{"url": "http://{baseurl}/rest"}],
        "paths": {
            "/api/2/user": {
                "get": {"parameters": [
                    {"name": "username", "in": "query", "schema": {"type": "string"}},
                    {"name": "includeDeleted", "in": "query", "schema": {"type": "boolean"}},
                ]},
                "post": {"requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}}},
            },
            "/api/2/user/{key}": {"get": {}},
            "/api/2/group/member": {"get": {"parameters": [
                {"name": "groupname", "in": "path", "required": true, "schema": {"type": "string"}},
            ]}},
        },
        "components": {"schemas": {"User": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "active": {"type": "boolean"},
                "keys": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["name"],
        }}},
    })
}

fn seen(method: &str, uri: &str, body: &str) -> Seen {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    Seen {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        body: body.to_owned().into(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        status: 200,
    }
}

fn faults(method: &str, uri: &str, body: &str) -> Vec<String> {
    let found = violations(&document(), &seen(method, uri, body));
    found.into_iter().map(|f| f.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn a_good_request_has_no_faults() {
    assert!(faults("GET", "/jira/rest/api/2/user?username=a&includeDeleted=true&expand=groups", "").is_empty());
    assert!(faults("GET", "/rest/api/2/group/member?groupname=g", "").is_empty());
    assert!(faults("POST", "/rest/api/2/user", r#"{"name":"a","active":true,"keys":["k"]}"#).is_empty());
    assert!(faults("GET", "/confluence/rest/applinks/1.0/manifest", "").is_empty());
}

#[test]
fn what_the_document_does_not_know_is_named() {
    assert_eq!(faults("GET", "/rest/api/2/none", ""), ["the document has no such call"]);
    assert_eq!(faults("DELETE", "/rest/api/2/user", ""), ["the document has no such call"]);
    assert_eq!(faults("GET", "/rest/api/2/user?user=a", ""), ["unknown query parameter user"]);
    assert_eq!(faults("GET", "/rest/api/2/user?includeDeleted=True", ""), ["query parameter includeDeleted has the wrong type"]);
    assert_eq!(faults("GET", "/rest/api/2/group/member", ""), ["required query parameter groupname is missing"]);
    assert_eq!(faults("GET", "/rest/api/2/user/k", "{}"), ["a body where the document has none"]);
}

#[test]
fn a_body_is_held_against_its_schema() {
    assert_eq!(faults("POST", "/rest/api/2/user", ""), ["the body is missing"]);
    assert_eq!(faults("POST", "/rest/api/2/user", "{"), ["the body is not JSON"]);
    assert_eq!(faults("POST", "/rest/api/2/user", r#"{"email":"x"}"#), ["body.email is unknown", "body.name is missing"]);
    let wrong = r#"{"name":"a","active":"true","keys":[1]}"#;
    assert_eq!(faults("POST", "/rest/api/2/user", wrong), ["body.active has the wrong type", "body.keys[] has the wrong type"]);
}

/// The vendors' documents are not part of the project; without them there is nothing to hold against.
fn vendor(name: &str) -> Option<Value> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("ROSTERD_SHARED").map_or(beside, PathBuf::from);
    let path = root.join("specs").join(name);
    let Ok(text) = std::fs::read(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    Some(serde_json::from_slice(&text).expect("the vendor's document is JSON"))
}

fn missing<P>(document: &Value, routes: &[Route<P>]) -> Vec<String> {
    let documented = routes.iter().filter(|r| !UNDOCUMENTED_PATHS.contains(&r.path));
    documented.filter(|r| !offers(document, r.method, r.path)).map(|r| format!("{} {}", r.method, r.path)).collect()
}

#[test]
fn every_call_of_the_simulators_is_in_the_vendors_documents() {
    if let Some(document) = vendor("jira-dc-10.3.openapi.json") {
        assert_eq!(missing(&document, crate::jira::ROUTES), Vec::<String>::new());
    }
    if let Some(document) = vendor("jira-dc-10.0.openapi.json") {
        assert_eq!(missing(&document, crate::jira::ROUTES), ["GET /rest/api/2/user/list"]);
    }
    if let Some(document) = vendor("confluence-dc-10.0.3.openapi.json") {
        assert_eq!(missing(&document, crate::confluence::ROUTES), Vec::<String>::new());
    }
    if let Some(document) = vendor("bitbucket-dc-9.4.openapi.json") {
        assert_eq!(missing(&document, crate::bitbucket::ROUTES), Vec::<String>::new());
    }
}

#[test]
fn well_known_requests_conform_to_the_vendors_documents() {
    let json = |method: &str, uri: &str, body: &str| seen(method, uri, body);
    let requests = [
        ("jira-dc-10.3.openapi.json", json("GET", "/rest/api/2/user?username=a&expand=groups", "")),
        ("jira-dc-10.3.openapi.json", json("GET", "/rest/api/2/user/list?maxResults=2000&cursor=5", "")),
        (
            "jira-dc-10.3.openapi.json",
            json("GET", "/rest/api/2/group/member?groupname=g&includeInactiveUsers=true&startAt=50&maxResults=50", ""),
        ),
        (
            "jira-dc-10.3.openapi.json",
            json(
                "GET",
                "/rest/api/2/user/search?username=.&includeActive=true&includeInactive=true&startAt=0&maxResults=1000",
                "",
            ),
        ),
        (
            "jira-dc-10.3.openapi.json",
            json("POST", "/rest/api/2/user", r#"{"name":"a","emailAddress":"a@b","displayName":"A","applicationKeys":[]}"#),
        ),
        ("jira-dc-10.3.openapi.json", json("POST", "/rest/api/2/group/user?groupname=g", r#"{"name":"a"}"#)),
        ("confluence-dc-10.0.3.openapi.json", json("GET", "/rest/api/user/list?limit=100&start=0&expand=status", "")),
        ("confluence-dc-10.0.3.openapi.json", json("PUT", "/rest/api/user/a/group/a%20b", "")),
        ("confluence-dc-10.0.3.openapi.json", json("POST", "/rest/api/admin/group", r#"{"type":"group","name":"g"}"#)),
        (
            "bitbucket-dc-9.4.openapi.json",
            json(
                "POST",
                "/rest/api/1.0/admin/users?name=a&displayName=A&emailAddress=a%40b&password=p&addToDefaultGroup=false",
                "",
            ),
        ),
        (
            "bitbucket-dc-9.4.openapi.json",
            json("POST", "/rest/api/latest/admin/groups/add-users", r#"{"group":"g","users":["a"]}"#),
        ),
    ];
    for (name, request) in requests {
        if let Some(document) = vendor(name) {
            assert_eq!(violations(&document, &request), Vec::<String>::new());
        }
    }
    if let Some(document) = vendor("bitbucket-dc-9.4.openapi.json") {
        let wrong = json("PUT", "/rest/api/latest/admin/users", r#"{"name":"a","emailAddress":"a@b"}"#);
        assert_eq!(violations(&document, &wrong), ["PUT /rest/api/latest/admin/users: body.emailAddress is unknown"]);
    }
}
