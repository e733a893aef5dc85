use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::time::Instant;
use uuid::Uuid;

use super::Store;
use super::deadline::{AttemptDeadline, timed_out};
use super::stream::{EventStream, ReadAnswer};
use crate::pool::{Lease, Pool};
use crate::server::Server;
use crate::sql::{BoundCheck, Head, Reading};
use crate::telemetry::{Operation, OperationName};
use crate::{Error, History, Mode, Query, SequenceNumber, SequencedEvent};

impl<M: Mode> Store<M> {
    /// Reads the events of a query, and the position of the snapshot that they come from.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Filter, Query, ReadOnly, Store};
    /// # async fn read(reader: Store<ReadOnly>) -> Result<(), Error> {
    /// let copy = Filter::any_of([("BookID", "b-7")]).build()?;
    /// let history = reader.query(&copy).await?;
    /// println!("{} events up to {}", history.events().len(), history.position());
    ///
    /// let newest = reader.query(Query::new(&copy).newest_first().limit(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Unreachable`], [`Error::PoolExhausted`], [`Error::ConnectionLost`] and
    ///   [`Error::TimedOut`]: no server answered.
    /// - [`Error::Database`]: the server refused the read.
    /// - [`Error::ReplicaBehind`]: no server has reached the position that
    ///   [`at_least`](Store::at_least) or [`Query::after`] names.
    /// - [`Error::PositionLost`]: the event at such a position was lost.
    /// - [`Error::Decode`]: a row is not one that this crate stored.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing. If the server was still answering, its connection is
    /// closed.
    pub async fn query(&self, query: impl Into<Query>) -> Result<History<M>, Error> {
        let query = query.into();
        let started = Instant::now();
        let call = ReadCall::new(self.operation(OperationName::Query));
        let read = || self.history(&query, &call, self.attempt_deadline(started));
        let result = self.retry_read(started, "query", read).await;
        call.finish(result, |history| history.events().len() as u64)
    }

    /// Reads the event with an id. Returns `None` if the log does not hold it.
    ///
    /// This shows whether an append was stored whose outcome is unknown, and the position of an
    /// event whose id came from elsewhere. The event is found by the unique index on ids, however
    /// long the log is.
    ///
    /// A replica that lags does not hold the newest events. Read from the primary, or from a handle
    /// that is [at least](Store::at_least) at the event's position.
    ///
    /// ```no_run
    /// # use eddyline::{AppendCondition, Error, Event, ReadWrite, Store};
    /// # async fn add(writer: Store<ReadWrite>, event: Event) -> Result<(), Error> {
    /// let id = event.id();
    /// match writer.append([event], AppendCondition::none()).await {
    ///     Err(error) if error.is_outcome_unknown() => match writer.event(id).await? {
    ///         Some(stored) => println!("stored at {}", stored.sequence_number()),
    ///         None => println!("not stored, or not yet"),
    ///     },
    ///     result => println!("stored at {}", result?.last()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
        let reading = Reading::of_event(&self.shared.log.name, id).at_least(self.at_least);
        let read = || self.collect(&reading, &call, self.attempt_deadline(started));
        let result = self.retry_read(started, "event", read).await;
        let result = result.map(|(events, _)| events.into_iter().next());
        call.finish(result, |event| u64::from(event.is_some()))
    }

    /// Makes one attempt of [`query`](Self::query).
    pub(super) async fn query_once(
        &self,
        query: &Query,
        deadline: AttemptDeadline,
    ) -> Result<History<M>, Error> {
        let call = ReadCall::new(self.operation(OperationName::Query));
        let result = self.history(query, &call, deadline).await;
        call.finish(result, |history| history.events().len() as u64)
    }

    /// Streams the events of a query from one snapshot, without holding all of them in memory.
    ///
    /// The stream keeps a connection until it ends or is dropped. It must end within
    /// [`Config::statement_timeout`](crate::Config::statement_timeout), even if it is read slowly.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Filter, ReadOnly, Store};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn count(reader: Store<ReadOnly>) -> Result<(), Error> {
    /// let loans = Filter::types(["BookCopyLentToReader"]).build()?;
    /// let events = reader.stream(loans).await?;
    /// let count = events.try_fold(0, async |count, _event| Ok(count + 1)).await?;
    /// println!("{count} loans");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query). The stream yields errors of the same kinds, and ends after the
    /// first one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future or the stream changes nothing. The connection is closed if the server
    /// was still answering.
    pub async fn stream(&self, query: impl Into<Query>) -> Result<EventStream, Error> {
        let query = query.into();
        let started = Instant::now();
        let call = ReadCall::new(self.operation(OperationName::Stream));
        let reading = Reading::new(&self.shared.log.name, &query).at_least(self.at_least);
        let answer = self.first_answer(started, "stream", &reading, &call).await;
        let operation = call.into_operation();
        match answer {
            Ok(answer) => Ok(EventStream::new(query, answer, operation)),
            Err(error) => {
                operation.fail(&error);
                Err(error)
            }
        }
    }

    /// Reads the log's head: the position of its last event.
    ///
    /// ```no_run
    /// # use eddyline::{Error, ReadOnly, ReadWrite, Store};
    /// # async fn lag(writer: Store<ReadWrite>, reader: Store<ReadOnly>) -> Result<(), Error> {
    /// println!("primary at {}, replica at {}", writer.head().await?, reader.head().await?);
    /// # Ok(())
    /// # }
    /// ```
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
        let reading = Reading::of_head(&self.shared.log.name).at_least(self.at_least);
        let answer = self.first_answer(started, "head", &reading, &call).await;
        call.finish(answer.map(|answer| answer.head().position()), |_| 0)
    }

    /// Asks until a server has begun to answer, or the retry policy allows no more attempts.
    async fn first_answer(
        &self,
        started: Instant,
        scope: &'static str,
        reading: &Reading<'_>,
        call: &ReadCall,
    ) -> Result<ReadAnswer, Error> {
        let ask = async || self.ask(reading, call, &mut self.attempt_deadline(started)).await;
        self.retry_read(started, scope, ask).await
    }

    /// Retries a read as the retry policy says.
    async fn retry_read<O, F, T>(
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
        deadline: AttemptDeadline,
    ) -> Result<History<M>, Error> {
        let reading = Reading::new(&self.shared.log.name, query).at_least(self.at_least);
        let (events, answer) = self.collect(&reading, call, deadline).await?;
        let last = events.last().map(SequencedEvent::sequence_number);
        let head = answer.head();
        let position = head.at(query.position(head.position(), events.len(), last));
        Ok(History::new(events, position, query.filter.clone(), answer.served_by().clone()))
    }

    /// Reads all events. The answer has no more rows then.
    async fn collect(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        mut deadline: AttemptDeadline,
    ) -> Result<(Vec<SequencedEvent>, ReadAnswer), Error> {
        let mut answer = self.ask(reading, call, &mut deadline).await?;
        let collected = deadline.run(async {
            let mut events = Vec::new();
            while let Some(event) = answer.try_next().await? {
                events.push(event);
            }
            Ok::<_, Error>(events)
        });
        match collected.await {
            Ok(events) => Ok((events?, answer)),
            Err(waited) => Err(give_up(answer.lease_mut(), waited)),
        }
    }

    /// Asks until a server answers from the position of [`at_least`](Store::at_least) or later.
    /// SAFETY.md, G7.
    async fn ask(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        deadline: &mut AttemptDeadline,
    ) -> Result<ReadAnswer, Error> {
        let started = Instant::now();
        loop {
            deadline.check(self.first_server())?;
            let answer = self.ask_any(reading, call, *deadline).await?;
            let server = answer.server().clone();
            let reached = answer.head().position();
            let check = answer.check(reading.bounds());
            if check == BoundCheck::Reached {
                self.shared.log.note_newest(reached);
                return Ok(answer);
            }
            // The answer is read to its end, so that the connection can be used again.
            deadline.run_against(&server, answer.drain()).await?;
            if let BoundCheck::Lost { position, ended } = check {
                return Err(Error::PositionLost { server: server.to_string(), position, ended });
            }
            let waited = started.elapsed();
            if waited >= self.shared.replica_timeout {
                let positions = reading.bounds().iter().map(|bound| bound.position());
                let position = positions.max().unwrap_or_default();
                let server = server.to_string();
                return Err(Error::ReplicaBehind { server, position, reached, waited });
            }
            tokio::time::sleep(REPLICA_PAUSE).await;
            // The server did answer. The wait for the position is limited by `replica_timeout`.
            deadline.restart(&self.retry);
        }
    }

    /// Asks one server after the other, until one of them answers or refuses.
    async fn ask_any(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        deadline: AttemptDeadline,
    ) -> Result<ReadAnswer, Error> {
        let pools = self.shared.pools_to_ask();
        let (last, others) = pools.split_last().expect("a store has a server");
        for pool in others {
            match self.ask_one(pool, reading, call, deadline).await {
                Err(error) if error.is_of_server() && !deadline.has_passed() => {}
                result => return result,
            }
        }
        self.ask_one(last, reading, call, deadline).await
    }

    async fn ask_one(
        &self,
        pool: &Pool,
        reading: &Reading<'_>,
        call: &ReadCall,
        deadline: AttemptDeadline,
    ) -> Result<ReadAnswer, Error> {
        call.served_by(pool.server());
        let mut lease = acquire(pool, deadline).await?;
        let answer = match deadline.run(lease.read(reading)).await {
            Ok(answer) => answer,
            Err(waited) => return Err(give_up(&mut lease, waited)),
        };
        lease.record_outcome(answer.as_ref().err());
        let (row, rows) = answer?;
        Ok(ReadAnswer::new(lease, rows, Head::decode(&row)?))
    }
}

async fn acquire(pool: &Pool, deadline: AttemptDeadline) -> Result<Lease, Error> {
    let lease = deadline.acquire(pool).await;
    if lease.is_err() {
        pool.set_failed(true);
    }
    lease
}

/// Closes a connection whose server did not answer in time. The next attempt asks another server
/// first.
fn give_up(lease: &mut Lease, waited: Duration) -> Error {
    lease.discard();
    lease.record_server_failure();
    timed_out(lease.server(), waited)
}

/// A call that reads, with all of its attempts, as telemetry sees it.
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

/// The pause before a replica that lags is queried again.
const REPLICA_PAUSE: Duration = Duration::from_millis(1);
