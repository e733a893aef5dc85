use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Store;
use super::append::AppendCall;
use super::deadline::AttemptDeadline;
use super::decision_counter::DecisionCounter;
use super::keyed_mutex::{KeyedGuard, KeyedMutex};
use crate::telemetry::OperationName;
use crate::{
    Appended, Bookmark, Class, Decided, Decision, Error, Filter, History, Query, ReadWrite,
};

impl Store<ReadWrite> {
    /// Reads the events of a query, calls `decide` with them, and appends the events that it
    /// returns, on the condition that no event of the query's filter was committed in between.
    /// Repeats all of this if one was.
    ///
    /// Attempts that fail because of a conflict or a transient failure are repeated as the store's
    /// [`RetryPolicy`](crate::RetryPolicy) says. After a conflict there is no pause, because there
    /// is nothing to wait for; but decisions of this store with the same filter then run one after
    /// the other.
    ///
    /// After a number of conflicts
    /// ([`escalate_after`](crate::retry::RetryPolicyBuilder::escalate_after)) an attempt runs under
    /// the log's lock: it reads, decides and appends in one transaction, and no other append is
    /// committed in between. Such an attempt cannot conflict, so no decision starves, however
    /// contended its boundary is.
    ///
    /// # The closure
    ///
    /// `decide` is called once per attempt, with a newly read history. So it may run more than
    /// once, and its decision may be discarded: it must be pure, which means that it has no effect
    /// besides the decision that it returns.
    ///
    /// It is a synchronous function because an attempt may run it under the log's lock. Then it
    /// must not wait for anything, since all other appends to the log wait for it. Load what it
    /// needs before the call.
    ///
    /// `decide` may return an error of its own. It ends the call, and nothing is appended.
    ///
    /// # The query
    ///
    /// The query must not leave out newer events, by [`up_to`](Query::up_to) or by a
    /// [`limit`](Query::limit) that keeps the oldest: they would break the condition in every
    /// attempt. A limit with [`newest_first`](Query::newest_first) is allowed.
    ///
    /// ```no_run
    /// # use eddyline::{Decision, Error, Event, Filter, ReadWrite, Store};
    /// # async fn lend(writer: Store<ReadWrite>) -> Result<(), Error> {
    /// let loans = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
    ///     .any_of([("BookID", "b-7")])
    ///     .build()?;
    /// let decided = writer
    ///     .decide(&loans, |history| {
    ///         let last = history.events().last();
    ///         if last.is_some_and(|last| last.event_type() == "BookCopyLentToReader") {
    ///             return Ok::<_, Error>(Decision::nothing());
    ///         }
    ///         let loan = serde_json::json!({ "BookID": "b-7", "ReaderID": "r-1" });
    ///         Ok(Decision::append([Event::new("BookCopyLentToReader", &loan)?]))
    ///     })
    ///     .await?;
    /// println!("at {}, after {} attempts", decided.position(), decided.attempts());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - The error that `decide` returns.
    /// - [`Error::InvalidQuery`]: the query leaves out newer events. `decide` is not called.
    /// - [`Error::DecisionTimedOut`]: under the log's lock, `decide` took longer than
    ///   [`Config::decision_timeout`](crate::Config::decision_timeout) allows. The server ends the
    ///   transaction then, so that other appends wait no longer.
    /// - [`Error::Database`] with SQLSTATE 57014: the read under the log's lock took more than five
    ///   seconds or, if that is less,
    ///   [`Config::statement_timeout`](crate::Config::statement_timeout).
    /// - The errors of [`query`](Store::query) and [`append`](Self::append), of the last attempt
    ///   that the retry policy allows: [`Error::Conflict`] if that attempt had a conflict, and
    ///   [`Error::OutcomeUnknown`] if the store could not find out before the deadline whether the
    ///   events are stored.
    ///
    /// After [`Error::OutcomeUnknown`] the events may be stored. With every other error nothing was
    /// stored.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, all events of one decision are stored or none.
    pub async fn decide<T, E: From<Error>>(
        &self,
        query: impl Into<Query>,
        decide: impl Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    ) -> Result<Decided<T>, E> {
        let query = query.into();
        query.check_for_decision()?;
        let started = Instant::now();
        let scope = self.scope_or(SCOPE);
        let telemetry = &self.shared.telemetry;
        let counter = DecisionCounter::new(telemetry, scope);
        let state = DecisionState::new(&self.shared.boundary_locks, &query.filter, &counter);
        let max_conflicts = self.retry.escalate_after().unwrap_or(u32::MAX);
        let retried = self
            .retry_as(telemetry.retry(scope), async || {
                state.lock_boundary(self.attempt_deadline(started)).await;
                let attempt = DecideAttempt {
                    store: self,
                    query: &query,
                    decide: &decide,
                    counter: &counter,
                    started,
                };
                let result = match counter.conflicts() >= max_conflicts {
                    true => {
                        counter.escalate();
                        Box::pin(attempt.locked()).await
                    }
                    false => attempt.optimistic().await,
                };
                if result.as_ref().is_err_and(Error::is_conflict) {
                    counter.count_conflict();
                }
                result
            })
            .started_at(started)
            .when(|error| {
                error.is_conflict() || error.is_repeatable() || error.is_outcome_unknown()
            })
            .adjust(|error, pause| match error.class() {
                Class::Conflict => pause.map(|_| Duration::ZERO),
                // If there is a deadline, the attempt itself has tried until then to find out the
                // outcome. A pause beyond the deadline ends the call for that reason, whereas
                // `None` would count as too many attempts.
                Class::OutcomeUnknown => self.retry.pauses_until_known().map(|_| Duration::MAX),
                _ => pause,
            })
            .await;
        let (attempts, delay) = (retried.attempts(), retried.delay());
        let decided = retried.into_result().map_err(Error::from)??;
        self.note_appended(decided.bookmark());
        Ok(Decided { attempts, conflicts: counter.conflicts(), delay, ..decided })
    }
}

/// The conflicts of a decision, and its lock of the boundary: decisions of this store with the same
/// filter run one after the other once one of them has met a conflict.
struct DecisionState<'a> {
    boundary_locks: &'a KeyedMutex,
    filter: &'a Filter,
    counter: &'a DecisionCounter<'a>,
    /// The lock of the boundary, once the decision has it.
    guard: Mutex<Option<KeyedGuard<'a>>>,
    /// Whether the decision's wait for the boundary's lock has timed out.
    has_timed_out: AtomicBool,
}

impl<'a> DecisionState<'a> {
    fn new(
        boundary_locks: &'a KeyedMutex,
        filter: &'a Filter,
        counter: &'a DecisionCounter<'a>,
    ) -> Self {
        Self {
            boundary_locks,
            filter,
            counter,
            guard: Mutex::default(),
            has_timed_out: AtomicBool::new(false),
        }
    }

    /// Locks the boundary in this process if it is contended, and keeps it locked for all further
    /// attempts.
    ///
    /// The decision goes on without the lock after the time of an attempt, or after
    /// [`MAX_BOUNDARY_WAIT`]: a slow decision must not block all others, and a decision made within
    /// another one must not deadlock. It waits only once, so that there is time left for an attempt
    /// under the log's lock.
    async fn lock_boundary(&self, deadline: AttemptDeadline) {
        let is_locked = self.guard.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let is_done = is_locked || self.has_timed_out.load(Ordering::Relaxed);
        if is_done || self.counter.conflicts() == 0 && !self.boundary_locks.is_locked(self.filter) {
            return;
        }
        let locking = timeout(MAX_BOUNDARY_WAIT, self.boundary_locks.lock(self.filter));
        match deadline.run(locking).await {
            Ok(Ok(guard)) => {
                *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
            }
            _ => self.has_timed_out.store(true, Ordering::Relaxed),
        }
    }
}

/// One attempt of a decision. An error that `decide` returns is an answer of the attempt, not its
/// failure.
pub(super) struct DecideAttempt<'a, D> {
    pub(super) store: &'a Store<ReadWrite>,
    pub(super) query: &'a Query,
    pub(super) decide: &'a D,
    pub(super) counter: &'a DecisionCounter<'a>,
    pub(super) started: Instant,
}

impl<D> DecideAttempt<'_, D> {
    /// Reads, decides and appends without a lock. The append fails if there is a conflict.
    async fn optimistic<T, E: From<Error>>(&self) -> Result<Result<Decided<T>, E>, Error>
    where
        D: Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    {
        let deadline = self.store.attempt_deadline(self.started);
        let history = match self.store.query_once(self.query, deadline).await {
            Err(error) if is_final(&error) => return Ok(Err(error.into())),
            result => result?,
        };
        self.counter.note_events(history.events().len());
        let (events, value) = match (self.decide)(&history) {
            Ok(decision) => decision.into_parts(),
            Err(error) => return Ok(Err(error)),
        };
        if events.is_empty() {
            return Ok(Ok(decided(value, None, history.bookmark(), false)));
        }
        let condition = history.condition();
        let operation = self.store.operation(OperationName::Append, SCOPE);
        let handle = operation.handle().clone();
        let call = AppendCall::new(self.store, events.into(), condition, self.started, handle);
        let appended = call.record(operation, call.run_once()).await?;
        Ok(Ok(decided(value, Some(appended), history.bookmark(), false)))
    }
}

/// Returns whether the read of each further attempt would fail as well: the query's own bookmark is
/// lost.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(error, Error::PositionLost { .. })
}

/// Returns the result of an attempt. The numbers of attempts and conflicts and the delay are set at
/// the end of the call.
pub(super) fn decided<T>(
    value: T,
    appended: Option<Appended>,
    history: Bookmark,
    escalated: bool,
) -> Decided<T> {
    let appended_last = appended.map(|appended| appended.bookmark());
    let is_newer = |last: &Bookmark| last.position() > history.position();
    let position = appended_last.filter(is_newer).unwrap_or(history);
    let (attempts, conflicts, delay) = (1, 0, Duration::ZERO);
    Decided { value, appended, position, attempts, conflicts, delay, escalated }
}

/// The scope under which decisions are counted.
pub(super) const SCOPE: &str = "decide";
/// The longest time that a decision waits for the lock of its boundary.
const MAX_BOUNDARY_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RetryPolicy, Role, Telemetry};

    #[tokio::test(start_paused = true)]
    async fn a_decision_goes_on_without_a_lock_that_it_waited_for_too_long() {
        let (boundary_locks, filter) = (KeyedMutex::default(), Filter::everything());
        let first = boundary_locks.lock(&filter).await;

        let telemetry = Telemetry::default().of_store("test", Role::Primary);
        let counter = DecisionCounter::new(&telemetry, "test");
        let second = DecisionState::new(&boundary_locks, &filter, &counter);
        second.lock_boundary(AttemptDeadline::new(&RetryPolicy::never(), Instant::now())).await;

        assert!(second.guard.lock().unwrap().is_none());
        // The next attempt does not wait again.
        let began = Instant::now();
        counter.count_conflict();
        second.lock_boundary(AttemptDeadline::new(&RetryPolicy::never(), began)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(first);
    }
}
