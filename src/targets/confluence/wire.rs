//! What Confluence says, as types: people, groups, pages, errors.
//!
//! Every field that some version leaves out is optional here, and whoever needs it decides what its absence means: absent is
//! never read as "no".

use serde::Deserialize;
use smol_str::SmolStr;

use crate::model::key::TargetKey;
use crate::model::roster::TargetUser;

/// The application's manifest, or its server information: both tell the version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// `confluence`, where told.
    pub(super) type_id: Option<String>,
    /// Such as `9.2.6`.
    pub(super) version: String,
}

/// A person: `known`, `unknown` (the account behind it is gone) or `anonymous`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Person {
    #[serde(rename = "type")]
    kind: Option<SmolStr>,
    /// The user name.
    pub(super) username: Option<SmolStr>,
    /// The stable id.
    pub(super) user_key: Option<SmolStr>,
    /// The full name.
    pub(super) display_name: Option<SmolStr>,
    /// Told if `expand=status` is asked for and understood.
    pub(super) status: Option<SmolStr>,
}

impl Person {
    /// Whether nobody is logged in.
    pub(super) fn is_anonymous(&self) -> bool {
        self.is_kind("anonymous")
    }

    /// Whether this is only the trace of an account that is gone.
    pub(super) fn is_trace(&self) -> bool {
        self.is_kind("unknown")
    }

    fn is_kind(&self, kind: &str) -> bool {
        self.kind.as_deref().is_some_and(|k| k.eq_ignore_ascii_case(kind))
    }

    /// The user as the model has it; `None` if key or name is missing. Confluence tells no e-mail address.
    pub(super) fn user(&self) -> Option<TargetUser> {
        let (active, writable) = self.standing();
        Some(TargetUser {
            key: TargetKey::new(self.user_key.clone()?),
            name: self.username.clone()?,
            email: None,
            display_name: self.display_name.clone(),
            active,
            writable,
        })
    }

    /// Whether the account can be used, and whether it can be written. A status that was not told counts as current; a word
    /// that is not known is left alone.
    fn standing(&self) -> (bool, bool) {
        if self.is_trace() {
            return (false, false);
        }
        // The letter case is not documented, so it is not relied on.
        match self.status.as_deref().unwrap_or("current").to_ascii_lowercase().as_str() {
            "current" | "unlicensed" => (true, true),
            "deactivated" => (false, true),
            "externally_deleted" => (false, false),
            _ => (true, false),
        }
    }
}

/// A figure of the licence.
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    /// The figure.
    pub(super) count: i64,
}

/// A group.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
}

/// A page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    /// What is on it.
    pub(super) results: Vec<T>,
    /// Where it begins.
    pub(super) start: Option<u64>,
    /// How many are on it.
    pub(super) size: Option<u64>,
    /// How many there are in all, in some versions; not positive where it is not known.
    pub(super) total_count: Option<i64>,
    /// Required: a body without links is no page, and must not pass for a last one.
    #[serde(rename = "_links")]
    pub(super) links: Links,
}

impl<T> Page<T> {
    /// How many there are in all, where that is told.
    pub(super) fn total(&self) -> Option<u64> {
        self.total_count.and_then(|total| u64::try_from(total).ok()).filter(|total| *total > 0)
    }
}

/// The links of a page.
#[derive(Debug, Deserialize)]
pub(super) struct Links {
    /// There is one as long as there is a further page. Its host is the configured base URL and not ours, so it is not followed.
    pub(super) next: Option<String>,
}

/// The answer to the creation of a user.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    /// The stable id.
    pub(super) user_key: String,
}

/// The answer to a deletion, which goes on behind it.
#[derive(Debug, Deserialize)]
pub(super) struct Started {
    /// The task's id.
    pub(super) id: String,
}

/// A long task.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    /// 100 at the end.
    pub(super) percentage_complete: u32,
    /// Whether it went well so far.
    #[serde(default)]
    pub(super) successful: bool,
    #[serde(default)]
    messages: Vec<Message>,
}

impl Task {
    /// What it says, in words.
    pub(super) fn message(&self) -> String {
        self.messages.iter().filter_map(Message::text).collect::<Vec<_>>().join("; ")
    }
}

/// Confluence's own error body, by which its 404 is told from that of a proxy or of a path that does not exist.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorBody {
    status_code: u16,
    message: Option<String>,
    reason: Option<String>,
    data: Option<ErrorData>,
}

#[derive(Debug, Deserialize)]
struct ErrorData {
    #[serde(default)]
    errors: Vec<ErrorItem>,
}

#[derive(Debug, Deserialize)]
struct ErrorItem {
    message: Message,
}

#[derive(Debug, Deserialize)]
struct Message {
    key: Option<String>,
    translation: Option<String>,
}

impl Message {
    fn text(&self) -> Option<&str> {
        self.translation.as_deref().or(self.key.as_deref()).filter(|text| !text.trim().is_empty())
    }
}

impl ErrorBody {
    /// Reads a body; `None` if it is not Confluence's error of this status.
    pub(super) fn read(status: u16, body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|error| error.status_code == status)
    }

    /// What it says: the single errors if there are any, else the message.
    pub(super) fn words(&self) -> String {
        let single: Vec<&str> = self.data.iter().flat_map(|data| &data.errors).filter_map(|item| item.message.text()).collect();
        if !single.is_empty() {
            return single.join("; ");
        }
        let told = [&self.message, &self.reason].into_iter().flatten().find(|text| !text.trim().is_empty());
        told.cloned().unwrap_or_default()
    }
}
