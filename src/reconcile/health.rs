//! The health gate: whether the source's roster can be believed where it says that somebody is not there.

use crate::contract::journal::{Effect, Sizes};
use crate::model::desired::Desired;
use crate::model::key::same_name;
use crate::model::link::Links;
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

/// What the gate looks at of a roster. Taken once, so that the roster itself need not be kept for the length of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signs {
    /// How much it shows.
    pub sizes: Sizes,
    /// Which canary is not there, if one is not.
    missing: Option<String>,
}

impl Signs {
    /// Looks at a roster.
    pub fn of(roster: &SourceRoster, policy: &HealthPolicy) -> Self {
        let is_user = |canary: &&String| roster.users.iter().any(|u| same_name(&u.login, canary));
        let is_group = |canary: &&String| roster.groups.iter().any(|g| same_name(&g.name, canary));
        let user = policy.canary_users.iter().find(|canary| !is_user(canary));
        let user = user.map(|canary| format!("the canary user {canary:?} is not among its users"));
        let group = || policy.canary_groups.iter().find(|canary| !is_group(canary));
        let missing = user.or_else(|| Some(format!("the canary group {:?} is not among its groups", group()?)));
        Self { sizes: sizes(roster), missing }
    }
}

/// The sizes of a roster.
pub fn sizes(roster: &SourceRoster) -> Sizes {
    Sizes { users: roster.users.len() as u64, groups: roster.groups.len() as u64, memberships: roster.memberships() as u64 }
}

/// Why this roster is not believed, if it is not: it is empty, it shrank beyond the band, a canary is missing.
pub fn blind(signs: &Signs, last: Option<&Sizes>, policy: &HealthPolicy) -> Option<String> {
    let now = signs.sizes;
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
    signs.missing.clone()
}

/// With fewer linked users than this all of them may have left.
pub const LEAST_LINKED: usize = 3;

/// Why a source is not believed that shows people, and nobody of those who are linked: ids are given by one organisation and
/// never by another, so that it is another one, whatever its size. Whoever was leaving already is no sign of that, and an
/// administrator who believes a source however much it shrinks believes this as well.
pub fn knows_nobody(desired: &Desired, links: &Links, policy: &HealthPolicy) -> Option<String> {
    let linked: Vec<_> = links.users.iter().filter(|link| link.leaving_since.is_none()).collect();
    let is_known = || linked.iter().any(|link| desired.user(&link.source).is_some());
    let count = linked.len();
    (policy.shrink < 1.0 && count >= LEAST_LINKED && !is_known()).then(|| {
        format!(
            "it shows none of the {count} users who are linked, as if it were another organisation (guard.source_band = 1.0 believes it all the same)"
        )
    })
}

/// Why the source is not believed at a target, if it is not: by what it shows, or since it is another one than the target is
/// linked to.
pub fn disbelieved(
    signs: &Signs,
    last: Option<&Sizes>,
    policy: &HealthPolicy,
    desired: &Desired,
    links: &Links,
) -> Option<String> {
    blind(signs, last, policy).or_else(|| knows_nobody(desired, links, policy))
}

/// From a source that is not believed nothing follows but what it shows: links are not cut, nothing is disowned, nobody
/// begins to leave.
pub fn keep_ownership(effects: &mut Vec<Effect>) {
    effects.retain(|effect| match effect {
        Effect::LinkUser(link) => link.leaving_since.is_none(),
        Effect::UnlinkUser { .. } | Effect::UnlinkGroup { .. } | Effect::Disown { .. } => false,
        Effect::LinkGroup(_) | Effect::Own { .. } | Effect::OwnAll(_) => true,
    });
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::desired::{DesiredUser, Standing};
    use crate::model::link::UserLink;

    #[test]
    fn a_source_that_knows_none_of_the_linked_is_another_one_unless_that_is_believed() {
        let policy = |shrink| HealthPolicy { shrink, canary_users: vec![], canary_groups: vec![] };
        let link = |source: &str, leaves: bool| UserLink {
            source: source.into(),
            target: source.into(),
            name: source.into(),
            email_mark: None,
            leaving_since: leaves.then_some(DateTime::UNIX_EPOCH),
            last_asked: None,
            is_new: false,
        };
        let links =
            |users: &[(&str, bool)]| Links { users: users.iter().map(|(s, l)| link(s, *l)).collect(), ..Links::default() };
        let user = |source: &str| DesiredUser { source: source.into(), standing: Standing::Disabled, attributes: None };
        let shows = |sources: &[&str]| Desired { users: sources.iter().map(|s| user(s)).collect(), ..Desired::default() };
        let three = links(&[("a", false), ("b", false), ("c", false)]);
        assert!(knows_nobody(&shows(&["x", "y", "z"]), &three, &policy(0.5)).is_some());
        assert!(knows_nobody(&shows(&["c", "x"]), &three, &policy(0.5)).is_none(), "one of them is there, be it disabled");
        assert!(knows_nobody(&shows(&["x"]), &three, &policy(1.0)).is_none(), "an administrator believes it");
        assert!(knows_nobody(&shows(&["x"]), &links(&[("a", false), ("b", false)]), &policy(0.5)).is_none(), "two may have left");
        let leaving = links(&[("a", false), ("b", false), ("c", true)]);
        assert!(knows_nobody(&shows(&["x"]), &leaving, &policy(0.5)).is_none(), "who was leaving is no sign");
    }
}
