//! One text of the configuration with the place of every key and value in it, and with the places of what may be a secret,
//! so that a line can be shown to a reader without showing a secret to everybody.

use std::collections::BTreeMap;
use std::ops::Range;

use config::{Map, Value, ValueKind};
use toml::de::{DeInteger, DeTable, DeValue};

use crate::contract::settings::is_secret;
use crate::contract::settings::path::KeyPath;
use crate::http::secret::{is_plainly_a_credential, is_plainly_a_path, is_plainly_a_variable};

/// Where a key and its value stand in a document, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Something that a document's text has wrong by itself.
#[derive(Clone, Debug)]
pub(super) struct Flaw {
    pub(super) at: Range<usize>,
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

/// A text as read.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) spots: BTreeMap<KeyPath, Spot>,
    pub(super) flaws: Vec<Flaw>,
    hidden: Vec<Range<usize>>,
    broken: bool,
}

/// A line to show, with the part to underline, counted in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
    pub(super) text: String,
}

impl Document {
    /// Parses a text. What is wrong in it goes to its flaws; the values are whole only if there are none.
    pub(super) fn parse(name: &str, text: &str) -> (Self, Map<String, Value>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut document = Self { name: name.to_owned(), text: text.to_owned(), ..Self::default() };
        let (table, errors) = DeTable::parse_recoverable(text);
        document.broken = !errors.is_empty();
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            document.flaws.push(Flaw { at, what: error.message().to_owned(), hint: None });
        }
        document.flaws.sort_by_key(|flaw| flaw.at.start);
        document.flaws.dedup_by_key(|flaw| line_of(text, flaw.at.start));
        let mut root = document.table(table.get_ref(), &KeyPath::root());
        document.set_aside_dotted(&mut root);
        (document, root)
    }

    /// The `config` crate reads a top-level key as a path of its own. No key of ours needs quotes, so such a key is unknown.
    fn set_aside_dotted(&mut self, root: &mut Map<String, Value>) {
        let odd: Vec<String> = root.keys().filter(|key| !crate::contract::settings::path::is_bare(key)).cloned().collect();
        for key in odd {
            root.remove(&key);
            let at = self.spots.get(&KeyPath::root().key(&key)).map_or(0..0, |spot| spot.key.clone());
            let hint = "no section needs quotes around its name: write [jobs.staff]";
            self.flaws.push(Flaw { at, what: format!("unknown key {key:?}"), hint: Some(hint.into()) });
        }
    }

    fn table(&mut self, table: &DeTable<'_>, path: &KeyPath) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let below = path.key(key.get_ref());
            self.spots.insert(below.clone(), Spot { key: key.span(), value: value.span() });
            let value = self.value(value.get_ref(), value.span(), &below);
            values.insert(key.get_ref().clone().into_owned(), value);
        }
        values
    }

    fn value(&mut self, value: &DeValue<'_>, at: Range<usize>, path: &KeyPath) -> Value {
        let kind = match value {
            DeValue::String(text) => {
                self.hide(text, at, path);
                ValueKind::String(text.clone().into_owned())
            }
            DeValue::Integer(number) => self.whole_number(number, at),
            DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => ValueKind::Boolean(*value),
            DeValue::Datetime(time) => ValueKind::String(time.to_string()),
            DeValue::Array(list) => {
                let mut values = Vec::new();
                for (index, value) in list.iter().enumerate() {
                    let below = path.index(index);
                    self.spots.insert(below.clone(), Spot { key: value.span(), value: value.span() });
                    values.push(self.value(value.get_ref(), value.span(), &below));
                }
                ValueKind::Array(values)
            }
            DeValue::Table(table) => ValueKind::Table(self.table(table, path)),
        };
        Value::new(None, kind)
    }

    fn whole_number(&mut self, number: &DeInteger<'_>, at: Range<usize>) -> ValueKind {
        if let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) {
            return ValueKind::I64(number);
        }
        if !self.broken {
            self.flaws.push(Flaw { at, what: "the number is too large".into(), hint: None });
        }
        ValueKind::I64(0)
    }

    /// Remembers where a secret stands: the whole text by the name of its key or of one above it, or the password in a URL.
    fn hide(&mut self, text: &str, at: Range<usize>, path: &KeyPath) {
        if is_secret(path) || is_in_secret(path, text) || password_in_url(text).is_some() {
            self.hidden.push(at);
        }
    }

    /// Hides the value of a key from every excerpt, whatever it is called.
    pub(super) fn hide_value_of(&mut self, path: &KeyPath) {
        if let Some(spot) = self.spots.get(path) {
            self.hidden.push(spot.value.clone());
        }
    }

    /// The line on which a range begins, with everything masked that may be a secret.
    pub(super) fn excerpt(&self, at: &Range<usize>) -> Excerpt {
        let start = floor_char(&self.text, at.start);
        let line = line_of(&self.text, start);
        let from = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let end = floor_char(&self.text, at.end.clamp(start, to));
        let shown = |range: Range<usize>| self.masked(range);
        let before = shown(from..start);
        let under = shown(start..end);
        let after = shown(end..to);
        let mut column = before.chars().count() + 1;
        let width = under.trim_end().chars().count().max(1);
        let mut text = format!("{before}{under}{after}");
        if self.broken {
            text = mask_by_look(&text);
            // What is masked is shorter: the mark must not hang beside the line.
            column = column.min(text.chars().count() + 1);
        }
        Excerpt { line, column, width, text: text.trim_end().replace('\t', " ") }
    }

    /// A part of one line, with a mark for each character that belongs to a secret.
    fn masked(&self, range: Range<usize>) -> String {
        let mut shown = String::new();
        let mut masking = false;
        for (offset, character) in self.text[range.clone()].char_indices() {
            let position = range.start + offset;
            let hidden = self.hidden.iter().any(|hidden| hidden.contains(&position));
            if hidden && !masking {
                shown.push_str("\"…\"");
            }
            if !hidden && !character.is_control() || character == '\t' {
                shown.push(character);
            }
            masking = hidden;
        }
        shown
    }
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Whether a text stands somewhere in a credential, and is none of those that say where a secret is or whose it is. Where the
/// name of a variable, a file or a credential is wanted the secret itself may stand.
fn is_in_secret(path: &KeyPath, text: &str) -> bool {
    const OPEN: [&str; 6] = ["username", "client_id", "key_id", "issuer", "audience", "scopes"];
    let open = |key: &str| match key {
        "env" => is_plainly_a_variable(text),
        "file" => is_plainly_a_path(text),
        "credential" => is_plainly_a_credential(text),
        other => OPEN.contains(&other),
    };
    let open = path.last_key().is_some_and(open);
    !open && std::iter::successors(path.parent(), KeyPath::parent).any(|above| is_secret(&above))
}

/// The password in a URL, if there is one.
pub(super) fn password_in_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (authority, _) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
    let by_user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    let by_parameter = rest.split(['?', '&']).filter_map(|part| part.split_once('=').filter(|(key, _)| *key == "password"));
    by_user.into_iter().chain(by_parameter).map(|(_, password)| password).find(|password| !password.is_empty())
}

/// Masks a line of a text that could not be parsed, where nobody can say what is a value: all after the equals sign of a key
/// that sounds like a secret's, and every long run of letters and digits.
fn mask_by_look(line: &str) -> String {
    if let Some((key, _)) = line.split_once('=') {
        let name = key.rsplit(['.', '{', ',']).next().unwrap_or(key).trim().trim_matches('"');
        let secret = sounds_secret_by_name(name) || line.matches('=').count() > 1 && sounds_secret(line);
        if secret {
            return format!("{key}= …");
        }
    }
    let mut shown = String::new();
    for piece in line.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "+/_-=".contains(c))) {
        if piece.len() > 32 { shown.push('…') } else { shown.push_str(piece) }
    }
    if shown.contains("://") && shown.contains('@') { "…".into() } else { shown }
}

fn sounds_secret(line: &str) -> bool {
    line.split('=').any(|part| {
        let name = part.trim().rsplit([' ', '.', '{', ',']).next().unwrap_or(part);
        sounds_secret_by_name(name.trim_matches('"'))
    })
}

/// Whether a key of this name may hold a secret, in whatever table: a webhook's URL is one, and a broken text does not tell
/// whose a URL is.
fn sounds_secret_by_name(name: &str) -> bool {
    name == "url" || is_secret(&KeyPath::root().key(name))
}
