//! Whoever waits for a turn at a target finds another world when it comes, and whoever loses it has no say any more.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use rosterd::contract::clock::Clock;
use rosterd::contract::fault::Fault as Met;
use rosterd::contract::journal::{Ended, Lease, Rest, RunQuery, Trigger};
use rosterd::engine::prepare::TargetSide;
use rosterd::engine::run::{Unless, World as JobWorld, run, run_once};
use rosterd::engine::subjects::retry_subjects;
use rosterd::engine::undo::{Request, undo};
use rosterd::engine::unlink::{self, Proof, UnlinkError};
use rosterd::model::key::SystemName;
use rosterd::model::retry::{Retry, Subject};
use rosterd::reconcile::pattern::NameSet;
use rosterd_sim::harness::{Fault, Rule};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::brittle::Brittle;
use crate::stage::*;
use crate::support::{Scene, creating_mona, end_of, ended, report_of};

const TTL: Duration = Duration::from_secs(15);

/// Somebody else takes the lease on Jira: one that is free, or once the one before has run out.
async fn taken(scene: &Scene, later: TimeDelta) -> Lease {
    let lease = scene.journal.lease("target/jira", "elsewhere:1", TTL, scene.clock.now() + later).await;
    lease.expect("the store works").expect("it is free")
}

/// The job, and where it is told that it asks for a lease.
fn waiting_in(scene: &Scene) -> (JobWorld, UnboundedReceiver<()>) {
    let (tell, told) = unbounded_channel();
    let hook = move |what: &'static str, _: usize| {
        if what == "lease" {
            let _ = tell.send(());
        }
    };
    (JobWorld { journal: Brittle::telling(scene.journal.clone(), hook), ..scene.job().clone() }, told)
}

fn jira(world: &JobWorld) -> &TargetSide {
    world.targets.iter().find(|side| side.name.as_str() == "jira").expect("a target of the job")
}

fn refusal(scene: &Scene, system: &str) -> Rest {
    let system = SystemName::from(system);
    Rest {
        since: scene.clock.now(),
        cause: format!("{system} refused the credential"),
        fault: Met::Refused.word().to_owned(),
        failures: 1,
        until: None,
        credential: scene.job().credential(&system).map(str::to_owned),
        system,
    }
}

fn everything(scene: &Scene) -> Retry {
    Retry {
        job: "staff".into(),
        target: "jira".into(),
        subject: Subject::Everything,
        attempts: 1,
        first_seen: scene.clock.now(),
        not_before: scene.clock.now(),
        cause: "an outage".into(),
        quarantined: false,
        user_name: None,
    }
}

fn requests(scene: &Scene) -> usize {
    scene.estate.okta.server.log.len() + At::ALL.iter().map(|at| at.log(scene).len()).sum::<usize>()
}

/// What wants a turn at Jira.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Run,
    Retry,
    Undo,
    Unlink,
}

/// Has a turn waited for, and says what became of it.
async fn waits(world: JobWorld, wish: Wish) -> String {
    let stop = CancellationToken::new();
    let side = jira(&world);
    match wish {
        Wish::Run => {
            let reports = run(&world, &["jira".into()], Trigger::Command, &stop).await.expect("the store works");
            let report = report_of(&reports, "jira");
            assert_eq!(report.fault, Some(Met::Refused));
            end_of(&reports, "jira").messages.join(" ")
        }
        Wish::Retry => {
            let due = world.journal.retries().await.expect("retries");
            let pass = retry_subjects(&world, side, &due, &stop).await.expect("the store works");
            format!("{:?}", pass.end)
        }
        Wish::Undo => {
            let query = RunQuery { target: Some("jira".into()), limit: 1, ..RunQuery::default() };
            let run = world.journal.runs(&query).await.expect("runs").remove(0);
            let changes = world.journal.changes(&run.start.id).await.expect("changes");
            let only = NameSet::none();
            let request = Request { run: &run, changes: &changes, only: &only, actor: "os:ops", over_limits: false };
            undo(&world, side, request, "a mistake", &stop).await.expect("the store works").expect_err("it is left alone")
        }
        Wish::Unlink => {
            let link = world.journal.links(&"jira".into()).await.expect("links").users.remove(0);
            let said = unlink::Said { who: link.source.as_str(), proof: Proof::Demanded, actor: "os:ops" };
            let error = unlink::unlink(&world, side, said, &stop).await.expect_err("it is left alone");
            assert!(matches!(error, UnlinkError::LeftAlone(_)), "{error:?}");
            error.to_string()
        }
    }
}

#[tokio::test]
async fn a_refusal_that_is_met_while_others_wait_for_their_turn_is_met_by_nobody_else() {
    for (wish, system) in [
        (Wish::Run, "jira"),
        (Wish::Run, "okta"),
        (Wish::Retry, "jira"),
        (Wish::Retry, "okta"),
        (Wish::Undo, "jira"),
        (Wish::Unlink, "okta"),
    ] {
        let scene = settled(staff()).await;
        let key = scene.estate.okta.user_id("anna.mueller@example.com");
        let anna = Retry { subject: Subject::User(key.into()), ..everything(&scene) };
        scene.journal.enqueue(&[anna]).await.expect("queued");
        let before = taken(&scene, TimeDelta::zero()).await;
        let (world, mut told) = waiting_in(&scene);
        let waiting = tokio::spawn(waits(world, wish));
        told.recv().await.expect("it asks for the lease");
        scene.journal.rest(&system.into(), Some(&refusal(&scene, system))).await.expect("written");
        scene.journal.unlease(&before).await.expect("given back");
        let said = waiting.await.expect("it comes to an end");
        match wish {
            Wish::Retry => assert_eq!(said, "None", "nothing was begun"),
            Wish::Run | Wish::Undo | Wish::Unlink => assert!(said.contains(&format!("rosterd release {system}")), "{said}"),
        }
        assert_eq!(requests(&scene), 0, "{wish:?} after the refusal of {system}");
        let free = scene.journal.leased("target/jira").await.expect("the store works");
        assert_eq!(free, None, "whoever does nothing keeps nobody waiting");
    }
}

#[tokio::test]
async fn a_whole_retry_that_somebody_else_has_done_while_it_waited_is_not_done_again() {
    for done in [true, false] {
        let scene = settled(staff()).await;
        scene.journal.enqueue(&[everything(&scene)]).await.expect("queued");
        let entry = scene.journal.retries().await.expect("retries").remove(0);
        let before = taken(&scene, TimeDelta::zero()).await;
        let (world, mut told) = waiting_in(&scene);
        let unless = Unless::Settled(vec![entry]);
        let waiting = tokio::spawn(async move {
            run_once(&world, &["jira".into()], Trigger::Retry.into(), unless, &CancellationToken::new()).await
        });
        told.recv().await.expect("it asks for the lease");
        if done {
            // It failed once more, say, and comes again later.
            let again = Retry { attempts: 2, not_before: scene.clock.now() + TimeDelta::minutes(1), ..everything(&scene) };
            scene.journal.enqueue(&[again]).await.expect("queued");
        }
        scene.journal.unlease(&before).await.expect("given back");
        let reports = waiting.await.expect("it comes to an end").expect("the store works");
        assert_eq!((reports.is_empty(), requests(&scene) == 0), (done, done), "{reports:?}");
    }
}

/// Two processes, one of which has not been given the new credential yet.
#[tokio::test]
async fn whoever_still_has_a_refused_credential_does_not_try_it_when_another_has_brought_the_system_back() {
    for system in ["jira", "okta"] {
        let mut scene = settled(staff()).await;
        let stop = CancellationToken::new();
        let late = scene.job().clone();
        let old = std::fs::read_to_string(scene.folder.path().join(format!("{system}-token"))).expect("a token");
        scene.estate.jira.gate.revoke();
        scene.estate.okta.revoke_tokens();
        scene.estate.jira.gate.accept_token(if system == "jira" { "renewed" } else { "token-of-rosterd" });
        if system == "okta" {
            scene.estate.okta.set_token("renewed");
        } else {
            let token = std::fs::read_to_string(scene.folder.path().join("okta-token")).expect("a token");
            scene.estate.okta.set_token(token.trim());
        }
        let reports = run(&late, &["jira".into()], Trigger::Command, &stop).await.expect("the store works");
        assert_eq!(report_of(&reports, "jira").fault, Some(Met::Refused));

        std::fs::write(scene.folder.path().join(format!("{system}-token")), "renewed").expect("written");
        scene.reassemble();
        let reports = run(scene.job(), &["jira".into()], Trigger::Command, &stop).await.expect("the store works");
        assert_eq!(ended(report_of(&reports, "jira")), Ended::Converged, "the rest is the other's: {reports:?}");
        assert_eq!(scene.journal.rests().await.expect("rests"), []);

        let refusals = |scene: &Scene| {
            let all = scene.estate.okta.server.log.all().into_iter().chain(At::Jira.log(scene).all());
            all.filter(|seen| seen.status == 401).count()
        };
        clear_logs(&scene);
        for _ in 0..3 {
            let reports = run(&late, &["jira".into()], Trigger::Command, &stop).await.expect("the store works");
            let report = report_of(&reports, "jira");
            assert_eq!((ended(report), &report.fault), (Ended::Failed, &Some(Met::Refused)));
            let said = end_of(&reports, "jira").messages.join(" ");
            assert!(said.contains(&format!("rosterd release {system}")), "{said}");
            assert_eq!(requests(&scene), 0, "it is not tried");
            let reports = run(scene.job(), &["jira".into()], Trigger::Command, &stop).await.expect("the store works");
            assert_eq!(ended(report_of(&reports, "jira")), Ended::Converged);
            clear_logs(&scene);
        }
        // A person's word is one more try, by a process that has not met the refusal itself, and no more than that.
        assert!(scene.journal.forgive(&system.into()).await.expect("forgiven"));
        std::fs::write(scene.folder.path().join(format!("{system}-token")), &old).expect("written");
        scene.reassemble();
        let late = scene.job().clone();
        for tries in [1, 0] {
            run(&late, &["jira".into()], Trigger::Command, &stop).await.expect("the store works");
            assert_eq!(refusals(&scene), tries, "{system}");
            clear_logs(&scene);
        }
    }
}

#[tokio::test]
async fn a_write_that_waits_in_a_rate_limit_while_the_lease_is_lost_is_not_sent() {
    let scene = fresh(staff()).await;
    scene.converge().await;
    clear_logs(&scene);
    scene.hire_mona(&["staff", "devs"]);
    let (method, path) = creating_mona("jira");
    // Longer than a look at the lease is believed.
    At::Jira.faults(&scene).add(Rule::once(method, path, Fault::json(429, "{}").header("Retry-After", "2")));
    let world = scene.job().clone();
    let running = tokio::spawn(async move { run(&world, &["jira".into()], Trigger::Command, &CancellationToken::new()).await });
    while At::Jira.log(&scene).writes().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    taken(&scene, TimeDelta::hours(1)).await;
    let lost = running.await.expect("it comes to an end").expect_err("it has no say any more");
    assert!(lost.to_string().contains("was lost"), "{lost}");
    quiet(&scene).await;
    let writes: BTreeSet<u16> = At::Jira.log(&scene).writes().iter().map(|seen| seen.status).collect();
    assert_eq!((At::Jira.log(&scene).writes().len(), writes), (1, BTreeSet::from([429])), "the other try was not sent");
    assert!(At::Jira.directory(&scene).user("mona.lisa").is_none());
}

#[tokio::test]
async fn whoever_has_lost_the_lease_puts_nobody_to_rest() {
    let scene = settled(staff()).await;
    let link = scene.journal.links(&"jira".into()).await.expect("links").users.remove(0);
    scene.estate.okta.revoke_tokens();
    scene.estate.okta.server.faults.hold(true);
    let world = scene.job().clone();
    let cutting = tokio::spawn(async move {
        let said = unlink::Said { who: link.source.as_str(), proof: Proof::Demanded, actor: "os:ops" };
        unlink::unlink(&world, jira(&world), said, &CancellationToken::new()).await
    });
    while scene.estate.okta.server.log.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    taken(&scene, TimeDelta::hours(1)).await;
    scene.estate.okta.server.faults.hold(false);
    let lost = cutting.await.expect("it comes to an end").expect_err("it has no say any more");
    assert!(lost.to_string().contains("was lost"), "{lost}");
    assert_eq!(scene.journal.rests().await.expect("rests"), []);
}

#[tokio::test]
async fn where_several_are_at_work_what_a_job_only_observes_here_is_left_to_the_others_for_a_day() {
    let mut scene = settled(staff()).await;
    let mona = scene.estate.okta.user_id("anna.mueller@example.com");
    amend(&mut scene, "jobs.staff", "observe = [\"jira\"]");
    let world = JobWorld { journal: Brittle::shared(scene.journal.clone()), ..scene.job().clone() };
    let entry = Retry { subject: Subject::User(mona.into()), ..everything(&scene) };
    scene.journal.enqueue(std::slice::from_ref(&entry)).await.expect("queued");
    let stop = CancellationToken::new();
    for (hours, left) in [(0, 1), (23, 1), (2, 0)] {
        scene.clock.advance(TimeDelta::hours(hours));
        retry_subjects(&world, jira(&world), std::slice::from_ref(&entry), &stop).await.expect("the store works");
        assert_eq!(scene.journal.retries().await.expect("retries").len(), left);
    }
    scene.journal.enqueue(std::slice::from_ref(&Retry { not_before: scene.clock.now(), ..entry })).await.expect("queued");
    for (hours, left) in [(0, 1), (23, 1), (2, 0)] {
        scene.clock.advance(TimeDelta::hours(hours));
        run(&world, &["jira".into()], Trigger::Schedule, &stop).await.expect("the store works");
        assert_eq!(scene.journal.retries().await.expect("retries").len(), left);
    }
}

/// A release takes no turn: it may come while the undo asks the source about those whom it holds.
#[tokio::test]
async fn a_hold_that_is_released_while_the_source_is_asked_about_it_is_not_written_again() {
    let scene = settled(staff()).await;
    scene.estate.okta.remove_member("devs", "anna.mueller@example.com");
    scene.estate.okta.remove_member("staff", "fred.lang@example.com");
    let undone = report_of(&scene.run().await, "jira").record.clone();
    let changes = scene.journal.changes(&undone.start.id).await.expect("changes");
    assert_eq!(changes.len(), 2, "{changes:?}");
    let (journal, anna) = (scene.journal.clone(), changes[0].intent.user.clone().expect("a user"));
    let released = anna.clone();
    let hook = move |what: &'static str, _: usize| {
        if what == "wish" {
            let (job, target) = ("staff".into(), "jira".into());
            let release = journal.let_go(&job, &target, std::slice::from_ref(&released));
            futures::executor::block_on(release).expect("the store works");
        }
    };
    let world = JobWorld { journal: Brittle::telling(scene.journal.clone(), hook), ..scene.job().clone() };
    let only = NameSet::none();
    let request = Request { run: &undone, changes: &changes, only: &only, actor: "os:ops", over_limits: false };
    let stop = CancellationToken::new();
    undo(&world, jira(&world), request, "a mistake", &stop).await.expect("the store works").expect("nobody else is at work");
    let held = scene.journal.holds().await.expect("holds");
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].user != anna && held[0].wish.is_some(), "{held:?}");
}
