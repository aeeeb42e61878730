//! Globs over names of users and groups. They ignore case, as every target does when it compares names; `*` also spans
//! dots, dashes and slashes, since a name is no path.

use globset::{GlobBuilder, GlobMatcher};

use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::model::key::fold;

/// One glob: a name, or a pattern with `*`, `?`, `[a-z]` and `{one,other}`.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    matcher: GlobMatcher,
}

impl Glob {
    /// Compiles a glob.
    ///
    /// # Errors
    /// Why it does not compile, for a person.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the glob is empty and matches nothing".into());
        }
        let folded = fold(text);
        let built = GlobBuilder::new(&folded).literal_separator(false).backslash_escape(true).build();
        let glob = built.map_err(|error| format!("{text:?} is not a glob: {}", error.kind()))?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    /// The glob as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a name matches, whatever its case.
    pub fn is_match(&self, name: &str) -> bool {
        self.matcher.is_match(fold(name))
    }
}

/// Globs of which any may match.
#[derive(Clone, Debug, Default)]
pub struct Globs(pub Vec<Glob>);

impl Globs {
    /// The glob that matches everything.
    pub fn all() -> Self {
        Self(Glob::new("*").into_iter().collect())
    }

    /// Whether any of them matches. None matches if there are none.
    pub fn is_match(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.is_match(name))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Compiles the globs of a list. Those that do not compile are found and left out.
pub(super) fn check(scribe: &mut Scribe<'_>, path: &KeyPath, texts: &[String]) -> Globs {
    let mut globs = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match Glob::new(text) {
            Ok(glob) => globs.push(glob),
            Err(why) => scribe.error(&path.index(index), why, r"a literal [ or { is written \[ or \{".to_owned()),
        }
    }
    Globs(globs)
}
