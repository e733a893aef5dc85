//! What an event must have for a filter to match it, so that the server can find the events that may
//! break a condition by whole values, and compare only those.
//!
//! Law: if a filter matches an event, the event meets one of the filter's necessary matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::containment::{Containment, quoted};
use super::{Filter, Item, Node, Types};

/// One alternative of a filter: an event that meets all of its parts is matched by the filter, and a
/// filter matches no event that meets none of its alternatives.
pub(crate) struct NecessaryMatch<'a> {
    /// Where an event has the value.
    pub(crate) key: NecessaryKey<'a>,
    /// The value, as JSON.
    pub(crate) value: String,
    /// The object that the payload contains, as JSON; `None` if there is no predicate.
    pub(crate) body: Option<&'a str>,
    /// Whether the value under the key says as much as the object.
    pub(crate) is_exact: bool,
    /// The types of which the event is one, as a JSON array; `None` for any.
    pub(crate) types: Option<Arc<str>>,
}

/// Where an event has a necessary value.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum NecessaryKey<'a> {
    /// Nowhere in particular: every event has the value `true`.
    Any,
    /// Among the elements of an array at the top level of its payload.
    Element(&'a str),
    /// At the top level of its payload.
    Field(&'a str),
    /// In its type.
    Type,
}

impl Filter {
    /// Returns the alternatives of the filter.
    pub(crate) fn necessary_matches(&self) -> Vec<NecessaryMatch<'_>> {
        let mut matches = Vec::new();
        for item in self.items() {
            let types: Option<Arc<str>> = item.types_json().map(Into::into);
            if !item.containments().is_empty() {
                let parts = item.containments().iter().zip(item.payloads());
                matches.extend(parts.zip(item.key_values()).map(|((one, body), key_value)| {
                    of_payload(one, key_value, body, types.clone())
                }));
                continue;
            }
            match item.types() {
                Types::Any => matches.push(any(None, None)),
                Types::Of(types) => matches.extend(types.iter().map(|one| NecessaryMatch {
                    key: NecessaryKey::Type,
                    value: quoted(one),
                    body: None,
                    is_exact: true,
                    types: None,
                })),
            }
        }
        matches
    }
}

impl Item {
    /// Returns for each containment one of the scalars that an event must have as a whole value, if there is
    /// one: one that the fewest others have, so that an event that has it is compared with few.
    pub(super) fn key_values(&self) -> impl Iterator<Item = Option<(NecessaryKey<'_>, &Node)>> {
        let containments = self.containments();
        let mut owners = BTreeMap::new();
        if containments.len() > FEW_CONTAINMENTS {
            let all = containments.iter().flat_map(Containment::key_values);
            all.for_each(|one| *owners.entry(one).or_insert(0_usize) += 1);
        }
        containments.iter().map(move |one| match owners.is_empty() {
            true => one.first_key_value(),
            // A scalar of its own tells more events apart than one in an array, if both are as rare.
            false => one.key_values().min_by_key(|key_value| {
                (owners.get(key_value).copied(), matches!(key_value.0, NecessaryKey::Element(_)))
            }),
        })
    }
}

impl Containment {
    /// Returns the first scalar under a key of the payload, or else one in an array there.
    fn first_key_value(&self) -> Option<(NecessaryKey<'_>, &Node)> {
        let field = self.fields().find(|(_, node)| node.is_scalar());
        let field = field.map(|(key, node)| (NecessaryKey::Field(key), node));
        field.or_else(|| {
            self.fields().find_map(|(key, node)| match node {
                Node::Array(elements) => Some((NecessaryKey::Element(key), elements.scalar()?)),
                _ => None,
            })
        })
    }

    /// Returns the scalars that an event must have as whole values: under a key of its payload, or in an
    /// array there.
    fn key_values(&self) -> impl Iterator<Item = (NecessaryKey<'_>, &Node)> {
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
    key_value: Option<(NecessaryKey<'a>, &Node)>,
    body: &'a str,
    types: Option<Arc<str>>,
) -> NecessaryMatch<'a> {
    let Some((key, node)) = key_value else { return any(Some(body), types) };
    let is_exact = containment.is_single();
    NecessaryMatch { key, value: node.to_json(), body: Some(body), is_exact, types }
}

fn any(body: Option<&str>, types: Option<Arc<str>>) -> NecessaryMatch<'_> {
    let value = "true".to_owned();
    NecessaryMatch { key: NecessaryKey::Any, value, is_exact: body.is_none(), body, types }
}

/// Up to how many containments of an item each may have the same value.
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
    fn needs_an_element_only_if_no_scalar_is_demanded() {
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

    /// An event meets one alternative by its book or tag, and all of them by its branch or semester.
    #[test]
    fn takes_the_value_that_the_fewest_alternatives_have() {
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
