//! Under which terms an event is kept, and a filter is looked up, so that not every event has to
//! be held against every filter.
//!
//! Law: if a filter matches an event, one of the filter's terms is among the event's.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::containment::Node;
use super::{Containment, Filter, Item, Types};
use crate::Event;
use crate::json::Decimal;

/// Where the events are kept that a filter may match.
pub(crate) enum Lookup {
    /// Anywhere.
    Everywhere,
    /// Under one of these terms at least.
    Under(Vec<u64>),
}

/// What is hashed: a type, or what a payload holds at its top level.
#[derive(Hash)]
enum Term<'a> {
    Bool(&'a str, bool),
    Null(&'a str),
    Number(&'a str, &'a Decimal),
    /// An object, whatever it holds.
    Object(&'a str),
    String(&'a str, &'a str),
    Type(&'a str),
}

impl Filter {
    /// Returns where the events are kept that this filter may match.
    pub(crate) fn lookup(&self, hasher: &impl BuildHasher) -> Lookup {
        let mut terms = Vec::new();
        for item in self.items() {
            if !item.add_terms(hasher, &mut terms) {
                return Lookup::Everywhere;
            }
        }
        Lookup::Under(terms)
    }
}

impl Item {
    /// Adds the terms of the item's events; `false` where it may match any.
    fn add_terms(&self, hasher: &impl BuildHasher, terms: &mut Vec<u64>) -> bool {
        // What payloads hold tells events apart better than their types do.
        if !self.containments().is_empty() {
            terms.extend(self.containments().iter().filter_map(|one| one.term(hasher)));
            return true;
        }
        match self.types() {
            Types::Any => false,
            Types::Of(types) => {
                terms.extend(types.iter().map(|one| hasher.hash_one(Term::Type(one))));
                true
            }
        }
    }
}

impl Containment {
    /// Returns one of the demands whose value is not an object.
    fn scalar(&self) -> Option<(&str, &Node)> {
        self.fields().find(|(_, node)| !matches!(node, Node::Object(_)))
    }

    /// Returns the term of one of the demands, a scalar's if there is one.
    fn term(&self, hasher: &impl BuildHasher) -> Option<u64> {
        let (key, node) = self.scalar().or_else(|| self.fields().next())?;
        Some(hasher.hash_one(match node {
            Node::Bool(value) => Term::Bool(key, *value),
            Node::Null => Term::Null(key),
            Node::Number(number) => Term::Number(key, number),
            Node::Object(_) => Term::Object(key),
            Node::String(text) => Term::String(key, text),
        }))
    }
}

impl Event {
    /// Returns the terms that the event is kept under; `None` where there would be too many.
    pub(crate) fn terms(&self, hasher: &impl BuildHasher) -> Option<Vec<u64>> {
        let mut terms = vec![hasher.hash_one(Term::Type(self.event_type()))];
        let mut json = serde_json::Deserializer::from_str(self.payload_json());
        let fields = Fields { hasher, terms: &mut terms };
        json.deserialize_map(fields).ok()?;
        (terms.len() <= MAX_TERMS).then_some(terms)
    }
}

/// Adds the terms of an object's fields. Of equal keys the last one counts; the others do no harm.
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
            self.terms.extend(term_of(&key, value.get(), self.hasher));
        }
        Ok(())
    }
}

/// A string, borrowed unless it is spelled with escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the term of what a payload holds; an array is nothing that a predicate could demand.
fn term_of(key: &str, value: &str, hasher: &impl BuildHasher) -> Option<u64> {
    Some(match value.as_bytes().first()? {
        b'[' => return None,
        b'{' => hasher.hash_one(Term::Object(key)),
        b'"' => {
            let Text(text) = serde_json::from_str(value).ok()?;
            hasher.hash_one(Term::String(key, &text))
        }
        b't' => hasher.hash_one(Term::Bool(key, true)),
        b'f' => hasher.hash_one(Term::Bool(key, false)),
        b'n' => hasher.hash_one(Term::Null(key)),
        _ => hasher.hash_one(Term::Number(key, &Decimal::parse(value)?)),
    })
}

/// The most terms of an event.
const MAX_TERMS: usize = 64;
