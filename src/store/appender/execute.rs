use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use tokio_postgres::{Client, Row};

use super::plan::Batch;
use crate::Error;
use crate::error::BoxError;
use crate::pool::{Lease, StatementHandle, fetch_row};
use crate::server::Server;
use crate::sql::{self, BatchAnswer, TransactionEnd};
use crate::store::deadline::{AttemptDeadline, timed_out};
use crate::store::failure::{
    AppendFailure, add_lock_holder, check_open, end_exchange, is_id_taken, outcome_unknown,
    require_row,
};
use crate::store::log_state::LogState;
use crate::telemetry::{Exchange, OperationHandle, OperationPhase};

/// The answer of the server, or how long the batch waited without an answer.
type RawAnswer = Result<Result<Option<Row>, tokio_postgres::Error>, Duration>;

/// A batch that was sent, and whose answer has not been read yet.
pub(super) struct SentBatch {
    batch: Arc<Batch>,
    /// When the worker began with the batch.
    pub(super) began: tokio::time::Instant,
    /// The lock timeout that was sent with the batch, or `None` if that of its connection applies.
    pub(super) lock_timeout: Option<Duration>,
    /// When the batch was sent, to tell a statement timeout from a cancel (`Lease::restore_clock`).
    sent_at: Instant,
    /// The exchange with the server. It begins when the server has answered the batch before.
    exchange: Option<Exchange>,
    answer: MaybeDone<BoxFuture<'static, RawAnswer>>,
}

impl SentBatch {
    /// Sends a batch as one `CALL` of the append procedure, which is a transaction of its own.
    /// Returns the batch if it could not be sent. If it is sent behind another one, the exchange
    /// does not begin yet.
    pub(super) async fn send(
        lease: &mut Lease,
        log: &Arc<LogState>,
        batch: Batch,
        began: tokio::time::Instant,
        lock_timeout: Option<Duration>,
        is_behind_another: bool,
    ) -> Result<Self, (Batch, Error)> {
        let (server, deadline) = (lease.server().clone(), batch.deadline());
        let text = log.append_texts.of(batch.is_probed(), TransactionEnd::Commit);
        let prepared = deadline.run_against(&server, lease.prepare(text)).await;
        let handle = match prepared.and_then(|handle| check_open(lease).map(|()| handle)) {
            Ok(handle) => handle,
            Err(error) => return Err((batch, error)),
        };
        lease.enter_transaction();
        let sent_at = lease.start_clock();
        let batch = Arc::new(batch);
        let client = lease.shared_client();
        let (log, called) = (log.clone(), batch.clone());
        let call = Self::call_procedure(client, handle, log, called, deadline, lock_timeout);
        let mut sent = Self {
            batch,
            began,
            lock_timeout,
            sent_at,
            exchange: None,
            answer: maybe_done(call.boxed()),
        };
        if !is_behind_another {
            sent.begin_exchange(&server);
        }
        // The first poll writes the whole `CALL`, before anything else is sent. SAFETY.md, G10.
        poll_fn(|cx| {
            let _is_answered = sent.answer.poll_unpin(cx);
            Poll::Ready(())
        })
        .await;
        Ok(sent)
    }

    async fn call_procedure(
        client: Arc<Client>,
        handle: StatementHandle,
        log: Arc<LogState>,
        batch: Arc<Batch>,
        deadline: AttemptDeadline,
        lock_timeout: Option<Duration>,
    ) -> RawAnswer {
        let probe = batch.probe();
        let statement = sql::append_batch(
            &log.append_texts,
            batch.precondition(&probe),
            TransactionEnd::Commit,
            lock_timeout,
            Some(batch.number),
            batch.requests.iter().flat_map(|one| one.request.events.iter()),
        );
        deadline.run(fetch_row(&client, &handle, &statement)).await
    }

    /// Begins the exchange with the server, which has nothing else to do now.
    pub(super) fn begin_exchange(&mut self, server: &Server) {
        self.operations().for_each(|operation| operation.enter(OperationPhase::Execute));
        self.exchange = OperationHandle::batch_exchange(self.operations(), server);
    }

    fn operations(&self) -> impl Iterator<Item = &OperationHandle> + Clone {
        self.batch.requests.iter().map(|pending| &pending.request.operation)
    }

    /// Returns how many requests the batch has.
    pub(super) fn len(&self) -> usize {
        self.batch.requests.len()
    }

    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Waits for the answer.
    pub(super) async fn answered(&mut self) {
        (&mut self.answer).await;
    }

    /// Returns the batch and its answer. `is_last` says whether no other batch was sent after it,
    /// so that its answer ends the transaction that the connection is in.
    pub(super) async fn complete(
        mut self,
        lease: &mut Lease,
        log: &LogState,
        is_last: bool,
    ) -> (Batch, Result<BatchAnswer, AppendFailure>) {
        self.answered().await;
        self.operations().for_each(|operation| operation.enter(OperationPhase::Decode));
        let exchange = self.exchange.take();
        let (batch, answer) = self.read_answer(lease, log, is_last).await;
        if let Some(exchange) = exchange {
            end_exchange(exchange, &answer);
        }
        (batch, answer)
    }

    async fn read_answer(
        mut self,
        lease: &mut Lease,
        log: &LogState,
        is_last: bool,
    ) -> (Batch, Result<BatchAnswer, AppendFailure>) {
        let answer = Pin::new(&mut self.answer).take_output().expect("an answer is taken once");
        drop(self.answer);
        let batch = Arc::into_inner(self.batch).expect("only the call shares the batch");
        lease.restore_clock(self.sent_at);
        let server = lease.server().clone();
        // Each request's own event ids are added when its caller gets a reply.
        let unknown =
            |source: BoxError| AppendFailure::Error(outcome_unknown(&server, &[], source));
        let answer = match answer {
            Ok(answer) => answer,
            Err(waited) => {
                lease.discard();
                return (batch, Err(unknown(timed_out(&server, waited).into())));
            }
        };
        if is_last {
            lease.leave_transaction();
        }
        let answer = match answer {
            Ok(row) => require_row(row).and_then(|row| BatchAnswer::decode(&row)).map_err(unknown),
            Err(error) if is_id_taken(&log.name, &error) => Err(AppendFailure::IdTaken),
            Err(error) => {
                let mut error = lease.failed_append(error);
                // Behind another batch, the query would be answered only after that batch.
                if is_last {
                    error = add_lock_holder(&log.name, lease, error, batch.deadline()).await;
                }
                Err(AppendFailure::Error(error))
            }
        };
        (batch, answer)
    }
}
