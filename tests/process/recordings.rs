//! `record` and `replay` by the real binary: exit codes, the file's mode, and that a replay needs neither network nor state
//! nor secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rosterd_sim::harness::{Fault, Rule};

use crate::site::{Said, Site, binary, finish, small};

/// A configuration, as `Site` writes it, with more in its job.
fn with(site: &Site, more: &str) -> PathBuf {
    let text = std::fs::read_to_string(site.file()).expect("there is a configuration");
    let file = site.folder.path().join("changed.toml");
    std::fs::write(&file, format!("{text}\n{more}\n")).expect("written");
    file
}

async fn replay(recording: &Path, configuration: &Path, more: &[&str]) -> Said {
    finish(binary().arg("replay").arg(recording).arg("--config").arg(configuration).args(more)).await
}

/// Four people leave, and the plan is recorded.
async fn recorded(more: &[&str]) -> (Site, PathBuf) {
    let site = Site::plain().await;
    site.run(&["sync"]).await.exits(0);
    site.lay_off(4);
    let writes = site.writes();
    let file = site.folder.path().join("plan.jsonl.gz");
    let name = file.display().to_string();
    let said = site.run(&[&["record", "staff", "--out", &name], more].concat()).await.exits(0);
    assert!(said.out.contains("jira: 4 changes"), "{}", said.out);
    assert_eq!(site.writes(), writes, "it only reads");
    (site, file)
}

/// Takes away all that a replay must not need.
fn cut_off(site: &Site) {
    site.okta_fails(503);
    site.targets().iter().for_each(|target| target.faults.add(Rule::always("", "", Fault::html(503, "<html>no</html>"))));
    for entry in std::fs::read_dir(site.folder.path()).expect("there") {
        let path = entry.expect("an entry").path();
        if !["toml", "gz"].iter().any(|kept| path.extension().is_some_and(|ending| ending == *kept)) {
            std::fs::remove_file(&path).expect("a file");
        }
    }
}

#[tokio::test]
async fn a_replay_agrees_offline_and_without_secrets_or_differs_by_2_or_3() {
    let (site, file) = recorded(&[]).await;
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    cut_off(&site);
    let asked = site.estate.okta.server.log.len();
    let same = replay(&file, &site.file(), &[]).await.exits(0);
    assert!(same.out.contains("staff at jira: agrees with the recorded plan"), "{}", same.out);
    let other = with(&site, "[notify.ops]\nurl = { env = \"HOOK_URL\" }");
    let text = std::fs::read_to_string(&other).expect("there");
    let token = text.lines().find(|line| line.starts_with("api_token")).expect("it is there");
    let oauth = "oauth = { client_id = \"0oa1\", private_key = { file = \"/nowhere/key.pem\" }, key_id = \"k\" }";
    std::fs::write(&other, text.replace(token, oauth)).expect("written");
    replay(&file, &other, &[]).await.exits(0);
    std::fs::write(&other, text.replace(token, "api_token = \"hunter2-hunter2\"")).expect("written");
    let inline = replay(&file, &other, &[]).await.exits(78);
    assert!(inline.err.contains("must not stand in the configuration") && !inline.err.contains("hunter2"), "{}", inline.err);
    let kept = replay(&file, &with(&site, "[jobs.staff.leavers]\ndisabled = \"keep\""), &[]).await.exits(2);
    assert!(
        kept.out.contains("0 new, 4 gone, 0 judged otherwise") && kept.out.contains("gone - deactivate_user"),
        "{}",
        kept.out
    );
    let strict = with(&site, "[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }");
    let staged = replay(&file, &strict, &[]).await.exits(3);
    assert!(staged.out.contains("4 judged otherwise, 4 newly staged"), "{}", staged.out);
    assert!(
        staged.out.contains("[staged by deactivation-limit]") && staged.out.contains("was  - deactivate_user"),
        "{}",
        staged.out
    );
    let said = replay(&file, &strict, &["--json"]).await.exits(3).json();
    assert_eq!((&said["job"], &said["whole"]), (&"staff".into(), &true.into()));
    let jira = &said["targets"][0];
    assert_eq!((&jira["target"], &jira["agrees"], &jira["newly_staged"]), (&"jira".into(), &false.into(), &4.into()));
    assert_eq!(jira["otherwise"][0]["after"]["verdict"], "staged");
    assert_eq!(site.estate.okta.server.log.len(), asked, "nobody was asked");
    assert!(!site.state().exists(), "and no state was made");
}

#[tokio::test]
async fn a_replay_says_what_it_takes_on_trust_and_what_it_lacks() {
    let (site, file) = recorded(&[]).await;
    let narrow = with(&site, "[jobs.staff.users]\nmember_of = [\"nobody\"]");
    let said = replay(&file, &narrow, &[]).await.exits(3);
    assert!(said.out.contains("note: offline nobody can be asked"), "{}", said.out);
    let renamed = with(&site, "[jobs.staff.groups]\nmap = [{ pattern = \"^(.*)$\", to = [\"okta-$1\"] }]");
    let said = replay(&file, &renamed, &["--limit", "1"]).await;
    assert!(said.out.contains("groups were not read when this was recorded and are taken as missing: okta-"), "{}", said.out);
    assert!(said.out.contains("more; --limit 0 prints all"), "{}", said.out);
    let fewer = std::fs::read_to_string(site.file()).expect("there").replace(", \"bitbucket\"]", "]");
    std::fs::write(site.folder.path().join("changed.toml"), fewer).expect("written");
    let said = replay(&file, &site.folder.path().join("changed.toml"), &[]).await.exits(2);
    assert!(said.out.contains("staff does not serve bitbucket any more"), "{}", said.out);
}

#[tokio::test]
async fn what_cannot_be_recorded_or_replayed_ends_by_its_cause() {
    let (site, file) = recorded(&[]).await;
    let name = file.display().to_string();
    let there = site.run(&["record", "staff", "--out", &name]).await.exits(1);
    assert!(there.err.contains("plan.jsonl.gz") && there.err.contains("--out"), "{}", there.err);
    site.run(&["record", "nobody"]).await.exits(64);
    site.run(&["record"]).await.exits(64);
    let other = std::fs::read_to_string(site.file()).expect("there").replace("[jobs.staff]", "[jobs.crew]");
    std::fs::write(site.folder.path().join("changed.toml"), &other).expect("written");
    let said = replay(&file, &site.folder.path().join("changed.toml"), &[]).await.exits(64);
    assert!(said.err.contains("of job staff") && said.err.contains("crew"), "{}", said.err);
    std::fs::write(site.folder.path().join("changed.toml"), other.replace("schedule", "schedul")).expect("written");
    replay(&file, &site.folder.path().join("changed.toml"), &[]).await.exits(78);
    replay(Path::new("nowhere.gz"), &site.file(), &[]).await.exits(1);
    let said = replay(&site.file(), &site.file(), &[]).await.exits(1);
    assert!(said.err.contains("does not begin as a recording does"), "{}", said.err);
    let whole = std::fs::read(&file).expect("there");
    std::fs::write(&file, &whole[..whole.len() - 40]).expect("written");
    let said = replay(&file, &site.file(), &[]).await.exits(1);
    assert!(said.err.contains("ends too early"), "{}", said.err);
    site.okta_fails(503);
    site.run(&["record", "staff", "--out", "never.gz"]).await.exits(69);
    assert!(!Path::new("never.gz").exists());
}

#[tokio::test]
async fn a_target_that_is_down_is_left_out_and_the_exit_says_so() {
    let site = Site::with(small(), "schedule = \"hourly\"").await;
    site.estate.jira.running.faults.add(Rule::always("", "", Fault::html(503, "<html>maintenance</html>")));
    let file = site.folder.path().join("plan.jsonl.gz");
    let name = file.display().to_string();
    let said = site.run(&["record", "staff", "--out", &name]).await.exits(69);
    assert!(said.err.contains("jira could not") && said.out.contains("confluence: "), "{}{}", said.out, said.err);
    let said = replay(&file, &site.file(), &[]).await.exits(2);
    assert!(said.out.contains("confluence: agrees") && said.out.contains("note: jira is not in the recording"), "{}", said.out);
}

#[tokio::test]
async fn a_recording_with_pseudonyms_can_be_replayed_and_names_nobody() {
    let (site, file) = recorded(&["--pseudonyms"]).await;
    let world = site.estate.okta.world();
    cut_off(&site);
    let strict = with(&site, "[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 1 }");
    let said = replay(&file, &strict, &[]).await.exits(3);
    for person in &world.people {
        assert!(!said.out.contains(person.login.split('@').next().expect("a part")), "{}", said.out);
    }
    replay(&file, &site.file(), &[]).await.exits(0);
}
