//! The appends of a store: those that wait while others are under way go together.

mod apart;
mod batch;
mod driver;
mod flight;
mod judge;
mod queue;
mod recent;
mod runner;
mod seat;
mod send;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

pub(super) use self::queue::Request;
use self::queue::{Member, Queue};
use self::recent::Recent;
use self::runner::Runner;
use super::limit::{Limit, timed_out};
use super::log::Log;
use super::transact::outcome_unknown;
use crate::config::QueueFull;
use crate::pool::{Backend, Pool};
use crate::sql::Verdict;
use crate::{Config, Error};

/// Appends to a log for the clones of a store, and for all of their callers.
///
/// What comes while a transaction is under way waits, and then goes together: one lock, one flush,
/// and one insert for all of which this process knows that their conditions hold. Each is judged by
/// itself. Under load the next transaction is sent before the one under way is answered.
pub(super) struct Appender {
    log: Arc<Log>,
    pool: Pool,
    queue: Mutex<Queue>,
    /// One for each attempt that may wait.
    places: Arc<Semaphore>,
    /// What the connection that was used last has seen of the log.
    seen: Mutex<Option<Seen>>,
    lock_timeout: Duration,
    linger: Duration,
    max_batch: usize,
    max_waiting: usize,
    queue_full: QueueFull,
}

/// What is known of a log by way of one connection.
///
/// Over another one it might not be true: there may be another primary at its end, which lacks the
/// last events of the first and has others in their places.
struct Seen {
    /// None where a pooler lets transactions go to whichever server it likes.
    by: Option<Backend>,
    recent: Recent,
    /// For how many batches to expect that others append as well.
    foreign: u32,
}

impl Appender {
    /// Makes one whose connections are beside those of the primary's pool.
    pub(super) fn new(config: &Config, primary: &Pool, log: Arc<Log>) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            log,
            pool: primary.for_appends(config)?,
            queue: Mutex::default(),
            places: Arc::new(Semaphore::new(config.append_queue)),
            seen: Mutex::default(),
            lock_timeout: config.append_lock_timeout(),
            linger: config.linger,
            max_batch: config.max_batch,
            max_waiting: config.append_queue,
            queue_full: config.queue_full,
        }))
    }

    /// Makes an attempt to append, with others if there are any.
    ///
    /// Dropped before it is taken it leaves nothing behind; dropped later, it runs to its end.
    pub(super) async fn append(
        self: &Arc<Self>,
        request: Request,
        limit: Limit,
    ) -> Result<Verdict, Error> {
        let server = self.pool.server();
        limit.check(server)?;
        let place = self.place(limit).await?;
        let events = request.events.clone();
        let (reply, answer) = oneshot::channel();
        let ticket = self.enter(request, limit, place, reply);
        match limit.hold(answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(outcome_unknown(server, &events, "whoever sent the append is gone")),
            Err(waited) => {
                let error = timed_out(server, waited);
                match ticket.take_back() {
                    true => Err(error),
                    false => Err(outcome_unknown(server, &events, error)),
                }
            }
        }
    }

    /// Waits for a place among those that may wait.
    async fn place(&self, limit: Limit) -> Result<OwnedSemaphorePermit, Error> {
        match (self.places.clone().try_acquire_owned(), self.queue_full) {
            (Err(TryAcquireError::NoPermits), QueueFull::Refuse) => {
                Err(Error::QueueFull { waiting: self.max_waiting })
            }
            (Err(TryAcquireError::NoPermits), QueueFull::Wait) => {
                let place = limit.hold(self.places.clone().acquire_owned()).await;
                let place = place.map_err(|waited| timed_out(self.pool.server(), waited))?;
                Ok(place.expect("the semaphore is never closed"))
            }
            (place, _) => Ok(place.expect("the semaphore is never closed")),
        }
    }

    fn enter(
        self: &Arc<Self>,
        request: Request,
        limit: Limit,
        place: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Verdict, Error>>,
    ) -> Ticket<'_> {
        let mut queue = self.queue();
        let (number, call) = queue.push(request, limit, place, reply);
        self.serve(queue);
        let ticket = Ticket { appender: self, number };
        if let Some(call) = call {
            call.make();
        }
        ticket
    }

    /// Ends what waits for appends, where no more can come.
    pub(super) fn close(&self) {
        let call = self.queue().close();
        if let Some(call) = call {
            call.make();
        }
    }

    /// Puts attempts back that were taken, perhaps by one that the queue does not count on any more.
    fn put_back(self: &Arc<Self>, members: Vec<Member>) {
        if members.is_empty() {
            return;
        }
        let mut queue = self.queue();
        queue.put_back(members);
        self.serve(queue);
    }

    /// Sees to it that somebody takes what waits.
    fn serve(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let is_served = std::mem::replace(&mut queue.is_served, true);
        drop(queue);
        if !is_served {
            Runner::start(self.clone());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt in the queue; dropped, it is taken back, unless it was taken.
struct Ticket<'a> {
    appender: &'a Appender,
    number: u64,
}

impl Ticket<'_> {
    /// Takes the attempt back; `false` where it was taken.
    fn take_back(&self) -> bool {
        let member = self.appender.queue().remove(self.number);
        member.is_some()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}
