//! What holds over the days: runs converge, plans are the same whatever the order of pages, nobody's return is forgotten.

use fastrand::Rng;
use rosterd::model::change::OpKind;
use rosterd::model::desired::Standing;
use rosterd::model::key::{fold, group_key, same_name};
use rosterd::reconcile::guard::Policy;
use rosterd::reconcile::guard::expect::Expectation;
use rosterd::reconcile::hash::plan_id;

use crate::site::{Done, Planned, Site};
use crate::{always, in_worlds, orders};

const DAYS: usize = 5;

/// One run, held against every law on its way.
fn run(site: &mut Site, policy: &Policy, rng: &mut Rng) -> (Planned, Done) {
    let listing = site.truth.listing(rng);
    let planned = site.plan(&listing, policy, None, rng);
    always::hold(site, &listing, &planned, policy);
    let done = site.perform(&planned);
    (planned, done)
}

/// Runs converge at once: the second plan has nothing to do. Deleting an account frees its name only after the renames and
/// creations of that plan, so whoever waits for the name gets it in the run that follows, and only the third has nothing to do.
#[test]
fn the_second_run_finds_nothing_to_do() {
    in_worlds(0..320, |rng| {
        let mut site = Site::random(rng);
        let policy = orders::open_policy();
        for _ in 0..DAYS {
            let (_, done) = run(&mut site, &policy, rng);
            let freed = done.made.iter().any(|c| c.op.kind() == OpKind::DeleteUser);
            assert!(done.withheld.is_empty(), "true, and not borne out: {:?}", done.withheld);
            let (mut again, _) = run(&mut site, &policy, rng);
            if freed {
                (again, _) = run(&mut site, &policy, rng);
            }
            // A change of our own account waits for ever, and so does what depends on it.
            assert!(again.admitted().is_empty(), "not settled: {:#?}\n{:#?}", again.admitted(), again.plan());
            everybody_has_what_is_due(&site, &again);
            site.day(rng);
        }
    });
}

/// Whoever is entitled and has an account is active and in every group that is due, whatever happened before.
fn everybody_has_what_is_due(site: &Site, planned: &Planned) {
    for (at, user) in planned.desired.users.iter().enumerate().filter(|(_, u)| u.standing == Standing::Entitled) {
        let Some(link) = site.record.users.get(&user.source) else { continue };
        let Some(account) = site.land.accounts.get(&link.target) else { continue };
        assert_eq!(link.leaving_since, None, "entitled, and said to be leaving");
        assert_eq!(fold(&link.name), fold(&account.name), "the link remembers an old name");
        for group in planned.desired.groups.iter().filter(|g| !g.only_new_users && g.members.contains(&(at as u32))) {
            let Some(there) = site.land.groups.get(&group.key).filter(|g| g.writable) else { continue };
            assert!(there.members.contains(&link.target), "{} is not in {}", account.name, group.name);
        }
        if planned.capabilities.can.contains(&OpKind::ActivateUser) && account.writable {
            assert!(account.active, "{} is entitled and inactive", account.name);
        }
    }
}

/// Whether the target is as expected, looked at from outside.
fn is_met(site: &Site, expected: &Expectation) -> bool {
    let members = site.land.groups.get(&group_key(&expected.group)).map_or(0, |group| group.members.len());
    let named = |name: &String| {
        let group = site.land.groups.get(&group_key(&expected.group));
        group.is_some_and(|g| g.members.iter().any(|m| site.land.accounts.get(m).is_some_and(|u| same_name(&u.name, name))))
    };
    expected.at_least.is_none_or(|least| members >= least as usize)
        && expected.at_most.is_none_or(|most| members <= most as usize)
        && expected.has.iter().all(named)
}

/// With guards that hold and refuse, runs settle as well: what is left is held. Additions raise the counts that limits are
/// shares of and the sizes that are expected, so a removal held in one run may go through in the next; that ends.
#[test]
fn runs_settle_under_guards_too_and_the_last_administrators_stay() {
    in_worlds(10_000..10_260, |rng| {
        let mut site = Site::random(rng);
        let policy = orders::policy(rng);
        for _ in 0..DAYS {
            let mut rest = 6;
            loop {
                let capabilities = site.land.capabilities();
                let before = site.admins(&capabilities);
                let met: Vec<bool> = policy.expect.iter().map(|expected| is_met(&site, expected)).collect();
                let (planned, _) = run(&mut site, &policy, rng);
                for (before, after) in before.iter().zip(site.admins(&capabilities)) {
                    let least = before.active.len().min(policy.admins_at_least as usize);
                    assert!(after.active.len() >= least, "too few administrators are left in {:?}", after.key);
                }
                for (expected, was_met) in policy.expect.iter().zip(met) {
                    assert!(!was_met || is_met(&site, expected), "broken by a run: {expected:?}");
                }
                if planned.admitted().is_empty() {
                    break;
                }
                rest -= 1;
                assert!(rest > 0, "does not settle: {:#?}", planned.plan());
            }
            site.day(rng);
        }
    });
}

#[test]
fn the_order_of_pages_changes_no_byte_of_a_plan() {
    in_worlds(20_000..20_100, |rng| {
        let mut site = Site::random(rng);
        let policy = orders::policy(rng);
        for _ in 0..DAYS {
            let (one, other) = (site.honest(&policy, rng), site.honest(&policy, rng));
            let bytes = |p: &Planned| serde_json::to_string(p.plan()).expect("a plan");
            assert_eq!(bytes(&one), bytes(&other));
            assert_eq!(plan_id(one.plan()), plan_id(other.plan()));
            assert_eq!(one.draft.effects, other.draft.effects);
            site.perform(&one);
            site.day(rng);
        }
    });
}
