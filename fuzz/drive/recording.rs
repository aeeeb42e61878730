//! The file that `replay` reads: it is a whole recording or refused, and any whole recording can be planned with.
//!
//! An input is the file, packed or not. Where all that is wrong with it is the number of lines that its last one tells, that is
//! put right: no mutation counts lines, and a file that is refused for it tries nothing else.

use std::sync::LazyLock;

use rosterd::config::{Layers, check};
use rosterd::daemon::assemble::{build_job, checks, kit_of_stand_ins, natures};
use rosterd::engine::policy::Job;
use rosterd::engine::recording::replay::replay;
use rosterd::engine::recording::{Recording, read, write};
use rosterd::reconcile::compare::compare;
use rosterd::reconcile::render::view;

const RULES: &str = r#"
[sources.okta]
kind      = "okta"
domain    = "acme.okta.com"
api_token = { env = "OKTA" }

[targets.jira]
kind = "jira"
url  = "https://jira.example.com"
auth = { token = { env = "JIRA" } }

[jobs.staff]
source   = "okta"
targets  = ["jira"]
schedule = "hourly"

[jobs.staff.users]
filter = "profile.userType != 'contractor'"

[jobs.staff.users.map]
username     = "login | before('@') | lower"
email        = "email"
display_name = "full_name"

[jobs.staff.leavers]
disabled     = "deactivate"
out_of_scope = "remove_groups"
deleted      = "delete"
delete_after = "90d"
"#;

static JOB: LazyLock<Job> = LazyLock::new(|| {
    let kit = kit_of_stand_ins();
    let layers = Layers::from_texts(&[("rosterd.toml", RULES)], &[]).expect("layers");
    let checked = check(&layers, &checks(&kit)).expect("rules");
    let (name, job) = checked.config.jobs.first_key_value().expect("a job");
    build_job(name, job).expect("a job")
});

/// The recording in a file, with the last line as it would have to be.
pub fn opened(data: &[u8]) -> Option<Recording> {
    read(data).ok().or_else(|| {
        let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let lines = lines.split_last().filter(|(last, _)| last.starts_with(b"{\"end\"")).map_or(&lines[..], |(_, rest)| rest);
        let mut whole = lines.join(&b'\n');
        whole.extend(format!("\n{{\"end\":{}}}\n", lines.len()).bytes());
        read(&whole[..]).ok()
    })
}

/// Reads the file, writes it again, and plans with it.
pub fn run(data: &[u8]) {
    let Some(recording) = opened(data) else { return };
    let mut again = Vec::new();
    write(&recording, &mut again).expect("memory takes all");
    let same = read(again.as_slice()).expect("what was written is read");
    assert_eq!(format!("{recording:?}"), format!("{same:?}"), "writing changes what was read");
    let natures = natures(recording.targets.iter().map(|target| (&target.name, &target.kind)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let replayed = runtime.block_on(replay(&recording, &JOB, &natures)).expect("the played systems answer");
    for (recorded, played) in recording.targets.iter().zip(&replayed.targets) {
        let _ = compare(&recorded.plan, &view(&played.prepared.judged));
    }
}
