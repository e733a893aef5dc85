use std::ffi::OsString;
use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, RetryBudget, RetryPolicyBuilder, env};
use crate::Error;

/// The limits of retries: attempts, pauses, timeouts, and the share of calls that may be retried.
///
/// The default suits production. A call has at most 8 attempts, each of at most 10 seconds, and at
/// most 30 seconds in all. Pauses start at 10 ms, double up to 1 s, and have full jitter. A budget
/// of its own limits retries to a fifth of the calls once 100 retries have been used up. The table
/// shows the pauses without jitter; with full jitter each one is drawn between zero and the value
/// shown, half of it on average:
///
/// | before attempt | 2 | 3 | 4 | 5 | 6 | 7 | 8 |
/// | --- | --- | --- | --- | --- | --- | --- | --- |
/// | pause | 10 ms | 20 ms | 40 ms | 80 ms | 160 ms | 320 ms | 640 ms |
/// | in total | 10 ms | 30 ms | 70 ms | 150 ms | 310 ms | 630 ms | 1.27 s |
///
/// So a call whose attempts fail at once ends after 1.27 s at the latest, and any call after 30 s.
/// Eight attempts of 10 s each would take 81.27 s; the deadline leaves time for the first three.
///
/// Clones of a policy share its budget.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    pub(super) attempts: u32,
    /// Cloned for each call, so that the values derived from the settings are computed once.
    pub(super) backoff: Backoff,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Option<RetryBudget>,
    pub(super) escalate_after: Option<u32>,
}

impl RetryPolicy {
    /// Returns a builder with the [default](Self::default) settings.
    ///
    /// ```
    /// use std::time::Duration;
    /// use eddyline::RetryPolicy;
    ///
    /// let policy = RetryPolicy::builder()
    ///     .attempts(5)
    ///     .base_delay(Duration::from_millis(5))
    ///     .max_delay(Duration::from_millis(200))
    ///     .attempt_timeout(Duration::from_secs(1))
    ///     .deadline(Duration::from_secs(3))
    ///     .build()?;
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicyBuilder::default()
    }

    /// Returns a policy with one attempt, no time limits and no budget.
    ///
    /// ```
    /// use eddyline::RetryPolicy;
    ///
    /// assert_eq!(RetryPolicy::never().attempts(), 1);
    /// ```
    pub fn never() -> Self {
        let once = Self::builder().attempts(1).no_attempt_timeout().no_deadline();
        once.no_budget().no_escalation().resolve()
    }

    /// Reads the settings from environment variables. Variables that are not set leave the
    /// [default](Self::default).
    ///
    /// | variable | alternative | value |
    /// | --- | --- | --- |
    /// | `EDDYLINE_MAX_RETRIES` | `MAX_RETRIES` | the attempts after the first: 0 to 4294967294 |
    /// | `EDDYLINE_RETRY_BASE_DELAY` | `RETRY_BASE_DELAY` | a duration |
    /// | `EDDYLINE_RETRY_MAX_DELAY` | `RETRY_MAX_DELAY` | a duration |
    /// | `EDDYLINE_RETRY_MULTIPLIER` | | a number from 1 |
    /// | `EDDYLINE_RETRY_JITTER` | | `none`, `equal` or `full` |
    /// | `EDDYLINE_RETRY_ATTEMPT_TIMEOUT` | | a duration, or `off` |
    /// | `EDDYLINE_RETRY_DEADLINE` | | a duration, or `off` |
    /// | `EDDYLINE_RETRY_BUDGET` | | a number of tokens, or `off` |
    /// | `EDDYLINE_RETRY_BUDGET_RATIO` | | a number from 0 |
    /// | `EDDYLINE_RETRY_ESCALATE_AFTER` | | a number of conflicts, or `off` |
    ///
    /// A duration looks like `250ms`, `1.5s` or `2m`. The alternative name counts if the first is
    /// not set. A variable that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a variable cannot be parsed or [`RetryPolicyBuilder::build`]
    /// refuses its value. It names the variable, its value and what is allowed.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads the settings as [`from_env`](Self::from_env) does, from the variables that `lookup`
    /// returns.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use eddyline::RetryPolicy;
    ///
    /// let settings = HashMap::from([("EDDYLINE_MAX_RETRIES", "4")]);
    /// let policy = RetryPolicy::from_lookup(|name| settings.get(name).map(Into::into))?;
    ///
    /// assert_eq!(policy.attempts(), 5);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as those of [`from_env`](Self::from_env).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        env::read(&lookup)
    }

    /// Returns how many attempts a call may have, including the first.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns how long an attempt may take.
    pub fn attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    /// Returns how long a call may take.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Returns the longest pause.
    pub fn max_delay(&self) -> Duration {
        self.backoff.cap()
    }

    /// Returns after how many conflicts a decision takes the log's lock before it reads.
    pub fn escalate_after(&self) -> Option<u32> {
        self.escalate_after
    }

    /// Returns the budget that the calls under this policy share.
    pub fn budget(&self) -> Option<&RetryBudget> {
        self.budget.as_ref()
    }

    /// Returns the pauses of a call, one fewer than its attempts.
    pub fn backoff(&self) -> Backoff {
        self.backoff.clone()
    }

    /// Returns the pauses beyond the attempts of the policy, for a call with an unknown outcome,
    /// which is tried until its deadline: between half of the cap and the cap, without end. There
    /// are none for a policy with one attempt, and none without a deadline, since the call would
    /// never end.
    pub(crate) fn pauses_until_known(&self) -> Option<Backoff> {
        let may_retry = self.attempts > 1 && self.deadline.is_some();
        may_retry.then(|| self.backoff().at_cap())
    }

    /// Returns the deadline of a call that started then.
    pub(crate) fn ends(&self, started: Instant) -> Option<Instant> {
        started.checked_add(self.deadline?)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicyBuilder::default().resolve()
    }
}
