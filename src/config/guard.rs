//! What must hold before access is taken away.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::glob::{self, Globs};
use super::names::{foreign_name, foreign_names};
use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;

/// A limit on removals: what exceeds both the share and the floor is staged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// A share from 0 to 1.
    pub share: f64,
    /// So many are always let through.
    pub floor: u32,
}

/// What must be true of a target group before and after a run. Something is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// The group's name.
    pub group: String,
    /// The fewest members.
    pub at_least: Option<u64>,
    /// The most members.
    pub at_most: Option<u64>,
    /// The least share of its members that must be left, from 0 to 1.
    pub at_least_share: Option<f64>,
    /// User names that must be members.
    pub has: Vec<String>,
    /// The mail domains of its members.
    pub only_domains: Vec<String>,
}

/// Users and groups that must be visible at the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canaries {
    /// Logins.
    pub users: Vec<String>,
    /// Group names.
    pub groups: Vec<String>,
}

/// What happens to those for whom the licence has no seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seats {
    /// The target is asked all the same; plan and run say that the licence does not suffice.
    #[default]
    Warn,
    /// They wait for a free seat, and everybody else's changes go on.
    Hold,
}

/// What must hold before access is taken away.
#[derive(Clone, Debug)]
pub struct Guard {
    /// How many users may lose their account, of those that are managed.
    pub deactivations: Limit,
    /// How many memberships may be removed at a target, of those that are owned.
    pub membership_removals: Limit,
    /// How many members one group may lose.
    pub per_group_removals: Limit,
    /// Target user names that are never touched.
    pub protect_users: Globs,
    /// Target groups from which nobody is ever removed.
    pub protect_groups: Globs,
    /// What must be true of groups.
    pub expect: Vec<Expect>,
    /// How many administrators a target must keep.
    pub admins_at_least: u32,
    /// What happens where the licence is full.
    pub seats: Seats,
    /// By what share the source may have shrunk since the last good run before a run is blind.
    pub source_band: f64,
    /// What must be visible at the source.
    pub canaries: Canaries,
    /// After how long a plan can no longer be approved, and an approval that was not used is void.
    pub plan_expires: Duration,
}

/// The default of [`Guard::plan_expires`].
pub const PLAN_EXPIRES: Duration = Duration::from_secs(7 * 24 * 3600);

/// Checks the guard's settings.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Guard) -> Guard {
    let raw::Guard {
        deactivations,
        membership_removals,
        per_group_removals,
        protect_users,
        protect_groups,
        expect,
        admins_at_least,
        seats,
        source_band,
        canaries,
        plan_expires,
    } = raw;
    let at = path.key("canaries");
    foreign_names(scribe, &at.key("users"), &canaries.users);
    foreign_names(scribe, &at.key("groups"), &canaries.groups);
    let rules = path.key("expect");
    Guard {
        deactivations: limit(scribe, &path.key("deactivations"), &deactivations, 0.10, 5),
        membership_removals: limit(scribe, &path.key("membership_removals"), &membership_removals, 0.25, 20),
        per_group_removals: limit(scribe, &path.key("per_group_removals"), &per_group_removals, 0.50, 10),
        protect_users: glob::check(scribe, &path.key("protect_users"), &protect_users),
        protect_groups: glob::check(scribe, &path.key("protect_groups"), &protect_groups),
        expect: expect.into_iter().enumerate().map(|(i, rule)| check_expect(scribe, &rules.index(i), rule)).collect(),
        admins_at_least: admins_at_least.unwrap_or(1),
        seats: seats.unwrap_or_default(),
        source_band: scribe.share(&path.key("source_band"), source_band, 0.5),
        canaries: Canaries { users: canaries.users, groups: canaries.groups },
        plan_expires: scribe.duration(&path.key("plan_expires"), plan_expires.as_deref(), PLAN_EXPIRES),
    }
}

fn limit(scribe: &mut Scribe<'_>, path: &KeyPath, raw: &raw::Limit, share: f64, floor: u32) -> Limit {
    Limit { share: scribe.share(&path.key("share"), raw.share, share), floor: raw.floor.unwrap_or(floor) }
}

fn check_expect(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Expect) -> Expect {
    let raw::Expect { group, at_least, at_most, at_least_share, has, only_domains } = raw;
    foreign_name(scribe, &path.key("group"), &group);
    foreign_names(scribe, &path.key("has"), &has);
    check_domains(scribe, &path.key("only_domains"), &only_domains);
    let at_least_share = at_least_share.map(|share| scribe.share(&path.key("at_least_share"), Some(share), share));
    match (at_least, at_most) {
        (None, None) if at_least_share.is_none() && has.is_empty() && only_domains.is_empty() => {
            let hint = format!("write {{ group = {group:?}, at_least = 300 }}");
            let what = "the rule expects nothing: one of at_least, at_most, at_least_share, has, only_domains is missing";
            scribe.error_at_key(path, what, hint);
        }
        (Some(least), Some(most)) if least > most => {
            scribe.error_at_key(path, format!("no number is at least {least} and at most {most}"), None);
        }
        _ => {}
    }
    Expect { group, at_least, at_most, at_least_share, has, only_domains }
}

fn check_domains(scribe: &mut Scribe<'_>, path: &KeyPath, domains: &[String]) {
    for (at, domain) in domains.iter().enumerate() {
        if domain.trim().is_empty() || domain.contains(['@', '*', ' ']) {
            let hint = "write the part of addresses after the @, such as \"example.com\"".to_owned();
            scribe.error(&path.index(at), format!("{domain:?} is no mail domain"), hint);
        }
    }
}
