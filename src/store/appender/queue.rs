use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::driver::Call;
use super::recent::{hasher, terms_of};
use crate::condition::Guard;
use crate::filter::Lookup;
use crate::sql::{Occasion, Verdict};
use crate::store::limit::Limit;
use crate::store::log::{BYTES_PER_SECOND, bytes_of};
use crate::{AppendCondition, Error, Event};

/// One attempt to append.
pub(crate) struct Request {
    pub(crate) events: Arc<[Event]>,
    pub(crate) condition: AppendCondition,
    pub(crate) occasion: Occasion,
    /// Of JSON.
    bytes: usize,
    /// What each of the events is kept under; of a large attempt they are not kept.
    terms: Box<[Option<Box<[u64]>>]>,
    /// Where the events are kept that the condition's filter may match.
    lookup: Option<Lookup>,
}

impl Request {
    /// Makes an attempt. All that can be known of it alone is found out here, by whoever makes it,
    /// and not by the one who carries out those of all.
    pub(crate) fn new(
        events: Arc<[Event]>,
        condition: AppendCondition,
        occasion: Occasion,
    ) -> Self {
        let lookup = condition.guard().map(|guard| guard.filter.lookup(hasher()));
        let bytes = bytes_of(events.iter());
        let mut request =
            Self { events, condition, occasion, bytes, terms: Box::default(), lookup };
        if !request.is_large() {
            request.terms = request.events.iter().map(terms_of).collect();
        }
        request
    }

    /// Returns what an event is kept under; `None` where it is not worth being kept.
    pub(super) fn terms(&self, index: usize) -> Option<&[u64]> {
        self.terms.get(index)?.as_deref()
    }

    /// Returns what must not have happened, and where to look for it.
    pub(super) fn guard(&self) -> Option<(&Guard, &Lookup)> {
        self.condition.guard().zip(self.lookup.as_ref())
    }

    /// Returns whether it arrives so slowly, over a slow network, that nobody should have to wait
    /// for it.
    pub(super) fn is_large(&self) -> bool {
        self.bytes >= BYTES_PER_SECOND || self.events.len() > MAX_SHARED_EVENTS
    }
}

/// An attempt that waits for its turn, or is under way.
pub(super) struct Member {
    pub(super) request: Request,
    pub(super) limit: Limit,
    /// Whether something came that its condition may be about, so that the server has to say.
    pub(super) is_doubtful: bool,
    ticket: u64,
    reply: oneshot::Sender<Result<Verdict, Error>>,
    /// Its place among those that may wait, until it is taken.
    _place: Option<OwnedSemaphorePermit>,
}

impl Member {
    /// Tells the caller what became of it.
    pub(super) fn answer(self, result: Result<Verdict, Error>) {
        // Nobody may be there to hear it any more.
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
impl Member {
    /// Makes an attempt that nobody waits for.
    pub(super) fn of(events: impl Into<Arc<[Event]>>, condition: AppendCondition) -> Self {
        let request = Request::new(events.into(), condition, Occasion::First);
        let limit = Limit::new(&crate::RetryPolicy::never(), tokio::time::Instant::now());
        let reply = oneshot::channel().0;
        Self { request, limit, is_doubtful: false, ticket: 0, reply, _place: None }
    }
}

/// The attempts that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Member>,
    tickets: u64,
    /// Whether somebody takes them.
    pub(super) is_served: bool,
    /// Whether nothing comes any more.
    is_closed: bool,
    bell: Option<Bell>,
}

/// Who is to be called when so many wait.
struct Bell {
    many: usize,
    call: Call,
}

impl Queue {
    /// Adds an attempt; returns the ticket by which it can be taken back, and whom to call.
    pub(super) fn push(
        &mut self,
        request: Request,
        limit: Limit,
        place: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Verdict, Error>>,
    ) -> (u64, Option<Call>) {
        let ticket = self.tickets;
        self.tickets += 1;
        let _place = Some(place);
        let member = Member { request, limit, is_doubtful: false, ticket, reply, _place };
        self.waiting.push_back(member);
        (ticket, self.ring())
    }

    /// Notes that nothing comes any more; returns whom to call.
    pub(super) fn close(&mut self) -> Option<Call> {
        self.is_closed = true;
        self.ring()
    }

    fn ring(&mut self) -> Option<Call> {
        let (waiting, is_closed) = (self.waiting.len(), self.is_closed);
        self.bell.take_if(|bell| waiting >= bell.many || is_closed).map(|bell| bell.call)
    }

    /// Is ready when so many wait, or nothing comes any more; until then it keeps whom to call.
    pub(super) fn poll_many(&mut self, many: usize, call: impl FnOnce() -> Call) -> Poll<()> {
        if self.waiting.len() >= many || self.is_closed {
            return Poll::Ready(());
        }
        self.bell = Some(Bell { many, call: call() });
        Poll::Pending
    }

    /// Takes an attempt back, if it was not taken yet.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<Member> {
        // Tickets ascend, also where some were put back.
        let at = self.waiting.binary_search_by_key(&ticket, |member| member.ticket).ok()?;
        self.waiting.remove(at)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the attempts that go together next: as many of the first as may, a large one alone.
    pub(super) fn take(&mut self, most: usize) -> Vec<Member> {
        let (mut events, mut bytes, mut count) = (0, 0, 0);
        for member in self.waiting.iter().take(most) {
            let request = &member.request;
            events += request.events.len();
            bytes += request.bytes;
            let fits =
                !request.is_large() && events <= MAX_BATCH_EVENTS && bytes <= MAX_BATCH_BYTES;
            if count > 0 && !fits {
                break;
            }
            count += 1;
            if request.is_large() {
                break;
            }
        }
        let taken = self.waiting.drain(..count);
        taken.map(|member| Member { _place: None, ..member }).collect()
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> VecDeque<Member> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts attempts back to where they were taken from, in their order. Another one who takes may
    /// have put some back that came before them.
    pub(super) fn put_back(&mut self, members: Vec<Member>) {
        for member in members.into_iter().rev() {
            let at = self.waiting.partition_point(|waiting| waiting.ticket < member.ticket);
            self.waiting.insert(at, member);
        }
    }
}

/// The most events of an attempt that shares a transaction with others.
const MAX_SHARED_EVENTS: usize = 256;
/// The most events of attempts that share a transaction.
const MAX_BATCH_EVENTS: usize = 1_024;
/// The most bytes of JSON of attempts that share a transaction.
const MAX_BATCH_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;
    use crate::RetryPolicy;

    /// Queues attempts of so many events, and so many bytes of JSON each.
    fn queue_of(sizes: &[(usize, usize)]) -> Queue {
        let places = Arc::new(Semaphore::new(sizes.len()));
        let limit = Limit::new(&RetryPolicy::never(), Instant::now());
        let mut queue = Queue::default();
        for &(events, bytes) in sizes {
            let payload = format!(r#"{{"Title":"{}"}}"#, "x".repeat(bytes));
            let event = Event::from_json("BookCopyAddedToCirculation", payload).unwrap();
            let events = std::iter::repeat_n(event, events).collect();
            let request = Request::new(events, AppendCondition::none(), Occasion::First);
            let place = places.clone().try_acquire_owned().unwrap();
            let _called = queue.push(request, limit, place, oneshot::channel().0);
        }
        queue
    }

    fn tickets(members: &[Member]) -> Vec<u64> {
        members.iter().map(|member| member.ticket).collect()
    }

    /// Takes until there is nothing left.
    fn batches(mut queue: Queue, most: usize) -> Vec<Vec<u64>> {
        let taken = std::iter::from_fn(|| Some(queue.take(most)).filter(|taken| !taken.is_empty()));
        taken.map(|taken| tickets(&taken)).collect()
    }

    #[test]
    fn takes_the_first_as_many_as_may() {
        assert_eq!(batches(queue_of(&[(1, 10); 5]), 2), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn takes_a_large_one_alone() {
        let large = [(1, BYTES_PER_SECOND), (MAX_SHARED_EVENTS + 1, 0)];
        for large in large {
            let queue = queue_of(&[(1, 10), (1, 10), large, large, (1, 10)]);

            assert_eq!(batches(queue, 10), [vec![0, 1], vec![2], vec![3], vec![4]]);
        }
    }

    #[test]
    fn takes_no_more_events_and_bytes_together_than_may_be() {
        let many = queue_of(&[(MAX_SHARED_EVENTS, 0); 5]);
        let much = queue_of(&[(1, BYTES_PER_SECOND - 100); 9]);

        assert_eq!(batches(many, 10), [vec![0, 1, 2, 3], vec![4]]);
        assert_eq!(batches(much, 10), [(0..8).collect(), vec![8]]);
    }

    #[test]
    fn keeps_the_order_of_those_that_are_put_back_and_finds_them() {
        let mut queue = queue_of(&[(1, 10); 6]);
        let (first, second) = (queue.take(2), queue.take(2));

        queue.put_back(second);
        queue.put_back(first);

        assert!(queue.remove(1).is_some());
        assert!(queue.remove(1).is_none());
        assert_eq!(batches(queue, 10), [vec![0, 2, 3, 4, 5]]);
    }
}
