use std::ffi::OsString;
use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, RetryBudget, RetryPolicyBuilder, env};
use crate::Error;

/// Says how often, how long and how hard to try.
///
/// The default is safe in production: a call is attempted at most 8 times, each attempt may take
/// 10 seconds and all of them together 30; pauses begin at 10 ms, double up to 1 s and are drawn
/// with full jitter; and a budget of its own keeps retries to a fifth of the calls once 100 have
/// been used up. Without jitter its pauses are these, and with full jitter each is drawn from zero
/// to what stands here, on average half of it:
///
/// | before attempt | 2 | 3 | 4 | 5 | 6 | 7 | 8 |
/// | --- | --- | --- | --- | --- | --- | --- | --- |
/// | pause | 10 ms | 20 ms | 40 ms | 80 ms | 160 ms | 320 ms | 640 ms |
/// | in all | 10 ms | 30 ms | 70 ms | 150 ms | 310 ms | 630 ms | 1.27 s |
///
/// So a call whose attempts fail at once gives up after 1.27 s at the latest, and any call after
/// 30 s. Eight attempts that each take all of their 10 s would be 81.27 s; the deadline allows for
/// the first three.
///
/// A policy can be cloned, and is meant to be shared: the clones share the budget.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    pub(super) attempts: u32,
    /// Copied for each call, so that what is derived from the settings is so once.
    pub(super) backoff: Backoff,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Option<RetryBudget>,
    pub(super) escalate_after: Option<u32>,
}

impl RetryPolicy {
    /// Begins a policy, with everything as by [default](Self::default).
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

    /// Makes a single attempt, with no limit of time and no budget.
    pub fn never() -> Self {
        let once = Self::builder().attempts(1).no_attempt_timeout().no_deadline();
        once.no_budget().no_escalation().resolve()
    }

    /// Reads the settings that are in the environment; the others are as by
    /// [default](Self::default).
    ///
    /// | variable | or | holds |
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
    /// | `EDDYLINE_RETRY_ESCALATE_AFTER` | | a number of lost rounds, or `off` |
    ///
    /// Durations are like `250ms`, `1.5s` or `2m`. The names without `EDDYLINE_` count where the
    /// others are not set, and a variable that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] that names the variable, says what it is and what is allowed: for
    /// what cannot be read, and for all that [`RetryPolicyBuilder::build`] refuses.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads settings as [`from_env`](Self::from_env) does, from wherever `lookup` finds the
    /// variables.
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
    /// As [`from_env`](Self::from_env).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        env::read(&lookup)
    }

    /// Returns how many attempts a call may make, the first included.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns how long one attempt may take.
    pub fn attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    /// Returns how long a call may take in all.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Returns what no pause exceeds.
    pub fn max_delay(&self) -> Duration {
        self.backoff.cap()
    }

    /// Returns after how many lost rounds a decision takes the log's lock before it reads.
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

    /// Returns the pauses of a call beyond its attempts, where it is worth all of its time: around
    /// the cap, and without end. There are none for a call that is to be made once, and for one
    /// that would never end.
    pub(crate) fn patience(&self) -> Option<Backoff> {
        let is_worth_it = self.attempts > 1 && self.deadline.is_some();
        is_worth_it.then(|| self.backoff().at_cap())
    }

    /// Returns when a call has to be over, if ever.
    pub(crate) fn ends(&self, started: Instant) -> Option<Instant> {
        started.checked_add(self.deadline?)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicyBuilder::default().resolve()
    }
}
