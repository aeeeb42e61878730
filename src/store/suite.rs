//! What any journal must keep, whatever it is built on: told against the contract alone, so that a second backend is held
//! to it by one more line of `journal_suite!`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::contract::history::ChangeQuery;
use crate::contract::journal::*;
use crate::contract::notice::{Ailing, Event, Expiring, Notice};
use crate::contract::verdict::{Decision, Freed, Hold, Release, SavedChange, SavedPlan, Verdict};
use crate::model::change::{OpKind, Reason};
use crate::model::desired::Attributes;
use crate::model::key::{JobName, RunId, SourceKey, SystemName, TargetKey, group_key};
use crate::model::ledger::Ledger;
use crate::model::link::{GroupLink, Links, UserLink};
use crate::model::retry::{Retry, Subject};

mod record;
use record::*;

pub(super) type Subjected = Arc<dyn Journal>;

/// Makes a test of each law, over journals that the given async expression makes. Whatever a law does, the chain holds after it.
macro_rules! journal_suite {
    ($name:ident, $make:expr, [$($law:ident),* $(,)?]) => {
        mod $name {
            $(#[tokio::test]
            async fn $law() {
                let (journal, _kept) = $make;
                super::$law(journal.clone()).await;
                super::the_chain_holds(&journal).await;
            })*
        }
    };
    ($name:ident, $make:expr) => {
        journal_suite!($name, $make, [
            links_come_back_as_written_and_sorted,
            a_link_replaces_the_one_of_the_same_source_user,
            cutting_a_link_forgets_what_the_user_owned,
            an_old_cut_spares_the_link_written_since,
            targets_do_not_see_each_other,
            owned_memberships_come_back_sorted,
            effects_on_one_record_keep_their_order,
            intents_are_numbered_in_the_order_given,
            a_change_comes_back_as_it_was_intended_and_settled,
            effects_take_place_with_their_outcome,
            the_first_outcome_of_an_intent_stays,
            settling_an_unknown_intent_settles_nothing,
            an_intent_needs_a_run,
            what_a_dead_process_left_open_is_lost_and_its_run_interrupted,
            recovery_leaves_other_targets_alone,
            a_run_that_outlived_its_recovery_tells_its_own_end,
            runs_are_listed_the_newest_first,
            freshness_is_that_of_the_last_complete_run,
            a_run_keeps_who_asked_for_it,
            a_run_is_found_by_an_unambiguous_beginning,
            a_run_begins_once_and_ends_once,
            the_last_beginning_leaves_retries_out,
            sizes_are_those_of_the_last_trusted_run,
            removals_are_counted_by_group_and_time,
            staged_removals_keep_the_time_since_when_they_wait,
            staging_replaces_one_job_at_one_target,
            removals_that_a_person_let_through_do_not_count,
            a_decision_replaces_the_one_on_the_same_change,
            a_rejected_removal_waits_no_longer,
            holds_come_and_go_by_user,
            a_release_ends_what_it_names_and_keeps_who_said_so,
            a_saved_plan_is_found_by_an_unambiguous_beginning,
            a_retry_replaces_the_one_of_the_same_subject,
            what_waits_is_counted_by_job_target_and_kind,
            a_rest_is_written_and_ended,
            a_refused_credential_is_remembered_beyond_the_rest_until_it_is_forgiven,
            a_system_ails_until_it_is_healed_which_is_told_once,
            notices_come_one_after_the_other_for_each_webhook,
            when_a_credential_expires_is_written_and_told_once,
            a_lease_given_back_is_free_at_once_and_fenced,
            pruning_spares_what_is_still_asked_for,
            times_keep_their_milliseconds,
            changes_are_found_by_whom_and_what_they_are_about,
            changes_are_found_by_run_and_time,
            changes_are_told_a_page_at_a_time_in_either_order,
            a_change_keeps_what_the_target_told_of_it,
            each_write_to_the_record_moves_the_head,
            a_head_that_was_kept_is_found_and_another_is_not,
            the_chain_holds_over_decisions_holds_and_recovery,
            the_chain_holds_over_pruning_and_its_oldest_part_goes,
            a_fenced_journal_writes_nothing_once_its_lease_is_lost,
            text_of_any_characters_comes_back,
        ]);
    };
}

journal_suite!(
    sqlite_in_memory,
    (crate::store::open_for("sqlite::memory:", crate::store::Access::Write).await.expect("open"), ())
);
journal_suite!(sqlite_in_a_file, {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("state.db").display());
    (crate::store::open_for(&url, crate::store::Access::Write).await.expect("open"), folder)
});

journal_suite!(postgres, {
    let Some(cluster) = rosterd_sim::postgres::Cluster::shared() else { return };
    let database = cluster.database();
    (crate::store::open_for(&database.url, crate::store::Access::Write).await.expect("open"), ())
});

// Where a lease runs out by the clock of the caller.
journal_suite!(
    by_its_callers_clock,
    (crate::store::open_for("sqlite::memory:", crate::store::Access::Write).await.expect("open"), ()),
    [a_lease_has_one_holder_at_a_time]
);

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + seconds, 0).expect("a time")
}
pub(super) fn jira() -> SystemName {
    SystemName::from("jira")
}
fn wiki() -> SystemName {
    SystemName::from("wiki")
}
pub(super) fn staff() -> JobName {
    JobName::from("staff")
}
pub(super) fn own(group: &str, user: &str) -> Effect {
    Effect::Own { group: group.into(), user: user.into() }
}
fn own_all(pairs: &[(&str, &str)]) -> Effect {
    Effect::OwnAll(Box::new(Ledger::of(pairs.iter().map(|(group, user)| ((*group).into(), (*user).into())))))
}
fn disown(group: &str, user: &str) -> Effect {
    Effect::Disown { group: group.into(), user: user.into() }
}
pub(super) fn link(source: &str, target: &str) -> UserLink {
    UserLink {
        source: source.into(),
        target: target.into(),
        name: format!("name-of-{target}").into(),
        email_mark: None,
        leaving_since: None,
        last_asked: None,
        is_new: false,
    }
}
pub(super) fn run_at(id: &str, target: &SystemName, at: DateTime<Utc>) -> RunStart {
    RunStart { id: id.into(), job: staff(), target: target.clone(), trigger: Trigger::Schedule, by: None, at }
}
pub(super) fn ended(ended: Ended, at: DateTime<Utc>) -> RunEnd {
    RunEnd {
        ended,
        at,
        plan: None,
        planned: Vec::new(),
        done: Vec::new(),
        failed: 0,
        staged: 0,
        requests: 0,
        messages: Vec::new(),
        sizes: None,
    }
}
pub(super) fn intent(kind: OpKind, user: &str, group: Option<&str>) -> Intent {
    Intent {
        kind,
        source: Some(SourceKey::from(format!("00u-{user}"))),
        user: Some(user.into()),
        user_name: Some(user.into()),
        group: group.map(Into::into),
        before: None,
        after: None,
        because: Reason::NotMember,
        let_by: None,
    }
}
pub(super) fn settlement(intent: IntentId, outcome: Outcome, effects: Vec<Effect>) -> Settlement {
    Settlement { intent, outcome, created: None, left_groups: Vec::new(), request: None, effects }
}
async fn begun(journal: &Subjected, id: &str) -> RunId {
    journal.begin(&run_at(id, &jira(), at(0))).await.expect("begin");
    id.into()
}
async fn intended(journal: &Subjected, run: &RunId, kind: OpKind, user: &str, group: Option<&str>) -> IntentId {
    journal.intend(run, &jira(), &[intent(kind, user, group)], at(1)).await.expect("intend")[0]
}
fn all() -> RunQuery {
    RunQuery { limit: 100, ..RunQuery::default() }
}

async fn links_come_back_as_written_and_sorted(journal: Subjected) {
    let mut extreme = link("00u-é\u{1F600}", "u \"quoted\" \\ name");
    extreme.email_mark = Some(u64::MAX);
    extreme.leaving_since = Some(at(7));
    let mut least = link("00u-b", "jirauser1");
    least.email_mark = Some(1 << 63);
    let groups = ["eng", "all"].map(|g| GroupLink { source: "00g1".into(), target: group_key(g), name: g.into() });
    let effects = [
        Effect::LinkUser(Box::new(extreme.clone())),
        Effect::LinkUser(Box::new(least.clone())),
        Effect::LinkGroup(groups[0].clone()),
        Effect::LinkGroup(groups[1].clone()),
    ];
    journal.record(&jira(), &effects).await.expect("record");
    let links = journal.links(&jira()).await.expect("links");
    assert_eq!(links, Links { users: vec![least, extreme], groups: vec![groups[1].clone(), groups[0].clone()] });
}

async fn a_link_replaces_the_one_of_the_same_source_user(journal: Subjected) {
    let mut marked = link("00u1", "a");
    marked.email_mark = Some(5);
    let effects = [Effect::LinkUser(Box::new(marked)), Effect::LinkUser(Box::new(link("00u1", "b")))];
    journal.record(&jira(), &effects).await.expect("record");
    assert_eq!(journal.links(&jira()).await.expect("links").users, [link("00u1", "b")]);
}

async fn cutting_a_link_forgets_what_the_user_owned(journal: Subjected) {
    let effects = [Effect::LinkUser(Box::new(link("00u1", "ann"))), own("eng", "ann"), own("all", "ann"), own("eng", "bob")];
    journal.record(&jira(), &effects).await.expect("record");
    journal.record(&wiki(), &[own("eng", "ann")]).await.expect("record");
    let cut = Effect::UnlinkUser { source: "00u1".into(), target: "ann".into() };
    journal.record(&jira(), &[cut]).await.expect("record");
    assert_eq!(journal.links(&jira()).await.expect("links"), Links::default());
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), Ledger::of([("eng".into(), "bob".into())]));
    assert_eq!(journal.ledger(&wiki()).await.expect("ledger").len(), 1);
}

async fn an_old_cut_spares_the_link_written_since(journal: Subjected) {
    let group = |target: &str| GroupLink { source: "00g1".into(), target: target.into(), name: target.into() };
    journal
        .record(&jira(), &[Effect::LinkUser(Box::new(link("00u1", "new"))), Effect::LinkGroup(group("new"))])
        .await
        .expect("record");
    let cuts = [
        Effect::UnlinkUser { source: "00u1".into(), target: "old".into() },
        Effect::UnlinkGroup { source: "00g1".into(), target: "old".into() },
    ];
    journal.record(&jira(), &cuts).await.expect("record");
    let links = journal.links(&jira()).await.expect("links");
    assert_eq!((links.users.len(), links.groups.len()), (1, 1));
    let cut = Effect::UnlinkGroup { source: "00g1".into(), target: "new".into() };
    journal.record(&jira(), &[cut]).await.expect("record");
    assert!(journal.links(&jira()).await.expect("links").groups.is_empty());
}

async fn targets_do_not_see_each_other(journal: Subjected) {
    journal.record(&jira(), &[Effect::LinkUser(Box::new(link("00u1", "ann"))), own("eng", "ann")]).await.expect("record");
    assert_eq!(journal.links(&wiki()).await.expect("links"), Links::default());
    assert_eq!(journal.ledger(&wiki()).await.expect("ledger"), Ledger::default());
}

async fn owned_memberships_come_back_sorted(journal: Subjected) {
    let pairs = [("zoo", "ann"), ("eng", "zed"), ("eng", "ann"), ("Eng", "éva"), ("eng", "bob"), ("eng", "ann")];
    let effects: Vec<Effect> = pairs.iter().map(|(g, u)| own(g, u)).collect();
    journal.record(&jira(), &effects).await.expect("record");
    let expected = Ledger::of(pairs.map(|(g, u)| (TargetKey::from(g), TargetKey::from(u))));
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), expected);

    journal.record(&jira(), &[disown("eng", "bob"), disown("zoo", "ann"), disown("no", "body")]).await.expect("record");
    let left = [("eng", "zed"), ("eng", "ann"), ("Eng", "éva")];
    let expected = Ledger::of(left.map(|(g, u)| (TargetKey::from(g), TargetKey::from(u))));
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), expected);

    let effects = [own_all(&[("eng", "ann"), ("zoo", "bob"), ("zoo", "ann")]), disown("zoo", "bob"), own_all(&[])];
    journal.record(&jira(), &effects).await.expect("record");
    let all = [left[0], left[1], left[2], ("zoo", "ann")];
    let expected = Ledger::of(all.map(|(g, u)| (TargetKey::from(g), TargetKey::from(u))));
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), expected);
}

async fn effects_on_one_record_keep_their_order(journal: Subjected) {
    let cut = Effect::UnlinkUser { source: "00u1".into(), target: "ann".into() };
    let effects = [
        own("eng", "ann"),
        cut,
        Effect::LinkUser(Box::new(link("00u1", "ann"))),
        own("all", "ann"),
        disown("all", "ann"),
        own("ops", "ann"),
    ];
    journal.record(&jira(), &effects).await.expect("record");
    assert_eq!(journal.links(&jira()).await.expect("links").users.len(), 1);
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), Ledger::of([("ops".into(), "ann".into())]));
}

async fn intents_are_numbered_in_the_order_given(journal: Subjected) {
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

async fn a_change_comes_back_as_it_was_intended_and_settled(journal: Subjected) {
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

async fn effects_take_place_with_their_outcome(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    assert!(journal.ledger(&jira()).await.expect("ledger").is_empty());
    journal.settle(&jira(), &[settlement(id, Outcome::Done, vec![own("eng", "ann")])], at(2)).await.expect("settle");
    assert!(journal.ledger(&jira()).await.expect("ledger").owns(&"eng".into(), &"ann".into()));
}

async fn the_first_outcome_of_an_intent_stays(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    let first = settlement(id, Outcome::AlreadySo, vec![own("eng", "ann")]);
    let second = settlement(id, Outcome::Done, vec![own("ops", "ann")]);
    journal.settle(&jira(), &[first, second.clone()], at(2)).await.expect("settle");
    journal.settle(&jira(), &[second], at(3)).await.expect("settle again");
    assert_eq!(journal.changes(&run).await.expect("changes")[0].outcome, Some(Outcome::AlreadySo));
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), Ledger::of([("eng".into(), "ann".into())]));
}

async fn settling_an_unknown_intent_settles_nothing(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    let id = intended(&journal, &run, OpKind::AddMember, "ann", Some("eng")).await;
    let both = [settlement(id, Outcome::Done, vec![own("eng", "ann")]), settlement(IntentId(987_654), Outcome::Done, Vec::new())];
    let error = journal.settle(&jira(), &both, at(2)).await.expect_err("an unknown intent");
    assert!(error.to_string().contains("987654") && !error.passing, "{error}");
    assert!(journal.settle(&wiki(), &both[..1], at(2)).await.is_err(), "an intent of another target");
    assert_eq!(journal.changes(&run).await.expect("changes")[0].outcome, None);
    assert!(journal.ledger(&jira()).await.expect("ledger").is_empty());
}

async fn an_intent_needs_a_run(journal: Subjected) {
    let intents = [intent(OpKind::AddMember, "ann", Some("eng"))];
    assert!(journal.intend(&"never".into(), &jira(), &intents, at(1)).await.is_err());
    let error = journal.end(&"never".into(), &ended(Ended::Applied, at(2))).await.expect_err("no such run");
    assert!(error.to_string().contains("never"), "{error}");
}

async fn what_a_dead_process_left_open_is_lost_and_its_run_interrupted(journal: Subjected) {
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

async fn recovery_leaves_other_targets_alone(journal: Subjected) {
    journal.begin(&run_at("w1", &wiki(), at(0))).await.expect("begin");
    let intents = [intent(OpKind::AddMember, "ann", Some("eng"))];
    journal.intend(&"w1".into(), &wiki(), &intents, at(1)).await.expect("intend");
    assert_eq!(journal.recover(&jira(), at(9)).await.expect("recover"), []);
    assert_eq!(journal.run("w1").await.expect("run").expect("there").end, None);
    assert_eq!(journal.changes(&"w1".into()).await.expect("changes")[0].outcome, None);
}

async fn a_run_that_outlived_its_recovery_tells_its_own_end(journal: Subjected) {
    let run = begun(&journal, "r1").await;
    journal.recover(&jira(), at(9)).await.expect("recover");
    journal.end(&run, &ended(Ended::Applied, at(10))).await.expect("end");
    let end = journal.run("r1").await.expect("run").expect("there").end.expect("ended");
    assert_eq!((end.ended, end.at), (Ended::Applied, at(10)));
}

async fn freshness_is_that_of_the_last_complete_run(journal: Subjected) {
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

async fn runs_are_listed_the_newest_first(journal: Subjected) {
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

async fn a_run_keeps_who_asked_for_it(journal: Subjected) {
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

async fn a_run_is_found_by_an_unambiguous_beginning(journal: Subjected) {
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

async fn a_run_begins_once_and_ends_once(journal: Subjected) {
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

async fn the_last_beginning_leaves_retries_out(journal: Subjected) {
    assert_eq!(journal.last_began(&staff()).await.expect("last"), None);
    journal.begin(&run_at("r1", &jira(), at(1))).await.expect("begin");
    journal.begin(&RunStart { trigger: Trigger::Command, ..run_at("r2", &jira(), at(2)) }).await.expect("begin");
    journal.begin(&RunStart { trigger: Trigger::Retry, ..run_at("r3", &jira(), at(3)) }).await.expect("begin");
    assert_eq!(journal.last_began(&staff()).await.expect("last"), Some(at(2)));
}

async fn sizes_are_those_of_the_last_trusted_run(journal: Subjected) {
    let sized = |users| Some(Sizes { users, groups: 1, memberships: 1 });
    for (id, second, sizes) in [("r1", 1, sized(10)), ("r2", 2, sized(20)), ("r3", 3, None)] {
        journal.begin(&run_at(id, &jira(), at(second))).await.expect("begin");
        let end = RunEnd { sizes, ..ended(Ended::Applied, at(second)) };
        journal.end(&id.into(), &end).await.expect("end");
    }
    assert_eq!(journal.sizes(&staff(), &jira()).await.expect("sizes"), sized(20));
    assert_eq!(journal.sizes(&staff(), &wiki()).await.expect("sizes"), None);
}

async fn removals_are_counted_by_group_and_time(journal: Subjected) {
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

fn staged(kind: OpKind, user: &str, group: Option<&str>, since: DateTime<Utc>) -> Staged {
    Staged {
        job: staff(),
        target: jira(),
        plan: "plan1".into(),
        mark: format!("{}-{user}", kind.word()),
        kind,
        source: Some("00u1".into()),
        user: user.into(),
        user_name: user.into(),
        group: group.map(Into::into),
        because: Reason::GroupGone,
        held_by: vec!["membership_removals".into(), "expect".into()],
        since,
    }
}

async fn staged_removals_keep_the_time_since_when_they_wait(journal: Subjected) {
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

async fn staging_replaces_one_job_at_one_target(journal: Subjected) {
    let here = staged(OpKind::RemoveMember, "ann", Some("eng"), at(1));
    let there = Staged { target: wiki(), ..here.clone() };
    journal.stage(&staff(), &jira(), std::slice::from_ref(&here)).await.expect("stage");
    journal.stage(&staff(), &wiki(), std::slice::from_ref(&there)).await.expect("stage");
    journal.stage(&staff(), &jira(), &[]).await.expect("stage");
    assert_eq!(journal.staged().await.expect("staged"), [there]);
}

async fn removals_that_a_person_let_through_do_not_count(journal: Subjected) {
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

fn decision(mark: &str, verdict: Verdict, second: i64) -> Decision {
    Decision {
        job: staff(),
        target: jira(),
        mark: mark.into(),
        plan: "plan1".into(),
        verdict,
        held_by: vec!["membership-limit".into()],
        source: (second > 2).then(|| "00u1".into()),
        kind: OpKind::RemoveMember,
        user_name: "ann".into(),
        group: Some("Eng".into()),
        actor: "os:ops".into(),
        reason: "they left".into(),
        at: at(second),
        expires: (verdict == Verdict::Approved).then(|| at(second + 60)),
    }
}

async fn a_decision_replaces_the_one_on_the_same_change(journal: Subjected) {
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

async fn a_rejected_removal_waits_no_longer(journal: Subjected) {
    let waiting = [staged(OpKind::DeactivateUser, "ann", None, at(1)), staged(OpKind::DeactivateUser, "bob", None, at(1))];
    journal.stage(&staff(), &jira(), &waiting).await.expect("stage");
    let decisions = [decision(&waiting[0].mark, Verdict::Rejected, 2), decision(&waiting[1].mark, Verdict::Approved, 2)];
    journal.decide(&decisions).await.expect("decide");
    assert_eq!(journal.staged().await.expect("staged"), waiting[1..]);
}

fn held(user: &str, run: &str) -> Hold {
    Hold {
        job: staff(),
        target: jira(),
        user: user.into(),
        user_name: user.into(),
        source: Some("00u1".into()),
        run: run.into(),
        actor: "os:ops".into(),
        reason: "too early".into(),
        since: at(1),
        wish: None,
    }
}

async fn holds_come_and_go_by_user(journal: Subjected) {
    let hold = |user: &str, wish: Option<&str>| Hold { wish: wish.map(Into::into), ..held(user, "r1") };
    journal.hold(&[hold("bob", None), hold("ann", None)]).await.expect("hold");
    journal.hold(&[hold("bob", Some("w"))]).await.expect("hold");
    assert_eq!(journal.holds().await.expect("holds"), [hold("ann", None), hold("bob", Some("w"))]);
    journal.let_go(&staff(), &wiki(), &["ann".into()]).await.expect("let go");
    journal.let_go(&staff(), &jira(), &["bob".into()]).await.expect("let go");
    assert_eq!(journal.holds().await.expect("holds"), [hold("ann", None)]);
}

pub(super) fn release(what: &str, second: i64) -> Release {
    Release {
        what: what.into(),
        actor: "token:ops".into(),
        reason: Some("it \"answers\" again".into()),
        at: at(second),
        rest: None,
        holds: Vec::new(),
        due: Vec::new(),
    }
}

async fn a_release_ends_what_it_names_and_keeps_who_said_so(journal: Subjected) {
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

async fn a_saved_plan_is_found_by_an_unambiguous_beginning(journal: Subjected) {
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

async fn a_retry_replaces_the_one_of_the_same_subject(journal: Subjected) {
    let retry = |subject, attempts, second| Retry {
        job: staff(),
        target: jira(),
        subject,
        attempts,
        user_name: (attempts > 1).then(|| "ada".into()),
        first_seen: at(0),
        not_before: at(second),
        cause: "jira could not add a member: 503".into(),
        quarantined: attempts > 5,
    };
    let ann = Subject::User("00u1".into());
    journal
        .enqueue(&[retry(ann.clone(), 1, 30), retry(Subject::Everything, 1, 20), retry(Subject::User("".into()), 9, 10)])
        .await
        .expect("enqueue");
    journal.enqueue(&[retry(ann.clone(), 2, 15)]).await.expect("enqueue");
    let queue = journal.retries().await.expect("retries");
    let expected = [retry(Subject::User("".into()), 9, 10), retry(ann.clone(), 2, 15), retry(Subject::Everything, 1, 20)];
    assert_eq!(queue, expected);
    journal.dequeue(&staff(), &wiki(), std::slice::from_ref(&ann)).await.expect("dequeue");
    journal.dequeue(&"other".into(), &jira(), std::slice::from_ref(&ann)).await.expect("dequeue");
    assert_eq!(journal.retries().await.expect("retries").len(), 3);
    journal.dequeue(&staff(), &jira(), &[ann, Subject::Everything]).await.expect("dequeue");
    assert_eq!(journal.retries().await.expect("retries"), expected[..1]);
}

async fn what_waits_is_counted_by_job_target_and_kind(journal: Subjected) {
    assert!(journal.waits().await.expect("waits").is_empty());
    let here = [
        staged(OpKind::DeactivateUser, "ann", None, at(9)),
        staged(OpKind::RemoveMember, "ann", Some("Eng"), at(5)),
        staged(OpKind::RemoveMember, "bob", Some("Eng"), at(7)),
    ];
    let there = Staged { target: wiki(), ..staged(OpKind::DeleteUser, "cid", None, at(3)) };
    journal.stage(&staff(), &jira(), &here).await.expect("stage");
    journal.stage(&staff(), &wiki(), &[there]).await.expect("stage");
    let retry = |job: &str, key: &str, second, quarantined| Retry {
        job: job.into(),
        target: jira(),
        subject: Subject::User(key.into()),
        attempts: 1,
        first_seen: at(second),
        not_before: at(90 - second),
        cause: "jira could not add a member: 503".into(),
        quarantined,
        user_name: None,
    };
    let queue = [
        retry("staff", "1", 8, false),
        retry("staff", "2", 6, false),
        retry("staff", "3", 1, true),
        retry("other", "1", 4, true),
    ];
    journal.enqueue(&queue).await.expect("enqueue");
    let held = ["ann", "bob"].map(|user| held(user, "r1"));
    journal.hold(&held).await.expect("hold");

    let of_staff = Waits {
        staged: [(OpKind::RemoveMember, 2), (OpKind::DeactivateUser, 1)].into(),
        staged_since: Some(at(5)),
        retries: 2,
        failing_since: Some(at(6)),
        quarantined: 1,
        held: 2,
    };
    let at_wiki = Waits { staged: [(OpKind::DeleteUser, 1)].into(), staged_since: Some(at(3)), ..Waits::default() };
    let of_others = Waits { quarantined: 1, ..Waits::default() };
    let expected = [((staff(), jira()), of_staff), ((staff(), wiki()), at_wiki), (("other".into(), jira()), of_others)];
    assert_eq!(journal.waits().await.expect("waits"), expected.into());

    // Counts and lists are of the same things.
    journal.stage(&staff(), &jira(), &here[..1]).await.expect("stage");
    journal.dequeue(&staff(), &jira(), &[queue[1].subject.clone(), queue[2].subject.clone()]).await.expect("dequeue");
    journal.let_go(&staff(), &jira(), &["ann".into()]).await.expect("let go");
    let waits = journal.waits().await.expect("waits").remove(&(staff(), jira())).expect("there");
    let count = |list: usize| list as u64;
    assert_eq!(waits.staged.values().sum::<u64>(), 1);
    assert_eq!((waits.staged_since, waits.failing_since), (Some(at(9)), Some(at(8))));
    let of_staff = |retry: &&Retry| retry.job == staff();
    assert_eq!(
        (waits.retries + waits.quarantined, waits.held),
        (
            count(journal.retries().await.expect("retries").iter().filter(of_staff).count()),
            count(journal.holds().await.expect("holds").len())
        )
    );
}

async fn a_rest_is_written_and_ended(journal: Subjected) {
    let rest = Rest {
        system: jira(),
        since: at(1),
        cause: "jira refused the credential".into(),
        fault: "refused".into(),
        failures: 1,
        until: None,
        credential: None,
    };
    journal.rest(&jira(), Some(&rest)).await.expect("rest");
    let longer = Rest { failures: 2, until: Some(at(90)), ..rest };
    journal.rest(&jira(), Some(&longer)).await.expect("rest");
    journal.rest(&wiki(), None).await.expect("rest");
    assert_eq!(journal.rests().await.expect("rests"), [longer]);
    journal.rest(&jira(), None).await.expect("rest");
    assert!(journal.rests().await.expect("rests").is_empty());
}

async fn a_refused_credential_is_remembered_beyond_the_rest_until_it_is_forgiven(journal: Subjected) {
    let refused = |mark: &str| Rest {
        system: jira(),
        since: at(1),
        cause: "jira refused the credential".into(),
        fault: "refused".into(),
        failures: 1,
        until: None,
        credential: Some(mark.into()),
    };
    let marks = async || -> Vec<(SystemName, String)> {
        let refused = journal.refused().await.expect("refused");
        refused.into_iter().map(|refused| (refused.system, refused.credential)).collect()
    };
    for mark in ["aaaa", "bbbb", "aaaa"] {
        journal.rest(&jira(), Some(&refused(mark))).await.expect("rest");
        assert_eq!(journal.rests().await.expect("rests"), [refused(mark)]);
    }
    assert_eq!(marks().await, [(jira(), "bbbb".to_owned()), (jira(), "aaaa".to_owned())]);
    // Whoever has another credential may meet other faults, and see the system well.
    let failing = Rest { fault: "unavailable".into(), until: Some(at(9)), credential: None, ..refused("") };
    journal.rest(&jira(), Some(&failing)).await.expect("rest");
    assert_eq!(journal.rests().await.expect("rests"), std::slice::from_ref(&failing));
    journal.rest(&jira(), None).await.expect("rest");
    journal.rest(&wiki(), Some(&Rest { system: wiki(), ..failing })).await.expect("rest");
    journal.rest(&wiki(), None).await.expect("rest");
    assert_eq!(journal.rests().await.expect("rests"), []);
    assert_eq!(marks().await, [(jira(), "bbbb".to_owned()), (jira(), "aaaa".to_owned())]);
    assert!(journal.forgive(&jira()).await.expect("forgive"));
    assert_eq!(marks().await, []);
    assert!(!journal.forgive(&jira()).await.expect("forgive"), "there was nothing left");
}

fn notice(hook: &str, system: &str) -> Notice {
    Notice { hook: hook.into(), event: Event::Recovered { system: system.into(), since: at(1) }, at: at(10) }
}

async fn due(journal: &Subjected, second: i64) -> Vec<(Notice, u32)> {
    let due = journal.notes_due(at(second)).await.expect("notes");
    due.into_iter().map(|note| (note.notice, note.attempts)).collect()
}

async fn a_system_ails_until_it_is_healed_which_is_told_once(journal: Subjected) {
    let rest = Rest {
        system: jira(),
        since: at(1),
        cause: "it refused".into(),
        fault: "refused".into(),
        failures: 1,
        until: None,
        credential: None,
    };
    journal.rest(&jira(), Some(&rest)).await.expect("rest");
    journal.rest(&jira(), None).await.expect("rest");
    journal.rest(&jira(), Some(&Rest { since: at(5), ..rest })).await.expect("rest");
    assert_eq!(journal.ailing().await.expect("ailing"), [Ailing { system: jira(), since: at(1) }]);
    journal.heal(&wiki(), &[notice("ops", "wiki")]).await.expect("heal");
    assert_eq!(due(&journal, 10).await, [], "it did not ail");
    for _ in 0..2 {
        journal.heal(&jira(), &[notice("ops", "jira")]).await.expect("heal");
    }
    assert_eq!(journal.ailing().await.expect("ailing"), []);
    let [note] = &journal.notes_due(at(10)).await.expect("notes")[..] else { panic!("one") };
    journal.note_done(note.id).await.expect("done");
    assert_eq!(due(&journal, 10).await, []);
}

async fn notices_come_one_after_the_other_for_each_webhook(journal: Subjected) {
    let (one, two, other) = (notice("ops", "jira"), notice("ops", "wiki"), notice("chat", "jira"));
    journal.post(&[one.clone(), two.clone()]).await.expect("post");
    journal.post(std::slice::from_ref(&other)).await.expect("post");
    journal.post(&[]).await.expect("post");
    assert_eq!(due(&journal, 9).await, []);
    assert_eq!(due(&journal, 10).await, [(one.clone(), 0), (other.clone(), 0)]);
    let first = journal.notes_due(at(10)).await.expect("notes")[0].id;
    journal.note_later(first, 1, at(20)).await.expect("later");
    assert_eq!(due(&journal, 19).await, [(other.clone(), 0)], "the second waits for the first");
    assert_eq!(due(&journal, 20).await, [(one, 1), (other.clone(), 0)]);
    journal.note_done(first).await.expect("done");
    assert_eq!(due(&journal, 20).await, [(two, 0), (other, 0)]);
}

async fn when_a_credential_expires_is_written_and_told_once(journal: Subjected) {
    let expiring = |second, told| Expiring { system: jira(), at: at(second), told };
    journal.expire(&jira(), Some(&expiring(900, false)), &[]).await.expect("expire");
    assert_eq!(journal.expiring().await.expect("expiring"), [expiring(900, false)]);
    for _ in 0..2 {
        journal.expire(&jira(), Some(&expiring(900, true)), &[notice("ops", "jira")]).await.expect("expire");
    }
    assert_eq!(journal.expiring().await.expect("expiring"), [expiring(900, true)]);
    let [note] = &journal.notes_due(at(10)).await.expect("notes")[..] else { panic!("one") };
    journal.note_done(note.id).await.expect("done");
    assert_eq!(due(&journal, 10).await, [], "told once");
    journal.expire(&jira(), Some(&expiring(950, false)), &[]).await.expect("expire");
    assert_eq!(journal.expiring().await.expect("expiring"), [expiring(950, false)], "another credential");
    journal.expire(&wiki(), None, &[]).await.expect("expire");
    journal.expire(&jira(), None, &[]).await.expect("expire");
    assert_eq!(journal.expiring().await.expect("expiring"), []);
}

const TTL: Duration = Duration::from_secs(15);

async fn a_lease_has_one_holder_at_a_time(journal: Subjected) {
    let held = |holder: &str, generation| Some(Lease { name: "jira".into(), holder: holder.into(), generation });
    let take = |holder: &'static str, second| {
        let journal = journal.clone();
        async move { journal.lease("jira", holder, TTL, at(second)).await.expect("lease") }
    };
    assert_eq!(take("a", 0).await, held("a", 1));
    assert_eq!(take("b", 14).await, None, "still held");
    assert_eq!(take("a", 14).await, held("a", 1), "renewed");
    assert_eq!(take("b", 28).await, None, "the renewal counts");
    assert_eq!(take("b", 29).await, held("b", 2), "run out");
    assert_eq!(take("a", 30).await, None);
    assert_eq!(take("b", 444).await, None, "a renewal revives nothing, whether or not somebody came in between");
    assert_eq!(take("b", 499).await, None, "nor is it taken as if by somebody new");
    assert_eq!(journal.leases(at(499)).await.expect("leases").first().map(|s| s.has_run_out), Some(true));
    assert_eq!(take("c", 499).await, held("c", 3));
    assert_eq!(take("b", 514).await, held("b", 4), "after somebody else, as anybody");
    let other = journal.lease("wiki", "a", TTL, at(30)).await.expect("lease");
    assert_eq!(other.map(|l| l.generation), Some(1), "another name");
}

async fn a_lease_given_back_is_free_at_once_and_fenced(journal: Subjected) {
    let take = |holder: &'static str, second| {
        let journal = journal.clone();
        async move { journal.lease("jira", holder, TTL, at(second)).await.expect("lease") }
    };
    let first = take("a", 0).await.expect("free");
    journal.unlease(&first).await.expect("unlease");
    let second = take("b", 1).await.expect("given back");
    assert!(second.generation > first.generation);
    journal.unlease(&first).await.expect("unlease");
    assert_eq!(take("c", 2).await, None, "who has lost a lease cannot give it back");
    journal.unlease(&second).await.expect("unlease");
    let third = take("b", 3).await.expect("free");
    assert!(third.generation > second.generation, "a generation is never used twice");
}

async fn a_fenced_journal_writes_nothing_once_its_lease_is_lost(journal: Subjected) {
    let lease = journal.lease("target/jira", "a:1", TTL, at(0)).await.expect("lease").expect("free");
    let mine = journal.fenced(&lease);
    let run = begun(&mine, "r1").await;
    let id = intended(&mine, &run, OpKind::AddMember, "ann", Some("eng")).await;
    mine.standing().await.expect("it is held");
    assert_eq!(journal.leases(at(1)).await.expect("leases"), [Standing { lease: lease.clone(), has_run_out: false }]);

    journal.unlease(&lease).await.expect("unlease");
    let next = journal.lease("target/jira", "b:2", TTL, at(1)).await.expect("lease").expect("free");
    let done = settlement(id, Outcome::Done, vec![own("eng", "ann")]);
    let rest =
        Rest { system: jira(), since: at(1), cause: "c".into(), fault: "f".into(), failures: 1, until: None, credential: None };
    let refused = [
        mine.begin(&run_at("r2", &jira(), at(1))).await.err(),
        mine.intend(&run, &jira(), &[intent(OpKind::AddMember, "bob", Some("eng"))], at(1)).await.err(),
        mine.settle(&jira(), &[done], at(1)).await.err(),
        mine.record(&jira(), &[own("eng", "bob")]).await.err(),
        mine.rest(&jira(), Some(&rest)).await.err(),
        mine.stage(&staff(), &jira(), &[]).await.err(),
        mine.end(&run, &ended(Ended::Applied, at(1))).await.err(),
        mine.recover(&jira(), at(1)).await.err(),
        mine.fenced(&lease).standing().await.err(),
    ];
    for error in refused {
        let error = error.expect("refused").to_string();
        assert!(error.contains("the lease on target/jira was lost (process 2 on b holds it now)"), "{error}");
    }
    assert!(journal.ledger(&jira()).await.expect("ledger").is_empty());
    let lost = journal.fenced(&next).recover(&jira(), at(2)).await.expect("recover");
    assert_eq!(lost.iter().map(|change| change.id).collect::<Vec<_>>(), [id], "who holds it now goes on");
}

async fn text_of_any_characters_comes_back(journal: Subjected) {
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

async fn pruning_spares_what_is_still_asked_for(journal: Subjected) {
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

async fn times_keep_their_milliseconds(journal: Subjected) {
    let fine = at(1) + TimeDelta::nanoseconds(123_456_789);
    journal.begin(&run_at("r1", &jira(), fine)).await.expect("begin");
    let began = journal.run("r1").await.expect("run").expect("there").start.at;
    assert_eq!(began, at(1) + TimeDelta::milliseconds(123));
}
