use std::time::Duration;

use crate::{Class, Classify, Error};

/// Says how an attempt failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AttemptError<E> {
    /// It returned an error.
    #[error(transparent)]
    Error(E),
    /// It was cut off after this time, which is what the attempt timeout or the deadline left it.
    /// What it had done by then, it had: an append may have been sent.
    #[error("attempt cut off after {0:?}")]
    TimedOut(Duration),
}

impl<E> AttemptError<E> {
    /// Returns the error, if the attempt lived to return one.
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Error(error) => Some(error),
            Self::TimedOut(_) => None,
        }
    }

    /// Returns the error, or what `timed_out` makes of the time that the attempt had.
    pub fn into_error(self, timed_out: impl FnOnce(Duration) -> E) -> E {
        match self {
            Self::Error(error) => error,
            Self::TimedOut(given) => timed_out(given),
        }
    }
}

impl From<AttemptError<Error>> for Error {
    fn from(failed: AttemptError<Error>) -> Self {
        failed.into_error(|waited| Self::TimedOut { server: "any server".to_owned(), waited })
    }
}

impl<E: Classify> Classify for AttemptError<E> {
    /// Returns the error's class; that of an attempt which was cut off is [`Class::Timeout`], though
    /// nobody knows what it had done by then.
    fn class(&self) -> Class {
        match self {
            Self::Error(error) => error.class(),
            Self::TimedOut(_) => Class::Timeout,
        }
    }
}

/// Says how a call ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RetryOutcome {
    /// It failed, and the budget had no token for a retry.
    Budget,
    /// It failed, and the deadline left no time for the next pause or cut the attempt off.
    Deadline,
    /// It failed as often as it may.
    Exhausted,
    /// The first attempt succeeded.
    FirstTry,
    /// It failed in a way that is not to be tried again.
    Permanent,
    /// A later attempt succeeded.
    Recovered,
}

impl RetryOutcome {
    /// Returns the name that metrics give it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Exhausted => "exhausted",
            Self::FirstTry => "first_try",
            Self::Permanent => "permanent",
            Self::Recovered => "recovered",
        }
    }
}

/// Holds what came of a call, and how.
#[derive(Clone, Debug)]
#[must_use]
pub struct Retried<T, E> {
    attempts: u32,
    delay: Duration,
    outcome: RetryOutcome,
    end: Result<Success<T, E>, AttemptError<E>>,
}

#[derive(Clone, Debug)]
struct Success<T, E> {
    value: T,
    last_error: Option<AttemptError<E>>,
}

impl<T, E> Retried<T, E> {
    pub(super) fn succeeded(
        value: T,
        outcome: RetryOutcome,
        attempts: u32,
        delay: Duration,
        last_error: Option<AttemptError<E>>,
    ) -> Self {
        Self { attempts, delay, outcome, end: Ok(Success { value, last_error }) }
    }

    pub(super) fn failed(
        failed: AttemptError<E>,
        outcome: RetryOutcome,
        attempts: u32,
        delay: Duration,
    ) -> Self {
        Self { attempts, delay, outcome, end: Err(failed) }
    }

    /// Returns how many attempts were made, the first included.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns how long the pauses were in all. The runtime's timer makes each that is not 0 up to a
    /// millisecond longer, which is not counted.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns how the call ended.
    pub fn outcome(&self) -> RetryOutcome {
        self.outcome
    }

    /// Returns how the last attempt failed that did: the call's own failure, or what it recovered
    /// from.
    pub fn last_error(&self) -> Option<&AttemptError<E>> {
        match &self.end {
            Ok(success) => success.last_error.as_ref(),
            Err(failed) => Some(failed),
        }
    }

    /// Returns what the operation returned, or how its last attempt failed.
    ///
    /// # Errors
    ///
    /// [`AttemptError::Error`] with the last attempt's error, [`AttemptError::TimedOut`] where that attempt was
    /// cut off.
    pub fn into_result(self) -> Result<T, AttemptError<E>> {
        self.end.map(|success| success.value)
    }
}
