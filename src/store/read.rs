use std::sync::atomic::AtomicU64;

use tokio::time::Instant;
use uuid::Uuid;

use super::deadline::AttemptDeadline;
use super::read_request::{Answered, ReadCall, ReadRequest};
use super::shared::{Servers, Writer};
use super::stream::{EventStream, ReadAnswer};
use super::{Store, decide};
use crate::pool::OnFailure;
use crate::sql::{BoundCheck, Reading};
use crate::telemetry::{OperationName, OperationPhase, Request};
use crate::{Bookmark, Causality, Error, History, Mode, Query, SequenceNumber, SequencedEvent};

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
    /// - [`Error::UnsuitableServer`] and [`Error::OtherLog`]: a new connection led to a server that
    ///   the store cannot use.
    /// - [`Error::NoReplica`]: no replica can be read from.
    /// - [`Error::ReplicaBehind`]: no replica has reached, in time, the position of
    ///   [`at_least`](Store::at_least), of a bookmark in [`Query::after`], or of the
    ///   [causality](Store::with_causality), or is as fresh as
    ///   [`max_staleness`](Store::max_staleness) demands.
    /// - [`Error::StalenessUnknown`]: the primary has not answered a read with a bound on its
    ///   staleness.
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
        let call = self.read_call(OperationName::Query, "query", Request::Query);
        let read = || self.history(&query, &call, self.attempt_deadline(started));
        let result = self.retry_read(started, &call, read).await;
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
        let call = self.read_call(OperationName::Query, "event", Request::Query);
        let reading = Reading::of_event(&self.shared.log.name, id);
        let read = || self.ask(&reading, &call, true, self.attempt_deadline(started));
        let result = self.retry_read(started, &call, read).await;
        let result = result.map(|answered| answered.events.into_iter().next());
        call.finish(result, |event| u64::from(event.is_some()))
    }

    /// Starts a read, as one operation of telemetry.
    fn read_call(&self, name: OperationName, scope: &'static str, request: Request) -> ReadCall {
        ReadCall::new(self.operation(name, scope), request)
    }

    /// Makes one attempt of [`query`](Self::query).
    pub(super) async fn query_once(
        &self,
        query: &Query,
        deadline: AttemptDeadline,
    ) -> Result<History<M>, Error> {
        let call = self.read_call(OperationName::Query, decide::SCOPE, Request::Query);
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
        let call = self.read_call(OperationName::Stream, "stream", Request::Stream);
        let reading = Reading::new(&self.shared.log.name, &query);
        let answer = self.first_answer(started, &reading, &call).await;
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
        let call = self.read_call(OperationName::Head, "head", Request::Head);
        let reading = Reading::of_head(&self.shared.log.name);
        let answer = self.first_answer(started, &reading, &call).await;
        call.finish(answer.map(|answer| answer.head().position()), |_| 0)
    }

    /// Asks until a server has begun to answer, or the retry policy allows no more attempts.
    async fn first_answer(
        &self,
        started: Instant,
        reading: &Reading<'_>,
        call: &ReadCall,
    ) -> Result<ReadAnswer, Error> {
        let ask = || self.ask(reading, call, false, self.attempt_deadline(started));
        self.retry_read(started, call, ask).await.map(|answered| answered.answer)
    }

    /// Retries a read as the retry policy says.
    async fn retry_read<O, F, T>(
        &self,
        started: Instant,
        call: &ReadCall,
        read: O,
    ) -> Result<T, Error>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let retry = self.retry_as(call.retry(), read).started_at(started);
        retry.when(Error::is_repeatable).await.into_result().map_err(Error::from)
    }

    async fn history(
        &self,
        query: &Query,
        call: &ReadCall,
        deadline: AttemptDeadline,
    ) -> Result<History<M>, Error> {
        let reading = Reading::new(&self.shared.log.name, query);
        let Answered { events, answer, .. } = self.ask(&reading, call, true, deadline).await?;
        let last = events.last().map(SequencedEvent::sequence_number);
        let head = answer.head();
        let position = head.at(query.position(head.position(), events.len(), last));
        Ok(History::new(events, position, query.filter.clone(), answer.served_by().clone()))
    }

    /// Makes one attempt to read: the first answer, or all events.
    async fn ask(
        &self,
        reading: &Reading<'_>,
        call: &ReadCall,
        collects: bool,
        mut deadline: AttemptDeadline,
    ) -> Result<Answered, Error> {
        let shown = self.shown();
        let reading = &self.bounded(reading.clone(), &shown);
        let request = ReadRequest { reading, call, collects };
        let answered = match &self.shared.servers {
            Servers::Primary(writer) => self.ask_primary(writer, &request, deadline).await?,
            Servers::Replicas(set) => {
                let limit = Instant::now() + self.shared.replica_timeout;
                let (deadline, retry) = (&mut deadline, &self.retry);
                match self.max_staleness {
                    None => set.read(&request, deadline, retry, limit).await?,
                    Some(max) => set.read_within(max, &request, deadline, retry, limit).await?,
                }
            }
        };
        let head = answered.answer.head();
        self.shared.log.note_newest(head);
        self.note_answer(&shown, head);
        Ok(answered)
    }

    /// Asks the primary.
    ///
    /// A standby may show a commit before the primary does, for instance while the primary waits
    /// for another standby that is synchronous. The primary does show it before it releases the
    /// log's lock. So a bookmark above the head, or of an unknown epoch, is lost only if that is
    /// still so after the appends under way.
    async fn ask_primary(
        &self,
        writer: &Writer,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
    ) -> Result<Answered, Error> {
        let (pool, progress) = (writer.pool(), AtomicU64::new(0));
        let send = || request.send(pool, OnFailure::Repeat, deadline, &progress);
        let lost = |position, ended| Err(pool.server().position_lost(position, ended));
        let answered = send().await?;
        match answered.check {
            BoundCheck::Reached => return Ok(answered),
            BoundCheck::Lost { position, ended: ended @ Some(_) } => return lost(position, ended),
            BoundCheck::Behind | BoundCheck::Lost { ended: None, .. } => drop(answered),
        }
        let operation = &request.call.handle;
        operation.enter(OperationPhase::Execute);
        writer.wait_for_appends(&self.shared.log, operation, deadline).await?;
        let answered = send().await?;
        match answered.check {
            BoundCheck::Reached => Ok(answered),
            BoundCheck::Lost { position, ended } => lost(position, ended),
            BoundCheck::Behind => lost(request.position(), Some(answered.answer.head().position())),
        }
    }

    /// Returns what the reads of this handle have to show.
    pub(super) fn shown(&self) -> Vec<Bookmark> {
        self.causality.as_ref().map(Causality::bookmarks).unwrap_or_default()
    }

    /// Binds a read to the positions that it has to show.
    pub(super) fn bounded<'a>(&self, reading: Reading<'a>, shown: &[Bookmark]) -> Reading<'a> {
        let reading = reading.at_least(self.at_least);
        shown.iter().fold(reading, |reading, bookmark| reading.at_least(*bookmark))
    }

    /// Notes the head of an answer that shows these positions.
    pub(super) fn note_answer(&self, shown: &[Bookmark], head: Bookmark) {
        if let Some(causality) = &self.causality {
            causality.answered(shown, head);
        }
    }
}
