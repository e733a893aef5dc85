use std::time::Duration;

use tokio::time::Instant;

use super::hooks::RetryHooks;
use super::{AttemptError, Retried, RetryOutcome, RetryPolicy, Retrying};
use crate::Class;
use crate::telemetry::RetryCall;

/// The state of a call: what has happened, and what may happen yet.
pub struct RetryState<'a, E> {
    pub policy: &'a RetryPolicy,
    pub without_timeouts: bool,
    pub call: Option<RetryCall<'a>>,
    attempts: u32,
    delay: Duration,
    /// Set when a clock is first read, which calls that need none never do.
    pub started: Option<Instant>,
    last_error: Option<AttemptError<E>>,
}

/// What follows a failure.
pub enum NextStep<T, E> {
    Again { pause: Duration },
    Over(Retried<T, E>),
}

/// What ends an attempt before it is done.
#[derive(Clone, Copy, Debug)]
pub struct Cutoff {
    pub at: Instant,
    /// The time that the attempt was given.
    given: Duration,
    /// Whether the call ends with it.
    last: bool,
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

    /// Returns what will cut off the attempt that has just begun, and now waits for something.
    pub fn cut(&mut self) -> Option<Cutoff> {
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
        let deadline = deadline.map(|at| Cutoff { at, given: at - now, last: true });
        let timeout = self
            .policy
            .attempt_timeout
            .and_then(|given| Some(Cutoff { at: now.checked_add(given)?, given, last: false }));
        match (deadline, timeout) {
            (Some(deadline), Some(timeout)) if timeout.at < deadline.at => Some(timeout),
            (deadline, timeout) => deadline.or(timeout),
        }
    }

    /// Ends the call well.
    pub fn succeed<T>(&mut self, value: T) -> Retried<T, E> {
        if self.attempts == 1 {
            self.end(RetryOutcome::FirstTry);
            return Retried::succeeded(value, RetryOutcome::FirstTry, 1, Duration::ZERO, None);
        }
        self.end(RetryOutcome::Recovered);
        let last_error = self.last_error.take();
        Retried::succeeded(value, RetryOutcome::Recovered, self.attempts, self.delay, last_error)
    }

    /// Judges an attempt that was cut off.
    pub fn cut_off<T>(&mut self, cut: Cutoff, hooks: &mut impl RetryHooks<E>) -> NextStep<T, E> {
        let failed = AttemptError::TimedOut(cut.given);
        if cut.last {
            return self.over(failed, RetryOutcome::Deadline);
        }
        let pause = self.pause(hooks);
        self.again(failed, Class::Timeout, pause, hooks)
    }

    /// Judges an attempt that returned an error.
    pub fn fail<T>(&mut self, error: E, hooks: &mut impl RetryHooks<E>) -> NextStep<T, E> {
        let class = hooks.class(&error);
        if !hooks.is_retryable(&error, class) {
            return self.over(AttemptError::Error(error), RetryOutcome::Permanent);
        }
        let planned = self.pause(hooks);
        let pause = hooks.adjust(&error, planned);
        self.again(AttemptError::Error(error), class, pause, hooks)
    }

    /// Ends a pause. Returns how the call ends where the runtime was late, and its deadline passed.
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
        Some(self.give_up(failed, RetryOutcome::Deadline))
    }

    /// Returns the pause that the back-off has next, while there are attempts left.
    fn pause(&self, hooks: &mut impl RetryHooks<E>) -> Option<Duration> {
        if self.attempts < self.policy.attempts { hooks.pause() } else { None }
    }

    /// Decides by what is left of attempts, time and budget, in this order: a token is taken for
    /// nothing but a retry that will be.
    fn again<T>(
        &mut self,
        failed: AttemptError<E>,
        class: Class,
        pause: Option<Duration>,
        hooks: &mut impl RetryHooks<E>,
    ) -> NextStep<T, E> {
        let Some(pause) = pause else { return self.over(failed, RetryOutcome::Exhausted) };
        if self.policy.deadline.is_some() {
            let now = Instant::now();
            let ends = now.checked_add(pause);
            if self.deadline(now).is_some_and(|deadline| ends.is_none_or(|ends| ends >= deadline)) {
                return self.over(failed, RetryOutcome::Deadline);
            }
        }
        let is_work = matches!(class, Class::Conflict | Class::OutcomeUnknown);
        if let Some(budget) = &self.policy.budget
            && !is_work
            && !budget.withdraw()
        {
            return self.over(failed, RetryOutcome::Budget);
        }
        let attempt = self.attempts.saturating_add(1);
        hooks.notify(&Retrying { attempt, pause, error: &failed, class });
        if let Some(call) = &mut self.call {
            call.retry(attempt, class, pause);
        }
        self.last_error = Some(failed);
        NextStep::Again { pause }
    }

    fn over<T>(&mut self, failed: AttemptError<E>, outcome: RetryOutcome) -> NextStep<T, E> {
        NextStep::Over(self.give_up(failed, outcome))
    }

    fn give_up<T>(&mut self, failed: AttemptError<E>, outcome: RetryOutcome) -> Retried<T, E> {
        self.end(outcome);
        Retried::failed(failed, outcome, self.attempts, self.delay)
    }

    fn end(&mut self, outcome: RetryOutcome) {
        if let Some(call) = &mut self.call {
            call.end(outcome.as_str());
        }
    }

    /// Returns when the call has to be over, if ever.
    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let started = *self.started.get_or_insert(now);
        self.policy.ends(started)
    }
}
