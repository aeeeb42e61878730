//! The layers of a configuration: one or more files, the later over the earlier, and over them the environment.
//!
//! The `config` crate does the layering, with a format and a source of our own. Its own ones lose the line of every value,
//! fold the names of variables to lower case, so that a job named `Staff` cannot be reached, and guess the type of
//! variables, so that the token `0012345` becomes `12345`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use config::{Config, File, FileStoredFormat, Format, Map, Source, Value, ValueKind};

use super::document::{Document, Flaw};
use super::finding::{ConfigError, Finding, Place, Severity};
use crate::contract::settings::FROM_ENVIRONMENT;
use crate::contract::settings::path::{KeyPath, Step};

/// How the name of a variable begins that overrides a key. `ROSTERD_CONFIG` is none.
pub const PREFIX: &str = "ROSTERD__";

/// A configuration as layered: its values, and where each of them comes from.
#[derive(Clone, Debug)]
pub struct Layers {
    pub(super) root: Value,
    documents: Vec<Document>,
    variables: BTreeMap<KeyPath, String>,
}

impl Layers {
    /// Reads files and lays the variables over them. Of the variables only those that begin with [`PREFIX`] count.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML, a variable that leads nowhere.
    pub fn read(files: &[PathBuf], environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut texts = Vec::new();
        let mut findings = Vec::new();
        for file in files {
            match std::fs::read(file).map(String::from_utf8) {
                Ok(Ok(text)) => texts.push((file.display().to_string(), text)),
                Ok(Err(_)) => findings.push(unreadable(file, "the file is not UTF-8 text", None)),
                Err(error) => findings.push(unreadable(
                    file,
                    &format!("the file cannot be read: {error}"),
                    (error.kind() == std::io::ErrorKind::NotFound).then(|| "`rosterd init` writes one".to_owned()),
                )),
            }
        }
        if !findings.is_empty() {
            return Err(ConfigError { findings });
        }
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Self::from_texts(&texts, environment)
    }

    /// The same from texts that have been read: pairs of a name for messages and the text itself.
    ///
    /// # Errors
    /// As [`Layers::read`].
    pub fn from_texts(texts: &[(&str, &str)], environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let documents = Arc::new(Mutex::new(Vec::new()));
        let found = Arc::new(Mutex::new(Overrides::default()));
        let mut builder = Config::builder();
        for (name, text) in texts {
            let format = Toml { name: (*name).to_owned(), documents: documents.clone() };
            builder = builder.add_source(File::from_str(text, format));
        }
        let environment = Environment { variables: ours(environment), found: found.clone() };
        let built = builder.add_source(environment).build();
        let documents = std::mem::take(&mut *documents.lock().unwrap_or_else(PoisonError::into_inner));
        let overrides = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));

        let mut findings = flaws(&documents);
        findings.extend(overrides.findings);
        let root = match built {
            Ok(config) => config.cache,
            Err(error) => {
                let file = texts.first().map_or_else(String::new, |(name, _)| (*name).to_owned());
                findings.push(unreadable(Path::new(&file), &error.to_string(), None));
                Value::new(None, ValueKind::Nil)
            }
        };
        if findings.is_empty() {
            Ok(Self { root, documents, variables: overrides.variables })
        } else {
            Err(ConfigError { findings })
        }
    }

    /// The name of the first file, for findings about the configuration as a whole.
    fn name(&self) -> String {
        self.documents.first().map_or_else(|| "the configuration".to_owned(), |document| document.name.clone())
    }

    /// Hides a value from every excerpt.
    pub(super) fn hide(&mut self, path: &KeyPath) {
        for document in &mut self.documents {
            document.hide_value_of(path);
        }
    }

    /// Whether a key of this path is given, in a file or a variable.
    pub(super) fn has(&self, path: &KeyPath) -> bool {
        self.get(path).is_some()
    }

    /// The value at a path.
    pub(super) fn get(&self, path: &KeyPath) -> Option<&Value> {
        let mut place = &self.root;
        for step in &path.0 {
            place = match (&place.kind, step) {
                (ValueKind::Table(table), Step::Key(key)) => table.get(key)?,
                (ValueKind::Array(list), Step::Index(index)) => list.get(*index)?,
                _ => return None,
            };
        }
        Some(place)
    }

    /// Where to point for a path: at its value, or at its key if the key is what is wrong. What is not given is looked for
    /// at the nearest table above it.
    pub(super) fn place(&self, path: &KeyPath, at: Part) -> Place {
        let above = |path: &KeyPath| std::iter::successors(Some(path.clone()), KeyPath::parent);
        if let Some(name) = above(path).find_map(|here| self.variables.get(&here)) {
            return Place::Variable { name: name.clone() };
        }
        let mut at = at;
        for here in above(path) {
            for document in self.documents.iter().rev() {
                let Some(spot) = document.spots.get(&here) else { continue };
                let range = if at == Part::Key { &spot.key } else { &spot.value };
                let excerpt = document.excerpt(range);
                return Place::File {
                    file: document.name.clone(),
                    line: excerpt.line,
                    column: excerpt.column,
                    width: excerpt.width,
                    text: excerpt.text,
                };
            }
            at = Part::Key;
        }
        Place::Whole { file: self.name() }
    }
}

/// Which part of an entry to point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

/// The process's variables that override keys, for [`Layers::read`]. A name or value that is not Unicode is taken with
/// replacement characters, so that it is found wrong rather than ignored.
pub fn environment() -> Vec<(String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

fn ours(environment: &[(String, String)]) -> BTreeMap<String, String> {
    environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).cloned().collect()
}

fn unreadable(file: &Path, what: &str, hint: Option<String>) -> Finding {
    let place = Place::Whole { file: file.display().to_string() };
    Finding { severity: Severity::Error, place, key: String::new(), what: what.to_owned(), hint }
}

fn flaws(documents: &[Document]) -> Vec<Finding> {
    let flaw = |document: &Document, flaw: &Flaw| {
        let excerpt = document.excerpt(&flaw.at);
        let place = Place::File {
            file: document.name.clone(),
            line: excerpt.line,
            column: excerpt.column,
            width: excerpt.width,
            text: excerpt.text,
        };
        Finding { severity: Severity::Error, place, key: String::new(), what: flaw.what.clone(), hint: flaw.hint.clone() }
    };
    documents.iter().flat_map(|document| document.flaws.iter().map(move |f| flaw(document, f))).collect()
}

/// TOML that remembers where everything stands.
#[derive(Clone, Debug)]
struct Toml {
    name: String,
    documents: Arc<Mutex<Vec<Document>>>,
}

impl Format for Toml {
    fn parse(&self, _uri: Option<&String>, text: &str) -> Result<Map<String, Value>, Box<dyn std::error::Error + Send + Sync>> {
        let (document, root) = Document::parse(&self.name, text);
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).push(document);
        Ok(root)
    }
}

impl FileStoredFormat for Toml {
    fn file_extensions(&self) -> &'static [&'static str] {
        &["toml"]
    }
}

/// Which keys the environment gave.
#[derive(Debug, Default)]
struct Overrides {
    variables: BTreeMap<KeyPath, String>,
    findings: Vec<Finding>,
}

/// The environment, laid over what is there: a segment of a variable's name finds a key whatever its case.
#[derive(Clone, Debug)]
struct Environment {
    variables: BTreeMap<String, String>,
    found: Arc<Mutex<Overrides>>,
}

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let mut root = Value::new(None, Map::<String, Value>::new());
        self.collect_to(&mut root)?;
        match root.kind {
            ValueKind::Table(table) => Ok(table),
            _ => Ok(Map::new()),
        }
    }

    fn collect_to(&self, root: &mut Value) -> Result<(), config::ConfigError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = Overrides::default();
        for (name, text) in &self.variables {
            let laid = value_of(name, text).and_then(|value| lay(root, name, value));
            match laid {
                Ok(path) => {
                    found.variables.retain(|given, _| !given.is_within(&path));
                    found.variables.insert(path, name.clone());
                }
                Err((what, hint)) => found.findings.push(Finding {
                    severity: Severity::Error,
                    place: Place::Variable { name: name.clone() },
                    key: String::new(),
                    what,
                    hint,
                }),
            }
        }
        Ok(())
    }
}

type Astray = (String, Option<String>);

/// What a variable holds: text as it is, unless it is written as a list or a table.
fn value_of(name: &str, text: &str) -> Result<Value, Astray> {
    let origin = format!("{FROM_ENVIRONMENT}{name}");
    if !text.starts_with(['[', '{']) {
        return Ok(Value::new(Some(&origin), text));
    }
    let (document, mut table) = Document::parse(name, &format!("value = {text}"));
    match (document.flaws.first(), table.remove("value")) {
        (None, Some(value)) if table.is_empty() => Ok(value),
        (flaw, _) => {
            let why = flaw.map_or_else(|| "more than one value".to_owned(), |flaw| flaw.what.clone());
            let hint = r#"a value that begins with [ or { is read as TOML: '["jira", "confluence"]'"#;
            Err((format!("the list or table cannot be read: {why}"), Some(hint.into())))
        }
    }
}

/// Lays a value over what is there, and returns its path.
fn lay(root: &mut Value, name: &str, value: Value) -> Result<KeyPath, Astray> {
    let segments: Vec<&str> = name[PREFIX.len()..].split("__").collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return Err(("an empty part in the name".into(), Some("parts are separated by two underscores".into())));
    }
    let mut place = root;
    let mut path = KeyPath::root();
    for segment in segments {
        if matches!(place.kind, ValueKind::Array(_)) {
            let hint = format!("write the whole list into the variable of {path}: '[…]'");
            return Err((format!("{path} is a list, and its elements cannot be set one by one"), Some(hint)));
        }
        if !matches!(place.kind, ValueKind::Table(_)) {
            *place = Value::new(None, Map::<String, Value>::new());
        }
        let ValueKind::Table(table) = &mut place.kind else { return Err(("it leads nowhere".into(), None)) };
        let key = matching(table, segment)?;
        path = path.key(&key);
        place = table.entry(key).or_insert_with(|| Value::new(None, ValueKind::Nil));
    }
    *place = value;
    Ok(path)
}

/// The key that a segment means: the same, or the only one that differs by case alone, or a new one in lower case.
fn matching(table: &Map<String, Value>, segment: &str) -> Result<String, Astray> {
    if table.contains_key(segment) {
        return Ok(segment.to_owned());
    }
    let alike: BTreeSet<&String> = table.keys().filter(|key| key.to_lowercase() == segment.to_lowercase()).collect();
    let mut alike = alike.into_iter();
    match (alike.next(), alike.next()) {
        (Some(key), None) => Ok(key.clone()),
        (None, _) => Ok(segment.to_lowercase()),
        (Some(first), Some(second)) => {
            let hint = "write the part in the key's own spelling";
            Err((format!("`{segment}` may mean `{first}` or `{second}`"), Some(hint.into())))
        }
    }
}
