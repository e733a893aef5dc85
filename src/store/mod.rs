//! The store: the operations on a log.

mod append;
mod appender;
mod connect;
mod deadline;
mod decide;
mod decision_counter;
mod failure;
mod import;
mod keyed_mutex;
mod locked;
mod locked_transaction;
mod log_state;
mod outcome;
mod read;
mod read_only;
mod read_request;
mod replicas;
mod searcher;
mod shared;
mod staged;
mod stream;
mod yield_until;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::deadline::AttemptDeadline;
pub use self::import::Import;
use self::shared::Shared;
pub use self::stream::EventStream;
use crate::pool::Pool;
use crate::retry::Retry;
use crate::server::Server;
use crate::telemetry::{Handler, HandlerKind, Operation, OperationName, RetryCall};
use crate::{Bookmark, Causality, Classify, Mode, ReadWrite, RetryPolicy};

/// A handle that reads a log and, if its mode is [`ReadWrite`](crate::ReadWrite), appends to it.
///
/// A store is cheap to clone and can be shared between tasks. All clones use the same connections.
///
/// The mode is part of the type (see [`Mode`]). Command handlers hold a `Store<ReadWrite>`, which
/// works on the primary. Query handlers hold a `Store<ReadOnly>`, which spreads its reads over
/// replicas and whose connections refuse writes.
///
/// A read-only store watches its servers over a connection to each of them. A read goes to a server
/// that is healthy and, if it asks for a position, has reached it. A server that fails is left out,
/// at first for a second, then for up to 30 seconds. Then it gets one read, and all others once
/// that one succeeds. A read in flight on a server that stops answering is asked again at another
/// one.
pub struct Store<M: Mode> {
    shared: Arc<Shared>,
    at_least: Bookmark,
    causality: Option<Causality>,
    max_staleness: Option<Duration>,
    retry: RetryPolicy,
    scope: Option<&'static str>,
    mode: PhantomData<fn() -> M>,
}

impl<M: Mode> Store<M> {
    /// Returns a handle with this retry policy, instead of the one in [`Config::retry`].
    ///
    /// ```no_run
    /// # use eddyline::{Error, ReadWrite, RetryPolicy, Store};
    /// # fn handles(writer: Store<ReadWrite>) -> Result<(), Error> {
    /// let patient = RetryPolicy::builder().attempts(20).build()?;
    /// let import_writer = writer.with_retry_policy(patient);
    /// let single_attempt = writer.with_retry_policy(RetryPolicy::never());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Config::retry`]: crate::Config::retry
    pub fn with_retry_policy(&self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self.clone() }
    }

    /// Returns a handle whose retries, conflicts and decisions are counted under a name, for
    /// instance the name of a command handler. The name is an attribute of metrics: those of the
    /// first 48 names of a store are counted, all others together as `other`.
    ///
    /// ```no_run
    /// # use eddyline::{ReadWrite, Store};
    /// # fn handles(writer: Store<ReadWrite>) {
    /// let lending = writer.with_scope("LendBookCopy");
    /// let returning = writer.with_scope("ReturnBookCopy");
    /// # }
    /// ```
    pub fn with_scope(&self, name: &'static str) -> Self {
        self.shared.telemetry.announce_scope(name);
        Self { scope: Some(name), ..self.clone() }
    }

    /// Returns a handle with the scope `name`, and a [`Handler`] of this name, which measures and
    /// traces the calls of a command or query handler of the application.
    ///
    /// The handler sends to the same [`Telemetry`](crate::Telemetry) as the store.
    ///
    /// ```no_run
    /// use eddyline::telemetry::{HandlerKind, HandlerOutcome};
    /// use eddyline::{Decision, Error, Event, Filter, ReadWrite, Store};
    ///
    /// # async fn lend(writer: Store<ReadWrite>) -> Result<(), Error> {
    /// let (store, handler) = writer.handler(HandlerKind::Command, "LendBookCopyToReader");
    /// let loans = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
    ///     .any_of([("BookID", "b-7")])
    ///     .build()?;
    /// let lending = store.decide(&loans, |history| {
    ///     let last = history.events().last();
    ///     if last.is_some_and(|last| last.event_type() == "BookCopyLentToReader") {
    ///         return Ok::<_, Error>(Decision::nothing());
    ///     }
    ///     let loan = serde_json::json!({ "BookID": "b-7", "ReaderID": "r-1" });
    ///     Ok(Decision::append([Event::new("BookCopyLentToReader", &loan)?]))
    /// });
    /// handler
    ///     .run(lending, |result| match result {
    ///         Ok(decided) if decided.appended().is_none() => HandlerOutcome::Idempotent,
    ///         result => HandlerOutcome::of_result(result),
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn handler(&self, kind: HandlerKind, name: &'static str) -> (Self, Handler) {
        (self.with_scope(name), self.shared.telemetry.handler(kind, name))
    }

    /// Returns a handle that adds the positions of its appends and reads to this causality. Its
    /// reads show the log at these positions or later: the caller's own appends, and everything
    /// that it has seen before.
    ///
    /// Replaces the causality that this handle had. The reads of a read-only store wait for a
    /// replica as with [`at_least`](Store::at_least).
    ///
    /// ```no_run
    /// # use eddyline::{
    /// #     AppendCondition, Causality, Error, Event, Filter, ReadOnly, ReadWrite, Store,
    /// # };
    /// # async fn add(
    /// #     writer: Store<ReadWrite>, reader: Store<ReadOnly>, event: Event, copies: Filter,
    /// # ) -> Result<(), Error> {
    /// let causality = Causality::new();
    /// let writer = writer.with_causality(&causality);
    /// let reader = reader.with_causality(&causality);
    /// let appended = writer.append([event], AppendCondition::none()).await?;
    /// let history = reader.query(&copies).await?;
    /// assert!(history.position() >= appended.last());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reads of the handle fail with [`Error::PositionLost`](crate::Error::PositionLost) if a
    /// failover has lost what the causality holds.
    pub fn with_causality(&self, causality: &Causality) -> Self {
        Self { causality: Some(causality.clone()), ..self.clone() }
    }

    /// Returns the retry policy of this handle.
    ///
    /// ```no_run
    /// # use eddyline::{ReadWrite, Store};
    /// # fn print(writer: Store<ReadWrite>) {
    /// println!("at most {} attempts", writer.retry_policy().attempts());
    /// # }
    /// ```
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Retries an operation of the caller as this handle's policy says. Its retries are counted
    /// under this handle's scope.
    ///
    /// Use it for operations that consist of several calls of the store, for instance to read a
    /// stream to its end. Within the operation use a handle that [never](RetryPolicy::never)
    /// retries, so that attempts do not multiply.
    ///
    /// A running attempt is never canceled, since it may have sent an append (see
    /// [`Retry::without_timeouts`]): after the deadline no new attempt begins. To limit the time of
    /// an attempt, limit the time of the calls in it by the policy of the handle that makes them.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Filter, ReadOnly, RetryPolicy, Store};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn count(reader: Store<ReadOnly>) -> Result<(), Error> {
    /// let single_attempt = reader.with_retry_policy(RetryPolicy::never());
    /// let loans = reader
    ///     .with_scope("CountLoans")
    ///     .retry(async || {
    ///         let filter = Filter::types(["BookCopyLentToReader"]).build()?;
    ///         let events = single_attempt.stream(filter).await?;
    ///         events.try_fold(0, async |count, _event| Ok(count + 1)).await
    ///     })
    ///     .await
    ///     .into_result()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry<O, F, T, E>(&self, operation: O) -> Retry<'_, O, F, E>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, E>>,
        E: Classify,
    {
        let call = self.shared.telemetry.retry(self.scope_or("operation"));
        self.retry_as(call, operation)
    }

    /// Retries an operation that limits the time of its attempts itself.
    fn retry_as<O, F, T, E>(&self, call: RetryCall, operation: O) -> Retry<'_, O, F, E>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, E>>,
        E: Classify,
    {
        Retry::new(&self.retry, operation).without_timeouts().counted_by(call)
    }

    /// Returns the scope under which retries are counted, which has a default for each operation.
    fn scope_or(&self, default: &'static str) -> &'static str {
        self.scope.unwrap_or(default)
    }

    /// Returns the deadline of an attempt that begins now, in a call that began at `started`.
    fn attempt_deadline(&self, started: Instant) -> AttemptDeadline {
        AttemptDeadline::new(&self.retry, started)
    }

    /// Starts an operation of a scope, which has a default for each operation.
    fn operation(&self, name: OperationName, scope: &'static str) -> Operation {
        self.shared.telemetry.operation(name, self.scope_or(scope), &self.first_server())
    }

    /// Returns the server that an operation is attributed to until a server has answered: the
    /// primary, or the first replica.
    fn first_server(&self) -> Arc<Server> {
        self.shared.first_server()
    }
}

impl Store<ReadWrite> {
    /// Raises the causality of this handle, if it has one.
    fn note_appended(&self, last: Bookmark) {
        if let Some(causality) = &self.causality {
            causality.raise(last);
        }
    }

    /// Returns the pool of the primary for everything but batches.
    fn primary_pool(&self) -> &Pool {
        self.shared.writer().pool()
    }
}

impl<M: Mode> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            at_least: self.at_least,
            causality: self.causality.clone(),
            max_staleness: self.max_staleness,
            retry: self.retry.clone(),
            scope: self.scope,
            mode: PhantomData,
        }
    }
}

impl<M: Mode> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> =
            self.shared.pools().iter().map(|pool| pool.server().to_string()).collect();
        f.debug_struct("Store")
            .field("role", &M::ROLE)
            .field("log", &self.shared.log.name.to_string())
            .field("servers", &servers)
            .finish_non_exhaustive()
    }
}
