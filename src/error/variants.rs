use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::advice::advice;
use super::{Cause, Class, SqlState, text};
use crate::replica::listed;
use crate::{ReplicaStatus, SequenceNumber};

/// The error of every operation of this crate.
///
/// Its [`class`](Self::class) says what may be done about it. Match on the class, or ask one of the
/// [questions](crate::error), rather than reading the text. The text does not repeat the
/// [`source`](std::error::Error::source), which has the message of the server: print both.
///
/// Nothing was stored, unless the outcome is unknown. The documentation of [`Class`] lists the
/// class of each SQLSTATE and of each way in which a connection fails.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A matching event was committed after the position that the append condition names. Nothing
    /// was stored. Read again, decide again.
    ///
    /// Class: conflict.
    #[error(fmt = text::conflict)]
    Conflict {
        /// The position that the condition names.
        after: SequenceNumber,
        /// The position of the first event that breaks the condition.
        position: SequenceNumber,
        /// The type of that event.
        event_type: String,
    },

    /// The connection ended before the append was sent or the read was answered. Nothing was
    /// stored.
    ///
    /// Class: transient.
    #[error("connection to {server} lost")]
    ConnectionLost {
        /// The server, as `name host:port`.
        server: String,
        /// The underlying error.
        source: Cause,
    },

    /// The server refused a connection or a statement. Nothing was stored.
    #[error("{server} refused: SQLSTATE {sqlstate}{}", advice(sqlstate.as_str()))]
    Database {
        /// The server, as `name host:port`.
        server: String,
        /// The SQLSTATE of the server's error.
        sqlstate: SqlState,
        /// The class of the failure.
        class: Class,
        /// The server's error.
        source: Cause,
    },

    /// A row of the log's table cannot be decoded: another program altered the table.
    ///
    /// Class: permanent (bug).
    #[error(fmt = text::decode)]
    Decode {
        /// The event's position.
        position: SequenceNumber,
        /// The event's type. It is empty if it cannot be decoded.
        event_type: String,
        /// The event's id, unless it cannot be decoded.
        event_id: Option<Uuid>,
        /// The error of the decoder.
        source: Cause,
    },

    /// A decision under the log's lock took longer than
    /// [`Config::decision_timeout`](crate::Config::decision_timeout) allows. Nothing was stored.
    /// Decide faster, or allow more time.
    ///
    /// Class: timeout.
    #[error(fmt = text::decision_timed_out)]
    DecisionTimedOut {
        /// How long the decision took.
        waited: Duration,
        /// How long it may take.
        allowed: Duration,
    },

    /// The log holds an event with the id of an event of the append, but with other contents, or
    /// without the other events of the append: the id was used twice. Nothing was stored.
    ///
    /// Class: permanent (invalid).
    #[error(fmt = text::duplicate_event)]
    DuplicateEvent {
        /// The id.
        event_id: Uuid,
        /// The position of the event in the log.
        position: SequenceNumber,
    },

    /// An append is empty or too large.
    ///
    /// Class: permanent (invalid).
    #[error("invalid append: {reason}")]
    InvalidAppend {
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// The text is not the token of a [`Bookmark`](crate::Bookmark) or is damaged: read without it.
    ///
    /// Class: permanent (invalid).
    #[error("invalid bookmark: {reason}")]
    InvalidBookmark {
        /// What is wrong.
        reason: Cow<'static, str>,
    },

    /// A setting is wrong.
    ///
    /// Class: permanent (invalid).
    #[error("invalid configuration: {setting}: {reason}")]
    InvalidConfig {
        /// The setting.
        setting: &'static str,
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// An event cannot be stored.
    ///
    /// Class: permanent (invalid).
    #[error("invalid event: {field}: {reason}")]
    InvalidEvent {
        /// The event's field.
        field: &'static str,
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// A filter has an empty list, contradicts itself, or is too large.
    ///
    /// Class: permanent (invalid).
    #[error("invalid filter: {reason}")]
    InvalidFilter {
        /// What is wrong, and what is allowed.
        reason: Cow<'static, str>,
    },

    /// A query leaves out newer events of its filter, so that no decision can be based on it.
    ///
    /// Class: permanent (invalid).
    #[error("invalid query: {reason}")]
    InvalidQuery {
        /// What is wrong, and what to do instead.
        reason: Cow<'static, str>,
    },

    /// The server has another log under the same name, that of another cluster or database: check
    /// the address. Or the log was created again: connect a new store.
    ///
    /// Class: permanent (invalid).
    #[error(
        "the log on {server} is {found}, and that of the store is {expected}: check the address, \
         or connect a new store if the log was created again"
    )]
    OtherLog {
        /// The server, as `name host:port`.
        server: String,
        /// The identity of the store's log.
        expected: Uuid,
        /// The identity of the server's log.
        found: Uuid,
    },

    /// No replica can be read from, for the reasons that their [states](crate::ReplicaState) name.
    /// Correct the addresses, rebuild a server that has diverged, or set a
    /// [`Fallback`](crate::Fallback).
    ///
    /// Class: transient.
    #[error("no replica can be read from: {}", listed(replicas))]
    NoReplica {
        /// The state of every replica.
        replicas: Vec<ReplicaStatus>,
    },

    /// The connection ended after the append was sent and before it was answered. All of its events
    /// were stored, or none.
    ///
    /// Append the same events again, with the same ids: if they were stored, that returns their
    /// positions and stores nothing. The store does so itself until the deadline of its retry
    /// policy.
    ///
    /// Class: outcome unknown.
    #[error("outcome of the append of {} events unknown: connection to {server} lost", event_ids.len())]
    OutcomeUnknown {
        /// The server, as `name host:port`.
        server: String,
        /// The ids of the events. [`Store::event`](crate::Store::event) reads an event by its id.
        event_ids: Vec<Uuid>,
        /// The underlying error.
        source: Cause,
    },

    /// A payload or metadata does not have the shape of the requested type.
    ///
    /// Class: permanent (invalid).
    #[error(fmt = text::payload)]
    Payload {
        /// The event's type.
        event_type: String,
        /// The event's id.
        event_id: Uuid,
        /// The event's position, if it was read from a log.
        position: Option<SequenceNumber>,
        /// `payload` or `metadata`.
        field: &'static str,
        /// The error of serde_json, with line and column.
        source: Arc<serde_json::Error>,
    },

    /// No connection of the pool became available in time.
    ///
    /// Class: timeout.
    #[error("no connection to {server} within {waited:?}: {reason}")]
    PoolExhausted {
        /// The server, as `name host:port`.
        server: String,
        /// How many connections there are, what uses them, and which setting to change.
        reason: Cow<'static, str>,
        /// How long the caller waited.
        waited: Duration,
    },

    /// An append condition names a position above the log's head. The position belongs to another
    /// log, or to a former primary whose last events were lost in a failover. Nothing was stored.
    ///
    /// Class: conflict, since a newly read history has a valid position.
    #[error("position {position} lies above the log's head {head}: read again")]
    PositionAhead {
        /// The position that the condition names.
        position: SequenceNumber,
        /// The log's head.
        head: SequenceNumber,
    },

    /// A bookmark does not belong to the log that the server has: the event at its position was
    /// lost, in a failover or a restore, or the bookmark is from a copy of the log. Its position
    /// stays refused, however many events the log has since. Nothing was stored. Read again without
    /// the bookmark. What was derived from the lost events has to be derived again.
    ///
    /// Class: conflict, since a newly read history has a valid position.
    #[error(fmt = text::position_lost)]
    PositionLost {
        /// The server, as `name host:port`.
        server: String,
        /// The position of the bookmark.
        position: SequenceNumber,
        /// The last position of the bookmark's epoch that the log has. `None` if the log has no
        /// event of the epoch.
        ended: Option<SequenceNumber>,
    },

    /// The queue of appends is full, and [`Config::queue_full`](crate::Config::queue_full) is set
    /// to refuse. Nothing was stored. Append less at the same time, or try again later.
    ///
    /// Class: transient.
    #[error("append queue is full ({waiting} waiting)")]
    QueueFull {
        /// How many appends wait.
        waiting: usize,
    },

    /// No replica that can be read from has reached the requested position within
    /// [`Config::replica_timeout`](crate::Config::replica_timeout). Allow more time, read from the
    /// primary, or set [`Fallback::WhenBehind`](crate::Fallback::WhenBehind).
    ///
    /// Class: timeout.
    #[error("position {position} not reached within {waited:?}: {}", listed(replicas))]
    ReplicaBehind {
        /// The requested position.
        position: SequenceNumber,
        /// How long the caller waited.
        waited: Duration,
        /// The state of every replica at the end of the wait.
        replicas: Vec<ReplicaStatus>,
    },

    /// An object of the log is not as [`Schema::migrate`](crate::Schema::migrate) creates it: it
    /// was dropped, disabled or altered, the sequence lies behind the log's head, or the table of
    /// this name has another purpose.
    ///
    /// Class: permanent (schema).
    #[error("log {log} on {server} is damaged: {reason}: {remedy}")]
    SchemaDamaged {
        /// The server, as `name host:port`.
        server: String,
        /// The log, as `schema.name`.
        log: String,
        /// What is missing or differs.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },

    /// The log does not exist.
    ///
    /// Class: permanent (schema).
    #[error(
        "log {log} does not exist on {server}: run eddyline::Schema::migrate once, as a role that \
         may create tables"
    )]
    SchemaMissing {
        /// The server, as `name host:port`.
        server: String,
        /// The log, as `schema.name`.
        log: String,
    },

    /// The log has a schema version that this crate does not support.
    ///
    /// Class: permanent (schema).
    #[error("log {log} has schema version {found}, this eddyline supports {supported}: {remedy}")]
    SchemaVersion {
        /// The log, as `schema.name`.
        log: String,
        /// The version of the log.
        found: i32,
        /// The version that this crate supports.
        supported: i32,
        /// What to do.
        remedy: &'static str,
    },

    /// The primary has not answered [`Store::max_staleness`](crate::Store::max_staleness), so it is
    /// not known how old the log on the replicas is. Check its address, allow a longer staleness,
    /// or read without a bound.
    ///
    /// Class: timeout.
    #[error("no answer from {server} within {waited:?}, so the staleness of replicas is unknown")]
    StalenessUnknown {
        /// The primary, as `name host:port`.
        server: String,
        /// How long the caller waited.
        waited: Duration,
    },

    /// The server did not answer within the time of an attempt, see
    /// [`RetryPolicy`](crate::RetryPolicy). Nothing was stored, unless a
    /// [`Retry`](crate::retry::Retry) [timed out](crate::retry::AttemptError::TimedOut) during an
    /// append.
    ///
    /// Class: timeout.
    #[error("no answer from {server} within {waited:?}")]
    TimedOut {
        /// The server, as `name host:port`.
        server: String,
        /// How long the caller waited.
        waited: Duration,
    },

    /// No connection to the server could be made.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// The server, as `name host:port`.
        server: String,
        /// What prevents the connection, and what to check.
        reason: Cow<'static, str>,
        /// The class of the failure.
        class: Class,
        /// The underlying error.
        source: Cause,
    },

    /// The role cannot use the log: it lacks a right, or row-level security hides events from it.
    ///
    /// Class: permanent (permission).
    #[error("role {role} cannot use the log on {server}: {reason}")]
    UnsuitableRole {
        /// The server, as `name host:port`.
        server: String,
        /// The role.
        role: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// The store cannot use the server: it is a replica, too old, or has another encoding than
    /// UTF-8.
    #[error("{server} cannot be used: {reason}")]
    UnsuitableServer {
        /// The server, as `name host:port`.
        server: String,
        /// Why not.
        reason: Cow<'static, str>,
        /// The class of the failure: a replica may be promoted, an old server stays old.
        class: Class,
    },
}
