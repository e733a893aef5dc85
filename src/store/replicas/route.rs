use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Instant, sleep_until, timeout};

use super::server::{FallbackReason, GivenRead, WatchedServer};
use super::tried::Tried;
use super::wait::Wait;
use super::{ReplicaSet, ServerState};
use crate::pool::OnFailure;
use crate::sql::BoundCheck;
use crate::store::deadline::AttemptDeadline;
use crate::store::read_request::{Answered, ReadRequest};
use crate::telemetry::OperationPhase;
use crate::{Error, RetryPolicy, SequenceNumber};

impl ReplicaSet {
    /// Reads from the server that suits best, and from others if it fails. Waits until `limit` for
    /// a server that has reached the bounds of the read.
    /// SAFETY.md, G7.
    pub(in crate::store) async fn read(
        &self,
        request: &ReadRequest<'_>,
        deadline: &mut AttemptDeadline,
        retry: &RetryPolicy,
        limit: Instant,
    ) -> Result<Answered, Error> {
        match request.position() {
            SequenceNumber::ZERO => self.read_any(request, *deadline).await,
            position => self.read_at(position, request, deadline, retry, limit).await,
        }
    }

    /// Reads from any server.
    async fn read_any(
        &self,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
    ) -> Result<Answered, Error> {
        let mut tried = Tried::default();
        let next = |tried: &Tried| {
            self.choose(None, tried)
                .or_else(|| self.fall_back(FallbackReason::Unreachable, tried))
                .or_else(|| self.least_bad(tried))
        };
        while let Some(given) = next(&tried) {
            if let Some(answered) = self.attempt(given, request, deadline, &mut tried).await? {
                return Ok(answered);
            }
        }
        Err(tried.failure.unwrap_or_else(|| Error::NoReplica { replicas: self.statuses() }))
    }

    /// Reads from a server that has reached a position. Waits for one.
    async fn read_at(
        &self,
        position: SequenceNumber,
        request: &ReadRequest<'_>,
        deadline: &mut AttemptDeadline,
        retry: &RetryPolicy,
        limit: Instant,
    ) -> Result<Answered, Error> {
        let (began, mut tried) = (Instant::now(), Tried::default());
        let mut changes = self.board.changes();
        let (mut wait, mut has_waited) = (Wait::new(position, limit), false);
        loop {
            deadline.check(&self.first_server())?;
            if let Some(given) = self.next_at(position, &mut wait, &tried, limit) {
                let attempt = self.attempt(given, request, *deadline, &mut tried);
                let Some(answered) = attempt.await? else { continue };
                if has_waited {
                    request.call.waited("reached");
                }
                return Ok(answered);
            }
            let has_tried_all = self.servers().iter().all(|server| tried.contains(server));
            if let Some(failure) = tried.failure.take_if(|_| has_tried_all) {
                return Err(failure);
            }
            if limit <= Instant::now() {
                request.call.waited("behind");
                let (waited, replicas) = (began.elapsed(), self.statuses());
                return Err(Error::ReplicaBehind { position, waited, replicas });
            }
            request.call.handle.enter(OperationPhase::WaitReplica);
            tokio::select! {
                () = wait.reached() => {}
                _ = changes.changed() => tried = Tried::default(),
                () = sleep_until(limit) => {}
            }
            has_waited = true;
            // The wait for the position has a limit of its own.
            deadline.restart(retry);
        }
    }

    /// Chooses a server that has reached a position, or may have. If there is none, the wait has
    /// started.
    fn next_at(
        &self,
        position: SequenceNumber,
        wait: &mut Wait,
        tried: &Tried,
        limit: Instant,
    ) -> Option<GivenRead> {
        if let Some(given) = self.choose(Some(position), tried) {
            return Some(given);
        }
        if let Some(given) = self.fall_back(FallbackReason::Unreachable, tried) {
            return Some(given);
        }
        let waiters = &self.board.waiters;
        if wait.asks_alone(waiters)
            && let Some(given) = self.choose(None, tried)
        {
            return Some(given);
        }
        if wait.start(waiters) {
            self.servers().iter().for_each(|server| server.watch.wake());
            // A server may have reached the position before this read was added.
            if let Some(given) = self.choose(Some(position), tried) {
                return Some(given);
            }
        }
        if limit <= Instant::now() {
            return self.fall_back(FallbackReason::Behind, tried);
        }
        None
    }

    /// Reads from a server. Fails if no other server could help. Returns `None` if another one
    /// should be asked, or if the server has not reached the position.
    async fn attempt(
        &self,
        mut given: GivenRead,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
        tried: &mut Tried,
    ) -> Result<Option<Answered>, Error> {
        let server = given.server.clone();
        let mut answered = match self.answer(&server, request, deadline, tried).await {
            Some(Ok(answered)) => answered,
            Some(Err(error)) => {
                given.failed(&error);
                if !error.is_of_server() || deadline.has_passed() {
                    return Err(error);
                }
                tried.add(server, Some(error));
                return Ok(None);
            }
            // It is left out, and can be asked again once it is taken back.
            None => return Ok(None),
        };
        let head = answered.answer.head();
        given.answered(ServerState { head, role: answered.answer.served_by().role() });
        if server.known().is_excluded() {
            tried.add(server, Some(Error::NoReplica { replicas: self.statuses() }));
            return Ok(None);
        }
        match answered.check {
            BoundCheck::Reached => {
                if let Some(reason) = given.fallback {
                    request.call.fell_back(reason.as_str());
                }
                answered.answer.hold(given);
                return Ok(Some(answered));
            }
            // Another server may know the epoch, if this one is a former primary or follows it.
            BoundCheck::Lost { position, ended: None } => {
                let failure = server.pool.server().position_lost(position, None);
                tried.add(server, Some(failure));
            }
            BoundCheck::Lost { position, ended } => {
                return Err(server.pool.server().position_lost(position, ended));
            }
            BoundCheck::Behind if given.fallback.is_some() => tried.add(server, None),
            BoundCheck::Behind if head.position() >= request.position() => {
                tried.add_other_epoch(server, head);
            }
            BoundCheck::Behind => {}
        }
        Ok(None)
    }

    /// Waits for the answer of a server. If it takes long, asks the watcher whether the server is
    /// alive. Returns `None` if it is not, and another server is.
    async fn answer(
        &self,
        server: &Arc<WatchedServer>,
        request: &ReadRequest<'_>,
        deadline: AttemptDeadline,
        tried: &Tried,
    ) -> Option<Result<Answered, Error>> {
        let on_failure = match self.servers().len() {
            1 if self.primary.is_none() => OnFailure::Repeat,
            _ => OnFailure::Return,
        };
        let progress = AtomicU64::new(0);
        let mut answer = pin!(request.send_to_any(&server.pool, on_failure, deadline, &progress));
        let patience = server.known().patience.duration();
        if let Ok(answer) = timeout(patience, &mut answer).await {
            return Some(answer);
        }
        // Subscribe before the server's state is looked at, so that no change is missed.
        let mut changes = self.board.changes();
        let _concern = server.watch.concern();
        let mut seen = progress.load(Ordering::Relaxed);
        loop {
            let is_out = server.known().health.is_out();
            if is_out && self.has_other(server, tried) {
                // An answer whose rows arrive is not given up.
                match progress.load(Ordering::Relaxed) {
                    current if current == seen => return None,
                    current => seen = current,
                }
            }
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                _ = changes.changed() => {}
                () = tokio::time::sleep(patience), if is_out => {}
            }
        }
    }
}
