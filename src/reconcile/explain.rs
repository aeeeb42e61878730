//! Explain: what the rules make of one user, rule by rule. The verdicts come from the functions that a run uses, so that an
//! explanation cannot tell another story than the run.

use serde::Serialize;

use super::expression::{Expression, Record};
use super::proof::desired_of;
use super::rules::{GroupRules, Rules};
use crate::contract::source::Subject;
use crate::model::desired::{Desired, Standing};
use crate::model::key::{SourceKey, fold};
use crate::model::roster::{Lifecycle, SourceUser};

/// What the source says of a user, and what the job's rules make of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// The facts, as read.
    pub facts: SourceUser,
    /// Whether the user is within the source's own scope.
    pub in_scope: bool,
    /// Where the user stands with the job.
    pub standing: Standing,
    /// Each rule of the scope, in the order in which they count, with its verdict.
    pub rules: Vec<RuleVerdict>,
    /// Each mapped attribute.
    pub mapped: Vec<Mapped>,
    /// Each group that the user is in, and what comes of it.
    pub groups: Vec<GroupVerdict>,
    /// The target groups that the user should be in, with the source group that gives it; none: a default group.
    pub gives: Vec<(String, Option<String>)>,
}

/// One rule of the scope with its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    /// The rule, by its key in the configuration.
    pub rule: String,
    /// Whether the user passes.
    pub passes: bool,
    /// Why, for a person.
    pub why: String,
}

/// One mapped attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapped {
    /// Which.
    pub attribute: &'static str,
    /// The expression.
    pub expression: String,
    /// What it makes; nothing: the attribute is left as it is.
    pub value: Option<String>,
    /// Why it makes nothing, if it failed.
    pub error: Option<String>,
}

/// A group that the user is in at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupVerdict {
    /// Its name.
    pub group: String,
    /// The target groups that it maps to; none if it does not take part.
    pub targets: Vec<String>,
    /// Why it takes part or not, for a person.
    pub why: String,
}

/// Reads a user's facts by the rules. `counts` tells which of the groups are in the source's scope.
pub fn read(subject: &Subject, counts: impl Fn(&SourceKey) -> bool, rules: &Rules) -> Reading {
    let desired = desired_of(subject, &counts, rules);
    let mut names: Vec<&str> = subject.groups.iter().filter(|(key, _)| counts(key)).map(|(_, name)| &**name).collect();
    names.sort_unstable();
    let record = Record::new(&subject.user, &names, &rules.uses());
    let map = &rules.mapping;
    let mapped = [("user name", &map.username), ("e-mail address", &map.email), ("display name", &map.display_name)];
    Reading {
        facts: subject.user.clone(),
        in_scope: subject.in_scope,
        standing: desired.users.first().map_or(Standing::Pending, |u| u.standing),
        rules: verdicts(subject, &names, &record, rules),
        mapped: mapped.into_iter().map(|(attribute, expression)| make(attribute, expression, &record)).collect(),
        groups: subject.groups.iter().map(|(key, name)| group(name, counts(key), &rules.groups)).collect(),
        gives: gives(&desired),
    }
}

fn verdicts(subject: &Subject, names: &[&str], record: &Result<Record, String>, rules: &Rules) -> Vec<RuleVerdict> {
    let user = &subject.user;
    let mut verdicts = Vec::new();
    let mut say = |rule: &str, passes: bool, why: String| verdicts.push(RuleVerdict { rule: rule.to_owned(), passes, why });
    let status = match user.lifecycle {
        Lifecycle::Entitled => "is entitled",
        Lifecycle::Pending => "waits: nothing is created, nothing is taken away",
        Lifecycle::Disabled => "is disabled: a leaver",
    };
    say("status", user.lifecycle == Lifecycle::Entitled, format!("{} {status}", user.status));
    let scope = if subject.in_scope { "is within the source's scope" } else { "is outside the source's scope (not assigned)" };
    say("source scope", subject.in_scope, scope.to_owned());
    if !rules.scope.member_of.is_empty() {
        let gate = names.iter().find(|name| rules.scope.member_of.matches(name));
        let why = gate.map_or_else(
            || format!("is in no group of {:?}", rules.scope.member_of.globs()),
            |name| format!("is in group {name:?}"),
        );
        say("users.member_of", gate.is_some(), why);
    }
    if let Some(filter) = &rules.scope.filter {
        let held = record.as_ref().map_err(Clone::clone).and_then(|record| filter.holds(record));
        let why = match &held {
            Ok(true) => format!("`{}` holds", filter.text()),
            Ok(false) => format!("`{}` does not hold", filter.text()),
            Err(why) => format!("`{}` fails: {why}", filter.text()),
        };
        say("users.filter", held == Ok(true), why);
    }
    let name = record.as_ref().ok().and_then(|record| rules.mapping.username.text_of(record).ok().flatten());
    if !rules.scope.exclude.is_empty() {
        let by = [Some(&*user.login), name.as_deref()].into_iter().flatten().find(|n| rules.scope.exclude.matches(n));
        let why = by.map_or_else(|| "is not excluded".to_owned(), |name| format!("{name:?} is excluded: never managed"));
        say("users.exclude", by.is_none(), why);
    }
    verdicts
}

fn make(attribute: &'static str, expression: &Expression, record: &Result<Record, String>) -> Mapped {
    let made = record.as_ref().map_err(Clone::clone).and_then(|record| expression.text_of(record));
    let (value, error) = match made {
        Ok(value) => (value.map(String::from), None),
        Err(why) => (None, Some(why)),
    };
    Mapped { attribute, expression: expression.text().to_owned(), value, error }
}

fn group(name: &str, counts: bool, rules: &GroupRules) -> GroupVerdict {
    let out = |why: &str| GroupVerdict { group: name.to_owned(), targets: Vec::new(), why: why.to_owned() };
    if rules.include.as_ref().is_some_and(|include| !include.matches(name)) {
        return out("is not in groups.include");
    }
    if rules.exclude.matches(name) {
        return out("is in groups.exclude");
    }
    if !counts {
        return out("is outside the source's scope");
    }
    let targets = rules.targets(name);
    let kept = targets.len() == 1 && fold(&targets[0]) == fold(name);
    let why = if kept { "keeps its name" } else { "is mapped by groups.map" };
    GroupVerdict { group: name.to_owned(), targets, why: why.to_owned() }
}

fn gives(desired: &Desired) -> Vec<(String, Option<String>)> {
    // What only new users get, an account that is there does not; the plan shows it for one that is not.
    let with_members = desired.groups.iter().filter(|group| !group.members.is_empty() && !group.only_new_users);
    with_members
        .map(|group| {
            let via = group.via.first().and_then(|at| desired.sources.get(*at as usize));
            (group.name.to_string(), via.map(|source| source.name.to_string()))
        })
        .collect()
}
