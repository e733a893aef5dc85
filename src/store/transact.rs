use std::time::Duration;

use futures_util::future::{join3, join4};
use uuid::Uuid;

use super::limit::{Limit, timed_out};
use crate::error::{BoxError, Cause, cause};
use crate::log::LogName;
use crate::pool::{Form, Lease, sent};
use crate::server::{Server, ends_connection};
use crate::sql::{self, Occasion, Verdict};
use crate::{Error, Event};

/// An append's transaction, to be run as often as it takes.
pub(super) struct Transaction<'a> {
    pub(super) log: &'a LogName,
    pub(super) lock: sql::Statement<'static>,
    pub(super) append: sql::Statement<'a>,
    pub(super) events: &'a [Event],
    pub(super) occasion: Occasion,
    /// How long the server has to wait for a large append, where that is longer than it does.
    pub(super) for_client: Option<Duration>,
}

impl Transaction<'_> {
    /// Runs the transaction in one round trip, and returns what was judged and committed.
    ///
    /// All four requests are written at the first poll, before any can be waited for: dropped then
    /// or later, the transaction is complete on the wire. The connection is closed then, and the
    /// server's process ended: it may wait for the lock for long, and whoever got the connection
    /// next would have to wait behind it. `COMMIT` of a transaction that failed rolls it back.
    pub(super) async fn run(&self, lease: &mut Lease, limit: Limit) -> Result<Verdict, Error> {
        let server = lease.server().clone();
        let (lock, append) = limit
            .of(&server, async {
                let lock = lease.prepare(&self.lock.text).await?;
                Ok((lock, lease.prepare(&self.append.text).await?))
            })
            .await?;
        check_open(lease)?;

        lease.hold();
        lease.begin();
        let client = lease.client();
        let answers = join4(
            client.batch_execute(lease.begin_text()),
            sent(client, &lock, &self.lock),
            sent(client, &append, &self.append),
            client.batch_execute("COMMIT"),
        );
        let answers = limit.hold(answers).await;
        let (begun, locked, appended, committed) = match answers {
            Ok(answers) => answers,
            Err(waited) => return Err(self.unanswered(lease, waited)),
        };
        lease.release();
        begun.map_err(|error| self.failed(lease, error))?;
        if let Err(error) = locked {
            let error = self.failed(lease, error);
            return Err(name_holder(self.log, lease, error, limit).await);
        }
        self.verdict(lease, appended, committed)
    }

    /// Ends a transaction in which the lock is held already: sends the append and the `COMMIT`.
    pub(super) async fn finish(&self, lease: &mut Lease, limit: Limit) -> Result<Verdict, Error> {
        let server = lease.server().clone();
        let append = limit.of(&server, lease.prepare(&self.append.text)).await?;
        lease.begin();
        let client = lease.client();
        // It has arrived, and counts, when a large append begins to.
        let allowed = async {
            match self.for_client {
                Some(time) => client.batch_execute(&sql::wait_for_client(time)).await,
                None => Ok(()),
            }
        };
        let answers =
            join3(allowed, sent(client, &append, &self.append), client.batch_execute("COMMIT"));
        let answers = limit.hold(answers).await;
        let (allowed, appended, committed) = match answers {
            Ok(answers) => answers,
            Err(waited) => return Err(self.unanswered(lease, waited)),
        };
        allowed.map_err(|error| self.failed(lease, error))?;
        self.verdict(lease, appended, committed)
    }

    fn verdict(
        &self,
        lease: &mut Lease,
        appended: Result<Option<tokio_postgres::Row>, tokio_postgres::Error>,
        committed: Result<(), tokio_postgres::Error>,
    ) -> Result<Verdict, Error> {
        let row = match appended {
            Ok(row) => row,
            Err(error) if self.occasion == Occasion::First && finds_ids_taken(self.log, &error) => {
                return Ok(Verdict::Taken);
            }
            Err(error) => return Err(self.failed(lease, error)),
        };
        let unknown = |source: BoxError| outcome_unknown(lease.server(), self.events, source);
        let row = row.ok_or_else(|| unknown("the append was answered without a row".into()))?;
        let verdict = Verdict::decode(&row, self.events.len());
        let verdict = verdict.map_err(|error| unknown(error.into()))?;
        match (committed, &verdict) {
            (Err(error), Verdict::Accepted { .. } | Verdict::Stored { .. }) => {
                Err(self.failed(lease, error))
            }
            _ => Ok(verdict),
        }
    }

    fn failed(&self, lease: &mut Lease, error: tokio_postgres::Error) -> Error {
        match lease.failed_append(error) {
            Error::OutcomeUnknown { source, .. } => {
                outcome_unknown(lease.server(), self.events, source)
            }
            error => error,
        }
    }

    fn unanswered(&self, lease: &mut Lease, waited: Duration) -> Error {
        lease.give_up();
        outcome_unknown(lease.server(), self.events, timed_out(lease.server(), waited))
    }
}

/// Returns whether an append failed because the log holds one of its events already.
pub(super) fn finds_ids_taken(log: &LogName, error: &tokio_postgres::Error) -> bool {
    !ends_connection(error)
        && error
            .as_db_error()
            .and_then(|error| error.constraint())
            .is_some_and(|constraint| constraint == sql::ids_constraint(log))
}

/// Fails where nothing can be sent any more.
pub(super) fn check_open(lease: &Lease) -> Result<(), Error> {
    match lease.client().is_closed() {
        true => Err(lease.server().lost("it was closed before the append was sent")),
        false => Ok(()),
    }
}

/// Ends a transaction that has nothing to store. Where that is not answered the connection is
/// closed, and what was decided is decided all the same.
pub(super) async fn release(lease: &mut Lease, limit: Limit) {
    lease.begin();
    let ended = limit.hold(lease.client().batch_execute("ROLLBACK")).await;
    if let Ok(Ok(())) = ended {
        lease.release();
    }
}

/// Adds to a failure to get the lock who has it, as far as can be known.
pub(super) async fn name_holder(
    log: &LogName,
    lease: &mut Lease,
    mut error: Error,
    limit: Limit,
) -> Error {
    if let Error::Database { sqlstate, source, .. } = &mut error
        && sqlstate.as_str() == "55P03"
    {
        let holder = sql::lock_holder(log);
        let asked = limit.hold(sent(lease.client(), &Form::Unnamed, &holder)).await;
        match asked {
            Ok(Ok(Some(row))) => {
                if let Ok(holder) = row.try_get(0) {
                    *source = cause(LockHeld { holder, source: source.clone() });
                }
            }
            Ok(_) => {}
            Err(_) => lease.give_up(),
        }
    }
    error
}

/// Says that the events may have been stored.
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
