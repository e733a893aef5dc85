use std::time::Duration;

use super::setting::{Invalid, Setting};
use super::{Backoff, Jitter, RetryBudget, RetryPolicy};
use crate::Error;

/// A builder of a [`RetryPolicy`].
///
/// A default adapts to the settings: if they contradict it, it moves as far as necessary, or is
/// off. For example, a deadline of 5 seconds shortens the default attempt timeout to 5 seconds, a
/// base delay of 3 seconds raises the default cap to 3 seconds, and with 2 attempts decisions do
/// not escalate by default. A setting is used as it is or refused.
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

/// The choice for a setting that can be off.
#[derive(Clone, Debug, Default)]
enum Choice<T> {
    #[default]
    Nothing,
    Off,
    Set(T),
}

impl RetryPolicyBuilder {
    /// Sets the most attempts of a call, including the first: at least 1. Defaults to 8, or to one
    /// more than [`escalate_after`](Self::escalate_after) if that is more.
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Sets the first pause, before jitter. Defaults to 10 milliseconds, or to the cap if that is
    /// set to less. With 0 there are no pauses, but the task yields before each attempt.
    pub fn base_delay(self, delay: Duration) -> Self {
        Self { base_delay: Some(delay), ..self }
    }

    /// Sets the factor between pauses, at least 1. Defaults to 2.
    pub fn multiplier(self, multiplier: f64) -> Self {
        Self { multiplier: Some(multiplier), ..self }
    }

    /// Sets the cap: the longest pause. It is more than 0 and at least the base delay. Defaults to
    /// 1 second, or to the base delay if that is set to more.
    pub fn max_delay(self, delay: Duration) -> Self {
        Self { max_delay: Some(delay), ..self }
    }

    /// Sets how pauses are randomized. Defaults to [`Jitter::Full`].
    pub fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter: Some(jitter), ..self }
    }

    /// Sets the time after which an attempt is canceled. It is more than 0 and at most the
    /// deadline. Defaults to 10 seconds, or to the deadline if that is set to less.
    ///
    /// The time counts from when the attempt is first pending.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        Self { attempt_timeout: Choice::Set(timeout), ..self }
    }

    /// Lets an attempt take as long as the deadline allows.
    pub fn no_attempt_timeout(self) -> Self {
        Self { attempt_timeout: Choice::Off, ..self }
    }

    /// Sets the time after which a call ends. The current attempt is canceled, and a pause that
    /// would end later is not begun. Defaults to 30 seconds, or to the attempt timeout if that is
    /// set to more.
    ///
    /// The time counts from the first poll of the call. An operation that is ready at its first
    /// poll reads no clock, so the time counts from when the operation is first pending or fails.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Choice::Set(deadline), ..self }
    }

    /// Lets a call take as long as its attempts and pauses do.
    pub fn no_deadline(self) -> Self {
        Self { deadline: Choice::Off, ..self }
    }

    /// Sets the budget that all calls under this policy share, also with other policies that have a
    /// clone of it. Defaults to 100 tokens and a ratio of 0.2, for this policy and its clones.
    pub fn budget(self, budget: RetryBudget) -> Self {
        Self { budget: Choice::Set(budget), ..self }
    }

    /// Lets every call use all of its attempts. [`RetryBudget`] explains what that may cause.
    pub fn no_budget(self) -> Self {
        Self { budget: Choice::Off, ..self }
    }

    /// Sets after how many conflicts a decision takes the log's lock before it reads, so that it
    /// cannot conflict again: at least 1, and fewer than the attempts. Defaults to 2, or to never
    /// if the attempts are set to 2 or fewer.
    pub fn escalate_after(self, conflicts: u32) -> Self {
        Self { escalate_after: Choice::Set(conflicts), ..self }
    }

    /// Lets a decision conflict as often as it has attempts.
    pub fn no_escalation(self) -> Self {
        Self { escalate_after: Choice::Off, ..self }
    }

    /// Checks each setting, and the settings against each other.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] that names the setting, its value and what is allowed.
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
            return Err(Setting::MaxDelay.invalid("is 0, it must be more than 0"));
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
            return Err(Setting::Attempts.invalid("is 0, the minimum is 1"));
        }
        for (setting, limit) in
            [(Setting::AttemptTimeout, &self.attempt_timeout), (Setting::Deadline, &self.deadline)]
        {
            if limit.value().is_some_and(|limit| limit.is_zero()) {
                return Err(setting.invalid("is 0, it must be more than 0"));
            }
        }
        if let (Some(timeout), Some(deadline)) =
            (self.attempt_timeout.value(), self.deadline.value())
            && timeout > deadline
        {
            let reason = format!("is {timeout:?}, allowed is up to the deadline, {deadline:?}");
            return Err(Setting::AttemptTimeout.invalid(reason));
        }
        let Some(conflicts) = self.escalate_after.value() else { return Ok(()) };
        let attempts = self.attempts.unwrap_or(u32::MAX);
        if conflicts == 0 || conflicts >= attempts {
            let reason = format!(
                "is {conflicts}, allowed are at least 1 and fewer than the attempts, {attempts}"
            );
            return Err(Setting::EscalateAfter.invalid(reason));
        }
        Ok(())
    }

    /// Fills in the defaults. The settings were checked.
    pub(super) fn resolve(self) -> RetryPolicy {
        let conflicts = self.escalate_after.value();
        let attempts = self.attempts.unwrap_or_else(|| {
            conflicts.map_or(ATTEMPTS, |conflicts| conflicts.saturating_add(1).max(ATTEMPTS))
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
                .or_default(|| Some(ESCALATE_AFTER).filter(|conflicts| *conflicts < attempts)),
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
