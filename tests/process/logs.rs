//! Log files: what is said on the error stream is in the files, to the last line.

use std::process::Stdio;

use rosterd_sim::harness::{Fault, Rule};
use serde_json::Value;

use crate::site::{Site, small};

#[tokio::test]
async fn files_hold_every_line_as_json_to_the_last_one() {
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    let logs = site.folder.path().join("logs");
    let text = std::fs::read_to_string(site.file()).expect("there");
    site.write(&format!(
        "{text}\n[log]\nlevel = \"info\"\nformat = \"json\"\nfile = {{ directory = {:?}, rotate = \"hourly\", keep = 3 }}\n",
        logs.display().to_string()
    ));
    // Files of others in the folder are not ours to delete.
    std::fs::create_dir(&logs).expect("a folder");
    for name in ["access.log", "rosterd-notes.txt"] {
        std::fs::write(logs.join(name), "mine").expect("written");
    }
    let mut daemon = site.daemon().await;
    daemon.nth(&["run converged", "bitbucket"], 2).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0));
    daemon.line("\"stopped\"").await;
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&logs).expect("readable") {
        let name = entry.expect("readable").file_name().into_string().expect("text");
        files.push(name);
    }
    files.sort();
    let (theirs, ours): (Vec<String>, Vec<String>) =
        files.into_iter().partition(|n| n == "access.log" || n == "rosterd-notes.txt");
    assert_eq!(theirs.len(), 2);
    assert!(!ours.is_empty());
    let mut written: Vec<String> = Vec::new();
    for name in &ours {
        assert!(name.starts_with("rosterd.20") && name.ends_with(".log"), "{name}");
        written.extend(std::fs::read_to_string(logs.join(name)).expect("readable").lines().map(str::to_owned));
    }
    // Each takes its own time of the clock.
    let timeless = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split_once("\"level\"").map_or(line.clone(), |(_, rest)| rest.to_owned())).collect()
    };
    assert_eq!(timeless(&written), timeless(&daemon.lines()), "the files hold what the error stream got");
    for line in &written {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["message"].is_string() && line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    assert!(written.last().is_some_and(|l| l.contains("stopped")));
    let runs = written.iter().filter(|l| l.contains("\"run.id\"") && l.contains("\"target.name\"")).count();
    assert!(runs >= 6, "{runs}");
    for secret in ["token-of-rosterd", "password-of-rosterd", "simulated-token", "@example.com"] {
        assert!(!written.iter().any(|l| l.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn what_is_said_within_a_run_bears_its_id_and_each_run_ends_in_one_line() {
    let site = Site::with(small(), "schedule = { every = \"1s\" }").await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    site.write(&format!("{text}\n[log]\nformat = \"json\"\n"));
    let mut daemon = site.daemon().await;
    daemon.converges(1).await;
    // Nobody says of the leaver that they have left: what is taken from a list alone is withheld.
    let okta = &site.estate.okta;
    okta.server.faults.add(Rule::always("GET", "/api/v1/users/", Fault::json(500, "{}")));
    site.lay_off(1);
    let parsed = |line: &String| -> Value { serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")) };
    let withheld = parsed(&daemon.line("a removal is withheld").await);
    let span = &withheld["span"];
    assert_eq!((&span["name"], &span["job.name"]), (&"run".into(), &"staff".into()), "{withheld}");
    assert_eq!(span["target.name"], withheld["target.name"], "{withheld}");
    let id = span["run.id"].as_str().expect("text");
    let end = parsed(&daemon.nth(&["\"journal.head\"", id], 1).await);
    assert_eq!((&end["run.id"], &end["target.name"]), (&id.into(), &span["target.name"]), "{end}");
    okta.server.faults.clear();

    // The source is read once for all runs that begin together: their ids stand with what is said of it.
    daemon.signal("TERM");
    assert_eq!(daemon.ends().await, Some(0));
    daemon.line("\"stopped\"").await;
    let mut lines = daemon.lines();
    okta.revoke_tokens();
    let daemon = site.daemon().await;
    let refused = parsed(&daemon.line("the credential was refused").await);
    let span = &refused["span"];
    assert_eq!((&span["name"], &span["source.name"]), (&"reading".into(), &"okta".into()), "{refused}");
    let ids: Vec<&str> = span["run.ids"].as_str().expect("text").split(' ').collect();
    assert!(!ids[0].is_empty(), "{refused}");
    for id in ids {
        let end = parsed(&daemon.nth(&["\"journal.head\"", id], 1).await);
        assert_eq!((&end["level"], &end["run.id"]), (&"ERROR".into(), &id.into()), "{end}");
        assert!(end["message"].as_str().is_some_and(|said| said.starts_with("run failed: ")), "{end}");
    }
    daemon.signal("TERM");
    daemon.line("\"stopped\"").await;
    lines.extend(daemon.lines());
    let ends: Vec<Value> = lines.iter().filter(|line| line.contains("\"journal.head\"")).map(parsed).collect();
    for end in &ends {
        for field in ["job.name", "target.name", "run.id", "journal.head"] {
            assert!(end[field].is_string(), "{field} is not in {end}");
        }
        for count in ["done", "failed", "staged", "requests"] {
            assert!(end[count].is_u64(), "{count} is not in {end}");
        }
        assert!(end["seconds"].is_f64(), "{end}");
        let same = ends.iter().filter(|other| other["run.id"] == end["run.id"]).count();
        assert_eq!(same, 1, "one line a run: {end}");
    }
    // The first runs had all of it to do.
    for target in ["jira", "confluence", "bitbucket"] {
        let done = ends.iter().filter(|end| end["target.name"] == target).filter_map(|end| end["done"].as_u64()).sum::<u64>();
        let requests =
            ends.iter().filter(|end| end["target.name"] == target).filter_map(|end| end["requests"].as_u64()).sum::<u64>();
        assert!(done > 0 && requests > 0, "{target}: {done}, {requests}");
    }
    for person in &site.estate.okta.world().people {
        let address = person.email.as_deref().unwrap_or(&person.login);
        assert!(!lines.iter().any(|line| line.contains(address)), "{address} is told");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_a_clear_error_at_the_start() {
    let site = Site::plain().await;
    let text = std::fs::read_to_string(site.file()).expect("there");
    let blocked = site.folder.path().join("blocked");
    std::fs::write(&blocked, "a file").expect("written");
    site.write(&format!("{text}\n[log]\nfile = {{ directory = {:?} }}\n", blocked.display().to_string()));
    let said = site.run(&["run"]).await.exits(78);
    assert!(said.err.contains("log files cannot be written") && said.err.contains("blocked"), "{}", said.err);
}

#[tokio::test]
async fn lines_for_the_journal_begin_with_their_level_and_have_no_time() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::plain().await;
    // systemd connects the error stream to a socket, and names that by device and number: here, a file.
    let file = site.folder.path().join("stream");
    let stream = std::fs::File::create(&file).expect("created");
    let about = stream.metadata().expect("there");
    let told = format!("{}:{}", about.dev(), about.ino());
    let end = |mut command: tokio::process::Command, told: &str| {
        let (stream, told) = (stream.try_clone().expect("the same file"), told.to_owned());
        async move {
            command
                .env("JOURNAL_STREAM", told)
                .stdout(Stdio::null())
                .stderr(stream)
                .spawn()
                .expect("it starts")
                .wait()
                .await
                .expect("it ends")
        }
    };
    site.okta_fails(500);
    end(site.command(&["sync", "--verbose"]), &told).await;
    let lines = std::fs::read_to_string(&file).expect("there");
    let logged: Vec<&str> = lines.lines().filter(|line| line.starts_with('<')).collect();
    assert!(logged.iter().any(|line| line.starts_with("<3>ERROR ")), "{lines}");
    assert!(!lines.contains(&format!("{}-", chrono::Utc::now().format("%Y"))), "the journal knows the time: {lines}");

    std::fs::write(&file, "").expect("emptied");
    end(site.command(&["sync", "--verbose"]), "1:1").await;
    let lines = std::fs::read_to_string(&file).expect("there");
    assert!(lines.contains("ERROR") && !lines.contains("<3>"), "another stream than the one that is named: {lines}");
}
