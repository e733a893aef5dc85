use std::collections::BTreeSet;
use std::sync::Arc;

use super::containment::Containment;
use super::normal::{Alternatives, Types};
use super::{Filter, Predicate, Size};
use crate::Error;
use crate::event::check_event_type;

/// Collects the items of a [`Filter`]; [`build`](Self::build) checks them.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct FilterBuilder {
    earlier: Vec<RawItem>,
    item: RawItem,
}

/// An item as it was given.
#[derive(Clone, Debug, Default)]
struct RawItem {
    types: Option<Vec<String>>,
    any_of: Option<Vec<Predicate>>,
    all_of: Option<Vec<Predicate>>,
}

impl FilterBuilder {
    /// Demands one of these event types, or of those given before.
    pub fn types(mut self, event_types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let types = self.item.types.get_or_insert_default();
        types.extend(event_types.into_iter().map(Into::into));
        self
    }

    /// Demands that any of these predicates, or of those given so before, is met.
    pub fn any_of(mut self, predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> Self {
        let any_of = self.item.any_of.get_or_insert_default();
        any_of.extend(predicates.into_iter().map(Into::into));
        self
    }

    /// Demands that all of these predicates, and of those given so before, are met.
    pub fn all_of(mut self, predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> Self {
        let all_of = self.item.all_of.get_or_insert_default();
        all_of.extend(predicates.into_iter().map(Into::into));
        self
    }

    /// Adds the items of another builder: an event matches that matches either.
    pub fn or(mut self, other: FilterBuilder) -> Self {
        self.earlier.push(self.item);
        self.earlier.extend(other.earlier);
        Self { earlier: self.earlier, item: other.item }
    }

    /// Makes the filter.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if
    ///
    /// - a list of types or predicates, an event type, a key, a string, an object or an array is
    ///   empty, since it would widen the filter to leave it out,
    /// - a value holds what `jsonb` refuses,
    /// - predicates that must all be met exclude each other,
    /// - there are more event types and scalars in predicates than [`MAX_FILTER_TERMS`](crate::limits::MAX_FILTER_TERMS),
    /// - those of which all must be met, repeated for each of which any must be met, come to more than ten
    ///   times as many.
    pub fn build(self) -> Result<Filter, Error> {
        let items: Vec<_> = self.earlier.into_iter().chain([self.item]).collect();
        let size: Size = items.iter().map(RawItem::size).sum();
        size.check()?;

        let mut alternatives = Alternatives::default();
        for item in items {
            item.add_to(&mut alternatives).map_err(Error::invalid_filter)?;
        }
        Ok(Filter::from_parts(alternatives.normalise(), size, None, None))
    }
}

impl RawItem {
    fn size(&self) -> Size {
        let scalars = |some: &Option<Vec<Predicate>>| {
            some.iter().flatten().map(Predicate::scalars).sum::<usize>()
        };
        let types = self.types.as_ref().map_or(0, Vec::len);
        let (any_of, all_of) = (scalars(&self.any_of), scalars(&self.all_of));
        let alternatives = self.any_of.as_ref().map_or(1, Vec::len);
        let values = types + any_of + alternatives.saturating_mul(all_of);
        Size { terms: types + any_of + all_of, values }
    }

    fn add_to(self, alternatives: &mut Alternatives) -> Result<(), String> {
        let Self { types, any_of, all_of } = self;
        if types.is_none() && any_of.is_none() && all_of.is_none() {
            return Err("an item names neither event types nor predicates".to_owned());
        }
        let types = types.map_or(Ok(Types::Any), checked_types)?;
        let mut required = Containment::default();
        for predicate in all_of.map_or(Ok(Vec::new()), checked_predicates)? {
            required = required.merge(&predicate)?;
        }
        match any_of.map(checked_predicates).transpose()? {
            None => alternatives.add(types, required),
            Some(any_of) => {
                for predicate in any_of {
                    let both = match required.is_empty() {
                        true => predicate,
                        false => required.merge(&predicate)?,
                    };
                    alternatives.add(types.clone(), both);
                }
            }
        }
        Ok(())
    }
}

fn checked_types(event_types: Vec<String>) -> Result<Types, String> {
    if event_types.is_empty() {
        return Err("a list of event types is empty".to_owned());
    }
    for event_type in &event_types {
        check_event_type(event_type)
            .map_err(|reason| format!("event type {event_type:?} {reason}"))?;
    }
    Ok(Types::Of(Arc::new(BTreeSet::from_iter(event_types))))
}

fn checked_predicates(predicates: Vec<Predicate>) -> Result<Vec<Containment>, String> {
    if predicates.is_empty() {
        return Err("a list of predicates is empty".to_owned());
    }
    predicates.into_iter().map(Predicate::into_containment).collect()
}
