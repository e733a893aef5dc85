//! What an event must have for a filter to match it, so that the server can find the events that may
//! break a condition by whole values, and compare only those.
//!
//! Law: if a filter matches an event, the event meets one of the filter's necessary matches.

use std::sync::Arc;

use super::containment::{Containment, Node, quoted};
use super::{Filter, Types};

/// One alternative of a filter: an event that meets all of its parts is matched by the filter, and a
/// filter matches no event that meets none of its alternatives.
pub(crate) struct NecessaryMatch<'a> {
    /// Where an event has the value.
    pub(crate) key: NecessaryKey<'a>,
    /// The value, as JSON.
    pub(crate) value: String,
    /// The object that the payload contains, as JSON; `None` if the value says as much.
    pub(crate) body: Option<&'a str>,
    /// The types of which the event is one, as a JSON array; `None` for any.
    pub(crate) types: Option<Arc<str>>,
}

/// Where an event has a necessary value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NecessaryKey<'a> {
    /// Nowhere in particular: every event has the value `true`.
    Any,
    /// Among the elements of an array at the top level of its payload.
    #[expect(dead_code, reason = "no predicate is of an array yet")]
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
                matches.extend(parts.map(|(one, body)| of_payload(one, body, types.clone())));
                continue;
            }
            match item.types() {
                Types::Any => matches.push(any(None, None)),
                Types::Of(types) => matches.extend(types.iter().map(|one| NecessaryMatch {
                    key: NecessaryKey::Type,
                    value: quoted(one),
                    body: None,
                    types: None,
                })),
            }
        }
        matches
    }
}

fn of_payload<'a>(
    containment: &'a Containment,
    body: &'a str,
    types: Option<Arc<str>>,
) -> NecessaryMatch<'a> {
    let scalar = containment.fields().find(|(_, node)| !matches!(node, Node::Object(_)));
    let Some((key, node)) = scalar else { return any(Some(body), types) };
    let body = (!containment.is_single()).then_some(body);
    NecessaryMatch { key: NecessaryKey::Field(key), value: node.to_json(), body, types }
}

fn any(body: Option<&str>, types: Option<Arc<str>>) -> NecessaryMatch<'_> {
    NecessaryMatch { key: NecessaryKey::Any, value: "true".to_owned(), body, types }
}
