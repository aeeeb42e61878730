//! The JSON Schema of the file, for editors. The connectors' own schemas are put in by kind, so that an editor that sees
//! `kind = "jira"` completes what Jira takes.

use serde_json::{Map, Value, json};

use super::raw;
use crate::http::kind::Registry;

/// The schema of the whole file, with every kind of the registry.
pub fn schema(registry: &Registry) -> Value {
    let mut root = schemars::schema_for!(raw::File).to_value();
    if let Some(root) = root.as_object_mut() {
        root.insert("title".into(), json!("rosterd.toml"));
    }
    let sources: Vec<(&str, schemars::Schema)> = registry.sources.iter().map(|row| (row.kind, (row.schema)())).collect();
    let targets: Vec<(&str, schemars::Schema)> = registry.targets.iter().map(|row| (row.kind, (row.schema)())).collect();
    put_kinds(&mut root, "sources", sources);
    put_kinds(&mut root, "targets", targets);
    without_null(&mut root);
    root
}

/// TOML has no null: a key that may be left out is simply not required.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|key, value| !(key == "default" && value.is_null()));
            table.values_mut().for_each(without_null);
            drop_null_type(table);
            drop_null_choice(table);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `"type": ["string", "null"]` becomes `"type": "string"`.
fn drop_null_type(table: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = table.get_mut("type") else { return };
    types.retain(|word| word != "null");
    if let [only] = types.as_slice() {
        let only = only.clone();
        table.insert("type".into(), only);
    }
}

/// `"anyOf": [choice, { "type": "null" }]` becomes the choice, beside whatever else is said.
fn drop_null_choice(table: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = table.get_mut("anyOf") else { return };
    let before = choices.len();
    choices.retain(|choice| choice.get("type").is_none_or(|word| word != "null"));
    if choices.len() == before {
        return;
    }
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        table.remove("anyOf");
        for (key, value) in only {
            table.entry(key).or_insert(value);
        }
    }
}

/// Makes each table of a section one of its kinds.
fn put_kinds(root: &mut Value, section: &str, kinds: Vec<(&str, schemars::Schema)>) {
    let mut definitions = Map::new();
    let one_of: Vec<Value> = kinds
        .into_iter()
        .map(|(kind, schema)| of_kind(kind, schema.to_value(), &format!("{section}.{kind}"), &mut definitions))
        .collect();
    if let Some(entry) = root.pointer_mut(&format!("/properties/{section}")).and_then(Value::as_object_mut) {
        entry.insert("additionalProperties".into(), json!({ "type": "object", "required": ["kind"], "oneOf": one_of }));
    }
    if let Some(root) = root.as_object_mut() {
        let all = root.entry("$defs").or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.extend(definitions);
        }
    }
}

/// A connector's schema with its `kind`, its definitions moved to the root under names of their own.
fn of_kind(kind: &str, mut schema: Value, prefix: &str, definitions: &mut Map<String, Value>) -> Value {
    prefix_references(&mut schema, prefix);
    let Some(table) = schema.as_object_mut() else { return json!({ "properties": { "kind": { "const": kind } } }) };
    table.remove("$schema");
    if let Some(Value::Object(own)) = table.remove("$defs") {
        definitions.extend(own.into_iter().map(|(name, definition)| (format!("{prefix}.{name}"), definition)));
    }
    let word = json!({ "const": kind, "description": "What kind of system this is." });
    if !table.contains_key("properties") && (table.contains_key("oneOf") || table.contains_key("anyOf")) {
        return json!({ "allOf": [schema, { "properties": { "kind": word } }] });
    }
    let properties = table.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("kind".into(), word);
    }
    let required = table.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.push(json!("kind"));
    }
    schema
}

fn prefix_references(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(name) = reference.strip_prefix("#/$defs/") {
                            *reference = format!("#/$defs/{prefix}.{name}");
                        }
                    }
                    value => prefix_references(value, prefix),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| prefix_references(value, prefix)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
