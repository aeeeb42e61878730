//! `rosterd doctor`: what is in its file, what never is, and that it works where nothing else does.

use serde_json::Value;

use crate::site::{Said, Site, small};

/// Whatever the simulated site has that is a secret.
const SECRETS: [&str; 3] = ["token-of-rosterd", "password-of-rosterd", "simulated-token"];

/// Runs it, and reads its file.
async fn doctor(site: &Site, more: &[&str], code: i32) -> (Said, String, Value) {
    let file = site.folder.path().join("bundle.json");
    let _ = std::fs::remove_file(&file);
    let path = file.display().to_string();
    let said = site.run(&[&["doctor", "--out", &path], more].concat()).await.exits(code);
    let text = std::fs::read_to_string(&file).expect("it is written");
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    (said, text, value)
}

/// Demands that neither a secret nor a user is told of.
#[track_caller]
fn tells_of_nobody(site: &Site, text: &str) {
    let text = text.to_lowercase();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in it");
    }
    for person in &site.estate.okta.world().people {
        let display = format!("{} {}", person.first, person.last);
        let user = person.login.split('@').next().expect("a name");
        for told in [&person.login, user, &person.id, &display].into_iter().chain(person.email.as_deref()) {
            assert!(!text.contains(&told.to_lowercase()), "{told} is in:\n{text}");
        }
    }
}

/// A site with staged removals, and somebody whom Jira does not take.
async fn troubled() -> Site {
    let job = "schedule = \"hourly\"\n[jobs.staff.guard]\ndeactivations = { share = 0.1, floor = 2 }\nprotect_users = [\"rosterd\", \"nobody.special\"]";
    let site = Site::with(small(), job).await;
    let faults = &site.estate.jira.running.faults;
    faults.add(rosterd_sim::harness::Rule::always("POST", "/rest/api/2/user", rosterd_sim::harness::Fault::json(400, "{}")));
    site.run(&["sync"]).await;
    faults.clear();
    site.run(&["sync"]).await;
    site.lay_off(8);
    let staged = site.run(&["sync"]).await;
    assert!(staged.out.contains("deactivation-limit"), "{staged:?}");
    site
}

#[tokio::test]
async fn its_file_tells_how_things_are_and_of_nobody() {
    let site = troubled().await;
    let (said, text, told) = doctor(&site, &[], 0).await;
    tells_of_nobody(&site, &text);
    tells_of_nobody(&site, &said.out);
    assert!(!text.contains("nobody.special"), "{text}");
    assert_eq!((&told["configuration"]["good"], &told["users"]), (&Value::from(true), &Value::from("pseudonyms")));
    assert_eq!(told["rosterd"], env!("CARGO_PKG_VERSION"));
    let written = &told["configuration"]["written"];
    assert_eq!((&written["sources"]["okta"]["kind"], &written["jobs"]["staff"]["schedule"]), (&"okta".into(), &"hourly".into()));
    let systems = told["systems"].as_array().expect("a list");
    assert_eq!(systems.len(), 4);
    for system in systems {
        assert_eq!((&system["asked"], &system["good"]), (&Value::from(true), &Value::from(true)), "{system}");
        assert!(system["traffic"]["clock_ahead_seconds"].is_i64(), "{system}");
    }
    assert!(systems.iter().any(|system| system["says"]["version"].is_string()));
    let store = &told["store"];
    assert_eq!((&store["opens"], &store["chain"]["holds"]), (&Value::from(true), &Value::from(true)), "{store}");
    assert!(store["bytes"].as_u64().is_some_and(|bytes| bytes > 0) && store["schema_known"].is_i64(), "{store}");
    let state = &told["state"];
    assert!(state["staged"].as_array().is_some_and(|staged| !staged.is_empty()), "{state}");
    assert_eq!(state["targets"].as_array().map(Vec::len), Some(3));
    let bad = state["bad_runs"].as_array().expect("a list");
    let said: Vec<&str> =
        bad.iter().filter_map(|run| run["end"]["messages"].as_array()).flatten().filter_map(Value::as_str).collect();
    assert!(said.iter().any(|message| message.contains("jira could not create user")), "{said:?}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(site.folder.path().join("bundle.json")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Who wants names gets names, and no secret.
    let (_, text, _) = doctor(&site, &["--names"], 0).await;
    assert!(text.contains("nobody.special"));
    assert!(!SECRETS.iter().any(|secret| text.contains(secret)));
}

#[tokio::test]
async fn it_leaves_no_trace_goes_to_the_standard_output_and_overwrites_nothing() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    let (before, writes) = (std::fs::read(site.state()).expect("there"), site.writes());
    let said = site.run(&["doctor", "--out", "-"]).await.exits(0);
    assert_eq!(said.json()["format"], 1);
    assert_eq!((std::fs::read(site.state()).expect("there"), site.writes()), (before, writes));
    let taken = site.folder.path().join("taken.json");
    std::fs::write(&taken, "mine").expect("written");
    let said = site.run(&["doctor", "--out", &taken.display().to_string()]).await.exits(1);
    assert!(said.err.contains("taken.json"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(&taken).expect("there"), "mine");
    let mut command = site.command(&["doctor", "--offline"]);
    let said = crate::site::finish(command.current_dir(site.folder.path())).await.exits(0);
    let name = said.out.split(':').next().expect("a name").to_owned();
    assert!(name.starts_with("rosterd-doctor-20") && site.folder.path().join(&name).is_file(), "{}", said.out);
}

#[tokio::test]
async fn a_broken_configuration_is_told_and_the_rest_is_gathered_all_the_same() {
    let site = troubled().await;
    let good = std::fs::read_to_string(site.file()).expect("there");
    site.write(&good.replace("schedule = \"hourly\"", "schedule = \"hourli\"").replace(
        "auth = { username = \"rosterd\", password = { file",
        "auth = { username = \"rosterd\", password = \"password-of-rosterd\", passwort = { file",
    ));
    let (said, text, told) = doctor(&site, &[], 78).await;
    tells_of_nobody(&site, &text);
    tells_of_nobody(&site, &said.out);
    assert_eq!(told["configuration"]["good"], false);
    let findings = told["configuration"]["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|f| f["key"] == "jobs.staff.schedule" && f["line"].is_u64()), "{findings:?}");
    assert_eq!(told["store"]["chain"]["holds"], true, "the store is where the file says");
    assert_eq!(told["systems"]["asked"], false);

    site.write("[daemon\nstate = \"simulated-token\"");
    let (_, text, told) = doctor(&site, &[], 78).await;
    assert!(!text.contains("simulated-token"), "{text}");
    assert_eq!(told["configuration"]["written"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_with_a_system_or_the_store_is_told_by_the_exit_code_too() {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    site.okta_fails(503);
    let (_, _, told) = doctor(&site, &[], 69).await;
    let okta = told["systems"].as_array().and_then(|s| s.iter().find(|s| s["system"] == "okta")).expect("it is there").clone();
    assert_eq!((&okta["good"], &okta["fault"]), (&Value::from(false), &Value::from("unavailable")));

    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    site.estate.okta.revoke_tokens();
    site.run(&["sync"]).await.exits(77);
    let asked = site.estate.okta.server.log.len();
    let (_, _, told) = doctor(&site, &[], 77).await;
    assert_eq!(site.estate.okta.server.log.len(), asked, "whoever refused the credential is not asked again");
    assert!(told["wrong"][0].as_str().is_some_and(|text| text.contains("okta refused its credential")), "{}", told["wrong"]);

    std::fs::write(site.state(), "not a state file").expect("written");
    let (_, _, told) = doctor(&site, &[], 1).await;
    assert_eq!((&told["store"]["opens"], &told["state"]), (&Value::from(false), &Value::Null));
}
