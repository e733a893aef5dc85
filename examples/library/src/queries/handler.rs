use eddyline::error::Reason;
use eddyline::retry::AttemptError;
use eddyline::telemetry::{HandlerKind, HandlerOutcome};
use eddyline::{Class, Classify, Error, Filter, ReadOnly, RetryPolicy, SequenceNumber, Store};
use futures_util::TryStreamExt;

use crate::domain::DecodeError;
use crate::queries::{
    BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings,
    Projection, Query, RegisteredReaders, RemovedBooks, SequencedDomainEvent,
};

/// A handler that answers queries. It cannot append.
///
/// Each call is counted, timed and traced under the name of its query, as
/// [`Handler`](eddyline::telemetry::Handler) describes.
#[derive(Clone, Debug)]
pub struct QueryHandler {
    store: Store<ReadOnly>,
}

impl QueryHandler {
    /// Creates a handler for the log of a store.
    pub fn new(store: Store<ReadOnly>) -> Self {
        // Makes the series of all queries visible before there is anything to count.
        for name in NAMES {
            store.handler(HandlerKind::Query, name);
        }
        Self { store }
    }

    /// Returns a handler whose answers are true at this position or later.
    pub fn at_least(&self, position: SequenceNumber) -> Self {
        Self { store: self.store.at_least(position) }
    }

    /// Answers a query.
    ///
    /// The handler folds the events one by one as they arrive, and never holds all of them in
    /// memory: a log can have millions. If the server fails during the stream, the handler starts
    /// again, on another server if there is one, within the limits of the store's
    /// [`RetryPolicy`](eddyline::RetryPolicy).
    ///
    /// # Errors
    ///
    /// - [`QueryError::Store`] if the store fails.
    /// - [`QueryError::Decode`] if the log has an event that is not valid for the library.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any time: a query changes nothing.
    pub async fn handle<Q: Query>(&self, query: &Q) -> Result<Answer<Q::Answer>, QueryError> {
        let (scoped, handler) = self.store.handler(HandlerKind::Query, Q::NAME);
        handler.run(answer(&scoped, &self.store, query), observed).await
    }
}

/// Answers a query. `scoped` retries the answer as a whole, `store` makes the single attempts, so
/// that only retries of the answer are counted under the query's name.
async fn answer<Q: Query>(
    scoped: &Store<ReadOnly>,
    store: &Store<ReadOnly>,
    query: &Q,
) -> Result<Answer<Q::Answer>, QueryError> {
    let filter = query.filter()?;
    let without_retry = store.with_retry_policy(RetryPolicy::never());
    // An attempt has no timeout of its own; the server's statement timeout limits it.
    let fold = || fold(&without_retry, &filter, query);
    let answered = scoped.retry(fold).await;
    let attempts = answered.attempts();
    let answer = answered.into_result().map_err(|failed| match failed {
        AttemptError::Error(error) => error,
        AttemptError::TimedOut(waited) => Error::from(AttemptError::TimedOut(waited)).into(),
    })?;
    Ok(Answer { attempts, ..answer })
}

/// Returns the outcome of a query in metrics and traces.
fn observed<T>(result: &Result<Answer<T>, QueryError>) -> HandlerOutcome {
    match result {
        Ok(_) => HandlerOutcome::Success,
        Err(QueryError::Decode(_)) => HandlerOutcome::Error,
        Err(QueryError::Store(error)) => HandlerOutcome::of_error(error),
    }
}

/// Folds the events of a stream into a projection, and answers the query from it.
async fn fold<Q: Query>(
    store: &Store<ReadOnly>,
    filter: &Filter,
    query: &Q,
) -> Result<Answer<Q::Answer>, QueryError> {
    let mut events = store.stream(filter).await?;
    let mut projection = Q::Projection::default();
    while let Some(event) = events.try_next().await? {
        projection.apply(SequencedDomainEvent::try_from(&event)?);
    }
    Ok(Answer {
        value: query.answer(projection),
        position: events.position().expect("a stream that ended without an error has a position"),
        served_by: events.served_by().name().to_owned(),
        attempts: 1,
    })
}

/// The answer to a query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer<T> {
    /// The value of the answer.
    pub value: T,
    /// The position at which the answer is true.
    pub position: SequenceNumber,
    /// The name of the server that answered.
    pub served_by: String,
    /// How many times the handler tried, including the last time.
    pub attempts: u32,
}

/// The error of a query.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The log has an event that is not valid for the library.
    #[error(transparent)]
    Decode(#[from] DecodeError),

    /// The event store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Classify for QueryError {
    fn class(&self) -> Class {
        match self {
            Self::Decode(_) => Class::Permanent(Reason::Invalid),
            Self::Store(error) => error.class(),
        }
    }
}

/// The names of all queries.
const NAMES: [&str; 7] = [
    BooksInCirculation::NAME,
    BooksLentByReader::NAME,
    BooksLentOut::NAME,
    CanceledReaders::NAME,
    FinishedLendings::NAME,
    RegisteredReaders::NAME,
    RemovedBooks::NAME,
];
