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

mod leases;
mod links;
mod people;
mod record;
mod runs;
mod waits;
use leases::*;
use links::*;
use people::*;
use record::*;
use runs::*;
use waits::*;

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
