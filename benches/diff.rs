//! The diff of 100,000 users, 10,000 groups and 1,000,000 memberships, with nothing, one in a hundred, and everything
//! changed; and what else of the pure core looks at everybody in each run: mapping, what to read, health, guard and hash.
//! `cargo bench --bench diff`

use std::sync::LazyLock;

use chrono::DateTime;
use rosterd::contract::target::{Capabilities, Deactivation, Expiry};
use rosterd::model::change::OpKind;
use rosterd::model::desired::{Attributes, Desired, DesiredGroup, DesiredUser, SourceGroupRef, Standing};
use rosterd::model::key::{JobName, SourceKey, SystemName, TargetKey, group_key};
use rosterd::model::ledger::Ledger;
use rosterd::model::link::{GroupLink, Links, UserLink, email_mark};
use rosterd::model::plan::Plan;
use rosterd::model::roster::{Lifecycle, SourceGroup, SourceRoster, SourceUser, TargetGroup, TargetRoster, TargetUser};
use rosterd::reconcile::diff::{Inputs, diff};
use rosterd::reconcile::expression::Expression;
use rosterd::reconcile::guard::{Circumstances, Limit, Policy, judge};
use rosterd::reconcile::hash::plan_id;
use rosterd::reconcile::health::{HealthPolicy, Signs, blind, sizes};
use rosterd::reconcile::mapping;
use rosterd::reconcile::pattern::NameSet;
use rosterd::reconcile::rules::{GroupRules, LeaverAction, Leavers, Mapping, Rules, Scope};
use rosterd::reconcile::seats::WhenFull;
use rosterd::reconcile::wanted::wanted;

/// As in the binary: how long a plan of millions takes depends on it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USERS: usize = 100_000;
const GROUPS: usize = 10_000;
const PER_GROUP: usize = 100;

fn main() {
    divan::main();
}

struct World {
    desired: Desired,
    actual: TargetRoster,
    links: Links,
    ledger: Ledger,
    rules: Rules,
    capabilities: Capabilities,
}

/// The members of a group: `shift` moves all of them.
fn members(group: usize, shift: usize) -> Vec<u32> {
    let mut members: Vec<u32> = (0..PER_GROUP).map(|m| ((group * 10 + m * 997 + shift) % USERS) as u32).collect();
    members.sort_unstable();
    members.dedup();
    members
}

fn source(at: usize) -> SourceKey {
    SourceKey::from(format!("00u{at:017}"))
}

fn target(at: usize) -> TargetKey {
    TargetKey::from(format!("JIRAUSER{at:06}"))
}

fn attributes(at: usize) -> Attributes {
    let name = format!("user{at:06}");
    Attributes {
        email: Some(format!("{name}@example.com").into()),
        display_name: Some(format!("User {at}").into()),
        name: name.into(),
    }
}

fn rules() -> Rules {
    let expression = |text| Expression::new(text).expect("valid");
    Rules {
        scope: Scope { member_of: NameSet::none(), filter: None, exclude: NameSet::none() },
        mapping: Mapping { username: expression("login"), email: expression("email"), display_name: expression("full_name") },
        groups: GroupRules {
            include: None,
            exclude: NameSet::none(),
            map: Vec::new(),
            create_missing: true,
            exclusive: NameSet::none(),
            new_users: Vec::new(),
            all_users: Vec::new(),
        },
        leavers: Leavers {
            disabled: LeaverAction::Deactivate,
            out_of_scope: LeaverAction::RemoveGroups,
            deleted: LeaverAction::Deactivate,
            grace: std::time::Duration::ZERO,
            delete_after: None,
        },
    }
}

/// A converged world, of whose groups one in `changed` has other members in the source.
fn world(changed: usize) -> World {
    let name = |group: usize| format!("group-{group:05}");
    let shift = |group: usize| usize::from(changed > 0 && group.is_multiple_of(changed)) * 499;
    let desired = Desired {
        users: (0..USERS)
            .map(|at| DesiredUser { source: source(at), standing: Standing::Entitled, attributes: Some(attributes(at)) })
            .collect(),
        groups: (0..GROUPS)
            .map(|group| {
                let members = members(group, shift(group));
                let via = vec![group as u32; members.len()];
                DesiredGroup {
                    key: group_key(&name(group)),
                    name: name(group).into(),
                    sources: vec![group as u32],
                    members,
                    via,
                    only_new_users: false,
                }
            })
            .collect(),
        sources: (0..GROUPS)
            .map(|g| SourceGroupRef { key: SourceKey::from(format!("00g{g:017}")), name: name(g).into() })
            .collect(),
        ..Desired::default()
    };
    let users = (0..USERS)
        .map(|at| {
            let Attributes { name, email, display_name } = attributes(at);
            TargetUser { key: target(at), name, email, display_name, active: true, writable: true }
        })
        .collect();
    let groups = |group: usize| TargetGroup {
        key: group_key(&name(group)),
        name: name(group).into(),
        writable: true,
        members: members(group, 0),
    };
    let links = Links {
        users: (0..USERS)
            .map(|at| UserLink {
                source: source(at),
                target: target(at),
                name: attributes(at).name,
                email_mark: attributes(at).email.map(|e| email_mark(&source(at), &e)),
                leaving_since: None,
                last_asked: None,
                is_new: false,
            })
            .collect(),
        groups: desired
            .sources
            .iter()
            .map(|s| GroupLink { source: s.key.clone(), target: group_key(&s.name), name: s.name.clone() })
            .collect(),
    };
    World {
        actual: TargetRoster { users, groups: (0..GROUPS).map(groups).collect() },
        links,
        ledger: Ledger {
            users: (0..USERS).map(target).collect(),
            groups: (0..GROUPS).map(|g| (group_key(&name(g)), members(g, 0))).collect(),
        },
        desired,
        rules: rules(),
        capabilities: Capabilities {
            product: "Jira",
            version: "11".into(),
            acting_as: None,
            can: OpKind::ALL.to_vec(),
            can_rename: true,
            can_update: true,
            needs_email: true,
            deactivation: Deactivation::Flag,
            adds_per_call: 1,
            writes_at_once: 4,
            admin_groups: Vec::new(),
            groups_writable: true,
            seats: Vec::new(),
            expires: Expiry::Unknown,
            refuse_user: |_| None,
            refuse_group: |_| None,
            notes: Vec::new(),
        },
    }
}

/// The source that the desired state of [`world`] comes from.
fn listing() -> SourceRoster {
    let users = (0..USERS)
        .map(|at| {
            let Attributes { name, email, .. } = attributes(at);
            SourceUser {
                key: source(at),
                login: name,
                email,
                first_name: Some("User".into()),
                last_name: Some(at.to_string().into()),
                display_name: None,
                status: "ACTIVE".into(),
                lifecycle: Lifecycle::Entitled,
                profile: None,
            }
        })
        .collect();
    let groups = (0..GROUPS)
        .map(|group| SourceGroup {
            key: SourceKey::from(format!("00g{group:017}")),
            name: format!("group-{group:05}").into(),
            members: members(group, 0),
            subgroups: Vec::new(),
        })
        .collect();
    SourceRoster { users, groups }
}

fn policy() -> Policy {
    let limit = |share| Limit { share, floor: 10 };
    let names = |globs: &[&str]| NameSet::new(globs).expect("globs");
    Policy {
        deactivations: limit(0.05),
        membership_removals: limit(0.05),
        per_group_removals: limit(0.3),
        protect_users: names(&["admin*", "svc-*"]),
        protect_groups: names(&["*-administrators"]),
        expect: Vec::new(),
        admins_at_least: 1,
        seats: WhenFull::Warn,
        plan_expires: std::time::Duration::MAX,
    }
}

fn run(world: &World) -> usize {
    plan(world).changes.len()
}

fn plan(world: &World) -> Plan {
    let inputs = Inputs {
        job: &JobName::from("staff"),
        target: &SystemName::from("jira"),
        desired: &world.desired,
        actual: &world.actual,
        links: &world.links,
        ledger: &world.ledger,
        rules: &world.rules,
        capabilities: &world.capabilities,
        now: DateTime::UNIX_EPOCH,
        partial: false,
    };
    diff(&inputs).plan
}

static SAME: LazyLock<World> = LazyLock::new(|| world(0));
static ONE_IN_A_HUNDRED: LazyLock<World> = LazyLock::new(|| world(100));
static EVERYTHING: LazyLock<World> = LazyLock::new(|| world(1));

#[divan::bench(sample_count = 10)]
fn nothing_changed(bencher: divan::Bencher<'_, '_>) {
    assert_eq!(run(&SAME), 0);
    bencher.bench(|| run(&SAME));
}

#[divan::bench(sample_count = 10)]
fn one_in_a_hundred_changed(bencher: divan::Bencher<'_, '_>) {
    assert!(run(&ONE_IN_A_HUNDRED) > 15_000);
    bencher.bench(|| run(&ONE_IN_A_HUNDRED));
}

#[divan::bench(sample_count = 10)]
fn everything_changed(bencher: divan::Bencher<'_, '_>) {
    assert!(run(&EVERYTHING) > 1_500_000);
    bencher.bench(|| run(&EVERYTHING));
}

static LISTING: LazyLock<SourceRoster> = LazyLock::new(listing);
static PLAN: LazyLock<Plan> = LazyLock::new(|| plan(&EVERYTHING));

#[divan::bench(sample_count = 10)]
fn desired(bencher: divan::Bencher<'_, '_>) {
    assert_eq!(mapping::desired(&LISTING, &SAME.rules), SAME.desired);
    bencher.bench(|| mapping::desired(&LISTING, &SAME.rules));
}

#[divan::bench(sample_count = 10)]
fn to_be_read(bencher: divan::Bencher<'_, '_>) {
    let admins = ["jira-administrators".to_owned()];
    bencher.bench(|| wanted(&SAME.desired, &SAME.links, &SAME.ledger, &admins));
}

#[divan::bench(sample_count = 10)]
fn health(bencher: divan::Bencher<'_, '_>) {
    let canary = vec![format!("User{:06}", USERS - 1)];
    let policy = HealthPolicy { shrink: 0.1, canary_users: canary, canary_groups: vec!["Group-09999".to_owned()] };
    let look = || blind(&Signs::of(&LISTING, &policy), Some(&sizes(&LISTING)), &policy);
    assert_eq!(look(), None);
    bencher.bench(look);
}

/// A plan that removes every membership, so that all limits trip.
#[divan::bench(sample_count = 10)]
fn guard(bencher: divan::Bencher<'_, '_>) {
    let policy = policy();
    bencher.with_inputs(|| PLAN.clone()).bench_values(|plan| judge(plan, &policy, &Circumstances::default()));
}

#[divan::bench(sample_count = 10)]
fn hash(bencher: divan::Bencher<'_, '_>) {
    bencher.bench(|| plan_id(&PLAN));
}
