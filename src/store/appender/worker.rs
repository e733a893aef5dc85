use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::Appender;
use super::connection::AppendConnection;
use super::execute::SentBatch;
use super::inline_task::{InlineTask, WakeHandle};
use super::plan::{self, Batch, Plan, Validation};
use super::queue::PendingAppend;
use super::queue_claim::{MAX_BATCH_TIME, QueueClaim};
use super::requeued::Requeued;
use super::settle::{Settlement, settle, settle_failure};
use crate::Error;
use crate::sql::TransactionEnd;
use crate::store::failure::AppendFailure;
use crate::store::yield_until::yield_until;

/// The task that takes requests from the queue and appends them in batches.
///
/// All control flow of a worker is here. Each stage of a batch does one thing:
/// [`plan`](super::plan) chooses its requests, [`execute`](super::execute) sends it, and
/// [`settle`](super::settle) derives the outcome of each request from the answer, and updates the
/// tail.
pub(super) struct Worker {
    appender: Arc<Appender>,
    task: Weak<InlineTask>,
    requeued: Requeued,
    claim: QueueClaim,
    /// How many requests the last batch had.
    last_batch_size: usize,
}

impl Worker {
    /// Starts the worker that serves the queue.
    pub(super) fn start(appender: Arc<Appender>) {
        InlineTask::start(|task| {
            let claim = QueueClaim::new(appender.clone());
            let requeued = Requeued::new(appender.clone());
            Self { appender, task, requeued, claim, last_batch_size: 0 }.run()
        });
    }

    async fn run(mut self) {
        let mut connection = None;
        // One timer for many idle times, since setting a timer is expensive.
        let mut idle_timer = pin!(sleep(IDLE_TIME));
        self.linger().await;
        loop {
            if !self.has_work() {
                if !self.claim.is_held() {
                    return;
                }
                self.wait_for_work(&connection, idle_timer.as_mut()).await;
                if self.stop_if_queue_is_empty(&mut connection) {
                    return;
                }
            }
            if let Err(error) = self.connect(&mut connection).await {
                self.fail_next(&error);
                continue;
            }
            self.fill_batch().await;
            if let (Some(connection), Some(requests)) = (&mut connection, self.next_requests()) {
                self.send(requests, connection).await;
            }
        }
    }

    /// Waits for the first request of a batch and lingers, or returns after the worker has been
    /// idle for a whole period of the timer.
    async fn wait_for_work(
        &self,
        connection: &Option<AppendConnection>,
        mut idle_timer: Pin<&mut Sleep>,
    ) {
        let mut is_idle = false;
        loop {
            tokio::select! {
                biased;
                () = self.wait_for_first_request(connection) => return self.linger().await,
                () = idle_timer.as_mut() => {
                    if std::mem::replace(&mut is_idle, true) {
                        return;
                    }
                    idle_timer.as_mut().reset(Instant::now() + IDLE_TIME);
                }
            }
        }
    }

    /// Waits for more requests after the first one, for the time of `Config::linger`.
    async fn linger(&self) {
        if !self.appender.linger.is_zero() {
            sleep(self.appender.linger).await;
        }
    }

    /// Waits for the first request of a batch.
    ///
    /// Usually the request only wakes the worker. Tasks that are woken later, or run by other
    /// threads, may run before it, and their requests join the batch.
    ///
    /// If the last batch had only one request and nothing else appends, no others are expected, and
    /// the task that adds the request polls the worker itself. A wake-up would cost a change of
    /// threads: tokio runs a woken task next on the same thread (in its LIFO slot) only three times
    /// in a row, then another thread may take the task.
    async fn wait_for_first_request(&self, connection: &Option<AppendConnection>) {
        let may_pipeline = connection.as_ref().is_some_and(AppendConnection::may_pipeline);
        if self.last_batch_size == 1 && may_pipeline {
            return self.wait_to_be_polled(1).await;
        }
        let waiting = |cx: &mut Context<'_>| {
            self.appender.queue().poll_min_requests(1, || WakeHandle::to_wake(cx))
        };
        poll_fn(waiting).await;
    }

    /// Waits until `count` requests are in the queue. The task that adds the last one polls the
    /// worker at once.
    async fn wait_to_be_polled(&self, count: usize) {
        let waiting = |cx: &mut Context<'_>| {
            self.appender.queue().poll_min_requests(count, || WakeHandle::to_run(&self.task, cx))
        };
        poll_fn(waiting).await;
    }

    /// Stops serving the queue if it is empty. Leaves the tail of the connection to the next
    /// worker, before that one can start.
    fn stop_if_queue_is_empty(&mut self, connection: &mut Option<AppendConnection>) -> bool {
        self.claim.release_if_empty(|| {
            if let Some(connection) = connection.take() {
                *self.appender.cached_tail() = connection.into_cached_tail();
            }
        })
    }

    fn has_work(&self) -> bool {
        !self.requeued.is_empty() || self.claim.is_held() && self.appender.queue().len() > 0
    }

    /// Replaces the connection if it cannot be used any more. The pool limits the time of acquiring
    /// one, not the deadlines of the requests.
    async fn connect(&self, connection: &mut Option<AppendConnection>) -> Result<(), Error> {
        if connection.as_ref().is_some_and(|connection| !connection.is_spent()) {
            return Ok(());
        }
        // A lease is returned to the pool before the next one is acquired.
        *connection = None;
        let lease = self.appender.pool.acquire().await?;
        let cached = if self.claim.is_held() { self.appender.cached_tail().take() } else { None };
        *connection = Some(AppendConnection::new(lease, cached));
        Ok(())
    }

    /// Fails the next requests, because no connection could be acquired.
    fn fail_next(&mut self, error: &Error) {
        for pending in self.next_requests().unwrap_or_default() {
            pending.reply(self.appender.pool.server(), Err(error.clone()));
        }
    }

    /// Lets the callers that have just got a reply append again, so that their requests share a
    /// batch. Otherwise the first of these requests would make a batch of one, and all others would
    /// wait for it.
    async fn fill_batch(&self) {
        let last = self.last_batch_size;
        if last < 2 || !self.requeued.is_empty() {
            return;
        }
        // If batches are pipelined, about half of the callers wait for the other batch.
        let enough = if last < MIN_PIPELINED_REQUESTS { last } else { last / 2 };
        yield_until(|| self.appender.queue().len() >= enough).await;
    }

    /// Returns the requests to send next.
    fn next_requests(&mut self) -> Option<Vec<PendingAppend>> {
        if let Some(group) = self.requeued.pop() {
            return Some(group);
        }
        let requests = match self.claim.is_held() {
            true => self.appender.queue().take(self.appender.max_batch),
            false => Vec::new(),
        };
        Some(requests).filter(|requests| !requests.is_empty())
    }

    /// Sends requests as a batch, and settles it and the batches that were pipelined behind it.
    async fn send(&mut self, requests: Vec<PendingAppend>, connection: &mut AppendConnection) {
        let began = Instant::now();
        let newest = self.appender.log.newest();
        let (plan, validation) = plan::plan(requests, connection.knowledge(newest));
        let Some(batch) = self.accept(plan, validation) else {
            self.last_batch_size = 0;
            return;
        };
        let lock_timeout = self.lock_timeout(&batch, connection);
        self.last_batch_size = batch.requests.len();
        let log = self.appender.log.clone();
        let sending =
            SentBatch::send(&mut connection.lease, &log, batch, began, lock_timeout, false);
        match self.claim.release_if_slow(began, sending).await {
            Ok(sent) => self.settle_and_pipeline(sent, connection).await,
            Err((batch, error)) => {
                self.fail(batch, AppendFailure::Error(error), lock_timeout, connection);
            }
        }
    }

    /// Replies to the requests of a plan that have a conflict, and puts back those that it defers.
    /// Returns the batch, if there is one.
    fn accept(&self, plan: Plan, validation: Validation) -> Option<Batch> {
        for (pending, outcome) in plan.conflicting {
            pending.reply(self.appender.pool.server(), Ok(outcome));
        }
        self.appender.put_back(plan.deferred);
        let (requests, contents) = (plan.requests, plan.contents);
        let number = self.appender.next_batch_number();
        (!requests.is_empty()).then_some(Batch { requests, number, validation, contents })
    }

    /// Returns the lock timeout to send with a batch, or `None` if that of its connection applies.
    ///
    /// It is the shortest that a request needs whose deadline is near. Behind a pooler, which keeps
    /// no settings of a connection, it is otherwise the store's setting.
    fn lock_timeout(&self, batch: &Batch, connection: &AppendConnection) -> Option<Duration> {
        let setting = self.appender.lock_timeout;
        let timeouts = batch.requests.iter().filter_map(|one| one.deadline.lock_timeout(setting));
        timeouts.min().or(connection.is_behind_pooler().then_some(setting))
    }

    /// Waits for the answer to a batch and settles it. If the next batch was sent meanwhile, goes
    /// on with that one.
    async fn settle_and_pipeline(
        &mut self,
        mut sent: SentBatch,
        connection: &mut AppendConnection,
    ) {
        // Once a request was deferred, or not sent for another reason, no more batches are
        // pipelined: they would overtake the deferred request again and again.
        let mut may_continue = true;
        loop {
            let next = self.pipeline_until_answered(&mut sent, &mut may_continue, connection).await;
            self.last_batch_size = sent.len();
            self.complete(sent, next.is_none(), connection).await;
            match next {
                Some(next) => sent = next,
                None => return,
            }
        }
    }

    /// Waits for the answer to a batch. Returns the batch that was sent meanwhile, if any.
    async fn pipeline_until_answered(
        &mut self,
        sent: &mut SentBatch,
        may_continue: &mut bool,
        connection: &mut AppendConnection,
    ) -> Option<SentBatch> {
        let log = self.appender.log.clone();
        let text = log.append_texts.of(/* is_probed */ false, TransactionEnd::Commit);
        let batch_size = sent.len();
        let enough = MIN_PIPELINED_REQUESTS.max(batch_size);
        let mut next: Option<SentBatch> = None;
        let mut slow = pin!(sleep_until(sent.began + MAX_BATCH_TIME));
        loop {
            // Preparing the statement would wait for the answer to this batch, and meanwhile `slow`
            // would not be polled.
            let pipelines = next.is_none()
                && *may_continue
                && self.requeued.is_empty()
                && self.claim.is_held()
                && connection.lease.has_prepared(text)
                && connection.may_pipeline();
            tokio::select! {
                biased;
                () = sent.answered() => {
                    if let Some(next) = &mut next {
                        next.begin_exchange(connection.lease.server());
                    }
                    return next;
                }
                () = self.wait_to_be_polled(enough), if pipelines => {
                    let requests = self.take_half(batch_size);
                    let taken = requests.len();
                    next = self.send_behind(sent.batch(), requests, connection).await;
                    *may_continue = next.as_ref().is_some_and(|next| next.len() == taken);
                }
                () = &mut slow, if self.claim.is_held() => self.claim.release(),
            }
        }
    }

    /// Sends requests before their predecessor is answered (Lemma 4). Puts back those that depend
    /// on its answer or on each other, that the server would have to validate, or that need a lock
    /// timeout of their own.
    async fn send_behind(
        &mut self,
        predecessor: &Batch,
        requests: Vec<PendingAppend>,
        connection: &mut AppendConnection,
    ) -> Option<SentBatch> {
        let began = Instant::now();
        // A request with a lock timeout of its own is not pipelined: the timeout assumes that the
        // wait for the lock begins now, and not after the predecessor.
        let setting = self.appender.lock_timeout;
        let (requests, limited): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|one| one.deadline.lock_timeout(setting).is_none());
        let (mut plan, validation) =
            plan::plan_behind(predecessor, requests, &connection.seen.tail);
        plan.deferred.extend(limited);
        // If the tail has no head, no request of this batch has a condition (Lemma 4).
        let validation = validation.unwrap_or(Validation::Server);
        let batch = self.accept(plan, validation)?;
        let log = self.appender.log.clone();
        match SentBatch::send(&mut connection.lease, &log, batch, began, None, true).await {
            Ok(sent) => Some(sent),
            Err((batch, error)) => {
                self.fail(batch, AppendFailure::Error(error), None, connection);
                None
            }
        }
    }

    /// Settles a batch that was answered.
    async fn complete(
        &mut self,
        sent: SentBatch,
        is_last: bool,
        connection: &mut AppendConnection,
    ) {
        let (began, lock_timeout) = (sent.began, sent.lock_timeout);
        let log = self.appender.log.clone();
        let completing = sent.complete(&mut connection.lease, &log, is_last);
        match self.claim.release_if_slow(began, completing).await {
            (batch, Ok(answer)) => {
                log.note_newest(answer.last());
                let settlement = settle(batch, &answer, &mut connection.seen);
                self.apply(settlement);
            }
            (batch, Err(failure)) => self.fail(batch, failure, lock_timeout, connection),
        }
    }

    fn fail(
        &mut self,
        batch: Batch,
        failure: AppendFailure,
        lock_timeout: Option<Duration>,
        connection: &mut AppendConnection,
    ) {
        // Lemma 3: the server may have appended the batch nevertheless, unless an id was taken.
        if matches!(failure, AppendFailure::Error(_)) {
            connection.seen.tail.clear();
        }
        // Behind a pooler the batch carries a lock timeout even if that is the setting.
        let setting = self.appender.lock_timeout;
        let was_shortened = lock_timeout.is_some_and(|timeout| timeout < setting);
        let may_wait_longer =
            |one: &PendingAppend| was_shortened && one.deadline.lock_timeout(setting).is_none();
        self.apply(settle_failure(batch, failure, may_wait_longer));
    }

    fn apply(&mut self, settlement: Settlement) {
        self.requeued.extend(settlement.requeued);
        for (pending, result) in settlement.replies {
            pending.reply(self.appender.pool.server(), result);
        }
    }

    /// Takes as many requests from the queue as are half of all unanswered ones, which are those in
    /// the queue and the `sent` ones. The other half arrives while the server works on this one.
    fn take_half(&self, sent: usize) -> Vec<PendingAppend> {
        let mut queue = self.appender.queue();
        let half = (queue.len() + sent).div_ceil(2);
        queue.take(half.min(self.appender.max_batch))
    }
}

/// A worker keeps its connection for at least this long while no request arrives.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// Batches are pipelined if at least this many requests wait, and at least as many as the
/// unanswered batch has: then it is better to send half of the requests, so that the server is at
/// work while the other half arrives.
const MIN_PIPELINED_REQUESTS: usize = 16;
