//! Sources and targets: their tables are handed to the kind that understands them, which says what is wrong in its own keys.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::names;
use super::scribe::Scribe;
use crate::contract::settings::path::KeyPath;
use crate::contract::settings::{Settings, SettingsError, is_secret, near};
use crate::model::key::SystemName;

/// A configured source or target.
#[derive(Clone, Debug)]
pub struct System {
    /// The word of its kind; there is such a kind.
    pub kind: String,
    /// The rest of its table, for the kind to build from.
    pub settings: Settings,
}

/// Which of the two registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Sources,
    Targets,
}

impl Side {
    fn key(self) -> &'static str {
        match self {
            Side::Sources => "sources",
            Side::Targets => "targets",
        }
    }

    fn kinds(self, scribe: &Scribe<'_>) -> Vec<&'static str> {
        match self {
            Side::Sources => scribe.checks.registry.sources.iter().map(|row| row.kind).collect(),
            Side::Targets => scribe.checks.registry.targets.iter().map(|row| row.kind).collect(),
        }
    }

    /// Builds the connector to see whether it can be built. `None`: there is no such kind.
    fn build(self, scribe: &Scribe<'_>, kind: &str, settings: &Settings) -> Option<Result<(), SettingsError>> {
        let checks = scribe.checks;
        match self {
            Side::Sources => {
                let row = checks.registry.sources.iter().find(|row| row.kind == kind)?;
                Some((row.build)(settings, checks.kit).map(drop))
            }
            Side::Targets => {
                let row = checks.registry.targets.iter().find(|row| row.kind == kind)?;
                Some((row.build)(settings, checks.kit).map(drop))
            }
        }
    }
}

/// Checks the tables of one side.
pub(super) fn check(scribe: &mut Scribe<'_>, side: Side, names: &BTreeSet<String>) -> BTreeMap<SystemName, System> {
    let path = KeyPath::root().key(side.key());
    let mut systems = BTreeMap::new();
    for name in names {
        let at = path.key(name);
        names::given_name(scribe, &at, name);
        if let Some(system) = check_one(scribe, side, &at, name) {
            systems.insert(SystemName::from(name.as_str()), system);
        }
    }
    systems
}

/// One name for a source and a target would mix their counters and messages.
pub(super) fn check_names(scribe: &mut Scribe<'_>, sources: &BTreeSet<String>, targets: &BTreeSet<String>) {
    for name in sources.intersection(targets) {
        let what = format!("`{name}` is the name of a source and of a target");
        let hint = "give one of them another name".to_owned();
        scribe.error_at_key(&KeyPath::root().key("targets").key(name), what, hint);
    }
}

fn check_one(scribe: &mut Scribe<'_>, side: Side, path: &KeyPath, name: &str) -> Option<System> {
    let ValueKind::Table(mut table) = scribe.layers.get(path)?.kind.clone() else { return None };
    for secret in inline_secrets(&table, path) {
        scribe.inline_secret(&secret);
    }
    let kind = check_kind(scribe, side, path, table.remove("kind"))?;
    let settings = Settings { name: SystemName::from(name), value: Value::new(None, ValueKind::Table(table)) };
    if let Err(error) = side.build(scribe, &kind, &settings)? {
        scribe.settings(path, error.0);
    }
    Some(System { kind, settings })
}

fn check_kind(scribe: &mut Scribe<'_>, side: Side, path: &KeyPath, kind: Option<Value>) -> Option<String> {
    let at = path.key("kind");
    let kinds = side.kinds(scribe);
    let all = format!("there are: {}", kinds.join(", "));
    match kind.map(|value| value.kind) {
        None => {
            scribe.error(&at, "missing key `kind`", all);
            None
        }
        Some(ValueKind::String(kind)) if kinds.contains(&kind.as_str()) => Some(kind),
        Some(ValueKind::String(kind)) => {
            let hint = match near::nearest(&kind, kinds) {
                Some(near) => format!("did you mean `{near}`? {all}"),
                None => all,
            };
            scribe.error(&at, format!("there is no kind {kind:?}"), hint);
            None
        }
        Some(_) => {
            scribe.error(&at, "expected text in quotes", all);
            None
        }
    }
}

/// The paths of texts that are secrets by their names.
fn inline_secrets(table: &config::Map<String, Value>, path: &KeyPath) -> Vec<KeyPath> {
    let ordered: BTreeMap<&String, &Value> = table.iter().collect();
    let mut found = Vec::new();
    for (key, value) in ordered {
        find_secrets(value, &path.key(key), &mut found);
    }
    found
}

fn find_secrets(value: &Value, path: &KeyPath, found: &mut Vec<KeyPath>) {
    match &value.kind {
        ValueKind::Table(table) => found.extend(inline_secrets(table, path)),
        ValueKind::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| find_secrets(value, &path.index(index), found));
        }
        ValueKind::String(_) if is_secret(path) => found.push(path.clone()),
        ValueKind::String(_)
        | ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => {}
    }
}
