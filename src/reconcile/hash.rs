//! A plan's id: the hash of its changes in canonical form and of both rosters. If the world moves, the id moves. A change's
//! mark: the same of one change alone, so that a decision about it holds exactly as long as it is the same change.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::model::change::{Change, Op};
use crate::model::desired::{Attributes, Desired, DesiredUser, Standing};
use crate::model::key::PlanId;
use crate::model::plan::{Plan, PlanUser};
use crate::model::roster::{TargetRoster, UserIx};

/// The id of a plan: the first 16 hexadecimal digits of a SHA-256 over job, target, the rosters' digest and changes by name
/// and id. Findings do not count.
pub fn plan_id(plan: &Plan) -> PlanId {
    let people = People::of(plan);
    let mut hash = Canonical::new(plan);
    part(&mut hash.gathered, &plan.rosters);
    for change in &plan.changes {
        hash.change(plan, change, |user, gathered| gathered.extend_from_slice(people.form(user)));
    }
    PlanId::from(hash.finish(8))
}

/// The digest of what should be and of what is, for [`Plan::rosters`].
pub fn rosters(desired: &Desired, actual: &TargetRoster) -> SmolStr {
    let mut hash = Canonical::empty();
    for user in &desired.users {
        hash.desired(user);
    }
    for group in &desired.groups {
        hash.members(group.key.as_str(), &group.members);
    }
    for user in &actual.users {
        hash.make_room();
        part(&mut hash.gathered, user.key.as_str());
        hash.gathered.extend([u8::from(user.active), u8::from(user.writable)]);
        part(&mut hash.gathered, &user.name);
        optional(&mut hash.gathered, user.email.as_deref());
        optional(&mut hash.gathered, user.display_name.as_deref());
    }
    for group in &actual.groups {
        hash.members(group.key.as_str(), &group.members);
    }
    hash.finish(16).into()
}

/// The same of one user, as an earlier version of [`super::wish`] kept it: `None` if the source does not tell of the user.
pub fn wish(desired: &Desired, user: Option<UserIx>) -> String {
    let mut hash = Canonical::empty();
    if let Some(ix) = user {
        hash.desired(&desired.users[ix as usize]);
        for group in desired.groups.iter().filter(|g| g.members.binary_search(&ix).is_ok()) {
            part(&mut hash.gathered, group.key.as_str());
        }
    }
    hash.finish(16)
}

/// What follows for one user from what the source says, `None` if it does not tell of the user. The same for the reading of
/// everybody and of this user alone: so attributes of one who is not entitled do not count, nor groups that only new users get.
pub fn wants(desired: &Desired, user: Option<UserIx>) -> String {
    let mut hash = Canonical::empty();
    if let Some(ix) = user {
        let user = &desired.users[ix as usize];
        let attributes = user.attributes.clone().filter(|_| user.standing == Standing::Entitled);
        hash.desired(&DesiredUser { attributes, ..user.clone() });
        let given = desired.groups.iter().filter(|g| !g.only_new_users && g.members.binary_search(&ix).is_ok());
        given.for_each(|group| part(&mut hash.gathered, group.key.as_str()));
    }
    hash.finish(16)
}

/// The hash of texts in their order.
pub fn of_texts(texts: &[String]) -> String {
    let mut hash = Canonical::empty();
    texts.iter().for_each(|text| part(&mut hash.gathered, text));
    hash.finish(8)
}

/// The mark of one change with the cause for which somebody leaves: what a decision is about.
pub fn mark(plan: &Plan, change: &Change) -> String {
    let mut hash = Canonical::new(plan);
    hash.change(plan, change, |user, gathered| person(plan.user(user), gathered));
    // Nothing at all where there is no cause: decisions from before marks had causes stand there.
    if let Some(cause) = change.because.cause() {
        part(&mut hash.gathered, cause.word());
    }
    hash.finish(16)
}

/// The mark of the deactivation that a deletion goes beyond: who said no to the one has said no to the other.
pub fn lesser(plan: &Plan, change: &Change) -> Option<String> {
    let Op::DeleteUser { user } = change.op else { return None };
    Some(mark(plan, &Change { op: Op::DeactivateUser { user }, because: change.because }))
}

/// The canonical form of every user, one behind the other: a user may have many changes, far from each other.
struct People {
    forms: Vec<u8>,
    ends: Vec<usize>,
}

impl People {
    fn of(plan: &Plan) -> Self {
        let mut people = Self { forms: Vec::new(), ends: Vec::with_capacity(plan.users.len()) };
        for user in &plan.users {
            person(user, &mut people.forms);
            people.ends.push(people.forms.len());
        }
        people
    }

    fn form(&self, user: UserIx) -> &[u8] {
        let from = (user as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.forms[from..self.ends[user as usize]]
    }
}

fn person(user: &PlanUser, gathered: &mut Vec<u8>) {
    part(gathered, user.source.as_ref().map_or("", |k| k.as_str()));
    part(gathered, user.key.as_ref().map_or("", |k| k.as_str()));
    part(gathered, &user.name);
}

/// Writes a text with its length before it, so that no two lists of texts give the same bytes.
fn part(gathered: &mut Vec<u8>, text: &str) {
    gathered.extend_from_slice(&(text.len() as u64).to_le_bytes());
    gathered.extend_from_slice(text.as_bytes());
}

fn optional(gathered: &mut Vec<u8>, text: Option<&str>) {
    gathered.push(u8::from(text.is_some()));
    part(gathered, text.unwrap_or_default());
}

/// The canonical form in the making. Gathered into pieces of some size, since a plan may have millions of changes, each of
/// many small parts.
struct Canonical {
    hash: Sha256,
    gathered: Vec<u8>,
}

impl Canonical {
    const PIECE: usize = 4096;

    fn empty() -> Self {
        Self { hash: Sha256::new(), gathered: Vec::with_capacity(2 * Self::PIECE) }
    }

    fn new(plan: &Plan) -> Self {
        let mut canonical = Self::empty();
        part(&mut canonical.gathered, plan.job.as_str());
        part(&mut canonical.gathered, plan.target.as_str());
        canonical
    }

    fn change(&mut self, plan: &Plan, change: &Change, person: impl Fn(UserIx, &mut Vec<u8>)) {
        self.make_room();
        part(&mut self.gathered, change.op.kind().word());
        if let Some(user) = change.op.user() {
            person(user, &mut self.gathered);
        }
        if let Some(group) = change.op.group() {
            part(&mut self.gathered, plan.group(group).key.as_str());
        }
        match &change.op {
            Op::UpdateUser { edit, .. } => [&edit.before, &edit.after].into_iter().for_each(|a| self.attributes(a)),
            Op::CreateUser { attributes, .. } => self.attributes(attributes),
            Op::LinkUser { .. }
            | Op::CreateGroup { .. }
            | Op::ActivateUser { .. }
            | Op::AddMember { .. }
            | Op::RemoveMember { .. }
            | Op::DeactivateUser { .. }
            | Op::DeleteUser { .. } => {}
        }
    }

    fn attributes(&mut self, attributes: &Attributes) {
        let Attributes { name, email, display_name } = attributes;
        part(&mut self.gathered, name);
        optional(&mut self.gathered, email.as_deref());
        optional(&mut self.gathered, display_name.as_deref());
    }

    fn desired(&mut self, user: &DesiredUser) {
        self.make_room();
        let DesiredUser { source, standing, attributes } = user;
        part(&mut self.gathered, source.as_str());
        self.gathered.extend([*standing as u8, u8::from(attributes.is_some())]);
        if let Some(attributes) = attributes {
            self.attributes(attributes);
        }
    }

    fn members(&mut self, group: &str, members: &[UserIx]) {
        part(&mut self.gathered, group);
        self.gathered.extend((members.len() as u64).to_le_bytes());
        for member in members {
            self.gathered.extend(member.to_le_bytes());
        }
        self.make_room();
    }

    /// Hands on what has been gathered, once it is enough.
    fn make_room(&mut self) {
        if self.gathered.len() >= Self::PIECE {
            self.hash.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// The first bytes of the hash, in hexadecimal.
    fn finish(self, bytes: usize) -> String {
        hex(&self.hash.chain_update(&self.gathered).finalize()[..bytes])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
