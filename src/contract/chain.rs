//! The chain: by it the journal shows that what it tells was not changed afterwards.
//!
//! Each write to the record appends an entry with a hash of what was written and of the entry before. Whoever changes, deletes
//! or slips in a record by another hand than rosterd's breaks the chain at that place, and a check finds it. Who can write the
//! store can also compute the whole chain anew; that shows against a head that was kept elsewhere, and each run logs one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::journal::IntentId;
use crate::model::key::RunId;

/// The last entry of the chain: it stands for everything before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Head {
    /// The entry's number, ascending by one.
    pub entry: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// What a check of the whole chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Entries that were checked.
    pub entries: u64,
    /// When the first and the last of them were written, by rosterd's clock; `None` without any.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The end of the chain.
    pub head: Head,
    /// Where the chain begins.
    pub beginning: Beginning,
    /// For a hash that was asked for: the entry that has it, if one does. What came up to that entry is as it was then.
    pub held: Option<Option<Head>>,
    /// Whatever is wrong, in the order of the chain; the first so many.
    pub broken: Vec<Broken>,
    /// How many more were found.
    pub more: u64,
}

impl Verification {
    /// Whether nothing is wrong, and the hash that was asked for is in the chain.
    pub fn holds(&self) -> bool {
        self.broken.is_empty() && self.held != Some(None)
    }
}

/// What lies before the first entry that is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "before", rename_all = "snake_case")]
pub enum Beginning {
    /// Nothing: the chain began with the store.
    Nothing,
    /// Records of a version that kept no chain: nothing is known of them.
    Unchained {
        /// How many changes are still there of those.
        changes: u64,
        /// And how many runs.
        runs: u64,
    },
    /// Entries whose records are past their retention.
    Pruned {
        /// The last of them.
        entry: u64,
    },
}

/// A place where record and chain disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The entry, where it is about one.
    pub entry: Option<u64>,
    /// When that was written.
    pub at: Option<DateTime<Utc>>,
    /// The run, where it is about one.
    pub run: Option<RunId>,
    /// The change, where it is about one.
    pub change: Option<IntentId>,
    /// In which way.
    pub wrong: Wrong,
    /// What it is, for a person.
    pub what: String,
}

/// In which way record and chain disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// It is not as it was written.
    Changed,
    /// It was written and is not there.
    Missing,
    /// It is there and was never written.
    Inserted,
}

impl Wrong {
    /// The word that tables use.
    pub fn word(self) -> &'static str {
        match self {
            Wrong::Changed => "changed",
            Wrong::Missing => "missing",
            Wrong::Inserted => "inserted",
        }
    }
}
