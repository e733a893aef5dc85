use eddyline::error::Reason;
use eddyline::retry::AttemptError;
use eddyline::{Class, Classify, Error, Filter, ReadOnly, RetryPolicy, SequenceNumber, Store};
use futures_util::TryStreamExt;

use crate::domain::DecodeError;
use crate::queries::{Projection, Query, Recorded};

/// Answers queries. It cannot append.
#[derive(Clone, Debug)]
pub struct QueryHandler {
    store: Store<ReadOnly>,
}

impl QueryHandler {
    /// Makes a handler of queries to a log.
    pub fn new(store: Store<ReadOnly>) -> Self {
        Self { store }
    }

    /// Returns a handler whose answers are true at this position or later.
    pub fn at_least(&self, position: SequenceNumber) -> Self {
        Self::new(self.store.at_least(position))
    }

    /// Answers a query.
    ///
    /// The events are folded as they come and never held all at once: the store of a city has
    /// millions of them. Where a server fails meanwhile they are folded anew, from another one if
    /// there is one, as often as the store's [`RetryPolicy`](eddyline::RetryPolicy) says.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] where the store fails, [`QueryError::Decode`] where the log holds
    /// what is not the library's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing has changed.
    pub async fn handle<Q: Query>(&self, query: &Q) -> Result<Answer<Q::Answer>, QueryError> {
        let filter = query.filter()?;
        let once = self.store.with_retry_policy(RetryPolicy::never());
        // A fold may take its time: what limits it is the server's statement timeout.
        let fold = || fold(&once, &filter, query);
        let answered = self.store.with_scope(Q::NAME).retry(fold).await;
        answered.into_result().map_err(|failed| match failed {
            AttemptError::Error(error) => error,
            AttemptError::TimedOut(waited) => Error::from(AttemptError::TimedOut(waited)).into(),
        })
    }
}

async fn fold<Q: Query>(
    store: &Store<ReadOnly>,
    filter: &Filter,
    query: &Q,
) -> Result<Answer<Q::Answer>, QueryError> {
    let mut events = store.stream(filter).await?;
    let mut projection = Q::Projection::default();
    while let Some(event) = events.try_next().await? {
        projection.apply(Recorded::try_from(&event)?);
    }
    Ok(Answer {
        value: query.answer(projection),
        position: events
            .position()
            .expect("a stream that ended without an error knows its position"),
        served_by: events.served_by().to_owned(),
    })
}

/// Is what a query was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// The position that it is true at.
    pub position: SequenceNumber,
    /// The server that it came from.
    pub served_by: String,
}

/// Says why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The log holds an event that is not the library's.
    #[error(transparent)]
    Decode(#[from] DecodeError),

    /// The store failed.
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
