//! The messages between the main process and its workers.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Decision;
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::positions::PositionSet;

/// A message from a worker: one line of its standard output.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Message {
    /// An append was accepted, or an insert committed, and its events have these positions.
    Accepted { ids: Vec<Uuid>, first: u64, last: u64 },
    /// An append or an attempt of a decision failed because its condition was broken.
    Conflict(Conflict),
    /// A decision ended without appending anything.
    DecidedNothing(Decision),
    /// The worker has ended: its output has reached end of file.
    Ended,
    /// The worker cannot continue.
    Failed { reason: String },
    /// The worker's writers have ended.
    Idle,
    /// The worker has connected everything.
    Ready,
    /// Events were not stored. There is an error text unless the reason is a conflict or a
    /// rollback by the writer.
    Refused { ids: Vec<Uuid>, error: Option<String> },
    /// A decision in the single-store log did not end as it must.
    SingleStoreViolation(SingleStoreViolation),
    /// Events were stored at unknown positions.
    Stored { ids: Vec<Uuid> },
    /// A tailing reader has ended.
    Tailed(Tail),
    /// The number of operations of each kind so far.
    Tally(Vec<(Kind, u64)>),
    /// The outcome is unknown: the events may have been stored.
    Unknown { ids: Vec<Uuid> },
}

/// The description of a violation in the single-store log. Its actor knows every event of the log,
/// so it detects violations itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum SingleStoreViolation {
    /// A conflict without a cause, or one that names another event than the first that breaks the
    /// condition.
    False(String),
    /// A read that did not return the events of the log.
    Lost(String),
    /// An append that was accepted although its condition was broken.
    Wrong(String),
}

/// A conflict as the writer received it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Conflict {
    pub filter: FilterSpec,
    /// The position of the writer's history.
    pub read_at: u64,
    /// The position of the condition, according to the error.
    pub after: u64,
    /// The event that the error names, with its type. The predecessor names none.
    pub event: Option<(u64, String)>,
    /// The head after the error was received, if the error names no event.
    pub head: Option<u64>,
    /// The reason why no conflict was possible, if there is one.
    pub exclusivity: Option<Exclusivity>,
}

/// A reason why no other writer can break a decision's condition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Exclusivity {
    /// The decision was taken under the log's lock.
    Locked,
    /// The boundary has no other writer.
    Private,
}

/// The result of a tailing reader.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tail {
    pub method: TailMethod,
    pub server: Server,
    /// The positions of the events that it saw.
    pub seen: PositionSet,
    /// The position that it has read up to.
    pub position: u64,
}

/// An order to a worker: one line of its standard input.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Order {
    /// Readers continue until they reach this position; then the worker ends.
    Finish { head: u64 },
    /// All actors start.
    Go,
    /// Writers end.
    Stop,
}

/// The outcome of a decision by the store's `decide`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Ending {
    /// It was dropped before it was answered.
    Abandoned,
    /// Every attempt failed with a conflict.
    Conflict,
    /// The first attempt appended its events.
    FirstAttempt,
    /// A later attempt appended its events, without the lock.
    LaterAttempt,
    /// An attempt under the log's lock appended its events.
    Locked,
    /// It decided to append nothing.
    Nothing,
    /// It decided to append nothing, under the log's lock.
    NothingLocked,
}

impl Ending {
    pub const ALL: [Self; 7] = [
        Self::Abandoned,
        Self::Conflict,
        Self::FirstAttempt,
        Self::LaterAttempt,
        Self::Locked,
        Self::Nothing,
        Self::NothingLocked,
    ];

    /// Returns its name for display.
    pub fn name(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Conflict => "failed after conflicts",
            Self::FirstAttempt => "accepted at the first attempt",
            Self::LaterAttempt => "accepted at a later attempt",
            Self::Locked => "accepted under the log's lock",
            Self::Nothing => "to append nothing",
            Self::NothingLocked => "to append nothing, under the log's lock",
        }
    }
}

/// The write that is committed between a read and its append in the single-store log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum InterveningWrite {
    Copy,
    Import,
    Insert,
    Nothing,
    OtherStore,
}

impl InterveningWrite {
    pub const ALL: [Self; 5] =
        [Self::Copy, Self::Import, Self::Insert, Self::Nothing, Self::OtherStore];

    /// Returns its name for display.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "a COPY by another client",
            Self::Import => "an import by another store",
            Self::Insert => "an INSERT by another client",
            Self::Nothing => "no other write",
            Self::OtherStore => "an append by another store",
        }
    }
}

/// The role of a server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Server {
    Primary,
    Replica,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        })
    }
}

/// The method by which a tailing reader reads.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TailMethod {
    /// A query of the protocol, continued from the position of the previous answer.
    Query,
    /// A plain `WHERE sequence_number > last`.
    Sql,
    /// A stream of the protocol, continued from its last event.
    Stream,
}

impl TailMethod {
    pub const ALL: [Self; 3] = [Self::Query, Self::Sql, Self::Stream];

    /// Returns its name for display.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Sql => "plain SQL",
            Self::Stream => "stream",
        }
    }
}

/// The isolation levels that PostgreSQL distinguishes.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ValueEnum,
)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub const ALL: [Self; 3] = [Self::ReadCommitted, Self::RepeatableRead, Self::Serializable];

    /// Returns its name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// The form of an insert by plain SQL.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Form {
    Autocommitted,
    Committed,
    Copied,
    RolledBack,
    RolledBackToSavepoint,
}

impl Form {
    pub const ALL: [Self; 5] = [
        Self::Autocommitted,
        Self::Committed,
        Self::Copied,
        Self::RolledBack,
        Self::RolledBackToSavepoint,
    ];

    /// Returns its name for display.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autocommitted => "autocommitted",
            Self::Committed => "committed",
            Self::Copied => "copied",
            Self::RolledBack => "rolled back",
            Self::RolledBackToSavepoint => "rolled back to a savepoint",
        }
    }
}
