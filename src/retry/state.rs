use std::time::Duration;

use tokio::time::Instant;

use super::hooks::RetryHooks;
use super::{AttemptError, Retried, RetryOutcome, RetryPolicy, Retrying};
use crate::Class;
use crate::telemetry::RetryCall;

/// The state of a call: its attempts so far, and what its policy still allows.
pub struct RetryState<'a, E> {
    pub policy: &'a RetryPolicy,
    pub without_timeouts: bool,
    pub call: Option<RetryCall>,
    attempts: u32,
    delay: Duration,
    /// When the call began. It is set when a clock is first read; a call that is ready at its first
    /// poll reads none.
    pub started: Option<Instant>,
    last_error: Option<AttemptError<E>>,
}

/// The step after a failed attempt.
pub enum NextStep<T, E> {
    Again { pause: Duration },
    End(Retried<T, E>),
}

/// The moment at which an attempt is canceled.
#[derive(Clone, Copy, Debug)]
pub struct Cutoff {
    pub at: Instant,
    /// The time that the attempt was given.
    given: Duration,
    /// Whether the call ends with the attempt.
    is_last: bool,
}

impl<'a, E> RetryState<'a, E> {
    pub fn new(policy: &'a RetryPolicy) -> Self {
        Self {
            policy,
            without_timeouts: false,
            call: None,
            attempts: 0,
            delay: Duration::ZERO,
            started: None,
            last_error: None,
        }
    }

    /// Counts an attempt that begins.
    pub fn attempt(&mut self) {
        if self.attempts == 0 {
            if let Some(budget) = &self.policy.budget {
                budget.deposit();
            }
            if let Some(call) = &mut self.call {
                call.begin();
            }
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Returns when the attempt that has just begun, and is pending, is to be canceled.
    pub fn cutoff(&mut self) -> Option<Cutoff> {
        if self.policy.deadline.is_none()
            && (self.without_timeouts || self.policy.attempt_timeout.is_none())
        {
            return None;
        }
        let now = Instant::now();
        let deadline = self.deadline(now);
        if self.without_timeouts {
            return None;
        }
        let deadline = deadline.map(|at| Cutoff { at, given: at - now, is_last: true });
        let timeout = self
            .policy
            .attempt_timeout
            .and_then(|given| Some(Cutoff { at: now.checked_add(given)?, given, is_last: false }));
        match (deadline, timeout) {
            (Some(deadline), Some(timeout)) if timeout.at < deadline.at => Some(timeout),
            (deadline, timeout) => deadline.or(timeout),
        }
    }

    /// Ends the call with a value.
    pub fn succeed<T>(&mut self, value: T) -> Retried<T, E> {
        if self.attempts == 1 {
            self.end(RetryOutcome::FirstTry);
            return Retried::succeeded(value, RetryOutcome::FirstTry, 1, Duration::ZERO, None);
        }
        self.end(RetryOutcome::Recovered);
        let last_error = self.last_error.take();
        Retried::succeeded(value, RetryOutcome::Recovered, self.attempts, self.delay, last_error)
    }

    /// Decides what follows an attempt that was canceled by a timeout.
    pub fn time_out<T>(
        &mut self,
        cutoff: Cutoff,
        hooks: &mut impl RetryHooks<E>,
    ) -> NextStep<T, E> {
        let failed = AttemptError::TimedOut(cutoff.given);
        if cutoff.is_last {
            return self.end_with(failed, RetryOutcome::Deadline);
        }
        let pause = self.pause(hooks);
        self.again(failed, Class::Timeout, pause, hooks)
    }

    /// Decides what follows an attempt that returned an error.
    pub fn fail<T>(&mut self, error: E, hooks: &mut impl RetryHooks<E>) -> NextStep<T, E> {
        let class = hooks.class(&error);
        if !hooks.is_retryable(&error, class) {
            return self.end_with(AttemptError::Error(error), RetryOutcome::Permanent);
        }
        let planned = self.pause(hooks);
        let pause = hooks.adjust(&error, planned);
        self.again(AttemptError::Error(error), class, pause, hooks)
    }

    /// Ends a pause. Returns the result of the call if its deadline passed meanwhile, because the
    /// runtime was late.
    pub fn resume<T>(&mut self, pause: Duration) -> Option<Retried<T, E>> {
        self.delay = self.delay.saturating_add(pause);
        if let Some(call) = &mut self.call {
            call.paused();
        }
        self.policy.deadline?;
        let now = Instant::now();
        if self.deadline(now).is_none_or(|deadline| now < deadline) {
            return None;
        }
        let failed = self.last_error.take()?;
        Some(self.failed(failed, RetryOutcome::Deadline))
    }

    /// Returns the next pause of the back-off, if attempts are left.
    fn pause(&self, hooks: &mut impl RetryHooks<E>) -> Option<Duration> {
        if self.attempts < self.policy.attempts { hooks.pause() } else { None }
    }

    /// Decides by the remaining attempts, time and budget, in this order, so that a token is taken
    /// only for a retry that is made.
    fn again<T>(
        &mut self,
        failed: AttemptError<E>,
        class: Class,
        pause: Option<Duration>,
        hooks: &mut impl RetryHooks<E>,
    ) -> NextStep<T, E> {
        let Some(pause) = pause else { return self.end_with(failed, RetryOutcome::Exhausted) };
        if self.policy.deadline.is_some() {
            let now = Instant::now();
            let ends = now.checked_add(pause);
            if self.deadline(now).is_some_and(|deadline| ends.is_none_or(|ends| ends >= deadline)) {
                return self.end_with(failed, RetryOutcome::Deadline);
            }
        }
        let is_caused_by_load = !matches!(class, Class::Conflict | Class::OutcomeUnknown);
        if let Some(budget) = &self.policy.budget
            && is_caused_by_load
            && !budget.withdraw()
        {
            return self.end_with(failed, RetryOutcome::Budget);
        }
        let attempt = self.attempts.saturating_add(1);
        hooks.notify(&Retrying { attempt, pause, error: &failed, class });
        if let Some(call) = &mut self.call {
            call.retry(attempt, class, pause);
        }
        self.last_error = Some(failed);
        NextStep::Again { pause }
    }

    fn end_with<T>(&mut self, failed: AttemptError<E>, outcome: RetryOutcome) -> NextStep<T, E> {
        NextStep::End(self.failed(failed, outcome))
    }

    fn failed<T>(&mut self, failed: AttemptError<E>, outcome: RetryOutcome) -> Retried<T, E> {
        self.end(outcome);
        Retried::failed(failed, outcome, self.attempts, self.delay)
    }

    fn end(&mut self, outcome: RetryOutcome) {
        if let Some(call) = &mut self.call {
            call.end(outcome.as_str());
        }
    }

    /// Returns the deadline of the call.
    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let started = *self.started.get_or_insert(now);
        self.policy.ends(started)
    }
}
