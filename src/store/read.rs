use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_util::TryStreamExt;
use tokio::time::Instant;
use uuid::Uuid;

use super::Store;
use super::deadline::{AttemptDeadline, timed_out};
use super::stream::EventStream;
use crate::pool::{Lease, Pool, Rows};
use crate::server::Server;
use crate::sql::{self, Reading};
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
        let started = Instant::now();
        let call = ReadCall::new(self.operation(OperationName::Query));
        let result = self
            .read_again(started, "query", || self.history(&query, &call, self.limit(started)))
            .await;
        call.finish(result, |history| history.events().len() as u64)
    }

    /// Reads the event of an id; `None` if the log does not hold it.
    ///
    /// It answers what became of an append whose outcome is unknown, and where an event lies whose
    /// id came from elsewhere. The index that keeps ids unique finds it, however long the log.
    ///
    /// A replica that lags does not hold the newest events: ask the primary, or a handle
    /// [at least](Store::at_least) at a position that is not before the event's.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Cancel safety
    ///
    /// As [`query`](Self::query).
    pub async fn event(&self, id: Uuid) -> Result<Option<SequencedEvent>, Error> {
        let started = Instant::now();
        let call = ReadCall::new(self.operation(OperationName::Query));
        let reading = Reading::of_event(&self.shared.log.name, id);
        let result = self
            .read_again(started, "event", || self.collect(&reading, &call, self.limit(started)))
            .await;
        let result = result.map(|(events, _)| events.into_iter().next());
        call.finish(result, |event| u64::from(event.is_some()))
    }

    /// Reads as [`query`](Self::query) does, once.
    pub(super) async fn query_once(
        &self,
        query: &Query,
        limit: AttemptDeadline,
    ) -> Result<History<M>, Error> {
        let call = ReadCall::new(self.operation(OperationName::Query));
        let result = self.history(query, &call, limit).await;
        call.finish(result, |history| history.events().len() as u64)
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
        let started = Instant::now();
        let call = ReadCall::new(self.operation(OperationName::Stream));
        let reading = Reading::new(&self.shared.log.name, &query);
        let answer = self
            .read_again(started, "stream", async || {
                self.ask(&reading, &call, &mut self.limit(started)).await
            })
            .await;
        let operation = call.into_operation();
        match answer {
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
        let started = Instant::now();
        let call = ReadCall::new(self.operation(OperationName::Head));
        let reading = Reading::of_head(&self.shared.log.name);
        let result = self
            .read_again(started, "head", async || {
                self.ask(&reading, &call, &mut self.limit(started)).await
            })
            .await;
        call.finish(result.map(|answer| answer.head), |_| 0)
    }

    /// Tries a read until it is answered, or must not be tried again.
    async fn read_again<O, F, T>(
        &self,
        started: Instant,
        scope: &'static str,
        read: O,
    ) -> Result<T, Error>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let retry = self.retry_as(self.scope_or(scope), read).started_at(started);
        retry.when(Error::is_repeatable).await.into_result().map_err(Error::from)
    }

    async fn history(
        &self,
        query: &Query,
        call: &ReadCall,
        limit: AttemptDeadline,
    ) -> Result<History<M>, Error> {
        let reading = Reading::new(&self.shared.log.name, query);
        let (events, answer) = self.collect(&reading, call, limit).await?;
        let last = events.last().map(SequencedEvent::sequence_number);
        let position = query.position(answer.head, events.len(), last);
        Ok(History::new(events, position, query.filter.clone(), answer.served_by().clone()))
    }

    /// Reads all events; the answer has been read to its end.
    async fn collect(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        mut limit: AttemptDeadline,
    ) -> Result<(Vec<SequencedEvent>, Answer), Error> {
        let mut answer = self.ask(reading, call, &mut limit).await?;
        let collected = limit.run(async {
            let mut events = Vec::new();
            while let Some(event) = answer.try_next().await? {
                events.push(event);
            }
            Ok::<_, Error>(events)
        });
        match collected.await {
            Ok(events) => Ok((events?, answer)),
            Err(waited) => Err(overdue(&mut answer.lease, waited)),
        }
    }

    /// Asks until a server answers that has come to the position that this handle demands.
    async fn ask(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        limit: &mut AttemptDeadline,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        loop {
            limit.check(self.first().server())?;
            let answer = self.ask_any(reading, call, *limit).await?;
            if answer.head >= self.at_least {
                self.shared.log.note_newest(answer.head);
                return Ok(answer);
            }
            // The connection is wanted again at once, so its answer is read to the end.
            let (server, reached) = (answer.lease.server().clone(), answer.head);
            limit.run_against(&server, answer.drain()).await?;
            let waited = started.elapsed();
            if waited >= self.shared.replica_timeout {
                let (server, position) = (server.to_string(), self.at_least);
                return Err(Error::ReplicaBehind { server, position, reached, waited });
            }
            tokio::time::sleep(REPLICA_PAUSE).await;
            // It did answer: how long to wait for the position is said elsewhere.
            limit.renew(&self.retry);
        }
    }

    /// Asks one server after the other, until one can be asked.
    async fn ask_any(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        limit: AttemptDeadline,
    ) -> Result<Answer, Error> {
        let pools = self.shared.in_turn();
        let (last, others) = pools.split_last().expect("a store has a server");
        for pool in others {
            match self.ask_one(pool, reading, call, limit).await {
                Err(error) if error.is_of_server() => {}
                result => return result,
            }
        }
        self.ask_one(last, reading, call, limit).await
    }

    async fn ask_one(
        &self,
        pool: &Pool,
        reading: &Reading<'_>,
        call: &ReadCall,
        limit: AttemptDeadline,
    ) -> Result<Answer, Error> {
        let server = pool.server();
        call.served_by(server);
        let mut lease = match limit.run(pool.acquire()).await {
            Ok(lease) => lease?,
            Err(waited) => {
                pool.set_failed(true);
                return Err(timed_out(server, waited));
            }
        };
        let answer = match limit.run(lease.read(reading)).await {
            Ok(answer) => answer,
            Err(waited) => return Err(overdue(&mut lease, waited)),
        };
        lease.record_outcome(answer.as_ref().err());
        let (row, rows) = answer?;
        let head = sql::decode_head(&row)?;
        Ok(Answer { lease, rows, head })
    }
}

/// Gives a connection up whose server did not answer in time; the next attempt asks another first.
fn overdue(lease: &mut Lease, waited: Duration) -> Error {
    lease.discard();
    lease.record_server_failure();
    timed_out(lease.server(), waited)
}

/// A read under way, in however many attempts.
struct ReadCall(Mutex<Operation>);

impl ReadCall {
    fn new(operation: Operation) -> Self {
        Self(Mutex::new(operation))
    }

    fn served_by(&self, server: &Server) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).served_by(server);
    }

    fn into_operation(self) -> Operation {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish<T>(
        self,
        result: Result<T, Error>,
        events: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        let mut operation = self.into_operation();
        if let Ok(answer) = &result {
            operation.count_read(events(answer));
        }
        operation.finish(result)
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
    rows: Option<Rows>,
    head: SequenceNumber,
}

impl Answer {
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
            Some(Err(error)) => {
                let error = this.lease.failed(error);
                this.lease.record_outcome(Some(&error));
                Err(error)
            }
        };
        if let Ok(event) = &event {
            this.head = this.head.max(event.sequence_number());
        }
        Poll::Ready(Some(event))
    }
}

/// How long to wait before a replica that lags is asked again.
const REPLICA_PAUSE: Duration = Duration::from_millis(1);
