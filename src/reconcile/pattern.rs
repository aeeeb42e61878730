//! Sets of names by glob, without regard to case, since all targets compare names so.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::key::fold;

/// Names that match any of some globs.
#[derive(Clone, Debug)]
pub struct NameSet {
    set: GlobSet,
    globs: Vec<String>,
}

impl NameSet {
    /// No name.
    pub fn none() -> Self {
        Self { set: GlobSet::empty(), globs: Vec::new() }
    }

    /// The names that match any of the globs. `*` spans any characters, slashes included: names are not paths.
    ///
    /// # Errors
    /// The position of the first glob that does not parse, and why.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, (usize, String)> {
        let mut set = GlobSetBuilder::new();
        for (at, glob) in globs.iter().enumerate() {
            let built = GlobBuilder::new(&fold(glob.as_ref())).literal_separator(false).build();
            set.add(built.map_err(|e| (at, e.kind().to_string()))?);
        }
        let set = set.build().map_err(|e| (0, e.to_string()))?;
        Ok(Self { set, globs: globs.iter().map(|g| g.as_ref().to_owned()).collect() })
    }

    /// Whether the name matches.
    pub fn matches(&self, name: &str) -> bool {
        !self.globs.is_empty() && self.set.is_match(fold(name))
    }

    /// Whether no name can match.
    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// The globs as given.
    pub fn globs(&self) -> &[String] {
        &self.globs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_without_regard_to_case_and_across_slashes() {
        let set = NameSet::new(&["Eng-*", "a?c"]).expect("valid");
        assert!(set.matches("eng-/core"));
        assert!(set.matches("ABC"));
        assert!(!set.matches("sales"));
        assert!(!NameSet::none().matches(""));
        assert!(NameSet::new(&["ok", "a[b"]).is_err_and(|(at, _)| at == 1));
    }
}
