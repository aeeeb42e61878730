//! Explain and drift: what is told about one user is what the next run does, and what somebody did by hand is seen.

use rosterd::contract::clock::Clock;
use rosterd::contract::journal::{Ended, RunQuery};
use rosterd::engine::drift::{Adoption, adopt, drift};
use rosterd::engine::explain::{AtTarget, Explanation, GivenBy, explain, whom};
use rosterd::engine::run::read_source;
use rosterd::engine::undo::{Request, undo};
use rosterd::model::desired::Standing;
use rosterd::model::key::SystemName;
use rosterd::model::plan::FindingKind;
use rosterd::reconcile::drift::{Drift, DriftKind};
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::render::line;
use rosterd_sim::harness::{Fault, Rule};
use tokio_util::sync::CancellationToken;

use super::team::{at_work, crew, person, team, team_at_work};
use crate::support::{Scene, Setting, TARGETS, creating_mona, ended, refusal, report_of};

async fn explained(scene: &Scene, who: &str) -> Explanation {
    let source = whom(scene.job(), who).await.expect("the systems work").unwrap_or_else(|| panic!("{who} is known"));
    explain(scene.job(), &source).await.expect("the systems work")
}

/// What a run would write about each user, in words, as `plan` shows it.
async fn planned(scene: &Scene, target: &str, source: &str) -> Vec<String> {
    let plans = scene.plan().await;
    let plan = plans.iter().find(|p| p.target == target).expect("a target of the job");
    plan.changes.iter().filter(|c| c.source.as_deref() == Some(source)).map(line).collect()
}

/// A run leaves groups in a read-only directory as they are, so nobody may be promised one.
#[tokio::test]
async fn nobody_is_promised_a_group_that_cannot_be_written() {
    let scene = team_at_work().await;
    assert_eq!(scene.directory("bitbucket").leave("sales", "eve.ito"), Ok(true));
    let crowd = r#"[{"name": "Crowd", "type": "Crowd", "description": "Read Only", "active": true}]"#;
    let faults = &scene.estate.bitbucket.running.faults;
    faults.add(Rule::always("GET", "/admin/user-directories", Fault::json(200, crowd)));
    let told = explained(&scene, "eve.ito").await;
    let planned = planned(&scene, "bitbucket", told.source.as_str()).await;
    let side = told.targets.iter().find(|side| side.target.as_str() == "bitbucket").expect("a target of the job");
    let plan = side.plan.as_ref().expect("nothing else is in the way");
    assert_eq!((planned, plan.changes.iter().map(line).collect::<Vec<_>>()), (vec![], vec![]));
    assert!(plan.findings.iter().any(|finding| finding.kind == FindingKind::ReadOnly), "{:?}", plan.findings);
}

#[tokio::test]
async fn what_is_explained_is_what_the_next_run_does() {
    let scene = at_work(crew(16), Setting::default()).await;
    let okta = &scene.estate.okta;
    let logins: Vec<String> = (0..16).map(|at| format!("p{at:02}.crew@example.com")).collect();
    okta.add_user(person("Gina", "Park"));
    okta.suspend(&logins[0]);
    okta.deactivate(&logins[1]);
    okta.delete_user(&logins[2]);
    okta.set_email(&logins[3], Some("elsewhere@example.com"));
    okta.rename_user(&logins[4], "entirely.new@example.com");
    okta.remove_member("staff", &logins[5]);
    okta.remove_member("staff", &logins[6]);
    okta.activate(&logins[0]);
    okta.suspend(&logins[7]);
    let mut compared = 0;
    for (at, login) in logins.iter().enumerate() {
        let name = login.split('@').next().expect("a login");
        let told = explained(&scene, name).await;
        for side in &told.targets {
            assert_eq!(side.error, None, "{login} at {}", side.target);
            let Some(plan) = &side.plan else {
                assert_eq!(at, 4, "only the renamed one takes a name that a whole run has to grant");
                continue;
            };
            let told_lines: Vec<String> = plan.changes.iter().map(line).collect();
            assert_eq!(
                told_lines,
                planned(&scene, side.target.as_str(), told.source.as_str()).await,
                "{login} at {}",
                side.target
            );
            compared += plan.changes.len();
        }
    }
    assert!(compared >= 12, "there was something to compare: {compared}");
}

#[tokio::test]
async fn a_user_is_found_under_every_name() {
    let scene = team_at_work().await;
    let id = scene.estate.okta.user_id("ada.lovelace@example.com");
    let key = scene.key("jira", "ada.lovelace").expect("she has an account");
    scene.estate.okta.add_user(person("Gina", "Park"));
    let gina = scene.estate.okta.user_id("gina.park@example.com");
    for (text, expected) in
        [("ada.lovelace", &id), ("ADA.Lovelace@example.com", &id), (&*id, &id), (&*key, &id), ("gina.park@example.com", &gina)]
    {
        let found = whom(scene.job(), text).await.expect("the systems work").map(|k| k.to_string());
        assert_eq!(found.as_ref(), Some(expected), "{text}");
    }
    assert_eq!(whom(scene.job(), "nobody@example.com").await.expect("the systems work"), None);
}

#[tokio::test]
async fn an_explanation_tells_facts_rules_groups_and_what_remains() {
    let scene = team_at_work().await;
    scene.estate.okta.suspend("ada.lovelace@example.com");
    let told = explained(&scene, "ada.lovelace").await;
    let reading = told.reading.as_ref().expect("the source has her");
    assert_eq!(reading.standing, Standing::Disabled);
    assert!(reading.rules.iter().any(|r| r.rule == "status" && !r.passes), "{:?}", reading.rules);
    assert!(reading.groups.iter().any(|g| g.group == "engineering" && g.targets == ["engineering"]), "{:?}", reading.groups);
    let jira = told.targets.iter().find(|t| t.target.as_str() == "jira").expect("a target");
    assert!(jira.groups.iter().any(|(group, owned)| group == "staff" && *owned), "{:?}", jira.groups);
    assert!(jira.account.as_ref().is_some_and(|a| a.active) && !jira.history.is_empty());
    let verdicts: Vec<_> = jira.plan.iter().flat_map(|p| &p.changes).map(|c| (&*c.op, &*c.verdict)).collect();
    assert!(verdicts.contains(&("deactivate_user", "admitted")), "{verdicts:?}");
    scene.hush();
    explained(&scene, "ada.lovelace").await;
    assert_eq!(scene.writes(), Vec::<String>::new(), "nothing is written");
}

async fn drift_at(scene: &Scene, target: &str) -> Vec<Drift> {
    let reading = read_source(scene.job()).await.expect("the source works");
    let name = SystemName::from(target);
    let side = scene.job().targets.iter().find(|t| t.name == name).expect("a target of the job");
    let found = drift(scene.job(), side, &reading).await.expect("the target works");
    assert_eq!(found.blind, None);
    found.drift
}

async fn adopt_at(scene: &Scene, target: &str, names: &str) -> Vec<Drift> {
    tried(scene, target, names).await.expect("nobody else is at work")
}

/// Takes over what is named at a target; `Err` with why nothing is.
async fn tried(scene: &Scene, target: &str, names: &str) -> Result<Vec<Drift>, String> {
    let reading = read_source(scene.job()).await.expect("the source works");
    let side = scene.job().targets.iter().find(|t| t.name.as_str() == target).expect("a target of the job");
    let names = NameSet::new(&[names]).expect("a glob");
    let adoption = Adoption { names: &names, actor: "os:ops", reason: "tidying up" };
    adopt(scene.job(), side, &reading, adoption, &CancellationToken::new()).await.expect("the systems work")
}

fn told(drift: &[Drift]) -> Vec<(DriftKind, &str, Option<&str>)> {
    drift.iter().map(|d| (d.kind, &*d.user_name, d.group.as_deref())).collect()
}

#[tokio::test]
async fn what_was_done_by_hand_is_seen_and_nothing_else() {
    let scene = team_at_work().await;
    for target in TARGETS {
        assert_eq!(drift_at(&scene, target).await, [], "{target}");
    }
    // At the source nothing is drift: that is what a run is for.
    scene.estate.okta.suspend("eve.ito@example.com");
    scene.estate.okta.set_email("finn.moss@example.com", Some("finn@example.com"));
    scene.directory("jira").join("sales", "ada.lovelace").expect("both are there");
    scene.directory("jira").leave("engineering", "bob.stone").expect("he is in it");
    let found = drift_at(&scene, "jira").await;
    assert_eq!(
        told(&found),
        [(DriftKind::AddedMember, "ada.lovelace", Some("sales")), (DriftKind::RemovedMember, "bob.stone", Some("engineering")),]
    );
}

#[tokio::test]
async fn what_was_added_by_hand_is_left_alone_until_it_is_adopted() {
    let scene = team_at_work().await;
    scene.directory("jira").join("sales", "ada.lovelace").expect("both are there");
    scene.at_rest().await;
    scene.directory("jira").join("sales", "bob.stone").expect("both are there");
    let by_hand = |name| (DriftKind::AddedMember, name, Some("sales"));
    assert_eq!(told(&drift_at(&scene, "jira").await), [by_hand("ada.lovelace"), by_hand("bob.stone")]);
    let adopted = adopt_at(&scene, "jira", "ada.*").await;
    assert_eq!(told(&adopted), [by_hand("ada.lovelace")]);
    assert_eq!(told(&drift_at(&scene, "jira").await), [by_hand("bob.stone")], "what was taken over is no drift any more");
    let query = RunQuery { target: Some("jira".into()), limit: 1, ..RunQuery::default() };
    let record = scene.journal.runs(&query).await.expect("the store works").remove(0);
    assert_eq!(
        record.end.expect("it has ended").messages,
        ["taken over by os:ops: tidying up", "ada.lovelace in group \"sales\""]
    );
    let reports = scene.run().await;
    let jira = report_of(&reports, "jira");
    assert_eq!(ended(jira), Ended::Applied);
    assert!(!scene.members("jira", "sales").contains("ada.lovelace"));
    assert!(scene.members("jira", "sales").contains("bob.stone"), "he was not named");
    assert_eq!(told(&drift_at(&scene, "jira").await), [by_hand("bob.stone")]);
    for target in ["confluence", "bitbucket"] {
        assert_eq!(drift_at(&scene, target).await, [], "{target}");
    }
    scene.at_rest().await;
}

fn at<'a>(told: &'a Explanation, target: &str) -> &'a AtTarget {
    told.targets.iter().find(|side| side.target.as_str() == target).expect("a target of the job")
}

#[tokio::test]
async fn drift_tells_every_kind_of_change_by_hand() {
    let job = "[jobs.staff.users.map]\ndisplay_name = \"first_name ~ ' ' ~ last_name\"";
    let scene = at_work(team(), Setting { job: job.to_owned(), ..Setting::default() }).await;
    // Written once by rosterd, so that it is remembered.
    scene.estate.okta.change_user("cleo.hart@example.com", |cleo| cleo.last = "Heart".to_owned());
    scene.estate.okta.suspend("finn.moss@example.com");
    scene.at_rest().await;
    {
        let mut jira = scene.directory("jira");
        jira.rename_user("ada.lovelace", "ada.byron").expect("a free name");
        jira.user_mut("bob.stone").expect("he is there").email = "bob@elsewhere.example".to_owned();
        jira.user_mut("cleo.hart").expect("she is there").display_name = "Someone Else".to_owned();
        jira.set_active("dan.ng", false).expect("he is there");
        jira.set_active("finn.moss", true).expect("he is there");
        jira.add_user("guest", "guest@example.com", "Guest").expect("a free name");
        jira.join("staff", "guest").expect("both are there");
        jira.join("engineering", "eve.ito").expect("both are there");
        jira.leave("sales", "eve.ito").expect("she is in it");
    }
    let found = drift_at(&scene, "jira").await;
    assert_eq!(
        told(&found),
        [
            (DriftKind::AddedMember, "eve.ito", Some("engineering")),
            (DriftKind::Stranger, "guest", Some("staff")),
            (DriftKind::RemovedMember, "eve.ito", Some("sales")),
            (DriftKind::Renamed, "ada.byron", None),
            (DriftKind::OtherAddress, "bob.stone", None),
            (DriftKind::OtherDisplayName, "cleo.hart", None),
            (DriftKind::Deactivated, "dan.ng", None),
            (DriftKind::Activated, "finn.moss", None),
        ]
    );
}

#[tokio::test]
async fn whom_a_source_that_is_not_believed_does_not_show_was_not_added_by_hand() {
    let scene = at_work(crew(20), Setting::default()).await;
    scene.directory("jira").leave("staff", "p19.crew").expect("they are in it");
    scene.directory("jira").add_group("by-hand").expect("a free name");
    let okta = &scene.estate.okta;
    (0..12).for_each(|at| okta.delete_user(&format!("p{at:02}.crew@example.com")));
    let reading = read_source(scene.job()).await.expect("the source works");
    let side = scene.job().targets.iter().find(|t| t.name.as_str() == "jira").expect("a target of the job");
    // Somebody joined by hand who is not in the listing now.
    scene.directory("jira").add_user("guest", "guest@example.com", "Guest").expect("a free name");
    scene.directory("jira").join("staff", "guest").expect("both are there");
    let found = drift(scene.job(), side, &reading).await.expect("the systems work");
    assert!(found.blind.as_deref().is_some_and(|why| why.contains("may shrink")), "{found:?}");
    assert_eq!(told(&found.drift), [(DriftKind::RemovedMember, "p19.crew", Some("staff"))]);
    let why = tried(&scene, "jira", "*").await.expect_err("nothing is taken over");
    assert!(why.contains("is not believed"), "{why}");
}

#[tokio::test]
async fn nothing_is_taken_over_where_the_job_only_looks() {
    let mut scene = team_at_work().await;
    scene.directory("jira").join("sales", "ada.lovelace").expect("both are there");
    scene.reconfigure(|text| text.replace("[jobs.staff]", "[jobs.staff]\nobserve = [\"jira\"]"));
    let why = tried(&scene, "jira", "*").await.expect_err("it is only observed");
    assert!(why.contains("only observed"), "{why}");
}

#[tokio::test]
async fn an_explanation_weighs_a_hold_as_the_run_does() {
    let scene = at_work(crew(10), Setting::default()).await;
    let okta = &scene.estate.okta;
    okta.remove_member("staff", "p01.crew@example.com");
    let reports = scene.run().await;
    let run = &report_of(&reports, "jira").record;
    let changes = scene.journal.changes(&run.start.id).await.expect("the store works");
    let only = NameSet::none();
    let request = Request { run, changes: &changes, only: &only, actor: "os:ops", over_limits: false };
    let side = scene.job().targets.iter().find(|t| t.name.as_str() == "jira").expect("a target of the job");
    let stop = CancellationToken::new();
    undo(scene.job(), side, request, "a mistake", &stop).await.expect("the systems work").expect("nobody else is at work");
    let before = explained(&scene, "p01.crew").await;
    let jira = at(&before, "jira");
    assert!(jira.hold.is_some() && !jira.hold_ends, "{:?}", jira.hold);
    let verdicts: Vec<_> = jira.plan.iter().flat_map(|p| &p.changes).map(|c| (&*c.op, &*c.verdict)).collect();
    assert_eq!(verdicts, [("remove_member", "refused")]);
    okta.suspend("p01.crew@example.com");
    let after = explained(&scene, "p01.crew").await;
    let jira = at(&after, "jira");
    assert!(jira.hold.is_some() && jira.hold_ends);
    let told: Vec<String> = jira.plan.iter().flat_map(|p| &p.changes).map(line).collect();
    assert_eq!(told, planned(&scene, "jira", after.source.as_str()).await);
    assert!(told.iter().any(|line| line.contains("deactivate")), "{told:?}");
    assert_eq!(jira.access, Some(GivenBy::Inactive));
}

#[tokio::test]
async fn an_explanation_says_what_only_a_run_over_everybody_sees() {
    let scene = at_work(crew(20), Setting::default()).await;
    let okta = &scene.estate.okta;
    okta.suspend("p19.crew@example.com");
    let told = explained(&scene, "p19.crew").await;
    let jira = at(&told, "jira");
    assert!(
        matches!(&jira.unseen[..], [limit] if limit.contains("limit") && limit.contains("0 of the kind wait")),
        "{:?}",
        jira.unseen
    );
    let nobody = explained(&scene, "p18.crew").await;
    assert_eq!(at(&nobody, "jira").unseen, Vec::<String>::new(), "nothing is taken from them");
    (0..12).for_each(|at| okta.delete_user(&format!("p{at:02}.crew@example.com")));
    assert!(scene.run().await.iter().all(|report| ended(report) == Ended::Blind));
    let told = explained(&scene, "p19.crew").await;
    let jira = at(&told, "jira");
    assert!(
        jira.unseen.iter().any(|said| said.contains("did not believe it") && said.contains("may shrink")),
        "{:?}",
        jira.unseen
    );
}

#[tokio::test]
async fn an_explanation_names_what_gives_access_afterwards() {
    let scene = team_at_work().await;
    // Bob leaves a group of work, and keeps the one that gives access.
    scene.estate.okta.remove_member("engineering", "bob.stone@example.com");
    let told = explained(&scene, "bob.stone").await;
    let jira = at(&told, "jira");
    assert_eq!(jira.access, Some(GivenBy::Groups { groups: vec!["staff".to_owned()] }), "{:?}", jira.afterwards);
    assert_eq!(at(&told, "confluence").access, Some(GivenBy::Untold), "it tells of no licence");
    // Dan leaves the one that does.
    scene.estate.okta.remove_member("staff", "dan.ng@example.com");
    let told = explained(&scene, "dan.ng").await;
    let jira = at(&told, "jira");
    assert_eq!((&jira.access, &jira.afterwards[..]), (&Some(GivenBy::Groups { groups: vec![] }), &["sales".to_owned()][..]));
    // Eve is disabled: in whatever groups she stays, the account is inactive.
    scene.estate.okta.suspend("eve.ito@example.com");
    assert_eq!(at(&explained(&scene, "eve.ito").await, "jira").access, Some(GivenBy::Inactive));
    scene.run().await;
    assert_eq!(at(&explained(&scene, "eve.ito").await, "jira").access, Some(GivenBy::Inactive), "nothing is left to do");
}

#[tokio::test]
async fn an_explanation_tells_what_waits_and_what_is_tried_again() {
    let scene = at_work(crew(20), Setting::default()).await;
    (0..8).for_each(|n| scene.estate.okta.suspend(&format!("p{n:02}.crew@example.com")));
    scene.run().await;
    let told = explained(&scene, "p00.crew").await;
    let jira = at(&told, "jira");
    assert!(matches!(&jira.staged[..], [staged] if staged.user_name == "p00.crew"), "{:?}", jira.staged);
    assert!(jira.retry.is_none() && jira.hold.is_none());
    let (method, path) = creating_mona("bitbucket");
    scene.estate.bitbucket.running.faults.add(Rule::always(method, path, refusal()));
    scene.hire_mona(&["staff"]);
    scene.run().await;
    let told = explained(&scene, "mona.lisa@example.com").await;
    let retry = at(&told, "bitbucket").retry.as_ref().expect("she is tried again");
    assert!(retry.not_before > scene.clock.now() && retry.cause.contains("400"), "{retry:?}");
    assert!(at(&told, "jira").retry.is_none());
}

#[tokio::test]
async fn an_explanation_takes_a_handful_of_requests() {
    let scene = at_work(crew(40), Setting::default()).await;
    let okta = &scene.estate.okta;
    let asked = async |who: &str| {
        scene.hush();
        okta.server.log.clear();
        explained(&scene, who).await;
        (okta.server.log.len(), TARGETS.map(|target| scene.log(target).len()))
    };
    let (source, targets) = asked("p00.crew").await;
    assert!(source <= 4 && targets.iter().all(|n| *n <= 12), "{source} and {targets:?}");
    okta.suspend("p00.crew@example.com");
    let (source, targets) = asked("p00.crew").await;
    assert!(source <= 4 && targets.iter().all(|n| *n <= 16), "{source} and {targets:?}, with the groups that guards look at");
}
