use eddyline::{Error, Filter, SequenceNumber, SequencedEvent};

use crate::domain::{DecodeError, DomainEvent};

/// A query about the library, with the code that computes its answer.
///
/// All methods are pure: the same query and the same events give the same answer.
pub trait Query: Sync {
    /// The name of the query.
    const NAME: &'static str;

    /// The projection, folded from the events.
    type Projection: Projection;

    /// The answer to the query.
    type Answer;

    /// Returns the filter for the events that the answer depends on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if the filter is invalid, which does not happen for the queries of
    /// the library.
    fn filter(&self) -> Result<Filter, Error>;

    /// Computes the answer from the projection.
    fn answer(&self, projection: Self::Projection) -> Self::Answer;
}

/// A read model folded from events. Its default is the model of an empty log.
///
/// It depends only on the filter of the query, so that queries with the same filter and different
/// answers can share it.
pub trait Projection: Default + Send {
    /// Applies an event. Must be called in the order of the log.
    fn apply(&mut self, event: SequencedDomainEvent);
}

/// Answers a query from the events that its filter matches, in the order of the log.
pub fn answer<Q: Query>(
    query: &Q,
    events: impl IntoIterator<Item = SequencedDomainEvent>,
) -> Q::Answer {
    let mut projection = Q::Projection::default();
    for event in events {
        projection.apply(event);
    }
    query.answer(projection)
}

/// An event of the library with its position in the log, which orders events of the same time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SequencedDomainEvent {
    /// The event.
    pub event: DomainEvent,
    /// The position of the event.
    pub sequence_number: SequenceNumber,
}

impl TryFrom<&SequencedEvent> for SequencedDomainEvent {
    type Error = DecodeError;

    fn try_from(event: &SequencedEvent) -> Result<Self, DecodeError> {
        Ok(Self { event: event.try_into()?, sequence_number: event.sequence_number() })
    }
}
