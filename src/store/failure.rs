use uuid::Uuid;

use super::deadline::AttemptDeadline;
use crate::error::{BoxError, Cause, cause};
use crate::log_name::LogName;
use crate::pool::{Lease, StatementHandle, fetch_row};
use crate::server::{Server, ends_connection};
use crate::telemetry::Exchange;
use crate::{Error, Event, sql};

/// The reason why an append or a batch failed. It may have been appended if the error is an unknown
/// outcome, or one that [may follow the commit](may_follow_commit).
pub(super) enum AppendFailure {
    /// An error. If a batch has an unknown outcome, the error does not name the events.
    Error(Error),
    /// The log holds the id of one of the events.
    IdTaken,
}

/// Ends the exchange of an append with its answer.
pub(super) fn end_exchange<T>(exchange: Exchange, answer: &Result<T, AppendFailure>) {
    match answer {
        Ok(_) => exchange.answered(),
        Err(AppendFailure::Error(error)) => exchange.failed(error),
        Err(AppendFailure::IdTaken) => exchange.refused(UNIQUE_VIOLATION),
    }
}

/// Returns whether an append failed because the log holds the id of one of its events.
pub(super) fn is_id_taken(log: &LogName, error: &tokio_postgres::Error) -> bool {
    !ends_connection(error)
        && error
            .as_db_error()
            .and_then(|error| error.constraint())
            .is_some_and(|constraint| constraint == sql::ids_constraint(log))
}

/// Sets the event ids of an error of an append whose outcome is unknown.
pub(super) fn with_event_ids(error: Error, events: &[Event]) -> Error {
    match error {
        Error::OutcomeUnknown { server, source, .. } => {
            Error::OutcomeUnknown { server, event_ids: ids_of(events), source }
        }
        error => error,
    }
}

/// Returns whether the server may have committed an append that it answered with this error: the
/// append was canceled (57014), or memory ran out (53200), between its commit and the end of the
/// procedure call.
pub(super) fn may_follow_commit(error: &Error) -> bool {
    let code = error.sqlstate().map(|code| code.as_str());
    code.is_some_and(|code| code == "57014" || code == "53200")
}

/// Returns whether the server gave up waiting for a lock.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    error.sqlstate().is_some_and(|code| code.as_str() == "55P03")
}

/// Returns the row of an answer, which must have one.
pub(super) fn require_row<T>(row: Option<T>) -> Result<T, BoxError> {
    row.ok_or_else(|| "the server answered without a row".into())
}

/// Fails if the connection is closed, so that nothing can be sent.
pub(super) fn check_open(lease: &Lease) -> Result<(), Error> {
    match lease.client().is_closed() {
        true => Err(lease.server().lost("it was closed before the append was sent")),
        false => Ok(()),
    }
}

/// Rolls back a transaction that has nothing to append. If the server does not answer, the lease
/// stays marked as in a transaction, and its connection is closed when it is dropped.
pub(super) async fn roll_back(lease: &mut Lease, deadline: AttemptDeadline) {
    lease.start_clock();
    let ended = deadline.run(lease.client().batch_execute("ROLLBACK")).await;
    if let Ok(Ok(())) = ended {
        lease.leave_transaction();
    }
}

/// Adds the holder of the log's lock to the error of a lock timeout, if the server can name it.
pub(super) async fn add_lock_holder(
    log: &LogName,
    lease: &mut Lease,
    mut error: Error,
    deadline: AttemptDeadline,
) -> Error {
    if is_lock_timeout(&error)
        && let Error::Database { source, .. } = &mut error
        && let Some(holder) = lock_holder(log, lease, deadline).await
    {
        *source = cause(LockHeld { holder, source: source.clone() });
    }
    error
}

async fn lock_holder(
    log: &LogName,
    lease: &mut Lease,
    deadline: AttemptDeadline,
) -> Option<String> {
    let query = sql::lock_holder(log);
    let answer = deadline.run(fetch_row(lease.client(), &StatementHandle::Unnamed, &query)).await;
    if answer.is_err() {
        lease.discard();
    }
    answer.ok()?.ok()??.try_get(0).ok()
}

/// Returns the error of an append whose events may have been stored.
pub(super) fn outcome_unknown(
    server: &Server,
    events: &[Event],
    source: impl Into<BoxError>,
) -> Error {
    Error::OutcomeUnknown {
        server: server.to_string(),
        event_ids: ids_of(events),
        source: cause(source),
    }
}

fn ids_of(events: &[Event]) -> Vec<Uuid> {
    events.iter().map(Event::id).collect()
}

/// The cause of a lock timeout.
#[derive(Debug, thiserror::Error)]
#[error("the log's lock is held by {holder}")]
struct LockHeld {
    holder: String,
    source: Cause,
}

/// The SQLSTATE of a row whose id another one has.
const UNIQUE_VIOLATION: &str = "23505";
