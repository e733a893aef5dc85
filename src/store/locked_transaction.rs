use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{join, join4};
use tokio::time::Instant;
use tokio_postgres::{Row, RowStream};

use super::Store;
use super::deadline::{AttemptDeadline, timed_out};
use super::failure::{
    add_lock_holder, is_id_taken, outcome_unknown, require_row, roll_back, with_event_ids,
};
use super::outcome::AppendOutcome;
use super::read_request::require_reached;
use super::shared::Shared;
use crate::error::BoxError;
use crate::pool::{Lease, fetch_row, send};
use crate::sql::{self, BatchAnswer, Head, LockedTimeouts, Precondition, Reading, TransactionEnd};
use crate::telemetry::{OperationHandle, OperationPhase, Request};
use crate::{Appended, Error, Event, History, Query, ReadWrite, SequencedEvent, ServedBy};

/// A transaction that holds the log's lock, and has read the events of a query.
///
/// It is the only kind of transaction that waits for this process while it holds the lock. If the
/// process dies, its connection ends, and the transaction with it. If the process is stopped or cut
/// off, the server ends the transaction after [`Config::decision_timeout`].
///
/// [`Config::decision_timeout`]: crate::Config::decision_timeout
pub(super) struct LockedTransaction<'a> {
    shared: &'a Shared,
    lease: Lease,
    operation: OperationHandle,
    deadline: AttemptDeadline,
    /// Its position is the log's head, which cannot move while the lock is held: a query that
    /// leaves out newer events is not allowed in a decision (`Query::check_for_decision`).
    history: History<ReadWrite>,
    /// When the server began to wait for the decision.
    idle_since: Instant,
}

/// The outcome of an append under the lock that the server has answered.
pub(super) enum LockedOutcome {
    Appended(Appended),
    /// The server has not appended the events, for instance because the log holds an id of them.
    NotAppended,
}

impl<'a> LockedTransaction<'a> {
    /// Begins a transaction, takes the log's lock and reads.
    pub(super) async fn begin(
        store: &'a Store<ReadWrite>,
        query: &Query,
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<Self, Error> {
        let (shared, pool) = (&*store.shared, store.primary_pool());
        let shown = store.shown();
        let reading = store.bounded(Reading::new(&shared.log.name, query), &shown);
        let server = pool.server();
        operation.enter(OperationPhase::Acquire);
        let mut lease = deadline.acquire(pool).await?;
        operation.enter(OperationPhase::Execute);
        let exchange = operation.exchange(Request::Decide, lease.server());
        let reading = lock_and_read(shared, query, &reading, &mut lease, deadline);
        let read = deadline.run(reading).await.unwrap_or_else(|waited| {
            lease.discard();
            Err(timed_out(server, waited))
        });
        exchange.finish(&read);
        let history = read?;
        operation.enter(OperationPhase::Decode);
        store.note_answer(&shown, history.bookmark());
        let operation = operation.clone();
        Ok(Self { shared, lease, operation, deadline, history, idle_since: Instant::now() })
    }

    pub(super) fn history(&self) -> &History<ReadWrite> {
        &self.history
    }

    /// Returns how long ago the server began to wait for the decision.
    pub(super) fn decision_time(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// Fails if the decision took longer than the server waits for it.
    pub(super) fn check_decision_time(&self) -> Result<(), Error> {
        let (waited, allowed) = (self.decision_time(), self.shared.decision_timeout);
        match waited < allowed {
            true => Ok(()),
            false => Err(Error::DecisionTimedOut { waited, allowed }),
        }
    }

    /// Ends the transaction, which has nothing to append.
    pub(super) async fn roll_back(mut self) {
        roll_back(&mut self.lease, self.deadline).await;
    }

    /// Appends events and commits.
    pub(super) async fn append(&mut self, events: &[Event]) -> Result<LockedOutcome, Error> {
        self.operation.enter(OperationPhase::Execute);
        let exchange = self.operation.exchange(Request::Append, self.lease.server());
        let outcome = self.append_and_commit(events).await;
        exchange.finish(&outcome);
        self.operation.enter(OperationPhase::Decode);
        outcome
    }

    async fn append_and_commit(&mut self, events: &[Event]) -> Result<LockedOutcome, Error> {
        // Lemma 2: while the lock is held, the head is the one that was read. Its epoch may end
        // now, if it is that of a former run of the server.
        let precondition = Precondition::Head(self.history.position().into());
        let append = sql::append_batch(
            &self.shared.log.append_texts,
            precondition,
            TransactionEnd::KeepOpen,
            None,
            None,
            events.iter(),
        );
        let server = self.lease.server().clone();
        let preparing = self.lease.prepare(&append.text);
        let handle = self.deadline.run_against(&server, preparing).await?;
        self.lease.start_clock();
        let client = self.lease.client();
        // Both requests are written together.
        let answers = join(fetch_row(client, &handle, &append), client.batch_execute("COMMIT"));
        match self.deadline.run(answers).await {
            Ok((appended, committed)) => self.read_answers(events, appended, committed),
            Err(waited) => {
                self.lease.discard();
                Err(outcome_unknown(&server, events, timed_out(&server, waited)))
            }
        }
    }

    fn read_answers(
        &mut self,
        events: &[Event],
        appended: Result<Option<Row>, tokio_postgres::Error>,
        committed: Result<(), tokio_postgres::Error>,
    ) -> Result<LockedOutcome, Error> {
        let row = match appended {
            Ok(row) => row,
            Err(error) if is_id_taken(&self.shared.log.name, &error) => {
                self.lease.leave_transaction();
                return Ok(LockedOutcome::NotAppended);
            }
            // The server ended the transaction before the events had arrived, and so before
            // `COMMIT`.
            Err(error) if error.code().is_some_and(|code| code.code() == "25P03") => {
                let (waited, allowed) = (self.decision_time(), self.shared.decision_timeout);
                return Err(Error::DecisionTimedOut { waited, allowed });
            }
            Err(error) => return Err(with_event_ids(self.lease.failed_append(error), events)),
        };
        if let Err(error) = committed {
            return Err(with_event_ids(self.lease.failed_append(error), events));
        }
        self.lease.leave_transaction();
        let unknown = |source: BoxError| outcome_unknown(self.lease.server(), events, source);
        let answer = require_row(row).and_then(|row| BatchAnswer::decode(&row)).map_err(unknown)?;
        match AppendOutcome::of_single(&answer, self.history.bookmark()) {
            AppendOutcome::Appended { first, last } => {
                self.shared.log.note_newest(last);
                Ok(LockedOutcome::Appended(Appended::new(first, last)))
            }
            _ => Ok(LockedOutcome::NotAppended),
        }
    }
}

/// Begins a transaction, takes the log's lock and reads, in one round trip.
async fn lock_and_read(
    shared: &Shared,
    query: &Query,
    reading: &Reading<'_>,
    lease: &mut Lease,
    deadline: AttemptDeadline,
) -> Result<History<ReadWrite>, Error> {
    let name = &shared.log.name;
    let statement_timeout = MAX_LOCKED_STATEMENT.min(shared.statement_timeout);
    let timeouts = LockedTimeouts {
        client: shared.decision_timeout,
        lock: deadline.lock_timeout(shared.lock_timeout),
        statement: statement_timeout,
    };
    let lock = sql::lock_to_decide(name, timeouts);
    let (head, read) = (reading.head(), reading.all().expect("a query reads events"));
    let lock_handle = lease.prepare(&lock.text).await?;
    let head_handle = lease.prepare(&head.text).await?;
    let read_handle = lease.prepare(&read.text).await?;
    // The append is prepared now, so that it costs no round trip while the lock is held.
    lease
        .prepare(shared.log.append_texts.of(/* is_probed */ false, TransactionEnd::KeepOpen))
        .await?;

    lease.enter_transaction();
    lease.start_clock();
    let client = lease.client();
    // The read is the last request: answers to later ones would wait until its rows are read.
    // Lemma 2: the head and the events are read by statements of their own, after the lock.
    let (begun, locked, head, rows) = join4(
        client.batch_execute(lease.begin_text()),
        fetch_row(client, &lock_handle, &lock),
        fetch_row(client, &head_handle, &head),
        send(client, &read_handle, &read),
    )
    .await;
    begun.map_err(|error| lease.failed(error))?;
    if let Err(error) = locked {
        let error = lease.failed(error);
        roll_back(lease, deadline).await;
        return Err(add_lock_holder(name, lease, error, deadline).await);
    }
    lease.set_transaction_timeout(statement_timeout);
    let head = head.map_err(|error| lease.failed(error))?;
    let rows = rows.map_err(|error| lease.failed(error))?;
    let head = require_row(head).map_err(|error| lease.server().lost(error))?;
    let head = Head::decode(&head)?;
    // Nothing is waited for under the lock.
    let check = head.check(reading.bounds());
    require_reached(check, reading.bounds(), head.position, lease.server())?;
    read_history(shared, query, lease, &head, rows).await
}

async fn read_history(
    shared: &Shared,
    query: &Query,
    lease: &mut Lease,
    head: &Head,
    rows: RowStream,
) -> Result<History<ReadWrite>, Error> {
    let rows: Vec<_> = rows.try_collect().await.map_err(|error| lease.failed(error))?;
    let events: Vec<_> = rows.iter().map(sql::decode_event).collect::<Result<_, _>>()?;
    shared.log.note_newest(head.bookmark());
    let last = events.last().map(SequencedEvent::sequence_number);
    let position = query.position(head.position, events.len(), last);
    let position = head.bookmark().at(position);
    let served_by = ServedBy::new(lease.server().name.clone(), head.role());
    Ok(History::new(events, position, query.filter.clone(), served_by))
}

/// The longest time that a statement may take while the log's lock is held.
const MAX_LOCKED_STATEMENT: Duration = Duration::from_secs(5);
