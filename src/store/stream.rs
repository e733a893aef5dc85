use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::read::Answer;
use crate::telemetry::Operation;
use crate::{Error, Query, SequenceNumber, SequencedEvent};

/// Yields the events of a query one by one, all from one snapshot.
///
/// Made by [`Store::stream`](crate::Store::stream). It holds a connection and a few events; the
/// server waits for whoever reads it. An event takes two allocations, one of them the driver's.
#[must_use = "a stream reads nothing unless polled"]
pub struct EventStream {
    query: Query,
    answer: Answer,
    /// Until the stream ends.
    operation: Option<Operation>,
    events: u64,
    last: Option<SequenceNumber>,
    position: Option<SequenceNumber>,
}

impl EventStream {
    pub(super) fn new(query: Query, answer: Answer, operation: Operation) -> Self {
        Self { query, answer, operation: Some(operation), events: 0, last: None, position: None }
    }

    /// Returns the position that the stream is true at, as
    /// [`History::position`](crate::History::position) does; `None` before it has ended well.
    pub fn position(&self) -> Option<SequenceNumber> {
        self.position
    }

    /// Returns the name of the server that answers: `primary`, `replica-0`, …
    pub fn served_by(&self) -> &str {
        self.answer.served_by()
    }
}

impl Stream for EventStream {
    type Item = Result<SequencedEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.operation.is_none() {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut this.answer).poll_next(cx));
        match &next {
            Some(Ok(event)) => {
                this.events += 1;
                if let Some(operation) = &mut this.operation {
                    operation.count_read(1);
                }
                this.last = Some(event.sequence_number());
            }
            Some(Err(error)) => {
                if let Some(operation) = this.operation.take() {
                    operation.fail(error);
                }
            }
            None => {
                if let Some(operation) = this.operation.take() {
                    operation.succeed();
                }
                let events = usize::try_from(this.events).unwrap_or(usize::MAX);
                this.position = Some(this.query.position(this.answer.head(), events, this.last));
            }
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
