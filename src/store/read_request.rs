use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt;

use super::deadline::{AttemptDeadline, timed_out};
use super::stream::ReadAnswer;
use crate::pool::{OnFailure, Pool};
use crate::server::Server;
use crate::sql::{BoundCheck, Head, Reading};
use crate::telemetry::Operation;
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
        let mut lease = deadline.acquire_or(pool, on_failure).await?;
        let read = deadline.run(lease.read(self.reading)).await;
        let (row, rows) = read.unwrap_or_else(|waited| Err(timed_out(lease.server(), waited)))?;
        let mut answer = ReadAnswer::new(lease, rows, Head::decode(&row)?);
        let check = answer.check(self.reading.bounds());
        let mut events = Vec::new();
        // Without events, the answer is read to its end so that the connection can be used again.
        if self.collects || check != BoundCheck::Reached {
            let collected = deadline.run(async {
                while let Some(event) = answer.try_next().await? {
                    progress.fetch_add(1, Ordering::Relaxed);
                    events.push(event);
                }
                Ok(())
            });
            let collected = collected.await;
            collected.unwrap_or_else(|waited| Err(timed_out(answer.server(), waited)))?;
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
pub(super) struct ReadCall(Mutex<Operation>);

impl ReadCall {
    pub(super) fn new(operation: Operation) -> Self {
        Self(Mutex::new(operation))
    }

    pub(super) fn served_by(&self, server: &Server) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).served_by(server);
    }

    /// Counts that the read waited for a position.
    pub(super) fn waited(&self, outcome: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waited(outcome);
    }

    /// Counts that the primary answered as the last resort.
    pub(super) fn fell_back(&self, reason: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fell_back(reason);
    }

    pub(super) fn into_operation(self) -> Operation {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
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
