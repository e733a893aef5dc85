use std::sync::Arc;

use super::append::{AppendCall, check_events};
use super::decide::{DecideAttempt, SCOPE, decided, is_final};
use super::locked_transaction::{LockedOutcome, LockedTransaction};
use crate::telemetry::{Operation, OperationName};
use crate::{Appended, Decided, Decision, Error, Event, History, ReadWrite};

impl<D> DecideAttempt<'_, D> {
    /// Takes the log's lock, reads, decides and appends, all in one transaction. No other append is
    /// committed between the read and the append. SAFETY.md, Decisions under the lock.
    pub(super) async fn locked<T, E: From<Error>>(&self) -> Result<Result<Decided<T>, E>, Error>
    where
        D: Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    {
        let mut operation = self.store.operation(OperationName::Decide, SCOPE);
        let result = self.decide_under_lock(&mut operation).await;
        operation.finish(result)
    }

    async fn decide_under_lock<T, E: From<Error>>(
        &self,
        operation: &mut Operation,
    ) -> Result<Result<Decided<T>, E>, Error>
    where
        D: Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    {
        let deadline = self.store.attempt_deadline(self.started);
        let transaction =
            LockedTransaction::begin(self.store, self.query, operation.handle(), deadline).await;
        let transaction = match transaction {
            Err(error) if is_final(&error) => return Ok(Err(error.into())),
            result => result?,
        };
        let history = transaction.history();
        let position = history.bookmark();
        operation.count_read(history.events().len() as u64);
        self.counter.note_events(history.events().len());

        let decision = (self.decide)(history);
        let in_time = transaction.check_decision_time();
        let (events, value) = match decision {
            Ok(decision) => decision.into_parts(),
            Err(error) => {
                transaction.roll_back().await;
                return Ok(Err(error));
            }
        };
        if events.is_empty() {
            transaction.roll_back().await;
            return Ok(Ok(decided(value, None, position, true)));
        }
        if let Err(error) = in_time.and_then(|()| check_events(&events)) {
            transaction.roll_back().await;
            return Err(error);
        }
        let appended = self.append_and_resolve(transaction, events.into(), operation).await?;
        Ok(Ok(decided(value, Some(appended), position, true)))
    }

    /// Appends the events that were decided. If the server does not append them, or the outcome is
    /// unknown, further attempts append them again, without the lock.
    async fn append_and_resolve(
        &self,
        mut transaction: LockedTransaction<'_>,
        events: Arc<[Event]>,
        operation: &mut Operation,
    ) -> Result<Appended, Error> {
        let condition = transaction.history().condition();
        let outcome = transaction.append(&events).await;
        let (waited, allowed) = (transaction.decision_time(), self.store.shared.decision_timeout);
        // The lock has ended with the transaction. If an answer is missing, the connection is
        // closed here, and the lock ends when the server notices that. Another attempt waits for
        // it.
        drop(transaction);

        let handle = operation.handle().clone();
        let call = AppendCall::new(self.store, events, condition, self.started, handle);
        let was_lost = outcome.as_ref().is_err_and(Error::is_outcome_unknown);
        let result = match outcome {
            Ok(LockedOutcome::Appended(appended)) => Ok(appended),
            Ok(LockedOutcome::NotAppended) => call.attempt().await,
            Err(error) => Err(error),
        };
        // Another append can be committed between the decision and a further attempt, since the
        // lock has ended. Then the error names the reason for that: the decision took too long, or
        // the connection was lost.
        let appended = call.resolve_unknown(result).await.map_err(|error| match error {
            Error::Conflict { .. } if waited >= allowed => {
                Error::DecisionTimedOut { waited, allowed }
            }
            Error::Conflict { .. } if was_lost => self.store.first_server().lost(error),
            error => error,
        })?;
        operation.count_appended(call.new_events(&appended));
        Ok(appended)
    }
}
