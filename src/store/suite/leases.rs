//! Leases, and the fence that they are.

use super::*;

const TTL: Duration = Duration::from_secs(15);

pub(super) async fn a_lease_has_one_holder_at_a_time(journal: Subjected) {
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

pub(super) async fn a_lease_given_back_is_free_at_once_and_fenced(journal: Subjected) {
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

pub(super) async fn a_fenced_journal_writes_nothing_once_its_lease_is_lost(journal: Subjected) {
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
