//! Runs: their intents and outcomes, what a dead process left, what is asked about them, and their end.

use super::*;

pub(super) async fn intents_are_numbered_in_the_order_given(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let names: Vec<String> = (0..500).map(|n| format!("u{}", (n * 37) % 500)).collect();
    let intents: Vec<Intent> = names.iter().map(|n| intent(OpKind::AddMember, n, Some("eng"))).collect();
    let ids = journal.intend(&run, &jira(), &intents, at(1)).await.expect("intend");
    assert!(ids.is_sorted());
    let changes = journal.changes(&run).await.expect("changes");
    assert_eq!(changes.iter().map(|c| c.id).collect::<Vec<_>>(), ids);
    assert_eq!(changes.into_iter().map(|c| c.intent).collect::<Vec<_>>(), intents);
    assert_eq!(journal.intend(&run, &jira(), &[], at(1)).await.expect("intend"), []);
}

pub(super) async fn a_change_comes_back_as_it_was_intended_and_settled(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let attributes = |name: &str, email: Option<&str>| Attributes {
        name: name.into(),
        email: email.map(Into::into),
        display_name: Some("Zoë \"Z\" O'Neill".into()),
    };
    let update = Intent {
        kind: OpKind::UpdateUser,
        source: Some("00u1".into()),
        user: Some("10001".into()),
        user_name: Some("zoe".into()),
        group: None,
        before: Some(attributes("zoe", None)),
        after: Some(attributes("zo", Some("zoe@example.com"))),
        because: Reason::MemberOf { source: 3 },
        let_by: Some("os:ops".into()),
    };
    let bare = Intent {
        kind: OpKind::CreateGroup,
        source: None,
        user: None,
        user_name: None,
        group: Some("Eng's \\ \"best\"".into()),
        before: None,
        after: None,
        because: Reason::Mapped { source: 0 },
        let_by: None,
    };
    let intents = [update.clone(), bare, intent(OpKind::LinkUser, "ann", None), intent(OpKind::DeleteUser, "bob", None)];
    let ids = journal.intend(&run, &jira(), &intents, at(1)).await.expect("intend");
    let outcomes = [
        Outcome::Done,
        Outcome::AlreadySo,
        Outcome::Failed { fault: "rejected".into(), why: "400: \"no\"".into() },
        Outcome::Skipped,
    ];
    let settlements: Vec<Settlement> =
        ids.iter().zip(&outcomes).map(|(id, outcome)| settlement(*id, outcome.clone(), Vec::new())).collect();
    assert!(journal.changes(&run).await.expect("changes").iter().all(|c| c.outcome.is_none()));
    journal.settle(&jira(), &settlements, at(2)).await.expect("settle");
    let changes = journal.changes(&run).await.expect("changes");
    for (n, change) in changes.iter().enumerate() {
        assert_eq!((&change.run, change.at, change.id), (&run, at(1), ids[n]));
        assert_eq!(change.intent, intents[n]);
        assert_eq!(change.outcome.as_ref(), Some(&outcomes[n]));
    }
}

pub(super) async fn effects_take_place_with_their_outcome(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    assert!(journal.ledger(&jira()).await.expect("ledger").is_empty());
    journal.settle(&jira(), &[settlement(id, Outcome::Done, vec![own("eng", "ann")])], at(2)).await.expect("settle");
    assert!(journal.ledger(&jira()).await.expect("ledger").owns(&"eng".into(), &"ann".into()));
}

pub(super) async fn the_first_outcome_of_an_intent_stays(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    let first = settlement(id, Outcome::AlreadySo, vec![own("eng", "ann")]);
    let second = settlement(id, Outcome::Done, vec![own("ops", "ann")]);
    journal.settle(&jira(), &[first, second.clone()], at(2)).await.expect("settle");
    journal.settle(&jira(), &[second], at(3)).await.expect("settle again");
    assert_eq!(journal.changes(&run).await.expect("changes")[0].outcome, Some(Outcome::AlreadySo));
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), Ledger::of([("eng".into(), "ann".into())]));
}

pub(super) async fn settling_an_unknown_intent_settles_nothing(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    let both = [settlement(id, Outcome::Done, vec![own("eng", "ann")]), settlement(IntentId(987_654), Outcome::Done, Vec::new())];
    let error = journal.settle(&jira(), &both, at(2)).await.expect_err("an unknown intent");
    assert!(error.to_string().contains("987654") && !error.passing, "{error}");
    assert!(journal.settle(&wiki(), &both[..1], at(2)).await.is_err(), "an intent of another target");
    assert_eq!(journal.changes(&run).await.expect("changes")[0].outcome, None);
    assert!(journal.ledger(&jira()).await.expect("ledger").is_empty());
}

pub(super) async fn an_intent_needs_a_run(journal: Subjected) {
    let intents = [intent(OpKind::AddMember, "ann", Some("eng"))];
    assert!(journal.intend(&"never".into(), &jira(), &intents, at(1)).await.is_err());
    let error = journal.end(&"never".into(), &ended(Ended::Applied, at(2))).await.expect_err("no such run");
    assert!(error.to_string().contains("never"), "{error}");
}

pub(super) async fn what_a_dead_process_left_open_is_lost_and_its_run_interrupted(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let made = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    journal.settle(&jira(), &[settlement(made, Outcome::Done, Vec::new())], at(2)).await.expect("settle");
    let open = intended(&journal, &run, OpKind::RemoveMember, "bob", Some("eng")).await;

    let lost = journal.recover(&jira(), at(9)).await.expect("recover");
    assert_eq!(lost.iter().map(|c| (c.id, c.outcome.clone())).collect::<Vec<_>>(), [(open, Some(Outcome::Lost))]);
    assert_eq!(journal.changes(&run).await.expect("changes")[1].outcome, Some(Outcome::Lost));
    let end = journal.run("r1").await.expect("run").expect("there").end.expect("ended");
    assert_eq!((end.ended, end.at), (Ended::Interrupted, at(9)));
    assert_eq!(end.done, [(OpKind::AddMember, 1)]);
    assert_eq!(end.planned, [(OpKind::AddMember, 1), (OpKind::RemoveMember, 1)]);
    assert!(end.messages[0].contains("1 change"), "{:?}", end.messages);
    assert_eq!(journal.recover(&jira(), at(10)).await.expect("recover again"), []);
    let end = journal.run("r1").await.expect("run").expect("there").end.expect("ended");
    assert_eq!(end.at, at(9));
}

pub(super) async fn recovery_leaves_other_targets_alone(journal: Subjected) {
    journal.begin(&run_at("w1", &wiki(), at(0))).await.expect("begin");
    let intents = [intent(OpKind::AddMember, "ann", Some("eng"))];
    journal.intend(&"w1".into(), &wiki(), &intents, at(1)).await.expect("intend");
    assert_eq!(journal.recover(&jira(), at(9)).await.expect("recover"), []);
    assert_eq!(journal.run("w1").await.expect("run").expect("there").end, None);
    assert_eq!(journal.changes(&"w1".into()).await.expect("changes")[0].outcome, None);
}

pub(super) async fn a_run_that_outlived_its_recovery_tells_its_own_end(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    journal.recover(&jira(), at(9)).await.expect("recover");
    journal.end(&run, &ended(Ended::Applied, at(10))).await.expect("end");
    let end = journal.run("r1").await.expect("run").expect("there").end.expect("ended");
    assert_eq!((end.ended, end.at), (Ended::Applied, at(10)));
}

pub(super) async fn freshness_is_that_of_the_last_complete_run(journal: Subjected) {
    assert_eq!(journal.freshness(&staff(), &jira()).await.expect("read"), Freshness::default());
    let messages: [&[&str]; 4] =
        [&[], &["x"], &["stopped with 3 changes left to the next run: it is down"], &["x", "stopped with it"]];
    let mut second = 0;
    let mut last = None;
    for how in Ended::ALL {
        for sizes in [None, Some(Sizes::default())] {
            for messages in messages {
                second += 10;
                let id = format!("r{second:04}");
                journal.begin(&run_at(&id, &jira(), at(second))).await.expect("begin");
                let messages = messages.iter().map(|m| (*m).to_owned()).collect();
                let end = RunEnd { sizes, messages, ..ended(how, at(second + 1)) };
                journal.end(&id.as_str().into(), &end).await.expect("end");
                if end.is_complete() {
                    last = Some(end.at);
                }
                let told = journal.freshness(&staff(), &jira()).await.expect("read");
                assert_eq!(told, Freshness { complete: last, first: Some(at(10)) }, "{end:?}");
            }
        }
    }
    assert!(last.is_some_and(|complete| complete < at(second)), "some were and the last was not");
    assert_eq!(journal.freshness(&staff(), &wiki()).await.expect("read"), Freshness::default());
}

pub(super) async fn runs_are_listed_the_newest_first(journal: Subjected) {
    for (id, target, second) in [("r1", jira(), 1), ("r3", jira(), 3), ("r2", wiki(), 2)] {
        journal.begin(&run_at(id, &target, at(second))).await.expect("begin");
    }
    let ids = |runs: Vec<RunRecord>| runs.iter().map(|r| r.start.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(journal.runs(&all()).await.expect("runs")), ["r3", "r2", "r1"]);
    let of_jira = RunQuery { target: Some(jira()), job: Some(staff()), ..all() };
    assert_eq!(ids(journal.runs(&of_jira).await.expect("runs")), ["r3", "r1"]);
    assert_eq!(ids(journal.runs(&RunQuery { limit: 1, ..all() }).await.expect("runs")), ["r3"]);
    let of_nobody = RunQuery { job: Some("nobody".into()), ..all() };
    assert!(journal.runs(&of_nobody).await.expect("runs").is_empty());

    // Of several that began at once the ids tell which comes first, between pages as within one.
    for id in ["r3a", "r3b"] {
        journal.begin(&run_at(id, &wiki(), at(3))).await.expect("begin");
    }
    assert_eq!(ids(journal.runs(&all()).await.expect("runs")), ["r3b", "r3a", "r3", "r2", "r1"]);
    let beyond = |id: &str| RunQuery { beyond: Some(id.into()), ..all() };
    assert_eq!(ids(journal.runs(&beyond("r3a")).await.expect("runs")), ["r3", "r2", "r1"]);
    assert_eq!(ids(journal.runs(&RunQuery { limit: 1, ..beyond("r3") }).await.expect("runs")), ["r2"]);
    assert!(journal.runs(&beyond("r1")).await.expect("runs").is_empty());
    assert!(journal.runs(&beyond("gone")).await.expect("runs").is_empty());
}

pub(super) async fn a_run_keeps_who_asked_for_it(journal: Subjected) {
    let asked = RunStart { trigger: Trigger::Api, by: Some("token:ops".into()), ..run_at("r1", &jira(), at(1)) };
    let by_command = RunStart { trigger: Trigger::Command, by: Some("os:ada (as root)".into()), ..run_at("r2", &jira(), at(2)) };
    let by_schedule = run_at("r3", &jira(), at(3));
    for start in [&asked, &by_command, &by_schedule] {
        journal.begin(start).await.expect("begin");
        assert_eq!(journal.run(start.id.as_str()).await.expect("run").expect("there").start, *start);
    }
    assert_eq!(journal.last_began(&staff()).await.expect("the store works"), Some(at(3)));
    assert!(journal.verify(None).await.expect("readable").holds());
}

pub(super) async fn a_run_is_found_by_an_unambiguous_beginning(journal: Subjected) {
    for id in ["0199aa", "0199ab", "0199"] {
        begun(&journal, id).await;
    }
    let found = |id: &'static str| {
        let journal = journal.clone();
        async move { journal.run(id).await.expect("run").map(|r| r.start.id.to_string()) }
    };
    assert_eq!(found("0199aa").await.as_deref(), Some("0199aa"));
    assert_eq!(found("0199").await.as_deref(), Some("0199"), "the whole id is never ambiguous");
    assert_eq!(found("0199b").await, None);
    assert_eq!(found("%").await, None);
    assert_eq!(found("").await, None);
    let error = journal.run("0199a").await.expect_err("two fit");
    assert!(error.to_string().contains("\"0199a\" begins the ids of several runs"), "{error}");
}

pub(super) async fn a_run_begins_once_and_ends_once(journal: Subjected) {
    let start = run_at("r1", &jira(), at(0));
    journal.begin(&start).await.expect("begin");
    assert!(journal.begin(&start).await.is_err());
    let end = RunEnd {
        plan: Some("ab12".into()),
        planned: vec![(OpKind::AddMember, 3), (OpKind::DeleteUser, 1)],
        done: vec![(OpKind::AddMember, 2)],
        failed: 1,
        staged: 1,
        requests: 17,
        messages: vec!["a \"message\"".into()],
        sizes: Some(Sizes { users: 5, groups: 2, memberships: 9 }),
        ..ended(Ended::Partial, at(5))
    };
    journal.end(&start.id, &end).await.expect("end");
    journal.end(&start.id, &ended(Ended::Failed, at(6))).await.expect("a second end is ignored");
    let record = journal.run("r1").await.expect("run").expect("there");
    assert_eq!(record, RunRecord { start, end: Some(end) });
}

pub(super) async fn the_last_beginning_leaves_retries_out(journal: Subjected) {
    assert_eq!(journal.last_began(&staff()).await.expect("last"), None);
    journal.begin(&run_at("r1", &jira(), at(1))).await.expect("begin");
    journal.begin(&RunStart { trigger: Trigger::Command, ..run_at("r2", &jira(), at(2)) }).await.expect("begin");
    journal.begin(&RunStart { trigger: Trigger::Retry, ..run_at("r3", &jira(), at(3)) }).await.expect("begin");
    assert_eq!(journal.last_began(&staff()).await.expect("last"), Some(at(2)));
}

pub(super) async fn sizes_are_those_of_the_last_trusted_run(journal: Subjected) {
    let sized = |users| Some(Sizes { users, groups: 1, memberships: 1 });
    for (id, second, sizes) in [("r1", 1, sized(10)), ("r2", 2, sized(20)), ("r3", 3, None)] {
        journal.begin(&run_at(id, &jira(), at(second))).await.expect("begin");
        let end = RunEnd { sizes, ..ended(Ended::Applied, at(second)) };
        journal.end(&id.into(), &end).await.expect("end");
    }
    assert_eq!(journal.sizes(&staff(), &jira()).await.expect("sizes"), sized(20));
    assert_eq!(journal.sizes(&staff(), &wiki()).await.expect("sizes"), None);
}

pub(super) async fn removals_are_counted_by_group_and_time(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let removals = [
        (OpKind::RemoveMember, Some("Eng"), Outcome::Done, 100),
        (OpKind::RemoveMember, Some("eng"), Outcome::Done, 101),
        (OpKind::RemoveMember, Some("all"), Outcome::Done, 102),
        (OpKind::RemoveMember, Some("eng"), Outcome::Done, 99),
        (OpKind::RemoveMember, Some("eng"), Outcome::AlreadySo, 103),
        (OpKind::RemoveMember, Some("eng"), Outcome::Skipped, 103),
        (OpKind::AddMember, Some("eng"), Outcome::Done, 103),
        (OpKind::DeactivateUser, None, Outcome::Done, 104),
        (OpKind::DeleteUser, None, Outcome::Done, 105),
    ];
    for (kind, group, outcome, second) in removals {
        let id = intended(&journal, &run, kind, "ann", group).await;
        journal.settle(&jira(), &[settlement(id, outcome, Vec::new())], at(second)).await.expect("settle");
    }
    intended(&journal, &run, OpKind::RemoveMember, "open", Some("eng")).await;
    let counted = journal.removals_since(&jira(), at(100)).await.expect("removals");
    let by_group = vec![("all".into(), 1), ("eng".into(), 2)];
    assert_eq!(counted, Removals { deactivations: 2, memberships: 3, by_group });
    assert_eq!(journal.removals_since(&wiki(), at(0)).await.expect("removals"), Removals::default());
}

pub(super) async fn removals_that_a_person_let_through_do_not_count(journal: Subjected) {
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    let run = "r1".into();
    for let_by in [None, Some("os:ops".to_owned())] {
        let intents = [Intent { let_by, ..intent(OpKind::RemoveMember, "ann", Some("eng")) }];
        let ids = journal.intend(&run, &jira(), &intents, at(1)).await.expect("intend");
        journal.settle(&jira(), &[settlement(ids[0], Outcome::Done, Vec::new())], at(2)).await.expect("settle");
    }
    let counted = journal.removals_since(&jira(), at(0)).await.expect("removals");
    assert_eq!(counted.memberships, 1);
}

pub(super) async fn pruning_spares_what_is_still_asked_for(journal: Subjected) {
    let sizes = Some(Sizes { users: 1, groups: 1, memberships: 1 });
    for (id, trigger, second, sizes) in [
        ("old", Trigger::Schedule, 1, sizes),
        ("sized", Trigger::Schedule, 2, sizes),
        ("last", Trigger::Schedule, 3, None),
        ("retry", Trigger::Retry, 4, None),
        ("young", Trigger::Retry, 100, None),
    ] {
        journal.begin(&RunStart { trigger, ..run_at(id, &jira(), at(second)) }).await.expect("begin");
        intended(&journal, &id.into(), OpKind::AddMember, "ann", Some("eng")).await;
        journal.end(&id.into(), &RunEnd { sizes, ..ended(Ended::Applied, at(second)) }).await.expect("end");
    }
    journal.begin(&RunStart { trigger: Trigger::Retry, ..run_at("open", &jira(), at(0)) }).await.expect("begin");
    journal.record(&jira(), &[own("eng", "ann"), own("eng", "bob"), disown("eng", "bob")]).await.expect("record");

    assert_eq!(journal.prune(at(50)).await.expect("prune"), 2);
    let runs = journal.runs(&all()).await.expect("runs");
    assert_eq!(runs.iter().map(|r| r.start.id.as_str()).collect::<Vec<_>>(), ["young", "last", "sized", "open"]);
    assert!(journal.changes(&"old".into()).await.expect("changes").is_empty());
    assert_eq!(journal.changes(&"sized".into()).await.expect("changes").len(), 1);
    assert_eq!(journal.sizes(&staff(), &jira()).await.expect("sizes"), sizes);
    assert_eq!(journal.last_began(&staff()).await.expect("last"), Some(at(3)));
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), Ledger::of([("eng".into(), "ann".into())]));
    assert_eq!(journal.prune(at(50)).await.expect("prune"), 0);
}

pub(super) async fn times_keep_their_milliseconds(journal: Subjected) {
    let fine = at(1) + TimeDelta::nanoseconds(123_456_789);
    journal.begin(&run_at("r1", &jira(), fine)).await.expect("begin");
    let began = journal.run("r1").await.expect("run").expect("there").start.at;
    assert_eq!(began, at(1) + TimeDelta::milliseconds(123));
}

pub(super) async fn text_of_any_characters_comes_back(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    for name in ["É", "straße", "a\\u0000b", "\"", "\u{1}", "\u{1F600}", "'; drop table runs; --", "$1"] {
        let id = intended(&journal, &run, OpKind::AddMember, name, Some(name)).await;
        let query = ChangeQuery { user: Some(name.into()), group: Some(name.into()), limit: 10, ..ChangeQuery::default() };
        let told = journal.history(&query).await.expect("history");
        assert_eq!(told.iter().map(|t| t.change.id).collect::<Vec<_>>(), [id], "{name:?}");
        assert_eq!(told[0].change.intent.group.as_deref(), Some(name));
    }
    // But for the one that is none.
    journal.begin(&run_at("r2", &jira(), at(2))).await.expect("begin");
    intended(&journal, &"r2".into(), OpKind::AddMember, "a\0b\\u0000", Some("\0")).await;
    let change = &journal.changes(&"r2".into()).await.expect("changes")[0];
    assert_eq!(change.intent.user_name.as_deref(), Some("a\u{fffd}b\\u0000"));
    assert_eq!(change.intent.group.as_deref(), Some("\u{fffd}"));
}
