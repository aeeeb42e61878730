//! `rosterd journal`: the check and its exit codes, what is exported, and the head that a run logs.

use serde_json::Value;
use sqlx::{ConnectOptions, Connection, Executor};

use crate::site::{Site, small};

/// Does to the state file what another hand would.
async fn tamper(site: &Site, sql: &'static str) {
    let mut file = sqlx::sqlite::SqliteConnectOptions::new().filename(site.state()).connect().await.expect("it opens");
    file.execute(sql).await.expect("it can be written");
    file.close().await.expect("it closes");
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[tokio::test]
async fn the_check_holds_after_runs_and_names_what_another_hand_did() {
    let site = Site::plain().await;
    let nothing = site.run(&["journal", "verify"]).await.exits(0);
    assert!(nothing.out.contains("checked 0 entries"), "{}", nothing.out);
    site.run(&["sync"]).await.exits(0);
    let head = site.run(&["status", "--json"]).await.exits(0).json()["journal"]["hash"].as_str().expect("a hash").to_owned();
    site.run(&["sync"]).await.exits(0);
    let checked = site.run(&["journal", "verify", "--head", &head]).await.exits(0);
    for part in ["every record is as it was written", &format!("{head} is the head at entry "), "6 entries came after it"] {
        assert!(checked.out.contains(part), "{part} is not in:\n{}", checked.out);
    }
    let json = site.run(&["journal", "verify", "--json"]).await.exits(0).json();
    assert!(json["entries"].as_u64().is_some_and(|n| n > 12) && json["broken"].as_array().is_some_and(Vec::is_empty), "{json}");

    site.run(&["journal", "verify", "--head", "no hash"]).await.exits(64);
    let other = site.run(&["journal", "verify", "--head", "00000000000000"]).await.exits(1);
    assert!(
        other.out.contains("no entry has the hash") && other.err.contains("never had the head"),
        "{}{}",
        other.out,
        other.err
    );

    tamper(&site, "update changes set because = '{\"reason\":\"gone\"}' where id = 3").await;
    let found = site.run(&["journal", "verify"]).await.exits(1);
    let named = found.out.lines().find(|l| l.starts_with("CHANGED: entry ")).unwrap_or_else(|| panic!("{}", found.out));
    assert!(named.contains(" run 0") && named.contains("change 3 ("), "{named}");
    assert!(found.err.contains("not as it was written, at 1 place"), "{}", found.err);
    tamper(&site, "delete from changes where id = 5").await;
    let json = site.run(&["journal", "verify", "--json"]).await.exits(1).json();
    let words: Vec<_> = json["broken"].as_array().expect("a list").iter().map(|b| b["wrong"].as_str().unwrap_or("")).collect();
    assert_eq!(words, ["changed", "missing"]);
}

#[tokio::test]
async fn changes_are_exported_as_json_lines_and_found_by_user_group_and_time() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let all = lines(&site.run(&["journal", "export"]).await.exits(0).out);
    let recorded: usize = site.record().await.iter().map(|(_, changes)| changes.len()).sum();
    assert_eq!(all.len(), recorded);
    let keys = [
        "id",
        "at",
        "settled_at",
        "run",
        "job",
        "target",
        "trigger",
        "by",
        "plan",
        "kind",
        "source",
        "user",
        "user_name",
        "group",
        "before",
        "after",
        "reason",
        "actor",
        "outcome",
        "fault",
        "why",
        "left_groups",
        "request",
    ];
    for line in &all {
        let object = line.as_object().expect("an object");
        assert!(keys.iter().all(|key| object.contains_key(*key)) && object.len() == keys.len(), "{line}");
        assert!(line["at"].as_str().is_some_and(|at| chrono::DateTime::parse_from_rfc3339(at).is_ok()), "{line}");
        assert_eq!((&line["job"], &line["trigger"]), (&"staff".into(), &"command".into()));
        assert!(line["by"].as_str().is_some_and(|by| by.starts_with("os:")), "{line}");
        assert!(line["plan"].is_string() && line["request"].is_string() && line["outcome"] == "done", "{line}");
    }
    let ids: Vec<i64> = all.iter().filter_map(|line| line["id"].as_i64()).collect();
    assert!(ids.is_sorted(), "the oldest first");

    let one = all.iter().find(|line| line["kind"] == "add_member" && line["target"] == "jira").expect("somebody is in a group");
    let (user, group) = (one["user_name"].as_str().expect("a name"), one["group"].as_str().expect("a name"));
    let found = lines(&site.run(&["journal", "export", "--user", user, "--target", "jira"]).await.exits(0).out);
    assert!(found.len() > 1 && found.iter().all(|l| l["user_name"] == user && l["target"] == "jira"), "{found:?}");
    let found = lines(&site.run(&["journal", "export", "--user", user, "--group", group, "--target", "jira"]).await.exits(0).out);
    assert_eq!(found, std::slice::from_ref(one));
    let run = one["run"].as_str().expect("an id");
    let found = lines(&site.run(&["journal", "export", "--run", run, "--since", "1h", "--job", "staff"]).await.exits(0).out);
    assert_eq!(found.len(), all.iter().filter(|l| l["run"] == run).count());
    for none in [["--until", "1h"], ["--since", "2999-01-01"], ["--job", "nobody"], ["--user", "nobody"]] {
        assert_eq!(site.run(&["journal", "export", none[0], none[1]]).await.exits(0).out, "", "{none:?}");
    }
    site.run(&["journal", "export", "--since", "yesterday"]).await.exits(64);
    let unknown = site.run(&["journal", "export", "--run", "ffff"]).await.exits(1);
    assert!(unknown.err.contains("rosterd runs"), "{}", unknown.err);

    let listed = site.run(&["journal", "list", "--user", user, "-n", "1"]).await.exits(0);
    assert_eq!(listed.out.lines().count(), 1, "{}", listed.out);
    assert!(listed.out.contains(user) && listed.out.contains("; request "), "{}", listed.out);
    assert!(listed.out.contains("; run for os:"), "{}", listed.out);
    let listed = site.run(&["journal", "list", "--group", "nobody's"]).await.exits(0);
    assert_eq!(listed.out, "no such change is recorded\n");
    let shown = site.run(&["show", run]).await.exits(0);
    assert!(shown.out.contains(&format!("; request {}", one["request"].as_str().expect("an id"))), "{}", shown.out);
}

#[tokio::test]
async fn each_run_logs_the_head_that_the_journal_had_with_it() {
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    let daemon = site.daemon().await;
    daemon.converges(1).await;
    let line = daemon.line("run applied").await;
    let (_, head) = line.split_once("journal.head=").unwrap_or_else(|| panic!("{line}"));
    let head = head.split_whitespace().next().expect("a hash");
    let checked = site.run(&["journal", "verify", "--head", head]).await.exits(0);
    assert!(checked.out.contains(&format!("{head} is the head at entry")), "{}", checked.out);
    daemon.stop().await;
}
