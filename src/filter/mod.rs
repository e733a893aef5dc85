//! Filters: their builder, their canonical form, and what they match.

mod builder;
mod containment;
mod elements;
mod leaves;
mod necessary;
mod node;
mod normal;
mod predicate;
mod terms;
mod union;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use self::builder::FilterBuilder;
pub(crate) use self::containment::Containment;
pub(crate) use self::necessary::{NecessaryKey, NecessaryMatch};
pub(crate) use self::node::Node;
pub(crate) use self::normal::{Item, Types};
pub use self::predicate::Predicate;
pub(crate) use self::terms::Lookup;
use crate::event::floor_to_microsecond;
use crate::{Error, Event};

/// A selection of events: by event type, by what their payload holds, and by time.
///
/// A filter is made of items joined by OR. An item names event types, of which an event must have
/// one, or predicates, of which it must meet any or all, or both. Filters that exist are joined by
/// `|`, see [`union`](Self::union). Nothing selects by metadata.
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
    size: Size,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Rendered when it is asked for.
    canonical: OnceLock<String>,
}

/// How large a filter is.
#[derive(Clone, Copy, Default)]
struct Size {
    /// How many event types and values it was made of.
    terms: usize,
    /// How many event types and values its alternatives have together.
    values: usize,
}

impl Filter {
    /// Matches every event of the log.
    pub fn everything() -> Self {
        Self::from_parts(vec![Item::everything()], Size::default(), None, None)
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
    /// Both ends are cut to whole microseconds, as the time of an event is: an event made at `t`
    /// occurred in `t..`, in `..=t` and in `t..=t`.
    ///
    /// The bounds are part of the filter, and so of a condition made of what it read: an event
    /// that is appended later and occurred outside of the period breaks no condition.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if the period ends before it begins or excludes one of its ends.
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
        // Cut as the time of an event is, so that an event made at a bound lies within.
        let from = self.parts.from.max(from.map(floor_to_microsecond));
        let until = until.map(floor_to_microsecond);
        let until = [self.parts.until, until].into_iter().flatten().min();
        Ok(Self::from_parts(self.parts.items.clone(), self.parts.size, from, until))
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
        let Parts { items, from, until, canonical, size: _ } = &*self.parts;
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

    /// Returns how many event types and values its alternatives have together.
    pub(crate) fn values(&self) -> usize {
        self.parts.size.values
    }

    /// Returns whether the filter has a bound of time.
    pub(crate) fn is_bounded(&self) -> bool {
        self.parts.from.is_some() || self.parts.until.is_some()
    }

    pub(crate) fn occurred_until(&self) -> Option<Timestamp> {
        self.parts.until
    }

    fn from_parts(
        items: Vec<Item>,
        size: Size,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Self {
        Self { parts: Arc::new(Parts { items, size, from, until, canonical: OnceLock::new() }) }
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
