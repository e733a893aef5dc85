//! Necessary conditions of a match. With them the server finds the events that may break a
//! condition by a join on whole values, and compares only those events exactly.
//!
//! Law: if a filter matches an event, the event meets one of the filter's necessary matches.

use std::collections::BTreeMap;

use super::containment::{Containment, push_quoted};
use super::{Filter, Item, Node, Types};

/// An alternative of a filter. The filter matches an event that meets all parts of an alternative,
/// and no other event.
pub(crate) struct NecessaryMatch<'a> {
    /// The part of the event that has the value.
    pub(crate) key: NecessaryKey<'a>,
    /// The value, as JSON.
    pub(crate) value: String,
    /// The object that the payload contains, as JSON. `None` if the item has no predicate.
    pub(crate) body: Option<&'a str>,
    /// Whether the value under the key implies the object.
    pub(crate) is_exact: bool,
    /// The possible types of the event, as a JSON array. `None` for any type. The alternatives of
    /// an item share one text.
    pub(crate) types: Option<&'a str>,
}

/// The part of an event that has a necessary value.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum NecessaryKey<'a> {
    /// No particular part: every event has the value `true`.
    Any,
    /// An element of the array under this key at the top level of the payload.
    Element(&'a str),
    /// The value under this key at the top level of the payload.
    Field(&'a str),
    /// The event type.
    Type,
}

impl Filter {
    /// Returns the alternatives of the filter.
    pub(crate) fn necessary_matches(&self) -> Vec<NecessaryMatch<'_>> {
        let mut matches = Vec::new();
        for item in self.items() {
            if !item.containments().is_empty() {
                let parts = item.containments().iter().zip(item.payloads());
                matches.extend(
                    parts.zip(item.lookup_values()).map(|((one, body), value)| {
                        of_payload(one, value, body, item.types_json())
                    }),
                );
                continue;
            }
            match item.types() {
                Types::Any => matches.push(any(None, None)),
                Types::Of(types) => matches.extend(types.iter().map(|one| of_type(one))),
            }
        }
        matches
    }
}

impl Item {
    /// Returns for each containment a scalar that an event must have as a whole value, if there is
    /// one. It is the scalar that the fewest containments have, so that an event with it is
    /// compared with few.
    pub(super) fn lookup_values(&self) -> impl Iterator<Item = Option<(NecessaryKey<'_>, &Node)>> {
        let containments = self.containments();
        let mut counts = BTreeMap::new();
        if containments.len() > FEW_CONTAINMENTS {
            let all = containments.iter().flat_map(Containment::lookup_values);
            all.for_each(|one| *counts.entry(one).or_insert(0_usize) += 1);
        }
        containments.iter().map(move |one| match counts.is_empty() {
            true => one.first_lookup_value(),
            // Of two equally rare scalars, one under a key is more selective than one in an array.
            false => one.lookup_values().min_by_key(|value| {
                (counts.get(value).copied(), matches!(value.0, NecessaryKey::Element(_)))
            }),
        })
    }
}

impl Containment {
    /// Returns the first scalar under a key of the payload, or else a scalar of the first array.
    fn first_lookup_value(&self) -> Option<(NecessaryKey<'_>, &Node)> {
        let field = self.fields().find(|(_, node)| node.is_scalar());
        let field = field.map(|(key, node)| (NecessaryKey::Field(key), node));
        field.or_else(|| {
            self.fields().find_map(|(key, node)| match node {
                Node::Array(elements) => {
                    Some((NecessaryKey::Element(key), elements.longest_scalar()?))
                }
                _ => None,
            })
        })
    }

    /// Returns the scalars that an event must have as whole values: under a key of its payload, or
    /// in an array under a key.
    fn lookup_values(&self) -> impl Iterator<Item = (NecessaryKey<'_>, &Node)> {
        self.fields().flat_map(|(key, node)| {
            let elements = match node {
                Node::Array(elements) => Some(elements.iter().filter(|one| one.is_scalar())),
                _ => None,
            };
            let scalar = node.is_scalar().then_some((NecessaryKey::Field(key), node));
            let elements = elements.into_iter().flatten();
            scalar.into_iter().chain(elements.map(move |one| (NecessaryKey::Element(key), one)))
        })
    }
}

fn of_payload<'a>(
    containment: &'a Containment,
    lookup_value: Option<(NecessaryKey<'a>, &Node)>,
    body: &'a str,
    types: Option<&'a str>,
) -> NecessaryMatch<'a> {
    let Some((key, node)) = lookup_value else { return any(Some(body), types) };
    let is_exact = containment.is_scalar_field();
    NecessaryMatch { key, value: node.to_json(), body: Some(body), is_exact, types }
}

fn of_type(event_type: &str) -> NecessaryMatch<'static> {
    let mut value = String::with_capacity(event_type.len() + 2);
    push_quoted(event_type, &mut value);
    NecessaryMatch { key: NecessaryKey::Type, value, body: None, is_exact: true, types: None }
}

fn any<'a>(body: Option<&'a str>, types: Option<&'a str>) -> NecessaryMatch<'a> {
    let value = "true".to_owned();
    NecessaryMatch { key: NecessaryKey::Any, value, is_exact: body.is_none(), body, types }
}

/// The number of containments up to which all containments of an item may have the same value.
const FEW_CONTAINMENTS: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key_and_value(filter: crate::filter::FilterBuilder) -> (String, String, bool) {
        let filter = filter.build().unwrap();
        let matches = filter.necessary_matches();
        let [one] = &matches[..] else { panic!("{} alternatives", matches.len()) };
        (format!("{:?}", one.key), one.value.clone(), one.is_exact)
    }

    #[test]
    fn looks_up_an_element_only_if_no_key_has_a_scalar() {
        let tags = Filter::all_of([("tags", ["course:c1"])]);
        let nested = serde_json::json!([["course:c1"], { "student": "s1" }]);
        let cases = [
            (tags.clone(), r#"Element("tags")"#, r#""course:c1""#, false),
            (tags.all_of([("BookID", "b-1")]), r#"Field("BookID")"#, r#""b-1""#, false),
            (Filter::all_of([("BookID", "b-1")]), r#"Field("BookID")"#, r#""b-1""#, true),
            (Filter::types(["Tagged"]), "Type", r#""Tagged""#, true),
        ];
        for (filter, key, value, is_exact) in cases {
            let expected = (key.to_owned(), value.to_owned(), is_exact);
            assert_eq!(key_and_value(filter.clone()), expected, "{filter:?}");
        }
        let expected = ("Any".to_owned(), "true".to_owned(), false);
        assert_eq!(key_and_value(Filter::all_of([("tags", &nested)])), expected);
    }

    /// The alternatives have a book or tag each, and the branch or semester in common.
    #[test]
    fn looks_up_the_value_that_the_fewest_alternatives_have() {
        let branch = || Filter::all_of([("ABranch", "north")]);
        let semester = || Filter::all_of([("tags", ["semester:2026-autumn"])]);
        let books = |count: usize| (0..count).map(|book| ("BookID", format!("b-{book}")));
        let students = || (0..100).map(|student| ("tags", [format!("s:{student}")]));
        let cases = [
            (branch().any_of(books(100)), 100),
            (branch().any_of(books(3)), 1),
            (branch().any_of(students()), 100),
            (semester().any_of(students()), 100),
        ];
        for (filter, expected) in cases {
            let filter = filter.build().unwrap();

            let matches = filter.necessary_matches();

            let values: BTreeSet<_> = matches.iter().map(|one| &one.value).collect();
            assert_eq!(values.len(), expected, "{filter:?}");
        }
    }
}
