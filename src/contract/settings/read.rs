//! Reads a table and finds everything that is wrong in it, although serde stops at the first mistake: what is found is put
//! aside (an unknown key is taken out, a wrong or missing value becomes a nothing that passes for anything), and the table
//! is read again, until it passes. Mistakes that only follow from what was put aside are not reported.

use config::{Value, ValueKind};
use serde::de::DeserializeOwned;

use super::SettingsFinding;
use super::misfit::{Kind, Misfit};
use super::path::{KeyPath, Step};
use super::reader::Reader;

/// The most findings of one table. Whoever has more has the wrong file.
const MOST: usize = 200;

/// What came of reading a table.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value, with empty stand-ins at [`Reading::holes`]; `None` if no stand-in would do.
    pub value: Option<T>,
    /// Everything that is wrong.
    pub findings: Vec<SettingsFinding>,
    /// The paths whose values are stand-ins: what follows from them is not the reader's mistake.
    pub holes: Vec<KeyPath>,
}

/// Reads a table as `T`.
pub fn read<T: DeserializeOwned>(table: &Value) -> Reading<T> {
    let mut table = table.clone();
    let mut reading = Reading { value: None, findings: Vec::new(), holes: Vec::new() };
    let mut mistyped = Vec::new();
    for _ in 0..MOST {
        let misfit = match T::deserialize(Reader(&table)) {
            Ok(value) => {
                reading.value = Some(value);
                return reading;
            }
            Err(misfit) => misfit,
        };
        if !follows(&misfit, &reading.holes, &mistyped) {
            reading.findings.push(misfit.finding());
        }
        mistyped.extend(misfit.meant());
        if !put_aside(&mut table, &misfit, &mut reading.holes) {
            return reading;
        }
    }
    reading
}

/// Whether a mistake only follows from what was put aside before.
fn follows(misfit: &Misfit, holes: &[KeyPath], mistyped: &[KeyPath]) -> bool {
    let path = misfit.path();
    if let Kind::Missing { key } = &misfit.kind
        && mistyped.contains(&path.key(key))
    {
        return true;
    }
    let hollow = matches!(misfit.kind, Kind::Wrong { hollow: true, .. });
    hollow || holes.iter().any(|hole| path.is_within(hole))
}

/// Puts aside what does not fit. False if there is nothing left to try.
fn put_aside(table: &mut Value, misfit: &Misfit, holes: &mut Vec<KeyPath>) -> bool {
    let path = misfit.path();
    match &misfit.kind {
        Kind::UnknownKey { key, .. } => remove(table, &path.key(key)) || make_hole(table, path, holes),
        Kind::Missing { key } => make_hole(table, path.key(key), holes),
        Kind::UnknownWord { .. } | Kind::Wrong { .. } | Kind::Secret | Kind::Other(_) => {
            make_hole(table, path.clone(), holes) || remove(table, &path)
        }
    }
}

/// Makes the value at a path a nothing. False if it is one already, or if there is no such place.
fn make_hole(table: &mut Value, path: KeyPath, holes: &mut Vec<KeyPath>) -> bool {
    let Some((parent, last)) = split(table, &path) else { return false };
    let place = match (&mut parent.kind, last) {
        (ValueKind::Table(entries), Step::Key(key)) => {
            entries.entry(key.clone()).or_insert_with(|| Value::new(None, ValueKind::Boolean(false)))
        }
        (ValueKind::Array(list), Step::Index(index)) => match list.get_mut(*index) {
            Some(place) => place,
            None => return false,
        },
        _ => return false,
    };
    if matches!(place.kind, ValueKind::Nil) {
        return false;
    }
    *place = Value::new(None, ValueKind::Nil);
    holes.push(path);
    true
}

/// Takes a key out. False if it is not there.
fn remove(table: &mut Value, path: &KeyPath) -> bool {
    let Some((parent, Step::Key(key))) = split(table, path) else { return false };
    match &mut parent.kind {
        ValueKind::Table(entries) => entries.remove(key).is_some(),
        _ => false,
    }
}

/// The value that holds the last step of a path, and that step.
fn split<'v, 'p>(table: &'v mut Value, path: &'p KeyPath) -> Option<(&'v mut Value, &'p Step)> {
    let (last, above) = path.0.split_last()?;
    let mut place = table;
    for step in above {
        place = match (&mut place.kind, step) {
            (ValueKind::Table(entries), Step::Key(key)) => entries.get_mut(key)?,
            (ValueKind::Array(list), Step::Index(index)) => list.get_mut(*index)?,
            _ => return None,
        };
    }
    Some((place, last))
}
