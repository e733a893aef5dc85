/// Says what a failure means to whoever asked.
///
/// It is what [`Error::class`](crate::Error::class) answers, what metrics name, and what a
/// [`Retry`](crate::retry::Retry) goes by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Class {
    /// Somebody ended it on purpose, as by `pg_cancel_backend`. Nothing was stored.
    Canceled,
    /// The append's condition does not hold: read again, decide again. Nothing was stored.
    Conflict,
    /// The append may have been stored, wholly, or not at all: its connection ended before it was
    /// answered.
    OutcomeUnknown,
    /// The same again fails again. Nothing was stored.
    Permanent(Reason),
    /// It took longer than it may, and would again: allow it more time, or give it less to do.
    /// Nothing was stored.
    Timeout,
    /// It is worth trying again: what is in the way goes away by itself. Nothing was stored.
    Transient,
}

/// Says why the same again fails again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The server does not believe who is asking, or cannot be believed itself, as without the
    /// encryption that was demanded.
    Authentication,
    /// The server, this crate or what lies between them is at fault.
    Bug,
    /// What was asked for or given is not valid.
    Invalid,
    /// The role may not do this.
    Permission,
    /// The server lacks what somebody has to provide: disk, memory, a feature.
    Resource,
    /// The database or the log's tables are not as they must be.
    Schema,
}

impl Class {
    /// Returns whether the same is worth trying again just as it was: after a transient fault.
    ///
    /// After a conflict it is not: a new decision has to be made first. Nor is it after a timeout:
    /// whoever set the limit wants it kept.
    pub fn is_retryable(self) -> bool {
        self == Self::Transient
    }

    /// Returns the name that metrics and traces give it, a permanent failure's by its reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Conflict => "conflict",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Permanent(Reason::Authentication) => "authentication",
            Self::Permanent(Reason::Bug) => "bug",
            Self::Permanent(Reason::Invalid) => "invalid",
            Self::Permanent(Reason::Permission) => "permission",
            Self::Permanent(Reason::Resource) => "resource",
            Self::Permanent(Reason::Schema) => "schema",
            Self::Timeout => "timeout",
            Self::Transient => "transient",
        }
    }
}

/// Tells the class of a failure.
///
/// Implement it for an error of your own that has an [`Error`](crate::Error) within, and a
/// [`Retry`](crate::retry::Retry) knows which of its failures to try again.
pub trait Classify {
    /// Returns what the failure means to whoever asked.
    fn class(&self) -> Class;
}

impl<E: Classify + ?Sized> Classify for &E {
    fn class(&self) -> Class {
        (**self).class()
    }
}
