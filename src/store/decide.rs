use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Store;
use super::append::AppendCall;
use super::deadline::AttemptDeadline;
use super::keyed_mutex::{KeyedGuard, KeyedMutex};
use crate::{
    Appended, Class, Decided, Decision, Error, Filter, History, Query, ReadWrite, SequenceNumber,
};

impl Store<ReadWrite> {
    /// Reads the events of a query, decides from them, and appends what was decided on the
    /// condition that nothing of the query's filter came in between; again, where something did.
    ///
    /// Every attempt reads afresh and asks `decide` anew, which must therefore do nothing but
    /// decide. Attempts that lost to another append, and such as met a transient fault, are
    /// repeated as the store's [`RetryPolicy`](crate::RetryPolicy) says, those that lost at once:
    /// there is nothing to wait for. After as many lost rounds
    /// as it names ([`escalate_after`](crate::retry::RetryPolicyBuilder::escalate_after)) the next one is
    /// held under the log's lock: read, decide and append, with no one else appending in between,
    /// so that it cannot lose. Nobody starves, however hot the boundary.
    ///
    /// `decide` may refuse with an error of its own, which ends the matter.
    ///
    /// The query must not leave out newer events, by [`up_to`](Query::up_to) or by a
    /// [`limit`](Query::limit) that keeps the oldest: they would break the condition in every round.
    /// A limit with [`newest_first`](Query::newest_first) is fine.
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
    /// println!("true at {}, decided {} times", decided.position(), decided.attempts());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DecisionTimedOut`] if `decide`, under the log's lock, took longer than
    /// [`Config::decision_timeout`](crate::Config::decision_timeout) allows: the server ends the
    /// transaction then, so that no other append waits for longer. The read under the lock may take five
    /// seconds, or [`Config::statement_timeout`](crate::Config::statement_timeout) if that is less; one
    /// that takes longer is an [`Error::Database`] with the SQLSTATE 57014.
    ///
    /// What `decide` refuses with, as it is. [`Error::InvalidQuery`] at once, without a call of
    /// `decide`, if the query leaves out newer events. Those of [`query`](Store::query) and
    /// [`append`](Self::append), of the last attempt where the policy allows no more:
    /// [`Error::Conflict`] where it lost every round, [`Error::OutcomeUnknown`] where it could not
    /// find out before the deadline whether its events are stored. With
    /// [`Error::OutcomeUnknown`] they may be; with every other error nothing was stored.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stores all events of one decision or none.
    pub async fn decide<T, E: From<Error>>(
        &self,
        query: impl Into<Query>,
        decide: impl Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    ) -> Result<Decided<T>, E> {
        let query = query.into();
        query.check_for_decision()?;
        let started = Instant::now();
        let contention = Contention::new(&self.shared.boundary_locks, &query.filter);
        let rounds = self.retry.escalate_after().unwrap_or(u32::MAX);
        let retried = self
            .retry_as(self.scope_or("decide"), async || {
                contention.wait_for_turn(self.limit(started)).await;
                let round = DecideAttempt { store: self, query: &query, decide: &decide, started };
                let result = match contention.lost() >= rounds {
                    true => Box::pin(round.locked()).await,
                    false => round.optimistic().await,
                };
                if result.as_ref().is_err_and(Error::is_conflict) {
                    contention.lose();
                }
                result
            })
            .started_at(started)
            .when(|error| {
                error.is_conflict() || error.is_repeatable() || error.is_outcome_unknown()
            })
            .adjust(|error, pause| match error.class() {
                Class::Conflict => pause.map(|_| Duration::ZERO),
                // It has been tried to the deadline to find out.
                Class::OutcomeUnknown => self.retry.patience().map(|_| Duration::MAX),
                _ => pause,
            })
            .await;
        let (attempts, delay) = (retried.attempts(), retried.delay());
        let decided = retried.into_result().map_err(Error::from)??;
        Ok(Decided { attempts, delay, ..decided })
    }
}

/// The rounds that a decision has lost to others, and its turn among those of this process.
struct Contention<'a> {
    boundary_locks: &'a KeyedMutex,
    filter: &'a Filter,
    lost: AtomicU32,
    turn: Mutex<Option<KeyedGuard<'a>>>,
    /// Whether it has waited for its turn in vain.
    goes_without: AtomicBool,
}

impl<'a> Contention<'a> {
    fn new(boundary_locks: &'a KeyedMutex, filter: &'a Filter) -> Self {
        Self {
            boundary_locks,
            filter,
            lost: AtomicU32::new(0),
            turn: Mutex::default(),
            goes_without: AtomicBool::new(false),
        }
    }

    fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for its turn where the boundary is contested, and keeps it. It goes on without where
    /// that takes longer than an attempt may, and than ten seconds: somebody slow must not hold up
    /// everybody else, and one that is decided within another must not wait for that for ever. It does so
    /// once, so that there is time left for a round under the log's lock.
    async fn wait_for_turn(&self, limit: AttemptDeadline) {
        let has_turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let goes_without = has_turn || self.goes_without.load(Ordering::Relaxed);
        if goes_without || self.lost() == 0 && !self.boundary_locks.is_locked(self.filter) {
            return;
        }
        let turn = timeout(PATIENCE, self.boundary_locks.lock(self.filter));
        match limit.run(turn).await {
            Ok(Ok(turn)) => {
                *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
            }
            _ => self.goes_without.store(true, Ordering::Relaxed),
        }
    }
}

/// One attempt to decide. What `decide` refuses with is an answer of the attempt, not its failure.
pub(super) struct DecideAttempt<'a, D> {
    pub(super) store: &'a Store<ReadWrite>,
    pub(super) query: &'a Query,
    pub(super) decide: &'a D,
    pub(super) started: Instant,
}

impl<D> DecideAttempt<'_, D> {
    async fn optimistic<T, E>(&self) -> Result<Result<Decided<T>, E>, Error>
    where
        D: Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    {
        let limit = AttemptDeadline::new(&self.store.retry, self.started);
        let history = self.store.query_once(self.query, limit).await?;
        let (events, value) = match (self.decide)(&history) {
            Ok(decision) => decision.into_parts(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        if events.is_empty() {
            return Ok(Ok(decided(value, None, history.position(), false)));
        }
        let condition = history.condition();
        let call = AppendCall::new(self.store, events.into(), condition, self.started);
        let appended = call.run_once().await?;
        let position = history.position().max(appended.last());
        Ok(Ok(decided(value, Some(appended), position, false)))
    }
}

/// Says how a decision was carried out, at its first attempt; the later ones are added by whoever
/// counts them.
pub(super) fn decided<T>(
    value: T,
    appended: Option<Appended>,
    position: SequenceNumber,
    escalated: bool,
) -> Decided<T> {
    Decided { value, appended, position, attempts: 1, delay: Duration::ZERO, escalated }
}

/// How long to wait for a turn at most.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RetryPolicy;

    #[tokio::test(start_paused = true)]
    async fn goes_on_without_a_turn_that_does_not_come() {
        let (boundary_locks, filter) = (KeyedMutex::default(), Filter::everything());
        let first = boundary_locks.lock(&filter).await;

        let second = Contention::new(&boundary_locks, &filter);
        second.wait_for_turn(AttemptDeadline::new(&RetryPolicy::never(), Instant::now())).await;

        assert!(second.turn.lock().unwrap().is_none());
        // The next round does not wait again.
        let began = Instant::now();
        second.lose();
        second.wait_for_turn(AttemptDeadline::new(&RetryPolicy::never(), began)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(first);
    }
}
