//! A value that does not fit what is wanted of it: serde's error, kept in parts until it is put into words. Kept in parts so
//! that advice can be given (the nearest key, the allowed words) and so that a secret is never quoted.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::path::{KeyPath, Step};
use super::{SettingsFinding, THREE_WAYS, near};

/// What is said of a secret that stands in the configuration itself. Whoever shows the line of such a finding masks it.
pub const INLINE_SECRET: &str = "a secret must not stand in the configuration itself";

/// How text is called that a file must quote.
const TEXT: &str = "text in quotes";

/// What does not fit, and where. The path is held in reverse while the error rises.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) steps: Vec<Step>,
    pub(super) kind: Kind,
}

/// In which way.
#[derive(Debug)]
pub(super) enum Kind {
    UnknownKey { key: String, allowed: &'static [&'static str] },
    UnknownWord { word: String, allowed: &'static [&'static str] },
    Missing { key: &'static str },
    Wrong { found: String, wanted: String, text: bool, hollow: bool },
    Secret,
    Other(String),
}

impl Misfit {
    pub(super) fn new(kind: Kind) -> Self {
        Self { steps: Vec::new(), kind }
    }

    pub(super) fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The path of the value that does not fit, or of the table whose key is unknown or missing.
    pub(super) fn path(&self) -> KeyPath {
        KeyPath(self.steps.iter().rev().cloned().collect())
    }

    /// The key that was most likely meant by an unknown one: it is not missing, it is mistyped.
    pub(super) fn meant(&self) -> Option<KeyPath> {
        let Kind::UnknownKey { key, allowed } = &self.kind else { return None };
        near::nearest(key, allowed.iter().copied()).map(|near| self.path().key(near))
    }

    /// Puts it into words for a reader.
    pub(super) fn finding(&self) -> SettingsFinding {
        let path = self.path();
        let (path, what, hint) = match &self.kind {
            Kind::UnknownKey { key, allowed } => {
                let hint = near::advise(key, allowed.iter().copied());
                (path.key(key), format!("unknown key `{key}`"), hint.or_else(|| Some("take it out".into())))
            }
            Kind::UnknownWord { .. } | Kind::Wrong { text: true, .. } if is_secret(&path) => {
                (path, INLINE_SECRET.into(), Some(THREE_WAYS.into()))
            }
            Kind::UnknownWord { word, allowed } => (path, unknown_word(word, allowed), one_of(word, allowed)),
            Kind::Missing { key } => (path.key(key), format!("missing key `{key}`"), None),
            Kind::Secret => (path, INLINE_SECRET.into(), Some(THREE_WAYS.into())),
            Kind::Wrong { found, wanted, .. } => {
                let bare = wanted == TEXT && !found.starts_with("a ");
                (path, format!("expected {wanted}, found {found}"), bare.then(|| "put quotes around it".into()))
            }
            Kind::Other(what) => (path, what.clone(), None),
        };
        SettingsFinding { key: path.to_string(), what, hint }
    }
}

fn unknown_word(word: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() { format!("nothing is allowed here, found `{word}`") } else { format!("unknown word `{word}`") }
}

fn one_of(word: &str, allowed: &[&'static str]) -> Option<String> {
    let all = format!("allowed here: {}", allowed.join(", "));
    Some(match near::nearest(word, allowed.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None if allowed.is_empty() => return None,
        None => all,
    })
}

/// Whether a value at this path, if it is text, is a secret by its name. A URL of tokens or the id of a key is none; text
/// in the place of a whole `auth` table is most likely the secret itself. Of the URLs those of webhooks are secrets.
pub fn is_secret(path: &KeyPath) -> bool {
    const ENDINGS: [&str; 7] = ["token", "password", "passwd", "secret", "private_key", "passphrase", "api_key"];
    let Some(key) = path.last_key() else { return false };
    let key = key.to_lowercase().replace('-', "_");
    let webhook = key == "url" && matches!(path.0.first(), Some(Step::Key(section)) if section == "notify");
    webhook || key == "auth" || key == "oauth" || ENDINGS.iter().any(|ending| key.ends_with(ending))
}

impl Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Other(message.to_string()))
    }
    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(Kind::Wrong {
            text: matches!(found, Unexpected::Str(_)),
            hollow: matches!(found, Unexpected::Unit | Unexpected::Option),
            found: found_words(found),
            wanted: wanted_words(&wanted.to_string()),
        })
    }
    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }
    fn invalid_length(length: usize, wanted: &dyn Expected) -> Self {
        Self::new(Kind::Other(format!("expected {}, found {length} of them", wanted_words(&wanted.to_string()))))
    }
    fn unknown_variant(word: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownWord { word: word.to_owned(), allowed })
    }
    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownKey { key: key.to_owned(), allowed })
    }
    fn missing_field(key: &'static str) -> Self {
        Self::new(Kind::Missing { key })
    }
    fn duplicate_field(key: &'static str) -> Self {
        Self::new(Kind::Other(format!("`{key}` is given twice, under two of its names")))
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.finding();
        write!(f, "{}: {}", finding.key, finding.what)
    }
}

impl std::error::Error for Misfit {}

/// What was found, in the words of a configuration file rather than serde's.
fn found_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(value) => format!("number {value}"),
        Unexpected::Signed(value) => format!("number {value}"),
        Unexpected::Float(value) => format!("number {value:?}"),
        Unexpected::Char(value) => format!("text {value:?}"),
        Unexpected::Str(value) => format!("text {value:?}"),
        Unexpected::Bytes(_) => "bytes".into(),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map | Unexpected::NewtypeStruct => "a table".into(),
        Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant => "a variant".into(),
        Unexpected::Other(other) => other.into(),
    }
}

/// What was wanted, likewise.
fn wanted_words(wanted: &str) -> String {
    match wanted {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" | "u128" => "a whole number, not negative".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "str" | "string" | "path string" => TEXT.into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other if other.starts_with("enum ") || other == "variant identifier" => "a word".into(),
        other if other.contains("untagged enum") => "another form".into(),
        other => other.into(),
    }
}
