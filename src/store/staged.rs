use std::time::Duration;

use futures_util::future::{join, join3};
use tokio_postgres::{Client, IsolationLevel, Portal, Row, Transaction};

use super::deadline::{AttemptDeadline, timed_out};
use super::failure::{
    AppendFailure, add_lock_holder, check_open, end_exchange, is_id_taken, outcome_unknown,
    require_row, with_event_ids,
};
use super::log_state::LogState;
use crate::error::BoxError;
use crate::pool::{Lease, StatementHandle, fetch_row, last_row};
use crate::sql::{self, BatchAnswer, Head, Precondition, Reading, Statement, TransactionEnd};
use crate::telemetry::{OperationHandle, OperationPhase, Request};
use crate::{Error, Event, SequenceNumber};

/// A large append, or the chunk of an import, in a transaction of its own.
///
/// The procedure call is bound before it is executed. The server receives the events when it binds
/// the call, and takes the log's lock when it executes it. So other appends do not wait while the
/// events are sent, and an attempt that ends before they have arrived has stored nothing.
///
/// Behind a pooler in transaction mode no statements are prepared, so the call is not bound in
/// advance. It is sent as a whole, and takes the lock after all events have arrived.
pub(super) struct StagedAppend<'a> {
    pub(super) log: &'a LogState,
    pub(super) events: &'a [Event],
    pub(super) precondition: Precondition<'a>,
    pub(super) lock_timeout: Duration,
    pub(super) operation: &'a OperationHandle,
}

/// The outcome of a staged append.
pub(super) struct StagedAnswer {
    /// A head from before the events could be stored: if they are stored, they lie above it. `None`
    /// if the procedure call was not executed.
    pub(super) floor: Option<SequenceNumber>,
    pub(super) result: Result<BatchAnswer, AppendFailure>,
}

impl From<Error> for StagedAnswer {
    /// Converts an error that occurred before anything could be stored.
    fn from(error: Error) -> Self {
        Self { floor: None, result: Err(AppendFailure::Error(error)) }
    }
}

/// A statement, prepared on the connection.
struct PreparedStatement<'a, H> {
    statement: Statement<'a>,
    handle: H,
}

/// The reason why a call was not bound. Nothing is stored.
enum BindFailure {
    Error(tokio_postgres::Error),
    TimedOut(Duration),
}

/// The answers to the call and to its `COMMIT`.
struct CommitAnswers {
    appended: Result<Option<Row>, tokio_postgres::Error>,
    committed: Result<(), tokio_postgres::Error>,
}

impl StagedAppend<'_> {
    /// Runs the transaction. If the future is dropped, all events are appended or none.
    pub(super) async fn run(&self, lease: &mut Lease, deadline: AttemptDeadline) -> StagedAnswer {
        self.operation.enter(OperationPhase::Execute);
        let exchange = self.operation.exchange(Request::Append, lease.server());
        let answer = self.exchange(lease, deadline).await;
        self.operation.enter(OperationPhase::Decode);
        end_exchange(exchange, &answer.result);
        answer
    }

    async fn exchange(&self, lease: &mut Lease, deadline: AttemptDeadline) -> StagedAnswer {
        let head = Reading::of_head(&self.log.name).head();
        let lock_timeout = deadline.lock_timeout(self.lock_timeout).or(Some(self.lock_timeout));
        let ending = match lease.own_id() {
            Some(_) => TransactionEnd::KeepOpen,
            None => TransactionEnd::Commit,
        };
        let call = sql::append_batch(
            &self.log.append_texts,
            self.precondition,
            ending,
            lock_timeout,
            None,
            self.events.iter(),
        );
        let server = lease.server().clone();
        let prepared = deadline.run_against(&server, async {
            Ok((lease.prepare(&head.text).await?, lease.prepare(&call.text).await?))
        });
        let prepared = prepared.await.and_then(|handles| check_open(lease).map(|()| handles));
        let (head_handle, call_handle) = match prepared {
            Ok(handles) => handles,
            Err(error) => return error.into(),
        };
        lease.enter_transaction();
        lease.start_clock();
        let head = PreparedStatement { statement: head, handle: head_handle };
        match call_handle {
            StatementHandle::Named(handle) => {
                let call = PreparedStatement { statement: call, handle };
                self.bind_and_execute(lease, &head, &call, deadline).await
            }
            StatementHandle::Unnamed => self.send_at_once(lease, &head, &call, deadline).await,
        }
    }

    /// Sends the whole call, which commits by itself.
    async fn send_at_once(
        &self,
        lease: &mut Lease,
        head: &PreparedStatement<'_, StatementHandle>,
        call: &Statement<'_>,
        deadline: AttemptDeadline,
    ) -> StagedAnswer {
        let client = lease.client();
        let answers = join(
            fetch_row(client, &head.handle, &head.statement),
            fetch_row(client, &StatementHandle::Unnamed, call),
        );
        match deadline.run(answers).await {
            Ok((head, appended)) => {
                let answers = CommitAnswers { appended, committed: Ok(()) };
                self.read_answers(lease, head.ok().flatten(), answers, deadline).await
            }
            Err(waited) => self.unanswered(lease, None, waited),
        }
    }

    /// Binds the call and, when the events have arrived, executes it and commits.
    async fn bind_and_execute(
        &self,
        lease: &mut Lease,
        head: &PreparedStatement<'_, StatementHandle>,
        call: &PreparedStatement<'_, tokio_postgres::Statement>,
        deadline: AttemptDeadline,
    ) -> StagedAnswer {
        let client = lease.client_mut();
        // The transaction borrows the lease, so it has to end before the lease is used again.
        let executed = async {
            let bound = deadline.run(bind(client, head, call, deadline)).await;
            let bound = bound.map_err(BindFailure::TimedOut)?.map_err(BindFailure::Error)?;
            let (head, transaction, portal) = bound;
            Ok((head, deadline.run(execute(transaction, &portal)).await))
        };
        match executed.await {
            Ok((head, Ok(answers))) => self.read_answers(lease, head, answers, deadline).await,
            Ok((head, Err(waited))) => self.unanswered(lease, head, waited),
            Err(BindFailure::Error(error)) => lease.failed(error).into(),
            Err(BindFailure::TimedOut(waited)) => {
                lease.discard();
                timed_out(lease.server(), waited).into()
            }
        }
    }

    async fn read_answers(
        &self,
        lease: &mut Lease,
        head: Option<Row>,
        answers: CommitAnswers,
        deadline: AttemptDeadline,
    ) -> StagedAnswer {
        lease.leave_transaction();
        let result = self.batch_answer(lease, answers, deadline).await;
        StagedAnswer { floor: Some(floor(head)), result }
    }

    async fn batch_answer(
        &self,
        lease: &mut Lease,
        answers: CommitAnswers,
        deadline: AttemptDeadline,
    ) -> Result<BatchAnswer, AppendFailure> {
        let row = match answers.appended {
            Ok(row) => row,
            Err(error) if is_id_taken(&self.log.name, &error) => {
                return Err(AppendFailure::IdTaken);
            }
            Err(error) => {
                let error = with_event_ids(lease.failed_append(error), self.events);
                let error = add_lock_holder(&self.log.name, lease, error, deadline).await;
                return Err(AppendFailure::Error(error));
            }
        };
        let unknown = |source: BoxError| outcome_unknown(lease.server(), self.events, source);
        let answer = require_row(row).and_then(|row| BatchAnswer::decode(&row)).map_err(unknown);
        let answer = answer.map_err(AppendFailure::Error)?;
        match answers.committed {
            Ok(()) => Ok(answer),
            Err(error) => {
                let error = with_event_ids(lease.failed_append(error), self.events);
                Err(AppendFailure::Error(error))
            }
        }
    }

    /// Closes a connection on which the answer to the append did not arrive in time.
    fn unanswered(&self, lease: &mut Lease, head: Option<Row>, waited: Duration) -> StagedAnswer {
        lease.discard();
        let error = timed_out(lease.server(), waited);
        let error = outcome_unknown(lease.server(), self.events, error);
        StagedAnswer { floor: Some(floor(head)), result: Err(AppendFailure::Error(error)) }
    }
}

/// Returns the head that was read before the append or, if its answer is missing, 0: the append may
/// have stored events at any position.
fn floor(head: Option<Row>) -> SequenceNumber {
    head.and_then(|row| Head::decode(&row).ok()).map(|head| head.position).unwrap_or_default()
}

/// Begins a transaction and binds the call, which transmits the events to the server. Returns the
/// log's head as well.
async fn bind<'c>(
    client: &'c mut Client,
    head: &PreparedStatement<'_, StatementHandle>,
    call: &PreparedStatement<'_, tokio_postgres::Statement>,
    deadline: AttemptDeadline,
) -> Result<(Option<Row>, Transaction<'c>, Portal), tokio_postgres::Error> {
    // If the events stop arriving, the server ends the transaction soon after this process gives
    // up.
    let wait = deadline.left().map_or(MAX_CLIENT_WAIT, |left| left + sql::IDLE_TIMEOUT);
    let wait = sql::wait_for_client(wait.min(MAX_CLIENT_WAIT));
    let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
    let transaction = transaction.start().await?;
    let (allowed, head, portal) = join3(
        transaction.client().batch_execute(&wait),
        fetch_row(transaction.client(), &head.handle, &head.statement),
        transaction.bind_raw(&call.handle, &call.statement.params),
    )
    .await;
    allowed?;
    Ok((head?, transaction, portal?))
}

/// Executes the bound call and commits. Both requests, some forty bytes, are written before either
/// answer is awaited. SAFETY.md, No lock time depends on a client.
async fn execute(transaction: Transaction<'_>, portal: &Portal) -> CommitAnswers {
    let appended = transaction.query_portal_raw(portal, 0).await;
    let (appended, committed) = join(last_row(appended), transaction.commit()).await;
    CommitAnswers { appended, committed }
}

/// The longest time that the server waits for an append to arrive.
const MAX_CLIENT_WAIT: Duration = Duration::from_secs(60 * 60);
