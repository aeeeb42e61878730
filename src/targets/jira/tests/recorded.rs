//! Answers recorded from real instances, held against the readers. They lie outside the project, in the folder that
//! `ROSTERD_SHARED` names or beside the project; where there is none the check says that it was skipped.

use std::path::PathBuf;

use super::super::wire::{Errors, ServerInfo, User};
use super::*;
use crate::contract::fault::Fault;
use crate::contract::target::Target;
use crate::http::wire::Answer;

/// Path, status and body of each exchange in a recording.
fn exchanges(file: &str) -> Option<Vec<(String, u16, String)>> {
    let shared = std::env::var_os("ROSTERD_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let Ok(text) = std::fs::read_to_string(shared.join("recordings/jira").join(file)) else {
        println!("skipped: no recording {file} below {}", shared.display());
        return None;
    };
    let recording: Value = serde_json::from_str(&text).unwrap();
    let exchange = |exchange: &Value| {
        let path = exchange["request"]["path"].as_str().unwrap().to_owned();
        let status = exchange["response"]["status"].as_u64().unwrap() as u16;
        (path, status, exchange["response"]["body"].as_str().unwrap_or_default().to_owned())
    };
    Some(recording["interactions"].as_array().unwrap().iter().map(exchange).collect())
}

fn answer(status: u16, body: String) -> Answer {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("content-type", JSON.parse().unwrap());
    Answer { system: SystemName::from("jira"), doing: "read".into(), status, headers, body: body.into(), request: None }
}

#[test]
fn jira_10_4_tells_its_version_our_identity_and_its_errors_as_they_are_read() {
    let Some(exchanges) = exchanges("jira-dc-10.4.0.serverinfo-myself-errors.json") else {
        return;
    };
    let mut read = 0;
    for (path, status, body) in exchanges {
        let answer = answer(status, body);
        if path.ends_with("/serverInfo") {
            assert_eq!(answer.json::<ServerInfo>().unwrap().version_numbers, [10, 4, 0]);
        } else if path.ends_with("/myself") {
            let myself: User = answer.json().unwrap();
            assert_eq!((myself.key.as_str(), myself.name.as_str()), ("JIRAUSER10000", "ada"));
            assert!(myself.active && !myself.deleted);
            let groups = myself.groups.unwrap();
            assert_ne!(groups.size, groups.items.len(), "groups that were not asked for are counted and not told");
        } else {
            assert!(!Errors::of(&answer).unwrap().words().is_empty());
        }
        read += 1;
    }
    assert_eq!(read, 4);
}

#[test]
fn jira_10_4_finds_users_as_they_are_read() {
    for file in ["jira-dc-10.4.0.user-search.json", "jira-dc-10.4.0.user-search-and-assign.json"] {
        let Some(exchanges) = exchanges(file) else {
            return;
        };
        let (_, status, body) = exchanges.into_iter().find(|(path, _, _)| path.ends_with("/user/search")).unwrap();
        let found: Vec<User> = answer(status, body).json().unwrap();
        assert!(found.into_iter().map(User::into_target).all(|user| user.active && user.email.is_some()));
    }
}

#[tokio::test]
async fn jira_11_refuses_basic_as_it_is_understood() {
    let Some(exchanges) = exchanges("jira-dc-11.3.5.basic-refused.json") else {
        return;
    };
    let mut server = mockito::Server::new_async().await;
    let (_, status, body) = exchanges.into_iter().next().unwrap();
    get(&mut server, "serverInfo", &[]).with_status(status.into()).with_body(body).expect(1).create_async().await;
    assert_eq!(jira(&server, "").probe().await.unwrap_err().fault, Fault::Refused);
}
