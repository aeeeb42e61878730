//! What a job wants, drawn at random: rules, and the guards' policy.

use std::sync::LazyLock;
use std::time::Duration;

use fastrand::Rng;
use regex::Regex;
use rosterd::reconcile::expression::Expression;
use rosterd::reconcile::guard::expect::Expectation;
use rosterd::reconcile::guard::{Limit, Policy};
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::rules::{GroupRule, GroupRules, LeaverAction, Leavers, Mapping, Rules, Scope};
use rosterd::reconcile::seats::WhenFull;

/// Compiled once: compiling is dear, and a clone is not.
struct Expressions {
    usernames: Vec<Expression>,
    emails: Vec<Expression>,
    display_names: Vec<Expression>,
    filters: Vec<Expression>,
    app: Regex,
}

static EXPRESSIONS: LazyLock<Expressions> = LazyLock::new(|| {
    let all = |texts: &[&str]| texts.iter().map(|t| Expression::new(t).expect("an expression")).collect();
    Expressions {
        usernames: all(&["login", "login | before('@') | lower", "login | before('@')", "login | lower", "first_name"]),
        // A filter over a missing e-mail fails, and its user is set aside.
        emails: all(&["email", "email", "email | lower", "profile.nothing"]),
        display_names: all(&["full_name", "full_name", "first_name ~ ' ' ~ last_name"]),
        filters: ["profile.userType != 'contractor'", "'gate-staff' in groups", "email"]
            .iter()
            .map(|t| Expression::condition(t).expect("a condition"))
            .collect(),
        app: Regex::new("^app-(.*)$").expect("a pattern"),
    }
});

pub fn names(globs: &[&str]) -> NameSet {
    NameSet::new(globs).expect("globs")
}

fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())].clone()
}

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|t| (*t).to_owned()).collect()
}

pub fn rules(rng: &mut Rng) -> Rules {
    let pool = &*EXPRESSIONS;
    let rare = |rng: &mut Rng, one_in: u8| rng.u8(..one_in) == 0;
    let action = |rng: &mut Rng| {
        one(rng, &[LeaverAction::Keep, LeaverAction::RemoveGroups, LeaverAction::Deactivate, LeaverAction::Delete])
    };
    Rules {
        scope: Scope {
            member_of: if rare(rng, 3) { names(&["gate-*"]) } else { NameSet::none() },
            filter: rare(rng, 3).then(|| one(rng, &pool.filters)),
            exclude: if rare(rng, 2) { names(&["svc-*"]) } else { NameSet::none() },
        },
        mapping: Mapping {
            username: one(rng, &pool.usernames),
            email: one(rng, &pool.emails),
            display_name: one(rng, &pool.display_names),
        },
        groups: groups(rng),
        leavers: Leavers {
            disabled: action(rng),
            out_of_scope: action(rng),
            deleted: action(rng),
            grace: one(rng, &[Duration::ZERO, Duration::ZERO, Duration::from_secs(2 * 86_400)]),
            delete_after: one(rng, &[None, None, Some(Duration::from_secs(3 * 86_400))]),
        },
    }
}

/// What an administrator may change between two runs.
pub fn groups(rng: &mut Rng) -> GroupRules {
    let rare = |rng: &mut Rng, one_in: u8| rng.u8(..one_in) == 0;
    let named = GroupRule::Name { from: "engineering".into(), to: texts(&["developers", "jira-users"]) };
    let pattern = GroupRule::Pattern { pattern: EXPRESSIONS.app.clone(), to: texts(&["$1", "$1-all"]) };
    GroupRules {
        include: rare(rng, 3).then(|| names(&["eng*", "app-*", "jira-*"])),
        exclude: if rare(rng, 3) { names(&["*-test"]) } else { NameSet::none() },
        map: match rng.u8(..4) {
            0 => vec![named],
            1 => vec![pattern],
            2 => vec![named, pattern],
            _ => vec![],
        },
        create_missing: !rare(rng, 6),
        exclusive: one(rng, &[NameSet::none(), names(&["jira-administrators", "developers"]), names(&["*"])]),
        new_users: if rare(rng, 2) { texts(&["newcomers"]) } else { vec![] },
        all_users: if rare(rng, 3) { texts(&["Everybody"]) } else { vec![] },
    }
}

/// Guards that hold nothing.
pub fn open_policy() -> Policy {
    let open = Limit { share: 1.0, floor: u32::MAX };
    Policy {
        deactivations: open,
        membership_removals: open,
        per_group_removals: open,
        protect_users: NameSet::none(),
        protect_groups: NameSet::none(),
        expect: vec![],
        admins_at_least: 0,
        seats: WhenFull::Warn,
        plan_expires: std::time::Duration::MAX,
    }
}

pub fn policy(rng: &mut Rng) -> Policy {
    let limit = |rng: &mut Rng| Limit { share: f64::from(rng.u8(..60)) / 100.0, floor: rng.u32(..4) };
    let (deactivations, membership_removals, per_group_removals) = match rng.bool() {
        true => (limit(rng), limit(rng), limit(rng)),
        false => (open_policy().deactivations, open_policy().membership_removals, open_policy().per_group_removals),
    };
    Policy {
        deactivations,
        membership_removals,
        per_group_removals,
        protect_users: names(&["ada*", "x"]),
        protect_groups: one(rng, &[NameSet::none(), names(&["wiki"]), names(&["jira-admin*"])]),
        expect: if rng.bool() { vec![expectation(rng)] } else { vec![] },
        admins_at_least: rng.u32(..3),
        seats: WhenFull::Warn,
        plan_expires: std::time::Duration::MAX,
    }
}

fn expectation(rng: &mut Rng) -> Expectation {
    let some = |rng: &mut Rng, n: u32| rng.bool().then_some(n);
    let (least, most) = (rng.u32(..3), rng.u32(3..9));
    Expectation {
        group: "developers".into(),
        at_least: some(rng, least),
        at_most: some(rng, most),
        at_least_share: rng.bool().then(|| f64::from(rng.u8(..100)) / 100.0),
        has: if rng.u8(..4) == 0 { vec!["bob".into()] } else { vec![] },
        only_domains: vec![],
    }
}
