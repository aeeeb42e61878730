//! What waits for people, and what they say: staged removals, plans, decisions, holds, releases.

use super::*;

pub(super) async fn staged_removals_keep_the_time_since_when_they_wait(journal: Subjected) {
    let first = [
        staged(OpKind::DeactivateUser, "ann", None, at(1)),
        staged(OpKind::RemoveMember, "ann", Some("Eng"), at(1)),
        staged(OpKind::RemoveMember, "bob", Some("Eng"), at(1)),
    ];
    journal.stage(&staff(), &jira(), &first).await.expect("stage");
    let sorted = [first[1].clone(), first[2].clone(), first[0].clone()];
    assert_eq!(journal.staged().await.expect("staged"), sorted);

    let again =
        Staged { plan: "plan2".into(), held_by: vec!["rest".into()], ..staged(OpKind::RemoveMember, "ann", Some("eng"), at(50)) };
    let new = staged(OpKind::RemoveMember, "cid", Some("eng"), at(50));
    journal.stage(&staff(), &jira(), &[again.clone(), new.clone()]).await.expect("stage");
    assert_eq!(journal.staged().await.expect("staged"), [Staged { since: at(1), ..again }, new]);
}

pub(super) async fn staging_replaces_one_job_at_one_target(journal: Subjected) {
    let here = staged(OpKind::RemoveMember, "ann", Some("eng"), at(1));
    let there = Staged { target: wiki(), ..here.clone() };
    journal.stage(&staff(), &jira(), std::slice::from_ref(&here)).await.expect("stage");
    journal.stage(&staff(), &wiki(), std::slice::from_ref(&there)).await.expect("stage");
    journal.stage(&staff(), &jira(), &[]).await.expect("stage");
    assert_eq!(journal.staged().await.expect("staged"), [there]);
}

pub(super) async fn a_decision_replaces_the_one_on_the_same_change(journal: Subjected) {
    let elsewhere = Decision { target: wiki(), ..decision("m1", Verdict::Approved, 2) };
    journal.decide(&[decision("m1", Verdict::Approved, 1), elsewhere.clone()]).await.expect("decide");
    let (later, other) = (decision("m1", Verdict::Rejected, 3), decision("m2", Verdict::Approved, 4));
    journal.decide(&[later.clone(), other.clone()]).await.expect("decide");
    assert_eq!(journal.decisions().await.expect("decisions"), [later, other.clone(), elsewhere.clone()]);
    journal.undecide(&staff(), &jira(), &["m1".into(), "unknown".into()], at(5)).await.expect("undecide");
    assert_eq!(journal.decisions().await.expect("decisions"), [other.clone(), elsewhere.clone()]);
    let anew = decision("m1", Verdict::Approved, 6);
    journal.decide(std::slice::from_ref(&anew)).await.expect("decide");
    assert_eq!(journal.decisions().await.expect("decisions"), [other, anew, elsewhere], "what has ended does not come back");
}

pub(super) async fn a_rejected_removal_waits_no_longer(journal: Subjected) {
    let waiting = [staged(OpKind::DeactivateUser, "ann", None, at(1)), staged(OpKind::DeactivateUser, "bob", None, at(1))];
    journal.stage(&staff(), &jira(), &waiting).await.expect("stage");
    let decisions = [decision(&waiting[0].mark, Verdict::Rejected, 2), decision(&waiting[1].mark, Verdict::Approved, 2)];
    journal.decide(&decisions).await.expect("decide");
    assert_eq!(journal.staged().await.expect("staged"), waiting[1..]);
}

pub(super) async fn holds_come_and_go_by_user(journal: Subjected) {
    let hold = |user: &str, wish: Option<&str>| Hold { wish: wish.map(Into::into), ..held(user, "r1") };
    journal.hold(&[hold("bob", None), hold("ann", None)]).await.expect("hold");
    journal.hold(&[hold("bob", Some("w"))]).await.expect("hold");
    assert_eq!(journal.holds().await.expect("holds"), [hold("ann", None), hold("bob", Some("w"))]);
    // What is learnt of a hold that has ended, or that another undo has replaced, brings nothing back.
    let learnt = [hold("bob", Some("v")), hold("eve", Some("v")), Hold { run: "r2".into(), ..hold("ann", Some("v")) }];
    journal.wish(&learnt).await.expect("wish");
    assert_eq!(journal.holds().await.expect("holds"), [hold("ann", None), hold("bob", Some("v"))]);
    journal.let_go(&staff(), &wiki(), &["ann".into()]).await.expect("let go");
    journal.let_go(&staff(), &jira(), &["bob".into()]).await.expect("let go");
    assert_eq!(journal.holds().await.expect("holds"), [hold("ann", None)]);
}

pub(super) async fn a_release_ends_what_it_names_and_keeps_who_said_so(journal: Subjected) {
    let rest = |system: SystemName| Rest {
        system,
        since: at(1),
        cause: "it refused the credential".into(),
        fault: "refused".into(),
        failures: 1,
        until: None,
        credential: None,
    };
    for system in [jira(), wiki()] {
        journal.rest(&system, Some(&rest(system.clone()))).await.expect("rest");
    }
    let holds = [held("ann", "r1"), held("bob", "r1"), Hold { target: wiki(), ..held("ann", "r1") }];
    journal.hold(&holds).await.expect("hold");
    let waits = |attempts, quarantined, second| Retry {
        job: staff(),
        target: jira(),
        subject: Subject::User("00u1".into()),
        attempts,
        user_name: Some("ann".into()),
        first_seen: at(0),
        not_before: at(second),
        cause: "503".into(),
        quarantined,
    };
    journal.enqueue(&[waits(8, true, 900)]).await.expect("enqueue");

    let freed =
        |target, user_name: &str| Freed { job: staff(), target, source: Some("00u1".into()), user_name: Some(user_name.into()) };
    let first = Release {
        rest: Some(jira()),
        holds: vec![freed(jira(), "ann"), freed(wiki(), "ann")],
        due: vec![freed(jira(), "ann")],
        ..release("jira", 10)
    };
    let ended = [holds[0].clone(), holds[2].clone()];
    journal.release(&first, &ended, &[waits(0, false, 10)]).await.expect("release");
    let resting: Vec<SystemName> = journal.rests().await.expect("rests").into_iter().map(|rest| rest.system).collect();
    assert_eq!(resting, [wiki()]);
    assert_eq!(journal.holds().await.expect("holds"), holds[1..2]);
    assert_eq!(journal.retries().await.expect("retries"), [waits(0, false, 10)]);
    let whole = Freed { job: staff(), target: wiki(), source: None, user_name: None };
    let second = Release { reason: None, actor: "os:ada".into(), due: vec![whole], ..release("wiki", 5) };
    journal.release(&second, &[], &[]).await.expect("release");
    assert_eq!(journal.releases(10).await.expect("releases"), [second.clone(), first.clone()], "in the order of writing");
    assert_eq!(journal.releases(1).await.expect("releases"), [second]);

    // Kept as long as the runs of its time, and then it goes without a gap in the chain.
    journal.prune(at(6)).await.expect("prune");
    assert_eq!(journal.releases(10).await.expect("releases"), [first]);
    the_chain_holds(&journal).await;
    journal.prune(at(11)).await.expect("prune");
    assert_eq!(journal.releases(10).await.expect("releases"), []);
}

pub(super) async fn a_saved_plan_is_found_by_an_unambiguous_beginning(journal: Subjected) {
    let change = SavedChange {
        mark: "m1".into(),
        kind: OpKind::RemoveMember,
        source: Some("00u1".into()),
        user_name: "ann".into(),
        group: Some("Eng".into()),
        held_by: vec!["membership-limit".into()],
    };
    let plan = |id: &str, second| SavedPlan {
        id: id.into(),
        job: staff(),
        target: jira(),
        made: at(second),
        expires: at(second + 60),
        by: "os:ops".into(),
        changes: vec![change.clone()],
    };
    for saved in [plan("aab1", 1), plan("aac2", 2), plan("aac2", 3)] {
        journal.save_plan(&saved).await.expect("save");
    }
    assert_eq!(journal.saved_plans("aac").await.expect("found"), [plan("aac2", 3)]);
    assert_eq!(journal.saved_plans("aa").await.expect("found"), [plan("aac2", 3), plan("aab1", 1)], "two plans begin so");
    assert!(journal.saved_plans("b").await.expect("none").is_empty());
    assert_eq!(journal.prune(at(62)).await.expect("prune"), 0);
    assert!(journal.saved_plans("aab1").await.expect("none").is_empty(), "long expired");
    assert_eq!(journal.saved_plans("aac2").await.expect("found").len(), 1);
}
