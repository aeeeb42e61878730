//! Undo: what a run did is taken back, nobody is torn to and fro after it, and whatever was changed since stays.

use rosterd::contract::journal::{Ended, RunRecord};
use rosterd::engine::prepare::TargetSide;
use rosterd::engine::run::Report;
use rosterd::engine::undo::{Request, Undo, prepare, undo};
use rosterd::engine::unlink::{Proof, Said, unlink};
use rosterd::model::key::SystemName;
use rosterd::reconcile::pattern::NameSet;
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use super::team::{applied, at_work, crew, person, team_at_work};
use crate::support::{Scene, Setting, TARGETS, end_of, ended, report_of};

fn side<'a>(scene: &'a Scene, target: &str) -> &'a TargetSide {
    let name = SystemName::from(target);
    scene.job().targets.iter().find(|t| t.name == name).expect("a target of the job")
}

/// The run of these that was at a target.
fn run_at(reports: &[Report], target: &str) -> RunRecord {
    report_of(reports, target).record.clone()
}

async fn undone(scene: &Scene, run: &RunRecord, only: &[&str], over_limits: bool) -> Report {
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let only = NameSet::new(only).expect("globs");
    let request = Request { run, changes: &changes, only: &only, actor: "os:ops", over_limits };
    let stop = CancellationToken::new();
    let side = side(scene, run.start.target.as_str());
    undo(scene.job(), side, request, "a mistake", &stop).await.expect("the systems work").expect("nobody else is at work")
}

async fn preview(scene: &Scene, run: &RunRecord) -> Undo {
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let request = Request { run, changes: &changes, only: &NameSet::none(), actor: "os:ops", over_limits: false };
    prepare(scene.job(), side(scene, run.start.target.as_str()), request).await.expect("the systems work")
}

async fn held(scene: &Scene) -> Vec<String> {
    scene.journal.holds().await.expect("the store works").into_iter().map(|h| h.user_name.to_string()).collect()
}

#[tokio::test]
async fn leavers_come_back_with_their_groups_and_the_next_run_leaves_them_alone() {
    let scene = at_work(crew(10), Setting::default()).await;
    let login = "p01.crew@example.com";
    let groups = TARGETS.map(|t| scene.groups(t, "p01.crew"));
    scene.estate.okta.suspend(login);
    let reports = scene.run().await;
    for (target, before) in TARGETS.into_iter().zip(&groups) {
        assert!(!scene.works(target, "p01.crew"), "{target}");
        let report = undone(&scene, &run_at(&reports, target), &[], false).await;
        assert_eq!(ended(&report), Ended::Applied, "{target}: {:?}", report.record.end);
        assert!(scene.works(target, "p01.crew"), "{target}");
        assert_eq!(scene.groups(target, "p01.crew"), *before, "{target}");
    }
    assert_eq!(held(&scene).await, ["p01.crew"; 3]);
    // The source still says that she left: nobody is torn to and fro.
    scene.at_rest().await;
    TARGETS.into_iter().for_each(|target| assert!(scene.works(target, "p01.crew"), "{target}"));
    // The source says something new: the hold is over, and she is managed as before.
    scene.estate.okta.activate(login);
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new());
    scene.estate.okta.suspend(login);
    applied(&scene).await;
    TARGETS.into_iter().for_each(|target| assert!(!scene.works(target, "p01.crew"), "{target}"));
    scene.at_rest().await;
}

#[tokio::test]
async fn a_joiner_is_taken_back_except_for_what_no_call_takes_back() {
    let scene = at_work(crew(5), Setting::default()).await;
    scene.estate.okta.add_user(person("Gina", "Park"));
    scene.estate.okta.add_member("staff", "gina.park@example.com");
    let reports = scene.run().await;
    for target in TARGETS {
        let run = run_at(&reports, target);
        let shown = preview(&scene, &run).await;
        assert!(shown.stays.iter().any(|s| s.contains("the account stays")), "{target}: {:?}", shown.stays);
        assert_eq!(ended(&undone(&scene, &run, &[], false).await), Ended::Applied, "{target}");
        assert!(!scene.works(target, "gina.park"), "{target}");
        assert!(!scene.members(target, "staff").contains("gina.park"), "{target}");
        assert!(scene.key(target, "gina.park").is_some(), "{target}: an account is not deleted");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn what_was_changed_since_is_left_as_it_is() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.rename_user("ada.lovelace@example.com", "ada.king@example.com");
    let reports = scene.run().await;
    let run = run_at(&reports, "jira");
    assert!(scene.key("jira", "ada.king").is_some(), "{:?}", run.end);
    okta.rename_user("ada.king@example.com", "ada.byron@example.com");
    scene.run().await;
    let shown = preview(&scene, &run).await;
    assert!(shown.stays.iter().any(|s| s.contains("was renamed since")), "{:?}", shown.stays);
    assert!(shown.judged.admitted.is_empty(), "{:?}", shown.judged.admitted.plan());
}

#[tokio::test]
async fn a_rename_is_taken_back_and_only_the_named_ones() {
    let scene = team_at_work().await;
    let okta = &scene.estate.okta;
    okta.rename_user("ada.lovelace@example.com", "ada.king@example.com");
    okta.rename_user("bob.stone@example.com", "bob.rock@example.com");
    let reports = scene.run().await;
    let report = undone(&scene, &run_at(&reports, "jira"), &["ada.*"], false).await;
    assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    assert!(scene.key("jira", "ada.lovelace").is_some() && scene.key("jira", "bob.rock").is_some());
    assert_eq!(held(&scene).await, ["ada.king"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_limit_yields_to_the_word_of_a_person_only() {
    let guard = "[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 2 }";
    let scene = at_work(crew(5), Setting { job: guard.to_owned(), ..Setting::default() }).await;
    for n in 0..4 {
        scene.estate.okta.add_user(person(&format!("Gina{n}"), "Park"));
        scene.estate.okta.add_member("staff", &format!("gina{n}.park@example.com"));
    }
    let reports = scene.run().await;
    let run = run_at(&reports, "jira");
    let report = undone(&scene, &run, &[], false).await;
    assert_eq!(ended(&report), Ended::Partial, "{:?}", report.record.end);
    let end = report.record.end.expect("it has ended");
    assert!(end.messages.iter().any(|m| m.contains("--over-limits")), "{:?}", end.messages);
    assert!(scene.works("jira", "gina0.park"));
    undone(&scene, &run, &[], true).await;
    assert!(!scene.works("jira", "gina0.park"));
    // An undo leaves the day its limit.
    scene.estate.okta.suspend("p00.crew@example.com");
    let reports = scene.run().await;
    assert_eq!(end_of(&reports, "jira").ended, Ended::Applied);
}

#[tokio::test]
async fn undoing_twice_does_nothing_the_second_time() {
    let scene = at_work(crew(8), Setting::default()).await;
    scene.estate.okta.remove_member("staff", "p02.crew@example.com");
    let reports = scene.run().await;
    for target in TARGETS {
        let run = run_at(&reports, target);
        assert_eq!(ended(&undone(&scene, &run, &[], false).await), Ended::Applied, "{target}");
        assert!(scene.members(target, "staff").contains("p02.crew"), "{target}");
        assert_eq!(ended(&undone(&scene, &run, &[], false).await), Ended::Converged, "{target}");
    }
    scene.at_rest().await;
}

#[tokio::test]
async fn an_account_that_was_let_go_is_left_alone() {
    let scene = at_work(crew(8), Setting::default()).await;
    scene.estate.okta.suspend("p02.crew@example.com");
    let reports = scene.run().await;
    let run = run_at(&reports, "jira");
    let source = scene.estate.okta.user_id("p02.crew@example.com");
    let side = side(&scene, "jira");
    let said = Said { who: &source, proof: Proof::Demanded, actor: "os:ops" };
    unlink(scene.job(), side, said, &CancellationToken::new()).await.expect("she has left");
    let shown = preview(&scene, &run).await;
    assert!(shown.judged.admitted.is_empty(), "{:?}", shown.judged.admitted.plan());
    assert!(shown.stays.iter().any(|s| s.contains("no longer linked")), "{:?}", shown.stays);
}

#[tokio::test]
async fn a_credential_that_an_undo_saw_refused_is_not_tried_again() {
    let scene = at_work(crew(8), Setting::default()).await;
    scene.estate.okta.suspend("p02.crew@example.com");
    let reports = scene.run().await;
    let run = run_at(&reports, "jira");
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let only = NameSet::none();
    let request = Request { run: &run, changes: &changes, only: &only, actor: "os:ops", over_limits: false };
    let (side, stop) = (side(&scene, "jira"), CancellationToken::new());
    scene.estate.jira.gate.revoke();
    undo(scene.job(), side, request, "a mistake", &stop).await.expect_err("refused");
    let rests = scene.journal.rests().await.expect("the store works");
    assert_eq!(rests.iter().map(|r| (r.system.as_str(), r.until)).collect::<Vec<_>>(), [("jira", None)]);
    let asked = scene.log("jira").len();
    let why = undo(scene.job(), side, request, "a mistake", &stop).await.expect("nothing is asked").expect_err("it rests");
    assert!(why.contains("rosterd release jira"), "{why}");
    assert_eq!(scene.log("jira").len(), asked);
    assert!(held(&scene).await.is_empty(), "nobody is held for what was not done");
}

#[tokio::test]
async fn a_hole_in_the_listing_ends_no_hold() {
    let scene = at_work(crew(10), Setting::default()).await;
    let okta = &scene.estate.okta;
    okta.suspend("p01.crew@example.com");
    let reports = scene.run().await;
    undone(&scene, &run_at(&reports, "jira"), &[], false).await;
    scene.run().await;
    let id = okta.user_id("p01.crew@example.com");
    okta.delete_user("p01.crew@example.com");
    okta.server.faults.add(Rule::always("GET", &format!("/api/v1/users/{id}"), Fault::json(500, "{}")));
    scene.run().await;
    assert_eq!(held(&scene).await, ["p01.crew"], "no answer is nothing new");
    okta.server.faults.clear();
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new(), "that the user is gone is");
    assert!(!scene.works("jira", "p01.crew"));
}

#[tokio::test]
async fn a_stranger_who_is_put_back_is_not_managed_for_it() {
    let job = "[jobs.staff.groups]\nexclusive = [\"staff\"]".to_owned();
    let mut scene = at_work(crew(6), Setting { job, ..Setting::default() }).await;
    {
        let mut jira = scene.directory("jira");
        jira.add_user("guest", "guest@example.com", "Guest").expect("a free name");
        jira.join("staff", "guest").expect("both are there");
    }
    let owned = scene.ledger("jira").await;
    let reports = scene.run().await;
    assert!(!scene.members("jira", "staff").contains("guest"));
    undone(&scene, &run_at(&reports, "jira"), &[], false).await;
    assert!(scene.members("jira", "staff").contains("guest"));
    assert_eq!(scene.ledger("jira").await, owned);
    scene.reconfigure(|text| text.replace("exclusive = [\"staff\"]", "exclusive = []"));
    scene.at_rest().await;
}

/// The wishes of the holds, as they are kept.
async fn wishes(scene: &Scene) -> Vec<String> {
    scene.journal.holds().await.expect("the store works").into_iter().filter_map(|hold| hold.wish).collect()
}

/// A run over a mistake at the source: somebody is taken out of a group, and a person takes that back.
async fn taken_out_and_put_back(scene: &Scene, login: &str) -> Vec<Report> {
    scene.estate.okta.remove_member("staff", login);
    let reports = scene.run().await;
    let mut undos = Vec::new();
    for target in TARGETS {
        undos.push(undone(scene, &run_at(&reports, target), &[], false).await);
    }
    undos
}

#[tokio::test]
async fn whoever_is_disabled_before_the_first_run_after_an_undo_keeps_no_access_by_it() {
    let scene = at_work(crew(10), Setting::default()).await;
    taken_out_and_put_back(&scene, "p01.crew@example.com").await;
    assert_eq!(held(&scene).await, ["p01.crew"; 3]);
    scene.estate.okta.suspend("p01.crew@example.com");
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new(), "the source has news since the undo");
    TARGETS.into_iter().for_each(|target| assert!(!scene.works(target, "p01.crew"), "{target}"));
    scene.at_rest().await;
}

#[tokio::test]
async fn whoever_was_disabled_before_the_undo_of_something_else_keeps_no_access_by_it() {
    let scene = at_work(crew(10), Setting::default()).await;
    scene.estate.okta.remove_member("staff", "p01.crew@example.com");
    let reports = scene.run().await;
    scene.estate.okta.suspend("p01.crew@example.com");
    let run = run_at(&reports, "jira");
    let told = |stays: &[String]| stays.iter().any(|text| text.starts_with("p01.crew: ") && text.contains("is disabled by now"));
    let report = undone(&scene, &run, &[], false).await;
    assert!(told(&report.record.end.expect("it has ended").messages));
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new());
    assert!(!scene.works("jira", "p01.crew"));
}

#[tokio::test]
async fn an_undo_goes_on_without_the_source_and_says_of_whom_it_knows_nothing() {
    let scene = at_work(crew(10), Setting::default()).await;
    let okta = &scene.estate.okta;
    okta.remove_member("staff", "p01.crew@example.com");
    okta.remove_member("staff", "p02.crew@example.com");
    let reports = scene.run().await;
    let id = okta.user_id("p01.crew@example.com");
    okta.server.faults.add(Rule::always("GET", &format!("/api/v1/users/{id}"), Fault::json(500, "{}")));
    let run = run_at(&reports, "jira");
    let told = |texts: &[String]| {
        let of = |name: &str| texts.iter().any(|text| text.starts_with(name) && text.contains("is not known yet"));
        (of("p01.crew: "), of("p02.crew: "))
    };
    let before = okta.server.log.len();
    preview(&scene, &run).await;
    assert_eq!(okta.server.log.len(), before, "what is shown does not wait for the source");
    let report = undone(&scene, &run, &[], false).await;
    assert_eq!(ended(&report), Ended::Applied, "{:?}", report.record.end);
    assert!(scene.members("jira", "staff").contains("p01.crew"));
    assert_eq!(told(&report.record.end.expect("it has ended").messages), (true, false));
    okta.server.faults.clear();
    // An open wish takes what the undone run acted on, and nothing else.
    okta.suspend("p01.crew@example.com");
    scene.run().await;
    assert_eq!(held(&scene).await, ["p02.crew"]);
    assert!(!scene.works("jira", "p01.crew"));
    scene.at_rest().await;
}

#[tokio::test]
async fn an_undone_deactivation_is_held_though_the_source_could_not_be_asked() {
    let scene = at_work(crew(10), Setting::default()).await;
    let okta = &scene.estate.okta;
    okta.suspend("p01.crew@example.com");
    let reports = scene.run().await;
    let id = okta.user_id("p01.crew@example.com");
    okta.server.faults.add(Rule::always("GET", &format!("/api/v1/users/{id}"), Fault::json(500, "{}")));
    undone(&scene, &run_at(&reports, "jira"), &[], false).await;
    okta.server.faults.clear();
    scene.at_rest().await;
    assert_eq!(held(&scene).await, ["p01.crew"], "it is the very deactivation that was undone");
    assert!(scene.works("jira", "p01.crew"));
    okta.delete_user("p01.crew@example.com");
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new(), "gone is news after disabled");
    assert!(!scene.works("jira", "p01.crew"));
}

#[tokio::test]
async fn a_source_that_refuses_an_undo_s_question_is_not_asked_again() {
    let guard =
        "[jobs.staff.guard]\nmembership_removals = { share = 1.0, floor = 20 }\nper_group_removals = { share = 1.0, floor = 20 }";
    let scene = at_work(crew(30), Setting { job: guard.to_owned(), ..Setting::default() }).await;
    let okta = &scene.estate.okta;
    (0..9).for_each(|n| okta.remove_member("staff", &format!("p0{n}.crew@example.com")));
    let reports = scene.run().await;
    okta.server.faults.add(Rule::always("GET", "/api/v1/users/", Fault::json(401, "{}")));
    let run = run_at(&reports, "jira");
    let before = okta.server.log.len();
    assert_eq!(ended(&undone(&scene, &run, &[], true).await), Ended::Applied);
    assert!(okta.server.log.len() - before <= 4, "those that were under way, and no other");
    let rests = scene.journal.rests().await.expect("the store works");
    assert_eq!(rests.iter().map(|r| (r.system.as_str(), r.until)).collect::<Vec<_>>(), [("okta", None)]);
    let before = okta.server.log.len();
    undone(&scene, &run_at(&reports, "confluence"), &[], true).await;
    assert_eq!(okta.server.log.len(), before, "it rests");
}

#[tokio::test]
async fn an_edit_of_the_configuration_ends_no_hold() {
    let mut scene = at_work(crew(10), Setting::default()).await;
    taken_out_and_put_back(&scene, "p01.crew@example.com").await;
    let before = wishes(&scene).await;
    assert_eq!(before.len(), 3);
    scene.at_rest().await;
    assert_eq!(wishes(&scene).await, before, "a run over everybody reads the same as the undo, which asked about one");
    scene.reconfigure(|text| format!("{text}\n[jobs.staff.groups.default]\nall_users = [\"everyone\"]\n"));
    scene.at_rest().await;
    assert_eq!(held(&scene).await, ["p01.crew"; 3], "the source says what it said");
    TARGETS.into_iter().for_each(|target| assert!(scene.members(target, "staff").contains("p01.crew"), "{target}"));
    assert_ne!(wishes(&scene).await, before, "by these rules it is another wish");
    // By the same rules again, what the source says counts as before.
    scene.estate.okta.set_email("p01.crew@example.com", Some("other@example.com"));
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_is_disabled_while_the_configuration_is_edited_keeps_no_access() {
    let mut scene = at_work(crew(10), Setting::default()).await;
    taken_out_and_put_back(&scene, "p01.crew@example.com").await;
    scene.run().await;
    scene.estate.okta.suspend("p01.crew@example.com");
    scene.reconfigure(|text| format!("{text}\n[jobs.staff.groups.default]\nall_users = [\"everyone\"]\n"));
    scene.run().await;
    assert_eq!(held(&scene).await, Vec::<String>::new());
    TARGETS.into_iter().for_each(|target| assert!(!scene.works(target, "p01.crew"), "{target}"));
}

#[tokio::test]
async fn nothing_is_taken_back_where_the_job_only_looks() {
    let mut scene = at_work(crew(8), Setting::default()).await;
    scene.estate.okta.suspend("p02.crew@example.com");
    let reports = scene.run().await;
    let run = run_at(&reports, "jira");
    scene.reconfigure(|text| text.replace("[jobs.staff]", "[jobs.staff]\nobserve = [\"jira\"]"));
    scene.hush();
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let only = NameSet::none();
    let request = Request { run: &run, changes: &changes, only: &only, actor: "os:ops", over_limits: false };
    let undone = undo(scene.job(), side(&scene, "jira"), request, "a mistake", &CancellationToken::new()).await;
    let why = undone.expect("nothing is asked").expect_err("it is only observed");
    assert!(why.contains("only observed"), "{why}");
    assert_eq!(scene.log("jira").len(), 0);
    assert!(held(&scene).await.is_empty() && !scene.works("jira", "p02.crew"));
}
