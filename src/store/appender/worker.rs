use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Appender;
use super::connection::AppendConnection;
use super::execute::{InFlight, SendFailure};
use super::inline_task::{InlineTask, WakeHandle};
use super::plan::{self, Batch, Plan, Validation};
use super::queue::PendingAppend;
use super::settle::{BatchFailure, Settlement, settle, settle_failure};
use crate::Error;
use crate::sql::TransactionEnd;
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::{finds_id_taken, name_holder};
use crate::store::gather::gather;

/// The task that takes attempts from the queue and appends them. All control flow of the appender is
/// here: [`plan`](super::plan) says what goes into a batch, [`execute`](super::execute) sends it, and
/// [`settle`](super::settle) says what its answer means.
pub(super) struct Worker {
    appender: Arc<Appender>,
    task: Weak<InlineTask>,
    /// The attempts to carry out before those in the queue. The last group is the first.
    groups: Vec<Vec<PendingAppend>>,
    /// Whether this is the worker that takes attempts from the queue.
    is_current: bool,
}

impl Worker {
    /// Starts the worker that takes attempts from the queue.
    pub(super) fn start(appender: Arc<Appender>) {
        InlineTask::start(|task| {
            Self { appender, task, groups: Vec::new(), is_current: true }.run()
        });
    }

    async fn run(mut self) {
        let mut connection = None;
        let mut carried = 0;
        // One timer for many rests, since setting one takes time.
        let mut rest = pin!(sleep(REST));
        let mut has_rested = true;
        self.linger().await;
        loop {
            if !self.has_work() {
                if !self.is_current {
                    return;
                }
                tokio::select! {
                    biased;
                    () = self.first(carried, &connection) => self.linger().await,
                    () = &mut rest => {
                        if !std::mem::replace(&mut has_rested, true) {
                            rest.as_mut().reset(Instant::now() + REST);
                            continue;
                        }
                    }
                }
                if self.end(&mut connection) {
                    return;
                }
            }
            has_rested = false;
            if connection.as_ref().is_some_and(AppendConnection::is_spent) {
                connection = None;
            }
            if connection.is_none() {
                connection = match self.acquire().await {
                    Ok(connection) => Some(connection),
                    Err(error) => {
                        self.refuse(&error);
                        continue;
                    }
                };
            }
            self.gather(carried).await;
            if let (Some(connection), Some(attempts)) = (&mut connection, self.next()) {
                carried = self.carry_out(attempts, connection).await;
            }
        }
    }

    /// Waits for others to come with the first attempt, as long as the store is set to.
    async fn linger(&self) {
        if !self.appender.linger.is_zero() {
            sleep(self.appender.linger).await;
        }
    }

    /// Waits for the first attempt. The tasks that are ready run before this goes on, so that their
    /// attempts go into the same batch. But if the last batch had only one, its caller lets this go on at
    /// once: the runtime moves a task that is the fourth of a chain to another thread.
    async fn first(&self, carried: usize, connection: &Option<AppendConnection>) {
        if carried == 1 && connection.as_ref().is_some_and(AppendConnection::may_pipeline) {
            return self.many(1).await;
        }
        poll_fn(|cx| self.appender.queue().poll_many(1, || WakeHandle::to_wake(cx))).await;
    }

    /// Waits until so many attempts wait. The caller of the last of them lets this go on at once.
    async fn many(&self, many: usize) {
        let worker = |cx: &Context<'_>| WakeHandle::to_run(&self.task, cx);
        poll_fn(|cx| self.appender.queue().poll_many(many, || worker(cx))).await;
    }

    /// Ends, unless an attempt waits. What was seen is left to the next worker before it can start.
    fn end(&mut self, connection: &mut Option<AppendConnection>) -> bool {
        let mut queue = self.appender.queue();
        if queue.len() > 0 {
            return false;
        }
        if let Some(connection) = connection.take() {
            *self.appender.cached_tail() = connection.into_cached_tail();
        }
        self.is_current = false;
        queue.is_served = false;
        true
    }

    fn has_work(&self) -> bool {
        !self.groups.is_empty() || self.is_current && self.appender.queue().len() > 0
    }

    async fn acquire(&self) -> Result<AppendConnection, Error> {
        let lease = self.appender.pool.acquire().await?;
        let cached = if self.is_current { self.appender.cached_tail().take() } else { None };
        Ok(AppendConnection::new(lease, cached))
    }

    /// Replies to the next attempts that there is no connection.
    fn refuse(&mut self, error: &Error) {
        for pending in self.next().unwrap_or_default() {
            pending.reply(self.appender.pool.server(), Err(error.clone()));
        }
    }

    /// Lets the callers that were answered a moment ago append again, so that their attempts go into one
    /// batch. Otherwise the first of them would go alone and all others wait for it.
    async fn gather(&self, carried: usize) {
        if carried < 2 || !self.groups.is_empty() {
            return;
        }
        let enough = if carried < MANY { carried } else { carried / 2 };
        gather(|| self.appender.queue().len() >= enough).await;
    }

    /// Returns the attempts to carry out next.
    fn next(&mut self) -> Option<Vec<PendingAppend>> {
        if let Some(group) = self.groups.pop() {
            return Some(group);
        }
        let attempts = match self.is_current {
            true => self.appender.queue().take(self.appender.max_batch),
            false => Vec::new(),
        };
        Some(attempts).filter(|attempts| !attempts.is_empty())
    }

    /// Carries out a group of attempts. Returns how many were in the last batch.
    async fn carry_out(
        &mut self,
        attempts: Vec<PendingAppend>,
        connection: &mut AppendConnection,
    ) -> usize {
        let began = Instant::now();
        let newest = self.appender.log.newest();
        let (plan, validation) = plan::plan(attempts, connection.knowledge(newest));
        let Some(batch) = self.accept(plan, validation) else { return 0 };
        let deadline = AttemptDeadline::join(batch.attempts.iter().map(|one| one.limit));
        let lock_timeout = self.lock_timeout(&batch, connection);
        let log = self.appender.log.clone();
        let carried = batch.attempts.len();
        let lease = &mut connection.lease;
        let sending = InFlight::send(lease, &log, batch, deadline, lock_timeout);
        match patiently(&self.appender, &mut self.is_current, began, sending).await {
            Ok(front) => self.follow(front, lock_timeout, began, connection).await,
            Err((batch, error)) => {
                self.fail(batch, BatchFailure::Error(error), lock_timeout, connection);
                carried
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
        let number = self.appender.next_batch();
        (!attempts.is_empty()).then_some(Batch { attempts, number, validation, contents })
    }

    /// Returns how long a batch may wait for a lock, if that is not what its connection is set to.
    fn lock_timeout(&self, batch: &Batch, connection: &AppendConnection) -> Option<Duration> {
        let setting = self.appender.lock_timeout;
        let timeouts = batch.attempts.iter().filter_map(|one| one.limit.lock_timeout(setting));
        timeouts.min().or(connection.is_shared().then_some(setting))
    }

    /// Waits for the answer to a batch, and meanwhile sends the next one. Returns how many attempts were
    /// in the last one.
    async fn follow(
        &mut self,
        mut front: InFlight,
        mut lock_timeout: Option<Duration>,
        mut began: Instant,
        connection: &mut AppendConnection,
    ) -> usize {
        let log = self.appender.log.clone();
        let plain = log.append_texts.of(false, TransactionEnd::Commit);
        let mut next = None;
        // If attempts have to wait for the batch in front of them, they are the first to go on then.
        let mut is_clear = true;
        loop {
            let mut patience = pin!(sleep_until(began + PATIENCE));
            loop {
                let is_free = next.is_none() && is_clear && self.groups.is_empty();
                // To prepare the statement would wait for the batch in front, without an end.
                let is_prepared = connection.lease.has_prepared(plain);
                let pipelines =
                    is_free && self.is_current && is_prepared && connection.may_pipeline();
                let many = MANY.max(front.len());
                tokio::select! {
                    biased;
                    () = front.answered() => break,
                    () = self.many(many), if pipelines => {
                        let attempts = self.take_half(front.len());
                        let taken = attempts.len();
                        let began = Instant::now();
                        let sent = self.send_behind(front.batch(), attempts, connection).await;
                        next = sent.map(|sent| (sent, began));
                        is_clear = next.as_ref().is_some_and(|(sent, _)| sent.len() == taken);
                    }
                    () = &mut patience, if self.is_current => {
                        hand_over(&self.appender, &mut self.is_current);
                    }
                }
            }
            let carried = front.len();
            self.complete(front, lock_timeout, next.is_none(), began, connection).await;
            // Those that wait less than the setting are not pipelined.
            lock_timeout = None;
            match next.take() {
                Some(next) => (front, began) = next,
                None => return carried,
            }
        }
    }

    /// Sends attempts before the batch in front of them is answered. Puts back those that depend on its
    /// answer.
    async fn send_behind(
        &mut self,
        front: &Batch,
        attempts: Vec<PendingAppend>,
        connection: &mut AppendConnection,
    ) -> Option<InFlight> {
        let setting = self.appender.lock_timeout;
        let has_full_wait = |one: &PendingAppend| one.limit.lock_timeout(setting).is_none();
        let (attempts, hasty): (Vec<_>, Vec<_>) = attempts.into_iter().partition(has_full_wait);
        let (mut plan, validation) = plan::plan_behind(front, attempts, &connection.seen.tail);
        plan.deferred.extend(hasty);
        // A tail without a head is that of a front without conditions.
        let validation = validation.unwrap_or(Validation::Server);
        let batch = self.accept(plan, validation)?;
        let deadline = AttemptDeadline::join(batch.attempts.iter().map(|one| one.limit));
        let log = self.appender.log.clone();
        match InFlight::send(&mut connection.lease, &log, batch, deadline, None).await {
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
        front: InFlight,
        lock_timeout: Option<Duration>,
        is_last: bool,
        began: Instant,
        connection: &mut AppendConnection,
    ) {
        let log = self.appender.log.clone();
        let deadline = AttemptDeadline::join(front.batch().attempts.iter().map(|one| one.limit));
        let completing = async {
            let (batch, answer) = front.complete(&mut connection.lease, is_last).await;
            let failure = match answer {
                Ok(answer) => return (batch, Ok(answer)),
                Err(SendFailure::Known(error)) => BatchFailure::Error(error),
                Err(SendFailure::Server(error)) if finds_id_taken(&log.name, &error) => {
                    BatchFailure::IdTaken
                }
                Err(SendFailure::Server(error)) => {
                    let lease = &mut connection.lease;
                    let error = lease.failed_append(error);
                    BatchFailure::Error(name_holder(&log.name, lease, error, deadline).await)
                }
            };
            (batch, Err(failure))
        };
        let completed = patiently(&self.appender, &mut self.is_current, began, completing).await;
        match completed {
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
        // It may have been appended all the same.
        if matches!(failure, BatchFailure::Error(_)) {
            connection.seen.tail.forget();
        }
        let setting = self.appender.lock_timeout;
        let has_full_wait = |one: &PendingAppend| one.limit.lock_timeout(setting).is_none();
        let server = connection.lease.server();
        self.apply(settle_failure(server, batch, failure, lock_timeout, has_full_wait));
    }

    fn apply(&mut self, settlement: Settlement) {
        self.groups.extend(settlement.requeue);
        for (pending, result) in settlement.replies {
            pending.reply(self.appender.pool.server(), result);
        }
    }

    /// Takes half of the attempts that wait or are under way. The other half comes meanwhile.
    fn take_half(&self, under_way: usize) -> Vec<PendingAppend> {
        let mut queue = self.appender.queue();
        let half = (queue.len() + under_way).div_ceil(2);
        queue.take(half.min(self.appender.max_batch))
    }
}

/// Waits for a piece of work. If that takes long, another worker serves the queue meanwhile.
async fn patiently<T>(
    appender: &Arc<Appender>,
    is_current: &mut bool,
    began: Instant,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if *is_current {
        if let Ok(done) = timeout_at(began + PATIENCE, &mut work).await {
            return done;
        }
        hand_over(appender, is_current);
    }
    work.await
}

/// Leaves the queue to another worker. What holds this one up, its connection perhaps, need not hold up
/// the attempts that wait.
fn hand_over(appender: &Arc<Appender>, is_current: &mut bool) {
    *is_current = false;
    let mut queue = appender.queue();
    queue.is_served = queue.len() > 0;
    if queue.is_served {
        Worker::start(appender.clone());
    }
}

impl Drop for Worker {
    /// If the worker does not come to its end, because its runtime is shut down, the next append starts
    /// another one. The attempts that wait may be of another runtime. They fail as transient ones.
    fn drop(&mut self) {
        if !self.is_current {
            return;
        }
        let mut queue = self.appender.queue();
        queue.is_served = false;
        let waiting = queue.take_all();
        drop(queue);
        let server = self.appender.pool.server();
        for pending in waiting {
            pending.reply(server, Err(server.lost("the append task ended before it replied")));
        }
    }
}

/// How long a worker keeps its connection at least while no attempt comes.
const REST: Duration = Duration::from_secs(60);
/// How long the attempts that wait go on waiting for a batch that is under way.
const PATIENCE: Duration = Duration::from_secs(1);
/// From how many attempts on it is better to send half of them, and have the server at work while the
/// other half comes.
const MANY: usize = 16;
