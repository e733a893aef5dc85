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

/// A queued request: it waits in the queue, or was taken from it and is not answered yet.
pub(super) struct PendingAppend {
    pub(super) request: AppendRequest,
    pub(super) deadline: AttemptDeadline,
    /// Whether it was sent before, in a batch that ended with a statement timeout, and may have
    /// committed before that.
    pub(super) may_have_committed: bool,
    ticket: u64,
    reply: oneshot::Sender<Result<AppendOutcome, Error>>,
    /// The permit to wait in the queue, until the request is taken.
    _permit: Option<OwnedSemaphorePermit>,
}

impl PendingAppend {
    /// Sends the outcome to the caller. If the events may be stored, an error becomes an
    /// unknown outcome.
    pub(super) fn reply(self, server: &Server, result: Result<AppendOutcome, Error>) {
        let result = match result {
            Err(error) if self.may_have_committed && !error.is_outcome_unknown() => {
                Err(outcome_unknown(server, &self.request.events, error))
            }
            // The reason why it was not appended again may be its own events.
            Ok(outcome)
                if self.may_have_committed
                    && !matches!(outcome, AppendOutcome::Appended { .. }) =>
            {
                Ok(AppendOutcome::IdTaken { may_be_own: true })
            }
            result => result,
        };
        // The caller may have dropped its future.
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
impl PendingAppend {
    /// Creates a request whose reply is not read.
    pub(super) fn of(
        events: impl Into<std::sync::Arc<[crate::Event]>>,
        condition: crate::AppendCondition,
    ) -> Self {
        let request = AppendRequest::new(
            events.into(),
            condition,
            crate::telemetry::OperationHandle::of_test(),
        );
        let policy = crate::RetryPolicy::never();
        let deadline = AttemptDeadline::new(&policy, tokio::time::Instant::now());
        let reply = oneshot::channel().0;
        Self { request, deadline, may_have_committed: false, ticket: 0, reply, _permit: None }
    }
}

/// The requests that wait, in the order of their arrival.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<PendingAppend>,
    next_ticket: u64,
    /// Whether a worker takes the requests.
    pub(super) is_served: bool,
    /// Whether the store was dropped, so that no more requests are added.
    is_closed: bool,
    waiting_worker: Option<WaitingWorker>,
}

/// A worker that waits until the queue has a number of requests.
struct WaitingWorker {
    min_requests: usize,
    handle: WakeHandle,
}

impl Queue {
    /// Adds a request. Returns the ticket by which it can be removed, and the worker to run.
    pub(super) fn push(
        &mut self,
        request: AppendRequest,
        deadline: AttemptDeadline,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<AppendOutcome, Error>>,
    ) -> (u64, Option<WakeHandle>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let pending = PendingAppend {
            request,
            deadline,
            may_have_committed: false,
            ticket,
            reply,
            _permit: Some(permit),
        };
        self.waiting.push_back(pending);
        (ticket, self.take_ready_worker())
    }

    /// Marks the queue as closed: no more requests are added. Returns the worker to run.
    pub(super) fn close(&mut self) -> Option<WakeHandle> {
        self.is_closed = true;
        self.take_ready_worker()
    }

    /// Returns the waiting worker, if enough requests wait or the queue is closed.
    fn take_ready_worker(&mut self) -> Option<WakeHandle> {
        let (waiting, is_closed) = (self.waiting.len(), self.is_closed);
        let ready = self.waiting_worker.take_if(|one| waiting >= one.min_requests || is_closed);
        ready.map(|worker| worker.handle)
    }

    /// Returns ready if at least `min_requests` requests wait or the queue is closed. Otherwise
    /// stores the handle of the worker to run when that is so.
    pub(super) fn poll_min_requests(
        &mut self,
        min_requests: usize,
        handle: impl FnOnce() -> WakeHandle,
    ) -> Poll<()> {
        if self.waiting.len() >= min_requests || self.is_closed {
            return Poll::Ready(());
        }
        self.waiting_worker = Some(WaitingWorker { min_requests, handle: handle() });
        Poll::Pending
    }

    /// Removes a request, if it was not taken yet.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<PendingAppend> {
        // Tickets ascend even if requests were put back.
        let at = self.waiting.binary_search_by_key(&ticket, |pending| pending.ticket).ok()?;
        self.waiting.remove(at)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the requests of the next batch: the first ones, at most `max_requests` and as many as
    /// may share a transaction.
    pub(super) fn take(&mut self, max_requests: usize) -> Vec<PendingAppend> {
        let (mut events, mut bytes, mut values, mut count) = (0, 0, 0, 0);
        for pending in self.waiting.iter().take(max_requests) {
            let request = &pending.request;
            events += request.events.len();
            bytes += request.json_bytes();
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

    /// Takes all requests.
    pub(super) fn take_all(&mut self) -> VecDeque<PendingAppend> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts requests back in the order of their arrival. Another worker may have put back earlier
    /// ones.
    pub(super) fn put_back(&mut self, requests: Vec<PendingAppend>) {
        for pending in requests.into_iter().rev() {
            let at = self.waiting.partition_point(|waiting| waiting.ticket < pending.ticket);
            self.waiting.insert(at, pending);
        }
    }
}

/// The most events of a batch.
const MAX_BATCH_EVENTS: usize = 1_024;
/// The most bytes of JSON of a batch.
const MAX_BATCH_BYTES: usize = 512 << 10;
/// The most event types and values in the filters of a batch.
const MAX_BATCH_VALUES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::super::request::{LARGE_REQUEST_BYTES, MAX_SMALL_REQUEST_EVENTS};
    use super::*;
    use crate::telemetry::OperationHandle;
    use crate::{AppendCondition, Event, Filter, RetryPolicy};

    /// Creates a queue of requests, each with a number of events and a number of bytes in each
    /// event.
    fn queue_of(sizes: &[(usize, usize)]) -> Queue {
        queue(sizes, &AppendCondition::none())
    }

    fn queue(sizes: &[(usize, usize)], condition: &AppendCondition) -> Queue {
        let permits = Arc::new(Semaphore::new(sizes.len()));
        let deadline = AttemptDeadline::new(&RetryPolicy::never(), Instant::now());
        let mut queue = Queue::default();
        for &(events, bytes) in sizes {
            let payload = format!(r#"{{"Title":"{}"}}"#, "x".repeat(bytes));
            let event = Event::from_json("BookCopyAddedToCirculation", payload).unwrap();
            let events = std::iter::repeat_n(event, events).collect();
            let request = AppendRequest::new(events, condition.clone(), OperationHandle::of_test());
            let permit = permits.clone().try_acquire_owned().unwrap();
            let _worker = queue.push(request, deadline, permit, oneshot::channel().0);
        }
        queue
    }

    fn tickets(requests: &[PendingAppend]) -> Vec<u64> {
        requests.iter().map(|pending| pending.ticket).collect()
    }

    /// Takes batches until the queue is empty. Returns their tickets.
    fn batches(mut queue: Queue, max_requests: usize) -> Vec<Vec<u64>> {
        let mut take = || Some(queue.take(max_requests)).filter(|taken| !taken.is_empty());
        let taken = std::iter::from_fn(&mut take);
        taken.map(|taken| tickets(&taken)).collect()
    }

    #[test]
    fn a_batch_has_the_first_requests_up_to_the_limit() {
        assert_eq!(batches(queue_of(&[(1, 10); 5]), 2), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn a_batch_has_no_more_events_and_bytes_than_allowed() {
        let many = queue_of(&[(MAX_SMALL_REQUEST_EVENTS, 0); 5]);
        let much = queue_of(&[(1, LARGE_REQUEST_BYTES - 100); 9]);

        assert_eq!(batches(many, 10), [vec![0, 1, 2, 3], vec![4]]);
        assert_eq!(batches(much, 10), [(0..8).collect(), vec![8]]);
    }

    #[test]
    fn a_batch_has_no_more_filter_values_than_allowed() {
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
    fn requests_that_are_put_back_keep_their_order() {
        let mut queue = queue_of(&[(1, 10); 6]);
        let (first, second) = (queue.take(2), queue.take(2));

        queue.put_back(second);
        queue.put_back(first);

        assert!(queue.remove(1).is_some());
        assert!(queue.remove(1).is_none());
        assert_eq!(batches(queue, 10), [vec![0, 2, 3, 4, 5]]);
    }
}
