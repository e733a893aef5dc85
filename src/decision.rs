use std::time::Duration;

use crate::{Appended, Event, SequenceNumber};

/// Holds what was decided from a history: the events to append, and what the caller wants to know.
///
/// ```
/// use eddyline::{Decision, Event};
/// use serde_json::json;
///
/// let lent = Event::new("BookCopyLentToReader", &json!({ "BookID": "b-7", "ReaderID": "r-1" }))?;
/// let decision = Decision::append([lent]).with("lent");
/// let already = Decision::nothing().with("was lent already");
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Decision<T = ()> {
    events: Vec<Event>,
    value: T,
}

impl Decision {
    /// Decides to append events, all of them or none.
    pub fn append(events: impl IntoIterator<Item = Event>) -> Self {
        Self { events: events.into_iter().collect(), value: () }
    }

    /// Decides that all is as it should be.
    pub fn nothing() -> Self {
        Self::append([])
    }
}

impl<T> Decision<T> {
    /// Adds what the caller wants to know of the decision, once its events are stored.
    pub fn with_value<U>(self, value: U) -> Decision<U> {
        Decision { events: self.events, value }
    }

    /// Returns the events to append.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn into_parts(self) -> (Vec<Event>, T) {
        (self.events, self.value)
    }
}

/// Says how a decision was carried out.
#[derive(Clone, Debug)]
pub struct Decided<T = ()> {
    pub(crate) value: T,
    pub(crate) appended: Option<Appended>,
    pub(crate) position: SequenceNumber,
    pub(crate) attempts: u32,
    pub(crate) delay: Duration,
    pub(crate) escalated: bool,
}

impl<T> Decided<T> {
    /// Returns what the decision was given to be returned.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Returns what the decision was given to be returned.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Returns where its events were stored, if it had any.
    pub fn appended(&self) -> Option<Appended> {
        self.appended
    }

    /// Returns the position that the decision is true at: that of its last event or, where it has
    /// none or they were stored before, of the history that it was made from. A read at this
    /// position or later sees what the decision saw and did.
    pub fn position(&self) -> SequenceNumber {
        self.position
    }

    /// Returns how often it was decided, the last time included.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns how long was paused between the attempts, in all.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns whether it was decided under the log's lock, after losing too many rounds.
    pub fn is_escalated(&self) -> bool {
        self.escalated
    }
}
