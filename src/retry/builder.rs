use std::time::Duration;

use super::setting::{Invalid, Setting};
use super::{Backoff, Jitter, RetryBudget, RetryPolicy};
use crate::Error;

/// Builds a [`RetryPolicy`].
///
/// A default gives way to what was set: where the two contradict each other it moves as far as it
/// has to, or is off if it cannot. So a deadline of 5 seconds shortens the default attempt timeout
/// to that, a base delay of 3 seconds raises the default cap to that, and with 2 attempts no
/// decision escalates by default. What was set is taken as it is or refused.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RetryPolicyBuilder {
    attempts: Option<u32>,
    base_delay: Option<Duration>,
    multiplier: Option<f64>,
    max_delay: Option<Duration>,
    jitter: Option<Jitter>,
    attempt_timeout: Choice<Duration>,
    deadline: Choice<Duration>,
    budget: Choice<RetryBudget>,
    escalate_after: Choice<u32>,
}

/// What was said about something that can be off.
#[derive(Clone, Debug, Default)]
enum Choice<T> {
    #[default]
    Nothing,
    Off,
    Set(T),
}

impl RetryPolicyBuilder {
    /// Sets how many attempts there may be in all, the first included: at least 1. Defaults to 8,
    /// or to one more than [`escalate_after`](Self::escalate_after) where that is more.
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Sets the first pause, before jitter. Defaults to 10 milliseconds, or to the cap where that
    /// is set to less. With 0 there are no pauses, but other tasks have their turn before each
    /// attempt.
    pub fn base_delay(self, delay: Duration) -> Self {
        Self { base_delay: Some(delay), ..self }
    }

    /// Sets the factor between pauses, at least 1. Defaults to 2.
    pub fn multiplier(self, multiplier: f64) -> Self {
        Self { multiplier: Some(multiplier), ..self }
    }

    /// Sets the cap: the longest pause. It is more than 0 and at least the base delay. Defaults to
    /// 1 second, or to the base delay where that is set to more.
    pub fn max_delay(self, delay: Duration) -> Self {
        Self { max_delay: Some(delay), ..self }
    }

    /// Sets how pauses are spread. Defaults to [`Jitter::Full`].
    pub fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter: Some(jitter), ..self }
    }

    /// Sets after what time an attempt is cut off. It is more than 0 and at most the deadline.
    /// Defaults to 10 seconds, or to the deadline where that is set to less.
    ///
    /// The time of an attempt is counted from where it first waits for something.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        Self { attempt_timeout: Choice::Set(timeout), ..self }
    }

    /// Lets an attempt take as long as the deadline allows.
    pub fn no_attempt_timeout(self) -> Self {
        Self { attempt_timeout: Choice::Off, ..self }
    }

    /// Sets after what time a call ends: an attempt that is under way is cut off, and a pause that
    /// would not end before is not begun. Defaults to 30 seconds, or to the attempt timeout where
    /// that is set to more.
    ///
    /// The time of a call is counted from its first poll; no clock is read there for an operation
    /// that is ready at once, so it is where the operation first waits or fails.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Choice::Set(deadline), ..self }
    }

    /// Lets a call take as long as its attempts and pauses do.
    pub fn no_deadline(self) -> Self {
        Self { deadline: Choice::Off, ..self }
    }

    /// Sets the budget that all calls under this policy share, and under every other policy that
    /// has a clone of it. Defaults to 100 tokens and a ratio of 0.2, for this policy and its
    /// clones.
    pub fn budget(self, budget: RetryBudget) -> Self {
        Self { budget: Choice::Set(budget), ..self }
    }

    /// Lets every call use all of its attempts. Beware of what [`RetryBudget`] tells.
    pub fn no_budget(self) -> Self {
        Self { budget: Choice::Off, ..self }
    }

    /// Sets after how many lost rounds a decision takes the log's lock before it reads, so that it
    /// cannot lose again: at least 1, and fewer than the attempts. Defaults to 2, or to never where
    /// the attempts are set to 2 or fewer.
    pub fn escalate_after(self, rounds: u32) -> Self {
        Self { escalate_after: Choice::Set(rounds), ..self }
    }

    /// Lets a decision lose as many rounds as it has attempts.
    pub fn no_escalation(self) -> Self {
        Self { escalate_after: Choice::Off, ..self }
    }

    /// Checks the settings, each and against each other.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] that names the setting, what it is and what is allowed.
    pub fn build(self) -> Result<RetryPolicy, Error> {
        self.check().map_err(|invalid| {
            let name = invalid.setting.name();
            invalid.named(name)
        })
    }

    pub(super) fn check(self) -> Result<RetryPolicy, Invalid> {
        self.check_pauses()?;
        self.check_limits()?;
        Ok(self.resolve())
    }

    fn check_pauses(&self) -> Result<(), Invalid> {
        if let Some(multiplier) = self.multiplier
            && !(multiplier.is_finite() && multiplier >= 1.0)
        {
            let reason = format!("is {multiplier}, allowed are finite numbers from 1");
            return Err(Setting::Multiplier.invalid(reason));
        }
        let Some(cap) = self.max_delay else { return Ok(()) };
        if cap.is_zero() {
            return Err(Setting::MaxDelay.invalid("is 0, allowed is more than that"));
        }
        match self.base_delay {
            Some(base) if base > cap => {
                let reason = format!("is {cap:?}, allowed is from the base delay, {base:?}");
                Err(Setting::MaxDelay.invalid(reason))
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), Invalid> {
        if self.attempts == Some(0) {
            return Err(Setting::Attempts.invalid("is 0, the least is 1"));
        }
        for (setting, limit) in
            [(Setting::AttemptTimeout, &self.attempt_timeout), (Setting::Deadline, &self.deadline)]
        {
            if limit.value().is_some_and(|limit| limit.is_zero()) {
                return Err(setting.invalid("is 0, allowed is more than that"));
            }
        }
        if let (Some(timeout), Some(deadline)) =
            (self.attempt_timeout.value(), self.deadline.value())
            && timeout > deadline
        {
            let reason = format!("is {timeout:?}, allowed is up to the deadline, {deadline:?}");
            return Err(Setting::AttemptTimeout.invalid(reason));
        }
        let Some(rounds) = self.escalate_after.value() else { return Ok(()) };
        let attempts = self.attempts.unwrap_or(u32::MAX);
        if rounds == 0 || rounds >= attempts {
            let reason = format!(
                "is {rounds}, allowed are at least 1 and fewer than the attempts, {attempts}"
            );
            return Err(Setting::EscalateAfter.invalid(reason));
        }
        Ok(())
    }

    /// Fills in the defaults. What is set holds together already.
    pub(super) fn resolve(self) -> RetryPolicy {
        let rounds = self.escalate_after.value();
        let attempts = self.attempts.unwrap_or_else(|| {
            rounds.map_or(ATTEMPTS, |rounds| rounds.saturating_add(1).max(ATTEMPTS))
        });
        let base_delay =
            self.base_delay.unwrap_or_else(|| self.max_delay.map_or(BASE, |cap| cap.min(BASE)));
        let (attempt_timeout, deadline) = (self.attempt_timeout.value(), self.deadline.value());
        RetryPolicy {
            attempts,
            backoff: Backoff::new(
                attempts - 1,
                base_delay,
                self.multiplier.unwrap_or(MULTIPLIER),
                self.max_delay.unwrap_or(base_delay.max(CAP)),
                self.jitter.unwrap_or(Jitter::Full),
            ),
            attempt_timeout: self.attempt_timeout.or_default(|| {
                Some(deadline.map_or(ATTEMPT_TIMEOUT, |deadline| deadline.min(ATTEMPT_TIMEOUT)))
            }),
            deadline: self.deadline.or_default(|| {
                Some(attempt_timeout.map_or(DEADLINE, |timeout| timeout.max(DEADLINE)))
            }),
            budget: self.budget.or_default(|| Some(RetryBudget::standard())),
            escalate_after: self
                .escalate_after
                .or_default(|| Some(ESCALATE_AFTER).filter(|rounds| *rounds < attempts)),
        }
    }
}

impl<T> Choice<T> {
    fn or_default(self, default: impl FnOnce() -> Option<T>) -> Option<T> {
        match self {
            Self::Nothing => default(),
            Self::Off => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Copy> Choice<T> {
    fn value(&self) -> Option<T> {
        match self {
            Self::Set(value) => Some(*value),
            Self::Nothing | Self::Off => None,
        }
    }
}

const ATTEMPTS: u32 = 8;
const BASE: Duration = Duration::from_millis(10);
const MULTIPLIER: f64 = 2.0;
const CAP: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);
const ESCALATE_AFTER: u32 = 2;
