//! What another hand does to the file, and how each is found and named.

use sqlx::Executor;

use crate::contract::chain::{Beginning, Verification, Wrong};
use crate::contract::journal::*;
use crate::contract::verdict::{Decision, Hold, Verdict};
use crate::model::change::OpKind;
use crate::store::open::make_old;
use crate::store::sql::Builder;
use crate::store::suite::*;
use crate::store::{OpenOptions, SqlJournal};

fn decision(mark: &str) -> Decision {
    Decision {
        job: staff(),
        target: jira(),
        mark: mark.into(),
        plan: "plan1".into(),
        verdict: Verdict::Approved,
        held_by: vec!["membership-limit".into()],
        source: None,
        kind: OpKind::RemoveMember,
        user_name: "ann".into(),
        group: Some("Eng".into()),
        actor: "os:ops".into(),
        reason: "they left".into(),
        at: at(8),
        expires: Some(at(900)),
    }
}

/// Entries: 1 the beginning, 2 to 5 the first run with changes 1 to 3, 6 to 10 the second with changes 4 and 5, of which the
/// last was lost, 11 a decision, 12 a hold.
async fn filled() -> SqlJournal {
    let journal = SqlJournal::memory(false).await.expect("open");
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    let intents = ["ann", "bob", "cid"].map(|name| intent(OpKind::AddMember, name, Some("eng")));
    let ids = journal.intend(&"r1".into(), &jira(), &intents, at(1)).await.expect("intend");
    let done = |id: &IntentId| Settlement { request: Some("1x2x3".into()), ..settlement(*id, Outcome::Done, Vec::new()) };
    journal.settle(&jira(), &ids.iter().map(done).collect::<Vec<_>>(), at(2)).await.expect("settle");
    journal.end(&"r1".into(), &ended(Ended::Applied, at(3))).await.expect("end");
    journal.begin(&run_at("r2", &jira(), at(4))).await.expect("begin");
    let intents = ["dan", "eve"].map(|name| intent(OpKind::RemoveMember, name, Some("ops")));
    let ids = journal.intend(&"r2".into(), &jira(), &intents, at(5)).await.expect("intend");
    journal.settle(&jira(), &[done(&ids[0])], at(6)).await.expect("settle");
    journal.recover(&jira(), at(7)).await.expect("recover");
    journal.decide(&[decision("m1")]).await.expect("decide");
    let hold = Hold {
        job: staff(),
        target: jira(),
        user: "ann".into(),
        user_name: "ann".into(),
        source: None,
        run: "r1".into(),
        actor: "os:ops".into(),
        reason: "too early".into(),
        since: at(9),
        wish: None,
    };
    journal.hold(&[hold]).await.expect("hold");
    let checked = journal.verify(None).await.expect("verify");
    assert!(checked.holds() && checked.head.entry == 12, "{checked:#?}");
    journal
}

async fn after(sql: &str) -> Verification {
    let journal = filled().await;
    tamper(&journal, sql).await;
    journal.verify(None).await.expect("verify")
}

async fn tamper(journal: &SqlJournal, sql: &str) {
    Builder::new(sql).build().execute(&mut journal.seats.watch("").await.expect("writer")).await.expect("tamper");
}

/// Entry, change and in which way of each place.
fn places(checked: &Verification) -> Vec<(Option<u64>, Option<i64>, Wrong)> {
    checked.broken.iter().map(|b| (b.entry, b.change.map(|id| id.0), b.wrong)).collect()
}

use Wrong::{Changed, Inserted, Missing};

#[tokio::test]
async fn a_change_that_was_altered_is_named() {
    for (sql, entry, change) in [
        ("update changes set because = '{\"reason\":\"gone\"}' where id = 2", 3, 2),
        ("update changes set user_name = 'mallory' where id = 3", 3, 3),
        ("update changes set let_by = 'os:ops' where id = 4", 7, 4),
        ("update changes set at = at + 1 where id = 5", 7, 5),
        ("update changes set request = null where id = 1", 4, 1),
        ("update changes set outcome = 'done' where id = 5", 9, 5),
        ("update changes set created = 'mallory' where id = 2", 4, 2),
        ("update changes set why = '' where id = 2", 4, 2),
    ] {
        let checked = after(sql).await;
        assert_eq!(places(&checked), [(Some(entry), Some(change), Changed)], "{sql}");
        let told = &checked.broken[0];
        assert_eq!(told.run.as_ref().map(|run| run.as_str()), Some(if change < 4 { "r1" } else { "r2" }));
        assert!(told.what.contains(&format!("change {change} (")) && !checked.holds(), "{told:?}");
    }
    assert!(after("update changes set why = '' where id = 2").await.broken[0].what.contains("what came of it"));
    assert!(after("update changes set kind = 'add_member' where id = 4").await.broken[0].what.contains("what was intended"));
}

#[tokio::test]
async fn what_was_deleted_is_missed() {
    let checked = after("delete from changes where id = 2").await;
    assert_eq!(places(&checked), [(Some(3), Some(2), Missing)]);
    let checked = after("delete from runs where id = 'r1'").await;
    let gone = [None, Some(1), Some(2), Some(3)].map(|change| (Some(if change.is_some() { 3 } else { 2 }), change, Missing));
    assert_eq!(places(&checked), gone);
    let checked = after("delete from seals where id = 4").await;
    assert_eq!(places(&checked)[0], (Some(4), None, Missing));
    assert_eq!(places(&checked)[1..], [1, 2, 3].map(|change| (Some(3), Some(change), Inserted)), "its outcomes are nobody's");
    let checked = after("delete from seals where id = 3").await;
    assert_eq!(places(&checked)[0], (Some(3), None, Missing));
    let checked = after("delete from seals where id between 1 and 5").await;
    assert!(checked.broken[0].what.contains("1 to 5"), "{:?}", checked.broken[0]);
    let checked = after("delete from seals where id > 10").await;
    assert_eq!(places(&checked)[0], (Some(11), None, Missing), "the end of the chain as well");
    let checked = after("delete from decisions").await;
    assert_eq!(places(&checked), [(Some(11), None, Missing)]);
    let checked = after("delete from holds").await;
    assert_eq!(places(&checked), [(Some(12), None, Missing)]);
    assert!(!after("delete from seals").await.holds());
}

#[tokio::test]
async fn a_run_that_was_altered_is_named() {
    let checked = after("update runs set job = 'other' where id = 'r1'").await;
    assert_eq!(places(&checked), [(Some(2), None, Changed)]);
    let checked = after("update runs set failed = 7 where id = 'r1'").await;
    assert_eq!(places(&checked), [(Some(5), None, Changed)]);
    let checked = after("update runs set ended = 'applied' where id = 'r2'").await;
    assert_eq!(places(&checked), [(Some(10), None, Changed)]);
}

#[tokio::test]
async fn what_was_swapped_is_found_in_both_places() {
    let swap = |table: &str, a: i64, b: i64| {
        format!(
            "update {table} set id = -1 where id = {a}; update {table} set id = {a} where id = {b};
            update {table} set id = {b} where id = -1"
        )
    };
    let checked = after(&swap("changes", 1, 2)).await;
    assert_eq!(places(&checked), [1, 2].map(|change| (Some(3), Some(change), Changed)));
    let found = places(&after(&swap("seals", 7, 8)).await);
    assert!([7, 8].iter().all(|entry| found.contains(&(Some(*entry), None, Changed))), "{found:?}");
}

#[tokio::test]
async fn what_was_slipped_in_is_told_from_what_was_written() {
    const FORGED: &str = "insert into changes (run, target, kind, user_name, because, at, outcome, settled_at)
        values ('r1', 'jira', 'delete_user', 'mallory', '{\"reason\":\"gone\"}', 1, 'done', 2)";
    let checked = after(FORGED).await;
    assert_eq!(places(&checked), [(None, Some(6), Inserted)]);
    assert!(checked.broken[0].what.contains("delete_user mallory"), "{:?}", checked.broken[0]);
    let checked =
        after("insert into runs (id, job, target, fired_by, began_at) values ('r0', 'staff', 'jira', 'schedule', 1)").await;
    assert_eq!(checked.broken[0].run.as_ref().map(|run| run.as_str()), Some("r0"));
    assert_eq!(places(&checked), [(None, None, Inserted)]);

    let checked = after(&FORGED.replace("(run,", "(id, run,").replace("('r1'", "(-1, 'r1'")).await;
    assert_eq!(places(&checked), [(None, Some(-1), Inserted)], "before the first of all");

    // A change of another hand between those of rosterd, which goes on meanwhile.
    let journal = filled().await;
    tamper(&journal, FORGED).await;
    journal.intend(&"r1".into(), &jira(), &[intent(OpKind::AddMember, "fay", Some("eng"))], at(10)).await.expect("intend");
    assert_eq!(places(&journal.verify(None).await.expect("verify")), [(None, Some(6), Inserted)]);
    tamper(&journal, "update changes set outcome = 'done', settled_at = 1 where id = 7").await;
    let found = places(&journal.verify(None).await.expect("verify"));
    assert_eq!(found, [(None, Some(6), Inserted), (Some(13), Some(7), Inserted)], "an outcome without an entry");
}

#[tokio::test]
async fn an_approval_of_another_hand_is_found() {
    let columns = "job, target, mark, plan, verdict, kind, source, user_name, group_name, held_by, actor, reason, at, expires";
    let forged = format!("insert into decisions ({columns}) select {} from decisions", columns.replace("mark", "'m2'"));
    let checked = after(&forged).await;
    assert_eq!(places(&checked), [(None, None, Inserted)]);
    assert!(checked.broken[0].what.contains("os:ops (remove_member ann \"Eng\") (approved)"), "{:?}", checked.broken[0]);
    for sql in ["update decisions set actor = 'os:boss'", "update decisions set expires = null", "update decisions set ended = 5"]
    {
        assert_eq!(places(&after(sql).await), [(Some(11), None, Changed)], "{sql}");
    }
    let checked = after("update holds set reason = 'because'").await;
    assert_eq!(places(&checked), [(Some(12), None, Changed)]);
    let checked = after("update holds set user_key = 'bob'").await;
    assert_eq!(places(&checked), [(None, None, Inserted), (Some(12), None, Missing)]);
}

#[tokio::test]
async fn an_entry_that_was_altered_does_not_follow_from_the_one_before() {
    for sql in [
        "update seals set at = at + 1 where id = 4",
        "update seals set run = 'r2' where id = 4",
        "update seals set covers = '1-2' where id = 4",
        "update seals set content = zeroblob(32) where id = 4",
        "update seals set leaves = zeroblob(24) where id = 4",
        "update seals set said = '{}' where id = 4",
        "update seals set what = 'nothing' where id = 4",
        "update seals set what = null, content = 7, covers = x'00' where id = 4",
    ] {
        // A column that must hold something takes nothing for an answer.
        let sql = sql.replace("what = null, ", "");
        let checked = after(&sql).await;
        assert!(places(&checked).contains(&(Some(4), None, Changed)), "{sql}: {:#?}", checked.broken);
        assert!(checked.broken.iter().all(|b| b.entry == Some(4) || b.entry == Some(3)), "{sql}: {:#?}", checked.broken);
    }
    let found = places(&after("update seals set chain = zeroblob(32) where id = 4").await);
    assert_eq!(found, [(Some(4), None, Changed), (Some(5), None, Changed)]);
}

#[tokio::test]
async fn runs_are_missed_unless_an_entry_says_that_their_time_was_over() {
    let journal = filled().await;
    journal.begin(&run_at("r3", &jira(), at(100))).await.expect("begin");
    assert_eq!(journal.prune(at(50)).await.expect("prune"), 2);
    assert!(journal.verify(None).await.expect("verify").holds());
    tamper(&journal, "insert into runs (id, job, target, fired_by, began_at) values ('r1', 'staff', 'jira', 'schedule', 1)")
        .await;
    let checked = journal.verify(None).await.expect("verify");
    assert_eq!(places(&checked), [(None, None, Inserted)], "what is gone does not come back");
    let journal = filled().await;
    journal.end(&"r2".into(), &ended(Ended::Applied, at(20))).await.expect("end");
    tamper(&journal, "delete from seals where id < 6").await;
    let found = places(&journal.verify(None).await.expect("verify"));
    assert_eq!(found[0], (Some(1), None, Missing), "a beginning that no entry names is none");
}

#[tokio::test]
async fn a_flood_is_counted_and_not_told() {
    let journal = SqlJournal::memory(false).await.expect("open");
    journal.begin(&run_at("r1", &jira(), at(0))).await.expect("begin");
    let intents: Vec<Intent> = (0..300).map(|n| intent(OpKind::AddMember, &format!("u{n}"), Some("eng"))).collect();
    journal.intend(&"r1".into(), &jira(), &intents, at(1)).await.expect("intend");
    tamper(&journal, "update changes set group_name = 'admins'").await;
    let checked = journal.verify(None).await.expect("verify");
    assert_eq!((checked.broken.len(), checked.more), (50, 250));
}

#[tokio::test]
async fn a_file_of_an_older_version_goes_on_with_a_chain_from_then_on() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("state.db");
    let mut old = make_old(&file, 4).await;
    let past = "
        insert into runs (id, job, target, fired_by, began_at, ended, ended_at, planned, done, failed, staged, requests, messages)
            values ('r1', 'staff', 'jira', 'schedule', 1000, 'applied', 3000, '[]', '[]', 0, 0, 0, '[]');
        insert into runs (id, job, target, fired_by, began_at) values ('r2', 'staff', 'jira', 'schedule', 4000);
        insert into changes (run, target, kind, user_key, user_name, because, at, outcome, settled_at)
            values ('r1', 'jira', 'create_user', '10001', 'ann', '{\"reason\":\"joined\"}', 2000, 'done', 2500);
        insert into changes (run, target, kind, user_name, because, at)
            values ('r2', 'jira', 'create_user', 'bob', '{\"reason\":\"joined\"}', 5000);
        insert into decisions (job, target, mark, plan, verdict, kind, user_name, held_by, actor, reason, at, ended)
            values ('staff', 'jira', 'm0', 'p', 'approved', 'remove_member', 'ann', '[]', 'os:ops', 'r', 10, 20),
            ('staff', 'jira', 'm1', 'p', 'rejected', 'remove_member', 'ann', '[]', 'os:ops', 'r', 30, null);
        insert into holds (job, target, user_key, user_name, run, actor, reason, since)
            values ('staff', 'jira', '10001', 'ann', 'r1', 'os:ops', 'r', 40)";
    old.execute(past).await.expect("insert");
    sqlx::Connection::close(old).await.expect("close");

    let journal = SqlJournal::open(&file, OpenOptions { create: false, read_only: false }).await.expect("open");
    let checked = journal.verify(None).await.expect("verify");
    assert!(checked.holds(), "{checked:#?}");
    assert_eq!((checked.entries, &checked.beginning), (0, &Beginning::Unchained { changes: 2, runs: 2 }));
    let user = |changes: &[ChangeRecord]| changes[0].intent.user.as_ref().map(ToString::to_string);
    assert_eq!(user(&journal.changes(&"r1".into()).await.expect("changes")).as_deref(), Some("10001"));

    journal.recover(&jira(), at(1)).await.expect("recover");
    journal.undecide(&staff(), &jira(), &["m1".into()], at(2)).await.expect("undecide");
    journal.let_go(&staff(), &jira(), &["10001".into()]).await.expect("let go");
    journal.begin(&run_at("r3", &jira(), at(3))).await.expect("begin");
    journal.intend(&"r3".into(), &jira(), &[intent(OpKind::AddMember, "ann", Some("eng"))], at(4)).await.expect("intend");
    let checked = journal.verify(None).await.expect("verify");
    assert!(checked.holds() && checked.entries == 6, "{checked:#?}");

    tamper(&journal, "update changes set because = '{\"reason\":\"gone\"}' where id <> 2").await;
    tamper(&journal, "update changes set outcome = 'done' where id = 2").await;
    let checked = journal.verify(None).await.expect("verify");
    let found = places(&checked);
    assert_eq!(found.len(), 2, "of the change before the chain nothing is known: {checked:#?}");
    assert!(found.iter().any(|(_, change, wrong)| (*change, *wrong) == (Some(2), Changed)), "{checked:#?}");
    tamper(&journal, "insert into changes (id, run, target, kind, because, at) values (-5, 'r1', 'jira', 'add_member', '{}', 1)")
        .await;
    assert_eq!(journal.verify(None).await.expect("verify").broken.len(), 2);

    // Once all of that is past its time the chain is all there is.
    journal.settle(&jira(), &[settlement(IntentId(3), Outcome::Done, Vec::new())], at(5)).await.expect("settle");
    journal.end(&"r3".into(), &ended(Ended::Applied, at(6))).await.expect("end");
    journal.begin(&run_at("r4", &jira(), at(500))).await.expect("begin");
    assert_eq!(journal.prune(at(400)).await.expect("prune"), 3);
    let checked = journal.verify(None).await.expect("verify");
    assert!(checked.holds() && matches!(checked.beginning, Beginning::Pruned { .. }), "{checked:#?}");
}

/// A number of a time that is over is nobody's any more, whether or not the entries of that time are still there.
#[tokio::test]
async fn a_row_under_a_number_of_a_run_that_is_pruned_is_slipped_in() {
    const STRAY: &str = "insert into changes (id, run, target, kind, user_name, because, at, outcome, settled_at)
        values (2, 'r3', 'jira', 'delete_user', 'mallory', '{\"reason\":\"gone\"}', 1, 'done', 2)";
    for folded in [false, true] {
        let journal = SqlJournal::memory(false).await.expect("open");
        if !folded {
            // It stands, and so does the chain from it on.
            journal.decide(&[Decision { at: at(0), ..decision("m0") }]).await.expect("decide");
        }
        journal.begin(&run_at("r1", &jira(), at(1))).await.expect("begin");
        let intents = ["ann", "bob", "cid"].map(|name| intent(OpKind::AddMember, name, Some("eng")));
        let ids = journal.intend(&"r1".into(), &jira(), &intents, at(2)).await.expect("intend");
        let done: Vec<Settlement> = ids.iter().map(|id| settlement(*id, Outcome::Done, Vec::new())).collect();
        journal.settle(&jira(), &done, at(3)).await.expect("settle");
        journal.end(&"r1".into(), &ended(Ended::Applied, at(4))).await.expect("end");
        journal.begin(&run_at("r3", &jira(), at(100))).await.expect("begin");
        let later = journal.intend(&"r3".into(), &jira(), &[intent(OpKind::AddMember, "dan", Some("eng"))], at(101)).await;
        assert_eq!(later.expect("intend").iter().map(|id| id.0).collect::<Vec<_>>(), [4], "a number is given once");
        assert_eq!(journal.prune(at(50)).await.expect("prune"), 1);
        let checked = journal.verify(None).await.expect("verify");
        assert!(checked.holds(), "{checked:#?}");
        assert_eq!(matches!(checked.beginning, Beginning::Pruned { .. }), folded, "{checked:#?}");
        tamper(&journal, STRAY).await;
        let checked = journal.verify(None).await.expect("verify");
        assert_eq!(places(&checked), [(None, Some(2), Inserted)], "folded: {folded}");
        assert!(checked.broken[0].what.contains("delete_user mallory"), "{:?}", checked.broken[0]);
    }
}

#[tokio::test]
async fn a_release_that_was_altered_deleted_or_slipped_in_is_named() {
    let journal = filled().await;
    journal.release(&release("jira", 20), &[], &[]).await.expect("release");
    assert!(journal.verify(None).await.expect("verify").holds());
    for (sql, found) in [
        ("update releases set actor = 'os:mallory'", vec![(Some(13), None, Changed)]),
        ("update releases set reason = null", vec![(Some(13), None, Changed)]),
        ("update releases set due = '[1]'", vec![(Some(13), None, Changed)]),
        ("delete from releases", vec![(Some(13), None, Missing)]),
        (
            "insert into releases (id, at, actor, what, holds, due) values (7, 1, 'os:mallory', 'okta', '[]', '[]')",
            vec![(None, None, Inserted), (Some(13), None, Missing)],
        ),
    ] {
        tamper(&journal, sql).await;
        let checked = journal.verify(None).await.expect("verify");
        assert_eq!(places(&checked), found, "{sql}");
    }
    let checked = journal.verify(None).await.expect("verify");
    assert!(checked.broken[0].what.contains("a release of \"okta\" by os:mallory: no entry tells"), "{:?}", checked.broken[0]);
}

/// By its wish a hold knows when it is over: whoever changes it ends the hold, or makes it one without end.
#[tokio::test]
async fn the_wish_of_a_hold_is_sealed_with_it() {
    let checked = after("update holds set wish = 'another'").await;
    assert_eq!(places(&checked), [(Some(12), None, Changed)]);
    assert!(checked.broken[0].what.contains("a hold of os:ops on ann"), "{:?}", checked.broken[0]);

    // A run learns the wish and writes it: from then on it is that one.
    let journal = filled().await;
    let hold = journal.holds().await.expect("holds").remove(0);
    journal.hold(&[Hold { wish: Some("as learnt".into()), ..hold }]).await.expect("hold");
    assert!(journal.verify(None).await.expect("verify").holds());
    for sql in ["update holds set wish = 'another'", "update holds set wish = null"] {
        tamper(&journal, sql).await;
        assert_eq!(places(&journal.verify(None).await.expect("verify")), [(Some(13), None, Changed)], "{sql}");
    }
}
