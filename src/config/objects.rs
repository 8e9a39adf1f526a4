//! JSON as the schema of the specification means it and Go's decoder takes it, for any model with serde's derives:
//!
//! * what the schema calls an object is an object: serde's derives would also take an array, field by field in the order of
//!   the source, and `"memory": []` would be no limit at all;
//! * `null` for a field is as good as no field. In an array and as the value of a map it is refused where its type refuses it.
//!
//! A thin wrapper around the parser, so that no struct of the model can be forgotten; it costs no pass of its own.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt;

/// A deserializer that keeps the two rules.
#[derive(Debug)]
pub(super) struct Objects<D> {
    inner: D,
    /// The value stands in a field of an object.
    is_field: bool,
}

impl<D> Objects<D> {
    /// For a whole document.
    pub(super) fn document(inner: D) -> Objects<D> {
        Objects { inner, is_field: false }
    }
}

/// Methods for types without parts; behind the arrow what `null` stands for.
macro_rules! scalars {
    ($($method:ident => $visit:ident($empty:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            struct OrNull<V>(V);
            impl<'de, V: Visitor<'de>> Visitor<'de> for OrNull<V> {
                type Value = V::Value;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.expecting(f)
                }
                fn visit_none<E: Error>(self) -> Result<V::Value, E> {
                    self.0.$visit($empty)
                }
                fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
                    inner.$method(self.0)
                }
            }
            if self.is_field { self.inner.deserialize_option(OrNull(visitor)) } else { self.inner.$method(visitor) }
        }
    )*};
}

/// Methods for types that are none of the rules' business.
macro_rules! as_they_are {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    scalars! {
        deserialize_bool => visit_bool(false);
        deserialize_i8 => visit_i64(0);
        deserialize_i16 => visit_i64(0);
        deserialize_i32 => visit_i64(0);
        deserialize_i64 => visit_i64(0);
        deserialize_u8 => visit_u64(0);
        deserialize_u16 => visit_u64(0);
        deserialize_u32 => visit_u64(0);
        deserialize_u64 => visit_u64(0);
        deserialize_f32 => visit_f64(0.0);
        deserialize_f64 => visit_f64(0.0);
        deserialize_str => visit_str("");
        deserialize_string => visit_str("");
    }

    as_they_are! {
        deserialize_any deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Parts { visitor, what: What::Value })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let what = if self.is_field { What::Field } else { What::Value };
        self.inner.deserialize_newtype_struct(name, Parts { visitor, what })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let parts = Parts { visitor, what: What::Array };
        if self.is_field { self.inner.deserialize_option(parts) } else { self.inner.deserialize_seq(parts) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let parts = Parts { visitor, what: What::Map };
        if self.is_field { self.inner.deserialize_option(parts) } else { self.inner.deserialize_map(parts) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let parts = Parts { visitor, what: What::Struct(name, fields) };
        if self.is_field {
            self.inner.deserialize_option(parts)
        } else {
            self.inner.deserialize_struct(name, fields, parts)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple(length, Parts { visitor, what: What::Array })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple_struct(name, length, Parts { visitor, what: What::Array })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, Parts { visitor, what: What::Value })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
enum What {
    Struct(&'static str, &'static [&'static str]),
    Map,
    Array,
    /// An option, a newtype or an enum.
    Value,
    /// The same in a field, where `null` has not been looked for yet.
    Field,
}

/// A visitor that hands wrapped parts to the one inside.
struct Parts<V> {
    visitor: V,
    what: What,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Parts<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        match self.what {
            What::Struct(..) | What::Map => {
                self.visitor.visit_map(MapDeserializer::new(std::iter::empty::<((), ())>()))
            }
            What::Array => self.visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<()>())),
            What::Value | What::Field => self.visitor.visit_none(),
        }
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        match self.what {
            What::Struct(name, fields) => inner.deserialize_struct(name, fields, self),
            What::Map => inner.deserialize_map(self),
            What::Array => inner.deserialize_seq(self),
            What::Value | What::Field => self.visitor.visit_some(Objects::document(inner)),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Objects { inner, is_field: matches!(self.what, What::Field) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        match self.what {
            What::Array => self.visitor.visit_seq(Wrapped { inner, are_fields: false }),
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        match self.what {
            What::Struct(..) => self.visitor.visit_map(Wrapped { inner, are_fields: true }),
            What::Map => self.visitor.visit_map(Wrapped { inner, are_fields: false }),
            _ => self.visitor.visit_map(inner),
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Wrapped { inner, are_fields: false })
    }
}

/// The parts of a value, each wrapped as it comes.
struct Wrapped<A> {
    inner: A,
    are_fields: bool,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Wrapped<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(Part { seed, is_field: self.are_fields })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Wrapped<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(Part { seed, is_field: self.are_fields })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Wrapped<A> {
    type Error = A::Error;
    type Variant = Wrapped<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Wrapped { inner, are_fields: false }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Wrapped<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(Part { seed, is_field: false })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, Parts { visitor, what: What::Array })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Parts { visitor, what: What::Struct("", fields) })
    }
}

/// The seed of one part.
struct Part<T> {
    seed: T,
    is_field: bool,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.seed.deserialize(Objects { inner, is_field: self.is_field })
    }
}
