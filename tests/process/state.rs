//! A state file that is not right is refused before anything is read or written anywhere; one of an older rosterd is brought
//! up to date and keeps what it holds.

use std::borrow::Cow;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use rosterd::contract::journal::ChangeRecord;
use rosterd::model::key::group_key;
use rosterd::model::retry::Subject;
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::world::Person;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};

use crate::site::{ONE_AT_A_TIME, Site, small};

/// Fails unless every command that needs the state refuses it with these words and asks nobody anything.
async fn refused(site: &Site, parts: &[&str]) {
    let asked = site.estate.okta.server.log.len();
    for command in [&["plan"][..], &["sync"], &["status"], &["run"]] {
        let said = site.run(command).await.exits(1);
        assert_eq!(said.out, "");
        for part in parts {
            assert!(said.err.contains(part), "{part} is not in:\n{}", said.err);
        }
    }
    assert_eq!(site.estate.okta.server.log.len(), asked);
}

#[tokio::test]
async fn a_file_of_another_program_is_refused() {
    let site = Site::plain().await;
    let notes = "[notes]\nthis is no state file\n";
    std::fs::write(site.state(), notes).expect("written");
    refused(&site, &["is not a state file of rosterd", "state.db"]).await;
    assert_eq!(std::fs::read_to_string(site.state()).expect("there"), notes, "it stays as it is");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let site = Site::with(small(), "schedule = \"hourly\"").await;
    site.run(&["sync"]).await.exits(0);
    let mut file = std::fs::OpenOptions::new().write(true).open(site.state()).expect("there");
    let length = file.metadata().expect("there").len();
    for at in (4096..length).step_by(4096) {
        file.seek(SeekFrom::Start(at)).expect("seeks");
        file.write_all(&[0xAA; 64]).expect("writes");
    }
    drop(file);
    refused(&site, &["is damaged", "state.db", "hint: "]).await;
}

#[tokio::test]
async fn a_file_of_a_newer_rosterd_is_refused() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let mut connection = opened(&site.state()).await;
    sqlx::query("update _sqlx_migrations set version = 99 where version = (select max(version) from _sqlx_migrations)")
        .execute(&mut connection)
        .await
        .expect("written");
    connection.close().await.expect("closes");
    refused(&site, &["schema version 99", "run the newer rosterd again"]).await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_made() {
    let site = Site::plain().await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    let missing = site.folder.path().join("volume");
    site.write(&text.replace("state.db", "volume/state.db"));
    for command in ["sync", "run", "plan"] {
        let said = site.run(&[command]).await.exits(1);
        assert!(said.err.contains("does not exist") && said.err.contains("volume"), "{}", said.err);
    }
    assert!(!missing.exists());
}

/// The first steps of the manual, on a machine where nothing was ever started: there is no folder for the default state.
#[tokio::test]
async fn who_looks_before_the_first_start_sees_an_empty_state() {
    if Path::new("/var/lib/rosterd").exists() {
        eprintln!("skipped: /var/lib/rosterd is there, so this machine is no fresh one");
        return;
    }
    let site = Site::plain().await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    let default = text.replace(&site.url, rosterd::config::daemon::DEFAULT_STATE);
    assert_ne!(text, default);
    site.write(&default);
    site.run(&["check", "--online"]).await.exits(0);
    let plan = site.run(&["plan"]).await.exits(2);
    assert!(plan.out.contains("create"), "{}", plan.out);
    site.run(&["status"]).await.exits(0);
    for command in ["sync", "run"] {
        let said = site.run(&[command]).await.exits(1);
        assert!(said.err.contains("/var/lib/rosterd of the state file does not exist"), "{}", said.err);
        assert!(said.err.contains("start the systemd unit") && said.err.contains("daemon.state"), "{}", said.err);
    }
    assert!(!Path::new("/var/lib/rosterd").exists());
}

async fn opened(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.expect("opens")
}

/// Puts a file in the place of the state file that holds the same as far as the first schema can hold it.
async fn back_to_the_first_schema(site: &Site) {
    let old = site.folder.path().join("old.db");
    let mut connection = opened(&old).await;
    let sql = include_str!("../../src/store/migrations/0001_journal.sql");
    let first = Migration::new(1, Cow::Borrowed("journal"), MigrationType::Simple, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&mut connection).await.expect("the first schema");
    let tables: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' and name not like '_sqlx_%'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("tables");
    sqlx::query("attach $1 as now").bind(site.state().display().to_string()).execute(&mut connection).await.expect("attached");
    for table in &tables {
        let columns: Vec<String> = sqlx::query_scalar("select name from pragma_table_info($1, 'main')")
            .bind(table)
            .fetch_all(&mut connection)
            .await
            .expect("columns");
        let columns = columns.join(", ");
        let copy = format!("insert into main.{table} ({columns}) select {columns} from now.{table}");
        sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await.unwrap_or_else(|e| panic!("{table}: {e}"));
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from main.{table}")))
            .fetch_one(&mut connection)
            .await
            .expect("counted");
        assert!(rows > 0 || table == "group_links", "{table} has nothing to keep");
    }
    // The first version wrote the account that a creation made over what was intended.
    let created = "update main.changes set user_key = (select coalesce(n.created, n.user_key) from now.changes as n where n.id = changes.id)";
    sqlx::query(created).execute(&mut connection).await.expect("made");
    sqlx::query("pragma application_id = 1380930388").execute(&mut connection).await.expect("marked");
    connection.close().await.expect("closes");
    for suffix in ["-wal", "-shm"] {
        let _not_there = std::fs::remove_file(site.folder.path().join(format!("state.db{suffix}")));
    }
    std::fs::rename(old, site.state()).expect("takes its place");
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
    let site = Site::with(small(), ONE_AT_A_TIME).await;
    let refuse = Fault::json(400, r#"{"errorMessages":[],"errors":{"email":"no"}}"#);
    let faults = (site.estate.jira.running.faults.clone(), site.estate.confluence.running.faults.clone());
    site.run(&["sync"]).await.exits(0);
    site.lay_off(3);
    let okta = &site.estate.okta;
    let person = okta.world().people.iter().find(|p| p.status.works()).expect("somebody works").clone();
    let address = "late.comer@example.com".to_owned();
    okta.add_user(Person { id: String::new(), login: address.clone(), email: Some(address), ..person });
    faults.0.add(Rule::once("POST", "/rest/api/2/user", refuse));
    faults.1.add(Rule::always("", "", Fault::html(503, "<html>maintenance</html>")));
    site.run(&["sync"]).await.exits(69);
    faults.1.clear();
    let before = site.record().await;
    let (links, ledger, staged, retries) = {
        let journal = site.journal().await;
        let jira = "jira".into();
        let held = (journal.links(&jira).await, journal.ledger(&jira).await, journal.staged().await, journal.retries().await);
        (held.0.expect("links"), held.1.expect("ledger"), held.2.expect("staged"), held.3.expect("retries"))
    };
    assert!(staged.len() >= 3 && retries.len() == 2, "{staged:?} {retries:?}");
    back_to_the_first_schema(&site).await;

    // Whoever only reads leaves it as it is, and says what brings it up to date.
    let bytes = std::fs::read(site.state()).expect("there");
    for command in ["plan", "status", "runs"] {
        let said = site.run(&[command]).await.exits(1);
        assert!(said.err.contains("schema version 1") && said.err.contains("run sync once"), "{}", said.err);
    }
    assert_eq!(std::fs::read(site.state()).expect("there"), bytes);

    let late = retries.iter().find_map(|r| match &r.subject {
        Subject::User(key) => Some(key.to_string()),
        Subject::Everything => None,
    });
    site.run(&["release", &late.expect("somebody is on the retry queue")]).await.exits(0);
    site.run(&["sync"]).await.exits(3);
    site.nothing_was_done_twice();
    let after = site.record().await;
    for (run, changes) in &before {
        let kept = after.iter().find(|(kept, _)| kept.start.id == run.start.id).expect("the run is kept");
        // By which request a change was made is known since a later version.
        let known = |change: &ChangeRecord| ChangeRecord { request: None, ..change.clone() };
        assert_eq!(kept, &(run.clone(), changes.iter().map(known).collect()));
    }
    let old: usize = before.iter().map(|(_, changes)| changes.len()).sum();
    let checked = site.run(&["journal", "verify"]).await.exits(0);
    let unchecked = format!("not checked: {old} changes of {} runs from before this chain", before.len());
    assert!(checked.out.contains(&unchecked), "{unchecked} is not in:\n{}", checked.out);
    let journal = site.journal().await;
    let now = journal.links(&"jira".into()).await.expect("links");
    for link in &links.users {
        let kept = now.user(&link.source).expect("the link is kept");
        assert_eq!((&kept.target, &kept.name), (&link.target, &link.name));
    }
    assert_eq!(now.users.len(), links.users.len() + 1, "whoever was on the retry queue is created");
    let owned = journal.ledger(&"jira".into()).await.expect("ledger");
    assert!(!ledger.is_empty());
    for link in &links.users {
        for group in site.estate.jira.directory().group_names(&link.name).iter().map(|group| group_key(group)) {
            assert_eq!(owned.owns(&group, &link.target), ledger.owns(&group, &link.target), "{group} {}", link.name);
        }
    }
    assert_eq!(journal.retries().await.expect("retries"), [], "nothing fails any more");
    let waits = journal.staged().await.expect("staged");
    let since = |s: &rosterd::contract::journal::Staged| (s.target.clone(), s.user.clone(), s.since);
    assert!(staged.iter().map(since).all(|old| waits.iter().any(|s| since(s) == old)), "it waits since it began to wait");
    drop(journal);

    // What the first schema did not know of works on what it held.
    let plan = waits.iter().find(|s| s.target.as_str() == "jira").expect("waits").plan.to_string();
    site.run(&["approve", &plan, "--reason", "they left"]).await.exits(0);
    site.run(&["sync"]).await.exits(3);
    let left = site.run(&["status", "--json"]).await.exits(3).json();
    assert!(left["staged"].as_array().expect("a list").iter().all(|s| s["target"] != "jira"), "{left}");
    let first =
        before.iter().filter(|(run, _)| run.start.target.as_str() == "jira").map(|(run, _)| run).min_by_key(|run| run.start.at);
    let first = first.expect("a run").start.id.as_str();
    assert!(site.run(&["show", first]).await.exits(0).out.contains("create_user"));
    let undo = site.run(&["undo", first]).await.exits(2);
    assert!(undo.out.contains("remove_member"), "{}", undo.out);
    for command in [&["plan"][..], &["drift"], &["retries"], &["runs"]] {
        let said = site.run(command).await;
        assert!(said.code.is_some_and(|code| [0, 3].contains(&code)), "{command:?}: {said:?}");
    }
}
