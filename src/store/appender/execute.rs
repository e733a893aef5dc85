use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use tokio_postgres::Row;

use super::plan::Batch;
use crate::Error;
use crate::error::BoxError;
use crate::pool::{Lease, sent};
use crate::sql::{self, BatchAnswer, TransactionEnd};
use crate::store::deadline::{AttemptDeadline, timed_out};
use crate::store::failure::{check_open, outcome_unknown};
use crate::store::log::Log;

type Answer = Result<Result<Option<Row>, tokio_postgres::Error>, Duration>;

/// A batch that was sent and is not answered yet.
pub(super) struct InFlight {
    batch: Arc<Batch>,
    begun: Instant,
    answer: MaybeDone<BoxFuture<'static, Answer>>,
}

impl InFlight {
    /// Sends a batch, as one call that is a transaction of its own. Returns the batch if it could not be
    /// sent.
    pub(super) async fn send(
        lease: &mut Lease,
        log: &Arc<Log>,
        batch: Batch,
        deadline: AttemptDeadline,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, (Batch, Error)> {
        let server = lease.server().clone();
        let text = log.append_texts.of(batch.is_probed(), TransactionEnd::Commit);
        let prepared = deadline.run_against(&server, lease.prepare(text)).await;
        let form = match prepared.and_then(|form| check_open(lease).map(|()| form)) {
            Ok(form) => form,
            Err(error) => return Err((batch, error)),
        };
        lease.enter_transaction();
        let begun = lease.start_clock();
        let batch = Arc::new(batch);
        let answer = {
            let (batch, log, client) = (batch.clone(), log.clone(), lease.shared_client());
            async move {
                let probe = batch.probe();
                let events = batch.attempts.iter().flat_map(|one| one.request.events.iter());
                let statement = sql::append_batch(
                    &log.append_texts,
                    batch.precondition(&probe),
                    TransactionEnd::Commit,
                    lock_timeout,
                    Some(batch.number),
                    events,
                );
                deadline.run(sent(&client, &form, &statement)).await
            }
        };
        let mut answer = maybe_done(answer.boxed());
        // The request is written at the first poll, before the next one is sent.
        poll_fn(|cx| {
            let _is_answered = answer.poll_unpin(cx);
            Poll::Ready(())
        })
        .await;
        Ok(Self { batch, begun, answer })
    }

    /// Returns how many attempts it carries.
    pub(super) fn len(&self) -> usize {
        self.batch.attempts.len()
    }

    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Waits for the answer.
    pub(super) async fn answered(&mut self) {
        (&mut self.answer).await;
    }

    /// Returns the batch and its answer. Unless it is the last one on the connection, another one is
    /// still under way.
    pub(super) async fn complete(
        mut self,
        lease: &mut Lease,
        is_last: bool,
    ) -> (Batch, Result<BatchAnswer, SendFailure>) {
        self.answered().await;
        let answer = Pin::new(&mut self.answer).take_output().expect("it was answered");
        drop(self.answer);
        let batch = Arc::into_inner(self.batch).expect("the answer was dropped");
        lease.restore_clock(self.begun);
        let server = lease.server().clone();
        let unknown = |source: BoxError| SendFailure::Known(outcome_unknown(&server, &[], source));
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
            Ok(Some(row)) => BatchAnswer::decode(&row).map_err(unknown),
            Ok(None) => Err(unknown("the append was answered without a row".into())),
            Err(error) => Err(SendFailure::Server(error)),
        };
        (batch, answer)
    }
}

/// Why a batch was not answered as it should have been.
pub(super) enum SendFailure {
    /// In this crate's terms.
    Known(Error),
    /// In the server's terms.
    Server(tokio_postgres::Error),
}
