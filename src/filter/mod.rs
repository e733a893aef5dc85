//! Filters: their builder, their canonical form, and what they match.

mod containment;
mod necessary;
mod normal;
mod terms;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub(crate) use self::containment::Containment;
use self::containment::Node;
pub(crate) use self::necessary::{NecessaryKey, NecessaryMatch};
pub(crate) use self::normal::{Item, Types};
pub(crate) use self::terms::Lookup;
use crate::event::{ceil_to_microsecond, check_event_type, floor_to_microsecond};
use crate::{Error, Event};

/// The most event types and predicates that one filter may name.
pub const MAX_FILTER_TERMS: usize = 10_000;

/// Says which events matter: by event type, by what their payload holds, and by time.
///
/// A filter is made of items joined by OR. An item names event types, of which an event must have
/// one, and predicates, of which it must meet any, or all; where it names both, both must hold.
///
/// ```
/// use eddyline::Filter;
///
/// let filter = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
///     .any_of([("BookID", "b-7"), ("ReaderID", "r-1")])
///     .or(Filter::types(["ReaderRegistered"]).all_of([("ReaderID", "r-1")]))
///     .build()?;
/// # Ok::<(), eddyline::Error>(())
/// ```
///
/// Two filters are equal if, and only if, they match the same events for every payload there could
/// be: order, repetition and redundancy do not count. [`canonical`](Self::canonical) and
/// [`key`](Self::key) follow that equality.
#[derive(Clone)]
pub struct Filter {
    parts: Arc<Parts>,
}

struct Parts {
    items: Vec<Item>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Rendered when it is asked for.
    canonical: OnceLock<String>,
}

impl Filter {
    /// Matches every event of the log.
    pub fn everything() -> Self {
        Self::from_parts(vec![Item::everything()], None, None)
    }

    /// Begins an item that matches events of any of these types.
    pub fn types(event_types: impl IntoIterator<Item = impl Into<String>>) -> FilterBuilder {
        FilterBuilder::default().types(event_types)
    }

    /// Begins an item that matches events which meet any of these predicates.
    pub fn any_of(predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> FilterBuilder {
        FilterBuilder::default().any_of(predicates)
    }

    /// Begins an item that matches events which meet all of these predicates.
    pub fn all_of(predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> FilterBuilder {
        FilterBuilder::default().all_of(predicates)
    }

    /// Narrows the filter to events that occurred in a period, both ends included: `from..`,
    /// `..=until` or `from..=until`.
    ///
    /// The bounds are part of the filter, and so of a condition made of what it read: an event
    /// that is appended later and occurred outside of the period breaks no condition.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] where the period ends before it begins or excludes one of its ends.
    pub fn occurred(&self, period: impl RangeBounds<Timestamp>) -> Result<Self, Error> {
        let bound = |bound| match bound {
            Bound::Included(time) => Ok(Some(time)),
            Bound::Unbounded => Ok(None),
            Bound::Excluded(_) => {
                Err(Error::invalid_filter("a period includes both of its ends: say from..=until"))
            }
        };
        let from = bound(period.start_bound().cloned())?;
        let until = bound(period.end_bound().cloned())?;
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            return Err(Error::invalid_filter("the period ends before it begins"));
        }
        // Events have whole microseconds, so these bounds leave out no event that was meant.
        let from = self.parts.from.max(from.map(ceil_to_microsecond));
        let until = until.map(floor_to_microsecond);
        let until = [self.parts.until, until].into_iter().flatten().min();
        Ok(Self::from_parts(self.parts.items.clone(), from, until))
    }

    /// Returns whether an event matches, just as the server would answer.
    pub fn matches(&self, event: &Event) -> bool {
        let time = event.occurred_at();
        self.parts.from.is_none_or(|from| from <= time)
            && self.parts.until.is_none_or(|until| time <= until)
            && self.parts.items.iter().any(|item| item.matches(event))
    }

    /// Returns the canonical form: the same text for every filter of the same meaning, another
    /// text for every other.
    pub fn canonical(&self) -> &str {
        let Parts { items, from, until, canonical } = &*self.parts;
        canonical.get_or_init(|| normal::canonical(items, *from, *until))
    }

    /// Returns the SHA-256 of the canonical form.
    pub fn key(&self) -> FilterKey {
        FilterKey(Sha256::digest(self.canonical()).into())
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.parts.items
    }

    pub(crate) fn occurred_from(&self) -> Option<Timestamp> {
        self.parts.from
    }

    /// Returns whether the filter has a bound of time.
    pub(crate) fn is_bounded(&self) -> bool {
        self.parts.from.is_some() || self.parts.until.is_some()
    }

    pub(crate) fn occurred_until(&self) -> Option<Timestamp> {
        self.parts.until
    }

    fn from_parts(items: Vec<Item>, from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Self { parts: Arc::new(Parts { items, from, until, canonical: OnceLock::new() }) }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

/// Shows event types and the keys of predicates; values may be personal and are left out.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.parts.items).finish()
    }
}

/// Identifies a [`Filter`] by its meaning, in 32 bytes; shown in hexadecimal.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FilterKey([u8; 32]);

impl FilterKey {
    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FilterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FilterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilterKey({self})")
    }
}

/// Demands that a payload holds a value under a top-level key.
///
/// The value is a JSON string, number, boolean or null, or an object of which the payload's must
/// hold every part (`{"Address": {"City": "Graz"}}`). Numbers are compared by value: 1 equals 1.0.
/// A float that is no number serialises to null, as everywhere in `serde_json`.
#[derive(Clone)]
pub struct Predicate {
    containment: Result<Containment, String>,
}

impl Predicate {
    /// Demands the value under the key.
    pub fn new(key: impl Into<String>, value: impl Serialize) -> Self {
        let key = key.into();
        let containment = Node::from_value(&value)
            .and_then(|node| Containment::new(key.clone(), node))
            .map_err(|reason| format!("predicate {key:?} {reason}"));
        Self { containment }
    }
}

impl<K: Into<String>, V: Serialize> From<(K, V)> for Predicate {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.containment {
            Ok(containment) => containment.fmt(f),
            Err(reason) => f.write_str(reason),
        }
    }
}

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
    /// [`Error::InvalidFilter`] where a list of types or predicates, an event type, a key, a
    /// string or an object is empty (ignoring it would widen the filter), where a value is an
    /// array or holds what `jsonb` refuses, where predicates that must all be met exclude each
    /// other, and where there are more than [`MAX_FILTER_TERMS`].
    pub fn build(self) -> Result<Filter, Error> {
        let items: Vec<_> = self.earlier.into_iter().chain([self.item]).collect();
        let terms: usize = items.iter().map(RawItem::terms).sum();
        if terms > MAX_FILTER_TERMS {
            return Err(Error::invalid_filter(format!(
                "has {terms} event types and predicates, the most are {MAX_FILTER_TERMS}"
            )));
        }

        let mut alternatives = normal::Alternatives::default();
        for item in items {
            item.add_to(&mut alternatives).map_err(Error::invalid_filter)?;
        }
        Ok(Filter::from_parts(alternatives.normalise(), None, None))
    }
}

impl RawItem {
    fn terms(&self) -> usize {
        self.types.as_ref().map_or(0, Vec::len)
            + self.any_of.as_ref().map_or(0, Vec::len)
            + self.all_of.as_ref().map_or(0, Vec::len)
    }

    fn add_to(self, alternatives: &mut normal::Alternatives) -> Result<(), String> {
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
    predicates.into_iter().map(|predicate| predicate.containment).collect()
}
