//! A recording without personal data: every login, address, name, profile value, user name and id of a user is replaced.
//!
//! Replaced word by word, by a keyed hash of the word in small letters: what was equal stays equal, also regardless of case,
//! and what a rule makes of parts of it (the part before `@`, first name and last name with a space between) is the
//! pseudonym of what it made before. So two people with one user name still have one, and an account is still found by its
//! name. The key is drawn anew for each recording and is not kept.
//!
//! What stays: names of groups, since nearly every rule is about them and a recording without them would test nothing; mail
//! domains that several people share, which are the organisation's; and the words that the job's own rules are looking for,
//! since they would find nobody else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use smol_str::SmolStr;

pub use super::mask::Key;
use super::mask::{Mask, words};
use super::replay::{Replay, Replayed, replay};
use super::{Absent, Account, Answer, AtTarget, Recording};
use crate::contract::fault::ConnectorError;
use crate::contract::journal::Staged;
use crate::contract::source::Subject;
use crate::contract::target::Nature;
use crate::contract::verdict::{Decision, Hold};
use crate::engine::decided::Decided;
use crate::engine::memory::Memory;
use crate::engine::policy::Job;
use crate::model::change::{Change, OpKind};
use crate::model::key::{SourceKey, SystemName, TargetKey, fold, group_key};
use crate::model::ledger::Ledger;
use crate::model::link::{Links, UserLink, email_mark};
use crate::model::plan::Plan;
use crate::model::retry::{Retry, Subject as Waiting};
use crate::model::roster::{SourceRoster, SourceRosterBuilder, SourceUser, TargetRoster, TargetRosterBuilder, TargetUser};
use crate::reconcile::expression::Expression;
use crate::reconcile::hash::mark;
use crate::reconcile::mapping::desired;
use crate::reconcile::render::view;

/// A mail domain of so many users is the organisation's and stays.
const SHARED: usize = 5;

/// The recording with pseudonyms. Its plan is made anew by the job's rules, over the pseudonyms.
///
/// # Errors
/// See [`replay`].
pub async fn disguise(
    recording: &Recording,
    job: &Job,
    natures: &BTreeMap<SystemName, Nature>,
    key: &Key,
) -> Result<Recording, ConnectorError> {
    let past = past(&replay(recording, job, natures).await?);
    let mask = Mask::new(key, kept(job), shared(&recording.roster));
    let addresses = addresses(recording, job);
    let mut masked = Recording {
        head: recording.head.clone(),
        roster: mask.roster(&recording.roster),
        users: recording.users.iter().map(|(key, answer)| (mask.source(key), mask.subject(answer))).collect(),
        groups: recording.groups.iter().map(|(key, answer)| (key.clone(), muted(answer))).collect(),
        targets: recording.targets.iter().map(|target| mask.target(target, &addresses, past.get(&target.name))).collect(),
    };
    masked.head.pseudonyms = true;
    // A mark is a hash of names: those that fitted a change are found anew, over the pseudonyms.
    let first = replay(&masked, job, natures).await?;
    for (target, recorded) in masked.targets.iter_mut().zip(&recording.targets) {
        if let (Some(past), Some(after)) = (past.get(&target.name), plan_of(&first, &target.name)) {
            remark(&mut target.memory, &recorded.memory, &past.live, after);
        }
    }
    drop(first);
    let second = replay(&masked, job, natures).await?;
    for target in &mut masked.targets {
        if let Some(replayed) = second.targets.iter().find(|replayed| replayed.target == target.name) {
            target.plan = view(&replayed.prepared.judged);
        }
    }
    Ok(masked)
}

/// What of the real plan for a target the pseudonyms must bring about again.
struct Past {
    /// Whose holds stand.
    held: BTreeSet<TargetKey>,
    /// The marks of the plan's removals.
    live: BTreeSet<String>,
}

fn past(real: &Replay) -> BTreeMap<SystemName, Past> {
    let of = |replayed: &Replayed| {
        let plan = replayed.prepared.judged.admitted.plan();
        let removals = plan.changes.iter().filter(|change| change.op.kind().removes());
        Past {
            held: replayed.prepared.decided.holds().iter().map(|hold| hold.user.clone()).collect(),
            live: removals.map(|change| mark(plan, change)).collect(),
        }
    };
    real.targets.iter().map(|replayed| (replayed.target.clone(), of(replayed))).collect()
}

fn plan_of<'a>(replay: &'a Replay, target: &SystemName) -> Option<&'a Plan> {
    let replayed = replay.targets.iter().find(|replayed| replayed.target == *target)?;
    Some(replayed.prepared.judged.admitted.plan())
}

/// The words that the job's rules look for in data of users.
fn kept(job: &Job) -> BTreeSet<String> {
    let rules = &job.rules;
    let map = &rules.mapping;
    let expressions = [&map.username, &map.email, &map.display_name].into_iter().chain(&rules.scope.filter);
    let literals = expressions.flat_map(literals);
    let globs = [&rules.scope.exclude, &job.guard.protect_users].into_iter().flat_map(|names| names.globs().to_vec());
    let named = job.health.canary_users.iter().chain(job.guard.expect.iter().flat_map(|e| e.has.iter().chain(&e.only_domains)));
    literals.chain(globs).chain(named.cloned()).flat_map(|text| words(&text)).collect()
}

/// What stands in quotes in an expression.
fn literals(expression: &Expression) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(char, String)> = None;
    for c in expression.text().chars() {
        match &mut open {
            None if c == '\'' || c == '"' => open = Some((c, String::new())),
            Some((quote, text)) if c == *quote => {
                found.push(std::mem::take(text));
                open = None;
            }
            Some((_, text)) => text.push(c),
            None => {}
        }
    }
    found
}

/// The mail domains that several users share, folded.
fn shared(roster: &SourceRoster) -> BTreeSet<String> {
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    for user in &roster.users {
        let texts = [Some(&user.login), user.email.as_ref()];
        let domains: BTreeSet<String> = texts.into_iter().flatten().filter_map(|t| Some(fold(t.rsplit_once('@')?.1))).collect();
        domains.into_iter().for_each(|domain| *users.entry(domain).or_default() += 1);
    }
    users.into_iter().filter(|(_, users)| *users >= SHARED).map(|(domain, _)| domain).collect()
}

/// The addresses that a link's mark may be of: as the source has it, and as the job's rules make it.
fn addresses(recording: &Recording, job: &Job) -> BTreeMap<SourceKey, Vec<SmolStr>> {
    let mut addresses: BTreeMap<SourceKey, Vec<SmolStr>> = BTreeMap::new();
    let mapped = desired(&recording.roster, &job.rules).users.into_iter();
    let mapped = mapped.filter_map(|user| Some((user.source, user.attributes?.email?)));
    let listed = recording.roster.users.iter().filter_map(|user| Some((user.key.clone(), user.email.clone()?)));
    mapped.chain(listed).for_each(|(source, email)| addresses.entry(source).or_default().push(email));
    addresses
}

/// An answer without words of the system.
fn muted<T: Clone>(answer: &Answer<T>) -> Answer<T> {
    match answer {
        Answer::Failed { .. } => failed(),
        Answer::Is(_) | Answer::NoSuch => answer.clone(),
    }
}

fn failed<T>() -> Answer<T> {
    Answer::Failed { doing: "answer".to_owned(), why: "it failed when this was recorded".to_owned() }
}

/// Gives decisions, and what waits, the marks that their changes have among pseudonyms. One whose mark fitted no change fits
/// none again.
fn remark(memory: &mut Memory, recorded: &Memory, live: &BTreeSet<String>, after: &Plan) {
    let marked: BTreeMap<Deed, &Change> = after.changes.iter().filter_map(|c| Some((deed(after, c)?, c))).collect();
    let found = |old: &str, kind: OpKind, name: &str, group: Option<&str>| {
        let deed = (kind, fold(name), group.map(group_key));
        let change = live.contains(old).then(|| marked.get(&deed)).flatten()?;
        Some(mark(after, change))
    };
    let (mut decisions, holds, mut staged) =
        (memory.decided.decisions().to_vec(), memory.decided.holds().to_vec(), memory.decided.staged().to_vec());
    for (masked, old) in decisions.iter_mut().zip(recorded.decided.decisions()) {
        if let Some(mark) = found(&old.mark, masked.kind, &masked.user_name, masked.group.as_deref()) {
            masked.mark = mark;
        }
    }
    for (masked, old) in staged.iter_mut().zip(recorded.decided.staged()) {
        if let Some(mark) = found(&old.mark, masked.kind, &masked.user_name, masked.group.as_deref()) {
            masked.mark = mark;
        }
    }
    memory.decided = Decided::of(decisions, holds, staged);
}

type Deed = (OpKind, String, Option<TargetKey>);

fn deed(plan: &Plan, change: &Change) -> Option<Deed> {
    let user = plan.user(change.op.user()?);
    Some((change.op.kind(), fold(&user.name), change.op.group().map(|group| plan.group(group).key.clone())))
}

impl Mask {
    fn source_user(&self, user: &SourceUser) -> SourceUser {
        let SourceUser { key, login, email, first_name, last_name, display_name, status, lifecycle, profile } = user;
        let profile = profile.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        SourceUser {
            key: self.source(key),
            login: self.text(login),
            email: self.texts(email.as_deref()),
            first_name: self.texts(first_name.as_deref()),
            last_name: self.texts(last_name.as_deref()),
            display_name: self.texts(display_name.as_deref()),
            status: status.clone(),
            lifecycle: *lifecycle,
            profile: profile.map(|profile| self.value(&profile).to_string().into()),
        }
    }

    fn roster(&self, roster: &SourceRoster) -> SourceRoster {
        let mut masked = SourceRosterBuilder::new();
        let users: Vec<SourceUser> = roster.users.iter().map(|user| self.source_user(user)).collect();
        let keys: Vec<SourceKey> = users.iter().map(|user| user.key.clone()).collect();
        users.into_iter().for_each(|user| masked.user(user));
        for group in &roster.groups {
            masked.group(group.key.as_str(), &group.name);
            group.members.iter().for_each(|member| masked.member(group.key.as_str(), keys[*member as usize].as_str()));
            let children = group.subgroups.iter().map(|child| &roster.groups[*child as usize].key);
            children.for_each(|child| masked.subgroup(group.key.as_str(), child.as_str()));
        }
        masked.build()
    }

    fn subject(&self, answer: &Answer<Subject>) -> Answer<Subject> {
        match answer {
            Answer::Is(Subject { user, in_scope, groups }) => {
                Answer::Is(Subject { user: self.source_user(user), in_scope: *in_scope, groups: groups.clone() })
            }
            Answer::NoSuch => Answer::NoSuch,
            Answer::Failed { .. } => failed(),
        }
    }

    fn target_user(&self, user: &TargetUser) -> TargetUser {
        TargetUser {
            key: self.account(&user.key),
            name: self.text(&user.name),
            email: self.texts(user.email.as_deref()),
            display_name: self.texts(user.display_name.as_deref()),
            active: user.active,
            writable: user.writable,
        }
    }

    fn target_roster(&self, roster: &TargetRoster) -> TargetRoster {
        let mut masked = TargetRosterBuilder::new();
        let users: Vec<TargetUser> = roster.users.iter().map(|user| self.target_user(user)).collect();
        let keys: Vec<TargetKey> = users.iter().map(|user| user.key.clone()).collect();
        users.into_iter().for_each(|user| masked.user(user));
        for group in &roster.groups {
            masked.group(&group.name, group.writable);
            group.members.iter().for_each(|member| masked.member(&group.key, &keys[*member as usize]));
        }
        masked.build()
    }

    fn target(&self, target: &AtTarget, addresses: &BTreeMap<SourceKey, Vec<SmolStr>>, past: Option<&Past>) -> AtTarget {
        let mut can = target.can.clone();
        can.acting_as = can.acting_as.as_deref().map(|name| self.text(name).into());
        can.notes.clear();
        let mut plan = target.plan.clone();
        plan.changes.clear();
        plan.violations.clear();
        plan.findings.clear();
        plan.seats.clear();
        AtTarget {
            name: target.name.clone(),
            kind: target.kind.clone(),
            can,
            memory: self.memory(&target.memory, addresses, past),
            roster: self.target_roster(&target.roster),
            absent: Absent {
                users: target.absent.users.iter().map(|name| self.text(name)).collect(),
                groups: target.absent.groups.clone(),
            },
            accounts: target.accounts.iter().map(|account| self.asked(account)).collect(),
            plan,
        }
    }

    fn asked(&self, account: &Account) -> Account {
        let answer = match &account.answer {
            Answer::Is((user, groups)) => Answer::Is((self.target_user(user), groups.clone())),
            Answer::NoSuch => Answer::NoSuch,
            Answer::Failed { .. } => failed(),
        };
        Account { name: self.text(&account.name), answer }
    }

    fn memory(&self, memory: &Memory, addresses: &BTreeMap<SourceKey, Vec<SmolStr>>, past: Option<&Past>) -> Memory {
        let Memory { links, ledger, sizes, recent, decided, waiting } = memory;
        let mut users: Vec<UserLink> = links.users.iter().map(|link| self.link(link, addresses)).collect();
        users.sort_by(|a, b| a.source.cmp(&b.source));
        let owners: Vec<TargetKey> = ledger.users.iter().map(|user| self.account(user)).collect();
        let owned = ledger.groups.iter().flat_map(|(group, members)| {
            let owners = &owners;
            members.iter().map(move |member| (group.clone(), owners[*member as usize].clone()))
        });
        Memory {
            links: Links { users, groups: links.groups.clone() },
            ledger: Ledger::of(owned),
            sizes: *sizes,
            recent: recent.clone(),
            decided: Decided::of(
                decided.decisions().iter().map(|decision| self.decision(decision)).collect(),
                decided
                    .holds()
                    .iter()
                    .map(|hold| self.hold(hold, past.is_some_and(|past| past.held.contains(&hold.user))))
                    .collect(),
                decided.staged().iter().map(|staged| self.staged(staged)).collect(),
            ),
            waiting: waiting.iter().map(|retry| self.retry(retry)).collect(),
        }
    }

    fn link(&self, link: &UserLink, addresses: &BTreeMap<SourceKey, Vec<SmolStr>>) -> UserLink {
        let source = self.source(&link.source);
        let email_mark = link.email_mark.map(|mark| {
            let known = addresses.get(&link.source).into_iter().flatten();
            match known.into_iter().find(|address| email_mark(&link.source, address) == mark) {
                Some(address) => email_mark(&source, &self.text(address)),
                None => self.number("address", &mark.to_string()),
            }
        });
        UserLink {
            target: self.account(&link.target),
            name: self.text(&link.name),
            email_mark,
            leaving_since: link.leaving_since,
            last_asked: link.last_asked,
            is_new: link.is_new,
            source,
        }
    }

    fn decision(&self, decision: &Decision) -> Decision {
        Decision {
            mark: format!("{:032x}", self.number("mark", &decision.mark)),
            source: decision.source.as_ref().map(|source| self.source(source)),
            user_name: self.text(&decision.user_name),
            actor: "os:somebody".to_owned(),
            reason: "as recorded".to_owned(),
            ..decision.clone()
        }
    }

    /// A wish is a hash of names: one that stands is taken as met for the first time, and one that is over fits nothing.
    fn hold(&self, hold: &Hold, stands: bool) -> Hold {
        Hold {
            user: self.account(&hold.user),
            user_name: self.text(&hold.user_name),
            source: hold.source.as_ref().map(|source| self.source(source)),
            actor: "os:somebody".to_owned(),
            reason: "as recorded".to_owned(),
            wish: (!stands).then(|| "another".to_owned()),
            ..hold.clone()
        }
    }

    fn staged(&self, staged: &Staged) -> Staged {
        Staged {
            mark: format!("{:032x}", self.number("mark", &staged.mark)),
            source: staged.source.as_ref().map(|source| self.source(source)),
            user: self.account(&staged.user),
            user_name: self.text(&staged.user_name),
            ..staged.clone()
        }
    }

    fn retry(&self, retry: &Retry) -> Retry {
        Retry {
            subject: match &retry.subject {
                Waiting::User(source) => Waiting::User(self.source(source)),
                Waiting::Everything => Waiting::Everything,
            },
            cause: "as recorded".to_owned(),
            user_name: self.texts(retry.user_name.as_deref()),
            ..retry.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_in_quotes_are_what_an_expression_looks_for() {
        let expression = Expression::new("profile.kind != 'contractor' and login != \"x@y\"").expect("an expression");
        assert_eq!(literals(&expression), ["contractor", "x@y"]);
    }
}
