//! The OpenAPI document and the router agree.

use super::*;

/// An address of the document with something in the place of each name.
fn filled(path: &str) -> String {
    path.replace("{job}", "nojob").replace("{id}", "0000")
}

#[tokio::test]
async fn each_path_and_method_of_the_document_is_answered_and_no_other_is() {
    let door = Door::open(false).await;
    let document = serde_json::to_value(document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 14, "{:?}", paths.keys());
    for (path, methods) in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "BREW"] {
            let answer = door.ask(method, &filled(path), Some(OPS), None).await;
            if methods.get(method.to_ascii_lowercase()).is_none() {
                answer.is(405, "method-not-allowed");
                let allowed = answer.headers[header::ALLOW].to_str().expect("text");
                assert!(!allowed.split(',').any(|allowed| allowed == method), "{method} {path}: {allowed}");
                continue;
            }
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(!answer.text.contains("there is nothing at this address"), "{method} {path}: {}", answer.text);
            let documented = &document["paths"][path][method.to_ascii_lowercase()]["responses"];
            assert!(documented.get(answer.status.to_string()).is_some(), "{method} {path} answers {}", answer.status);
        }
    }
}

/// A route that is registered past the document would be in no test.
#[test]
fn no_route_is_registered_without_the_document() {
    let text = include_str!("../../http.rs");
    assert!(!text.contains(".route(") && !text.contains(".nest"), "register it by `.routes(routes!(…))`");
}

#[test]
fn the_document_says_who_may_ask_and_what_a_refusal_looks_like() {
    let document = serde_json::to_value(document()).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert!(document["components"]["schemas"]["Problem"]["properties"]["type"].is_object());
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let what = format!("{method} {path}");
            assert!(operation["description"].as_str().or(operation["summary"].as_str()).is_some(), "{what} is not described");
            let security = operation["security"].as_array().map(Vec::as_slice).unwrap_or_default();
            let token_needed = security.iter().all(|s| s.get("token").is_some()) && !security.is_empty();
            assert_eq!(token_needed, method == "post", "{what}: {security:?}");
            let answers = operation["responses"].as_object().expect("answers");
            for (status, answer) in answers {
                let is_problem = answer["content"].get(problem::MEDIA).is_some();
                let is_health = ["/livez", "/readyz"].contains(&path.as_str());
                assert_eq!(is_problem, !status.starts_with('2') && !is_health, "{what} {status}");
            }
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_document_is_served_and_the_page_links_to_it() {
    let door = Door::open(false).await;
    let served = door.get("/api/v1/openapi.json").await;
    assert_eq!(served.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(served.json(), serde_json::to_value(document()).expect("JSON"));
    let page = door.get("/").await;
    assert!(page.text.contains("href=\"/api/v1/openapi.json\"") && !page.text.contains("<script"), "{}", page.text);
}
