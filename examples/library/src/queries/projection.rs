use eddyline::{Error, Filter, SequenceNumber, SequencedEvent};

use crate::domain::{DecodeError, DomainEvent};

/// Asks about the library, and knows how the answer comes about.
///
/// Everything here is pure: the same query and the same events give the same answer.
pub trait Query: Sync {
    /// The name of the query.
    const NAME: &'static str;

    /// What is folded from the events.
    type Projection: Projection;

    /// What is told to who asked.
    type Answer;

    /// Returns which events the answer is made of.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`], which no query of the library gives cause for.
    fn filter(&self) -> Result<Filter, Error>;

    /// Makes the answer.
    fn answer(&self, projection: Self::Projection) -> Self::Answer;
}

/// Is a read model folded from events; its default stands for no events.
///
/// It depends on the query's filter alone, so that queries which differ in how they present their
/// answer can share it.
pub trait Projection: Default + Send {
    /// Takes up an event; they come in the order of the log.
    fn apply(&mut self, event: Recorded);
}

/// Answers a query from the events that its filter matches, in the order of the log.
pub fn answer<Q: Query>(query: &Q, events: impl IntoIterator<Item = Recorded>) -> Q::Answer {
    let mut projection = Q::Projection::default();
    for event in events {
        projection.apply(event);
    }
    query.answer(projection)
}

/// Is an event of the library with its place in the log, which orders what happened at one time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// What happened.
    pub event: DomainEvent,
    /// Where the log has it.
    pub sequence_number: SequenceNumber,
}

impl TryFrom<&SequencedEvent> for Recorded {
    type Error = DecodeError;

    fn try_from(event: &SequencedEvent) -> Result<Self, DecodeError> {
        Ok(Self { event: event.try_into()?, sequence_number: event.sequence_number() })
    }
}
