use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};

use super::batch::Earlier;
use super::judge::Judged;
use super::send::Answer;
use crate::Error;
use crate::error::BoxError;
use crate::pool::{Lease, sent};
use crate::sql::Stored;
use crate::store::limit::{Limit, timed_out};
use crate::store::log::Log;
use crate::store::transact::{check_open, outcome_unknown};

/// Attempts that were judged, and sent as a transaction of their own that is yet to be answered.
pub(super) struct Flight {
    judged: Arc<Judged>,
    /// What they are about to store, if it is known already.
    earlier: Option<Earlier>,
    limit: Limit,
    begun: Instant,
    answer: MaybeDone<BoxFuture<'static, Result<Answer, Duration>>>,
}

impl Flight {
    /// Sends what was judged; returns it where that could not be sent.
    pub(super) async fn send(
        lease: &mut Lease,
        log: &Arc<Log>,
        judged: Judged,
        earlier: Option<Earlier>,
        limit: Limit,
    ) -> Result<Self, (Judged, Error)> {
        let server = lease.server().clone();
        let form = match limit.of(&server, lease.prepare(judged.text(log))).await {
            Ok(form) => form,
            Err(error) => return Err((judged, error)),
        };
        if let Err(error) = check_open(lease) {
            return Err((judged, error));
        }
        lease.hold();
        let begun = lease.begin();
        let judged = Arc::new(judged);
        let answer = {
            let (judged, log, client) = (judged.clone(), log.clone(), lease.shared_client());
            async move {
                let unmet = judged.unmet();
                let statement = judged.statement(&log, &unmet);
                limit.hold(sent(&client, &form, &statement)).await
            }
        };
        let mut answer = maybe_done(answer.boxed());
        // It is written at its first poll, before whatever is sent next.
        poll_fn(|cx| {
            let _is_answered = answer.poll_unpin(cx);
            Poll::Ready(())
        })
        .await;
        Ok(Self { judged, earlier, limit, begun, answer })
    }

    /// Returns how many attempts it carries.
    pub(super) fn len(&self) -> usize {
        self.judged.members.len()
    }

    /// Returns whether it is stored only if nothing else came since what this process knows of.
    pub(super) fn is_tied(&self) -> bool {
        self.judged.is_tied()
    }

    /// Returns what it is about to store.
    pub(super) fn earlier(&mut self) -> &Earlier {
        self.earlier.get_or_insert_with(|| Earlier::of(&self.judged.members))
    }

    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// Waits until it is answered.
    pub(super) async fn answered(&mut self) {
        (&mut self.answer).await;
    }

    /// Returns what was sent, and what was answered; the connection may be in use by another one.
    pub(super) async fn land(
        mut self,
        lease: &mut Lease,
        is_last: bool,
    ) -> (Judged, Result<Stored, Failure>) {
        self.answered().await;
        let answer = Pin::new(&mut self.answer).take_output().expect("it was answered");
        drop(self.answer);
        let judged = Arc::into_inner(self.judged).expect("the answer was dropped");
        lease.began(self.begun);
        let server = lease.server().clone();
        let unknown = |source: BoxError| Failure::Told(outcome_unknown(&server, &[], source));
        let answer = match answer {
            Ok(answer) => answer,
            Err(waited) => {
                lease.give_up();
                return (judged, Err(unknown(timed_out(&server, waited).into())));
            }
        };
        if is_last {
            lease.release();
        }
        let stored = match answer {
            Ok(Some(row)) => Stored::decode(&row).map_err(unknown),
            Ok(None) => Err(unknown("the append was answered without a row".into())),
            Err(error) => Err(Failure::Said(error)),
        };
        (judged, stored)
    }
}

/// Why a request was not answered as it should.
pub(super) enum Failure {
    /// As the server said it.
    Said(tokio_postgres::Error),
    /// In terms of what it means.
    Told(Error),
}
