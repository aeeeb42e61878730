//! Every command, for people and for programs.

use rosterd_sim::confluence;
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::harness::{Fault, Rule};
use rosterd_sim::world::World;
use serde_json::Value;

use crate::site::{Said, Site, binary, finish, rosterd, small};

const ALL: [&str; 18] = [
    "run",
    "init",
    "check",
    "plan",
    "sync",
    "approve",
    "reject",
    "undo",
    "explain",
    "drift",
    "status",
    "runs",
    "show",
    "retries",
    "release",
    "kinds",
    "schema",
    "completions",
];

#[tokio::test]
async fn help_and_version_are_answers() {
    let help = rosterd(&["--help"]).await.exits(0);
    assert_eq!(help.err, "");
    for command in ALL {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command} is not in:\n{}", help.out);
        let own = rosterd(&[command, "--help"]).await.exits(0);
        assert!(own.out.contains("Usage: rosterd"), "{}", own.out);
        // What is the command's own comes first.
        let (own, every) = own.out.split_once("Options of every command:").expect("they stand apart");
        assert!(!own.contains("--json") && every.contains("--json") && every.contains("--config"), "{own}{every}");
    }
    assert!(help.out.contains("69 a system or the state is not available"), "{}", help.out);
    let version = rosterd(&["--version"]).await.exits(0);
    assert_eq!(version.out, format!("rosterd {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn completions_are_scripts_of_their_shell() {
    for (shell, mark) in [("bash", "complete -F _rosterd"), ("zsh", "#compdef rosterd"), ("fish", "complete -c rosterd")] {
        let said = rosterd(&["completions", shell]).await.exits(0);
        assert!(said.out.contains(mark) && said.out.contains("retries"), "{shell}");
    }
    rosterd(&["completions", "cmd"]).await.exits(64);
}

#[tokio::test]
async fn there_is_a_manual_page_for_each_command() {
    let page = rosterd(&["man"]).await.exits(0).out;
    assert!(page.contains(".TH rosterd 1") && page.contains("retries"), "{page}");
    let folder = tempfile::tempdir().expect("a folder");
    rosterd(&["man", "--into", folder.path().to_str().expect("text")]).await.exits(0);
    let names = std::fs::read_dir(folder.path()).expect("readable").map(|e| e.expect("an entry").file_name());
    let names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
    for command in ALL {
        assert!(names.contains(&format!("rosterd-{command}.1")), "{command} is not in {names:?}");
    }
    let nowhere = rosterd(&["man", "--into", "/nonexistent"]).await.exits(1);
    assert!(nowhere.err.contains("/nonexistent"), "{}", nowhere.err);
}

#[tokio::test]
async fn the_schema_is_json_and_the_kinds_are_listed() {
    let schema = rosterd(&["schema"]).await.exits(0).json();
    assert!(schema["properties"]["jobs"].is_object());
    let kinds = rosterd(&["kinds"]).await.exits(0);
    let listed = rosterd(&["kinds", "--json"]).await.exits(0).json();
    let words: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|k| k["kind"].as_str()).collect();
    assert_eq!(words, ["okta", "bitbucket", "confluence", "jira"]);
    for word in words {
        assert!(kinds.out.contains(word));
        let example = rosterd(&["kinds", word]).await.exits(0);
        assert!(example.out.contains("kind"), "{}", example.out);
        toml::from_str::<toml::Table>(&example.out).expect("an example is TOML");
    }
    rosterd(&["kinds", "ldap"]).await.exits(64);
}

#[tokio::test]
async fn init_writes_a_file_that_check_accepts_and_never_over_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new.toml");
    let file = file.to_str().expect("text");
    let flags = [
        "init",
        "--config",
        file,
        "--okta-domain",
        "companyname.okta.com",
        "--okta-app",
        "0oa1gjh63g214q0Hq0g4",
        "--jira",
        "https://jira.example.com",
        "--bitbucket",
        "https://bitbucket.example.com",
        "--schedule",
        "15m",
    ];
    let said = rosterd(&flags).await.exits(0);
    assert!(said.out.contains("check --online"), "{}", said.out);
    let secrets = [("OKTA_API_TOKEN", "a"), ("JIRA_TOKEN", "b"), ("BITBUCKET_PASSWORD", "c")];
    finish(binary().args(["check", "--config", file]).envs(secrets)).await.exits(0);
    let written = std::fs::read_to_string(file).expect("written");
    // Whoever may not write to the folder of the systemd unit gets a state of their own, and every first step works.
    let unit = std::fs::metadata("/var/lib/rosterd").is_ok();
    let beside = format!("state = \"sqlite:{}\"", folder.path().join("rosterd-state.db").display());
    assert!(unit || written.lines().any(|line| line == beside), "{beside} is not in:\n{written}");
    let again = rosterd(&flags).await.exits(1);
    assert!(again.err.contains("is there already"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(file).expect("there"), written);
    let other = folder.path().join("other.toml");
    let nobody = rosterd(&["init", "--config", other.to_str().expect("text")]).await.exits(64);
    assert!(nobody.err.contains("--okta-domain"), "{}", nobody.err);
    assert!(!other.exists());
}

#[tokio::test]
async fn init_refuses_answers_that_would_not_be_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new.toml");
    let file = file.to_str().expect("text");
    for (domain, url, schedule) in [
        ("companyname.okta.com", "https://jira.example.com", "sometimes"),
        ("companyname.okta.com", "http://jira.example.com", "hourly"),
        ("not a domain", "https://jira.example.com", "hourly"),
    ] {
        let flags = ["init", "--config", file, "--okta-domain", domain, "--jira", url, "--schedule", schedule];
        let said = rosterd(&flags).await.exits(64);
        assert!(said.err.contains("error"), "{}", said.err);
        assert!(!std::path::Path::new(file).exists());
    }
}

#[tokio::test]
async fn check_online_says_who_answers_and_as_whom() {
    let site = Site::plain().await;
    let offline = site.run(&["check"]).await.exits(0);
    assert!(offline.out.contains("is good: 1 source, 3 targets, 1 job"), "{}", offline.out);
    assert_eq!(site.run(&["check", "--json"]).await.exits(0).json()["good"], true);
    let good = site.run(&["check", "--online"]).await.exits(0);
    for part in ["okta", "jira", "10.3.24", "confluence", "bitbucket", "as rosterd"] {
        assert!(good.out.contains(part), "{part} is not in:\n{}", good.out);
    }
    let rows = site.run(&["check", "--online", "--json"]).await.exits(0).json();
    assert!(rows.as_array().expect("a list").iter().all(|r| r["good"] == true), "{rows}");
    assert_eq!(site.writes(), 0);
    assert!(!site.state().exists(), "a check leaves no trace");

    site.estate.jira.gate.revoke();
    let wrong = site.run(&["check", "--online"]).await.exits(77);
    assert!(wrong.out.contains("hint: "), "{}", wrong.out);
    let rows = site.run(&["check", "--online", "--json"]).await.exits(77).json();
    let jira = rows.as_array().expect("a list").iter().find(|r| r["system"] == "jira").expect("listed").clone();
    assert_eq!((&jira["good"], &jira["fault"]), (&Value::from(false), &Value::from("refused")));
}

#[tokio::test]
async fn check_online_says_what_an_old_confluence_cannot_do() {
    let old = confluence::Options { version: "7.4.0".to_owned(), ..confluence::Options::default() };
    let options = Options { confluence: old, ..Options::default() };
    let site = Site::over(Estate::start(small(), options).await.expect("it starts"), "schedule = \"hourly\"");
    let said = site.run(&["check", "--online"]).await;
    assert!(said.out.contains("7.4"), "{said:?}");
}

#[tokio::test]
async fn status_runs_and_show_tell_of_a_run() {
    let site = Site::plain().await;
    let before = site.run(&["status"]).await.exits(0);
    assert!(before.out.contains("never"), "{}", before.out);
    assert_eq!(site.run(&["runs"]).await.exits(0).out.trim(), "no run is recorded");
    assert_eq!(site.run(&["runs", "--json"]).await.exits(0).json(), Value::Array(Vec::new()));
    assert_eq!(site.run(&["retries"]).await.exits(0).out.trim(), "nothing is to be tried again");
    assert!(!site.state().exists(), "reading leaves no trace");

    let sync = site.run(&["sync", "--json"]).await.exits(0).json();
    assert_eq!(sync.as_array().map(Vec::len), Some(3));
    let runs = site.run(&["runs", "--json", "--target", "jira"]).await.exits(0).json();
    let id = runs[0]["id"].as_str().expect("an id").to_owned();
    let listed = site.run(&["runs"]).await.exits(0);
    assert!(listed.out.contains(&id) && listed.out.contains("applied"), "{}", listed.out);

    let shown = site.run(&["show", &id]).await.exits(0);
    assert!(shown.out.contains("create_user") && shown.out.contains(": done"), "{}", shown.out);
    let json = site.run(&["show", &id, "--json"]).await.exits(0).json();
    assert!(json["changes"].as_array().is_some_and(|c| !c.is_empty()));
    // Runs of one moment share their beginning; the last sign alone tells them apart.
    let prefix = &id[..id.len() - 1];
    assert!(site.run(&["show", prefix]).await.exits(0).out.contains(&id));
    let unknown = site.run(&["show", "ffffffff"]).await.exits(1);
    assert!(unknown.err.contains("no run \"ffffffff\"") && unknown.err.contains("rosterd runs"), "{}", unknown.err);

    let after = site.run(&["status", "--json"]).await.exits(0).json();
    assert!(after["targets"].as_array().expect("a list").iter().all(|t| t["fresh"].is_string()), "{after}");
}

#[tokio::test]
async fn a_run_that_only_observes_is_not_called_applied_and_makes_nothing_fresh() {
    let site = Site::with(small(), "schedule = \"hourly\"\nmode = \"observe\"").await;
    let sync = site.run(&["sync"]).await.exits(0);
    assert!(sync.out.contains("observed") && !sync.out.contains("applied"), "{}", sync.out);
    assert_eq!(site.writes(), 0);
    let status = site.run(&["status", "--json"]).await.exits(0).json();
    assert!(status["targets"].as_array().expect("a list").iter().all(|t| t["fresh"].is_null()), "{status}");
}

#[tokio::test]
async fn what_failed_is_listed_and_can_be_released() {
    let site = Site::plain().await;
    let refuse = Fault::json(400, r#"{"errorMessages":[],"errors":{"email":"no"}}"#);
    site.estate.jira.running.faults.add(Rule::once("POST", "/rest/api/2/user", refuse));
    let sync = site.run(&["sync"]).await.exits(1);
    assert!(sync.out.contains("partial"), "{}", sync.out);
    let retries = site.run(&["retries", "--json"]).await.exits(0).json();
    let subject = retries["retries"][0]["subject"]["key"].as_str().or(retries["retries"][0]["key"].as_str());
    let subject = subject.unwrap_or_else(|| panic!("a subject in {retries}")).to_owned();
    let listed = site.run(&["retries"]).await.exits(0);
    assert!(listed.out.contains(&subject) && listed.out.contains("jira"), "{}", listed.out);
    assert!(site.run(&["status"]).await.exits(0).out.contains("retry queue"));
    let released = site.run(&["release", &subject]).await.exits(0);
    assert!(released.out.contains("1 subject is due now"), "{}", released.out);
    let again = site.run(&["release", &subject, "--json"]).await.exits(0).json();
    assert_eq!((&again["released"], &again["rest"]), (&Value::from(&*subject), &Value::from(false)), "{again}");
    let name = again["due"][0]["user_name"].as_str().expect("the name that she was to have");
    site.run(&["release", &name.to_uppercase()]).await.exits(0);
    site.run(&["sync"]).await.exits(0);
    assert_eq!(site.run(&["retries", "--json"]).await.exits(0).json()["retries"], Value::Array(Vec::new()));
    let nobody = site.run(&["release", "nobody"]).await.exits(1);
    assert!(nobody.err.contains("neither rests nor waits"), "{}", nobody.err);
}

#[tokio::test]
async fn a_rest_is_ended_by_release() {
    let site = Site::plain().await;
    site.estate.jira.gate.revoke();
    site.run(&["sync"]).await.exits(77);
    let retries = site.run(&["retries"]).await.exits(0);
    assert!(retries.out.contains("jira rests until"), "{}", retries.out);
    site.estate.jira.gate.accept_token("token-of-rosterd");
    assert!(site.run(&["sync"]).await.exits(77).out.contains("jira rests since"));
    site.run(&["release", "jira"]).await.exits(0);
    site.run(&["sync"]).await.exits(0);
    let status = site.run(&["status", "--json"]).await.exits(0).json();
    assert_eq!(status["rests"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn the_plan_as_json_is_the_plan_that_is_printed_and_leaves_no_trace() {
    let site = Site::plain().await;
    let text = site.run(&["plan", "--limit", "0"]).await.exits(2);
    let json = site.run(&["plan", "--json"]).await.exits(2).json();
    let plans = json["plans"].as_array().expect("a list");
    assert_eq!(plans.len(), 3);
    for plan in plans {
        assert!(text.out.contains(plan["plan"].as_str().expect("an id")), "{}", text.out);
    }
    let changes: usize = plans.iter().map(|p| p["changes"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(
        text.out.lines().filter(|l| l.starts_with("  + ") || l.starts_with("  ~ ") || l.starts_with("  - ")).count(),
        changes
    );
    assert_eq!(site.writes(), 0);
    assert!(!site.state().exists());
}

#[tokio::test]
async fn nothing_but_data_goes_to_the_standard_output_and_no_escape_codes_go_anywhere() {
    let site = Site::plain().await;
    let mut all: Vec<Said> = vec![site.run(&["sync", "--verbose"]).await];
    for command in [&["plan"][..], &["status"], &["runs"], &["retries"], &["check", "--online"], &["kinds"], &["show", "x"]] {
        all.push(site.run(command).await);
        all.push(finish(site.command(command).env("NO_COLOR", "1")).await);
    }
    for said in &all {
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{said:?}");
        assert!(!said.out.contains("INFO"), "{said:?}");
    }
    assert!(all[0].err.contains("INFO"), "--verbose talks on the error stream: {}", all[0].err);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let site = Site::with(World::seeded(7, 300, 20, 2_500), "schedule = \"hourly\"").await;
    let binary = env!("CARGO_BIN_EXE_rosterd");
    for command in ["plan --limit 0", "schema", "completions bash", "--help"] {
        let script = format!("set -o pipefail; '{binary}' {command} | head -1");
        let config = site.file();
        let said = finish(
            tokio::process::Command::new("bash")
                .args(["-c", &script])
                .env("ROSTERD_CONFIG", config)
                .stdin(std::process::Stdio::null()),
        )
        .await;
        assert_eq!(said.code, Some(if command.starts_with("plan") { 2 } else { 0 }), "{command}: {said:?}");
        assert_eq!((said.out.lines().count(), said.err.as_str()), (1, ""), "{command}");
    }
}

#[tokio::test]
async fn the_configuration_is_the_named_one_then_the_variable_s_then_the_one_at_hand() {
    let site = Site::plain().await;
    let empty = tempfile::tempdir().expect("a folder");
    let check = |folder: &std::path::Path| {
        let mut command = binary();
        command.arg("check").current_dir(folder);
        command
    };
    let said = finish(&mut check(site.folder.path())).await.exits(0);
    assert!(said.out.starts_with("./rosterd.toml is good"), "{}", said.out);
    let said = finish(check(empty.path()).env("ROSTERD_CONFIG", site.file())).await.exits(0);
    assert!(said.out.contains(site.file().to_str().expect("text")));
    let absent = empty.path().join("absent.toml");
    let named = finish(check(site.folder.path()).env("ROSTERD_CONFIG", site.file()).arg("--config").arg(&absent)).await.exits(78);
    assert!(named.err.contains("absent.toml"), "{}", named.err);
    let slip = finish(check(site.folder.path()).env("ROSTERD_CONFIG", &absent)).await.exits(78);
    assert!(slip.err.contains("absent.toml"), "{}", slip.err);
    // An empty variable names nothing.
    finish(check(site.folder.path()).env("ROSTERD_CONFIG", "")).await.exits(0);
    if !std::path::Path::new("/etc/rosterd/rosterd.toml").exists() {
        let nowhere = finish(&mut check(empty.path())).await.exits(78);
        assert!(nowhere.err.contains("/etc/rosterd/rosterd.toml") && nowhere.err.contains("rosterd init"), "{}", nowhere.err);
    }
}

/// The links at Jira.
async fn links(site: &Site) -> Vec<rosterd::model::link::UserLink> {
    site.journal().await.links(&"jira".into()).await.expect("readable").users
}

#[tokio::test]
async fn whoever_is_back_under_another_id_gets_the_old_account_by_a_person_s_word() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let okta = &site.estate.okta;
    let person = okta.world().people.iter().find(|p| p.status.works()).expect("somebody works").clone();
    let link = links(&site).await.into_iter().find(|l| l.source.as_str() == person.id).expect("is linked");
    let (old, name) = (person.id.clone(), link.name.to_string());

    // Who is at work keeps the account.
    let kept = site.run(&["release", "jira", "--link", &old]).await.exits(1);
    assert!(kept.err.contains("still has the user") && kept.err.contains("--force"), "{}", kept.err);
    site.run(&["release", "nowhere", "--link", &old]).await.exits(64);
    site.run(&["release", "jira", "--link", "nobody.at.all"]).await.exits(1);
    site.run(&["release", "jira", "--force"]).await.exits(64);

    okta.delete_user(&person.login);
    site.run(&["sync"]).await.exits(0);
    okta.add_user(rosterd_sim::world::Person { id: String::new(), ..person.clone() });
    let sync = site.run(&["sync"]).await.exits(0);
    let command = format!("rosterd release jira --link {old}");
    assert!(site.run(&["plan"]).await.out.contains(&command), "{}", sync.out);
    let active = |site: &Site| site.estate.jira.directory().user(&name).map(|u| (u.key.clone(), u.is_active()));
    let (key, works) = active(&site).expect("the account is there");
    assert!(!works);

    // No answer is no proof.
    site.okta_fails(503);
    let unproven = site.run(&["release", "jira", "--link", &old]).await.exits(69);
    assert!(unproven.err.contains("not certain"), "{}", unproven.err);
    okta.server.faults.clear();
    assert_eq!(links(&site).await.iter().filter(|l| l.source.as_str() == old).count(), 1);

    let told = site.run(&["release", "bitbucket", "--link", &old, "--json"]).await.exits(0).json();
    assert_eq!(
        (&told["cut"][0]["target"], &told["cut"][0]["source"]),
        (&Value::from("bitbucket"), &Value::from(&*old)),
        "{told}"
    );
    let cut = site.run(&["release", "jira", "--link", &name]).await.exits(0);
    assert!(cut.out.contains(&old) && cut.out.contains(&name), "{}", cut.out);
    let (told, _) = site.record().await.into_iter().max_by_key(|(run, _)| run.start.id.clone()).expect("is recorded");
    let told = told.end.expect("has ended").messages;
    assert!(told.len() == 1 && told[0].contains(&old) && told[0].contains(&name), "{told:?}");
    site.run(&["sync"]).await.exits(0);
    assert_eq!(active(&site), Some((key.clone(), true)), "the same account works again");
    let now = links(&site).await;
    let link = now.iter().find(|l| l.target.as_str() == key).expect("is linked");
    assert_ne!(link.source.as_str(), old);
    // At the other targets nothing was let go.
    assert!(site.run(&["plan"]).await.out.contains("rosterd release confluence --link"));
}

#[tokio::test]
async fn seats_and_a_token_s_end_are_told_where_people_look() {
    let site = Site::plain().await;
    let in_days = |n| Some(chrono::Utc::now() + chrono::TimeDelta::days(n));
    site.estate.jira.gate.set_token_expires(in_days(5));
    site.estate.confluence.gate.set_token_expires(in_days(90));
    for target in [&site.estate.jira.directory, &site.estate.bitbucket.directory] {
        rosterd_sim::directory::lock(target).seats = Some(3);
    }
    let checked = site.run(&["check", "--online"]).await.exits(0);
    assert!(
        checked.out.contains("the token expires in 4days") && checked.out.contains("the token expires in 2months"),
        "{}",
        checked.out
    );
    let group = site.estate.okta.world().groups[0].name.clone();
    for name in [&group, "jira-software-users"] {
        let mut directory = site.estate.jira.directory();
        let _there = directory.add_group(name);
        directory.group_mut(name).expect("it is there").licensed = true;
    }
    let planned = site.run(&["plan"]).await.exits(2);
    let line = planned.out.lines().find(|line| line.contains("Jira Software: 1 to ")).expect("the licence is told of");
    assert!(line.ends_with(" of 3 seats: the licence does not suffice"), "{line}");
    let plans = site.run(&["plan", "--json"]).await.exits(2).json();
    let seats = plans["plans"].as_array().expect("plans").iter().find(|p| p["target"] == "jira").expect("jira")["seats"].clone();
    assert_eq!((&seats[0]["used"], &seats[0]["of"], &seats[0]["about"]), (&1.into(), &3.into(), &false.into()), "{seats}");

    site.run(&["sync"]).await.exits(1);
    let status = site.run(&["status"]).await.exits(0);
    assert!(status.out.contains("the credential of jira expires in 4days"), "{}", status.out);
    assert!(!status.out.contains("of confluence expires"), "not yet: {}", status.out);
    let told = site.run(&["status", "--json"]).await.exits(0).json();
    let systems: Vec<_> = told["expiring"].as_array().expect("a list").iter().map(|e| e["system"].clone()).collect();
    assert_eq!(systems, ["confluence", "jira"]);
}
