use futures_util::future::{join, join4};
use tokio_postgres::error::Severity;
use uuid::Uuid;

use super::limit::{Limit, timed_out};
use crate::error::{BoxError, cause};
use crate::pool::{Lease, sent};
use crate::server::Server;
use crate::sql::{self, Occasion, Verdict};
use crate::{Error, Event};

/// An append's transaction, to be run as often as it takes.
pub(super) struct Transaction<'a> {
    pub(super) lock: sql::Statement<'static>,
    pub(super) append: sql::Statement<'a>,
    pub(super) events: &'a [Event],
    pub(super) occasion: Occasion,
    /// The name of the constraint by which an event is refused that is in the log already.
    pub(super) ids: String,
}

impl Transaction<'_> {
    /// Runs the transaction in one round trip, and returns what was judged and committed.
    ///
    /// All four requests are written at the first poll, before any can be waited for: dropped then
    /// or later, the transaction is complete on the wire, and the connection answers the next
    /// request after it. `COMMIT` of a transaction that failed rolls it back.
    pub(super) async fn run(&self, lease: &mut Lease, limit: Limit) -> Result<Verdict, Error> {
        let server = lease.server().clone();
        let (lock, append) = limit
            .of(&server, async {
                let lock = lease.prepare(&self.lock.text).await?;
                Ok((lock, lease.prepare(&self.append.text).await?))
            })
            .await?;
        let client = lease.client();
        if client.is_closed() {
            return Err(server.lost("it was closed before the append was sent"));
        }

        let answers = join4(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
            sent(client, &lock, &self.lock),
            sent(client, &append, &self.append),
            client.batch_execute("COMMIT"),
        );
        let (begun, locked, appended, committed) = match limit.hold(answers).await {
            Ok(answers) => answers,
            Err(waited) => {
                // Nobody knows when it will answer again.
                lease.hold();
                return Err(outcome_unknown(&server, self.events, timed_out(&server, waited)));
            }
        };

        begun.map_err(|error| self.refused(&server, error))?;
        locked.map_err(|error| self.refused(&server, error))?;
        self.verdict(&server, appended, committed)
    }

    /// Ends a transaction in which the lock is held already: sends the append and the `COMMIT`.
    pub(super) async fn finish(&self, lease: &mut Lease, limit: Limit) -> Result<Verdict, Error> {
        let server = lease.server().clone();
        let append = limit.of(&server, lease.prepare(&self.append.text)).await?;
        let client = lease.client();
        let answers = join(sent(client, &append, &self.append), client.batch_execute("COMMIT"));
        match limit.hold(answers).await {
            Ok((appended, committed)) => self.verdict(&server, appended, committed),
            Err(waited) => Err(outcome_unknown(&server, self.events, timed_out(&server, waited))),
        }
    }

    fn verdict(
        &self,
        server: &Server,
        appended: Result<Option<tokio_postgres::Row>, tokio_postgres::Error>,
        committed: Result<(), tokio_postgres::Error>,
    ) -> Result<Verdict, Error> {
        let row = match appended {
            Ok(row) => row,
            Err(error) if self.finds_ids_taken(&error) => return Ok(Verdict::Taken),
            Err(error) => return Err(self.refused(server, error)),
        };
        let unknown = |source: BoxError| outcome_unknown(server, self.events, source);
        let row = row.ok_or_else(|| unknown("the append was answered without a row".into()))?;
        let verdict = Verdict::decode(&row, self.events.len());
        let verdict = verdict.map_err(|error| unknown(error.into()))?;
        match (committed, &verdict) {
            (Err(error), Verdict::Accepted { .. }) => Err(self.refused(server, error)),
            _ => Ok(verdict),
        }
    }

    fn finds_ids_taken(&self, error: &tokio_postgres::Error) -> bool {
        self.occasion == Occasion::First
            && is_refusal(error)
            && error.as_db_error().is_some_and(|error| error.constraint() == Some(&self.ids))
    }

    fn refused(&self, server: &Server, error: tokio_postgres::Error) -> Error {
        match is_refusal(&error) {
            true => server.error(error),
            false => outcome_unknown(server, self.events, error),
        }
    }
}

/// Returns whether the server said that it did not carry a request out. With a fatal error it says
/// that the connection ends, which may be while it commits.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().map(|error| error.parsed_severity());
    severity == Some(Some(Severity::Error))
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
