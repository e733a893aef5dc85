//! The normal form of a filter.
//!
//! A filter is a disjunction of atoms. An atom is an event type (or any) and a containment (or
//! none). An atom implies a disjunction only if it implies one of its members: the event that has
//! the atom's type, and exactly its containment as payload, matches the atom and so has to match a
//! member. So the atoms that imply no other atom are a normal form. They are grouped by the types
//! of each containment, and then by the containments with the same types. The atoms determine both
//! groupings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::containment::{Containment, push_quoted};
use super::subset_index::SubsetIndex;
use crate::Event;

/// The event types of an item.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Types {
    /// Any type.
    Any,
    /// One of these. The alternatives of an item share the set.
    Of(Arc<BTreeSet<String>>),
}

/// An item of a filter in normal form.
#[derive(Clone)]
pub(crate) struct Item {
    types: Types,
    /// The objects of which a payload must contain one. If there is none, every payload matches.
    containments: Vec<Containment>,
    /// The containments as JSON, rendered at the first use.
    payloads: OnceLock<Vec<String>>,
    /// The types as JSON, rendered at the first use.
    types_json: OnceLock<Option<String>>,
}

impl Item {
    /// Makes the item that matches every event.
    pub(super) fn everything() -> Self {
        Self::new(Types::Any, Vec::new())
    }

    fn new(types: Types, containments: Vec<Containment>) -> Self {
        Self { types, containments, payloads: OnceLock::new(), types_json: OnceLock::new() }
    }

    pub(crate) fn types(&self) -> &Types {
        &self.types
    }

    /// Returns the JSON objects of which a payload must contain one. If there is none, every
    /// payload matches.
    pub(crate) fn payloads(&self) -> &[String] {
        self.payloads.get_or_init(|| self.containments.iter().map(Containment::to_json).collect())
    }

    /// Returns the same objects before they are rendered.
    pub(super) fn containments(&self) -> &[Containment] {
        &self.containments
    }

    /// Returns the types as a JSON array. Returns `None` for any type.
    pub(crate) fn types_json(&self) -> Option<&str> {
        let Types::Of(types) = &self.types else { return None };
        self.types_json.get_or_init(|| Some(json_array(types))).as_deref()
    }

    pub(super) fn matches(&self, event: &Event) -> bool {
        let type_matches = match &self.types {
            Types::Any => true,
            Types::Of(types) => types.contains(event.event_type()),
        };
        type_matches
            && (self.containments.is_empty()
                || self.containments.iter().any(|one| one.is_contained_in(event.payload_json())))
    }

    fn push_canonical(&self, text: &mut String) {
        text.push('{');
        if let Some(types) = self.types_json() {
            text.push_str("\"types\":");
            text.push_str(types);
            if !self.containments.is_empty() {
                text.push(',');
            }
        }
        if !self.containments.is_empty() {
            text.push_str("\"payload\":[");
            for (index, payload) in self.payloads().iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(payload);
            }
            text.push(']');
        }
        text.push('}');
    }
}

fn json_array(strings: &BTreeSet<String>) -> String {
    let mut json = "[".to_owned();
    for (index, string) in strings.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        push_quoted(string, &mut json);
    }
    json.push(']');
    json
}

/// Shows event types and the keys of predicates. Values are left out, since they may be personal
/// data.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut item = f.debug_struct("Item");
        if let Types::Of(types) = &self.types {
            item.field("types", types);
        }
        item.field("payload", &self.containments).finish()
    }
}

/// The alternatives of a filter that is being built: the types of each containment.
#[derive(Default)]
pub(super) struct Alternatives(BTreeMap<Containment, Types>);

impl Alternatives {
    /// Adds the events of these types whose payload contains the object.
    pub(super) fn add(&mut self, types: Types, containment: Containment) {
        match (self.0.get_mut(&containment), types) {
            (Some(Types::Of(known)), Types::Of(more)) => {
                Arc::make_mut(known).extend(more.iter().cloned());
            }
            (Some(Types::Any), _) => {}
            (_, types) => {
                self.0.insert(containment, types);
            }
        }
    }

    /// Returns the items of the normal form.
    pub(super) fn normalize(self) -> Vec<Item> {
        let mut groups: BTreeMap<Types, Vec<Containment>> = BTreeMap::new();
        for (containment, types) in self.without_implied() {
            let containments = groups.entry(types).or_default();
            if !containment.is_empty() {
                containments.push(containment);
            }
        }
        groups.into_iter().map(|(types, containments)| Item::new(types, containments)).collect()
    }

    /// Removes the atoms that imply another one.
    fn without_implied(self) -> impl Iterator<Item = (Containment, Types)> {
        let narrowed = self.narrowed();
        self.0.into_iter().zip(narrowed).filter_map(|((containment, types), narrowed)| {
            let types = narrowed.unwrap_or(types);
            (!types.is_none()).then_some((containment, types))
        })
    }

    /// Returns for each containment its types without those of atoms that imply another one.
    /// Returns `None` for a containment that keeps all of its types.
    fn narrowed(&self) -> Vec<Option<Types>> {
        let containments: Vec<_> = self.0.keys().collect();
        // A containment with one scalar implies no other one except for the empty one.
        let needs_index = self.0.len() > 1 && containments.iter().any(|one| !one.is_scalar_field());
        let index = needs_index
            .then(|| SubsetIndex::new(containments.iter().map(|one| one.leaf_paths()).collect()));
        let empty = containments.iter().position(|containment| containment.is_empty());

        let narrow = |(whole, types): (usize, &Types)| {
            let candidates = index.iter().flat_map(|index| index.candidates(whole));
            let mut narrowed = None;
            for part in candidates.chain(empty) {
                let general = containments[part];
                if part != whole && general.is_implied_by(containments[whole]) {
                    narrowed.get_or_insert_with(|| types.clone()).remove(&self.0[general]);
                }
            }
            narrowed
        };
        self.0.values().enumerate().map(narrow).collect()
    }
}

impl Types {
    fn remove(&mut self, others: &Self) {
        match (self, others) {
            (Self::Of(types), Self::Of(others)) => {
                Arc::make_mut(types).retain(|one| !others.contains(one));
            }
            (Self::Any, Self::Of(_)) => {}
            (types, Self::Any) => *types = Self::Of(Arc::default()),
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::Of(types) if types.is_empty())
    }
}

/// Renders the canonical form of a filter. It is JSON, which escapes strings, so that different
/// filters have different texts.
pub(super) fn canonical(
    items: &[Item],
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> String {
    let mut text = "{\"items\":[".to_owned();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        item.push_canonical(&mut text);
    }
    text.push(']');
    for (name, time) in [("from", from), ("until", until)] {
        if let Some(time) = time {
            let _ = write!(text, ",\"{name}\":{}", time.as_microsecond());
        }
    }
    text.push('}');
    text
}
