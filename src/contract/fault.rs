//! What can go wrong at a remote system, classified once, where it is born, into what the run should do about it.

use std::fmt;
use std::time::Duration;

use crate::model::key::SystemName;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No answer: name resolution, connection, TLS, time-out, reset. Whether a write took effect is unknown.
    Unreachable,
    /// The system is overloaded, starting or in maintenance (5xx). Whether a write took effect is unknown.
    Unavailable {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// A rate limit. Nothing took effect.
    Limited {
        /// How long until there is room, where the answer tells.
        retry_after: Option<Duration>,
    },
    /// The credential was refused. It must not be tried again: some systems lock the account.
    Refused,
    /// The credential is good, the right is missing.
    Forbidden,
    /// The subject does not exist.
    NotFound,
    /// The system says that it is already so, or that the subject is in a state that does not allow it: read, then decide.
    Conflict,
    /// The system will not take this value, now or later.
    Rejected,
    /// No licence seat is free.
    LicenceFull,
    /// The answer is not what the API promises: HTML instead of JSON, a missing field, a foreign origin.
    Malformed,
    /// A listing that did not come whole: a cursor that repeats, a total that is not met.
    Incomplete,
    /// The system cannot do this (its version or edition lacks it).
    Unsupported,
}

/// What the run should do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Put the subject on the retry queue, not before this delay if one is given.
    RetryLater {
        /// The delay that the system asked for.
        after: Option<Duration>,
    },
    /// Read the subject and plan again: what the plan assumed is not so.
    Replan,
    /// Set this subject aside with its cause; everyone else goes on.
    GiveUp,
    /// Stop working with this system until its configuration changes or a person releases it.
    StopSystem,
}

impl Fault {
    /// What the run should do. The only place where this is decided.
    pub fn disposition(&self) -> Disposition {
        match self {
            Fault::Unreachable => Disposition::RetryLater { after: None },
            Fault::Unavailable { retry_after } | Fault::Limited { retry_after } => {
                Disposition::RetryLater { after: *retry_after }
            }
            Fault::Refused => Disposition::StopSystem,
            Fault::NotFound | Fault::Conflict | Fault::Incomplete => Disposition::Replan,
            Fault::Forbidden | Fault::Rejected | Fault::LicenceFull | Fault::Malformed | Fault::Unsupported => {
                Disposition::GiveUp
            }
        }
    }

    /// The words of those of which [`Fault::effect_unknown`] is true.
    pub const UNKNOWN_EFFECTS: [&str; 3] = ["unreachable", "unavailable", "malformed"];

    /// Whether a write that met this fault may have taken effect all the same.
    pub fn effect_unknown(&self) -> bool {
        Self::UNKNOWN_EFFECTS.contains(&self.word())
    }

    /// The word that logs, metrics and JSON use.
    pub fn word(&self) -> &'static str {
        match self {
            Fault::Unreachable => "unreachable",
            Fault::Unavailable { .. } => "unavailable",
            Fault::Limited { .. } => "limited",
            Fault::Refused => "refused",
            Fault::Forbidden => "forbidden",
            Fault::NotFound => "not_found",
            Fault::Conflict => "conflict",
            Fault::Rejected => "rejected",
            Fault::LicenceFull => "licence_full",
            Fault::Malformed => "malformed",
            Fault::Incomplete => "incomplete",
            Fault::Unsupported => "unsupported",
        }
    }
}

/// A request or a reading that failed: who, doing what, what happened, why, and what to do next. Its text names subjects
/// by key or user name only, and holds no secret, no e-mail address and no body of an answer beyond the vendor's own
/// error code and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorError {
    /// The system.
    pub system: SystemName,
    /// What was being done, so that "could not …" reads well: `list the members of group "eng"`.
    pub doing: String,
    /// What happened.
    pub fault: Fault,
    /// The cause in words, for a person: status, vendor's code and message, or the transport's error.
    pub why: String,
    /// What the reader can do about it.
    pub hint: Option<Box<str>>,
    /// What is rarely known of it. Boxed, since every call that can fail carries room for it.
    pub detail: Option<Box<Detail>>,
}

/// What is rarely known of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// What a call that is several had done before it failed, and is done all the same: the groups that a deactivation had
    /// taken the user out of.
    pub left_groups: Vec<String>,
    /// The system's own id of the request that failed, where its answer told one: what its administrator finds it by. Not in
    /// the text, since the same failure of a hundred users is one message.
    pub request: Option<Box<str>>,
    /// Whether a source answered, and showed no user or no group at all: what a missing right looks like.
    pub shows_nobody: bool,
}

impl ConnectorError {
    /// An error without a hint.
    pub fn new(system: &SystemName, doing: impl Into<String>, fault: Fault, why: impl Into<String>) -> Self {
        Self { system: system.clone(), doing: doing.into(), fault, why: why.into(), hint: None, detail: None }
    }
    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// The same of a source that answered, and showed no user or no group at all.
    #[must_use]
    pub fn showing_nobody(mut self) -> Self {
        self.detail.get_or_insert_default().shows_nobody = true;
        self
    }
    /// Whether a source answered, and showed no user or no group at all.
    pub fn shows_nobody(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.shows_nobody)
    }
    /// The same with the system's own id of the request that failed.
    #[must_use]
    pub fn request(mut self, request: Option<Box<str>>) -> Self {
        if request.is_some() {
            self.detail.get_or_insert_default().request = request;
        }
        self
    }
    /// The same with the groups that a user was taken out of before it.
    #[must_use]
    pub fn having_left(mut self, groups: Vec<String>) -> Self {
        if !groups.is_empty() {
            self.detail.get_or_insert_default().left_groups = groups;
        }
        self
    }
    /// The groups that a user was taken out of before it.
    pub fn left_groups(&self) -> &[String] {
        self.detail.as_ref().map_or(&[], |detail| &detail.left_groups)
    }
    /// The system's own id of the request that failed, where it is known.
    pub fn request_id(&self) -> Option<&str> {
        self.detail.as_ref()?.request.as_deref()
    }
}

impl fmt::Display for ConnectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not {}: {}", self.system, self.doing, self.why)
    }
}

impl std::error::Error for ConnectorError {}
