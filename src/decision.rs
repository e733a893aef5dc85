use std::time::Duration;

use crate::{Appended, Bookmark, Event, SequenceNumber};

/// The outcome of a decision: the events to append, and a value for the caller.
///
/// ```
/// use eddyline::{Decision, Event};
/// use serde_json::json;
///
/// let lent = Event::new("BookCopyLentToReader", &json!({ "BookID": "b-7", "ReaderID": "r-1" }))?;
/// let decision = Decision::append([lent]).with_value("lent");
/// let already = Decision::nothing().with_value("was lent already");
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Decision<T = ()> {
    events: Vec<Event>,
    value: T,
}

impl Decision {
    /// Makes a decision to append events, all of them or none.
    pub fn append(events: impl IntoIterator<Item = Event>) -> Self {
        Self { events: events.into_iter().collect(), value: () }
    }

    /// Makes a decision to append nothing.
    pub fn nothing() -> Self {
        Self::append([])
    }
}

impl<T> Decision<T> {
    /// Sets the value that the caller gets once the events are stored. Defaults to `()`.
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

/// The result of [`Store::decide`](crate::Store::decide).
#[derive(Clone, Debug)]
pub struct Decided<T = ()> {
    pub(crate) value: T,
    pub(crate) appended: Option<Appended>,
    pub(crate) position: Bookmark,
    pub(crate) attempts: u32,
    pub(crate) conflicts: u32,
    pub(crate) delay: Duration,
    pub(crate) escalated: bool,
}

impl<T> Decided<T> {
    /// Returns the value of the decision.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Returns the value of the decision.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Returns the positions of the appended events, if there were any.
    pub fn appended(&self) -> Option<Appended> {
        self.appended
    }

    /// Returns the position that the decision represents: that of its last event, or that of the
    /// history that it was based on if it appended nothing or its events were stored before. A read
    /// at this position or later sees what the decision saw and did.
    pub fn position(&self) -> SequenceNumber {
        self.position.position()
    }

    /// Returns the [position](Self::position) as a bookmark.
    pub fn bookmark(&self) -> Bookmark {
        self.position
    }

    /// Returns how many times the decision was made, including the last time.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns how many attempts ended with a conflict, because another append was first. The other
    /// attempts before the last one ended with a transient failure.
    pub fn conflicts(&self) -> u32 {
        self.conflicts
    }

    /// Returns the total time of the pauses between attempts.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns whether the decision was made under the log's lock, after too many conflicts.
    pub fn is_escalated(&self) -> bool {
        self.escalated
    }
}
