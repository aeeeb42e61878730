//! Swaps and circles of user names that break off: nobody is left under a name that nobody gave them.

use chrono::TimeDelta;
use rosterd::contract::journal::{Ended, RunEnd};
use rosterd_sim::harness::{Fault, Rule, Switchboard};

use super::team::team_at_work;
use crate::support::Scene;

/// The targets that rename, each with the requests that do it.
const RENAMES: [(&str, &str, &str); 2] = [("jira", "PUT", "/rest/api/2/user"), ("bitbucket", "POST", "/admin/users/rename")];

fn faults<'a>(scene: &'a Scene, target: &str) -> &'a Switchboard {
    if target == "jira" { &scene.estate.jira.running.faults } else { &scene.estate.bitbucket.running.faults }
}

/// The team at work under a job that does not wait within a run.
async fn impatient() -> Scene {
    let mut scene = team_at_work().await;
    scene.reconfigure(|mut text| {
        for table in ["targets.jira", "targets.bitbucket"] {
            let head = format!("[{table}]\n");
            text = text.replacen(&head, &format!("{head}http = {{ max_wait = \"0s\", attempts = 1 }}\n"), 1);
        }
        text
    });
    scene
}

/// Gives each of these the name of the next, and the last one that of the first.
fn pass_on(scene: &Scene, logins: &[&str]) {
    let okta = &scene.estate.okta;
    let address = |login: &str| format!("{login}@example.com");
    for login in logins {
        okta.rename_user(&address(login), &address(&format!("between.{login}")));
    }
    for (at, login) in logins.iter().enumerate() {
        okta.rename_user(&address(&format!("between.{login}")), &address(logins[(at + 1) % logins.len()]));
    }
}

fn keys(scene: &Scene, target: &str, names: &[&str]) -> Vec<Option<String>> {
    names.iter().map(|name| scene.key(target, name)).collect()
}

#[track_caller]
fn nobody_is_parked(scene: &Scene, target: &str, end: &RunEnd) {
    let parked: Vec<String> =
        scene.directory(target).users().map(|u| u.name().to_owned()).filter(|n| n.contains("rosterd-moving")).collect();
    assert_eq!(parked, Vec::<String>::new(), "{target}: {end:?}");
}

/// Runs once more when everybody's time has come, and demands that each has the name that was wanted.
async fn heals(scene: &Scene, target: &str, wanted: &[&str], before: &[Option<String>]) {
    faults(scene, target).clear();
    scene.clock.advance(TimeDelta::days(2));
    scene.run().await;
    assert_eq!(keys(scene, target, wanted), before, "{target}");
    scene.at_rest().await;
    assert_eq!(scene.journal.retries().await.expect("the store works"), []);
}

#[tokio::test]
async fn a_swap_of_which_the_middle_fails_is_taken_back_within_the_run() {
    for (target, method, path) in RENAMES {
        for fault in [Fault::json(400, "{}"), Fault::json(503, ""), Fault::ResetBefore] {
            let scene = impatient().await;
            let names = ["dan.ng", "eve.ito"];
            let before = keys(&scene, target, &names);
            pass_on(&scene, &names);
            faults(&scene, target).add(Rule::once(method, path, fault.clone()).after(1));
            let end = scene.run_for(target).await;
            assert_eq!(end.ended, Ended::Partial, "{end:?}");
            nobody_is_parked(&scene, target, &end);
            assert_eq!(keys(&scene, target, &names), before, "{target}: {fault:?}");
            // Both are tried again soon, and what was done is in the journal.
            let retries = scene.journal.retries().await.expect("the store works");
            assert_eq!(retries.iter().filter(|r| r.target.as_str() == target).count(), 2, "{retries:?}");
            assert!(retries.iter().all(|r| r.not_before - end.at < TimeDelta::minutes(1)), "{retries:?}");
            heals(&scene, target, &["eve.ito", "dan.ng"], &before).await;
        }
    }
}

#[tokio::test]
async fn a_swap_of_which_the_last_step_fails_for_a_moment_is_finished_within_the_run() {
    for (target, method, path) in RENAMES {
        let scene = impatient().await;
        let before = keys(&scene, target, &["dan.ng", "eve.ito"]);
        pass_on(&scene, &["dan.ng", "eve.ito"]);
        faults(&scene, target).add(Rule::once(method, path, Fault::json(503, "")).after(2));
        let end = scene.run_for(target).await;
        assert_eq!((end.ended, end.failed), (Ended::Applied, 0), "{end:?}");
        assert_eq!(keys(&scene, target, &["eve.ito", "dan.ng"]), before, "{target}");
        scene.at_rest().await;
    }
}

#[tokio::test]
async fn a_swap_of_which_the_last_step_is_refused_is_taken_back_whole() {
    for (target, method, path) in RENAMES {
        let scene = impatient().await;
        let names = ["dan.ng", "eve.ito"];
        let before = keys(&scene, target, &names);
        pass_on(&scene, &names);
        faults(&scene, target).add(Rule::once(method, path, Fault::json(400, "{}")).after(2));
        let end = scene.run_for(target).await;
        assert_eq!(end.ended, Ended::Partial, "{end:?}");
        nobody_is_parked(&scene, target, &end);
        assert_eq!(keys(&scene, target, &names), before, "{target}: {end:?}");
        heals(&scene, target, &["eve.ito", "dan.ng"], &before).await;
    }
}

#[tokio::test]
async fn a_circle_that_breaks_off_gives_everybody_the_former_name() {
    for (target, method, path) in RENAMES {
        for nth in 1..=3 {
            let scene = impatient().await;
            let names = ["ada.lovelace", "dan.ng", "eve.ito"];
            let before = keys(&scene, target, &names);
            pass_on(&scene, &names);
            faults(&scene, target).add(Rule::once(method, path, Fault::json(400, "{}")).after(nth));
            let end = scene.run_for(target).await;
            assert_eq!(end.ended, Ended::Partial, "{end:?}");
            nobody_is_parked(&scene, target, &end);
            assert_eq!(keys(&scene, target, &names), before, "{target}, step {nth}: {end:?}");
            heals(&scene, target, &["dan.ng", "eve.ito", "ada.lovelace"], &before).await;
        }
    }
}
