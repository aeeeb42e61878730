//! The rules of one job, as values: who is managed, how attributes and groups are mapped, what happens to leavers.

use std::time::Duration;

use regex::Regex;

use super::expression::{Expression, Uses};
use super::pattern::NameSet;
use crate::model::desired::Standing;
use crate::model::key::fold;

/// Everything that decides what should be.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who is managed.
    pub scope: Scope,
    /// How attributes are made.
    pub mapping: Mapping,
    /// Which groups take part and what they become.
    pub groups: GroupRules,
    /// What happens to those who leave.
    pub leavers: Leavers,
}

/// Who is managed at all.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Gate: members of any of these source groups, by name; empty: everybody.
    pub member_of: NameSet,
    /// A condition over the source record.
    pub filter: Option<Expression>,
    /// Source logins or target user names that are never managed.
    pub exclude: NameSet,
}

/// How the attributes of a target user are made.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The user name.
    pub username: Expression,
    /// The e-mail address; nothing: left as it is.
    pub email: Expression,
    /// The name shown; nothing: left as it is.
    pub display_name: Expression,
}

/// Which groups take part and what they become.
#[derive(Clone, Debug)]
pub struct GroupRules {
    /// Source groups that take part, by name; `None`: all.
    pub include: Option<NameSet>,
    /// Source groups that do not.
    pub exclude: NameSet,
    /// Names that become others; the first rule that fits counts, a group that none fits keeps its name.
    pub map: Vec<GroupRule>,
    /// Whether missing target groups are created (once they have a member).
    pub create_missing: bool,
    /// Target groups whose membership equals the source: there a membership is removed whoever added it.
    pub exclusive: NameSet,
    /// Target groups that every user is put into on creation.
    pub new_users: Vec<String>,
    /// Target groups that every user is in.
    pub all_users: Vec<String>,
}

/// One rule of the group map.
#[derive(Clone, Debug)]
pub enum GroupRule {
    /// A name.
    Name {
        /// The source group's folded name.
        from: String,
        /// The target groups.
        to: Vec<String>,
    },
    /// A pattern; `$1` in a target's name stands for the first group of the pattern.
    Pattern {
        /// The pattern, matched against the name as written.
        pattern: Regex,
        /// The target groups.
        to: Vec<String>,
    },
}

/// What happens to a user who is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaverAction {
    /// Nothing.
    Keep,
    /// The memberships that rosterd owns are removed.
    RemoveGroups,
    /// The account is made inactive.
    Deactivate,
    /// The account is deleted.
    Delete,
}

/// What happens to those who leave, by cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leavers {
    /// The source disabled the user.
    pub disabled: LeaverAction,
    /// The job's scope no longer wants the user.
    pub out_of_scope: LeaverAction,
    /// The source no longer has the user.
    pub deleted: LeaverAction,
    /// How long the source must have wanted a user gone before anything is done.
    pub grace: Duration,
    /// How long it must have wanted so until an account that was made inactive is deleted; `None`: it never is.
    pub delete_after: Option<Duration>,
}

impl Leavers {
    /// What is done about somebody who leaves: disabled, out of scope, or gone.
    pub fn action(&self, standing: Option<Standing>) -> Option<LeaverAction> {
        match standing {
            None => Some(self.deleted),
            Some(Standing::Disabled) => Some(self.disabled),
            Some(Standing::OutOfScope) => Some(self.out_of_scope),
            Some(Standing::Entitled | Standing::Pending) => None,
        }
    }

    /// Whether accounts are deleted that need not have been inactive for some time.
    pub fn deletes_at_once(&self) -> bool {
        [self.disabled, self.out_of_scope, self.deleted].contains(&LeaverAction::Delete)
    }
}

impl GroupRules {
    /// Whether a source group of this name takes part.
    pub fn takes(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.matches(name)) && !self.exclude.matches(name)
    }

    /// The target groups of a source group that takes part, each once, in the order of the map.
    pub fn targets(&self, name: &str) -> Vec<String> {
        let folded = fold(name);
        let mut targets: Vec<String> = Vec::new();
        let found = self.map.iter().find_map(|rule| match rule {
            GroupRule::Name { from, to } => (*from == folded).then(|| to.clone()),
            GroupRule::Pattern { pattern, to } => {
                let captures = pattern.captures(name)?;
                Some(
                    to.iter()
                        .map(|template| {
                            let mut expanded = String::new();
                            captures.expand(template, &mut expanded);
                            expanded
                        })
                        .collect(),
                )
            }
        });
        for target in found.unwrap_or_else(|| vec![name.to_owned()]) {
            if !target.trim().is_empty() && !targets.iter().any(|t| fold(t) == fold(&target)) {
                targets.push(target);
            }
        }
        targets
    }
}

impl Rules {
    /// What of a source record the job's expressions read.
    pub fn uses(&self) -> Uses {
        let Mapping { username, email, display_name } = &self.mapping;
        let mut uses = username.uses().clone().join(email.uses()).join(display_name.uses());
        if let Some(filter) = &self.scope.filter {
            uses = uses.join(filter.uses());
        }
        uses
    }

    /// Whether a source group's members must be read: it takes part, it is a gate, or an expression asks for groups.
    pub fn needs_group(&self, name: &str) -> bool {
        self.groups.takes(name) || self.scope.member_of.matches(name) || self.uses().groups
    }
}
