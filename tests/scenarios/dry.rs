//! What only looks: plans, and jobs that observe. Neither leaves a trace.

use std::sync::Arc;

use rosterd::contract::journal::{Ended, Journal};
use rosterd::daemon::assemble::{Services, assemble, kit, load};
use rosterd::engine::run::plan;
use rosterd::model::key::JobName;
use rosterd::store::{self, Access};
use rosterd_sim::estate::{Estate, Options};

use super::team::{person, team, team_at_work};
use crate::support::{Scene, Setting, TARGETS, done, ended};

/// Plans with a store that is opened to read, as the command does.
async fn planned(folder: &std::path::Path) -> usize {
    let url = format!("sqlite:{}", folder.join("state.db").display());
    let journal: Arc<dyn Journal> = store::open_for(&url, Access::Read).await.expect("the store opens");
    let kit = kit();
    let checked = load(&folder.join("rosterd.toml"), &kit).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let assembly = assemble(checked.config, &Services::new(journal, kit)).expect("everything can be built");
    let plans = plan(&assembly.worlds[&JobName::from("staff")]).await.expect("the source can be read");
    plans.into_iter().map(|(_, p)| p.expect("the target can be read").judged.admitted.len()).sum()
}

#[tokio::test]
async fn a_plan_before_the_first_run_makes_no_state_file() {
    let estate = Estate::start(team(), Options::default()).await.expect("the simulators start");
    let folder = tempfile::tempdir().expect("a folder");
    let text = estate.configuration(folder.path(), "", "schedule = \"hourly\"").expect("the secrets are written");
    std::fs::write(folder.path().join("rosterd.toml"), text).expect("the configuration is written");
    let files = || -> Vec<_> {
        std::fs::read_dir(folder.path()).expect("it is there").map(|e| e.expect("it can be read").file_name()).collect()
    };
    let before = files().len();
    assert!(planned(folder.path()).await > 0);
    assert_eq!(files().len(), before, "{:?}", files());
    for log in [&estate.jira.running.log, &estate.confluence.running.log, &estate.bitbucket.running.log] {
        assert!(log.writes().is_empty(), "{:?}", log.writes());
    }
}

#[tokio::test]
async fn plans_leave_the_state_file_as_it_is_to_the_byte() {
    let scene = team_at_work().await;
    scene.estate.okta.suspend("eve.ito@example.com");
    scene.estate.okta.add_user(person("Gina", "Park"));
    scene.hush();
    let bytes = || {
        let mut files: Vec<_> =
            std::fs::read_dir(scene.folder.path()).expect("it is there").map(|e| e.expect("it can be read").path()).collect();
        files.sort();
        // The index of the write-ahead log is memory that readers share, not content.
        files.retain(|f| !f.display().to_string().ends_with("-shm"));
        files.into_iter().map(|f| (f.clone(), std::fs::read(f).expect("it can be read"))).collect::<Vec<_>>()
    };
    let before = bytes();
    for _ in 0..2 {
        assert_eq!(planned(scene.folder.path()).await, 6);
    }
    assert!(bytes() == before, "the state is as it was");
    assert_eq!(scene.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_job_that_observes_says_what_it_would_do_and_does_nothing() {
    let mut scene = Scene::new(team(), Setting { job: "mode = \"observe\"".to_owned(), ..Setting::default() }).await;
    scene.open_doors("staff");
    for _ in 0..2 {
        for report in scene.run().await {
            let end = report.record.end.as_ref().expect("the run has ended");
            assert!(end.planned.iter().any(|(kind, n)| kind.word() == "create_user" && *n == 6), "{end:?}");
            assert_eq!((done(end, "create_user"), end.staged), (0, 0), "{end:?}");
        }
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    for target in TARGETS {
        assert!(scene.links(target).await.users.is_empty(), "{target}");
        assert!(scene.ledger(target).await.is_empty(), "{target}");
    }
    scene.reconfigure(|text| text.replace("observe", "apply"));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn the_plan_is_what_happens() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.suspend("eve.ito@example.com");
    okta.rename_user("dan.ng@example.com", "dan.stone@example.com");
    okta.add_user(person("Gina", "Park"));
    okta.add_member("staff", "gina.park@example.com");
    let plans = scene.plan().await;
    for (plan, report) in plans.iter().zip(scene.run().await) {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!(end.plan.as_ref().map(|p| p.as_str()), Some(plan.plan.as_str()), "{}", plan.target);
        let done: u64 = end.done.iter().map(|(_, n)| n).sum();
        assert_eq!(done as usize, plan.changes.len(), "{}", plan.target);
        let changes = scene.journal.changes(&report.record.start.id).await.expect("the store works");
        assert_eq!(changes.len(), plan.changes.len(), "{}", plan.target);
    }
    scene.at_rest().await;
}
