use std::fmt;
use std::marker::PhantomData;

use crate::{
    AppendCondition, Bookmark, Filter, Mode, ReadWrite, SequenceNumber, SequencedEvent, ServedBy,
};

/// The events that one read returned, with the position of the log that they represent.
///
/// Both come from one snapshot of one server. The mode says which store was read: only the history
/// of a read-write store can become an [`AppendCondition`].
pub struct History<M: Mode> {
    events: Vec<SequencedEvent>,
    position: Bookmark,
    filter: Filter,
    server: ServedBy,
    mode: PhantomData<fn() -> M>,
}

impl<M: Mode> History<M> {
    pub(crate) fn new(
        events: Vec<SequencedEvent>,
        position: Bookmark,
        filter: Filter,
        server: ServedBy,
    ) -> Self {
        Self { events, position, filter, server, mode: PhantomData }
    }

    /// Returns the events, in the order of the query.
    pub fn events(&self) -> &[SequencedEvent] {
        &self.events
    }

    /// Returns the events, in the order of the query.
    pub fn into_events(self) -> Vec<SequencedEvent> {
        self.events
    }

    /// Returns the position of the log that the history represents: it contains every event at or
    /// below this position that the query selects.
    ///
    /// It is the log's head in the snapshot, even if the head does not match the filter. A query
    /// with [`up_to`](crate::Query::up_to) has at most that position. If a limit left out newer
    /// events, it is the position of the last event read.
    pub fn position(&self) -> SequenceNumber {
        self.position.position()
    }

    /// Returns the [position](Self::position) as a bookmark. If a failover loses an event at or
    /// below it, each use of the bookmark fails with
    /// [`Error::PositionLost`](crate::Error::PositionLost).
    pub fn bookmark(&self) -> Bookmark {
        self.position
    }

    /// Returns the server that answered.
    pub fn served_by(&self) -> &ServedBy {
        &self.server
    }
}

impl History<ReadWrite> {
    /// Returns the condition that no event after this history's [position](Self::position) matches
    /// its filter.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Event, Filter, ReadWrite, Store};
    /// # async fn lend(writer: Store<ReadWrite>, loans: Filter, loan: Event) -> Result<(), Error> {
    /// let history = writer.query(&loans).await?;
    /// if history.events().is_empty() {
    ///     writer.append([loan], history.condition()).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Time bounds are part of the filter: an event outside of them does not break the condition.
    ///
    /// The other options of the query are not part of the condition, but they determine the
    /// position:
    ///
    /// - With a limit that keeps the oldest events, the position is that of the last event read if
    ///   the limit was reached. If the filter matches a newer event, the limit left that event out,
    ///   and it breaks the condition. An append on this condition is accepted only if the history
    ///   contains the newest event that matches.
    /// - With [`up_to`](crate::Query::up_to), the position is at most the one named there. A
    ///   matching event after it breaks the condition, even if it was committed before the read.
    /// - With [`newest_first`](crate::Query::newest_first) and a limit, or with
    ///   [`after`](crate::Query::after), only older events are left out. The position is the log's
    ///   head, and only events that are committed after the read break the condition.
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
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// The positions of the events of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    first: SequenceNumber,
    last: Bookmark,
    repeat: bool,
}

impl Appended {
    pub(crate) fn new(first: SequenceNumber, last: Bookmark) -> Self {
        Self { first, last, repeat: false }
    }

    pub(crate) fn repeat(first: SequenceNumber, last: Bookmark) -> Self {
        Self { first, last, repeat: true }
    }

    /// Marks the events as stored by this call, if an earlier attempt of it may have stored them.
    pub(crate) fn as_first(self) -> Self {
        Self { repeat: false, ..self }
    }

    /// Returns the position of the first event.
    pub fn first(&self) -> SequenceNumber {
        self.first
    }

    /// Returns the position of the last event. A read at this position or later sees the append.
    ///
    /// Positions between the first and the last may be unused.
    pub fn last(&self) -> SequenceNumber {
        self.last.position()
    }

    /// Returns the position of the last event as a bookmark: a read at least at this bookmark sees
    /// the append, or fails if the append was lost in a failover.
    ///
    /// ```no_run
    /// # use eddyline::{AppendCondition, Error, Event, Filter, ReadOnly, ReadWrite, Store};
    /// # async fn add(
    /// #     writer: Store<ReadWrite>, reader: Store<ReadOnly>, event: Event, copies: Filter
    /// # ) -> Result<(), Error> {
    /// let appended = writer.append([event], AppendCondition::none()).await?;
    /// let history = reader.at_least(appended.bookmark()).query(&copies).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bookmark(&self) -> Bookmark {
        self.last
    }

    /// Returns whether the log contained the events already, from an earlier append with the same
    /// ids.
    ///
    /// If the answer to an earlier attempt of the same call was lost, it is unknown which one
    /// stored the events, and the result is false.
    pub fn is_repeat(&self) -> bool {
        self.repeat
    }
}
