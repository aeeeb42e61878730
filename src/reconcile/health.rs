//! The health gate: whether the source's roster can be believed where it says that somebody is not there.

use crate::contract::journal::{Effect, Sizes};
use crate::model::key::same_name;
use crate::model::roster::SourceRoster;

/// What the configuration says of a believable roster.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPolicy {
    /// The greatest share that users, groups or memberships may have shrunk by since the last good run, from 0.0 to 1.0.
    pub shrink: f64,
    /// Logins that must be there.
    pub canary_users: Vec<String>,
    /// Group names that must be there.
    pub canary_groups: Vec<String>,
}

/// Fewer records than this may always be missing: a site of ten people may lose four.
const SHRINK_FLOOR: u64 = 5;

/// The sizes of a roster.
pub fn sizes(roster: &SourceRoster) -> Sizes {
    Sizes { users: roster.users.len() as u64, groups: roster.groups.len() as u64, memberships: roster.memberships() as u64 }
}

/// Why this roster is not believed, if it is not: it is empty, it shrank beyond the band, a canary is missing.
pub fn blind(roster: &SourceRoster, last: Option<&Sizes>, policy: &HealthPolicy) -> Option<String> {
    let now = sizes(roster);
    if now.users == 0 {
        return Some("it shows no users at all".to_owned());
    }
    if let Some(last) = last {
        for (what, now, last) in [
            ("users", now.users, last.users),
            ("groups", now.groups, last.groups),
            ("memberships", now.memberships, last.memberships),
        ] {
            if now == 0 && last > 0 {
                return Some(format!("it shows no {what} at all, {last} at the last good run"));
            }
            let least = (last as f64 * (1.0 - policy.shrink.clamp(0.0, 1.0))).ceil() as u64;
            if now < least && last - now > SHRINK_FLOOR {
                let limit = policy.shrink * 100.0;
                return Some(format!(
                    "it shows {now} {what}, {last} at the last good run, and may shrink by {limit:.0} % (guard.source_band)"
                ));
            }
        }
    }
    for canary in &policy.canary_users {
        if !roster.users.iter().any(|u| same_name(&u.login, canary)) {
            return Some(format!("the canary user {canary:?} is not among its users"));
        }
    }
    for canary in &policy.canary_groups {
        if !roster.groups.iter().any(|g| same_name(&g.name, canary)) {
            return Some(format!("the canary group {canary:?} is not among its groups"));
        }
    }
    None
}

/// From a source that is not believed nothing follows but what it shows: links are not cut, nothing is disowned, nobody
/// begins to leave.
pub fn keep_ownership(effects: &mut Vec<Effect>) {
    effects.retain(|effect| match effect {
        Effect::LinkUser(link) => link.leaving_since.is_none(),
        Effect::UnlinkUser { .. } | Effect::UnlinkGroup { .. } | Effect::Disown { .. } => false,
        Effect::LinkGroup(_) | Effect::Own { .. } => true,
    });
}
