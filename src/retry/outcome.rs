use std::time::Duration;

use crate::{Class, Classify, Error};

/// The error of an attempt.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AttemptError<E> {
    /// The operation returned an error.
    #[error(transparent)]
    Error(E),
    /// The attempt was canceled after this time, by the attempt timeout or the deadline. Its
    /// effects up to then remain: an append may have been sent.
    #[error("attempt timed out after {0:?}")]
    TimedOut(Duration),
}

impl<E> AttemptError<E> {
    /// Returns the error of the operation, unless the attempt timed out.
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Error(error) => Some(error),
            Self::TimedOut(_) => None,
        }
    }

    /// Returns the error of the operation, or the one that `timed_out` makes of the time that the
    /// attempt had.
    pub fn into_error(self, timed_out: impl FnOnce(Duration) -> E) -> E {
        match self {
            Self::Error(error) => error,
            Self::TimedOut(given) => timed_out(given),
        }
    }
}

impl From<AttemptError<Error>> for Error {
    fn from(error: AttemptError<Error>) -> Self {
        error.into_error(|waited| Self::TimedOut { server: "any server".to_owned(), waited })
    }
}

impl<E: Classify> Classify for AttemptError<E> {
    /// Returns the class of the error. An attempt that timed out is a [`Class::Timeout`], although
    /// its effects are unknown.
    fn class(&self) -> Class {
        match self {
            Self::Error(error) => error.class(),
            Self::TimedOut(_) => Class::Timeout,
        }
    }
}

/// The way in which a call ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RetryOutcome {
    /// It failed, and the budget had no token for a retry.
    Budget,
    /// It failed, and the deadline left no time for the next pause or canceled the attempt.
    Deadline,
    /// It failed in every attempt that the policy allows.
    Exhausted,
    /// The first attempt succeeded.
    FirstTry,
    /// It failed with an error that is not retried.
    Permanent,
    /// A later attempt succeeded.
    Recovered,
}

impl RetryOutcome {
    /// Returns the name of the outcome in metrics.
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

/// The result of a [`Retry`](super::Retry), with its attempts and pauses.
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

    /// Returns how many attempts were made, including the first.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the total time of the pauses. The runtime's timer makes each pause that is not 0 up
    /// to a millisecond longer, which is not counted.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns how the call ended.
    pub fn outcome(&self) -> RetryOutcome {
        self.outcome
    }

    /// Returns the last error of an attempt: that of the call, or the one that the call recovered
    /// from.
    pub fn last_error(&self) -> Option<&AttemptError<E>> {
        match &self.end {
            Ok(success) => success.last_error.as_ref(),
            Err(failed) => Some(failed),
        }
    }

    /// Returns the value of the operation, or the error of its last attempt.
    ///
    /// # Errors
    ///
    /// [`AttemptError::Error`] with the error of the last attempt, [`AttemptError::TimedOut`] if it
    /// timed out. [`AttemptError::into_error`] converts it into an error of your own:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use eddyline::{Class, Classify, Error, ReadOnly, SequenceNumber, Store};
    /// enum LendError {
    ///     Store(Error),
    ///     TimedOut(Duration),
    /// }
    ///
    /// # impl Classify for LendError {
    /// #     fn class(&self) -> Class {
    /// #         match self {
    /// #             Self::Store(error) => error.class(),
    /// #             Self::TimedOut(_) => Class::Timeout,
    /// #         }
    /// #     }
    /// # }
    /// async fn head(store: &Store<ReadOnly>) -> Result<SequenceNumber, LendError> {
    ///     let retried = store.retry(async || store.head().await.map_err(LendError::Store)).await;
    ///     retried.into_result().map_err(|error| error.into_error(LendError::TimedOut))
    /// }
    /// ```
    pub fn into_result(self) -> Result<T, AttemptError<E>> {
        self.end.map(|success| success.value)
    }
}
