use std::collections::VecDeque;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::inline_task::WakeHandle;
use super::request::AppendRequest;
use crate::Error;
use crate::server::Server;
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::outcome_unknown;
use crate::store::outcome::AppendOutcome;

/// An attempt to append that waits in the queue, or was taken from it.
pub(super) struct PendingAppend {
    pub(super) request: AppendRequest,
    pub(super) limit: AttemptDeadline,
    /// Whether it was sent before and canceled, perhaps in the middle of its commit.
    pub(super) may_be_stored: bool,
    ticket: u64,
    reply: oneshot::Sender<Result<AppendOutcome, Error>>,
    /// Of those that may wait, until the attempt is taken.
    _permit: Option<OwnedSemaphorePermit>,
}

impl PendingAppend {
    /// Tells the caller what became of the attempt. If it may have been stored before, an error does not say
    /// that nothing was.
    pub(super) fn reply(self, server: &Server, result: Result<AppendOutcome, Error>) {
        let result = result.map_err(|error| match self.may_be_stored {
            true if !error.is_outcome_unknown() => {
                outcome_unknown(server, &self.request.events, error)
            }
            _ => error,
        });
        // The caller may have gone.
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
impl PendingAppend {
    /// Makes an attempt whose reply is read by no caller.
    pub(super) fn of(
        events: impl Into<std::sync::Arc<[crate::Event]>>,
        condition: crate::AppendCondition,
    ) -> Self {
        let request = AppendRequest::new(events.into(), condition);
        let limit = AttemptDeadline::new(&crate::RetryPolicy::never(), tokio::time::Instant::now());
        let reply = oneshot::channel().0;
        Self { request, limit, may_be_stored: false, ticket: 0, reply, _permit: None }
    }
}

/// The attempts that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<PendingAppend>,
    tickets: u64,
    /// Whether a worker takes them.
    pub(super) is_served: bool,
    /// Whether the store is gone, so that no attempt is added any more.
    is_closed: bool,
    threshold: Option<Threshold>,
}

/// The worker to continue when so many attempts wait.
struct Threshold {
    many: usize,
    worker: WakeHandle,
}

impl Queue {
    /// Adds an attempt. Returns the ticket by which it can be taken back, and the worker to continue.
    pub(super) fn push(
        &mut self,
        request: AppendRequest,
        limit: AttemptDeadline,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<AppendOutcome, Error>>,
    ) -> (u64, Option<WakeHandle>) {
        let ticket = self.tickets;
        self.tickets += 1;
        let pending = PendingAppend {
            request,
            limit,
            may_be_stored: false,
            ticket,
            reply,
            _permit: Some(permit),
        };
        self.waiting.push_back(pending);
        (ticket, self.reached())
    }

    /// Notes that no attempt is added any more. Returns the worker to continue.
    pub(super) fn close(&mut self) -> Option<WakeHandle> {
        self.is_closed = true;
        self.reached()
    }

    fn reached(&mut self) -> Option<WakeHandle> {
        let (waiting, is_closed) = (self.waiting.len(), self.is_closed);
        let threshold = self.threshold.take_if(|one| waiting >= one.many || is_closed);
        threshold.map(|threshold| threshold.worker)
    }

    /// Is ready when so many attempts wait, or the store is gone. Until then it keeps the worker to
    /// continue.
    pub(super) fn poll_many(
        &mut self,
        many: usize,
        worker: impl FnOnce() -> WakeHandle,
    ) -> Poll<()> {
        if self.waiting.len() >= many || self.is_closed {
            return Poll::Ready(());
        }
        self.threshold = Some(Threshold { many, worker: worker() });
        Poll::Pending
    }

    /// Takes an attempt back, if it was not taken yet.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<PendingAppend> {
        // Tickets ascend, also where some were put back.
        let at = self.waiting.binary_search_by_key(&ticket, |pending| pending.ticket).ok()?;
        self.waiting.remove(at)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the attempts of the next batch: as many of the first as may share a transaction.
    pub(super) fn take(&mut self, most: usize) -> Vec<PendingAppend> {
        let (mut events, mut bytes, mut values, mut count) = (0, 0, 0, 0);
        for pending in self.waiting.iter().take(most) {
            let request = &pending.request;
            events += request.events.len();
            bytes += request.bytes();
            values += request.filter_values();
            let is_full =
                events > MAX_BATCH_EVENTS || bytes > MAX_BATCH_BYTES || values > MAX_BATCH_VALUES;
            if count > 0 && is_full {
                break;
            }
            count += 1;
        }
        let taken = self.waiting.drain(..count);
        taken.map(|pending| PendingAppend { _permit: None, ..pending }).collect()
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> VecDeque<PendingAppend> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts attempts back to where they were taken from, in their order. Another worker may have put
    /// back attempts that came before them.
    pub(super) fn put_back(&mut self, attempts: Vec<PendingAppend>) {
        for pending in attempts.into_iter().rev() {
            let at = self.waiting.partition_point(|waiting| waiting.ticket < pending.ticket);
            self.waiting.insert(at, pending);
        }
    }
}

/// The most events of attempts that share a transaction.
const MAX_BATCH_EVENTS: usize = 1_024;
/// The most bytes of JSON of attempts that share a transaction.
const MAX_BATCH_BYTES: usize = 512 << 10;
/// The most event types and values in the filters of attempts that share a transaction.
const MAX_BATCH_VALUES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::super::request::{MAX_SHARED_BYTES, MAX_SHARED_EVENTS};
    use super::*;
    use crate::{AppendCondition, Event, Filter, RetryPolicy};

    /// Queues attempts of so many events, and so many bytes of JSON each.
    fn queue_of(sizes: &[(usize, usize)]) -> Queue {
        queue(sizes, &AppendCondition::none())
    }

    fn queue(sizes: &[(usize, usize)], condition: &AppendCondition) -> Queue {
        let permits = Arc::new(Semaphore::new(sizes.len()));
        let limit = AttemptDeadline::new(&RetryPolicy::never(), Instant::now());
        let mut queue = Queue::default();
        for &(events, bytes) in sizes {
            let payload = format!(r#"{{"Title":"{}"}}"#, "x".repeat(bytes));
            let event = Event::from_json("BookCopyAddedToCirculation", payload).unwrap();
            let events = std::iter::repeat_n(event, events).collect();
            let request = AppendRequest::new(events, condition.clone());
            let permit = permits.clone().try_acquire_owned().unwrap();
            let _worker = queue.push(request, limit, permit, oneshot::channel().0);
        }
        queue
    }

    fn tickets(attempts: &[PendingAppend]) -> Vec<u64> {
        attempts.iter().map(|pending| pending.ticket).collect()
    }

    /// Takes until there is nothing left.
    fn batches(mut queue: Queue, most: usize) -> Vec<Vec<u64>> {
        let taken = std::iter::from_fn(|| Some(queue.take(most)).filter(|taken| !taken.is_empty()));
        taken.map(|taken| tickets(&taken)).collect()
    }

    #[test]
    fn takes_the_first_attempts_up_to_the_limit() {
        assert_eq!(batches(queue_of(&[(1, 10); 5]), 2), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn takes_no_more_events_and_bytes_than_a_batch_may_have() {
        let many = queue_of(&[(MAX_SHARED_EVENTS, 0); 5]);
        let much = queue_of(&[(1, MAX_SHARED_BYTES - 100); 9]);

        assert_eq!(batches(many, 10), [vec![0, 1, 2, 3], vec![4]]);
        assert_eq!(batches(much, 10), [(0..8).collect(), vec![8]]);
    }

    #[test]
    fn takes_no_more_values_of_filters_than_a_batch_may_have() {
        let books = |count: usize| (0..count).map(|book| ("BookID", format!("b-{book}")));
        for (terms, expected) in
            [(1_500, vec![vec![0, 1], vec![2]]), (5_000, vec![vec![0], vec![1], vec![2]])]
        {
            let filter = Filter::any_of(books(terms)).build().unwrap();
            let condition = AppendCondition::no_match(filter);

            assert_eq!(batches(queue(&[(1, 10); 3], &condition), 10), expected, "{terms}");
        }
    }

    #[test]
    fn keeps_the_order_of_attempts_that_are_put_back() {
        let mut queue = queue_of(&[(1, 10); 6]);
        let (first, second) = (queue.take(2), queue.take(2));

        queue.put_back(second);
        queue.put_back(first);

        assert!(queue.remove(1).is_some());
        assert!(queue.remove(1).is_none());
        assert_eq!(batches(queue, 10), [vec![0, 2, 3, 4, 5]]);
    }
}
