//! The appends of a store: attempts that wait while others are under way share a transaction.

mod connection;
mod execute;
mod inline_task;
mod log_tail;
mod plan;
mod queue;
mod request;
mod settle;
mod worker;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use self::connection::CachedTail;
use self::queue::{PendingAppend, Queue};
pub(super) use self::request::AppendRequest;
use self::worker::Worker;
use super::deadline::{AttemptDeadline, timed_out};
use super::failure::outcome_unknown;
use super::log::Log;
use super::outcome::AppendOutcome;
use crate::config::QueueFull;
use crate::pool::Pool;
use crate::{Config, Error};

/// Appends to a log for the clones of a store, and for all of their callers.
///
/// The attempts that come while a batch is under way wait, and then go into the next batch: one
/// transaction, one lock, one flush of the write-ahead log. Each condition is validated on its own.
/// Under load the next batch is sent before the one under way is answered.
pub(super) struct Appender {
    log: Arc<Log>,
    pool: Pool,
    queue: Mutex<Queue>,
    /// One permit for each attempt that may wait.
    permits: Arc<Semaphore>,
    /// How many batches there were.
    batches: AtomicI64,
    /// What the connection that was used last has seen of the log.
    cached_tail: Mutex<Option<CachedTail>>,
    lock_timeout: Duration,
    linger: Duration,
    max_batch: usize,
    max_waiting: usize,
    queue_full: QueueFull,
}

impl Appender {
    /// Makes an appender whose connections are `pool`'s.
    pub(super) fn new(config: &Config, pool: Pool, log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            log,
            pool,
            queue: Mutex::default(),
            permits: Arc::new(Semaphore::new(config.append_queue)),
            batches: AtomicI64::new(0),
            cached_tail: Mutex::default(),
            lock_timeout: config.append_lock_timeout(),
            linger: config.linger,
            max_batch: config.max_batch,
            max_waiting: config.append_queue,
            queue_full: config.queue_full,
        })
    }

    /// Returns the connections that append.
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Makes an attempt to append, together with others if there are any.
    ///
    /// Dropped before the attempt is taken from the queue, it leaves nothing behind. Dropped later, the
    /// attempt runs to its end.
    pub(super) async fn append(
        self: &Arc<Self>,
        request: AppendRequest,
        deadline: AttemptDeadline,
    ) -> Result<AppendOutcome, Error> {
        let server = self.pool.server();
        deadline.check(server)?;
        let permit = self.permit(deadline).await?;
        let events = request.events.clone();
        let (reply, answer) = oneshot::channel();
        let guard = self.enqueue(request, deadline, permit, reply);
        match deadline.run(answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                Err(outcome_unknown(server, &events, "the append task ended before it replied"))
            }
            Err(waited) => {
                let error = timed_out(server, waited);
                match guard.take_back() {
                    true => Err(error),
                    false => Err(outcome_unknown(server, &events, error)),
                }
            }
        }
    }

    /// Waits for a permit to wait in the queue.
    async fn permit(&self, deadline: AttemptDeadline) -> Result<OwnedSemaphorePermit, Error> {
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

    /// Ends the worker that waits for attempts, when no more can come.
    pub(super) fn close(&self) {
        let worker = self.queue().close();
        if let Some(worker) = worker {
            worker.wake();
        }
    }

    /// Puts attempts back that were taken, perhaps by a worker that does not serve the queue any more.
    fn put_back(self: &Arc<Self>, attempts: Vec<PendingAppend>) {
        if attempts.is_empty() {
            return;
        }
        let mut queue = self.queue();
        queue.put_back(attempts);
        self.serve(queue);
    }

    /// Starts a worker, if none serves the queue.
    fn serve(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let is_served = std::mem::replace(&mut queue.is_served, true);
        drop(queue);
        if !is_served {
            Worker::start(self.clone());
        }
    }

    /// Returns the number of the next batch. It is another one on each connection, which several workers
    /// may use.
    fn next_batch(&self) -> i64 {
        self.batches.fetch_add(1, Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached_tail(&self) -> MutexGuard<'_, Option<CachedTail>> {
        self.cached_tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt in the queue. Dropped, it is taken back, unless a worker has taken it.
struct CancelGuard<'a> {
    appender: &'a Appender,
    ticket: u64,
}

impl CancelGuard<'_> {
    /// Takes the attempt back. Returns `false` if a worker has taken it.
    fn take_back(&self) -> bool {
        let pending = self.appender.queue().remove(self.ticket);
        pending.is_some()
    }
}

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}
