use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::StreamExt;

use super::replicas::GivenRead;
use crate::pool::{Lease, Rows};
use crate::server::Server;
use crate::sql::{self, BoundCheck, Head};
use crate::telemetry::{Exchange, Operation, OperationPhase};
use crate::{Bookmark, Error, Query, SequenceNumber, SequencedEvent, ServedBy};

/// A stream of the events of a query, all from one snapshot. Made by
/// [`Store::stream`](crate::Store::stream).
///
/// It holds a connection and a few events. If it is read slowly, the server waits. Each event takes
/// two allocations, one of them by the PostgreSQL driver.
///
/// ```no_run
/// # use eddyline::{Error, Filter, ReadOnly, Store};
/// use futures_util::{StreamExt, TryStreamExt};
///
/// # async fn print(reader: Store<ReadOnly>) -> Result<(), Error> {
/// let loans = Filter::types(["BookCopyLentToReader"]).build()?;
/// let mut events = reader.stream(loans).await?;
/// while let Some(event) = events.try_next().await? {
///     println!("{}: {}", event.sequence_number(), event.event_type());
/// }
/// if let Some(position) = events.position() {
///     println!("complete up to {position}, read from {}", events.served_by());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream reads nothing unless polled"]
pub struct EventStream {
    query: Query,
    answer: ReadAnswer,
    /// The operation, until the stream ends.
    operation: Option<Operation>,
    /// Whether the next event was asked for and has not arrived.
    is_waiting: bool,
    events: u64,
    last: Option<SequenceNumber>,
    position: Option<Bookmark>,
}

impl EventStream {
    pub(super) fn new(query: Query, answer: ReadAnswer, operation: Operation) -> Self {
        let operation = Some(operation);
        let (is_waiting, events, last, position) = (false, 0, None, None);
        Self { query, answer, operation, is_waiting, events, last, position }
    }

    /// Returns the position of the snapshot that the stream was read from, as
    /// [`History::position`](crate::History::position) does. Returns `None` until the stream has
    /// ended without an error.
    pub fn position(&self) -> Option<SequenceNumber> {
        self.position.map(Bookmark::position)
    }

    /// Returns the [position](Self::position) as a bookmark, from which another read can go on.
    pub fn bookmark(&self) -> Option<Bookmark> {
        self.position
    }

    /// Returns the server that answers.
    pub fn served_by(&self) -> &ServedBy {
        self.answer.served_by()
    }

    /// Notes whether the server or the caller is waited for.
    fn note_waiting(&mut self, is_waiting: bool) {
        if std::mem::replace(&mut self.is_waiting, is_waiting) == is_waiting {
            return;
        }
        if let Some(operation) = &self.operation {
            operation.handle().enter(if is_waiting {
                OperationPhase::Execute
            } else {
                OperationPhase::Decode
            });
        }
    }

    fn note_event(&mut self, event: &SequencedEvent) {
        self.events += 1;
        if let Some(operation) = &mut self.operation {
            operation.count_read(1);
        }
        self.last = Some(event.sequence_number());
    }

    fn fail(&mut self, error: &Error) {
        if let Some(operation) = self.operation.take() {
            operation.fail(error);
        }
    }

    fn finish(&mut self) {
        if let Some(operation) = self.operation.take() {
            operation.succeed();
        }
        let events = usize::try_from(self.events).unwrap_or(usize::MAX);
        let head = self.answer.head();
        self.position = Some(head.at(self.query.position(head.position(), events, self.last)));
    }
}

impl Stream for EventStream {
    type Item = Result<SequencedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.operation.is_none() {
            return Poll::Ready(None);
        }
        let polled = self.answer.poll_next_unpin(cx);
        self.note_waiting(polled.is_pending());
        let next = ready!(polled);
        match &next {
            Some(Ok(event)) => self.note_event(event),
            Some(Err(error)) => self.fail(error),
            None => self.finish(),
        }
        Poll::Ready(next)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("query", &self.query)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// The answer to a read: the log's head, and a stream of the events.
///
/// If few events are expected, one statement reads both (`Reading`). Otherwise a statement of its
/// own reads the head before the events, in the same round trip, and events above the head are left
/// out (Lemma 7). For many events, a single statement for both was measured to add about twice as
/// much to the read as a statement for the head does.
/// SAFETY.md, G3.
pub(super) struct ReadAnswer {
    lease: Lease,
    /// The rows that have not been read yet. There are none if only the head was requested.
    rows: Option<Rows>,
    head: Head,
    served_by: ServedBy,
    /// The exchange with the server, until the last row has arrived.
    exchange: Option<Exchange>,
    /// The read as the choice of servers counts it, in a read-only store.
    given: Option<GivenRead>,
}

impl ReadAnswer {
    pub(super) fn new(lease: Lease, rows: Option<Rows>, head: Head, exchange: Exchange) -> Self {
        let served_by = ServedBy::new(lease.server().name.clone(), head.role());
        let exchange = match &rows {
            Some(_) => Some(exchange),
            None => {
                exchange.answered();
                None
            }
        };
        Self { lease, rows, head, served_by, exchange, given: None }
    }

    /// Counts the read as one of its server until the answer is dropped.
    pub(super) fn hold(&mut self, given: GivenRead) {
        self.given = Some(given);
    }

    /// Returns the head of the snapshot.
    pub(super) fn head(&self) -> Bookmark {
        self.head.bookmark()
    }

    /// Checks the bounds of the read.
    pub(super) fn check(&self, bounds: &[Bookmark]) -> BoundCheck {
        self.head.check(bounds)
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        self.lease.server()
    }

    /// Returns the server that answers.
    pub(super) fn served_by(&self) -> &ServedBy {
        &self.served_by
    }

    fn fail(&mut self, error: tokio_postgres::Error) -> Error {
        let error = self.lease.failed(error);
        self.abandon(&error);
        if let Some(given) = &mut self.given {
            given.failed(&error);
        }
        error
    }

    /// Ends the exchange, because the rest of the answer is not awaited after this error.
    pub(super) fn abandon(&mut self, error: &Error) {
        if let Some(exchange) = self.exchange.take() {
            exchange.failed(error);
        }
    }
}

impl Stream for ReadAnswer {
    type Item = Result<SequencedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(rows) = &mut this.rows else { return Poll::Ready(None) };
        loop {
            let event = match ready!(rows.as_mut().poll_next(cx)) {
                None => {
                    this.rows = None;
                    this.lease.finish_reading();
                    if let Some(exchange) = this.exchange.take() {
                        exchange.answered();
                    }
                    return Poll::Ready(None);
                }
                Some(Ok(row)) => sql::decode_event(&row),
                Some(Err(error)) => return Poll::Ready(Some(Err(this.fail(error)))),
            };
            // Lemma 7: the event was committed after the head was read.
            if event.as_ref().is_ok_and(|event| event.sequence_number() > this.head.position) {
                continue;
            }
            return Poll::Ready(Some(event));
        }
    }
}
