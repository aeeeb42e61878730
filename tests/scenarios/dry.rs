//! What only looks: plans, and jobs that observe. Neither leaves a trace.

use std::sync::Arc;

use rosterd::contract::journal::{Ended, Journal};
use rosterd::daemon::assemble::{Services, assemble, kit, load};
use rosterd::engine::run::plan;
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::key::JobName;
use rosterd::store::{self, Access};
use rosterd_sim::estate::{Estate, Options};
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use super::team::{person, team, team_at_work, team_under};
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
async fn a_target_that_is_observed_is_told_of_and_left_alone_while_the_others_are_served() {
    let mut scene = Scene::new(team(), Setting { job: "observe = [\"confluence\"]".to_owned(), ..Setting::default() }).await;
    scene.open_doors("staff");
    for _ in 0..2 {
        for report in scene.run().await {
            let end = report.record.end.as_ref().expect("the run has ended");
            if report.record.start.target.as_str() == "confluence" {
                assert_eq!(end.ended, Ended::Observed);
                assert!(end.planned.iter().any(|(kind, n)| kind.word() == "create_user" && *n == 6), "{end:?}");
                assert!(end.messages.iter().any(|m| m.contains("only observed")), "{end:?}");
            } else {
                assert!(matches!(end.ended, Ended::Applied | Ended::Converged), "{end:?}");
            }
        }
    }
    assert_eq!(scene.log("confluence").writes().len(), 0);
    assert!(scene.links("confluence").await.users.is_empty() && scene.ledger("confluence").await.is_empty());
    assert!(["jira", "bitbucket"].iter().all(|target| scene.works(target, "ada.lovelace")));
    scene.reconfigure(|text| text.replace("observe = [\"confluence\"]", ""));
    assert_eq!(scene.run_for("confluence").await.ended, Ended::Applied);
    scene.at_rest().await;
}

#[tokio::test]
async fn what_was_queued_while_a_target_was_served_is_not_done_once_it_is_only_observed() {
    let mut scene = team_at_work().await;
    scene.estate.okta.add_user(person("Gina", "Park"));
    let create = Rule::always("POST", "/rest/api/2/user", Fault::json(503, "{}"));
    scene.estate.jira.running.faults.add(create);
    assert_eq!(scene.run_for("jira").await.ended, Ended::Partial);
    scene.estate.jira.running.faults.clear();
    let due = scene.journal.retries().await.expect("the store works");
    assert!(due.len() == 1 && due[0].target.as_str() == "jira", "{due:?}");
    scene.reconfigure(|text| text.replace("schedule = \"hourly\"", "schedule = \"hourly\"\nobserve = [\"jira\"]"));
    scene.hush();
    scene.clock.advance(chrono::TimeDelta::hours(1));
    let side = scene.job().targets.iter().find(|side| side.name.as_str() == "jira").expect("a target");
    let pass = retry_subjects(scene.job(), side, &due, &CancellationToken::new()).await.expect("the store works");
    assert!(pass.end.is_none() && !pass.needs_whole, "{pass:?}");
    assert_eq!(scene.writes(), Vec::<String>::new());
    assert!(scene.journal.retries().await.expect("the store works").is_empty(), "and it is not asked for again");
    scene.journal.enqueue(&due).await.expect("the store works");
    scene.run().await;
    assert!(scene.journal.retries().await.expect("the store works").is_empty(), "nor after a run that only looks");
    assert_eq!(scene.writes(), Vec::<String>::new());
    scene.reconfigure(|text| text.replace("observe = [\"jira\"]", ""));
    scene.at_rest().await;
    assert!(scene.key("jira", "gina.park").is_some(), "a whole run finds her");
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

/// The changes of a plan for a target with this verdict, each as `op user: why it is withheld`.
async fn shown(scene: &Scene, target: &str, verdict: &str) -> Vec<String> {
    let plans = scene.plan().await;
    let plan = plans.iter().find(|p| p.target == target).expect("the target was planned");
    let said = |c: &rosterd::reconcile::render::ChangeView| {
        format!("{} {}: {}", c.op, c.user.as_deref().unwrap_or_default(), c.withheld.as_deref().unwrap_or_default())
    };
    plan.changes.iter().filter(|c| c.verdict == verdict).map(said).collect()
}

#[tokio::test]
async fn a_plan_does_not_show_a_member_of_a_protected_group_as_leaving() {
    let scene = team_under("[jobs.staff.guard]\nprotect_groups = [\"vault\"]").await;
    {
        let mut directory = scene.directory("bitbucket");
        directory.add_group("vault").expect("a free name");
        directory.join("vault", "eve.ito").expect("both are there");
    }
    scene.estate.okta.suspend("eve.ito@example.com");
    let withheld = shown(&scene, "bitbucket", "withheld").await;
    assert!(withheld.len() == 1 && withheld[0].starts_with("deactivate_user eve.ito: ") && withheld[0].contains("vault"));
    assert_eq!(shown(&scene, "bitbucket", "admitted").await, Vec::<String>::new());
    assert_eq!(shown(&scene, "jira", "admitted").await, ["deactivate_user eve.ito: "]);
    let end = scene.run_for("bitbucket").await;
    assert!(done(&end, "deactivate_user") == 0 && scene.works("bitbucket", "eve.ito"), "{end:?}");
}

#[tokio::test]
async fn a_plan_asks_the_source_what_a_run_would_ask() {
    let mut scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.suspend("eve.ito@example.com");
    okta.remove_member("sales", "dan.ng@example.com");
    let silent = Rule::always("GET", &format!("/api/v1/users/{}", okta.user_id("eve.ito@example.com")), Fault::json(503, ""));
    okta.server.faults.add(silent);
    scene
        .reconfigure(|text| text.replacen("[sources.okta]\n", "[sources.okta]\nhttp = { max_wait = \"0s\", attempts = 1 }\n", 1));
    for target in TARGETS {
        let withheld = shown(&scene, target, "withheld").await;
        let [eve] = &withheld[..] else { panic!("{target}: {withheld:?}") };
        assert!(eve.starts_with("deactivate_user eve.ito: the source gave no definite answer"), "{target}: {eve}");
        assert_eq!(shown(&scene, target, "admitted").await, ["remove_member dan.ng: "], "{target}");
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    // What is shown is what is done, and a job that observes says the same.
    scene.reconfigure(|text| text.replace("schedule = \"hourly\"", "schedule = \"hourly\"\nmode = \"observe\""));
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert!(end.messages.iter().any(|m| m.contains("a removal is withheld")), "{end:?}");
    }
    scene.reconfigure(|text| text.replace("mode = \"observe\"", ""));
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((done(end, "deactivate_user"), done(end, "remove_member")), (0, 1), "{end:?}");
    }
}

#[tokio::test]
async fn a_plan_shows_who_waits_on_the_retry_queue() {
    let scene = team_at_work().await;
    scene.estate.okta.add_user(person("Gina", "Park"));
    let create = Rule::always("POST", "/rest/api/2/user", Fault::json(400, r#"{"errorMessages":["no"],"errors":{}}"#));
    scene.estate.jira.running.faults.add(create);
    assert_eq!(scene.run_for("jira").await.ended, Ended::Partial);
    let withheld = shown(&scene, "jira", "withheld").await;
    assert!(withheld.len() == 1 && withheld[0].starts_with("create_user gina.park: is on the retry queue until"), "{withheld:?}");
    scene.hush();
    scene.run().await;
    assert_eq!(scene.writes(), Vec::<String>::new());
}
