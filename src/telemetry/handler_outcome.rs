use crate::Error;

/// How a call of a handler ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HandlerOutcome {
    /// The caller dropped the call, or the call panicked.
    Canceled,
    /// Another append was first, in each attempt.
    Conflict,
    /// It failed for any other reason than a conflict or a timeout.
    Error,
    /// What a command asks for was the case already.
    Idempotent,
    /// The rules of the application forbid what a command asks for.
    Rejected,
    /// It did what it was asked for.
    Success,
    /// A time limit ended it.
    Timeout,
}

impl HandlerOutcome {
    #[cfg(feature = "telemetry")]
    pub(super) const ALL: [Self; 7] = [
        Self::Canceled,
        Self::Conflict,
        Self::Error,
        Self::Idempotent,
        Self::Rejected,
        Self::Success,
        Self::Timeout,
    ];

    /// Returns the outcome of a call that failed with an error of a store: a conflict, a timeout or
    /// an error.
    pub fn of_error(error: &Error) -> Self {
        match error {
            error if error.is_conflict() => Self::Conflict,
            error if error.is_timeout() => Self::Timeout,
            _ => Self::Error,
        }
    }

    /// Returns the outcome of a call that has the result of a store.
    ///
    /// ```
    /// use eddyline::Error;
    /// use eddyline::telemetry::HandlerOutcome;
    ///
    /// let result: Result<(), Error> = Err(Error::QueueFull { waiting: 8 });
    /// assert_eq!(HandlerOutcome::of_result(&result), HandlerOutcome::Error);
    /// assert_eq!(HandlerOutcome::of_result::<()>(&Ok(())), HandlerOutcome::Success);
    /// ```
    pub fn of_result<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Success,
            Err(error) => Self::of_error(error),
        }
    }

    /// Returns the name of the outcome in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Conflict => "conflict",
            Self::Error => "error",
            Self::Idempotent => "idempotent",
            Self::Rejected => "rejected",
            Self::Success => "success",
            Self::Timeout => "timeout",
        }
    }
}
