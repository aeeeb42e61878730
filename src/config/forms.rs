//! Values that may be written in two forms: one text or a list of them, a word or a table. And the connector's table, which
//! only its connector understands.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One text or a list of them.
#[derive(Debug, Default)]
pub(super) struct OneOrMany {
    pub(super) texts: Vec<String>,
    /// Whether it was written as a list: then each text has a place of its own.
    pub(super) listed: bool,
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes or a list of them")
            }
            fn visit_unit<E: Error>(self) -> Result<OneOrMany, E> {
                Ok(OneOrMany::default())
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany { texts: vec![text.to_owned()], listed: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                let texts = Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(OneOrMany { texts, listed: true })
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// A word, or a table that says more.
#[derive(Debug)]
pub(super) enum WordOrTable<T> {
    Word(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WordOrTable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = WordOrTable<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes or a table")
            }
            fn visit_unit<E: Error>(self) -> Result<WordOrTable<T>, E> {
                Ok(WordOrTable::Word(String::new()))
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<WordOrTable<T>, E> {
                Ok(WordOrTable::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<WordOrTable<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(table)).map(WordOrTable::Table)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for WordOrTable<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("WordOr{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

/// A connector's table, whatever it holds. Its values are taken from the layers, as they are.
#[derive(Debug)]
pub(super) struct Filled;

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Filled;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with `kind` and what that kind needs")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Filled, A::Error> {
                while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Filled)
            }
        }
        deserializer.deserialize_map(Any)
    }
}

impl JsonSchema for Filled {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "System".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "required": ["kind"] })
    }
}
