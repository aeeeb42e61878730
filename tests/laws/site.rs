//! One job at one target, with the record that the engine would keep: a run here is plan, judge, prove, apply, without
//! network, store or clock. What an op changes in links and ledger follows `State::effects` of `src/engine/apply/state.rs`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use rosterd::contract::journal::{Effect, Removals, Sizes};
use rosterd::contract::target::{Capabilities, Deactivation};
use rosterd::model::change::{Change, Op, Reason};
use rosterd::model::desired::Desired;
use rosterd::model::key::{JobName, SourceKey, SystemName, TargetKey, group_key};
use rosterd::model::ledger::Ledger;
use rosterd::model::link::{GroupLink, Links, UserLink, email_mark};
use rosterd::model::plan::Plan;
use rosterd::model::roster::{SourceRoster, TargetGroup, TargetRoster};
use rosterd::reconcile::diff::{Draft, Inputs, diff};
use rosterd::reconcile::guard::expect::Member;
use rosterd::reconcile::guard::{AdminGroup, Circumstances, Judged, Policy, judge};
use rosterd::reconcile::health;
use rosterd::reconcile::mapping::desired;
use rosterd::reconcile::proof::{bears_out, fresh};
use rosterd::reconcile::rules::Rules;
use rosterd::reconcile::wanted::wanted;
use smol_str::SmolStr;

use crate::land::{Land, Manner, Refusal};
use crate::truth::Truth;

/// Links and ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub users: BTreeMap<SourceKey, UserLink>,
    pub groups: BTreeSet<GroupLink>,
    pub owned: BTreeSet<(TargetKey, TargetKey)>,
}

impl Record {
    pub fn write(&mut self, effect: &Effect) {
        match effect.clone() {
            Effect::LinkUser(link) => {
                self.users.insert(link.source.clone(), *link);
            }
            Effect::UnlinkUser { source, target } => {
                self.users.remove(&source);
                self.owned.retain(|(_, user)| *user != target);
            }
            Effect::LinkGroup(link) => {
                self.groups.insert(link);
            }
            Effect::UnlinkGroup { source, target } => self.groups.retain(|l| l.source != source || l.target != target),
            Effect::Own { group, user } => {
                self.owned.insert((group, user));
            }
            Effect::OwnAll(ledger) => {
                let users = &ledger.users;
                let pairs = ledger.groups.iter().flat_map(|(group, members)| members.iter().map(move |user| (group, user)));
                self.owned.extend(pairs.map(|(group, user)| (group.clone(), users[*user as usize].clone())));
            }
            Effect::Disown { group, user } => {
                self.owned.remove(&(group, user));
            }
        }
    }

    pub fn links(&self) -> Links {
        Links { users: self.users.values().cloned().collect(), groups: self.groups.iter().cloned().collect() }
    }
}

/// A site in the middle of its life.
#[derive(Clone, Debug)]
pub struct Site {
    pub truth: Truth,
    pub land: Land,
    pub record: Record,
    pub rules: Rules,
    pub now: DateTime<Utc>,
}

/// A run that has come to a judged plan, with all it was made of.
pub struct Planned {
    pub desired: Desired,
    pub actual: TargetRoster,
    pub ledger: Ledger,
    pub capabilities: Capabilities,
    pub circumstances: Circumstances,
    pub draft: Draft,
    pub judged: Judged,
}

impl Planned {
    pub fn plan(&self) -> &Plan {
        &self.draft.plan
    }
    pub fn admitted(&self) -> Vec<&Change> {
        self.judged.admitted.changes().map(|(_, c)| c).collect()
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Done {
    pub made: Vec<Change>,
    /// Admitted removals that the source did not bear out.
    pub withheld: Vec<Change>,
}

/// Users and groups as they are in the course of applying.
struct Course {
    keys: Vec<Option<TargetKey>>,
    names: Vec<SmolStr>,
    /// The links that the plan was made with, and those that were written since: not what the readings changed of them.
    links: BTreeMap<SourceKey, UserLink>,
}

impl Site {
    pub fn random(rng: &mut Rng) -> Self {
        let truth = Truth::random(rng);
        let land = Land::random(rng);
        let rules = crate::orders::rules(rng);
        let now = "2026-03-01T06:00:00Z".parse().expect("a time");
        Self { truth, land, record: Record::default(), rules, now }
    }

    /// A day passes on both sides.
    pub fn day(&mut self, rng: &mut Rng) {
        self.now += TimeDelta::days(1);
        self.truth.day(rng);
        if rng.u8(..3) == 0 {
            self.land.edit(rng);
        }
        if rng.u8(..12) == 0 {
            self.rules.groups = crate::orders::groups(rng);
        }
    }

    pub fn plan(&self, listing: &SourceRoster, policy: &Policy, blind: Option<String>, rng: &mut Rng) -> Planned {
        let desired = desired(listing, &self.rules);
        let capabilities = self.land.capabilities();
        let links = self.record.links();
        let ledger = Ledger::of(self.record.owned.iter().cloned());
        let wanted = wanted(&desired, &links, &ledger, &capabilities.admin_groups);
        let actual = self.land.fetch(&wanted, rng);
        let mut draft = diff(&Inputs {
            job: &JobName::from("staff"),
            target: &SystemName::from("model"),
            desired: &desired,
            actual: &actual,
            links: &links,
            ledger: &ledger,
            rules: &self.rules,
            capabilities: &capabilities,
            now: self.now,
            partial: false,
        });
        if blind.is_some() {
            health::keep_ownership(&mut draft.effects);
        }
        let circumstances = Circumstances {
            blind,
            acting_as: capabilities.acting_as.clone(),
            recent: Removals::default(),
            admins: self.admins(&capabilities),
            members: actual.groups.iter().map(|g| (g.key.clone(), members(&actual, g))).collect(),
            strips: capabilities.deactivation == Deactivation::StripGroups,
            ..Circumstances::default()
        };
        let judged = judge(draft.plan.clone(), policy, &circumstances);
        Planned { desired, actual, ledger, capabilities, circumstances, draft, judged }
    }

    pub fn admins(&self, capabilities: &Capabilities) -> Vec<AdminGroup> {
        let groups = capabilities.admin_groups.iter().map(|n| group_key(n));
        let there = groups.filter_map(|key| self.land.groups.get_key_value(&key));
        there
            .map(|(key, group)| AdminGroup {
                key: key.clone(),
                active: group.members.iter().filter(|m| self.land.is_active(m)).cloned().collect(),
            })
            .collect()
    }

    /// An ordinary run: the listing is what is true.
    pub fn honest(&self, policy: &Policy, rng: &mut Rng) -> Planned {
        let listing = self.truth.listing(rng);
        self.plan(&listing, policy, None, rng)
    }

    pub fn sizes(&self, rng: &mut Rng) -> Sizes {
        health::sizes(&self.truth.listing(rng))
    }

    /// Whether the source, asked about that very user, bears the change out. A stranger in an exclusive group is in no
    /// listing and in no link: there is nobody to ask about.
    fn borne_out(&self, plan: &Plan, change: &Change) -> bool {
        let Some(source) = change.op.user().and_then(|u| plan.user(u).source.as_ref()) else { return true };
        let answer = self.truth.subject(source.as_str());
        let fresh = fresh(answer.as_ref(), |_| true, &self.rules);
        bears_out(&fresh, plan, change, &self.rules).is_ok()
    }

    /// Records, proves and applies.
    pub fn perform(&mut self, planned: &Planned) -> Done {
        let plan = planned.judged.admitted.plan();
        let mut course = Course {
            keys: plan.users.iter().map(|u| u.key.clone()).collect(),
            names: plan.users.iter().map(|u| u.name.clone()).collect(),
            links: self.record.users.clone(),
        };
        planned.draft.effects.iter().for_each(|e| self.record.write(e));
        let mut admitted = planned.judged.admitted.clone();
        let mut done = Done::default();
        let unproven: Vec<usize> =
            admitted.changes().filter(|(_, c)| c.op.kind().removes() && !self.borne_out(plan, c)).map(|(at, _)| at).collect();
        done.withheld.extend(unproven.iter().map(|at| plan.changes[*at].clone()));
        admitted.withhold(unproven);
        for (_, change) in admitted.changes() {
            let before = self.land.clone();
            let left = self.left_groups(&change.op, &course);
            let refused = self.act(plan, &change.op, &mut course);
            assert_eq!(refused, Ok(()), "the target refuses {change:?}\nof {plan:#?}\nat {before:#?}");
            let once = self.land.clone();
            // Asking twice does no more than asking once, whatever the answer.
            let mut again = Course { keys: course.keys.clone(), names: course.names.clone(), links: BTreeMap::new() };
            let _ = self.act(plan, &change.op, &mut again);
            assert_eq!(self.land, once, "twice is more than once: {change:?}");
            for effect in effects(plan, change, &mut course, left) {
                self.record.write(&effect);
            }
            done.made.push(change.clone());
        }
        done
    }

    fn act(&mut self, plan: &Plan, op: &Op, course: &mut Course) -> Result<(), Refusal> {
        let user = op.user().map(|u| u as usize);
        let key = user.and_then(|u| course.keys[u].clone());
        let need = || key.clone().ok_or(Refusal::NoSuchUser);
        match op {
            Op::LinkUser { .. } => need().map(|_| ()),
            Op::CreateGroup { group } => {
                self.land.create_group(&plan.group(*group).name);
                Ok(())
            }
            Op::UpdateUser { edit, user } => {
                let after = &edit.after;
                self.land.update_user(&need()?, after)?;
                course.names[*user as usize] = after.name.clone();
                Ok(())
            }
            Op::CreateUser { user, attributes } => {
                course.keys[*user as usize] = Some(self.land.create_user(attributes)?);
                course.names[*user as usize] = attributes.name.clone();
                Ok(())
            }
            Op::ActivateUser { .. } => self.land.set_active(&need()?, true),
            Op::DeactivateUser { .. } => self.land.set_active(&need()?, false),
            Op::AddMember { group, .. } => self.land.member(&plan.group(*group).key, &need()?, true),
            Op::RemoveMember { group, .. } => self.land.member(&plan.group(*group).key, &need()?, false),
            Op::DeleteUser { .. } => {
                self.land.delete(&need()?);
                Ok(())
            }
        }
    }

    /// The groups that a deactivation takes its user out of, as the target tells of them.
    fn left_groups(&self, op: &Op, course: &Course) -> Vec<TargetKey> {
        let Op::DeactivateUser { user } = op else { return Vec::new() };
        let Some(key) = course.keys[*user as usize].as_ref().filter(|_| self.land.manner == Manner::Strip) else {
            return Vec::new();
        };
        self.land.groups.iter().filter(|(_, group)| group.members.contains(key)).map(|(group, _)| group.clone()).collect()
    }
}

fn effects(plan: &Plan, change: &Change, course: &mut Course, left: Vec<TargetKey>) -> Vec<Effect> {
    let key = |user: &u32, course: &Course| course.keys[*user as usize].clone().expect("it exists by now");
    let group = |group: &u32| plan.group(*group).key.clone();
    match &change.op {
        Op::LinkUser { user } => link(plan, *user, None, course),
        Op::CreateUser { user, attributes } => link(plan, *user, attributes.email.as_deref(), course),
        Op::UpdateUser { user, edit } => link(plan, *user, edit.after.email.as_deref(), course),
        Op::CreateGroup { group } => {
            let Reason::Mapped { source } = change.because else { return Vec::new() };
            let group = plan.group(*group);
            let source = plan.sources[source as usize].key.clone();
            vec![Effect::LinkGroup(GroupLink { source, target: group.key.clone(), name: group.name.clone() })]
        }
        Op::AddMember { group: g, user } => vec![Effect::Own { group: group(g), user: key(user, course) }],
        Op::RemoveMember { group: g, user } => vec![Effect::Disown { group: group(g), user: key(user, course) }],
        Op::DeleteUser { user } => {
            let source = plan.user(*user).source.clone().expect("only linked users are deleted");
            vec![Effect::UnlinkUser { source, target: key(user, course) }]
        }
        Op::DeactivateUser { user } => {
            let user = key(user, course);
            left.into_iter().map(|group| Effect::Disown { group, user: user.clone() }).collect()
        }
        Op::ActivateUser { .. } => Vec::new(),
    }
}

/// The link of somebody who is entitled: whoever was leaving has returned.
fn link(plan: &Plan, user: u32, email: Option<&str>, course: &mut Course) -> Vec<Effect> {
    let source = plan.user(user).source.clone().expect("a source user");
    let target = course.keys[user as usize].clone().expect("it exists by now");
    let before = course.links.get(&source).filter(|l| l.target == target);
    let link = UserLink {
        email_mark: email.map(|e| email_mark(&source, e)).or(before.and_then(|l| l.email_mark)),
        leaving_since: None,
        last_asked: None,
        is_new: false,
        name: course.names[user as usize].clone(),
        source: source.clone(),
        target,
    };
    course.links.insert(source, link.clone());
    vec![Effect::LinkUser(Box::new(link))]
}

fn members(actual: &TargetRoster, group: &TargetGroup) -> Vec<Member> {
    let member = |at: &u32| {
        let user = &actual.users[*at as usize];
        Member { name: user.name.clone(), email: user.email.clone(), active: user.active }
    };
    group.members.iter().map(member).collect()
}
