use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::pool::{Lease, OnFailure, Pool};
use crate::server::Server;
use crate::{Error, RetryPolicy};

/// The time at which an attempt has to end.
#[derive(Clone, Copy)]
pub(super) struct AttemptDeadline {
    /// When the call began that the attempt is part of.
    call_began: Instant,
    began: Instant,
    ends: Option<Instant>,
    /// When the call has to end that the attempt is part of.
    call_ends: Option<Instant>,
}

impl AttemptDeadline {
    /// Returns the deadline of an attempt that begins now and is part of a call that began earlier.
    pub(super) fn new(policy: &RetryPolicy, call_began: Instant) -> Self {
        let call_ends = policy.ends(call_began);
        let mut deadline = Self { call_began, began: call_began, ends: None, call_ends };
        deadline.restart(policy);
        deadline
    }

    /// Joins the deadlines of the attempts of a batch: the batch ends when the last of them does.
    ///
    /// # Panics
    ///
    /// Panics if there is no deadline. A batch has at least one attempt.
    pub(super) fn join(deadlines: impl Iterator<Item = Self>) -> Self {
        let later = |one: Option<Instant>, other: Option<Instant>| Some(one?.max(other?));
        let joined = deadlines.reduce(|one, other| Self {
            call_began: one.call_began.min(other.call_began),
            began: one.began.min(other.began),
            ends: later(one.ends, other.ends),
            call_ends: later(one.call_ends, other.call_ends),
        });
        joined.expect("a batch has an attempt")
    }

    /// Gives the attempt all of the time that is left to its call, if the call has a deadline.
    pub(super) fn extend_to_call(self) -> Self {
        Self { ends: self.call_ends.or(self.ends), ..self }
    }

    /// Returns how much time is left, or `None` without a deadline.
    pub(super) fn left(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// Restarts the time of the attempt, after a wait that has a time limit of its own.
    pub(super) fn restart(&mut self, policy: &RetryPolicy) {
        self.began = Instant::now();
        let attempt = policy.attempt_timeout().and_then(|timeout| self.began.checked_add(timeout));
        self.ends = attempt.into_iter().chain(self.call_ends).min();
    }

    /// Returns whether the deadline has passed.
    pub(super) fn has_passed(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Fails if the time is up, so that no request is sent whose answer would not be awaited. The
    /// error names the time of the whole call, whereas [`run`](Self::run) measures the attempt.
    pub(super) fn check(&self, server: &Server) -> Result<(), Error> {
        match self.has_passed() {
            true => Err(timed_out(server, self.call_began.elapsed())),
            false => Ok(()),
        }
    }

    /// Acquires a connection up to the deadline. If the deadline passes while none can be made, the
    /// error is the reason why not.
    pub(super) async fn acquire(&self, pool: &Pool) -> Result<Lease, Error> {
        self.acquire_or(pool, OnFailure::Repeat).await
    }

    /// Acquires a connection up to the deadline, and does this if an attempt to connect fails.
    pub(super) async fn acquire_or(
        &self,
        pool: &Pool,
        on_failure: OnFailure,
    ) -> Result<Lease, Error> {
        self.check(pool.server())?;
        self.run(pool.acquire_or(on_failure)).await.unwrap_or_else(|waited| {
            Err(self.connect_failure(pool).unwrap_or_else(|| timed_out(pool.server(), waited)))
        })
    }

    /// Returns why no connection could be made, if an attempt to make one has failed during this
    /// call.
    pub(super) fn connect_failure(&self, pool: &Pool) -> Option<Error> {
        pool.connect_failure(self.call_began)
    }

    /// Returns the lock timeout for the attempt, if it has to be shorter than the setting.
    ///
    /// It leaves at least an eighth of the remaining time for the server's answer to arrive. It is
    /// a power of two, so that there are few different values.
    pub(super) fn lock_timeout(&self, setting: Duration) -> Option<Duration> {
        let left = self.ends?.saturating_duration_since(Instant::now());
        let allowed = left - left / 8;
        if setting <= allowed {
            return None;
        }
        let exponent = u64::try_from(allowed.as_millis()).ok()?.checked_ilog2().unwrap_or(0);
        Some(Duration::from_millis(1 << exponent))
    }

    /// Awaits a future up to the deadline. At the deadline, returns how long the attempt has taken.
    pub(super) async fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Duration> {
        let Some(ends) = self.ends else { return Ok(future.await) };
        timeout_at(ends, future).await.map_err(|_| self.began.elapsed())
    }

    /// Awaits a request to a server up to the deadline, after which it fails with
    /// [`Error::TimedOut`]. The request must be one that stores nothing if it is abandoned.
    pub(super) async fn run_against<T>(
        &self,
        server: &Server,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.check(server)?;
        self.run(future).await.unwrap_or_else(|waited| Err(timed_out(server, waited)))
    }
}

pub(super) fn timed_out(server: &Server, waited: Duration) -> Error {
    Error::TimedOut { server: server.to_string(), waited }
}
