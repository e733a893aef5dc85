//! The terms of an inverted index of events. With it not every event has to be compared with every
//! filter.
//!
//! Law: if a filter matches an event, the filter and the event have a term in common.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Containment, Filter, Item, NecessaryKey, Node, Types};
use crate::Event;
use crate::json::Decimal;

/// The entries of the index that may have events which a filter matches.
pub(crate) enum IndexLookup {
    /// All events.
    FullScan,
    /// The events with one of these terms.
    Terms(Vec<u64>),
}

/// The source of a term, which is its hash: the event type, or a value at the top level of the
/// payload.
#[derive(Hash)]
enum IndexKey<'a> {
    /// Any array.
    Array(&'a str),
    /// A scalar in an array.
    Element(&'a str, Scalar<'a>),
    /// An array with so many scalars that they have no terms.
    LongArray(&'a str),
    /// Any object.
    Object(&'a str),
    Scalar(&'a str, Scalar<'a>),
    Type(&'a str),
}

#[derive(Hash)]
enum Scalar<'a> {
    Bool(bool),
    Null,
    Number(Cow<'a, Decimal>),
    String(Cow<'a, str>),
}

impl Filter {
    /// Returns the entries of the index that may have events which the filter matches.
    pub(crate) fn lookup(&self, hasher: &impl BuildHasher) -> IndexLookup {
        let mut terms = Vec::new();
        for item in self.items() {
            if !item.add_terms(hasher, &mut terms) {
                return IndexLookup::FullScan;
            }
        }
        terms.sort_unstable();
        terms.dedup();
        IndexLookup::Terms(terms)
    }
}

impl Item {
    /// Adds the terms of the item. Returns `false` if it may match any event.
    fn add_terms(&self, hasher: &impl BuildHasher, terms: &mut Vec<u64>) -> bool {
        // Payloads are more selective than types.
        if !self.containments().is_empty() {
            let parts = self.containments().iter().zip(self.lookup_values());
            terms.extend(parts.flat_map(|(one, value)| one.terms(value, hasher)).flatten());
            return true;
        }
        match self.types() {
            Types::Any => false,
            Types::Of(types) => {
                terms.extend(types.iter().map(|one| hasher.hash_one(IndexKey::Type(one))));
                true
            }
        }
    }
}

impl Containment {
    /// Returns the terms of the lookup value, or the term of any array or object if there is none.
    fn terms(
        &self,
        lookup_value: Option<(NecessaryKey<'_>, &Node)>,
        hasher: &impl BuildHasher,
    ) -> [Option<u64>; 2] {
        let terms = match lookup_value {
            Some((NecessaryKey::Field(key), node)) => {
                [Scalar::of(node).map(|scalar| IndexKey::Scalar(key, scalar)), None]
            }
            Some((NecessaryKey::Element(key), node)) => {
                let element = Scalar::of(node).map(|scalar| IndexKey::Element(key, scalar));
                [element, Some(IndexKey::LongArray(key))]
            }
            _ => {
                let container = self.fields().next().map(|(key, node)| match node {
                    Node::Array(_) => IndexKey::Array(key),
                    _ => IndexKey::Object(key),
                });
                [container, None]
            }
        };
        terms.map(|term| term.map(|term| hasher.hash_one(term)))
    }
}

impl<'a> Scalar<'a> {
    fn of(node: &'a Node) -> Option<Self> {
        match node {
            Node::Array(_) | Node::Object(_) => None,
            Node::Bool(value) => Some(Self::Bool(*value)),
            Node::Null => Some(Self::Null),
            Node::Number(number) => Some(Self::Number(Cow::Borrowed(number))),
            Node::String(text) => Some(Self::String(Cow::Borrowed(text))),
        }
    }

    /// Decodes a JSON scalar. Returns `None` for other values.
    fn decode(value: &'a str) -> Option<Self> {
        match value.as_bytes().first()? {
            b'[' | b'{' => None,
            b'"' => {
                let Text(text) = serde_json::from_str(value).ok()?;
                Some(Self::String(text))
            }
            b't' => Some(Self::Bool(true)),
            b'f' => Some(Self::Bool(false)),
            b'n' => Some(Self::Null),
            _ => Some(Self::Number(Cow::Owned(Decimal::parse(value)?))),
        }
    }
}

impl Event {
    /// Returns the terms of the event. Returns `None` if it has too many for the index.
    pub(crate) fn terms(&self, hasher: &impl BuildHasher) -> Option<Vec<u64>> {
        let mut terms = vec![hasher.hash_one(IndexKey::Type(self.event_type()))];
        let mut json = serde_json::Deserializer::from_str(self.payload_json());
        let fields = Fields { hasher, terms: &mut terms };
        json.deserialize_map(fields).ok()?;
        (terms.len() <= MAX_TERMS).then_some(terms)
    }
}

/// A visitor that adds the terms of a payload's fields. Of equal keys only the last one counts. The
/// terms of the others only cause needless comparisons.
struct Fields<'a, S> {
    hasher: &'a S,
    terms: &'a mut Vec<u64>,
}

impl<'de, S: BuildHasher> Visitor<'de> for Fields<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(key), value)) = map.next_entry::<Text<'_>, &RawValue>()? {
            add_terms_of(&key, value.get(), self.hasher, self.terms);
        }
        Ok(())
    }
}

/// A JSON string, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Adds the terms of the value under a key.
fn add_terms_of(key: &str, value: &str, hasher: &impl BuildHasher, terms: &mut Vec<u64>) {
    match value.as_bytes().first() {
        Some(b'[') => {
            terms.push(hasher.hash_one(IndexKey::Array(key)));
            let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(value) else { return };
            let scalars = values.iter().filter_map(|value| Scalar::decode(value.get()));
            let mut elements: Vec<_> =
                scalars.map(|scalar| hasher.hash_one(IndexKey::Element(key, scalar))).collect();
            elements.sort_unstable();
            elements.dedup();
            match elements.len() {
                0..=MAX_ELEMENTS => terms.extend(elements),
                _ => terms.push(hasher.hash_one(IndexKey::LongArray(key))),
            }
        }
        Some(b'{') => terms.push(hasher.hash_one(IndexKey::Object(key))),
        _ => {
            let scalar = Scalar::decode(value);
            terms.extend(scalar.map(|scalar| hasher.hash_one(IndexKey::Scalar(key, scalar))));
        }
    }
}

/// The most elements of an array that have terms of their own.
const MAX_ELEMENTS: usize = 24;
/// The most terms of an event.
const MAX_TERMS: usize = 64;

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn each_element_of_an_array_has_a_term_up_to_a_limit() {
        let hasher = RandomState::new();
        let terms = |count: usize| {
            let tags: Vec<_> = (0..count).map(|n| format!("tag-{n}")).collect();
            let payload = serde_json::json!({ "tags": tags });
            Event::new("Tagged", &payload).unwrap().terms(&hasher).unwrap().len()
        };

        // One term is that of the type, another one that of any array under the key.
        assert_eq!(terms(0), 2);
        assert_eq!(terms(3), 5);
        assert_eq!(terms(MAX_ELEMENTS), 2 + MAX_ELEMENTS);
        assert_eq!(terms(MAX_ELEMENTS + 1), 3);
        assert_eq!(terms(500), 3);
    }
}
