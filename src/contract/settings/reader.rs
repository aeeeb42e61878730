//! Reads a layered value as serde wants it, strictly: the deserializer of the `config` crate would take `"5"` for a number
//! and `5` for text, and its errors quote secrets and know no path. Only text from the environment is converted, as it
//! can be nothing but text.
//!
//! A nothing (`ValueKind::Nil`, which TOML cannot write) stands where an earlier round found a mistake, and passes for
//! anything: so the mistakes after it are found too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use config::{Value, ValueKind};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::FROM_ENVIRONMENT;
use super::misfit::{Kind, Misfit};
use super::path::Step;

static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::new(None, ValueKind::Nil));

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a Value);

impl<'a> Reader<'a> {
    fn is_hole(self) -> bool {
        matches!(self.0.kind, ValueKind::Nil)
    }

    /// The text of a value that came from the environment.
    fn environment_text(self) -> Option<&'a str> {
        let text = self.text()?;
        self.0.origin().is_some_and(|origin| origin.starts_with(FROM_ENVIRONMENT)).then_some(text)
    }

    fn text(self) -> Option<&'a str> {
        match &self.0.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The error for a value of another type than the visitor takes.
    fn unfit<'de, V: Visitor<'de>>(self, visitor: &V) -> Misfit {
        let found = match &self.0.kind {
            ValueKind::Nil => Unexpected::Unit,
            ValueKind::Boolean(value) => Unexpected::Bool(*value),
            ValueKind::I64(value) => Unexpected::Signed(*value),
            ValueKind::U64(value) => Unexpected::Unsigned(*value),
            ValueKind::I128(_) | ValueKind::U128(_) => Unexpected::Other("a number that is too large"),
            ValueKind::Float(value) => Unexpected::Float(*value),
            ValueKind::String(value) => Unexpected::Str(value),
            ValueKind::Table(_) => Unexpected::Map,
            ValueKind::Array(_) => Unexpected::Seq,
        };
        Misfit::invalid_type(found, visitor)
    }

    fn whole_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() {
            return visitor.visit_u64(0).map_err(hollow);
        }
        match self.environment_text() {
            Some(text) => match (text.trim().parse::<u64>(), text.trim().parse::<i64>()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (Err(_), Ok(number)) => visitor.visit_i64(number),
                (Err(_), Err(_)) => Err(self.unfit(&visitor)),
            },
            None => self.deserialize_any(visitor),
        }
    }
}

/// Marks an error as caused by a nothing, whatever was made of it.
fn hollow(mut misfit: Misfit) -> Misfit {
    misfit.kind = Kind::Wrong { found: "nothing".into(), wanted: "something".into(), text: false, hollow: true };
    misfit
}

macro_rules! whole_numbers {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.whole_number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.kind {
            ValueKind::Nil => visitor.visit_unit().map_err(hollow),
            ValueKind::Boolean(value) => visitor.visit_bool(*value),
            ValueKind::I64(value) if *value >= 0 => visitor.visit_u64(value.unsigned_abs()),
            ValueKind::I64(value) => visitor.visit_i64(*value),
            ValueKind::U64(value) => visitor.visit_u64(*value),
            ValueKind::I128(value) => visitor.visit_i128(*value),
            ValueKind::U128(value) => visitor.visit_u128(*value),
            ValueKind::Float(value) => visitor.visit_f64(*value),
            ValueKind::String(value) => visitor.visit_str(value),
            ValueKind::Table(table) => visitor.visit_map(Entries::of(table)),
            ValueKind::Array(list) => visitor.visit_seq(Elements { list, next: 0 }),
        }
    }

    whole_numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() {
            return visitor.visit_f64(0.0).map_err(hollow);
        }
        match self.environment_text() {
            Some(text) => match text.trim().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(self.unfit(&visitor)),
            },
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() {
            return visitor.visit_bool(false).map_err(hollow);
        }
        match self.environment_text() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            Some(_) => Err(self.unfit(&visitor)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() { visitor.visit_str("").map_err(hollow) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() {
            visitor.visit_seq(Elements { list: &[], next: 0 }).map_err(hollow)
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() { visitor.visit_seq(Holes(length)) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, length: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_hole() { visitor.visit_map(Entries::empty()).map_err(hollow) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if name == "SecretRef" && self.text().is_some() {
            return Err(Misfit::new(Kind::Secret));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.0.kind {
            ValueKind::Nil => {
                let first: StrDeserializer<'_, Misfit> = words.first().copied().unwrap_or_default().into_deserializer();
                visitor.visit_enum(first).map_err(hollow)
            }
            ValueKind::String(word) => {
                let word: StrDeserializer<'_, Misfit> = word.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            ValueKind::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Entries::of(table))),
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct }
}

impl<'de> IntoDeserializer<'de, Misfit> for Reader<'_> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// A table's entries, in the order of their keys: the map that holds them has none.
struct Entries<'a> {
    entries: std::vec::IntoIter<(&'a String, &'a Value)>,
    current: Option<(&'a String, &'a Value)>,
}

impl<'a> Entries<'a> {
    fn of(table: &'a config::Map<String, Value>) -> Self {
        let ordered: BTreeMap<&String, &Value> = table.iter().collect();
        Self { entries: ordered.into_iter().collect::<Vec<_>>().into_iter(), current: None }
    }
    fn empty() -> Self {
        Self { entries: Vec::new().into_iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Misfit> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, value) = self.current.take().ok_or_else(|| Misfit::custom("a value was asked for before its key"))?;
        seed.deserialize(Reader(value)).map_err(|misfit| misfit.at(Step::Key(key.clone())))
    }
}

/// A list's elements.
struct Elements<'a> {
    list: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let index = self.next;
        let Some(value) = self.list.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(Reader(value)).map(Some).map_err(|misfit| misfit.at(Step::Index(index)))
    }
}

/// So many nothings, for a tuple that was put aside.
struct Holes(usize);

impl<'de> SeqAccess<'de> for Holes {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(left) = self.0.checked_sub(1) else { return Ok(None) };
        self.0 = left;
        seed.deserialize(Reader(&NOTHING)).map(Some)
    }
}
