use uuid::Uuid;

use super::deadline::AttemptDeadline;
use crate::error::{BoxError, Cause, cause};
use crate::log_name::LogName;
use crate::pool::{Lease, StatementHandle, sent};
use crate::server::{Server, ends_connection};
use crate::{Error, Event, sql};

/// Returns whether an append failed because the log holds the id of one of its events.
pub(super) fn finds_id_taken(log: &LogName, error: &tokio_postgres::Error) -> bool {
    !ends_connection(error)
        && error
            .as_db_error()
            .and_then(|error| error.constraint())
            .is_some_and(|constraint| constraint == sql::ids_constraint(log))
}

/// Says what the failure of an append means. If its outcome is unknown, it is that of these events.
pub(super) fn failed_append(
    lease: &mut Lease,
    events: &[Event],
    error: tokio_postgres::Error,
) -> Error {
    match lease.failed_append(error) {
        Error::OutcomeUnknown { source, .. } => outcome_unknown(lease.server(), events, source),
        error => error,
    }
}

/// Returns whether the server may answer so although it has committed the append: if the append was
/// canceled, or memory ran out, between its commit and the end of the call.
pub(super) fn follows_commit(error: &Error) -> bool {
    let code = error.sqlstate().map(|code| code.as_str());
    code.is_some_and(|code| code == "57014" || code == "53200")
}

/// Fails if nothing can be sent any more.
pub(super) fn check_open(lease: &Lease) -> Result<(), Error> {
    match lease.client().is_closed() {
        true => Err(lease.server().lost("it was closed before the append was sent")),
        false => Ok(()),
    }
}

/// Rolls a transaction back that has nothing to append. If that is not answered, the connection is
/// closed.
pub(super) async fn release(lease: &mut Lease, limit: AttemptDeadline) {
    lease.start_clock();
    let ended = limit.run(lease.client().batch_execute("ROLLBACK")).await;
    if let Ok(Ok(())) = ended {
        lease.leave_transaction();
    }
}

/// Adds to a lock timeout what holds the log's lock, as far as the server tells.
pub(super) async fn name_holder(
    log: &LogName,
    lease: &mut Lease,
    mut error: Error,
    limit: AttemptDeadline,
) -> Error {
    if let Error::Database { sqlstate, source, .. } = &mut error
        && sqlstate.as_str() == "55P03"
    {
        let holder = sql::lock_holder(log);
        let asked = limit.run(sent(lease.client(), &StatementHandle::Unnamed, &holder)).await;
        match asked {
            Ok(Ok(Some(row))) => {
                if let Ok(holder) = row.try_get(0) {
                    *source = cause(LockHeld { holder, source: source.clone() });
                }
            }
            Ok(_) => {}
            Err(_) => lease.discard(),
        }
    }
    error
}

/// Makes the error that says that the events may have been appended.
pub(super) fn outcome_unknown(
    server: &Server,
    events: &[Event],
    source: impl Into<BoxError>,
) -> Error {
    Error::OutcomeUnknown {
        server: server.to_string(),
        event_ids: events.iter().map(Event::id).collect::<Vec<Uuid>>(),
        source: cause(source),
    }
}

/// The log's lock could not be had in time.
#[derive(Debug, thiserror::Error)]
#[error("the log's lock is held by {holder}")]
struct LockHeld {
    holder: String,
    source: Cause,
}
