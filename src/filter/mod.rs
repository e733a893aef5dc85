//! Filters, their builder and their canonical form.

mod builder;
mod containment;
mod elements;
mod index_terms;
mod necessary;
mod node;
mod normal_form;
mod predicate;
mod subset_index;
mod union;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use self::builder::FilterBuilder;
use self::containment::Containment;
pub(crate) use self::index_terms::IndexLookup;
pub(crate) use self::necessary::{NecessaryKey, NecessaryMatch};
use self::node::Node;
pub(crate) use self::normal_form::{Item, Types};
pub use self::predicate::Predicate;
use crate::event::floor_to_microsecond;
use crate::{Error, Event};

/// A selection of events by event type, by payload, and by time.
///
/// A filter consists of items, joined by OR. An item has event types, predicates, or both. An event
/// matches an item if it has one of the types, and if its payload meets one of the predicates
/// ([`any_of`](Self::any_of)) or all of them ([`all_of`](Self::all_of)). A [`Predicate`] is a value
/// under a top-level key of the payload. Filters do not select by metadata.
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
/// Filters can be joined after they are built, by `|` or [`union`](Self::union).
///
/// Two filters are equal if, and only if, they match the same events for all possible payloads:
/// order, repetition and redundancy do not count. [`canonical`](Self::canonical) and
/// [`key`](Self::key) follow that equality.
///
/// ```
/// use eddyline::Filter;
///
/// let filter = Filter::any_of([("BookID", "b-7"), ("BookID", "b-8")]).build()?;
/// let same = Filter::any_of([("BookID", "b-8"), ("BookID", "b-7"), ("BookID", "b-7")]).build()?;
/// assert_eq!(filter, same);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone)]
pub struct Filter {
    definition: Arc<Definition>,
}

struct Definition {
    items: Vec<Item>,
    size: Size,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The canonical form, rendered at the first use.
    canonical: OnceLock<String>,
}

/// The size of a filter.
#[derive(Clone, Copy, Default)]
struct Size {
    /// The number of event types and values that it was built from.
    terms: usize,
    /// The number of event types and values of all alternatives together.
    values: usize,
}

impl Filter {
    /// Makes the filter that matches every event of the log.
    ///
    /// ```
    /// use eddyline::{Event, Filter};
    /// use serde_json::json;
    ///
    /// let event = Event::new("ReaderRegistered", &json!({ "ReaderID": "r-1" }))?;
    /// assert!(Filter::everything().matches(&event));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn everything() -> Self {
        Self::from_parts(vec![Item::everything()], Size::default(), None, None)
    }

    /// Starts an item that matches events with one of these types.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"]).build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn types(event_types: impl IntoIterator<Item = impl Into<String>>) -> FilterBuilder {
        FilterBuilder::default().types(event_types)
    }

    /// Starts an item that matches events whose payload meets one of these predicates.
    ///
    /// ```
    /// use eddyline::{Filter, Predicate};
    ///
    /// let filter = Filter::any_of([("BookID", "b-7"), ("ReaderID", "r-1")]).build()?;
    ///
    /// // Values of different types need `Predicate::new`.
    /// let filter =
    ///     Filter::any_of([Predicate::new("BookID", "b-7"), Predicate::new("Copies", 3)]).build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn any_of(predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> FilterBuilder {
        FilterBuilder::default().any_of(predicates)
    }

    /// Starts an item that matches events whose payload meets all of these predicates.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::all_of([("BookID", "b-7"), ("ReaderID", "r-1")]).build()?;
    ///
    /// // Events that have both tags.
    /// let filter = Filter::all_of([("tags", ["course:c1", "student:s1"])]).build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn all_of(predicates: impl IntoIterator<Item = impl Into<Predicate>>) -> FilterBuilder {
        FilterBuilder::default().all_of(predicates)
    }

    /// Narrows the filter to events that occurred in a period: `from..`, `..=until` or
    /// `from..=until`. A filter that has a period already gets the intersection of both.
    ///
    /// Both bounds are inclusive. They are truncated to microseconds, as the time of an event is:
    /// an event made at `t` occurred in `t..`, in `..=t` and in `t..=t`.
    ///
    /// The period is part of the filter, and so of an append condition with that filter: an event
    /// that occurred outside of the period does not break the condition, even if it is appended
    /// later.
    ///
    /// ```
    /// use eddyline::Filter;
    /// use eddyline::jiff::Timestamp;
    ///
    /// let from: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    /// let until: Timestamp = "2026-12-31T23:59:59.999999Z".parse().expect("a time");
    /// let loans = Filter::types(["BookCopyLentToReader"]).build()?;
    ///
    /// let since = loans.occurred(from..)?;
    /// let in_year = loans.occurred(from..=until)?;
    /// assert_eq!(since.occurred(..=until)?, in_year);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if the period ends before it begins, or if a bound is exclusive.
    pub fn occurred(&self, period: impl RangeBounds<Timestamp>) -> Result<Self, Error> {
        let bound = |bound| match bound {
            Bound::Included(time) => Ok(Some(time)),
            Bound::Unbounded => Ok(None),
            Bound::Excluded(_) => {
                Err(Error::invalid_filter("the bounds of a period are inclusive: use from..=until"))
            }
        };
        let from = bound(period.start_bound().cloned())?;
        let until = bound(period.end_bound().cloned())?;
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            return Err(Error::invalid_filter("the period ends before it begins"));
        }
        // Truncated as the time of an event is, so that an event made at a bound lies within.
        let from = self.definition.from.max(from.map(floor_to_microsecond));
        let until = until.map(floor_to_microsecond);
        let until = [self.definition.until, until].into_iter().flatten().min();
        Ok(Self::from_parts(self.definition.items.clone(), self.definition.size, from, until))
    }

    /// Returns whether the filter matches an event. The server gives the same answer.
    ///
    /// ```
    /// use eddyline::{Event, Filter};
    /// use serde_json::json;
    ///
    /// let filter = Filter::types(["BookCopyLentToReader"]).any_of([("BookID", "b-7")]).build()?;
    ///
    /// let payload = json!({ "BookID": "b-7", "ReaderID": "r-1" });
    /// assert!(filter.matches(&Event::new("BookCopyLentToReader", &payload)?));
    /// assert!(!filter.matches(&Event::new("BookCopyReturnedByReader", &payload)?));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn matches(&self, event: &Event) -> bool {
        let time = event.occurred_at();
        self.definition.from.is_none_or(|from| from <= time)
            && self.definition.until.is_none_or(|until| time <= until)
            && self.definition.items.iter().any(|item| item.matches(event))
    }

    /// Returns the canonical form, a JSON text. Equal filters have the same form, and different
    /// filters have different forms.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::types(["ReaderRegistered"]).any_of([("ReaderID", "r-1")]).build()?;
    /// assert_eq!(
    ///     filter.canonical(),
    ///     r#"{"items":[{"types":["ReaderRegistered"],"payload":[{"ReaderID":"r-1"}]}]}"#
    /// );
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn canonical(&self) -> &str {
        let Definition { items, from, until, canonical, size: _ } = &*self.definition;
        canonical.get_or_init(|| normal_form::canonical(items, *from, *until))
    }

    /// Returns the key of the filter: the SHA-256 of its canonical form.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let filter = Filter::any_of([("BookID", "b-7"), ("BookID", "b-8")]).build()?;
    /// let same = Filter::any_of([("BookID", "b-8"), ("BookID", "b-7")]).build()?;
    /// let other = Filter::any_of([("BookID", "b-9")]).build()?;
    ///
    /// assert_eq!(filter.key(), same.key());
    /// assert_ne!(filter.key(), other.key());
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn key(&self) -> FilterKey {
        FilterKey(Sha256::digest(self.canonical()).into())
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.definition.items
    }

    pub(crate) fn occurred_from(&self) -> Option<Timestamp> {
        self.definition.from
    }

    /// Returns the number of event types and values of all alternatives together.
    pub(crate) fn values(&self) -> usize {
        self.definition.size.values
    }

    /// Returns whether the filter has a period.
    pub(crate) fn is_bounded(&self) -> bool {
        self.definition.from.is_some() || self.definition.until.is_some()
    }

    pub(crate) fn occurred_until(&self) -> Option<Timestamp> {
        self.definition.until
    }

    fn from_parts(
        items: Vec<Item>,
        size: Size,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Self {
        let canonical = OnceLock::new();
        Self { definition: Arc::new(Definition { items, size, from, until, canonical }) }
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

/// Shows event types and the keys of predicates. Values are left out, since they may be personal
/// data.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.definition.items).finish()
    }
}

/// A key of 32 bytes that identifies a [`Filter`]: equal filters have the same key.
///
/// It is displayed in hexadecimal.
///
/// ```
/// use eddyline::Filter;
///
/// let key = Filter::everything().key();
/// assert_eq!(key.to_string().len(), 64);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FilterKey([u8; 32]);

impl FilterKey {
    /// Returns the bytes of the key.
    ///
    /// ```
    /// use eddyline::Filter;
    ///
    /// let key = Filter::everything().key();
    /// assert_eq!(key.to_string()[..2], format!("{:02x}", key.as_bytes()[0]));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
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
