use std::borrow::Cow;

use super::{Class, Classify, Error, Reason, SqlState};

impl Error {
    /// Returns whether the append condition does not hold, or a bookmark is lost: read again,
    /// without that bookmark, and decide again.
    pub fn is_conflict(&self) -> bool {
        self.class() == Class::Conflict
    }

    /// Returns whether it is unknown if the append was stored: append the same events again.
    pub fn is_outcome_unknown(&self) -> bool {
        self.class() == Class::OutcomeUnknown
    }

    /// Returns whether a time limit ended the operation: that of the pool, a statement, the log's
    /// lock, an attempt, or the wait for a replica.
    pub fn is_timeout(&self) -> bool {
        self.class() == Class::Timeout
            || self.sqlstate().is_some_and(|sqlstate| sqlstate.as_str() == "55P03")
    }

    /// Returns whether the same operation may succeed if it is tried again. Nothing was stored.
    pub fn is_transient(&self) -> bool {
        self.class() == Class::Transient
    }

    /// Returns whether the operation was canceled on purpose. Nothing was stored.
    pub fn is_canceled(&self) -> bool {
        self.class() == Class::Canceled
    }

    /// Returns the class of the error, which says what may be done about it.
    ///
    /// Failures of servers and connections are classified when they happen, by more than the error
    /// keeps. The documentation of [`Class`] has the rules.
    pub fn class(&self) -> Class {
        match self {
            Self::Database { class, .. }
            | Self::UnsuitableServer { class, .. }
            | Self::Unreachable { class, .. } => *class,
            Self::Conflict { .. } | Self::PositionAhead { .. } | Self::PositionLost { .. } => {
                Class::Conflict
            }
            Self::ConnectionLost { .. } | Self::NoReplica { .. } | Self::QueueFull { .. } => {
                Class::Transient
            }
            Self::Decode { .. } => Class::Permanent(Reason::Bug),
            Self::DuplicateEvent { .. }
            | Self::InvalidAppend { .. }
            | Self::InvalidBookmark { .. }
            | Self::InvalidConfig { .. }
            | Self::InvalidEvent { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidQuery { .. }
            | Self::OtherLog { .. }
            | Self::Payload { .. } => Class::Permanent(Reason::Invalid),
            Self::OutcomeUnknown { .. } => Class::OutcomeUnknown,
            Self::DecisionTimedOut { .. }
            | Self::PoolExhausted { .. }
            | Self::ReplicaBehind { .. }
            | Self::StalenessUnknown { .. }
            | Self::TimedOut { .. } => Class::Timeout,
            Self::SchemaDamaged { .. }
            | Self::SchemaMissing { .. }
            | Self::SchemaVersion { .. } => Class::Permanent(Reason::Schema),
            Self::UnsuitableRole { .. } => Class::Permanent(Reason::Permission),
        }
    }

    /// Returns whether the store retries the operation itself: transient failures, and attempts
    /// that timed out, since an attempt has a timeout so that another one can be made. A caller
    /// that chose not to wait for the queue gets its error at once.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::QueueFull { .. } => false,
            error => error.class().is_retryable(),
        }
    }

    /// Returns whether another server might have answered.
    ///
    /// It might not if the request is invalid, was canceled, or has used up its time.
    pub(crate) fn is_of_server(&self) -> bool {
        match self {
            Self::ConnectionLost { .. }
            | Self::OtherLog { .. }
            | Self::PoolExhausted { .. }
            | Self::SchemaDamaged { .. }
            | Self::SchemaMissing { .. }
            | Self::UnsuitableRole { .. }
            | Self::UnsuitableServer { .. }
            | Self::Unreachable { .. } => true,
            Self::Database { class, .. } => match class {
                Class::Transient => true,
                Class::Permanent(reason) => *reason != Reason::Invalid,
                Class::Canceled | Class::Conflict | Class::OutcomeUnknown | Class::Timeout => false,
            },
            _ => false,
        }
    }

    /// Returns the SQLSTATE, if a server sent one.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Database { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    pub(crate) fn invalid_append(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidAppend { reason: reason.into() }
    }

    pub(crate) fn invalid_bookmark(reason: &'static str) -> Self {
        Self::InvalidBookmark { reason: reason.into() }
    }

    pub(crate) fn invalid_config(
        setting: &'static str,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::InvalidConfig { setting, reason: reason.into() }
    }

    pub(crate) fn invalid_event(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidEvent { field, reason: reason.into() }
    }

    pub(crate) fn invalid_filter(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidFilter { reason: reason.into() }
    }

    pub(crate) fn invalid_query(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidQuery { reason: reason.into() }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        self.class()
    }
}
