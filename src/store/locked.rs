use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{join, join4};
use tokio::time::Instant;

use super::append::{AppendCall, check};
use super::deadline::{AttemptDeadline, timed_out};
use super::decide::{DecideAttempt, decided};
use super::failure::{failed_append, finds_id_taken, name_holder, outcome_unknown, release};
use super::outcome::AppendOutcome;
use crate::error::BoxError;
use crate::pool::{Lease, send, sent};
use crate::sql::{self, BatchAnswer, ConflictProbe, LockedTimeouts, Precondition, TransactionEnd};
use crate::telemetry::{Operation, OperationName};
use crate::{
    Appended, Decided, Decision, Error, Event, History, ReadWrite, SequenceNumber, SequencedEvent,
};

impl<D> DecideAttempt<'_, D> {
    /// Takes the log's lock, reads, decides and appends, all in one transaction.
    ///
    /// It is the only transaction that waits for this process while it holds the lock. If the process
    /// dies, its connection ends, and with it the transaction. If the process stands still or is cut
    /// off, the server ends the transaction after [`Config::decision_timeout`].
    ///
    /// [`Config::decision_timeout`]: crate::Config::decision_timeout
    pub(super) async fn locked<T, E>(&self) -> Result<Result<Decided<T>, E>, Error>
    where
        D: Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    {
        let mut operation = self.store.operation(OperationName::Decide);
        let result = self.hold_and_decide(&mut operation).await;
        operation.finish(result)
    }

    async fn hold_and_decide<T, E>(
        &self,
        operation: &mut Operation,
    ) -> Result<Result<Decided<T>, E>, Error>
    where
        D: Fn(&History<ReadWrite>) -> Result<Decision<T>, E>,
    {
        let limit = AttemptDeadline::new(&self.store.retry, self.started);
        let allowed = self.store.shared.decision_timeout;
        let pool = self.store.first();
        let server = pool.server();
        let mut lease = limit.run_against(server, pool.acquire()).await?;
        let read = limit.run(self.lock_and_read(&mut lease, limit)).await;
        let (history, head) = match read {
            Ok(read) => read?,
            Err(waited) => {
                lease.discard();
                return Err(timed_out(server, waited));
            }
        };
        operation.count_read(history.events().len() as u64);

        let decided_from = Instant::now();
        let decision = (self.decide)(&history);
        let waited = decided_from.elapsed();
        let (events, value) = match decision {
            Ok(decision) => decision.into_parts(),
            Err(refusal) => {
                release(&mut lease, limit).await;
                return Ok(Err(refusal));
            }
        };
        if events.is_empty() {
            release(&mut lease, limit).await;
            return Ok(Ok(decided(value, None, history.position(), true)));
        }
        let events: Arc<[Event]> = events.into();
        let checked = match waited < allowed {
            true => check(&events),
            false => Err(Error::DecisionTimedOut { waited, allowed }),
        };
        if let Err(error) = checked {
            release(&mut lease, limit).await;
            return Err(error);
        }
        let held = HeldDecision { events: &events, history: &history, head, decided_from };
        let appended = self.append_under_lock(&mut lease, limit, held).await;
        let waited = decided_from.elapsed();
        // The lock goes with the connection, before anything else is tried.
        drop(lease);

        let call = AppendCall::new(self.store, events, history.condition(), self.started);
        let lost = appended.as_ref().is_err_and(Error::is_outcome_unknown);
        let appended = match appended {
            Ok(Some(appended)) => Ok(appended),
            Ok(None) => call.attempt().await,
            Err(error) => Err(error),
        };
        // Other appends can come in between only if the server took the lock away, or if the lock ended
        // with the connection.
        let appended = call.resolve_unknown(appended).await.map_err(|error| match error {
            Error::Conflict { .. } if waited >= allowed => {
                Error::DecisionTimedOut { waited, allowed }
            }
            Error::Conflict { .. } if lost => server.lost(error),
            error => error,
        })?;
        operation.count_appended(call.new_events(&appended));
        let position = history.position().max(appended.last());
        Ok(Ok(decided(value, Some(appended), position, true)))
    }

    /// Appends and commits. Returns `None` if the log refuses that, which the next attempt explains.
    async fn append_under_lock(
        &self,
        lease: &mut Lease,
        limit: AttemptDeadline,
        HeldDecision { events, history, head, decided_from }: HeldDecision<'_>,
    ) -> Result<Option<Appended>, Error> {
        let allowed = self.store.shared.decision_timeout;
        let log = &self.store.shared.log;
        let server = lease.server().clone();
        let condition = history.condition();
        let mut probe = ConflictProbe::default();
        probe.add(events.len(), condition.guard(), history.position(), 0);
        // A history that leaves out newer events is true of an earlier position than the head.
        let precondition = match history.position() < head {
            true => Precondition::NoMatch(&probe),
            false => Precondition::Head(head),
        };
        let append = sql::append_batch(
            &log.append_texts,
            precondition,
            TransactionEnd::KeepOpen,
            None,
            None,
            events.iter(),
        );
        let form = limit.run_against(&server, lease.prepare(&append.text)).await?;
        lease.start_clock();
        let client = lease.client();
        let answers = join(sent(client, &form, &append), client.batch_execute("COMMIT"));
        let (appended, committed) = match limit.run(answers).await {
            Ok(answers) => answers,
            Err(waited) => {
                lease.discard();
                return Err(outcome_unknown(&server, events, timed_out(&server, waited)));
            }
        };
        let row = match appended {
            Ok(row) => row,
            Err(error) if finds_id_taken(&log.name, &error) => {
                lease.leave_transaction();
                return Ok(None);
            }
            // The server ended the transaction before the events had arrived, and so before `COMMIT`.
            Err(error) if error.code().is_some_and(|code| code.code() == "25P03") => {
                return Err(Error::DecisionTimedOut { waited: decided_from.elapsed(), allowed });
            }
            Err(error) => return Err(failed_append(lease, events, error)),
        };
        committed.map_err(|error| failed_append(lease, events, error))?;
        lease.leave_transaction();
        let unknown = |source: BoxError| outcome_unknown(&server, events, source);
        let row = row.ok_or_else(|| unknown("the append was answered without a row".into()))?;
        let answer = BatchAnswer::decode(&row).map_err(unknown)?;
        match AppendOutcome::of_one(&answer, head) {
            AppendOutcome::Appended { first, last } => {
                log.note_newest(last);
                Ok(Some(Appended::new(first, last)))
            }
            _ => Ok(None),
        }
    }

    /// Begins a transaction under the log's lock and reads in it, in one round trip.
    async fn lock_and_read(
        &self,
        lease: &mut Lease,
        limit: AttemptDeadline,
    ) -> Result<(History<ReadWrite>, SequenceNumber), Error> {
        let shared = &self.store.shared;
        let name = &shared.log.name;
        let statement_timeout = HELD.min(shared.statement_timeout);
        let timeouts = LockedTimeouts {
            client: shared.decision_timeout,
            lock: limit.lock_timeout(shared.lock_timeout),
            statement: statement_timeout,
        };
        let lock = sql::lock_to_decide(name, timeouts);
        let head = sql::head(name);
        let read = sql::read(name, self.query);
        let lock_form = lease.prepare(&lock.text).await?;
        let head_form = lease.prepare(&head.text).await?;
        let read_form = lease.prepare(&read.text).await?;
        // While the lock is held there is no time for it.
        lease.prepare(shared.log.append_texts.of(false, TransactionEnd::KeepOpen)).await?;

        lease.enter_transaction();
        lease.start_clock();
        let client = lease.client();
        // The read comes last: until its rows are read, nothing after them is answered.
        let (begun, locked, head, rows) = join4(
            client.batch_execute(lease.begin_text()),
            sent(client, &lock_form, &lock),
            sent(client, &head_form, &head),
            send(client, &read_form, &read),
        )
        .await;
        begun.map_err(|error| lease.failed(error))?;
        if let Err(error) = locked {
            let error = lease.failed(error);
            release(lease, limit).await;
            return Err(name_holder(name, lease, error, limit).await);
        }
        lease.set_transaction_timeout(statement_timeout);
        let head = head.map_err(|error| lease.failed(error))?;
        let head = head.ok_or_else(|| lease.server().lost("the answer has no row"))?;
        let head = sql::decode_head(&head)?;
        let rows = rows.map_err(|error| lease.failed(error))?;
        let rows: Vec<_> = rows.try_collect().await.map_err(|error| lease.failed(error))?;
        let events: Vec<_> = rows.iter().map(sql::decode_event).collect::<Result<_, _>>()?;

        shared.log.note_newest(head);
        let last = events.last().map(SequencedEvent::sequence_number);
        let position = self.query.position(head, events.len(), last);
        let served_by = lease.server().name.clone();
        let history = History::new(events, position, self.query.filter.clone(), served_by);
        Ok((history, head))
    }
}

/// A decision that is to be appended under the log's lock.
struct HeldDecision<'a> {
    events: &'a [Event],
    history: &'a History<ReadWrite>,
    /// The log's head, which cannot move.
    head: SequenceNumber,
    decided_from: Instant,
}

/// How long a statement may take while the log's lock is held.
const HELD: Duration = Duration::from_secs(5);
