//! Guards: additions flow, removals wait. What is over a limit is staged by name; what is protected is never touched.

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::journal::Ended;
use rosterd::engine::subjects::retry_subjects;
use rosterd::model::retry::{Retry, Subject};
use rosterd_sim::world::{Person, World};
use tokio_util::sync::CancellationToken;

use super::team::{applied, at_work, crew, everywhere, person, team, team_under};
use crate::support::{Scene, Setting, TARGETS, end_of, ended};

fn login(at: usize) -> String {
    format!("p{at:02}.crew@example.com")
}

/// The names of those who are staged at a target, ascending.
async fn staged(scene: &Scene, target: &str) -> Vec<String> {
    let all = scene.journal.staged().await.expect("the store works");
    let mut names: Vec<String> = all.iter().filter(|s| s.target.as_str() == target).map(|s| s.user_name.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_mass_suspension_is_staged_by_name_while_a_joiner_goes_through() {
    let scene = at_work(crew(20), Setting::default()).await;
    let okta = &scene.estate.okta;
    (0..8).for_each(|at| okta.suspend(&login(at)));
    okta.add_user(person("Gina", "Park"));
    okta.add_member("staff", "gina.park@example.com");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert_eq!((end.ended, end.staged), (Ended::Staged, 8), "{end:?}");
    }
    let suspended: Vec<String> = (0..8).map(|at| format!("p{at:02}.crew")).collect();
    for target in TARGETS {
        assert_eq!(staged(&scene, target).await, suspended, "{target}");
        assert!(suspended.iter().all(|name| scene.works(target, name)), "{target}");
        assert!(scene.works(target, "gina.park"), "{target}");
    }
    // The mistake is taken back at the source: nothing waits any more.
    (0..8).for_each(|at| okta.activate(&login(at)));
    scene.at_rest().await;
    for target in TARGETS {
        assert_eq!(staged(&scene, target).await, Vec::<String>::new(), "{target}");
    }
}

#[tokio::test]
async fn many_removals_from_one_group_wait() {
    let guard = "[jobs.staff.guard]\nper_group_removals = { share = 0.10, floor = 2 }";
    let scene = at_work(crew(12), Setting { job: guard.to_owned(), ..Setting::default() }).await;
    let okta = &scene.estate.okta;
    (0..3).for_each(|at| okta.remove_member("staff", &login(at)));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Staged, "{:?}", report.record.end);
    }
    okta.add_member("staff", &login(0));
    applied(&scene).await;
    for target in TARGETS {
        assert_eq!(scene.members(target, "staff").len(), 10, "{target}");
    }
    scene.at_rest().await;
}

/// Few from each group, and too many in all.
#[tokio::test]
async fn many_removals_over_all_groups_wait() {
    let guard =
        "[jobs.staff.guard]\nmembership_removals = { share = 0.0, floor = 2 }\nper_group_removals = { share = 1.0, floor = 100 }";
    let scene = at_work(crew(12), Setting { job: guard.to_owned(), ..Setting::default() }).await;
    let okta = &scene.estate.okta;
    (0..3).for_each(|at| okta.remove_member("staff", &login(at)));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Staged, "{:?}", report.record.end);
    }
    for target in TARGETS {
        assert_eq!(scene.members(target, "staff").len(), 12, "{target}");
    }
    okta.add_member("staff", &login(0));
    applied(&scene).await;
    for target in TARGETS {
        assert_eq!(scene.members(target, "staff").len(), 10, "{target}");
    }
}

#[tokio::test]
async fn removals_of_a_day_count_together() {
    let guard = "[jobs.staff.guard]\ndeactivations = { share = 0.0, floor = 2 }";
    let scene = at_work(crew(12), Setting { job: guard.to_owned(), ..Setting::default() }).await;
    let okta = &scene.estate.okta;
    for pair in [[0, 1], [2, 3]] {
        pair.iter().for_each(|at| okta.suspend(&login(*at)));
        applied(&scene).await;
        scene.clock.advance(TimeDelta::hours(1));
    }
    okta.suspend(&login(4));
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Staged, "{:?}", report.record.end);
    }
    for target in TARGETS {
        assert_eq!(staged(&scene, target).await, ["p04.crew"], "{target}");
    }
    scene.clock.advance(TimeDelta::hours(24));
    applied(&scene).await;
    for target in TARGETS {
        assert!(!scene.works(target, "p04.crew") && scene.works(target, "p05.crew"), "{target}");
    }
    scene.at_rest().await;
}

/// What a refused change leaves: nothing sent, the guard named, the target otherwise converged.
async fn refused(scene: &Scene, guard: &str) {
    scene.hush();
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert!(end.messages.iter().any(|m| m.starts_with(guard)), "{end:?}");
        assert_eq!(end.staged, 0, "{end:?}");
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    scene.at_rest().await;
}

#[tokio::test]
async fn a_protected_user_is_never_touched() {
    let scene = team_under("[jobs.staff.guard]\nprotect_users = [\"eve.*\"]").await;
    for target in TARGETS {
        // Protected from the first run on, so it was made by hand.
        assert!(scene.directory(target).user("eve.ito").is_none(), "{target}");
        scene.directory(target).add_user("eve.ito", "eve.ito@example.com", "Eve").expect("a free name");
        scene.directory(target).join("sales", "eve.ito").expect("both are there");
    }
    scene.estate.bitbucket.grant_user("eve.ito", "LICENSED_USER");
    refused(&scene, "protected-user").await;
    scene.estate.okta.suspend("eve.ito@example.com");
    refused(&scene, "").await;
    for target in TARGETS {
        assert_eq!(scene.directory(target).user("eve.ito").map(|u| u.is_active()), Some(true), "{target}");
    }
}

#[tokio::test]
async fn a_protected_group_keeps_and_gets_nobody() {
    let mut scene = team_under("[jobs.staff.guard]\nprotect_groups = [\"nothing\"]").await;
    scene.reconfigure(|text| text.replace("\"nothing\"", "\"sales\""));
    let okta = &scene.estate.okta;
    okta.remove_member("sales", "eve.ito@example.com");
    okta.add_member("sales", "ada.lovelace@example.com");
    refused(&scene, "protected-group").await;
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
}

#[tokio::test]
async fn the_last_administrators_stay() {
    let scene = team_under("[jobs.staff.guard]\nadmins_at_least = 2").await;
    for (target, group) in
        [("jira", "jira-administrators"), ("confluence", "confluence-administrators"), ("bitbucket", "bitbucket-system-admins")]
    {
        scene.directory(target).join(group, "ada.lovelace").expect("both are there");
    }
    scene.estate.okta.suspend("ada.lovelace@example.com");
    refused(&scene, "last-admins").await;
    for target in TARGETS {
        assert!(scene.works(target, "ada.lovelace"), "{target}");
    }
}

#[tokio::test]
async fn the_account_that_rosterd_acts_with_is_not_changed() {
    let mut world = team();
    let own = world.add_person("Rosterd", "Robot");
    world.people[own].login = "rosterd@example.com".to_owned();
    let scene = Scene::new(world, Setting::default()).await;
    scene.open_doors("staff");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("the run has ended");
        assert!(end.messages.iter().any(|m| m.starts_with("own-account")), "{end:?}");
    }
    scene.estate.okta.suspend("rosterd@example.com");
    refused(&scene, "own-account").await;
    for target in TARGETS {
        assert!(scene.works(target, "rosterd"), "{target}");
    }
}

#[tokio::test]
async fn a_plan_that_would_break_an_expectation_is_refused_whole() {
    let expect = "[jobs.staff.guard]\nexpect = [ { group = \"sales\", at_least = 2 } ]";
    let scene = team_under(expect).await;
    let okta = &scene.estate.okta;
    okta.remove_member("sales", "eve.ito@example.com");
    okta.add_member("engineering", "finn.moss@example.com");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Refused, "{:?}", report.record.end);
        let messages = &report.record.end.as_ref().expect("it has ended").messages;
        let told = messages
            .iter()
            .any(|m| m.contains("has 1 active members, expected are at least 2") && m.contains("leaving: eve.ito"));
        assert!(told, "{messages:?}");
    }
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart"]);
    okta.add_member("sales", "ada.lovelace@example.com");
    applied(&scene).await;
    everywhere(&scene, "sales", ["ada.lovelace", "dan.ng"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "finn.moss"]);
    scene.at_rest().await;
}

#[tokio::test]
async fn a_refused_plan_takes_nothing_over() {
    let expect = "[jobs.staff.guard]\nexpect = [ { group = \"sales\", at_least = 3 } ]";
    let scene = team_under(expect).await;
    let okta = &scene.estate.okta;
    for target in TARGETS {
        scene.directory(target).join("sales", "ada.lovelace").expect("both are there");
    }
    okta.add_member("sales", "ada.lovelace@example.com");
    okta.remove_member("sales", "eve.ito@example.com");
    // Whoever is due comes later, not at once and for ever, and is not taken for well.
    let entry = |target: &str| Retry {
        job: "staff".into(),
        target: target.into(),
        subject: Subject::User(okta.user_id("bob.stone@example.com").into()),
        attempts: 2,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "it answered 503".into(),
        quarantined: false,
        user_name: None,
    };
    scene.journal.enqueue(&TARGETS.map(entry)).await.expect("the store works");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Refused, "{:?}", report.record.end);
    }
    let waiting = scene.journal.retries().await.expect("the store works");
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|r| r.not_before > scene.clock.now() && r.attempts == 2), "{waiting:?}");
    // Nor is she whose removal it is, tried by herself.
    let eve = Retry { subject: Subject::User(okta.user_id("eve.ito@example.com").into()), ..entry("jira") };
    scene.journal.enqueue(std::slice::from_ref(&eve)).await.expect("the store works");
    let waiting = scene.journal.retries().await.expect("the store works");
    let eve = waiting.into_iter().find(|retry| retry.subject == eve.subject).expect("she waits");
    let side = scene.job().targets.iter().find(|side| side.name.as_str() == "jira").expect("a target");
    let pass = retry_subjects(scene.job(), side, std::slice::from_ref(&eve), &CancellationToken::new()).await.expect("works");
    assert_eq!(pass.end.map(|end| end.ended), Some(Ended::Refused));
    let waiting = scene.journal.retries().await.expect("the store works");
    let hers = waiting.iter().find(|r| r.subject == eve.subject).expect("she waits on");
    assert!(hers.not_before > scene.clock.now() && hers.attempts == 2, "{hers:?}");
    everywhere(&scene, "sales", ["ada.lovelace", "dan.ng", "eve.ito"]);
    let subjects: Vec<Subject> = waiting.into_iter().map(|r| r.subject).collect();
    for target in TARGETS {
        scene.journal.dequeue(&"staff".into(), &target.into(), &subjects).await.expect("the store works");
    }
    // Whoever was in the group by hand is not managed there for having stood in a plan that nobody wanted.
    okta.remove_member("sales", "ada.lovelace@example.com");
    okta.add_member("sales", "eve.ito@example.com");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Converged, "{:?}", report.record.end);
    }
    everywhere(&scene, "sales", ["ada.lovelace", "dan.ng", "eve.ito"]);
}

#[tokio::test]
async fn an_expectation_that_is_broken_already_keeps_removals_waiting_and_nothing_else() {
    let expect = "[jobs.staff.guard]\nexpect = [ { group = \"jira-administrators\", has = [\"root\"] } ]";
    let scene = team_under(expect).await;
    let okta = &scene.estate.okta;
    okta.remove_member("sales", "eve.ito@example.com");
    okta.add_member("engineering", "finn.moss@example.com");
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Staged, "{:?}", report.record.end);
    }
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
    everywhere(&scene, "engineering", ["ada.lovelace", "bob.stone", "cleo.hart", "finn.moss"]);
}

#[tokio::test]
async fn nobody_from_another_mail_domain_comes_into_a_group_that_is_kept_to_one() {
    let expect = "[jobs.staff.guard]\nexpect = [ { group = \"sales\", only_domains = [\"Example.com\"] } ]";
    let scene = team_under(expect).await;
    let partner = "pia.lund@partner.example.org".to_owned();
    scene.estate.okta.add_user(Person { login: partner.clone(), email: Some(partner.clone()), ..person("Pia", "Lund") });
    applied(&scene).await;
    scene.estate.okta.add_member("sales", &partner);
    for report in scene.run().await {
        assert_eq!(ended(&report), Ended::Refused, "{:?}", report.record.end);
        let messages = &report.record.end.as_ref().expect("it has ended").messages;
        assert!(messages.iter().any(|m| m.contains("outside of Example.com: pia.lund")), "{messages:?}");
    }
    everywhere(&scene, "sales", ["dan.ng", "eve.ito"]);
}

#[tokio::test]
async fn one_target_over_a_limit_holds_up_no_other() {
    let scene = at_work(crew(20), Setting::default()).await;
    let okta = &scene.estate.okta;
    // Most have left Jira already, by hand.
    for at in 0..6 {
        scene.directory("jira").set_active(&format!("p{at:02}.crew"), false).expect("it is there");
        okta.suspend(&login(at));
    }
    let reports = scene.run().await;
    assert_eq!(end_of(&reports, "jira").ended, Ended::Converged);
    for target in ["confluence", "bitbucket"] {
        assert_eq!((end_of(&reports, target).ended, end_of(&reports, target).staged), (Ended::Staged, 6), "{target}");
    }
    (0..6).for_each(|at| okta.activate(&login(at)));
    scene.run().await;
    scene.at_rest().await;
}

#[tokio::test]
async fn a_leaver_at_bitbucket_who_is_in_a_protected_group_is_left_alone() {
    let scene = team_under("[jobs.staff.guard]\nprotect_groups = [\"vault\"]").await;
    {
        let mut directory = scene.directory("bitbucket");
        directory.add_group("vault").expect("a free name");
        directory.join("vault", "eve.ito").expect("both are there");
    }
    scene.estate.okta.suspend("eve.ito@example.com");
    scene.estate.okta.suspend("dan.ng@example.com");
    let end = scene.run_for("bitbucket").await;
    assert!(end.messages.iter().any(|m| m.contains("eve.ito") && m.contains("vault")), "{end:?}");
    // Their flag is all that ends at the others, and whoever is in no protected group leaves.
    for target in TARGETS {
        assert_eq!(scene.works(target, "eve.ito"), target == "bitbucket", "{target}");
        assert!(!scene.works(target, "dan.ng"), "{target}");
    }
    scene.at_rest().await;
    assert!(scene.directory("bitbucket").is_member("vault", "eve.ito"));
}

#[tokio::test]
async fn nobody_is_deleted_out_of_a_protected_group() {
    let scene = team_under("[jobs.staff.leavers]\ndisabled = \"delete\"\n[jobs.staff.guard]\nprotect_groups = [\"vault\"]").await;
    for target in TARGETS {
        let mut directory = scene.directory(target);
        directory.add_group("vault").expect("a free name");
        directory.join("vault", "eve.ito").expect("both are there");
    }
    scene.estate.okta.suspend("eve.ito@example.com");
    scene.at_rest().await;
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
}

#[tokio::test]
async fn a_small_site_is_not_blocked_by_shares() {
    let mut world = World::default();
    let all = [("Ada", "Lovelace"), ("Bob", "Stone"), ("Cleo", "Hart")].map(|(first, last)| world.add_person(first, last));
    world.add_group("staff", &all);
    let scene = at_work(world, Setting::default()).await;
    scene.estate.okta.suspend("bob.stone@example.com");
    applied(&scene).await;
    scene.at_rest().await;
}

/// Whoever is deactivated stays a member at Jira and Confluence, and can do nothing there.
#[tokio::test]
async fn a_group_is_not_full_of_people_who_are_inactive() {
    let expect = "[jobs.staff.guard]\nexpect = [ { group = \"staff\", at_least = 6 } ]";
    let scene = team_under(expect).await;
    let okta = &scene.estate.okta;
    okta.suspend("eve.ito@example.com");
    for report in scene.run().await {
        let end = report.record.end.as_ref().expect("it has ended");
        assert_eq!(end.ended, Ended::Refused, "{end:?}");
        assert!(end.messages.iter().any(|m| m.contains("has 5 active members, expected are at least 6")), "{end:?}");
    }
    for target in TARGETS {
        assert!(scene.works(target, "eve.ito"), "{target}");
    }
    // And by hand: what is broken already keeps removals waiting.
    okta.activate("eve.ito@example.com");
    okta.remove_member("sales", "dan.ng@example.com");
    for target in ["jira", "confluence"] {
        scene.directory(target).set_active("finn.moss", false).expect("it is there");
        okta.suspend("finn.moss@example.com");
        let end = scene.run_for(target).await;
        assert_eq!(end.ended, Ended::Staged, "{target}: {end:?}");
        assert!(scene.directory(target).is_member("sales", "dan.ng"), "{target}");
    }
}

/// Confluence tells no addresses. Of whoever is linked the source does.
#[tokio::test]
async fn whose_address_the_target_hides_is_judged_by_the_source_s() {
    let expect = "[jobs.staff.guard]\nexpect = [ { group = \"sales\", only_domains = [\"example.com\"] } ]";
    let scene = team_under(expect).await;
    let partner = "pia.lund@partner.example.org".to_owned();
    let okta = &scene.estate.okta;
    okta.add_user(Person { login: partner.clone(), email: Some(partner.clone()), ..person("Pia", "Lund") });
    applied(&scene).await;
    // By hand, at the target. So removals wait for a person to look.
    scene.directory("confluence").join("sales", "pia.lund").expect("both are there");
    okta.remove_member("engineering", "cleo.hart@example.com");
    let end = scene.run_for("confluence").await;
    assert_eq!(end.ended, Ended::Staged, "{end:?}");
    assert!(end.messages.iter().any(|m| m.contains("outside of example.com: pia.lund")), "{end:?}");
    assert!(scene.directory("confluence").is_member("engineering", "cleo.hart"));
}

/// Another group holds the right there: the one that every Jira begins with is gone.
#[tokio::test]
async fn the_last_administrators_of_another_group_stay() {
    let mut scene = team_under("[jobs.staff.guard]\nadmins_at_least = 2").await;
    let own = |text: String| text.replace("kind = \"jira\"", "kind = \"jira\"\nadmin_groups = [\"keepers\", \"nowhere\"]");
    scene.reconfigure(own);
    let end = scene.run_for("jira").await;
    assert!(end.messages.iter().any(|m| m.contains("no active administrator is known")), "{end:?}");
    assert!(end.messages.iter().any(|m| m.contains("\"keepers\" does not exist")), "{end:?}");
    {
        let mut directory = scene.directory("jira");
        directory.add_group("keepers").expect("a free name");
        for user in ["ada.lovelace", "bob.stone"] {
            directory.join("keepers", user).expect("both are there");
        }
    }
    scene.estate.okta.suspend("ada.lovelace@example.com");
    let end = scene.run_for("jira").await;
    assert!(end.messages.iter().any(|m| m.starts_with("last-admins: 1 active administrators")), "{end:?}");
    assert!(end.messages.iter().any(|m| m.contains("\"nowhere\" does not exist")), "{end:?}");
    assert!(scene.works("jira", "ada.lovelace"));
    scene.directory("jira").join("keepers", "cleo.hart").expect("both are there");
    scene.run().await;
    assert!(!scene.works("jira", "ada.lovelace"));
}
