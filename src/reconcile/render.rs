//! Plans and verdicts in words, for people and as JSON. One place, so that what is shown in a dry run, in a log and after
//! the fact reads the same.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::guard::Judged;
use super::hash::{mark, plan_id};
use super::seats::Forecast;
use crate::contract::verdict::{SavedChange, SavedPlan};
use crate::model::change::{Change, Op, Reason};
use crate::model::desired::Attributes;
use crate::model::plan::{Finding, Plan};

/// One change in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// The op's word.
    #[schema(value_type = String)]
    pub op: Cow<'static, str>,
    /// `+` grants, `~` alters, `-` removes.
    #[schema(value_type = String)]
    pub sign: char,
    /// The user's name at the target.
    pub user: Option<String>,
    /// The source's id of the user.
    pub source: Option<String>,
    /// The group's name at the target.
    pub group: Option<String>,
    /// What differs, for an update, attribute by attribute; for a creation what the account will have.
    pub differs: Vec<String>,
    /// Why, in words.
    pub because: String,
    /// `admitted`, `staged`, `refused`, or `withheld`: admitted by the guards, and all the same not to happen now.
    #[schema(value_type = String)]
    pub verdict: Cow<'static, str>,
    /// The guards that hold it.
    #[schema(value_type = Vec<String>)]
    pub held_by: Vec<Cow<'static, str>>,
    /// Why it is withheld, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// A plan with its verdict in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// The plan's id.
    pub plan: String,
    /// Its job.
    pub job: String,
    /// Its target.
    pub target: String,
    /// Its changes.
    pub changes: Vec<ChangeView>,
    /// What the guards found.
    pub violations: Vec<ViolationView>,
    /// What is reported and left as it is.
    pub findings: Vec<Finding>,
    /// What comes of the seats of each licence that the target tells of.
    #[serde(default)]
    pub seats: Vec<Forecast>,
}

/// A violation in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct ViolationView {
    /// The guard.
    #[schema(value_type = String)]
    pub guard: Cow<'static, str>,
    /// Whether an approval lifts it.
    pub liftable: bool,
    /// What was found.
    pub text: String,
    /// How many changes it holds.
    pub holds: usize,
}

/// A judged plan in words.
pub fn view(judged: &Judged) -> PlanView {
    let plan = judged.admitted.plan();
    let mut changes: Vec<ChangeView> = plan.changes.iter().map(|c| change(plan, c)).collect();
    for (held, verdict) in [(&judged.staged, "staged"), (&judged.refused, "refused")] {
        for (at, by) in held {
            changes[*at].verdict = verdict.into();
            changes[*at].held_by = by.iter().map(|guard| Cow::Borrowed(*guard)).collect();
        }
    }
    for (at, why) in &judged.withheld {
        changes[*at].verdict = "withheld".into();
        changes[*at].withheld = Some(why.clone());
    }
    PlanView {
        plan: plan_id(plan).to_string(),
        job: plan.job.to_string(),
        target: plan.target.to_string(),
        changes,
        violations: judged
            .violations
            .iter()
            .map(|v| ViolationView { guard: v.guard.into(), liftable: v.liftable, text: v.text.clone(), holds: v.holds.len() })
            .collect(),
        findings: plan.findings.clone(),
        seats: judged.seats.clone(),
    }
}

/// A judged plan as it is kept, to be decided on until `expires`. `by` is a run's id, or who asked for the plan.
pub fn saved(judged: &Judged, by: String, made: DateTime<Utc>, expires: DateTime<Utc>) -> SavedPlan {
    let plan = judged.admitted.plan();
    let keep = |(at, by): &(usize, Vec<&'static str>)| {
        let of = &plan.changes[*at];
        let user = plan.user(of.op.user()?);
        Some(SavedChange {
            mark: mark(plan, of),
            kind: of.op.kind(),
            source: user.source.clone(),
            user_name: user.name.clone(),
            group: of.op.group().map(|g| plan.group(g).name.clone()),
            held_by: by.iter().map(|guard| (*guard).to_owned()).collect(),
        })
    };
    SavedPlan {
        id: plan_id(plan),
        job: plan.job.clone(),
        target: plan.target.clone(),
        made,
        expires,
        by,
        changes: judged.staged.iter().filter_map(keep).collect(),
    }
}

/// One change in words, as if admitted.
pub fn change(plan: &Plan, change: &Change) -> ChangeView {
    let kind = change.op.kind();
    let user = change.op.user().map(|u| plan.user(u));
    let sign = match &change.op {
        Op::UpdateUser { .. } | Op::LinkUser { .. } => '~',
        op if op.kind().removes() => '-',
        _ => '+',
    };
    let differs = match &change.op {
        Op::UpdateUser { edit, .. } => differences(&edit.before, &edit.after),
        Op::CreateUser { attributes, .. } => has(attributes),
        Op::LinkUser { .. }
        | Op::CreateGroup { .. }
        | Op::ActivateUser { .. }
        | Op::AddMember { .. }
        | Op::RemoveMember { .. }
        | Op::DeactivateUser { .. }
        | Op::DeleteUser { .. } => Vec::new(),
    };
    ChangeView {
        op: kind.word().into(),
        sign,
        user: user.map(|u| u.name.to_string()),
        source: user.and_then(|u| u.source.as_ref()).map(ToString::to_string),
        group: change.op.group().map(|g| plan.group(g).name.to_string()),
        differs,
        because: reason(plan, &change.because),
        verdict: "admitted".into(),
        held_by: Vec::new(),
        withheld: None,
    }
}

/// The attributes that differ, each as `name: "before" to "after"`.
fn differences(before: &Attributes, after: &Attributes) -> Vec<String> {
    let mut differs = Vec::new();
    if before.name != after.name {
        differs.push(format!("user name: {:?} to {:?}", before.name, after.name));
    }
    for (what, before, after) in
        [("e-mail", &before.email, &after.email), ("display name", &before.display_name, &after.display_name)]
    {
        if before != after {
            let old = before.as_deref().map_or("(hidden)".to_owned(), |b| format!("{b:?}"));
            differs.push(format!("{what}: {old} to {:?}", after.as_deref().unwrap_or_default()));
        }
    }
    differs
}

/// What an account will have beside its name.
fn has(attributes: &Attributes) -> Vec<String> {
    let all = [("e-mail", &attributes.email), ("display name", &attributes.display_name)];
    all.into_iter().filter_map(|(what, value)| Some(format!("{what}: {:?}", value.as_deref()?))).collect()
}

/// A reason in words.
pub fn reason(plan: &Plan, because: &Reason) -> String {
    let source = |ix: &u32| plan.sources.get(*ix as usize).map_or_else(String::new, |s| format!("{:?}", s.name));
    match because {
        Reason::Joined => "is entitled and has no account".into(),
        Reason::Found => "an account of this name is there".into(),
        Reason::Differs => "differs from the source".into(),
        Reason::MakesRoom => "makes room in a swap of user names".into(),
        Reason::Returned => "is entitled again".into(),
        Reason::MemberOf { source: ix } => format!("is in source group {}", source(ix)),
        Reason::Default => "is a default group".into(),
        Reason::Mapped { source: ix } => format!("source group {} maps to it", source(ix)),
        Reason::NotMember => "is in no source group that maps to it".into(),
        Reason::Exclusive => "is not in the source, and the group is exclusive".into(),
        Reason::GroupGone => "the source group is gone".into(),
        Reason::GroupRenamed => "the source group has another name now".into(),
        Reason::Disabled => "is disabled at the source".into(),
        Reason::OutOfScope => "is out of the job's scope".into(),
        Reason::Gone => "does not exist at the source".into(),
        Reason::Undone { .. } => "takes back what the run did".into(),
    }
}

/// A change as one line: `+ add_member ada -> "jira-users" (is in source group "eng")`.
pub fn line(view: &ChangeView) -> String {
    let mut text = format!("{} {:<15}", view.sign, view.op);
    if let Some(user) = &view.user {
        text.push(' ');
        text.push_str(user);
    }
    if let Some(group) = &view.group {
        let arrow = match (&view.user, view.sign) {
            (None, _) => "",
            (Some(_), '-') => " <-",
            (Some(_), _) => " ->",
        };
        text.push_str(&format!("{arrow} {group:?}"));
    }
    if !view.differs.is_empty() {
        text.push_str(&format!(" {}", view.differs.join(", ")));
    }
    text.push_str(&format!(" ({})", view.because));
    if !view.held_by.is_empty() {
        text.push_str(&format!(" [{} by {}]", view.verdict, view.held_by.join(", ")));
    }
    if let Some(why) = &view.withheld {
        text.push_str(&format!(" [withheld: {why}]"));
    }
    text
}
