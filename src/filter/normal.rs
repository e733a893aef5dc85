//! The normal form of a filter.
//!
//! A filter is a disjunction of atoms, each an event type (or any) with a containment (or none).
//! An atom implies a disjunction only if it implies one of its members: take an event that has the
//! atom's type and nothing but its containment as payload. So the atoms that imply no other atom
//! are a normal form. They are kept grouped by the types that share a containment, and then by the
//! containments that share types, both of which the atoms determine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::containment::{Containment, quoted};
use super::leaves::Leaves;
use crate::Event;

/// Event types: any of a set, or any at all.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Types {
    Any,
    /// Shared by the alternatives of an item.
    Of(Arc<BTreeSet<String>>),
}

/// One alternative of a filter in normal form.
#[derive(Clone)]
pub(crate) struct Item {
    types: Types,
    /// One of these must be held; where there is none, every payload will do.
    containments: Vec<Containment>,
    /// The same, rendered when they are asked for.
    payloads: OnceLock<Vec<String>>,
}

impl Item {
    pub(crate) fn everything() -> Self {
        Self::new(Types::Any, Vec::new())
    }

    fn new(types: Types, containments: Vec<Containment>) -> Self {
        Self { types, containments, payloads: OnceLock::new() }
    }

    pub(crate) fn types(&self) -> &Types {
        &self.types
    }

    /// Returns the JSON objects of which a payload must hold one; where there is none, every
    /// payload will do.
    pub(crate) fn payloads(&self) -> &[String] {
        self.payloads.get_or_init(|| self.containments.iter().map(Containment::to_json).collect())
    }

    /// Returns the same, as they were before they were rendered.
    pub(super) fn containments(&self) -> &[Containment] {
        &self.containments
    }

    /// Returns the types as a JSON array; `None` for any.
    pub(crate) fn types_json(&self) -> Option<String> {
        let Types::Of(types) = &self.types else { return None };
        let types: Vec<_> = types.iter().map(|one| quoted(one)).collect();
        Some(format!("[{}]", types.join(",")))
    }

    pub(crate) fn matches(&self, event: &Event) -> bool {
        let type_matches = match &self.types {
            Types::Any => true,
            Types::Of(types) => types.contains(event.event_type()),
        };
        type_matches
            && (self.containments.is_empty()
                || self.containments.iter().any(|one| one.is_held_by(event.payload_json())))
    }

    fn canonical(&self) -> String {
        let mut fields = Vec::new();
        if let Some(types) = self.types_json() {
            fields.push(format!("\"types\":{types}"));
        }
        if !self.containments.is_empty() {
            fields.push(format!("\"payload\":[{}]", self.payloads().join(",")));
        }
        format!("{{{}}}", fields.join(","))
    }
}

/// Shows event types and the keys of predicates; values may be personal and are left out.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut item = f.debug_struct("Item");
        if let Types::Of(types) = &self.types {
            item.field("types", types);
        }
        item.field("payload", &self.containments).finish()
    }
}

/// The alternatives of a filter as they are collected.
#[derive(Default)]
pub(crate) struct Alternatives(BTreeMap<Containment, Types>);

impl Alternatives {
    pub(crate) fn add(&mut self, types: Types, containment: Containment) {
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

    pub(crate) fn normalise(self) -> Vec<Item> {
        let mut groups: BTreeMap<Types, Vec<Containment>> = BTreeMap::new();
        for (containment, types) in self.without_implied() {
            let containments = groups.entry(types).or_default();
            if !containment.is_empty() {
                containments.push(containment);
            }
        }
        groups.into_iter().map(|(types, containments)| Item::new(types, containments)).collect()
    }

    /// Leaves out the atoms that imply another one.
    fn without_implied(self) -> impl Iterator<Item = (Containment, Types)> {
        let narrowed = self.narrowed();
        self.0.into_iter().zip(narrowed).filter_map(|((containment, types), narrowed)| {
            let types = narrowed.unwrap_or(types);
            (!types.is_none()).then_some((containment, types))
        })
    }

    /// Returns the types of each containment without those of atoms that imply another one; `None`
    /// if all of them are left.
    fn narrowed(&self) -> Vec<Option<Types>> {
        let containments: Vec<_> = self.0.keys().collect();
        // A single leaf has no other part than the containment that is empty.
        let has_parts = self.0.len() > 1 && containments.iter().any(|one| !one.is_single());
        let leaves = has_parts.then(|| {
            Leaves::new(containments.iter().map(|containment| containment.leaves("")).collect())
        });
        let empty = containments.iter().position(|containment| containment.is_empty());

        let narrow = |(whole, types): (usize, &Types)| {
            let candidates = leaves.iter().flat_map(|leaves| leaves.may_be_parts(whole));
            let mut narrowed = None;
            for part in candidates.chain(empty) {
                let general = containments[part];
                if part != whole && general.is_part_of(containments[whole]) {
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

/// Renders a filter's canonical form, which is JSON so that nothing in it needs another escape.
pub(crate) fn canonical(
    items: &[Item],
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> String {
    let items: Vec<_> = items.iter().map(Item::canonical).collect();
    let mut text = format!("{{\"items\":[{}]", items.join(","));
    for (name, time) in [("from", from), ("until", until)] {
        if let Some(time) = time {
            let _ = write!(text, ",\"{name}\":{}", time.as_microsecond());
        }
    }
    text.push('}');
    text
}
