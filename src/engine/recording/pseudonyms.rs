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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::replay::{Replay, replay};
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

/// A key. Whoever makes one draws it at random and forgets it.
pub type Key = [u8; 32];

/// A mail domain of so many users is the organisation's and stays.
const SHARED: usize = 5;

/// The letters of a pseudonym: enough that two of a million words hardly ever share one.
const LETTERS: usize = 10;
/// The digits of the pseudonym of a number.
const DIGITS: usize = 12;

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
    let real = replay(recording, job, natures).await?;
    let mask = Mask::new(key, kept(job), shared(&recording.roster));
    let addresses = addresses(recording, job);
    let mut masked = Recording {
        head: recording.head.clone(),
        roster: mask.roster(&recording.roster),
        users: recording.users.iter().map(|(key, answer)| (mask.source(key), mask.subject(answer))).collect(),
        groups: recording.groups.iter().map(|(key, answer)| (key.clone(), muted(answer))).collect(),
        targets: recording.targets.iter().map(|target| mask.target(target, &addresses, &real)).collect(),
    };
    masked.head.pseudonyms = true;
    // A mark is a hash of names: those that fitted a change are found anew, over the pseudonyms.
    let first = replay(&masked, job, natures).await?;
    for target in &mut masked.targets {
        let (Some(before), Some(after)) = (plan_of(&real, &target.name), plan_of(&first, &target.name)) else { continue };
        let Some(recorded) = recording.targets.iter().find(|recorded| recorded.name == target.name) else { continue };
        remark(&mut target.memory, &recorded.memory, before, after);
    }
    let second = replay(&masked, job, natures).await?;
    for target in &mut masked.targets {
        if let Some(replayed) = second.targets.iter().find(|replayed| replayed.target == target.name) {
            target.plan = view(&replayed.prepared.judged);
        }
    }
    Ok(masked)
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

/// The words of a text in small letters.
fn words(text: &str) -> Vec<String> {
    runs(text).into_iter().filter(|(class, _)| *class != Class::Other).map(|(_, run)| fold(run)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letters,
    Digits,
    Other,
}

fn class(c: char) -> Class {
    match c {
        c if c.is_alphabetic() => Class::Letters,
        c if c.is_numeric() => Class::Digits,
        _ => Class::Other,
    }
}

/// A text in runs of letters, of digits, and of what is between.
fn runs(text: &str) -> Vec<(Class, &str)> {
    let mut runs = Vec::new();
    let mut from = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        let next = chars.peek().map_or((text.len(), None), |(at, next)| (*at, Some(class(*next))));
        if next.1 != Some(class(c)) {
            runs.push((class(c), &text[from..next.0]));
            from = next.0;
        }
    }
    runs
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
fn addresses(recording: &Recording, job: &Job) -> BTreeMap<SourceKey, Vec<Box<str>>> {
    let mut addresses: BTreeMap<SourceKey, Vec<Box<str>>> = BTreeMap::new();
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
fn remark(memory: &mut Memory, recorded: &Memory, before: &Plan, after: &Plan) {
    let live: BTreeSet<String> = before.changes.iter().filter(|c| c.op.kind().removes()).map(|c| mark(before, c)).collect();
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

/// Makes pseudonyms.
struct Mask {
    key: Key,
    kept: BTreeSet<String>,
    shared: BTreeSet<String>,
    /// Words that have theirs already.
    known: Mutex<HashMap<String, String>>,
}

impl Mask {
    fn new(key: &Key, kept: BTreeSet<String>, shared: BTreeSet<String>) -> Self {
        Self { key: *key, kept, shared, known: Mutex::default() }
    }

    fn number(&self, of: &str, text: &str) -> u64 {
        let digest = Sha256::new().chain_update(self.key).chain_update(of).chain_update([0]).chain_update(text).finalize();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn source(&self, key: &SourceKey) -> SourceKey {
        SourceKey::from(format!("u{:016x}", self.number("source", key.as_str())))
    }

    fn account(&self, key: &TargetKey) -> TargetKey {
        TargetKey::from(format!("k{:016x}", self.number("target", key.as_str())))
    }

    /// A text word by word. The domain of an address stays whole if it is shared.
    fn text(&self, text: &str) -> Box<str> {
        match text.rsplit_once('@') {
            Some((local, domain)) if self.shared.contains(&fold(domain)) => format!("{}@{domain}", self.words(local)).into(),
            Some(_) | None => self.words(text).into(),
        }
    }

    fn words(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len() * 2);
        for (class, run) in runs(text) {
            match class {
                Class::Other => masked.push_str(run),
                Class::Letters | Class::Digits if self.kept.contains(&fold(run)) => masked.push_str(run),
                Class::Letters => masked.push_str(&cased(run, &self.letters(&fold(run)))),
                Class::Digits => masked.push_str(&self.digits(run)),
            }
        }
        masked
    }

    /// As many small letters as the word has, at least [`LETTERS`].
    fn letters(&self, folded: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letters) = known.get(folded) {
            return letters.clone();
        }
        let length = folded.chars().count().max(LETTERS);
        let mut letters = String::with_capacity(length);
        while letters.len() < length {
            let mut number = self.number("word", &format!("{}/{folded}", letters.len()));
            for _ in 0..LETTERS.min(length - letters.len()) {
                letters.push(char::from(b'a' + (number % 26) as u8));
                number /= 26;
            }
        }
        known.insert(folded.to_owned(), letters.clone());
        letters
    }

    /// The first is no zero, so that a number stays one.
    fn digits(&self, run: &str) -> String {
        let span = 10u64.pow(DIGITS as u32 - 1);
        (span + self.number("digits", run) % (9 * span)).to_string()
    }

    fn texts(&self, text: Option<&str>) -> Option<Box<str>> {
        text.map(|text| self.text(text))
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text).into()),
            Value::Number(number) => {
                let digits = self.digits(&number.to_string());
                digits.parse::<u64>().map_or(Value::Null, Value::from)
            }
            Value::Array(list) => Value::Array(list.iter().map(|value| self.value(value)).collect()),
            Value::Object(table) => Value::Object(table.iter().map(|(key, value)| (key.clone(), self.value(value))).collect()),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

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

    fn target(&self, target: &AtTarget, addresses: &BTreeMap<SourceKey, Vec<Box<str>>>, real: &Replay) -> AtTarget {
        let mut can = target.can.clone();
        can.acting_as = can.acting_as.as_deref().map(|name| self.text(name).into());
        can.notes.clear();
        let held: BTreeSet<&TargetKey> = real
            .targets
            .iter()
            .filter(|replayed| replayed.target == target.name)
            .flat_map(|replayed| replayed.prepared.decided.holds())
            .map(|hold| &hold.user)
            .collect();
        let mut plan = target.plan.clone();
        plan.changes.clear();
        plan.violations.clear();
        plan.findings.clear();
        AtTarget {
            name: target.name.clone(),
            kind: target.kind.clone(),
            can,
            memory: self.memory(&target.memory, addresses, &held),
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

    fn memory(&self, memory: &Memory, addresses: &BTreeMap<SourceKey, Vec<Box<str>>>, held: &BTreeSet<&TargetKey>) -> Memory {
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
                decided.holds().iter().map(|hold| self.hold(hold, held.contains(&hold.user))).collect(),
                decided.staged().iter().map(|staged| self.staged(staged)).collect(),
            ),
            waiting: waiting.iter().map(|retry| self.retry(retry)).collect(),
        }
    }

    fn link(&self, link: &UserLink, addresses: &BTreeMap<SourceKey, Vec<Box<str>>>) -> UserLink {
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

/// Small letters in the case of a word: all small, all capital, with a capital, or as the word goes.
fn cased(word: &str, letters: &str) -> String {
    let capitals: Vec<bool> = word.chars().map(char::is_uppercase).collect();
    match &capitals[..] {
        [true, rest @ ..] if !rest.contains(&true) => letters[..1].to_uppercase() + &letters[1..],
        all if !all.contains(&true) => letters.to_owned(),
        all if !all.contains(&false) => letters.to_uppercase(),
        all => letters.chars().enumerate().map(|(at, c)| if all[at % all.len()] { c.to_ascii_uppercase() } else { c }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        Mask::new(&[7; 32], ["svc".to_owned()].into(), ["example.com".to_owned()].into())
    }

    #[test]
    fn what_is_equal_stays_equal_and_what_a_rule_makes_of_it_too() {
        let mask = mask();
        let of = |text: &str| mask.text(text).to_string();
        assert_eq!(of("ada.lovelace"), of("Ada.Lovelace").to_lowercase());
        assert_eq!(of("ada.lovelace@example.com"), format!("{}@example.com", of("ada.lovelace")));
        assert_eq!(of("Ada Lovelace"), format!("{} {}", of("Ada"), of("Lovelace")));
        assert_eq!(of("ADA").to_lowercase(), of("ada"));
        assert_eq!(of("McDonald").to_lowercase(), of("mcdonald"));
        assert_eq!(of("svc-build7").split_once('-').map(|(svc, _)| svc.to_owned()), Some("svc".to_owned()));
        assert_ne!(of("ada"), of("eda"));
        assert_ne!(of("1001"), of("1002"));
        assert!(of("1001").parse::<u64>().is_ok_and(|number| number > 1));
    }

    #[test]
    fn nothing_of_a_person_is_left() {
        let mask = mask();
        for (text, left) in
            [("Ada Lovelace", "lovelace"), ("ada@lovelace.name", "lovelace"), ("zoë.müller", "müller"), ("4711", "4711")]
        {
            let masked = mask.text(text);
            assert!(!fold(&masked).contains(left), "{masked}");
        }
        let profile = serde_json::json!({"costCenter": "R&D 4711", "manager": {"name": "Ada"}, "remote": true, "level": 4});
        let masked = mask.value(&profile);
        assert!(masked["costCenter"] != profile["costCenter"] && masked["manager"]["name"] != "Ada" && masked["level"] != 4);
        assert_eq!(masked["remote"], true);
    }

    #[test]
    fn a_long_word_keeps_its_case_variants_apart_and_one() {
        let mask = mask();
        let (one, other) = (mask.text("MacAlisterFergusson"), mask.text("MacAlisterfergusson"));
        assert_ne!(one, other);
        assert_eq!(fold(&one), fold(&other));
        assert_eq!(mask.text(""), "".into());
    }

    #[test]
    fn the_words_in_quotes_are_what_an_expression_looks_for() {
        let expression = Expression::new("profile.kind != 'contractor' and login != \"x@y\"").expect("an expression");
        assert_eq!(literals(&expression), ["contractor", "x@y"]);
    }
}
