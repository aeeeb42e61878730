//! The record as a whole: what is found in it, and the chain that shows that it was not changed.

use super::*;
use crate::contract::chain::{Beginning, Head};
use crate::contract::history::{ChangeQuery, Order, Told};

/// Whatever a law has written, the chain agrees with it.
pub(super) async fn the_chain_holds(journal: &Subjected) {
    let checked = journal.verify(None).await.expect("verify");
    assert!(checked.holds(), "{checked:#?}");
    assert_eq!(checked.head, journal.head().await.expect("head"));
}

/// Two runs of two jobs, ten minutes apart.
async fn some_changes(journal: &Subjected) {
    let named = |name: &str| Attributes { name: name.into(), email: None, display_name: None };
    let rename = Intent { before: Some(named("ann")), after: Some(named("Ännchen")), ..intent(OpKind::UpdateUser, "ann", None) };
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    let first = [intent(OpKind::AddMember, "ann", Some("Eng")), intent(OpKind::AddMember, "bob", Some("eng")), rename];
    journal.intend(&"r1".into(), &jira(), &first, at(1)).await.expect("intend");
    journal.end(&"r1".into(), &RunEnd { plan: Some("ab12".into()), ..ended(Ended::Applied, at(2)) }).await.expect("end");

    let start = RunStart { job: "others".into(), trigger: Trigger::Command, ..run_at("r2", &wiki(), at(600)) };
    journal.begin(&start).await.expect("begin");
    let created = Intent { user: None, ..intent(OpKind::CreateUser, "cid", None) };
    let second = [created, intent(OpKind::DeactivateUser, "bob", None), intent(OpKind::RemoveMember, "ann", Some("ops"))];
    let ids = journal.intend(&"r2".into(), &wiki(), &second, at(601)).await.expect("intend");
    let settlements = [
        Settlement {
            created: Some("10007".into()),
            request: Some("759x12x1".into()),
            ..settlement(ids[0], Outcome::Done, Vec::new())
        },
        Settlement { left_groups: vec!["Eng".into(), "all".into()], ..settlement(ids[1], Outcome::Done, Vec::new()) },
    ];
    journal.settle(&wiki(), &settlements, at(602)).await.expect("settle");
}

fn anything() -> ChangeQuery {
    ChangeQuery { limit: 100, ..ChangeQuery::default() }
}

/// Who each change is about, with its kind.
async fn found(journal: &Subjected, query: ChangeQuery) -> Vec<String> {
    let told = journal.history(&query).await.expect("history");
    let short = |told: &Told| {
        let intent = &told.change.intent;
        format!("{} {}", intent.kind.word(), intent.user_name.as_deref().unwrap_or_default())
    };
    told.iter().map(short).collect()
}

pub(super) async fn changes_are_found_by_whom_and_what_they_are_about(journal: Subjected) {
    some_changes(&journal).await;
    let user = |name: &str| ChangeQuery { user: Some(name.into()), ..anything() };
    let of_ann = ["add_member ann", "update_user ann", "remove_member ann"];
    assert_eq!(found(&journal, user("ANN")).await, of_ann, "a name is a name in any case");
    assert_eq!(found(&journal, user("00u-ann")).await, of_ann, "the source's id");
    assert_eq!(found(&journal, user("ÄnnCHEN")).await, ["update_user ann"], "the name that a change gave");
    assert_eq!(found(&journal, user("10007")).await, ["create_user cid"], "the id of an account that was made");
    assert_eq!(found(&journal, user("an")).await, [] as [&str; 0]);
    let group = |name: &str| ChangeQuery { group: Some(name.into()), ..anything() };
    assert_eq!(found(&journal, group("ENG")).await, ["add_member ann", "add_member bob", "deactivate_user bob"]);
    assert_eq!(found(&journal, group("%")).await, [] as [&str; 0]);
    let both = ChangeQuery { group: Some("eng".into()), ..user("bob") };
    assert_eq!(found(&journal, both).await, ["add_member bob", "deactivate_user bob"], "every condition counts");
    let source = ChangeQuery { target: Some(jira()), source: Some("00u-bob".into()), ..anything() };
    assert_eq!(found(&journal, source).await, ["add_member bob"]);
}

pub(super) async fn changes_are_found_by_run_and_time(journal: Subjected) {
    some_changes(&journal).await;
    let first = ["add_member ann", "add_member bob", "update_user ann"];
    let second = ["create_user cid", "deactivate_user bob", "remove_member ann"];
    for query in [
        ChangeQuery { until: Some(at(601)), ..anything() },
        ChangeQuery { since: Some(at(1)), until: Some(at(2)), ..anything() },
        ChangeQuery { job: Some(staff()), ..anything() },
        ChangeQuery { target: Some(jira()), ..anything() },
        ChangeQuery { run: Some("r1".into()), ..anything() },
    ] {
        assert_eq!(found(&journal, query.clone()).await, first, "{query:?}");
    }
    assert_eq!(found(&journal, ChangeQuery { since: Some(at(601)), ..anything() }).await, second, "the beginning is within");
    assert_eq!(found(&journal, ChangeQuery { since: Some(at(602)), ..anything() }).await, [] as [&str; 0]);
    let told = journal.history(&anything()).await.expect("history");
    let run = |told: &Told| (told.job.to_string(), told.target.clone(), told.trigger, told.plan.clone());
    assert_eq!(run(&told[0]), ("staff".into(), jira(), Trigger::Schedule, Some("ab12".into())));
    assert_eq!(run(&told[3]), ("others".into(), wiki(), Trigger::Command, None), "it has not ended");
    assert_eq!(
        told[3..].iter().map(|t| t.change.clone()).collect::<Vec<_>>(),
        journal.changes(&"r2".into()).await.expect("changes")
    );
}

pub(super) async fn changes_are_told_a_page_at_a_time_in_either_order(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let names: Vec<String> = (0..25).map(|n| format!("u{n}")).collect();
    let intents: Vec<Intent> = names.iter().map(|n| intent(OpKind::AddMember, n, Some("eng"))).collect();
    journal.intend(&run, &jira(), &intents, at(1)).await.expect("intend");
    for (order, expected) in
        [(Order::OldestFirst, names.clone()), (Order::NewestFirst, names.iter().rev().cloned().collect::<Vec<_>>())]
    {
        let mut query = ChangeQuery { order, limit: 10, ..ChangeQuery::default() };
        let mut pages = Vec::new();
        loop {
            let page = journal.history(&query).await.expect("history");
            let Some(last) = page.last() else { break };
            query.beyond = Some(last.change.id);
            pages.push(page);
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        let told: Vec<String> =
            pages.iter().flatten().filter_map(|t| t.change.intent.user_name.as_deref().map(str::to_owned)).collect();
        assert_eq!(told, expected);
    }
}

pub(super) async fn a_change_keeps_what_the_target_told_of_it(journal: Subjected) {
    some_changes(&journal).await;
    let changes = journal.changes(&"r2".into()).await.expect("changes");
    let [created, deactivated, open] = &changes[..] else { panic!("three") };
    assert_eq!((created.request.as_deref(), created.settled_at), (Some("759x12x1"), Some(at(602))));
    assert_eq!(created.intent.user.as_ref().map(TargetKey::as_str), Some("10007"));
    assert_eq!((deactivated.request.as_deref(), deactivated.settled_at), (None, Some(at(602))));
    assert_eq!((&open.request, open.settled_at), (&None, None));
}

pub(super) async fn each_write_to_the_record_moves_the_head(journal: Subjected) {
    let mut heads = vec![journal.head().await.expect("head")];
    let run = begun(&journal, "r1").await;
    heads.push(journal.head().await.expect("head"));
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    heads.push(journal.head().await.expect("head"));
    journal.settle(&jira(), &[settlement(id, Outcome::Done, vec![own("eng", "ann")])], at(2)).await.expect("settle");
    heads.push(journal.head().await.expect("head"));
    heads.push(journal.end(&run, &ended(Ended::Applied, at(3))).await.expect("end"));
    journal.decide(&[decision("m1", Verdict::Approved, 4)]).await.expect("decide");
    heads.push(journal.head().await.expect("head"));
    journal.undecide(&staff(), &jira(), &["m1".into()], at(5)).await.expect("undecide");
    heads.push(journal.head().await.expect("head"));
    assert!(heads.is_sorted_by(|a, b| a.entry + 1 == b.entry && a.hash != b.hash), "{heads:?}");
    // What changes nothing is nothing.
    journal.undecide(&staff(), &jira(), &["m1".into()], at(6)).await.expect("undecide");
    journal.recover(&jira(), at(6)).await.expect("recover");
    journal.let_go(&staff(), &jira(), &["ann".into()]).await.expect("let go");
    let again = journal.end(&run, &ended(Ended::Failed, at(6))).await.expect("end");
    assert_eq!(heads.last(), Some(&again));

    let checked = journal.verify(None).await.expect("verify");
    assert_eq!((checked.entries, checked.span), (6, Some((at(0), at(5)))));
    assert_eq!((checked.beginning, checked.held), (Beginning::Nothing, None));
}

pub(super) async fn a_head_that_was_kept_is_found_and_another_is_not(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let then = journal.end(&run, &ended(Ended::Converged, at(1))).await.expect("end");
    begun(&journal, "r2").await;
    for asked in [then.hash.clone(), then.hash.to_uppercase(), then.hash[..12].to_owned()] {
        let checked = journal.verify(Some(&asked)).await.expect("verify");
        assert!(checked.holds());
        assert_eq!(checked.held, Some(Some(then.clone())));
    }
    let checked = journal.verify(Some(&"0".repeat(64))).await.expect("verify");
    assert_eq!((checked.holds(), checked.held), (false, Some(None)));
    assert!(!journal.verify(Some("")).await.expect("verify").holds(), "nothing is no hash");
}

pub(super) async fn the_chain_holds_over_decisions_holds_and_recovery(journal: Subjected) {
    let hold = |user: &str, wish: Option<&str>| Hold {
        job: staff(),
        target: jira(),
        user: user.into(),
        user_name: user.into(),
        source: None,
        run: "r1".into(),
        actor: "os:ops".into(),
        reason: "too early".into(),
        since: at(1),
        wish: wish.map(Into::into),
    };
    // The same decision twice, replaced by another, used, and made anew.
    let same = decision("m1", Verdict::Approved, 1);
    for made in [same.clone(), same.clone(), decision("m1", Verdict::Rejected, 2)] {
        journal.decide(&[made]).await.expect("decide");
    }
    journal.undecide(&staff(), &jira(), &["m1".into()], at(3)).await.expect("undecide");
    journal.decide(&[same, decision("m2", Verdict::Rejected, 4)]).await.expect("decide");
    the_chain_holds(&journal).await;
    journal.hold(&[hold("ann", None), hold("bob", None)]).await.expect("hold");
    journal.hold(&[hold("ann", Some("w"))]).await.expect("hold");
    journal.wish(&[hold("ann", Some("v")), hold("eve", Some("v"))]).await.expect("wish");
    journal.let_go(&staff(), &jira(), &["bob".into()]).await.expect("let go");
    the_chain_holds(&journal).await;
    let run = begun(&journal, "r1").await;
    intended(&journal, &run, OpKind::CreateUser, "ann", None).await;
    the_chain_holds(&journal).await;
    journal.recover(&jira(), at(9)).await.expect("recover");
    the_chain_holds(&journal).await;
    journal.end(&run, &ended(Ended::Applied, at(10))).await.expect("the run outlived it");
    the_chain_holds(&journal).await;
}

pub(super) async fn the_chain_holds_over_pruning_and_its_oldest_part_goes(journal: Subjected) {
    async fn whole_run(journal: &Subjected, n: i64) -> Head {
        let id = format!("r{n:03}");
        journal.begin(&run_at(&id, &jira(), at(n * 10))).await.expect("begin");
        let run = id.as_str().into();
        let intents = [intent(OpKind::AddMember, "ann", Some("eng"))];
        let ids = journal.intend(&run, &jira(), &intents, at(n * 10 + 1)).await.expect("intend");
        journal.settle(&jira(), &[settlement(ids[0], Outcome::Done, Vec::new())], at(n * 10 + 2)).await.expect("settle");
        journal.end(&run, &ended(Ended::Applied, at(n * 10 + 3))).await.expect("end")
    }
    let mut heads = Vec::new();
    for n in 0..120 {
        heads.push(whole_run(&journal, n).await);
    }
    journal.decide(&[decision("old", Verdict::Approved, 5), decision("stands", Verdict::Rejected, 900)]).await.expect("decide");
    assert_eq!(journal.prune(at(600)).await.expect("prune"), 60);
    let checked = journal.verify(Some(&heads[60].hash)).await.expect("verify");
    assert!(checked.holds(), "{checked:#?}");
    assert!(matches!(checked.beginning, Beginning::Pruned { entry } if entry >= heads[58].entry), "{checked:#?}");
    assert!(checked.entries < 60 * 4 + 10, "what is gone is not kept: {}", checked.entries);
    assert_eq!(journal.verify(Some(&heads[2].hash)).await.expect("verify").held, Some(None), "nor are its heads");

    // A decision that stands keeps its entry, and with it all that came later.
    assert_eq!(journal.prune(at(1190)).await.expect("prune"), 59);
    let checked = journal.verify(Some(&heads[95].hash)).await.expect("verify");
    assert!(checked.holds(), "{checked:#?}");
    journal.undecide(&staff(), &jira(), &["stands".into()], at(1195)).await.expect("undecide");
    whole_run(&journal, 200).await;
    journal.prune(at(1999)).await.expect("prune");
    the_chain_holds(&journal).await;
    let entries = journal.verify(None).await.expect("verify").entries;
    journal.prune(at(1999)).await.expect("prune");
    let again = journal.verify(None).await.expect("verify");
    assert!(again.holds() && again.entries <= entries + 1, "a pruning with nothing to do leaves nothing: {again:#?}");
}
