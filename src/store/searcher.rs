use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join3;
use futures_util::{StreamExt, pin_mut};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::{Client, Row};

use super::deadline::{AttemptDeadline, timed_out};
use super::log_state::LogState;
use super::yield_until::yield_until;
use crate::condition::FilterPosition;
use crate::pool::{Lease, Pool, StatementHandle, send};
use crate::sql::{
    self, BoundCheck, Head, HeldEvent, Reading, SearchAnswer, SearchBatch, Statement,
};
use crate::telemetry::{OperationHandle, Request};
use crate::{Bookmark, Error, Event, SequenceNumber};

/// A searcher of the log for the events that decide an append, outside of the log's lock: before
/// the append takes the lock, or after the server did not append it.
///
/// Searches that are requested while others run wait, and then share a statement.
pub(super) struct Searcher {
    log: Arc<LogState>,
    /// Connections whose statements have a generic plan.
    batch_pool: Pool,
    /// Connections whose statements have a custom plan.
    single_pool: Pool,
    queue: Mutex<SearchQueue>,
}

#[derive(Default)]
struct SearchQueue {
    waiting: Vec<PendingSearch>,
    /// How many tasks run searches. Each of them takes searches from the queue until it is empty.
    tasks: usize,
    /// How many searches the last statement had.
    last_batch_size: usize,
}

/// A request for the events that decide an append.
#[derive(Clone)]
pub(super) struct SearchRequest {
    /// The append's events, to search for their ids as well. Empty if only the target is searched
    /// for: then an event that is found may be one of the append's own.
    pub(super) events: Arc<[Event]>,
    /// What else to search for, if anything.
    pub(super) target: Option<SearchTarget>,
}

/// The event that a search looks for, besides the append's own events.
#[derive(Clone)]
pub(super) enum SearchTarget {
    /// The event at this position, which broke the append's condition.
    EventAt(SequenceNumber),
    /// The first event that breaks this condition. If there is none, the condition is validated up
    /// to the log's head.
    Conflict(FilterPosition),
}

/// The result of a search.
pub(super) struct SearchResult {
    /// The log's head in the snapshot of the search.
    pub(super) head: Bookmark,
    /// Whether the log holds the events up to the position of the condition, if the target is one.
    pub(super) check: BoundCheck,
    /// Whether the log holds one of the request's events.
    pub(super) holds_event: bool,
    /// The position and the type of the target, if it was found.
    pub(super) event: Option<(SequenceNumber, String)>,
    /// Whether `event` is certainly none of the append's own events, if `holds_event` is false: the
    /// snapshot in which it was found was searched for them.
    pub(super) covers_own_events: bool,
}

impl SearchResult {
    fn new(answer: SearchAnswer, check: BoundCheck, covers_own_events: bool) -> Self {
        let SearchAnswer { head, event, holds_event, .. } = answer;
        Self { head, check, holds_event, event, covers_own_events }
    }
}

struct PendingSearch {
    search: Search,
    reply: oneshot::Sender<Result<SearchAnswer, Error>>,
}

struct Search {
    request: SearchRequest,
    operation: OperationHandle,
    deadline: AttemptDeadline,
}

impl Searcher {
    pub(super) fn new(log: Arc<LogState>, batch_pool: Pool, single_pool: Pool) -> Arc<Self> {
        Arc::new(Self { log, batch_pool, single_pool, queue: Mutex::default() })
    }

    /// Searches for the events of a request. Dropping the future changes nothing.
    ///
    /// Some conditions need a statement of their own, which runs after the search for the append's
    /// events, in a later snapshot. An event that it finds may be one of these, stored in between.
    pub(super) async fn find(
        self: &Arc<Self>,
        request: SearchRequest,
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<SearchResult, Error> {
        let SearchRequest { events, target } = request;
        let covers_own_events = !events.is_empty();
        let condition = match &target {
            Some(SearchTarget::Conflict(condition)) => Some(condition.clone()),
            _ => None,
        };
        let is_batched = condition.as_ref().is_none_or(SearchBatch::supports);
        let request = SearchRequest { events, target: target.filter(|_| is_batched) };
        let mut answer = self.find_in_batch(request, operation, deadline).await?;
        let Some(condition) = condition else {
            return Ok(SearchResult::new(answer, BoundCheck::Reached, covers_own_events));
        };
        let is_complete =
            is_batched && !answer.needs_own_search && answer.check(&condition).is_some();
        if !answer.holds_event && !is_complete {
            answer = self.find_single(&condition, operation, deadline).await?;
        }
        let check = answer.check(&condition).unwrap_or(BoundCheck::Reached);
        Ok(SearchResult::new(answer, check, covers_own_events && is_complete))
    }

    async fn find_in_batch(
        self: &Arc<Self>,
        request: SearchRequest,
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<SearchAnswer, Error> {
        let search = Search { request, operation: operation.clone(), deadline };
        let Some(task) = self.start_inline() else { return self.enqueue(search).await };
        let answers = self.run(&[&search]).await;
        drop(task);
        answers.map(|mut answers| answers.pop().unwrap_or_default())
    }

    /// Puts a search into the queue, and waits for its answer. Makes sure that a task runs it.
    async fn enqueue(self: &Arc<Self>, search: Search) -> Result<SearchAnswer, Error> {
        let (server, deadline) = (self.batch_pool.server(), search.deadline);
        let (reply, mut answer) = oneshot::channel();
        self.lock().waiting.push(PendingSearch { search, reply });
        self.start_task(1);
        let answer = deadline.run_against(server, async {
            let answered = match timeout(PARALLEL_DELAY, &mut answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    self.start_task(MAX_TASKS);
                    answer.await
                }
            };
            answered.unwrap_or_else(|_| Err(server.lost("the search ended before it replied")))
        });
        answer.await
    }

    /// Returns a task for the caller to run itself, which saves the time to start a spawned one.
    /// Only if no other task runs and the last statement had no more than one search.
    fn start_inline(self: &Arc<Self>) -> Option<SearchTask> {
        let mut queue = self.lock();
        let starts = queue.tasks == 0 && queue.last_batch_size <= 1;
        queue.tasks += usize::from(starts);
        starts.then(|| SearchTask { searcher: self.clone(), starts_successor: true })
    }

    /// Spawns a task if fewer than `max_tasks` run.
    fn start_task(self: &Arc<Self>, max_tasks: usize) {
        let mut queue = self.lock();
        if queue.tasks < max_tasks {
            queue.tasks += 1;
            drop(queue);
            SearchTask { searcher: self.clone(), starts_successor: false }.spawn();
        }
    }

    async fn run(&self, batch: &[&Search]) -> Result<Vec<SearchAnswer>, Error> {
        let deadline = AttemptDeadline::join(batch.iter().map(|one| one.deadline));
        let mut searches = SearchBatch::default();
        for Search { request, .. } in batch {
            let (at, condition) = match &request.target {
                Some(SearchTarget::EventAt(position)) => (Some(*position), None),
                Some(SearchTarget::Conflict(condition)) => (None, Some(condition)),
                None => (None, None),
            };
            searches.add(&request.events, at, condition);
        }
        let statement = searches.statement(&self.log.name);
        let exchange = (&batch[0].operation, Request::Search);
        let (lease, rows) =
            run_transaction(&self.batch_pool, &statement, exchange, deadline).await?;
        let answers = SearchAnswer::decode_batch(&rows, batch.len());
        answers.map_err(|error| lease.server().lost(error))
    }

    async fn find_single(
        &self,
        condition: &FilterPosition,
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<SearchAnswer, Error> {
        let exchange = (operation, Request::Search);
        let statement = sql::search(&self.log.name, condition);
        let (lease, rows) =
            run_transaction(&self.single_pool, &statement, exchange, deadline).await?;
        let row = rows.first().ok_or_else(|| lease.server().unversioned())?;
        SearchAnswer::decode(row, condition).map_err(|error| lease.server().lost(error))
    }

    /// Returns which of the events the log holds already. They are durable when this returns.
    /// SAFETY.md, G4.
    pub(super) async fn held_events(
        &self,
        events: &[Event],
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<Vec<HeldEvent>, Error> {
        let exchange = (operation, Request::Search);
        let statement = sql::held_events(&self.log.name, events);
        let (lease, rows) =
            run_transaction(&self.single_pool, &statement, exchange, deadline).await?;
        let held = rows.iter().map(HeldEvent::decode).collect::<Result<_, _>>();
        held.map_err(|error| lease.server().lost(error))
    }

    /// Checks whether the log has reached bookmarks. Returns its head as well.
    pub(super) async fn check(
        &self,
        bookmarks: &[Bookmark],
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<(Bookmark, BoundCheck), Error> {
        let head = Reading::of_head(&self.log.name);
        let reading = bookmarks.iter().fold(head, |reading, one| reading.at_least(*one));
        let (statement, exchange) = (reading.head(), (operation, Request::Head));
        let (lease, rows) =
            run_transaction(&self.single_pool, &statement, exchange, deadline).await?;
        let row = rows.first().ok_or_else(|| lease.server().unversioned())?;
        let head = Head::decode(row)?;
        Ok((head.bookmark(), head.check(reading.bounds())))
    }

    fn lock(&self) -> MutexGuard<'_, SearchQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that runs searches. It is counted by the queue until it is dropped.
struct SearchTask {
    searcher: Arc<Searcher>,
    /// Whether another task is started for the searches that wait when this one is dropped.
    starts_successor: bool,
}

impl SearchTask {
    /// Spawns the task, which runs searches until none waits.
    fn spawn(self) {
        tokio::spawn(async move {
            let mut task = self;
            task.fill_batch().await;
            while let Some(batch) = task.take() {
                task.run(batch).await;
                task.fill_batch().await;
            }
            // A search may be added before the task is dropped.
            task.starts_successor = true;
        });
    }

    /// Lets the tasks that are ready add searches, until as many wait as the last statement had, so
    /// that they share the next statement.
    async fn fill_batch(&self) {
        yield_until(|| {
            let queue = self.searcher.lock();
            queue.waiting.len() >= queue.last_batch_size
        })
        .await;
    }

    async fn run(&self, batch: Vec<PendingSearch>) {
        let searches: Vec<_> = batch.iter().map(|pending| &pending.search).collect();
        match self.searcher.run(&searches).await {
            Ok(answers) => {
                for (pending, answer) in batch.into_iter().zip(answers) {
                    let _ = pending.reply.send(Ok(answer));
                }
            }
            Err(error) => {
                for pending in batch {
                    let _ = pending.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Takes the searches of the next statement.
    fn take(&self) -> Option<Vec<PendingSearch>> {
        let mut queue = self.searcher.lock();
        let count = queue.waiting.len().min(MAX_BATCH_SEARCHES);
        if count == 0 {
            return None;
        }
        queue.last_batch_size = count;
        Some(queue.waiting.drain(..count).collect())
    }
}

impl Drop for SearchTask {
    /// Starts another task for the searches that wait, if no task runs them. If the runtime of this
    /// one is shut down, they fail with a transient error instead: their replies are dropped.
    fn drop(&mut self) {
        let mut queue = self.searcher.lock();
        queue.tasks -= 1;
        if queue.waiting.is_empty() || queue.tasks > 0 {
            return;
        }
        if self.starts_successor && Handle::try_current().is_ok() {
            drop(queue);
            self.searcher.start_task(1);
        } else {
            queue.waiting.clear();
        }
    }
}

/// Runs a statement in a transaction of its own. If the future is dropped while the statement runs,
/// the connection is closed.
pub(super) async fn run_transaction(
    pool: &Pool,
    statement: &Statement<'_>,
    (operation, request): (&OperationHandle, Request),
    deadline: AttemptDeadline,
) -> Result<(Lease, Vec<Row>), Error> {
    let mut lease = deadline.acquire(pool).await?;
    let exchange = operation.exchange(request, lease.server());
    let rows = run_on(&mut lease, statement, deadline).await;
    exchange.finish(&rows);
    Ok((lease, rows?))
}

async fn run_on(
    lease: &mut Lease,
    statement: &Statement<'_>,
    deadline: AttemptDeadline,
) -> Result<Vec<Row>, Error> {
    let server = lease.server().clone();
    let handle = deadline.run_against(&server, lease.prepare(&statement.text)).await?;
    lease.enter_transaction();
    lease.start_clock();
    // Behind a pooler, settings apply to one transaction, so one has to be opened.
    let is_behind_pooler = lease.own_id().is_none();
    let command = async |text: &str| match is_behind_pooler {
        true => lease.client().batch_execute(text).await,
        false => Ok(()),
    };
    let collecting = collect_rows(lease.client(), &handle, statement);
    let answers = join3(command(lease.begin_text()), collecting, command("COMMIT"));
    let rows = match deadline.run(answers).await {
        Ok((begun, rows, committed)) => begun.and(rows).and_then(|rows| committed.map(|()| rows)),
        Err(waited) => {
            lease.discard();
            return Err(timed_out(&server, waited));
        }
    };
    lease.leave_transaction();
    rows.map_err(|error| lease.failed(error))
}

async fn collect_rows(
    client: &Client,
    handle: &StatementHandle,
    statement: &Statement<'_>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let rows = send(client, handle, statement).await?;
    pin_mut!(rows);
    let mut collected = Vec::new();
    while let Some(row) = rows.next().await {
        collected.push(row?);
    }
    Ok(collected)
}

/// The time that a search waits for a running statement before another statement starts in
/// parallel. One statement at a time has more searches, which share its cost.
const PARALLEL_DELAY: Duration = Duration::from_millis(5);
/// The most statements that search at the same time.
const MAX_TASKS: usize = 4;
/// The most searches of one statement.
const MAX_BATCH_SEARCHES: usize = 128;
