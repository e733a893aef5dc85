//! Errors, and the classes that tell what may be done about them.

mod advice;
mod class;
mod classify;
mod failure;
mod sqlstate;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::advice::advice;
pub use self::class::{Class, Classify, Reason};
pub use self::classify::{Circumstances, Phase};
pub(crate) use self::failure::unreachable_because;
pub use self::failure::{ConnectionFailure, Failure};
pub use self::sqlstate::SqlState;
use crate::SequenceNumber;

/// What a failure was caused by, shared by the clones of an [`Error`].
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Any failure, as drivers and conversions hand it out.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The remedy of a log that is damaged or of an older version.
pub(crate) const MIGRATE: &str = "run eddyline::Schema::migrate once, as the owner of the log";

/// Makes a failure one that can be shared.
pub(crate) fn cause(source: impl Into<BoxError>) -> Cause {
    Arc::from(source.into())
}

/// Says what went wrong, in terms of what it means to the caller.
///
/// Ask it questions rather than reading its text; the underlying failure is its
/// [`source`](std::error::Error::source). What may be done about it is its [`class`](Self::class):
///
/// | question | class | what to do |
/// | --- | --- | --- |
/// | [`is_conflict`](Self::is_conflict) | [`Class::Conflict`] | read again, decide again |
/// | [`is_transient`](Self::is_transient) | [`Class::Transient`] | the same again, after a pause |
/// | [`is_timeout`](Self::is_timeout) | [`Class::Timeout`] | allow more time, or ask for less |
/// | [`is_outcome_unknown`](Self::is_outcome_unknown) | [`Class::OutcomeUnknown`] | look for the events before appending them again |
/// | [`is_canceled`](Self::is_canceled) | [`Class::Canceled`] | nothing: somebody wanted it so |
/// | | [`Class::Permanent`] | tell whoever can change what its [`Reason`] names |
///
/// In all but the unknown outcome nothing was stored. [`Class::of`] has the class of each SQLSTATE,
/// and of each way in which a connection fails.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A matching event was committed after the position that the append's condition names.
    /// Nothing was stored. Read again, decide again.
    #[error("append condition failed: event {event} of type {event_type:?} came after {after}")]
    Conflict {
        /// The position that the condition names.
        after: SequenceNumber,
        /// The first event that broke the condition.
        event: SequenceNumber,
        /// The type of that event.
        event_type: String,
    },

    /// The connection broke before a request could be sent or, for a read, answered. Nothing was
    /// stored.
    #[error("connection to {server} lost")]
    ConnectionLost {
        /// The server, as `role host:port`.
        server: String,
        /// What broke it.
        source: Cause,
    },

    /// The server refused a connection or a statement. Nothing was stored.
    #[error("{server} refused: SQLSTATE {sqlstate}{}", advice(sqlstate.as_str()))]
    Database {
        /// The server, as `role host:port`.
        server: String,
        /// Its reason.
        sqlstate: SqlState,
        /// What that means here.
        class: Class,
        /// What it said.
        source: Cause,
    },

    /// A stored event cannot be decoded: its payload or metadata does not have the shape of the type
    /// that was asked for, or another program altered the log's table.
    #[error(
        "event {sequence_number} of type {event_type:?} with id {} cannot be decoded",
        event_id.map_or("unknown".to_owned(), |id| id.to_string())
    )]
    Decode {
        /// The event.
        sequence_number: SequenceNumber,
        /// Its type; empty if that cannot be decoded.
        event_type: String,
        /// Its id, unless that cannot be decoded.
        event_id: Option<Uuid>,
        /// What is wrong with it.
        source: Cause,
    },

    /// A decision took longer under the log's lock than [`Config::decision_timeout`] allows. Nothing was
    /// stored. Decide faster, or allow more time.
    ///
    /// [`Config::decision_timeout`]: crate::Config::decision_timeout
    #[error(
        "the decision took {waited:?} under the log's lock, more than the {allowed:?} that \
         Config::decision_timeout allows"
    )]
    DecisionTimedOut {
        /// How long it took.
        waited: Duration,
        /// How long it may take.
        allowed: Duration,
    },

    /// The log holds the id of an event of the append, and not with the same contents, or not of all
    /// events of the append: the id was used for something else. Nothing was stored.
    #[error(
        "invalid append: event {event_id} is in the log already, at {position}, with other contents \
         or without the other events of the append"
    )]
    DuplicateEvent {
        /// The event.
        event_id: Uuid,
        /// Where it is.
        position: SequenceNumber,
    },

    /// An append is empty or too large.
    #[error("invalid append: {reason}")]
    InvalidAppend {
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// A setting is wrong.
    #[error("invalid configuration: {setting}: {reason}")]
    InvalidConfig {
        /// The setting.
        setting: &'static str,
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// An event cannot be stored as it is.
    #[error("invalid event: {field}: {reason}")]
    InvalidEvent {
        /// The event's field.
        field: &'static str,
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// A filter is empty where that would widen it, contradicts itself, or is too large.
    #[error("invalid filter: {reason}")]
    InvalidFilter {
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// A query leaves out newer events of its filter, so that nothing can be decided from it.
    #[error("invalid query: {reason}")]
    InvalidQuery {
        /// What is wrong, and what to ask instead.
        reason: Cow<'static, str>,
    },

    /// The connection was lost after the append was sent and before it was answered: its events
    /// may have been stored, all of them or none.
    #[error("outcome of the append of {} events unknown: connection to {server} lost", event_ids.len())]
    OutcomeUnknown {
        /// The server, as `role host:port`.
        server: String,
        /// The ids of the events, to look for them by [`Store::event`](crate::Store::event).
        event_ids: Vec<Uuid>,
        /// What broke the connection.
        source: Cause,
    },

    /// Every connection of the pool stayed in use.
    #[error("no connection to {server} within {waited:?}: {reason}")]
    PoolExhausted {
        /// The server, as `role host:port`.
        server: String,
        /// How many connections there are, what holds them, and what to set.
        reason: Cow<'static, str>,
        /// How long the caller waited.
        waited: Duration,
    },

    /// A condition names a position that the log has not reached: it was read from another log, or
    /// from a primary that was replaced by one that lacks its last events. Nothing was stored.
    #[error("position {position} lies beyond the log, which ends at {head}: read again")]
    PositionAhead {
        /// The position that the condition names.
        position: SequenceNumber,
        /// Where the log ends.
        head: SequenceNumber,
    },

    /// As many appends wait as may, and the store was told to let no more wait, see
    /// [`Config::queue_full`](crate::Config::queue_full). Nothing was stored. Append less at once,
    /// or again a little later.
    #[error("{waiting} appends wait already, as many as may")]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },

    /// No replica has reached the position that the read asked for.
    #[error("position {position} not reached within {waited:?}: {server} is at {reached}")]
    ReplicaBehind {
        /// The server that was asked last, as `role host:port`.
        server: String,
        /// The position asked for.
        position: SequenceNumber,
        /// The position that it has reached.
        reached: SequenceNumber,
        /// How long the caller waited.
        waited: Duration,
    },

    /// Something of the log is missing or is not as [`Schema::migrate`](crate::Schema::migrate) makes
    /// it: an object was dropped, disabled or altered, or the sequence does not go on behind the head.
    #[error("log {log} on {server} is damaged: {reason}: {remedy}")]
    SchemaDamaged {
        /// The server, as `role host:port`.
        server: String,
        /// The log, as `schema.name`.
        log: String,
        /// What is missing or differs.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },

    /// The log's tables are not there.
    #[error(
        "log {log} does not exist on {server}: run eddyline::Schema::migrate once, as a role that may create tables"
    )]
    SchemaMissing {
        /// The server, as `role host:port`.
        server: String,
        /// The log, as `schema.name`.
        log: String,
    },

    /// The log's tables are of a version that this crate does not know.
    #[error("log {log} has schema version {found}, this eddyline knows {supported}: {remedy}")]
    SchemaVersion {
        /// The log, as `schema.name`.
        log: String,
        /// The version found.
        found: i32,
        /// The version that this crate works with.
        supported: i32,
        /// What to do.
        remedy: &'static str,
    },

    /// The server did not answer within the time that an attempt may take, see
    /// [`RetryPolicy`](crate::RetryPolicy). Nothing was stored, unless it comes of a
    /// [`Retry`](crate::retry::Retry) that [cut off](crate::retry::AttemptError::TimedOut) an append.
    #[error("no answer from {server} within {waited:?}")]
    TimedOut {
        /// The server, as `role host:port`.
        server: String,
        /// How long the caller waited.
        waited: Duration,
    },

    /// The role that connects cannot use the log: it lacks a right, or row-level security hides events
    /// from it.
    #[error("role {role} cannot use the log on {server}: {reason}")]
    UnsuitableRole {
        /// The server, as `role host:port`.
        server: String,
        /// The role.
        role: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// The server is not one that this store can use.
    #[error("{server} cannot be used: {reason}")]
    UnsuitableServer {
        /// The server, as `role host:port`.
        server: String,
        /// Why not.
        reason: Cow<'static, str>,
        /// Whether that may pass: a replica may be promoted, an old server will not grow younger.
        class: Class,
    },

    /// No connection to the server could be made.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// The server, as `role host:port`.
        server: String,
        /// What is in the way, and what to look at.
        reason: Cow<'static, str>,
        /// Whether that may pass.
        class: Class,
        /// Why not.
        source: Cause,
    },
}

impl Error {
    /// Returns whether the append's condition does not hold: read again, decide again.
    pub fn is_conflict(&self) -> bool {
        self.class() == Class::Conflict
    }

    /// Returns whether the events may or may not have been stored.
    pub fn is_outcome_unknown(&self) -> bool {
        self.class() == Class::OutcomeUnknown
    }

    /// Returns whether a limit of time ended the operation: the pool's, a statement's, the lock's,
    /// an attempt's, or that of a wait for a replica.
    pub fn is_timeout(&self) -> bool {
        self.class() == Class::Timeout
            || self.sqlstate().is_some_and(|sqlstate| sqlstate.as_str() == "55P03")
    }

    /// Returns whether the same is worth trying again, just as it was. Nothing was stored.
    pub fn is_transient(&self) -> bool {
        self.class() == Class::Transient
    }

    /// Returns whether somebody ended the operation on purpose. Nothing was stored.
    pub fn is_canceled(&self) -> bool {
        self.class() == Class::Canceled
    }

    /// Returns what the failure means, and so what may be done about it.
    ///
    /// For what servers and connections say it was told by [`Class::of`] when it arose, where more
    /// was known than the error keeps.
    pub fn class(&self) -> Class {
        match self {
            Self::Database { class, .. }
            | Self::UnsuitableServer { class, .. }
            | Self::Unreachable { class, .. } => *class,
            Self::Conflict { .. } | Self::PositionAhead { .. } => Class::Conflict,
            Self::ConnectionLost { .. } | Self::QueueFull { .. } => Class::Transient,
            Self::Decode { .. } => Class::Permanent(Reason::Bug),
            Self::DuplicateEvent { .. }
            | Self::InvalidAppend { .. }
            | Self::InvalidConfig { .. }
            | Self::InvalidEvent { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidQuery { .. } => Class::Permanent(Reason::Invalid),
            Self::OutcomeUnknown { .. } => Class::OutcomeUnknown,
            Self::DecisionTimedOut { .. }
            | Self::PoolExhausted { .. }
            | Self::ReplicaBehind { .. }
            | Self::TimedOut { .. } => Class::Timeout,
            Self::SchemaDamaged { .. }
            | Self::SchemaMissing { .. }
            | Self::SchemaVersion { .. } => Class::Permanent(Reason::Schema),
            Self::UnsuitableRole { .. } => Class::Permanent(Reason::Permission),
        }
    }

    /// Returns whether the store tries again by itself. The time of an attempt is limited so that
    /// another one can be made.
    /// Whoever does not want to wait for a place in the queue does not want that either.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::QueueFull { .. } => false,
            error => error.class().is_retryable(),
        }
    }

    /// Returns whether another server might have answered.
    ///
    /// What is wrong with the request is wrong everywhere; who canceled it does not want it; and
    /// the time that it took is gone.
    pub(crate) fn is_of_server(&self) -> bool {
        match self {
            Self::ConnectionLost { .. }
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

    /// Returns the server's reason, where a server gave one.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Database { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    pub(crate) fn invalid_append(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidAppend { reason: reason.into() }
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
