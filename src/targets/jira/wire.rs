//! Jira's JSON, as far as it is read. A field that every version tells is required here, so that an answer without it is a
//! malformed answer: an absent `active` must never pass for `false`, nor an absent `total` for 0.
//!
//! `self` and `nextPage` are left unread on purpose. They name the host that the instance believes to have, which behind a
//! proxy is another one than the host that was asked.

use std::collections::BTreeMap;

use serde::Deserialize;
use smol_str::SmolStr;

use crate::http::atlassian::quoted;
use crate::http::wire::Answer;
use crate::model::key::TargetKey;
use crate::model::roster::TargetUser;

/// A user, wherever one stands: by itself, in a listing, as a member.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// Survives a rename; `JIRAUSER10100` for users made since 8.4, for older ones the name that they had first.
    pub key: SmolStr,
    pub name: SmolStr,
    pub email_address: Option<SmolStr>,
    pub display_name: Option<SmolStr>,
    pub active: bool,
    /// A record kept for the sake of old references.
    #[serde(default)]
    pub deleted: bool,
    /// Filled only where `expand=groups` was asked for.
    pub groups: Option<Groups>,
}

impl User {
    /// The user as the roster holds it. Jira tells nobody's directory, so that each is taken for writable until a write
    /// is refused.
    pub(super) fn into_target(self) -> TargetUser {
        // "User email visibility" leaves the address out, empties it or spells it "ada at example dot com".
        let email = self.email_address.filter(|text| text.contains('@'));
        TargetUser {
            key: TargetKey::new(self.key),
            name: self.name,
            email,
            display_name: self.display_name.filter(|text| !text.is_empty()),
            active: self.active,
            writable: true,
        }
    }
}

/// The groups of a user. Not paged.
#[derive(Debug, Deserialize)]
pub(super) struct Groups {
    pub size: usize,
    pub items: Vec<Group>,
}

/// A group, where only its name matters. The picker's `html` is the name with markup, and is left alone.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub name: String,
}

/// A page of a group's members.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub start_at: usize,
    pub total: usize,
    pub is_last: bool,
    pub values: Vec<User>,
}

/// A page of `user/list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stream {
    pub next_cursor: Option<Cursor>,
    pub is_last: bool,
    pub values: Vec<User>,
}

/// A cursor: the vendor's document has it as text in the answer and as a number in the query.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Cursor {
    Text(String),
    Number(i64),
}

impl Cursor {
    pub(super) fn into_text(self) -> String {
        match self {
            Cursor::Text(text) => text,
            Cursor::Number(number) => number.to_string(),
        }
    }
}

/// All groups that match.
#[derive(Debug, Deserialize)]
pub(super) struct Picker {
    pub total: usize,
    pub groups: Vec<Group>,
}

/// What the server is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInfo {
    pub version: String,
    #[serde(default)]
    pub version_numbers: Vec<u32>,
    /// `Server`, on Data Center too.
    pub deployment_type: Option<String>,
}

/// A role at the instance, which has a part of the licence.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Role {
    pub key: String,
    pub name: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    /// Negative where there is no limit.
    number_of_seats: Option<i64>,
    remaining_seats: Option<i64>,
    user_count: Option<i64>,
    #[serde(default)]
    has_unlimited_seats: bool,
}

impl Role {
    /// How many seats there are; `None`: as many as one likes.
    pub(super) fn of(&self) -> Option<u32> {
        self.number_of_seats.filter(|_| !self.has_unlimited_seats).and_then(|seats| u32::try_from(seats).ok())
    }

    /// How many are taken. The two figures differ where the licence is exceeded: then none remains, or fewer.
    pub(super) fn used(&self) -> Option<u32> {
        let left = || Some(self.number_of_seats? - self.remaining_seats?);
        u32::try_from(self.user_count.or_else(left)?).ok()
    }
}

/// The roles: a list, in which the vendor's document sees a single one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Roles {
    List(Vec<Role>),
    One(Role),
}

impl Roles {
    pub(super) fn into_vec(self) -> Vec<Role> {
        match self {
            Self::List(list) => list,
            Self::One(one) => vec![one],
        }
    }
}

/// What the account may do. Everything in it is optional: the vendor's document does not fix its shape.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Permissions {
    #[serde(default)]
    permissions: BTreeMap<String, Permission>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    have_permission: Option<bool>,
}

impl Permissions {
    /// Whether the account has this one, where the answer tells.
    pub(super) fn has(&self, key: &str) -> Option<bool> {
        self.permissions.get(key)?.have_permission
    }
}

/// Jira's error. Its texts are in the language of the account, so that only the names of fields decide anything.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Errors {
    error_messages: Option<Vec<String>>,
    errors: Option<BTreeMap<String, String>>,
}

impl Errors {
    /// Reads an error; `None` if this is not Jira's REST API speaking but a page of the web interface, a proxy, a login.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let errors: Self = serde_json::from_slice(&answer.body).ok()?;
        (errors.error_messages.is_some() || errors.errors.is_some()).then_some(errors)
    }

    /// The messages as Jira wrote them, not fit for a log.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let plain = self.error_messages.iter().flatten().map(String::as_str);
        plain.chain(self.errors.iter().flatten().map(|(_, text)| text.as_str()))
    }

    /// The fields that are complained about.
    pub(super) fn fields(&self) -> Vec<&str> {
        self.errors.iter().flatten().map(|(field, _)| field.as_str()).collect()
    }

    /// Everything it says, in one line fit for a log.
    pub(super) fn words(&self) -> String {
        let plain = self.error_messages.iter().flatten().map(|text| quoted(text));
        let fields = self.errors.iter().flatten().map(|(field, text)| format!("{field}: {}", quoted(text)));
        let words = plain.chain(fields).collect::<Vec<_>>().join("; ");
        if words.is_empty() { "no reason given".to_owned() } else { words }
    }
}
