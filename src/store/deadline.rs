use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::server::Server;
use crate::{Error, RetryPolicy};

/// The time by which an attempt has to end.
#[derive(Clone, Copy)]
pub(super) struct AttemptDeadline {
    /// When the call began that the attempt is part of.
    call_began: Instant,
    began: Instant,
    ends: Option<Instant>,
    /// When the call ends that the attempt is part of.
    call_ends: Option<Instant>,
}

impl AttemptDeadline {
    /// Gives an attempt that begins now its time, out of that of a call that began earlier.
    pub(super) fn new(policy: &RetryPolicy, started: Instant) -> Self {
        let call_ends = policy.ends(started);
        let mut limit = Self { call_began: started, began: started, ends: None, call_ends };
        limit.renew(policy);
        limit
    }

    /// Joins the deadlines of attempts that share a batch, of which there is one at least, to the last
    /// of their ends.
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

    /// Gives the attempt all the time that is left to its call, if that is limited.
    pub(super) fn extend_to_call(self) -> Self {
        Self { ends: self.call_ends.or(self.ends), ..self }
    }

    /// Returns how much time is left, unless it is unlimited.
    pub(super) fn left(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// Gives an attempt its time anew, where it waited for what takes a time of its own.
    pub(super) fn renew(&mut self, policy: &RetryPolicy) {
        self.began = Instant::now();
        let attempt = policy.attempt_timeout().and_then(|timeout| self.began.checked_add(timeout));
        self.ends = attempt.into_iter().chain(self.call_ends).min();
    }

    /// Fails where the time is up already, before anything is asked that nobody would wait for.
    pub(super) fn check(&self, server: &Server) -> Result<(), Error> {
        match self.ends {
            Some(ends) if ends <= Instant::now() => {
                Err(timed_out(server, self.call_began.elapsed()))
            }
            _ => Ok(()),
        }
    }

    /// Returns how long the server may let the attempt wait for a lock, if that is less than it is
    /// set to: so long that there is time left to hear of it. In powers of two, so that few
    /// different statements come about.
    pub(super) fn lock_timeout(&self, setting: Duration) -> Option<Duration> {
        let left = self.ends?.saturating_duration_since(Instant::now());
        let allowed = left - left / 8;
        if setting <= allowed {
            return None;
        }
        let exponent = u64::try_from(allowed.as_millis()).ok()?.checked_ilog2().unwrap_or(0);
        Some(Duration::from_millis(1 << exponent))
    }

    /// Waits for a future as long as the limit allows, or returns how long the attempt took.
    pub(super) async fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Duration> {
        let Some(ends) = self.ends else { return Ok(future.await) };
        timeout_at(ends, future).await.map_err(|_| self.began.elapsed())
    }

    /// Waits for what a server has to do, where nothing is stored if that takes too long.
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
