//! Properties of a document that the model does not have. The specification wants them ignored (config.md, "Extensibility"),
//! but one of them may be a slip of the pen, which only `check` has the time to look for.

use super::objects::Objects;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Error, Value};
use std::cell::RefCell;

/// One property that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The object: `linux.resources.memory`, `mounts[1]`; empty for the document.
    pub place: String,
    /// The property.
    pub name: String,
    /// The known property whose name is nearest, where one is near.
    pub near: Option<&'static str>,
}

/// Every property of `document` that `T` has no field for; none where the document is no `T`.
pub fn properties<T: DeserializeOwned>(document: &[u8]) -> Vec<Unknown> {
    let found = RefCell::new(Vec::new());
    if let Ok(value) = serde_json::from_slice::<Value>(document) {
        let watch = Watch { value: &value, place: String::new(), found: &found };
        // That it is no `T` is said by whoever parsed it first.
        drop(T::deserialize(Objects::document(watch)));
    }
    found.into_inner()
}

/// A value that notes which properties of its objects nobody asks for.
struct Watch<'a> {
    value: &'a Value,
    place: String,
    found: &'a RefCell<Vec<Unknown>>,
}

impl<'a> Watch<'a> {
    fn part(&self, place: String, value: &'a Value) -> Watch<'a> {
        Watch { value, place, found: self.found }
    }

    fn note(&self, name: &str, fields: &[&'static str]) {
        let near = fields.iter().map(|field| (distance(name, field), *field)).min();
        let near = near.filter(|(distance, _)| *distance <= 2).map(|(_, field)| field);
        self.found.borrow_mut().push(Unknown { place: self.place.clone(), name: name.to_owned(), near });
    }
}

impl<'de> Deserializer<'de> for Watch<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(elements) = self.value.as_array() else { return self.deserialize_any(visitor) };
        let elements = elements.iter().enumerate();
        visitor.visit_seq(SeqDeserializer::new(
            elements.map(|(i, value)| self.part(format!("{}[{i}]", self.place), value)),
        ))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(entries) = self.value.as_object() else { return self.deserialize_any(visitor) };
        let dot = if self.place.is_empty() { "" } else { "." };
        let parts =
            entries.iter().map(|(name, value)| (name.as_str(), self.part(format!("{}{dot}{name}", self.place), value)));
        visitor.visit_map(MapDeserializer::new(parts))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let names = self.value.as_object().into_iter().flat_map(serde_json::Map::keys);
        names.filter(|name| !fields.contains(&name.as_str())).for_each(|name| self.note(name, fields));
        self.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Watch<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// How many letters must be added, dropped or replaced to make one name of the other, whatever their case.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((above, before), theirs) in row.iter().skip(1).zip(&row).zip(other.chars()) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(left + 1).min(before + usize::from(theirs != letter)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_property_that_nobody_knows_is_told_with_the_nearest_name() {
        type Told<'a> = &'a [(&'a str, &'a str, Option<&'a str>)];
        let rows: &[(&str, Told<'_>)] = &[
            (include_str!("../../tests/data/every-field.json"), &[]),
            ("[]", &[]),
            (r#"{"hostnam": "a", "x-vendor": {}}"#, &[("", "hostnam", Some("hostname")), ("", "x-vendor", None)]),
            (
                r#"{"linux": {"resources": {"memory": {"limt": 1, "Limit": 1}, "rdma": {"mlx": {"handles": 1}}}}}"#,
                &[
                    ("linux.resources.memory", "Limit", Some("limit")),
                    ("linux.resources.memory", "limt", Some("limit")),
                    ("linux.resources.rdma.mlx", "handles", None),
                ],
            ),
            (r#"{"mounts": [{}, {"optoins": []}]}"#, &[("mounts[1]", "optoins", Some("options"))]),
            (r#"{"annotations": {"what": "ever"}, "process": {"user": null}}"#, &[]),
        ];
        for (document, expected) in rows {
            let found = properties::<Config>(document.as_bytes());
            let found: Vec<_> = found.iter().map(|one| (one.place.as_str(), one.name.as_str(), one.near)).collect();
            assert_eq!(found, *expected, "{document}");
        }
    }
}
