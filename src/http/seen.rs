//! Files as they were when they were last read, to tell which have changed since: the configuration, the secrets, authorities.
//!
//! By content, not by time stamp: a ConfigMap or Secret mounted by Kubernetes changes by swapping a link, and a file may be
//! written anew with what was in it. Only hashes are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

/// What is in a file; `None`: it cannot be read.
type Mark = Option<[u8; 32]>;

fn mark(content: Option<&[u8]>) -> Mark {
    content.map(|bytes| Sha256::digest(bytes).into())
}

/// What is in a file now. Most of these files are secrets: no copy is left in memory.
fn read(path: &Path) -> Mark {
    mark(std::fs::read(path).map(Zeroizing::new).ok().as_ref().map(|bytes| bytes.as_slice()))
}

#[derive(Default)]
struct Files {
    marks: BTreeMap<PathBuf, Mark>,
    /// Those that were read since somebody asked.
    fresh: BTreeSet<PathBuf>,
    /// The secrets that were read since somebody asked, wherever they came from, and whatever goes with them.
    credential: Option<Sha256>,
}

/// Files that were read. Clones share what they remember.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Files>>);

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files().marks.keys()).finish()
    }
}

/// The files that have changed, each with what is in it now.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Changed(BTreeMap<PathBuf, Mark>);

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Changed {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which files have.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

impl Seen {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all files: everything is read anew from here on.
    pub fn begin(&self) {
        *self.files() = Files::default();
    }

    /// Remembers a file as it was read; `None`: it could not be.
    pub fn note(&self, path: &Path, content: Option<&[u8]>) {
        self.remember(path, mark(content));
    }

    fn remember(&self, path: &Path, mark: Mark) {
        let mut files = self.files();
        files.marks.insert(path.to_owned(), mark);
        files.fresh.insert(path.to_owned());
    }

    /// The files that were read since this was asked last: those of the system that was built in between.
    pub fn fresh(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.files().fresh)
    }

    /// Notes a secret that was read, or what else a system tells its users apart by: with another user name a password is
    /// another credential.
    pub fn credential(&self, part: &str) {
        let mut files = self.files();
        let hash = files.credential.get_or_insert_with(Sha256::new);
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }

    /// A mark of the credential that was read since this was asked last, for the system of this name; `None` if none was. It
    /// tells one credential from the next and not more: of sixteen bits, so that whoever finds it and tries a list of
    /// passwords on it is left with thousands that fit.
    pub fn mark(&self, system: &str) -> Option<String> {
        let parts = self.files().credential.take()?.finalize();
        let hash = Sha256::new().chain_update("credential").chain_update(parts).chain_update(system).finalize();
        Some(hash.iter().take(2).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Remembers a file that somebody else reads. Before it is read: what changes in between is then noticed once too often
    /// rather than never.
    pub fn look(&self, path: &Path) {
        self.remember(path, read(path));
    }

    /// Reads the files again, and tells which are no longer what they were.
    pub fn changed(&self) -> Changed {
        let before = self.files().marks.clone();
        let other = |(path, was): (PathBuf, Mark)| {
            let now = read(&path);
            (now != was).then_some((path, now))
        };
        Changed(before.into_iter().filter_map(other).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(changed: &Changed) -> Vec<String> {
        changed.files().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    #[test]
    fn another_secret_or_another_user_makes_another_mark_and_the_same_the_same() {
        let mark = |parts: &[&str]| {
            let seen = Seen::default();
            parts.iter().for_each(|part| seen.credential(part));
            let mark = seen.mark("jira");
            assert_eq!(seen.mark("jira"), None, "what was read before is another system's");
            mark
        };
        let one = mark(&["rosterd", "secret"]);
        assert_eq!(one.as_ref().map(String::len), Some(4));
        assert_eq!(one, mark(&["rosterd", "secret"]));
        for other in [&["rosterd", "other"][..], &["somebody", "secret"], &["rosterds", "ecret"], &[]] {
            assert_ne!(one, mark(other), "{other:?}");
        }
    }

    #[test]
    fn a_file_has_changed_when_its_content_has_or_when_it_came_or_went() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let seen = Seen::default();
        for name in ["a", "b"] {
            std::fs::write(path(name), name).expect("written");
        }
        for name in ["a", "b", "c"] {
            seen.look(&path(name));
        }
        std::fs::write(path("a"), "a").expect("written");
        assert!(seen.changed().is_empty(), "the same again is no change");
        std::fs::write(path("a"), "other").expect("written");
        std::fs::remove_file(path("b")).expect("removed");
        std::fs::write(path("c"), "c").expect("written");
        let changed = seen.changed();
        assert_eq!(names(&changed), ["a", "b", "c"]);
        assert_eq!(seen.changed(), changed, "nothing more has happened");
        std::fs::write(path("a"), "another").expect("written");
        assert_ne!(seen.changed(), changed, "the same file has changed further");
        seen.look(&path("a"));
        assert_eq!(names(&seen.changed()), ["b", "c"]);
        seen.begin();
        assert!(seen.changed().is_empty());
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for (version, text) in [("1", "old"), ("2", "new")] {
            std::fs::create_dir(path(version)).expect("a folder");
            std::fs::write(path(version).join("token"), text).expect("written");
        }
        std::os::unix::fs::symlink("1", path("data")).expect("linked");
        std::os::unix::fs::symlink("data/token", path("token")).expect("linked");
        let seen = Seen::default();
        seen.look(&path("token"));
        std::os::unix::fs::symlink("2", path("next")).expect("linked");
        std::fs::rename(path("next"), path("data")).expect("swapped");
        assert_eq!(names(&seen.changed()), ["token"]);
    }

    #[test]
    fn nothing_of_the_content_is_shown() {
        let seen = Seen::default();
        seen.note(Path::new("/run/secrets/okta"), Some(b"hunter2"));
        assert_eq!(format!("{seen:?} {:?}", seen.changed()), r#"{"/run/secrets/okta"} {"/run/secrets/okta"}"#);
    }
}
