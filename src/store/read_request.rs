use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt;

use super::deadline::{AttemptDeadline, timed_out};
use super::stream::ReadAnswer;
use crate::pool::{OnFailure, Pool};
use crate::server::Server;
use crate::sql::{BoundCheck, Head, Reading};
use crate::telemetry::{Operation, OperationHandle, OperationPhase, Request, RetryCall};
use crate::{Bookmark, Error, SequenceNumber, SequencedEvent};

/// An attempt of a read, which is sent to one server or to several in turn.
#[derive(Clone, Copy)]
pub(super) struct ReadRequest<'a> {
    pub(super) reading: &'a Reading<'a>,
    pub(super) call: &'a ReadCall,
    /// Whether all events are collected. Otherwise they are left to be streamed.
    pub(super) collects: bool,
}

/// The answer to a read, and the events that were collected.
pub(super) struct Answered {
    pub(super) events: Vec<SequencedEvent>,
    pub(super) answer: ReadAnswer,
    /// Whether the log has reached the bounds of the read. If not, there are no events.
    pub(super) check: BoundCheck,
}

impl ReadRequest<'_> {
    /// Returns the highest position that the log must have reached.
    pub(super) fn position(&self) -> SequenceNumber {
        highest(self.reading.bounds())
    }

    /// Sends the read to a server that may be a standby, and once more if a primary answers that it
    /// does not know the epoch of a bound.
    ///
    /// The server says what it is after it has taken the snapshot. So the snapshot may be that of a
    /// standby that was promoted in between, and that had not replayed the beginning of the epoch.
    pub(super) async fn send_to_any(
        &self,
        pool: &Pool,
        on_failure: OnFailure,
        deadline: AttemptDeadline,
        progress: &AtomicU64,
    ) -> Result<Answered, Error> {
        let answered = self.send(pool, on_failure, deadline, progress).await?;
        match answered.check {
            BoundCheck::Lost { ended: None, .. } => drop(answered),
            _ => return Ok(answered),
        }
        self.send(pool, on_failure, deadline, progress).await
    }

    /// Sends the read to a server. Counts the rows in `progress`. If the future is dropped, or the
    /// deadline passes, the connection is closed.
    pub(super) async fn send(
        &self,
        pool: &Pool,
        on_failure: OnFailure,
        deadline: AttemptDeadline,
        progress: &AtomicU64,
    ) -> Result<Answered, Error> {
        self.call.served_by(pool.server());
        let operation = &self.call.handle;
        operation.enter(OperationPhase::Acquire);
        let mut lease = deadline.acquire_or(pool, on_failure).await?;
        operation.enter(OperationPhase::Execute);
        let exchange = operation.exchange(self.call.request, lease.server());
        let read = deadline.run(lease.read(self.reading)).await;
        let read = read.unwrap_or_else(|waited| Err(timed_out(lease.server(), waited)));
        let read = read.and_then(|(row, rows)| {
            operation.enter(OperationPhase::Decode);
            Ok((Head::decode(&row)?, rows))
        });
        let (head, rows) = match read {
            Ok(answer) => answer,
            Err(error) => {
                exchange.failed(&error);
                return Err(error);
            }
        };
        let mut answer = ReadAnswer::new(lease, rows, head, exchange);
        let check = answer.check(self.reading.bounds());
        let mut events = Vec::new();
        // Without events, the answer is read to its end so that the connection can be used again.
        if self.collects || check != BoundCheck::Reached {
            let collected = deadline.run(operation.working(async {
                while let Some(event) = answer.try_next().await? {
                    progress.fetch_add(1, Ordering::Relaxed);
                    events.push(event);
                }
                Ok::<_, Error>(())
            }));
            match collected.await {
                Ok(collected) => collected?,
                Err(waited) => {
                    let error = timed_out(answer.server(), waited);
                    answer.abandon(&error);
                    return Err(error);
                }
            }
        }
        Ok(Answered { events, answer, check })
    }
}

fn highest(bounds: &[Bookmark]) -> SequenceNumber {
    bounds.iter().map(|bound| bound.position()).max().unwrap_or(SequenceNumber::ZERO)
}

/// Fails if a log with this head has not reached the bounds, without a wait for it.
pub(super) fn require_reached(
    check: BoundCheck,
    bounds: &[Bookmark],
    head: SequenceNumber,
    server: &Server,
) -> Result<(), Error> {
    match check {
        BoundCheck::Reached => Ok(()),
        BoundCheck::Lost { position, ended } => Err(server.position_lost(position, ended)),
        BoundCheck::Behind => Err(Error::PositionAhead { position: highest(bounds), head }),
    }
}

/// A call that reads, with all of its attempts, as telemetry sees it.
pub(super) struct ReadCall {
    operation: Mutex<Operation>,
    pub(super) handle: OperationHandle,
    /// What it asks of servers.
    request: Request,
}

impl ReadCall {
    pub(super) fn new(operation: Operation, request: Request) -> Self {
        let handle = operation.handle().clone();
        Self { operation: Mutex::new(operation), handle, request }
    }

    /// Makes a guard that counts the retries of the call.
    pub(super) fn retry(&self) -> RetryCall {
        self.operation().retry()
    }

    pub(super) fn served_by(&self, server: &Server) {
        self.operation().served_by(server);
    }

    /// Counts that the read waited for a position.
    pub(super) fn waited(&self, outcome: &'static str) {
        self.operation().waited(outcome);
    }

    /// Counts that the primary answered as the last resort.
    pub(super) fn fell_back(&self, reason: &'static str) {
        self.operation().fell_back(reason);
    }

    pub(super) fn into_operation(self) -> Operation {
        self.operation.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn operation(&self) -> MutexGuard<'_, Operation> {
        self.operation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish<T>(
        self,
        result: Result<T, Error>,
        events: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        let mut operation = self.into_operation();
        if let Ok(answer) = &result {
            operation.count_read(events(answer));
        }
        operation.finish(result)
    }
}
