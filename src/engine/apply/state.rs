//! What an apply knows of users and groups while it changes them, and what each outcome means: for what builds on the
//! change, for links and ledger, and for the tally.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::super::newcomers::Newcomers;
use super::call::{Answer, Answered};
use super::patience::Patience;
use super::{Failure, Outcomes, Tally, Unit, Work};
use crate::contract::fault::{ConnectorError, Disposition, Fault};
use crate::contract::journal::{Effect, Intent, IntentId, Outcome, Settlement};
use crate::contract::target::{Act, Applied, Who};
use crate::model::change::{Change, Op, Reason};
use crate::model::key::{SourceKey, SystemName, TargetKey, fold, group_key};
use crate::model::link::{GroupLink, Links, UserLink, email_mark};
use crate::model::plan::Plan;
use crate::model::roster::{GroupIx, TargetUser, UserIx};
use crate::reconcile::guard::Admitted;
use crate::reconcile::hash::mark;

/// Users and groups as they are in the course of applying.
pub(super) struct State<'a> {
    pub(super) admitted: &'a Admitted,
    pub(super) plan: &'a Plan,
    pub(super) names: Vec<SmolStr>,
    keys: Vec<Option<TargetKey>>,
    /// The links before, and those that this apply has written.
    links: &'a Links,
    newcomers: &'a Newcomers,
    written: BTreeMap<SourceKey, UserLink>,
    pub(super) broken_users: BTreeSet<UserIx>,
    broken_groups: BTreeSet<GroupIx>,
    /// The folded names of users whose renames failed: nobody gets such a name in this apply.
    pub(super) kept_names: BTreeSet<String>,
    /// Users whose changes the target will not make, now or later.
    pub(super) refused_users: BTreeSet<UserIx>,
    /// The renames that were made, in order.
    pub(super) renamed: Vec<Change>,
    pub(super) tally: Tally,
}

impl<'a> State<'a> {
    /// The state before anything is done.
    pub(super) fn new(admitted: &'a Admitted, links: &'a Links, newcomers: &'a Newcomers) -> Self {
        let plan = admitted.plan();
        Self {
            admitted,
            plan,
            names: plan.users.iter().map(|u| u.name.clone()).collect(),
            keys: plan.users.iter().map(|u| u.key.clone()).collect(),
            links,
            newcomers,
            written: BTreeMap::new(),
            broken_users: BTreeSet::new(),
            broken_groups: BTreeSet::new(),
            kept_names: BTreeSet::new(),
            refused_users: BTreeSet::new(),
            renamed: Vec::new(),
            tally: Tally::default(),
        }
    }
}

impl State<'_> {
    /// Takes the next units that can be performed, until they have so many changes. What cannot is left.
    pub(super) fn ready(&mut self, work: &Work<'_>, units: &mut impl Iterator<Item = Unit>, most: usize) -> Vec<Unit> {
        let (mut ready, mut taken) = (Vec::new(), 0);
        while taken < most
            && let Some(mut unit) = units.next()
        {
            let before = unit.changes.len();
            if self.tally.stopped.is_none() && work.stop.is_cancelled() {
                self.tally.stopped = Some(None);
            }
            if self.tally.stopped.is_some() {
                unit.changes.clear();
            }
            unit.changes.retain(|at| self.can_do(&self.plan.changes[*at].op));
            if let [at] = unit.changes[..]
                && let Some(error) = self.name_is_kept(&work.side.name, &self.plan.changes[at].op)
            {
                self.fail(&self.plan.changes[at], error);
                work.board.step(&work.side.name, 1);
                continue;
            }
            self.tally.left += (before - unit.changes.len()) as u64;
            taken += unit.changes.len();
            if !unit.changes.is_empty() {
                ready.push(unit);
            }
        }
        ready
    }

    /// Whether what the op builds on came about.
    fn can_do(&self, op: &Op) -> bool {
        let user_fine = op.user().is_none_or(|u| {
            let exists = self.keys[u as usize].is_some() || matches!(op, Op::CreateUser { .. });
            exists && !self.broken_users.contains(&u)
        });
        user_fine && op.group().is_none_or(|g| !self.broken_groups.contains(&g))
    }

    /// Why a user cannot be given a name, if whoever was to give it up keeps it.
    fn name_is_kept(&self, target: &SystemName, op: &Op) -> Option<ConnectorError> {
        let (user, name) = op.names()?;
        let held = &self.names[user as usize];
        let moves = self.keys[user as usize].is_some();
        if (moves && fold(held) == fold(name)) || !self.kept_names.contains(&fold(name)) {
            return None;
        }
        let doing = if moves { format!("rename the user {held:?} to {name:?}") } else { format!("create the user {name:?}") };
        Some(ConnectorError::new(target, doing, Fault::Conflict, "the rename that was to free that name failed"))
    }

    /// Whether an account that turned up for a creation is known to be somebody else's.
    pub(super) fn is_anothers(&self, op: &Op, created: &TargetUser) -> bool {
        let Some(user) = op.user() else { return false };
        let source = self.plan.user(user).source.as_ref();
        let of_another = |link: &UserLink| link.target == created.key && Some(&link.source) != source;
        let planned = (0..).zip(&self.keys).any(|(at, key)| at != user && key.as_ref() == Some(&created.key));
        planned || self.links.users.iter().chain(self.written.values()).any(of_another)
    }

    pub(super) fn who(&self, op: &Op) -> Option<Who<'_>> {
        let user = op.user()? as usize;
        Some(Who { key: self.keys[user].as_ref()?, name: &self.names[user] })
    }

    /// The call for an op; `None` if it needs none.
    pub(super) fn act<'b>(&'b self, op: &'b Op, who: &'b [Who<'b>]) -> Option<Act<'b>> {
        let user = || who.first().copied();
        let group = |g: &GroupIx| &*self.plan.group(*g).name;
        Some(match op {
            Op::LinkUser { .. } => return None,
            Op::CreateGroup { group: g } => Act::CreateGroup { name: group(g) },
            Op::UpdateUser { edit, .. } => Act::UpdateUser { user: user()?, before: &edit.before, after: &edit.after },
            Op::CreateUser { attributes, .. } => Act::CreateUser { attributes },
            Op::ActivateUser { .. } => Act::ActivateUser { user: user()? },
            Op::AddMember { group: g, .. } => Act::AddMembers { group: group(g), users: who },
            Op::RemoveMember { group: g, .. } => Act::RemoveMember { group: group(g), user: user()? },
            Op::DeactivateUser { .. } => Act::DeactivateUser { user: user()? },
            Op::DeleteUser { .. } => Act::DeleteUser { user: user()? },
        })
    }

    pub(super) fn intent(&self, change: &Change) -> Intent {
        let Change { op, because } = change;
        let user = op.user().map(|u| u as usize);
        let (before, after) = match op {
            Op::UpdateUser { edit, .. } => (Some(edit.before.clone()), Some(edit.after.clone())),
            Op::CreateUser { attributes, .. } => (None, Some((**attributes).clone())),
            Op::LinkUser { .. }
            | Op::CreateGroup { .. }
            | Op::ActivateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => (None, None),
        };
        Intent {
            kind: op.kind(),
            source: user.and_then(|u| self.plan.users[u].source.clone()),
            user: user.and_then(|u| self.keys[u].clone()),
            user_name: user.map(|u| self.names[u].clone()),
            group: op.group().map(|g| self.plan.group(g).name.clone()),
            before,
            after,
            because: *because,
            let_by: None,
        }
    }

    /// Notes the outcomes of a chunk.
    pub(super) fn note(
        &mut self,
        patience: &Patience,
        answers: Vec<Answer>,
        ids: &BTreeMap<usize, IntentId>,
        outcomes: &mut Outcomes,
    ) {
        if let Some(cause) = patience.lost() {
            self.tally.stopped.get_or_insert_with(|| Some(cause.clone()));
        }
        for (at, answer) in answers {
            let change = &self.plan.changes[at];
            let settlement = self.settle(change, ids[&at], answer);
            let made = matches!(settlement.outcome, Outcome::Done | Outcome::AlreadySo);
            if made && self.admitted.let_by(at).is_some() {
                outcomes.used.push(mark(self.plan, change));
            }
            outcomes.settlements.push(settlement);
            outcomes.kinds.push(change.op.kind());
        }
    }

    pub(super) fn settle(&mut self, change: &Change, intent: IntentId, answer: Result<Answered, ConnectorError>) -> Settlement {
        let kind = change.op.kind();
        let mut effects = Vec::new();
        let mut left_groups = Vec::new();
        let mut created = None;
        let mut request = None;
        let (outcome, applied) = match answer {
            Ok(Answered::Done(applied)) => (Outcome::Done, Some(applied)),
            Ok(Answered::AlreadySo(applied)) => (Outcome::AlreadySo, Some(applied)),
            Ok(Answered::Skipped) => {
                self.tally.left += 1;
                self.tally.stopped.get_or_insert(None);
                (Outcome::Skipped, None)
            }
            Err(error) => {
                let outcome = Outcome::Failed { fault: error.fault.word().to_owned(), why: error.to_string() };
                // What was done before it failed is done.
                left_groups = error.left_groups().to_vec();
                effects = self.disown_left(&change.op, &left_groups);
                request = error.request_id().map(Into::into);
                self.fail(change, error);
                (outcome, None)
            }
        };
        if let Some(applied) = applied {
            *self.tally.done.entry(kind).or_default() += 1;
            effects = self.effects(change, &applied);
            left_groups = applied.left_groups;
            created = applied.created.map(|created| created.key);
            request = applied.request;
        }
        Settlement { intent, outcome, created, left_groups, request, effects }
    }

    pub(super) fn fail(&mut self, change: &Change, error: ConnectorError) {
        let op = &change.op;
        match op {
            Op::CreateGroup { group } => {
                self.broken_groups.insert(*group);
            }
            Op::UpdateUser { user, edit } => {
                let held = fold(&self.names[*user as usize]);
                if held != fold(&edit.after.name) {
                    self.kept_names.insert(held);
                }
                if !matches!(error.fault.disposition(), Disposition::RetryLater { .. }) {
                    self.refused_users.insert(*user);
                }
                self.broken_users.insert(*user);
            }
            Op::CreateUser { user, .. } | Op::LinkUser { user } => {
                self.broken_users.insert(*user);
            }
            Op::ActivateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => {}
        }
        // A change made on its own is nobody's chunk: that the target is to be left alone is noted here as well.
        if matches!(error.fault, Fault::Refused | Fault::Limited { .. }) {
            self.tally.stopped.get_or_insert(Some(error.clone()));
        }
        let source = op.user().and_then(|u| self.plan.user(u).source.clone());
        self.tally.failures.push(Failure { source, error });
    }

    /// What a change that was made changes in links and ledger, and in the state of this apply.
    fn effects(&mut self, change: &Change, applied: &Applied) -> Vec<Effect> {
        let Change { op, because } = change;
        match op {
            Op::LinkUser { user } => {
                let is_new = self.plan.user(*user).source.as_ref().is_some_and(|source| self.newcomers.found(source));
                self.link(*user, None, is_new)
            }
            Op::CreateUser { user, attributes } => {
                let Some(created) = &applied.created else { return Vec::new() };
                self.keys[*user as usize] = Some(created.key.clone());
                self.names[*user as usize] = created.name.clone();
                self.link(*user, attributes.email.as_deref(), self.newcomers.made())
            }
            Op::UpdateUser { user, edit } => {
                let after = &edit.after;
                let held = std::mem::replace(&mut self.names[*user as usize], after.name.clone());
                if fold(&held) != fold(&after.name) {
                    self.kept_names.remove(&fold(&held));
                    self.renamed.push(change.clone());
                }
                self.link(*user, after.email.as_deref(), false)
            }
            Op::CreateGroup { group } => {
                let Reason::Mapped { source } = because else { return Vec::new() };
                let group = self.plan.group(*group);
                let source = self.plan.sources[*source as usize].key.clone();
                vec![Effect::LinkGroup(GroupLink { source, target: group.key.clone(), name: group.name.clone() })]
            }
            // Given back to whoever had been put there by another hand, and it is that hand's again.
            Op::AddMember { .. } if *because == (Reason::Undone { owned: false }) => Vec::new(),
            Op::AddMember { group, user } => self.membership(*group, *user, |group, user| Effect::Own { group, user }),
            Op::RemoveMember { group, user } => self.membership(*group, *user, |group, user| Effect::Disown { group, user }),
            Op::DeleteUser { user } => {
                let user = self.plan.user(*user);
                let (Some(source), Some(target)) = (user.source.clone(), user.key.clone()) else { return Vec::new() };
                vec![Effect::UnlinkUser { source, target }]
            }
            Op::DeactivateUser { .. } => self.disown_left(op, &applied.left_groups),
            Op::ActivateUser { .. } => Vec::new(),
        }
    }

    /// Where deactivation takes a user out of groups, nothing of these is owned any more.
    fn disown_left(&self, op: &Op, left: &[String]) -> Vec<Effect> {
        let Some(user) = op.user().and_then(|u| self.keys[u as usize].as_ref()) else { return Vec::new() };
        left.iter().map(|group| Effect::Disown { group: group_key(group), user: user.clone() }).collect()
    }

    fn membership(&self, group: GroupIx, user: UserIx, effect: impl FnOnce(TargetKey, TargetKey) -> Effect) -> Vec<Effect> {
        self.keys[user as usize].clone().map(|user| effect(self.plan.group(group).key.clone(), user)).into_iter().collect()
    }

    fn link(&mut self, user: UserIx, email: Option<&str>, is_new: bool) -> Vec<Effect> {
        let (Some(source), Some(target)) = (self.plan.user(user).source.clone(), self.keys[user as usize].clone()) else {
            return Vec::new();
        };
        let before = self.written.get(&source).or_else(|| self.links.user(&source)).filter(|l| l.target == target);
        let mark = email.map(|e| email_mark(&source, e)).or(before.and_then(|l| l.email_mark));
        // Only of entitled users is an account linked, made or changed: whoever was leaving has returned, and the links that
        // this apply began with do not know it yet.
        // Who was new is so until the diff sees them in the groups of new users.
        let is_new = is_new || before.is_some_and(|link| link.is_new);
        let link = UserLink {
            is_new,
            source: source.clone(),
            target,
            name: self.names[user as usize].clone(),
            email_mark: mark,
            leaving_since: None,
            last_asked: None,
        };
        self.written.insert(source, link.clone());
        vec![Effect::LinkUser(Box::new(link))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desired::Attributes;
    use crate::model::plan::{Managed, PlanUser};
    use crate::reconcile::guard::{Circumstances, Limit, Policy, judge};
    use crate::reconcile::pattern::NameSet;
    use crate::reconcile::seats::WhenFull;

    fn admitted(changes: Vec<Change>) -> Admitted {
        let user = |key: Option<&str>, name: &str| PlanUser {
            source: Some(format!("s-{name}").as_str().into()),
            key: key.map(Into::into),
            name: name.into(),
        };
        let plan = Plan {
            job: "staff".into(),
            target: "jira".into(),
            users: vec![user(Some("k1"), "ada"), user(None, "bob")],
            groups: vec![],
            sources: vec![],
            changes,
            findings: vec![],
            managed: Managed::default(),
            rosters: Default::default(),
        };
        let open = Limit { share: 1.0, floor: u32::MAX };
        let policy = Policy {
            deactivations: open,
            membership_removals: open,
            per_group_removals: open,
            protect_users: NameSet::none(),
            protect_groups: NameSet::none(),
            expect: vec![],
            admins_at_least: 0,
            seats: WhenFull::Warn,
            plan_expires: std::time::Duration::MAX,
        };
        judge(plan, &policy, &Circumstances::default()).admitted
    }

    fn creation() -> Change {
        let attributes = Attributes { name: "bob".into(), email: None, display_name: None };
        Change { op: Op::CreateUser { user: 1, attributes: Box::new(attributes) }, because: Reason::Joined }
    }

    fn account(key: &str) -> TargetUser {
        TargetUser { key: key.into(), name: "bob".into(), email: None, display_name: None, active: true, writable: true }
    }

    #[test]
    fn an_account_that_is_known_to_be_anothers_is_not_the_one_that_was_created() {
        let admitted = admitted(vec![creation()]);
        let (mut links, newcomers) = (Links::default(), Newcomers::default());
        let link = |source: &str, target: &str| UserLink {
            source: source.into(),
            target: target.into(),
            name: "bob".into(),
            email_mark: None,
            leaving_since: None,
            last_asked: None,
            is_new: false,
        };
        links.users = vec![link("s-bob", "k2"), link("s-eve", "k3")];
        let state = State::new(&admitted, &links, &newcomers);
        for (key, anothers) in [("k1", true), ("k2", false), ("k3", true), ("k4", false)] {
            assert_eq!(state.is_anothers(&creation().op, &account(key)), anothers, "{key}");
        }
    }

    #[test]
    fn nobody_is_created_under_a_name_that_was_not_given_up() {
        let admitted = admitted(vec![creation()]);
        let (links, newcomers) = (Links::default(), Newcomers::default());
        let mut state = State::new(&admitted, &links, &newcomers);
        assert!(state.name_is_kept(&"jira".into(), &creation().op).is_none());
        state.kept_names.insert("bob".into());
        assert!(state.name_is_kept(&"jira".into(), &creation().op).is_some_and(|error| error.fault == Fault::Conflict));
    }
}
