//! What a worker tells about the race, and what it is told.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Decision;
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::seen::SeenNumbers;

/// A line of a worker's report.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Fact {
    /// An append was accepted, or an insert committed, and its events got these places.
    Accepted { ids: Vec<Uuid>, first: u64, last: u64 },
    /// An append was refused because its condition was broken.
    Conflict(Conflict),
    /// A decision in a single_store log did not end as it must.
    CalmFault(CalmFault),
    /// It was decided to append nothing.
    DecidedNothing(Decision),
    /// Nobody can say whether these events were stored.
    Doubtful { ids: Vec<Uuid> },
    /// The worker has ended; the end of its report says so.
    Ended,
    /// The worker cannot go on.
    Failed { reason: String },
    /// The writers have ended.
    Idle,
    /// Everything is connected.
    Ready,
    /// Events were not stored; the reason is that of a fault, if it was one.
    Refused { ids: Vec<Uuid>, fault: Option<String> },
    /// Events were stored, it is not known where.
    Stored { ids: Vec<Uuid> },
    /// A tailing reader has ended.
    Tailed(Tail),
    /// How often each kind of work was done, so far.
    Tally(Vec<(Kind, u64)>),
}

/// A fault in a single_store log, in words. Its actor knows every event of the log.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum CalmFault {
    /// A conflict without a cause, or one that names another event than the first that breaks it.
    False(String),
    /// A read did not return what is in the log.
    Lost(String),
    /// An append was accepted although its condition was broken.
    Wrong(String),
}

/// A conflict as its writer was told of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Conflict {
    pub filter: FilterSpec,
    /// Where the writer's history was true at.
    pub read_at: u64,
    /// Where the error says that the condition stood.
    pub after: u64,
    /// The event that the error names, with its type; the predecessor names none.
    pub event: Option<(u64, String)>,
    /// Where the log ended when the error had come; only asked where no event is named.
    pub head: Option<u64>,
    /// Why there should have been none, whatever came.
    pub immunity: Option<Immunity>,
}

/// What keeps a decision from conflicts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Immunity {
    /// It was taken under the log's lock.
    Locked,
    /// Nobody else writes to the boundary.
    Private,
}

/// What a tailing reader saw.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tail {
    pub way: Way,
    pub server: Server,
    pub seen: SeenNumbers,
    /// Where it had got to.
    pub position: u64,
}

/// What a worker is told, a line each.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Order {
    /// Readers go on until they reach this position, then everything ends.
    Finish { head: u64 },
    /// Everybody starts.
    Go,
    /// Writers end.
    Stop,
}

/// How a decision ends that is left to the store.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Ending {
    /// It was dropped before it was answered.
    Abandoned,
    /// Its events were appended at the first attempt.
    AtOnce,
    /// They were after lost rounds, without the lock.
    Later,
    /// They were under the log's lock.
    Locked,
    /// It lost all of its rounds.
    Lost,
    /// It was for appending nothing.
    Nothing,
    /// It was for appending nothing, under the log's lock.
    NothingLocked,
}

impl Ending {
    pub const ALL: [Self; 7] = [
        Self::Abandoned,
        Self::AtOnce,
        Self::Later,
        Self::Locked,
        Self::Lost,
        Self::Nothing,
        Self::NothingLocked,
    ];

    /// Names it for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned half-way",
            Self::AtOnce => "at the first attempt",
            Self::Later => "after lost rounds",
            Self::Locked => "under the log's lock",
            Self::Lost => "given up to conflicts",
            Self::Nothing => "for nothing",
            Self::NothingLocked => "for nothing under the lock",
        }
    }
}

/// Who comes between a read and its append in a single_store log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Stranger {
    Copy,
    Import,
    Insert,
    Nobody,
    Store,
}

impl Stranger {
    pub const ALL: [Self; 5] = [Self::Copy, Self::Import, Self::Insert, Self::Nobody, Self::Store];

    /// Names it for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "a stranger's COPY",
            Self::Import => "a stranger's import",
            Self::Insert => "a stranger's INSERT",
            Self::Nobody => "no stranger",
            Self::Store => "another store's append",
        }
    }
}

/// A server's part.
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

/// How a tailing reader reads.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Way {
    /// A query of the protocol, going on from the position that it was true at.
    Query,
    /// A plain `WHERE sequence_number > last`.
    Sql,
    /// A stream of the protocol, going on from its last event.
    Stream,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Query, Self::Sql, Self::Stream];

    /// Names it for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Sql => "plain SQL",
            Self::Stream => "stream",
        }
    }
}

/// The isolation levels that PostgreSQL knows apart.
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

    /// Spells it as SQL does.
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// How plain SQL inserts.
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

    /// Names it for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autocommitted => "autocommitted",
            Self::Committed => "committed",
            Self::Copied => "by COPY",
            Self::RolledBack => "rolled back",
            Self::RolledBackToSavepoint => "rolled back to a savepoint",
        }
    }
}
