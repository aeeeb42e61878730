//! Holds a request against the vendor's OpenAPI document.
//!
//! A simulator and a connector that were written by the same hand can agree on a mistake. The vendor's document knows
//! nothing of either, so each request that a test saw is held against it: path, query parameters, and the shape of the body.
//! The documents have defects of their own; those that are known are listed here by name, and nothing else is excused.

use serde_json::Value;

use crate::harness::Seen;
use crate::route::{match_path, split_query};

/// Paths that no document has: the manifest that tells Confluence's version, the tokens of an account, which have a module of
/// their own in Jira and Confluence, and the state that load balancers ask for.
pub const UNDOCUMENTED_PATHS: [&str; 5] = [
    "/rest/applinks/1.0/manifest",
    "/rest/pat/latest/tokens",
    "/rest/license/1.0/license/userCount",
    "/rest/license/1.0/license/maxUsers",
    "/status",
];

/// Query parameters that a document forgot: method, path, name.
/// Jira's text about `GET /user` tells of `expand`, its parameter list does not.
pub const UNDOCUMENTED_PARAMETERS: [(&str, &str, &str); 1] = [("GET", "/rest/api/2/user", "expand")];

/// Parameters said to be in the path of a call that has no room for them there: path, name.
pub const MISPLACED_PARAMETERS: [(&str, &str); 1] = [("/rest/api/2/group/member", "groupname")];

/// Everything in which a request departs from the document; empty if nothing.
pub fn violations(document: &Value, seen: &Seen) -> Vec<String> {
    let path = product_path(&seen.path);
    if UNDOCUMENTED_PATHS.contains(&path.as_str()) {
        return Vec::new();
    }
    let call = format!("{} {path}", seen.method);
    let Some(operation) = Operation::find(document, &seen.method, &path) else {
        return vec![format!("{call}: the document has no such call")];
    };
    let mut found = Vec::new();
    operation.check_query(&seen.query, &mut found);
    operation.check_body(seen, &mut found);
    found.into_iter().map(|what| format!("{call}: {what}")).collect()
}

/// Whether the document has this call; the path may hold `{name}` for a segment that varies.
pub fn offers(document: &Value, method: &str, path: &str) -> bool {
    Operation::find(document, method, &product_path(path)).is_some()
}

/// Without the context path, and with Bitbucket's `latest` for the number that means the same.
fn product_path(path: &str) -> String {
    let below = path.find("/rest/").or_else(|| path.ends_with("/status").then(|| path.len() - "/status".len()));
    let path = below.map_or(path, |at| &path[at..]);
    path.strip_prefix("/rest/api/1.0/").map_or_else(|| path.to_owned(), |rest| format!("/rest/api/latest/{rest}"))
}

/// One call of a document.
struct Operation<'a> {
    document: &'a Value,
    method: &'a str,
    path: String,
    item: &'a Value,
    operation: &'a Value,
}

impl<'a> Operation<'a> {
    /// The call whose path fits with the fewest varying segments.
    fn find(document: &'a Value, method: &'a str, path: &str) -> Option<Self> {
        let below_rest = document["servers"][0]["url"].as_str().is_some_and(|url| url.ends_with("/rest"));
        let full = |template: &str| if below_rest { format!("/rest{template}") } else { template.to_owned() };
        let fitting = document["paths"].as_object()?.iter().filter_map(|(template, item)| {
            let operation = item.get(method.to_ascii_lowercase())?;
            let path_of = full(template);
            let args = match_path(&path_of, path)?;
            Some((args.len(), Self { document, method, path: path_of, item, operation }))
        });
        fitting.min_by_key(|(args, _)| *args).map(|(_, operation)| operation)
    }

    fn check_query(&self, query: &str, found: &mut Vec<String>) {
        let parameters: Vec<&Value> = [self.item, self.operation]
            .into_iter()
            .filter_map(|level| level["parameters"].as_array())
            .flatten()
            .map(|parameter| resolve(self.document, parameter))
            .filter(|parameter| self.is_in_query(parameter))
            .collect();
        let given = split_query(query);
        for (name, value) in &given {
            // Confluence declares a parameter twice, first as text and then with its type: one that fits is enough.
            let mut same = parameters.iter().filter(|p| p["name"] == name.as_str()).peekable();
            let forgotten = UNDOCUMENTED_PARAMETERS.contains(&(self.method, &self.path, name));
            if same.peek().is_none() && !forgotten {
                found.push(format!("unknown query parameter {name}"));
            } else if same.peek().is_some() && !same.any(|p| fits(resolve(self.document, &p["schema"]), value)) {
                found.push(format!("query parameter {name} has the wrong type"));
            }
        }
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap_or_default();
            if parameter["required"] == true && !given.iter().any(|(given, _)| given == name) {
                found.push(format!("required query parameter {name} is missing"));
            }
        }
    }

    fn is_in_query(&self, parameter: &Value) -> bool {
        let name = parameter["name"].as_str().unwrap_or_default();
        parameter["in"] == "query" || MISPLACED_PARAMETERS.contains(&(self.path.as_str(), name))
    }

    fn check_body(&self, seen: &Seen, found: &mut Vec<String>) {
        let declared = resolve(self.document, &self.operation["requestBody"]);
        if seen.body.is_empty() {
            if declared["required"] == true {
                found.push("the body is missing".to_owned());
            }
            return;
        }
        let Some(contents) = declared["content"].as_object() else {
            found.push("a body where the document has none".to_owned());
            return;
        };
        let sent = seen.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value.as_str());
        let Some((_, content)) = contents.iter().find(|(kind, _)| media_type(kind) == media_type(sent)) else {
            found.push(format!("content type {sent} where the document wants another"));
            return;
        };
        if media_type(sent) != "application/json" {
            return;
        }
        match serde_json::from_slice::<Value>(&seen.body) {
            Ok(body) => check(self.document, &content["schema"], &body, "body", found),
            Err(_) => found.push("the body is not JSON".to_owned()),
        }
    }
}

fn media_type(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// What a `$ref` points to, or the value itself.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut at = value;
    // A chain of references is short; the bound is against one that bites its tail.
    for _ in 0..16 {
        let Some(pointer) = at["$ref"].as_str().and_then(|r| r.strip_prefix('#')) else { return at };
        at = document.pointer(pointer).unwrap_or(&Value::Null);
    }
    at
}

/// Whether the text of a query parameter can be read as its type.
fn fits(schema: &Value, text: &str) -> bool {
    let of_type = match schema["type"].as_str() {
        Some("boolean") => text == "true" || text == "false",
        Some("integer") => text.parse::<i64>().is_ok(),
        Some("number") => text.parse::<f64>().is_ok(),
        Some(_) | None => true,
    };
    of_type && schema["enum"].as_array().is_none_or(|allowed| allowed.iter().any(|a| a.as_str() == Some(text)))
}

/// Holds a JSON value against a schema. A schema without properties (several of Confluence's are empty) excuses everything.
fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = resolve(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(document, part, value, at, found);
    }
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let fits = |choice: &&Value| {
            let mut faults = Vec::new();
            check(document, choice, value, at, &mut faults);
            faults.is_empty()
        };
        if !choices.iter().any(|choice| fits(&choice)) {
            found.push(format!("{at} fits none of the choices"));
        }
    }
    if !is_of_type(schema, value) {
        found.push(format!("{at} has the wrong type"));
        return;
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        found.push(format!("{at} is not one of the values allowed"));
    }
    match value {
        Value::Object(object) => check_object(document, schema, object, at, found),
        Value::Array(items) => {
            for item in items {
                check(document, &schema["items"], item, &format!("{at}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check_object(document: &Value, schema: &Value, object: &serde_json::Map<String, Value>, at: &str, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, value) in object {
        let below = format!("{at}.{name}");
        match (properties.get(name), &schema["additionalProperties"]) {
            (Some(property), _) => check(document, property, value, &below, found),
            (None, Value::Null | Value::Bool(false)) => found.push(format!("{below} is unknown")),
            (None, Value::Bool(true)) => {}
            (None, other) => check(document, other, value, &below, found),
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            found.push(format!("{at}.{name} is missing"));
        }
    }
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    if value.is_null() {
        return schema["nullable"] == true || schema["type"].is_null();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some(_) | None => true,
    }
}

#[cfg(test)]
mod tests;
