//! Two plans side by side: what the one would do and the other would not, and what they judge otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::render::{ChangeView, PlanView, ViolationView};
use crate::model::plan::Finding;

/// A change that both plans have, and that is judged otherwise, or is for another reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Otherwise {
    /// As it was.
    pub before: ChangeView,
    /// As it is.
    pub after: ChangeView,
}

/// What differs between two plans, in the order of the plans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Changes that only the later plan has.
    pub new: Vec<ChangeView>,
    /// Changes that only the earlier plan has.
    pub gone: Vec<ChangeView>,
    /// Changes that are judged otherwise.
    pub otherwise: Vec<Otherwise>,
    /// What the guards find in the later plan only.
    pub violations_new: Vec<ViolationView>,
    /// What they find in the earlier plan only.
    pub violations_gone: Vec<ViolationView>,
    /// Findings that only the later plan has.
    pub findings_new: Vec<Finding>,
    /// Findings that only the earlier plan has.
    pub findings_gone: Vec<Finding>,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The changes that are staged and were not, or were not there.
    pub fn newly_staged(&self) -> impl Iterator<Item = &ChangeView> {
        let others = self.otherwise.iter().filter(|o| o.before.verdict != "staged").map(|o| &o.after);
        self.new.iter().chain(others).filter(|change| change.verdict == "staged")
    }
}

/// What is done to whom: by this a change is the same in both plans, whatever is thought of it.
type Deed<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a [String]);

fn deed(change: &ChangeView) -> Deed<'_> {
    (&change.op, change.source.as_deref(), change.user.as_deref(), change.group.as_deref(), &change.differs)
}

/// Compares two plans of one job for one target.
pub fn compare(before: &PlanView, after: &PlanView) -> Differences {
    // Of several that are alike the first is met first.
    let mut earlier: BTreeMap<Deed<'_>, Vec<usize>> = BTreeMap::new();
    for (at, change) in before.changes.iter().enumerate().rev() {
        earlier.entry(deed(change)).or_default().push(at);
    }
    let mut differences = Differences::default();
    for change in &after.changes {
        let Some(at) = earlier.get_mut(&deed(change)).and_then(Vec::pop) else {
            differences.new.push(change.clone());
            continue;
        };
        let was = &before.changes[at];
        if was != change {
            differences.otherwise.push(Otherwise { before: was.clone(), after: change.clone() });
        }
    }
    let left: BTreeSet<usize> = earlier.into_values().flatten().collect();
    differences.gone = left.into_iter().map(|at| before.changes[at].clone()).collect();
    differences.violations_new = only(&after.violations, &before.violations);
    differences.violations_gone = only(&before.violations, &after.violations);
    differences.findings_new = only(&after.findings, &before.findings);
    differences.findings_gone = only(&before.findings, &after.findings);
    differences
}

/// What one plan has and the other lacks.
fn only<T: Clone + Ord>(these: &[T], those: &[T]) -> Vec<T> {
    let those: BTreeSet<&T> = those.iter().collect();
    these.iter().filter(|one| !those.contains(one)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(user: &str, verdict: &'static str) -> ChangeView {
        ChangeView {
            op: "deactivate_user".into(),
            sign: '-',
            user: Some(user.to_owned()),
            source: None,
            group: None,
            differs: vec![],
            because: "is disabled at the source".to_owned(),
            verdict: verdict.into(),
            held_by: vec![],
            withheld: None,
        }
    }

    fn plan(changes: Vec<ChangeView>) -> PlanView {
        PlanView {
            plan: String::new(),
            job: "j".to_owned(),
            target: "t".to_owned(),
            changes,
            violations: vec![],
            findings: vec![],
            seats: vec![],
        }
    }

    #[test]
    fn what_is_new_gone_or_judged_otherwise_is_told_apart() {
        let before = plan(vec![change("ada", "admitted"), change("bob", "admitted"), change("cy", "staged")]);
        let after = plan(vec![change("bob", "staged"), change("cy", "staged"), change("dan", "staged")]);
        let told = compare(&before, &after);
        assert_eq!((told.new, told.gone), (vec![change("dan", "staged")], vec![change("ada", "admitted")]));
        assert_eq!(told.otherwise, [Otherwise { before: change("bob", "admitted"), after: change("bob", "staged") }]);
        let staged: Vec<_> = compare(&before, &after).newly_staged().map(|c| c.user.clone()).collect();
        assert_eq!(staged, [Some("dan".to_owned()), Some("bob".to_owned())], "cy waited before");
        assert!(compare(&after, &after).is_empty());
        let violation =
            ViolationView { guard: "blind-source".into(), liftable: false, text: "a canary is missing".into(), holds: 0 };
        let blind = PlanView { violations: vec![violation.clone()], ..after.clone() };
        let told = compare(&after, &blind);
        assert_eq!((told.is_empty(), told.violations_new), (false, vec![violation]), "worth saying where nothing is held");
    }
}
