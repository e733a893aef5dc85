use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_util::TryStreamExt;
use tokio_postgres::RowStream;

use super::Store;
use super::stream::EventStream;
use crate::pool::{Lease, Pool};
use crate::sql;
use crate::telemetry::{Operation, OperationName};
use crate::{Error, History, Mode, Query, SequenceNumber, SequencedEvent};

impl<M: Mode> Store<M> {
    /// Reads the events of a query, and the position that they are true at, from one snapshot.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::PoolExhausted`] and [`Error::ConnectionLost`] where no
    /// server can be asked, [`Error::Database`] where it refuses, [`Error::ReplicaBehind`] where
    /// none has come to the position that [`at_least`](Store::at_least) names, [`Error::Decode`]
    /// where a row is not one that this crate stored.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it changes nothing; its connection is closed if the server was still answering.
    pub async fn query(&self, query: impl Into<Query>) -> Result<History<M>, Error> {
        let query = query.into();
        let mut operation = self.operation(OperationName::Query);
        let result = self.collect(&query, &mut operation).await;
        operation.finish(result, |history| history.events().len() as u64)
    }

    /// Reads the events of a query one by one, from one snapshot, without holding them all.
    ///
    /// The stream keeps a connection until it ends or is dropped, and it must end within
    /// [`Config::statement_timeout`](crate::Config::statement_timeout), however slowly it is read.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query). The stream yields errors of the same kinds, and ends after one.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it or its stream, it changes nothing; its connection is closed.
    pub async fn stream(&self, query: impl Into<Query>) -> Result<EventStream, Error> {
        let query = query.into();
        let mut operation = self.operation(OperationName::Stream);
        match self.ask(Some(&sql::read(&self.shared.log, &query)), &mut operation).await {
            Ok(answer) => Ok(EventStream::new(query, answer, operation)),
            Err(error) => {
                operation.fail(&error);
                Err(error)
            }
        }
    }

    /// Reads the position of the log's last event.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Cancel safety
    ///
    /// As [`query`](Self::query).
    pub async fn head(&self) -> Result<SequenceNumber, Error> {
        let mut operation = self.operation(OperationName::Head);
        let result = self.ask(None, &mut operation).await;
        operation.finish(result.map(|answer| answer.head), |_| 0)
    }

    async fn collect(&self, query: &Query, operation: &mut Operation) -> Result<History<M>, Error> {
        let mut answer = self.ask(Some(&sql::read(&self.shared.log, query)), operation).await?;
        let mut events = Vec::new();
        while let Some(event) = answer.try_next().await? {
            events.push(event);
        }
        let last = events.last().map(SequencedEvent::sequence_number);
        let position = query.position(answer.head, events.len(), last);
        Ok(History::new(events, position, query.filter.clone(), answer.served_by().clone()))
    }

    /// Asks until a server answers that has come to the position that this handle demands.
    async fn ask(
        &self,
        read: Option<&sql::Statement<'_>>,
        operation: &mut Operation,
    ) -> Result<Answer, Error> {
        let head = sql::head(&self.shared.log);
        let started = Instant::now();
        loop {
            let answer = self.ask_any(&head, read, operation).await?;
            if answer.head >= self.at_least {
                self.shared.note_newest(answer.head);
                return Ok(answer);
            }
            // The connection is wanted again at once, so its answer is read to the end.
            let (server, reached) = (answer.lease.server().clone(), answer.head);
            answer.drain().await?;
            let waited = started.elapsed();
            if waited >= self.shared.replica_timeout {
                let (server, position) = (server.to_string(), self.at_least);
                return Err(Error::ReplicaBehind { server, position, reached, waited });
            }
            tokio::time::sleep(REPLICA_PAUSE).await;
        }
    }

    /// Asks one server after the other, until one can be asked.
    async fn ask_any(
        &self,
        head: &sql::Statement<'_>,
        read: Option<&sql::Statement<'_>>,
        operation: &mut Operation,
    ) -> Result<Answer, Error> {
        let pools = self.shared.in_turn();
        let (last, others) = pools.split_last().expect("a store has a server");
        for pool in others {
            operation.served_by(pool.server());
            match Answer::begin(pool, head, read).await {
                Err(error) if error.is_of_server() => pool.note(true),
                result => return result,
            }
        }
        operation.served_by(last.server());
        Answer::begin(last, head, read).await
    }
}

/// An answer that says where the log ended, and yields the events.
///
/// The end is read first, in the same round trip: since numbers become visible in order, the events
/// of the later snapshot are those of one snapshot at the end, or at the newest of them if that is
/// higher. One statement for both was measured to add about twice as much to the read.
pub(super) struct Answer {
    lease: Lease,
    /// Until they have come to their end; where only the log's end was asked for, there are none.
    rows: Option<Pin<Box<RowStream>>>,
    head: SequenceNumber,
}

impl Answer {
    async fn begin(
        pool: &Pool,
        head: &sql::Statement<'_>,
        read: Option<&sql::Statement<'_>>,
    ) -> Result<Self, Error> {
        let mut lease = pool.acquire().await?;
        let (row, rows) = lease.read(head, read).await?;
        let head = sql::decode_head(&row)?;
        Ok(Self { lease, rows: rows.map(Box::pin), head })
    }

    /// Returns where the log ended, as far as the events that were yielded show.
    pub(super) fn head(&self) -> SequenceNumber {
        self.head
    }

    /// Returns the name of the server that answers.
    pub(super) fn served_by(&self) -> &Arc<str> {
        &self.lease.server().name
    }

    /// Reads to the end what is of no interest, so that the connection can be used again.
    async fn drain(mut self) -> Result<(), Error> {
        while self.try_next().await?.is_some() {}
        Ok(())
    }
}

impl Stream for Answer {
    type Item = Result<SequencedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(rows) = &mut this.rows else { return Poll::Ready(None) };
        let event = match ready!(rows.as_mut().poll_next(cx)) {
            None => {
                this.rows = None;
                this.lease.finish_reading();
                return Poll::Ready(None);
            }
            Some(Ok(row)) => sql::decode_event(&row),
            Some(Err(error)) => Err(this.lease.failed(error)),
        };
        if let Ok(event) = &event {
            this.head = this.head.max(event.sequence_number());
        }
        Poll::Ready(Some(event))
    }
}

/// How long to wait before a replica that lags is asked again.
const REPLICA_PAUSE: Duration = Duration::from_millis(1);
