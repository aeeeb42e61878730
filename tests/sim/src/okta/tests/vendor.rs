//! Holds the simulator against the vendor's OpenAPI document, where that is at hand: it must not offer what Okta does not.
//!
//! The document is read line by line, which its regular layout allows: no YAML parser is needed for paths and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The endpoints that the simulator offers, as the vendor's document writes them, with the query parameters it understands.
const OFFERED: &[(&str, &[&str])] = &[
    ("/api/v1/users", &["limit", "after", "filter", "search", "q"]),
    ("/api/v1/users/{id}", &[]),
    ("/api/v1/users/{id}/groups", &[]),
    ("/api/v1/groups", &["limit", "after", "filter", "q", "expand"]),
    ("/api/v1/groups/{groupId}", &[]),
    ("/api/v1/groups/{groupId}/users", &["limit", "after"]),
    ("/api/v1/apps", &["limit", "after"]),
    ("/api/v1/apps/{appId}", &[]),
    ("/api/v1/apps/{appId}/users", &["limit", "after", "expand"]),
    ("/api/v1/apps/{appId}/users/{userId}", &["expand"]),
    ("/api/v1/apps/{appId}/groups", &["limit", "after", "expand"]),
    ("/api/v1/apps/{appId}/groups/{groupId}", &["expand"]),
];

fn document() -> Option<String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let folder = std::env::var_os("ROSTERD_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    std::fs::read_to_string(folder.join("specs/okta-sync-subset.yaml")).ok()
}

/// The lines below a key at this depth, up to the next key there.
fn below<'a>(document: &'a str, depth: usize, key: &str) -> Vec<&'a str> {
    let head = format!("{}{key}:", " ".repeat(depth));
    let same = |line: &&str| {
        line.is_empty() || line.starts_with(&" ".repeat(depth + 1)) || line.starts_with(&format!("{}- ", " ".repeat(depth)))
    };
    document.lines().skip_while(|l| *l != head).skip(1).take_while(same).collect()
}

/// Names of query parameters that are written in these lines.
fn inline(lines: &[&str]) -> BTreeSet<String> {
    let value = |line: &str, key: &str| line.trim_start_matches([' ', '-']).strip_prefix(key).map(|v| v.trim().to_owned());
    let pairs = lines.iter().zip(lines.iter().skip(1));
    pairs
        .filter(|(_, place)| value(place, "in:").as_deref() == Some("query"))
        .filter_map(|(name, _)| value(name, "name:"))
        .collect()
}

#[test]
fn every_endpoint_offered_is_in_the_vendors_document_with_the_parameters_understood() {
    let Some(document) = document() else {
        println!("skipped: okta-sync-subset.yaml is not at hand (set ROSTERD_SHARED)");
        return;
    };
    let mut shared: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, understood) in OFFERED {
        let lines = below(&document, 2, path);
        assert!(lines.contains(&"    get:"), "{path} is not in the document");
        let mut known = inline(&lines);
        for line in &lines {
            let Some(name) = line.split_once("#/components/parameters/").map(|(_, n)| n.trim_end_matches('\'')) else {
                continue;
            };
            known.extend(shared.entry(name).or_insert_with(|| inline(&below(&document, 4, name))).clone());
        }
        for parameter in *understood {
            assert!(known.contains(*parameter), "{path} does not know {parameter}; it knows {known:?}");
        }
    }
}
