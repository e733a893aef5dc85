use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Status;
use crate::plan::Group;

/// What a load has done so far. Times are in seconds since its start, latencies in milliseconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Snapshot {
    /// The time since the start of the load.
    pub seconds: f64,
    /// The operations whose intended time has come.
    pub due: u64,
    /// The operations that have begun.
    pub begun: u64,
    /// The operations that have ended.
    pub ended: u64,
    /// The operations that began later than allowed after their intended time.
    pub late: u64,
    /// The intended operations for which the city had no suitable reader or book. Each is counted
    /// as due and as begun, and does not reach the servers.
    pub impossible: u64,
    /// The commands and queries, by name.
    pub operations: BTreeMap<String, OperationFigures>,
    /// All commands.
    pub commands: Latencies,
    /// All queries.
    pub queries: Latencies,
    /// The events on which commands were decided: the lengths of their histories.
    #[serde(default)]
    pub events_read: u64,
    /// The rounds that decisions lost because another append was first.
    pub lost_rounds: u64,
    /// The commands that lost at least one round.
    pub commands_with_lost_rounds: u64,
    /// The attempts that ended with a transient error and were repeated.
    pub retries: u64,
    /// The decisions made under the log's lock.
    pub escalations: u64,
    /// The answers to queries, by the server that gave them.
    pub reads_by_server: BTreeMap<String, u64>,
    /// The number of errors by text, for the first different texts.
    pub errors: BTreeMap<String, u64>,
    /// The course of the load, in windows of equal length. The last one may be shorter.
    pub windows: Vec<Window>,
}

/// The counts and latencies of one command or query.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OperationFigures {
    /// The group that it belongs to.
    pub group: Group,
    /// How many operations ended in each way.
    pub outcomes: Outcomes,
    /// Their latencies.
    pub latencies: Latencies,
}

/// The number of operations that ended in each way.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outcomes {
    /// A command stored its event, or a query was answered.
    pub success: u64,
    /// The command had nothing to change.
    pub idempotent: u64,
    /// The rules forbade the command.
    pub rejected: u64,
    /// The last attempt of the command ended with a conflict.
    pub conflict: u64,
    /// The operation failed.
    pub error: u64,
}

/// The latencies of operations, measured in two ways.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latencies {
    /// From the intended start to the end. This is what a user waits.
    pub latency: Distribution,
    /// From the actual start to the end. The difference is the time in the queue.
    pub service: Distribution,
}

/// A distribution of times, in milliseconds. All are zero if there was no operation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Distribution {
    /// The number of operations.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The maximum.
    pub max: f64,
    /// Points of the distribution: a share from 0 to 1, and the time that this share did not
    /// exceed.
    pub curve: Vec<(f64, f64)>,
}

/// A part of a load. All windows of a load have the same length, but the last one can be shorter.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Window {
    /// When it began.
    pub start: f64,
    /// Its length.
    pub seconds: f64,
    /// The operations whose intended time was in it.
    pub due: u64,
    /// The operations that ended in it.
    pub ended: u64,
    /// The operations that began in it, later than allowed.
    pub late: u64,
    /// The operations that were due and had not ended at its end.
    pub pending: u64,
    /// How the operations ended.
    pub outcomes: Outcomes,
    /// How the commands ended. Queries are left out: replicas may answer them while no command can
    /// succeed.
    pub command_outcomes: Outcomes,
    /// The commands that ended in it, from the intended start. Has no curve.
    pub latency: Distribution,
    /// The commands that ended in it, from the actual start. Has no curve.
    pub service: Distribution,
    /// The queries that ended in it, from the intended start. Has no curve.
    pub query_latency: Distribution,
    /// The events on which commands were decided.
    #[serde(default)]
    pub events_read: u64,
    /// Rounds that decisions lost.
    pub lost_rounds: u64,
    /// Attempts that were repeated after a transient error.
    pub retries: u64,
    /// The answers to queries, by the server that gave them.
    pub reads_by_server: BTreeMap<String, u64>,
}

impl Outcomes {
    /// Adds an operation that ended in this way.
    pub fn add(&mut self, status: Status) {
        let count = match status {
            Status::Success => &mut self.success,
            Status::Idempotent => &mut self.idempotent,
            Status::Rejected => &mut self.rejected,
            Status::Conflict => &mut self.conflict,
            Status::Error => &mut self.error,
        };
        *count += 1;
    }

    /// Adds other numbers.
    pub fn merge(&mut self, other: Self) {
        let Self { success, idempotent, rejected, conflict, error } = other;
        self.success += success;
        self.idempotent += idempotent;
        self.rejected += rejected;
        self.conflict += conflict;
        self.error += error;
    }

    /// Returns the number of all operations.
    pub fn total(&self) -> u64 {
        let Self { success, idempotent, rejected, conflict, error } = *self;
        success + idempotent + rejected + conflict + error
    }
}
