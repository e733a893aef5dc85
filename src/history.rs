use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::{AppendCondition, Filter, Mode, ReadWrite, SequenceNumber, SequencedEvent};

/// The events that one read returned, and the position that they are true at.
///
/// Both come from one snapshot of one server. The mode says which store was read: only a history of
/// a read-write store can become an [`AppendCondition`].
pub struct History<M: Mode> {
    events: Vec<SequencedEvent>,
    position: SequenceNumber,
    filter: Filter,
    server: Arc<str>,
    mode: PhantomData<fn() -> M>,
}

impl<M: Mode> History<M> {
    pub(crate) fn new(
        events: Vec<SequencedEvent>,
        position: SequenceNumber,
        filter: Filter,
        server: Arc<str>,
    ) -> Self {
        Self { events, position, filter, server, mode: PhantomData }
    }

    /// Returns the events, in the order asked for.
    pub fn events(&self) -> &[SequencedEvent] {
        &self.events
    }

    /// Returns the events, in the order asked for.
    pub fn into_events(self) -> Vec<SequencedEvent> {
        self.events
    }

    /// Returns the position that the history is true at: of the events that the query asked for,
    /// none at or below it is missing.
    ///
    /// It is the end of the log as the snapshot saw it, even if the last event there is of no
    /// interest to the filter; where the query names a last position, at most that; and the last
    /// event's where a limit cut off newer ones.
    pub fn position(&self) -> SequenceNumber {
        self.position
    }

    /// Returns the name of the server that answered: `primary`, `replica-0`, …
    pub fn served_by(&self) -> &str {
        &self.server
    }
}

impl History<ReadWrite> {
    /// Returns the condition that nothing of this history's filter was appended after its
    /// [position](Self::position).
    ///
    /// Time bounds are part of the filter: an event outside of them breaks no condition.
    ///
    /// The rest of the query is no part of the condition, but it says what the position is:
    ///
    /// - With a limit that keeps the oldest events, the position is that of the last event read if
    ///   the limit was reached. If the filter matches a newer event, the limit cut that event off,
    ///   and it breaks the condition. An append on this condition is accepted only if the history
    ///   holds the newest event that the filter matches.
    /// - With [`up_to`](crate::Query::up_to), the position is at most the one named there. A matching
    ///   event after it breaks the condition, if it was in the log already when the history was read
    ///   as well as later.
    /// - With [`newest_first`](crate::Query::newest_first) and a limit, or with
    ///   [`after`](crate::Query::after), only older events are left out. The position is the end of
    ///   the log, and the condition is broken by what is appended after the read, and by nothing else.
    pub fn condition(&self) -> AppendCondition {
        AppendCondition::no_match_after(self.filter.clone(), self.position)
    }
}

impl<M: Mode> Clone for History<M> {
    fn clone(&self) -> Self {
        Self {
            events: self.events.clone(),
            position: self.position,
            filter: self.filter.clone(),
            server: self.server.clone(),
            mode: PhantomData,
        }
    }
}

impl<M: Mode> fmt::Debug for History<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("role", &M::ROLE)
            .field("events", &self.events.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Says where the events of an append were stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    first: SequenceNumber,
    last: SequenceNumber,
    repeat: bool,
}

impl Appended {
    pub(crate) fn new(first: SequenceNumber, last: SequenceNumber) -> Self {
        Self { first, last, repeat: false }
    }

    pub(crate) fn repeat(first: SequenceNumber, last: SequenceNumber) -> Self {
        Self { first, last, repeat: true }
    }

    /// Takes what an earlier try of the same call has stored as stored by the call.
    pub(crate) fn as_first(self) -> Self {
        Self { repeat: false, ..self }
    }

    /// Returns the place of the first event.
    pub fn first(&self) -> SequenceNumber {
        self.first
    }

    /// Returns the place of the last event; numbers between it and the first may be missing. A
    /// read at this position or later sees the append.
    pub fn last(&self) -> SequenceNumber {
        self.last
    }

    /// Returns whether the events were in the log already, from an earlier append of the same ids.
    ///
    /// Where the first try of this call was lost, nobody knows whether it was that which stored
    /// them: then it returns false.
    pub fn is_repeat(&self) -> bool {
        self.repeat
    }
}
