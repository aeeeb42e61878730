//! What holds of every plan, whatever the world.

use std::collections::{BTreeMap, BTreeSet};

use rosterd::model::change::{Op, OpKind, Reason};
use rosterd::model::desired::Standing;
use rosterd::model::key::{SourceKey, TargetKey, fold};
use rosterd::model::plan::FindingKind;
use rosterd::model::roster::SourceRoster;
use rosterd::reconcile::expression::Record;
use rosterd::reconcile::guard::Policy;

use crate::site::{Planned, Site};

/// Holds a plan against every law that a plan alone can break.
pub fn hold(site: &Site, listing: &SourceRoster, planned: &Planned, policy: &Policy) {
    order(planned);
    no_op_is_idle(site, planned);
    only_what_is_ours(site, planned);
    the_undecided_are_left_alone(site, listing, planned);
    one_name_one_account(planned);
    guards(planned, policy);
}

fn order(planned: &Planned) {
    let kinds: Vec<OpKind> = planned.plan().changes.iter().map(|c| c.op.kind()).collect();
    assert!(kinds.is_sorted(), "out of order: {kinds:?}");
    let mut created: BTreeSet<u32> = BTreeSet::new();
    let mut founded: BTreeSet<u32> = BTreeSet::new();
    for change in &planned.plan().changes {
        match &change.op {
            Op::CreateUser { user, .. } => assert!(created.insert(*user), "created twice: {change:?}"),
            Op::CreateGroup { group } => assert!(founded.insert(*group), "created twice: {change:?}"),
            Op::AddMember { group, user } => {
                assert!(planned.plan().user(*user).key.is_some() || created.contains(user), "nobody yet: {change:?}");
                let there = planned.actual.group(&planned.plan().group(*group).key).is_some();
                assert!(there || founded.contains(group), "no such group yet: {change:?}");
            }
            Op::LinkUser { .. }
            | Op::UpdateUser { .. }
            | Op::ActivateUser { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => {}
        }
    }
}

fn no_op_is_idle(site: &Site, planned: &Planned) {
    let plan = planned.plan();
    let mut seen = BTreeSet::new();
    for change in &plan.changes {
        let op = &change.op;
        let key = op.user().and_then(|u| plan.user(u).key.as_ref());
        let group = op.group().map(|g| &plan.group(g).key);
        let inside = || site.land.groups.get(group.expect("a group")).is_some_and(|g| key.is_some_and(|k| g.members.contains(k)));
        let account = || &site.land.accounts[key.expect("an account")];
        match op {
            Op::LinkUser { .. } => {
                let source = plan.user(op.user().expect("a user")).source.as_ref().expect("a source user");
                let linked = site.record.users.get(source).is_some_and(|l| Some(&l.target) == key);
                assert!(!linked, "already linked: {change:?}");
            }
            Op::CreateGroup { .. } => assert!(!site.land.groups.contains_key(group.expect("a group")), "is there: {change:?}"),
            Op::UpdateUser { edit, .. } => {
                assert_ne!(edit.before, edit.after, "changes nothing");
                assert!(account().writable, "read-only: {change:?}");
            }
            Op::CreateUser { .. } => assert!(key.is_none(), "is there: {change:?}"),
            Op::ActivateUser { .. } => assert!(!site.land.is_active(key.expect("an account")), "is active: {change:?}"),
            Op::AddMember { .. } => assert!(!inside(), "is in: {change:?}"),
            Op::RemoveMember { .. } => assert!(inside(), "is not in: {change:?}"),
            Op::DeactivateUser { .. } => assert!(site.land.is_active(key.expect("an account")), "is inactive: {change:?}"),
            Op::DeleteUser { .. } => {
                account();
            }
        }
        assert!(planned.capabilities.can.contains(&op.kind()), "cannot be done: {change:?}");
        if op.kind() != OpKind::UpdateUser {
            let who = op.user().map(|u| (plan.user(u).source.clone(), key.cloned()));
            assert!(seen.insert((op.kind(), who, group.cloned())), "planned twice: {change:?}");
        }
    }
}

fn only_what_is_ours(site: &Site, planned: &Planned) {
    let plan = planned.plan();
    let mut owners: BTreeMap<&TargetKey, &SourceKey> = BTreeMap::new();
    for link in site.record.users.values() {
        assert_eq!(owners.insert(&link.target, &link.source), None, "one account, two people");
    }
    for change in &plan.changes {
        let user = change.op.user().map(|u| plan.user(u));
        let found = |user: u32| plan.changes.iter().any(|c| c.op == Op::LinkUser { user });
        match &change.op {
            Op::LinkUser { .. } => {
                let key = user.and_then(|u| u.key.as_ref()).expect("an account");
                assert!(!owners.contains_key(key), "somebody else's: {change:?}");
            }
            Op::UpdateUser { user: ix, .. }
            | Op::ActivateUser { user: ix }
            | Op::DeactivateUser { user: ix }
            | Op::DeleteUser { user: ix } => {
                let user = user.expect("a user");
                let linked = user
                    .source
                    .as_ref()
                    .and_then(|s| site.record.users.get(s))
                    .is_some_and(|l| Some(&l.target) == user.key.as_ref());
                assert!(linked || (found(*ix) && !change.op.kind().removes()), "not ours: {change:?}");
            }
            Op::RemoveMember { group, .. } => {
                let user = user.expect("a user");
                let group = plan.group(*group);
                let owned = planned.ledger.owns(&group.key, user.key.as_ref().expect("an account"));
                let exclusive =
                    site.rules.groups.exclusive.matches(&group.name) && planned.desired.groups.iter().any(|g| g.key == group.key);
                assert!(owned || exclusive, "not ours: {change:?}");
                assert_eq!(user.source.is_none(), change.because == Reason::Exclusive, "{change:?}");
            }
            Op::CreateGroup { .. } | Op::CreateUser { .. } | Op::AddMember { .. } => {}
        }
    }
}

fn the_undecided_are_left_alone(site: &Site, listing: &SourceRoster, planned: &Planned) {
    let plan = planned.plan();
    let uses = site.rules.mapping.username.uses();
    let undecided =
        |s: &SourceKey| planned.desired.user(s).is_some_and(|u| planned.desired.users[u as usize].standing == Standing::Pending);
    let names: BTreeSet<String> = listing
        .users
        .iter()
        .filter(|u| undecided(&u.key))
        .filter_map(|u| site.rules.mapping.username.text_of(&Record::new(u, &[], uses).ok()?).ok()?)
        .map(|n| fold(&n))
        .collect();
    for change in &plan.changes {
        let Some(user) = change.op.user().map(|u| plan.user(u)) else { continue };
        assert!(!user.source.as_ref().is_some_and(undecided), "the user is pending or set aside: {change:?}");
        if user.source.is_none() {
            assert!(!names.contains(&fold(&user.name)), "the account of somebody pending or set aside: {change:?} {}", user.name);
            assert!(!site.rules.scope.exclude.matches(&user.name), "an excluded name: {change:?} {}", user.name);
        }
    }
}

fn one_name_one_account(planned: &Planned) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for user in planned.desired.users.iter().filter(|u| u.standing == Standing::Entitled) {
        let attributes = user.attributes.as_ref().expect("an entitled user has attributes");
        assert!(names.insert(fold(&attributes.name)), "two entitled users want {:?}", attributes.name);
    }
    for aside in planned.desired.set_aside.iter().filter(|a| a.kind == FindingKind::Conflict) {
        let name_of = |s: &SourceKey| {
            let user = &planned.desired.users[planned.desired.user(s).expect("told of") as usize];
            user.attributes.as_ref().map(|a| fold(&a.name))
        };
        let name = name_of(&aside.source);
        let others = planned.desired.set_aside.iter().filter(|a| a.kind == FindingKind::Conflict && name_of(&a.source) == name);
        assert!(others.count() >= 2, "set aside alone: {aside:?}");
        assert!(!names.contains(&name.expect("a name in conflict")), "one of the two was chosen: {aside:?}");
    }
}

fn guards(planned: &Planned, policy: &Policy) {
    let plan = planned.plan();
    for (at, by) in &planned.judged.staged {
        assert!(plan.changes[*at].op.kind().removes(), "an addition waits: {:?} {by:?}", plan.changes[*at]);
    }
    for (at, by) in &planned.judged.refused {
        let removes = plan.changes[*at].op.kind().removes();
        assert!(
            removes || by.iter().all(|g| g.starts_with("protected-") || ["own-account", "expectation"].contains(g)),
            "{:?} {by:?}",
            plan.changes[*at]
        );
    }
    assert!(!planned.judged.is_refused() || planned.judged.admitted.is_empty(), "a plan that is refused is refused whole");
    for change in planned.admitted() {
        let op = &change.op;
        if let Some(user) = op.user().map(|u| plan.user(u)) {
            let touched = op.kind() != OpKind::LinkUser && policy.protect_users.matches(&user.name);
            assert!(!touched, "a protected user: {change:?} {}", user.name);
            if let Op::UpdateUser { edit, .. } = op {
                assert!(!policy.protect_users.matches(&edit.after.name), "takes a protected name: {change:?}");
            }
            let own = fold(&user.name) == "rosterd" && (op.kind().removes() || op.kind() == OpKind::UpdateUser);
            assert!(!own, "our own account: {change:?}");
        }
        if let Some(group) = op.group().map(|g| plan.group(g)) {
            assert!(!policy.protect_groups.matches(&group.name), "a protected group: {change:?} {}", group.name);
        }
    }
}
