use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join4;

use super::append::{Appending, check};
use super::decide::{Round, decided};
use super::limit::{Limit, timed_out};
use super::transact::{name_holder, release};
use crate::pool::{Lease, send, sent};
use crate::sql::{self, Occasion};
use crate::telemetry::{Operation, OperationName};
use crate::{AppendCondition, Decided, Decision, Error, Event, History, ReadWrite, SequencedEvent};

impl<D> Round<'_, D> {
    /// Takes the log's lock, reads, decides and appends, all in one transaction.
    ///
    /// It is the only one that waits for this process while it holds the lock. A process that dies
    /// takes its connection along, and with that the transaction; one that is cut off or stands
    /// still is ended by the server after the idle timeout of the connection.
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
        let limit = Limit::new(&self.store.retry, self.started);
        let pool = self.store.first();
        let server = pool.server();
        let mut lease = limit.of(server, pool.acquire()).await?;
        let history = limit.hold(self.lock_and_read(&mut lease, limit)).await;
        let history = match history {
            Ok(history) => history?,
            Err(waited) => {
                lease.give_up();
                return Err(timed_out(server, waited));
            }
        };

        operation.count_read(history.events().len() as u64);

        let (events, value) = match (self.decide)(&history) {
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
        if let Err(error) = check(&events) {
            release(&mut lease, limit).await;
            return Err(error);
        }
        let condition = history.condition();
        let log = &self.store.shared.log;
        let transaction = log.transaction(&events, &condition, Occasion::First, None);
        let verdict = transaction.finish(&mut lease, limit).await;
        if verdict.is_ok() {
            lease.release();
        }
        // Before anything else is tried: the lock goes with the connection.
        drop(lease);

        let appending = Appending::new(self.store, events.clone(), condition.clone(), self.started);
        let appended = appending.conclude(verdict).await?;
        operation.count_appended(appending.new_events(&appended));
        let position = history.position().max(appended.last());
        Ok(Ok(decided(value, Some(appended), position, true)))
    }

    /// Begins a transaction under the log's lock and reads in it, in one round trip.
    async fn lock_and_read(
        &self,
        lease: &mut Lease,
        limit: Limit,
    ) -> Result<History<ReadWrite>, Error> {
        let shared = &self.store.shared;
        let name = &shared.log.name;
        let statement_timeout = HELD.min(shared.statement_timeout);
        let lock_timeout = limit.lock_timeout(shared.lock_timeout);
        let lock = sql::lock_to_decide(name, statement_timeout, lock_timeout);
        let head = sql::head(name);
        let read = sql::read(name, self.query);
        let lock_form = lease.prepare(&lock.text).await?;
        let head_form = lease.prepare(&head.text).await?;
        let read_form = lease.prepare(&read.text).await?;
        // While the lock is held there is no time for it.
        let condition = AppendCondition::since(self.query.filter.clone(), shared.log.newest());
        let append = shared.log.append(&[], &condition, Occasion::First);
        lease.prepare(&append.text).await?;

        lease.hold();
        lease.begin();
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
        lease.hold_for(statement_timeout);
        let head = head.map_err(|error| lease.failed(error))?;
        let head = head.ok_or_else(|| lease.server().lost("the answer has no row"))?;
        let head = sql::decode_head(&head)?;
        let rows = rows.map_err(|error| lease.failed(error))?;
        let rows: Vec<_> = rows.try_collect().await.map_err(|error| lease.failed(error))?;
        let events: Vec<_> = rows.iter().map(sql::decode_event).collect::<Result<_, _>>()?;

        shared.log.note_newest(head);
        let last = events.last().map(SequencedEvent::sequence_number);
        let position = self.query.position(head, events.len(), last);
        Ok(History::new(events, position, self.query.filter.clone(), lease.server().name.clone()))
    }
}

/// How long a statement may take while the log's lock is held.
const HELD: Duration = Duration::from_secs(5);
