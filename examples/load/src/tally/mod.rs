//! All counts and latencies of a load, updated as operations end.

mod snapshot;

use std::time::Instant;

use crate::plan::Group;

pub use self::snapshot::{Distribution, Latencies, Operation, Outcomes, Snapshot, Window};

/// How an operation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// A command stored its event, or a query was answered.
    Success,
    /// The command had nothing to change.
    Idempotent,
    /// The rules forbade the command.
    Rejected,
    /// The last attempt of the command ended with a conflict.
    Conflict,
    /// The operation failed.
    Error,
}

/// An operation that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The name of the command or query.
    pub operation: &'static str,
    /// The group that it belongs to.
    pub group: Group,
    /// How it ended.
    pub status: Status,
    /// When it was to begin.
    pub intended: Instant,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The attempts that ended with a conflict.
    pub lost_rounds: u32,
    /// The attempts that ended with a transient error and were repeated.
    pub retries: u32,
    /// Whether the decision was made under the log's lock.
    pub is_escalated: bool,
    /// The server that answered a query.
    pub served_by: Option<String>,
    /// The text of the error.
    pub error: Option<String>,
}

/// The counts and latencies of a load. Clients share it.
#[derive(Debug)]
pub struct Tally {}

impl Tally {
    /// Counts operations whose intended time has come.
    pub fn due(&self, intended: Instant, operations: u64) {
        let _ = (intended, operations);
    }

    /// Counts an operation that begins now.
    pub fn began(&self, intended: Instant) {
        let _ = intended;
    }

    /// Counts an operation for which the city had no suitable reader or book.
    pub fn impossible(&self) {}

    /// Counts an operation that has ended.
    pub fn ended(&self, ended: &Ended) {
        let _ = ended;
    }

    /// Returns the counts and latencies so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
