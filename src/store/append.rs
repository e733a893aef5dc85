use std::collections::HashSet;

use futures_util::future::join4;
use tokio_postgres::error::Severity;
use uuid::Uuid;

use super::Store;
use crate::error::{BoxError, cause};
use crate::pool::{Lease, sent};
use crate::server::Server;
use crate::sql::{self, Append, Staleness, Verdict};
use crate::telemetry::OperationName;
use crate::{AppendCondition, Appended, Class, Error, Event, ReadWrite, Reason};

/// The most events of one append.
pub const MAX_APPEND_EVENTS: usize = 100_000;

/// The most bytes of payload and metadata of one append.
pub const MAX_APPEND_BYTES: usize = 256 << 20;

/// From how many events behind the end of the log on a condition is judged by index.
const STALE_AFTER: u64 = 1_000;

impl Store<ReadWrite> {
    /// Appends events in the order given, all of them or none, if the condition holds.
    ///
    /// An accepted append has seen everything: no event that matches its condition's filter was
    /// committed after the position that the condition names, by whomever. It is as durable as the
    /// server's `synchronous_commit` says when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] where the condition does not hold, [`Error::PositionAhead`] where it
    /// names a position that the log has not reached, [`Error::InvalidAppend`] where there is no
    /// event, two have the same id, or there is more than [`MAX_APPEND_EVENTS`] or
    /// [`MAX_APPEND_BYTES`] allow, [`Error::Unreachable`], [`Error::PoolExhausted`] and
    /// [`Error::ConnectionLost`] where the primary could not be asked, [`Error::Database`] where
    /// it refused. In all of these nothing was stored.
    ///
    /// [`Error::OutcomeUnknown`] where the connection was lost before the answer came: the events
    /// were stored, all of them, or they were not.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stores all of its events or none, perhaps a moment later: a condition from before
    /// may then be broken by them. Which it is can only be known by reading.
    pub async fn append(
        &self,
        events: impl IntoIterator<Item = Event>,
        condition: AppendCondition,
    ) -> Result<Appended, Error> {
        let events: Vec<_> = events.into_iter().collect();
        let operation = self.operation(OperationName::Append);
        let result = self.try_append(&events, &condition).await;
        operation.finish(result, |_| events.len() as u64)
    }

    async fn try_append(
        &self,
        events: &[Event],
        condition: &AppendCondition,
    ) -> Result<Appended, Error> {
        check(events)?;
        let log = &self.shared.log;
        let staleness = self.staleness(condition);
        let lock = sql::lock(log, staleness);
        let append = Append { events, guard: condition.guard(), staleness }.statement(log);

        let mut lease = self.first().acquire().await?;
        let verdict = transact(&mut lease, &lock, &append, events).await?;
        self.judge(verdict, condition, lease.server())
    }

    fn staleness(&self, condition: &AppendCondition) -> Staleness {
        let newest = self.shared.newest.load(std::sync::atomic::Ordering::Relaxed);
        match condition.guard() {
            Some(guard) if newest.saturating_sub(guard.after.value()) > STALE_AFTER => {
                Staleness::Stale
            }
            _ => Staleness::Fresh,
        }
    }

    fn judge(
        &self,
        verdict: Verdict,
        condition: &AppendCondition,
        server: &Server,
    ) -> Result<Appended, Error> {
        let after = condition.guard().map(|guard| guard.after).unwrap_or_default();
        match verdict {
            Verdict::Accepted { first, last } => {
                self.shared.note_newest(last);
                Ok(Appended::new(first, last))
            }
            Verdict::Ahead { head } => Err(Error::PositionAhead { position: after, head }),
            Verdict::Broken { event, event_type } => {
                self.shared.note_newest(event);
                Err(Error::Conflict { after, event, event_type })
            }
            Verdict::Unlocked => Err(Error::UnfitServer {
                server: server.to_string(),
                reason: "the append ran outside of its transaction".into(),
                class: Class::Permanent(Reason::Bug),
            }),
        }
    }
}

/// Runs the append's transaction in one round trip, and returns what was judged and committed.
///
/// All four requests are written at the first poll, before any can be waited for: dropped then or
/// later, the transaction is complete on the wire, and the connection answers the next request
/// after it. `COMMIT` of a transaction that failed rolls it back.
async fn transact(
    lease: &mut Lease,
    lock: &sql::Statement<'_>,
    append: &sql::Statement<'_>,
    events: &[Event],
) -> Result<Verdict, Error> {
    let lock_form = lease.prepare(&lock.text).await?;
    let append_form = lease.prepare(&append.text).await?;
    let server = lease.server();
    let client = lease.client();
    if client.is_closed() {
        return Err(server.lost("it was closed before the append was sent"));
    }

    let (begun, locked, appended, committed) = join4(
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
        sent(client, &lock_form, lock),
        sent(client, &append_form, append),
        client.batch_execute("COMMIT"),
    )
    .await;

    let unknown = |error: tokio_postgres::Error| outcome_unknown(server, events, error);
    let refused = |error: tokio_postgres::Error| match is_refusal(&error) {
        true => server.error(error),
        false => unknown(error),
    };
    begun.map_err(refused)?;
    locked.map_err(refused)?;
    let row = appended.map_err(refused)?;
    let row = row.ok_or_else(|| server.lost("the append was answered without a row"))?;
    let verdict = Verdict::decode(&row).map_err(unknown)?;
    match (committed, &verdict) {
        (Err(error), Verdict::Accepted { .. }) => Err(refused(error)),
        _ => Ok(verdict),
    }
}

/// Returns whether the server said that it did not carry a request out. With a fatal error it says
/// that the connection ends, which may be while it commits.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().map(|error| error.parsed_severity());
    severity == Some(Some(Severity::Error))
}

fn outcome_unknown(server: &Server, events: &[Event], source: impl Into<BoxError>) -> Error {
    Error::OutcomeUnknown {
        server: server.to_string(),
        event_ids: events.iter().map(Event::id).collect(),
        source: cause(source),
    }
}

fn check(events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Err(Error::invalid_append("has no event"));
    }
    if events.len() > MAX_APPEND_EVENTS {
        let count = events.len();
        let reason = format!("has {count} events, the most are {MAX_APPEND_EVENTS}");
        return Err(Error::invalid_append(reason));
    }
    let bytes: usize =
        events.iter().map(|event| event.payload_json().len() + event.metadata_json().len()).sum();
    if bytes > MAX_APPEND_BYTES {
        let reason = format!("has {bytes} bytes of JSON, the most are {MAX_APPEND_BYTES}");
        return Err(Error::invalid_append(reason));
    }
    let ids: HashSet<Uuid> = events.iter().map(Event::id).collect();
    if ids.len() < events.len() {
        return Err(Error::invalid_append("has two events of the same id"));
    }
    Ok(())
}
