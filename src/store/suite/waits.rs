//! What waits for its time: the retry queue, rests, notices, credentials that end; and how much of it all there is.

use super::*;

pub(super) async fn a_retry_replaces_the_one_of_the_same_subject(journal: Subjected) {
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

pub(super) async fn what_waits_is_counted_by_job_target_and_kind(journal: Subjected) {
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

/// Jira's rest after it has refused a credential.
fn refused(credential: Option<&str>) -> Rest {
    Rest {
        system: jira(),
        since: at(1),
        cause: "jira refused the credential".into(),
        fault: "refused".into(),
        failures: 1,
        until: None,
        credential: credential.map(Into::into),
    }
}

pub(super) async fn a_rest_is_written_and_ended(journal: Subjected) {
    let rest = refused(None);
    journal.rest(&jira(), Some(&rest)).await.expect("rest");
    let longer = Rest { failures: 2, until: Some(at(90)), ..rest };
    journal.rest(&jira(), Some(&longer)).await.expect("rest");
    journal.rest(&wiki(), None).await.expect("rest");
    assert_eq!(journal.rests().await.expect("rests"), [longer]);
    journal.rest(&jira(), None).await.expect("rest");
    assert!(journal.rests().await.expect("rests").is_empty());
}

pub(super) async fn a_refused_credential_is_remembered_beyond_the_rest_until_it_is_forgiven(journal: Subjected) {
    let refused = |mark: &str| refused(Some(mark));
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

pub(super) async fn a_system_ails_until_it_is_healed_which_is_told_once(journal: Subjected) {
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

pub(super) async fn notices_come_one_after_the_other_for_each_webhook(journal: Subjected) {
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

pub(super) async fn when_a_credential_expires_is_written_and_told_once(journal: Subjected) {
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
