use std::collections::BTreeSet;
use std::sync::Arc;

use super::containment::Containment;
use super::normal_form::{Alternatives, Types};
use super::{Filter, Predicate, Size};
use crate::Error;
use crate::event::check_event_type;

/// A builder of a [`Filter`].
///
/// [`Filter::types`], [`Filter::any_of`] and [`Filter::all_of`] start one with its first item.
/// [`build`](Self::build) checks all items.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct FilterBuilder {
    earlier: Vec<ItemDraft>,
    item: ItemDraft,
}

/// An item that is not checked yet.
#[derive(Clone, Debug, Default)]
struct ItemDraft {
    types: Option<Vec<String>>,
    any_of: Option<Vec<Predicate>>,
    all_of: Option<Vec<Predicate>>,
}

impl FilterBuilder {
    /// Adds event types to the item. An event must have one of the item's types.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::any_of([("BookID", "b-7")])
    ///     .types(["BookCopyLentToReader"])
    ///     .types(["BookCopyReturnedByReader"])
    ///     .build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn types(mut self, event_types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let types = self.item.types.get_or_insert_default();
        types.extend(event_types.into_iter().map(Into::into));
        self
    }

    /// Adds alternative predicates to the item. A payload must meet one of the item's alternative
    /// predicates.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// // All loans of the book, and all loans by the reader.
    /// let filter = Filter::types(["BookCopyLentToReader"])
    ///     .any_of([("BookID", "b-7"), ("ReaderID", "r-1")])
    ///     .build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn any_of(mut self, predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> Self {
        let any_of = self.item.any_of.get_or_insert_default();
        any_of.extend(predicates.into_iter().map(Into::into));
        self
    }

    /// Adds required predicates to the item. A payload must meet all of the item's required
    /// predicates.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// // The loans of the book by the reader, for four weeks or six.
    /// let filter = Filter::types(["BookCopyLentToReader"])
    ///     .all_of([("BookID", "b-7"), ("ReaderID", "r-1")])
    ///     .any_of([("Weeks", 4), ("Weeks", 6)])
    ///     .build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn all_of(mut self, predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> Self {
        let all_of = self.item.all_of.get_or_insert_default();
        all_of.extend(predicates.into_iter().map(Into::into));
        self
    }

    /// Adds the items of another builder. An event matches if it matches one of the items.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::types(["BookCopyLentToReader"])
    ///     .any_of([("BookID", "b-7")])
    ///     .or(Filter::types(["ReaderRegistered"]).any_of([("ReaderID", "r-1")]))
    ///     .build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn or(mut self, other: FilterBuilder) -> Self {
        self.earlier.push(self.item);
        self.earlier.extend(other.earlier);
        Self { earlier: self.earlier, item: other.item }
    }

    /// Builds the filter.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::types(["ReaderRegistered"]).build()?;
    ///
    /// let no_types: [&str; 0] = [];
    /// let refused = Filter::types(no_types).build().unwrap_err();
    /// assert!(refused.to_string().ends_with("a list of event types is empty"));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if
    ///
    /// - a list of types or predicates, an event type, a key, a string, an object or an array is
    ///   empty: a filter without it would match more events,
    /// - a value is not valid `jsonb`,
    /// - predicates that a payload must meet together exclude each other,
    /// - the filter has more than [`MAX_FILTER_TERMS`](crate::limits::MAX_FILTER_TERMS) event types
    ///   and scalars in predicates,
    /// - all alternatives of the filter together have more than ten times as many. The predicates
    ///   of [`all_of`](Self::all_of) count for each predicate of [`any_of`](Self::any_of).
    pub fn build(self) -> Result<Filter, Error> {
        let items: Vec<_> = self.earlier.into_iter().chain([self.item]).collect();
        let size: Size = items.iter().map(ItemDraft::size).sum();
        size.check()?;

        let mut alternatives = Alternatives::default();
        for item in items {
            item.add_to(&mut alternatives).map_err(Error::invalid_filter)?;
        }
        Ok(Filter::from_parts(alternatives.normalize(), size, None, None))
    }
}

impl ItemDraft {
    fn size(&self) -> Size {
        let scalars = |predicates: &Option<Vec<Predicate>>| {
            predicates.iter().flatten().map(Predicate::scalar_count).sum::<usize>()
        };
        let types = self.types.as_ref().map_or(0, Vec::len);
        let (any_of, all_of) = (scalars(&self.any_of), scalars(&self.all_of));
        let alternatives = self.any_of.as_ref().map_or(1, Vec::len);
        let values = types + any_of + alternatives.saturating_mul(all_of);
        Size { terms: types + any_of + all_of, values }
    }

    /// Checks the item and adds its alternatives.
    fn add_to(self, alternatives: &mut Alternatives) -> Result<(), String> {
        let Self { types, any_of, all_of } = self;
        if types.is_none() && any_of.is_none() && all_of.is_none() {
            return Err("an item has neither event types nor predicates".to_owned());
        }
        let types = types.map_or(Ok(Types::Any), check_types)?;
        let mut required = Containment::default();
        if let Some(all_of) = all_of {
            for predicate in check_predicates(all_of)? {
                required = required.merge(predicate?)?;
            }
        }
        let Some(any_of) = any_of else {
            alternatives.add(types, required);
            return Ok(());
        };
        for predicate in check_predicates(any_of)? {
            alternatives.add(types.clone(), required.clone().merge(predicate?)?);
        }
        Ok(())
    }
}

fn check_types(event_types: Vec<String>) -> Result<Types, String> {
    if event_types.is_empty() {
        return Err("a list of event types is empty".to_owned());
    }
    for event_type in &event_types {
        check_event_type(event_type)
            .map_err(|reason| format!("event type {event_type:?} {reason}"))?;
    }
    Ok(Types::Of(Arc::new(BTreeSet::from_iter(event_types))))
}

/// Returns the containment of each predicate, or why it is invalid.
fn check_predicates(
    predicates: Vec<Predicate>,
) -> Result<impl Iterator<Item = Result<Containment, String>>, String> {
    if predicates.is_empty() {
        return Err("a list of predicates is empty".to_owned());
    }
    Ok(predicates.into_iter().map(Predicate::into_containment))
}
