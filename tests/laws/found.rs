//! Small worlds, built by hand, in which a law was once broken.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use rosterd::contract::journal::Effect;
use rosterd::contract::source::Subject;
use rosterd::model::change::{Change, Op, Reason};
use rosterd::model::key::{JobName, SourceKey, SystemName, TargetKey};
use rosterd::model::ledger::Ledger;
use rosterd::model::link::{GroupLink, Links, UserLink};
use rosterd::model::plan::{FindingKind, Managed, Plan, PlanGroup, PlanUser};
use rosterd::model::roster::{Lifecycle, SourceRosterBuilder, SourceUser, TargetRoster, TargetRosterBuilder, TargetUser};
use rosterd::reconcile::diff::{Draft, Inputs, diff};
use rosterd::reconcile::expression::Expression;
use rosterd::reconcile::hash::plan_id;
use rosterd::reconcile::mapping::desired;
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::proof::{bears_out, fresh};
use rosterd::reconcile::rules::{GroupRules, LeaverAction, Leavers, Mapping, Rules, Scope};

use crate::land::Land;
use crate::orders::names;

fn rules() -> Rules {
    let expression = |text| Expression::new(text).expect("an expression");
    Rules {
        scope: Scope { member_of: NameSet::none(), filter: None, exclude: names(&["svc-*"]) },
        mapping: Mapping {
            username: expression("login"),
            email: expression("email | lower"),
            display_name: expression("full_name"),
        },
        groups: GroupRules {
            include: None,
            exclude: NameSet::none(),
            map: vec![],
            create_missing: true,
            exclusive: NameSet::none(),
            new_users: vec![],
            all_users: vec![],
        },
        leavers: Leavers {
            disabled: LeaverAction::RemoveGroups,
            out_of_scope: LeaverAction::Keep,
            deleted: LeaverAction::RemoveGroups,
            grace: Duration::ZERO,
            delete_after: None,
        },
    }
}

fn user(key: &str, login: &str, email: Option<&str>) -> SourceUser {
    SourceUser {
        key: SourceKey::from(key),
        login: login.into(),
        email: email.map(Into::into),
        first_name: None,
        last_name: None,
        display_name: None,
        status: "ACTIVE".into(),
        lifecycle: Lifecycle::Entitled,
        profile: None,
    }
}

fn account(key: &str, name: &str) -> TargetUser {
    TargetUser { key: TargetKey::from(key), name: name.into(), email: None, display_name: None, active: true, writable: true }
}

fn target(accounts: &[(&str, &str)], group: &str) -> TargetRoster {
    let mut target = TargetRosterBuilder::new();
    target.group(group, true);
    for (key, name) in accounts {
        target.user(account(key, name));
        target.member(&TargetKey::from(group), &TargetKey::from(*key));
    }
    target.build()
}

fn link(source: &str, target: &str, name: &str) -> UserLink {
    UserLink {
        source: SourceKey::from(source),
        target: TargetKey::from(target),
        name: name.into(),
        email_mark: None,
        leaving_since: None,
        last_asked: None,
        is_new: false,
    }
}

/// What a diff comes to.
fn drawn(
    source: SourceRosterBuilder,
    target: &TargetRoster,
    links: &Links,
    owned: &[(&str, &str)],
    rules: &Rules,
    partial: bool,
) -> Draft {
    let desired = desired(&source.build(), rules);
    let capabilities = Land::random(&mut Rng::with_seed(0)).capabilities();
    let ledger = Ledger::of(owned.iter().map(|(g, u)| (TargetKey::from(*g), TargetKey::from(*u))));
    diff(&Inputs {
        job: &JobName::from("staff"),
        target: &SystemName::from("model"),
        desired: &desired,
        actual: target,
        links,
        ledger: &ledger,
        rules,
        capabilities: &capabilities,
        now: "2026-03-01T06:00:00Z".parse().expect("a time"),
        partial,
    })
}

/// The removals of a plan, by user name.
fn removals(
    source: SourceRosterBuilder,
    target: &TargetRoster,
    links: &Links,
    owned: &[(&str, &str)],
    rules: &Rules,
    partial: bool,
) -> Vec<String> {
    let plan = drawn(source, target, links, owned, rules, partial).plan;
    let removed = plan.changes.iter().filter(|c| c.op.kind().removes());
    removed.filter_map(|c| c.op.user().map(|u| plan.user(u).name.to_string())).collect()
}

#[test]
fn the_account_of_somebody_set_aside_or_excluded_is_no_strangers() {
    let mut rules = rules();
    rules.groups.exclusive = names(&["admins"]);
    let mut source = SourceRosterBuilder::new();
    // Without an e-mail address its expression fails.
    source.user(user("u1", "ada", None));
    source.user(user("u2", "svc-backup", Some("b@example.com")));
    source.group("g1", "admins");
    let target = target(&[("k1", "ada"), ("k2", "svc-backup"), ("k3", "svc-by-hand"), ("k4", "mallory")], "admins");
    assert_eq!(removals(source, &target, &Links::default(), &[], &rules, false), ["mallory"]);
}

#[test]
fn a_retry_leaves_alone_what_a_group_out_of_scope_once_gave() {
    let mut rules = rules();
    rules.groups.exclude = names(&["old"]);
    let links = Links {
        users: vec![link("u1", "k1", "ada")],
        groups: vec![GroupLink { source: SourceKey::from("g1"), target: TargetKey::from("old"), name: "old".into() }],
    };
    let target = target(&[("k1", "ada")], "old");
    for partial in [false, true] {
        let mut source = SourceRosterBuilder::new();
        source.user(user("u1", "ada", Some("a@example.com")));
        source.group("g1", "old");
        source.member("g1", "u1");
        let none: [&str; 0] = [];
        assert_eq!(removals(source, &target, &links, &[("old", "k1")], &rules, partial), none);
    }
}

/// A plan of one removal from `group`, for this reason.
fn removal(group: &str, because: Reason) -> Plan {
    Plan {
        job: JobName::from("staff"),
        target: SystemName::from("model"),
        users: vec![PlanUser { source: Some(SourceKey::from("u1")), key: Some(TargetKey::from("k1")), name: "ada".into() }],
        groups: vec![PlanGroup { key: TargetKey::from(group), name: group.into(), size: 1 }],
        sources: vec![],
        changes: vec![Change { op: Op::RemoveMember { group: 0, user: 0 }, because }],
        findings: vec![],
        managed: Managed::default(),
        rosters: Default::default(),
    }
}

/// Approved is what was shown, and that was a whole world: the same changes of another are another plan.
#[test]
fn the_same_changes_of_another_world_are_another_plan() {
    let plan = removal("developers", Reason::Gone);
    let elsewhere = Plan { rosters: "another".into(), ..plan.clone() };
    assert_eq!(plan_id(&plan), plan_id(&plan.clone()));
    assert_ne!(plan_id(&plan), plan_id(&elsewhere));
}

fn is_borne_out(subject: Option<&Subject>, group: &str, because: Reason, rules: &Rules) -> bool {
    let plan = removal(group, because);
    bears_out(&fresh(subject, |_| true, rules), &plan, &plan.changes[0], rules).is_ok()
}

#[test]
fn a_group_for_new_users_that_is_mapped_to_as_well_can_be_left() {
    let mut rules = rules();
    rules.groups.new_users = vec!["newcomers".into()];
    let subject = Subject { user: user("u1", "ada", Some("a@example.com")), in_scope: true, groups: vec![] };
    assert!(is_borne_out(Some(&subject), "newcomers", Reason::NotMember, &rules));
    // That somebody left who did not is no reason to take the newcomer's groups.
    assert!(!is_borne_out(Some(&subject), "newcomers", Reason::Gone, &rules));
}

#[test]
fn a_removal_is_not_borne_out_by_a_cause_for_which_everything_is_kept() {
    let rules = rules();
    let mut subject = Subject { user: user("u1", "ada", Some("a@example.com")), in_scope: false, groups: vec![] };
    assert!(!is_borne_out(Some(&subject), "developers", Reason::Gone, &rules));
    subject.user.lifecycle = Lifecycle::Disabled;
    assert!(is_borne_out(Some(&subject), "developers", Reason::Disabled, &rules));
    assert!(is_borne_out(None, "developers", Reason::Gone, &rules));
    let kept: BTreeSet<TargetKey> = fresh(Some(&subject), |_| true, &rules).groups;
    assert!(kept.is_empty());
}

/// An account that a listing lacks may only not be shown. Whatever its user is, what is known of it is kept: else it would be
/// nobody's when it is shown again, with all that it may do.
#[test]
fn what_is_known_of_an_account_outlives_a_listing_that_lacks_it() {
    let links = Links { users: vec![link("u1", "k1", "ada"), link("u2", "k2", "bob")], groups: vec![] };
    let target = target(&[("k2", "bob")], "team");
    let lifecycles = [Some(Lifecycle::Disabled), Some(Lifecycle::Pending), Some(Lifecycle::Entitled), None];
    for (lifecycle, excluded) in lifecycles.into_iter().flat_map(|l| [(l, false), (l, true)]) {
        let mut rules = rules();
        if excluded {
            rules.scope.exclude = names(&["ada"]);
        }
        let mut source = SourceRosterBuilder::new();
        if let Some(lifecycle) = lifecycle {
            source.user(SourceUser { lifecycle, ..user("u1", "ada", Some("a@example.com")) });
        }
        source.user(user("u2", "bob", Some("b@example.com")));
        source.group("g1", "team");
        source.member("g1", "u2");
        let draft = drawn(source, &target, &links, &[("team", "k1"), ("team", "k2")], &rules, false);
        let forgets = |effect: &&Effect| matches!(effect, Effect::UnlinkUser { .. } | Effect::Disown { .. });
        let forgotten: Vec<&Effect> = draft.effects.iter().filter(forgets).collect();
        assert!(forgotten.is_empty(), "{lifecycle:?}, excluded {excluded}: {forgotten:?}");
    }
}

/// Of two groups of new users one was given, and somebody took the user out of it; the other was never given.
#[test]
fn of_the_groups_of_new_users_each_is_given_once() {
    let mut rules = rules();
    rules.groups.new_users = vec!["newcomers".into(), "welcome".into()];
    let links = Links { users: vec![UserLink { is_new: true, ..link("u1", "k1", "ada") }], groups: vec![] };
    let mut target = TargetRosterBuilder::new();
    target.user(account("k1", "ada"));
    target.group("newcomers", true);
    target.group("welcome", true);
    let target = target.build();
    let given = |owned: &[(&str, &str)]| {
        let mut source = SourceRosterBuilder::new();
        source.user(user("u1", "ada", Some("a@example.com")));
        let draft = drawn(source, &target, &links, owned, &rules, false);
        let is_settled = draft.effects.iter().any(|e| matches!(e, Effect::LinkUser(link) if !link.is_new));
        let groups: Vec<String> =
            draft.plan.changes.iter().filter_map(|c| c.op.group()).map(|g| draft.plan.group(g).name.to_string()).collect();
        (groups, is_settled)
    };
    assert_eq!(given(&[]), (vec!["newcomers".to_owned(), "welcome".to_owned()], false));
    assert_eq!(given(&[("newcomers", "k1")]), (vec!["welcome".to_owned()], false));
    assert_eq!(given(&[("newcomers", "k1"), ("welcome", "k1")]), (vec![], true));
}

/// Two accounts whose names differ in nothing but their case: whose is whose only a person can say.
#[test]
fn of_two_accounts_of_one_name_neither_is_taken() {
    let mut source = SourceRosterBuilder::new();
    source.user(user("u1", "ada", Some("a@example.com")));
    let target = target(&[("k1", "ada"), ("k2", "ADA")], "team");
    let plan = drawn(source, &target, &Links::default(), &[], &rules(), false).plan;
    assert_eq!(plan.changes, []);
    assert!(plan.findings.iter().any(|finding| finding.kind == FindingKind::Ambiguous), "{:?}", plan.findings);
}
