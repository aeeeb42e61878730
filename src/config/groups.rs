//! Which groups are managed, and how they are named at the targets.

use regex::Regex;

use super::glob::{self, Globs};
use super::names::{foreign_name, foreign_names};
use super::raw;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;

/// A rule from a source group's name to target groups' names.
#[derive(Clone, Debug)]
pub enum GroupRule {
    /// For one group.
    From {
        /// The source group's name.
        from: String,
        /// The target groups' names; at least one.
        to: Vec<String>,
    },
    /// For all whose name matches.
    Pattern {
        /// As it was written: not anchored, and heeding case unless it says `(?i)`.
        pattern: Regex,
        /// The target groups' names, in which `$1` and `${name}` stand for what was captured; at least one.
        to: Vec<String>,
    },
}

/// Target groups that need no group at the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultGroups {
    /// Where a user is put once, when it is created.
    pub new_users: Vec<String>,
    /// Where every managed user is a member.
    pub all_users: Vec<String>,
}

/// Which groups are managed, and how they are named.
#[derive(Clone, Debug)]
pub struct Groups {
    /// Source groups that take part.
    pub include: Globs,
    /// Source groups that do not, although included.
    pub exclude: Globs,
    /// The rules, in order. A group that no rule names keeps its name.
    pub map: Vec<GroupRule>,
    /// Whether a group that the target lacks is created.
    pub create_missing: bool,
    /// Target groups whose membership equals the source's.
    pub exclusive: Globs,
    /// Target groups that need no group at the source.
    pub default: DefaultGroups,
}

/// Checks the rules for groups.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::Groups) -> Groups {
    let raw::Groups { include, exclude, map, create_missing, exclusive, default } = raw;
    let at = path.key("default");
    foreign_names(scribe, &at.key("new_users"), &default.new_users);
    foreign_names(scribe, &at.key("all_users"), &default.all_users);
    let rules = path.key("map");
    Groups {
        include: include.map_or_else(Globs::all, |texts| glob::check(scribe, &path.key("include"), &texts)),
        exclude: glob::check(scribe, &path.key("exclude"), &exclude),
        map: map.into_iter().enumerate().filter_map(|(i, rule)| check_rule(scribe, &rules.index(i), rule)).collect(),
        create_missing: create_missing.unwrap_or(true),
        exclusive: glob::check(scribe, &path.key("exclusive"), &exclusive),
        default: DefaultGroups { new_users: default.new_users, all_users: default.all_users },
    }
}

fn check_rule(scribe: &mut Scribe<'_>, path: &KeyPath, raw: raw::GroupRule) -> Option<GroupRule> {
    let raw::GroupRule { from, pattern, to } = raw;
    let at = path.key("to");
    if to.texts.is_empty() {
        let hint = "to leave a group out, put it into `exclude`".to_owned();
        scribe.error(&at, "the rule leads to no group", hint);
    }
    let place = |index: usize| if to.listed { at.index(index) } else { at.clone() };
    for (index, name) in to.texts.iter().enumerate() {
        foreign_name(scribe, &place(index), name);
    }
    match (from, pattern) {
        (Some(from), None) => {
            foreign_name(scribe, &path.key("from"), &from);
            Some(GroupRule::From { from, to: to.texts })
        }
        (None, Some(pattern)) => {
            let pattern = check_pattern(scribe, &path.key("pattern"), &pattern)?;
            for (index, name) in to.texts.iter().enumerate() {
                check_captures(scribe, &place(index), &pattern, name);
            }
            Some(GroupRule::Pattern { pattern, to: to.texts })
        }
        (Some(_), Some(_)) => {
            scribe.error_at_key(path, "a rule has `from` or `pattern`, not both", "write two rules".to_owned());
            None
        }
        (None, None) => {
            let hint = r#"write { from = "name", to = ["name"] } or { pattern = "^app-(.*)$", to = ["$1"] }"#.to_owned();
            scribe.error_at_key(path, "a rule needs `from` or `pattern`", hint);
            None
        }
    }
}

fn check_pattern(scribe: &mut Scribe<'_>, path: &KeyPath, text: &str) -> Option<Regex> {
    match Regex::new(text) {
        Ok(_) if text.is_empty() => {
            scribe.error(path, "an empty pattern matches every group", None);
            None
        }
        Ok(regex) => Some(regex),
        Err(error) => {
            // The crate draws the pattern and a caret over several lines; the last one says what is wrong.
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            scribe.error(path, format!("the pattern is not a regular expression: {why}"), None);
            None
        }
    }
}

/// `$1_x` is the capture named `1_x`, which does not exist and would silently be nothing.
fn check_captures(scribe: &mut Scribe<'_>, path: &KeyPath, pattern: &Regex, to: &str) {
    let known = |name: &str| match name.parse::<usize>() {
        Ok(number) => number < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|known| known == name),
    };
    let mut rest = to;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(escaped) = after.strip_prefix('$') {
            rest = escaped;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(name, _)| name);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let name = braced.unwrap_or(&after[..end]);
        if !known(name) {
            let digits = name.chars().take_while(char::is_ascii_digit).count();
            let hint = match &name[..digits] {
                "" => "a capture is written $1, or ${name} for (?<name>…); a dollar sign is written $$".to_owned(),
                number if known(number) => format!("write ${{{number}}} where letters follow"),
                _ => format!("the pattern has {} of them", pattern.captures_len() - 1),
            };
            scribe.error(path, format!("the pattern has no capture `{name}`"), hint);
            return;
        }
        rest = after;
    }
}
