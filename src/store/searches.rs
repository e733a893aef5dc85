use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join3;
use futures_util::{StreamExt, pin_mut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_postgres::Row;

use super::limit::{AttemptDeadline, timed_out};
use super::log::Log;
use crate::condition::Guard;
use crate::pool::{Lease, Pool, send};
use crate::sql::{self, Finding, HeldEvent, SearchBatch, Statement};
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
    waiting: Mutex<Vec<PendingSearch>>,
    permits: Arc<Semaphore>,
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
    request: SearchRequest,
    deadline: AttemptDeadline,
    reply: oneshot::Sender<Result<Finding, Error>>,
}

impl Searches {
    pub(super) fn new(log: Arc<Log>, batched: Pool, single: Pool) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(MAX_STATEMENTS));
        Arc::new(Self { log, batched, single, waiting: Mutex::default(), permits })
    }

    /// Searches. Dropped, it changes nothing.
    pub(super) async fn find(
        self: &Arc<Self>,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<Finding, Error> {
        let open = request.guard.clone();
        let is_batched = open.as_ref().is_none_or(SearchBatch::takes);
        let shared = SearchRequest { guard: request.guard.filter(|_| is_batched), ..request };
        let found = self.find_with_others(shared, deadline).await?;
        match open {
            Some(guard) if !found.holds_event && (!is_batched || found.is_open) => {
                self.find_alone(&guard, deadline).await
            }
            _ => Ok(found),
        }
    }

    async fn find_with_others(
        self: &Arc<Self>,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<Finding, Error> {
        let server = self.batched.server();
        let (reply, answer) = oneshot::channel();
        let permit = {
            let mut waiting = self.waiting();
            waiting.push(PendingSearch { request, deadline, reply });
            self.permits.clone().try_acquire_owned()
        };
        if let Ok(permit) = permit {
            let task = SearchTask { searches: self.clone(), permit: Some(permit) };
            tokio::spawn(async move {
                // Lets the tasks that are ready search as well, and share the statement.
                tokio::task::yield_now().await;
                task.serve().await;
            });
        }
        let answer = deadline.run_against(server, async {
            answer.await.unwrap_or_else(|_| Err(server.lost("the search ended before it replied")))
        });
        answer.await
    }

    async fn run(&self, batch: &[PendingSearch]) -> Result<Vec<Finding>, Error> {
        let deadline = AttemptDeadline::join(batch.iter().map(|one| one.deadline));
        let mut searches = SearchBatch::default();
        for PendingSearch { request, .. } in batch {
            searches.add(&request.events, request.at, request.guard.as_ref());
        }
        let statement = searches.statement(&self.log.name);
        let (lease, rows) = query(&self.batched, &statement, deadline).await?;
        let findings = Finding::decode_batch(&rows, batch.len());
        findings.map_err(|error| lease.server().lost(error))
    }

    async fn find_alone(&self, guard: &Guard, deadline: AttemptDeadline) -> Result<Finding, Error> {
        let statement = sql::search(&self.log.name, guard);
        let (lease, rows) = query(&self.single, &statement, deadline).await?;
        let row = rows.first().ok_or_else(|| lease.server().lost("the answer has no row"))?;
        Finding::decode(row).map_err(|error| lease.server().lost(error))
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

    fn waiting(&self) -> MutexGuard<'_, Vec<PendingSearch>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that runs searches until none waits.
struct SearchTask {
    searches: Arc<Searches>,
    /// Until none waits.
    permit: Option<OwnedSemaphorePermit>,
}

impl SearchTask {
    async fn serve(mut self) {
        while let Some(batch) = self.take() {
            match self.searches.run(&batch).await {
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
    }

    /// Takes the searches of the next statement. The permit is given back while the list is locked:
    /// the next search to come finds either a task that will take it, or a permit.
    fn take(&mut self) -> Option<Vec<PendingSearch>> {
        let mut waiting = self.searches.waiting();
        if waiting.is_empty() {
            self.permit = None;
            return None;
        }
        let count = waiting.len().min(MAX_SEARCHES);
        Some(waiting.drain(..count).collect())
    }
}

impl Drop for SearchTask {
    /// If the task does not come to its end, because its runtime is shut down, the searches that wait
    /// fail as transient ones.
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.searches.waiting().clear();
        }
    }
}

/// Runs a statement in a transaction of its own. Dropped while it runs, it closes its connection.
async fn query(
    pool: &Pool,
    statement: &Statement<'_>,
    deadline: AttemptDeadline,
) -> Result<(Lease, Vec<Row>), Error> {
    let server = pool.server();
    let mut lease = deadline.run_against(server, pool.acquire()).await?;
    let form = deadline.run_against(server, lease.prepare(&statement.text)).await?;
    lease.hold();
    lease.begin();
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
            lease.give_up();
            return Err(timed_out(server, waited));
        }
    };
    lease.release();
    let rows = rows.map_err(|error| lease.failed(error))?;
    Ok((lease, rows))
}

/// The most statements that search at once.
const MAX_STATEMENTS: usize = 2;
/// The most searches of one statement.
const MAX_SEARCHES: usize = 128;
