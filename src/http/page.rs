//! Pages, read to the last one or not at all.

use reqwest::header::HeaderMap;

use crate::contract::fault::ConnectorError;
use crate::model::key::SystemName;

/// The target of the `Link` header with `rel="next"`, whether the links come as several header lines or as one list, and
/// whatever commas stand inside `<…>`. The first line is often `self`: a reader of one line loses people.
pub fn next_link(_headers: &HeaderMap) -> Option<String> {
    unimplemented!()
}

/// Watches over the cursors of one listing.
#[derive(Debug)]
pub struct Pages {
    system: SystemName,
    doing: String,
    seen: std::collections::BTreeSet<String>,
}

impl Pages {
    /// Begins a listing.
    pub fn new(system: &SystemName, doing: impl Into<String>) -> Self {
        Self { system: system.clone(), doing: doing.into(), seen: std::collections::BTreeSet::new() }
    }

    /// Notes the cursor of the next page.
    ///
    /// # Errors
    /// [`crate::contract::fault::Fault::Incomplete`] if it was used before: the listing would never end, and what was read is not whole.
    pub fn turn(&mut self, cursor: impl Into<String>) -> Result<(), ConnectorError> {
        let _ = (&self.system, &self.doing, self.seen.insert(cursor.into()));
        unimplemented!()
    }
}
