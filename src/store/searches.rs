use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join3;
use futures_util::{StreamExt, pin_mut};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::deadline::{AttemptDeadline, timed_out};
use super::gather::gather;
use super::log::Log;
use crate::condition::Guard;
use crate::pool::{Lease, Pool, send};
use crate::sql::{self, HeldEvent, SearchAnswer, SearchBatch, Statement};
use crate::{Error, Event, SequenceNumber};

/// Searches for what decides an append before it takes the log's lock, or after it was refused.
///
/// The searches that come while others are under way wait, and then share a statement.
pub(super) struct Searches {
    log: Arc<Log>,
    /// Connections whose statements are planned once.
    batched: Pool,
    /// Connections whose statements are planned for their values.
    single: Pool,
    queue: Mutex<SearchQueue>,
}

#[derive(Default)]
struct SearchQueue {
    waiting: Vec<PendingSearch>,
    /// How many tasks run searches. Each takes from those that wait until none does.
    tasks: usize,
    /// How many searches the last statement had.
    last: usize,
}

/// What is searched for.
#[derive(Clone)]
pub(super) struct SearchRequest {
    /// The events of the append, of which the log may hold some.
    pub(super) events: Arc<[Event]>,
    /// The event that the append was refused for.
    pub(super) at: Option<SequenceNumber>,
    /// The condition to bring up to date.
    pub(super) guard: Option<Guard>,
}

struct PendingSearch {
    search: Search,
    reply: oneshot::Sender<Result<SearchAnswer, Error>>,
}

struct Search {
    request: SearchRequest,
    deadline: AttemptDeadline,
}

impl SearchQueue {
    fn has_gathered(&self) -> bool {
        self.waiting.len() >= self.last
    }
}

impl Searches {
    pub(super) fn new(log: Arc<Log>, batched: Pool, single: Pool) -> Arc<Self> {
        Arc::new(Self { log, batched, single, queue: Mutex::default() })
    }

    /// Searches. Dropped, it changes nothing.
    ///
    /// A condition that takes a search of its own is searched for after the events, so that the event which
    /// breaks it may be one of them that was stored in between. The finding is open then.
    pub(super) async fn find(
        self: &Arc<Self>,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<SearchAnswer, Error> {
        let open = request.guard.clone();
        let is_batched = open.as_ref().is_none_or(SearchBatch::supports);
        let shared = SearchRequest { guard: request.guard.filter(|_| is_batched), ..request };
        let found = self.find_with_others(shared, deadline).await?;
        match open {
            Some(guard) if !found.holds_event && (!is_batched || found.needs_own_search) => {
                let alone = self.find_alone(&guard, deadline).await?;
                Ok(SearchAnswer { needs_own_search: true, ..alone })
            }
            _ => Ok(found),
        }
    }

    async fn find_with_others(
        self: &Arc<Self>,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<SearchAnswer, Error> {
        let search = Search { request, deadline };
        let Some(task) = self.start_alone() else { return self.queue(search).await };
        let findings = self.run(&[&search]).await;
        drop(task);
        findings.map(|mut findings| findings.pop().unwrap_or_default())
    }

    /// Searches together with others.
    async fn queue(self: &Arc<Self>, search: Search) -> Result<SearchAnswer, Error> {
        let (server, deadline) = (self.batched.server(), search.deadline);
        let (reply, mut answer) = oneshot::channel();
        self.lock().waiting.push(PendingSearch { search, reply });
        self.start_task(1);
        let answer = deadline.run_against(server, async {
            let answered = match timeout(PATIENCE, &mut answer).await {
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

    /// Returns a task for one search, if no other runs and others will hardly come. Its caller need not
    /// wait for a spawned task to begin.
    fn start_alone(self: &Arc<Self>) -> Option<SearchTask> {
        let mut queue = self.lock();
        let starts = queue.tasks == 0 && queue.last <= 1;
        queue.tasks += usize::from(starts);
        starts.then(|| SearchTask { searches: self.clone(), hands_over: true })
    }

    /// Spawns a task, if there are fewer than so many.
    fn start_task(self: &Arc<Self>, most: usize) {
        let mut queue = self.lock();
        if queue.tasks < most {
            queue.tasks += 1;
            drop(queue);
            SearchTask { searches: self.clone(), hands_over: false }.spawn();
        }
    }

    async fn run(&self, batch: &[&Search]) -> Result<Vec<SearchAnswer>, Error> {
        let deadline = AttemptDeadline::join(batch.iter().map(|one| one.deadline));
        let mut searches = SearchBatch::default();
        for Search { request, .. } in batch {
            searches.add(&request.events, request.at, request.guard.as_ref());
        }
        let statement = searches.statement(&self.log.name);
        let (lease, rows) = query(&self.batched, &statement, deadline).await?;
        let findings = SearchAnswer::decode_batch(&rows, batch.len());
        findings.map_err(|error| lease.server().lost(error))
    }

    async fn find_alone(
        &self,
        guard: &Guard,
        deadline: AttemptDeadline,
    ) -> Result<SearchAnswer, Error> {
        let statement = sql::search(&self.log.name, guard);
        let (lease, rows) = query(&self.single, &statement, deadline).await?;
        let row = rows.first().ok_or_else(|| lease.server().lost("the answer has no row"))?;
        SearchAnswer::decode(row).map_err(|error| lease.server().lost(error))
    }

    /// Returns which of the events the log holds already, and that they are durable.
    pub(super) async fn held_events(
        &self,
        events: &[Event],
        deadline: AttemptDeadline,
    ) -> Result<Vec<HeldEvent>, Error> {
        let statement = sql::held_events(&self.log.name, events);
        let (lease, rows) = query(&self.single, &statement, deadline).await?;
        let held = rows.iter().map(HeldEvent::decode).collect::<Result<_, _>>();
        held.map_err(|error| lease.server().lost(error))
    }

    fn lock(&self) -> MutexGuard<'_, SearchQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted among the tasks of a queue until it is dropped.
struct SearchTask {
    searches: Arc<Searches>,
    /// Whether it leaves the searches that wait to another task when it is dropped.
    hands_over: bool,
}

impl SearchTask {
    /// Runs searches until none waits.
    fn spawn(self) {
        tokio::spawn(async move {
            let mut task = self;
            task.gather().await;
            while let Some(batch) = task.take() {
                task.run(batch).await;
                task.gather().await;
            }
            // One may come before this is dropped.
            task.hands_over = true;
        });
    }

    /// Lets the tasks that are ready search as well, until as many searches wait as the last statement
    /// had, so that they share the next one.
    async fn gather(&self) {
        gather(|| self.searches.lock().has_gathered()).await;
    }

    async fn run(&self, batch: Vec<PendingSearch>) {
        let searches: Vec<_> = batch.iter().map(|pending| &pending.search).collect();
        match self.searches.run(&searches).await {
            Ok(findings) => {
                for (pending, finding) in batch.into_iter().zip(findings) {
                    let _ = pending.reply.send(Ok(finding));
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
        let mut queue = self.searches.lock();
        let count = queue.waiting.len().min(MAX_SEARCHES);
        if count == 0 {
            return None;
        }
        queue.last = count;
        Some(queue.waiting.drain(..count).collect())
    }
}

impl Drop for SearchTask {
    /// If this was dropped before its end, because its runtime is shut down, the searches that wait fail
    /// as transient ones.
    fn drop(&mut self) {
        let mut queue = self.searches.lock();
        queue.tasks -= 1;
        if queue.waiting.is_empty() || queue.tasks > 0 {
            return;
        }
        if self.hands_over && Handle::try_current().is_ok() {
            drop(queue);
            self.searches.start_task(1);
        } else {
            queue.waiting.clear();
        }
    }
}

/// Runs a statement in a transaction of its own. Dropped while it runs, it closes its connection.
pub(super) async fn query(
    pool: &Pool,
    statement: &Statement<'_>,
    deadline: AttemptDeadline,
) -> Result<(Lease, Vec<Row>), Error> {
    let server = pool.server();
    let mut lease = deadline.run_against(server, pool.acquire()).await?;
    let form = deadline.run_against(server, lease.prepare(&statement.text)).await?;
    lease.enter_transaction();
    lease.start_clock();
    let collecting = async {
        let rows = send(lease.client(), &form, statement).await?;
        pin_mut!(rows);
        let mut collected = Vec::new();
        while let Some(row) = rows.next().await {
            collected.push(row?);
        }
        Ok::<_, tokio_postgres::Error>(collected)
    };
    // Behind a pooler, settings are those of a transaction.
    let is_shared = lease.own_id().is_none();
    let command = async |text: &str| match is_shared {
        true => lease.client().batch_execute(text).await,
        false => Ok(()),
    };
    let answers = join3(command(lease.begin_text()), collecting, command("COMMIT"));
    let rows = match deadline.run(answers).await {
        Ok((begun, rows, committed)) => begun.and(rows).and_then(|rows| committed.map(|()| rows)),
        Err(waited) => {
            lease.discard();
            return Err(timed_out(server, waited));
        }
    };
    lease.leave_transaction();
    let rows = rows.map_err(|error| lease.failed(error))?;
    Ok((lease, rows))
}

/// How long a search waits for those under way before another statement begins beside them. One at a
/// time has more searches, which share its cost.
const PATIENCE: Duration = Duration::from_millis(5);
/// The most statements that search at once.
const MAX_TASKS: usize = 4;
/// The most searches of one statement.
const MAX_SEARCHES: usize = 128;
