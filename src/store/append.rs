//! Appends, with their attempts and with the searches that they need outside of the log's lock.

mod call;
mod events;
mod search;

use tokio::time::Instant;

pub(super) use self::call::{AppendCall, SCOPE};
pub(super) use self::events::{check_events, json_bytes};
use super::Store;
use crate::telemetry::{OperationName, RetryCall};
use crate::{AppendCondition, Appended, Error, Event, ReadWrite};

impl Store<ReadWrite> {
    /// Appends events in the given order, all of them or none, if the condition holds.
    ///
    /// The condition is checked against every event committed before the append: if the append is
    /// accepted, no event that matches the condition's filter was committed after the position that
    /// the condition names. When this method returns, the events are as durable as the server's
    /// `synchronous_commit` setting makes them.
    ///
    /// Concurrent appends of a store share one transaction and one WAL flush, as
    /// [`Config::max_batch`](crate::Config::max_batch) says. Each condition is validated on its
    /// own. To use this, append from many tasks at once.
    ///
    /// An append of 64 KiB of JSON or more, or of more than 256 events, has a transaction of its
    /// own. Other appends do not wait while its events are sent. It may use all of the time that is
    /// left to its call or, if the retry policy has no deadline, the timeout of an attempt.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Event, Filter, ReadWrite, Store};
    /// # async fn lend(writer: Store<ReadWrite>) -> Result<(), Error> {
    /// let loans = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
    ///     .any_of([("BookID", "b-7")])
    ///     .build()?;
    /// let history = writer.query(&loans).await?;
    /// // Decide from `history.events()` that the book copy is free, then:
    /// let loan = serde_json::json!({ "BookID": "b-7", "ReaderID": "r-1" });
    /// let event = Event::new("BookCopyLentToReader", &loan)?;
    /// match writer.append([event], history.condition()).await {
    ///     Ok(appended) => println!("lent, at position {}", appended.last()),
    ///     Err(error) if error.is_conflict() => println!("another loan came first"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Nothing twice
    ///
    /// The store repeats an append as its [`RetryPolicy`](crate::RetryPolicy) says: after transient
    /// failures, by which nothing was stored, and after unknown outcomes. The ids of the events
    /// make this safe, whatever the condition. If the log already holds all of the events, with the
    /// same contents, the append returns their positions. This also applies to later calls of any
    /// process: a program that was interrupted may append the same events again, with the same ids
    /// and times. A conflict is never retried, because the decision is out of date.
    ///
    /// # Errors
    ///
    /// - [`Error::Conflict`]: the condition does not hold.
    /// - [`Error::PositionAhead`]: the log has not reached the position that the condition names.
    /// - [`Error::PositionLost`]: the event at the position that the condition names is lost, by a
    ///   failover or a restore.
    /// - [`Error::InvalidAppend`]: there is no event, two events have the same id, or the events
    ///   exceed [`MAX_APPEND_EVENTS`](crate::limits::MAX_APPEND_EVENTS) or
    ///   [`MAX_APPEND_BYTES`](crate::limits::MAX_APPEND_BYTES).
    /// - [`Error::DuplicateEvent`]: the log holds one of the ids, with other contents or without
    ///   the other events.
    /// - [`Error::Unreachable`], [`Error::PoolExhausted`], [`Error::ConnectionLost`] and
    ///   [`Error::TimedOut`]: the request did not reach the primary, or the events did not arrive
    ///   in time.
    /// - [`Error::SchemaDamaged`]: the next number of the log's sequence does not lie above the
    ///   log's head.
    /// - [`Error::Database`]: the primary refused the append.
    /// - [`Error::QueueFull`]: too many appends wait already
    ///   ([`Config::queue_full`](crate::Config::queue_full)).
    ///
    /// With all of these errors, nothing was stored.
    ///
    /// - [`Error::OutcomeUnknown`]: the append was or may have been sent, and its answer did not
    ///   arrive: the connection was lost, the time was up, or the runtime of the task that sent it
    ///   was shut down. And the store could not find out before the deadline whether the events are
    ///   stored. All of them are stored, or none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, all of the events are stored or none, perhaps a moment later. An
    /// append that still waits in the queue is removed and stores nothing. An append that was sent
    /// is stored if the server accepts it. To find out, call the same append again.
    pub async fn append(
        &self,
        events: impl IntoIterator<Item = Event>,
        condition: AppendCondition,
    ) -> Result<Appended, Error> {
        let events = events.into_iter().collect();
        let operation = self.operation(OperationName::Append, SCOPE);
        let handle = operation.handle().clone();
        let call = AppendCall::new(self, events, condition, Instant::now(), handle);
        let appended = call.record(operation, call.run()).await?;
        self.note_appended(appended.bookmark());
        Ok(appended)
    }

    /// Makes attempts to store events, as the retry policy says.
    ///
    /// After an unknown outcome the attempts go on up to the call's deadline, even if they are more
    /// than the policy allows, in order to find out the outcome. The pauses between these
    /// additional attempts are those of `RetryPolicy::pauses_until_known`. There are no additional
    /// attempts if the policy allows a single attempt or has no deadline.
    pub(super) async fn retry_until_known<O, F, T>(
        &self,
        call: RetryCall,
        started: Instant,
        is_retried: impl Fn(&Error) -> bool,
        attempt: O,
    ) -> Result<T, Error>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let policy = &self.retry;
        let mut extra_pauses = policy.pauses_until_known();
        self.retry_as(call, attempt)
            .started_at(started)
            .when(is_retried)
            .adjust(|error, pause| {
                if !error.is_outcome_unknown() {
                    return pause;
                }
                let pause = pause.or_else(|| extra_pauses.as_mut()?.next())?;
                let ends = policy.ends(started);
                let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
                // Half of the time left: an attempt must fit in after the last pause.
                Some(left.map_or(pause, |left| pause.min(left / 2)))
            })
            .await
            .into_result()
            .map_err(Error::from)
    }
}
