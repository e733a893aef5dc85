//! Group commit: concurrent appends of a store share one transaction.
//!
//! A caller puts its request into the [`queue`]. The [`worker`] takes the requests that wait,
//! [plans](plan) a batch, [sends](execute) it and [settles](settle) it.

mod batch_contents;
mod connection;
mod execute;
mod inline_task;
mod log_tail;
mod plan;
mod queue;
mod queue_claim;
mod request;
mod requeued;
mod settle;
mod worker;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use self::connection::CachedTail;
use self::queue::{PendingAppend, Queue};
pub(super) use self::request::{AppendRequest, is_large};
use self::worker::Worker;
use super::deadline::{AttemptDeadline, timed_out};
use super::failure::outcome_unknown;
use super::log_state::LogState;
use super::outcome::AppendOutcome;
use crate::config::QueueFull;
use crate::pool::Pool;
use crate::server::Server;
use crate::telemetry::{Observable, QueueLevel};
use crate::{Config, Error, Event};

/// The appender to a log, which all clones of a store share.
///
/// Requests that arrive while the server works on a batch wait for the next batch, in which they
/// share one transaction, one lock and one WAL flush. Each condition is validated on its own. Under
/// load the next batch is sent before the answer to the last one has arrived.
pub(super) struct Appender {
    log: Arc<LogState>,
    pool: Pool,
    queue: Mutex<Queue>,
    /// How many requests the workers send again before those in the queue.
    requeued: AtomicUsize,
    /// One permit for each request that may wait.
    permits: Arc<Semaphore>,
    next_batch_number: AtomicI64,
    /// The tail of the connection that was used last.
    cached_tail: Mutex<Option<CachedTail>>,
    lock_timeout: Duration,
    linger: Duration,
    max_batch: usize,
    max_waiting: usize,
    queue_full: QueueFull,
}

impl Appender {
    /// Creates an appender that uses the connections of a pool.
    pub(super) fn new(config: &Config, pool: Pool, log: Arc<LogState>) -> Arc<Self> {
        Arc::new(Self {
            log,
            pool,
            queue: Mutex::default(),
            requeued: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(config.append_queue)),
            next_batch_number: AtomicI64::new(0),
            cached_tail: Mutex::default(),
            lock_timeout: config.append_lock_timeout(),
            linger: config.linger,
            max_batch: config.max_batch,
            max_waiting: config.append_queue,
            queue_full: config.queue_full,
        })
    }

    /// Returns the pool of the connections that append.
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Appends a request, in a batch with others if there are any.
    ///
    /// If the future is dropped while the request is in the queue, also if it was put back there,
    /// the request is removed. Once it is in a batch, it runs to its end.
    pub(super) async fn append(
        self: &Arc<Self>,
        request: AppendRequest,
        deadline: AttemptDeadline,
    ) -> Result<AppendOutcome, Error> {
        let server = self.pool.server();
        let permit = self.permit(deadline).await?;
        let events = request.events.clone();
        let (reply, mut answer) = oneshot::channel();
        let guard = self.enqueue(request, deadline, permit, reply);
        let waited = match deadline.run(&mut answer).await {
            Ok(answer) => return answer.unwrap_or_else(|_| Err(unanswered(server, &events))),
            Err(waited) => waited,
        };
        match guard.remove() {
            Some(pending) if !pending.may_have_committed => {
                // The worker may have no connection, for this reason.
                let failure = deadline.connect_failure(&self.pool);
                Err(failure.unwrap_or_else(|| timed_out(server, waited)))
            }
            // The answer may have arrived at the same moment as the deadline.
            _ => answer.try_recv().unwrap_or_else(|_| {
                Err(outcome_unknown(server, &events, timed_out(server, waited)))
            }),
        }
    }

    /// Acquires a permit to wait in the queue.
    async fn permit(&self, deadline: AttemptDeadline) -> Result<OwnedSemaphorePermit, Error> {
        deadline.check(self.pool.server())?;
        match (self.permits.clone().try_acquire_owned(), self.queue_full) {
            (Err(TryAcquireError::NoPermits), QueueFull::Refuse) => {
                Err(Error::QueueFull { waiting: self.max_waiting })
            }
            (Err(TryAcquireError::NoPermits), QueueFull::Wait) => {
                let permit = deadline.run(self.permits.clone().acquire_owned()).await;
                let permit = permit.map_err(|waited| timed_out(self.pool.server(), waited))?;
                Ok(permit.expect("the semaphore is never closed"))
            }
            (permit, _) => Ok(permit.expect("the semaphore is never closed")),
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        request: AppendRequest,
        deadline: AttemptDeadline,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<AppendOutcome, Error>>,
    ) -> CancelGuard<'_> {
        let mut queue = self.queue();
        let (ticket, worker) = queue.push(request, deadline, permit, reply);
        self.serve(queue);
        let guard = CancelGuard { appender: self, ticket };
        if let Some(worker) = worker {
            worker.wake();
        }
        guard
    }

    /// Ends the worker that waits for requests, since no more requests are added.
    pub(super) fn close(&self) {
        let worker = self.queue().close();
        if let Some(worker) = worker {
            worker.wake();
        }
    }

    /// Puts requests back into the queue. The worker that took them may not serve it any more.
    fn put_back(self: &Arc<Self>, requests: Vec<PendingAppend>) {
        if requests.is_empty() {
            return;
        }
        let mut queue = self.queue();
        queue.put_back(requests);
        self.serve(queue);
    }

    /// Unlocks the queue, and starts a worker if none serves it.
    fn serve(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let is_served = std::mem::replace(&mut queue.is_served, true);
        drop(queue);
        if !is_served {
            Worker::start(self.clone());
        }
    }

    /// Returns the number of the next batch. It is unique within the store: several workers may use
    /// one connection after the other.
    fn next_batch_number(&self) -> i64 {
        self.next_batch_number.fetch_add(1, Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached_tail(&self) -> MutexGuard<'_, Option<CachedTail>> {
        self.cached_tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observable<QueueLevel> for Appender {
    fn state(&self) -> QueueLevel {
        let requeued = self.requeued.load(Ordering::Relaxed);
        QueueLevel { waiting: self.queue().len() + requeued }
    }
}

/// Returns the error of a request whose worker was dropped before it replied.
fn unanswered(server: &Server, events: &[Event]) -> Error {
    outcome_unknown(server, events, "the append task ended before it replied")
}

/// A guard that removes a request from the queue when it is dropped, unless a worker has taken it.
struct CancelGuard<'a> {
    appender: &'a Appender,
    ticket: u64,
}

impl CancelGuard<'_> {
    /// Removes the request. Returns `None` if a worker has taken it.
    fn remove(&self) -> Option<PendingAppend> {
        self.appender.queue().remove(self.ticket)
    }
}

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        // The request is dropped after the queue is unlocked.
        let _removed = self.remove();
    }
}
