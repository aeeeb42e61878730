//! Links and ledger: who is whom at a target, and whose a membership is.

use super::*;

pub(super) async fn links_come_back_as_written_and_sorted(journal: Subjected) {
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

pub(super) async fn a_link_replaces_the_one_of_the_same_source_user(journal: Subjected) {
    let mut marked = link("00u1", "a");
    marked.email_mark = Some(5);
    let effects = [Effect::LinkUser(Box::new(marked)), Effect::LinkUser(Box::new(link("00u1", "b")))];
    journal.record(&jira(), &effects).await.expect("record");
    assert_eq!(journal.links(&jira()).await.expect("links").users, [link("00u1", "b")]);
}

pub(super) async fn cutting_a_link_forgets_what_the_user_owned(journal: Subjected) {
    let effects = [Effect::LinkUser(Box::new(link("00u1", "ann"))), own("eng", "ann"), own("all", "ann"), own("eng", "bob")];
    journal.record(&jira(), &effects).await.expect("record");
    journal.record(&wiki(), &[own("eng", "ann")]).await.expect("record");
    let cut = Effect::UnlinkUser { source: "00u1".into(), target: "ann".into() };
    journal.record(&jira(), &[cut]).await.expect("record");
    assert_eq!(journal.links(&jira()).await.expect("links"), Links::default());
    assert_eq!(journal.ledger(&jira()).await.expect("ledger"), Ledger::of([("eng".into(), "bob".into())]));
    assert_eq!(journal.ledger(&wiki()).await.expect("ledger").len(), 1);
}

pub(super) async fn an_old_cut_spares_the_link_written_since(journal: Subjected) {
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

pub(super) async fn targets_do_not_see_each_other(journal: Subjected) {
    journal.record(&jira(), &[Effect::LinkUser(Box::new(link("00u1", "ann"))), own("eng", "ann")]).await.expect("record");
    assert_eq!(journal.links(&wiki()).await.expect("links"), Links::default());
    assert_eq!(journal.ledger(&wiki()).await.expect("ledger"), Ledger::default());
}

pub(super) async fn owned_memberships_come_back_sorted(journal: Subjected) {
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

pub(super) async fn effects_on_one_record_keep_their_order(journal: Subjected) {
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
