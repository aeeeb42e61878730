//! Every request that a full story makes, held against the vendors' own documents.
//!
//! The documents are not part of the project. They are looked for in `$ROSTERD_SHARED`, or in `shared` beside the project;
//! where they are missing the check says that it was skipped.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Ended;
use rosterd::engine::subjects::retry_subjects;
use rosterd_sim::conform::violations;
use rosterd_sim::estate::Options;
use rosterd_sim::harness::{Fault, Log, Rule};
use rosterd_sim::jira;
use rosterd_sim::world::{GroupKind, Person, World};
use serde_json::Value;
use support::{Scene, Setting, ended};
use tokio_util::sync::CancellationToken;

fn vendor(name: &str) -> Option<String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("ROSTERD_SHARED").map_or(beside, PathBuf::from);
    let path = folder.join("specs").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: no {} (set ROSTERD_SHARED)", path.display());
    }
    text
}

fn document(name: &str) -> Option<Value> {
    vendor(name).map(|text| serde_json::from_str(&text).expect("the vendor's document is JSON"))
}

fn newcomer(first: &str, last: &str) -> Person {
    let mut world = World::default();
    let at = world.add_person(first, last);
    Person { id: String::new(), ..world.people.swap_remove(at) }
}

const JOB: &str = r#"
[jobs.staff.leavers]
deleted      = "delete"
out_of_scope = "remove_groups"
[jobs.staff.groups]
exclusive = ["ops"]
[jobs.staff.groups.default]
new_users = ["welcome"]
"#;

/// Everything that can happen: joiners, movers, leavers of each sort, returners, renames, new and renamed groups, somebody who
/// fails and is looked at again alone, accounts that were there before.
async fn full_story(jira_version: &str, okta: &str) -> Scene {
    let mut world = World { seed: 3, ..World::default() };
    let all: Vec<usize> = (0..12).map(|at| world.add_person("Pat", &format!("O'Number{at}"))).collect();
    world.add_group("staff", &all);
    world.add_group("ops", &all[..4]);
    world.add_group("R+D team 50%", &all[4..6]);
    for person in &mut world.people {
        // An apostrophe is for group names and display names; Confluence takes none in user names.
        person.login = person.login.replace('\'', "");
    }
    let options =
        Options { jira: jira::Options { version: jira_version.into(), ..jira::Options::default() }, ..Options::default() };
    let mut scene = Scene::new(world, Setting { okta: okta.to_owned(), job: JOB.to_owned(), options }).await;
    scene.estate.bitbucket.grant_group("staff", "LICENSED_USER");
    for mut directory in [scene.estate.jira.directory(), scene.estate.confluence.directory(), scene.estate.bitbucket.directory()]
    {
        directory.add_user("found.here", "found.here@example.com", "Found Here").expect("is new");
        directory.add_user("stranger", "stranger@example.com", "Stranger").expect("is new");
        directory.add_group("ops").expect("is new");
        directory.join("ops", "stranger").expect("both are there");
    }
    scene.estate.okta.add_user(newcomer("Found", "Here"));
    scene.run().await;
    scene.run().await;

    let okta = &scene.estate.okta;
    let login = |n: usize| okta.world().people.iter().find(|p| p.last == format!("O'Number{n}")).expect("is there").id.clone();
    let ids: Vec<String> = (0..12).map(login).collect();
    okta.remove_member("ops", &ids[0]);
    okta.add_member("ops", &ids[5]);
    okta.change_user(&ids[1], |p| p.first = "Patricia".into());
    okta.set_email(&ids[2], Some("another@example.com"));
    okta.rename_user(&ids[3], "new.name@example.com");
    okta.deactivate(&ids[6]);
    okta.delete_user(&ids[7]);
    okta.rename_group("R+D team 50%", "R+D & more");
    okta.add_group("new group", GroupKind::Okta);
    okta.add_member("new group", &ids[8]);
    okta.add_user(newcomer("Jo", "Iner"));
    okta.add_member("staff", "jo.iner@example.com");
    for faults in
        [&scene.estate.jira.running.faults, &scene.estate.confluence.running.faults, &scene.estate.bitbucket.running.faults]
    {
        faults.add(Rule::once("POST", "/user", Fault::json(503, "")));
        faults.add(Rule::once("PUT", "/rest/api/user/", Fault::ResetAfter));
        faults.add(Rule::once("DELETE", "", Fault::ResetAfter));
    }
    scene.run().await;
    scene.clock.advance(TimeDelta::hours(12));
    let retries = scene.journal.retries().await.expect("retries");
    for side in &scene.job().targets {
        let due: Vec<_> =
            retries.iter().filter(|r| r.target == side.name && r.not_before <= scene.clock.now()).cloned().collect();
        retry_subjects(scene.job(), side, &due, &CancellationToken::new()).await.expect("the store works");
    }
    okta.activate(&ids[6]);
    scene.run().await;
    scene.clock.advance(TimeDelta::days(2));
    scene.run().await;
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{}: {:?}", report.record.start.target, report.record.end);
    }
    // A new process, which knows nothing of what the one before learnt.
    scene.reassemble();
    scene.run().await;
    scene
}

fn all_violations(document: &Value, log: &Log) -> BTreeSet<String> {
    log.all().iter().flat_map(|seen| violations(document, seen)).collect()
}

/// Demands that the story made these calls, so that the check is not of nothing.
fn insist(log: &Log, calls: &[(&str, &str)]) {
    for (method, path) in calls {
        assert!(log.count(method, path) > 0, "the story made no {method} {path}");
    }
}

#[tokio::test]
async fn every_request_to_jira_is_in_the_vendors_document() {
    for (file, version) in [("jira-dc-10.3.openapi.json", "10.3.24"), ("jira-dc-10.0.openapi.json", "10.0.1")] {
        let Some(document) = document(file) else { continue };
        let scene = full_story(version, "").await;
        let log = &scene.estate.jira.running.log;
        insist(
            log,
            &[
                ("POST", "/rest/api/2/user"),
                ("PUT", "/rest/api/2/user"),
                ("DELETE", "/rest/api/2/user"),
                ("POST", "/rest/api/2/group"),
                ("POST", "/rest/api/2/group/user"),
                ("DELETE", "/rest/api/2/group/user"),
                ("GET", "/rest/api/2/group/member"),
                ("GET", "/rest/api/2/groups/picker"),
                ("GET", "/rest/api/2/applicationrole"),
            ],
        );
        assert_eq!(all_violations(&document, log), BTreeSet::new(), "{file}");
    }
}

#[tokio::test]
async fn every_request_to_confluence_is_in_the_vendors_document() {
    let Some(document) = document("confluence-dc-10.0.3.openapi.json") else { return };
    let scene = full_story("10.3.24", "").await;
    let log = &scene.estate.confluence.running.log;
    insist(
        log,
        &[
            ("POST", "/rest/api/admin/user"),
            ("PUT", "/rest/api/admin/user/"),
            ("PUT", "/disable"),
            ("PUT", "/enable"),
            ("DELETE", "/rest/api/admin/user/"),
            ("POST", "/rest/api/admin/group"),
            ("PUT", "/group/"),
            ("DELETE", "/group/"),
            ("GET", "/rest/api/longtask/"),
        ],
    );
    assert_eq!(all_violations(&document, log), BTreeSet::new());
}

#[tokio::test]
async fn every_request_to_bitbucket_is_in_the_vendors_document() {
    let Some(document) = document("bitbucket-dc-9.4.openapi.json") else { return };
    let scene = full_story("10.3.24", "").await;
    let log = &scene.estate.bitbucket.running.log;
    insist(
        log,
        &[
            ("POST", "/admin/users"),
            ("POST", "/admin/users/rename"),
            ("PUT", "/admin/users"),
            ("DELETE", "/admin/users"),
            ("POST", "/admin/groups"),
            ("POST", "/admin/groups/add-users"),
            ("POST", "/admin/users/remove-group"),
            ("GET", "/admin/groups/more-members"),
            ("GET", "/admin/license"),
        ],
    );
    assert_eq!(all_violations(&document, log), BTreeSet::new());
}

// Okta's document is YAML of a regular layout, and is read line by line: paths and names of parameters need no parser.

/// The lines below a key at this depth, up to the next key there.
fn below<'a>(document: &'a str, depth: usize, key: &str) -> Vec<&'a str> {
    let head = format!("{}{key}:", " ".repeat(depth));
    let inside = |line: &&str| {
        line.is_empty() || line.starts_with(&" ".repeat(depth + 1)) || line.starts_with(&format!("{}- ", " ".repeat(depth)))
    };
    document.lines().skip_while(|l| *l != head).skip(1).take_while(inside).collect()
}

/// The names of query parameters that are written in these lines.
fn inline(lines: &[&str]) -> BTreeSet<String> {
    let value = |line: &str, key: &str| line.trim_start_matches([' ', '-']).strip_prefix(key).map(|v| v.trim().to_owned());
    let pairs = lines.iter().zip(lines.iter().skip(1));
    let in_query = pairs.filter(|(_, place)| value(place, "in:").as_deref() == Some("query"));
    in_query.filter_map(|(name, _)| value(name, "name:")).collect()
}

/// The path of the document that a path fits, the one with the fewest varying segments.
fn template<'a>(document: &'a str, path: &str) -> Option<&'a str> {
    let templates =
        document.lines().filter_map(|l| l.strip_prefix("  /")?.strip_suffix(':').map(|_| l.trim().trim_end_matches(':')));
    let fits = |template: &&str| {
        let (ours, theirs): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
        ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(o, t)| o == t || (t.starts_with('{') && !o.is_empty()))
    };
    templates.filter(fits).min_by_key(|t| t.matches('{').count())
}

fn okta_violations(document: &str, log: &Log) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for seen in log.all() {
        let Some(template) = template(document, &seen.path) else {
            found.insert(format!("{} {}: the document has no such path", seen.method, seen.path));
            continue;
        };
        let lines = below(document, 2, template);
        if !lines.contains(&format!("    {}:", seen.method.to_lowercase()).as_str()) {
            found.insert(format!("{} {template}: the document has no such method", seen.method));
        }
        let mut known = inline(&lines);
        for line in &lines {
            if let Some((_, name)) = line.split_once("#/components/parameters/") {
                known.extend(inline(&below(document, 4, name.trim_end_matches('\''))));
            }
        }
        for pair in seen.query.split('&').filter(|p| !p.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            if !known.contains(name) {
                found.insert(format!("{} {template}: unknown query parameter {name}", seen.method));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_request_to_okta_is_in_the_vendors_document() {
    let Some(document) = vendor("okta-sync-subset.yaml") else { return };
    let app = format!("app_id = \"{}\"", rosterd_sim::okta::Options::default().app_id);
    for extra in ["", "skip_empty_groups = true\ngroup_types = [\"OKTA_GROUP\"]", app.as_str()] {
        let scene = full_story("10.3.24", extra).await;
        let log = &scene.estate.okta.server.log;
        insist(log, &[("GET", "/api/v1/users/"), ("GET", "/groups"), ("GET", "/users")]);
        // Who is behind a token is asked by a name that the document has for any user.
        assert_eq!(okta_violations(&document, log), BTreeSet::new(), "{extra}");
        for source in scene.assembly.sources.values() {
            source.probe().await.expect("it can be probed");
        }
        assert_eq!(okta_violations(&document, log), BTreeSet::new(), "{extra}");
        assert!(log.all().iter().all(|s| s.method == "GET"), "the source is only ever read");
    }
}
