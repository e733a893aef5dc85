use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::Appender;
use super::connection::AppendConnection;
use super::execute::{BatchFailure, SentBatch};
use super::inline_task::{InlineTask, WakeHandle};
use super::plan::{self, Batch, Plan, Validation};
use super::queue::PendingAppend;
use super::queue_claim::{MAX_BATCH_TIME, QueueClaim};
use super::settle::{Settlement, settle, settle_failure};
use crate::Error;
use crate::sql::TransactionEnd;
use crate::store::yield_until::yield_until;

/// The task that takes attempts from the queue and appends them in batches.
///
/// All control flow of the appender is here. The stages of a batch are pure or do one thing:
/// [`plan`](super::plan) chooses its attempts, [`execute`](super::execute) sends it, and
/// [`settle`](super::settle) derives the outcome of each attempt from the answer.
pub(super) struct Worker {
    appender: Arc<Appender>,
    task: Weak<InlineTask>,
    /// Attempts to send before those in the queue, each group as a batch. The last group is the
    /// first to be sent.
    requeued: Vec<Vec<PendingAppend>>,
    claim: QueueClaim,
    /// How many attempts the last batch had.
    last_batch_size: usize,
}

impl Worker {
    /// Starts the worker that serves the queue.
    pub(super) fn start(appender: Arc<Appender>) {
        InlineTask::start(|task| {
            let claim = QueueClaim::new(appender.clone());
            Self { appender, task, requeued: Vec::new(), claim, last_batch_size: 0 }.run()
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
                if self.stop_if_idle(&mut connection) {
                    return;
                }
            }
            if let Err(error) = self.connect(&mut connection).await {
                self.fail_next(&error);
                continue;
            }
            self.fill_batch().await;
            if let (Some(connection), Some(attempts)) = (&mut connection, self.next_attempts()) {
                self.send(attempts, connection).await;
            }
        }
    }

    /// Waits for an attempt, or until the worker has been idle for a whole period of the timer.
    async fn wait_for_work(
        &self,
        connection: &Option<AppendConnection>,
        mut idle_timer: Pin<&mut Sleep>,
    ) {
        let mut is_idle = false;
        loop {
            tokio::select! {
                biased;
                () = self.wait_for_attempt(connection) => return self.linger().await,
                () = idle_timer.as_mut() => {
                    if std::mem::replace(&mut is_idle, true) {
                        return;
                    }
                    idle_timer.as_mut().reset(Instant::now() + IDLE_TIME);
                }
            }
        }
    }

    /// Waits for the attempts that may follow the first one, as long as the store is set to.
    async fn linger(&self) {
        if !self.appender.linger.is_zero() {
            sleep(self.appender.linger).await;
        }
    }

    /// Waits for the first attempt.
    ///
    /// The tasks that are ready run before the worker does, so that their attempts join the batch.
    /// If the last batch had only one attempt, the caller of this one runs the worker at once: the
    /// runtime would move a task that is the fourth in a chain of wake-ups to another thread.
    async fn wait_for_attempt(&self, connection: &Option<AppendConnection>) {
        let may_pipeline = connection.as_ref().is_some_and(AppendConnection::may_pipeline);
        if self.last_batch_size == 1 && may_pipeline {
            return self.wait_for_attempts(1).await;
        }
        poll_fn(|cx| self.appender.queue().poll_len(1, || WakeHandle::to_wake(cx))).await;
    }

    /// Waits until `count` attempts are in the queue. The caller of the last one runs the worker at
    /// once.
    async fn wait_for_attempts(&self, count: usize) {
        let worker = |cx: &Context<'_>| WakeHandle::to_run(&self.task, cx);
        poll_fn(|cx| self.appender.queue().poll_len(count, || worker(cx))).await;
    }

    /// Stops serving the queue if it is empty. The tail of the connection is left to the next
    /// worker before that one can start.
    fn stop_if_idle(&mut self, connection: &mut Option<AppendConnection>) -> bool {
        self.claim.release_if_empty(|| {
            if let Some(connection) = connection.take() {
                *self.appender.cached_tail() = connection.into_cached_tail();
            }
        })
    }

    fn has_work(&self) -> bool {
        !self.requeued.is_empty() || self.claim.is_held() && self.appender.queue().len() > 0
    }

    /// Replaces the connection if it cannot be used any more.
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

    /// Replies to the next attempts that no connection could be acquired.
    fn fail_next(&mut self, error: &Error) {
        for pending in self.next_attempts().unwrap_or_default() {
            pending.reply(self.appender.pool.server(), Err(error.clone()));
        }
    }

    /// Lets the callers that have just got a reply append again, so that their attempts share a
    /// batch. Otherwise the first of these attempts would make a batch of one, and all others would
    /// wait for it.
    async fn fill_batch(&self) {
        let last = self.last_batch_size;
        if last < 2 || !self.requeued.is_empty() {
            return;
        }
        let enough = if last < PIPELINED_ATTEMPTS { last } else { last / 2 };
        yield_until(|| self.appender.queue().len() >= enough).await;
    }

    /// Returns the attempts to send next.
    fn next_attempts(&mut self) -> Option<Vec<PendingAppend>> {
        if let Some(group) = self.requeued.pop() {
            return Some(group);
        }
        let attempts = match self.claim.is_held() {
            true => self.appender.queue().take(self.appender.max_batch),
            false => Vec::new(),
        };
        Some(attempts).filter(|attempts| !attempts.is_empty())
    }

    /// Sends attempts as a batch, and settles it and the batches that were pipelined behind it.
    async fn send(&mut self, attempts: Vec<PendingAppend>, connection: &mut AppendConnection) {
        let began = Instant::now();
        let newest = self.appender.log.newest();
        let (plan, validation) = plan::plan(attempts, connection.knowledge(newest));
        let Some(batch) = self.accept(plan, validation) else {
            self.last_batch_size = 0;
            return;
        };
        let lock_timeout = self.lock_timeout(&batch, connection);
        self.last_batch_size = batch.attempts.len();
        let log = self.appender.log.clone();
        let sending = SentBatch::send(&mut connection.lease, &log, batch, began, lock_timeout);
        match self.claim.release_if_slow(began, sending).await {
            Ok(sent) => self.settle_and_pipeline(sent, connection).await,
            Err((batch, error)) => {
                self.fail(batch, BatchFailure::Error(error), lock_timeout, connection);
            }
        }
    }

    /// Replies to the attempts that a plan refuses, and puts back those that it defers. Returns the
    /// batch, if there is one.
    fn accept(&self, plan: Plan, validation: Validation) -> Option<Batch> {
        for (pending, outcome) in plan.refused {
            pending.reply(self.appender.pool.server(), Ok(outcome));
        }
        self.appender.put_back(plan.deferred);
        let (attempts, contents) = (plan.attempts, plan.contents);
        let number = self.appender.next_batch_number();
        (!attempts.is_empty()).then_some(Batch { attempts, number, validation, contents })
    }

    /// Returns how long a batch may wait for a lock, unless that is the setting of its connection.
    fn lock_timeout(&self, batch: &Batch, connection: &AppendConnection) -> Option<Duration> {
        let setting = self.appender.lock_timeout;
        let timeouts = batch.attempts.iter().filter_map(|one| one.deadline.lock_timeout(setting));
        timeouts.min().or(connection.is_shared().then_some(setting))
    }

    /// Waits for the answer to a batch and settles it. Meanwhile sends the next batch, and goes on
    /// with that one.
    async fn settle_and_pipeline(
        &mut self,
        mut sent: SentBatch,
        connection: &mut AppendConnection,
    ) {
        // Attempts that have to wait for the answer to a batch come first after it, so no other
        // attempts are sent before them.
        let mut has_deferred = false;
        loop {
            let next = self.pipeline_until_answered(&mut sent, &mut has_deferred, connection).await;
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
        has_deferred: &mut bool,
        connection: &mut AppendConnection,
    ) -> Option<SentBatch> {
        let log = self.appender.log.clone();
        let text = log.append_texts.of(false, TransactionEnd::Commit);
        let batch_size = sent.len();
        let mut next: Option<SentBatch> = None;
        let mut slow = pin!(sleep_until(sent.began + MAX_BATCH_TIME));
        loop {
            // Preparing the statement would wait for this batch, without a time limit.
            let pipelines = next.is_none()
                && !*has_deferred
                && self.requeued.is_empty()
                && self.claim.is_held()
                && connection.lease.has_prepared(text)
                && connection.may_pipeline();
            tokio::select! {
                biased;
                () = sent.answered() => return next,
                () = self.wait_for_attempts(PIPELINED_ATTEMPTS.max(batch_size)), if pipelines => {
                    let attempts = self.take_half(batch_size);
                    let taken = attempts.len();
                    next = self.send_behind(sent.batch(), attempts, connection).await;
                    *has_deferred = next.as_ref().is_none_or(|next| next.len() != taken);
                }
                () = &mut slow, if self.claim.is_held() => self.claim.release(),
            }
        }
    }

    /// Sends attempts before their predecessor is answered (Lemma 4). Puts back those that depend
    /// on its answer.
    async fn send_behind(
        &mut self,
        predecessor: &Batch,
        attempts: Vec<PendingAppend>,
        connection: &mut AppendConnection,
    ) -> Option<SentBatch> {
        let began = Instant::now();
        // Attempts with a lock timeout of their own are not pipelined.
        let setting = self.appender.lock_timeout;
        let (attempts, limited): (Vec<_>, Vec<_>) =
            attempts.into_iter().partition(|one| one.deadline.lock_timeout(setting).is_none());
        let (mut plan, validation) =
            plan::plan_behind(predecessor, attempts, &connection.seen.tail);
        plan.deferred.extend(limited);
        // If the tail has no head, no attempt of this batch has a condition (Lemma 4).
        let validation = validation.unwrap_or(Validation::Server);
        let batch = self.accept(plan, validation)?;
        let log = self.appender.log.clone();
        match SentBatch::send(&mut connection.lease, &log, batch, began, None).await {
            Ok(sent) => Some(sent),
            Err((batch, error)) => {
                self.fail(batch, BatchFailure::Error(error), None, connection);
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
                log.note_newest(answer.numbers.last().copied().unwrap_or(answer.head));
                let settlement = settle(batch, &answer, &mut connection.seen);
                self.apply(settlement);
            }
            (batch, Err(failure)) => self.fail(batch, failure, lock_timeout, connection),
        }
    }

    fn fail(
        &mut self,
        batch: Batch,
        failure: BatchFailure,
        lock_timeout: Option<Duration>,
        connection: &mut AppendConnection,
    ) {
        // Lemma 3: the server may have appended the batch nevertheless, unless an id was taken.
        if matches!(failure, BatchFailure::Error(_)) {
            connection.seen.tail.clear();
        }
        let setting = self.appender.lock_timeout;
        let may_wait_longer = |one: &PendingAppend| one.deadline.lock_timeout(setting).is_none();
        self.apply(settle_failure(batch, failure, lock_timeout, may_wait_longer));
    }

    fn apply(&mut self, settlement: Settlement) {
        self.requeued.extend(settlement.requeued);
        for (pending, result) in settlement.replies {
            pending.reply(self.appender.pool.server(), result);
        }
    }

    /// Takes half of the attempts that wait or were sent and not answered. The other half arrives
    /// while the server works on this one.
    fn take_half(&self, sent: usize) -> Vec<PendingAppend> {
        let mut queue = self.appender.queue();
        let half = (queue.len() + sent).div_ceil(2);
        queue.take(half.min(self.appender.max_batch))
    }
}

/// The shortest time for which a worker keeps its connection while no attempt arrives.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// The number of attempts from which on it is better to send half of them, so that the server is at
/// work while the other half arrives.
const PIPELINED_ATTEMPTS: usize = 16;
