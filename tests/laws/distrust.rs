//! What holds when the source errs: a listing with holes, an emptied source, and guards that meet too many removals.

use std::collections::BTreeSet;

use fastrand::Rng;
use rosterd::contract::journal::Effect;
use rosterd::model::change::{Change, Op};
use rosterd::model::desired::Standing;
use rosterd::model::key::SourceKey;
use rosterd::model::plan::Plan;
use rosterd::reconcile::guard::judge;
use rosterd::reconcile::health::{HealthPolicy, Signs, blind, sizes};
use rosterd::reconcile::mapping::desired;

use crate::site::Site;
use crate::truth::Truth;
use crate::{always, in_worlds, orders};

/// A site in which much was given, so that there is much to take.
fn settled(rng: &mut Rng) -> Site {
    let mut site = Site::random(rng);
    site.truth.crowd(rng);
    for _ in 0..2 {
        let planned = site.honest(&orders::open_policy(), rng);
        site.perform(&planned);
    }
    site
}

/// Whether the true source still wants what the change takes away.
fn takes_what_is_due(site: &Site, plan: &Plan, change: &Change, rng: &mut Rng) -> bool {
    let Some(user) = change.op.user() else { return false };
    // A stranger in an exclusive group: no listing and no link knows who it is, so nobody can be asked.
    let Some(source) = &plan.user(user).source else { return false };
    let truth = desired(&site.truth.listing(rng), &site.rules);
    let Some(ix) = truth.user(source) else { return false };
    match &change.op {
        Op::RemoveMember { group, .. } => {
            let key = &plan.group(*group).key;
            truth.groups.iter().any(|g| g.key == *key && g.members.contains(&ix))
        }
        Op::DeactivateUser { .. } | Op::DeleteUser { .. } => {
            matches!(truth.users[ix as usize].standing, Standing::Entitled | Standing::Pending)
        }
        Op::LinkUser { .. }
        | Op::CreateGroup { .. }
        | Op::UpdateUser { .. }
        | Op::CreateUser { .. }
        | Op::ActivateUser { .. }
        | Op::AddMember { .. } => false,
    }
}

#[test]
fn a_listing_with_holes_takes_nothing_from_anybody_who_is_entitled() {
    let (mut tempted, mut withheld) = (0, 0);
    let counts = std::cell::RefCell::new((&mut tempted, &mut withheld));
    in_worlds(30_000..30_260, |rng| {
        let mut site = settled(rng);
        for _ in 0..2 {
            if rng.bool() {
                site.day(rng);
            }
            let policy = orders::open_policy();
            let listing = site.truth.with_holes(rng).listing(rng);
            let planned = site.plan(&listing, &policy, None, rng);
            always::hold(&site, &listing, &planned, &policy);
            let wrong = planned.admitted().iter().filter(|c| takes_what_is_due(&site, planned.plan(), c, rng)).count();
            let done = site.perform(&planned);
            for change in &done.made {
                assert!(!takes_what_is_due(&site, planned.plan(), change, rng), "{change:?} of {:#?}", planned.plan());
            }
            let mut counts = counts.borrow_mut();
            *counts.0 += wrong;
            *counts.1 += done.withheld.len();
        }
    });
    if std::env::var_os("ROSTERD_SEED").is_none() {
        assert!(tempted > 150 && withheld >= tempted, "the holes hardly matter: {tempted}, {withheld}");
    }
}

#[test]
fn an_emptied_or_shrunken_source_removes_nothing_and_forgets_nothing() {
    let blinded = std::cell::Cell::new(0);
    in_worlds(40_000..40_150, |rng| {
        let mut site = settled(rng);
        let last = site.sizes(rng);
        let policy = HealthPolicy { shrink: 0.1, canary_users: vec![], canary_groups: vec![] };
        let shown = match rng.u8(..3) {
            0 => Truth::default(),
            1 => Truth { teams: Default::default(), ..site.truth.clone() },
            _ => site.truth.with_holes(rng),
        };
        let listing = shown.listing(rng);
        let why = blind(&Signs::of(&listing, &policy), Some(&last), &policy);
        let emptied = sizes(&listing).users == 0 || (sizes(&listing).groups == 0 && last.groups > 0);
        assert!(why.is_some() || !emptied, "an emptied source is believed");
        let Some(why) = why else { return };
        blinded.set(blinded.get() + 1);
        let open = orders::open_policy();
        let planned = site.plan(&listing, &open, Some(why), rng);
        always::hold(&site, &listing, &planned, &open);
        for change in planned.admitted() {
            assert!(!change.op.kind().removes(), "removed by a blind run: {change:?}");
        }
        for effect in &planned.draft.effects {
            let forgets = match effect {
                Effect::UnlinkUser { .. } | Effect::UnlinkGroup { .. } | Effect::Disown { .. } => true,
                Effect::LinkUser(link) => link.leaving_since.is_some(),
                Effect::LinkGroup(_) | Effect::Own { .. } | Effect::OwnAll(_) => false,
            };
            assert!(!forgets, "forgotten by a blind run: {effect:?}");
        }
        let before = site.clone();
        site.perform(&planned);
        for (group, user) in &before.record.owned {
            let was = before.land.groups.get(group).is_some_and(|g| g.members.contains(user));
            assert!(site.record.owned.contains(&(group.clone(), user.clone())));
            assert!(!was || site.land.groups[group].members.contains(user));
        }
        let kept: BTreeSet<&SourceKey> = site.record.users.keys().collect();
        assert!(before.record.users.keys().all(|k| kept.contains(k)), "a link was cut");
    });
    assert!(std::env::var_os("ROSTERD_SEED").is_some() || blinded.get() > 60, "hardly a blind run: {}", blinded.get());
}

/// One more removal never lets through what was held without it.
#[test]
fn more_removals_never_open_a_guard() {
    in_worlds(50_000..50_150, |rng| {
        let site = settled(rng);
        let listing = site.truth.with_holes(rng).listing(rng);
        let policy = orders::policy(rng);
        let all = site.plan(&listing, &policy, None, rng);
        let fewer = Plan {
            changes: all.plan().changes.iter().filter(|c| !c.op.kind().removes() || rng.bool()).cloned().collect(),
            ..all.plan().clone()
        };
        let judged = judge(fewer.clone(), &policy, &all.circumstances);
        let admitted: BTreeSet<String> = all.admitted().iter().map(|c| format!("{c:?}")).collect();
        for (at, by) in judged.staged.iter().chain(&judged.refused) {
            let change = &fewer.changes[*at];
            assert!(
                !admitted.contains(&format!("{change:?}")),
                "{change:?} was held by {by:?}, and with more removals it is not"
            );
        }
    });
}
